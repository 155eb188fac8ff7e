"""What an engine costs beside a plain write, on one server: rows/s with 1 and 2 workers.

    python tests/benchmarks/bench_engines.py [dask | spark | flink] [rows] [rounds]

Sides take turns; the rows lie in the workers' memory when a turn begins. CPU is that of this
process (client), of the engine's (workers, and Spark's JVM) and of the server, in µs per point.
"Nothing" hands the rows to the workers' Python, which drops them: what the engine itself costs.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import psutil

import iotdb_frames as iotf
from harness import Call, alternate, print_table

N_COLUMNS = 10


def cpu_s(process: psutil.Process) -> float:
    """Seconds of CPU that a process, its descendants and those of them that have ended took."""
    total = 0.0
    for one in [process, *process.children(recursive=True)]:
        with contextlib.suppress(psutil.Error):
            total += sum(one.cpu_times()[:4])
    return total


def make_frame(n_rows: int) -> pd.DataFrame:
    """Ten columns of doubles with two decimals."""
    rng = np.random.default_rng(0)
    values = {f"s{i}": rng.normal(20, 5, n_rows).round(2) for i in range(N_COLUMNS)}
    times = pd.date_range("2024-01-01", periods=n_rows, freq="100ms", name="time")
    return pd.DataFrame(values, times)


def compare(
    sides: Mapping[str, Callable[[str], object]],
    engine_of: Mapping[str, Sequence[psutil.Process]],
    server: iotf.LocalServer,
    *,
    n_rows: int,
    rounds: int,
) -> None:
    """Let sides take turns, and print rows/s and CPU.

    engine_of : processes of the engine, by side
    """
    spent: dict[str, list[list[float]]] = {name: [] for name in sides}

    def prepare(name: str, target: str) -> Call:
        def used() -> list[float]:
            engine = sum(map(cpu_s, engine_of.get(name, ())))
            return [time.process_time(), engine, cpu_s(psutil.Process(server.pid))]

        def run() -> None:
            before = used()
            sides[name](f"root.bench.{target.replace(' ', '_')}")
            spent[name].append([now - b for now, b in zip(used(), before, strict=True)])

        return run

    samples = alternate(
        {name: partial(prepare, name) for name in sides}, rounds=rounds, check=lambda _: None
    )
    plain = samples["plain"].seconds
    n_points = n_rows * N_COLUMNS
    print_table(
        ("side", "rows/s", "of plain", "client µs", "engine µs", "server µs"),
        [
            (
                name,
                f"{n_rows / taken.seconds:,.0f}",
                f"{plain / taken.seconds:.2f}",
                *(f"{s / n_points * 1e6:.3f}" for s in np.median(spent[name][-rounds:], axis=0)),
            )
            for name, taken in samples.items()
        ],
    )


def on_spark(n_rows: int, rounds: int) -> None:
    """One and two threads of Spark beside a plain write."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from pyspark.sql import SparkSession

    from iotdb_frames.engines import spark as engine

    frame = make_frame(n_rows)
    os.environ |= {"PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
    with tempfile.TemporaryDirectory() as directory, iotf.LocalServer(heap="1GiB") as server:
        file = f"{directory}/rows.parquet"
        pq.write_table(pa.Table.from_pandas(frame), file, coerce_timestamps="us")
        builder = SparkSession.builder.master("local[2,4]").config("spark.driver.memory", "2g")
        spark = builder.config("spark.sql.session.timeZone", "UTC").getOrCreate()
        spark.dataSource.register(engine.IoTDBDataSource)
        rows = {n: spark.read.parquet(file).repartition(n).cache() for n in (1, 4)}
        assert [held.count() for held in rows.values()] == [n_rows] * 2
        password = iotf.Secret(str(server.options.password), travels=True)
        where = {"url": server.url, "password": str(password)}
        writer = rows[4].write.format("iotdb").mode("append").options(**where)

        def drop(batches: Any) -> Any:
            n = sum(batch.num_rows for batch in batches)
            yield pa.record_batch([pa.array([n])], names=["n"])

        with iotf.connect(server.url, password=password) as connection:

            def write(held: Any, target: str) -> None:
                report = engine.write(held, target, connection=connection)
                assert report.rows_written == n_rows

            sides: dict[str, Callable[[str], object]] = {
                "plain": lambda to: iotf.write(frame, to, connection=connection),
                "nothing 1": lambda _: rows[1].mapInArrow(drop, "n long").collect(),
                "nothing 2": lambda _: rows[4].mapInArrow(drop, "n long").collect(),
                "write 1": partial(write, rows[1]),
                "write 2": partial(write, rows[4]),
                "format 2": lambda to: writer.save(to),
            }
            jvm = psutil.Process(spark.sparkContext._gateway.proc.pid)
            engine_of = {name: [jvm] for name in sides if name != "plain"}
            compare(sides, engine_of, server, n_rows=n_rows, rounds=rounds)
        spark.stop()


def on_dask(n_rows: int, rounds: int) -> None:
    """Threads and distributed workers of Dask beside a plain write."""
    import dask
    import dask.dataframe as dd
    from distributed import Client, LocalCluster, wait

    import iotdb_frames.engines.dask  # noqa: F401

    frame = make_frame(n_rows)
    ddf = dd.from_pandas(frame, npartitions=8)
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(iotf.LocalServer(heap="1GiB"))
        password = iotf.Secret(str(server.options.password), travels=True)
        connection = stack.enter_context(iotf.connect(server.url, password=password))

        def on_threads(target: str) -> Any:
            with dask.config.set(scheduler="threads", num_workers=2):
                return ddf.iotdb.write(target, connection=connection)

        sides: dict[str, Callable[[str], object]] = {
            "plain": lambda to: iotf.write(frame, to, connection=connection),
            "threads 2": on_threads,
        }
        engine_of = {}
        for n in (1, 2):
            cluster = stack.enter_context(
                LocalCluster(n_workers=n, threads_per_worker=1, dashboard_address=":0")
            )
            client = stack.enter_context(Client(cluster, set_as_default=False))
            with client.as_current():
                held = ddf.persist()
                wait(held)

            def on_workers(
                call: Callable[[Any, str], Any], target: str, client: Any = client, held: Any = held
            ) -> Any:
                with client.as_current():
                    return call(held, target)

            for word, call in (
                ("nothing", lambda held, _: held.map_partitions(len).compute()),
                ("write", lambda held, to: held.iotdb.write(to, connection=connection)),
            ):
                sides[f"{word} {n}"] = partial(on_workers, call)
                pids = client.run(lambda: psutil.Process().pid).values()
                engine_of[f"{word} {n}"] = list(map(psutil.Process, pids))
        compare(sides, engine_of, server, n_rows=n_rows, rounds=rounds)


def on_flink(n_rows: int, rounds: int) -> None:
    """One and two tasks of Flink beside a plain write, for each a quarter of the rows and all.

    A job takes seconds to start, so the rows/s are those of the other three quarters.
    """
    os.environ |= {"_python_worker_execution_mode": "process"}
    from pyflink.java_gateway import get_gateway
    from pyflink.table import EnvironmentSettings, TableEnvironment

    from iotdb_frames.engines.flink import IoTDBSink

    small = n_rows // 4
    frames = {n: make_frame(n) for n in (small, n_rows)}
    java = get_gateway().jvm.java.lang.ProcessHandle.current().pid()

    def tables(n_tasks: int, n: int) -> tuple[Any, Any]:
        t_env = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
        for name, value in {
            "parallelism.default": str(n_tasks),
            "execution.checkpointing.interval": "10s",
            "heartbeat.timeout": "10min",  # a busy machine loses no task
        }.items():
            t_env.get_config().set(name, value)
        fields = ", ".join(f"s{i} DOUBLE" for i in range(N_COLUMNS))
        t_env.execute_sql(
            f"CREATE TEMPORARY TABLE made (n BIGINT, {fields}) WITH ('connector' = 'datagen', "
            "'rows-per-second' = '100000000', 'fields.n.kind' = 'sequence', "
            f"'fields.n.start' = '0', 'fields.n.end' = '{n - 1}')"
        )
        time = "TIMESTAMPADD(SECOND, CAST(n AS INT), TIMESTAMP '2024-01-01') AS `time`"
        columns = ", ".join(f"s{i}" for i in range(N_COLUMNS))
        return t_env.sql_query(f"SELECT {time}, {columns} FROM made"), t_env

    with contextlib.ExitStack() as stack:
        server = stack.enter_context(iotf.LocalServer(heap="1GiB"))
        password = iotf.Secret(str(server.options.password), travels=True)
        connection = stack.enter_context(iotf.connect(server.url, password=password))
        place = iotf.IoTDBOptions(url=server.url, password=password)
        used: dict[str, list[float]] = {}

        def side(name: str, write: Callable[[str], Any], n: int) -> Callable[[str], Call]:
            def call(target: str) -> Call:
                def run() -> None:
                    def spent() -> list[float]:
                        others = [cpu_s(psutil.Process(pid)) for pid in (java, server.pid)]
                        return [time.process_time(), *others]

                    before = spent()
                    report = write(f"root.bench.{target.replace(' ', '_')}")
                    assert report.rows_written == n
                    used[name] = [b - a for a, b in zip(before, spent(), strict=True)]

                return run

            return call

        def on_tasks(n_tasks: int, n: int) -> Callable[[str], Any]:
            def write(target: str) -> Any:
                return IoTDBSink(place, target=target, aligned=True).run(*tables(n_tasks, n))

            return write

        sides = {}
        for n, frame in frames.items():
            plain = partial(iotf.write, frame, connection=connection)
            sides[f"plain of {n}"] = side(f"plain of {n}", plain, n)
            for k in (1, 2):
                sides[f"flink {k} of {n}"] = side(f"flink {k} of {n}", on_tasks(k, n), n)
        samples = alternate(sides, rounds=rounds, check=lambda _: None)

        def more(name: str, value: Callable[[str], float]) -> float:
            return value(f"{name} of {n_rows}") - value(f"{name} of {small}")

        n_more = n_rows - small
        taken = {
            name: more(name, lambda s: samples[s].seconds)
            for name in ("plain", "flink 1", "flink 2")
        }
        print_table(
            ("side", "rows/s", "of plain", "client µs", "engine µs", "server µs", "start s"),
            [
                (
                    name,
                    f"{n_more / seconds:,.0f}",
                    f"{taken['plain'] / seconds:.2f}",
                    *(
                        f"{more(name, lambda s, i=i: used[s][i]) / n_more / N_COLUMNS * 1e6:.3f}"
                        for i in range(3)
                    ),
                    f"{samples[f'{name} of {small}'].seconds - seconds / 3:.1f}",
                )
                for name, seconds in taken.items()
            ],
        )


if __name__ == "__main__":
    engine, *sizes = [*sys.argv[1:], *("dask", "500000", "5")[len(sys.argv) - 1 :]]
    {"dask": on_dask, "flink": on_flink, "spark": on_spark}[engine](*map(int, sizes))
