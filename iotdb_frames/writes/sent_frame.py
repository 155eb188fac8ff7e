"""A frame whose rows are on their way: what is not answered yet, and which rows were refused."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from iotdb_frames.errors import FrameError
from iotdb_frames.writes.plan.plan import WritePlan


class Unanswered:
    """Counts a frame's requests that are not answered; tells once when there are none left."""

    def __init__(self, on_end: Callable[[bool], None] | None) -> None:
        self._on_end = on_end
        self._lock = threading.Lock()
        self._n = 1  # the frame itself, until all of it is submitted
        self._is_all_sent = True

    def begin(self) -> None:
        with self._lock:
            self._n += 1

    def end(self, *, is_sent: bool) -> None:
        with self._lock:
            self._n -= 1
            self._is_all_sent = self._is_all_sent and is_sent
            on_end = None
            if self._n == 0:
                # It knows the frame, which knows this: let go, or all of it stays in memory.
                on_end, self._on_end = self._on_end, None
        if on_end is not None:
            on_end(self._is_all_sent)


class SentFrame:
    """A frame on its way: which of its rows were refused, and which answers are still out.

    misfits : why a refused request, by its id, could not be planned anew
    """

    pending: Unanswered

    def __init__(self, data: Any, planned: WritePlan, first_row: int) -> None:
        self.data = data
        self.planned = planned
        self.first_row = first_row
        self.is_refused = np.zeros(planned.layout.n_rows, bool)
        self.n_shares = max(1, len(planned.parts))
        self.misfits: dict[int, FrameError] = {}
        self._lock = threading.Lock()
        self._n_done = 0.0

    def take(self, n_rows: float) -> int:
        """How many whole rows are done more, with `n_rows` more; never more than there are."""
        with self._lock:
            before = self._n_done
            self._n_done = min(before + n_rows, self.planned.layout.n_rows)
            return int(self._n_done) - int(before)
