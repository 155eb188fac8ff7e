"""Signals: what a sensor reads without faults.

    wave = sine(period_s=60, amplitude=5, offset=20) + white_noise(std=0.2)
    wave = (wave * 1.8 + 32).clip(low=0).round(digits=1)

Arithmetic takes signals and numbers. Each random leaf draws from its own stream, named by the
sensor and the leaf's place in the expression; `common` gives it another name, so that sensors share
it.
`t` is in seconds since the source's start, unless a parameter says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from iotdb_frames.errors import OptionsError
from iotdb_frames.simulate.clock import Floats
from iotdb_frames.simulate.signals.base import (
    Constant,
    Noise,
    Signal,
    as_signal,
    common,
    positive,
    unknown_name,
)
from iotdb_frames.simulate.signals.processes import ar1, counter, random_walk, red_noise, states
from iotdb_frames.simulate.signals.waves import (
    Clock,
    Function,
    OnOff,
    Ramp,
    Seasonal,
    Uniform,
    Wave,
)

__all__ = [
    "Signal",
    "ar1",
    "clock",
    "common",
    "constant",
    "correlated_noise",
    "counter",
    "function",
    "on_off",
    "ramp",
    "random_walk",
    "red_noise",
    "sawtooth",
    "seasonal",
    "signal",
    "sine",
    "square",
    "states",
    "triangle",
    "uniform",
    "white_noise",
]


def constant(value: bool | int | float | str = 0.0) -> Signal:
    """A constant value.

    Parameters
    ----------
    value : a number, a bool or a string
    """
    return Constant(value)


def uniform(*, low: float = 0.0, high: float = 1.0) -> Signal:
    """Independent values, uniform over [low, high).

    Parameters
    ----------
    low, high : the bounds
    """
    return Uniform(low, high)


def white_noise(*, std: float = 1.0) -> Signal:
    """Independent normal values of mean 0.

    Parameters
    ----------
    std : their standard deviation
    """
    return Noise(std)


def sine(
    *, period_s: float = 60.0, amplitude: float = 1.0, offset: float = 0.0, phase: float = 0.0
) -> Signal:
    """``offset + amplitude * sin(2π (t / period_s + phase))``.

    Parameters
    ----------
    period_s : length of a period, in seconds
    amplitude, offset : half the distance of the extremes, and their mean
    phase : in periods; 0.25 begins a quarter later in the wave
    """
    return Wave("sine", period_s, amplitude, offset, phase, 0.5)


def square(
    *,
    period_s: float = 60.0,
    amplitude: float = 1.0,
    offset: float = 0.0,
    phase: float = 0.0,
    duty: float = 0.5,
) -> Signal:
    """``offset + amplitude`` for the first `duty` of each period, ``offset - amplitude`` after.

    Parameters
    ----------
    period_s : length of a period, in seconds
    amplitude, offset : half the distance of the extremes, and their mean
    phase : in periods; 0.25 begins a quarter later in the wave
    duty : share of a period, between 0 and 1
    """
    return Wave("square", period_s, amplitude, offset, phase, duty)


def sawtooth(
    *, period_s: float = 60.0, amplitude: float = 1.0, offset: float = 0.0, phase: float = 0.0
) -> Signal:
    """From ``offset - amplitude`` up to ``offset + amplitude`` in each period, and back at once.

    Parameters
    ----------
    period_s : length of a period, in seconds
    amplitude, offset : half the distance of the extremes, and their mean
    phase : in periods; 0.25 begins a quarter later in the wave
    """
    return Wave("sawtooth", period_s, amplitude, offset, phase, 0.5)


def triangle(
    *, period_s: float = 60.0, amplitude: float = 1.0, offset: float = 0.0, phase: float = 0.0
) -> Signal:
    """From ``offset - amplitude`` up to ``offset + amplitude`` in half a period, and down again.

    Parameters
    ----------
    period_s : length of a period, in seconds
    amplitude, offset : half the distance of the extremes, and their mean
    phase : in periods; 0.25 begins a quarter later in the wave
    """
    return Wave("triangle", period_s, amplitude, offset, phase, 0.5)


def ramp(*, slope_per_s: float = 1.0, start: float = 0.0) -> Signal:
    """``start + slope_per_s * t``.

    Parameters
    ----------
    slope_per_s : growth per second
    start : the first value
    """
    return Ramp(slope_per_s, start)


def seasonal(
    *, day: float = 1.0, week: float = 0.0, offset: float = 0.0, peak_hour: float = 15.0
) -> Signal:
    """A wave a day and a wave a week, by the calendar (UTC), not by the start.

    Parameters
    ----------
    day : amplitude of the daily wave, highest at `peak_hour`
    week : amplitude of the weekly wave, highest on Wednesday noon
    offset : the mean
    peak_hour : hour of the day, UTC
    """
    return Seasonal(day, week, offset, peak_hour)


def on_off(*, on_s: float = 60.0, off_s: float = 60.0, random: bool = False) -> Signal:
    """True for `on_s`, False for `off_s`, again and again.

    Parameters
    ----------
    on_s, off_s : seconds
    random : both last at random, with these means (exponential)
    """
    positive("on_off", on_s=on_s, off_s=off_s)
    if random:
        return states((True, False), dwell_s=(on_s, off_s))
    return OnOff(on_s, off_s)


def function(f: Callable[[Floats], Any]) -> Signal:
    """A user's function of time.

    Parameters
    ----------
    f : called with seconds since the start, a read-only float64 array of ascending times, and
        returns an array of the same shape; called block-wise, so each value may depend on its own
        time only

    Raises
    ------
    OptionsError : it gives another shape, or values that no column can hold. What `f` raises
        itself comes as it is.
    """
    return Function.checked(f)


def clock() -> Signal:
    """The row's own time: as TIMESTAMP, as DATE, or as seconds since 1970 in a number."""
    return Clock()


