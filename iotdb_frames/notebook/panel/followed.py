"""A stream as a panel sees it: which rows were acknowledged, which faults hit, how fast it goes."""

from __future__ import annotations

from collections import deque
from threading import Lock
from typing import Any

import numpy as np
import pandas as pd

from iotdb_frames.notebook.panel.counters import Totals
from iotdb_frames.notebook.panel.feed import Feed, Hit, seconds_of
from iotdb_frames.play.parts import Part
from iotdb_frames.play.runner import Runner
from iotdb_frames.play.sent import Window
from iotdb_frames.play.target import TargetRunner
from iotdb_frames.simulate.source import SensorSource
from iotdb_frames.sink.sink import IoTDBSink

OVER = ("stopped", "finished", "failed")
_MARKED_POINTS_PER_S = 100_000
"""Above this, working out which rows faults hit would take more than drawing them."""


class Followed:
    """Follows a `Runner`, from now on.

    A window into a target counts when it was sent, one into a sink when its ticket says so.

    Parameters
    ----------
    runner : the stream
    feed : is given the acknowledged rows, and the faults on them
    """

    def __init__(self, runner: Runner, feed: Feed) -> None:
        self.runner = runner
        self._feed = feed
        self._is_target = isinstance(runner, TargetRunner)  # it counts points itself
        self._points_before = runner.stats.points
        self._sink = runner.receiver if isinstance(runner.receiver, IoTDBSink) else None
        self._waiting: deque[tuple[pd.DataFrame, Window]] = deque()
        self._lock = Lock()  # collected by the view's thread, and once more at the end
        self._took_s: deque[float] = deque(maxlen=1_000)
        self._rows = self._points = self._refused = 0
        self._source: Any = None
        self._error: BaseException | None = None
        self._end = runner.listen(self._hear)

    def _hear(self, frame: pd.DataFrame, window: Window) -> None:
        self._took_s.append(window.took_s)
        self._waiting.append((frame, window))

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
                frame, window = self._waiting[0]
                if not window.is_done:
                    break
                self._waiting.popleft()
                if window.error is not None:
                    self._error = window.error
                    self._refused += len(frame)
                else:
                    self._take(frame, window.part)

    def _take(self, frame: pd.DataFrame, part: Part) -> None:
        if part.source is not self._source:
            self._source = part.source
            self._feed.describe(units=units_of(part.source), keys=keys_of(part.source))
        if part.refused is not None:
            frame = frame.take(np.delete(np.arange(len(frame)), part.refused))
        self._rows += len(frame)
        if not self._is_target:
            keys = [key for key in self._feed.keys if key in frame.columns]
            cells = frame.drop(columns=keys) if keys else frame
            self._points += int(np.count_nonzero(cells.notna().to_numpy()))
        self._feed.put(frame, _hits(part))

    def totals(self) -> Totals:
        """Counters of this moment."""
        stats = self.runner.stats
        with self._lock:
            backlog = sum(len(frame) for frame, _ in self._waiting)
            took_s = np.sort(np.array(self._took_s))
            p50, p99 = (_quantile(took_s, part) for part in (0.5, 0.99))
            points = stats.points - self._points_before if self._is_target else self._points
            retries, refused = stats.retries, stats.rejected + self._refused
            if self._sink is not None:
                counted = self._sink.stats
                p50, p99 = counted.latency_p50_s, counted.latency_p99_s
                retries = counted.retried
            return Totals(
                rows=self._rows,
                points=points,
                backlog=backlog,
                retries=retries,
                rejected=refused,
                p50_s=p50,
                p99_s=p99,
                faults=stats.faults,
                behind_s=stats.behind_s if stats.is_behind else 0.0,
            )


def _hits(part: Part) -> list[Hit]:
    """The faults on some rows, as a chart marks them."""
    source = part.source
    if not isinstance(source, SensorSource) or not source.faults:
        return []
    if source.points_per_s > _MARKED_POINTS_PER_S:
        return []
    ledger = part.ledger()
    if not len(ledger):
        return []
    times = seconds_of(pd.DatetimeIndex(ledger["stamped"])).tolist()
    kinds = ledger["fault"].astype(str).tolist()
    sensors = ledger["sensor"].astype(object)
    devices = {device.name: _key_of(source, device) for device in source.devices}
    names = ledger["device"].astype(str) if "device" in ledger else [""] * len(ledger)
    return [
        Hit(time, kind, None if pd.isna(sensor) else (devices[name], sensor))
        for time, kind, name, sensor in zip(times, kinds, names, sensors, strict=True)
    ]


def units_of(source: Any) -> dict[str, str]:
    """The units of a source's columns."""
    return source.units if isinstance(source, SensorSource) else {}


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
