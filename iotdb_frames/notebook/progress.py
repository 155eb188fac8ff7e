"""The progress of a write, in its cell: drawn in place, and left in its final state.

It is an ordinary output and no widget, so it is still right in a saved notebook and in what
nbconvert makes of it.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable

from IPython.display import display, update_display

from iotdb_frames.display.card import Card, count, duration, rate

EVERY_S = 0.15
"""Seconds between two drawings."""


class NotebookProgress:
    """One line and a bar.

    Parameters
    ----------
    total : rows that will come; 0: nobody knows
    label : what is written to
    clock : seconds, ascending
    """

    def __init__(
        self, total: int, *, label: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._total, self._label, self._clock = total, label, clock
        self._lock = threading.Lock()
        self._done = 0
        self._started = self._drawn = clock()
        self._id = f"iotdb-frames-{uuid.uuid4().hex}"
        display(self.card(), display_id=self._id)

    def update(self, n_rows: int) -> None:
        """Count rows, and draw where the last drawing is some time ago."""
        with self._lock:
            self._done += n_rows
            now = self._clock()
            if now - self._drawn < EVERY_S:
                return
            self._drawn = now
            card = self.card()
        update_display(card, display_id=self._id)

    def close(self, *, is_complete: bool = True) -> None:
        """Draw the final state."""
        with self._lock:
            card = self.final_card(is_complete)
        update_display(card, display_id=self._id)

    def card(self) -> Card:
        """What it shows while rows are on their way."""
        passed = self._clock() - self._started
        words = [count(self._done) + (f" of {count(self._total)}" if self._total else "") + " rows"]
        if self._done and passed > 0:
            per_s = self._done / passed
            words.append(rate(per_s, "rows"))
            left = (self._total - self._done) / per_s
            if left > 0:
                words.append(f"{duration(left) if left >= 60 else f'{left:.0f} s'} left")
        part = min(1.0, self._done / self._total) if self._total else None
        return Card(" · ".join(words), self._label, bar=part)

    def final_card(self, is_complete: bool) -> Card:
        """What stays."""
        passed = duration(self._clock() - self._started)
        if is_complete:
            # Merged duplicates and refused rows are never sent; the report tells of them.
            n_rows = self._total or self._done
            return Card(f"{count(n_rows)} rows in {passed}", self._label, "ok", bar=1.0)
        of = f" of {count(self._total)}" if self._total else ""
        part = min(1.0, self._done / self._total) if self._total else None
        title = f"stopped after {count(self._done)}{of} rows and {passed}"
        return Card(title, self._label, "warn", bar=part)
