"""The progress of a write or a backfill, in its cell: updated in place, and kept when it ends.

It is an ordinary output, not a widget, so it stays correct in a saved notebook and with nbconvert.
"""

from __future__ import annotations

import uuid

from IPython.display import display, update_display

from iotdb_frames.display.card import Card
from iotdb_frames.display.progress import Standing, View
from iotdb_frames.display.words import duration, rate, size


class NotebookProgress(View):
    """One line and a bar.

    Parameters
    ----------
    label : target of the write
    """

    every_s = 0.15

    def __init__(self, label: str) -> None:
        self._label = label
        self._written = Standing()
        self._id = f"iotdb-frames-{uuid.uuid4().hex}"
        display(Card("preparing", label), display_id=self._id)

    def begin(self, standing: Standing) -> None:
        """Draw it."""
        self.show(standing)

    def show(self, standing: Standing) -> None:
        """Draw it."""
        if standing.phase == "writing":
            self._written = standing
        words = [standing.text]
        if standing.n_bytes:
            words.append(f"{size(standing.bytes_done)} of {size(standing.n_bytes)}")
        if standing.rows_per_s:
            words.append(rate(standing.rows_per_s, "rows"))
        if standing.left_s:
            words.append(f"{duration(standing.left_s)} left")
        if standing.n_files:
            words.insert(0, standing.phase)
        self._draw(Card(" · ".join(words), self._label, bar=standing.share))

    def close(self, standing: Standing, *, is_complete: bool) -> None:
        """Draw the final state: what was written, how long it took, and whether it was verified."""
        written = standing if standing.phase == "writing" else self._written
        passed = duration(written.seconds)
        if is_complete:
            words = [f"{written.text} in {passed}"]
            words += [size(written.n_bytes)] if written.n_bytes else []
            if standing.phase == "verifying":
                words.append("verified" if standing.is_whole else "see the report")
            status = "ok" if standing.is_whole else "warn"
            card = Card(" · ".join(words), self._label, status, bar=1.0)
        else:
            title = f"stopped {standing.phase} after {written.text} and {passed}"
            card = Card(title, self._label, "warn", bar=standing.share)
        self._draw(card)

    def _draw(self, card: Card) -> None:
        update_display(card, display_id=self._id)
