"""What the columns of a CSV sample hold: types, missing values, and the time with its form."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from iotdb_frames.display.card import shorten
from iotdb_frames.errors import Choice, FrameError, Hint
from iotdb_frames.files.csv.cells import FLOAT, normal_numbers, parse_times, trim
from iotdb_frames.files.csv.dialect import KNOWN_NULLS, CsvDialect
from iotdb_frames.files.csv.infer_numbers import MOSTLY, find_marks, is_address
from iotdb_frames.files.csv.records import collapse_spaces
from iotdb_frames.files.options import FileOptions

_CANDIDATES: tuple[float, ...] = (
    *(-200.0, -99.0, -99.9, -99.99, -999.0, -999.9, -999.99, -9900.0, -9999.0, -9999.9, -99999.0),
    *(99.0, 99.9, 99.99, 999.0, 999.9, 9999.0, 9999.9, 99999.0, -32768.0, 1e20, -1e20),
)
_FAR, _NEAR = 0.2, 0.05
"""How far a stand-in is from all values, as a part of their range; near: another column has it."""
_PARTS = (
    ("YY", "YYYY", "yyyy", "yy", "Year", "year", "yr"),
    ("MM", "mm", "Month", "month", "mo", "mon"),
    ("DD", "dd", "Day", "day", "dy"),
    ("hh", "HH", "Hour", "hour", "hr"),
    ("mm", "MI", "mi", "MN", "Minute", "minute", "min", "mn"),
    ("ss", "SS", "Second", "second", "sec"),
)
_CLOCK = r"^\d{1,2}(?::\d{2}(?::\d{2})?|\.\d{2}\.\d{2})(?:[.,]\d+)?(?:\s*[AaPp]\.?[Mm]\.?)?$"
_DAY = r"^(?:1[6-9]|2\d)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])$"
_PLAIN_INT = r"^[+-]?(?:0|[1-9]\d{0,17})$"


def infer_columns(
    name: str, dialect: CsvDialect, texts: Sequence[str], options: FileOptions
) -> CsvDialect:
    """The dialect with the marks of numbers, types, missing values and time filled in.

    Parameters
    ----------
    texts : the sample, in whole lines, without the header
    """
    columns = _as_texts(dialect, texts)
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
    types: dict[str, str] = {}
    for label, values in found.items():
        kind = type_of_texts(values, dialect)
        if kind is not None and label not in (dialect.time_columns or ()):
            types[label] = kind
    times = dialect.time_columns or ()
    if len(times) == 1:
        types[times[0]] = "timestamp" if dialect.time_format else _count_type(found[times[0]])
    types.update(dialect.types or {})
    dialect = replace(dialect, types=types)
    if dialect.sentinels is None:
        some = [n for n in types if types[n] in ("int64", "double", "float") and n not in times]
        dialect = replace(dialect, sentinels=_sentinels(found, some, dialect))
    return dialect


def _labels(options: FileOptions, dialect: CsvDialect) -> set[Any]:
    """Columns that are known to hold times, or what tells devices apart."""
    return {options.time, *options.keys, *(dialect.time_columns or ())}


def _named_texts(dialect: CsvDialect) -> set[str]:
    """Columns that are said to hold no numbers."""
    kinds = dialect.types or {}
    return {n for n, kind in kinds.items() if kind not in ("int64", "double", "float")}


def _count_type(times: pa.Array) -> str:
    """The type of times that are numbers: those with a fraction are exact as decimals."""
    return "decimal" if _share(times, r"^[+-]?\d+[.,]\d") > 0 else "int64"


def _as_texts(dialect: CsvDialect, texts: Sequence[str]) -> dict[str, pa.Array]:
    """The columns of the sample's records that have the right number of fields, all as texts."""
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
                    invalid_row_handler=lambda _: "skip",
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
        rest = texts.filter(pc.invert(is_null))
        looks = _share(_numbers(rest, dialect), FLOAT) >= MOSTLY or _share(rest, r"^\d.*\d") >= 1
        if looks or not len(rest):
            seen.update(pc.unique(texts.filter(is_null)).to_pylist())
    return tuple(sorted(seen - Counter({"": seen[""]})))


def _numbers(texts: pa.Array, dialect: CsvDialect) -> pa.Array:
    return normal_numbers(texts, decimal=dialect.decimal or ".", thousands=dialect.thousands or "")


