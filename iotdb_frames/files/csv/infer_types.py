"""What the columns of a CSV sample hold: types, missing values and stand-ins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from iotdb_frames.files.csv.cells import FLOAT, normal_numbers, trim
from iotdb_frames.files.csv.dialect import KNOWN_NULLS, CsvDialect
from iotdb_frames.files.csv.infer_numbers import MOSTLY, find_marks, is_address
from iotdb_frames.files.csv.infer_times import infer_time, share
from iotdb_frames.files.csv.records import collapse_spaces
from iotdb_frames.files.csv.times import parse_times
from iotdb_frames.files.options import FileOptions

_CANDIDATES: tuple[float, ...] = (
    *(-200.0, -99.0, -99.9, -99.99, -999.0, -999.9, -999.99, -9900.0, -9999.0, -9999.9, -99999.0),
    *(99.0, 99.9, 99.99, 999.0, 999.9, 9999.0, 9999.9, 99999.0, -32768.0, 1e20, -1e20),
)
_FAR, _NEAR = 0.2, 0.05
"""How far a stand-in is from all values, as a part of their range; near: another column has it."""
_HEAD = 256
"""Texts that tell mostly as much as all."""
_PLAIN_INT = r"^[+-]?(?:0|[1-9]\d{0,17})$"


def infer_columns(
    name: str, dialect: CsvDialect, texts: Sequence[str], options: FileOptions
) -> CsvDialect:
    """The dialect with the marks of numbers, types, missing values and time filled in.

    Parameters
    ----------
    texts : the sample, in whole lines, without the header
    """
    columns = as_texts(dialect, texts)
    known = (*(dialect.null_values or ()), *KNOWN_NULLS)
    others = {*_labels(options, dialect), *_named_texts(dialect)}
    numbers = {n: trim(c, known) for n, c in columns.items() if n not in others}
    decimal, thousands = find_marks(name, numbers, dialect)
    dialect = replace(dialect, decimal=decimal, thousands=thousands)
    nulls = dialect.null_values
    if nulls is None:
        nulls = _null_spellings(columns, dialect)
        is_in_texts = bool(dialect.nulls_in_texts)  # NA is Namibia, too
        dialect = replace(dialect, null_values=nulls, nulls_in_texts=is_in_texts)
    found = {n: trim(c, (*nulls, *KNOWN_NULLS)) for n, c in columns.items()}
    dialect = infer_time(name, dialect, found, options)
    times = dialect.time_columns or ()
    kinds = {n: type_of_texts(values, dialect) for n, values in found.items() if n not in times}
    types = {n: kind for n, kind in kinds.items() if kind is not None}
    if len(times) == 1:
        types[times[0]] = "timestamp" if dialect.time_format else count_type(found[times[0]])
    types.update(dialect.types or {})
    dialect = replace(dialect, types=types)
    if dialect.sentinels is None:
        dialect = replace(dialect, sentinels=find_sentinels(found, dialect))
    return dialect


def _labels(options: FileOptions, dialect: CsvDialect) -> set[Any]:
    """Columns that are known to hold times, or what tells devices apart."""
    return {options.time, *options.keys, *(dialect.time_columns or ())}


def _named_texts(dialect: CsvDialect) -> set[str]:
    """Columns that are said to hold no numbers."""
    kinds = dialect.types or {}
    return {n for n, kind in kinds.items() if not is_number_kind(kind)}


def is_number_kind(kind: str | None) -> bool:
    """Whether a type of `CsvDialect` is one of numbers."""
    return kind in ("int64", "double", "float")


def count_type(times: pa.Array) -> str:
    """The type of times that are numbers: those with a fraction are exact as decimals."""
    return "decimal" if share(times, r"^[+-]?\d+[.,]\d") > 0 else "int64"


def as_texts(
    dialect: CsvDialect, texts: Sequence[str], ragged: list[Any] | None = None
) -> dict[str, pa.Array]:
    """The columns of the sample's records that have the right number of fields, all as texts.

    Parameters
    ----------
    ragged : takes the other records
    """

    def on_invalid(row: Any) -> str:
        if ragged is not None:
            ragged.append(row)
        return "skip"

    names = [n or f"\0{i}" for i, n in enumerate(dialect.names or ())]
    named = [n for n in dict.fromkeys(names) if not n.startswith("\0")]
    tables = []
    for text in texts:
        quote = dialect.quote
        if quote and quote in text and not dialect.newlines_in_values:
            lines = text.split("\n")  # an open quote would take the rest
            text = "\n".join(line for line in lines if line.count(quote) % 2 == 0)
        data = text.encode("utf-8", "replace")
        if dialect.delimiter == " ":
            data = collapse_spaces(data, dialect.quote or "")
        if not data.strip():
            continue
        tables.append(
            pacsv.read_csv(
                pa.py_buffer(data),
                read_options=pacsv.ReadOptions(
                    use_threads=False, block_size=len(data) + 1, column_names=names
                ),
                parse_options=pacsv.ParseOptions(
                    delimiter=dialect.delimiter,
                    quote_char=dialect.quote or False,
                    newlines_in_values=True,
                    invalid_row_handler=on_invalid,
                ),
                convert_options=pacsv.ConvertOptions(
                    column_types=dict.fromkeys(names, pa.string()),
                    include_columns=named,
                    strings_can_be_null=False,
                ),
            )
        )
    if not tables:
        return {n: pa.array([], pa.string()) for n in named}
    joined = pa.concat_tables(tables)
    return {n: joined[n].combine_chunks() for n in named}


def _null_spellings(columns: Mapping[str, pa.Array], dialect: CsvDialect) -> tuple[str, ...]:
    """Known spellings of a missing value, where they stand among numbers or times, or alone."""
    seen: Counter[str] = Counter()
    for column in columns.values():
        texts = pc.utf8_trim_whitespace(column)
        is_null = pc.is_in(texts, value_set=pa.array(KNOWN_NULLS))
        if not pc.any(is_null).as_py():
            continue
        rest = texts.filter(pc.invert(is_null))
        looks = share(plain_numbers(rest, dialect), FLOAT) >= MOSTLY or share(rest, r"^\d.*\d") >= 1
        if looks or not len(rest):
            seen.update(pc.unique(texts.filter(is_null)).to_pylist())
    return tuple(sorted(seen - Counter({"": seen[""]})))


def plain_numbers(texts: pa.Array, dialect: CsvDialect) -> pa.Array:
    return normal_numbers(texts, decimal=dialect.decimal or ".", thousands=dialect.thousands or "")


def type_of_texts(texts: pa.Array, dialect: CsvDialect) -> str | None:
    """A column's type; None where nothing of it is there."""
    if texts.null_count == len(texts):
        return None
    numbers = plain_numbers(texts, dialect)
    if share(numbers, FLOAT) >= MOSTLY and not is_address(texts):
        if _are_plain_ints(numbers.slice(0, _HEAD)) and _are_plain_ints(numbers):
            return "int64"
        # 007 is a name, and 18 digits and more are, too: as numbers they would change.
        return "string" if share(numbers, r"^[+-]?(?:0\d|\d{19,}$)") > 0 else "double"
    if share(pc.utf8_lower(texts), r"^(?:true|false)$") == 1:
        return "bool"
    if share(texts, r"^\d{4}-\d\d-\d\d$") == 1 and not parse_times(texts, "iso8601").is_bad.any():
        return "date32"
    if share(texts, r"^\d{4}-\d\d-\d\d[T ]") == 1:
        return "string" if parse_times(texts, "iso8601").is_bad.any() else "timestamp"
    return "string"


