"""What the bulk road costs: CPU of client and server, files against tablets, in turns.

    python tests/benchmarks/bench_tsfile.py [--rows 2000000] [--rounds 3] [--cases encode,wide]

Cases, all by default:

encode : 1M × 10 DOUBLE, and a long frame, into a file; against `tsfile`'s Arrow writer
wide : `--rows` × 5 DOUBLE (two decimals) into one device, until all rows are in files (tablets are
    flushed: a file is loaded as it is); client and server, from the system's own count of CPU
    time; the region exists, and the target is cleared between the sides
fleet : 1,000 devices × 1,000 rows × 3 DOUBLE
read : a file of 100,000 × 10 DOUBLE as a frame; against `tsfile.to_dataframe`

`tsfile` is IoTDB's own package; without it its sides are left out. On a machine that others use,
only CPU seconds mean something, and of them the least.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pyarrow as pa

import iotdb_frames as iotf
from iotdb_frames.server import LocalServer

Call = Callable[[], Any]


def numbers(n_rows: int, n_columns: int) -> pd.DataFrame:
    """Random walks of two decimals, a row a second."""
    walks = np.cumsum(np.random.default_rng(1).normal(size=(n_rows, n_columns)), axis=0).round(2)
    index = pd.date_range("2024-01-01", periods=n_rows, freq="s", unit="ms", name="time")
    return pd.DataFrame(walks, index, [f"c{i}" for i in range(n_columns)])


def fleet(n_devices: int = 1_000, n_rows: int = 1_000) -> pd.DataFrame:
    """Rows of many devices, all of a time side by side."""
    frame = numbers(n_devices * n_rows, 3).reset_index()
    frame["time"] = frame["time"].to_numpy()[np.repeat(np.arange(n_rows), n_devices)]
    frame["device"] = np.tile([f"d{i}" for i in range(n_devices)], n_rows)
    return frame


def cpu_s(pid: int) -> float:
    """CPU seconds of a process so far."""
    spent = psutil.Process(pid).cpu_times()
    return float(spent.user + spent.system)


def measure(
    sides: dict[str, Call], *, rounds: int, server: int | None = None, clear: Call | None = None
) -> None:
    """Run the sides in turns; print the least CPU of each, client and server."""
    best: dict[str, tuple[float, float, float]] = {}
    for _ in range(rounds):
        for name, call in sides.items():
            if clear is not None:
                clear()
            before = 0.0 if server is None else cpu_s(server)
            wall, own = time.perf_counter(), time.process_time()
            call()
            own, wall = time.process_time() - own, time.perf_counter() - wall
            if server is not None:
                time.sleep(1.0)  # what a server does after its answer is its work, too
            theirs = 0.0 if server is None else cpu_s(server) - before
            one = (own + theirs, own, theirs)
            best[name] = min(best.get(name, one), one)
            print(f"    {name:24} {own:7.2f} + {theirs:6.2f} CPU-s, {wall:6.2f} s", flush=True)
    first = next(iter(best.values()))[0]
    for name, (total, own, theirs) in best.items():
        print(f"  {name:26} {own:7.3f} + {theirs:6.2f} CPU-s, first {first / max(total, 1e-9):.2f}")


def official_write(frame: pd.DataFrame, path: Path, tags: list[str]) -> Call | None:
    """The package's Arrow writer, PLAIN and LZ4, its fastest."""
    try:
        import tsfile
    except ModuleNotFoundError:
        return None
    kinds = tsfile.TSDataType
    columns = [tsfile.ColumnSchema(t, kinds.STRING, tsfile.ColumnCategory.TAG) for t in tags]
    fields = [c for c in frame.columns if c not in ("time", *tags)]
    columns += [tsfile.ColumnSchema(f, kinds.DOUBLE, tsfile.ColumnCategory.FIELD) for f in fields]
    data = frame if tags else frame.reset_index()
    if tags:
        data = data.sort_values([*tags, "time"], kind="stable")
    ticks = data["time"].astype("M8[ms]").astype("i8").to_numpy()
    arrays = [pa.array(ticks)]
    arrays += [pa.array(data[t], pa.string()) for t in tags] + [pa.array(data[f]) for f in fields]
    batch = pa.RecordBatch.from_arrays(arrays, ["time", *tags, *fields])

    def run() -> None:
        path.unlink(missing_ok=True)
        writer = tsfile.TsFileTableWriter(str(path), tsfile.TableSchema("t", columns))
        writer.write_arrow_batch(batch)
        writer.close()

    return run


