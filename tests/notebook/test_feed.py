"""The rows of a chart: which lines it has, what they hold, and what a view that comes late gets."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from iotdb_frames.notebook.panel.feed import MAX_DEVICES, MAX_LANES, Feed, Hit, seconds_of


def _frame(times: list[int], **columns: list[object]) -> pd.DataFrame:
    index = pd.DatetimeIndex(np.array(times, dtype="datetime64[s]"), name="time")
    return pd.DataFrame(columns, index=index)


def test_columns_of_one_unit_share_a_lane() -> None:
    """A lane a unit, in the order of the columns; each line a colour of its own."""
    feed = Feed(units={"a": "°C", "b": "bar", "c": "°C"})
    feed.put(_frame([0], a=[1.0], b=[2.0], c=[3.0]))
    feed.take()
    assert feed.lines.lanes == ("°C", "bar")
    assert [(s.name, s.lane, s.color) for s in feed.lines.series] == [
        ("a", 0, 0),
        ("b", 1, 1),
        ("c", 0, 2),
    ]


def test_where_units_are_unknown_unlike_sizes_get_lanes_of_their_own() -> None:
    """Values of one size share a lane, in ascending order; no more lanes than fit."""
    feed = Feed(units=None)
    feed.put(_frame([0], big=[900.0], one=[1.0], two=[1.2], mid=[50.0]))
    feed.take()
    assert {s.name: s.lane for s in feed.lines.series} == {"one": 0, "two": 0, "mid": 1, "big": 2}
    feed.put(_frame([1], **{f"s{i}": [10.0**i] for i in range(9)}))
    feed.take()
    assert len(feed.lines.lanes) == MAX_LANES == max(s.lane for s in feed.lines.series) + 1


def test_only_what_can_be_drawn_is_a_line() -> None:
    """Numbers and booleans of any backend are lines, texts and times are not."""
    frame = _frame([0, 1], f=[1.0, np.nan], text=["a", "b"])
    frame["i"] = pd.array([1, None], dtype="Int64")
    frame["yes"] = pd.array([True, None], dtype="boolean")
    frame["arrow"] = pd.array([1.5, None], dtype="double[pyarrow]")
    frame["when"] = frame.index
    feed = Feed()
    feed.put(frame)
    update = feed.take()
    assert [s.name for s in feed.lines.series] == ["f", "i", "yes", "arrow"]
    assert update is not None
    assert update.rows is not None
    assert_array_equal(update.rows.values[:, 0], [1, 1, 1, 1.5])
    assert np.isnan(update.rows.values[:, 1]).all()


def test_a_fleet_has_a_lane_a_sensor_and_a_colour_a_device() -> None:
    """Of many devices the first are drawn, with the rows of each under the time they share."""
    devices = [f"site1.press{i}" for i in range(40)]
    frame = pd.concat(
        _frame([0, 1], device=[name] * 2, temp=[i, i + 0.5]) for i, name in enumerate(devices)
    )
    feed = Feed(keys=("device",))
    feed.put(frame)
    update = feed.take()
    assert update is not None
    assert update.rows is not None
    assert len(feed.lines.series) == MAX_DEVICES
    assert [s.name for s in feed.lines.series][:2] == ["press0 temp", "press1 temp"]
    assert_array_equal(update.rows.times, [0, 1])
    assert_array_equal(update.rows.values[3], [3, 3.5])


def test_tags_tell_devices_apart_together() -> None:
    """Rows belong to a device by all of its tags, also where single tags are alike."""
    frame = _frame([0, 0, 0], site=["a", "a", "b"], line=["x", "y", "x"], v=[1.0, 2.0, 3.0])
    feed = Feed(keys=("site", "line"))
    feed.put(frame.astype({"site": "category"}))
    update = feed.take()
    assert update is not None
    assert update.rows is not None
    assert [s.name for s in feed.lines.series] == ["a x v", "a y v", "b x v"]
    assert_array_equal(update.rows.values[:, 0], [1, 2, 3])


@pytest.mark.parametrize(
    ("devices", "names"),
    [
        (["root.a.d1"], ["d1 v"]),
        (["root.a.d1", "root.a.d2"], ["d1 v", "d2 v"]),
        (["root.a.d1", "root.b.d1"], ["a.d1 v", "b.d1 v"]),
        (["root.a", "root.a.d1"], ["a v", "a.d1 v"]),
    ],
)
def test_no_two_lines_are_called_alike(devices: list[str], names: list[str]) -> None:
    """A device's name is its path without what all of them begin with."""
    n = len(devices)
    feed = Feed(keys=("device",))
    feed.put(_frame([0] * n, device=devices, v=[1.0] * n))
    feed.take()
    assert [s.name for s in feed.lines.series] == names


def test_other_columns_start_anew() -> None:
    """Where the columns change, the rows before are forgotten and views are told of the lines."""
    feed = Feed()
    feed.put(_frame([0], a=[1.0]))
    feed.take()
    feed.put(_frame([1], a=[1.0], b=[2.0]))
    update = feed.take()
    assert update is not None
    assert update.lines is not None
    assert [s.name for s in update.lines.series] == ["a", "b"]
    kept = feed.replay().rows
    assert kept is not None
    assert_array_equal(kept.times, [1])


