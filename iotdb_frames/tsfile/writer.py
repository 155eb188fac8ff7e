"""A TsFile written to a stream: groups of chunks as rows come, the index at the end."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import IO, NamedTuple

import numpy as np

from iotdb_frames.codec.cells import Cells
from iotdb_frames.errors import FrameError
from iotdb_frames.options import CompressionType, TSDataType, TSEncoding
from iotdb_frames.tsfile.encode import (
    CODECS,
    ENCODINGS,
    TEXTS,
    Page,
    encode_column,
    encode_times,
)
from iotdb_frames.tsfile.index import Chunk, Series, TableColumn, write_end
from iotdb_frames.tsfile.layout import (
    CHUNK,
    GROUP,
    MAGIC,
    NO_END,
    NO_START,
    ONE_PAGE_CHUNK,
    TIME,
    VALUE,
    VECTOR,
    VERSION,
    Device,
    Statistics,
    device_id,
    merged,
    no_statistics,
    text,
    varint,
)

PAGE_ROWS = 10_000
"""Rows of a page, as the server's own pages have them."""
PAGE_BYTES = 1 << 24
"""Pages have fewer rows where the texts of some would be more."""


@dataclass(frozen=True)
class FileColumn:
    """Some rows of a measurement.

    name : as the server names it; quoted in the tree model
    cells : shape (n_rows,)
    encoding, compression : None: the type's own, and the file's
    """

    name: str
    data_type: TSDataType
    cells: Cells = field(repr=False)
    encoding: TSEncoding | None = None
    compression: CompressionType | None = None

    @property
    def encoding_used(self) -> TSEncoding:
        """The encoding of its pages."""
        return ENCODINGS[self.data_type][0] if self.encoding is None else self.encoding


