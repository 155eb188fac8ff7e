"""Spark's writes that give a report, reads by device, and what is left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pandas as pd
import psutil
import pyarrow.parquet as pq
import pytest
from failing_job import FailingJobs
from pandas.testing import assert_frame_equal
from sparks import load, writer

import iotdb_frames as iotf
from iotdb_frames.data import load_demo
from iotdb_frames.errors import (
    ColumnTypeError,
    ConnectionLost,
    FrameError,
    OptionsError,
    PartialWriteError,
)

pytestmark = [
    pytest.mark.engines,
    pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas"),
]


def fleet() -> pd.DataFrame:
    """Five machines, two minutes, as Spark takes them."""
    made = iotf.simulate_fleet(5, rate_hz=1, duration="2min", model="table").frame()
    return made.astype(dict.fromkeys(["site", "line", "machine", "state"], "str")).rename_axis(
        "time"
    )


# --- a report ---


def test_a_report_of_all_tasks(
    spark: Any, there: iotf.Endpoint, connection: Any, device: str, tmp_path: Path
) -> None:
    """A recording arrives cell by cell, and the report counts what all tasks have stored."""
    from iotdb_frames.engines.spark import write

    buoy = load_demo()
    report = write(load(spark, buoy, tmp_path), device, connection=there)
    assert report.is_complete
    assert report.target == device
    assert (report.rows_in, report.rows_written) == (len(buoy), len(buoy))
    assert report.points == buoy.notna().sum().sum()
    assert report.chunks == 4
    found = iotf.read(device, columns=list(buoy.columns), connection=connection)
    assert_frame_equal(found, buoy, check_freq=False)


def test_refused_rows_of_every_task_are_kept(
    spark: Any, there: iotf.Endpoint, connection: Any, device: str, tmp_path: Path
) -> None:
    """Dead letters of several tasks are a file each, which the report names; no row is lost."""
    from iotdb_frames.engines.spark import write

    values = np.arange(400.0)
    values[::4] += 0.5
    frame = pd.DataFrame({"v": values}, pd.date_range("2024-01-01", periods=400, name="time"))
    report = write(
        load(spark, frame, tmp_path / "in"),
        device,
        connection=there,
        schema={"v": "INT32"},
        on_error="collect",
        dead_letter=tmp_path / "bad.parquet",
    )
    assert (report.rows_in, report.rows_written, report.rows_refused) == (400, 300, 100)
    files = sorted(tmp_path.glob("*.parquet"))
    refused = np.concatenate([pq.read_table(file)["v"].to_numpy() for file in files])
    assert sorted(refused) == sorted(values[::4])
    said = f"{report.dead_letter} {' '.join(report.notes)}"
    assert all(str(file) in said for file in files)
    stored = iotf.read(device, connection=connection)["v"]
    assert sorted(stored) == sorted(values[values == values.round()])


def test_an_error_has_the_report_of_all(
    spark: Any, there: iotf.Endpoint, connection: Any, device: str, tmp_path: Path
) -> None:
    """A value that does not fit arrives as our error, with what the other tasks have stored."""
    from iotdb_frames.engines.spark import write

    values = np.arange(100.0)
    values[77] = 0.5
    frame = pd.DataFrame({"v": values}, pd.date_range("2024-01-01", periods=100, name="time"))
    rows = load(spark, frame, tmp_path)
    with pytest.raises(ColumnTypeError, match=r"0\.5 does not fit INT32") as caught:
        write(rows, device, connection=there, schema={"v": "INT32"})
    stored = iotf.read(device, connection=connection)["v"]
    assert caught.value.column == "v"
    assert caught.value.report.rows_written == len(stored)
    assert 77 not in set(stored)
    again = write(rows.where("v <> 0.5"), device, connection=there)
    assert again.rows_written == 99  # the session works on


@pytest.mark.parametrize("how", ["kill", "break", "lose"])
def test_a_task_that_fails(
    spark: Any,
    there: iotf.Endpoint,
    connection: Any,
    table: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
) -> None:
    """A lost worker costs time only; a lost connection is told, and a second write mends it."""
    from iotdb_frames.engines import spark_write

    monkeypatch.setattr(spark_write, "Job", FailingJobs(tmp_path / "log", how))
    frame, tags = fleet(), ["site", "line", "machine"]
    rows = load(spark, frame, tmp_path / "in")
    if how == "lose":
        with pytest.raises((ConnectionLost, PartialWriteError), match="connection broke") as caught:
            spark_write.write(rows, table, connection=there, tags=tags)
        assert caught.value.report.rows_written < len(frame)
    report = spark_write.write(rows, table, connection=there, tags=tags)
    assert (tmp_path / "log.failed").exists()
    assert report.rows_written == len(frame)
    plain = f"{table}_plain"
    iotf.write(frame, plain, tags=tags, connection=connection)
    expected = iotf.read(plain, connection=connection)
    assert_frame_equal(iotf.read(table, connection=connection), expected)


def test_what_is_not_a_frame_of_spark(spark: Any, there: iotf.Endpoint, device: str) -> None:
    """Streams, other frames and options that tasks cannot have are refused, and nothing is made."""
    from iotdb_frames.engines.spark import write

    stream = spark.readStream.format("rate").load()
    with pytest.raises(FrameError, match="foreachBatch"):
        write(stream, device, connection=there)
    with pytest.raises(FrameError, match=r"iotf\.write"):
        write(load_demo(), device, connection=there)
    rows = spark.createDataFrame([], "time timestamp, v double")
    with pytest.raises(OptionsError, match="replace=True needs all rows"):
        write(rows, device, connection=there, replace=True)
    with pytest.raises(OptionsError, match="unknown option 'tag'"):
        write(rows, device, connection=there, tag=["v"])
    assert write(rows, device, connection=there).rows_in == 0


# --- reads by device ---


@pytest.mark.parametrize("model", ["tree", "table"])
def test_a_read_is_split_by_device(
    spark: Any, place: dict[str, str], connection: Any, device: str, table: str, model: str
) -> None:
    """Each task reads some devices, also such as lack a column; together they read all rows."""
    from iotdb_frames.engines.spark import IoTDBDataSource

    frame = fleet()
    names: dict[str, Any] = {"tags": ["site", "line", "machine"]}
    target, key = table, "machine"
    if model == "tree":
        frame = frame.drop(columns=["site", "line"])
        target, key, names = device, "m", {"device": "machine"}
    frame.loc[frame["machine"] == frame["machine"].iloc[0], "cycles"] = None
    iotf.write(frame, target, connection=connection, **names)
    options = {**place, "partitioncolumn": key, "partitions": "3"}
    options |= {"device": key} if model == "tree" else {}
    source = IoTDBDataSource({**options, "path": target})
    assert [len(how["where"][key]) for how in source.reader(source.schema()).parts] == [1, 2, 2]
    rows = spark.read.format("iotdb").options(**options).load(target)
    assert rows.rdd.getNumPartitions() == 3
    found = rows.orderBy(key, "time").toArrow()
    there = {"device": key} if model == "tree" else {}
    expected = iotf.read(target, returns="arrow", tz="UTC", connection=connection, **there)
    assert expected.num_rows == len(frame)
    for name in expected.column_names:
        wanted = expected[name].cast(found[name].type)
        assert found[name].combine_chunks().equals(wanted.combine_chunks()), name


def test_a_group_of_devices_without_a_column(
    spark: Any, place: dict[str, str], connection: Any, device: str
) -> None:
    """Devices that lack a column have missing values in it, whichever task reads them."""
    days = pd.date_range("2024-01-01", periods=2)
    iotf.write(pd.DataFrame({"a": [1.0, 2.0]}, days), f"{device}.x", connection=connection)
    iotf.write(pd.DataFrame({"b": [3, 4]}, days), f"{device}.y", connection=connection)
    rows = spark.read.format("iotdb").options(**place, partitionColumn="device")
    found = rows.load(device).orderBy("device", "time").toArrow().to_pandas()
    assert found["device"].tolist() == ["x", "x", "y", "y"]
    assert found["a"].fillna(0).tolist() == [1.0, 2.0, 0.0, 0.0]
    assert found["b"].fillna(0).tolist() == [0, 0, 3, 4]
    some = rows.schema("time timestamp, device string, b bigint").load(device)
    assert some.count() == 2


def test_a_head_reads_one_range(
    spark: Any, place: dict[str, str], connection: Any, device: str, tmp_path: Path
) -> None:
    """`head` reads the first range of time, not the others."""
    iotf.write(load_demo(), device, connection=connection)
    log = tmp_path / "log"
    rows = spark.read.format("failing").options(**place, partitions=6, log=str(log), how="")
    assert len(rows.load(device).head(5)) == 5
    assert log.read_text().count("read") == 1
    assert len(rows.load(device).collect()) == len(load_demo())
    assert log.read_text().count("read") == 7


# --- what is left behind ---


def test_a_password_shows_nowhere(
    spark: Any,
    place: dict[str, str],
    there: iotf.Endpoint,
    device: str,
    tmp_path: Path,
    event_log: Path,
) -> None:
    """Plans, and what Spark's web interface shows of reads and writes, hold no password."""
    from pyspark import cloudpickle

    from iotdb_frames.engines.spark import IoTDBDataSource, write

    secret = place["password"]
    frame = load(spark, load_demo(), tmp_path)
    writer(frame, place).save(device)
    host = place["url"].removeprefix("iotdb://").split("@")[-1]
    in_url = {"url": f"iotdb://root:{secret}@{host}", "travels": "true"}
    writer(frame, in_url).save(f"{device}.url")
    write(frame, f"{device}.told", connection=there)
    for where in (place, in_url):
        rows = spark.read.format("iotdb").options(**where).load(device)
        shown = rows._jdf.queryExecution().toString()
        assert "iotdb" in shown
        assert secret not in shown
        rows.count()
    with pytest.raises(Exception, match="does not fit") as caught:
        writer(frame, place, schema='{"wave_height_m": "INT32"}').save(f"{device}.bad")
    assert secret not in str(caught.value)
    events = "".join(file.read_text() for file in event_log.iterdir() if file.is_file())
    assert events.count("SparkListenerSQLExecutionStart") > 4
    assert "MapInArrow" in events
    assert secret not in events

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IOTDB_PASSWORD", secret)
        of_environment = IoTDBDataSource({"url": place["url"], "path": f"{device}.v"})
        made = of_environment.writer(frame.schema, overwrite=False)
        assert secret.encode() not in cloudpickle.dumps(made)
    given = IoTDBDataSource({**place, "path": f"{device}.v"})
    made = given.writer(frame.schema, overwrite=False)
    assert secret.encode() in cloudpickle.dumps(made)
    assert secret not in repr(made.job)


