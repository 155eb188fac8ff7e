"""Attributes that a frame lacks, in whole or in part, against what the server has of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from iotdb_frames.client.connection import Connection
from iotdb_frames.reads.sql import read_sql
from iotdb_frames.writes.writer import plan, write

INDEX = pd.date_range("2026-01-01", periods=4, freq="1min")


def attributes(connection: Connection, table: str, *names: str) -> dict[str, list[Any]]:
    """What the server has of each device (tag `g`): its attributes, None where there is none."""
    found = read_sql(f"SHOW DEVICES FROM {table}", model="table", connection=connection)
    return {
        row["g"]: [None if pd.isna(row[name]) else row[name] for name in names]
        for _, row in found.iterrows()
    }


def frame(**columns: list[Any]) -> pd.DataFrame:
    """Rows of a table with the tag `g`; other columns than `v` are attributes."""
    n_rows = len(columns["g"])
    return pd.DataFrame({**columns, "v": np.arange(float(n_rows))}, INDEX[:n_rows])


@pytest.mark.parametrize("chunk", [1, "4MiB"])
@pytest.mark.parametrize("workers", [1, 3])
def test_a_missing_attribute_erases_nothing(
    connection: Connection, table: str, chunk: Any, workers: int
) -> None:
    """A device keeps each attribute that the frame has no value for, however it is sent."""
    asked: dict[str, Any] = {
        "tags": ["g"],
        "attributes": ["m", "k"],
        "chunk": chunk,
        "workers": workers,
        "connection": connection,
    }
    write(frame(g=["x", "y", "z"], m=["M1", "M2", "M3"], k=["K1", "K2", "K3"]), table, **asked)
    later = frame(g=["x", "y", "z", "w"], m=[None, "M9", None, None], k=["K9", None, None, "K4"])
    report = write(later, table, **asked)
    assert (report.rows_written, report.points, report.notes) == (4, 4, [])
    assert attributes(connection, table, "m", "k") == {
        "x": ["M1", "K9"],
        "y": ["M9", "K2"],
        "z": ["M3", "K3"],
        "w": [None, "K4"],
    }


@pytest.mark.parametrize("values", [["M10", None, None], [None, "M10", None], [None, None, "M10"]])
@pytest.mark.parametrize("as_arrow", [False, True])
def test_the_one_value_of_a_device_is_that_of_all_its_rows(
    connection: Connection, table: str, values: list[Any], as_arrow: bool
) -> None:
    """Rows of one device that lack its attribute do not clear what another row says."""
    data: Any = frame(g=["x", "x", "x"], m=values)
    options: dict[str, Any] = {}
    if as_arrow:
        data = pa.table({"time": pa.array(data.index), **{n: pa.array(data[n]) for n in data}})
        options["time"] = "time"
    report = write(
        data, table, tags=["g"], attributes=["m"], chunk=1, connection=connection, **options
    )
    assert report.notes == []
    assert attributes(connection, table, "m") == {"x": ["M10"]}


def test_an_attribute_changes_only_where_it_says_something_else(
    connection: Connection, table: str
) -> None:
    """A gap is not a change; two values are, and the later one is stored."""
    report = write(
        frame(g=["x", "x", "x", "y"], m=["old", None, "new", None]),
        table,
        tags=["g"],
        attributes=["m"],
        connection=connection,
    )
    (note,) = report.notes
    assert "'m' changes within a device, first in row 2" in note
    assert attributes(connection, table, "m") == {"x": ["new"], "y": [None]}


def test_an_attribute_of_missing_values_only(connection: Connection, table: str) -> None:
    """The column is made, nothing of it is sent, and what is stored stays."""
    asked: dict[str, Any] = {"tags": ["g"], "attributes": ["m"], "connection": connection}
    write(frame(g=["x"], m=[None]), table, **asked)
    assert attributes(connection, table, "m") == {"x": [None]}
    write(frame(g=["x"], m=["M1"]), table, **asked)
    write(frame(g=["x"], m=[None]), table, **asked)
    assert attributes(connection, table, "m") == {"x": ["M1"]}


def test_batches_of_a_stream_erase_no_attribute(connection: Connection, table: str) -> None:
    """A later batch that lacks an attribute leaves the one of the batch before."""
    schema = pa.schema(
        {"time": pa.timestamp("ms"), "g": pa.string(), "m": pa.string(), "v": pa.float64()}
    )
    batches = [
        pa.record_batch([[1, 2], ["x", "y"], ["M1", None], [1.0, 2.0]], schema),
        pa.record_batch([[3, 4], ["x", "y"], [None, "M2"], [3.0, 4.0]], schema),
    ]
    reader = pa.RecordBatchReader.from_batches(schema, batches)
    write(reader, table, tags=["g"], attributes=["m"], connection=connection)
    assert attributes(connection, table, "m") == {"x": ["M1"], "y": ["M2"]}


def test_replace_clears_an_attribute_and_says_so(connection: Connection, table: str) -> None:
    """With replace=True the database equals the frame: a missing attribute goes, with a note."""
    asked: dict[str, Any] = {"tags": ["g"], "attributes": ["m"], "connection": connection}
    write(frame(g=["x", "y"], m=["M1", "M2"]), table, **asked)
    later = frame(g=["x", "y"], m=[None, "M3"])
    assert any(
        "clears attribute 'm' of 1 device" in n
        for n in plan(later, table, replace=True, **asked).notes
    )
    write(later, table, replace=True, **asked)
    assert attributes(connection, table, "m") == {"x": [None], "y": ["M3"]}
