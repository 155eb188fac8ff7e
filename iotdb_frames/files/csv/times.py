"""Texts as times, in whole columns, and which of them do not fit."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from iotdb_frames.codec.times import TICKS_PER_S
from iotdb_frames.errors import OptionsError

_ISO = (
    r"^(?P<Y>\d{4})-(?P<m>\d{1,2})-(?P<d>\d{1,2})"
    r"(?:(?:T|t| +)(?P<H>\d{1,2})(?::(?P<M>\d{2})(?::(?P<S>\d{2})(?:[.,](?P<f>\d{1,9}))?)?)?"
    r"\s*(?P<z>[Zz]|UTC|[+-]\d{2}(?::?\d{2})?)?)?$"
)
OFFSET = r"[Zz]|[+-]\d{2}(?::?\d{2})?|(?:UTC|GMT)(?:[+-]\d{1,2}(?::\d{2}|\d{2})?)?"
"""An offset from UTC; it may stand in brackets, and the zone's name behind it."""
MONTH = r"[A-Za-zÀ-ÿ]{3,10}"
"""All letters of the world, as ``\\pL``, take a hundred times as long to compile."""
_TOKENS = {
    "Y": r"(?P<Y>\d{4})",
    "y": r"(?P<y>\d{2})",
    "m": r"(?P<m>\d{1,2})",
    "d": r"(?P<d>\d{1,2})",
    "b": rf"(?P<b>{MONTH})\.?",
    "j": r"(?P<j>\d{1,3})",
    "G": r"(?P<G>\d{4})",
    "V": r"(?P<V>\d{1,2})",
    "u": r"(?P<u>[1-7])",
    "H": r"(?P<H>\d{1,2})",
    "I": r"(?P<I>\d{1,2})",
    "M": r"(?P<M>\d{1,2})",
    "S": r"(?P<S>\d{1,2})",
    "a": r"[A-Za-zÀ-ÿ]{2,13}\.?",
    "p": r"(?P<p>(?i:[AP])\.?(?i:M)\.?)",
    "z": rf"(?:\(?(?P<z>{OFFSET})\)?(?:\s*\([A-Za-z ]+\))?)?",
    "%": "%",
}
_COMPACT = {letter: rf"(?P<{letter}>\d{{2}})" for letter in "mdHMSV"}
_COMPACT |= {"j": r"(?P<j>\d{3})"}
_MONTHS = {
    start: number
    for number, starts in enumerate(
        (
            "jan jän ene gen",
            "feb fev fév",
            "mar mär mrz mrt maa",
            "apr abr avr",
            "may mai mag mei maj",
            "jun juin giu",
            "jul juil lug",
            "aug ago aou aoû",
            "sep set",
            "oct okt out ott",
            "nov",
            "dec dez dic déc des",
        ),
        start=1,
    )
    for start in starts.split()
}
"""What the names of months begin with, in languages of which no two differ in what one means."""
MONTHS_IN = (
    "English, German, French, Spanish, Italian, Portuguese, Dutch, Danish, Norwegian and Swedish"
)


@dataclass(frozen=True)
class Parsed:
    """Converted texts.

    values : Arrow array, null where missing or bad
    is_bad : bool, shape (n,): a value is there, and does not convert
    why : what is wrong with the bad ones
    """

    values: pa.Array
    is_bad: np.ndarray
    why: str


@lru_cache(maxsize=256)
def time_pattern(time_format: str) -> str:
    """The regex of a time format.

    Raises
    ------
    OptionsError : a directive that is not known here.
    """
    if time_format == "iso8601":
        return _ISO
    out, at = ["^"], 0
    while at < len(time_format):
        if time_format[at : at + 3] in (".%f", ",%f"):
            out.append(r"(?:[.,](?P<f>\d{1,9}))?")
            at += 3
        elif time_format[at] == "%":
            letter = time_format[at + 1 : at + 2]
            if letter not in _TOKENS:
                raise OptionsError(
                    f"csv: time_format={time_format!r} has %{letter}, which is not known",
                    hint=f"there are {' '.join('%' + t for t in _TOKENS)} and .%f",
                )
            # Without anything between them, numbers have all of their digits.
            is_compact = (
                time_format[at + 2 : at + 3] == "%" or time_format[at - 1 : at] in "YymdHMGV"
            )
            out.append((_COMPACT if is_compact and at else _TOKENS).get(letter, _TOKENS[letter]))
            at += 2
        elif time_format[at] == " ":
            out.append(r"\s+" if time_format[at + 1 : at + 3] != "%z" else r"\s*")
            at += 1
        else:
            out.append(re.escape(time_format[at]))
            at += 1
    return "".join(out) + "$"


