"""Texts as values of any kind, in whole columns, and which of them do not fit.

Arrow's own CSV conversion stops at the first cell that does not convert. This one never stops: it
marks. It is slower, and used only for blocks, and forms of times, that Arrow's cannot do.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from iotdb_frames.files.csv.times import Parsed, parse_times

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
    why = "is not a whole number, or needs more than 64 bits"
    return _checked(plain.cast(pa.int64()), fits, why)


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