_SCRIPT = """
import sys
import pandas as pd
import iotdb_frames as iotf

if __name__ == "__main__":
    engine, url, password, target = sys.argv[1:]
    there = iotf.connect(url, password=iotf.Secret(password, travels=True))
    frame = pd.DataFrame({"v": [1.0, 2.0]}, pd.date_range("2024-01-01", periods=2, name="time"))
    if engine == "spark":
        from pyspark.sql import SparkSession
        from iotdb_frames.engines.spark import IoTDBDataSource, write
        spark = SparkSession.builder.master("local[2]").getOrCreate()
        spark.dataSource.register(IoTDBDataSource)
        rows = spark.sql("SELECT timestamp_seconds(id) AS time, id AS v FROM range(2)")
        assert write(rows, target, connection=there).rows_written == 2
    else:
        import dask, distributed
        import dask.dataframe as dd
        import iotdb_frames.engines.dask
        ddf = dd.from_pandas(frame, npartitions=2)
        if engine == "processes":
            with dask.config.set(scheduler="processes", num_workers=2):
                assert ddf.iotdb.write(target, connection=there).rows_written == 2
        else:
            client = distributed.Client(n_workers=2, dashboard_address=":0")
            assert ddf.iotdb.write(target, connection=there).rows_written == 2
    raise SystemExit("the job failed behind its write")
"""


@pytest.mark.parametrize("engine", ["spark", "processes", "distributed"])
def test_no_process_is_left(
    place: dict[str, str], device: str, tmp_path: Path, engine: str
) -> None:
    """When a program that wrote ends by an error, all processes of its engine end."""
    script, mark = tmp_path / "job.py", uuid4().hex
    script.write_text(_SCRIPT)
    environment = {"OF_THIS_TEST": mark, "PYSPARK_PYTHON": sys.executable}
    done = subprocess.run(
        [sys.executable, script, engine, place["url"], place["password"], device],
        env={**os.environ, **environment, "SPARK_LOCAL_IP": "127.0.0.1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert "the job failed behind its write" in done.stderr
    for _ in range(300):
        left = [process for process in psutil.process_iter() if _is_marked(process, mark)]
        if not left:
            break
        time.sleep(0.1)
    assert left == []


def _is_marked(process: psutil.Process, mark: str) -> bool:
    try:
        return process.environ().get("OF_THIS_TEST") == mark
    except psutil.Error:
        return False
