"""What a read returns: pandas, Arrow or Polars, with the same values and times."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pandas.testing import assert_frame_equal

import iotdb_frames as iotf
from iotdb_frames.client.connection import Connection
from iotdb_frames.errors import FrameError, MissingExtraError, OptionsError
from iotdb_frames.reads.read import read
from iotdb_frames.reads.sql import execute, query, read_sql
from iotdb_frames.server import LocalServer
from iotdb_frames.writes.writer import write

FRAME = pd.DataFrame(
    {
        "temp": [1.0, np.nan, 3.0],
        "n": pd.array([2**53 + 1, None, 3], "Int64"),
        "s": ["a", None, "ü"],
        "at": pd.to_datetime(["2024-07-01 12:00", None, "2024-01-01 00:00"]),
        "raw": [b"", b"x", None],
    },
    index=pd.date_range("2024-03-31 00:30", periods=3, freq="1h", unit="ms", name="time"),
)


@pytest.fixture(scope="module")
def targets(connection: Connection, shared_database: str) -> list[str]:
    """A device, all devices below a prefix, and a table of the same rows."""
    prefix = f"root.{shared_database}.forms"
    write(FRAME, f"{prefix}.d", connection=connection)
    table = f"{shared_database}.forms"
    write(FRAME.assign(machine="m"), table, tags=["machine"], connection=connection)
    return [f"{prefix}.d", f"{prefix}.**", table]


@pytest.mark.parametrize("tz", [None, "Europe/Berlin"])
@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata"])
def test_all_forms_hold_the_same(
    tz: str | None, zone: str, server: LocalServer, targets: list[str]
) -> None:
    """Arrow and Polars hold the columns, values and times of the frame, the time as a column."""
    with iotf.connect(server.url, password=server.options.password, time_zone=zone) as connection:
        for target in targets:
            options: dict[str, Any] = {"tz": tz, "connection": connection}
            frame = read(target, dtype_backend="pyarrow", **options)
            arrow = read(target, returns="arrow", **options)
            assert isinstance(arrow, pa.Table)
            assert arrow.column_names == ["time", *frame.columns]
            for name, column in frame.items():
                assert arrow[name].to_pylist() == pa.array(column).to_pylist()
                assert arrow[name].type == column.dtype.pyarrow_dtype
            times = pd.DatetimeIndex(arrow["time"].to_pandas(), name="time")
            assert (times == frame.index).all()  # pytz and zoneinfo differ by name on pandas 2
            polars = read(target, returns="polars", **options)
            assert isinstance(polars, pl.DataFrame)
            assert polars.to_arrow().cast(arrow.schema).equals(arrow)


def test_chunks_come_in_every_form(connection: Connection, targets: list[str]) -> None:
    """With `chunk_rows` each piece is of the form that was asked for."""
    for returns, kind in (("arrow", pa.Table), ("polars", pl.DataFrame)):
        for target in targets:
            chunks = list(read(target, returns=returns, chunk_rows=2, connection=connection))
            assert [len(chunk) for chunk in chunks] == [2, 1]
            assert all(isinstance(chunk, kind) for chunk in chunks)
        sql = f"SELECT * FROM {targets[2]} ORDER BY time"
        chunks = list(
            read_sql(sql, model="table", returns=returns, chunk_rows=2, connection=connection)
        )
        assert [len(chunk) for chunk in chunks] == [2, 1]


def test_what_was_read_can_be_written_again(
    connection: Connection, targets: list[str], device: str
) -> None:
    """A table or a Polars frame that was read writes the same rows elsewhere."""
    for i, returns in enumerate(("arrow", "polars")):
        data = read(targets[0], returns=returns, connection=connection)
        write(data, f"{device}.d{i}", time="time", connection=connection)
        again = read(f"{device}.d{i}", connection=connection)
        assert_frame_equal(again, read(targets[0], connection=connection))


def test_windows_come_in_every_form(connection: Connection, targets: list[str]) -> None:
    """Windows, filled ones too, are the same rows in each form."""
    for target in targets:
        for fill in (None, 0):
            options: dict[str, Any] = {
                "columns": ["n"], "every": "30min", "agg": "count", "fill": fill,
                "connection": connection,
            }  # fmt: skip
            frame = read(target, **options)
            for returns in ("arrow", "polars"):
                found = read(target, returns=returns, **options)
                assert found["n"].to_numpy().tolist() == frame["n"].tolist()


def test_a_query_as_polars(connection: Connection, targets: list[str]) -> None:
    """`to_polars` holds what `to_arrow` does; two columns of one name are refused by name."""
    sql = f"SELECT time, n, s FROM {targets[2]} ORDER BY time"
    arrow = query(sql, model="table", connection=connection).to_arrow()
    polars = query(sql, model="table", connection=connection).to_polars()
    assert polars.to_arrow().cast(arrow.schema).equals(arrow)
    twice = query(f"SELECT n, temp AS n FROM {targets[2]}", model="table", connection=connection)
    with pytest.raises(FrameError, match="'n'") as caught:
        twice.to_polars()
    assert "AS" in str(caught.value.hint)


def test_without_polars(
    connection: Connection, targets: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without Polars the pip command is named, before a query runs; a result keeps its rows."""
    result = query(f"SELECT n FROM {targets[2]}", model="table", connection=connection)
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(MissingExtraError, match=r'pip install "iotdb-frames\[polars\]"'):
        read("root.not.there", returns="polars", connection=connection)
    with pytest.raises(MissingExtraError, match=r'pip install "iotdb-frames\[polars\]"'):
        read_sql("SELECT !", returns="polars", connection=connection)
    with pytest.raises(MissingExtraError, match=r'pip install "iotdb-frames\[polars\]"'):
        result.to_polars()
    assert len(result.to_arrow()) == 3