def _share(texts: pa.Array, pattern: str) -> float:
    """The part of the texts that are there and match."""
    there = len(texts) - texts.null_count
    if not there:
        return 0.0
    matching = pc.sum(pc.match_substring_regex(texts, pattern)).as_py() or 0
    return float(matching / there)


def type_of_texts(texts: pa.Array, dialect: CsvDialect) -> str | None:
    """A column's type; None where nothing of it is there."""
    if texts.null_count == len(texts):
        return None
    numbers = _numbers(texts, dialect)
    if _share(numbers, FLOAT) >= MOSTLY and not is_address(texts):
        if _share(numbers, _PLAIN_INT) == _share(numbers, FLOAT):
            return "int64"
        # 007 is a name, and 18 digits and more are, too: as numbers they would change.
        is_name = _share(numbers, r"^[+-]?0\d") > 0 or _share(numbers, r"^[+-]?\d{19,}$") > 0
        return "string" if is_name else "double"
    if _share(pc.utf8_lower(texts), r"^(?:true|false)$") == 1:
        return "bool"
    if _share(texts, r"^\d{4}-\d\d-\d\d$") == 1 and not parse_times(texts, "iso8601").is_bad.any():
        return "date32"
    if _share(texts, r"^\d{4}-\d\d-\d\d[T ]") == 1:
        return "string" if parse_times(texts, "iso8601").is_bad.any() else "timestamp"
    return "string"


# --- the time --------------------------------------------------------------------------------


def infer_time(
    name: str, dialect: CsvDialect, found: Mapping[str, pa.Array], options: FileOptions
) -> CsvDialect:
    """The dialect with the column of times and how they are written.

    Parameters
    ----------
    found : the columns of a sample, as texts, null where missing

    Raises
    ------
    FrameError : there is no such column, or more than one, or its times have two readings.
    """
    wish = options.time
    columns = dialect.time_columns or ((str(wish),) if wish is not None else None)
    if columns is None:
        columns = _time_columns(name, found, dialect.time_format)
    for column in columns:
        if column not in found:
            there = shorten(", ".join(found), 200)
            raise FrameError(
                f"{name} has no column {column!r}", column=column, hint=f"its columns: {there}"
            )
    dialect = replace(dialect, time_columns=columns)
    if options.time_unit is not None:
        return dialect
    parts = [found[c] for c in columns]
    texts = parts[0] if len(parts) == 1 else pc.binary_join_element_wise(*parts, " ")
    if not any(len(c) for c in found.values()):  # a file of a header alone
        return replace(dialect, time_format=dialect.time_format or "iso8601")
    texts = texts.drop_null()
    form = dialect.time_format
    if form is None:
        form = _time_format(name, columns, texts, dialect.day_first)
    if form is None:
        return dialect
    if dialect.has_offset is None:
        zoned = pc.match_substring_regex(texts, r"\d\s*(?:[Zz]|UTC|GMT|[+-]\d\d(?::?\d\d)?)$")
        clock = pc.match_substring_regex(texts, r"\d:\d\d")
        dialect = replace(dialect, has_offset=_most(pc.and_(zoned, clock)))
    digits = pc.extract_regex(texts, r"\d{1,2}[:.]\d{2}[:.]\d{2}[.,](?P<f>\d+)")
    most = pc.max(pc.utf8_length(digits.field("f").drop_null())).as_py()
    digits_given = dialect.fraction_digits
    return replace(
        dialect,
        time_format=form,
        fraction_digits=int(most or 0) if digits_given is None else digits_given,
    )


def _most(flags: Any) -> bool:
    return bool((pc.mean(flags.cast(pa.float64())).as_py() or 0.0) > 0.5)


