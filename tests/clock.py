"""A clock in the test's hands, for code that is given one, and waits for conditions."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from iotdb_frames.clock import Clock

PATIENCE_S = 60.0
"""How long a test waits for what must happen; a busy machine is not a bug."""


def wait_until(is_so: Callable[[], object], *, limit_s: float = PATIENCE_S) -> None:
    """Return as soon as `is_so()`; fail where it is not within `limit_s` seconds."""
    deadline = time.monotonic() + limit_s
    while not is_so():
        assert time.monotonic() < deadline, f"it did not happen within {limit_s:g} s"
        time.sleep(0.005)


class FakeClock(Clock):
    """Time that passes when the test says so.

    Parameters
    ----------
    start_s : what it shows at first
    runs : True: whoever sleeps or waits finds his limit over at once, and the clock moved there.
        False: he waits until `advance` has moved the clock, or what he waits for has happened

    Attributes
    ----------
    slept_s : how long each sleep and each wait with a limit would have taken, in their order
    """

    def __init__(self, start_s: float = 100.0, *, runs: bool = False) -> None:
        self._now = start_s
        self._runs = runs
        self._waiting = 0
        self._lock = threading.Lock()
        self.slept_s: list[float] = []

    def now(self) -> float:
        return self._now

    def advance(self, duration_s: float) -> None:
        """Move on."""
        with self._lock:
            self._now += duration_s

    def wait_for_waiters(self, count: int = 1) -> None:
        """Return as soon as so many threads sleep or wait with a limit."""
        wait_until(lambda: self._waiting >= count)

    def sleep(self, duration_s: float) -> None:
        self.wait(threading.Event(), duration_s)

    def wait(
        self, changed: threading.Condition | threading.Event, limit_s: float | None = None
    ) -> bool:
        if limit_s is None:
            return changed.wait()
        with self._lock:
            self.slept_s.append(limit_s)
            self._waiting += 1
            due = self._now + limit_s
        try:
            if self._runs:
                if changed.wait(0):
                    return True
                with self._lock:
                    self._now = max(self._now, due)
                return False
            while not changed.wait(0.001):
                if self._now >= due:
                    return False
            return True
        finally:
            with self._lock:
                self._waiting -= 1