def parse_times(texts: pa.Array, time_format: str, *, has_offset: bool | None = None) -> Parsed:
    """Times of any one form; fractions may have 0 to 9 digits, and each row its own offset.

    Parameters
    ----------
    texts : trimmed; null where missing
    time_format : see `CsvDialect`
    has_offset : whether rows say their offset from UTC; None: if any of them does

    Returns
    -------
    Parsed
        Timestamps in the coarsest of ms, us, ns that holds all of them; UTC where rows have
        offsets, else naive. A row without an offset beside rows with one is bad.
    """
    pattern = time_pattern(time_format)
    parts = pc.extract_regex(texts, pattern)
    is_there = np.asarray(texts.is_valid())
    is_matched = np.asarray(parts.is_valid())
    fields = {parts.type.field(i).name: parts.field(i) for i in range(parts.type.num_fields)}
    days, bad = _days(fields, len(texts))
    hour, minute, second, bad_time = _clock(fields, len(texts))
    bad |= bad_time
    seconds = (days * 24 + hour) * 3600 + minute * 60 + second
    nanos = _fraction(fields, len(texts))
    says_offset = np.zeros(len(texts), bool)
    if "z" in fields:
        offset, says_offset = _offsets(fields["z"])
        seconds = seconds - offset
    is_bad = is_there & (~is_matched | bad)
    is_zoned = bool(says_offset.any()) if has_offset is None else has_offset
    odd = is_there & ~is_bad & (says_offset != is_zoned)
    why = "is not a time written like the others"
    if odd.any():
        what = "has no offset from UTC, as others have"
        why += f", or {what if is_zoned else 'has an offset from UTC, as others have not'}"
    is_bad |= odd
    good = is_there & ~is_bad
    values, is_far = _ticks(seconds, nanos, good)
    unit = np.datetime_data(values.dtype)[0]
    kind = pa.timestamp(unit, "UTC" if is_zoned else None)
    array = pa.array(values.view("i8"), mask=~good | is_far).cast(kind)
    return Parsed(array, is_bad | is_far, why)


def _ints(field: pa.Array) -> np.ndarray:
    """Digits as numbers, 0 where there are none."""
    text = pc.if_else(pc.equal(field, ""), pa.scalar("0", field.type), field).fill_null("0")
    return np.asarray(text.cast(pa.int64()))


def _days(fields: dict[str, pa.Array], n: int) -> tuple[np.ndarray, np.ndarray]:
    """Days since 1970, and which there are none."""
    if "G" in fields and "V" in fields:
        return _days_of_weeks(fields, n)
    year = _ints(fields["Y"]) if "Y" in fields else None
    if year is None and "y" in fields:
        short = _ints(fields["y"])
        year = np.where(short < 69, 2000 + short, 1900 + short)  # as strptime has it
    if year is None:
        year = np.full(n, 1970)
    if "j" in fields:
        day, first, end = _ints(fields["j"]), _first_day(year), _first_day(year + 1)
    else:
        if "b" in fields:
            month = _months(fields["b"])
        else:
            month = _ints(fields["m"]) if "m" in fields else np.ones(n, np.int64)
        day = _ints(fields["d"]) if "d" in fields else np.ones(n, np.int64)
        is_none = (month < 1) | (month > 12)
        month, day = np.where(is_none, 1, month), np.where(is_none, 0, day)
        first, end = _first_day(year, month), _first_day(year, month + 1)
    bad = (day < 1) | (day > end - first)
    return first + np.where(bad, 1, day) - 1, bad


def _first_day(year: np.ndarray, month: np.ndarray | int = 1) -> np.ndarray:
    """The first day of a month, in days since 1970."""
    months = ((year - 1970) * 12 + (month - 1)).astype("M8[M]")
    return np.asarray(months.astype("M8[D]").astype(np.int64))


