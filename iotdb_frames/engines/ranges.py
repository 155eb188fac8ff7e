"""What a read is split by: ranges of time in which a target has rows, or groups of devices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from iotdb_frames.client.connection import Connection
from iotdb_frames.errors import OptionsError
from iotdb_frames.reads.ask import Ask, check_ask
from iotdb_frames.reads.select import table_range_sql, tree_range_sql
from iotdb_frames.reads.sql import run_query
from iotdb_frames.writes.schema.look import look_at_table

_MOST = 10_000
"""Parts of a read; an engine keeps some of each in memory."""
_AT_ONCE = 200
"""Columns a query asks for; for the range of thousands a small server has no memory."""


def time_ranges(
    connection: Connection,
    target: str,
    said: Mapping[str, Any],
    *,
    start: Any,
    end: Any,
    where: Mapping[str, Any] | None,
    n: int,
) -> list[tuple[int, int]]:
    """At most `n` ranges (first tick, first behind the last) of equal length that hold all rows.

    Parameters
    ----------
    said : ``attrs["iotdb"]`` of a frame that was read of the target
    start, end, where : as in `iotdb_frames.read`

    Returns
    -------
    list : ascending, each begins where the one before ends; empty where there are no rows
    """
    ask = _ask(connection, target, start=start, end=end, where=where)
    lows, tops = _ends(connection, ask, list(said["types"]), by_device="device" in said)
    if not lows or not tops:
        return []
    first, end_tick = min(lows), max(tops) + 1
    n = max(1, min(n, end_tick - first, _MOST))
    cuts = [first + (end_tick - first) * i // n for i in range(n + 1)]
    return list(pairwise(cuts))


def device_groups(
    connection: Connection, target: str, said: Mapping[str, Any], *, column: str, n: int
) -> list[list[str | None]]:
    """At most `n` groups, about equally many each, of the values that a column of devices has.

    Parameters
    ----------
    said : as in `time_ranges`
    column : a tag; in the tree model the column that names each row's device

    Raises
    ------
    OptionsError : the column does not name devices.
    """
    names = said.get("tags") or [said[key] for key in ("device",) if key in said]
    if column not in names:
        others = " or ".join(map(repr, names))
        raise OptionsError(
            f"{column!r} does not name devices of {target}",
            hint=f'split by "time"{f", or by {others}" * bool(names)}',
        )
    ask = _ask(connection, target)
    if ask.target.model == "table":
        found = run_query(connection, f"SHOW DEVICES FROM {ask.target.sql}", model="table")
        values = set(found.to_arrow()[column].to_pylist())
    else:
        found = run_query(connection, f"SHOW DEVICES {ask.paths}", model="tree")
        base = len(ask.target.path) + 1
        values = {path[base:] for path in found.to_arrow()["Device"].to_pylist()}
    ordered = sorted(values, key=lambda value: (value is not None, value))
    n = min(n, len(ordered), _MOST)
    return [ordered[len(ordered) * i // n : len(ordered) * (i + 1) // n] for i in range(n)]


def _ask(
    connection: Connection,
    target: str,
    *,
    start: Any = None,
    end: Any = None,
    where: Mapping[str, Any] | None = None,
) -> Ask:
    return check_ask(
        connection,
        target,
        columns=None,
        start=start,
        end=end,
        where=where,
        every=None,
        agg=None,
        fill=None,
        limit=None,
        device=None,
        wide=False,
        chunk_rows=None,
    )


def _ends(
    connection: Connection, ask: Ask, columns: Sequence[str], *, by_device: bool
) -> tuple[list[int], list[int]]:
    """First ticks and last ticks, of columns and devices."""
    if ask.target.model == "table":
        time = look_at_table(connection, ask.target).time
        found = [
            table_range_sql(
                ask.target, time=time, start=ask.start, end=ask.end, where=ask.conditions
            )
        ]
    else:
        paths = ask.paths if by_device else ask.target.path
        ask = ask.of_devices() if by_device else ask
        found = [
            tree_range_sql(
                paths,
                columns=columns[i : i + _AT_ONCE],
                start=ask.start,
                end=ask.end,
                where=ask.conditions,
                by_device=by_device,
            )
            for i in range(0, len(columns), _AT_ONCE)
        ]
    lows, tops = [], []
    for sql in found:
        ticks = run_query(connection, sql, model=ask.target.model).to_arrow().columns
        ticks = [column.cast(pa.int64()) for column in ticks[int(by_device) :]]
        half = len(ticks) // 2
        lows += [low for c in ticks[:half] if (low := pc.min(c).as_py()) is not None]
        tops += [top for c in ticks[half:] if (top := pc.max(c).as_py()) is not None]
    return lows, tops
