"""What is streamed and how it goes: the `Playable` protocol, stream time, and counters."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import pandas as pd

from iotdb_frames.display.card import Card, count, duration, plural, rate
from iotdb_frames.errors import OptionsError

State = Literal["ready", "running", "paused", "stopping", "stopped", "finished", "failed"]


class Playable(Protocol):
    """What a runner asks of a source; all of it pure. `SensorSource` and `Replay` are."""

    speed: float
    starts_now: bool

    @property
    def default_window(self) -> Any:
        """The window where none is asked for."""

    def starting_at(self, time: Any) -> Any:
        """The same source with its first row at `time`."""

    def next_window(self, position: int, window: Any) -> tuple[int, float] | None:
        """(end position, stream time at which it is complete); None: the source is over."""

    def first_from(self, elapsed_s: float) -> int:
        """The first row not before a stream time; so, how many are before it."""

    def rows(
        self, low: int, high: int | None = None, *, since: int = 0, before: int | None = None
    ) -> pd.DataFrame:
        """What arrives in [low, high), of rows read in [since, before).

        Without `high`: whatever arrives from `low` on; without `before`: before `high`.
        """

    def count_faults(self, low: int, high: int | None = None, **which: Any) -> dict[str, int]:
        """Which faults hit how many of `rows`, by kind; `which` as of `ledger_of`."""

    def ledger_of(self, low: int, high: int | None = None, **which: Any) -> pd.DataFrame:
        """Which fault hit which of `rows`, as of `SensorSource.ledger`.

        `which` is ``since`` and ``before``, and ``refused``: positions in `rows` that do not count.
        """

    def prepare(self, low: int, high: int) -> None:
        """Do a share, as large as [low, high) is, of what later rows will need all at once."""


@dataclass(frozen=True, kw_only=True, repr=False)
class StreamStats:
    """A moment of a stream.

    Attributes
    ----------
    state : ready, running, paused, stopping, stopped, finished or failed
    windows, rows : sent so far
    elapsed_s : seconds run, pauses left out
    stream_s : stream time of the rows sent, in seconds since the source's first row
    rows_per_s : sent, over `elapsed_s`
    behind_s : how late the window now in hand is, in seconds
    max_behind_s : the latest that any window was sent
    is_behind : the receiver does not keep up: more than two windows, and a second, late
    window_s : seconds from window to window, by the clock on the wall
    send_s, median_send_s, p99_send_s, max_send_s : how long sending took: last, and of the last
        1,000 windows; into a target, from handing a window over to its last acknowledgement
    points : cells that are not missing, acknowledged (into a target; else 0)
    retries : requests that were sent again (into a target; else 0)
    rejected : of `rows`, those the database refused, under ``on_error="collect"``
    faults : acknowledged rows hit, by kind: as many as `Runner.ledger` has
    error : what `send` raised, or None
    """

    state: State
    windows: int
    rows: int
    elapsed_s: float
    stream_s: float
    rows_per_s: float
    behind_s: float
    max_behind_s: float
    is_behind: bool
    window_s: float
    send_s: float
    median_send_s: float
    p99_send_s: float
    max_send_s: float
    points: int = 0
    retries: int = 0
    rejected: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    error: BaseException | None = None

    def card(self) -> Card:
        """Its summary card."""
        facts: list[tuple[str, Any]] = [
            ("rows", (count(self.rows), plural(self.windows, "window"))),
            ("rate", rate(self.rows_per_s, "rows")),
            ("ran", duration(self.elapsed_s)),
            (
                "sending a window",
                (duration(self.median_send_s), f"99 %: {duration(self.p99_send_s)}"),
            ),
        ]
        if self.points:
            facts.insert(1, ("points", count(self.points)))
        for label, n in (("retries", self.retries), ("rejected rows", self.rejected)):
            if n:
                facts.append((label, count(n)))
        facts += [(kind, (count(n), "rows hit")) for kind, n in self.faults.items()]
        notes = [] if self.error is None else [str(self.error)]
        if self.is_behind:
            notes.append(f"{duration(self.behind_s)} late: the receiver does not keep up")
        status = "bad" if self.error else "warn" if notes or self.rejected else "ok"
        return Card("stream", self.state, status, facts, notes=notes)

    def __repr__(self) -> str:
        return f"<StreamStats {self}>"

    def _repr_html_(self) -> str:
        return self.card().html()

    def __str__(self) -> str:
        text = (
            f"{self.state}: {self.rows:,} rows in {self.windows:,} windows, "
            f"{self.elapsed_s:.1f} s, {self.rows_per_s:,.1f} rows/s"
        )
        if self.is_behind:
            text += (
                f"; behind by {self.behind_s:.1f} s: a window is due each {self.window_s:.3g} s, "
                f"sending takes {self.median_send_s:.3g} s"
            )
        for what, n in (("retries", self.retries), ("rejected rows", self.rejected)):
            if n:
                text += f"; {n:,} {what}"
        if self.faults:
            text += "; faults: " + ", ".join(f"{k} {n:,}" for k, n in self.faults.items())
        return f"{text}; {self.error!r}" if self.error else text


class Pace:
    """Stream time by the wall clock: the two are tied at one point, and by the speed.

    Every wall time is given, in seconds; no clock is read. Not thread-safe.

    Attributes
    ----------
    speed : seconds of stream time a second; inf: stream time is what has been reached
    """

    def __init__(self, *, speed: float) -> None:
        self.speed = checked_speed(speed)
        self._is_ticking = False
        self._wall_s = 0.0
        self._stream_s = 0.0
        self._ran_s = 0.0

    def start(self, now: float) -> None:
        """Let stream time go on from where it is."""
        self._tie(now)
        self._is_ticking = True

    def hold(self, now: float) -> None:
        """Let stream time stand still."""
        self._tie(now)
        self._is_ticking = False

    def skip(self, now: float) -> float:
        """Move stream time on by the hold so far; the stream time then."""
        if math.isfinite(self.speed) and not self._is_ticking:
            self._stream_s += (now - self._wall_s) * self.speed
            self._wall_s = now
        return self._stream_s

    def set_speed(self, now: float, speed: float) -> None:
        """Change the speed without a leap."""
        wall_s = self._wall_s
        self._tie(now)
        if not self._is_ticking:
            self._wall_s = wall_s  # a hold goes on from when it began
        self.speed = speed

    def reach(self, stream_s: float) -> None:
        """Without a speed, stream time is how far the stream has come."""
        if math.isinf(self.speed):
            self._stream_s = stream_s

    def stream_at(self, now: float) -> float:
        """Stream time, in seconds since the source's first row."""
        if not self._is_ticking or math.isinf(self.speed):
            return self._stream_s
        return self._stream_s + (now - self._wall_s) * self.speed

    def ran_at(self, now: float) -> float:
        """Seconds run, holds left out."""
        return self._ran_s + (now - self._wall_s if self._is_ticking else 0.0)

    def wait_s(self, now: float, due_s: float) -> float:
        """Seconds until a stream time; negative: it is over by so many."""
        if math.isinf(self.speed):
            return 0.0
        return (due_s - self.stream_at(now)) / self.speed

    def _tie(self, now: float) -> None:
        self._stream_s, self._ran_s = self.stream_at(now), self.ran_at(now)
        self._wall_s = now


def checked_speed(speed: float) -> float:
    """A speed above 0.

    Raises
    ------
    OptionsError : it is no number above 0.
    """
    is_number = isinstance(speed, (int, float)) and not isinstance(speed, bool)
    if not is_number or not speed > 0:
        raise OptionsError(f"speed={speed!r} must be more than 0")
    return float(speed)
