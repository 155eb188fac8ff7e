"""`replay`: a recorded frame as a live source, its gaps kept."""

from __future__ import annotations

import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from iotdb_frames.codec.sources import from_pandas
from iotdb_frames.codec.times import TICKS_PER_S, to_naive_utc, to_seconds
from iotdb_frames.display.card import Card
from iotdb_frames.display.words import count, duration, plural
from iotdb_frames.errors import FrameError, OptionsError, TimeIndexError
from iotdb_frames.play.streamable import Streamable
from iotdb_frames.simulate.assembly import build_ledger
from iotdb_frames.simulate.clock import SampleClock, first_step_from
from iotdb_frames.spelling import printable
from iotdb_frames.writes.plan.labelled import plain_times


def replay(
    data: pd.DataFrame | str | os.PathLike[str],
    *,
    time: str | None = None,
    speed: float = 1.0,
    now_shift: bool = False,
    loop: bool | int = False,
) -> Replay:
    """A recorded frame as a source to stream from.

    Parameters
    ----------
    data : a frame, or a Parquet file of one
    time : the column of the times; None: the index. Times with a zone are converted to UTC;
        those without are UTC
    speed : how much faster than recorded it is streamed; 2 halves the gaps
    now_shift : when streaming starts, all times are moved so that the first row is now
    loop : start again at the end, endlessly or this many times; each time the times go on, one
        usual step after the last row

    Returns
    -------
    Replay : rows ascending in time (stable); the frame itself is not changed

    Raises
    ------
    TimeIndexError : no times to replay by, or missing ones (with the first row).
    FrameError : no rows, or a file that cannot be read.
    OptionsError : a speed or a loop count that is not above 0.
    """
    if isinstance(data, (str, os.PathLike)):
        data = _read_parquet(Path(data))
    if not isinstance(data, pd.DataFrame):
        raise FrameError(f"a {type(data).__name__} is not a frame to replay")
    times = _times_of(data, time)
    if time is not None:
        data = data.drop(columns=time)
    if not len(data):
        raise FrameError("a frame without rows cannot be replayed")
    order = np.argsort(times.asi8, kind="stable")
    n_loops = (None if loop else 1) if isinstance(loop, bool) else loop
    if n_loops is not None and n_loops < 1:
        raise OptionsError(f"loop={loop!r} must be at least 1")
    if not (isinstance(speed, (int, float)) and speed > 0):
        raise OptionsError(f"speed={speed!r} must be more than 0")
    frame = data.iloc[order].set_axis(times[order])
    return Replay(frame, speed=speed, starts_now=now_shift, n_loops=n_loops)


