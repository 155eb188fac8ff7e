"""JSON lines as frames: objects one after the other, which may span lines, or share one.

A text stays a text, whatever it looks like, except in the column of times and where a type is said
for it: by the user, by the server, or by other files. Where STRING is said, a number is the text
that it is written as. A block of objects is parsed at once by
Arrow; where one of them does not fit, the block is halved until that one is found.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pajson

from iotdb_frames.errors import Choice, FrameError, Hint
from iotdb_frames.files.csv.cells import MOST_EXACT, parse, trim
from iotdb_frames.files.csv.dialect import KNOWN_NULLS, CsvDialect
from iotdb_frames.files.csv.infer_times import infer_time
from iotdb_frames.files.csv.reader import JOINED, times_of
from iotdb_frames.files.csv.times import Parsed
from iotdb_frames.files.json_objects import (
    Cut,
    Objects,
    cut_objects,
    end_of_object,
    what_is_wrong,
)
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
)
from iotdb_frames.files.sources import EmptyFile, SourceFile

_BLOCK_BYTES = 1 << 20
_LOOKED_AT = 256
"""Objects of a block whose types are looked at one by one, where the block cannot be parsed."""
_LINE, _TEXT, _WHY = "\0line", "\0text", "\0why"
"""Columns beside those of the file: each row's line, and of a refused one its text, and why."""
_HIDDEN = pa.schema([(_LINE, pa.int64()), (_TEXT, pa.string()), (_WHY, pa.string())])
_NOT_EXACT = (
    "has a whole number that DOUBLE does not hold exactly, in a column of fractions or of numbers "
    "beyond 64 bits"
)
_OUT_OF_ARRAY = (  # jq 1.6 rounds long whole numbers
    'take its objects out of the array: python -c "import json; print(*map(json.dumps, '
    "json.load(open('old.json', 'rb'))), sep='\\n', file=open('new.jsonl', 'w'))\""
)
_CSV_KIND = {pa.string(): "string", pa.int64(): "int64", pa.float64(): "double"}
_CSV_KIND |= {pa.bool_(): "bool"}
_UNREADABLE = (pa.ArrowInvalid, UnicodeError)


class JsonPiece(Piece):
    """A unit of a JSON file: it knows the lines of its rows."""

    def __init__(self, start: int, lines: np.ndarray, data: pa.Table, **values: Any) -> None:
        super().__init__(start, start + len(lines), data, **values)
        self._lines = lines
        self.line, self.end_line = int(lines[0]), int(lines[-1]) + 1

    def lines(self, positions: np.ndarray) -> np.ndarray:
        return np.asarray(self._lines[positions if self.rows is None else self.rows[positions]])