def test_it_keeps_no_more_than_it_should() -> None:
    """Of an endless stream about `capacity` rows stay, the latest ones."""
    feed = Feed(capacity=100)
    for start in range(0, 5_000, 10):
        feed.put(_frame(list(range(start, start + 10)), a=[0.0] * 10))
        if start % 30 == 0:
            feed.take()
    feed.take()
    kept = feed.replay().rows
    assert kept is not None
    assert 100 <= len(kept) <= 130
    assert kept.times[-1] == 4_999


def test_a_view_that_is_far_behind_does_not_fill_the_memory() -> None:
    """Frames that nobody takes out do not pile up without end."""
    feed = Feed()
    for second in range(3_000):
        feed.put(_frame([second], a=[1.0]))
    update = feed.take()
    assert update is not None
    assert update.rows is not None
    assert len(update.rows) == 1_000
    assert update.rows.times[-1] == 2_999


cells = st.one_of(st.just(float("nan")), st.integers(0, 9).map(float))
windows = st.lists(
    st.lists(st.tuples(st.integers(0, 12), cells, cells), min_size=1, max_size=6), max_size=6
)


@given(windows)
def test_a_late_view_gets_what_the_database_has(rows: list[list[tuple[int, float, float]]]) -> None:
    """Replayed, late and repeated rows are in order and merged: the last cell that is there."""
    feed = Feed()
    seen = []
    for window in rows:
        frame = _frame([t for t, _, _ in window], a=[a for _, a, _ in window])
        frame["b"] = [b for _, _, b in window]
        feed.put(frame)
        feed.take()
        seen.append(frame)
    kept = feed.replay().rows
    if not seen:
        assert kept is None
        return
    assert kept is not None
    expected = pd.concat(seen).groupby(level=0).last()
    assert_array_equal(kept.times, seconds_of(pd.DatetimeIndex(expected.index)))
    assert_array_equal(kept.values, expected[["a", "b"]].to_numpy().T)


def test_marks_are_of_the_lines_that_are_drawn() -> None:
    """A mark finds its line by device and column, one of a row is of all, others are left out."""
    feed = Feed()
    hits = [
        Hit(0.0, "spike", ((), "b")),
        Hit(0.5, "delay", None),
        Hit(0.7, "stuck", ((), "not drawn")),
    ]
    feed.put(_frame([0], a=[1.0], b=[2.0]), hits)
    update = feed.take()
    assert update is not None
    assert [(m.time, m.series, m.kind) for m in update.marks] == [
        (0.0, 1, "spike"),
        (0.5, -1, "delay"),
    ]
    assert feed.take() is None
    assert len(feed.replay().marks) == 2


def test_the_first_frame_of_other_columns_has_its_marks() -> None:
    """Faults on a frame whose columns are new are marked on the lines that it brings."""
    feed = Feed()
    feed.put(_frame([0], a=[1.0]), [Hit(0.0, "spike", ((), "a"))])
    feed.put(_frame([1], a=[1.0], b=[2.0]), [Hit(1.0, "bias", ((), "b"))])
    update = feed.take()
    assert update is not None
    assert update.lines is not None
    assert [(m.time, m.series, m.kind) for m in update.marks] == [(1.0, 1, "bias")]


def test_one_moment_is_one_number() -> None:
    """The same moment in any unit gives the same seconds: marks are found by them."""
    moment = pd.DatetimeIndex(["2026-11-22 19:51:50.689"])
    numbers = {seconds_of(moment.as_unit(unit))[0] for unit in ("ms", "us", "ns")}
    assert len(numbers) == 1


def test_of_many_waiting_frames_the_newest_rows_are_taken() -> None:
    """Where more came than a chart keeps, the oldest frames are left out, and the order stays."""
    feed = Feed(capacity=10)
    for start in range(0, 100, 4):
        feed.put(_frame([*range(start, start + 4)], a=[float(start)] * 4))
    update = feed.take()
    assert update is not None
    assert update.rows is not None
    assert update.rows.times.tolist() == [*range(88, 100)]


def test_what_has_no_value_is_not_drawn_until_it_has_one() -> None:
    """A column without values has neither a lane nor a line; its first one adds it to the rest."""
    feed = Feed(units=None)
    feed.put(_frame([0, 1], a=[1.0, 2.0], b=[np.nan, np.nan], c=[None, 500.0]))
    first = feed.take()
    assert first is not None
    assert first.lines is not None
    assert [s.name for s in first.lines.series] == ["a", "c"]
    assert len(first.lines.lanes) == 2
    feed.put(_frame([2], a=[3.0], b=[1.5], c=[np.nan]))
    update = feed.take()
    assert update is not None
    assert update.lines is not None
    assert update.rows is not None
    assert {s.name: s.lane for s in update.lines.series} == {"a": 0, "b": 0, "c": 1}
    at = [s.name for s in update.lines.series].index("a")
    assert_array_equal(update.rows.times, [0, 1, 2])
    assert_array_equal(update.rows.values[at], [1.0, 2.0, 3.0])
    feed.put(_frame([3], a=[4.0], b=[np.nan], c=[np.nan]))
    last = feed.take()
    assert last is not None
    assert last.lines is None


def test_a_device_has_lines_of_what_it_measures() -> None:
    """Of devices that measure different things, each has the lines that have values."""
    feed = Feed(units=None, keys=("device",))
    cells = {"temp": [1.0, np.nan], "bar": [np.nan, 2.0]}
    feed.put(_frame([0, 1], device=["root.a.x", "root.a.y"], **cells))
    feed.take()
    assert [s.name for s in feed.lines.series] == ["x temp", "y bar"]
