"""Spark in local mode: what is written is there cell by cell, and what fails is told."""

from __future__ import annotations

import datetime as dt
import decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pandas.testing import assert_frame_equal
from sparks import load, writer

import iotdb_frames as iotf
from iotdb_frames.data import load_demo
from iotdb_frames.errors import OptionsError

pytestmark = [
    pytest.mark.engines,
    pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas"),
]


def test_a_recording_there_and_back(
    spark: Any, place: dict[str, str], connection: Any, device: str, tmp_path: Path
) -> None:
    """45 days of a buoy arrive whole, and come back, cut into ranges of time."""
    buoy = load_demo()
    writer(load(spark, buoy, tmp_path / "in"), place).save(device)
    found = iotf.read(device, columns=list(buoy.columns), connection=connection)
    assert_frame_equal(found, buoy, check_freq=False)

    back = spark.read.format("iotdb").options(**place, partitions=3).load(device)
    assert back.rdd.getNumPartitions() == 3
    table = back.orderBy("time").toArrow()
    assert table["time"].cast(pa.timestamp("ms")).to_pylist() == list(buoy.index)
    for name in buoy:
        expected = pa.array(buoy[name], from_pandas=True)
        assert table[name].combine_chunks().equals(expected), name


def test_a_fleet_and_what_is_asked_of_it(
    spark: Any, place: dict[str, str], connection: Any, table: str, tmp_path: Path
) -> None:
    """A table with tags there and back; columns of a schema, columns by name, and a time range."""
    fleet = iotf.simulate_fleet(5, rate_hz=1, duration="2min", model="table").frame()
    tags = ["site", "line", "machine"]
    plain = f"{table}_plain"
    iotf.write(fleet, plain, tags=tags, connection=connection)
    ours = fleet.astype(dict.fromkeys([*tags, "state"], "str"))
    ours.index.name = "time"
    writer(load(spark, ours, tmp_path), place, tags=",".join(tags)).save(table)
    expected = iotf.read(plain, connection=connection)
    assert_frame_equal(iotf.read(table, connection=connection), expected)

    rows = spark.read.format("iotdb").options(**place)
    assert rows.load(table).count() == len(fleet)
    pruned = rows.schema("machine string, time timestamp, temperature double").load(table)
    assert pruned.columns == ["machine", "time", "temperature"]
    found = pruned.toArrow().to_pandas().groupby("machine")["temperature"].sum()
    sums = fleet.groupby(fleet["machine"].astype(str))["temperature"].sum()
    assert np.allclose(found.sort_index(), sums.sort_index(), rtol=1e-12)
    start = str(fleet.index[0] + pd.Timedelta("30s"))
    some = spark.read.format("iotdb").options(**place, columns="cycles", start=start).load(table)
    assert some.columns == ["time", *tags, "cycles"]
    assert some.count() == (fleet.index >= start).sum()


