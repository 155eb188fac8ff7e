"""A file as frames, batch after batch: Arrow IPC, JSON lines, and what a pyarrow dataset reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.json as pajson

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

_JSON_BYTES = 1 << 20


class BatchReader:
    """Arrow IPC files and streams, and what else `pyarrow.dataset` reads: batch after batch."""

    def __init__(self, file: SourceFile, options: FileOptions) -> None:
        self._file = file
        self._shaper = Shaper(file, options)
        self._unit_bytes = options.unit_bytes
        with reading(file):
            schema = self._open()[0]
        self.time = time_label(schema, options.time)
        self._columns = self._shaper.stored(schema.names, self.time)

    def _open(self) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
        file = self._file
        if file.format == "json":
            return self._json_schema, self._json_batches()
        if file.format not in ("ipc", "stream"):
            found = pads.dataset(file.path, filesystem=file.filesystem, format=file.format)
            batches = found.scanner(batch_readahead=1, fragment_readahead=1).to_batches()
            return found.schema, batches
        source: Any = file.filesystem.open_input_file(file.path)
        if file.compression is not None:
            source = pa.CompressedInputStream(source, file.compression)
        if file.format == "stream":
            stream = pa.ipc.open_stream(source)
            return stream.schema, iter(stream)
        ipc = pa.ipc.open_file(source)
        return ipc.schema, (ipc.get_batch(i) for i in range(ipc.num_record_batches))

    @cached_property
    def _json_schema(self) -> pa.Schema:
        """The fields of all lines; a dataset would know those of its first block alone."""
        found = [_read_json(lines).schema for lines in self._json_lines()]
        return pa.unify_schemas(found, promote_options="permissive") if found else pa.schema([])

    def _json_batches(self) -> Iterator[pa.RecordBatch]:
        for lines in self._json_lines():
            yield from _read_json(lines, self._json_schema).to_batches()

    def _json_lines(self) -> Iterator[bytes]:
        """The file in pieces of whole lines."""
        file = self._file
        rest = b""
        with file.filesystem.open_input_stream(file.path, compression=file.compression) as source:
            while more := source.read(_JSON_BYTES):
                lines, _, rest = (rest + more).rpartition(b"\n")
                if lines.strip():
                    yield lines
        if rest.strip():
            yield rest

    def sample(self) -> pa.Table:
        """Some rows, as `pieces` would give them."""
        with reading(self._file):
            schema, batches = self._open()
            first = next(batches, None)
        table = schema.empty_table() if first is None else pa.Table.from_batches([first])
        return self._shaper.shape(table.slice(0, SAMPLE_ROWS).select(self._columns))[0]

    def pieces(self, ranges: Iterable[Range]) -> Iterator[Piece]:
        with reading(self._file):
            schema, batches = self._open()
        rows = Rows(batches, schema)
        for first, stop, _ in ranges:
            start = first
            while True:
                with reading(self._file):
                    rows.skip_to(start)
                    table = rows.take(stop, self._unit_bytes)
                if table.num_rows == 0:
                    break
                data, kept = self._shaper.shape(table.select(self._columns))
                end = start + table.num_rows
                digest = schema_digest(data.schema)
                yield Piece(start, end, data, n_bytes=table.nbytes, digest=digest, rows=kept)
                start = end
                if end == stop:
                    break


def _read_json(lines: bytes, schema: pa.Schema | None = None) -> pa.Table:
    return pajson.read_json(
        pa.py_buffer(lines),
        read_options=pajson.ReadOptions(use_threads=False, block_size=len(lines) + 1),
        parse_options=pajson.ParseOptions(explicit_schema=schema),
    )
