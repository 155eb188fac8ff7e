"""A refused request, planned anew: where the server has its series otherwise than was seen."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from typing import Any

import numpy as np

from iotdb_frames.client.connection import Connection
from iotdb_frames.codec.names import Target
from iotdb_frames.codec.sources import Source
from iotdb_frames.codec.tablet import Tablet
from iotdb_frames.writes.plan.chunks import CATEGORIES, Request, lanes
from iotdb_frames.writes.plan.layout import Layout, Part, as_positions
from iotdb_frames.writes.plan.plan import Existing, WritePlan
from iotdb_frames.writes.plan.planning import plan_layout, wishes
from iotdb_frames.writes.schema.cache import cache_of


def is_outdated(connection: Connection, target: Target, request: Request) -> bool:
    """Ask the server; whether it has series of a refused request otherwise than the tablets say.

    False where nobody may look.
    """
    cache = cache_of(connection)
    if target.model == "table":
        existing = cache.look_at_table(connection, target, is_fresh=True)
    else:
        wanted = {tablet.target: tablet.names for tablet in request.tablets}
        existing = cache.look_at_devices(connection, wanted, is_fresh=True)
    return existing.was_seen and not all(_fits(existing, tablet) for tablet in request.tablets)


def _fits(existing: Existing, tablet: Tablet) -> bool:
    device = tablet.target if tablet.categories is None else ""
    there = [existing.type_of(device, name) for name in tablet.names]
    if there != tablet.types:
        return False
    if tablet.categories is not None:
        kinds = [CATEGORIES[existing.categories[name]] for name in tablet.names]
        return kinds == list(tablet.categories)
    return existing.aligned.get(device, tablet.is_aligned) == tablet.is_aligned


def plan_again(connection: Connection, plan: WritePlan, request: Request) -> WritePlan | None:
    """The plan of what a refused request holds, after a new look; None where nothing has changed.

    Raises
    ------
    FrameError : it cannot be planned any more; most of what is wrong is in the plan.
    ServerError : the server cannot be asked.
    """
    if not is_outdated(connection, plan.target, request):
        return None
    found = _layout(plan, request)
    existing = cache_of(connection).look(connection, found)
    labels = {c.source.label for c in found.columns}
    asked: dict[Hashable, Any] = wishes(plan.layout, plan.options)
    options = replace(plan.options, schema={k: v for k, v in asked.items() if k in labels})
    return plan_layout(found, options, plan.rules, existing, is_stream=True)


def requests_again(plan: WritePlan, request: Request) -> list[Request]:
    """The requests of a plan of `plan_again`, in place of the refused one."""
    rows = as_positions(request.rows)
    return [
        replace(part, rows=rows[part.rows], halve=None, is_whole=request.is_whole, is_again=True)
        for lane in lanes(plan)
        for part in lane
    ]


def _layout(plan: WritePlan, request: Request) -> Layout:
    """The rows and columns of a request, as a frame of their own."""
    found, rows = plan.layout, as_positions(request.rows)
    names = {(t.target, name) for t in request.tablets for name in t.names}
    devices = {t.target for t in request.tablets}
    is_table = found.target.model == "table"
    some = {name for _, name in names}
    parts = []
    for part in plan.parts:
        own = part.device if part.device in devices or is_table else None
        if part.device is not None and own is None:
            continue
        columns = tuple(
            replace(c.column, source=_take(c.column.source, rows))
            for c in part.columns
            if ((own, c.column.name) in names if own is not None else c.column.name in some)
        )
        parts.append(Part(part.device, columns))
    device = found.device
    if device is not None:
        device = replace(device, codes=device.codes[rows])
    return replace(
        found, n_rows=len(rows), times=_take(found.times, rows), parts=tuple(parts), device=device
    )


def _take(source: Source, rows: np.ndarray) -> Source:
    return replace(source, data=source.take(rows))
