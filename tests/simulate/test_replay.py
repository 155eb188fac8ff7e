"""A recorded frame as a source: its rows, its gaps, its loops."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from iotdb_frames.errors import FrameError, OptionsError, TimeIndexError
from iotdb_frames.simulate.replay import Replay, replay

# Ten rows a second apart, a gap of 50 s, ten more.
TIMES = pd.DatetimeIndex(
    pd.to_datetime([*range(10), *range(60, 70)], unit="s", origin="2026-01-01"), name="time"
)
FRAME = pd.DataFrame({"x": np.arange(20.0), "state": ["a", "b"] * 10}, index=TIMES)


def test_windows_are_the_frame() -> None:
    """All windows together, of rows or spans, are the recorded frame."""
    for window in (1, 3, 20, "1s", "7s", "70s"):
        parts = list(replay(FRAME).windows(window))
        assert all(len(part) for part in parts)
        assert_frame_equal(pd.concat(parts), FRAME, check_freq=False)


def test_gaps_are_kept() -> None:
    """A window is due when its last row was recorded, or when its span is over."""
    source = replay(FRAME)

    def schedule(window: object) -> list[tuple[int, float]]:
        found: list[tuple[int, float]] = []
        while (following := source.next_window(found[-1][0] if found else 0, window)) is not None:
            found.append(following)
        return found

    assert schedule(5) == [(5, 4), (10, 9), (15, 64), (20, 69)]
    assert schedule("5s") == [(5, 5), (10, 10), (15, 65), (20, 70)]
    assert schedule("40s") == [(10, 40), (20, 80)]


def test_the_frame_is_not_changed_and_rows_are_put_in_order() -> None:
    """Rows come ascending in time, equal times in their order, and the caller's frame stays."""
    shuffled = pd.concat([FRAME.iloc[::-1], FRAME.iloc[:3].assign(x=-1.0)])
    before = shuffled.copy()
    rows = replay(shuffled).window(23)
    assert rows.index.is_monotonic_increasing
    assert rows["x"].tolist()[:6] == [0, -1, 1, -1, 2, -1]
    assert_frame_equal(shuffled, before)


def test_parquet_files_and_time_columns(tmp_path: Path) -> None:
    """A Parquet file is replayed like the frame in it; times may be a column, in any zone."""
    FRAME.to_parquet(tmp_path / "x.parquet")
    assert_frame_equal(replay(tmp_path / "x.parquet").window(20), FRAME, check_freq=False)
    columns = FRAME.tz_localize("UTC").tz_convert("Asia/Tokyo").reset_index()
    assert_frame_equal(replay(columns, time="time").window(20), FRAME, check_freq=False)


def test_int96_of_spark_is_replayed(tmp_path: Path) -> None:
    """Spark's last day, stored as INT96, is the last day of a recording."""
    times = np.array(["2024-01-01", "9999-12-31"], "M8[us]")
    table = pa.table({"time": times, "a": [1.5, 2.5]})
    pq.write_table(table, tmp_path / "x.parquet", use_deprecated_int96_timestamps=True)
    rows = replay(tmp_path / "x.parquet", time="time").rows(0)
    assert rows.index.to_numpy().tolist() == times.tolist()
    assert rows["a"].tolist() == [1.5, 2.5]


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """A file that is not there, or is not Parquet, is an error of ours that names it."""
    (tmp_path / "other.parquet").write_text("no Parquet")
    for name in ("nowhere.parquet", "other.parquet"):
        with pytest.raises(FrameError, match=name) as caught:
            replay(tmp_path / name)
        assert len(str(caught.value).splitlines()) == (1 if name == "nowhere.parquet" else 2)


@given(low=st.integers(0, 70), size=st.integers(0, 70))
@settings(max_examples=100, deadline=None)
def test_loops_go_on_in_time(low: int, size: int) -> None:
    """A loop begins one usual step after the last row, and any rows are part of the whole."""
    whole = pd.concat([FRAME.set_axis(TIMES + k * pd.Timedelta("70s")) for k in range(4)])
    source = replay(FRAME, loop=4)
    got = source.rows(low, low + size)
    assert_frame_equal(got, whole.iloc[low : low + size], check_freq=False)
    assert_frame_equal(replay(FRAME, loop=True).rows(low, low + size)[: len(got)], got)
    at = whole.index[low] - whole.index[0]
    assert source.first_from(at.total_seconds()) == low
    assert source.first_from(at.total_seconds() + 0.001) == low + 1
    assert source.first_from(at.total_seconds() - 0.001) == low


