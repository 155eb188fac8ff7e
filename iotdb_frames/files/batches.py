"""A file as frames, batch after batch: Arrow IPC, JSON lines, and what a pyarrow dataset reads."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from decimal import Decimal
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.json as pajson

from iotdb_frames.errors import FrameError
from iotdb_frames.files.options import FileOptions
from iotdb_frames.files.pieces import (
    SAMPLE_ROWS,
    Piece,
    Range,
    Refusal,
    Rows,
    Shaper,
    reading,
    schema_digest,
    time_label,
)
from iotdb_frames.files.sources import EmptyFile, SourceFile

_JSON_BYTES = 1 << 20
_IPC_FILE = b"ARROW1\0\0"
_REFUSED = "\0refused"
"""A column beside those of a JSON file: the text of a line that cannot be read exactly."""
_EXACT = float(1 << 53)


class BatchReader:
    """Arrow IPC files and streams, and what else `pyarrow.dataset` reads: batch after batch."""

    def __init__(self, file: SourceFile, options: FileOptions) -> None:
        self._file = file
        self._shaper = Shaper(file, options)
        self._unit_bytes = options.unit_bytes
        self._is_lossy = options.is_lossy
        with reading(file):
            schema = self._open()[0]
            if file.format == "json" and not len(self._json_schema):
                raise EmptyFile(file.name)
            if _REFUSED in schema.names:
                schema = schema.remove(schema.get_field_index(_REFUSED))
        self.time = time_label(schema, options.time)
        self._columns = self._shaper.stored(schema.names, self.time)

    def _open(self) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
        file = self._file
        if file.format == "json":
            return self._json_schema.append(_REFUSED_FIELD), self._json_batches()
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

    @cached_property
    def _json_schema(self) -> pa.Schema:
        """The fields of all lines; a dataset would know those of its first block alone."""
        found = [table.schema for table, _ in self._json_tables()]
        return pa.unify_schemas(found, promote_options="permissive") if found else pa.schema([])

    def _json_batches(self) -> Iterator[pa.RecordBatch]:
        for table, text in self._json_tables(self._json_schema):
            refused = pa.nulls(table.num_rows, pa.string())
            if not self._is_lossy:
                refused = _rounded(table, text)
            yield from table.append_column(_REFUSED_FIELD, refused).to_batches()

    def _json_tables(self, schema: pa.Schema | None = None) -> Iterator[tuple[pa.Table, bytes]]:
        """The file in pieces, each with its text.

        Raises
        ------
        FrameError : a row cannot be parsed; with its number in the file.
        """
        n_rows = 0
        for text in self._json_texts():
            try:
                table = _read_json(text, schema)
            except pa.ArrowInvalid as exc:
                told = str(exc)
                if found := re.search(r"(?<=in row )\d+$", told):  # of this piece, from 0
                    told = f"{told[: found.start()]}{n_rows + int(found[0]) + 1:,}"
                raise FrameError(f"{self._file.name} cannot be read: {told}") from exc
            n_rows += table.num_rows
            yield table, text

    def _json_texts(self) -> Iterator[bytes]:
        """The file in pieces of whole objects, which may span lines.

        Raises
        ------
        FrameError : it does not begin with an object.
        """
        file = self._file
        rest, is_first = b"", True
        with file.filesystem.open_input_stream(file.path, compression=file.compression) as source:
            while more := source.read(_JSON_BYTES):
                rest += more
                if is_first:
                    rest = rest.removeprefix(b"\xef\xbb\xbf").lstrip()
                    if rest and rest[:1] != b"{":
                        raise FrameError(
                            f"{file.name} does not begin with a JSON object",
                            hint="objects one after the other, in UTF-8: jq -c '.[]' takes them "
                            "out of an array",
                        )
                    is_first = not rest
                if cut := _end_of_object(rest):
                    yield rest[:cut]
                    rest = rest[cut:]
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
                end = start + table.num_rows
                n_bytes, (table, whole, refusals) = table.nbytes, _split(table, start)
                data, kept = self._shaper.shape(table.select(self._columns))
                if whole is not None:
                    kept = whole if kept is None else whole[kept]
                digest = schema_digest(data.schema)
                piece = Piece(
                    start, end, data, n_bytes=n_bytes, digest=digest, rows=kept, refusals=refusals
                )
                yield self._shaper.checked(piece, self.time)
                start = end
                if end == stop:
                    break


def _read_json(text: bytes, schema: pa.Schema | None) -> pa.Table:
    return pajson.read_json(
        pa.py_buffer(text),
        read_options=pajson.ReadOptions(use_threads=False, block_size=len(text) + 1),
        parse_options=pajson.ParseOptions(explicit_schema=schema),
    )


def _end_of_object(text: bytes) -> int:
    """Where the last line ends that ends an object and has another one behind; 0 without one.

    Only between objects does a line end with ``}`` and the next begin with ``{``: within one there
    is a comma, and texts hold no line breaks.
    """
    end = len(text)
    while (end := text.rfind(b"\n", 0, end)) > 0:
        before, behind = text[max(0, end - 64) : end], text[end : end + 64]
        if before.rstrip()[-1:] == b"}" and behind.lstrip()[:1] == b"{":
            return end + 1
    return 0


_REFUSED_FIELD = pa.field(_REFUSED, pa.string())


def _rounded(table: pa.Table, text: bytes) -> pa.Array:
    """Texts of objects with a whole number that its column of fractions would round; else null."""
    floats = [f.name for f in table.schema if pa.types.is_float64(f.type)]
    is_far = np.zeros(table.num_rows, bool)
    for name in floats:
        far = pc.greater_equal(pc.abs(table[name]), _EXACT).fill_null(False)
        is_far |= np.asarray(far)
    refused = np.full(table.num_rows, None, object)
    if is_far.any():
        texts = _objects(text, table.num_rows)
        for at in np.flatnonzero(is_far).tolist():  # only numbers of 16 digits and more
            values = json.loads(texts[at], parse_int=Decimal)  # an int has a limit of digits
            wholes = (v for n in floats if isinstance(v := values.get(n), Decimal))
            if any(Decimal(float(v)) != v for v in wholes):
                refused[at] = texts[at]
    return pa.array(refused, pa.string())


def _objects(source: bytes, n_objects: int) -> list[str]:
    """The text of each object: mostly a line, but one may span lines, or a line hold several."""
    text = source.decode("utf-8", "backslashreplace")
    found = [stripped for line in text.split("\n") if (stripped := line.strip())]
    if len(found) == n_objects and all(t[0] == "{" and t[-1] == "}" for t in found):
        return found
    decoder, found, at = json.JSONDecoder(parse_int=Decimal), [], 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        _, end = decoder.raw_decode(text, at)
        found.append(text[at:end])
        at = end
    return found


def _split(table: pa.Table, start: int) -> tuple[pa.Table, np.ndarray | None, list[Refusal]]:
    """Rows that were read exactly, which they are (None: all), and the others."""
    if _REFUSED not in table.column_names:
        return table, None, []
    is_bad = np.asarray(table[_REFUSED].is_valid())
    texts = table[_REFUSED].combine_chunks()
    table = table.drop_columns([_REFUSED])
    if not is_bad.any():
        return table, None, []
    at, whole = np.flatnonzero(is_bad), np.flatnonzero(~is_bad)
    why = "has a whole number that DOUBLE does not hold exactly, in a column of fractions"
    refusal = Refusal(at + start + 1, texts.take(pa.array(at)), why)
    return table.take(pa.array(whole)), whole, [refusal]
