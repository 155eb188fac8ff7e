"""A file as frames, batch after batch: Arrow IPC, and what else a pyarrow dataset reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.dataset as pads

from iotdb_frames.files.options import FileOptions
from iotdb_frames.files.pieces import (
    SAMPLE_ROWS,
    Piece,
    Range,
    Rows,
    Shaper,
    reading,
    schema_digest,
    time_label,
)
from iotdb_frames.files.sources import SourceFile

_IPC_FILE = b"ARROW1\0\0"


class BatchReader:
    """Arrow IPC files and streams, and what else `pyarrow.dataset` reads: batch after batch."""

    def __init__(self, file: SourceFile, options: FileOptions) -> None:
        self._file = file
        self.shaper = Shaper(file, options)
        self._unit_bytes = options.unit_bytes
        with reading(file):
            schema = self._open()[0]
        self.time = time_label(schema, options.time)
        self._columns = self.shaper.stored(schema.names, self.time)

    def _open(self) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
        file = self._file
        if file.format not in ("ipc", "stream"):
            found = pads.dataset(file.path, filesystem=file.filesystem, format=file.format)
            batches = found.scanner(batch_readahead=1, fragment_readahead=1).to_batches()
            return found.schema, batches
        source = self._bytes()
        is_file = source.read(len(_IPC_FILE)) == _IPC_FILE  # whatever its ending says
        if is_file and file.compression is None:
            ipc = pa.ipc.open_file(source)
            return ipc.schema, (ipc.get_batch(i) for i in range(ipc.num_record_batches))
        # Behind its first bytes a file is a stream, with its batches once more listed at its end.
        stream = pa.ipc.open_stream(source if is_file else self._bytes())
        return stream.schema, iter(stream)

    def _bytes(self) -> Any:
        file = self._file
        source = file.filesystem.open_input_file(file.path)
        return pa.CompressedInputStream(source, file.compression) if file.compression else source

    def sample(self) -> pa.Table:
        """Some rows, as `pieces` would give them."""
        with reading(self._file):
            schema, batches = self._open()
            first = next(batches, None)
        table = schema.empty_table() if first is None else pa.Table.from_batches([first])
        return self.shaper.shape(table.slice(0, SAMPLE_ROWS).select(self._columns))[0]

    def pieces(self, ranges: Iterable[Range]) -> Iterator[Piece]:
        with reading(self._file):
            schema, batches = self._open()
        rows = Rows(batches, schema)
        for start, table in rows.over(ranges, n_bytes=self._unit_bytes, file=self._file):
            end = start + table.num_rows
            data, kept = self.shaper.shape(table.select(self._columns))
            digest = schema_digest(data.schema)
            piece = Piece(start, end, data, n_bytes=table.nbytes, digest=digest, rows=kept)
            yield self.shaper.checked(piece, self.time)
