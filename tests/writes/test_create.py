"""`create`: the schema that a write would make, and no row."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pandas.testing import assert_frame_equal

import iotdb_frames as iotf
from iotdb_frames.client.connection import Connection
from iotdb_frames.errors import ColumnTypeError, FrameError, OptionsError, PermissionDenied
from iotdb_frames.options import ConnectionOptions
from iotdb_frames.reads.read import read
from iotdb_frames.reads.show import show
from iotdb_frames.server import LocalServer
from iotdb_frames.writes.create import create
from iotdb_frames.writes.writer import plan, write

FRAME = pd.DataFrame(
    {
        "temp": [20.5, np.nan],
        "n": pd.array([1, None], "Int64"),
        "note": ["a", None],
        "at": pd.to_datetime(["2024-01-01", None]),
        "machine": ["m1", "m2"],
    },
    index=pd.date_range("2024-03-01", periods=2, freq="1min", unit="ms", name="time"),
)


def many(n_devices: int) -> pd.DataFrame:
    """A row of each device."""
    index = pd.date_range("2024-03-01", periods=n_devices, freq="1min", unit="ms", name="time")
    names = [f"m{i:03}" for i in range(n_devices)]
    return pd.DataFrame({"device": names, "temp": 1.5, "n": 1}, index=index)


def test_a_frame(connection: Connection, device: str, table: str) -> None:
    """The series or the table of a frame are there, empty, and its rows fit."""
    targets: list[tuple[str, dict[str, Any]]] = [(device, {}), (table, {"tags": ["machine"]})]
    for target, options in targets:
        planned = plan(FRAME, target, connection=connection, **options)
        report = create(FRAME, target, connection=connection, **options)
        assert report.made == planned.ddl
        assert report.columns["n"] == "INT64"
        empty = read(target, limit=0, connection=connection)
        assert len(read(target, connection=connection)) == 0
        assert plan(FRAME, target, connection=connection, **options).ddl == ()
        again = create(FRAME, target, connection=connection, **options)
        assert again.n_made == 0
        assert "all of it is there" in repr(again)
        write(FRAME, target, connection=connection, **options)
        assert_frame_equal(read(target, connection=connection)[:0], empty)


def test_a_schema_that_is_spelled_out(connection: Connection, device: str, table: str) -> None:
    """A mapping of types makes a device or a table, with tags that it need not list."""
    wish = iotf.TimeseriesOption(data_type="INT32", encoding="RLE", compression="SNAPPY")
    create({"temp": "DOUBLE", "n": wish}, device, connection=connection)
    found = show("timeseries", device, connection=connection).set_index("Timeseries")
    assert found.loc[f"{device}.n", ["DataType", "Encoding", "Compression"]].tolist() == [
        *("INT32", "RLE", "SNAPPY")
    ]
    assert found.loc[f"{device}.temp", "DataType"] == "DOUBLE"
    create(
        {"temp": "FLOAT", "day": "DATE", "line": "STRING"},
        table,
        tags=["machine", "line"],
        attributes=["site"],
        connection=connection,
    )
    found = show("columns", table, connection=connection)
    assert list(zip(found["ColumnName"], found["DataType"], found["Category"], strict=True)) == [
        ("time", "TIMESTAMP", "TIME"),
        ("machine", "STRING", "TAG"),
        ("line", "STRING", "TAG"),
        ("site", "STRING", "ATTRIBUTE"),
        ("temp", "FLOAT", "FIELD"),
        ("day", "DATE", "FIELD"),
    ]


def test_the_list_of_the_flink_connector(connection: Connection, device: str) -> None:
    """A list of options with paths makes the series of several devices."""
    options = [
        iotf.TimeseriesOption(path=f"{device}.a.s1", data_type="DOUBLE"),
        iotf.TimeseriesOption(path=f"{device}.b.s2", data_type="TEXT"),
    ]
    create(options, device, aligned=False, connection=connection)
    found = show("timeseries", device, connection=connection)
    assert sorted(found["Timeseries"]) == [f"{device}.a.s1", f"{device}.b.s2"]
    assert set(show("devices", device, connection=connection)["IsAligned"]) == {"false"}


def test_arrow_and_polars(connection: Connection, device: str) -> None:
    """An Arrow schema, an Arrow table and a Polars frame say what a frame of pandas does."""
    schema = pa.schema([("time", pa.timestamp("us")), ("a", pa.int32()), ("b", pa.binary())])
    times = pl.Series("time", [0], pl.Datetime("ms"))
    for i, data in enumerate(
        [
            schema,
            schema.empty_table(),
            pl.DataFrame([times, pl.Series("a", [1], pl.Int32), pl.Series("b", [b""])]),
        ]
    ):
        report = create(data, f"{device}.d{i}", connection=connection)
        assert report.columns == {"a": "INT32", "b": "BLOB"}
        assert read(f"{device}.d{i}", connection=connection).columns.tolist() == ["a", "b"]


@pytest.mark.parametrize("aligned", [True, False])
def test_many_devices(aligned: bool, connection: Connection, device: str) -> None:
    """All devices that a frame names are made, however many, none left to a first tablet."""
    frame = many(40)
    report = create(frame, device, device="device", aligned=aligned, connection=connection)
    assert report.n_made == 80
    found = show("devices", device, connection=connection)
    assert len(found) == 40
    assert set(found["IsAligned"]) == {str(aligned).lower()}
    assert len(read(f"{device}.**", connection=connection)) == 0
    assert create(frame, device, device="device", connection=connection).n_made == 0


def test_at_the_same_time(connection: Connection, device: str, table: str) -> None:
    """Several may create the same at once, and all of it is there once."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            create(many(20), device, device="device", connection=connection)
            create(many(20), table, tags=["device"], connection=connection)
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(show("timeseries", device, connection=connection)) == 40
    assert len(show("columns", table, connection=connection)) == 4