class JsonReader:
    """A JSON-lines file; its dialect says what its texts are.

    Parameters
    ----------
    dialect : types by label, and how times are written; None: found out from a sample
    """

    def __init__(
        self, file: SourceFile, options: FileOptions, dialect: CsvDialect | None = None
    ) -> None:
        self._file = file
        self._options = options
        self.shaper = Shaper(file, options)
        with reading(file):
            types = (options.csv if dialect is None else dialect).types or {}
            self._as_text = [
                name
                for name, kinds in self._seen.items()
                if types.get(name) == "string" and any(map(_is_scalar, kinds))
            ]
            self._quotes = _quotes(self._as_text)
            if not len(self._stored):
                raise self._nothing()
            self.dialect = self._infer() if dialect is None else dialect
        times = self.dialect.time_columns or ()
        self._parts = set(times) if len(times) > 1 else set()
        self.time = JOINED if self._parts else (times[0] if times else options.time)
        plain = [name for name in self._stored.names if name not in self._parts]
        wanted = {*self.shaper.stored(plain, self.time), *self._parts}
        self._schema = pa.schema([field for field in self._stored if field.name in wanted])

    def sample(self) -> pa.Table:
        """Some rows, as `pieces` would give them."""
        for piece in self.pieces([(0, None, 0)]):
            return piece.data.slice(0, SAMPLE_ROWS)
        empty, _ = self._convert(self._schema.empty_table())
        return self.shaper.shape(empty)[0]

    def pieces(self, ranges: Iterable[Range]) -> Iterator[Piece]:
        schema = pa.schema([*self._schema, *_HIDDEN])
        batches = (b for text, line in self._texts() for b in self._parse(text, line).to_batches())
        rows = Rows(batches, schema)
        for start, table in rows.over(ranges, n_bytes=self._options.unit_bytes, file=self._file):
            yield self._piece(start, table)

    def _piece(self, start: int, table: pa.Table) -> Piece:
        n_bytes, lines = table.nbytes, table[_LINE].to_numpy()
        why, texts = table[_WHY].combine_chunks(), table[_TEXT].combine_chunks()
        at = np.flatnonzero(np.asarray(why.is_null()))
        refusals = []
        for reason in why.unique().drop_null():
            bad = np.flatnonzero(np.asarray(pc.equal(why, reason).fill_null(False)))
            told = texts.take(pa.array(bad))
            refusals.append(
                Refusal(lines[bad], told, reason.as_py(), hint=self._both(reason.as_py()))
            )
        table = table.drop_columns(_HIDDEN.names)
        if len(at) < len(lines):
            table = table.take(pa.array(at))
        data, unfit = self._convert(table)
        is_bad = np.zeros(len(data), bool)
        for name, parsed in unfit.items():
            bad = np.flatnonzero(parsed.is_bad & ~is_bad)
            is_bad |= parsed.is_bad
            own, reason = table.take(pa.array(bad)), f"column {name!r} {parsed.why}"
            refusals.append(Refusal(lines[at[bad]], None, reason, own=own))
        if unfit:
            data, at = data.filter(pa.array(~is_bad)), at[~is_bad]
        data, kept = self.shaper.shape(data)
        piece = JsonPiece(
            start,
            lines,
            data,
            n_bytes=n_bytes,
            digest=schema_digest(data.schema),
            rows=at if kept is None else at[kept],
            refusals=[r for r in refusals if len(r.lines)],
        )
        return self.shaper.checked(piece, self.time)

    def _both(self, reason: str) -> Hint | None:
        """What takes the numbers and the texts of the field that a reason names."""
        for name in self._seen:
            if repr(name) in reason and self._is_mixed(name):
                return Hint(Choice(schema={name: "STRING"}), " takes all of it as texts")
        return None

    def _is_mixed(self, name: str) -> bool:
        """Whether a field has texts, and numbers or flags."""
        return bool(self._seen[name][pa.string()]) and any(map(_is_scalar, self._seen[name]))

    # --- what its columns are --------------------------------------------------------------------

    @cached_property
    def _stored(self) -> pa.Schema:
        """The fields of all objects: of each the type that most of its values have, or was said."""
        fields = ((name, _type_of(kinds)) for name, kinds in self._seen.items())
        return pa.schema([(n, pa.string() if n in self._as_text else kind) for n, kind in fields])

    @cached_property
    def _seen(self) -> dict[str, Counter[pa.DataType]]:
        """How many values of each field have which type."""
        seen: dict[str, Counter[pa.DataType]] = {}
        for text, _ in self._texts():
            for schema, n_rows in _schemas(text):
                for field in schema:
                    seen.setdefault(field.name, Counter())[_plain(field.type)] += n_rows
        return seen

    def _nothing(self) -> FrameError:
        """The error of a file without a field."""
        if (first := next(self._texts(), None)) is None:
            return EmptyFile(self._file.name)
        number, start, stop = cut_objects(first[0])[0]
        why = what_is_wrong(first[0][start:stop], self._stored) or "has no field"
        return FrameError(
            f"{self._file.name} has no object that can be read: line {first[1] + number} {why}"
        )

    def _infer(self) -> CsvDialect:
        dialect, stored = self._options.csv, self._stored
        kinds = {f.name: _CSV_KIND[f.type] for f in stored if f.type in _CSV_KIND}
        self._schema = stored
        samples = (self._parse(*block) for block in self._texts())
        good = (s for s in samples if s[_WHY].null_count)
        sample = next(good, self._schema.empty_table()).slice(0, SAMPLE_ROWS)
        found = {n: trim(_flat(sample[n].cast(pa.string())), KNOWN_NULLS) for n in kinds}
        # Of a field of texts and others nothing is said yet: the fewer are refused.
        plain = {n: kind for n, kind in kinds.items() if not self._is_mixed(n)}
        types = {**plain, **(dialect.types or {})}
        dialect = replace(dialect, names=tuple(stored.names), types=types)
        return infer_time(self._file.name, dialect, found, self._options)

    def _convert(self, table: pa.Table) -> tuple[pa.Table, dict[str, Parsed]]:
        """Texts as what the dialect says, and what of them does not fit, by label."""
        dialect, unfit = self.dialect, {}
        nulls = (*(dialect.null_values or ()), *KNOWN_NULLS)
        if self._parts:
            parts = [trim(_text(table[n]), nulls) for n in dialect.time_columns or ()]
            table = table.drop_columns(sorted(self._parts))
            table = table.append_column(JOINED, pc.binary_join_element_wise(*parts, " "))
        for at, name in enumerate(table.column_names):
            kind = (dialect.types or {}).get(name, "string")
            stored = table.schema.field(name).type
            is_text, is_whole = stored == pa.string(), stored == pa.int64()
            if name == self.time and dialect.time_format is not None:
                parsed = times_of(trim(_text(table[name]), nulls), dialect)
            elif (is_text and kind != "string") or (is_whole and kind == "timestamp"):
                parsed = parse(
                    _text(table[name]),
                    kind,
                    nulls=nulls,
                    decimal=dialect.decimal or ".",
                    thousands=dialect.thousands or "",
                    is_lossy=self._options.is_lossy,
                    time_unit=self._options.time_unit,
                )
            else:
                continue
            table = table.set_column(at, name, parsed.values)
            if parsed.is_bad.any():
                unfit[name] = parsed
        return table, unfit

    # --- its objects -----------------------------------------------------------------------------

    def _texts(self) -> Iterator[tuple[bytes, int]]:
        """The file in blocks of whole objects, and the line each begins in, from 1.

        Raises
        ------
        FrameError : it does not begin with an object.
        """
        file = self._file
        rest, line, is_first = b"", 1, True
        with file.filesystem.open_input_stream(file.path, compression=file.compression) as source:
            while more := source.read(_BLOCK_BYTES):
                rest += more
                if is_first:
                    begun = rest.removeprefix(b"\xef\xbb\xbf").lstrip()
                    line += rest.count(b"\n") - begun.count(b"\n")
                    rest, is_first = begun, not begun
                    if rest and rest[:1] != b"{":
                        raise FrameError(
                            f"{file.name} does not begin with a JSON object",
                            hint=_OUT_OF_ARRAY
                            if rest[:1] == b"["
                            else "objects one after the other, in UTF-8",
                        )
                if cut := end_of_object(rest):
                    yield rest[:cut], line
                    line, rest = line + rest.count(b"\n", 0, cut), rest[cut:]
        if rest.strip():
            yield rest, line

    def _parse(self, text: bytes, line: int) -> pa.Table:
        """The rows of a block, with the columns beside them."""
        try:
            return self._beside(text, line, self._read(text))
        except _UNREADABLE:
            return pa.concat_tables(self._halves(text, line, cut_objects(text)))

    def _read(self, text: bytes) -> pa.Table:
        return _read(self._quotes(text), self._schema)

    def _halves(self, text: bytes, line: int, cuts: Sequence[Cut]) -> list[pa.Table]:
        first, some = line + cuts[0][0], text[cuts[0][1] : cuts[-1][2]]
        try:
            return [self._beside(some, first, self._read(some))]
        except _UNREADABLE as exc:
            if len(cuts) > 1:
                half = len(cuts) // 2
                return [
                    part for c in (cuts[:half], cuts[half:]) for part in self._halves(text, line, c)
                ]
            told = some.decode("utf-8", "backslashreplace")
            beside = (
                [first],
                [told],
                [what_is_wrong(self._quotes(some), self._schema) or f"cannot be read: {exc}"],
            )
            columns = [pa.nulls(1, field.type) for field in self._schema]
            columns += [pa.array(v, f.type) for v, f in zip(beside, _HIDDEN, strict=True)]
            return [pa.table(columns, schema=pa.schema([*self._schema, *_HIDDEN]))]

    def _beside(self, text: bytes, line: int, table: pa.Table) -> pa.Table:
        n_rows = table.num_rows
        objects = Objects(text, n_rows)
        told = np.full(n_rows, None, object)
        if not self._options.is_lossy:
            for at in _rounded(table, objects).tolist():
                told[at] = objects.texts[at]
        texts = pa.array(told, pa.string())
        why = pc.if_else(texts.is_valid(), _NOT_EXACT, pa.scalar(None, pa.string()))
        table = table.append_column(_LINE, pa.array(objects.lines + line))
        return table.append_column(_TEXT, texts).append_column(_WHY, why)


