"""Texts as numbers and times, in whole columns, and which of them do not fit.

Arrow's own CSV conversion stops at the first cell that does not convert. This one never stops: it
marks. It is slower, and used only for blocks, and forms of times, that Arrow's cannot do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from iotdb_frames.codec.times import TICKS_PER_S
from iotdb_frames.errors import OptionsError

_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
FLOAT = rf"^(?:{_NUMBER}|(?i:[+-]?(?:inf|infinity)|nan))$"
INTEGER = r"^[+-]?\d{1,19}(?:\.0*)?$"
_COUNT = r"^[+-]?\d{5,19}$"
DECIMAL = r"^[+-]?\d{1,19}(?:\.\d{0,9})?$"
DECIMAL_TYPE = pa.decimal128(38, 9)
MOST_EXACT = {"double": 1 << 53, "float": 1 << 24}
"""Whole numbers up to this one are all exact."""
_TRUE = ("true", "1", "yes", "on", "t", "y")
_FALSE = ("false", "0", "no", "off", "f", "n")
_LARGEST, _SMALLEST = "9223372036854775807", "9223372036854775808"


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


def trim(texts: pa.Array, nulls: tuple[str, ...]) -> pa.Array:
    """Texts without the spaces around them; null where they say that nothing is there."""
    trimmed = pc.utf8_trim_whitespace(texts)
    missing = pc.is_in(trimmed, value_set=pa.array(["", *nulls], trimmed.type))
    return pc.if_else(missing, pa.scalar(None, trimmed.type), trimmed)


def normal_numbers(texts: pa.Array, *, decimal: str, thousands: str) -> pa.Array:
    """Numbers with a point, and nothing between the groups of their digits."""
    if thousands:
        group, point = re.escape(thousands), re.escape(decimal)
        is_grouped = pc.match_substring_regex(
            texts, rf"^[+-]?\d{{1,3}}(?:{group}\d{{3}})+(?:{point}\d*)?$"
        )
        plain = pc.replace_substring(texts, thousands, "")
        texts = pc.if_else(is_grouped, plain, texts)
    if decimal != ".":
        has_point = pc.match_substring(texts, ".")
        texts = pc.replace_substring(texts, decimal, ".")
        texts = pc.if_else(has_point, pa.scalar("?", texts.type), texts)
    return texts


def parse(
    texts: pa.Array,
    kind: str,
    *,
    nulls: tuple[str, ...],
    decimal: str | None,
    thousands: str,
    is_lossy: bool = False,
    time_unit: str | None = None,
) -> Parsed:
    """A column of texts as a type of `dialect.TYPES`; times are in ISO 8601, or whole numbers.

    Parameters
    ----------
    nulls : spellings of a missing value
    decimal, thousands : how numbers are written; without a decimal mark what may be a fraction or
        a group, as in 1.200, is bad
    is_lossy : whether a whole number may become the nearest floating-point one; a number with a
        fraction always does
    time_unit : what times that are whole numbers count
    """
    if kind in ("timestamp", "date32"):
        found = trim(texts, nulls)
        if kind == "timestamp" and pc.any(pc.match_substring_regex(found, _COUNT)).as_py():
            return _as_counts(found, time_unit)
        parsed = parse_times(found, "iso8601")
        return parsed if kind == "timestamp" else _as_dates(parsed)
    found = trim(texts, nulls)
    if kind == "bool":
        low = pc.utf8_lower(found)
        is_true = pc.is_in(low, value_set=pa.array(_TRUE, low.type))
        is_false = pc.is_in(low, value_set=pa.array(_FALSE, low.type))
        return _checked(is_true, pc.or_(is_true, is_false), "is neither true nor false")
    if decimal is None:
        is_either = pc.match_substring_regex(found, r"^[+-]?[1-9]\d{0,2}[.,]\d{3}$")
        found = pc.if_else(is_either, pa.scalar("?", found.type), found)
    if decimal == "." and not thousands and (quick := _cast(found, kind, is_lossy=is_lossy)):
        return quick
    found = normal_numbers(found, decimal=decimal or ".", thousands=thousands)
    if kind == "decimal":
        fits = pc.match_substring_regex(found, DECIMAL)
        plain = pc.if_else(fits, found, pa.scalar(None, found.type))
        values = _without_plus(plain).cast(DECIMAL_TYPE)
        return _checked(values, fits, "is not a number of at most 9 digits behind the mark")
    if kind in MOST_EXACT:
        return _as_floats(found, kind, is_lossy=is_lossy)
    return _as_ints(found)


def _cast(found: pa.Array, kind: str, *, is_lossy: bool) -> Parsed | None:
    """All numbers at once, where Arrow takes each of them, and each is exact."""
    types = {"int64": pa.int64(), "double": pa.float64(), "float": pa.float32()}
    if kind not in types:
        return None
    try:
        values = found.cast(types[kind])
    except pa.ArrowInvalid:
        return None
    if kind == "int64":  # 0x1F is a whole number to Arrow alone
        is_odd = pc.match_substring(found, "x", ignore_case=True)
    else:
        is_odd = is_far(values, kind)
    if pc.any(is_odd).as_py() and not (is_lossy and kind != "int64"):
        return None
    return Parsed(values, np.zeros(len(found), bool), "")


def _as_counts(found: pa.Array, unit: str | None) -> Parsed:
    """Times that are whole numbers, of a unit that is known."""
    parsed = _as_ints(found)
    if unit is None:
        is_bad = np.asarray(found.is_valid())
        why = "has times that are numbers, and time_unit does not say what they count"
        return Parsed(pa.nulls(len(found), pa.timestamp("ms")), is_bad, why)
    return Parsed(parsed.values.cast(pa.timestamp(unit, "UTC")), parsed.is_bad, parsed.why)


def _as_ints(found: pa.Array) -> Parsed:
    fits = pc.match_substring_regex(found, INTEGER)
    digits = pc.replace_substring_regex(found, r"\.0*$", "")
    is_long = pc.match_substring_regex(digits, r"^[+-]?\d{19}$")
    bound = pc.if_else(pc.starts_with(digits, "-"), _SMALLEST, _LARGEST).cast(digits.type)
    above = pc.greater(pc.utf8_ltrim(digits, "+-"), bound)
    fits = pc.and_(fits, pc.invert(pc.and_(is_long, above)))
    plain = pc.if_else(fits, _without_plus(digits), pa.scalar(None, digits.type))
    return _checked(plain.cast(pa.int64()), fits, "is not a whole number of 64 bits")


def _as_floats(found: pa.Array, kind: str, *, is_lossy: bool) -> Parsed:
    fits = pc.match_substring_regex(found, FLOAT)
    plain = pc.if_else(fits, _without_plus(found), pa.scalar(None, found.type))
    values = plain.cast(pa.float64() if kind == "double" else pa.float32())
    parsed = _checked(values, fits, "is not a number")
    far = np.flatnonzero(np.asarray(is_far(values, kind)))
    if is_lossy or not len(far):
        return parsed
    texts = plain.take(pa.array(far))
    changed = far[_are_changed(texts, values.take(pa.array(far)))]
    if not len(changed):
        return parsed
    is_changed = np.zeros(len(found), bool)
    is_changed[changed] = True
    why = f"is a number that {kind.upper()} does not hold exactly"
    if parsed.is_bad.any():
        why += f", or {parsed.why}"
    values = pc.if_else(pa.array(is_changed), pa.scalar(None, values.type), parsed.values)
    return Parsed(values, parsed.is_bad | is_changed, why)


def is_far(values: Any, kind: str) -> Any:
    """Which numbers of a floating-point type have whole neighbours that it does not hold."""
    return pc.greater_equal(pc.abs(values), float(MOST_EXACT[kind])).fill_null(False)


def has_far(values: pa.ChunkedArray, kind: str) -> bool:
    """Whether any is; the ends of a chunk mostly tell that none is."""
    most = MOST_EXACT[kind]
    for chunk in values.chunks:
        known = np.asarray(chunk.fill_null(0)) if chunk.null_count else np.asarray(chunk)
        is_near = not len(known) or (known.min() > -most and known.max() < most)
        if not is_near and pc.any(is_far(chunk, kind)).as_py():  # or one is NaN
            return True
    return False


def _are_changed(texts: pa.Array, values: pa.Array) -> np.ndarray:
    """Which whole numbers are others as floating-point ones, or too large; bool, shape (n,)."""
    ints = _as_ints(texts)
    wide = values.cast(pa.float64())
    is_inside = np.abs(np.asarray(wide)) < float(1 << 63)
    known = np.where(is_inside, wide, 0.0).astype(np.int64)
    is_int = is_inside & ~ints.is_bad
    changed = is_int & (known != np.asarray(ints.values.fill_null(0)))
    is_endless = pc.match_substring_regex(texts, r"^[+-]?\d+(?:\.0*)?$")
    for i in np.flatnonzero(~is_int & np.asarray(is_endless)).tolist():  # beyond 64 bits
        value = values[i].as_py()
        changed[i] = np.isinf(value) or int(texts[i].as_py().partition(".")[0]) != int(value)
    is_word = np.asarray(pc.match_substring_regex(texts, "(?i)inf"))
    return np.asarray(changed | (np.isinf(np.asarray(wide)) & ~is_word))


def _without_plus(texts: pa.Array) -> pa.Array:
    return pc.utf8_ltrim(texts, "+")


def _checked(values: pa.Array, fits: pa.Array, why: str) -> Parsed:
    is_bad = ~np.asarray(fits.fill_null(True))
    if is_bad.any():
        values = pc.if_else(pa.array(is_bad), pa.scalar(None, values.type), values)
    return Parsed(values, is_bad, why)


def _as_dates(parsed: Parsed) -> Parsed:
    kind = parsed.values.type
    naive = parsed.values if kind.tz is None else parsed.values.cast(pa.timestamp(kind.unit))
    days = pc.floor_temporal(naive, unit="day")
    is_odd = np.asarray(pc.not_equal(days, naive).fill_null(False))
    dates = pc.if_else(pa.array(is_odd), pa.scalar(None, naive.type), naive).cast(pa.date32())
    return Parsed(dates, parsed.is_bad | is_odd, "is not a date")


# --- times ---------------------------------------------------------------------------------------

_ISO = (
    r"^(?P<Y>\d{4})-(?P<m>\d{1,2})-(?P<d>\d{1,2})"
    r"(?:(?:T|t| +)(?P<H>\d{1,2})(?::(?P<M>\d{2})(?::(?P<S>\d{2})(?:[.,](?P<f>\d{1,9}))?)?)?"
    r"\s*(?P<z>[Zz]|UTC|[+-]\d{2}(?::?\d{2})?)?)?$"
)
_TOKENS = {
    "Y": r"(?P<Y>\d{4})",
    "y": r"(?P<y>\d{2})",
    "m": r"(?P<m>\d{1,2})",
    "d": r"(?P<d>\d{1,2})",
    "b": r"(?P<b>[A-Za-z]{3})[A-Za-z]*\.?",
    "H": r"(?P<H>\d{1,2})",
    "I": r"(?P<I>\d{1,2})",
    "M": r"(?P<M>\d{1,2})",
    "S": r"(?P<S>\d{1,2})",
    "a": r"[A-Za-z]{2,9}\.?",
    "p": r"(?P<p>(?i:[AP])\.?(?i:M)\.?)",
    "z": r"(?P<z>[Zz]|UTC|GMT|[+-]\d{2}(?::?\d{2})?)?",
    "%": "%",
}
_COMPACT = {"m": r"(?P<m>\d{2})", "d": r"(?P<d>\d{2})", "H": r"(?P<H>\d{2})"}
_COMPACT |= {"M": r"(?P<M>\d{2})", "S": r"(?P<S>\d{2})"}
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


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
            is_compact = time_format[at + 2 : at + 3] == "%" or time_format[at - 1 : at] in "YymdHM"
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
    year, month, day, bad = _dates(fields, len(texts))
    hour, minute, second, bad_time = _clock(fields, len(texts))
    bad |= bad_time
    months = (year - 1970) * 12 + (month - 1)
    first = months.astype("M8[M]").astype("M8[D]").astype(np.int64)
    next_first = (months + 1).astype("M8[M]").astype("M8[D]").astype(np.int64)
    bad |= day > next_first - first
    seconds = ((first + day - 1) * 24 + hour) * 3600 + minute * 60 + second
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


def _dates(
    fields: dict[str, pa.Array], n: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    year = _ints(fields["Y"]) if "Y" in fields else None
    if year is None and "y" in fields:
        short = _ints(fields["y"])
        year = np.where(short < 69, 2000 + short, 1900 + short)  # as strptime has it
    if year is None:
        year = np.full(n, 1970)
    if "b" in fields:
        index = pc.index_in(pc.utf8_lower(fields["b"]), value_set=pa.array(_MONTHS))
        month = np.asarray(index.fill_null(-1)).astype(np.int64) + 1
    else:
        month = _ints(fields["m"]) if "m" in fields else np.ones(n, np.int64)
    day = _ints(fields["d"]) if "d" in fields else np.ones(n, np.int64)
    bad = (month < 1) | (month > 12) | (day < 1)
    return year, np.where(bad, 1, month), np.where(bad, 1, day), bad


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
    hours = _ints(pc.utf8_slice_codeunits(digits, 0, 2))
    minutes = _ints(pc.utf8_slice_codeunits(digits, 2, 4))
    is_west = np.asarray(pc.starts_with(field, "-"))
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
