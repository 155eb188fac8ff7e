"""Which host takes a device's rows without handing them on, as far as answers have told.

A cluster keeps a device in a region, and one of the region's nodes leads it. Whoever sends to
another is told, and the write has succeeded all the same: this is advice, which saves the cluster a
copy. It goes out of date without a word, so it is dropped after any error, and never needed.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterable, Sequence
from itertools import islice

MOST_DEVICES = 100_000
"""So many devices are remembered, those that were told of first are forgotten."""


class Leaders:
    """Addresses by device (its path, or a table with its tags); for use by many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_device: dict[Hashable, str] = {}

    def of(self, devices: Sequence[Hashable]) -> list[str | None]:
        """The address of each device's leader; None: not known."""
        return list(map(self._by_device.get, devices))

    def of_all(self, devices: Iterable[Hashable]) -> str | None:
        """The address that leads all of some devices; None where there is none, or not known."""
        found = None
        for device in devices:
            address = self._by_device.get(device)
            if address is None or found not in (None, address):
                return None
            found = address
        return found

    def learn(self, told: Iterable[tuple[Hashable, str]]) -> None:
        """Remember pairs of a device and its leader's address."""
        with self._lock:
            self._by_device.update(told)
            n_over = len(self._by_device) - MOST_DEVICES
            for device in list(islice(self._by_device, max(0, n_over))):
                del self._by_device[device]

    def forget(self, devices: Iterable[Hashable]) -> None:
        """Forget devices."""
        with self._lock:
            for device in devices:
                self._by_device.pop(device, None)

    def forget_host(self, address: str) -> None:
        """Forget what a host was said to lead."""
        with self._lock:
            kept = {d: a for d, a in self._by_device.items() if a != address}
            self._by_device = kept
