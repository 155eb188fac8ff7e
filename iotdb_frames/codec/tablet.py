"""Cells to the bytes of a tablet.

Layout (IoTDB 2.0.10, checked against the server): times are big-endian int64. Values are the
columns one after the other: big-endian numbers, one byte per boolean, TEXT, STRING and BLOB as a
4-byte length and the bytes, any value for a null; then for each column a byte that tells whether it
has nulls, and if so a bitmap of n_rows // 8 + 1 bytes, lowest bit first, 1 = null.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from iotdb_frames.codec.cells import Cells
from iotdb_frames.codec.sources import binary_bytes
from iotdb_frames.codec.types import WIRE
from iotdb_frames.options import TSDataType

_FEW_BYTES = 1 << 10


class Tablet(NamedTuple):
    """One encoded tablet, ready to send.

    Parameters
    ----------
    target : device path (tree) or table name (table)
    names, types : measurement names and TSDataType numbers
    times, values : encoded, see above
    n_rows : rows
    is_aligned : whether the device is written as aligned
    categories : column categories of the table model (0 TAG, 1 FIELD, 2 ATTRIBUTE); None: tree
    led : of a table, its devices as `client.leaders` knows them, and the first row of each; empty
        where there is one node
    """

    target: str
    names: Sequence[str]
    types: Sequence[int]
    times: bytes | memoryview
    values: bytes | memoryview
    n_rows: int
    is_aligned: bool = True
    categories: Sequence[int] | None = None
    led: Sequence[tuple[Hashable, int]] = ()

    @property
    def devices(self) -> Sequence[Hashable]:
        """Whose rows it has, as `client.leaders` knows them."""
        return [self.target] if self.categories is None else [device for device, _ in self.led]


def encode_times(ticks: np.ndarray) -> memoryview:
    """Ticks (int64, shape (n_rows,)) in the wire's byte order."""
    return ticks.astype(">i8").view(np.uint8).data


def pack_nulls(is_null: np.ndarray) -> bytes:
    """Pack one column's missing cells into a tablet bitmap.

    Parameters
    ----------
    is_null : bool array, shape (n_rows,)
        True where the cell is missing.

    Returns
    -------
    bytes, length n_rows // 8 + 1
        Row i is bit i % 8 of byte i // 8, lowest bit first.

    Source: the tablet bitmap of IoTDB 2.0.10, checked against the server, which stores wrong
    nulls without an error if the last byte is missing at n_rows = 8.
    """
    packed = np.packbits(is_null, bitorder="little").tobytes()
    return packed if len(is_null) % 8 else packed + b"\0"


def pack_binary(values: pa.Array, is_null: np.ndarray | None = None) -> np.ndarray:
    """Texts or bytes, each preceded by its length.

    Parameters
    ----------
    values : Arrow binary array, or a dictionary array of binary without nulls, shape (n_rows,)
    is_null : bool, shape (n_rows,): cells to make empty, or None

    Returns
    -------
    uint8, length 4 * n_rows + all bytes
    """
    if isinstance(values, pa.DictionaryArray):
        return binary_bytes(_prefixed(values.dictionary, None).take(values.indices))[1]
    return binary_bytes(_prefixed(values, is_null))[1]


def _prefixed(values: pa.Array, is_null: np.ndarray | None) -> pa.Array:
    """Each text preceded by its 4-byte length, for which Arrow makes room; it is filled in here."""
    n_rows = len(values)
    offsets, texts = binary_bytes(values)
    lengths = np.diff(offsets)
    if is_null is not None and np.any(is_null & (lengths != 0)):  # slots of nulls may hold bytes
        return _prefixed(pc.if_else(pa.array(is_null), b"", values), None)
    plain = pa.Array.from_buffers(
        pa.binary(), n_rows, [None, pa.py_buffer(offsets), pa.py_buffer(texts)]
    )
    _, offsets, made = pc.binary_replace_slice(plain, 0, 0, b"\0\0\0\0").buffers()
    data = np.require(np.frombuffer(made, np.uint8), requirements="W")
    ends = np.frombuffer(offsets, np.int32)[:n_rows] + 3
    for i in range(4):
        if int(lengths.max(initial=0)) >> 8 * i:
            data[ends - i] = lengths >> 8 * i
    return pa.Array.from_buffers(pa.binary(), n_rows, [None, offsets, pa.py_buffer(data)])