def _read(text: bytes, schema: pa.Schema | None) -> pa.Table:
    """Objects as a table: with a schema its columns, and what else is there is passed over."""
    str(text, "utf-8")  # Arrow does not look
    table = pajson.read_json(
        pa.py_buffer(text),
        read_options=pajson.ReadOptions(use_threads=False, block_size=len(text) + 1),
        parse_options=pajson.ParseOptions(
            explicit_schema=schema,
            unexpected_field_behavior="infer" if schema is None else "ignore",
        ),
    )
    return table.combine_chunks()


def _schemas(text: bytes) -> Iterator[tuple[pa.Schema, int]]:
    """Types of a block's columns, and for how many rows they stand."""
    try:
        table = _read(text, None)
        yield table.schema, table.num_rows
    except _UNREADABLE:
        cuts = cut_objects(text)
        step = -(-len(cuts) // _LOOKED_AT)
        for _, start, stop in cuts[::step]:
            try:
                yield _read(text[start:stop], None).schema, step
            except _UNREADABLE:
                continue


def _is_scalar(kind: pa.DataType) -> bool:
    """Whether a value of it is no text, and has one."""
    return bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    )


def _quotes(names: Sequence[str]) -> Callable[[bytes], bytes]:
    """What puts the numbers, true and false of some fields between quotes.

    A quote between ``{`` or a comma and a name begins that name: a text holds no bare one.
    """
    if not names:
        return lambda text: text
    keys = "|".join(re.escape(json.dumps(name, ensure_ascii=False)) for name in names)
    field = rf"([{{,]\s*(?:{keys})\s*:\s*)(-?\d[\d.eE+-]*|true|false)(?=\s*[,}}])"
    pattern = re.compile(field.encode())
    return lambda text: pattern.sub(rb'\1"\2"', text)


