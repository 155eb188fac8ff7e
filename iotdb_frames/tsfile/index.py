"""The end of a TsFile: where each series of each device stands, and what a table's columns are."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

from iotdb_frames.options import CompressionType, TSDataType, TSEncoding
from iotdb_frames.tsfile.layout import (
    DEGREE,
    INTERNAL_DEVICE,
    INTERNAL_MEASUREMENT,
    LEAF_DEVICE,
    LEAF_MEASUREMENT,
    MAGIC,
    SEPARATOR,
    TIME,
    VALUE,
    Cursor,
    Damaged,
    Device,
    Statistics,
    device_id,
    device_order,
    java_order,
    merged,
    signed,
    text,
    varint,
)

_FILTER = varint(32) + b"\xff" * 32 + varint(256) + varint(5)
"""A Bloom filter that lets all names pass: 32 bytes, bits of a name, hash functions."""
_PROPERTIES = (
    *(("encryptLevel", "0"), ("encryptType", "org.apache.tsfile.encrypt.UNENCRYPTED")),
    ("encryptKey", None),
)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Where a chunk stands, and its statistics."""

    offset: int
    statistics: Statistics


@dataclass(slots=True)
class Series:
    """The chunks of a measurement; `data_type` is None for the times."""

    data_type: TSDataType | None
    chunks: list[Chunk] = field(default_factory=list)

    def encoded(self, name: str) -> bytes:
        """Its entry in the index."""
        kind = self.data_type
        is_many = len(self.chunks) > 1
        chunks = b"".join(
            struct.pack(">q", c.offset) + (c.statistics.encoded(kind) if is_many else b"")
            for c in self.chunks
        )
        mark = (TIME if kind is None else VALUE) | is_many
        number = 6 if kind is None else kind
        whole = merged([c.statistics for c in self.chunks], kind)
        head = bytes((mark,)) + text(name) + bytes((number,)) + varint(len(chunks))
        return head + whole.encoded(kind) + chunks


@dataclass(frozen=True)
class TableColumn:
    """A column of a table, as the footer tells it."""

    name: str
    data_type: TSDataType
    category: Literal["tag", "field"]
    encoding: TSEncoding = TSEncoding.PLAIN
    compression: CompressionType = CompressionType.LZ4

    def encoded(self) -> bytes:
        """Its bytes: name, type, encoding, compressor, no properties, category."""
        raw = self.name.encode()
        kinds = bytes((self.data_type, self.encoding, self.compression))
        category = 0 if self.category == "tag" else 1
        return struct.pack(">i", len(raw)) + raw + kinds + struct.pack(">ii", 0, category)


@dataclass(frozen=True)
class _Node:
    entries: list[tuple[bytes, int]]
    end: int
    kind: int

    def encoded(self) -> bytes:
        entries = b"".join(key + struct.pack(">q", offset) for key, offset in self.entries)
        return varint(len(self.entries)) + entries + struct.pack(">qb", self.end, self.kind)


class _Index:
    """Bytes behind the chunks, and where the next will stand."""

    def __init__(self, put: Callable[[bytes], object], position: int) -> None:
        self._put = put
        self.position = position

    def put(self, data: bytes) -> int:
        at = self.position
        self._put(data)
        self.position += len(data)
        return at

    def tree(self, entries: Iterable[tuple[bytes, int]], leaf: int, internal: int) -> _Node:
        """The top node above some entries; those below it are written."""
        nodes = self._nodes(list(entries), self.position, leaf)
        while len(nodes) > 1:
            above = [(node.entries[0][0], self.put(node.encoded())) for node in nodes]
            nodes = self._nodes(above, self.position, internal)
        return nodes[0]

    def _nodes(self, entries: list[tuple[bytes, int]], end: int, kind: int) -> list[_Node]:
        nodes = []
        for first in range(0, len(entries), DEGREE):
            last = first + DEGREE
            stop = entries[last][1] if last < len(entries) else end
            nodes.append(_Node(entries[first:last], stop, kind))
        return nodes


def write_end(
    put: Callable[[bytes], object],
    position: int,
    devices: dict[Device, dict[str, Series]],
    tables: dict[str, list[TableColumn]],
) -> None:
    """Write the index and the footer.

    Parameters
    ----------
    put : appends bytes
    position : bytes written so far
    devices : their series by name; that of the times is called ""
    tables : columns of each table; empty for a file of the tree model
    """
    index = _Index(put, position)
    index.put(bytes((SEPARATOR,)))
    tops: dict[str, list[tuple[Device, _Node]]] = {}
    for device in sorted(devices, key=device_order):
        series = devices[device]
        entries = []
        for i, name in enumerate(sorted(series, key=java_order)):
            at = index.put(series[name].encoded(name))
            if i % DEGREE == 0:
                entries.append((text(name), at))
        node = index.tree(entries, LEAF_MEASUREMENT, INTERNAL_MEASUREMENT)
        tops.setdefault(device[0] or "", []).append((device, node))
    roots = []
    for name, below in tops.items():
        entries = [(device_id(device), index.put(node.encoded())) for device, node in below]
        roots.append((name, index.tree(entries, LEAF_DEVICE, INTERNAL_DEVICE)))
    footer = [varint(len(roots))]
    footer += [text(name) + node.encoded() for name, node in roots]
    footer.append(varint(len(tables)))
    for name, columns in tables.items():
        footer += [text(name), varint(len(columns)), *(c.encoded() for c in columns)]
    footer += [struct.pack(">q", position), _FILTER, signed(len(_PROPERTIES))]
    footer += [text(word) for pair in _PROPERTIES for word in pair]
    whole = b"".join(footer)
    put(whole + struct.pack(">i", len(whole)) + MAGIC)


def read_series(data: Cursor) -> tuple[str, Series]:
    """The next entry of the index, and its name."""
    mark, name, number = data.byte(), data.name(), data.byte()
    if mark not in (0, 1, TIME, TIME | 1, VALUE, VALUE | 1) or (mark & TIME > 0) != (name == ""):
        raise Damaged("an entry that is no series'")
    try:
        kind = None if name == "" else TSDataType(number)
    except ValueError as exc:
        raise Damaged(f"{name!r} has an unknown type: {exc}") from exc
    n_bytes = data.varint()
    whole = data.statistics(kind)
    chunks = Cursor(data.take(n_bytes))
    found = Series(kind)
    while len(chunks):
        offset = chunks.int64()
        if found.chunks and offset <= found.chunks[-1].offset:
            raise Damaged(f"{name!r} has a chunk before the one before")
        found.chunks.append(Chunk(offset, chunks.statistics(kind) if mark & 1 else whole))
    if not found.chunks:
        raise Damaged(f"{name!r} has no chunks")
    return name, found


def read_table_column(data: Cursor) -> TableColumn:
    """The next column of a table in the footer."""
    name = data.utf8(data.int32())
    numbers = data.byte(), data.byte(), data.byte()
    for _ in range(data.int32()):
        data.utf8(data.int32())
        data.utf8(data.int32())
    category: Literal["tag", "field"] = "tag" if data.int32() == 0 else "field"
    try:
        kind, encoding, pressed = numbers
        return TableColumn(
            name, TSDataType(kind), category, TSEncoding(encoding), CompressionType(pressed)
        )
    except ValueError as exc:
        raise Damaged(f"a table's column of an unknown type: {exc}") from exc
