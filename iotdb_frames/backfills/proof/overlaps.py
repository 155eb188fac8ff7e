"""Which units may have points at the same devices and times as another unit."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from iotdb_frames.backfills.manifest import UnitRow, unpack
from iotdb_frames.backfills.proof.expect import Device, Expected

Devices = frozenset[Device]


class Overlaps:
    """An index of units by device and time.

    Units with the same devices share one set, and only sets with a device in common are compared:
    for thousands of files, one per device, the cost is linear.
    """

    def __init__(self, units: Iterable[UnitRow]) -> None:
        self._sets: dict[Devices, int] = {}
        of_set: list[list[UnitRow]] = []
        self._set_of: dict[int, int] = {}
        for unit in units:
            if unit.expected is None or unit.first_tick is None:
                continue
            expected = Expected.from_plain(unpack(unit.expected))
            devices: Devices = frozenset().union(*(g.devices for g in expected.groups))
            number = self._sets.setdefault(devices, len(self._sets))
            if number == len(of_set):
                of_set.append([])
            of_set[number].append(unit)
            self._set_of[unit.id] = number
        self._units = of_set
        self._bounds = [
            (np.array([u.first_tick for u in some]), np.array([u.last_tick for u in some]))
            for some in of_set
        ]
        self._devices = list(self._sets)
        self._by_device: dict[Device, list[int]] = {}
        for devices, number in self._sets.items():
            for device in devices:
                self._by_device.setdefault(device, []).append(number)
        self._near: dict[int, list[int]] = {}

    def of(self, unit: UnitRow) -> list[UnitRow]:
        """Other units that share devices and times with a unit, in sending order."""
        number = self._set_of.get(unit.id)
        if number is None:
            return []
        found = []
        for other in self._neighbours(number):
            first, last = self._bounds[other]
            at = np.flatnonzero((first <= unit.last_tick) & (last >= unit.first_tick))
            found += [self._units[other][i] for i in at.tolist()]
        others = [u for u in found if u.id != unit.id]
        return sorted(others, key=lambda u: (u.file, u.start))

    def _neighbours(self, number: int) -> list[int]:
        if number not in self._near:
            near = {n for device in self._devices[number] for n in self._by_device[device]}
            self._near[number] = sorted(near)
        return self._near[number]
