"""Random draws by address, not by history.

A draw is addressed by (seed, names, block): the names pick the stream of a 128-bit PCG64DXSM, the
block picks a place in it. So any block of any sensor can be drawn at any time, in any order, and
is always the same. Streams may differ between numpy versions (NEP 19).
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

Path = tuple[Any, ...]

DEVICE, EVERYWHERE = "common:device", "common:everywhere"
"""First names of paths that the sensors of a device, or of all devices, share."""

_BLOCK_STRIDE = 1 << 32  # draws reserved for one block; rejection sampling uses a little over BLOCK


class Draws:
    """The random streams of one sensor, or of one fault.

    Parameters
    ----------
    seed : of the source
    device, names : the rest of the address; the same address is the same stream on every machine,
        whatever PYTHONHASHSEED

    Not thread-safe: one generator is set to the place of each draw.
    """

    def __init__(self, seed: int, device: str, *names: Any) -> None:
        self._seed = seed
        self._device = device
        self._names = names
        self._generator: np.random.Generator | None = None  # made on use: fleets have thousands
        self._states: dict[Path, Any] = {}

    def at(self, block: int, path: Path = ()) -> np.random.Generator:
        """A generator at the start of `block` of the stream at `path`; good until the next call."""
        state: Any = self._states.get(path)
        if state is None:
            state = self._states[path] = _state(self._address(path))
        if self._generator is None:
            self._bits = np.random.PCG64DXSM(0)
            self._generator = np.random.Generator(self._bits)
        self._bits.state = state
        self._bits.advance(block * _BLOCK_STRIDE)
        return self._generator

    def _address(self, path: Path) -> Path:
        if path and path[0] == EVERYWHERE:
            return (self._seed, *path)
        if path and path[0] == DEVICE:
            return (self._seed, self._device, *path)
        return (self._seed, self._device, *self._names, *path)


def _state(address: Path) -> dict[str, Any]:
    digest = hashlib.blake2b(repr(address).encode(), digest_size=32).digest()
    start, increment = (int.from_bytes(half, "little") for half in (digest[:16], digest[16:]))
    return {
        "bit_generator": "PCG64DXSM",
        "state": {"state": start, "inc": increment | 1},  # an even increment is no full period
        "has_uint32": 0,
        "uinteger": 0,
    }
