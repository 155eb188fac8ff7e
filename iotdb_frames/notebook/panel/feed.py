"""The data of a chart: the latest rows of some series, taken from frames as they arrive.

Any thread may `put` a frame at hardly any cost; a thread of the view takes the frames, picks the
charted columns and keeps the last rows for views that open later.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]

MAX_LANES = 4
_UNLIKE = 1.6  # medians that differ by more than this factor are drawn in separate lanes
MAX_DEVICES = 6
MAX_WAITING = 1_000
"""Most frames waiting for the view; if it is further behind, the oldest are dropped."""


@dataclass(frozen=True)
class Series:
    """One line of the chart.

    name, unit : as shown
    column : of the frame
    device : values of the frame's key columns; empty if it has none
    lane : number of its plot
    color : number of its colour in the palette
    """

    name: str
    column: Any
    unit: str = ""
    device: tuple[str, ...] = ()
    lane: int = 0
    color: int = 0


@dataclass(frozen=True)
class Lines:
    """All lines of a chart, and the labels of its lanes."""

    series: tuple[Series, ...] = ()
    lanes: tuple[str, ...] = ("",)


Cell = tuple[tuple[str, ...], Any]
"""A device, as the values of the key columns, and a column."""


@dataclass(frozen=True)
class Rows:
    """Rows of all series: seconds since 1970, shape (n,), and values, shape (n_series, n)."""

    times: Floats
    values: Floats

    def __len__(self) -> int:
        return len(self.times)


@dataclass(frozen=True)
class Hit:
    """A fault on a row: seconds since 1970, its kind, and the cell (device, column) that it hit.

    line : None for the whole row
    """

    time: float
    kind: str
    line: Cell | None


@dataclass(frozen=True)
class Mark:
    """A fault on a row: seconds since 1970, which series (-1: the whole row), and its kind."""

    time: float
    series: int
    kind: str


@dataclass(frozen=True)
class Update:
    """Changes since the last update.

    lines : if they changed; `rows` and `marks` are then all that are kept
    """

    lines: Lines | None
    rows: Rows | None
    marks: tuple[Mark, ...] = ()


@dataclass
class Feed:
    """The latest rows of some series.

    Parameters
    ----------
    capacity : rows kept
    max_series : lines of the chart; further columns are left out
    units : of columns; None: unknown, and lanes are chosen by the size of the values, of columns
        that have any
    keys : key columns of the frames: tags, or ``device``
    """

    capacity: int = 10_000
    max_series: int = 20
    units: Mapping[Any, str] | None = field(default_factory=dict)
    keys: Sequence[str] = ()

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[tuple[pd.DataFrame, Sequence[Hit]]] = deque(maxlen=MAX_WAITING)
        self._marks: deque[Mark] = deque(maxlen=2_000)
        self._new_marks: list[Mark] = []
        self._kept: deque[Rows] = deque()
        self._n_kept = 0
        self._columns: tuple[Any, ...] | None = None
        self._sizes: dict[Cell, float] = {}
        self._is_new = False
        self.lines = Lines()

    def put(self, frame: pd.DataFrame, hits: Sequence[Hit] = ()) -> None:
        """Add a frame with a DatetimeIndex, and the faults on its rows.

        Neither may be changed afterwards.
        """
        self._waiting.append((frame, hits))

    def describe(self, *, units: Mapping[Any, str] | None, keys: Sequence[str]) -> None:
        """Change the units and keys of the columns; earlier rows are dropped."""
        with self._lock:
            if (units, tuple(keys)) != (self.units, tuple(self.keys)):
                self.units, self.keys, self._columns = units, keys, None

    def take(self) -> Update | None:
        """Changes since the last call; used by one thread."""
        with self._lock:
            frames: list[pd.DataFrame] = []
            while self._waiting:
                frame, hits = self._waiting.popleft()
                is_anew = tuple(frame.columns) != self._columns
                lines = self._lines_of(frame)
                if lines != self.lines:
                    if not is_anew:
                        self._keep_all(frames)
                    frames = []
                    self._reset(lines, is_anew=is_anew)
                frames.append(frame)
                self._mark(hits)
            joined = self._keep_all(frames)
            marks, self._new_marks = tuple(self._new_marks), []
            is_new, self._is_new = self._is_new, False
            if is_new:  # with what is kept of the lines that were there before
                joined, marks = _join(list(self._kept)), tuple(self._marks)
            if joined is None and not marks and not is_new:
                return None
            return Update(self.lines if is_new else None, joined, marks)

    def replay(self) -> Update:
        """All rows kept, in ascending order with distinct times, for a new view."""
        with self._lock:
            joined = _join(list(self._kept))
            rows = None if joined is None else _settle(joined)
            return Update(self.lines, rows, tuple(self._marks))

    def _lines_of(self, frame: pd.DataFrame) -> Lines:
        """The lines with this frame: others if its columns are, or one has its first value."""
        columns, sizes = tuple(frame.columns), None
        is_changed = columns != self._columns
        if self.units is None:
            before = {} if is_changed else self._sizes
            sizes = {**before}
            for cell, size in sizes_of(frame, keys=self.keys).items():
                sizes.setdefault(cell, size)
            is_changed |= len(sizes) > len(before)
            self._sizes = sizes
        self._columns = columns
        if not is_changed:
            return self.lines
        return choose_lines(
            frame, units=self.units, keys=self.keys, max_series=self.max_series, sizes=sizes
        )

    def _keep_all(self, frames: list[pd.DataFrame]) -> Rows | None:
        """Keep the newest rows of some frames, and return them."""
        joined = _join(self._pick_newest(frames))
        if joined is not None:
            self._keep(joined)
        return joined

    def _pick_newest(self, frames: list[pd.DataFrame]) -> list[Rows]:
        """The rows of the last frames; those that a chart would drop at once are skipped."""
        rows: list[Rows] = []
        n_rows = 0
        for frame in reversed(frames):
            if n_rows >= self.capacity:
                break
            rows.append(pick(frame, self.lines.series, keys=self.keys))
            n_rows += len(rows[-1])
        return rows[::-1]

    def _mark(self, hits: Sequence[Hit]) -> None:
        """Add marks to the lines drawn, which by now are those of the hits' frame."""
        at = {(line.device, line.column): i for i, line in enumerate(self.lines.series)}
        for hit in hits:
            if hit.line is None or hit.line in at:
                mark = Mark(hit.time, -1 if hit.line is None else at[hit.line], hit.kind)
                self._new_marks.append(mark)
                self._marks.append(mark)

    def _reset(self, lines: Lines, *, is_anew: bool) -> None:
        """Change the lines; unless they are of other columns, the rows that are kept stay."""
        at = {(line.device, line.column): i for i, line in enumerate(self.lines.series)}
        old = [at.get((line.device, line.column), -1) for line in lines.series]
        self.lines = lines
        self._is_new = True
        self._marks.clear()
        self._new_marks.clear()
        if is_anew:
            self._kept.clear()
            self._n_kept = 0
        for _ in range(len(self._kept)):
            rows = self._kept.popleft()
            values = np.vstack([rows.values, np.full((1, len(rows)), np.nan)])  # the last: -1
            self._kept.append(Rows(rows.times, values[old]))

    def _keep(self, rows: Rows) -> None:
        self._kept.append(rows)
        self._n_kept += len(rows)
        while self._n_kept - len(self._kept[0]) >= self.capacity:
            self._n_kept -= len(self._kept.popleft())


