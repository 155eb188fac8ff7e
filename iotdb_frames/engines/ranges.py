"""What a read is split by: ranges of time in which a target has rows, or groups of devices."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from iotdb_frames.client.connection import Connection
from iotdb_frames.errors import OptionsError
from iotdb_frames.reads.ask import check_ask
from iotdb_frames.reads.ends import ends_of
from iotdb_frames.reads.sql import run_query

_MOST = 10_000
"""Parts of a read; an engine keeps some of each in memory."""


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
    ask = check_ask(connection, target, start=start, end=end, where=where)
    lows, tops = ends_of(connection, ask, list(said["types"]), by_device="device" in said)
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
    ask = check_ask(connection, target)
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
