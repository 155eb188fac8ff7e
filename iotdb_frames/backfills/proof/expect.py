"""What a unit leaves in the database: the number of points per column, with devices and times.

Rows with the same device and time become one, with the last value of each column that is not
missing; so points are counted per (device, time).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from iotdb_frames.codec.quotes import quote_identifier
from iotdb_frames.codec.sources import is_missing
from iotdb_frames.codec.sql import one_of
from iotdb_frames.writes.plan.layout import dictionary_codes
from iotdb_frames.writes.plan.plan import PlannedColumn, PlannedPart, WritePlan

_AT_ONCE = 1 << 18
COLUMNS_A_QUERY, DEVICES_A_QUERY = 500, 200
"""Most columns and devices named in one statement."""

Device = tuple[str | None, ...]
"""A device: its path alone (tree model), or the values of its tags."""


@dataclass(frozen=True)
class Alike:
    """Devices that have the same columns.

    columns : points of each, by name as on the wire
    """

    devices: frozenset[Device]
    columns: dict[str, int]


@dataclass(frozen=True)
class Expected:
    """What a unit leaves.

    tags : names of the tags in the order of a device's values; none in the tree model
    first, last : its time range, in ticks of the server
    """

    groups: tuple[Alike, ...]
    tags: tuple[str, ...]
    first: int
    last: int

    def to_plain(self) -> Any:
        """A value for JSON."""
        groups = [[sorted(g.devices, key=str), g.columns] for g in self.groups]
        return [groups, self.tags, self.first, self.last]

    @classmethod
    def from_plain(cls, plain: Any) -> Expected:
        """The reverse of `to_plain`."""
        groups, tags, first, last = plain
        return cls(
            tuple(Alike(frozenset(map(tuple, devices)), columns) for devices, columns in groups),
            tuple(tags),
            first,
            last,
        )

    @property
    def n_points(self) -> int:
        """Points of all columns."""
        return sum(sum(g.columns.values()) for g in self.groups)

    @property
    def span(self) -> str:
        """The condition of its time range."""
        return f"time >= {self.first} AND time <= {self.last}"


def expect(plan: WritePlan) -> Expected | None:
    """What a plan leaves; None if it has no rows."""
    order = plan.order
    if len(order) == 0:
        return None
    keys = key_starts(plan) if order.n_duplicates else None
    groups = []
    tags: tuple[str, ...] = ()
    for part in plan.parts:
        devices, tags = devices_of(plan, part)
        columns = {
            c.column.name: _points(plan, c, keys)
            for c in part.written
            if c.column.category == "field"
        }
        groups.append(Alike(frozenset(devices), columns))
    return Expected(tuple(groups), tags, *order.span(order.ticks))


def key_starts(plan: WritePlan) -> np.ndarray:
    """Positions in the order where a new (device, time) begins; int64, ascending."""
    return np.flatnonzero(~plan.order.same_time())


def devices_of(plan: WritePlan, part: PlannedPart) -> tuple[list[Device], tuple[str, ...]]:
    """The device of each group of the order (the part's own, if it has one), and tag names."""
    if plan.target.model == "tree":
        if part.device is not None:
            return [(part.device,)], ()
        return [(path,) for path in plan.devices], ()
    tags = [c for c in part.columns if c.column.category == "tag"]
    names = tuple(c.column.name for c in tags)
    if not tags:
        return [()], ()
    n_groups = len(plan.order.bounds) - 1
    rows = plan.order.first_rows[:n_groups]
    values = []
    for c in tags:
        codes, texts = dictionary_codes(c.column.source)
        known = [*texts.to_pylist(), None]
        values.append([known[code] for code in codes[rows]])
    return list(zip(*values, strict=True)), names


def valid_cells(plan: WritePlan, column: PlannedColumn) -> np.ndarray | None:
    """Which positions of the order have a value; bool, shape (n,), or None for all."""
    source, keep_nan = column.column.source, plan.rules.keep_nan
    if not source.n_missing(keep_nan=keep_nan):
        return None
    slices = (source.take(slice(at, at + _AT_ONCE)) for at in range(0, len(source), _AT_ONCE))
    missing = np.concatenate([is_missing(data, keep_nan=keep_nan) for data in slices])
    rows = plan.order.rows
    return ~missing if rows is None else ~missing[rows]


def _points(plan: WritePlan, column: PlannedColumn, keys: np.ndarray | None) -> int:
    """Points of a column; `keys`: see `key_starts`, None if no (device, time) is repeated."""
    n, source = len(plan.order), column.column.source
    if keys is None and n == len(source):
        return n - source.n_missing(keep_nan=plan.rules.keep_nan)
    valid = valid_cells(plan, column)
    if valid is None:
        return n if keys is None else len(keys)
    if keys is None:
        return int(np.count_nonzero(valid))
    return int(np.count_nonzero(np.logical_or.reduceat(valid, keys)))


def device_condition(expected: Expected, devices: frozenset[Device]) -> list[str]:
    """A condition for a few devices of a table with one tag; others are filtered by the client."""
    if len(expected.tags) != 1 or len(devices) > DEVICES_A_QUERY:
        return []
    values = sorted((d[0] for d in devices), key=lambda value: (value is None, value))
    return [one_of(quote_identifier(expected.tags[0]), values)]
