"""What a plan and a report count besides rows: empty ones, and values that lost precision."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from iotdb_frames.client.connection import Connection
from iotdb_frames.errors import ColumnTypeError, TimeIndexError
from iotdb_frames.reads.sql import read_sql
from iotdb_frames.writes.writer import plan, write

INDEX = pd.DatetimeIndex(np.array([0, 1, 2, 3], "M8[ms]"))
NONE, NAN = None, np.nan
EMPTY: dict[str, tuple[Any, dict[str, Any], int]] = {
    "floats": (pd.DataFrame({"a": [1.0, NAN, NAN, 4.0], "b": [NAN, NAN, 3.0, 4.0]}, INDEX), {}, 1),
    "one column": (pd.DataFrame({"a": [NAN, 2.0, NAN, 4.0]}, INDEX), {}, 2),
    "texts": (pd.DataFrame({"a": ["", NONE, NONE, "x"], "b": [1, NONE, 3, NONE]}, INDEX), {}, 1),
    "all": (pd.DataFrame({"a": [NAN] * 4, "b": pd.array([NONE] * 4, "Int32")}, INDEX), {}, 4),
    "kept": (pd.DataFrame({"a": [NAN] * 4}, INDEX), {"nan": "keep"}, 0),
    "devices": (
        pd.DataFrame({"d": ["x", "y", "x", "y"], "a": [1.0, NAN, NAN, 4.0]}, INDEX),
        {"device": "d"},
        2,
    ),
    "columns of devices": (
        pd.DataFrame(
            [[1.0, NAN], [NAN, NAN], [NAN, 1.0], [NAN, NAN]],
            INDEX,
            pd.MultiIndex.from_tuples([("x", "a"), ("y", "a")]),
        ),
        {},
        2,
    ),
    "wide rows": (
        pd.DataFrame({f"c{i}": ["x" * 300, NONE, NONE, "y"] for i in range(9)}, INDEX),
        {"chunk": 1024},
        2,
    ),
}


@pytest.mark.parametrize("case", EMPTY)
@pytest.mark.parametrize("chunk", [1, None])
def test_empty_rows_are_told(connection: Connection, device: str, case: str, chunk: Any) -> None:
    """Rows of missing values only, which the tree model drops, are told by plan and report."""
    frame, options, n_empty = EMPTY[case]
    options = {**options, **({"chunk": chunk} if chunk else {})}
    planned = plan(frame, device, connection=connection, **options)
    report = write(frame, device, connection=connection, **options)
    assert planned.rows_empty == report.rows_empty == n_empty
    assert (report.rows_in, report.rows_written) == (4, 4)
    assert report.is_complete
    for shown in (repr(planned), repr(report)):
        assert ("of missing values only" in shown) == (n_empty > 0)
    if case not in ("columns of devices", "devices"):
        there = read_sql(f"SELECT * FROM {device}", connection=connection)
        assert len(there) == 4 - n_empty


def test_a_table_has_empty_rows(connection: Connection, table: str) -> None:
    """In the table model a row of missing values is a row."""
    report = write(EMPTY["one column"][0], table, connection=connection)
    assert (report.rows_written, report.rows_empty) == (4, 0)
    found = read_sql(f"SELECT count(*) FROM {table}", model="table", connection=connection)
    assert found.iloc[0, 0] == 4


BIG = 2**53
LOSSY: dict[str, tuple[Any, str, int]] = {
    "ints into doubles": ([BIG, BIG + 1, BIG + 3, 1], "DOUBLE", 2),
    "doubles into floats": ([0.5, 0.1, NAN, np.inf], "FLOAT", 1),
    "doubles into ints": ([1.0, 1.5, -2.5, NAN], "INT32", 2),
    "decimals": ([Decimal("0.5"), Decimal("0.12345678901234567890"), NONE, Decimal(1)], "FLOAT", 1),
    "fine times": (pd.DatetimeIndex(np.array([0, 1, 1000, 1999], "M8[us]")), "TIMESTAMP", 2),
}


@pytest.mark.parametrize("case", LOSSY)
@pytest.mark.parametrize("model", ["tree", "table"])
def test_lossy_says_what_was_lost(
    connection: Connection, device: str, table: str, case: str, model: str
) -> None:
    """coerce="lossy" tells how many values of which column lost something; "safe" refuses them."""
    values, kind, n_lossy = LOSSY[case]
    target = device if model == "tree" else table
    frame = pd.DataFrame({"a": values, "b": [1.0, 2.0, 3.0, 4.0]}, index=INDEX)
    asked: dict[str, Any] = {"schema": {"a": kind}, "connection": connection}
    planned = plan(frame, target, coerce="lossy", **asked)
    report = write(frame, target, coerce="lossy", **asked)
    assert planned.lossy == report.lossy == ({"a": n_lossy} if n_lossy else {})
    assert report.rows_written == 4
    for shown in (repr(planned), repr(report)):
        assert (f"{n_lossy} value" in shown) == (n_lossy > 0)
    if n_lossy:
        with pytest.raises(ColumnTypeError, match=r"row 1"):
            write(frame, target, **asked)


def test_lossy_times_are_counted(connection: Connection, device: str) -> None:
    """Times that lose what is finer than the server's precision are counted, over all batches."""
    ticks = pa.array([0, 1, 1000, 1001, 2001], pa.timestamp("us"))
    table = pa.table({"time": ticks, "a": [1.0, 2.0, 3.0, 4.0, 5.0]})
    report = write(
        pa.RecordBatchReader.from_batches(table.schema, table.to_batches(max_chunksize=2)),
        device,
        coerce="lossy",
        connection=connection,
    )
    assert report.lossy == {"time": 3}


