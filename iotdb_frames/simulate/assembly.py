"""Frames and ledgers from evaluated devices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from iotdb_frames.play.ledgers import labels_of
from iotdb_frames.simulate.clock import BLOCK, Ints, SampleClock
from iotdb_frames.simulate.delivery import Delivery
from iotdb_frames.simulate.readings import SensorStream
from iotdb_frames.simulate.sensors import Device, Sensor, empty_cells, to_column
from iotdb_frames.simulate.signals.base import Values

Piece = tuple[int, slice | Ints, slice]


@dataclass(frozen=True)
class DeviceStream:
    """A device, ready to give rows."""

    device: Device
    sensors: Mapping[str, SensorStream]
    delivery: Delivery


@dataclass(frozen=True)
class DeviceRows:
    """Rows of one device: their ticks, and the times they carry in units since 1970."""

    stream: DeviceStream
    ticks: Ints
    stamps: Ints


def pieces_of(ticks: Ints, *, at: int) -> list[Piece]:
    """Where rows come from: (block, rows in the block, rows in the frame), one per run of a block.

    Parameters
    ----------
    ticks : int64 array, any order
    at : the frame's row of the first one
    """
    if not len(ticks):
        return []
    first, last = int(ticks[0]), int(ticks[-1])
    if last - first + 1 == len(ticks) and (np.diff(ticks) == 1).all():
        pieces: list[Piece] = []
        for block in range(first // BLOCK, last // BLOCK + 1):
            low, high = max(first, block * BLOCK), min(last + 1, (block + 1) * BLOCK)
            rows = slice(low - block * BLOCK, high - block * BLOCK)
            pieces.append((block, rows, slice(at + low - first, at + high - first)))
        return pieces
    blocks = ticks // BLOCK
    cuts = [0, *(np.flatnonzero(np.diff(blocks)) + 1).tolist(), len(ticks)]
    return [
        (int(blocks[low]), ticks[low:high] - blocks[low] * BLOCK, slice(at + low, at + high))
        for low, high in pairwise(cuts)
    ]


def build_frame(
    groups: Sequence[DeviceRows],
    *,
    keys: Mapping[str, Sequence[str]],
    sensors: Iterable[Sensor],
    clock: SampleClock,
    is_clean: bool,
) -> pd.DataFrame:
    """A frame of rows grouped by device.

    Parameters
    ----------
    keys : the columns that identify a row's device, and their value for each group
    sensors : one per column, in order
    is_clean : cells without faults
    """
    counts = [len(group.ticks) for group in groups]
    n_rows = sum(counts)
    offsets = np.cumsum([0, *counts]).tolist()
    pieces = [pieces_of(g.ticks, at=at) for g, at in zip(groups, offsets, strict=False)]
    columns: dict[str, Any] = {}
    for name, values in keys.items():
        categories = list(dict.fromkeys(values))
        numbers = {value: code for code, value in enumerate(categories)}
        codes = np.repeat(np.array([numbers[v] for v in values], dtype=np.int32), counts)
        columns[name] = pd.Categorical.from_codes(codes, pd.Index(categories))
    for sensor in sensors:
        cells = empty_cells(sensor.data_type, n_rows)
        missing = np.zeros(n_rows, dtype=bool)
        has_missing = False
        for group, at, count, parts in zip(groups, offsets, counts, pieces, strict=False):
            stream = group.stream.sensors.get(sensor.name)
            if stream is None:
                rest = slice(at, at + count)
                cells[rest] = None if cells.dtype == object else 0
                missing[rest] = has_missing = True
                continue
            for block, source, target in parts:
                stored = stream.stored(block)
                cells[target] = (stored.clean if is_clean else stored.cells)[source]
                lost = stored.clean_missing if is_clean else stored.missing
                if lost is not None:
                    missing[target] = lost[source]
                    has_missing = True
        columns[sensor.name] = to_column(
            cells, missing if has_missing else None, data_type=sensor.data_type, unit=clock.unit
        )
    stamps = [group.stamps for group in groups]
    times = np.concatenate(stamps) if stamps else np.empty(0, dtype=np.int64)
    return pd.DataFrame(columns, index=to_index(times, clock), copy=False)


def to_index(times: Ints, clock: SampleClock) -> pd.DatetimeIndex:
    """The index of a frame: naive, UTC, in the clock's unit."""
    return pd.DatetimeIndex(times.view(clock.dtype), name="time")


