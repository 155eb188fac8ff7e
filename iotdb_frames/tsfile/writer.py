"""A TsFile written to a stream: groups of chunks as rows come, the index at the end."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import IO

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
    ONE_PAGE_CHUNK,
    TIME,
    VALUE,
    VECTOR,
    VERSION,
    Device,
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
        for device, first, last in groups:
            self._put(bytes((GROUP,)) + device_id(device))
            known = self._devices.setdefault(device, {})
            for column, pages in zip((None, *columns), encoded, strict=True):
                self._put_chunk(known, column, pages[first:last])
        self.n_rows += len(ticks)
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

    def _put_chunk(
        self,
        known: dict[str, Series],
        column: FileColumn | None,
        pages: Sequence[Page | None],
    ) -> None:
        name, data_type = ("", None) if column is None else (column.name, column.data_type)
        encoding, compression = TSEncoding.TS_2DIFF, self._compression
        if column is not None:
            encoding = column.encoding_used
            compression = column.compression if column.compression is not None else compression
        kind = TIME if data_type is None else VALUE
        some = [p for p in pages if p is not None]
        body: list[bytes] = []
        if some:  # else the server, too, writes the head of a chunk with nothing in it
            for page in pages:
                if page is None:
                    body.append(b"\0")
                    continue
                body.append(varint(page.n_raw) + varint(len(page.data)))
                if len(pages) > 1:
                    body.append(page.statistics.encoded(data_type))
                body.append(page.data)
        mark = kind | (ONE_PAGE_CHUNK if len(pages) == 1 else CHUNK)
        number = VECTOR if data_type is None else data_type
        head = bytes((mark,)) + text(name) + varint(sum(map(len, body)))
        offset = self.n_bytes
        self._put(b"".join([head, bytes((number, compression, encoding)), *body]))
        if some:
            statistics = merged([p.statistics for p in some], data_type)
        else:
            assert data_type is not None
            statistics = no_statistics(data_type)
        series = known.setdefault(name, Series(data_type))
        series.chunks.append(Chunk(offset, statistics))

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