def test_what_is_there_counts(connection: Connection, device: str, table: str) -> None:
    """A column that is there in another type is refused, and new ones are added to those there."""
    for target in (device, table):
        create({"temp": "DOUBLE"}, target, connection=connection)
        with pytest.raises(ColumnTypeError, match="temp"):
            create({"temp": "INT32", "new": "INT32"}, target, connection=connection)
        with pytest.raises(ColumnTypeError, match="temp"):
            create(FRAME[["temp"]].astype(str), target, connection=connection)
        assert read(target, connection=connection).columns.tolist() == ["temp"]
        create({"temp": "DOUBLE", "u": "STRING"}, target, connection=connection)
        assert read(target, connection=connection).columns.tolist() == ["temp", "u"]


def test_without_the_right(
    connection: Connection, server: LocalServer, device: str, table: str
) -> None:
    """Who may not create is told so: there is no write that would make up for it."""
    password = "a-Passw0rd-of-16"
    iotf.execute(f"CREATE USER maker '{password}'", connection=connection)
    options = ConnectionOptions(hosts=server.options.hosts, user="maker", password=password)
    with Connection(lambda: options, label="maker") as maker:
        for target in (device, table):
            with pytest.raises(PermissionDenied):
                create({"temp": "DOUBLE"}, target, connection=maker)
    iotf.execute("DROP USER maker", connection=connection)


def reader() -> pa.RecordBatchReader:
    """Rows that come once."""
    table = pa.table({"time": pa.array([0], pa.timestamp("ms")), "a": [1]})
    return pa.RecordBatchReader.from_batches(table.schema, table.to_batches())


@pytest.mark.parametrize(
    ("data", "options"),
    [
        ({}, {}),
        ([], {}),
        (5, {}),
        ("temp", {}),
        ({"a": "NOPE"}, {}),
        ({"a": None}, {}),
        ([{"a": "INT32"}], {}),
        ([iotf.TimeseriesOption(data_type="INT32")], {}),
        ({"a": "INT32"}, {"schema": {"a": "INT32"}}),
        ({"a": "INT32"}, {"device": "device"}),
        ({"a": "INT32"}, {"aligned": "yes"}),
        (reader(), {}),
        (many(3)[:0], {"device": "device"}),
        (FRAME.reset_index(drop=True), {}),
    ],
)
def test_what_is_not_a_schema(
    data: Any, options: dict[str, Any], connection: Connection, device: str
) -> None:
    """What names no columns, types or devices is refused, and nothing is made."""
    with pytest.raises((OptionsError, FrameError)):
        create(data, device, connection=connection, **options)
    assert show("timeseries", device, connection=connection).empty


def test_a_stream_keeps_its_rows(connection: Connection, device: str) -> None:
    """A stream is not begun for its schema: the error says how to give that."""
    rows = reader()
    with pytest.raises(OptionsError, match="once") as caught:
        create(rows, device, connection=connection)
    assert "schema" in str(caught.value.hint)
    create(rows.schema, device, connection=connection)
    assert write(rows, device, connection=connection).rows_written == 1
