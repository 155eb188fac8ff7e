"""When the rows of a target begin and end."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from iotdb_frames.client.connection import Connection
from iotdb_frames.reads.ask import Ask
from iotdb_frames.reads.select import table_range_sql, tree_range_sql
from iotdb_frames.reads.sql import run_query
from iotdb_frames.writes.schema.look import look_at_table

_AT_ONCE = 200
"""Columns a query asks for; for the range of thousands a small server has no memory."""


def ends_of(
    connection: Connection, ask: Ask, columns: Sequence[str], *, by_device: bool
) -> tuple[list[int], list[int]]:
    """First ticks and last ticks, of columns and devices; empty where there are no rows.

    Parameters
    ----------
    columns : raw names of measurements; of a table any
    by_device : whether the target is a prefix of devices
    """
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
