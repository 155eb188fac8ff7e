"""Cells to the pages of a chunk: PLAIN and TS_2DIFF, exactly as IoTDB's own reader takes them.

A column is turned around once, whole; its pages are then slices of it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from iotdb_frames.codec.cells import Cells
from iotdb_frames.codec.sources import binary_bytes
from iotdb_frames.options import CompressionType, TSDataType, TSEncoding
from iotdb_frames.tsfile.layout import Statistics

_T = TSDataType
CODECS = {
    CompressionType.UNCOMPRESSED: None,
    CompressionType.SNAPPY: "snappy",
    CompressionType.LZ4: "lz4_raw",
    CompressionType.ZSTD: "zstd",
}
"""The compressors that files are written with, and Arrow's names of them."""
ENCODINGS: dict[TSDataType, tuple[TSEncoding, ...]] = {
    _T.BOOLEAN: (TSEncoding.PLAIN,),
    _T.INT32: (TSEncoding.TS_2DIFF,),
    _T.DATE: (TSEncoding.TS_2DIFF,),
    _T.INT64: (TSEncoding.TS_2DIFF, TSEncoding.PLAIN),
    _T.TIMESTAMP: (TSEncoding.TS_2DIFF, TSEncoding.PLAIN),
    _T.FLOAT: (TSEncoding.PLAIN,),
    _T.DOUBLE: (TSEncoding.PLAIN,),
    _T.TEXT: (TSEncoding.PLAIN,),
    _T.STRING: (TSEncoding.PLAIN,),
    _T.BLOB: (TSEncoding.PLAIN,),
}
"""The encodings a type is written in, its default first."""
TEXTS = (_T.TEXT, _T.STRING, _T.BLOB)
WIDE = (_T.INT64, _T.TIMESTAMP)


@dataclass(frozen=True)
class Page:
    """One page: its bytes before and after compression, and its statistics."""

    n_raw: int
    data: bytes
    statistics: Statistics


def encode_times(
    ticks: np.ndarray, starts: Sequence[int], compression: CompressionType
) -> list[Page]:
    """The pages of the times.

    Parameters
    ----------
    ticks : int64, shape (n_rows,)
    starts : first row of each page, and n_rows
    """
    compress = _compressor(compression)
    pages = []
    for a, b in pairwise(starts):
        raw = ts_2diff(ticks[a:b])
        pages.append(
            Page(len(raw), compress(raw), Statistics(b - a, int(ticks[a]), int(ticks[b - 1])))
        )
    return pages


def encode_column(
    cells: Cells,
    data_type: TSDataType,
    encoding: TSEncoding,
    ticks: np.ndarray,
    starts: Sequence[int],
    compression: CompressionType,
) -> list[Page | None]:
    """The pages of a measurement; None for one without values.

    Parameters
    ----------
    cells : of a kind that `codec.cells.to_cells` makes for `data_type`
    ticks, starts : as `encode_times` takes them
    """
    edges = np.asarray(starts, np.int64)
    valid = None if cells.is_null is None else ~cells.is_null
    times = ticks
    if valid is not None:
        edges = np.concatenate([[0], np.cumsum(valid, dtype=np.int64)])[edges]
        cells, times = cells.filter(valid), ticks[valid]
    counts = np.diff(edges)
    used = np.flatnonzero(counts)
    there = _Values(cells.values, data_type, edges, edges[:-1][used], edges[1:][used] - 1)
    bodies, rows = _texts(there) if data_type in TEXTS else _numbers(there, encoding)
    firsts, lasts = there.firsts, there.lasts
    compress = _compressor(compression)
    pages: list[Page | None] = [None] * len(counts)
    begin, end = times[firsts].tolist(), times[lasts].tolist()
    for i, page in enumerate(used.tolist()):
        a, b = starts[page], starts[page + 1]
        bits = _bits(b - a) if valid is None else np.packbits(valid[a:b]).tobytes()
        raw = b"".join((struct.pack(">i", b - a), bits, bodies(page)))
        statistics = Statistics(int(counts[page]), begin[i], end[i], rows[i])
        pages[page] = Page(len(raw), compress(raw), statistics)
    return pages


