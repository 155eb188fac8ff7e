"""A CSV file as frames: blocks of whole records, parsed by Arrow.

A block is parsed at once, with the types of its columns known. Where one cell of it does not fit,
Arrow stops; then the block is parsed once more as texts, the records that do not fit are found with
their lines, and the others go on.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from iotdb_frames.errors import FrameError
from iotdb_frames.files.csv.cells import DECIMAL_TYPE, is_far, parse, parse_times, trim
from iotdb_frames.files.csv.dialect import KNOWN_NULLS, CsvDialect
from iotdb_frames.files.csv.infer_types import type_of_texts
from iotdb_frames.files.csv.records import (
    Block,
    Records,
    blocks,
    collapse_spaces,
    count_bytes,
    has_hexadecimal,
)
from iotdb_frames.files.options import FileOptions
from iotdb_frames.files.pieces import (
    SAMPLE_ROWS,
    Piece,
    Range,
    Refusal,
    Shaper,
    check_names,
    reading,
    schema_digest,
)
from iotdb_frames.files.sources import SourceFile

_ARROW = {
    "int64": pa.int64(),
    "double": pa.float64(),
    "float": pa.float32(),
    "decimal": DECIMAL_TYPE,
    "bool": pa.bool_(),
    "string": pa.string(),
    "date32": pa.date32(),
}
_UNIT = {0: "s", 1: "ms", 2: "ms", 3: "ms", 4: "us", 5: "us", 6: "us"}
JOINED = "time"
"""What the time of several columns is called."""
_SAMPLE_BYTES = 1 << 20
_ARROW_BLOCK = 1 << 20


@dataclass
class _Rows:
    """Parsed rows of a block, on their way to a frame.

    at : int64, shape (n,): record of the block each row is; None: all of them, in order
    """

    table: pa.Table
    at: np.ndarray | None = None
    refusals: list[Refusal] = field(default_factory=list)

    def drop(self, is_bad: np.ndarray) -> np.ndarray:
        """Leave rows out (bool, shape (n,)); the records they are."""
        at = np.arange(self.table.num_rows) if self.at is None else self.at
        self.table = self.table.filter(pa.array(~is_bad))
        self.at = at[~is_bad]
        return np.asarray(at[is_bad])


class CsvPiece(Piece):
    """A unit of a CSV file: it knows the lines of its rows."""

    def __init__(self, block: Block, dialect: CsvDialect, data: pa.Table, **values: Any) -> None:
        super().__init__(block.start, block.stop, data, **values)
        self._block, self._dialect = block, dialect
        self.line, self.end_line, self.n_bytes = block.line, block.end_line, block.n_bytes
        self.texts = self._texts

    @cached_property
    def _records(self) -> Records:
        return Records(self._block.data, self._dialect)

    def _at(self, positions: np.ndarray) -> np.ndarray:
        return positions if self.rows is None else self.rows[positions]

    def lines(self, positions: np.ndarray) -> np.ndarray:
        return np.asarray(self._records.lines[self._at(positions)] + self.line)

    def _texts(self, positions: np.ndarray) -> pa.Array:
        return self._records.texts(self._at(positions))


class CsvReader:
    """A CSV file, written as a dialect says."""

    def __init__(self, file: SourceFile, options: FileOptions, dialect: CsvDialect) -> None:
        if not dialect.names:
            raise FrameError(f"{file.name} has no columns")
        self._file = file
        self._shaper = Shaper(file, options)
        self._options = options
        self.dialect = dialect
        times = dialect.time_columns or ()
        wish: Hashable | None = options.time
        self.time: Hashable | None = JOINED if len(times) > 1 else (times[0] if times else wish)
        named = [n for n in dialect.names if n]
        check_names(file, named, hint='csv={"names": […]} names them apart')
        self._parts = set(times) if len(times) > 1 else set()
        plain = [n for n in named if n not in self._parts]
        wanted = set(self._shaper.stored(plain, self.time)) | self._parts
        self._columns = [n for n in named if n in wanted]
        keys = {options.device, *options.tags}
        self._keys = {n for n in self._columns if n in keys}

    def sample(self) -> pa.Table:
        """Some rows, as `pieces` would give them."""
        piece = self.first_piece()
        if piece is not None:
            return piece.data.slice(0, SAMPLE_ROWS)
        known = {*(self.dialect.types or {}), *self._keys, self.time}
        empty = {
            n: pa.array([], self._type_of(n) if n in known else pa.null())
            for n in self._columns
            if n not in self._parts
        }
        if self._parts:
            empty[JOINED] = pa.array([], pa.timestamp("ms"))
        return self._shaper.shape(pa.table(empty))[0]

    def first_piece(self) -> Piece | None:
        """Some rows with their texts; None where there are none."""
        with reading(self._file):
            return next(self._pieces([(0, None, 0)], _SAMPLE_BYTES), None)

    def pieces(self, ranges: Iterable[Range]) -> Iterator[Piece]:
        with reading(self._file):
            yield from self._pieces(ranges, self._options.unit_bytes)

    def _pieces(self, ranges: Iterable[Range], block_bytes: int) -> Iterator[Piece]:
        for block in blocks(self._file, self.dialect, ranges, block_bytes=block_bytes):
            yield self._piece(block)

    def _piece(self, block: Block) -> Piece:
        records: Records | None = None
        rows: _Rows | None = None
        if self._is_plain(block):
            with suppress(pa.ArrowInvalid):
                table = self._read_plain(block)
                is_same = self._agrees(block, table.num_rows) and self._is_exact(table)
                rows = _Rows(table) if is_same else None
        if rows is None:
            records = Records(block.data, self.dialect)
            rows = self._parse_texts(block, records)
        self._convert(block, rows, records)
        notes = self._drop_blank(rows)
        table = self._null_sentinels(rows.table)
        data, kept = self._shaper.shape(table)
        at = rows.at
        if kept is not None:
            at = kept if at is None else at[kept]
        piece = CsvPiece(
            block,
            self.dialect,
            data,
            rows=at,
            refusals=rows.refusals,
            notes=notes,
            digest=schema_digest(data.schema),
        )
        return self._shaper.checked(piece, self.time)

    # --- parsing -------------------------------------------------------------------------------

    def _is_plain(self, block: Block) -> bool:
        """Whether Arrow may parse it as it is.

        Spaces as delimiters may come in runs, and 0x1F is a whole number to Arrow alone.
        """
        if self.dialect.delimiter == " " and b"  " in bytes(block.data):
            return False
        has_whole = "int64" in (self.dialect.types or {}).values()
        return not (has_whole and has_hexadecimal(block.data))

    def _agrees(self, block: Block, n_rows: int) -> bool:
        """Whether Arrow saw the records that are there.

        To it, an open quote takes the lines that follow, and a lone carriage return ends one.
        """
        is_odd = bool(self.dialect.quote) and count_bytes(block.data, self.dialect.quote or "") % 2
        if n_rows == block.end_line - block.line and not is_odd:
            return True
        records = Records(block.data, self.dialect)
        return n_rows == len(records) and not (is_odd and records.open_quotes().any())

    def _is_exact(self, table: pa.Table) -> bool:
        """Whether no whole number can have been rounded, and none became infinite."""
        if self._options.is_lossy:
            return True
        kinds = ((n, self._type_of(n)) for n in table.column_names)
        floats = ((n, str(kind)) for n, kind in kinds if pa.types.is_floating(kind))
        return not any(
            pc.any(is_far(table[n], kind)).as_py()
            for n, kind in floats
            if pa.types.is_floating(table[n].type)
        )

    def _type_of(self, name: str) -> pa.DataType:
        kind = "string" if name in self._keys else (self.dialect.types or {}).get(name, "string")
        if name == self.time and kind == "timestamp":
            return time_type(self.dialect)
        return _ARROW.get(kind, pa.string())

    def _types(self) -> dict[str, pa.DataType]:
        """What Arrow is asked to make of the columns; the rest it gives as texts."""
        out = {}
        for name in self._columns:
            kind = self._type_of(name)
            if name in self._keys and kind == pa.string():
                kind = pa.dictionary(pa.int32(), pa.string())
            is_number = kind in (pa.int64(), pa.float64(), pa.float32(), DECIMAL_TYPE)
            if name in self._parts or (is_number and self.dialect.thousands and name != self.time):
                kind = pa.string()
            if pa.types.is_timestamp(kind) and self.dialect.time_format != "iso8601":
                kind = pa.string()  # Arrow's strptime takes the year 24 for %Y, and more
            out[name] = kind
        return out

    def _read_plain(self, block: Block) -> pa.Table:
        """A block as it is meant.

        Raises
        ------
        ArrowInvalid : a cell does not fit.
        """
        types = self._types()
        words = {*(self.dialect.null_values or ())}
        if all(_is_typed(kind) for kind in types.values()):
            words |= {*KNOWN_NULLS}
        table = self._read(block.data, types, _fail, nulls=words)
        if words <= {*self.dialect.text_nulls}:
            return table
        # What is a missing number is a text in a column of texts: Arrow takes it as missing in all.
        kinds = self.dialect.types or {}
        lost = [
            name
            for name in self._columns
            if table[name].null_count
            and (name in self._keys or kinds.get(name, "string") == "string")
        ]
        if lost:
            some = {name: types[name] for name in lost}
            again = self._read(block.data, some, _fail, nulls=self.dialect.text_nulls)
            for name in lost:
                table = table.set_column(table.column_names.index(name), name, again[name])
        return table

    def _read(
        self,
        data: bytes | memoryview,
        types: Mapping[str, pa.DataType],
        on_invalid: Any,
        *,
        nulls: Iterable[str],
        is_serial: bool = False,
    ) -> pa.Table:
        """Some columns; `nulls` are missing values in all of them, and so is nothing at all."""
        dialect = self.dialect
        if re.fullmatch(rb"[\r\n]*", data):
            return pa.table({n: pa.array([], kind) for n, kind in types.items()})
        return pacsv.read_csv(
            pa.py_buffer(data),
            read_options=pacsv.ReadOptions(
                use_threads=not is_serial,
                block_size=len(data) + 1 if is_serial else _ARROW_BLOCK,
                column_names=_unique(dialect.names or ()),
            ),
            parse_options=pacsv.ParseOptions(
                delimiter=dialect.delimiter,
                quote_char=dialect.quote or False,
                newlines_in_values=bool(dialect.newlines_in_values) or is_serial,
                invalid_row_handler=on_invalid,
            ),
            convert_options=pacsv.ConvertOptions(
                column_types=dict(types),
                include_columns=list(types),
                null_values=sorted({"", *nulls}),
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
                decimal_point=dialect.decimal or ".",
            ),
        )

    def _parse_texts(self, block: Block, records: Records) -> _Rows:
        """All columns as texts; records that do not even have the right fields are refused."""
        dialect = self.dialect
        is_bad = records.undecodable()
        refusals = [_refusal(block, records, np.flatnonzero(is_bad), "is not valid UTF-8")]
        for is_it, why in (
            (records.open_quotes(), "a quote is open"),
            (records.lone_returns(), "a carriage return stands alone in it"),
        ):
            refusals.append(_refusal(block, records, np.flatnonzero(is_it & ~is_bad), why))
            is_bad |= is_it
        kept = np.flatnonzero(~is_bad)
        data = records.joined(~is_bad)
        if dialect.delimiter == " ":
            data = collapse_spaces(data, dialect.quote or "")
        ragged: dict[int, list[int]] = {}

        def on_invalid(row: Any) -> str:
            ragged.setdefault(row.actual_columns, []).append(row.number - 1)
            return "skip"

        texts = dict.fromkeys(self._columns, pa.string())
        nulls = dialect.text_nulls
        table = self._read(data, texts, on_invalid, nulls=nulls, is_serial=True)
        n_fields = len(dialect.names or ())
        is_ragged = np.zeros(len(kept), bool)
        for n, numbers in ragged.items():
            is_ragged[numbers] = True
            why = f"has {n} fields, not {n_fields}"
            refusals.append(_refusal(block, records, kept[numbers], why))
        kept = kept[~is_ragged]
        if len(kept) != table.num_rows:
            raise FrameError(
                f"{self._file.name}, lines {block.line:,} to {block.end_line - 1:,}: "
                f"{len(kept):,} records were parsed as {table.num_rows:,}",
                hint='csv={"newlines_in_values": …} or another quote may be right',
            )
        return _Rows(table, kept, [r for r in refusals if len(r.lines)])

    # --- texts into values -----------------------------------------------------------------------

    def _convert(self, block: Block, rows: _Rows, records: Records | None) -> None:
        """Turn what are still texts into what the dialect says; refuse what does not fit."""
        dialect = self.dialect
        nulls = tuple(dialect.null_values or ())
        types = dialect.types or {}
        if self._parts:
            parts = [_flat(rows.table[n]) for n in dialect.time_columns or ()]
            parts = [trim(p, nulls) for p in parts]
            joined = pc.binary_join_element_wise(*parts, " ")
            table = rows.table.drop_columns(sorted(self._parts))
            rows.table = table.append_column(JOINED, joined)
        for name in rows.table.column_names:
            column = rows.table[name]
            if not pa.types.is_string(column.type):
                continue
            kind = "string" if name in self._keys else types.get(name)
            if name == JOINED and self._parts:
                kind = "timestamp"
            kind = kind or self._settle(name, _flat(column))
            if kind == "string":
                continue
            if kind is None:  # nothing yet that would tell its type
                at = rows.table.column_names.index(name)
                rows.table = rows.table.set_column(at, name, pa.nulls(rows.table.num_rows))
                continue
            texts = _flat(column)
            if name == self.time and kind == "timestamp":
                form = dialect.time_format or "iso8601"
                known = trim(texts, (*nulls, *KNOWN_NULLS))
                parsed = parse_times(known, form, has_offset=dialect.has_offset)
            else:
                decimal, thousands = dialect.decimal or ".", dialect.thousands or ""
                if name == self.time:  # its numbers may have another mark than the others
                    has_comma = pc.any(pc.match_substring(texts, ",")).as_py()
                    decimal, thousands = "," if has_comma else ".", ""
                parsed = parse(
                    texts,
                    str(kind),
                    nulls=(*nulls, *KNOWN_NULLS),
                    decimal=decimal,
                    thousands=thousands,
                    is_lossy=self._options.is_lossy,
                    time_unit=self._options.time_unit,
                )
            at = rows.table.column_names.index(name)
            if parsed.is_bad.any():
                why = f"column {name!r} {parsed.why}"
                rows.table = rows.table.set_column(at, name, parsed.values)
                if records is None:
                    records = Records(block.data, dialect)
                bad = rows.drop(parsed.is_bad)
                rows.refusals.append(_refusal(block, records, bad, why))
            else:
                rows.table = rows.table.set_column(at, name, parsed.values)

    def _settle(self, name: str, texts: pa.Array) -> str | None:
        """The type of a column that the sample had nothing of: its first values decide."""
        found = trim(texts, (*(self.dialect.null_values or ()), *KNOWN_NULLS))
        kind = type_of_texts(found, self.dialect)
        if kind is not None:
            self.dialect = self.dialect.with_types({name: kind})
        return kind

    def _drop_blank(self, rows: _Rows) -> list[str]:
        """Leave out rows of nothing but delimiters, as spreadsheets write them."""
        table = rows.table
        if self.time not in table.column_names or not table[str(self.time)].null_count:
            return []
        is_blank = np.ones(table.num_rows, bool)
        for column in table.columns:
            is_blank &= np.asarray(column.is_null())
        n_blank = int(np.count_nonzero(is_blank))
        if n_blank:
            rows.drop(is_blank)
            return ["records without a value were left out"]
        return []

    def _null_sentinels(self, table: pa.Table) -> pa.Table:
        for name, values in (self.dialect.sentinels or {}).items():
            if name in table.column_names and values:
                column = table[name]
                if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
                    continue
                known = [v for v in values if pa.types.is_floating(column.type) or v == int(v)]
                is_it = pc.is_in(column, value_set=pa.array(known).cast(column.type))
                nulled = pc.if_else(is_it, pa.scalar(None, column.type), column)
                table = table.set_column(table.column_names.index(name), name, nulled)
        return table


def _fail(_: Any) -> str:
    """What becomes of a record with too few fields, or too many."""
    return "error"


def time_type(dialect: CsvDialect) -> pa.DataType:
    """The type of times in ISO 8601 that are written so."""
    unit = _UNIT.get(dialect.fraction_digits or 0, "ns")
    return pa.timestamp(unit, "UTC" if dialect.has_offset else None)


def _is_typed(kind: pa.DataType) -> bool:
    return not (pa.types.is_string(kind) or pa.types.is_dictionary(kind))


def _unique(names: Iterable[str]) -> list[str]:
    """Names with something in place of the empty ones."""
    return [name or f"\0{i}" for i, name in enumerate(names)]


def _flat(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _refusal(block: Block, records: Records, at: np.ndarray, reason: str) -> Refusal:
    return Refusal(records.lines[at] + block.line, records.texts(at), reason)
