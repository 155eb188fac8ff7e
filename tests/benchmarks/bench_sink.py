"""How fast the sink takes events, against `write` of the same rows.

    python tests/benchmarks/bench_sink.py    # ratios, best of 5, one run

The targets of the project: windows of 1,000 rows × 10 DOUBLE at 0.8 of `write`, lists of 1,000
row mappings at 200k rows/s of 5 fields, one mapping a send at 50k/s.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import pandas as pd

import iotdb_frames as iotf
from iotdb_frames.server import LocalServer
from iotdb_frames.sink.options import IoTDBOptions
from iotdb_frames.sink.serializer import DefaultIoTSerializationSchema
from iotdb_frames.sink.sink import IoTDBSink

N_ROWS, N_COLUMNS, WINDOW, BATCH = 500_000, 10, 1_000, 20_000
N_MAPPINGS = 200_000
_NAMES = iter(f"root.bench{i}" for i in range(10_000))


def options(server: LocalServer, database: str, *, aligned: bool) -> IoTDBOptions:
    """The server, as a sink's options."""
    return IoTDBOptions(
        url=server.url, password=server.options.password, storage_group=database, aligned=aligned
    )


def wide_frame(n_rows: int = N_ROWS) -> pd.DataFrame:
    """Random DOUBLEs at 1 kHz."""
    values = np.random.default_rng(0).normal(size=(n_rows, N_COLUMNS))
    index = pd.date_range("2026-01-01", periods=n_rows, freq="ms", name="time")
    return pd.DataFrame(values, columns=[f"s{i}" for i in range(N_COLUMNS)], index=index)


def mappings(n_rows: int, n_devices: int = 1) -> list[dict[str, object]]:
    """Rows of 5 fields."""
    return [
        {
            "device": f"d{i % n_devices}",
            "timestamp": 1_767_225_600_000 + i,
            "temperature": 20.0 + i % 7,
            "pressure": 1.5 * (i % 11),
            "cycles": i,
            "state": "running" if i % 3 else "idle",
            "ok": i % 2 == 0,
        }
        for i in range(n_rows)
    ]


def warm_up(server: LocalServer, database: str, frame: pd.DataFrame, *, aligned: bool) -> None:
    """The first rows of a database also create its region: not what is measured."""
    with IoTDBSink(options(server, database, aligned=aligned)) as sink:
        sink.send(frame.iloc[:1].assign(device="d0"))
        sink.send(mappings(1))


def windows_against_write(server: LocalServer, *, aligned: bool, runs: int) -> None:
    """The same rows by `write` and by windows, in turn, each into a device of its own."""
    frame = wide_frame()
    connection = iotf.connect(server.url, password=server.options.password)
    database = next(_NAMES)
    target = options(server, database, aligned=aligned)
    warm_up(server, database, frame, aligned=aligned)
    took: dict[str, list[float]] = {"write": [], "sink": []}
    for run in range(runs):
        # New times each run: rows over older rows would measure the server's way with those.
        shifted = frame.set_axis(frame.index + run * pd.Timedelta(N_ROWS, "ms"))
        windows = [shifted.iloc[i : i + WINDOW] for i in range(0, N_ROWS, WINDOW)]
        path = f"{database}.written"
        begin = time.perf_counter()
        iotf.write(shifted, path, aligned=aligned, connection=connection, progress=False)
        took["write"].append(time.perf_counter() - begin)
        serializer = DefaultIoTSerializationSchema(device=f"{database}.sent")
        with IoTDBSink(target, serializer, batch_size=BATCH) as sink:
            begin = time.perf_counter()
            for window in windows:
                sink.send(window)
            sink.flush()
            took["sink"].append(time.perf_counter() - begin)
    best = {name: min(times) for name, times in took.items()}
    median = {name: float(np.median(times)) for name, times in took.items()}
    print(
        f"windows of {WINDOW:,} × {N_COLUMNS} DOUBLE, {'aligned' if aligned else 'non-aligned'}: "
        f"write {N_ROWS / best['write']:,.0f} rows/s, sink {N_ROWS / best['sink']:,.0f} rows/s, "
        f"ratio {best['write'] / best['sink']:.2f} (medians {median['write'] / median['sink']:.2f})"
    )
    drop(server, database)
    connection.close()


def drop(server: LocalServer, database: str) -> None:
    """A server of this size holds few databases at a time."""
    with iotf.connect(server.url, password=server.options.password) as connection:
        connection.run(lambda session: session.execute(f"DELETE DATABASE {database}"), model="tree")


def lists_and_single(server: LocalServer, *, runs: int) -> None:
    """Row mappings, 1,000 and one a send, of one device and of 100."""
    for n_devices in (1, 100):
        rows = mappings(N_MAPPINGS, n_devices)
        lists = [rows[i : i + 1000] for i in range(0, len(rows), 1000)]
        for name, events in (("lists of 1,000", lists), ("one a send", rows)):
            best = 0.0
            for _ in range(runs):
                database = next(_NAMES)
                warm_up(server, database, wide_frame(10), aligned=False)
                target = options(server, database, aligned=False)
                with IoTDBSink(target, batch_size=BATCH) as sink:
                    begin = time.perf_counter()
                    for event in events:
                        sink.send(event)
                    sink.flush()
                    best = max(best, N_MAPPINGS / (time.perf_counter() - begin))
                drop(server, database)
            print(f"mappings of 5 fields, {n_devices} devices, {name}: {best:,.0f} rows/s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    with LocalServer() as running:
        for is_aligned in (True, False):
            windows_against_write(running, aligned=is_aligned, runs=arguments.runs)
        lists_and_single(running, runs=arguments.runs)
