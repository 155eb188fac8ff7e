"""A Parquet file as frames, by row groups.

A unit is a range of the file's rows. The ranges are cut by bytes, at row groups where these are
small enough, so what is held at a time does not depend on how the file was written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from iotdb_frames.codec.int96 import unit_of_int96
from iotdb_frames.files.options import FileOptions
from iotdb_frames.files.pieces import (
    SAMPLE_ROWS,
    Piece,
    Range,
    Rows,
    Shaper,
    reading,
    row_width,
    schema_digest,
    time_label,
)
from iotdb_frames.files.sources import SourceFile


class ParquetReader:
    """A Parquet file: whole row groups, several small ones or a part of a large one a unit."""

    def __init__(self, file: SourceFile, options: FileOptions) -> None:
        self._file = file
        self.shaper = Shaper(file, options)
        with reading(file):
            source = file.filesystem.open_input_file(file.path)
            meta = pq.read_metadata(source)
            # Devices and tags repeat: as dictionaries they are read and grouped much faster.
            texts = [f.name for f in meta.schema.to_arrow_schema() if pa.types.is_string(f.type)]
            keys = [n for n in texts if n in (options.device, *options.tags)]
            self._parquet = pq.ParquetFile(
                source,
                metadata=meta,
                read_dictionary=keys,
                coerce_int96_timestamp_unit=unit_of_int96(source, meta, name=file.name),
            )
        schema = self._parquet.schema_arrow
        self.time = time_label(schema, options.time)
        self._columns = self.shaper.stored(schema.names, self.time)
        sizes = [meta.row_group(i).num_rows for i in range(meta.num_row_groups)]
        self._bounds = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        taken = pa.schema([schema.field(n) for n in self._columns])
        stored = sum(meta.row_group(i).total_byte_size for i in range(meta.num_row_groups))
        width = max(row_width(taken), stored // max(1, meta.num_rows))
        self._rows_a_unit = max(1, options.unit_bytes // width)
        self._bytes_a_row = file.size / max(1, meta.num_rows)
        self._part: tuple[int, Rows] | None = None

    def sample(self) -> pa.Table:
        """Some rows, as `pieces` would give them."""
        with reading(self._file):
            batches = self._parquet.iter_batches(SAMPLE_ROWS, columns=self._columns)
            first = next(batches, None)
            schema = pa.schema([self._parquet.schema_arrow.field(n) for n in self._columns])
            table = schema.empty_table() if first is None else pa.Table.from_batches([first])
        return self.shaper.shape(table)[0]

    def pieces(self, ranges: Iterable[Range]) -> Iterator[Piece]:
        for start, stop, _ in ranges:
            for first, last in self._cuts(start, stop):
                with reading(self._file):
                    table = self._read(first, last)
                data, rows = self.shaper.shape(table)
                n_bytes = round((last - first) * self._bytes_a_row)
                digest = schema_digest(data.schema)
                piece = Piece(first, last, data, n_bytes=n_bytes, digest=digest, rows=rows)
                yield self.shaper.checked(piece, self.time)

    def _cuts(self, start: int, stop: int | None) -> Iterator[tuple[int, int]]:
        if stop is not None:
            yield start, stop
            return
        bounds, n_rows, step = self._bounds, int(self._bounds[-1]), self._rows_a_unit
        while start < n_rows:
            group = int(np.searchsorted(bounds, start, side="right")) - 1
            low, share = int(bounds[group]), self._share(group)
            end = min(low + ((start - low) // share + 1) * share, int(bounds[group + 1]))
            if end == bounds[group + 1]:
                fits = int(bounds[np.searchsorted(bounds, start + step, side="right") - 1])
                end = max(end, fits)
            yield start, end
            start = end

    def _share(self, group: int) -> int:
        """Rows of a unit within a row group: all of it, or of a large one an equal part."""
        n_rows = int(self._bounds[group + 1] - self._bounds[group])
        n_units = max(1, round(n_rows / self._rows_a_unit))
        return int(max(1, -(-n_rows // n_units)))

    def _read(self, start: int, stop: int) -> pa.Table:
        bounds = self._bounds
        group = int(np.searchsorted(bounds, start, side="right")) - 1
        whole: list[int] = []
        tables: list[pa.Table] = []
        while group < len(bounds) - 1 and bounds[group] < stop:
            low, high = int(bounds[group]), int(bounds[group + 1])
            if start <= low and high <= stop:
                whole.append(group)
            else:
                tables += self._take(whole)
                whole = []
                tables.append(self._read_part(group, max(start, low) - low, min(stop, high) - low))
            group += 1
        tables += self._take(whole)
        return pa.concat_tables(tables)

    def _take(self, groups: list[int]) -> list[pa.Table]:
        return [self._parquet.read_row_groups(groups, columns=self._columns)] if groups else []

    def _read_part(self, group: int, start: int, stop: int) -> pa.Table:
        """Rows of a large row group, which is read on where the last unit ended."""
        if self._part is None or self._part[0] != group or self._part[1].at > start:
            # A batch is a unit, then: several would be put together, which copies them.
            batches = self._parquet.iter_batches(
                self._share(group), row_groups=[group], columns=self._columns
            )
            schema = pa.schema([self._parquet.schema_arrow.field(n) for n in self._columns])
            self._part = group, Rows(batches, schema)
        rows = self._part[1]
        rows.skip_to(start)
        return rows.take(stop, 1)
