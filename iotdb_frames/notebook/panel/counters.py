"""Counters of a panel: rates over the last seconds, and the format of numbers."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

Tile = tuple[str, str, str, str]
"""Label, number, unit, and a tone: "", "wait", "bad" or "fault"."""

OVER_S = 5.0


@dataclass(frozen=True, kw_only=True)
class Totals:
    """What a stream has done so far.

    rows, points : acknowledged; points are cells that are not missing
    backlog : rows waiting
    retries, rejected : requests that were sent again, rows that the database refused
    p50_s, p99_s : from handing a window over to its acknowledgement; None: not known
    faults : rows that were hit, by kind
    behind_s : how late the stream is
    """

    rows: int = 0
    points: int = 0
    backlog: int = 0
    retries: int = 0
    rejected: int = 0
    p50_s: float | None = None
    p99_s: float | None = None
    faults: dict[str, int] | None = None
    behind_s: float = 0.0


class Rates:
    """Rows and points per second over the last seconds; the caller gives all times."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int, int]] = deque()

    def add(self, now: float, rows: int, points: int) -> tuple[float, float]:
        """Add a sample; return (rows, points) per second since the oldest sample in use."""
        samples = self._samples
        if samples and (rows < samples[-1][1] or now < samples[-1][0]):
            samples.clear()  # another stream
        samples.append((now, rows, points))
        while len(samples) > 2 and samples[1][0] <= now - OVER_S:
            samples.popleft()
        first = samples[0]
        passed = now - first[0]
        if passed <= 0:
            return 0.0, 0.0
        return (rows - first[1]) / passed, (points - first[2]) / passed


def tiles(totals: Totals, rates: tuple[float, float]) -> list[Tile]:
    """The counters as displayed."""
    shown: list[Tile] = [
        ("rows/s", number(rates[0]), "", ""),
        ("points/s", number(rates[1]), "", ""),
        ("p50", *_milliseconds(totals.p50_s), ""),
        ("p99", *_milliseconds(totals.p99_s), ""),
        ("backlog", *_rows(totals.backlog), "wait" if totals.backlog else ""),
        ("retries", number(totals.retries), "", "wait" if totals.retries else ""),
        ("refused", *_rows(totals.rejected), "bad" if totals.rejected else ""),
        ("acknowledged", *_rows(totals.rows), ""),
    ]
    hit = sorted((totals.faults or {}).items(), key=lambda item: -item[1])
    return shown + [(kind, *_rows(n), "fault") for kind, n in hit[:4]]


def number(value: Any) -> str:
    """A number of at most seven characters: 12.5, 1,234, 1.23 M."""
    value = float(value)
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e5, "k")):
        if abs(value) >= limit:
            scaled = value / (1e3 if unit == "k" else limit)
            return f"{scaled:.3g} {unit}" if scaled < 1000 else f"{scaled:.0f} {unit}"
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}"


def _rows(n: int) -> tuple[str, str]:
    return number(n), "row" if n == 1 else "rows"


def _milliseconds(seconds: float | None) -> tuple[str, str]:
    if seconds is None or seconds != seconds:
        return "–", ""
    if seconds >= 10:
        return f"{seconds:.1f}", "s"
    ms = seconds * 1e3
    return (f"{ms:.0f}" if ms >= 100 else f"{ms:.1f}"), "ms"
