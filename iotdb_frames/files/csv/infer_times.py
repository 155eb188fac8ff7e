"""Where the times of a CSV sample are, and how they are written."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from iotdb_frames.errors import Choice, FrameError, Hint, nearest
from iotdb_frames.files.csv.cells import FLOAT
from iotdb_frames.files.csv.dialect import CsvDialect
from iotdb_frames.files.csv.infer_numbers import MOSTLY
from iotdb_frames.files.csv.times import MONTH, MONTHS_IN, OFFSET, is_month, parse_times
from iotdb_frames.files.options import FileOptions

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
_WORD = r"[^\W\d_]{3,10}"
_DATE = re.compile(rf"(\d{{1,4}})([-/. ])(\d{{1,2}}|{_WORD}\.?)\2(\d{{1,4}})")
_NAMED_DATE = re.compile(rf"{_WORD}\.? \d{{1,2}}(,?) \d{{4}}")
_DOTTED_DATE = re.compile(rf"\d{{1,2}}\. {_WORD}\.? \d{{4}}")
_ORDER = re.compile(r"%([dm])([^%])%([dm])\2(%[Yy])")
_WEEK = re.compile(r"\d{4}-W\d{2}-[1-7]")
_DAY_OF_YEAR = re.compile(r"\d{4}-[0-3]\d\d")
_COMPACT = re.compile(r"(\d{8})(T)?(?:(\d{4})(?:(\d{2})([.,]\d+)?)?([Zz]|[+-]\d{2}(?::?\d{2})?)?)?")
_WEEKDAY = re.compile(
    r"(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun|Die|Mit|Don|Fre|Sam|Son)[a-z]*|Mo|Di|Mi|Do|Fr|Sa|So)"
    r"(\.?,?) "
)
_TIME = re.compile(
    r"(?P<gap>T| +|:|_)(\d{1,2})(?P<s>[:.h ])(\d{2})(?:(?P=s)(\d{2})(?P<f>[.,]\d+)?)?"
    r"(?P<p>\s*[AaPp]\.?[Mm]\.?)?"
    rf"(?P<z>\s*\(?(?:{OFFSET})\)?(?:\s*\([A-Za-z ]+\))?)?"
)


def share(texts: pa.Array, pattern: str) -> float:
    """The part of the texts that are there and match."""
    there = len(texts) - texts.null_count
    if not there:
        return 0.0
    matching = pc.sum(pc.match_substring_regex(texts, pattern)).as_py() or 0
    return float(matching / there)


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
            raise FrameError(
                f"{name} has no column {column!r}", column=column, hint=nearest(column, found)
            )
    dialect = replace(dialect, time_columns=columns)
    if options.time_unit is not None:
        return dialect
    if not any(len(c) for c in found.values()):  # a file of a header alone
        return replace(dialect, time_format=dialect.time_format or "iso8601")
    texts = joined_times(columns, found)
    form = dialect.time_format
    if form is None:
        form = _time_format(name, columns, texts, dialect.day_first)
    if form is None:
        return dialect
    if dialect.has_offset is None:
        dialect = replace(dialect, has_offset=_have_offset(texts, form))
    digits = pc.extract_regex(texts, r"\d{1,2}[:.]\d{2}[:.]\d{2}[.,](?P<f>\d+)")
    most = pc.max(pc.utf8_length(digits.field("f").drop_null())).as_py()
    digits_given = dialect.fraction_digits
    return replace(
        dialect,
        time_format=form,
        fraction_digits=int(most or 0) if digits_given is None else digits_given,
    )


def joined_times(columns: Sequence[str], found: Mapping[str, pa.Array]) -> pa.Array:
    """The times that are there, as texts; a date and its time of day as one."""
    parts = [found[c] for c in columns]
    texts = parts[0] if len(parts) == 1 else pc.binary_join_element_wise(*parts, " ")
    return texts.drop_null()


def _have_offset(texts: pa.Array, form: str) -> bool:
    """Whether most of the times say their offset from UTC."""
    if form == "iso8601":
        return share(texts, rf":\d.*\d\s*(?:{OFFSET})$") > 0.5
    if "%z" not in form:
        return False
    zoned, plain = (parse_times(texts, form, has_offset=z).is_bad for z in (True, False))
    return bool(np.count_nonzero(zoned) < np.count_nonzero(plain))


def _time_columns(name: str, found: Mapping[str, pa.Array], form: str | None) -> tuple[str, ...]:
    """The column of times where there is one, or those of the date and of the time of day.

    Parameters
    ----------
    form : the times' own, where it is given: what is written so is a time

    Raises
    ------
    FrameError : there is none, or more than one.
    """
    clocks = [n for n, c in found.items() if share(c, _CLOCK) >= MOSTLY]
    whole = [n for n, c in found.items() if n not in clocks and looks_like_times(n, c)]
    if form is not None:
        texts = {n: c.drop_null() for n, c in found.items()}
        whole = [n for n, t in texts.items() if len(t) and _fits(t, form)] or whole
    named = [n for n in whole if n.lower() == "time"]
    if len(named) == 1:
        return (named[0],)
    dates = [n for n in whole if share(found[n], r"\d:\d|[T ]\d") == 0]
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


def looks_like_times(label: str, column: pa.Array) -> bool:
    """Whether a column's texts, null where missing, are dates, with a time of day or without."""
    texts = column.drop_null()
    if not len(texts):
        return False
    shape = (
        rf"^(?:{_WEEKDAY.pattern})?(?:\d{{1,4}}[-/.](?:\d{{1,2}}|{MONTH}\.?)[-/.]\d{{1,4}}"
        rf"(?:$|[T ])|\d{{8}}T?\d{{4,6}}|{MONTH}\.? \d{{1,2}},? \d{{4}}(?:$| )"
        rf"|\d{{1,2}}\.? {MONTH}\.? \d{{4}}(?:$| )|{_WEEK.pattern}(?:$|[T ])"
        rf"|{_DAY_OF_YEAR.pattern}[T ]\d)"
    )
    if label.lower() in ("date", "day") and share(texts, _DAY) == 1:
        return True
    if share(texts, shape) < MOSTLY:
        return False
    return share(texts, FLOAT) < MOSTLY or share(texts, r"^(?:19|20)\d{10}(?:\d\d)?$") == 1


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
    if share(texts, r"^\d{4}-\d{1,2}-\d{1,2}") >= MOSTLY and _fits(texts, "iso8601"):
        return "iso8601"
    forms = Counter(filter(None, (_form_of(t) for t in texts.slice(0, 1000).to_pylist())))
    if not forms:
        if share(texts, r"^-?\d+(?:[.,]\d+)?$") >= MOSTLY and not _is_said_in_digits(texts):
            return None
        raise _unknown_form(name, columns, texts)
    form = forms.most_common(1)[0][0]
    if "%x" not in form:
        if not _fits(texts, form, least=0.5):  # e.g. months in an unknown language
            raise _unknown_form(name, columns, texts)
        return form
    by_day, by_month = (
        form.replace("%x", first, 1).replace("%x", second, 1)
        for first, second in (("%d", "%m"), ("%m", "%d"))
    )
    if day_first is not None:
        return by_day if day_first else by_month
    fitting = [f for f in (by_day, by_month) if _fits(texts, f, least=1)]
    if "%x.%x." in form and by_day in fitting:
        return by_day  # dates with dots have the day first, wherever they are written
    if len(fitting) == 2:
        raise two_orders(name, columns, texts)
    fitting = fitting or [f for f in (by_day, by_month) if _fits(texts, f)]
    if len(fitting) == 1:
        return fitting[0]
    raise FrameError(
        f"{name}: times like {texts[0].as_py()!r} have the day first in some rows, and the "
        "month in others",
        column=columns[0],
        hint=_day_first("; rows that do not fit are refused"),
    )


