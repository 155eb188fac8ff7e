"""What a server would hold after some requests: the last value that is not null wins."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from iotdb_frames.writes.plan.chunks import Request
from tablet_reader import read_times, read_values

Key = tuple[Any, ...]


def stored(requests: Iterable[Request]) -> dict[Key, dict[str, Any]]:
    """Values by name, by (device or table, tags …, time); checks each tablet on the way."""
    rows: dict[Key, dict[str, Any]] = {}
    for request in requests:
        for tablet in request.tablets:
            times = read_times(bytes(tablet.times))
            columns = read_values(bytes(tablet.values), tablet.types, tablet.n_rows)
            assert len(times) == tablet.n_rows > 0
            assert len(tablet.names) == len(tablet.types) == len(columns) > 0
            kinds = tablet.categories or [1] * len(columns)
            tags = [i for i, kind in enumerate(kinds) if kind == 0]
            last: dict[Key, int] = {}
            for row, tick in enumerate(times):
                device = (tablet.target, *(columns[i][row] for i in tags))
                assert last.get(device, tick) <= tick, "rows of a device must ascend"
                last[device] = tick
                cells = rows.setdefault((*device, tick), {})
                for name, kind, column in zip(tablet.names, kinds, columns, strict=True):
                    if kind != 0 and (column[row] is not None or name not in cells):
                        cells[name] = column[row]
    return rows


def devices_of(requests: Iterable[Request]) -> set[Key]:
    """Devices that requests write to."""
    return {key[:-1] for key in stored(requests)}


def visible(rows: dict[Key, dict[str, Any]]) -> dict[Key, dict[str, Any]]:
    """What a query shows of it: no nulls, and in the tree model no rows of nothing but nulls."""
    out = {
        key: {name: value for name, value in cells.items() if value is not None}
        for key, cells in rows.items()
    }
    return {key: cells for key, cells in out.items() if cells or not key[0].startswith("root.")}
