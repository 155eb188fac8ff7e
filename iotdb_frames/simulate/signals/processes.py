"""Signals with a memory: random walk, AR(1) and red noise, state machines, counters.

Each hands its state from block to block, and is free of row loops within one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from iotdb_frames.errors import OptionsError
from iotdb_frames.simulate.clock import BLOCK, Floats, Ints
from iotdb_frames.simulate.signals.base import (
    Block,
    Kind,
    Signal,
    Values,
    finite,
    positive,
)

Label = bool | int | float | str


def random_walk(
    *, step: float = 1.0, start: float = 0.0, low: float | None = None, high: float | None = None
) -> Signal:
    """A sum of independent normal steps, reflected at its bounds.

    Parameters
    ----------
    step : standard deviation of one row's step
    start : the value before the first step
    low, high : bounds; a walk that would cross one is mirrored there
    """
    return RandomWalk(step, start, low, high)


def ar1(*, phi: float = 0.9, std: float = 1.0, mean: float = 0.0) -> Signal:
    """First-order autoregression: ``x[k] - mean = phi * (x[k-1] - mean) + e[k]``, stationary.

    Parameters
    ----------
    phi : correlation of neighbouring rows, between -1 and 1
    std, mean : of the values, from the first row on
    """
    return AutoRegression(phi, std, mean)


def red_noise(*, tau_s: float = 60.0, std: float = 1.0) -> Signal:
    """Noise with a correlation time: the same process at any rate.

    The correlation of two values `s` seconds apart is ``exp(-s / tau_s)`` (Ornstein-Uhlenbeck).

    Parameters
    ----------
    tau_s : correlation time, in seconds
    std : standard deviation of the values
    """
    return RedNoise(tau_s, std)


def states(
    labels: Sequence[Label] = ("idle", "running", "fault"),
    *,
    dwell_s: float | Sequence[float] = 60.0,
    transitions: Sequence[Sequence[float]] | None = None,
) -> Signal:
    """A state machine: a Markov chain that starts in the first state.

    Parameters
    ----------
    labels : the states: strings, numbers or bools
    dwell_s : mean seconds in each state, one for all or one each
    transitions : where each state goes when it leaves, a row a state, relative weights;
        None: any other state, equally likely
    """
    return StateMachine.checked(labels, dwell_s, transitions)


def counter(
    *,
    rate_per_s: float = 1.0,
    random: bool = False,
    reset_at: int | None = None,
    reset_probability: float = 0.0,
) -> Signal:
    """A count of events since the last reset, 0 in the first row.

    Parameters
    ----------
    rate_per_s : events per second
    random : events come at random (Poisson), not evenly
    reset_at : the count goes on from 0 when it reaches this
    reset_probability : chance a row that the count falls to 0 (a reboot)
    """
    return Counter(rate_per_s, random, reset_at, reset_probability)


@dataclass(frozen=True, repr=False)
class RandomWalk(Signal):
    """See `random_walk`."""

    step: float = 1.0
    start: float = 0.0
    low: float | None = None
    high: float | None = None
    name = "random_walk"
    is_stateful = True

    def __post_init__(self) -> None:
        positive(self.name, step=self.step)
        finite(self.name, start=self.start)
        low = -math.inf if self.low is None else self.low
        high = math.inf if self.high is None else self.high
        if not low < high:
            raise OptionsError(f"random_walk: low={low} must be below high={high}")
        if not low <= self.start <= high:
            raise OptionsError(f"random_walk: start={self.start} is not within its bounds")

    def evaluate(self, block: Block) -> Values:
        walk = block.generator().standard_normal(BLOCK)
        walk *= self.step
        walk[0] += block.recall(self, first=self.start)
        np.cumsum(walk, out=walk)
        folded, last = self._reflect(walk)
        block.keep(self, last)
        return folded

    def _reflect(self, walk: Floats) -> tuple[Floats, float]:
        # The free walk is folded like a strip of paper; its end, reduced by whole folds, is kept.
        if self.low is not None and self.high is not None:
            width = self.high - self.low
            phase = np.mod(walk - self.low, 2 * width)
            return self.low + (width - np.abs(phase - width)), self.low + float(phase[-1])
        if self.low is not None:
            return self.low + np.abs(walk - self.low), float(walk[-1])
        if self.high is not None:
            return self.high - np.abs(walk - self.high), float(walk[-1])
        return walk, float(walk[-1])


@dataclass(frozen=True, repr=False)
class AutoRegression(Signal):
    """See `ar1`."""

    phi: float = 0.9
    std: float = 1.0
    mean: float = 0.0
    name = "ar1"
    is_stateful = True

    def __post_init__(self) -> None:
        positive(self.name, std=self.std)
        finite(self.name, mean=self.mean)
        if not -1 < self.phi < 1:
            raise OptionsError(f"ar1: phi={self.phi!r} must be between -1 and 1")

    def evaluate(self, block: Block) -> Values:
        return correlated(self, block, self.phi) * self.std + self.mean


@dataclass(frozen=True, repr=False)
class RedNoise(Signal):
    """See `red_noise`."""

    tau_s: float = 60.0
    std: float = 1.0
    name = "red_noise"
    is_stateful = True

    def __post_init__(self) -> None:
        positive(self.name, tau_s=self.tau_s, std=self.std)

    def evaluate(self, block: Block) -> Values:
        phi = math.exp(-block.times.clock.period_s / self.tau_s)
        return correlated(self, block, phi) * self.std


def correlated(signal: Signal, block: Block, phi: float) -> Floats:
    """Values of mean 0 and variance 1 whose neighbours have the correlation `phi`."""
    x = block.generator().standard_normal(BLOCK + 1)
    before = block.recall(signal, first=float(x[BLOCK]))  # stationary from the first row on
    values = x[:BLOCK]
    values *= math.sqrt(1 - phi * phi)
    filter_ar1(values, phi)
    values += decay(phi) * before
    block.keep(signal, float(values[-1]))
    return values


def filter_ar1(x: Floats, phi: float) -> None:
    """In place ``x[k] += phi * x[k-1]``, one after the other, in log2(n) vector steps.

    After the step of distance d, x[k] holds the weighted sum of the 2d inputs up to k. The order
    of additions depends on n only, so a block gives the same bits each time and everywhere.
    """
    distance, weight = 1, phi
    while distance < len(x) and abs(weight) > 1e-20:  # smaller weights vanish in rounding
        x[distance:] += weight * x[:-distance]
        distance, weight = 2 * distance, weight * weight


@lru_cache(maxsize=64)
def decay(phi: float) -> Floats:
    """``phi ** (k + 1)`` for each row k of a block."""
    return phi ** np.arange(1, BLOCK + 1, dtype=np.float64)


@dataclass(frozen=True, repr=False)
class StateMachine(Signal):
    """See `states`."""

    labels: tuple[Label, ...]
    dwell_s: tuple[float, ...]
    transitions: tuple[tuple[float, ...], ...]
    name = "states"
    kind: Kind = "str"
    is_stateful = True

    @classmethod
    def checked(
        cls,
        labels: Sequence[Label],
        dwell_s: float | Sequence[float],
        transitions: Sequence[Sequence[float]] | None,
    ) -> StateMachine:
        """A machine whose parameters fit each other.

        Raises
        ------
        OptionsError : fewer than two states, labels of several types, wrong shapes or weights.
        """
        labels = tuple(labels)
        n = len(labels)
        if n < 2 or len(set(labels)) < n:
            raise OptionsError(f"states: labels={labels!r} must be two or more different ones")
        kinds: dict[type, Kind] = {str: "str", bool: "bool", int: "int", float: "float"}
        types = {type(label) for label in labels}
        if len(types) > 1 or not types <= set(kinds):
            raise OptionsError("states: labels must be all strings, all numbers or all bools")
        dwell = (
            tuple(map(float, np.broadcast_to(np.asarray(dwell_s, dtype=float).ravel(), n)))
            if np.size(dwell_s) in (1, n)
            else ()
        )
        if not dwell or min(dwell) <= 0:
            raise OptionsError(f"states: dwell_s={dwell_s!r} must be {n} seconds above 0, or one")
        weights = np.ones((n, n)) if transitions is None else np.array(transitions, dtype=float)
        if weights.shape != (n, n) or not np.isfinite(weights).all() or weights.min() < 0:
            raise OptionsError(f"states: transitions must be {n} × {n} weights of at least 0")
        np.fill_diagonal(weights, 0)  # how long a state stays is what dwell_s says
        total = weights.sum(axis=1, keepdims=True)
        if not total.all():
            stuck = labels[int(np.argmin(total))]
            raise OptionsError(f"states: {stuck!r} goes nowhere; transitions must leave each state")
        rows = tuple(tuple(map(float, row)) for row in weights / total)
        return cls(labels, dwell, rows, kinds[types.pop()])

    def evaluate(self, block: Block) -> Values:
        state = int(block.recall(self, first=0))
        draws = block.generator().random(BLOCK)
        leave = np.minimum(1.0, block.times.clock.period_s / np.array(self.dwell_s))
        moves = np.flatnonzero(draws < leave.max())
        # maps[i, s]: where move i takes a machine that is in state s.
        maps = np.empty((len(moves), len(self.labels)), dtype=np.intp)
        for s, row in enumerate(self.transitions):
            bounds = leave[s] * np.cumsum(row)
            bounds[-1] = leave[s]  # the sum of a row may round to just below 1
            goes = np.searchsorted(bounds, draws[moves], side="right")
            maps[:, s] = np.where(goes < len(row), goes, s)
        compose_maps(maps)
        after = np.concatenate([[state], maps[:, state]])
        steps = np.zeros(BLOCK + 1, dtype=np.intp)
        steps[moves + 1] = 1  # a move at row k shows in row k + 1
        codes = after[np.cumsum(steps[:BLOCK])]
        block.keep(self, int(after[-1]))
        labels = np.array(self.labels, dtype=object if self.kind == "str" else None)
        return labels[codes]  # type: ignore[no-any-return]


def compose_maps(maps: Ints) -> None:
    """In place: row i becomes the map of all moves up to i, in log2(n) vector steps.

    Parameters
    ----------
    maps : int array, shape (n_moves, n_states); maps[i, s] is the state after move i from s
    """
    distance = 1
    while distance < len(maps):
        maps[distance:] = np.take_along_axis(maps[distance:], maps[:-distance], axis=1)
        distance *= 2


@dataclass(frozen=True, repr=False)
class Counter(Signal):
    """See `counter`."""

    rate_per_s: float = 1.0
    random: bool = False
    reset_at: int | None = None
    reset_probability: float = 0.0
    name = "counter"
    kind: Kind = "int"

    def __post_init__(self) -> None:
        positive(self.name, rate_per_s=self.rate_per_s)
        if self.reset_at is not None and self.reset_at < 1:
            raise OptionsError(f"counter: reset_at={self.reset_at} must be at least 1")
        if not 0 <= self.reset_probability <= 1:
            raise OptionsError("counter: reset_probability must be between 0 and 1")

    @property
    def is_stateful(self) -> bool:  # type: ignore[override]
        return self.random or self.reset_probability > 0

    def evaluate(self, block: Block) -> Values:
        count, base = block.recall(self, first=(0, 0))
        times = block.times
        if self.random:
            generator = block.generator("events")
            events = generator.poisson(self.rate_per_s * times.clock.period_s, BLOCK)
            if times.index == 0:
                events[0] = 0
            total: Any = np.cumsum(events) + count
        else:
            total = np.floor(times.t * self.rate_per_s + 1e-9).astype(np.int64)  # 0.1 × 10 is 1
        bases: Any = base
        if self.reset_probability:
            draws = block.generator("resets").random(BLOCK)
            at_reset = np.where(draws < self.reset_probability, total, base)
            bases = np.maximum.accumulate(at_reset)  # the count never falls: the latest is largest
        block.keep(self, (int(total[-1]), int(np.max(bases))))
        values: Values = total - bases
        return values % self.reset_at if self.reset_at else values