def _is_said_in_digits(texts: pa.Array) -> bool:
    """Whether numbers are years, with a month, a day or a fraction behind them or not."""
    return share(texts, r"^(?:1[6-9]|20)\d\d(?:0[1-9]|1[0-2]|[0-3]\d\d|\.\d+)?$") == 1


def day_or_month(form: str) -> tuple[str, str] | None:
    """Of a form with both as numbers before the year: the first ("d" or "m"), and their mark."""
    match = _ORDER.search(form)
    return None if match is None else (match[1], match[2])


def exchanged(form: str) -> str | None:
    """The form with day and month exchanged; None where one of them is no number."""
    swapped = _ORDER.sub(r"%\3\2%\1\2\4", form)
    return None if swapped == form else swapped


def other_order(form: str) -> str | None:
    """The same; None, too, where that is no choice."""
    # Dates with dots have the day first, wherever they are written.
    return None if day_or_month(form) == ("d", ".") else exchanged(form)


def two_orders(name: str, columns: Sequence[str], texts: pa.Array, *, why: str = "") -> FrameError:
    """The error for dates with two readings."""
    return FrameError(
        f"{name}: times like {texts[0].as_py()!r} may have the day or the month first{why}",
        column=columns[0],
        hint=_day_first(),
    )


def _unknown_form(name: str, columns: Sequence[str], texts: pa.Array) -> FrameError:
    """The error for times whose form is not known; its hint has forms that fit them, if any do."""
    shown = texts[0].as_py()
    forms = [form for form in _likely_forms(shown) if _fits(texts, form)]
    zone = re.fullmatch(r".*\d *([A-Z]{2,5})", shown)
    parts: list[Any] = []
    for form in forms:
        parts += [" or ", Choice(csv={"time_format": form})]
    if forms and zone is not None and zone[1] in forms[0]:
        parts = [
            f"{zone[1]} says no offset from UTC: ",
            *parts[1:],
            " takes it as it stands, and the time_zone of the connection is what it means",
        ]
    elif forms:
        read = parse_times(texts.slice(0, 1), forms[0]).values[0].as_py()
        parts = [*parts[1:], *([f" reads it as {read}"] if len(forms) == 1 else [])]
        if shown.isdigit():
            parts += ["; ", Choice(time_unit=...), " says what numbers count"]
    elif share(texts, r"^\d{4}\.\d+$") > 0:
        parts = ["a year with a fraction is no exact time: write dates in its place"]
    elif re.fullmatch(_CLOCK, shown):
        form = "%H:%M:%S"[: 3 * shown.count(":") + 2]
        parts = [
            "a time of day needs a date: ",
            Choice(csv={"time_format": form}),
            " counts it from 1970-01-01",
        ]
    elif any(not is_month(word) for word in re.findall(_WORD, shown)):
        parts = [f"names of months are known in {MONTHS_IN}; write others as numbers"]
    else:
        parts = [
            Choice(csv={"time_format": ...}),
            ' says how they are written: it is "%d.%m.%Y %H:%M:%S" of 31.12.2024 23:59:59',
        ]
    return FrameError(
        f"{name}: the form of the times of {' + '.join(columns)} is not known, e.g. {shown!r}",
        column=columns[0],
        hint=Hint(*parts),
    )