def _plain(kind: pa.DataType) -> pa.DataType:
    """A text is a text: Arrow takes it for a time where it looks like one."""
    return pa.string() if pa.types.is_timestamp(kind) else kind


def _type_of(kinds: Counter[pa.DataType]) -> pa.DataType:
    """The type that most values have; whole numbers among fractions are such."""
    known = Counter({kind: n for kind, n in kinds.items() if not pa.types.is_null(kind)})
    if known[pa.float64()] and known[pa.int64()]:
        known[pa.float64()] += known.pop(pa.int64())
    return known.most_common(1)[0][0] if known else pa.null()


def _rounded(table: pa.Table, objects: Objects) -> np.ndarray:
    """Objects with a whole number that its column of fractions would round: which they are."""
    floats = [f.name for f in table.schema if pa.types.is_float64(f.type)]
    is_far = np.zeros(table.num_rows, bool)
    for name in floats:
        far = pc.greater_equal(pc.abs(table[name]), float(MOST_EXACT["double"]))
        is_far |= np.asarray(far.fill_null(False))
    found = []
    for at in np.flatnonzero(is_far).tolist():  # only numbers of 16 digits and more
        values = json.loads(objects.texts[at], parse_int=Decimal)  # an int has a limit of digits
        wholes = (v for n in floats if isinstance(v := values.get(n), Decimal))
        if any(Decimal(float(v)) != v for v in wholes):
            found.append(at)
    return np.array(found, np.int64)


def _flat(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)


def _text(column: pa.ChunkedArray) -> pa.Array:
    return _flat(column.cast(pa.string()))