def test_filters_go_to_the_server(
    spark: Any, place: dict[str, str], connection: Any, table: str
) -> None:
    """Where the session allows it, filters narrow what is read, and never what is found."""
    from pyspark.sql import datasource as ds

    from iotdb_frames.engines.spark import IoTDBDataSource

    hours = pd.date_range("2024-01-01", periods=48, freq="1h")
    frame = pd.DataFrame({"m": ["a", "b"] * 24, "v": range(48), "x": np.arange(48) / 4}, hours)
    iotf.write(frame, table, tags=["m"], connection=connection)
    options = {**place, "pushdown": "true", "partitions": "4"}
    source = IoTDBDataSource({**options, "path": table})
    reader = source.reader(source.schema())
    before = reader.parts
    at = dt.datetime(2024, 1, 1, 12, tzinfo=dt.UTC)
    filters = [
        ds.GreaterThanOrEqual(("time",), at),
        ds.EqualTo(("m",), "a"),
        ds.In(("v",), (12, 14, 15)),
        ds.GreaterThan(("x",), 1.0),
    ]
    assert list(reader.pushFilters(filters)) == filters
    assert reader.where == {"m": "a", "v": [12, 14, 15]}
    assert len(before) == 4
    assert reader.parts[0]["start"] == 1704110400000
    assert reader.parts[-1] == before[-1]
    by_tag = IoTDBDataSource({**options, "path": table, "partitioncolumn": "m"})
    chosen = by_tag.reader(source.schema())
    assert list(chosen.pushFilters(filters)) == filters
    assert [how["where"] for how in chosen.parts] == [{"m": ["a"]}]
    assert chosen.where == {"v": [12, 14, 15]}

    spark.conf.set("spark.sql.python.filterPushdown.enabled", "true")
    try:
        rows = spark.read.format("iotdb").options(**options).load(table)
        when = "time >= '2024-01-01 12:00:00' AND m = 'a' AND v IN (12, 14, 15) AND x > 1.0"
        assert [row.v for row in rows.where(when).orderBy("v").collect()] == [12, 14]
        assert rows.where("time = '2024-01-01 12:00:00'").count() == 1
        assert rows.where("time < '2023-01-01'").count() == 0
        parted = spark.read.format("iotdb").options(**options, partitionColumn="m").load(table)
        assert [row.v for row in parted.where(when).orderBy("v").collect()] == [12, 14]
        assert parted.where("m = 'nobody'").count() == 0
    finally:
        spark.conf.unset("spark.sql.python.filterPushdown.enabled")


def test_every_scalar_type(
    spark: Any, place: dict[str, str], connection: Any, device: str, tmp_path: Path
) -> None:
    """Spark's scalars arrive as what they are, nulls included, and come back."""
    utc = dt.UTC
    columns = {
        "flag": (pa.bool_(), [True, None, False]),
        "byte": (pa.int8(), [-128, None, 127]),
        "short": (pa.int16(), [-32768, None, 32767]),
        "whole": (pa.int32(), [-(2**31), None, 2**31 - 1]),
        "long": (pa.int64(), [-(2**63), None, 2**53 + 1]),
        "single": (pa.float32(), [1.5, None, -0.25]),
        "double": (pa.float64(), [0.1, None, 1e300]),
        "odd": (pa.float64(), [-0.0, float("inf"), float("-inf")]),
        "exact": (pa.decimal128(10, 2), [decimal.Decimal("1.25"), None, decimal.Decimal("2.50")]),
        "text": (pa.string(), ["ü", None, ""]),
        "raw": (pa.binary(), [b"\x00\xff", None, b""]),
        "day": (pa.date32(), [dt.date(1582, 10, 4), None, dt.date(1582, 10, 15)]),
        "zoned": (pa.timestamp("us", "UTC"), [dt.datetime(2024, 1, 1, tzinfo=utc), None, None]),
        "naive": (pa.timestamp("us"), [dt.datetime(1969, 12, 31, 23), None, None]),
        "always": (pa.int64(), [1, 2, 3]),
    }
    times = pa.array([0, 1, 2], pa.timestamp("ms")).cast(pa.timestamp("us"))
    arrays = {name: pa.array(values, kind) for name, (kind, values) in columns.items()}
    table = pa.table({"time": times, **arrays})
    writer(load(spark, table, tmp_path, n=1), place).save(device)
    expected = f"{device}_plain"
    iotf.write(table, expected, connection=connection)
    assert_frame_equal(
        iotf.read(device, connection=connection), iotf.read(expected, connection=connection)
    )
    back = spark.read.format("iotdb").options(**place).load(device).orderBy("time").toArrow()
    for name, (_, values) in columns.items():
        found = back[name].to_pylist()
        assert [v for v in found if v is not None] == [
            v.replace(tzinfo=utc) if isinstance(v, dt.datetime) else v
            for v in values
            if v is not None
        ], name
        assert [v is None for v in found] == [v is None for v in values]
    assert str(back["odd"][0]) == "-0.0"


