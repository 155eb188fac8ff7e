"""Faults: what breaks, when, how long, how likely and how badly."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from datetime import timedelta
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from iotdb_frames.codec.times import to_naive_utc, to_seconds
from iotdb_frames.errors import OptionsError
from iotdb_frames.simulate.clock import SampleClock
from iotdb_frames.simulate.signals.base import unknown_name


@dataclass(frozen=True, kw_only=True)
class FaultKind:
    """One row of the tables of `Fault`."""

    severity: float | None
    rows: int
    is_numeric: bool = False
    is_delivery: bool = False
    needs_end: bool = False
    excludes: frozenset[str] = frozenset()


_FROZEN = frozenset({"stuck", "dropout"})
_SHIFTS = frozenset({"bias", "drift", "variance", "spike"})
_HELD = frozenset({"delay", "late_batch", "offline"})

KINDS: dict[str, FaultKind] = {
    "bias": FaultKind(severity=3, rows=20, is_numeric=True, excludes=_FROZEN),
    "drift": FaultKind(severity=3, rows=20, is_numeric=True, needs_end=True, excludes=_FROZEN),
    "variance": FaultKind(severity=3, rows=20, is_numeric=True, excludes=_FROZEN),
    "spike": FaultKind(severity=8, rows=1, is_numeric=True, excludes=_FROZEN),
    "stuck": FaultKind(severity=None, rows=20, excludes=_SHIFTS | _FROZEN),
    "dropout": FaultKind(severity=1, rows=1, excludes=_SHIFTS | _FROZEN),
    "delay": FaultKind(severity=5, rows=20, is_delivery=True, excludes=_HELD),
    "straggler": FaultKind(severity=5, rows=1, is_delivery=True),
    "late_batch": FaultKind(severity=5, rows=20, is_delivery=True, needs_end=True, excludes=_HELD),
    "offline": FaultKind(severity=None, rows=60, is_delivery=True, needs_end=True, excludes=_HELD),
    "duplicate": FaultKind(severity=1, rows=1, is_delivery=True),
    "jitter": FaultKind(severity=math.nan, rows=1, is_delivery=True),  # a tenth of the period
    "skew": FaultKind(severity=0.01, rows=60, is_delivery=True),
}
"""All kinds, in the order in which they act."""

_OTHER_NAMES = {
    "out_of_order": "straggler",
    "stragglers": "straggler",
    "late": "late_batch",
    "duplicates": "duplicate",
    "offline_then_burst": "offline",
    "clock_jitter": "jitter",
    "clock_skew": "skew",
    "noise": "variance",
    "spikes": "spike",
}


@dataclass(frozen=True)
class Fault:
    """One fault of a source: what breaks, when, how long, how likely and how badly.

    A fault hits in episodes.

    - Without `probability` there is one: from `onset` (default: the start) for `duration` (default:
      to the end; a spike: one row).
    - With `probability`, each row from `onset` on that is in no episode starts one with that
      chance; it lasts `duration`. So a fault of one-row episodes hits each row with just that
      probability, and one of episodes of L rows hits the share ``p L / (1 + p (L - 1))``.

    Value faults change cells; each sensor has episodes of its own. They act in this order,
    whatever the order they are given in, because that is how a sensor is built:

    | kind | what happens in an episode | severity | default | episode |
    |---|---|---|---|---|
    | bias | readings are off by it | σ | 3 | 20 rows |
    | drift | the error grows evenly, up to it in the last row | σ | 3 | 20 rows |
    | variance | normal noise of this standard deviation is added | σ | 3 | 20 rows |
    | spike | readings jump by it, up or down | σ | 8 | 1 row |
    | stuck | the reading before the episode is repeated | none | | 20 rows |
    | dropout | readings are missing | share of rows | 1 | 1 row |

    σ is the standard deviation of the sensor's clean readings in its first block of 4,096 rows (1
    if they do not vary); ``relative=False`` takes severity in the sensor's own unit.

    Delivery faults are the device's. They change when a row arrives, how often, and its time:

    | kind | what happens to the rows of an episode | severity | default | episode |
    |---|---|---|---|---|
    | delay | all arrive later by it | s | 5 | 20 rows |
    | straggler | each is late by a random time up to it, overtaken by later rows | s | 5 | 1 row |
    | late_batch | held, and arrive together this long after the last of them | s | 5 | 20 rows |
    | offline | nothing arrives; all comes as a burst when the episode is over | none | | 60 rows |
    | duplicate | each arrives this many times more | copies | 1 | 1 row |
    | jitter | times are off by normal noise of this standard deviation | s | period / 10 | 1 row |
    | skew | the clock gains this each second; set right at the end | s/s | 0.01 | 60 rows |

    Parameters
    ----------
    kind : "spike", "stuck", … (`KINDS`)
    sensors : names of the sensors a value fault hits; None: all that it can
    devices : names of the devices it hits; None: all
    onset : when it begins: seconds or a span after the start, or a time (naive: UTC)
    duration : of an episode: seconds or a span
    probability : chance a row that an episode begins; None: one episode, at `onset`
    severity : how badly, in the unit of the table; None: its default
    relative : severity in σ of the clean readings, not in the sensor's unit

    Raises
    ------
    OptionsError : an unknown kind (with the nearest ones), or invalid parameters.
    """

    kind: str
    sensors: Sequence[str] | str | None = field(default=None, kw_only=True)
    devices: Sequence[str] | str | None = field(default=None, kw_only=True)
    onset: Any = field(default=None, kw_only=True)
    duration: Any = field(default=None, kw_only=True)
    probability: float | None = field(default=None, kw_only=True)
    severity: float | None = field(default=None, kw_only=True)
    relative: bool = field(default=True, kw_only=True)

    def __post_init__(self) -> None:
        name = str(self.kind).strip().lower().replace("-", "_").replace(" ", "_")
        name = _OTHER_NAMES.get(name, name)
        if name not in KINDS:
            raise unknown_name("fault", self.kind, list(KINDS))
        object.__setattr__(self, "kind", name)
        for names in ("sensors", "devices"):
            value = getattr(self, names)
            if value is not None:
                object.__setattr__(
                    self, names, (value,) if isinstance(value, str) else tuple(value)
                )
        if self.sensors is not None and self.traits.is_delivery:
            raise OptionsError(f"{name} hits a device's rows, not single sensors: no sensors=")
        if self.probability is not None and not 0 < self.probability <= 1:
            raise OptionsError(f"{name}: probability={self.probability!r} must be in (0, 1]")
        if self.duration is not None and not to_seconds(self.duration, name="duration") > 0:
            raise OptionsError(f"{name}: duration={self.duration!r} must be more than 0")
        if not self.relative and name not in _SHIFTS:
            raise OptionsError(f"{name}: relative=False has no meaning without a severity")
        self._check_severity()

    @property
    def traits(self) -> FaultKind:
        """The kind's row of the tables."""
        return KINDS[self.kind]

    def _check_severity(self) -> None:
        severity = self.severity
        if severity is None:
            return
        if self.traits.severity is None:
            raise OptionsError(f"{self.kind} has no severity; its duration says how bad it is")
        if isinstance(severity, bool) or not math.isfinite(severity) or severity == 0:
            raise OptionsError(f"{self.kind}: severity={severity!r} must be a number, not 0")
        if self.kind == "dropout" and not 0 < severity <= 1:
            raise OptionsError(f"dropout: severity={severity!r} is a share, in (0, 1]")
        if self.kind == "duplicate" and (severity < 1 or severity != int(severity)):
            raise OptionsError(f"duplicate: severity={severity!r} is a number of copies")
        if severity < 0 and self.kind not in ("bias", "drift", "skew"):
            raise OptionsError(f"{self.kind}: severity={severity!r} must be more than 0")

    @classmethod
    def parse(cls, text: str) -> Fault:
        """A fault from a text.

        Parameters
        ----------
        text : ``kind``, ``kind:probability`` or ``kind:probability:severity``
        """
        kind, *numbers = text.split(":")
        try:
            values = [float(number) for number in numbers]
        except ValueError:
            values = [math.nan] * 3
        if len(values) > 2 or any(map(math.isnan, values)):
            raise OptionsError(
                f"{text!r} is not a valid fault", hint='e.g. "spike:0.01" or "spike:0.01:8"'
            )
        probability, severity = [*values, None, None][:2]
        return cls(kind, probability=probability, severity=severity)

    def plan(self, clock: SampleClock, n_ticks: int | None) -> FaultPlan:
        """This fault in rows of a clock.

        Raises
        ------
        OptionsError : it begins after the end, or must know when an episode ends and cannot.
        """
        begin = _tick_of(self.onset, clock)
        if n_ticks is not None and begin >= n_ticks:
            raise OptionsError(f"{self.kind}: onset={self.onset!r} is after the end of the source")
        length: int | None
        if self.duration is not None:
            length = max(1, clock.first_tick_from(to_seconds(self.duration, name="duration")))
        elif self.probability is not None or self.kind == "spike":
            length = self.traits.rows
        else:
            length = None if n_ticks is None else n_ticks - begin
        if length is None and self.traits.needs_end:
            raise OptionsError(f"{self.kind} without an end", hint='duration="10min"')
        severity = self.traits.severity if self.severity is None else self.severity
        if self.kind == "jitter" and self.severity is None:
            severity = clock.period_s / 10
        return FaultPlan(self, begin, length, 0.0 if severity is None else float(severity))

    def __repr__(self) -> str:
        shown = [repr(self.kind)]
        for f in fields(self)[1:]:
            value = getattr(self, f.name)
            if value != f.default:
                shown.append(f"{f.name}={value!r}")
        return f"Fault({', '.join(shown)})"