def test_starting_at_moves_all_times() -> None:
    """Moved to another start, gaps and values stay."""
    moved = replay(FRAME, now_shift=True).starting_at("2030-05-05 05:05")
    assert moved.start == pd.Timestamp("2030-05-05 05:05")
    rows = moved.window(20)
    assert (np.diff(rows.index) == np.diff(TIMES)).all()
    assert rows["x"].tolist() == FRAME["x"].tolist()


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_times_of_any_unit(unit: str) -> None:
    """Times keep their unit."""
    rows = replay(FRAME.set_axis(TIMES.as_unit(unit)), loop=2).window(40)
    assert rows.index.dtype == f"datetime64[{unit}]"
    assert rows.index[20] == TIMES[0] + pd.Timedelta("70s")


def test_frames_that_cannot_be_replayed() -> None:
    """A frame without times is refused with a hint where they are; so are missing times."""
    with pytest.raises(TimeIndexError, match="no times to replay") as caught:
        replay(FRAME.reset_index())
    assert "time='time'" in str(caught.value)
    with pytest.raises(TimeIndexError, match="'x' holds float64"):
        replay(FRAME, time="x")
    with pytest.raises(TimeIndexError, match="no column 'when'"):
        replay(FRAME, time="when")
    with pytest.raises(TimeIndexError, match="row 2") as caught:
        replay(FRAME.set_axis(TIMES.where(np.arange(20) != 2)))
    assert caught.value.row == 2
    with pytest.raises(FrameError, match="without rows"):
        replay(FRAME.iloc[:0])
    with pytest.raises(FrameError, match="not a frame"):
        replay([1, 2])


def test_bad_options() -> None:
    """Speeds and loops that are not above 0, and windows longer than all, are refused."""
    for options in ({"speed": 0}, {"speed": -1}, {"speed": "fast"}, {"loop": 0}, {"loop": -2}):
        with pytest.raises(OptionsError):
            replay(FRAME, **options)
    for window in (0, 21, "0s", "2min", 1.5):
        with pytest.raises(OptionsError):
            replay(FRAME).windows(window)
    assert len(next(replay(FRAME, loop=3).windows("2min"))) == 30


def test_short_recordings() -> None:
    """A recording of one row, or of less than a second, has a window that fits it."""
    one = replay(FRAME.iloc[:1])
    assert isinstance(one, Replay)
    assert one.next_window(0, one.default_window) == (1, 1.0)
    short = replay(FRAME.set_axis(TIMES[0] + (TIMES - TIMES[0]) / 1000))
    assert short.next_window(0, short.default_window) == (20, 0.069)


def test_a_replay_travels() -> None:
    """A recording that was pickled or copied gives the same windows, here and elsewhere."""
    days = pd.date_range("2024-03-30 22:00", periods=5, freq="7min", tz="Europe/Berlin", unit="us")
    frame = pd.DataFrame({"v": [1.0, None, 3, 4, 5], "s": list("abcde")}, days)
    made = replay(frame, speed=3, loop=2)
    wanted = list(made.windows("10min"))
    code = (
        "import pickle, sys; made = pickle.load(sys.stdin.buffer); "
        "sys.stdout.buffer.write(pickle.dumps(made))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=pickle.dumps(made),
        capture_output=True,
        check=True,
        timeout=120,
    )
    for again in (pickle.loads(done.stdout), copy.deepcopy(made), copy.copy(made)):
        assert repr(again) == repr(made)
        found = list(again.windows("10min"))
        assert len(found) == len(wanted) > 5
        for one, other in zip(found, wanted, strict=True):
            assert_frame_equal(one, other)


def test_repr() -> None:
    """The repr names rows, columns, span and speed."""
    assert repr(replay(FRAME, speed=2, loop=True)) == (
        "Replay(20 rows × 2 columns over 1 min 09 s from 2026-01-01 00:00:00, speed=2, loop=True)"
    )
