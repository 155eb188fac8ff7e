"""The progress of a backfill, in its cell: drawn in place, and left in its final state."""

from __future__ import annotations

import uuid
from typing import Any

from IPython.display import display, update_display

from iotdb_frames.display.card import Card, duration, plural, rate, size


class BackfillProgress:
    """Bytes as a bar; files, rows, pace and what is left in words.

    Parameters
    ----------
    label : what is written to
    """

    def __init__(self, *, label: str) -> None:
        self._label = label
        self._last: Any = None
        self._written: Any = None
        self._id = f"iotdb-frames-{uuid.uuid4().hex}"
        display(Card("looking at the files", label), display_id=self._id)

    def show(self, standing: Any) -> None:
        """Draw a `backfills.progress.Standing`."""
        self._last = standing
        if standing.phase == "writing":
            self._written = standing
        update_display(self.card(), display_id=self._id)

    def card(self) -> Card:
        """What it shows while it goes on."""
        now = self._last
        # Verified are units, of any file in any order: rows say how far that is.
        done = now.text if now.phase == "writing" else plural(now.rows, "row")
        words = [now.phase, done]
        if now.n_bytes:
            words.append(f"{size(now.bytes_done)} of {size(now.n_bytes)}")
        if now.seconds > 0 and now.rows:
            words.append(rate(now.rows / now.seconds, "rows"))
        if now.left_s:
            words.append(f"{duration(now.left_s)} left")
        return Card(" · ".join(words), self._label, bar=_part(now))

    def final_card(self, is_complete: bool) -> Card:
        """What stays: what is written, and whether it was verified."""
        now, written = self._last, self._written or self._last
        words = [written.text]
        if is_complete:
            words += [size(written.n_bytes)] if written.n_bytes else []
            words += ["verified"] if now.phase == "verifying" else []
            return Card(" · ".join(words), self._label, "ok", bar=1.0)
        return Card(f"stopped {now.phase} · {written.text}", self._label, "warn", bar=_part(now))

    def close(self, *, is_complete: bool = True) -> None:
        """Draw the final state."""
        if self._last is not None:
            update_display(self.final_card(is_complete), display_id=self._id)


def _part(standing: Any) -> float | None:
    return standing.bytes_done / standing.n_bytes if standing.n_bytes else None