@dataclass(frozen=True)
class FaultPlan:
    """A fault in rows.

    Attributes
    ----------
    begin : the first row that it can hit
    length : rows per episode; None: endless
    severity : in the unit of its kind
    """

    fault: Fault
    begin: int
    length: int | None
    severity: float

    @property
    def kind(self) -> str:
        return self.fault.kind

    @property
    def end(self) -> float:
        """The row after the last it can hit."""
        if self.fault.probability is not None or self.length is None:
            return math.inf
        return self.begin + self.length


def as_faults(faults: Any) -> tuple[Fault, ...]:
    """Faults from one or several `Fault` or strings such as "spike:0.01"."""
    if isinstance(faults, (Fault, str)):
        faults = [faults]
    made = []
    for fault in faults:
        if not isinstance(fault, (Fault, str)):
            raise OptionsError(
                f"{fault!r} is not a valid fault", hint='Fault("spike", …) or "spike:0.01"'
            )
        made.append(Fault.parse(fault) if isinstance(fault, str) else fault)
    return tuple(made)


def check_overlaps(plans: Iterable[FaultPlan], *, where: str) -> None:
    """Refuse faults that certainly act on one thing at the same time and hide each other.

    Random faults may coincide; then the later one in the order of the tables wins.

    Parameters
    ----------
    plans : of one sensor, or of one device's deliveries
    where : its name, for the message
    """
    sure = [plan for plan in plans if plan.fault.probability is None]
    for one, other in combinations(sure, 2):
        is_same = one.kind == other.kind
        if not is_same and other.kind not in one.fault.traits.excludes:
            continue
        if max(one.begin, other.begin) < min(one.end, other.end):
            what = f"two {one.kind} faults" if is_same else f"{one.kind} and {other.kind}"
            raise OptionsError(
                f"{what} on {where} overlap: one would hide the other",
                hint="give each an onset= and a duration= of its own",
            )


def _tick_of(onset: Any, clock: SampleClock) -> int:
    if onset is None:
        return 0
    is_span = isinstance(onset, (int, float, timedelta, np.timedelta64))
    if isinstance(onset, str):
        try:
            pd.Timedelta(onset)
            is_span = True
        except ValueError:
            is_span = False
    if is_span:
        seconds = to_seconds(onset, name="onset")
        if seconds < 0:
            raise OptionsError(f"onset={onset!r} is before the start")
        return clock.first_tick_from(seconds)
    return max(0, clock.first_tick_at(to_naive_utc(onset, name="onset")))