def merge_repeated(frame: pd.DataFrame, *, devices: Ints) -> pd.DataFrame:
    """Rows of one device and time, merged as the server does: per column the last value present.

    Parameters
    ----------
    frame : in the order in which the rows arrived
    devices : the number of each row's device, shape (n_rows,)

    Returns
    -------
    The frame, ascending in device and time.
    """
    order = np.lexsort((frame.index.to_numpy(), devices))
    frame, devices = frame.iloc[order], devices[order]
    times = frame.index.to_numpy()
    is_first = np.ones(len(frame), dtype=bool)
    is_first[1:] = (times[1:] != times[:-1]) | (devices[1:] != devices[:-1])
    if is_first.all():
        return frame
    starts = np.flatnonzero(is_first)
    columns = {}
    for name in frame.columns:
        is_there = frame[name].notna().to_numpy()
        last = np.maximum.reduceat(np.where(is_there, np.arange(len(frame)), -1), starts)
        columns[name] = frame[name].array.take(np.where(last < 0, starts, last))
    return pd.DataFrame(columns, index=frame.index[is_first])


@dataclass(frozen=True)
class Hits:
    """Rows of one sensor (None: a delivery) that one fault hit."""

    stream: DeviceStream
    sensor: str | None
    fault: int
    ticks: Ints
    clean: Values | None
    faulty: Values | None


def find_hits(stream: DeviceStream, ticks: Ints | range) -> list[Hits]:
    """Every hit on some rows of one device.

    Parameters
    ----------
    ticks : the rows, ascending and each once
    """
    if not len(ticks):
        return []
    low, high = int(ticks[0]), int(ticks[-1]) + 1
    if isinstance(ticks, range) or high - low == len(ticks):
        blocks = range(low // BLOCK, -(-high // BLOCK))
        wanted = None
    else:
        blocks = np.unique(ticks // BLOCK).tolist()
        wanted = ticks

    def is_wanted(hit: Ints) -> npt.NDArray[np.bool_]:
        is_inside = (hit >= low) & (hit < high)
        return is_inside if wanted is None else is_inside & np.isin(hit, wanted)

    found: list[Hits] = []
    for name, sensor in stream.sensors.items():
        for block in blocks if sensor.has_faults else ():
            stored = sensor.stored(block)
            for fault, rows in stored.hits:
                inside = rows[is_wanted(rows + block * BLOCK)]
                clean = _with_missing(stored.clean, stored.clean_missing, inside)
                faulty = _with_missing(stored.cells, stored.missing, inside)
                found.append(Hits(stream, name, fault, inside + block * BLOCK, clean, faulty))
    for block in blocks if not stream.delivery.is_plain else ():
        for fault, hit in stream.delivery.block(block).hits:
            found.append(Hits(stream, None, fault, hit[is_wanted(hit)], None, None))
    return [hits for hits in found if len(hits.ticks)]


def _with_missing(cells: Values, missing: Values | None, rows: Ints) -> Values:
    taken = cells[rows]
    if missing is None or not missing[rows].any():
        return taken
    taken = taken.astype(np.float64 if taken.dtype.kind == "f" else object)
    taken[missing[rows]] = np.nan if taken.dtype.kind == "f" else None
    return taken


def build_ledger(
    hits: Sequence[Hits],
    *,
    kinds: Sequence[str],
    clock: SampleClock,
    has_devices: bool,
    before: int | None = None,
) -> pd.DataFrame:
    """One row per hit, ascending in time; columns as in `SensorSource.ledger`.

    Parameters
    ----------
    before : the tick at which late rows were delivered all the same; None: never
    """
    counts = [len(h.ticks) for h in hits]
    ticks = _joined([h.ticks for h in hits])
    columns: dict[str, Any] = {"time": clock.times(ticks).view(clock.dtype)}
    if has_devices:
        columns["device"] = labels_of([h.stream.device.name for h in hits], counts)
    columns["sensor"] = labels_of([h.sensor for h in hits], counts)
    columns["fault"] = labels_of([kinds[h.fault] for h in hits], counts)
    columns["fault_number"] = np.repeat(np.array([h.fault for h in hits], dtype=np.int64), counts)
    for name in ("clean", "faulty"):
        columns[name] = _cells([getattr(h, name) for h in hits], counts)
    stamps = [h.stream.delivery.stamps(h.ticks) for h in hits]
    columns["stamped"] = _joined(stamps).view(clock.dtype)
    arrive = _joined([h.stream.delivery.arrivals(h.ticks) for h in hits])
    arrive = arrive if before is None else np.minimum(arrive, before)
    columns["delivered"] = clock.times(arrive).view(clock.dtype)
    ledger = pd.DataFrame(columns)
    return ledger.iloc[np.argsort(ticks, kind="stable")].reset_index(drop=True)


def _joined(parts: Sequence[Ints]) -> Ints:
    return np.concatenate([np.empty(0, dtype=np.int64), *parts])


def _cells(parts: Sequence[Values | None], counts: Sequence[int]) -> Values:
    is_float = all(part is None or part.dtype.kind == "f" for part in parts)
    dtype = np.dtype(np.float64 if is_float else object)
    none = np.nan if is_float else None
    filled = [
        np.full(n, none, dtype=dtype) if part is None else part.astype(dtype)
        for part, n in zip(parts, counts, strict=True)
    ]
    return np.concatenate([np.empty(0, dtype=dtype), *filled])
