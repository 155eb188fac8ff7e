"""Pages to values: PLAIN, TS_2DIFF and booleans in RLE, as any writer lays them out.

Whatever a page's bytes say, what they become is bounded by what the reader allows for its rows.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from iotdb_frames.options import CompressionType, TSDataType, TSEncoding
from iotdb_frames.tsfile.encode import CODECS, TEXTS, WIDE
from iotdb_frames.tsfile.layout import Cursor, Damaged

Array = npt.NDArray[Any]

MAX_PAGE_ROWS = 1 << 22
MAX_PAGE_BYTES = 1 << 28
"""A page that says more is taken for damaged: the server's own end at 10,000 rows and 64 KiB, and
ours at 16 MiB of texts, or one text."""
MAX_CHUNK_ROWS = 1 << 24
MAX_CHUNK_BYTES = 1 << 30
"""The same of all pages of a chunk together."""
_STRIDE = 16
_LONG = 256
_MOST_AT_ONCE = 1 << 24
"""Texts are walked one by one where they have more bytes each, or the page has more."""
_T = TSDataType
_PLAIN: dict[TSDataType, str] = {
    _T.BOOLEAN: "u1",
    _T.INT64: ">i8",
    _T.TIMESTAMP: ">i8",
    _T.FLOAT: ">f4",
    _T.DOUBLE: ">f8",
}


def is_decoded(data_type: TSDataType | None, encoding: TSEncoding) -> bool:
    """Whether `decode_values` takes pages in an encoding; None is the type of times."""
    if encoding == TSEncoding.RLE:
        return data_type == _T.BOOLEAN
    return encoding in (TSEncoding.PLAIN, TSEncoding.TS_2DIFF)


def pages_of(
    data: memoryview, kind: TSDataType | None, *, is_many: bool
) -> list[tuple[int, memoryview]]:
    """Raw length and stored bytes of each page; (0, nothing) where it has no values."""
    pages = []
    chunk = Cursor(data)
    while len(chunk):
        n_raw = chunk.varint()
        if n_raw == 0:
            pages.append((0, data[:0]))
            continue
        n_stored = chunk.varint()
        if is_many:
            chunk.statistics(kind)
        pages.append((n_raw, chunk.take(n_stored)))
    if sum(n_raw for n_raw, _ in pages) > MAX_CHUNK_BYTES:
        raise Damaged("a chunk of too many bytes")
    return pages


def decompress(data: memoryview, n_raw: int, compression: CompressionType) -> memoryview:
    """The bytes of a page.

    Raises
    ------
    Damaged : more than a page may have, or not what they should be.
    """
    if n_raw > MAX_PAGE_BYTES:
        raise Damaged(f"a page of {n_raw:,} bytes")
    name = CODECS[compression]
    if name is None:
        if n_raw != len(data):
            raise Damaged("a page of another length than it says")
        return data
    try:
        return memoryview(pa.Codec(name).decompress(data, n_raw, asbytes=True))
    except (OSError, pa.ArrowException) as exc:
        raise Damaged(f"a page that is not {compression.name}: {exc}") from exc


def decode_valid(data: memoryview) -> tuple[Array, memoryview]:
    """Which rows of a value page have a value (bool, shape (n_rows,)), and the bytes of these."""
    if len(data) < 4:
        raise Damaged("a page without a row count")
    n_rows = int.from_bytes(data[:4], "big")
    end = 4 + (n_rows + 7) // 8
    if n_rows > MAX_PAGE_ROWS or end > len(data):
        raise Damaged(f"a page of {n_rows:,} rows in {len(data):,} bytes")
    bits = np.frombuffer(data[4:end], np.uint8)
    return np.unpackbits(bits, count=n_rows).view(bool), data[end:]


def decode_values(
    data: memoryview, n_values: int, data_type: TSDataType, encoding: TSEncoding
) -> Array | pa.Array:
    """Values of a page.

    Parameters
    ----------
    n_values : how many there are
    encoding : one that `is_decoded`

    Returns
    -------
    numpy array in native order, or Arrow binary of TEXT, STRING and BLOB

    Raises
    ------
    Damaged : there are others, or the bytes are none of that encoding.
    """
    if data_type in TEXTS:
        return _texts(data, n_values)
    if encoding == TSEncoding.RLE:
        values = _decode_runs(data, n_values)
    elif encoding == TSEncoding.TS_2DIFF:
        values = decode_2diff(data, is_wide=data_type in WIDE)
    elif data_type in _PLAIN:
        kind = np.dtype(_PLAIN[data_type])
        if len(data) != n_values * kind.itemsize:
            raise Damaged(f"{len(data):,} bytes for {n_values:,} values")
        values = np.frombuffer(data, kind)
        return values.view(bool) if kind == np.uint8 else values.astype(kind.newbyteorder("="))
    else:
        values = _varints(data)
    if len(values) != n_values:
        raise Damaged(f"{len(values):,} values for {n_values:,}")
    return values


def decode_2diff(data: memoryview, *, is_wide: bool, n_most: int = MAX_PAGE_ROWS) -> Array:
    """Blocks of differences: int64 where `is_wide`, else int32; at most so many values.

    The server's own blocks have 128 differences of any number of bits; those of the same size are
    unpacked together.
    """
    head = struct.Struct(">iiqq" if is_wide else ">iiii")
    kind = np.dtype("i8" if is_wide else "i4")
    blocks: list[tuple[int, int, int, int, int]] = []
    at = n_total = 0
    while at < len(data):
        if at + head.size > len(data):
            raise Damaged("a block of differences without its head")
        n_steps, n_bits, least, first = head.unpack_from(data, at)
        at += head.size
        n_total += n_steps + 1
        end = at + (n_steps * n_bits + 7) // 8
        is_right = n_steps >= 0 and 0 <= n_bits <= 8 * kind.itemsize and end <= len(data)
        if not is_right or n_total > n_most:
            raise Damaged(f"a block of {n_steps:,} differences of {n_bits} bits")
        blocks.append((n_steps, n_bits, least, first, at))
        at = end
    out = np.empty(n_total, kind)
    sizes = np.array([b[0] for b in blocks], np.int64)
    starts = np.cumsum(sizes + 1) - (sizes + 1)
    alike: dict[tuple[int, int], list[int]] = {}
    for i, block in enumerate(blocks):
        alike.setdefault(block[:2], []).append(i)
    raw = np.frombuffer(data, np.uint8)
    for (n_steps, n_bits), members in alike.items():
        rows = np.empty((len(members), n_steps + 1), kind)
        rows[:, 0] = [blocks[i][3] for i in members]
        if n_steps:
            n_bytes = (n_steps * n_bits + 7) // 8
            packed = np.stack([raw[blocks[i][4] :][:n_bytes] for i in members])
            least = np.array([blocks[i][2] for i in members], kind)
            rows[:, 1:] = _unpack(packed, n_steps, n_bits, kind) + least[:, None]
            np.cumsum(rows, axis=1, dtype=kind, out=rows)  # which wraps, as the differences did
        if len(members) == 1:
            at = int(starts[members[0]])
            out[at : at + n_steps + 1] = rows[0]
        else:
            out[starts[members][:, None] + np.arange(n_steps + 1)] = rows
    return out


def _unpack(packed: Array, n_steps: int, n_bits: int, kind: np.dtype[Any]) -> Array:
    """Unsigned numbers of so many bits, shape (n_blocks, n_steps)."""
    if n_bits in (8, 16, 32, 64):
        return packed.view(f">u{n_bits // 8}").astype(f"u{kind.itemsize}").view(kind)
    if n_bits == 0:
        return np.zeros((len(packed), n_steps), kind)
    bits = np.unpackbits(packed, axis=1, count=n_steps * n_bits).reshape(-1, n_steps, n_bits)
    width = 8 * kind.itemsize
    wide = np.zeros((*bits.shape[:2], width), np.uint8)
    wide[:, :, width - n_bits :] = bits
    big = np.packbits(wide, axis=2).view(f">i{kind.itemsize}")
    return big[:, :, 0].astype(kind)


def _decode_runs(data: memoryview, n_values: int) -> Array:
    """Booleans in RLE: of each run a value and how often, or the bits of its values."""
    stored = Cursor(data)
    runs = Cursor(stored.take(stored.varint()))
    if runs.byte() != 1:
        raise Damaged("booleans of several bits")
    parts, n_left = [], n_values
    while len(runs):
        head = runs.varint()
        if head & 1:
            n_groups, n_last = head >> 1, runs.byte()
            bits = np.frombuffer(runs.take(n_groups), np.uint8)
            n_run = 8 * (n_groups - 1) + n_last
            parts.append(np.unpackbits(bits, count=min(n_run, 8 * len(bits))))
        else:
            n_run = head >> 1
            if n_run > n_left:
                raise Damaged(f"a run of {n_run:,} values where {n_left:,} are left")
            parts.append(np.full(n_run, runs.byte() & 1, np.uint8))
        n_left -= n_run
        if n_run < 1 or n_left < 0:
            raise Damaged(f"a run of {n_run:,} values")
    return np.concatenate(parts or [np.empty(0, np.uint8)]).view(bool)


def _varints(data: memoryview) -> Array:
    """Signed varints of 32 bits: how the server writes INT32 and DATE where they are PLAIN."""
    raw = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(raw < 128)
    if len(raw) and (not len(ends) or ends[-1] != len(raw) - 1):
        raise Damaged("a number without its end")
    starts = np.append(-1, ends[:-1])[: len(ends)] + 1
    widths = ends - starts + 1
    if widths.max(initial=0) > 5:
        raise Damaged("a number of more than 32 bits")
    values = np.zeros(len(ends), np.uint64)
    for place in range(int(widths.max(initial=0))):
        rows = widths > place
        values[rows] |= (raw[starts[rows] + place] & 127).astype(np.uint64) << np.uint64(7 * place)
    lows = values.astype(np.uint32)
    return ((lows >> 1) ^ (np.uint32(0) - (lows & 1))).view(np.int32)


def _texts(data: memoryview, n_values: int) -> pa.Array:
    """Texts with their lengths before them, as Arrow binary."""
    raw = np.frombuffer(data, np.uint8)
    if n_values > len(raw):
        raise Damaged(f"{n_values:,} texts in {len(raw):,} bytes")
    is_long = len(raw) > _LONG * n_values or len(raw) > _MOST_AT_ONCE
    begins, heads, ends = _walk(data, n_values) if is_long else _jump(raw, n_values)
    if len(raw) != (ends[-1] if n_values else 0):
        raise Damaged("texts that do not end where their page does")
    is_text = np.ones(len(raw), bool)
    for place in range(int(heads.max(initial=0))):
        is_text[begins[heads > place] + place] = False
    offsets = np.zeros(n_values + 1, np.int32)
    np.cumsum(ends - begins - heads, out=offsets[1:])
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(raw[is_text])]
    return pa.Array.from_buffers(pa.binary(), n_values, buffers)


def _walk(data: memoryview, n_values: int) -> tuple[Array, Array, Array]:
    """Where texts begin, the bytes of their lengths, and where they end: long ones, one by one."""
    found = np.empty((3, n_values), np.int64)
    page = Cursor(data)
    for i in range(n_values):
        begin = page.at
        zigzag = page.varint()
        head = page.at - begin
        page.take(-1 if zigzag & 1 else zigzag >> 1)
        found[:, i] = begin, head, page.at
    return found[0], found[1], found[2]


def _jump(raw: Array, n_values: int) -> tuple[Array, Array, Array]:
    """The same of short ones.

    A length says where the next text stands. Where it would stand from every byte is computed at
    once, and 16 such steps as one; so Python walks over a 16th of the texts.
    """
    n = len(raw)
    heads, following = _steps(raw)
    jump = following
    for _ in range(_STRIDE.bit_length() - 1):
        jump = jump[jump]
    marks = np.zeros(-(-n_values // _STRIDE), np.int64)
    for i in range(1, len(marks)):
        marks[i] = jump[marks[i - 1]]
    begins = np.empty((len(marks), _STRIDE), np.int64)
    for place in range(_STRIDE):
        begins[:, place] = marks
        marks = following[marks]
    begins = begins.ravel()[:n_values]
    if n_values and (begins.max() >= n or not heads[begins].all()):
        raise Damaged("texts that go on behind their page")
    return begins, heads[begins], following[begins]


def _steps(raw: Array) -> tuple[Array, Array]:
    """Of every byte, were it a length's first: bytes of the length, and where the next stands.

    Where nothing can: 0, and the end, from where everything leads to itself.
    """
    n = len(raw)
    heads = np.ones(n + 1, np.int8)
    zigzag = np.zeros(n + 1, np.int32)
    zigzag[:n] = raw & 127
    goes_on = np.flatnonzero(raw >= 128)
    for place in range(1, 4):
        goes_on = goes_on[goes_on + place < n]
        byte = raw[goes_on + place]
        zigzag[goes_on] |= (byte & 127).astype(np.int32) << (7 * place)
        heads[goes_on] += 1
        goes_on = goes_on[byte >= 128]
    heads[goes_on] = 0  # longer than a page that is read so
    following = np.arange(n + 1, dtype=np.int32) + heads + (zigzag >> 1)
    is_wrong = (zigzag & 1 == 1) | (following > n) | (heads == 0)
    following[is_wrong] = n
    heads[is_wrong] = 0
    following[n] = n
    return heads, following
