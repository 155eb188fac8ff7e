"""`SinkPanel`: the state of a sink, live, regardless of what sends to it."""

from __future__ import annotations

import time
from typing import Any

import pandas as pd

from iotdb_frames.errors import OptionsError
from iotdb_frames.notebook.panel.counters import Rates, Totals, number, tiles
from iotdb_frames.notebook.panel.feed import Feed
from iotdb_frames.notebook.panel.shown import LivePanel
from iotdb_frames.sink.sink import IoTDBSink
from iotdb_frames.sink.stats import SinkStats

SAMPLE_S = 0.25
_UNITS = {"acknowledged": "rows/s", "refused": "rows/s", "waiting": "rows"}


class SinkPanel(LivePanel):
    """Rows per second that a sink delivers and that are refused, and the number waiting.

    It samples the sink's counters several times per second, and never looks at the data. Closing it
    does not change the sink.

    Parameters
    ----------
    sink : open, or yet to be opened
    capacity : samples that the chart keeps
    """

    def __init__(self, sink: IoTDBSink, *, capacity: int = 10_000) -> None:
        self.sink = sink
        self._rates = Rates()
        self._sampled: tuple[float, int, int] | None = None
        self._has_last = False
        super().__init__(Feed(capacity=capacity, units=_UNITS), spans=[60.0, 600.0, None])
        self.view.wake()

    @property
    def title(self) -> str:
        return "sink"

    @property
    def is_over(self) -> bool:
        return self.sink.state == "closed"

    def _collect(self) -> None:
        with self._guard:
            at, before = time.monotonic(), self._sampled
            stats, is_over = self._stats(), self.is_over
            is_early = before is not None and at - before[0] < SAMPLE_S and not is_over
            if stats is None or is_early or self._has_last:
                return
            self._has_last = is_over
            self._sampled = at, stats.acknowledged, stats.rejected
            if before is None:
                return
            passed_s = max(at - before[0], SAMPLE_S)  # the last sample may come early
            row = {
                "acknowledged": (stats.acknowledged - before[1]) / passed_s,
                "refused": (stats.rejected - before[2]) / passed_s,
                "waiting": float(stats.queued),
            }
            moment = pd.Timestamp.now("UTC").tz_localize(None).as_unit("ms")
            self.feed.put(pd.DataFrame(row, index=pd.DatetimeIndex([moment], name="time")))

    def _stats(self) -> SinkStats | None:
        """The sink's counters; None if it was never open, for reading them would open it."""
        if self.sink.state == "new":
            return None
        try:
            return self.sink.stats
        except OptionsError:  # closed unopened
            return None

    def _state(self) -> dict[str, Any]:
        state = self.sink.state
        shown: dict[str, Any] = {
            "word": {"new": "not open yet", "open": "open"}.get(state, state),
            "tone": {"open": "live", "closed": "done"}.get(state, "idle"),
            "empty": "nothing sent yet",
        }
        stats = self._stats()
        if stats is None:
            return {**shown, "counters": []}
        totals = Totals(
            rows=stats.acknowledged,
            backlog=stats.queued,
            retries=stats.retried,
            rejected=stats.rejected,
            p50_s=stats.latency_p50_s,
            p99_s=stats.latency_p99_s,
        )
        rates = self._rates.add(time.monotonic(), stats.acknowledged, 0)
        counters = [list(tile) for tile in tiles(totals, rates) if tile[0] != "points/s"]
        if stats.dropped:
            counters.append(["dropped", number(stats.dropped), "rows", "bad"])
        return {**shown, "counters": counters}
