"""Files of one kind: the form of one is tried on the next, whose own sample has to confirm it.

Confirmed is what would have been found out of the sample itself, and with less work: the header
stands where it stood, each cell is of its column's type and of no other, and dates and decimal
marks have one reading in this file, too. Where anything is open the file is looked at by itself.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from iotdb_frames.errors import FrameError
from iotdb_frames.files.csv.cells import trim
from iotdb_frames.files.csv.dialect import KNOWN_NULLS, CsvDialect
from iotdb_frames.files.csv.infer_lines import split
from iotdb_frames.files.csv.infer_numbers import MOSTLY, find_marks
from iotdb_frames.files.csv.infer_times import (
    joined_times,
    looks_like_times,
    other_order,
    share,
)
from iotdb_frames.files.csv.infer_types import (
    as_texts,
    count_type,
    find_sentinels,
    is_number_kind,
    plain_numbers,
    type_of_texts,
)
from iotdb_frames.files.csv.reader import time_type
from iotdb_frames.files.csv.times import parse_times
from iotdb_frames.files.options import FileOptions

_MOST = 8
_INT = r"^[+-]?(?:0|[1-9]\d{0,17})$"
_NUMBER = r"^[+-]?(?:(?:0|[1-9]\d{0,17})(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?$"
_WORD, _WORDY = r"^[^\d]*$", r"(?i)^(?:true|false|[+-]?inf(?:inity)?|nan)$"


@dataclass(frozen=True)
class _Form:
    """What was found out of a file.

    top : its lines above the data
    """

    dialect: CsvDialect
    top: tuple[str, ...]

    def has_top(self, lines: Sequence[str]) -> bool:
        """Whether a file has the same names in the same line, and the same lines below them.

        What loggers say above the header (a serial number, a day) differs from file to file.
        """
        dialect = self.dialect
        top = lines[: len(self.top)]
        skip = dialect.skip_lines or 0 if dialect.header else 0
        if len(top) < len(self.top) or tuple(top[skip:]) != self.top[skip:]:
            return False
        if not dialect.header:
            return True
        # Where a line above has as many fields, it may be a header, too.
        fields = split([*top[: skip + 1]], dialect.delimiter or ",", dialect.quote or "")
        if len(fields) != skip + 1:
            return False
        width = len(fields[skip])
        return all(
            line == own or len(row) < width
            for line, own, row in zip(top, self.top, fields, strict=False)
        )


class Forms:
    """The forms that were found out, the last used first."""

    def __init__(self) -> None:
        self._known: list[_Form] = []

    def __len__(self) -> int:
        return len(self._known)

    def keep(self, dialect: CsvDialect, lines: Sequence[str]) -> None:
        """Try this form, too, from now on."""
        form = _Form(dialect, tuple(lines[: dialect.n_top_lines]))
        self._known = [form, *self._known[: _MOST - 1]]

    def confirmed(
        self, encoding: str, lines: Sequence[str], spots: Sequence[str], options: FileOptions
    ) -> CsvDialect | None:
        """The dialect that a sample confirms, with what may differ from file to file its own.

        Parameters
        ----------
        lines, spots : the sample's head, and whole lines from places further on
        """
        for form in self._known:
            if form.dialect.encoding != encoding or not form.has_top(lines):
                continue
            text = "\n".join(lines[len(form.top) :]) + "\n"
            dialect = _confirmed(form.dialect, [text, *spots], options)
            if dialect is not None:
                self._known.remove(form)
                self._known.insert(0, form)
                return dialect
        return None


def _confirmed(
    dialect: CsvDialect, texts: Sequence[str], options: FileOptions
) -> CsvDialect | None:
    quote = dialect.quote
    if quote and any(quote in text for text in texts):
        lines = (line for text in texts for line in text.split("\n"))
        if dialect.newlines_in_values or any(line.count(quote) % 2 for line in lines):
            return None
    ragged: list[object] = []
    columns = as_texts(dialect, texts, ragged)
    if ragged or not columns or not len(next(iter(columns.values()))):
        return None
    found = {name: trim(column, dialect.null_values or ()) for name, column in columns.items()}
    if not _times_agree(dialect, found, options):
        return None
    types, given = dialect.types or {}, options.csv.types or {}
    others = {*(dialect.time_columns or ()), *given, *options.keys}
    numbers = {n: c for n, c in found.items() if n not in others and is_number_kind(types.get(n))}
    is_words = True
    for name, column in found.items():
        if name not in others and name not in numbers:
            is_words &= _all_match(column, _WORD)
            if not _is_of(name, types.get(name), column, dialect):
                return None
    # Beside commas a point is the decimal mark, and numbers of another form fit no pattern.
    is_plain = dialect.delimiter == "," and (dialect.decimal, dialect.thousands) == (".", "")
    if not (is_plain and is_words) and not _marks_agree(dialect, found, others, options.csv):
        return None
    for name, column in numbers.items():
        pattern = _INT if types[name] == "int64" else _NUMBER
        if not _all_match(plain_numbers(column, dialect), pattern):
            return None
    if options.csv.sentinels is None:
        dialect = replace(dialect, sentinels=find_sentinels(found, dialect))
    return dialect


def _all_match(texts: pa.Array, pattern: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(texts, pattern)).as_py() is not False)


def _is_of(name: str, kind: str | None, column: pa.Array, dialect: CsvDialect) -> bool:
    """Whether a column that holds no numbers has this type, and no other; None: it is empty."""
    texts = trim(column, KNOWN_NULLS)
    if kind is None or texts.null_count == len(texts):
        return column.null_count == len(column)  # type: ignore[no-any-return]
    if kind == "string" and _all_match(texts, _WORD) and share(texts, _WORDY) < MOSTLY:
        return True
    return type_of_texts(texts, dialect) == kind and not looks_like_times(name, texts)


def _times_agree(dialect: CsvDialect, found: Mapping[str, pa.Array], options: FileOptions) -> bool:
    """Whether all times are written so, and could not be read with day and month exchanged."""
    columns, form = dialect.time_columns or (), dialect.time_format
    if any(name not in found for name in columns):
        return False
    texts = joined_times(columns, found)
    if not len(texts):
        return False
    if form is None or options.time_unit is not None:
        return count_type(texts) == (dialect.types or {}).get(columns[0]) and _all_match(
            texts, r"^[+-]?\d{1,18}(?:[.,]\d+)?$"
        )
    if form == "iso8601":
        try:
            texts.cast(time_type(dialect))
        except pa.ArrowInvalid:
            return False
        return True
    if parse_times(texts, form, has_offset=dialect.has_offset).is_bad.any():
        return False
    given, other = options.csv, other_order(form)
    if other is None or given.day_first is not None or given.time_format is not None:
        return True
    return bool(parse_times(texts, other).is_bad.any())


def _marks_agree(
    dialect: CsvDialect,
    found: Mapping[str, pa.Array],
    others: Collection[object],
    given: CsvDialect,
) -> bool:
    """Whether the numbers of this file show the same marks by themselves."""
    columns = {n: trim(c, KNOWN_NULLS) for n, c in found.items() if n not in others}
    open_ = replace(dialect, decimal=given.decimal, thousands=given.thousands)
    try:
        decimal, thousands = find_marks("", columns, open_)
    except FrameError:
        return False
    return decimal == dialect.decimal and thousands in (dialect.thousands, "")
