"""Readings of one sensor, block by block: clean, and as its faults leave them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import RLock
from typing import Any, Generic, TypeVar

import numpy as np

from iotdb_frames.simulate.clock import BLOCK, Ints, SampleClock, block_times
from iotdb_frames.simulate.draws import Draws, Path
from iotdb_frames.simulate.episodes import Episodes
from iotdb_frames.simulate.faults import FaultPlan
from iotdb_frames.simulate.sensors import Bools, Sensor, store
from iotdb_frames.simulate.signals.base import Block, Values

_CHECKPOINT = 64  # blocks between two states that are kept for good

T = TypeVar("T")


class Recent(Generic[T]):
    """The last few results of a function of the block index, and maybe one made in advance."""

    def __init__(self, make: Callable[[int], T], *, size: int) -> None:
        self._make = make
        self._size = size
        self._kept: OrderedDict[int, T] = OrderedDict()
        self._ahead: tuple[int, T] | None = None

    def prepare(self, index: int) -> None:
        """Make a result before it is asked for; nothing that is kept is dropped for it."""
        if index not in self._kept and (self._ahead is None or self._ahead[0] != index):
            self._ahead = index, self._make(index)

    def __getitem__(self, index: int) -> T:
        if index not in self._kept:
            if self._ahead is not None and self._ahead[0] == index:
                made = self._ahead[1]
                self._ahead = None
            else:
                made = self._make(index)  # may come back here for an earlier block
            self._kept[index] = made
            while len(self._kept) > self._size:
                self._kept.popitem(last=False)
        self._kept.move_to_end(index)
        return self._kept[index]


class Readings:
    """The clean readings of one sensor.

    A signal without memory is evaluated anywhere; one with a memory from the nearest state kept
    before, so that going far ahead costs what generating it costs, once.
    """

    def __init__(self, sensor: Sensor, *, device: str, clock: SampleClock, seed: int) -> None:
        self.sensor = sensor
        self.clock = clock
        self.lock = RLock()  # sources made by `replace` share readings, maybe across threads
        self._draws = Draws(seed, device, "sensor", sensor.name)
        self._carries: dict[int, dict[Path, Any]] = {0: {}}
        self._recent: Recent[Values] = Recent(self._evaluate, size=1)
        self._sigma: float | None = None

    def block(self, index: int) -> Values:
        """Values of block `index`, shape (BLOCK,); not to be written into."""
        return self._recent[index]

    @property
    def sigma(self) -> float:
        """Standard deviation over the first block; 1 where it does not vary."""
        if self._sigma is None:
            spread = float(np.nanstd(self.block(0)))
            self._sigma = spread if np.isfinite(spread) and spread > 0 else 1.0
        return self._sigma

    def _evaluate(self, index: int) -> Values:
        if not self.sensor.signal.is_stateful:
            return self._evaluate_from(index, {})[0]
        at = max(i for i in self._carries if i <= index)
        while True:
            values, carry = self._evaluate_from(at, self._carries[at])
            self._carries[at + 1] = carry
            # One block may be made in advance, and the one before the current one asked for again.
            if at > 3 and (at - 3) % _CHECKPOINT:
                self._carries.pop(at - 3, None)
            if at == index:
                return values
            at += 1

    def _evaluate_from(self, index: int, carry: dict[Path, Any]) -> tuple[Values, dict[Path, Any]]:
        block = Block(block_times(self.clock, index), self._draws, carry)
        return self.sensor.signal.evaluate(block), block.next_carry


class PlannedFault:
    """One fault where it hits: on a sensor, or on a device's delivery.

    Attributes
    ----------
    number : which of the source's faults it is
    """

    def __init__(self, number: int, plan: FaultPlan, draws: Draws) -> None:
        self.number = number
        self.plan = plan
        self.episodes = Episodes(plan, draws)
        self._draws = draws

    def generator(self, block: int) -> np.random.Generator:
        """Draws for each row of a block, the same whichever rows are hit."""
        return self._draws.at(block, ("rows",))


@dataclass(frozen=True)
class StoredBlock:
    """One block of one sensor as cells.

    Attributes
    ----------
    cells, missing : the delivered cells and which are missing (None: none), shape (BLOCK,)
    clean, clean_missing : the same without faults; the same objects where there are none
    hits : (fault number, rows of the block it shows in), in the order in which they act
    """

    cells: Values
    missing: Bools | None
    clean: Values
    clean_missing: Bools | None
    hits: tuple[tuple[int, Ints], ...]


class SensorStream:
    """One sensor with its value faults."""

    def __init__(
        self,
        readings: Readings,
        faults: Sequence[PlannedFault],
        *,
        n_recent: int = 2,
    ) -> None:
        self.readings = readings
        self.sensor = readings.sensor
        self._faults = faults
        self._held: dict[int, tuple[int, Any]] = {}
        self._recent: Recent[StoredBlock] = Recent(self._store, size=n_recent)

    @property
    def has_faults(self) -> bool:
        """Whether any fault may hit it."""
        return bool(self._faults)

    def stored(self, index: int) -> StoredBlock:
        """Block `index` as cells."""
        with self.readings.lock:
            return self._recent[index]

    def prepare(self, index: int) -> None:
        """Make block `index` before it is asked for."""
        with self.readings.lock:
            self._recent.prepare(index)

    def _store(self, index: int) -> StoredBlock:
        clean = self.readings.block(index)
        cells, missing = self._cells(clean, saturate=False)
        if not self._faults:
            return StoredBlock(cells, missing, cells, missing, ())
        values, lost, hits = self._chain(index, len(self._faults))
        if not hits:
            return StoredBlock(cells, missing, cells, missing, ())
        faulty, faulty_missing = self._cells(values, saturate=True)
        if lost is not None:
            faulty_missing = lost if faulty_missing is None else faulty_missing | lost
        return StoredBlock(faulty, faulty_missing, cells, missing, tuple(_visible(hits)))

    def _cells(self, values: Values, *, saturate: bool) -> tuple[Values, Bools | None]:
        return store(values, sensor=self.sensor, clock=self.readings.clock, saturate=saturate)

    def _chain(
        self, index: int, n_faults: int
    ) -> tuple[Values, Bools | None, list[tuple[int, str, Ints]]]:
        """Values after the first `n_faults` faults, what is lost, and which fault hit which row."""
        first = index * BLOCK
        values = self.readings.block(index).copy()
        lost: Bools | None = None
        hits: list[tuple[int, str, Ints]] = []
        for position, fault in enumerate(self._faults[:n_faults]):
            plan = fault.plan
            ticks, begins = fault.episodes.hits(first, first + BLOCK)
            if not len(ticks):
                continue
            rows = ticks - first
            if plan.kind == "dropout":
                if plan.severity < 1:
                    rows = rows[fault.generator(index).random(BLOCK)[rows] < plan.severity]
                lost = np.zeros(BLOCK, dtype=bool) if lost is None else lost
                lost[rows] = True
            elif plan.kind == "stuck":
                values[rows] = self._hold(position, begins, values, first)
            else:
                shift = self._shift(fault, index, ticks, begins)
                _add(values, rows, shift)
            if len(rows):
                hits.append((fault.number, plan.kind, rows))
        return values, lost, hits

    def _shift(self, fault: PlannedFault, index: int, ticks: Ints, begins: Ints) -> float | Values:
        plan = fault.plan
        size = plan.severity * (self.readings.sigma if plan.fault.relative else 1.0)
        rows = ticks - index * BLOCK
        if plan.kind == "bias":
            return size
        if plan.kind == "drift":
            return (ticks - begins + 1) * (size / (plan.length or 1))
        if plan.kind == "variance":
            return fault.generator(index).standard_normal(BLOCK)[rows] * size
        is_up = fault.generator(index).random(BLOCK)[rows] < 0.5
        return np.where(is_up, size, -size)

    def _hold(self, position: int, begins: Ints, values: Values, first: int) -> Values:
        """The reading before each row's episode, as it was before the sensor stuck."""
        before = np.maximum(begins - 1, 0)
        held = values[np.maximum(before - first, 0)]
        is_earlier = before < first
        if is_earlier.any():  # at most one episode reaches back behind the block
            tick = int(before[0])
            if self._held.get(position, (-1, None))[0] != tick:
                chain = self._chain(tick // BLOCK, position)[0]
                self._held[position] = tick, chain[tick % BLOCK]
            held[is_earlier] = self._held[position][1]
        return held  # type: ignore[no-any-return]


def _add(values: Values, rows: Ints, shift: float | Values) -> None:
    if values.dtype.kind == "f":
        values[rows] += shift
    else:  # the rows not hit keep integers that no double holds
        limit = np.nextafter(2.0**63, 0)
        values[rows] = np.clip(np.rint(values[rows] + shift), -limit, limit).astype(np.int64)


def _visible(hits: list[tuple[int, str, Ints]]) -> list[tuple[int, Ints]]:
    # A frozen or missing reading shows nothing of what shifted it in the same row.
    hidden = np.zeros(BLOCK, dtype=bool)
    shown: list[tuple[int, Ints]] = []
    for number, kind, rows in reversed(hits):
        left = rows[~hidden[rows]]
        if kind in ("stuck", "dropout"):
            hidden[rows] = True
        if len(left):
            shown.append((number, left))
    return shown[::-1]