def _time_columns(name: str, found: Mapping[str, pa.Array], form: str | None) -> tuple[str, ...]:
    """The column of times where there is one, or those of the date and of the time of day.

    Parameters
    ----------
    form : the times' own, where it is given: what is written so is a time

    Raises
    ------
    FrameError : there is none, or more than one.
    """
    clocks = [n for n, c in found.items() if _share(c, _CLOCK) >= MOSTLY]
    whole = [n for n, c in found.items() if n not in clocks and _looks_like_times(n, c)]
    if form is not None:
        texts = {n: c.drop_null() for n, c in found.items()}
        whole = [n for n, t in texts.items() if len(t) and _fits(t, form)] or whole
    named = [n for n in whole if n.lower() == "time"]
    if len(named) == 1:
        return (named[0],)
    dates = [n for n in whole if _share(found[n], r"\d:\d|[T ]\d") == 0]
    if len(dates) == 1 and len(clocks) == 1 and dates[0] != clocks[0]:
        return dates[0], clocks[0]
    if len(whole) > 1:
        raise FrameError(
            f"{name}: {', '.join(whole)} all hold times",
            hint=Hint("say which: ", Choice(time=whole[0])),
        )
    if whole:
        return (whole[0],)
    parts = _parts_of_time(list(found)) or (("time",) if "time" in found else None)
    if parts is None:
        raise FrameError(
            f"{name} has no column of times that is known as such",
            hint=Hint(
                Choice(time=...),
                " names it, ",
                Choice(csv={"time_format": "%Y"}),
                " says how they are written",
            ),
        )
    return parts


def _parts_of_time(labels: Sequence[str]) -> tuple[str, ...] | None:
    """Columns of year, month, day and more, side by side, as loggers of weather write them."""
    for i in range(len(labels) - 2):
        n = 0
        for label, words in zip(labels[i:], _PARTS, strict=False):
            # MM is the month and mm the minute, where both are there.
            if label not in words and (label.lower() not in words or len(label) < 3):
                break
            n += 1
        if n >= 3:
            return tuple(labels[i : i + n])
    return None


def _looks_like_times(label: str, column: pa.Array) -> bool:
    texts = column.drop_null()
    if not len(texts):
        return False
    shape = (
        r"^\d{1,4}[-/.](?:\d{1,2}|[A-Za-z]{3,9})[-/.]\d{1,4}(?:$|[T ])|^\d{8}T?\d{4,6}"
        r"|^[A-Za-z]{3,9}\.? \d{1,2},? \d{4}(?:$| )"
    )
    if label.lower() in ("date", "day") and _share(texts, _DAY) == 1:
        return True
    if _share(texts, shape) < MOSTLY:
        return False
    return _share(texts, FLOAT) < MOSTLY or _share(texts, r"^(?:19|20)\d{10}(?:\d\d)?$") == 1


def _time_format(
    name: str, columns: Sequence[str], texts: pa.Array, day_first: bool | None
) -> str | None:
    """The form of the times; None where they are whole numbers.

    Raises
    ------
    FrameError : the day and the month cannot be told apart, or the form is not known.
    """
    what = " + ".join(columns)
    if not len(texts):
        raise FrameError(f"{name}: {what} has no times in the sample", column=columns[0])
    if _share(texts, r"^\d{4}-\d{1,2}-\d{1,2}") >= MOSTLY and _fits(texts, "iso8601"):
        return "iso8601"
    forms = Counter(filter(None, (_form_of(t) for t in texts.slice(0, 1000).to_pylist())))
    if not forms:
        if _share(texts, r"^-?\d+(?:[.,]\d+)?$") >= MOSTLY:
            return None
        shown = texts[0].as_py()
        raise FrameError(
            f"{name}: the form of the times of {what} is not known, e.g. {shown!r}",
            column=columns[0],
            hint=Hint(Choice(csv={"time_format": "%d.%m.%Y %H:%M:%S"})),
        )
    form = forms.most_common(1)[0][0]
    if "%x" not in form:
        return form
    by_day, by_month = (
        form.replace("%x", first, 1).replace("%x", second, 1)
        for first, second in (("%d", "%m"), ("%m", "%d"))
    )
    if day_first is not None:
        return by_day if day_first else by_month
    fitting = [f for f in (by_day, by_month) if _fits(texts, f, all_of=True)]
    if form.startswith("%x.") and by_day in fitting:
        return by_day  # dates with dots have the day first, wherever they are written
    if len(fitting) == 2:
        raise FrameError(
            f"{name}: times like {texts[0].as_py()!r} may have the day or the month first",
            column=columns[0],
            hint=_day_first(),
        )
    fitting = fitting or [f for f in (by_day, by_month) if _fits(texts, f)]
    if len(fitting) == 1:
        return fitting[0]
    raise FrameError(
        f"{name}: times like {texts[0].as_py()!r} have the day first in some rows, and the "
        "month in others",
        column=columns[0],
        hint=_day_first("; rows that do not fit are refused"),
    )


