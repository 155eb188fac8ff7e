"""A TsFile, open: its footer, and the index of what stands where.

Every number of the file is checked before it is believed: a node of the index stands before the
one that names it, and its entries beside each other, so that no file can send the reader in
circles, or make it read anything twice.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, Self

from iotdb_frames.errors import FrameError
from iotdb_frames.tsfile.index import Series, TableColumn, read_series, read_table_column
from iotdb_frames.tsfile.layout import (
    INTERNAL_DEVICE,
    INTERNAL_MEASUREMENT,
    LEAF_DEVICE,
    LEAF_MEASUREMENT,
    MAGIC,
    VERSION,
    Cursor,
    Damaged,
    Device,
)

_HEAD = len(MAGIC) + 1
_TAIL = 4 + len(MAGIC)
_DEPTH = 16
"""Nodes of the index one above the other: with 2 entries each, 65,536 leaves."""


@dataclass(frozen=True)
class _Node:
    entries: list[tuple[Any, int]]
    end: int
    kind: int


class IndexedFile:
    """A file, open; a context manager.

    Parameters
    ----------
    path : of the file

    Attributes
    ----------
    tables : columns of each table; empty for a file of the tree model

    Raises
    ------
    FrameError : it is not a whole TsFile of version 4.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._file = self.path.open("rb")
        self._size = os.fstat(self._file.fileno()).st_size
        self.tables: dict[str, list[TableColumn]] = {}
        try:
            with self._told():
                self._roots = self._read_footer()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def model(self) -> Literal["tree", "table"]:
        """Which model's it is."""
        return "table" if self.tables else "tree"

    @property
    def n_bytes(self) -> int:
        """Bytes of the file."""
        return self._size

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Errors of the file's bytes as one of ours."""
        try:
            yield
        except Damaged as exc:
            raise FrameError(
                f"{self.path} is not a whole TsFile: {exc}",
                hint="copy it again, or have validate-tsfile.sh of the server look at it",
            ) from exc

    def _bytes(self, start: int, end: int) -> bytes:
        if not 0 <= start <= end <= self._size:
            raise Damaged(f"bytes {start:,} to {end:,} of {self._size:,}")
        data = os.pread(self._file.fileno(), end - start, start)
        if len(data) != end - start:
            raise Damaged("it became shorter while it was read")
        return data

    def _read_footer(self) -> list[_Node]:
        if self._size < _HEAD + _TAIL:
            raise Damaged(f"{self._size:,} bytes")
        head, tail = self._bytes(0, _HEAD), self._bytes(self._size - _TAIL, self._size)
        if head[: len(MAGIC)] != MAGIC:
            raise Damaged(f"it does not begin with {MAGIC.decode()}")
        if head[-1] != VERSION:
            raise Damaged(f"it is of version {head[-1]}, and only {VERSION} is read")
        if tail[4:] != MAGIC:
            raise Damaged(f"it does not end with {MAGIC.decode()}")
        end = self._size - _TAIL
        start = end - int.from_bytes(tail[:4], "big", signed=True)
        if not _HEAD <= start <= end:
            raise Damaged("its footer is larger than it")
        footer = Cursor(self._bytes(start, end))
        roots = []
        for _ in range(footer.varint()):
            footer.name()
            roots.append(self._node(footer, start, is_device=True))
        for _ in range(footer.varint()):
            table = footer.name()
            self.tables[table] = [read_table_column(footer) for _ in range(footer.varint())]
        self._index_at = footer.int64()
        return roots

    def _node(self, data: Cursor, position: int, *, is_device: bool) -> _Node:
        """A node of the index, which stands at `position`, or behind it."""
        n_entries = data.varint()
        if n_entries * 9 > len(data):
            raise Damaged(f"an index node of {n_entries:,} entries")
        read = data.device if is_device else data.name
        entries = [(read(), data.int64()) for _ in range(n_entries)]
        end, kind = data.int64(), data.byte()
        edges = [offset for _, offset in entries] + [end]
        is_right = n_entries > 0 and all(a < b for a, b in pairwise(edges))
        if not is_right or edges[0] < _HEAD or end > position:
            raise Damaged("an index node that leads nowhere")
        return _Node(entries, end, kind)

    def _leaves(self, node: _Node, *, is_device: bool, depth: int = 0) -> Iterator[_Node]:
        """The leaves below a node, in their order."""
        internal, leaf = (
            (INTERNAL_DEVICE, LEAF_DEVICE)
            if is_device
            else (INTERNAL_MEASUREMENT, LEAF_MEASUREMENT)
        )
        if node.kind == leaf:
            yield node
            return
        if node.kind != internal or depth > _DEPTH:
            raise Damaged("an index node of another kind")
        for (_, start), end in _spans(node):
            below = self._node(Cursor(self._bytes(start, end)), start, is_device=is_device)
            yield from self._leaves(below, is_device=is_device, depth=depth + 1)

    def devices(self) -> Iterator[tuple[Device, int, int]]:
        """Each device, and the bytes of the top of its series, for `series`."""
        with self._told():
            for root in self._roots:
                for leaf in self._leaves(root, is_device=True):
                    for (device, start), end in _spans(leaf):
                        yield device, start, end

    def series(self, start: int, end: int) -> dict[str, Series]:
        """The series of a device, by name; of an aligned one the times are called "".

        Parameters
        ----------
        start, end : as `devices` gives them
        """
        found: dict[str, Series] = {}
        with self._told():
            top = self._node(Cursor(self._bytes(start, end)), start, is_device=False)
            for leaf in self._leaves(top, is_device=False):
                for (_, at), stop in _spans(leaf):
                    data = Cursor(self._bytes(at, stop))
                    while len(data):
                        name, series = read_series(data)
                        found[name] = series
        return found


def _spans(node: _Node) -> Iterator[tuple[tuple[Any, int], int]]:
    """Each entry, and where what it names ends."""
    ends = [offset for _, offset in node.entries[1:]] + [node.end]
    return zip(node.entries, ends, strict=True)
