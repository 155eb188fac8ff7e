"""When a fault is active: its episodes, addressed by row, the same whatever is asked first."""

from __future__ import annotations

from bisect import bisect_right

import numpy as np

from iotdb_frames.simulate.clock import Ints
from iotdb_frames.simulate.draws import Draws
from iotdb_frames.simulate.faults import FaultPlan

_CHUNK = 256  # episodes drawn at once
_FAR = 1 << 40  # at most so many rows between two episodes, so that sums cannot overflow
_FOREVER = 1 << 62


class Episodes:
    """The episodes of one fault on one sensor or device.

    Random episodes are drawn as gaps between them, a chunk of episodes at a time. Of the chunks
    passed only their first row is kept, so a year costs little memory.
    """

    def __init__(self, plan: FaultPlan, draws: Draws) -> None:
        self._probability = plan.fault.probability
        self._begin = plan.begin
        self.length = _FOREVER if plan.length is None else plan.length
        self._draws = draws
        self._firsts = [plan.begin]  # the row from which chunk i is drawn
        self._chunks: dict[int, Ints] = {}

    def begins(self, low: int, high: int) -> Ints:
        """First rows of the episodes that touch rows [low, high), ascending."""
        if self._probability is None:
            is_there = self._begin < high and low < self._begin + self.length
            return np.array([self._begin] if is_there else [], dtype=np.int64)
        while self._firsts[-1] < high:
            self._chunk(len(self._firsts) - 1)
        first = max(0, bisect_right(self._firsts, low - self.length) - 1)
        last = bisect_right(self._firsts, high - 1)
        begins = np.concatenate([self._chunk(i) for i in range(first, max(last, first + 1))])
        return begins[(begins > low - self.length) & (begins < high)]

    def hits(self, low: int, high: int) -> tuple[Ints, Ints]:
        """Rows of [low, high) in an episode, ascending, and the first row of each one's episode."""
        begins = self.begins(low, high)
        if self.length == 1:
            return begins, begins
        starts = np.maximum(begins, low)
        counts = np.minimum(begins + self.length, high) - starts
        before = np.cumsum(counts) - counts
        rows = np.repeat(starts - before, counts) + np.arange(counts.sum(), dtype=np.int64)
        return rows, np.repeat(begins, counts)

    def ends_after(self, rows: Ints) -> Ints:
        """For each row the first row after the episode it is in; the row itself where in none.

        Parameters
        ----------
        rows : int64 array, any order
        """
        begins = self.begins(int(rows.min()), int(rows.max()) + 1)
        if not len(begins):
            return rows
        at = begins[np.maximum(np.searchsorted(begins, rows, side="right") - 1, 0)]
        return np.where((at <= rows) & (rows < at + self.length), at + self.length, rows)

    def _chunk(self, i: int) -> Ints:
        if i not in self._chunks:
            gaps = self._draws.at(i).geometric(self._probability or 1.0, _CHUNK) - 1
            begins = np.minimum(gaps, _FAR) + self.length
            begins = np.cumsum(begins) - self.length + self._firsts[i]
            if i + 1 == len(self._firsts):
                self._firsts.append(int(begins[-1]) + self.length)
            while len(self._chunks) > 3:
                del self._chunks[next(iter(self._chunks))]
            self._chunks[i] = begins
        return self._chunks[i]
