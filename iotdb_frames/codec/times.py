"""Times: datetime64 of any unit and zone to integer ticks of the server's precision, exactly.

IoTDB keeps an instant as an int64 in the server's precision, counted from 1970 in UTC. Integer
arithmetic only: through float, 12 % of ns stamps end one ms early.
"""

from __future__ import annotations

import datetime as dt
import math
import warnings
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Literal
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
from pandas.tseries.frequencies import to_offset

from iotdb_frames.errors import OptionsError, TimeIndexError

Unit = Literal["s", "ms", "us", "ns"]
TICKS_PER_S = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
NAT = np.iinfo(np.int64).min
_FIRST_S, _END_S = -62_135_596_800, 253_402_300_800
"""Begin of the year 1 and end of the year 9999, in seconds since 1970, UTC."""


class Reason(Enum):
    """Why a value cannot be sent as it is; the remedy depends on it."""

    MISSING = auto()
    FINER = auto()
    """A time has digits below the server's precision."""
    ABSENT = auto()
    """A local time that the zone skips or has twice."""
    TIME_OF_DAY = auto()
    """A date that is not at midnight."""
    YEARS = auto()
    RANGE = auto()
    """Outside the range of the type or the zone."""
    INEXACT = auto()
    """The type would round it."""


@dataclass(frozen=True)
class Why:
    """A reason, and its text, whose subject is the value."""

    reason: Reason
    text: str

    def __str__(self) -> str:
        return self.text


BEYOND_YEARS = Why(Reason.YEARS, "is outside the years 1 to 9999")


def finer_than(precision: str) -> Why:
    """The reason for a time that has digits below a precision."""
    return Why(Reason.FINER, f"is finer than the server's precision ({precision})")


@dataclass(frozen=True)
class Ticks:
    """Converted times.

    values : int64, shape (n,); undefined where `is_null` or `is_bad`
    is_null : bool, shape (n,), or None if none is missing
    is_bad : bool, shape (n,), or None if all are exact
    why : what is wrong with the bad ones, if any
    n_cut : how many were truncated to the precision
    """

    values: np.ndarray
    is_null: np.ndarray | None = None
    is_bad: np.ndarray | None = None
    why: Why | None = None
    n_cut: int = 0


def _any(mask: np.ndarray) -> np.ndarray | None:
    return mask if mask.any() else None


def rescale(values: np.ndarray, *, unit: str, precision: str, is_lossy: bool) -> Ticks:
    """Ticks of `unit` as ticks of `precision`; NaT is null.

    Parameters
    ----------
    values : int64, shape (n,)
    unit, precision : "s", "ms", "us" or "ns"
    is_lossy : truncate what is finer than `precision` (towards the past) instead of marking it bad
    """
    has_null = len(values) and values.min() == NAT  # the smallest there is
    is_null = values == NAT if has_null else None
    source, target = TICKS_PER_S[unit], TICKS_PER_S[precision]
    if source == target:
        return Ticks(values, is_null)
    if source < target:
        factor = target // source
        limit = np.iinfo(np.int64).max // factor
        is_bad = (values > limit) | (values < -limit)
        with np.errstate(over="ignore"):
            out = values * np.int64(factor)
        why = Why(Reason.RANGE, f"is outside the range of int64 {precision}")
    else:
        factor = source // target
        out = values // np.int64(factor)
        is_bad = out * np.int64(factor) != values
        why = finer_than(precision)
    if is_null is not None:
        is_bad &= ~is_null
    if is_lossy and source > target:
        return Ticks(out, is_null, n_cut=int(np.count_nonzero(is_bad)))
    return Ticks(out, is_null, _any(is_bad), why)


def beyond_years(ticks: np.ndarray, precision: str) -> np.ndarray | None:
    """Which ticks (int64, shape (n,)) are outside the years 1 to 9999; None if none are.

    The server accepts them, and then cannot count or show what is stored.
    """
    first, end = _FIRST_S * TICKS_PER_S[precision], _END_S * TICKS_PER_S[precision]
    if not len(ticks) or (int(ticks.min()) >= first and int(ticks.max()) < end):
        return None
    return (ticks < first) | (ticks >= end)


def zone_ends(unit: str, *, margin_days: int) -> tuple[int, int]:
    """First and last tick that zones support: from the year 1 to 9999, and within int64.

    `margin_days` are left free at both ends of int64, so that an offset cannot overflow.
    """
    day = 86_400 * TICKS_PER_S[unit]
    end = (1 << 63) - margin_days * day
    return max(-719_161 * day, -end), min(2_932_895 * day, end)


def localize(values: np.ndarray, *, unit: Unit, zone: str) -> Ticks:
    """Naive wall times of `zone` as UTC ticks of the same unit.

    A time that the zone skips or has twice is bad, never guessed, and so is one outside the years
    1 to 9999, which zones do not cover.
    """
    is_null = values == NAT
    if zone == "UTC":
        return Ticks(values, _any(is_null))
    first, last = zone_ends(unit, margin_days=2)
    is_far = ~is_null & ((values < first) | (values > last))
    naive = pd.DatetimeIndex(np.where(is_far, NAT, values).view(f"M8[{unit}]"))
    # A ZoneInfo: for a name, pandas 2 uses pytz, whose summer times end in 2037.
    utc = naive.tz_localize(ZoneInfo(zone), ambiguous="NaT", nonexistent="NaT")
    is_bad = np.asarray(utc.isna()) & ~is_null
    return Ticks(
        utc.as_unit(unit).asi8,
        _any(is_null),
        _any(is_bad),
        Why(Reason.ABSENT, f"does not exist, or exists twice, in {zone}")
        if (is_bad & ~is_far).any()
        else Why(Reason.RANGE, f"is outside the years that {zone} covers"),
    )


