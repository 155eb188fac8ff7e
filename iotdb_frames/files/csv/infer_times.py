"""Where the times of a CSV sample are, and how they are written."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from iotdb_frames.errors import Choice, FrameError, Hint, nearest
from iotdb_frames.files.csv.cells import FLOAT, parse_times
from iotdb_frames.files.csv.dialect import CsvDialect
from iotdb_frames.files.csv.infer_numbers import MOSTLY
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
_DATE = re.compile(r"(\d{1,4})([-/. ])(\d{1,2}|[A-Za-z]{3,9}\.?)\2(\d{1,4})")
_NAMED_DATE = re.compile(r"[A-Za-z]{3,9}\.? \d{1,2}(,?) \d{4}")
_COMPACT = re.compile(r"(\d{8})(T)?(?:(\d{4})(?:(\d{2})([.,]\d+)?)?([Zz]|[+-]\d{2}(?::?\d{2})?)?)?")
_WEEKDAY = re.compile(r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*(\.?,?) ")
_TIME = re.compile(
    r"(?P<gap>T| +|:|_)(\d{1,2})(?P<s>[:.h ])(\d{2})(?:(?P=s)(\d{2})(?P<f>[.,]\d+)?)?"
    r"(?P<p>\s*[AaPp]\.?[Mm]\.?)?(?P<z>\s*(?:[Zz]|UTC|GMT|[+-]\d{2}(?::?\d{2})?))?"
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
        zoned = pc.match_substring_regex(texts, r"\d\s*(?:[Zz]|UTC|GMT|[+-]\d\d(?::?\d\d)?)$")
        clock = pc.match_substring_regex(texts, r"\d:\d\d|^\d{8}T?\d{4}")
        dialect = replace(dialect, has_offset=_most(pc.and_(zoned, clock)))
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
        rf"^(?:{_WEEKDAY.pattern})?(?:\d{{1,4}}[-/.](?:\d{{1,2}}|[A-Za-z]{{3,9}})[-/.]\d{{1,4}}"
        r"(?:$|[T ])|\d{8}T?\d{4,6}|[A-Za-z]{3,9}\.? \d{1,2},? \d{4}(?:$| )"
        r"|\d{1,2} [A-Za-z]{3,9}\.? \d{4}(?:$| ))"
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
        if share(texts, r"^-?\d+(?:[.,]\d+)?$") >= MOSTLY:
            return None
        raise _unknown_form(name, columns, texts)
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


def day_or_month(form: str) -> tuple[str, str] | None:
    """Of a form with both as numbers before the year: the first ("d" or "m"), and their mark."""
    match = re.match(r"%([dm])(.)%[dm]\2%[Yy]", form)
    return None if match is None else (match[1], match[2])


def other_order(form: str) -> str | None:
    """The form with day and month exchanged; None where that is no choice."""
    order = day_or_month(form)
    if order is None or order == ("d", "."):
        return None  # dates with dots have the day first, wherever they are written
    first, mark = order
    other = "m" if first == "d" else "d"
    return f"%{other}{mark}%{first}{form[5:]}"


def _unknown_form(name: str, columns: Sequence[str], texts: pa.Array) -> FrameError:
    """The error for times whose form is not known: of a zone's name the rest may be."""
    shown = texts[0].as_py()
    zone = re.fullmatch(r"(.*\d) *([A-Z]{2,5})", shown)
    form = None if zone is None else _form_of(zone[1])
    hint = Hint(Choice(csv={"time_format": "%d.%m.%Y %H:%M:%S"}))
    if zone is not None and form is not None and "%x" not in form:
        form = form.removesuffix(".%f") + shown[len(zone[1]) :]
        hint = Hint(
            f"{zone[2]} says no offset from UTC: ",
            Choice(csv={"time_format": form}),
            " takes it as it stands, and the time_zone of the connection is what it means",
        )
    return FrameError(
        f"{name}: the form of the times of {' + '.join(columns)} is not known, e.g. {shown!r}",
        column=columns[0],
        hint=hint,
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


def _form_of(text: str) -> str | None:
    """The form of one time; ``%x`` where day and month cannot be told by their places."""
    if compact := _COMPACT.fullmatch(text):
        parts = ("%Y%m%d", "T", "%H%M", "%S", ".%f", "%z")
        return "".join(part for part, there in zip(parts, compact.groups(), strict=True) if there)
    if day := _WEEKDAY.match(text):
        form = _form_of(text[day.end() :])
        return None if form is None else f"%a{day[1]} {form}"
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
