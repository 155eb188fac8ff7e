"""Time as an argument: whoever waits is given a clock, and a test turns one by hand."""

from __future__ import annotations

import threading
import time


class Clock:
    """The machine's own time."""

    def now(self) -> float:
        """Seconds of a clock that nobody sets back; only differences mean something."""
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
        """Wait until `changed`, at most `limit_s` seconds (None: without a limit).

        Parameters
        ----------
        changed : an event, or a condition whose lock the caller holds

        Returns
        -------
        bool : False where the limit came first.
        """
        return changed.wait(limit_s)


CLOCK = Clock()
"""What is used where no clock is given."""