def _day_first(more: str = "") -> Hint:
    first, other = Choice(csv={"day_first": True}), Choice(csv={"day_first": False})
    return Hint(first, " or ", other, more)


def _fits(texts: pa.Array, form: str, *, all_of: bool = False) -> bool:
    """Whether most of the times have this form, be it with or without offsets."""
    most = 0 if all_of else 1 - MOSTLY
    return any(
        float(np.mean(parse_times(texts, form, has_offset=z).is_bad)) <= most for z in (False, True)
    )


_DATE = re.compile(r"(\d{1,4})([-/. ])(\d{1,2}|[A-Za-z]{3,9}\.?)\2(\d{1,4})")
_NAMED_DATE = re.compile(r"[A-Za-z]{3,9}\.? \d{1,2}(,?) \d{4}")
_TIME = re.compile(
    r"(?P<gap>T| +|:|_)(\d{1,2})(?P<s>[:.h ])(\d{2})(?:(?P=s)(\d{2})(?P<f>[.,]\d+)?)?"
    r"(?P<p>\s*[AaPp]\.?[Mm]\.?)?(?P<z>\s*(?:[Zz]|UTC|GMT|[+-]\d{2}(?::?\d{2})?))?"
)


def _form_of(text: str) -> str | None:
    """The form of one time; ``%x`` where day and month cannot be told by their places."""
    if re.fullmatch(r"\d{8}(?:T?\d{4}(?:\d{2})?)?", text):
        rest = text[8:]
        gap = "T" if rest.startswith("T") else ""
        return "%Y%m%d" + gap + {0: "", 4: "%H%M", 6: "%H%M%S"}[len(rest) - len(gap)]
    match = _DATE.match(text)
    if match is None and (named := _NAMED_DATE.match(text)):
        return _with_clock(f"%b %d{named[1]} %Y", text[named.end() :])
    if match is None:
        return None
    one, mark, two, three = match.groups()
    if len(one) == 4:
        date = f"%Y{mark}{'%m' if two.isdigit() else '%b'}{mark}%d"
    elif len(three) in (2, 4):
        year = "%Y" if len(three) == 4 else "%y"
        date = f"%d{mark}%b{mark}{year}" if not two.isdigit() else f"%x{mark}%x{mark}{year}"
    else:
        return None
    return _with_clock(date, text[match.end() :])


def _with_clock(date: str, rest: str) -> str | None:
    """The form of a date and what follows it."""
    if not rest:
        return date
    clock = _TIME.fullmatch(rest)
    if clock is None:
        return None
    gap, mark = clock["gap"].strip() or " ", clock["s"]
    hour = "%I" if clock["p"] else "%H"
    form = f"{date}{gap}{hour}{mark}%M"
    if clock[5] is not None:
        form += f"{mark}%S.%f"
    if clock["p"]:
        form += " %p" if clock["p"][:1].isspace() else "%p"
    return form + (" %z" if clock["z"] else "")


# --- numbers that mean nothing -------------------------------------------------------------------


def _sentinels(
    found: Mapping[str, pa.Array], numbers: Sequence[str], dialect: CsvDialect
) -> dict[str, tuple[float, ...]]:
    """Known stand-ins for a missing value: repeated, at an end, and far from all other values."""
    values: dict[str, np.ndarray] = {}
    for label in numbers:
        texts = _numbers(found[label], dialect)
        fits = pc.match_substring_regex(texts, FLOAT)
        plain = pc.if_else(fits, pc.utf8_ltrim(texts, "+"), None).drop_null().cast(pa.float64())
        values[label] = np.asarray(plain)[np.isfinite(plain)]
    used = [c for c in _CANDIDATES if any(_stands_out(v, c, by=_FAR) for v in values.values())]
    out: dict[str, tuple[float, ...]] = {}
    for label, some in values.items():
        # What one column of a file uses, the others use, too, though their values may be nearer.
        if taken := [c for c in used if _stands_out(some, c, by=_NEAR)]:
            out[label] = tuple(taken)
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
