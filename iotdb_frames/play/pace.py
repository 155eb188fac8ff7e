"""Stream time by the wall clock, and how late a stream is."""

from __future__ import annotations

import math
from typing import Any

from iotdb_frames.codec.times import to_seconds
from iotdb_frames.errors import OptionsError


class Pace:
    """Stream time by the wall clock: the two are tied at one point, and by the speed.

    Wall times are passed in, in seconds; no clock is read. Not thread-safe.

    Attributes
    ----------
    speed : seconds of stream time per second; inf: stream time is what has been reached
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
        """Seconds until a stream time; negative once it has passed."""
        if math.isinf(self.speed):
            return 0.0
        return (due_s - self.stream_at(now)) / self.speed

    def _tie(self, now: float) -> None:
        self._stream_s, self._ran_s = self.stream_at(now), self.ran_at(now)
        self._wall_s = now


class Delay:
    """How late the windows of a stream are. Not thread-safe.

    Attributes
    ----------
    due_s : stream time at which the window in hand is due; None: never
    """

    def __init__(self, pace: Pace) -> None:
        self.due_s: float | None = None
        self._pace = pace
        self._window_s = 0.0
        self._max_s = 0.0
        self._was_behind = False

    def expect(self, due_s: float, *, since_s: float) -> None:
        """Take a window in hand, of the stream time from `since_s` on."""
        self.due_s = due_s
        self._window_s = due_s - since_s

    def counters(self, now: float) -> dict[str, Any]:
        """The fields of `StreamStats` that are of being late."""
        behind = 0.0 if self.due_s is None else max(0.0, -self._pace.wait_s(now, self.due_s))
        window_s = self._window_s / self._pace.speed
        return {
            "behind_s": behind,
            "max_behind_s": max(self._max_s, behind),
            "is_behind": behind > max(1.0, 2 * window_s),
            "window_s": window_s,
        }

    def note(self, now: float) -> str | None:
        """Note that the window in hand was sent; the format of a log line, if there is news."""
        seen = self.counters(now)
        self._max_s = seen["max_behind_s"]
        if seen["is_behind"] and not self._was_behind:
            self._was_behind = True
            return "the receiver does not keep up: %s"
        if self._was_behind and seen["behind_s"] <= seen["window_s"]:
            self._was_behind = False
            return "the receiver has caught up: %s"
        return None


def checked_speed(speed: float) -> float:
    """A speed above 0.

    Raises
    ------
    OptionsError : it is not a number above 0.
    """
    is_number = isinstance(speed, (int, float)) and not isinstance(speed, bool)
    if not is_number or not speed > 0:
        raise OptionsError(f"speed={speed!r} must be more than 0")
    return float(speed)


def checked_limit_s(span: Any, name: str) -> float:
    """A span in seconds, more than 0; None: no limit.

    Raises
    ------
    OptionsError : it is not a span, or not above 0.
    """
    seconds = math.inf if span is None else to_seconds(span, name=name)
    if not seconds > 0:
        raise OptionsError(f"{name}={span!r} must be more than 0")
    return seconds
