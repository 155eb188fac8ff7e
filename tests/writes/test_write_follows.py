"""Frames that follow each other ask for the server's schema once."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from pandas.testing import assert_frame_equal

from iotdb_frames.client.connection import Connection
from iotdb_frames.codec.names import parse_target
from iotdb_frames.errors import ColumnTypeError
from iotdb_frames.options import write_options
from iotdb_frames.reads.read import read
from iotdb_frames.reads.show import show
from iotdb_frames.writes.frame_writer import FrameWriter
from iotdb_frames.writes.schema import create
from iotdb_frames.writes.writer import write


def frame(at: str, **columns: Any) -> pd.DataFrame:
    """One row."""
    index = pd.DatetimeIndex([at], name="time").as_unit("ms")
    return pd.DataFrame({name: [value] for name, value in columns.items()}, index)


@pytest.mark.parametrize("model", ["tree", "table"])
def test_only_what_is_new_is_asked_for(
    connection: Connection, device: str, table: str, model: str, looks: list[Any]
) -> None:
    """The same columns once; one more column is asked for, made and stored."""
    target = device if model == "tree" else table
    writer = FrameWriter(connection, parse_target(target), write_options({}))
    writer.write(frame("2024-01-01", x=1.5))
    writer.write(frame("2024-01-02", x=2.5))
    writer.write(frame("2024-01-03", x=3.5, y="late"))
    writer.close()
    assert len(looks) == 2
    found = read(target, connection=connection)
    assert found["x"].tolist() == [1.5, 2.5, 3.5]
    assert found["y"].isna().tolist() == [True, True, False]


def test_the_first_frame_settles_a_type(connection: Connection, device: str) -> None:
    """A later frame is compared with what the earlier one made, without asking for it."""
    writer = FrameWriter(connection, parse_target(device), write_options({}))
    writer.write(frame("2024-01-01", x=1))
    with pytest.raises(ColumnTypeError, match=r"x.*INT64"):
        writer.write(frame("2024-01-02", x=0.5))
    writer.close()
    assert read(device, connection=connection)["x"].tolist() == [1]


def test_batches_of_a_stream_ask_once(
    connection: Connection, device: str, looks: list[Any]
) -> None:
    """A reader of many batches is one look, and all of it is stored."""
    times = pa.array([0, 1000, 2000], pa.timestamp("ms"))
    whole = pa.table({"time": times, "x": pa.array([1, None, 3], pa.int32())})
    reader = pa.RecordBatchReader.from_batches(whole.schema, whole.to_batches(max_chunksize=1))
    report = write(reader, device, connection=connection)
    assert len(looks) == 1
    assert (report.rows_written, report.points) == (3, 2)
    expected = whole.to_pandas().set_index("time").astype("Int32").dropna()
    assert_frame_equal(read(device, connection=connection), expected)


def of(device: str, x: Any, at: int = 0) -> pa.Table:
    """Rows of a device, from a second on."""
    times = pa.array(range(1000 * at, 1000 * (at + len(x)), 1000), pa.timestamp("ms"))
    return pa.table({"time": times, "dev": [device] * len(x), "x": x})


def reader(*tables: pa.Table) -> pa.RecordBatchReader:
    """A stream of them."""
    batches = [batch for table in tables for batch in table.to_batches()]
    return pa.RecordBatchReader.from_batches(tables[0].schema, batches)


def types_of(connection: Connection, path: str) -> dict[str, str]:
    """Type of `x` by device."""
    found = show("timeseries", path, connection=connection)
    names = found["Timeseries"].str.split(".").str[-2]
    return dict(zip(names, found["DataType"], strict=True))


def test_a_device_is_not_taken_for_another(connection: Connection, device: str) -> None:
    """Devices with types of their own are written each its way, new ones as their values want."""
    write(of("d1", pa.array([1], pa.int32())), device, device="dev", connection=connection)
    write(of("d2", pa.array([1], pa.int64())), device, device="dev", connection=connection)
    floats = [pa.array(x, pa.float64()) for x in ([2.0, 3.0], [4.0], [0.5])]
    stream = reader(*(of(f"d{i + 1}", x, at=9) for i, x in enumerate(floats)))
    report = write(stream, device, device="dev", connection=connection)
    assert report.rows_written == 4
    assert types_of(connection, device) == {"d1": "INT32", "d2": "INT64", "d3": "DOUBLE"}


def test_notes_are_of_a_frames_own_devices(connection: Connection, device: str) -> None:
    """What is said of devices that exist otherwise is not said again with each later frame."""
    tables = [of(f"d{i}", pa.array([1.0])) for i in range(3)]
    for table in tables:
        write(table, device, device="dev", aligned=False, connection=connection)
    report = write(reader(*tables), device, device="dev", connection=connection)
    assert report.notes == [
        f"{device}.d{i} exists as non-aligned, and is written so" for i in range(3)
    ]


def test_a_column_that_had_no_values_is_added_to_the_table_that_was_made(
    connection: Connection, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table that an earlier frame made is altered, not made again."""
    said: list[str] = []
    run = create._run

    def noting(connection: Connection, sql: str, model: Any) -> None:
        said.append(sql)
        run(connection, sql, model)

    monkeypatch.setattr(create, "_run", noting)
    writer = FrameWriter(connection, parse_target(table), write_options({"tags": ["tag"]}))
    writer.write(frame("2024-01-01", tag="a", x=1.5, y=None))
    writer.write(frame("2024-01-02", tag="a", x=2.5, y=7))
    writer.close()
    assert [sql.split()[0] for sql in said] == ["CREATE", "CREATE", "ALTER"]
    found = read(table, connection=connection)
    assert found["y"].isna().tolist() == [True, False]


def test_an_empty_batch_changes_nothing(connection: Connection, device: str) -> None:
    """A stream of devices may have batches without rows."""
    some = of("d1", pa.array([1.5]))
    empty = pa.RecordBatch.from_pylist([], schema=some.schema)
    batches = [*some.to_batches(), empty, *of("d2", pa.array([2.5])).to_batches()]
    stream = pa.RecordBatchReader.from_batches(some.schema, batches)
    assert write(stream, device, device="dev", connection=connection).rows_written == 2
    assert types_of(connection, device) == {"d1": "DOUBLE", "d2": "DOUBLE"}
