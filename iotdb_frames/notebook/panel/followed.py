"""A stream as a panel sees it: which rows were acknowledged, which faults hit, how fast it goes."""

from __future__ import annotations

from collections import deque
from threading import Lock
from typing import Any

import numpy as np
import pandas as pd

from iotdb_frames.notebook.panel.counters import Totals
from iotdb_frames.notebook.panel.feed import Feed, seconds_of
from iotdb_frames.stream.runner import Runner
from iotdb_frames.stream.sink import IoTDBSink
from iotdb_frames.stream.source import SensorSource
from iotdb_frames.stream.target import TargetRunner

OVER = ("stopped", "finished", "failed")
_MARKED_POINTS_PER_S = 100_000
"""Above this, working out which rows faults hit would take more than drawing them."""


class Followed:
    """Follows a `Runner`, from now on.

    A window into a target counts when it was sent, one into a sink when its ticket says so.

    Parameters
    ----------
    runner : the stream
    feed : is given the acknowledged windows
    """

    def __init__(self, runner: Runner, feed: Feed) -> None:
        self.runner = runner
        self._feed = feed
        self._is_target = isinstance(runner, TargetRunner)  # it counts points itself
        self._points_before = runner.stats.points
        self._sink = runner.receiver if isinstance(runner.receiver, IoTDBSink) else None
        self._waiting: deque[tuple[pd.DataFrame, Any]] = deque()
        self._lock = Lock()  # collected by the view's thread, and once more at the end
        self._took_s: deque[float] = deque(maxlen=1_000)
        self._rows = self._points = self._rejected = 0
        self._marked_s = 0.0
        self._error: BaseException | None = None
        self._end = runner.listen(self._hear)

    def _hear(self, frame: pd.DataFrame, given: Any, took_s: float) -> None:
        self._took_s.append(took_s)
        self._waiting.append((frame, given))

    def close(self) -> None:
        """Listen no more."""
        self._end()

    @property
    def is_over(self) -> bool:
        """Whether the stream ended and nothing is left to be acknowledged."""
        return self.runner.state in OVER and not self._waiting

    @property
    def error(self) -> BaseException | None:
        """What ended the stream, else why rows were refused last."""
        return self.runner.error or self._error

    def collect(self) -> None:
        """Hand the windows that were acknowledged since the last call to the feed."""
        with self._lock:
            while self._waiting:
                frame, given = self._waiting[0]
                if not getattr(given, "is_done", True):
                    break
                self._waiting.popleft()
                error = getattr(given, "error", None)
                if error is not None:
                    self._error = error
                    self._rejected += len(frame)
                    continue
                self._rows += len(frame)
                if not self._is_target:
                    keys = [key for key in self._feed.keys if key in frame.columns]
                    cells = frame.drop(columns=keys) if keys else frame
                    self._points += int(np.count_nonzero(cells.notna().to_numpy()))
                self._feed.put(frame)
            self._mark()

    def totals(self) -> Totals:
        """Counters of this moment."""
        stats = self.runner.stats
        with self._lock:
            backlog = sum(len(frame) for frame, _ in self._waiting)
            took_s = np.sort(np.array(self._took_s))
            p50, p99 = (_quantile(took_s, part) for part in (0.5, 0.99))
            points = stats.points - self._points_before if self._is_target else self._points
            retries, rejected = stats.retries, stats.rejected + self._rejected
            if self._sink is not None:
                counted = self._sink.stats
                p50, p99 = counted.latency_p50_s, counted.latency_p99_s
                retries = counted.retried
            return Totals(
                rows=self._rows,
                points=points,
                backlog=backlog,
                retries=retries,
                rejected=rejected,
                p50_s=p50,
                p99_s=p99,
                faults=stats.faults,
                behind_s=stats.behind_s if stats.is_behind else 0.0,
            )

    def _mark(self) -> None:
        """Mark the faults of the stream time that was sent since the last call."""
        source = self.runner.source
        if not isinstance(source, SensorSource) or not source.faults:
            return
        until_s = self.runner.stats.stream_s
        if until_s <= self._marked_s or source.points_per_s > _MARKED_POINTS_PER_S:
            return
        start, end = (source.start + pd.Timedelta(seconds=s) for s in (self._marked_s, until_s))
        self._marked_s = until_s
        ledger = source.ledger(start, end)
        if not len(ledger):
            return
        times = seconds_of(pd.DatetimeIndex(ledger["stamped"]))
        sensors = ledger["sensor"].astype(object)
        devices = {device.name: _key_of(source, device) for device in source.devices}
        names = ledger["device"].astype(str) if "device" in ledger else [""] * len(ledger)
        lines = [
            None if pd.isna(sensor) else (devices[name], sensor)
            for name, sensor in zip(names, sensors, strict=True)
        ]
        self._feed.mark(times.tolist(), lines, ledger["fault"].astype(str).tolist())


def keys_of(source: Any) -> tuple[str, ...]:
    """The key columns of a source's frames."""
    if not isinstance(source, SensorSource) or not source.has_devices:
        return ()
    return tuple(source.tags) or ("device",)


def _key_of(source: SensorSource, device: Any) -> tuple[str, ...]:
    if not source.has_devices:
        return ()
    return tuple(device.tags[tag] for tag in source.tags) or (device.name,)


def _quantile(ascending: Any, part: float) -> float | None:
    return float(ascending[int(part * (len(ascending) - 1))]) if len(ascending) else None
