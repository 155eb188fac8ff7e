"""Devices by the node that leads them: those of one leader go out together.

A device is known to `client.leaders` by its path, in the table model by its table and tags.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from iotdb_frames.writes.plan.plan import WritePlan

LeadersOf = Callable[[Sequence[Hashable]], Sequence[str | None]]
"""The node that leads each device, where it is known."""


def by_leader(devices: Sequence[Hashable], leaders_of: LeadersOf | None) -> list[np.ndarray]:
    """Positions of the devices of each leader, as they follow each other."""
    if leaders_of is None or len(devices) < 2:
        return [np.arange(len(devices))]
    leaders = np.array([leader or "" for leader in leaders_of(devices)])
    return [np.flatnonzero(leaders == leader) for leader in np.unique(leaders)]


def in_turn(plan: WritePlan, leaders_of: LeadersOf | None) -> tuple[WritePlan, list[int]]:
    """The plan with the devices of each leader next to each other, and the positions in its order
    where the next leader's begin."""
    groups = by_leader(plan.devices, leaders_of)
    if len(groups) < 2:
        return plan, []
    devices = np.concatenate(groups)
    order = plan.order.in_turn(devices)
    names = tuple(plan.devices[i] for i in devices.tolist())
    edges = order.bounds[np.cumsum([len(group) for group in groups])].tolist()
    return replace(plan, order=order, devices=names), edges


def with_devices(plan: WritePlan) -> WritePlan:
    """A table's plan with the device of each group of its order: database, table and tags."""
    rows = plan.order.first_rows[: len(plan.order.bounds) - 1]
    tags = [
        pa.array(c.column.source.take(rows)).to_pylist()
        for c in plan.parts[0].written
        if c.column.category == "tag"
    ]
    name = (plan.target.database, plan.target.table)
    return replace(plan, devices=tuple((name, *tag) for tag in zip(*tags, strict=True)) or (name,))


def first_rows(
    plan: WritePlan, start: int, stop: int, places: np.ndarray | None
) -> list[tuple[Hashable, int]]:
    """The devices of a tablet of a table, and the first row of each in it.

    Parameters
    ----------
    start, stop : the tablet's positions in the order
    places : which of these each row is, counted from `start`; None: they are in order
    """
    bounds = plan.order.bounds
    first = int(np.searchsorted(bounds, start, side="right")) - 1
    last = int(np.searchsorted(bounds, stop))
    rows = np.maximum(bounds[first:last], start) - start
    if places is not None:
        row_of = np.empty_like(places)
        row_of[places] = np.arange(len(places))
        rows = row_of[rows]
    return list(zip(plan.devices[first:last], rows.tolist(), strict=True))