@pytest.mark.parametrize(
    "kind",
    [
        *("array<int>", "struct<a: int>", "map<string, int>", "variant", "time"),
        *("interval day to second", "interval year to month"),
    ],
)
def test_what_cannot_be_carried_is_named(
    spark: Any, place: dict[str, str], connection: Any, device: str, kind: str
) -> None:
    """A column of a type that IoTDB has not is refused by its name, and nothing is made."""
    frame = spark.createDataFrame([], f"time timestamp, odd {kind}")
    with pytest.raises(Exception, match="column 'odd'"):
        writer(frame, place).save(device)
    with pytest.raises(iotf.QueryError):
        iotf.read(device, connection=connection)


def test_a_decimal_that_no_double_holds(spark: Any, place: dict[str, str], device: str) -> None:
    """A decimal with more digits than DOUBLE has is refused by its column, and never rounded."""
    long = "CAST('12345678901234567890.123456789' AS DECIMAL(38, 9))"
    frame = spark.sql(f"SELECT timestamp '2024-01-01 00:00:00' AS time, {long} AS odd")
    with pytest.raises(Exception, match="column 'odd'"):
        writer(frame, place).save(device)


@pytest.mark.parametrize("how", ["kill", "lose", "break"])
def test_a_task_that_fails_costs_time_only(
    spark: Any, place: dict[str, str], connection: Any, device: str, tmp_path: Path, how: str
) -> None:
    """A task killed, cut off or broken in its writer runs again: every row is there, none wrong."""
    buoy = load_demo()
    log = tmp_path / "log"
    frame = load(spark, buoy, tmp_path / "in")
    writer(frame, place, kind="failing", how=how, log=str(log)).save(device)
    assert log.read_text().count("write") > 4
    found = iotf.read(device, columns=list(buoy.columns), connection=connection)
    assert_frame_equal(found, buoy, check_freq=False)


def test_a_permanent_error_is_told_and_tried_once(
    spark: Any, place: dict[str, str], connection: Any, device: str, tmp_path: Path
) -> None:
    """A value that does not fit fails the job with its column, and no task runs twice for it."""
    values = np.arange(100.0)
    values[77] = 0.5
    frame = pd.DataFrame({"v": values}, pd.date_range("2024-01-01", periods=100, name="time"))
    log = tmp_path / "log"
    options = {"kind": "failing", "how": "", "log": str(log), "schema": '{"v": "INT32"}'}
    with pytest.raises(Exception, match="column 'v'") as caught:
        writer(load(spark, frame, tmp_path / "in"), place, **options).save(device)
    assert "0.5 does not fit INT32" in str(caught.value)
    assert log.read_text().count("write") == 4
    stored = iotf.read(device, connection=connection)["v"]
    assert 60 < len(stored) < 90  # all of the other three partitions
    assert 77 not in set(stored)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "no target"),
        ({"path": "root.a", "tag": "m"}, "unknown option 'tag'"),
        ({"path": "root.a.b", "schema": "{"}, "schema is not JSON"),
        ({"path": "root.a.b", "aligned": "maybe"}, "aligned='maybe'"),
        ({"path": "root.a.b", "travels": "yes"}, "travels='yes' is neither"),
        ({"path": "root.a.b", "target": "root.a.c"}, "two targets"),
        (
            {"path": "root.a.b", "onerror": "collect"},
            "'onerror': refused rows are told by a report",
        ),
        ({"path": "root.a.b", "deadLetter": "x"}, "'deadletter': refused rows"),
        ({"path": "root.a.b", "replace": "true"}, "replace=True needs all rows"),
        ({"path": "root.a.b", "duplicates": "last"}, "duplicates='last' needs all rows"),
        ({"path": "root.a.b", "columns": "a"}, "'columns' is not an option of a write"),
        ({"path": "root.a.b", "tags": '["a"'}, "tags is not JSON"),
        ({"path": "root.a.b", "chunk": "-5"}, "chunk='-5'"),
        ({"path": "root.a.b", "nan": "no"}, "nan='no'"),
        ({"path": "root.a.b", "url": "nonsense:5"}, "nonsense"),
    ],
)
def test_options_are_checked(place: dict[str, str], options: dict[str, str], said: str) -> None:
    """What cannot be meant is refused by name, on the driver."""
    from pyspark.sql.types import StructType

    from iotdb_frames.engines.spark import IoTDBDataSource

    with pytest.raises(OptionsError, match=said):
        IoTDBDataSource({**place, **options}).writer(StructType(), overwrite=False)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tags": "m"}, "'tags' is not an option of a read"),
        ({"partitions": "0"}, "partitions='0'"),
        ({"partitions": "²"}, "partitions='²'"),
        ({"pushdown": "1"}, "pushdown='1'"),
        ({"start": "soon"}, "start='soon'"),
        ({"columns": "temp,,"}, "columns="),
        ({"columns": "nothing"}, "no series nothing"),
        ({"device": ""}, "device=''"),
        ({"partitionColumn": "temp"}, "'temp' does not name devices"),
        ({"partitionColum": "time"}, "unknown option 'partitioncolum'"),
    ],
)
def test_options_of_a_read_are_checked(
    place: dict[str, str], connection: Any, device: str, options: dict[str, str], said: str
) -> None:
    """A read refuses what cannot be meant by name, on the driver."""
    from iotdb_frames.engines.spark import IoTDBDataSource

    frame = pd.DataFrame({"temp": [1.0]}, pd.date_range("2024-01-01", periods=1))
    iotf.write(frame, f"{device}.a", connection=connection)

    def plan() -> None:
        source = IoTDBDataSource({**place, "path": device, **options})
        source.reader(source.schema())

    with pytest.raises((OptionsError, iotf.QueryError), match=said):
        plan()


