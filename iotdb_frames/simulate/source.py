"""`SensorSource`: simulated sensors as frames, whole or in windows, clean or broken on purpose.

A source is a value: its frames depend on its parameters and the rows asked for, and on nothing
else. No clock is read. Row (tick) `k` is read at ``start + k / rate_hz``; without delivery faults
it also arrives then, and window, frame and database hold the same rows.

Frames of a source without devices have one column per sensor. With devices, the tag columns (table
model) or the column ``device`` (tree model) come first, as categories, and the rows of a window are
grouped by device, because that is how they are written fastest.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from iotdb_frames.codec.times import to_naive_utc, to_seconds
from iotdb_frames.display.words import plural
from iotdb_frames.errors import OptionsError
from iotdb_frames.options import TSDataType, as_whole
from iotdb_frames.play.streamable import Streamable
from iotdb_frames.simulate.assembly import (
    DeviceRows,
    DeviceStream,
    Hits,
    build_frame,
    build_ledger,
    find_hits,
    merge_repeated,
)
from iotdb_frames.simulate.card import source_card
from iotdb_frames.simulate.clock import BLOCK, Ints, SampleClock
from iotdb_frames.simulate.faults import as_faults
from iotdb_frames.simulate.sensors import Device, as_sensors
from iotdb_frames.simulate.signals.base import unknown_name
from iotdb_frames.simulate.wiring import adopt_readings, check_targets, columns_of, tags_of, wire
from iotdb_frames.spelling import printable

Span = int | str | Any
"""A window: rows (an int), or a span such as ``"10s"`` or a timedelta."""


class SensorSource(Streamable):
    """Simulated sensors.

    Without arguments: one uniform random DOUBLE in [0, 1) per second, as ``s1``.

    Parameters
    ----------
    sensors : a list of `Sensor` or of signal-less names, ``{name: signal}``, or how many
    rate_hz : rows per second, of every sensor
    seed : the same seed gives the same data, whatever the windows
    start : time of the first row; naive is UTC
    duration : seconds or a span after which the source ends: its rows are those before; None: it
        goes on
    faults : `Fault`, or strings such as "spike:0.01"
    devices : the devices of a fleet, instead of `sensors`
    time_unit : of the index: "ms" (as IoTDB's default), "us" or "ns"

    Raises
    ------
    OptionsError : a rate of 0, unknown signals, faults or sensors (with the nearest names), faults
        that hide each other, two columns of one name, types that differ between devices.

    Source: the sensor source of the IoTDB Flink connector's example.
    """

    def __init__(
        self,
        sensors: Any = None,
        *,
        rate_hz: float = 1.0,
        seed: int = 0,
        start: Any = "2026-01-01",
        duration: Any = None,
        faults: Any = (),
        devices: Sequence[Device] | None = None,
        time_unit: str = "ms",
    ) -> None:
        if devices is not None and sensors is not None:
            raise OptionsError("sensors= and devices= exclude each other: devices have sensors")
        self.clock = SampleClock.at_rate(rate_hz, start=start, unit=time_unit)
        self.rate_hz = float(rate_hz)
        self.seed = as_whole("seed", seed, least=-(2**63))
        self.duration_s = None if duration is None else to_seconds(duration, name="duration")
        seconds = self.duration_s
        self.n_ticks = None if seconds is None else self.clock.first_tick_from(seconds)
        if self.n_ticks is not None and self.n_ticks < 1:
            raise OptionsError(f"duration={duration!r} holds no row at rate_hz={rate_hz:g}")
        self.faults = as_faults(faults)
        self.has_devices = devices is not None
        self.devices = (Device("", as_sensors(sensors)),) if devices is None else tuple(devices)
        self.sensors = columns_of(self.devices)
        self.tags = tags_of(self.devices, self.sensors)
        check_targets(self.faults, devices=self.devices, sensors=self.sensors)
        plans = [fault.plan(self.clock, self.n_ticks) for fault in self.faults]
        self._streams = [
            wire(device, plans, clock=self.clock, seed=self.seed) for device in self.devices
        ]
        self._sensor_streams = [s for stream in self._streams for s in stream.sensors.values()]

    # --- what it is ---

    @property
    def start(self) -> pd.Timestamp:
        """Time of the first row, naive, UTC."""
        return self.clock.stamp(self.clock.start)

    @property
    def schema(self) -> dict[str, TSDataType]:
        """The IoTDB type of each sensor column."""
        return {sensor.name: sensor.data_type for sensor in self.sensors}

    @property
    def units(self) -> dict[str, str]:
        """The unit of each sensor that has one."""
        return {sensor.name: sensor.unit for sensor in self.sensors if sensor.unit}

    @property
    def points_per_s(self) -> float:
        """Cells per second."""
        return self.rate_hz * sum(len(device.sensors) for device in self.devices)

    def replace(self, **changes: Any) -> SensorSource:
        """The same source with other parameters; row `k` stays row `k`.

        Unchanged sensors go on with their readings; changed ones read as if they had always been
        so.
        """
        known = ("sensors", "rate_hz", "seed", "start", "duration", "faults", "devices")
        for name in changes:
            if name not in (*known, "time_unit"):
                raise unknown_name("parameter", name, (*known, "time_unit"))
        options = self._parameters()
        if {"sensors", "devices"} & set(changes):
            options = {k: v for k, v in options.items() if k not in ("sensors", "devices")}
        made = SensorSource(**{**options, **changes})
        if (made.clock, made.seed) == (self.clock, self.seed):
            adopt_readings(made._streams, self._streams)
        return made

    def _parameters(self) -> dict[str, Any]:
        """What makes the same source."""
        sensors = {"devices": self.devices} if self.has_devices else {"sensors": self.sensors}
        return sensors | {
            "rate_hz": self.rate_hz,
            "seed": self.seed,
            "start": self.start,
            "duration": self.duration_s,
            "faults": self.faults,
            "time_unit": self.clock.unit,
        }

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(SensorSource, **self._parameters()), ()  # without computed state and locks

    def __repr__(self) -> str:
        n = len(self.sensors)
        what = ", ".join(map(repr, self.sensors)) if n <= 3 else f"{n} sensors"
        if self.has_devices:
            what = f"{len(self.devices)} devices × {n} sensors"
        text = f"SensorSource({what}, rate_hz={self.rate_hz:g}, seed={self.seed}"
        text += f", start={str(self.start)!r}"
        if self.duration_s is not None:
            text += f", duration={self.duration_s:g}"
        text += f", faults={list(self.faults)}" if self.faults else ""
        return printable(f"{text})")

    def _repr_html_(self) -> str:
        return source_card(self).html()

    # --- frames ---

    def frame(self, start: Any = None, end: Any = None, *, clean: bool = False) -> pd.DataFrame:
        """What the database finally holds of the rows read in [start, end).

        All rows, ascending in time (per device); rows that carry the same time are merged as the
        server does: per column the last value to arrive that is not missing.

        Parameters
        ----------
        start, end : times; None: the source's own. Faulty clocks may carry a row's time out of it.
        clean : without any fault

        Raises
        ------
        OptionsError : no end, where the source has none either; an end before the start.
        """
        low, high = self._ticks_between(start, end)
        groups = []
        has_odd_times = False
        for stream in self._streams:
            ticks = np.arange(low, high, dtype=np.int64)
            if clean or stream.delivery.is_plain:
                groups.append(DeviceRows(stream, ticks, self.clock.times(ticks)))
                continue
            ticks = ticks[np.argsort(stream.delivery.arrivals(ticks), kind="stable")]
            groups.append(DeviceRows(stream, ticks, stream.delivery.stamps(ticks)))
            has_odd_times = True
        frame = self._build(groups, is_clean=clean)
        if not has_odd_times:
            return frame
        counts = [len(group.ticks) for group in groups]
        return merge_repeated(frame, devices=np.repeat(np.arange(len(counts)), counts))

    def window(self, n: Span, *, at: int = 0) -> pd.DataFrame:
        """The rows that arrive in ticks [at, at + n), in the order in which they do.

        Parameters
        ----------
        n : rows per device, or a span
        at : first tick

        Raises
        ------
        OptionsError : a window of no rows, or longer than the source's duration.
        """
        if at < 0:
            raise OptionsError(f"at={at} must be at least 0")
        return self.rows(at, at + self._window_ticks(n, "window"))

    def windows(self, size: Span, *, every: Span | None = None) -> Iterator[pd.DataFrame]:
        """Windows from the start on, endless if the source is.

        The last may be shorter. Rows still under way when the source ends come as one more.

        Parameters
        ----------
        size : rows per device, or a span
        every : from one window's start to the next; None: `size`. Smaller: windows overlap.
        """
        n = self._window_ticks(size, "size")
        step = n if every is None else self._window_ticks(every, "every")
        return self._windows(n, step)

    def _windows(self, n: int, step: int) -> Iterator[pd.DataFrame]:
        at = 0
        while self.n_ticks is None or at < self.n_ticks:
            yield self.rows(at, at + n)
            at += step
        late = self.late(at if self.n_ticks is None else self.n_ticks)
        if len(late):
            yield late

    def ledger(self, start: Any = None, end: Any = None) -> pd.DataFrame:
        """Which fault hit which row read in [start, end), one row a hit, ascending in time.

        Parameters
        ----------
        start, end : as of `frame`; None: no bound

        Returns
        -------
        time, device : when the row was read, by a correct clock; of a fleet, of which device
        sensor : missing for faults of the delivery
        fault, fault_number : its kind, and which of `faults` it is
        clean, faulty : the cell as it should be and as it is (after all faults on it); float64, or
            object where a cell is not a float; missing for faults of the delivery
        stamped, delivered : the time the row carries, and when it arrived

        Of a value that sticks or is missing, faults that it hides are left out. What a stream has
        really sent, over all its changes, `Runner.ledger` says.
        """
        low, high = self._ticks_between(start, end)
        hits = [hit for stream in self._streams for hit in find_hits(stream, range(low, high))]
        return self._ledger(hits)

    # --- what the runner asks ---

    speed = 1.0
    starts_now = False

    @property
    def default_window(self) -> int:
        """The rows of a second, and at least one."""
        return self._up_to_end(self.clock.first_tick_from(1.0))

    def starting_at(self, time: Any) -> SensorSource:
        """The same source with its first row at `time`."""
        return self.replace(start=time)

    def next_window(self, position: int, window: Span) -> tuple[int, float] | None:
        """The end of the window that begins at tick `position`, and when it is complete.

        Returns
        -------
        (end tick, seconds since the start), or None at the end of the source
        """
        if self.n_ticks is not None and position >= self.n_ticks:
            return None
        end = position + self._window_ticks(window, "window")
        if self.n_ticks is not None:
            end = min(end, self.n_ticks)
        return end, float(end * self.clock.period / self.clock.units_per_s)

    def first_from(self, elapsed_s: float) -> int:
        """The first tick not before `elapsed_s`, and so the number of ticks before it."""
        return self._up_to_end(self.clock.first_tick_from(elapsed_s))

    def _up_to_end(self, position: int) -> int:
        return position if self.n_ticks is None else min(position, self.n_ticks)

    def rows(
        self, low: int, high: int | None = None, *, since: int = 0, before: int | None = None
    ) -> pd.DataFrame:
        """Rows that arrive in ticks [low, high), of those read in ticks [since, before).

        Parameters
        ----------
        high : None: however late they arrive
        before : None: whatever arrives before `high`
        """
        arriving = self._arriving(low, high, since=since, before=before)
        groups = [
            DeviceRows(stream, ticks, stream.delivery.stamps(ticks)) for stream, ticks in arriving
        ]
        return self._build(groups, is_clean=False)

    def late(self, position: int, *, since: int = 0) -> pd.DataFrame:
        """Rows read in ticks [since, position) that arrive at `position` or later."""
        return self.rows(position, since=since, before=position)

    def count_faults(self, low: int, high: int | None = None, **which: Any) -> dict[str, int]:
        """How many of `rows` each kind of fault hit; parameters as of `ledger_of`."""
        counts: Counter[str] = Counter()
        for hit in self._hits(low, high, **which) if self.faults else ():
            counts[self.faults[hit.fault].kind] += len(hit.ticks)
        return dict(counts)

    def ledger_of(
        self, low: int, high: int | None = None, *, before: int | None = None, **which: Any
    ) -> pd.DataFrame:
        """The ledger of `rows`: what arrives after `before` was delivered then.

        Parameters
        ----------
        low, high, since, before : as of `rows`
        refused : positions in `rows` of those that are left out; None: none
        """
        return self._ledger(self._hits(low, high, before=before, **which), before=before)

    def prepare(self, low: int, high: int) -> None:
        """Generate some sensors' next block, so that not all do it in the tick in which it begins.

        In the second half of each block, and evenly: the same share of the sensors as [low, high)
        is of the ticks left.
        """
        block, past = divmod(high, BLOCK)
        if self.n_ticks is not None and (block + 1) * BLOCK >= self.n_ticks:
            return
        first = self._n_due_ahead(low - block * BLOCK)
        last = self._n_due_ahead(past)
        for sensor in self._sensor_streams[first:last]:
            sensor.prepare(block + 1)

    def _n_due_ahead(self, past: int) -> int:
        """How many sensors have their next block `past` rows into one."""
        half = BLOCK // 2
        share = (past - half) / (half - BLOCK // 16)  # all are ready a little before its end
        return math.ceil(len(self._sensor_streams) * min(max(share, 0.0), 1.0))

    # --- inside ---

    def _arriving(
        self, low: int, high: int | None, *, since: int, before: int | None
    ) -> list[tuple[DeviceStream, Ints]]:
        """The ticks of `rows`, by device."""
        if high is None:
            last = low if before is None else max(low, before)
            high = last + max(stream.delivery.max_late for stream in self._streams) + 1
        end = self._up_to_end(high if before is None else before)
        return [
            (stream, stream.delivery.arriving(low, high, since=since, before=end))
            for stream in self._streams
        ]

    def _hits(
        self,
        low: int,
        high: int | None,
        *,
        since: int = 0,
        before: int | None = None,
        refused: Ints | None = None,
    ) -> list[Hits]:
        found: list[Hits] = []
        at = 0
        for stream, arriving in self._arriving(low, high, since=since, before=before):
            ticks = arriving
            if refused is not None:
                is_here = (refused >= at) & (refused < at + len(arriving))
                ticks = np.delete(arriving, refused[is_here] - at)
            at += len(arriving)
            found += find_hits(stream, ticks if stream.delivery.is_plain else np.unique(ticks))
        return found

    def _ledger(self, hits: Sequence[Hits], *, before: int | None = None) -> pd.DataFrame:
        return build_ledger(
            hits,
            kinds=[fault.kind for fault in self.faults],
            clock=self.clock,
            has_devices=self.has_devices,
            before=before,
        )

    def _build(self, groups: Sequence[DeviceRows], *, is_clean: bool) -> pd.DataFrame:
        return build_frame(
            groups, keys=self._keys(), sensors=self.sensors, clock=self.clock, is_clean=is_clean
        )

    def _keys(self) -> dict[str, list[str]]:
        if self.tags:
            return {tag: [device.tags[tag] for device in self.devices] for tag in self.tags}
        return {"device": [device.name for device in self.devices]} if self.has_devices else {}

    def _ticks_between(self, start: Any, end: Any) -> tuple[int, int]:
        low, high = 0, self.n_ticks
        if start is not None:
            low = self.clock.first_tick_at(to_naive_utc(start, name="start"))
        if end is not None:
            high = self.clock.first_tick_at(to_naive_utc(end, name="end"))
            if high < max(low, 0):
                is_early = start is None or low < 0
                begin = f"the source begins, at {self.start}" if is_early else f"{start=}"
                hint = f'begin it earlier: start="{start or end}"' if is_early else None
                raise OptionsError(f"end={end!r} is before {begin}", hint=hint)
        if high is None:
            raise OptionsError("this source has no end", hint="end=, or SensorSource(duration=)")
        high = high if self.n_ticks is None else min(high, self.n_ticks)
        return max(0, low), max(0, low, high)

    def _window_ticks(self, window: Span, name: str) -> int:
        n = self.clock.ticks_in(window, name=name)
        if self.n_ticks is not None and n > self.n_ticks:
            raise OptionsError(
                f"{name}={window!r} ({plural(n, 'row')}) is longer than the source's duration "
                f"({plural(self.n_ticks, 'row')})"
            )
        return n