def _are_plain_ints(numbers: pa.Array) -> bool:
    """Whether what is a number is a whole one."""
    return share(numbers, _PLAIN_INT) == share(numbers, FLOAT)


def find_sentinels(
    found: Mapping[str, pa.Array], dialect: CsvDialect
) -> dict[str, tuple[float, ...]]:
    """Known stand-ins for a missing value: repeated, at an end, and far from all other values.

    Parameters
    ----------
    found : the columns of a sample, as texts, null where missing
    """
    values: dict[str, np.ndarray] = {}
    for label, kind in (dialect.types or {}).items():
        is_time = label in (dialect.time_columns or ())
        if not is_number_kind(kind) or is_time or label not in found:
            continue
        texts = plain_numbers(found[label], dialect)
        fits = pc.match_substring_regex(texts, FLOAT)
        plain = pc.if_else(fits, pc.utf8_ltrim(texts, "+"), None).drop_null().cast(pa.float64())
        finite = np.asarray(plain)[np.isfinite(plain)]
        if len(finite):
            values[label] = finite
    ends = {end for some in values.values() for end in (float(some.min()), float(some.max()))}
    used = [
        c
        for c in ends.intersection(_CANDIDATES)
        if any(_stands_out(some, c, by=_FAR) for some in values.values())
    ]
    out: dict[str, tuple[float, ...]] = {}
    for label, some in values.items():
        # What one column of a file uses, the others use, too, though their values may be nearer.
        if taken := [c for c in used if _stands_out(some, c, by=_NEAR)]:
            out[label] = tuple(sorted(taken, key=_CANDIDATES.index))
    return out


def _stands_out(values: np.ndarray, candidate: float, *, by: float) -> bool:
    is_it = values == candidate
    rest = values[~is_it]
    if np.count_nonzero(is_it) < 3 or len(rest) < 3:
        return False
    low, high = float(rest.min()), float(rest.max())
    if low <= candidate <= high:
        return False
    gap = low - candidate if candidate < low else candidate - high
    return gap > by * max(high - low, 1e-9)