class Replay(Streamable):
    """A recorded frame as a source; made by `replay`.

    A position is a row number, counted on through the loops. Its windows are rows, or spans of the
    recording: a span's window holds the rows of one step of a grid from the first row on, and is
    complete when the step is over; steps without rows are left out, not sent empty.
    """

    def __init__(
        self, frame: pd.DataFrame, *, speed: float, starts_now: bool, n_loops: int | None
    ) -> None:
        index = frame.index
        assert isinstance(index, pd.DatetimeIndex)
        self._frame = frame
        self._units_per_s = TICKS_PER_S[index.unit]
        self._elapsed = index.asi8 - index.asi8[0]  # units since the first row, ascending
        steps = np.diff(self._elapsed)
        steps = steps[steps > 0]
        usual = int(np.median(steps)) if len(steps) else self._units_per_s
        self._cycle = int(self._elapsed[-1]) + usual
        self._n_loops = n_loops
        self.speed = float(speed)
        self.starts_now = starts_now

    @property
    def n_rows(self) -> int | None:
        """Rows in all; None: without end."""
        return None if self._n_loops is None else self._n_loops * len(self._frame)

    @property
    def start(self) -> pd.Timestamp:
        """Time of the first row."""
        return self._frame.index[0]  # type: ignore[no-any-return]

    @property
    def default_window(self) -> Any:
        """A second, or all rows of a shorter recording."""
        is_short = self._n_loops is not None and self._length_s < 1
        return len(self._frame) if is_short else "1s"

    @property
    def _length_s(self) -> float:
        return self._cycle * (self._n_loops or 0) / self._units_per_s

    def starting_at(self, time: Any) -> Replay:
        """The same recording, all times moved so that the first row is at `time`."""
        index = self._frame.index
        assert isinstance(index, pd.DatetimeIndex)
        shift = to_naive_utc(time, name="time").as_unit(index.unit) - index[0]
        moved = self._frame.set_axis((index + shift).as_unit(index.unit).rename("time"))
        return Replay(moved, speed=self.speed, starts_now=False, n_loops=self._n_loops)

    def __repr__(self) -> str:
        n = len(self._frame)
        seconds = self._elapsed[-1] / self._units_per_s
        loops = "" if self._n_loops == 1 else f", loop={self._n_loops or True}"
        now = ", now_shift=True" if self.starts_now else ""
        return printable(
            f"Replay({plural(n, 'row')} × {plural(self._frame.shape[1], 'column')} "
            f"over {duration(seconds)} "
            f"from {self.start}, speed={self.speed:g}{now}{loops})"
        )

    def _repr_html_(self) -> str:
        n_rows, seconds = len(self._frame), float(self._elapsed[-1]) / self._units_per_s
        facts: list[tuple[str, Any]] = [
            ("rows", (count(n_rows), plural(self._frame.shape[1], "column"))),
            ("recorded", duration(seconds)),
            ("from", str(self.start)),
            ("speed", f"{self.speed:g} ×"),
        ]
        if self._n_loops != 1:
            facts.append(("loops", "without end" if self._n_loops is None else str(self._n_loops)))
        return Card("recording", facts=facts).html()

    # --- frames ---

    def window(self, n: int, *, at: int = 0) -> pd.DataFrame:
        """Rows [at, at + n)."""
        if n < 1 or at < 0:
            raise OptionsError(f"window({n}, at={at}): n must be at least 1 and at at least 0")
        return self.rows(at, at + n)

    def windows(self, size: Any) -> Iterator[pd.DataFrame]:
        """All windows, endless if the recording loops endlessly."""
        self._check_window(size)
        return self._windows(size)

    def _windows(self, size: Any) -> Iterator[pd.DataFrame]:
        position = 0
        while (window := self.next_window(position, size)) is not None:
            yield self.rows(position, window[0])
            position = window[0]

    # --- what the runner asks ---

    def next_window(self, position: int, window: Any) -> tuple[int, float] | None:
        """The end of the window that begins at row `position`, and when it is complete.

        Returns
        -------
        (end row, seconds of the recording since its first row), or None at the end
        """
        self._check_window(window)
        if self.n_rows is not None and position >= self.n_rows:
            return None
        if isinstance(window, (int, np.integer)):
            end = position + int(window)
            end = end if self.n_rows is None else min(end, self.n_rows)
            return end, self._elapsed_at(end - 1) / self._units_per_s
        step = max(1, self._units_from(to_seconds(window, name="window")))
        over = (self._elapsed_at(position) // step + 1) * step
        return self._first_from(over), over / self._units_per_s

    def first_from(self, elapsed_s: float) -> int:
        """The first row not before `elapsed_s` of the recording, and so the number before it."""
        return self._first_from(self._units_from(elapsed_s))

    def rows(
        self, low: int, high: int | None = None, *, since: int = 0, before: int | None = None
    ) -> pd.DataFrame:
        """Rows [low, high) of [since, before), through the loops; none is ever late."""
        low = max(low, since)
        ends = [end for end in (high, before, self.n_rows) if end is not None]
        high = max(low, min(ends))
        n = len(self._frame)
        if low // n == max(low, high - 1) // n:
            return self._part(low // n, low % n, low % n + high - low)
        parts = []
        for loop in range(low // n, (high - 1) // n + 1):
            first, last = max(low - loop * n, 0), min(high - loop * n, n)
            parts.append(self._part(loop, first, last))
        return pd.concat(parts)

    def count_faults(self, low: int, high: int | None = None, **which: Any) -> dict[str, int]:  # noqa: ARG002, as of any source
        """Empty: the faults of a recording are not known."""
        return {}

    def ledger_of(self, low: int, high: int | None = None, **which: Any) -> pd.DataFrame:  # noqa: ARG002, as of any source
        """No rows, for the same reason."""
        clock = SampleClock(start=0, period=Fraction(1), unit="ms")
        return build_ledger((), kinds=(), clock=clock, has_devices=False)

    def prepare(self, low: int, high: int) -> None:
        """Do nothing: all rows exist."""

    # --- inside ---

    def _part(self, loop: int, first: int, last: int) -> pd.DataFrame:
        part = self._frame.iloc[first:last]
        if not loop:
            return part
        index = self._frame.index
        assert isinstance(index, pd.DatetimeIndex)
        times = index.asi8[first:last] + loop * self._cycle
        return part.set_axis(pd.DatetimeIndex(times.view(f"datetime64[{index.unit}]"), name="time"))

    def _elapsed_at(self, position: int) -> int:
        loop, row = divmod(position, len(self._frame))
        return loop * self._cycle + int(self._elapsed[row])

    def _units_from(self, seconds: float) -> int:
        """The number of units before `seconds`."""
        return first_step_from(seconds, per_s=Fraction(self._units_per_s))

    def _first_from(self, units: int) -> int:
        loop, rest = divmod(max(units, 0), self._cycle)
        position = loop * len(self._frame) + int(np.searchsorted(self._elapsed, rest))
        return position if self.n_rows is None else min(position, self.n_rows)

    def _check_window(self, window: Any) -> None:
        if isinstance(window, float):
            raise OptionsError(f"window={window!r}: rows (an int) or seconds?", hint='e.g. "2.5s"')
        is_rows = isinstance(window, (int, np.integer))
        size = window if is_rows else to_seconds(window, name="window")
        if not size > 0:
            raise OptionsError(f"window={window!r} must be more than 0")
        if self.n_rows is not None and size > (self.n_rows if is_rows else self._length_s):
            raise OptionsError(
                f"window={window!r} is longer than the recording: "
                f"{self.n_rows} rows, {self._length_s:g} s"
            )


def _read_parquet(file: Path) -> pd.DataFrame:
    import pyarrow.parquet as pq

    from iotdb_frames.codec.int96 import unit_of_int96

    try:
        unit = unit_of_int96(file, pq.read_metadata(file), name=str(file))
        return pd.read_parquet(file, engine="pyarrow", coerce_int96_timestamp_unit=unit)
    except FileNotFoundError as exc:
        raise FrameError(f"there is no file {file}") from exc
    except (OSError, pa.ArrowException) as exc:
        raise FrameError(
            f"{file} cannot be read: {exc}", hint="replay takes a Parquet file"
        ) from exc


def _times_of(data: pd.DataFrame, time: str | None) -> pd.DatetimeIndex:
    if time is not None and time not in data.columns:
        raise TimeIndexError(f"there is no column {time!r}", column=time)
    labels = data.index if time is None else pd.Index(data[time])
    if pd.api.types.infer_dtype(labels, skipna=True) == "date":
        labels = pd.DatetimeIndex(np.asarray(plain_times(from_pandas(labels, time)).data))
    if not isinstance(labels, pd.DatetimeIndex):
        dates = [str(name) for name in data.select_dtypes(["datetime", "datetimetz"])]
        hint = f"time={dates[0]!r}" if dates else "df.set_index(pd.to_datetime(…)), or time="
        where = "the index holds" if time is None else f"column {time!r} holds"
        raise TimeIndexError(f"{where} {labels.dtype}, no times to replay", column=time, hint=hint)
    missing = labels.isna()
    if missing.any():
        row = int(np.argmax(missing))
        raise TimeIndexError(f"row {row} has no time", column=time, row=row)
    if labels.tz is not None:
        labels = labels.tz_convert("UTC").tz_localize(None)
    return labels.rename("time")
