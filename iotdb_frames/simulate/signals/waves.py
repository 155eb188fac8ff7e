"""Signals without memory: each value follows from its time, or is drawn by its row."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from iotdb_frames.errors import OptionsError
from iotdb_frames.simulate.clock import Floats
from iotdb_frames.simulate.signals.base import (
    Block,
    Kind,
    Signal,
    Values,
    finite,
    positive,
)

Shape = Literal["sine", "square", "sawtooth", "triangle"]

_DAY_S, _WEEK_S = 86_400, 604_800
_WEDNESDAY_NOON_S = (6 * 24 + 12) * 3600  # after Thursday, 1 January 1970


@dataclass(frozen=True, repr=False)
class Uniform(Signal):
    """See `signals`."""

    low: float = 0.0
    high: float = 1.0
    name = "uniform"

    def __post_init__(self) -> None:
        finite(self.name, low=self.low, high=self.high)
        if not self.low < self.high:
            raise OptionsError(f"uniform: low={self.low} must be below high={self.high}")

    def evaluate(self, block: Block) -> Values:
        values = block.generator().random(block.n_rows)
        if (self.low, self.high) != (0.0, 1.0):
            values *= self.high - self.low
            values += self.low
        return values


@dataclass(frozen=True, repr=False)
class Wave(Signal):
    """See `signals`."""

    name: Shape
    period_s: float = 60.0
    amplitude: float = 1.0
    offset: float = 0.0
    phase: float = 0.0
    duty: float = 0.5

    def __post_init__(self) -> None:
        positive(self.name, period_s=self.period_s)
        finite(self.name, amplitude=self.amplitude, offset=self.offset, phase=self.phase)
        if not 0 < self.duty < 1:
            raise OptionsError(f"{self.name}: duty={self.duty} must be between 0 and 1")

    def evaluate(self, block: Block) -> Values:
        values: Values
        if self.name == "sine":
            values = block.times.t * (2 * math.pi / self.period_s)
            if self.phase:
                values += 2 * math.pi * self.phase
            np.sin(values, out=values)
        else:
            cycles = block.times.t / self.period_s + self.phase
            cycles -= np.floor(cycles)
            if self.name == "square":
                values = np.where(cycles < self.duty, 1.0, -1.0)
            elif self.name == "sawtooth":
                values = 2 * cycles - 1
            else:
                values = 1 - np.abs(4 * cycles - 2)
        if self.amplitude != 1:
            values *= self.amplitude
        if self.offset:
            values += self.offset
        return values


@dataclass(frozen=True, repr=False)
class Ramp(Signal):
    """See `signals`."""

    slope_per_s: float = 1.0
    start: float = 0.0
    name = "ramp"

    def __post_init__(self) -> None:
        finite(self.name, slope_per_s=self.slope_per_s, start=self.start)

    def evaluate(self, block: Block) -> Values:
        return self.start + self.slope_per_s * block.times.t


@dataclass(frozen=True, repr=False)
class Seasonal(Signal):
    """See `signals`."""

    day: float = 1.0
    week: float = 0.0
    offset: float = 0.0
    peak_hour: float = 15.0
    name = "seasonal"

    def __post_init__(self) -> None:
        finite(self.name, day=self.day, week=self.week, offset=self.offset)
        if not 0 <= self.peak_hour < 24:
            raise OptionsError(f"seasonal: peak_hour={self.peak_hour} must be in [0, 24)")

    def evaluate(self, block: Block) -> Values:
        # Reduced in integers first: a float of seconds since 1970 would lose the microseconds.
        units = block.times.clock.units_per_s
        in_day = (block.times.times % (_DAY_S * units)) / units - 3600 * self.peak_hour
        values: Values = self.offset + self.day * np.cos(in_day * (2 * math.pi / _DAY_S))
        if self.week:
            in_week = (block.times.times % (_WEEK_S * units)) / units - _WEDNESDAY_NOON_S
            values += self.week * np.cos(in_week * (2 * math.pi / _WEEK_S))
        return values


@dataclass(frozen=True, repr=False)
class OnOff(Signal):
    """See `signals`."""

    on_s: float = 60.0
    off_s: float = 60.0
    kind: Kind = "bool"
    name = "on_off"

    def evaluate(self, block: Block) -> Values:
        return np.mod(block.times.t, self.on_s + self.off_s) < self.on_s


@dataclass(frozen=True, repr=False)
class Clock(Signal):
    """See `signals`."""

    kind: Kind = "time"
    name = "clock"

    def evaluate(self, block: Block) -> Values:
        return block.times.times


_KINDS: dict[str, Kind] = {"f": "float", "i": "int", "u": "int", "b": "bool", "U": "str"}


@dataclass(frozen=True, repr=False)
class Function(Signal):
    """See `signals`."""

    f: Callable[[Floats], Any]
    kind: Kind
    name = "function"

    @classmethod
    def checked(cls, f: Callable[[Floats], Any]) -> Function:
        if not callable(f):
            raise OptionsError(f"function: {f!r} cannot be called")
        # Called once to learn its type, with times that it will get again.
        values = np.asarray(f(np.array([0.0, 1.0])))
        kind = "O" if values.dtype == object else values.dtype.kind
        if kind == "O" and all(isinstance(value, str) for value in values.ravel()):
            kind = "U"
        if kind not in _KINDS:
            raise OptionsError(f"function: values of type {values.dtype} fit no IoTDB type")
        made = cls(f, _KINDS[kind])
        made._check_shape(values, (2,))
        return made

    def _check_shape(self, values: npt.NDArray[Any], shape: tuple[int]) -> None:
        if values.shape != shape:
            raise OptionsError(
                f"function: {self._called} gave shape {values.shape} for times of shape {shape}",
                hint="return one value per time, e.g. np.full_like(t, 3.0)",
            )

    def evaluate(self, block: Block) -> Values:
        values = np.asarray(self.f(block.times.t))
        self._check_shape(values, (block.n_rows,))
        if self.kind == "str":
            return values.astype(object)
        types = {"float": np.float64, "int": np.int64, "bool": np.bool_}
        return values.astype(types[self.kind])

    @property
    def _called(self) -> str:
        return getattr(self.f, "__name__", repr(self.f))

    def __repr__(self) -> str:
        return f"function({self._called})"
