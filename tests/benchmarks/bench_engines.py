"""What an engine costs beside a plain write, on one server: rows/s with 1 and 2 workers.

    python tests/benchmarks/bench_engines.py [rows] [rounds]

Sides take turns; the rows lie in the workers' memory when a turn begins. CPU is that of this
process, the workers and the server, in µs a point.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import psutil

import iotdb_frames as iotf
from harness import Call, alternate, print_table

N_COLUMNS = 10


def cpu_s(pids: list[int]) -> float:
    """Seconds of CPU that processes have used."""
    times = (psutil.Process(pid).cpu_times() for pid in pids)
    return sum(t.user + t.system for t in times)


def main(n_rows: int, rounds: int) -> None:
    import dask
    import dask.dataframe as dd
    from distributed import Client, LocalCluster, wait

    import iotdb_frames.engines.dask  # noqa: F401

    rng = np.random.default_rng(0)
    values = {f"s{i}": rng.normal(20, 5, n_rows).round(2) for i in range(N_COLUMNS)}
    frame = pd.DataFrame(values, pd.date_range("2024-01-01", periods=n_rows, freq="100ms"))
    ddf = dd.from_pandas(frame, npartitions=8)
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(iotf.LocalServer(heap="1GiB"))
        password = iotf.Secret(str(server.options.password), travels=True)
        connection = stack.enter_context(iotf.connect(server.url, password=password))
        workers: dict[str, list[int]] = {"plain": [], "threads 2": []}
        used: dict[str, list[float]] = {}

        def side(name: str, write: Callable[[str], Any]) -> Callable[[str], Call]:
            pids = workers.setdefault(name, [])

            def call(target: str) -> Call:
                def run() -> None:
                    each = [[psutil.Process().pid], pids, [server.pid]]
                    before = [cpu_s(some) for some in each]
                    report = write(f"root.bench.{target.replace(' ', '_')}")
                    assert report.rows_written == n_rows
                    spent = [cpu_s(some) - b for some, b in zip(each, before, strict=True)]
                    used[name] = spent

                return run

            return call

        def on_threads(target: str) -> Any:
            with dask.config.set(scheduler="threads", num_workers=2):
                return ddf.iotdb.write(target, connection=connection)

        sides = {
            "plain": side("plain", lambda to: iotf.write(frame, to, connection=connection)),
            "threads 2": side("threads 2", on_threads),
        }
        for n in (1, 2):
            cluster = stack.enter_context(
                LocalCluster(n_workers=n, threads_per_worker=1, dashboard_address=":0")
            )
            client = stack.enter_context(Client(cluster, set_as_default=False))
            name = f"distributed {n}"
            workers[name] = list(client.run(lambda: psutil.Process().pid).values())
            with client.as_current():
                held = ddf.persist()
                wait(held)

            def on_workers(target: str, client: Any = client, held: Any = held) -> Any:
                with client.as_current():
                    return held.iotdb.write(target, connection=connection)

            sides[name] = side(name, on_workers)
        samples = alternate(sides, rounds=rounds, check=lambda _: None)
        plain = samples["plain"].seconds
        n_points = n_rows * N_COLUMNS
        print_table(
            ("side", "rows/s", "of plain", "client µs", "workers µs", "server µs"),
            [
                (
                    name,
                    f"{n_rows / taken.seconds:,.0f}",
                    f"{plain / taken.seconds:.2f}",
                    *(f"{seconds / n_points * 1e6:.3f}" for seconds in used[name]),
                )
                for name, taken in samples.items()
            ],
        )


if __name__ == "__main__":
    main(*map(int, (sys.argv[1:] + ["500000", "5"][len(sys.argv) - 1 :])))
