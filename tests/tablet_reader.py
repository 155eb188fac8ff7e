"""Reads the bytes of a tablet a value at a time: slow, plain, written apart from the encoder."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

_FORMATS = {0: "?", 1: ">i", 2: ">q", 3: ">f", 4: ">d", 8: ">q", 9: ">i"}


def read_times(times: bytes) -> list[int]:
    """The ticks of a tablet."""
    return [tick for (tick,) in struct.iter_unpack(">q", times)]


def read_values(data: bytes, types: Sequence[int], n_rows: int) -> list[list[Any]]:
    """Columns of cells, None where the bitmap says null; raises where bytes are left or missing."""
    at = 0
    columns = []
    for kind in types:
        cells: list[Any] = []
        for _ in range(n_rows):
            if kind in _FORMATS:
                cells.append(struct.unpack_from(_FORMATS[kind], data, at)[0])
                at += struct.calcsize(_FORMATS[kind])
            else:
                (length,) = struct.unpack_from(">i", data, at)
                at += 4
                cells.append(data[at : at + length])
                assert len(cells[-1]) == length
                at += length
        columns.append(cells)
    for cells in columns:
        has_nulls = data[at]
        assert has_nulls in (0, 1)
        at += 1
        if has_nulls:
            bitmap = data[at : at + n_rows // 8 + 1]
            assert len(bitmap) == n_rows // 8 + 1
            at += len(bitmap)
            for row in range(n_rows):
                if bitmap[row // 8] >> row % 8 & 1:
                    cells[row] = None
    assert at == len(data)
    return columns