def choose_lines(
    frame: pd.DataFrame,
    *,
    units: Mapping[Any, str] | None,
    keys: Sequence[str],
    max_series: int,
    sizes: Mapping[Cell, float] | None = None,
) -> Lines:
    """The lines of a chart of this frame.

    Columns of one unit share a lane. With key columns, each sensor has a lane with the first
    devices.

    sizes : what has values, as `sizes_of` finds it; None: everything is drawn
    """
    columns = [c for c in frame.columns if c not in keys and _is_charted(frame[c].dtype)]
    if sizes is not None:
        known = {column for _, column in sizes}
        columns = [c for c in columns if c in known]
    if units is None and not keys:
        sizes = sizes_of(frame, keys=keys) if sizes is None else sizes
        there = [c for c in columns if ((), c) in sizes][:max_series]
        lane_of = _lanes_by_size({c: sizes[(), c] for c in there})
        series = [Series(str(c), c, lane=lane, color=i) for i, (c, lane) in enumerate(lane_of)]
        return Lines(tuple(series), ("",) * max(1, len({lane for _, lane in lane_of})))
    units = units or {}
    if not keys:
        lanes = list(dict.fromkeys(units.get(c, "") for c in columns))
        shown = lanes[:MAX_LANES]
        series = [
            Series(str(c), c, units.get(c, ""), lane=shown.index(units.get(c, "")), color=i)
            for i, c in enumerate(c for c in columns if units.get(c, "") in shown)
        ]
        return Lines(tuple(series[:max_series]), tuple(shown) or ("",))
    columns = columns[:MAX_LANES]
    n_devices = min(MAX_DEVICES, max(1, max_series // max(1, len(columns))))
    names = [frame[key].astype(str) for key in keys]
    found = dict.fromkeys(zip(*names, strict=True))
    if sizes is not None:
        found = dict.fromkeys(device for device, _ in sizes)
    devices = list(found)[:n_devices]
    series = [
        Series(
            f"{label} {column}",
            column,
            units.get(column, ""),
            device,
            lane,
            color,
        )
        for lane, column in enumerate(columns)
        for color, (device, label) in enumerate(zip(devices, _short_names(devices), strict=True))
        if sizes is None or (device, column) in sizes
    ]
    labels = [f"{c} {units[c]}" if c in units else str(c) for c in columns]
    return Lines(tuple(series), tuple(labels) or ("",))


def _short_names(devices: Sequence[tuple[str, ...]]) -> list[str]:
    """Names of devices without their common prefix."""
    is_tree = all(len(device) == 1 for device in devices)
    parts = [device[0].split(".") if is_tree else list(device) for device in devices]
    last = min((len(part) - 1 for part in parts), default=0)
    n_common = next((i for i in range(last) if len({part[i] for part in parts}) > 1), last)
    return [("." if is_tree else " ").join(part[n_common:]) for part in parts]


def sizes_of(frame: pd.DataFrame, *, keys: Sequence[str]) -> dict[Cell, float]:
    """What has a value in a frame, by device and column, and how large it is in the middle."""
    columns = [c for c in frame.columns if c not in keys and _is_charted(frame[c].dtype)]
    rows_of: Mapping[Any, Any] = {(): slice(None)}
    if keys:
        rows_of = frame.groupby([frame[k].astype(str).to_numpy() for k in keys], sort=False).indices
    sizes: dict[Cell, float] = {}
    for name, rows in rows_of.items():
        device = name if isinstance(name, tuple) else (name,)
        for column in columns:
            values = _floats(frame[column])[rows]
            if not np.isnan(values).all():
                sizes[device, column] = float(np.nanmedian(values))
    return sizes


def _lanes_by_size(sizes: Mapping[Any, float]) -> list[tuple[Any, int]]:
    """Columns and their lanes: values of different size get separate lanes, while there are any."""
    columns = list(sizes)
    ascending = sorted(columns, key=sizes.__getitem__)
    jumps = []
    for low, high in pairwise(ascending):
        a, b = sizes[low], sizes[high]
        ratio = b / a if a * b > 0 else np.inf if a != b else 1.0
        jumps.append(max(ratio, 1 / ratio) if ratio else 1.0)
    widest = sorted(range(len(jumps)), key=lambda i: -jumps[i])[: MAX_LANES - 1]
    cuts = {i for i in widest if jumps[i] > _UNLIKE}
    lane, lane_of = 0, {}
    for i, column in enumerate(ascending):
        lane_of[column] = lane
        lane += i in cuts
    return [(column, lane_of[column]) for column in columns]


def pick(frame: pd.DataFrame, series: Sequence[Series], *, keys: Sequence[str]) -> Rows:
    """The charted cells of a frame; missing ones are NaN."""
    times = seconds_of(pd.DatetimeIndex(frame.index))
    if not keys:
        values = np.empty((len(series), len(times)))
        for i, line in enumerate(series):
            values[i] = _floats(frame[line.column])
        return Rows(times, values)
    masks = {}
    for device in dict.fromkeys(line.device for line in series):
        is_here = np.ones(len(times), dtype=bool)
        for key, value in zip(keys, device, strict=True):
            is_here &= (frame[key] == value).to_numpy(dtype=bool, na_value=False)
        masks[device] = is_here
    rows, inverse = np.unique(times, return_inverse=True)
    values = np.full((len(series), len(rows)), np.nan)
    for i, line in enumerate(series):
        is_here = masks[line.device]
        values[i, inverse[is_here]] = _floats(frame[line.column])[is_here]
    return Rows(rows, values)


def seconds_of(times: pd.DatetimeIndex) -> Floats:
    """Seconds since 1970; naive times are UTC. The same moment gives the same number."""
    return times.as_unit("ns").asi8 / 1e9


def _floats(column: pd.Series[Any]) -> Floats:
    return column.to_numpy(dtype=np.float64, na_value=np.nan)


def _is_charted(dtype: Any) -> bool:
    return pd.api.types.is_numeric_dtype(dtype) or pd.api.types.is_bool_dtype(dtype)


def _join(rows: Sequence[Rows]) -> Rows | None:
    rows = [part for part in rows if len(part)]
    if not rows:
        return None
    if len(rows) == 1:
        return rows[0]
    return Rows(
        np.concatenate([part.times for part in rows]),
        np.concatenate([part.values for part in rows], axis=1),
    )


def _settle(rows: Rows) -> Rows:
    """Rows as in the database: ascending distinct times, with the last value of each cell."""
    if not len(rows) or bool(np.all(np.diff(rows.times) > 0)):
        return rows
    order = np.argsort(rows.times, kind="stable")
    times, groups = np.unique(rows.times[order], return_inverse=True)
    values = np.full((len(rows.values), len(times)), np.nan)
    for settled, given in zip(values, rows.values, strict=True):
        cells = given[order]
        is_there = ~np.isnan(cells)
        settled[groups[is_there]] = cells[is_there]
    return Rows(times, values)