def to_ticks(
    values: np.ndarray, *, unit: Unit, is_naive: bool, zone: str, precision: str, is_lossy: bool
) -> Ticks:
    """UTC ticks of `precision` from ticks of `unit`.

    Parameters
    ----------
    values : int64, shape (n,); NaT is the smallest int64
    is_naive : whether they are wall times of `zone` (otherwise UTC)
    """
    if not is_naive or zone == "UTC":
        return rescale(values, unit=unit, precision=precision, is_lossy=is_lossy)
    local = localize(values, unit=unit, zone=zone)
    ticks = rescale(local.values, unit=unit, precision=precision, is_lossy=is_lossy)
    if local.is_bad is None:
        return ticks
    # Times that do not exist in the zone are NaT now: bad, not missing.
    is_bad = local.is_bad if ticks.is_bad is None else local.is_bad | ticks.is_bad
    return Ticks(ticks.values, local.is_null, is_bad, local.why, ticks.n_cut)


def date_numbers(days: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Days since 1970 as the wire's yyyymmdd, and which are outside the years 1 to 9999.

    Parameters
    ----------
    days : int, shape (n,)

    Returns
    -------
    int32, shape (n,), and a bool mask or None
    """
    day = days.astype("M8[D]")
    month = day.astype("M8[M]")
    year = month.astype("M8[Y]").astype(np.int64) + 1970
    month_of_year = month.astype(np.int64) % 12 + 1
    day_of_month = (day - month.astype("M8[D]")).astype(np.int64) + 1
    is_bad = (year < 1) | (year > 9999)
    number = np.where(is_bad, 0, year * 10_000 + month_of_year * 100 + day_of_month)
    return number.astype(np.int32), _any(is_bad)


def moment(value: Any, *, name: str, zone: str, precision: Unit) -> int:
    """A time given by the user, as a tick of the server.

    Parameters
    ----------
    value : Timestamp, datetime, date, numpy datetime64 or text that pandas can parse; naive ones
        are wall times of `zone`; an integer is a tick already
    name : of the option, for the error

    Raises
    ------
    OptionsError : not a time (nor is a float, whose unit is unknown), one that the zone skips or
        has twice, or one finer than `precision`.
    """
    # To numpy a timedelta64 is an integer.
    if isinstance(value, int | np.integer) and not isinstance(value, bool | np.timedelta64):
        tick = int(value)
        if not -(1 << 63) <= tick < 1 << 63:
            raise OptionsError(f"{name}={tick} is not a valid 64-bit tick")
        return tick
    hint = 'e.g. "2024-05-01 12:00", a Timestamp, or an integer tick of the server'
    if not isinstance(value, dt.date | np.datetime64 | str):
        raise OptionsError(f"{name}={value!r} is not a valid time", hint=hint)
    try:
        stamp = pd.Timestamp(value)
    except (ValueError, TypeError, OverflowError) as exc:
        raise OptionsError(f"{name}={value!r} is not a valid time: {exc}", hint=hint) from exc
    if pd.isna(stamp):
        raise OptionsError(f"{name}={value!r} is not a valid time", hint=hint)
    is_naive = stamp.tz is None
    count = (stamp if is_naive else stamp.tz_convert(None)).to_datetime64().view("i8").reshape(1)
    ticks = to_ticks(
        count, unit=stamp.unit, is_naive=is_naive, zone=zone, precision=precision, is_lossy=False
    )
    if ticks.is_bad is not None:
        raise OptionsError(f"{name}={value!r} {ticks.why}")
    return int(ticks.values[0])


def to_timedelta(span: Any) -> pd.Timedelta:
    """A length of time, from ``"10min"``, a timedelta or anything else that pandas takes for one.

    Raises
    ------
    ValueError, TypeError : it is not one, or pandas is not consistent: "1MS" is a millisecond to
        `Timedelta` and the start of a month to `date_range`.
    """
    if isinstance(span, str):
        other = None
        with warnings.catch_warnings(), suppress(ValueError):
            warnings.simplefilter("ignore")  # older spellings
            other = to_offset(span)
        fixed = pd.offsets.Tick | pd.offsets.Day | pd.offsets.Week
        if other is not None and not isinstance(other, fixed):
            raise ValueError(f"to pandas it is the frequency {span!r}, which has no fixed length")
    return pd.Timedelta(span)


def to_naive_utc(time: Any, *, name: str) -> pd.Timestamp:
    """A timestamp without zone, in UTC, from anything pandas takes for one.

    Raises
    ------
    TimeIndexError : it is not a time.
    """
    try:
        stamp = pd.Timestamp(time)
    except (ValueError, TypeError) as exc:
        raise TimeIndexError(f"{name}={time!r} is not a valid time") from exc
    if pd.isna(stamp):
        raise TimeIndexError(f"{name}={time!r} is not a valid time")
    return stamp.tz_convert("UTC").tz_localize(None) if stamp.tz is not None else stamp


def to_seconds(span: Any, *, name: str) -> float:
    """Seconds from a number of seconds, ``"10min"`` or a timedelta.

    Raises
    ------
    OptionsError : it is not a span, or not finite.
    """
    try:
        is_number = isinstance(span, (int, float, np.number)) and not isinstance(span, bool)
        seconds = float(span) if is_number else to_timedelta(span).total_seconds()
        if not math.isfinite(seconds):
            raise ValueError("it is not finite")
    except (ValueError, TypeError) as exc:
        raise OptionsError(
            f"{name}={span!r} is not a valid time span", hint='seconds, or "10min"'
        ) from exc
    return seconds