@pytest.mark.parametrize(
    "options",
    [
        {"returns": "duckdb"},
        {"returns": None},
        {"returns": ["arrow"]},
        {"returns": "arrow", "dtype_backend": "pyarrow"},
        {"returns": "polars", "wide": True},
        {"returns": "arrow", "tz": "Mars/Base"},
    ],
)
def test_forms_that_are_not_valid(
    options: dict[str, Any], connection: Connection, targets: list[str]
) -> None:
    """What is not a form, or does not go with one, is refused."""
    with pytest.raises(OptionsError):
        read(targets[1], connection=connection, **options)
    if "wide" not in options:
        with pytest.raises(OptionsError):
            read_sql(f"SELECT n FROM {targets[0]}", connection=connection, **options)


def test_columns_without_rows(
    connection: Connection, targets: list[str], device: str, table: str
) -> None:
    """`limit=0` gives the columns and types of a target, empty or not, and no rows."""
    sql = f"CREATE ALIGNED TIMESERIES {device}.e(n INT64, s STRING, temp DOUBLE)"
    execute(sql, model="tree", connection=connection)
    sql = f"CREATE TABLE {table} (time TIMESTAMP TIME, machine TAG, n INT64, s STRING)"
    execute(sql, model="table", connection=connection)
    for target in (*targets, f"{device}.e", table):
        for options in ({}, {"where": {"n": 3}}, {"start": "2024-03-31"}, {"columns": ["n", "s"]}):
            found = read(target, limit=0, connection=connection, **options)
            every = read(target, connection=connection)
            wanted = every[[*every.columns.intersection(["device", "machine"]), "n", "s"]]
            assert_frame_equal(found, (wanted if "columns" in options else every)[:0])
            assert found.attrs["iotdb"]["types"]["n"] == "INT64"
            for returns in ("arrow", "polars"):
                empty = read(target, limit=0, returns=returns, connection=connection, **options)
                assert len(empty) == 0
                assert list(empty.schema.names if returns == "arrow" else empty.columns) == [
                    "time",
                    *found.columns,
                ]
        windows = read(target, limit=0, every="1h", agg="last", connection=connection)
        assert len(windows) == 0
        assert "n" in windows.columns
    wide = read(targets[1], limit=0, wide=True, connection=connection)
    assert len(wide) == 0