def _bits(n_rows: int) -> bytes:
    """Of rows that all have a value."""
    rest = n_rows % 8
    return b"\xff" * (n_rows // 8) + (bytes((0xFF00 >> rest & 0xFF,)) if rest else b"")


def _compressor(compression: CompressionType) -> Any:
    name = CODECS[compression]
    if name is None:
        return bytes
    codec = pa.Codec(name)
    return lambda raw: codec.compress(raw, asbytes=True)


@dataclass(frozen=True)
class _Values:
    """The values of a column that are not null.

    values : as `Cells` has them
    edges : int64, shape (n_pages + 1,): the first value of each page, and how many there are
    firsts, lasts : first and last value of each page that has one
    """

    values: Any
    data_type: TSDataType
    edges: np.ndarray
    firsts: np.ndarray
    lasts: np.ndarray


_Bodies = tuple[Callable[[int], Any], list[tuple[Any, ...]]]
"""What gives the bytes of a page's values, and the statistics of the pages that have any."""


def _numbers(there: _Values, encoding: TSEncoding) -> _Bodies:
    values: Any = np.ascontiguousarray(there.values)
    data_type, firsts, lasts = there.data_type, there.firsts, there.lasts
    at = there.edges.tolist()
    if encoding == TSEncoding.TS_2DIFF:

        def body(page: int) -> Any:
            return ts_2diff(values[at[page] : at[page + 1]])
    else:
        width = values.dtype.itemsize
        turned = memoryview(values.astype(values.dtype.newbyteorder(">"), copy=False)).cast("B")

        def body(page: int) -> Any:
            return turned[at[page] * width : at[page + 1] * width]

    if not len(firsts):
        return body, []
    first, last = values[firsts].tolist(), values[lasts].tolist()
    kind = np.int64 if data_type in (_T.BOOLEAN, _T.INT32, _T.DATE) else np.float64
    with np.errstate(over="ignore", invalid="ignore"):
        total = np.add.reduceat(values, firsts, dtype=kind).tolist()
    if data_type == _T.BOOLEAN:
        return body, list(zip(first, last, total, strict=True))
    # fmin and fmax: a NaN would otherwise be the least and the most, and hide all other values.
    least = np.fmin.reduceat(values, firsts).tolist()
    most = np.fmax.reduceat(values, firsts).tolist()
    return body, list(zip(least, most, first, last, total, strict=True))


def _texts(there: _Values) -> _Bodies:
    values, data_type = there.values, there.data_type
    if isinstance(values, pa.DictionaryArray):
        written = _with_lengths(values.dictionary).take(values.indices)
    else:
        written = _with_lengths(values)
    offsets, data = binary_bytes(written)
    at = offsets[there.edges].tolist()
    view = data.data

    def body(page: int) -> Any:
        return view[at[page] : at[page + 1]]

    rows: list[tuple[Any, ...]] = []
    for a, b in zip(there.firsts.tolist(), (there.lasts + 1).tolist(), strict=True):
        part = values.slice(a, b - a)
        ends: tuple[Any, ...] = (part[0].as_py(), part[-1].as_py())
        if data_type == _T.BLOB:
            ends = ()
        elif data_type == _T.STRING:
            if isinstance(part, pa.DictionaryArray):
                part = part.dictionary.take(pc.unique(part.indices))
            both = pc.min_max(part)
            ends = (*ends, both["min"].as_py(), both["max"].as_py())
        rows.append(ends)
    return body, rows


def _with_lengths(values: pa.Array) -> pa.Array:
    """Each text with its length before it: zigzag, seven bits a byte, lowest first."""
    offsets, data = binary_bytes(values)
    zigzag = np.diff(offsets).astype(np.int64) << 1
    widths = 1 + (zigzag >= 1 << 7) + (zigzag >= 1 << 14) + (zigzag >= 1 << 21)
    widths += zigzag >= 1 << 28
    ends = np.concatenate([[0], np.cumsum(widths + np.diff(offsets), dtype=np.int64)])
    out = np.empty(ends[-1], np.uint8)
    is_text = np.ones(ends[-1], bool)
    for place in range(int(widths.max(initial=0))):
        rows = slice(None) if place == 0 else widths > place
        at = ends[:-1][rows] + place
        goes_on = (widths[rows] > place + 1) << 7
        out[at] = (zigzag[rows] >> (7 * place) & 127) | goes_on
        is_text[at] = False
    out[is_text] = data
    return pa.Array.from_buffers(
        pa.large_binary(), len(values), [None, pa.py_buffer(ends), pa.py_buffer(out)]
    )


def ts_2diff(values: np.ndarray) -> bytes:
    """One block of differences, each less the least of them, in whole bytes.

    Parameters
    ----------
    values : int32 or int64, shape (n,), n from 1

    Returns
    -------
    bytes : int32 n - 1, int32 bits of a difference, the least, the first value, the differences
    """
    head = ">iiqq" if values.dtype.itemsize == 8 else ">iiii"
    first = int(values[0])
    if len(values) == 1:
        return struct.pack(head, 0, 0, 0, first)
    steps = np.diff(values)  # which wraps, and so does the reader's sum
    least = steps.min()
    span = int(steps.max()) - int(least)
    if span == 0:
        return struct.pack(head, len(steps), 0, int(least), first)
    steps -= least
    n_bytes = next(n for n in (1, 2, 4, 8) if span < 1 << (8 * n))
    unsigned = steps.view(f"u{steps.dtype.itemsize}")
    body = unsigned.astype(f">u{n_bytes}", copy=False)
    return struct.pack(head, len(steps), 8 * n_bytes, int(least), first) + body.tobytes()
