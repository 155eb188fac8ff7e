"""Time as an argument: code that waits is given a clock, and a test advances one by hand."""

from __future__ import annotations

import threading
import time


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
        time.sleep(duration_s)

    def wait(
        self, changed: threading.Condition | threading.Event, limit_s: float | None = None
    ) -> bool:
        """Wait until `changed`, at most `limit_s` seconds (None: no limit).

        Parameters
        ----------
        changed : an event, or a condition whose lock the caller holds

        Returns
        -------
        bool : False if the limit was reached first.
        """
        return changed.wait(limit_s)


CLOCK = Clock()
"""The default clock."""