class TsFileWriter:
    """Writes rows of aligned devices, or of a table, into one file.

    Parameters
    ----------
    stream : binary, at its start; stays open
    compression : of all pages
    n_threads : how many columns are encoded side by side

    Attributes
    ----------
    n_bytes, n_points, n_rows : written so far
    start, end : first and last tick so far
    """

    def __init__(
        self,
        stream: IO[bytes],
        *,
        compression: CompressionType = CompressionType.LZ4,
        n_threads: int = 1,
        page_rows: int = PAGE_ROWS,
    ) -> None:
        if compression not in CODECS:
            raise FrameError(f"no file is written with {compression.name}")
        self._stream = stream
        self._compression = compression
        self._pool = ThreadPoolExecutor(n_threads) if n_threads > 1 else None
        self._page_rows = page_rows
        self._devices: dict[Device, dict[str, Series]] = {}
        self.n_bytes = self.n_points = self.n_rows = 0
        self.start, self.end = NO_START, NO_END
        self._put(MAGIC + bytes((VERSION,)))

    @property
    def n_devices(self) -> int:
        """Devices written so far."""
        return len(self._devices)

    def _put(self, data: bytes) -> None:
        self._stream.write(data)
        self.n_bytes += len(data)

    def write(
        self,
        devices: Sequence[tuple[Device, int, int]],
        ticks: np.ndarray,
        columns: Sequence[FileColumn],
    ) -> None:
        """Append rows: a group of chunks for each device.

        Parameters
        ----------
        devices : with their first row, and the one behind their last; they follow each other
        ticks : int64, shape (n_rows,), strictly ascending in each device, and above what it has
        columns : the same for a device each time

        Raises
        ------
        FrameError : times that do not ascend, a column that was not there, or had another type.
        """
        if not len(ticks):
            return
        self._check(devices, ticks, columns)
        page_rows = self._fitting_rows(columns, len(ticks))
        starts: list[int] = []
        groups: list[tuple[Device, int, int]] = []
        for device, a, b in devices:
            firsts = range(a, b, page_rows)
            groups.append((device, len(starts), len(starts) + len(firsts)))
            starts += firsts
        starts.append(len(ticks))
        encoded = self._encode(columns, ticks, starts)
        heads = [self._head(column) for column in (None, *columns)]
        for device, first, last in groups:
            group = [bytes((GROUP,)) + device_id(device)]
            at = self.n_bytes + len(group[0])
            known = self._devices.setdefault(device, {})
            for head, pages in zip(heads, encoded, strict=True):
                series = known.get(head.name) or known.setdefault(head.name, Series(head.data_type))
                chunk = _chunk(head, pages[first:last])
                series.chunks.append(Chunk(at, _statistics(head, pages[first:last])))
                at += sum(map(len, chunk))
                group += chunk
            self._stream.writelines(group)
            self.n_bytes = at
        self.n_rows += len(ticks)
        self.start = min(self.start, int(ticks.min()))
        self.end = max(self.end, int(ticks.max()))
        self.n_points += sum(c.cells.n_values for c in columns)

    def _check(
        self,
        devices: Sequence[tuple[Device, int, int]],
        ticks: np.ndarray,
        columns: Sequence[FileColumn],
    ) -> None:
        ascends = ticks[1:] > ticks[:-1]
        edges = [b - 1 for _, _, b in devices[:-1]]
        ascends[edges] = True
        if not ascends.all():
            row = int(np.argmin(ascends)) + 1
            raise FrameError(f"row {row}: a time does not ascend", row=row)
        wanted = {c.name: c.data_type for c in columns}
        for device, a, _ in devices:
            if (known := self._devices.get(device)) is None:
                continue
            if int(ticks[a]) <= known[""].chunks[-1].statistics.end:
                raise FrameError(
                    f"row {a}: {'.'.join(str(s) for s in device)} already has a time as late",
                    row=a,
                    hint="sort all rows by time before they are written",
                )
            if {n: s.data_type for n, s in known.items() if n} != wanted:
                raise FrameError(
                    f"{'.'.join(str(s) for s in device)} had other columns, or types, before",
                    hint="give all batches the same columns and types",
                )

    def _fitting_rows(self, columns: Sequence[FileColumn], n_rows: int) -> int:
        """Rows of a page."""
        most = max((c.cells.n_bytes for c in columns if c.data_type in TEXTS), default=0)
        per_row = max(1, most // n_rows)
        return max(1, min(self._page_rows, PAGE_BYTES // per_row))

    def _encode(
        self, columns: Sequence[FileColumn], ticks: np.ndarray, starts: list[int]
    ) -> list[Sequence[Page | None]]:
        def one(column: FileColumn | None) -> Sequence[Page | None]:
            if column is None:
                return encode_times(ticks, starts, self._compression)
            return encode_column(
                column.cells,
                column.data_type,
                column.encoding_used,
                ticks,
                starts,
                column.compression if column.compression is not None else self._compression,
            )

        todo = (None, *columns)
        return list(map(one, todo) if self._pool is None else self._pool.map(one, todo))

    def _head(self, column: FileColumn | None) -> _Head:
        """How the chunks of a column, or of the times, begin."""
        if column is None:
            numbers = bytes((VECTOR, self._compression, TSEncoding.TS_2DIFF))
            return _Head("", None, TIME, text(""), numbers)
        pressed = column.compression if column.compression is not None else self._compression
        numbers = bytes((column.data_type, pressed, column.encoding_used))
        return _Head(column.name, column.data_type, VALUE, text(column.name), numbers)

    def close(self, *, tables: dict[str, list[TableColumn]] | None = None) -> None:
        """Write the index and the footer.

        Parameters
        ----------
        tables : columns of each table; None: a file of the tree model
        """
        if self._pool is not None:
            self._pool.shutdown()
        write_end(self._put, self.n_bytes, self._devices, tables or {})

    def abandon(self) -> None:
        """End without an index: the file is none."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


class _Head(NamedTuple):
    """What the chunks of a column have in common.

    mark : VALUE or TIME
    label, numbers : the name, and type, compressor and encoding, as bytes
    """

    name: str
    data_type: TSDataType | None
    mark: int
    label: bytes
    numbers: bytes


def _chunk(head: _Head, pages: Sequence[Page | None]) -> list[bytes]:
    """A chunk, in pieces; without values it is only a head, which the server writes, too."""
    body: list[bytes] = []
    for page in pages if any(pages) else ():
        if page is None:
            body.append(b"\0")
            continue
        sizes = varint(page.n_raw) + varint(len(page.data))
        if len(pages) > 1:
            sizes += page.statistics.encoded(head.data_type)
        body += (sizes, page.data)
    mark = head.mark | (ONE_PAGE_CHUNK if len(pages) == 1 else CHUNK)
    start = bytes((mark,)) + head.label + varint(sum(map(len, body))) + head.numbers
    return [start, *body]


def _statistics(head: _Head, pages: Sequence[Page | None]) -> Statistics:
    """Those of a chunk."""
    some = [page.statistics for page in pages if page is not None]
    if some:
        return merged(some, head.data_type)
    assert head.data_type is not None
    return no_statistics(head.data_type)
