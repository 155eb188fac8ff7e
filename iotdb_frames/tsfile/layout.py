"""TsFile 4 on disk: its marks, its numbers, and the statistics that stand beside values.

All numbers are big-endian. A *varint* is seven bits a byte, lowest first; a *signed* one is zigzag;
a *text* is a signed varint of its bytes (-1: null), then UTF-8.

========  =====================================================================================
file      ``TsFile``, byte 4, chunk groups, byte 2, index, footer, int32 its length, ``TsFile``
group     byte 0, device (varint of its segments, a text each), chunks
chunk     mark, name (text), varint of its bytes, type, compressor, encoding, pages
page      varint raw bytes, varint stored bytes, statistics (only beside other pages), data
value     int32 rows, a bit for each that is not null, highest first, the values that are not null
index     nodes of at most 256 entries (name or device, int64 offset), int64 end, byte kind
series    byte kind, name, type, varint of its chunks' bytes, statistics, chunks (int64 offset, and
          their statistics where there are several)
========  =====================================================================================

An aligned device has one chunk of times, with an empty name, for each of its chunk groups, and one
chunk of each measurement.

Source: files that IoTDB 2.0.10 wrote, and its reader, to which files of this package were given.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from iotdb_frames.codec.names import split_path
from iotdb_frames.options import TSDataType

MAGIC = b"TsFile"
VERSION = 4
GROUP, SEPARATOR = 0, 2
CHUNK, ONE_PAGE_CHUNK = 0x01, 0x05
TIME, VALUE = 0x80, 0x40
"""Added to the mark of a chunk, and to the kind of a series, of an aligned device."""
VECTOR = 6
"""The type of a chunk of times."""
INTERNAL_DEVICE, LEAF_DEVICE, INTERNAL_MEASUREMENT, LEAF_MEASUREMENT = range(4)
DEGREE = 256
"""Entries of a node of the index."""
NO_START, NO_END = (1 << 63) - 1, -(1 << 63)
"""First and last time of no rows."""

Device = tuple[str | None, ...]
"""Segments: a table and its tags, or the first nodes of a path joined and one for each other."""


def varint(number: int) -> bytes:
    """A number from 0."""
    if number < 128:
        return bytes((number,))
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def signed(number: int) -> bytes:
    """A number of either sign."""
    return varint(number << 1 if number >= 0 else ~(number << 1))


@lru_cache(maxsize=1 << 14)
def text(value: str | None) -> bytes:
    """A text, or null; kept, for the names of a file come again and again."""
    if value is None:
        return signed(-1)
    raw = value.encode()
    return signed(len(raw)) + raw


def device_id(device: Device) -> bytes:
    """A device as groups and the index name it."""
    return varint(len(device)) + b"".join(map(text, device))


def java_order(name: str) -> bytes:
    """What names sort by: their UTF-16 units, as Java compares them."""
    return name.encode("utf-16-be")


def device_order(device: Device) -> tuple[tuple[bool, bytes], ...]:
    """What devices sort by: segment by segment, null first."""
    return tuple((s is not None, java_order(s or "")) for s in device)


def tree_device(path: str) -> Device:
    """Segments of a device of the tree model.

    The first three nodes are one segment; of a path of at most three, all but the last.
    """
    nodes = [path[m:n] for m, n in _spans(path)]
    head = 3 if len(nodes) > 3 else len(nodes) - 1
    return (".".join(nodes[:head]), *nodes[head:])


def _spans(path: str) -> list[tuple[int, int]]:
    """Where the nodes of a path stand, back-quotes included."""
    spans, start, is_quoted = [], 0, False
    for at, letter in enumerate(path):
        if letter == "`":
            is_quoted = not is_quoted
        elif letter == "." and not is_quoted:
            spans.append((start, at))
            start = at + 1
    return [*spans, (start, len(path))]


def table_device(table: str, tags: tuple[str | None, ...]) -> Device:
    """Segments of a device of the table model, without the nulls at their end."""
    n_tags = max((i + 1 for i, tag in enumerate(tags) if tag is not None), default=0)
    return (table, *tags[:n_tags])


def tree_path(device: Device) -> str:
    """The path of a device of the tree model."""
    path = ".".join(s or "" for s in device)
    split_path(path)  # or it is none
    return path


class Damaged(ValueError):
    """Bytes that no writer makes."""


_T = TSDataType
_FIXED: dict[TSDataType, struct.Struct] = {
    _T.BOOLEAN: struct.Struct(">??q"),
    _T.INT32: struct.Struct(">iiiiq"),
    _T.DATE: struct.Struct(">iiiiq"),
    _T.INT64: struct.Struct(">qqqqd"),
    _T.TIMESTAMP: struct.Struct(">qqqqd"),
    _T.FLOAT: struct.Struct(">ffffd"),
    _T.DOUBLE: struct.Struct(">ddddd"),
}
_N_TEXTS = {_T.TEXT: 2, _T.STRING: 4, _T.BLOB: 0}
_HEAD = struct.Struct(">qq")


@dataclass(frozen=True, slots=True)
class Statistics:
    """Of a page, a chunk or a series.

    count : values that are not null
    start, end : their first and last time
    values : by type: BOOLEAN (first, last, sum); numbers (min, max, first, last, sum); STRING
        (first, last, min, max); TEXT (first, last); BLOB and times nothing
    """

    count: int
    start: int
    end: int
    values: tuple[Any, ...] = ()

    def encoded(self, data_type: TSDataType | None) -> bytes:
        """Its bytes; None is the type of times."""
        head = varint(self.count) + _HEAD.pack(self.start, self.end)
        if data_type is None:
            return head
        if (fixed := _FIXED.get(data_type)) is not None:
            return head + fixed.pack(*self.values)
        return head + b"".join(struct.pack(">i", len(v)) + v for v in self.values)


class Cursor:
    """Reads numbers and texts out of bytes, and never beyond them.

    Parameters
    ----------
    data : the bytes
    at : where to begin
    """

    def __init__(self, data: bytes | memoryview, at: int = 0) -> None:
        self.data = memoryview(data)
        self.at = at

    def __len__(self) -> int:
        """Bytes that are left."""
        return len(self.data) - self.at

    def take(self, n_bytes: int) -> memoryview:
        """The next bytes."""
        if not 0 <= n_bytes <= len(self):
            raise Damaged(f"{n_bytes:,} bytes where {len(self):,} are left")
        self.at += n_bytes
        return self.data[self.at - n_bytes : self.at]

    def byte(self) -> int:
        """The next byte."""
        return self.take(1)[0]

    def unpack(self, form: struct.Struct) -> tuple[Any, ...]:
        """The next numbers of fixed width."""
        return form.unpack(self.take(form.size))

    def int32(self) -> int:
        """The next four bytes."""
        return int.from_bytes(self.take(4), "big", signed=True)

    def int64(self) -> int:
        """The next eight bytes."""
        return int.from_bytes(self.take(8), "big", signed=True)

    def varint(self) -> int:
        """See `varint`."""
        number = 0
        for shift in range(0, 35, 7):
            byte = self.byte()
            number |= (byte & 127) << shift
            if byte < 128:
                return number
        raise Damaged("a number of more than 32 bits")

    def text(self) -> str | None:
        """See `text`."""
        zigzag = self.varint()
        if zigzag & 1:
            return None
        return self.utf8(zigzag >> 1)

    def name(self) -> str:
        """A text that is not null."""
        found = self.text()
        if found is None:
            raise Damaged("a name that is null")
        return found

    def utf8(self, n_bytes: int) -> str:
        """A text of so many bytes."""
        try:
            return str(self.take(n_bytes), "utf-8")
        except UnicodeDecodeError as exc:
            raise Damaged("a name that is not UTF-8") from exc

    def device(self) -> Device:
        """See `device_id`."""
        n_segments = self.varint()
        if n_segments > len(self):
            raise Damaged(f"a device of {n_segments:,} segments")
        return tuple(self.text() for _ in range(n_segments))

    def statistics(self, data_type: TSDataType | None) -> Statistics:
        """See `Statistics.encoded`."""
        n_values, start, end = self.varint(), self.int64(), self.int64()
        values: tuple[Any, ...] = ()
        if data_type is not None and (fixed := _FIXED.get(data_type)) is not None:
            values = self.unpack(fixed)
        elif data_type is not None:
            values = tuple(bytes(self.take(self.int32())) for _ in range(_N_TEXTS[data_type]))
        return Statistics(n_values, start, end, values)


def no_statistics(data_type: TSDataType) -> Statistics:
    """Those of no values."""
    if data_type in _FIXED:
        n_values = 3 if data_type == _T.BOOLEAN else 5
        return Statistics(0, NO_START, NO_END, (0,) * n_values)
    return Statistics(0, NO_START, NO_END, (b"",) * _N_TEXTS[data_type])


def merged(parts: list[Statistics], data_type: TSDataType | None) -> Statistics:
    """The statistics of all, given in the order of their times."""
    some = parts if len(parts) == 1 else [p for p in parts if p.count]
    if len(some) < 2:
        return some[0] if some else parts[0]
    first, last = some[0], some[-1]
    values: tuple[Any, ...] = ()
    rows = [p.values for p in some]
    if data_type is None or data_type == _T.BLOB:
        pass
    elif data_type == _T.BOOLEAN:
        values = (rows[0][0], rows[-1][1], sum(r[2] for r in rows))
    elif data_type == _T.TEXT:
        values = (rows[0][0], rows[-1][1])
    elif data_type == _T.STRING:
        least, most = min(r[2] for r in rows), max(r[3] for r in rows)
        values = (rows[0][0], rows[-1][1], least, most)
    else:
        lows = [r[0] for r in rows if r[0] == r[0]]  # NaN is the least of nothing but NaN
        highs = [r[1] for r in rows if r[1] == r[1]]
        values = (
            min(lows, default=rows[0][0]),
            max(highs, default=rows[0][1]),
            *(rows[0][2], rows[-1][3], sum(r[4] for r in rows)),
        )
    return Statistics(sum(p.count for p in some), first.start, last.end, values)