def official_read(path: Path) -> Call | None:
    """The package's frame of a file."""
    try:
        import tsfile
    except ModuleNotFoundError:
        return None
    return lambda: tsfile.to_dataframe(str(path))


def main() -> None:
    """Run the cases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cases", default="encode,wide,fleet,read")
    chosen = parser.parse_args()
    cases = chosen.cases.split(",")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "encode" in cases or "read" in cases:
            _files(folder, cases, chosen.rounds)
        if "wide" in cases or "fleet" in cases:
            with LocalServer(folder / "server") as server:
                _roads(server, cases, chosen.rows, chosen.rounds)


def _files(folder: Path, cases: list[str], rounds: int) -> None:
    frame, long = numbers(1_000_000, 10), fleet()
    path = folder / "f.tsfile"

    def write(data: pd.DataFrame, **options: Any) -> Call:
        return lambda: iotf.write_tsfile(data, path, target="db.t", overwrite=True, **options)

    for title, data, options in (
        ("encode 1M × 10 DOUBLE", frame, {}),
        ("encode 1,000 × 1,000 × 3", long, {"time": "time", "tags": ["device"]}),
    ):
        if "encode" in cases:
            print(title)
            sides = {"official Arrow writer": official_write(data, path, options.get("tags", []))}
            sides["ours, lz4, 1 thread"] = write(data, workers=1, **options)
            sides["ours, snappy, 1 thread"] = write(
                data, workers=1, compression="snappy", **options
            )
            sides["ours, none, 1 thread"] = write(
                data, workers=1, compression="uncompressed", **options
            )
            measure({k: v for k, v in sides.items() if v is not None}, rounds=rounds)
    if "read" in cases:
        print("read 100,000 × 10 DOUBLE")
        write(frame.iloc[:100_000])()
        reads = {
            "official to_dataframe": official_read(path),
            "ours": lambda: iotf.read_tsfile(path),
        }
        measure({k: v for k, v in reads.items() if v is not None}, rounds=rounds)


def _roads(server: LocalServer, cases: list[str], n_rows: int, rounds: int) -> None:
    url = f"iotdb://{server.options.user}:{server.options.password}@127.0.0.1:{server.port}"
    connection = iotf.connect(url)
    iotf.write(numbers(10, 1), "root.bench.warm", connection=connection, progress=False)

    def write(data: pd.DataFrame, method: Any, **options: Any) -> Call:
        def run() -> None:
            where = {"connection": connection, "method": method, "progress": False}
            iotf.write(data, "root.bench.d", **where, **options)
            iotf.execute("FLUSH root.bench", connection=connection)

        return run

    def clear() -> None:
        iotf.execute("DELETE TIMESERIES root.bench.d.**", connection=connection)

    for case, title, make, options in (
        ("wide", f"{n_rows:,} × 5 DOUBLE", lambda: numbers(n_rows, 5), {}),
        ("fleet", "1,000 × 1,000 × 3 DOUBLE", fleet, {"time": "time", "device": "device"}),
    ):
        if case in cases:
            data = make()
            print(f"{title}: client + server")
            write(data.iloc[:10], "tablets", **options)()
            measure(
                {m: write(data, m, **options) for m in ("tablets", "tsfile")},
                rounds=rounds,
                server=server.pid,
                clear=clear,
            )


if __name__ == "__main__":
    main()
