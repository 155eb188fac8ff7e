"""Frames that follow each other ask for the server's schema once."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from pandas.testing import assert_frame_equal

from iotdb_frames.client import schema
from iotdb_frames.client.connection import Connection
from iotdb_frames.client.read import read
from iotdb_frames.client.writer import FrameWriter, write
from iotdb_frames.codec.names import parse_target
from iotdb_frames.errors import ColumnTypeError
from iotdb_frames.options import write_options


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Columns of each frame that the server was asked for."""
    seen: list[list[str]] = []
    look = schema.look

    def noting(connection: Connection, found: Any) -> Any:
        seen.append([c.name for c in found.columns])
        return look(connection, found)

    monkeypatch.setattr(schema, "look", noting)
    return seen


def frame(at: str, **columns: Any) -> pd.DataFrame:
    """One row."""
    index = pd.DatetimeIndex([at], name="time").as_unit("ms")
    return pd.DataFrame({name: [value] for name, value in columns.items()}, index)


@pytest.mark.parametrize("model", ["tree", "table"])
def test_only_what_is_new_is_asked_for(
    connection: Connection, device: str, table: str, model: str, looks: list[list[str]]
) -> None:
    """The same columns once; one more column is asked for, made and stored."""
    target = device if model == "tree" else table
    writer = FrameWriter(connection, parse_target(target), write_options({}))
    writer.write(frame("2024-01-01", x=1.5))
    writer.write(frame("2024-01-02", x=2.5))
    writer.write(frame("2024-01-03", x=3.5, y="late"))
    writer.close()
    assert looks == [["x"], ["x", "y"]]
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
    connection: Connection, device: str, looks: list[list[str]]
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
