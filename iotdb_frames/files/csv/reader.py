"""A CSV file as frames: blocks of whole records, parsed by Arrow.

A block is parsed at once, with the types of its columns known. Where a cell of it does not fit,
Arrow stops; then it is parsed around the records that do not, and these alone as texts, which finds
out what is wrong with them. Where they are many, all of the block is.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from iotdb_frames.errors import Choice, FrameError, Hint
from iotdb_frames.files.csv.arrow import read_around, read_table
from iotdb_frames.files.csv.cells import DECIMAL_TYPE, has_far, parse, trim
from iotdb_frames.files.csv.dialect import KNOWN_NULLS, CsvDialect
from iotdb_frames.files.csv.infer_lines import as_names
from iotdb_frames.files.csv.infer_types import type_of_texts
from iotdb_frames.files.csv.records import (
    Block,
    Records,
    blocks,
    collapse_spaces,
    count_bytes,
    has_hexadecimal,
)
from iotdb_frames.files.csv.rows import BlockRows, CsvPiece, refusal_of
from iotdb_frames.files.csv.times import Parsed, parse_times
from iotdb_frames.files.options import FileOptions
from iotdb_frames.files.pieces import (
    SAMPLE_ROWS,
    Piece,
    Range,
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


class CsvReader:
    """A CSV file, written as a dialect says."""

    def __init__(self, file: SourceFile, options: FileOptions, dialect: CsvDialect) -> None:
        if not dialect.names:
            raise FrameError(f"{file.name} has no columns")
        self._file = file
        self.shaper = Shaper(file, options)
        self._options = options
        self.dialect = dialect
        times = dialect.time_columns or ()
        wish: Hashable | None = options.time
        self.time: Hashable | None = JOINED if len(times) > 1 else (times[0] if times else wish)
        named = [n for n in dialect.names if n]
        check_names(file, named, hint=Hint(as_names(_apart(dialect.names)), " names them apart"))
        self._parts = set(times) if len(times) > 1 else set()
        plain = [n for n in named if n not in self._parts]
        wanted = set(self.shaper.stored(plain, self.time)) | self._parts
        self._columns = [n for n in named if n in wanted]
        keys = {options.device, *options.tags}
        self._keys = {n for n in self._columns if n in keys}
        self._is_dirty = False  # whether the block before had a record that does not fit

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
        return self.shaper.shape(pa.table(empty))[0]

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
        rows = self._parse(block)
        notes = self._drop_blank(rows)
        table = self._null_sentinels(rows.table)
        data, kept = self.shaper.shape(table)
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
        return self.shaper.checked(piece, self.time)

    # --- parsing -------------------------------------------------------------------------------

    def _parse(self, block: Block) -> BlockRows:
        """The rows of a block that fit, as they are meant, and the refusals of the others."""
        if self._is_plain(block):
            with suppress(pa.ArrowInvalid):
                if not self._is_dirty:
                    types, nulls = self._types(), self._plain_nulls()
                    table = read_table(block.data, types, self.dialect, nulls=nulls)
                    table = self._with_texts(table, lambda: block.data)
                    if self._agrees(block, table.num_rows):
                        if not self._is_exact(table):
                            return self._parse_all_texts(block)
                        rows = BlockRows(table)
                        self._convert(block, rows, None)
                        return rows
            rows_around = self._parse_around(block)
            if rows_around is not None:
                return rows_around
        return self._parse_all_texts(block)

    def _parse_all_texts(self, block: Block) -> BlockRows:
        records = Records(block.data, self.dialect)
        rows = self._parse_texts(block, records, np.ones(len(records), bool))
        self._convert(block, rows, records)
        return rows

    def _parse_around(self, block: Block) -> BlockRows | None:
        """The rows of a block with some that do not fit; None where these are not told apart."""
        records = Records(block.data, self.dialect)
        quote = self.dialect.quote
        # Arrow ends these elsewhere, and takes what follows into them.
        is_odd = np.zeros(len(records), bool)
        if quote and count_bytes(block.data, quote):
            is_odd |= records.open_quotes()
        if count_bytes(block.data, "\r"):
            is_odd |= records.lone_returns()
        types, nulls = self._types(), self._plain_nulls()
        found = read_around(records, block.data, types, self.dialect, nulls=nulls, is_odd=is_odd)
        if found is None:
            return None
        table, is_bad = found
        self._is_dirty = bool(is_bad.any())
        table = self._with_texts(table, lambda: records.joined(~is_bad))
        if not self._is_exact(table):
            return None
        rows = BlockRows(table, np.flatnonzero(~is_bad))
        self._convert(block, rows, records)
        others = self._parse_texts(block, records, is_bad)
        self._convert(block, others, records)
        rows.refusals += others.refusals
        return rows.merged(others) if others.table.num_rows else rows

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
            has_far(table[n], kind) for n, kind in floats if pa.types.is_floating(table[n].type)
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
            # Arrow knows no groups, and takes what may be one for a fraction.
            is_odd = self.dialect.thousands or (
                self.dialect.decimal is None and pa.types.is_floating(kind)
            )
            if name in self._parts or (is_number and is_odd and name != self.time):
                kind = pa.string()
            if pa.types.is_timestamp(kind) and self.dialect.time_format != "iso8601":
                kind = pa.string()  # Arrow's strptime takes the year 24 for %Y, and more
            out[name] = kind
        return out

    def _plain_nulls(self) -> set[str]:
        """What Arrow is to take as missing; in columns of texts, too, where there are any."""
        has_text = not all(_is_typed(kind) for kind in self._types().values())
        return {*(self.dialect.null_values or ()), *(() if has_text else KNOWN_NULLS)}

    def _with_texts(self, table: pa.Table, data: Callable[[], bytes | memoryview]) -> pa.Table:
        """The table with those texts that are missing values among numbers only.

        Parameters
        ----------
        data : gives the records that it was made of
        """
        dialect = self.dialect
        if self._plain_nulls() <= {*dialect.text_nulls}:
            return table
        kinds, types = dialect.types or {}, self._types()
        lost = {
            name: types[name]
            for name in table.column_names
            if table[name].null_count
            and (name in self._keys or kinds.get(name, "string") == "string")
        }
        if lost:
            again = read_table(data(), lost, dialect, nulls=dialect.text_nulls)
            for name in lost:
                table = table.set_column(table.column_names.index(name), name, again[name])
        return table

    def _parse_texts(self, block: Block, records: Records, which: np.ndarray) -> BlockRows:
        """All columns of some records (bool, shape (n,)) as texts.

        Those that do not even have the right fields are refused.
        """
        dialect = self.dialect
        own = np.flatnonzero(which)
        some = records if which.all() else Records(records.joined(which), dialect)
        is_bad = np.zeros(len(some), bool)
        refusals = []
        for is_it, why in (
            (some.undecodable(), "is not valid UTF-8"),
            (some.open_quotes(), "a quote is open"),
            (some.lone_returns(), "a carriage return stands alone in it"),
        ):
            at = own[np.flatnonzero(is_it & ~is_bad)]
            refusals.append(refusal_of(block, records, at, why))
            is_bad |= is_it
        kept = own[~is_bad]
        data = some.joined(~is_bad)
        if dialect.delimiter == " ":
            data = collapse_spaces(data, dialect.quote or "")
        ragged: dict[int, list[int]] = {}

        def on_invalid(row: Any) -> str:
            ragged.setdefault(row.actual_columns, []).append(row.number - 1)
            return "skip"

        texts = dict.fromkeys(self._columns, pa.string())
        nulls = dialect.text_nulls
        table = read_table(data, texts, dialect, nulls=nulls, on_invalid=on_invalid)
        n_fields = len(dialect.names or ())
        is_ragged = np.zeros(len(kept), bool)
        for n, numbers in ragged.items():
            is_ragged[numbers] = True
            why = f"has {n} fields, not {n_fields}"
            refusals.append(refusal_of(block, records, kept[numbers], why))
        kept = kept[~is_ragged]
        if len(kept) != table.num_rows:
            raise FrameError(
                f"{self._file.name}, lines {block.line:,} to {block.end_line - 1:,}: "
                f"{len(kept):,} records were parsed as {table.num_rows:,}",
                hint=Hint(
                    Choice(csv={"newlines_in_values": not dialect.newlines_in_values}),
                    " or another quote may be right",
                ),
            )
        return BlockRows(table, kept, [r for r in refusals if len(r.lines)])

    # --- texts into values -----------------------------------------------------------------------

    def _convert(self, block: Block, rows: BlockRows, records: Records | None) -> None:
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
            at = rows.table.column_names.index(name)
            if name in self._keys:  # as Arrow gives them at once
                rows.table = rows.table.set_column(at, name, column.dictionary_encode())
            if kind == "string":
                continue
            if kind is None:  # nothing yet that would tell its type
                rows.table = rows.table.set_column(at, name, pa.nulls(rows.table.num_rows))
                continue
            texts = _flat(column)
            if name == self.time and kind == "timestamp":
                parsed = times_of(trim(texts, (*nulls, *KNOWN_NULLS)), dialect)
            else:
                decimal, thousands = dialect.decimal, dialect.thousands or ""
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
            if parsed.is_bad.any():
                why = f"column {name!r} {parsed.why}"
                rows.table = rows.table.set_column(at, name, parsed.values)
                if records is None:
                    records = Records(block.data, dialect)
                bad = rows.drop(parsed.is_bad)
                rows.refusals.append(refusal_of(block, records, bad, why))
            else:
                rows.table = rows.table.set_column(at, name, parsed.values)

    def _settle(self, name: str, texts: pa.Array) -> str | None:
        """The type of a column that the sample had nothing of: its first values decide."""
        found = trim(texts, (*(self.dialect.null_values or ()), *KNOWN_NULLS))
        kind = type_of_texts(found, self.dialect)
        if kind is not None:
            self.dialect = self.dialect.with_types({name: kind})
        return kind

    def _drop_blank(self, rows: BlockRows) -> list[str]:
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


def _apart(names: Sequence[str]) -> list[str]:
    """Names of which none occurs twice: a later one has its number."""
    found: list[str] = []
    for name in names:
        n = names[: len(found)].count(name)
        found.append(f"{name}_{n + 1}" if n and name else name)
    return found


def times_of(texts: pa.Array, dialect: CsvDialect) -> Parsed:
    """Times as the dialect says they are written; null where missing."""
    form = dialect.time_format or "iso8601"
    if form == "iso8601":
        with suppress(pa.ArrowInvalid):  # one of them has another form, or more digits
            return Parsed(texts.cast(time_type(dialect)), np.zeros(len(texts), bool), "")
    return parse_times(texts, form, has_offset=dialect.has_offset)


def time_type(dialect: CsvDialect) -> pa.DataType:
    """The type of times in ISO 8601 that are written so."""
    unit = _UNIT.get(dialect.fraction_digits or 0, "ns")
    return pa.timestamp(unit, "UTC" if dialect.has_offset else None)


def _is_typed(kind: pa.DataType) -> bool:
    return not (pa.types.is_string(kind) or pa.types.is_dictionary(kind))


def _flat(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