def encode_values(columns: Sequence[Cells]) -> memoryview:
    """The values part of a tablet: all columns, then all bitmaps."""
    packed = [
        c.values if isinstance(c.values, np.ndarray) else pack_binary(c.values, c.is_null)
        for c in columns
    ]
    bitmaps = b"".join(
        b"\0" if c.is_null is None else b"\1" + pack_nulls(c.is_null) for c in columns
    )
    out = np.empty(sum(p.nbytes for p in packed) + len(bitmaps), np.uint8)
    at = 0
    for values in packed:
        end = at + values.nbytes
        # The assignment also swaps the bytes: one pass over the column.
        out[at:end].view(values.dtype.newbyteorder(">"))[:] = values
        at = end
    out[at:] = np.frombuffer(bitmaps, np.uint8)
    return out.data


def encode_pieces(
    ticks: np.ndarray, columns: Sequence[Cells], pieces: Sequence[tuple[int, int]]
) -> list[tuple[bytes | memoryview, bytes | memoryview]]:
    """Times and values of a tablet for each piece (first row, end row).

    Contiguous pieces of equal length without texts are encoded all at once: one row of each of a
    thousand devices takes no longer than a thousand rows of one.
    """
    n_rows = pieces[0][1] - pieces[0][0] if pieces else 0
    is_regular = (
        len(pieces) > 1 <= n_rows
        and len(ticks) == n_rows * len(pieces)
        and len({b - a for a, b in pieces}) == 1
        and all(isinstance(c.values, np.ndarray) for c in columns)
    )
    if not is_regular:
        return [
            (encode_times(ticks[a:b]), encode_values([c.slice(a, b) for c in columns]))
            for a, b in pieces
        ]
    fields: list[tuple[str, Any, int]] = [
        (f"v{i}", c.values.dtype.newbyteorder(">"), n_rows) for i, c in enumerate(columns)
    ]
    n_packed = n_rows // 8 + 1
    fields += [
        (f"b{i}", np.uint8, 1 if c.is_null is None else 1 + n_packed) for i, c in enumerate(columns)
    ]
    # The shape is (n,) even for n = 1, so that each field is an array.
    out = np.zeros(len(pieces), [(name, kind, (n,)) for name, kind, n in fields])
    for i, c in enumerate(columns):
        out[f"v{i}"] = c.values.reshape(-1, n_rows)
        if c.is_null is not None:
            packed = np.packbits(c.is_null.reshape(-1, n_rows), axis=1, bitorder="little")
            out[f"b{i}"][:, 0] = 1
            out[f"b{i}"][:, 1 : 1 + packed.shape[1]] = packed
    times: bytes | memoryview = encode_times(ticks)
    values: bytes | memoryview = out.view(np.uint8).data
    width = out.dtype.itemsize
    if width <= _FEW_BYTES:  # copies of a few bytes are made sooner than views of them
        times, values = bytes(times), bytes(values)
    return [
        (times[8 * a : 8 * b], values[i * width : (i + 1) * width])
        for i, (a, b) in enumerate(pieces)
    ]


def as_records(tablets: Sequence[Tablet]) -> tuple[list[int], list[bytes]] | None:
    """Tablets of one row each as times and values of records: each value preceded by its type byte.

    None if any has another number of rows, text or a null, or if their types differ.

    Source: `insertRecords` of IoTDB 2.0.10. It takes less work than as many tablets, and casts and
    refuses as they do (70 pairs of types tried).
    """
    types = tablets[0].types
    widths = [0 if (wire := WIRE[TSDataType(kind)]) is None else wire.itemsize for kind in types]
    if not all(widths) or any(t.n_rows != 1 or t.types is not types for t in tablets):
        return None
    width = sum(widths) + len(types)
    values = np.frombuffer(b"".join([t.values for t in tablets]), np.uint8)
    if len(values) != width * len(tablets):
        return None  # some have a bitmap
    values = values.reshape(-1, width)
    out, at = np.empty_like(values), 0
    for i, (kind, n_bytes) in enumerate(zip(types, widths, strict=True)):
        out[:, at + i] = kind
        out[:, at + i + 1 : at + i + 1 + n_bytes] = values[:, at : at + n_bytes]
        at += n_bytes
    times, packed = np.frombuffer(b"".join([t.times for t in tablets]), ">i8"), out.tobytes()
    return times.tolist(), [packed[i : i + width] for i in range(0, len(packed), width)]
