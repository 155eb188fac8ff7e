"""How fast frames are read: ours, the official client, and what the server gives at most.

    python tests/benchmarks/bench_read.py [--quick] [--frames wide,mixed,stamps]

Three frames lie in one real IoTDB, flushed. The sides read them in turns with the same statement
and the same fetch size; their results are compared once.

raw : the same fetches on one session, nothing decoded
arrow : `iotf.query(…).to_arrow()`
ours : `iotf.read_sql(…)`, a frame in the normal form
stream : `iotf.read_sql(…, chunk_rows=100_000)`, and its peak of memory, in a process of its own
official : `SessionDataSet.todf()`; one turn, for it takes up to two minutes
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
from iotdb.Session import Session as OfficialSession

import iotdb_frames as iotf
from bench_write import mixed, wide
from harness import Call, Samples, alternate, measure, peak_bytes, print_table
from iotdb_frames.client.connection import Connection
from iotdb_frames.options import ConnectionOptions
from iotdb_frames.reads.sql import query, read_sql
from iotdb_frames.server import LocalServer

ROUNDS = 7
FETCH_SIZE = 100_000
CHUNK_ROWS = 100_000


def stamps(scale: float) -> pd.DataFrame:
    """2,000,000 rows × 2 TIMESTAMP."""
    n_rows, rng = int(2_000_000 * scale), np.random.default_rng(4)
    ticks = 1_700_000_000_000 + rng.integers(0, 10**9, (n_rows, 2))
    index = pd.date_range("2024-01-01", periods=n_rows, freq="100ms", unit="ms", name="time")
    return pd.DataFrame({f"t{i}": ticks[:, i].view("M8[ms]") for i in range(2)}, index)


FRAMES: dict[str, Callable[[float], pd.DataFrame]] = {
    "wide": lambda scale: wide(scale).frame,
    "mixed": lambda scale: mixed(5 * scale).frame,
    "stamps": stamps,
}
SHAPES = {
    "wide": "1M × 10 DOUBLE",
    "mixed": "1M × 10 mixed, 20 % missing",
    "stamps": "2M × 2 TIMESTAMP",
}


def statement(name: str) -> str:
    """What every side runs."""
    return f"SELECT * FROM root.bench.{name}"


def raw(connection: Connection, name: str) -> None:
    """The fetches alone."""
    with connection.pool("tree").session() as session:
        header = session.execute(statement(name))
        assert header is not None
        has_more = header.has_more
        while has_more:
            _, has_more = session.fetch(header.query_id)
        session.close_query(header.query_id)


def official(options: ConnectionOptions, name: str) -> pd.DataFrame:
    """The frame of the official client."""
    host, port = options.hosts[0]
    session = OfficialSession(
        host, str(port), options.user, str(options.password), fetch_size=FETCH_SIZE
    )
    session.open(False)
    try:
        with session.execute_query_statement(statement(name), timeout=3_600_000) as found:
            return found.todf()
    finally:
        session.close()


def check_same(ours: pd.DataFrame, theirs: pd.DataFrame) -> None:
    """Raise unless both hold the same numbers; the official client spells other things its way."""
    assert len(ours) == len(theirs)
    for label in ours.columns:
        assert ours[label].isna().to_numpy().tolist() == theirs[label].isna().to_numpy().tolist()
        if ours[label].dtype == "float64":
            np.testing.assert_array_equal(ours[label].to_numpy(), theirs[label].to_numpy(float))


def stream(connection: Connection, name: str) -> None:
    """All rows, a chunk at a time."""
    for _ in read_sql(statement(name), chunk_rows=CHUNK_ROWS, connection=connection):
        pass


def connect(url: str) -> Connection:
    """A connection with the benchmark's fetch size."""
    return iotf.connect(url, fetch_size=FETCH_SIZE)


def print_peak(url: str, name: str) -> None:
    """Peak of a streamed read, in MB: what the process of its own prints."""
    with connect(url) as own:
        for _ in read_sql(f"{statement(name)} LIMIT 1000", chunk_rows=500, connection=own):
            pass
        print(peak_bytes(lambda: stream(own, name)) / 1e6)


def run(names: list[str], scale: float, rounds: int, with_official: bool) -> None:
    """Load, read in turns, print."""
    rows = []
    with LocalServer() as server:
        options = replace(server.options, fetch_size=FETCH_SIZE)
        with Connection(lambda: options, label="bench") as own:
            for name in names:
                iotf.write(FRAMES[name](scale), f"root.bench.{name}", connection=own)
            own.run(lambda session: session.execute("FLUSH"), model="tree")
            for name in names:
                sides: dict[str, Callable[[str], Call]] = {
                    "raw": lambda _, name=name: lambda: raw(own, name),
                    "arrow": lambda _, name=name: (
                        lambda: query(statement(name), connection=own).to_arrow()
                    ),
                    "ours": lambda _, name=name: lambda: read_sql(statement(name), connection=own),
                    "stream": lambda _, name=name: lambda: stream(own, name),
                }
                found = alternate(sides, rounds=rounds, check=lambda _: None)
                base = found["raw"].seconds
                theirs = Samples()
                if with_official:
                    frames: list[pd.DataFrame] = []
                    read_official = partial(official, options, name)
                    measure(lambda: frames.append(read_official()), theirs)  # noqa: B023
                    check_same(read_sql(statement(name), connection=own), frames[0])
                peak = subprocess.run(
                    [sys.executable, __file__, "--peak", name, server.url],
                    capture_output=True,
                    text=True,
                    check=True,
                    env={**os.environ, "IOTDB_PASSWORD": str(options.password)},
                ).stdout
                rows.append(
                    [
                        SHAPES[name],
                        f"{base:.3f} s",
                        *(
                            f"{samples.seconds:.3f} s ({samples.seconds / base:.2f}×)"
                            for side, samples in found.items()
                            if side != "raw"
                        ),
                        f"{float(peak):.0f} MB",
                        f"{theirs.seconds:.1f} s ({theirs.seconds / found['ours'].seconds:.0f}×)"
                        if with_official
                        else "",
                    ]
                )
    print_table(
        ["frame", "raw fetch", "to_arrow", "read_sql", "chunks", "peak of chunks", "todf (× ours)"],
        rows,
    )


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows")
    parser.add_argument("--frames", default=",".join(FRAMES))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--no-official", action="store_true")
    parser.add_argument("--peak", nargs=2, metavar=("FRAME", "URL"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peak:
        print_peak(args.peak[1], args.peak[0])
        return
    run(args.frames.split(","), 0.1 if args.quick else 1.0, args.rounds, not args.no_official)


if __name__ == "__main__":
    main()