_LIKELY = re.compile(
    r"(?P<z>\(?(?:UTC|GMT)[+-]\d{1,2}(?::?\d{2})?\)?|(?<=\d)\s*[+-]\d{2}:?\d{2}$)"
    r"|(?P<clock>\b\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?)|(?P<week>(?<=\d-)W\d\d\b)"
    rf"|(?P<year>(?<!\d)(?:1[6-9]|2\d)\d\d(?!\d))|(?P<word>\b{_WORD}\b)"
    r"|(?P<number>(?<![A-Za-z\d])\d{1,2}(?!\d))|(?P<space> +)|(?P<rest>.)"
)


def _likely_forms(text: str) -> list[str]:
    """Forms that a time may have that no rule knows; with two where day and month are numbers."""
    if re.fullmatch(r"(?:1[6-9]|2\d)\d\d[0-3]\d\d", text):
        return ["%Y%j"]
    if re.fullmatch(r"(?:1[6-9]|2\d)\d\d[01]\d", text):
        return ["%Y%m"]
    parts = [(str(found.lastgroup), found[0]) for found in _LIKELY.finditer(text)]
    kinds = Counter(kind for kind, _ in parts)
    words = [part for kind, part in parts if kind == "word"]
    has_name = any(map(is_month, words))
    if not kinds["year"] and has_name and kinds["number"] == 1:
        return [_likely_form(parts, iter("y"))]
    is_sure = has_name or kinds["number"] == 2 or not words
    if kinds["year"] != 1 or not is_sure or kinds["number"] > (1 if has_name else 2):
        return []
    orders = ["d", "m"] if kinds["number"] == 2 else ["d"] if has_name else ["m"]
    is_day_first = text.find(next(part for kind, part in parts if kind == "year")) > 0
    if len(orders) == 2 and not is_day_first:
        orders = ["m", "d"]
    forms = [_likely_form(parts, iter(orders))]
    is_open = len(orders) == 2 and is_day_first and "." not in text
    return [*forms, _likely_form(parts, iter(orders[::-1]))] if is_open else forms


def _likely_form(parts: Sequence[tuple[str, str]], letters: Iterator[str]) -> str:
    out = []
    known = {"year": "%Y", "week": "W%V", "space": " ", "z": "%z"}
    if any(kind == "week" for kind, _ in parts):
        known["year"] = "%G"
    for kind, part in parts:
        if kind == "number":
            out.append(f"%{next(letters)}")
        elif kind == "clock":
            marks = part.count(":")
            out.append("%H:%M:%S.%f" if "." in part or "," in part else "%H:%M:%S"[: 3 * marks + 2])
        elif kind == "word" and is_month(part):
            out.append("%b")
        elif kind == "word" and _WEEKDAY.fullmatch(f"{part} "):
            out.append("%a")
        else:
            out.append(known.get(kind, part.replace("%", "%%")))
    return "".join(out)


def _day_first(more: str = "") -> Hint:
    first, other = Choice(csv={"day_first": True}), Choice(csv={"day_first": False})
    return Hint(first, " or ", other, more)


def _fits(texts: pa.Array, form: str, *, least: float = MOSTLY) -> bool:
    """Whether so many of the times have this form, be it with or without offsets."""
    return any(
        float(np.mean(parse_times(texts, form, has_offset=z).is_bad)) <= 1 - least
        for z in (False, True)
    )


def _form_of(text: str) -> str | None:
    """The form of one time; ``%x`` where day and month cannot be told by their places."""
    if compact := _COMPACT.fullmatch(text):
        parts = ("%Y%m%d", "T", "%H%M", "%S", ".%f", "%z")
        return "".join(part for part, there in zip(parts, compact.groups(), strict=True) if there)
    if day := _WEEKDAY.match(text):
        form = _form_of(text[day.end() :])
        return None if form is None else f"%a{day[1]} {form}"
    for pattern, date in (
        (_WEEK, "%G-W%V-%u"),
        (_DAY_OF_YEAR, "%Y-%j"),
        (_DOTTED_DATE, "%d. %b %Y"),
    ):
        if (found := pattern.match(text)) and (form := _with_clock(date, text[found.end() :])):
            return form
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