def test_what_is_lossy_and_out_of_range_is_refused(connection: Connection, device: str) -> None:
    """Range is never lost, and the hint does not offer what would not help."""
    frame = pd.DataFrame({"a": [1.5, 3e9]}, INDEX[:2])
    with pytest.raises(
        ColumnTypeError, match=r"row 1: 3000000000\.0 does not fit the range"
    ) as caught:
        write(frame, device, schema={"a": "INT32"}, coerce="lossy", connection=connection)
    assert "lossy" not in (caught.value.hint or "")


@pytest.mark.parametrize("as_time", [True, False])
def test_the_smallest_time_of_arrow_is_refused(
    connection: Connection, device: str, as_time: bool
) -> None:
    """An Arrow time of -2^63 is a time to Arrow and NaT to pandas: refused by its row, not lost."""
    odd = pa.array([1, -(2**63), None], pa.timestamp("ms"))
    plain = pa.array([1, 2, 3], pa.timestamp("ms"))
    if as_time:
        table = pa.table({"time": odd.slice(0, 2), "a": [1.0, 2.0]})
        with pytest.raises(TimeIndexError, match=r"row 1"):
            write(table, device, connection=connection)
        return
    table = pa.table({"time": plain, "a": odd})
    with pytest.raises(ColumnTypeError, match=r"row 1.*stands for a missing time") as caught:
        write(table, device, connection=connection)
    assert caught.value.row == 1


@pytest.mark.parametrize(
    ("tick", "is_fine"),
    [
        (-62_135_596_800_000, True),
        (-62_135_596_800_001, False),
        (253_402_300_799_999, True),
        (253_402_300_800_000, False),
        (1_536_000_000_000_000, False),
    ],
)
@pytest.mark.parametrize("form", ["datetimes", "integers", "arrow"])
def test_times_outside_the_years_are_refused_by_row(
    connection: Connection, device: str, tick: int, is_fine: bool, form: str
) -> None:
    """Times outside the years 1 to 9999, which the server takes and cannot count, are refused."""
    options: dict[str, Any] = {}
    if form == "arrow":
        times = pa.array([0, tick], pa.timestamp("ms", "UTC"))
        data: Any = pa.table({"time": times, "a": [1.0, 2.0]})
    else:
        index: Any = pd.Index([0, tick]) if form == "integers" else np.array([0, tick], "M8[ms]")
        data = pd.DataFrame({"a": [1.0, 2.0]}, index=index)
        options = {"time_unit": "ms"} if form == "integers" else {}
    if is_fine:
        assert write(data, device, connection=connection, **options).rows_written == 2
        return
    with pytest.raises(TimeIndexError, match=r"row 1.*outside the years 1 to 9999") as caught:
        write(data, device, connection=connection, **options)
    assert caught.value.row == 1
