"""How fast files go in, and in how much memory: Parquet and CSV against what bounds them.

    python tests/benchmarks/bench_backfill.py [--quick] [--files parquet,csv]

Files of five DOUBLE columns go into one real IoTDB, in turns, each turn into a new device of a
database whose region is warm; what is stored is counted after every turn.

raw : tablets of the same rows, encoded before and only sent, one after the other on one session
parse : pyarrow alone reads the file, with the types given, and makes nothing of it
both : raw and parse at the same time, as a backfill does them: they and the server share the cores
ours : `iotf.backfill(…, verify=None)`: find out, read, plan, encode, send, and keep the manifest
count : the same with ``verify="count"``: flushed, and each unit counted

The bound of Parquet is raw, that of CSV both. The peak of memory is that of
a process of its own, over what it has after a backfill in small.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

import iotdb_frames as iotf
from harness import Call, alternate, peak_bytes, print_table
from iotdb_frames.client.connection import Connection
from iotdb_frames.server import LocalServer
from iotdb_frames.wire.rpc import Session
from iotdb_frames.writes.plan.chunks import Request, lanes
from iotdb_frames.writes.schema.create import create

ROWS = {"parquet": 20_000_000, "csv": 4_000_000}
N_COLUMNS = 5
PART_ROWS = 1_000_000
ROUNDS = 3


def parts(n_rows: int) -> Iterator[pa.Table]:
    """The rows, a million at a time: ten a second, random walks of two decimals."""
    rng = np.random.default_rng(1)
    level = np.zeros(N_COLUMNS)
    for start in range(0, n_rows, PART_ROWS):
        n = min(PART_ROWS, n_rows - start)
        steps = rng.normal(0, 0.1, (n, N_COLUMNS)).cumsum(axis=0) + level
        level = steps[-1]
        ticks = 1_704_067_200_000 + 100 * np.arange(start, start + n)
        values = {f"s{i}": steps[:, i].round(2) for i in range(N_COLUMNS)}
        yield pa.table({"time": pa.array(ticks, pa.timestamp("ms")), **values})


def write_file(kind: str, folder: Path, n_rows: int) -> Path:
    """A file of these rows."""
    file = folder / f"rows.{kind}"
    made = parts(n_rows)
    first = next(made)
    new = pq.ParquetWriter if kind == "parquet" else pacsv.CSVWriter
    with new(file, first.schema) as writer:
        writer.write_table(first)
        for part in made:
            writer.write_table(part)
    return file


def parse(file: Path) -> None:
    """What pyarrow needs for the file alone."""
    if file.suffix == ".parquet":
        for batch in pq.ParquetFile(file).iter_batches(PART_ROWS):
            del batch
        return
    kinds = {"time": pa.timestamp("ms"), **{f"s{i}": pa.float64() for i in range(N_COLUMNS)}}
    with pacsv.open_csv(file, convert_options=pacsv.ConvertOptions(column_types=kinds)) as reader:
        for batch in reader:
            del batch


@dataclass
class Bench:
    """The sides of one file on one server."""

    file: Path
    n_rows: int
    connection: Connection
    session: Session

    def sides(self) -> dict[str, Callable[[str], Call]]:
        """All sides by name."""
        return {
            "raw": self.raw,
            "parse": lambda _: lambda: parse(self.file),
            "both": self.both,
            "ours": lambda name: lambda: self.backfill(name, None),
            "count": lambda name: lambda: self.backfill(name, "count"),
        }

    def backfill(self, name: str, verify: str | None) -> None:
        """The file into a device of that name."""
        manifest = self.file.with_name(f"{self.file.suffix[1:]}_{name}.sqlite")
        iotf.backfill(
            str(self.file),
            f"root.bench.{name}",
            manifest=manifest,
            verify=verify,
            connection=self.connection,
        )

    def raw(self, name: str) -> Call:
        """What a backfill would send, encoded before and only sent."""
        requests: list[Request] = []
        for part in parts(self.n_rows):
            plan = iotf.plan(part, f"root.bench.{name}", connection=self.connection)
            if not requests:
                create(self.connection, plan, plan.missing())
            requests += [request for lane in lanes(plan) for request in lane]
        return lambda: [self.session.insert(request.tablets) for request in requests]

    def both(self, name: str) -> Call:
        """Parse in a thread while another sends."""
        send = self.raw(name)

        def call() -> None:
            with ThreadPoolExecutor(1) as pool:
                parsing = pool.submit(parse, self.file)
                send()
                parsing.result()

        return call

    def check(self, name: str) -> None:
        """Count what is stored, then drop it and start with an empty memtable."""
        target = f"root.bench.{name}"
        if not name.startswith("parse"):
            wanted = ", ".join(f"count(s{i})" for i in range(N_COLUMNS))
            found = iotf.read_sql(f"SELECT {wanted} FROM {target}", connection=self.connection)
            stored = found.to_numpy().ravel().tolist()
            if stored != [self.n_rows] * N_COLUMNS:
                raise AssertionError(f"{target}: {stored} points of {self.n_rows:,} each")
            iotf.drop(target, connection=self.connection)
        iotf.execute("FLUSH", connection=self.connection)


def open_bench(server_url: str, file: Path, n_rows: int) -> Bench:
    """A bench whose region is warm."""
    connection = iotf.connect(server_url)
    options = connection.options
    session = Session(*options.hosts[0], options=options, model="tree")
    first = next(parts(1000))
    iotf.write(first, "root.bench.warm", time="time", connection=connection)
    return Bench(file, n_rows, connection, session)


def print_peak(kind: str, url: str, file: str) -> None:
    """Peak of a backfill, in bytes: what the process of its own prints."""
    with tempfile.TemporaryDirectory() as folder:
        small = write_file(kind, Path(folder), 10_000)
        own = open_bench(url, small, 10_000)
        own.backfill("small", "count")
        own.file = Path(file)
        print(peak_bytes(lambda: own.backfill(f"peak_{kind}", "count")))


def run(kinds: list[str], scale: float, rounds: int) -> None:
    """All files, one table."""
    rows = []
    with LocalServer() as server, tempfile.TemporaryDirectory() as folder:
        os.environ["IOTDB_PASSWORD"] = str(server.options.password)
        for kind in kinds:
            n_rows = int(ROWS[kind] * scale)
            file = write_file(kind, Path(folder), n_rows)
            bench = open_bench(server.url, file, n_rows)
            found = alternate(bench.sides(), rounds=rounds, check=bench.check)
            peak = int(
                subprocess.run(
                    [sys.executable, __file__, "--peak", kind, server.url, str(file)],
                    stdout=subprocess.PIPE,
                    check=True,
                    text=True,
                ).stdout
            )
            bench.check(f"peak_{kind}")
            bound = found["both" if kind == "csv" else "raw"].seconds
            for side, took in found.items():
                rows.append(
                    (
                        f"{kind}: {side}",
                        f"{took.seconds:.2f}",
                        f"{n_rows * N_COLUMNS / took.seconds / 1e6:.1f}",
                        f"{bound / took.seconds:.2f}",
                        f"{took.cpu_seconds / n_rows / N_COLUMNS * 1e9:.0f}",
                        f"{peak / 2**20:.0f}" if side == "count" else "",
                    )
                )
        title = f"medians of {rounds}, IoTDB {server.version}, pyarrow {pa.__version__}"
    print(f"\n{title}, pandas {pd.__version__}, scale {scale:g} of 20M (Parquet), 4M (CSV) × 5\n")
    print_table(("file: side", "s", "Mpts/s", "of the bound", "client CPU ns/pt", "peak MiB"), rows)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", default="parquet,csv")
    parser.add_argument("--quick", action="store_true", help="a twentieth of the rows")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--peak", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peak:
        print_peak(*args.peak)
        return
    run(args.files.split(","), 0.05 if args.quick else 1.0, args.rounds)


if __name__ == "__main__":
    main()
