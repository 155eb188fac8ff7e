"""Ticks: which row is when. No wall clock is read here; time is arithmetic on row numbers.

Row (tick) `k` of a source is at ``start + k / rate``, floored to the source's time unit. The
period is kept as an exact fraction of units, so the billionth row is as exact as the first.

A span holds the rows from its begin, inclusive, to its end, exclusive, whatever it is the span of:
a source, a frame, a window, a stream, a fault, a ledger. `first_step_from` is that rule; nothing
else decides which row is in a span.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from iotdb_frames.codec.times import TICKS_PER_S, to_naive_utc, to_seconds
from iotdb_frames.errors import OptionsError
from iotdb_frames.options import check_choice, is_whole

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

BLOCK = 4096
"""Rows per block: the unit in which values are generated, whatever the window."""

_NS = TICKS_PER_S["ns"]


def first_step_from(seconds: float, *, per_s: Fraction) -> int:
    """The first of evenly spaced steps not before a moment, and so the number before it.

    Binary seconds are not exact: ``n / per_s`` is step n, whether it is rounded up or down. What
    is within half a nanosecond, or the last digit of `seconds`, counts as equal.

    Parameters
    ----------
    seconds : the moment, since step 0
    per_s : steps per second
    """
    nanos = round(seconds * _NS)
    return _first_step(nanos - Fraction(1, 2) - Fraction(abs(nanos), 1 << 52), per_s)


def _first_step(nanos: int | Fraction, per_s: Fraction) -> int:
    return math.ceil(nanos * per_s / _NS)


@dataclass(frozen=True, kw_only=True)
class SampleClock:
    """Times of ticks.

    Parameters
    ----------
    start : time of tick 0, in units since 1970 (UTC)
    period : units per tick, exact
    unit : "ms", "us" or "ns"
    """

    start: int
    period: Fraction
    unit: str

    @classmethod
    def at_rate(cls, rate_hz: float, *, start: Any, unit: str) -> SampleClock:
        """A clock of `rate_hz` ticks per second; rates below 1 are taken by their period.

        Raises
        ------
        OptionsError : a rate that is not positive and finite, or finer than the unit.
        """
        check_choice("time_unit", unit, ("ms", "us", "ns"))
        try:
            rate = float(rate_hz)
        except (TypeError, ValueError):
            rate = math.nan
        if not (math.isfinite(rate) and rate > 0):
            raise OptionsError(
                f"rate_hz={rate_hz!r} must be more than 0", hint="rows per second, e.g. rate_hz=10"
            )
        if rate >= 1:
            period_s = 1 / Fraction(rate).limit_denominator(10**6)
        else:
            period_s = Fraction(1 / rate).limit_denominator(10**6)
        period = period_s * TICKS_PER_S[unit]
        if period < 1:
            raise OptionsError(
                f"rate_hz={rate_hz!r} is finer than time_unit={unit!r}: times would repeat",
                hint='time_unit="us" or "ns"',
            )
        stamp = to_naive_utc(start, name="start").to_datetime64()
        units = int(stamp.astype(f"datetime64[{unit}]").astype(np.int64))
        return cls(start=units, period=period, unit=unit)

    @property
    def units_per_s(self) -> int:
        """Units per second."""
        return TICKS_PER_S[self.unit]

    @cached_property
    def period_s(self) -> float:
        """Seconds per tick."""
        return float(self.period / self.units_per_s)

    @property
    def dtype(self) -> str:
        """The index dtype of a frame on this clock."""
        return f"datetime64[{self.unit}]"

    def times(self, ticks: Ints) -> Ints:
        """Times of `ticks` in units since 1970; exact, in integers.

        Parameters
        ----------
        ticks : int64 array, any shape
        """
        whole, rest = divmod(self.period.numerator, self.period.denominator)
        times = ticks * whole
        if rest:
            times += (ticks * rest) // self.period.denominator
        times += self.start
        return times

    @cached_property
    def _per_s(self) -> Fraction:
        return self.units_per_s / self.period

    def first_tick_from(self, seconds: float) -> int:
        """The first tick not before `seconds` after tick 0; so, the ticks that a span holds."""
        return first_step_from(seconds, per_s=self._per_s)

    def ticks_in(self, window: Any, *, name: str) -> int:
        """How many ticks a window has: a number of rows (int), or a span.

        Raises
        ------
        OptionsError : none, or a float, which may be either.
        """
        if is_whole(window):
            n = int(window)
        elif isinstance(window, float):
            raise OptionsError(f"{name}={window!r}: rows (an int) or seconds?", hint='e.g. "2.5s"')
        else:
            n = self.first_tick_from(to_seconds(window, name=name))
        if n < 1:
            raise OptionsError(f"{name}={window!r} holds no row", hint="rows, or a span: 100, '5s'")
        return n

    def first_tick_at(self, time: pd.Timestamp) -> int:
        """The first tick whose time is not before `time`."""
        micros = int(time.to_datetime64().astype("datetime64[us]").astype(np.int64))
        nanos = micros * 1000 + time.nanosecond - self.start * (_NS // self.units_per_s)
        # A floored time is at or after a whole unit exactly when the unfloored one is. What has
        # nanoseconds was computed, and rounded to them.
        return _first_step(nanos - Fraction(1, 2) if nanos % 1000 else nanos, self._per_s)

    def nearest_tick(self, seconds: float) -> int:
        """The tick nearest to `seconds` after tick 0."""
        return round(seconds / self.period_s)

    def stamp(self, units: int) -> pd.Timestamp:
        """A timestamp from units since 1970."""
        return pd.Timestamp(np.datetime64(units, self.unit))  # type: ignore[call-overload]


@dataclass(frozen=True)
class BlockTimes:
    """Times of one block, shared by every sensor that generates it."""

    clock: SampleClock
    index: int

    @cached_property
    def ticks(self) -> Ints:
        """Row numbers, shape (BLOCK,)."""
        first = self.index * BLOCK
        return np.arange(first, first + BLOCK, dtype=np.int64)

    @cached_property
    def t(self) -> Floats:
        """Seconds since tick 0, shape (BLOCK,)."""
        return _frozen(self.ticks * np.float64(self.clock.period_s))

    @cached_property
    def times(self) -> Ints:
        """Units since 1970, shape (BLOCK,)."""
        return self.clock.times(self.ticks)


def _frozen(array: Floats) -> Floats:
    # Handed to users' functions and shared between sensors: writing into it must fail.
    array.flags.writeable = False
    return array


@lru_cache(maxsize=16)
def block_times(clock: SampleClock, index: int) -> BlockTimes:
    """The times of block `index`; computed once for all the sensors of a source."""
    return BlockTimes(clock, index)
