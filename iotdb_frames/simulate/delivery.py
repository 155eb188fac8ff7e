"""How the rows of one device arrive: when, how often, and with which time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import RLock

import numpy as np

from iotdb_frames.simulate.clock import BLOCK, Ints, SampleClock, block_times
from iotdb_frames.simulate.faults import FaultPlan
from iotdb_frames.simulate.readings import PlannedFault, Recent
from iotdb_frames.simulate.signals.base import Values


@dataclass(frozen=True)
class Arrivals:
    """How the rows of one block arrive; the sparse exceptions from "at once, once, on time".

    Attributes
    ----------
    late, arrive : rows that arrive at a later tick, ascending, and the tick
    shifts : added to the rows' times, in units, shape (BLOCK,); None: nothing
    copies : how often each row arrives, shape (BLOCK,); None: once
    hits : (fault number, ticks it hit)
    """

    late: Ints
    arrive: Ints
    shifts: Ints | None
    copies: Ints | None
    hits: tuple[tuple[int, Ints], ...]


class Delivery:
    """How the rows of one device arrive under its delivery faults."""

    def __init__(self, clock: SampleClock, faults: Sequence[PlannedFault]) -> None:
        self._clock = clock
        self._faults = faults
        self.max_late = 0
        for plan in (fault.plan for fault in faults):
            if plan.kind in ("delay", "straggler", "late_batch"):
                self.max_late += self._ticks(plan)
            if plan.kind in ("late_batch", "offline"):
                self.max_late += plan.length or 0
        self._lock = RLock()
        self._recent: Recent[Arrivals] = Recent(self._make, size=self.max_late // BLOCK + 3)

    def _ticks(self, plan: FaultPlan) -> int:
        return max(1, self._clock.nearest_tick(plan.severity))

    @property
    def is_plain(self) -> bool:
        """Whether every row arrives once, at once and with its own time."""
        return not self._faults

    def block(self, index: int) -> Arrivals:
        """How block `index` arrives."""
        with self._lock:
            return self._recent[index]

    def arriving(self, low: int, high: int, *, since: int, before: int) -> Ints:
        """Rows of [since, before) that arrive in ticks [low, high), in order, with copies.

        Returns
        -------
        int64 array of ticks; rows that arrive together are in the order of their ticks
        """
        low_tick, high_tick = max(low, since), max(low, since, min(high, before))
        if self.is_plain:
            return np.arange(low_tick, high_tick, dtype=np.int64)
        first = max(since, low - self.max_late, 0)
        last = min(high, before)
        rows, arrive = [], []
        for index in range(first // BLOCK, -(-max(last, first) // BLOCK)):
            block = self.block(index)
            start = max(low_tick, index * BLOCK)
            on_time = np.arange(start, min(high_tick, (index + 1) * BLOCK), dtype=np.int64)
            if len(block.late):
                on_time = on_time[~np.isin(on_time, block.late, assume_unique=True)]
                is_due = (block.arrive >= low) & (block.arrive < high)
                is_due &= (block.late >= first) & (block.late < last)
                rows.append(block.late[is_due])
                arrive.append(block.arrive[is_due])
            rows.append(on_time)
            arrive.append(on_time)
        if not rows:
            return np.empty(0, dtype=np.int64)
        ticks = np.concatenate(rows)
        ticks = ticks[np.lexsort((ticks, np.concatenate(arrive)))]
        copies = self._gather(ticks, "copies")
        return ticks if copies is None else np.repeat(ticks, copies)

    def stamps(self, ticks: Ints) -> Ints:
        """The times the rows carry, in units since 1970."""
        times = self._clock.times(ticks)
        shifts = self._gather(ticks, "shifts")
        return times if shifts is None else times + shifts

    def arrivals(self, ticks: Ints) -> Ints:
        """The tick at which each row arrives."""
        arrive = ticks.copy()
        for index in np.unique(ticks // BLOCK).tolist() if self._faults else ():
            block = self.block(index)
            if len(block.late):
                at = np.minimum(np.searchsorted(block.late, ticks), len(block.late) - 1)
                arrive = np.where(block.late[at] == ticks, block.arrive[at], arrive)
        return arrive

    def _gather(self, ticks: Ints, what: str) -> Ints | None:
        gathered: Ints | None = None
        for index in np.unique(ticks // BLOCK).tolist() if self._faults else ():
            values: Ints | None = getattr(self.block(index), what)
            if values is not None:
                if gathered is None:
                    gathered = np.full(len(ticks), 1 if what == "copies" else 0, dtype=np.int64)
                is_here = ticks // BLOCK == index
                gathered[is_here] = values[ticks[is_here] - index * BLOCK]
        return gathered

    def _make(self, index: int) -> Arrivals:
        first = index * BLOCK
        ticks = block_times(self._clock, index).ticks
        arrive = ticks.copy()
        shifts: Ints | None = None
        copies: Ints | None = None
        hits: list[tuple[int, Ints]] = []
        for fault in self._faults:
            plan, episodes = fault.plan, fault.episodes
            if plan.kind == "offline":  # holds what would arrive in it, whenever it was read
                freed = episodes.ends_after(arrive)
                hit = ticks[freed > arrive]
                arrive = freed
            else:
                hit, begins = episodes.hits(first, first + BLOCK)
            if not len(hit):
                continue
            hits.append((fault.number, hit))
            rows = hit - first
            lateness = self._ticks(plan)
            if plan.kind == "delay":
                arrive[rows] += lateness
            elif plan.kind == "straggler":
                arrive[rows] += fault.generator(index).integers(1, lateness + 1, BLOCK)[rows]
            elif plan.kind == "late_batch":
                released = begins + (plan.length or 0) - 1 + lateness
                arrive[rows] = np.maximum(arrive[rows], released)
            elif plan.kind == "duplicate":
                copies = np.ones(BLOCK, dtype=np.int64) if copies is None else copies
                copies[rows] += int(plan.severity)
            elif plan.kind in ("jitter", "skew"):
                shifts = np.zeros(BLOCK, dtype=np.int64) if shifts is None else shifts
                if plan.kind == "jitter":
                    noise = fault.generator(index).standard_normal(BLOCK)
                    off_s: Values = noise[rows] * plan.severity
                else:
                    off_s = (hit - begins) * (self._clock.period_s * plan.severity)
                shifts[rows] += np.rint(off_s * self._clock.units_per_s).astype(np.int64)
        is_late = arrive > ticks
        return Arrivals(ticks[is_late], arrive[is_late], shifts, copies, tuple(hits))