def test_a_streaming_read_is_refused(place: dict[str, str], device: str) -> None:
    """What would miss late rows is refused, and says what to take."""
    from pyspark.sql.types import StructType

    from iotdb_frames.engines.spark import IoTDBDataSource

    with pytest.raises(OptionsError, match="no streaming read"):
        IoTDBDataSource({**place, "path": device}).streamReader(StructType())


def test_overwrite_is_refused(spark: Any, place: dict[str, str], device: str) -> None:
    """`mode("overwrite")` deletes nothing, and says what to take."""
    frame = spark.createDataFrame([], "time timestamp, v double")
    with pytest.raises(Exception, match=r'mode\("append"\)'):
        writer(frame, place).mode("overwrite").save(device)


def test_a_stream_goes_on_where_it_stopped(
    spark: Any, place: dict[str, str], connection: Any, device: str, tmp_path: Path
) -> None:
    """A stream that goes on from its checkpoint leaves no gap, and no password in it."""
    buoy = load_demo()
    source, checkpoint = tmp_path / "in", tmp_path / "checkpoint"
    schema = load(spark, buoy.iloc[:2000], source, n=2).schema

    def run(kind: str, path: str = device, place_of: Path = checkpoint, **options: str) -> None:
        rows = spark.readStream.schema(schema).option("maxFilesPerTrigger", 1).parquet(str(source))
        query = (
            rows.writeStream.format(kind)
            .options(**place, **options, path=path, checkpointLocation=str(place_of))
            .trigger(availableNow=True)
            .start()
        )
        query.awaitTermination()

    def add(begin: int, end: int) -> None:
        part = pa.Table.from_pandas(buoy.iloc[begin:end])
        pq.write_table(part, source / f"{begin}.parquet", coerce_timestamps="us")

    run("iotdb")
    assert len(iotf.read(device, connection=connection)) == 2000
    for i, how in enumerate(("kill", "lose")):
        add(2000 + 1000 * i, 3000 + 1000 * i)
        run("failing", how=how, log=str(tmp_path / how))
    add(4000, 5000)
    bad = device + ".bad"  # the stream's schema in another type: permanent
    iotf.create({"gust_ms": "BOOLEAN"}, bad, connection=connection)
    with pytest.raises(Exception, match="gust_ms"):
        run("iotdb", bad, tmp_path / "other")
    add(5000, len(buoy))
    run("iotdb")
    found = iotf.read(device, columns=list(buoy.columns), connection=connection)
    assert_frame_equal(found, buoy, check_freq=False)
    secret = place["password"].encode()
    files = [file for file in checkpoint.rglob("*") if file.is_file()]
    assert len(files) > 5
    assert not [file for file in files if secret in file.read_bytes()]
