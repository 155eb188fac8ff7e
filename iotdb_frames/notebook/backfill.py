"""The progress of a backfill, in its cell: drawn in place, and left in its final state."""

from __future__ import annotations

import uuid
from typing import Any

from IPython.display import display, update_display

from iotdb_frames.frames.card import Card, duration, rate, size


class BackfillProgress:
    """Bytes as a bar; files, rows, pace and what is left in words.

    Parameters
    ----------
    label : what is written to
    """

    def __init__(self, *, label: str) -> None:
        self._label = label
        self._last: Any = None
        self._id = f"iotdb-frames-{uuid.uuid4().hex}"
        display(Card("looking at the files", label), display_id=self._id)

    def show(self, standing: Any) -> None:
        """Draw a `backfills.progress.Standing`."""
        self._last = standing
        update_display(self.card(), display_id=self._id)

    def card(self, status: str = "") -> Card:
        """What it shows."""
        now = self._last
        words = [now.phase, now.text, f"{size(now.bytes_done)} of {size(now.n_bytes)}"]
        if now.seconds > 0 and now.rows and not status:
            words.append(rate(now.rows / now.seconds, "rows"))
        if now.left_s and not status:
            words.append(f"{duration(now.left_s)} left")
        part = now.bytes_done / now.n_bytes if now.n_bytes else None
        return Card(" · ".join(words), self._label, status, bar=part)

    def close(self, *, is_complete: bool = True) -> None:
        """Draw the final state."""
        if self._last is not None:
            card = self.card("ok" if is_complete else "warn")
            update_display(card, display_id=self._id)
