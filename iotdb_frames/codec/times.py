"""Times: datetime64 of any unit and zone to integer ticks of the server's precision, exactly.

IoTDB keeps an instant as an int64 in the server's precision, counted from 1970 in UTC. Integer
arithmetic only: through float, 12 % of ns stamps end one ms early.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

Unit = Literal["s", "ms", "us", "ns"]
TICKS_PER_S = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
NAT = np.iinfo(np.int64).min


@dataclass(frozen=True)
class Ticks:
    """Converted times.

    values : int64, shape (n,); undefined where `is_null` or `is_bad`
    is_null : bool, shape (n,), or None where none is missing
    is_bad : bool, shape (n,), or None where all are exact
    why : what is wrong with the bad ones
    """

    values: np.ndarray
    is_null: np.ndarray | None = None
    is_bad: np.ndarray | None = None
    why: str = ""


def _any(mask: np.ndarray) -> np.ndarray | None:
    return mask if mask.any() else None


def rescale(values: np.ndarray, *, unit: str, precision: str, is_lossy: bool) -> Ticks:
    """Ticks of `unit` as ticks of `precision`; NaT is null.

    Parameters
    ----------
    values : int64, shape (n,)
    unit, precision : "s", "ms", "us" or "ns"
    is_lossy : cut what is finer than `precision` (towards the past) rather than call it bad
    """
    is_null = _any(values == NAT)
    source, target = TICKS_PER_S[unit], TICKS_PER_S[precision]
    if source == target:
        return Ticks(values, is_null)
    if source < target:
        factor = target // source
        limit = np.iinfo(np.int64).max // factor
        is_bad = (values > limit) | (values < -limit)
        with np.errstate(over="ignore"):
            out = values * np.int64(factor)
        why = f"is outside what int64 {precision} can hold"
    else:
        factor = source // target
        out = values // np.int64(factor)
        is_bad = np.zeros(len(values), bool) if is_lossy else out * np.int64(factor) != values
        why = f"is finer than the server's precision ({precision})"
    if is_null is not None:
        is_bad &= ~is_null
    return Ticks(out, is_null, _any(is_bad), why)


def localize(values: np.ndarray, *, unit: Unit, zone: str) -> Ticks:
    """Naive wall times of `zone` as UTC ticks of the same unit.

    A time that the zone skips or has twice is bad, never guessed.
    """
    if zone == "UTC":
        return Ticks(values, _any(values == NAT))
    naive = pd.DatetimeIndex(values.view(f"M8[{unit}]"))
    is_null = np.asarray(naive.isna())
    utc = naive.tz_localize(zone, ambiguous="NaT", nonexistent="NaT")
    is_bad = np.asarray(utc.isna()) & ~is_null
    return Ticks(
        utc.as_unit(unit).asi8,
        _any(is_null),
        _any(is_bad),
        f"does not exist, or exists twice, in {zone}",
    )


def to_ticks(
    values: np.ndarray, *, unit: Unit, is_naive: bool, zone: str, precision: str, is_lossy: bool
) -> Ticks:
    """UTC ticks of `precision` from ticks of `unit`.

    Parameters
    ----------
    values : int64, shape (n,); NaT is the smallest int64
    is_naive : whether they are wall times of `zone` (else they are UTC already)
    """
    if is_naive and zone != "UTC":
        local = localize(values, unit=unit, zone=zone)
        if local.is_bad is not None:
            return local
        values = local.values
    return rescale(values, unit=unit, precision=precision, is_lossy=is_lossy)


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
