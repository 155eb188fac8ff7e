"""What a sink counts, of all rows and by device."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from iotdb_frames.display.card import Card, Shown
from iotdb_frames.display.words import count, duration, plural, size
from iotdb_frames.sink.rows import Device
from iotdb_frames.sink.tickets import Entry
from iotdb_frames.writes.report import WriteReport, empty_rows, lossy_values

_BUCKETS_PER_E = 10.0
_FIRST_S = 1e-4
N_BUCKETS = 200


def latency_bucket(seconds: np.ndarray) -> np.ndarray:
    """Buckets 10 % wide, from 0.1 ms to half a day: int, shape as given."""
    steps = np.log(np.maximum(seconds, _FIRST_S) / _FIRST_S) * _BUCKETS_PER_E
    return np.asarray(np.clip(steps, 0, N_BUCKETS - 1), np.int64)


@dataclass(slots=True)
class Tally:
    """Rows by what happened to them, of a sink or of one device; `retries` counts requests.

    Of the acknowledged rows, `empty` have missing values only: nothing of them is stored.
    """

    queued: int = 0
    acknowledged: int = 0
    empty: int = 0
    retries: int = 0
    refused: int = 0
    dropped: int = 0
    latencies: Counter[int] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        """Add the counts of another."""
        self.acknowledged += other.acknowledged
        self.empty += other.empty
        self.refused += other.refused
        self.latencies.update(other.latencies)

    def quantile_s(self, share: float) -> float:
        """The latency, in seconds, that this share of the rows did not exceed; NaN without rows."""
        if not self.latencies:
            return float("nan")
        buckets = np.array(sorted(self.latencies))
        passed = np.cumsum([self.latencies[bucket] for bucket in buckets.tolist()])
        bucket = buckets[np.searchsorted(passed, share * passed[-1])]
        return float(_FIRST_S * np.exp((bucket + 0.5) / _BUCKETS_PER_E))

    def row(self) -> dict[str, Any]:
        """The counters, and quantiles of the latency."""
        return {
            "queued": self.queued,
            "acknowledged": self.acknowledged,
            "empty": self.empty,
            "retried": self.retries,
            "rejected": self.refused,
            "dropped": self.dropped,
            "latency_p50_s": self.quantile_s(0.5),
            "latency_p99_s": self.quantile_s(0.99),
        }


@dataclass(frozen=True, kw_only=True, repr=False)
class SinkStats(Shown):
    """A moment of a sink.

    queued, queued_bytes : rows that wait or are being sent, and their approximate memory
    acknowledged : rows the server has stored
    empty : those of them with missing values only, of which nothing is stored
    retried : requests that were sent again
    rejected : rows that were refused, by the server or before
    dropped : rows dropped under ``overflow="drop_oldest"``
    replayed : rows that an earlier process left in the spool
    damaged : batches left there that cannot be read
    lossy : number of values that lost precision under ``coerce="lossy"``, by column
    latency_p50_s, latency_p99_s : from `send` to the acknowledgement of a row, accurate to 10 %;
        NaN if nothing is acknowledged yet
    """

    queued: int
    queued_bytes: int
    acknowledged: int
    empty: int
    retried: int
    rejected: int
    dropped: int
    replayed: int
    damaged: int
    lossy: dict[str, int]
    latency_p50_s: float
    latency_p99_s: float

    def card(self) -> Card:
        """Its summary card."""
        facts: list[tuple[str, Any]] = [
            ("acknowledged", plural(self.acknowledged, "row")),
            ("queued", (plural(self.queued, "row"), size(self.queued_bytes))),
        ]
        if self.acknowledged:
            half, most = duration(self.latency_p50_s), duration(self.latency_p99_s)
            facts.append(("latency", f"half within {half}, 99 % within {most}"))
        if self.empty:
            facts.append(("empty", empty_rows(self.empty)))
        if self.lossy:
            facts.append(("lost precision", lossy_values(self.lossy)))
        for name, n in (
            ("retries", self.retried),
            ("refused", self.rejected),
            ("dropped", self.dropped),
            ("replayed", self.replayed),
            ("damaged", self.damaged),
        ):
            if n:
                facts.append((name, count(n)))
        is_whole = not (self.rejected or self.dropped or self.damaged)
        return Card("sink", status="ok" if is_whole else "warn", facts=facts)


class Counters:
    """What a sink counts; not thread-safe."""

    def __init__(self) -> None:
        self.total = Tally()
        self.replayed = 0
        self.damaged = 0
        self.lossy: Counter[str] = Counter()
        self._by_device: dict[Device, Tally] = {}

    def of(self, device: Device) -> Tally:
        """The counters of one device."""
        return self._by_device.setdefault(device, Tally())

    def add(self, tallies: Mapping[Device, Tally], lossy: Mapping[str, int]) -> None:
        """Count what happened to a batch."""
        self.lossy.update(lossy)
        for device, tally in tallies.items():
            self.of(device).add(tally)
            self.total.add(tally)

    def retry(self, n_requests: int, devices: Iterable[Device]) -> None:
        """Count requests that were sent again."""
        self.total.retries += n_requests
        for device in devices:
            self.of(device).retries += n_requests

    def drop(self, entry: Entry) -> None:
        """Count dropped rows."""
        self.total.dropped += entry.n_rows
        for device, n_rows in entry.rows_by_device():
            self.of(device).dropped += n_rows

    def stats(self, queued_bytes: int) -> SinkStats:
        """Their current values."""
        return SinkStats(
            queued_bytes=queued_bytes,
            replayed=self.replayed,
            damaged=self.damaged,
            lossy=dict(self.lossy),
            **self.total.row(),
        )

    def by_device(self, waiting: Iterable[Entry]) -> pd.DataFrame:
        """One row per device, with the device as its label."""
        queued: Counter[Device] = Counter()
        for entry in waiting:
            queued.update(dict(entry.rows_by_device()))
        for device in queued:
            self.of(device)
        rows = [{**t.row(), "queued": queued[d]} for d, t in self._by_device.items()]
        index = pd.Index(list(self._by_device), dtype=object, tupleize_cols=False)
        return pd.DataFrame(rows, columns=list(Tally().row()), index=index)

    def report(self) -> WriteReport:
        """The same as a report of a write."""
        total = self.total
        return WriteReport(
            "sink",
            rows_in=total.acknowledged + total.queued + total.refused + total.dropped,
            rows_written=total.acknowledged,
            rows_empty=total.empty,
            lossy=dict(self.lossy),
            retries=total.retries,
            rows_refused=total.refused,
        )
