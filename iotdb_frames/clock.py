"""Time as an argument: code that waits is given a clock, and a test advances one by hand."""

from __future__ import annotations

import math
import threading
import time

from iotdb_frames.interrupts import SLICE_S, check_interrupt, is_interruptible


class Clock:
    """The machine's own time."""

    def now(self) -> float:
        """Seconds of a monotonic clock; only differences are meaningful."""
        return time.monotonic()

    def time_ns(self) -> int:
        """Nanoseconds since 1970, UTC."""
        return time.time_ns()

    def sleep(self, duration_s: float) -> None:
        """Return `duration_s` seconds later."""
        if is_interruptible():
            self.wait(threading.Event(), duration_s)
        else:
            time.sleep(duration_s)

    def wait(
        self, changed: threading.Condition | threading.Event, limit_s: float | None = None
    ) -> bool:
        """Wait until `changed`, at most `limit_s` seconds (None: no limit).

        Parameters
        ----------
        changed : an event, or a condition whose lock the caller holds; as with any condition, what
            is waited for may not be so yet when this returns

        Returns
        -------
        bool : False if the limit was reached first.
        """
        if not is_interruptible():
            return changed.wait(limit_s)
        until = math.inf if limit_s is None else time.monotonic() + limit_s
        while True:
            check_interrupt()
            left_s = until - time.monotonic()
            is_there = changed.wait(min(max(left_s, 0.0), SLICE_S))
            if is_there or left_s <= SLICE_S:
                return is_there
            if isinstance(changed, threading.Condition):
                return True  # a word between two waits would be missed


CLOCK = Clock()
"""The default clock."""
