"""A frame that was read, edited and written back, without a word on what its columns are."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from iotdb_frames.client.connection import Connection
from iotdb_frames.errors import FrameError
from iotdb_frames.reads.read import read
from iotdb_frames.writes.writer import plan, write

N_ROWS = 6


def sensors() -> pd.DataFrame:
    """Rows of two machines; the note is a TEXT in the database."""
    return pd.DataFrame(
        {
            "machine": ["a", "a", "a", "b", "b", "b"],
            "temp": np.arange(N_ROWS) / 4,
            "note": ["x", None, "y"] * 2,
        },
        index=pd.DatetimeIndex(np.array([0, 1, 2] * 2, "M8[ms]"), name="time"),
    )


@pytest.mark.parametrize("model", ["tree", "table"])
def test_edited_and_written_back(
    connection: Connection, device: str, table: str, model: str
) -> None:
    """Erased cells are gone, changed ones changed, and rows are still of their device or tags."""
    target = device if model == "tree" else table
    key = {"device": "machine"} if model == "tree" else {"tags": ["machine"]}
    write(sensors(), target, schema={"note": "TEXT"}, connection=connection, **key)  # type: ignore[arg-type]
    frame = read(target, connection=connection)
    frame.loc[frame.index[0], "temp"] = np.nan
    frame["note"] = frame["note"].fillna("new")
    write(frame, target, replace=True, connection=connection)
    found = read(target, connection=connection)
    assert_frame_equal(found, frame)
    assert len(found) == N_ROWS
    assert found.attrs == frame.attrs


def test_one_option_leaves_the_other_claims(connection: Connection, table: str) -> None:
    """Attributes that a call names do not make fields of the tags the frame was read with."""
    frame = sensors().assign(site=["p"] * 3 + ["q"] * 3)
    write(frame, table, tags=["machine"], connection=connection)
    again = read(table, connection=connection)
    write(again, f"{table}_again", attributes=["site"], connection=connection)
    copy = read(f"{table}_again", connection=connection)
    assert copy.attrs["iotdb"]["tags"] == ["machine"]
    assert len(copy) == N_ROWS
    again.attrs["iotdb"] = {"tags": [["machine"]], "device": {"a"}}  # nobody understands it
    write(again, f"{table}_third", tags=["machine"], connection=connection)


def test_elsewhere_the_types_are_the_same(
    connection: Connection, device: str, table: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A copy has the types of the original, where a dtype leaves a choice: TEXT, or no values."""
    write(sensors(), device, device="machine", schema={"note": "TEXT"}, connection=connection)
    frame = read(device, connection=connection)
    write(frame, f"{device}_copy", connection=connection)
    copy = read(f"{device}_copy", connection=connection)
    assert copy.attrs["iotdb"]["types"] == {"temp": "DOUBLE", "note": "TEXT"}
    frame["temp"] = None
    empty = plan(frame, f"{device}_empty", offline=True)
    assert [c.data_type.name for c in empty.parts[0].written if c.data_type] == ["TEXT", "DOUBLE"]
    assert not caplog.records


def test_what_no_longer_fits_is_let_go(
    connection: Connection, device: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A column of another dtype, or none: the frame decides, and the log says it."""
    write(sensors(), device, device="machine", connection=connection)
    frame = read(device, connection=connection)
    caplog.set_level(logging.INFO, "iotdb_frames.write")
    changed = plan(frame.assign(temp=1), f"{device}_other", offline=True)
    types = {c.column.source.label: c.data_type for c in changed.parts[0].written}
    assert str(types["temp"]) == str(types["temp"].INT64)  # type: ignore[union-attr]
    assert caplog.messages == ["'temp' was DOUBLE when the frame was read, and is written as INT64"]
    caplog.clear()
    alone = plan(frame.drop(columns="device").iloc[:3], f"{device}_other", offline=True)
    assert alone.layout.device is None
    assert caplog.messages == ["'device' was the device when the frame was read, and is gone"]


def test_options_go_first(connection: Connection, table: str, device: str) -> None:
    """What the call says is done, whatever the frame remembers."""
    write(sensors(), table, tags=["machine"], connection=connection)
    frame = read(table, connection=connection)
    named = plan(frame, f"{table}_x", tags=["machine", "note"], offline=True)
    kinds = {c.column.name: c.column.category for c in named.parts[0].written}
    assert kinds == {"machine": "tag", "note": "tag", "temp": "field"}
    with pytest.raises(FrameError, match="differ in 'machine'"):
        plan(
            frame, device, offline=True
        ).check()  # a tag is not a device: that is for its owner to say


@pytest.mark.parametrize("said", ["text", {"device": 7}, {"types": {"temp": "COMPLEX"}}, {}])
def test_attrs_of_others_do_no_harm(said: object) -> None:
    """Whatever else stands in ``attrs`` is left alone."""
    frame = sensors().iloc[:3].drop(columns="machine")
    frame.attrs["iotdb"] = said
    plan(frame, "root.x.d", offline=True).check()
