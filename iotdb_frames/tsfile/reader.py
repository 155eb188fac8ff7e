"""Rows of a TsFile as Arrow, a device's chunk after the other."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from iotdb_frames.codec.cells import Precision
from iotdb_frames.codec.tsblock import arrow_type, to_days
from iotdb_frames.errors import Choice, FrameError, Hint
from iotdb_frames.options import CompressionType, TSDataType, TSEncoding
from iotdb_frames.tsfile.decode import (
    MAX_CHUNK_ROWS,
    MAX_PAGE_ROWS,
    decode_2diff,
    decode_valid,
    decode_values,
    decompress,
    pages_of,
)
from iotdb_frames.tsfile.encode import CODECS, TEXTS
from iotdb_frames.tsfile.index import Chunk, Series
from iotdb_frames.tsfile.indexed import IndexedFile
from iotdb_frames.tsfile.layout import CHUNK, ONE_PAGE_CHUNK, VECTOR, Cursor, Damaged
from iotdb_frames.tsfile.official import Official, chunk_of, is_installed
from iotdb_frames.tsfile.storage import Storage

_CHUNK_HEAD = 1 << 10
"""Bytes that hold the head of any chunk, its name left out."""


class UnreadEncoding(FrameError):
    """A column in an encoding or compressor that this package does not read."""


class TsFileReader(IndexedFile):
    """A file, open; a context manager.

    Parameters
    ----------
    path : of the file
    precision : of the server that wrote it: a file does not say it

    Raises
    ------
    FrameError : it is not a whole TsFile of version 4.
    """

    def __init__(self, path: str | os.PathLike[str], *, precision: Precision = "ms") -> None:
        super().__init__(path)
        self._precision: Precision = precision
        self._official = Official()

    def close(self) -> None:
        """Close the file."""
        self._official.close()
        super().close()

    def storage(self, name: str, series: Series) -> Storage:
        """How the first chunk of a series is stored."""
        with self._told():
            return self._head(name, series, series.chunks[0])[0]

    def reads(self, storage: Storage, *, is_aligned: bool) -> bool:
        """Whether `read` takes a column that is stored so."""
        return storage.is_readable or (storage.is_official and is_aligned and is_installed())

    def read(
        self, series: dict[str, Series], names: Sequence[str], *, start: int, end: int
    ) -> Iterator[pa.Table]:
        """Rows of a device, in time order, a chunk at a time (all at once, if it is not aligned).

        Parameters
        ----------
        series : of the device
        names : of the measurements; one that it lacks is refused
        start, end : first tick, and first that is left out

        Yields
        ------
        pyarrow.Table : the times, called ``time``, and the columns; rows that have nothing but
            nulls are among them

        Raises
        ------
        UnreadEncoding : a column that it does not `reads`.
        FrameError : the file is damaged, a text is not UTF-8, a DATE is none.
        """
        with self._told():
            pieces = self._aligned if "" in series else self._alone
            for ticks, columns in pieces(series, names, start, end):
                keep = slice(*np.searchsorted(ticks, [start, end]))
                if not len(ticks[keep]):
                    continue
                time = pa.array(ticks[keep]).view(pa.timestamp(self._precision))
                yield pa.table(
                    [time, *(c.slice(keep.start, keep.stop - keep.start) for c in columns)],
                    names=["time", *names],
                )

    def _aligned(
        self, series: dict[str, Series], names: Sequence[str], start: int, end: int
    ) -> Iterator[tuple[np.ndarray, list[pa.Array]]]:
        times = series[""].chunks
        for name in names:
            if len(series[name].chunks) != len(times):
                raise Damaged(f"{name!r} has {len(series[name].chunks)} chunks of {len(times)}")
        for i, chunk in enumerate(times):
            if chunk.statistics.end < start or chunk.statistics.start >= end:
                continue
            pages = self._time_pages(series[""], chunk)
            ticks = np.concatenate(pages) if pages else np.empty(0, np.int64)
            sizes = [len(p) for p in pages]
            columns = [self._value_column(name, series, i, sizes) for name in names]
            _check_ascends(ticks)
            yield ticks, columns

    def _time_pages(self, series: Series, chunk: Chunk) -> list[np.ndarray]:
        storage, data, is_many = self._chunk("", series, chunk)
        if storage.encoding != TSEncoding.TS_2DIFF:
            raise UnreadEncoding(f"{self.path} has times in {storage.encoding.name}")
        pages: list[np.ndarray] = []
        n_left = MAX_CHUNK_ROWS
        for n_raw, body in pages_of(data, None, is_many=is_many):
            raw = decompress(body, n_raw, storage.compression)
            pages.append(decode_2diff(raw, is_wide=True, n_most=min(n_left, MAX_PAGE_ROWS)))
            n_left -= len(pages[-1])
        return pages

    def _value_column(
        self, name: str, series: dict[str, Series], place: int, sizes: Sequence[int]
    ) -> pa.Array:
        """Values and nulls of a column's chunk, as many rows as the pages of times have."""
        its = series[name]
        kind, chunk = its.data_type, its.chunks[place]
        assert kind is not None
        storage, data, is_many = self._chunk(name, its, chunk)
        is_official = storage.is_official and is_installed()
        if not is_official:
            self._check_readable(name, storage, data)
        if not len(data):
            return pa.nulls(sum(sizes), arrow_type(kind.name, precision=self._precision))
        valid, parts = [], []
        pages = pages_of(data, kind, is_many=is_many)
        if len(pages) != len(sizes):
            raise Damaged(f"{name!r} has {len(pages)} pages where the times have {len(sizes)}")
        for (n_raw, body), n_rows in zip(pages, sizes, strict=True):
            if n_raw == 0:
                valid.append(np.zeros(n_rows, bool))
                continue
            is_valid, values = decode_valid(decompress(body, n_raw, storage.compression))
            if len(is_valid) != n_rows:
                raise Damaged(
                    f"{name!r} has {len(is_valid):,} rows where the times have {n_rows:,}"
                )
            valid.append(is_valid)
            if not is_official:
                n_values = int(np.count_nonzero(is_valid))
                parts.append(decode_values(values, n_values, kind, storage.encoding))
        if not is_official:
            return self._to_arrow(name, kind, parts, np.concatenate(valid))
        times = series[""].chunks[place]
        found = self._official.decode(
            kind,
            chunk_of(*self._chunk("", series[""], times), times.statistics),
            chunk_of(storage, data, is_many, chunk.statistics),
        )
        if not np.array_equal(np.asarray(found.is_valid()), np.concatenate(valid)):
            raise Damaged(f"{name!r} has other values than nulls tell")
        return found

    def _alone(
        self, series: dict[str, Series], names: Sequence[str], _start: int, _end: int
    ) -> Iterator[tuple[np.ndarray, list[pa.Array]]]:
        """Series that have times of their own."""
        found = [self._own_times(name, series[name]) for name in names]
        if not found:
            return
        ticks = np.unique(np.concatenate([times for times, _ in found]))
        columns = []
        for times, values in found:
            if len(times) < len(ticks):
                at = np.searchsorted(times, ticks)
                at = np.minimum(at, max(len(times) - 1, 0))
                is_there = times[at] == ticks if len(times) else np.zeros(len(ticks), bool)
                values = values.take(pa.array(at, mask=~is_there))
            columns.append(values)
        yield ticks, columns

    def _own_times(self, name: str, series: Series) -> tuple[np.ndarray, pa.Array]:
        kind = series.data_type
        assert kind is not None
        times, parts = [np.empty(0, np.int64)], []
        for chunk in series.chunks:
            storage, data, is_many = self._chunk(name, series, chunk)
            self._check_readable(name, storage, data)
            for n_raw, body in pages_of(data, kind, is_many=is_many):
                page = Cursor(decompress(body, n_raw, storage.compression))
                ticks = decode_2diff(page.take(page.varint()), is_wide=True)
                values = decode_values(page.take(len(page)), len(ticks), kind, storage.encoding)
                times.append(ticks)
                parts.append(values)
        ticks = np.concatenate(times)
        _check_ascends(ticks)
        return ticks, self._to_arrow(name, kind, parts, np.ones(len(ticks), bool))

    def _head(self, name: str, series: Series, chunk: Chunk) -> tuple[Storage, int, Cursor, bool]:
        """How a chunk is stored, the bytes of its pages, where they begin, and if they are many."""
        end = min(self._index_at, chunk.offset + _CHUNK_HEAD + 4 * len(name))
        head = Cursor(self._bytes(chunk.offset, end))
        mark = head.byte()
        own, n_bytes = head.name(), head.varint()
        kind, compression, encoding = head.byte(), head.byte(), head.byte()
        wanted = VECTOR if series.data_type is None else series.data_type
        if own != name or kind != wanted or mark & 0x3F not in (CHUNK, ONE_PAGE_CHUNK):
            raise Damaged(f"no chunk of {name!r} where the index says")
        if chunk.offset + head.at + n_bytes > self._index_at:
            raise Damaged(f"a chunk of {name!r} that goes on behind the last one")
        try:
            storage = Storage(series.data_type, TSEncoding(encoding), CompressionType(compression))
        except ValueError as exc:
            raise Damaged(f"{name!r} is stored in an unknown way: {exc}") from exc
        return storage, n_bytes, head, mark & 0x3F == CHUNK

    def _chunk(self, name: str, series: Series, chunk: Chunk) -> tuple[Storage, memoryview, bool]:
        """How a chunk is stored, its pages, and whether these have statistics."""
        storage, n_bytes, head, is_many = self._head(name, series, chunk)
        data = head.data[head.at :][:n_bytes]
        if len(data) < n_bytes:
            start = chunk.offset + head.at
            data = memoryview(self._bytes(start, start + n_bytes))
        return storage, data, is_many

    def _check_readable(self, name: str, storage: Storage, data: memoryview) -> None:
        if not len(data) or storage.is_readable:
            return
        is_known = storage.compression in CODECS
        how = storage.encoding.name if is_known else storage.compression.name
        install = 'pip install "iotdb-frames[tsfile]", ' if storage.is_official else ""
        raise UnreadEncoding(
            f"column {name!r} of {self.path} is stored as {how}, which is not read here",
            column=name,
            hint=Hint(
                f"{install}let a server read the file, ",
                Choice(via="local:"),
                ", or leave the column out, ",
                Choice(columns=...),
            ),
        )

    def _to_arrow(
        self, name: str, kind: TSDataType, parts: list[Any], valid: np.ndarray
    ) -> pa.Array:
        """Values of rows that have one, spread among the others."""
        wanted = arrow_type(kind.name, precision=self._precision)
        n_rows, is_whole = len(valid), bool(valid.all())
        if not parts:
            return pa.nulls(n_rows, wanted)
        if kind in TEXTS:
            texts = pa.concat_arrays(parts)
            try:
                texts = texts.cast(wanted)
            except pa.ArrowInvalid as exc:
                raise FrameError(
                    f"column {name!r} holds text that is not UTF-8", column=name
                ) from exc
            if is_whole:
                return texts
            return texts.take(pa.array(np.cumsum(valid) - 1, mask=~valid))
        values = parts[0] if len(parts) == 1 else np.concatenate(parts)
        if kind == TSDataType.DATE:
            values = to_days(values, name)
        if not is_whole:
            spread = np.zeros(n_rows, values.dtype)
            spread[valid] = values
            values = spread
        if kind == TSDataType.BOOLEAN:
            values = np.packbits(values, bitorder="little")
        bits = None if is_whole else pa.py_buffer(np.packbits(valid, bitorder="little"))
        values = np.ascontiguousarray(values)
        return pa.Array.from_buffers(wanted, n_rows, [bits, pa.py_buffer(values)])


def _check_ascends(ticks: np.ndarray) -> None:
    if not (ticks[1:] > ticks[:-1]).all():
        raise Damaged("times that do not ascend")