def _months(names: pa.Array) -> np.ndarray:
    """Numbers of months, 0 where a name is none."""
    lower = pc.utf8_lower(names)
    starts = pc.utf8_slice_codeunits(lower, 0, 3)
    # The French June and July differ in their fourth letter.
    starts = pc.if_else(pc.equal(starts, "jui"), pc.utf8_slice_codeunits(lower, 0, 4), starts)
    known = pc.index_in(starts, value_set=pa.array(list(_MONTHS)))
    numbers = np.array([*_MONTHS.values(), 0], np.int64)
    return np.asarray(numbers[np.asarray(known.fill_null(-1))])


def is_month(name: str) -> bool:
    """Whether a word is a month's name, or begins as one."""
    return bool(_months(pa.array([name]))[0])


def _days_of_weeks(fields: dict[str, pa.Array], n: int) -> tuple[np.ndarray, np.ndarray]:
    """The same of ISO weeks, the first of which has January 4; a week alone is its Monday."""
    year, week = _ints(fields["G"]), _ints(fields["V"])
    weekday = _ints(fields["u"]) if "u" in fields else np.ones(n, np.int64)
    fourth = _first_day(year) + 3
    monday = fourth - (fourth + 3) % 7 + (week - 1) * 7
    bad = (week < 1) | (monday + 3 >= _first_day(year + 1))
    return monday + weekday - 1, bad


def _clock(
    fields: dict[str, pa.Array], n: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    zero = np.zeros(n, np.int64)
    hour = _ints(fields["H"]) if "H" in fields else zero
    bad = np.zeros(n, bool)
    if "I" in fields:
        twelve = _ints(fields["I"])
        bad |= (twelve < 1) | (twelve > 12)
        is_pm = np.zeros(n, bool)
        if "p" in fields:
            upper = pc.utf8_upper(fields["p"])
            is_pm = np.asarray(pc.starts_with(upper, "P").fill_null(False))
        hour = twelve % 12 + 12 * is_pm
    minute = _ints(fields["M"]) if "M" in fields else zero
    second = _ints(fields["S"]) if "S" in fields else zero
    # 24:00 is the end of a day, and many loggers write it.
    is_end = (hour == 24) & (minute == 0) & (second == 0)
    bad |= ((hour > 23) & ~is_end) | (minute > 59) | (second > 59)
    return hour, minute, second, bad


def _fraction(fields: dict[str, pa.Array], n: int) -> np.ndarray:
    if "f" not in fields:
        return np.zeros(n, np.int64)
    return _ints(pc.utf8_rpad(fields["f"], 9, "0"))


def _offsets(field: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Seconds east of UTC, and whether a row says so."""
    field = field.fill_null("")
    has_offset = np.asarray(pc.not_equal(field, ""))
    digits = pc.replace_substring_regex(field, r"[^0-9]", "")
    is_short = pc.equal(pc.binary_length(digits), 1)  # as in UTC+1
    digits = pc.if_else(is_short, pc.binary_join_element_wise("0", digits, ""), digits)
    hours = _ints(pc.utf8_slice_codeunits(digits, 0, 2))
    minutes = _ints(pc.utf8_slice_codeunits(digits, 2, 4))
    is_west = np.asarray(pc.match_substring(field, "-"))
    seconds = hours * 3600 + minutes * 60
    return np.where(is_west, -seconds, seconds), has_offset


def _ticks(
    seconds: np.ndarray, nanos: np.ndarray, good: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """datetime64 of the coarsest unit that holds the fractions, and which are too far for it."""
    used = nanos[good]
    unit, per_s = next(
        (unit, TICKS_PER_S[unit])
        for unit in ("ms", "us", "ns")
        if unit == "ns" or not (used % (TICKS_PER_S["ns"] // TICKS_PER_S[unit])).any()
    )
    is_far = good & (np.abs(seconds) > (1 << 63) // per_s - 1)
    inside = np.where(good & ~is_far, seconds, 0)
    return (inside * per_s + nanos // (TICKS_PER_S["ns"] // per_s)).view(f"M8[{unit}]"), is_far