def correlated_noise(
    correlation: Sequence[Sequence[float]], *, std: float | Sequence[float] = 1.0, name: str = "n"
) -> list[Signal]:
    """One white noise a sensor, correlated as asked.

    Parameters
    ----------
    correlation : symmetric, positive definite, with ones on the diagonal, shape (n, n)
    std : of all, or one each
    name : which group; the signals of one group belong to the same device

    Returns
    -------
    list of n signals, for n sensors
    """
    matrix = np.array(correlation, dtype=float)
    n = len(matrix)
    if (
        matrix.shape != (n, n)
        or not np.allclose(matrix, matrix.T)
        or not np.allclose(np.diag(matrix), 1)
    ):
        raise OptionsError("correlation must be square, symmetric and 1 on its diagonal")
    try:
        factor = np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        raise OptionsError("no noise can have this correlation: not positive definite") from None
    if np.size(std) not in (1, n):
        raise OptionsError(f"std must be one number or {n}")
    factor *= np.broadcast_to(np.asarray(std, dtype=float).ravel(), n)[:, None]
    roots = [common(f"{name}{i}", white_noise()) for i in range(n)]
    mixed: list[Signal] = []
    for i in range(n):
        total = roots[0] * float(factor[i, 0])
        for j in range(1, i + 1):
            if factor[i, j]:
                total = total + roots[j] * float(factor[i, j])
        mixed.append(total)
    return mixed


def signal(value: Any) -> Signal:
    """A signal from itself, a name ("sine"), a number or a function of time.

    Parameters
    ----------
    value : one of these

    Raises
    ------
    OptionsError : an unknown name (with the nearest ones), or nothing of these.
    """
    if isinstance(value, str):
        if value not in SIGNALS:
            raise unknown_name("signal", value, sorted(SIGNALS))
        return SIGNALS[value]()
    if callable(value) and not isinstance(value, Signal):
        return function(value)
    return as_signal(value)


SIGNALS: dict[str, Callable[[], Signal]] = {
    "ar1": ar1,
    "clock": clock,
    "constant": constant,
    "counter": counter,
    "on_off": on_off,
    "ramp": ramp,
    "random_walk": random_walk,
    "red_noise": red_noise,
    "sawtooth": sawtooth,
    "seasonal": seasonal,
    "sine": sine,
    "square": square,
    "states": states,
    "triangle": triangle,
    "uniform": uniform,
    "white_noise": white_noise,
}
"""Signals that can be named by a string, with their defaults."""
