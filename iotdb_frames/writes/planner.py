"""The plan of a frame, compared with what the server has of its target."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from iotdb_frames.client.connection import Connection
from iotdb_frames.codec.cells import Precision, Rules
from iotdb_frames.codec.names import Target
from iotdb_frames.display.words import plural, shorten, size
from iotdb_frames.errors import FrameError
from iotdb_frames.options import WriteOptions
from iotdb_frames.writes.plan.order import SortedRows, sort_rows
from iotdb_frames.writes.plan.plan import Existing, WritePlan
from iotdb_frames.writes.plan.planning import layout_of, plan_layout
from iotdb_frames.writes.schema.cache import cache_of

_log = logging.getLogger("iotdb_frames.write")

_FEW_ROWS = 10_000
"""Fewer are sorted sooner than a thread for it begins."""


def make_rules(
    options: WriteOptions, *, precision: Precision = "ms", time_zone: str = "UTC"
) -> Rules:
    """How cells are made under `options`."""
    return Rules(
        precision=precision,
        time_zone=time_zone,
        keep_nan=options.nan == "keep",
        is_lossy=options.coerce == "lossy",
    )


def plan_frame(
    connection: Connection | None,
    data: Any,
    target: Target,
    options: WriteOptions,
    *,
    is_fresh: bool = False,
    is_stream: bool = False,
) -> WritePlan:
    """The plan of a write, compared with what the server has (without one: with nothing).

    Parameters
    ----------
    is_fresh : ask the server, whatever earlier calls saw; what ``replace=True`` deletes is always
        asked for, and what seems to refuse the frame
    is_stream : see `plan_layout`
    """
    found = layout_of(data, target, options)
    if connection is None:
        return plan_layout(found, options, make_rules(options), Existing())
    rules = make_rules(
        options,
        precision=connection.server.precision,
        time_zone=connection.options.time_zone,
    )
    cache = cache_of(connection)
    is_fresh = is_fresh or options.replace
    rows: SortedRows | None = None
    if found.n_rows <= _FEW_ROWS:
        existing = cache.look(connection, found, is_fresh=is_fresh)
    else:
        with ThreadPoolExecutor(1) as pool:
            sorting = pool.submit(sort_rows, found, rules)
            # This thread is the one that waits for the server: an interrupt ends its wait.
            existing = cache.look(connection, found, is_fresh=is_fresh)
            rows = sorting.result()
    if existing.is_remembered:
        with suppress(FrameError):
            planned = plan_layout(found, options, rules, existing, rows=rows, is_stream=is_stream)
            if not planned.problems:
                return planned
        existing = cache.look(connection, found, is_fresh=True)
    return plan_layout(found, options, rules, existing, rows=rows, is_stream=is_stream)


def tell(planned: WritePlan) -> None:
    """Log a plan: how much of what, never a value; devices may be values, so only their number."""
    if not _log.isEnabledFor(logging.DEBUG):
        return
    columns = [
        f"{c.column.name} {c.data_type.name}"
        for part in planned.parts[:1]
        for c in part.columns
        if c.data_type is not None
    ]
    _log.debug(
        "planned: %s for %s, %s, about %s; %s to create; columns: %s",
        plural(len(planned.order), "row"),
        planned.target,
        plural(planned.n_devices, "device"),
        size(planned.n_bytes),
        plural(len(planned.missing()), "column"),
        shorten(", ".join(columns)),
    )
