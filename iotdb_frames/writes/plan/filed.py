"""A plan cut into what a file takes: rows by device, each time of a device once.

A tablet may repeat a time, and the server makes one row of it; a file may not, for nobody looks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from iotdb_frames.codec.cells import Cells, to_cells
from iotdb_frames.options import TSDataType
from iotdb_frames.tsfile.layout import Device, table_device, tree_device
from iotdb_frames.tsfile.writer import FileColumn
from iotdb_frames.writes.plan.chunks import cells_of, has_values
from iotdb_frames.writes.plan.layout import row_positions
from iotdb_frames.writes.plan.order import Order
from iotdb_frames.writes.plan.plan import PlannedPart, WritePlan


@dataclass(frozen=True)
class FileRows:
    """Rows on their way into a file: what `TsFileWriter.write` takes.

    devices : with their first row, and the one behind their last
    ticks : int64, shape (n_rows,), strictly ascending in each device
    columns : shape (n_rows,)
    rows : positions in the frame, those of times that repeat too
    """

    devices: list[tuple[Device, int, int]]
    ticks: np.ndarray
    columns: list[FileColumn]
    rows: slice | np.ndarray


def file_rows(plan: WritePlan, *, n_bytes: int) -> Iterator[FileRows]:
    """The rows of a plan, in pieces of about so many bytes; a device is cut only if it is larger.

    Of a frame with columns of many devices, rows in which a device has nothing are left out.
    """
    for part in plan.parts:
        if not any(c.column.category == "field" for c in part.written):
            continue
        same = None
        if plan.order.n_duplicates and plan.options.duplicates == "merge":
            same = plan.order.same_time()
        for start, stop in _ranges(plan.order, same, max(1, n_bytes // plan.row_bytes)):
            rows = _rows(plan, part, start, stop, None if same is None else same[start:stop])
            if len(rows.ticks):
                yield rows


def _ranges(order: Order, same: np.ndarray | None, n_rows: int) -> Iterator[tuple[int, int]]:
    """Positions of the order in ranges of about so many, cut between devices where that can be."""
    start, end = 0, len(order)
    while start < end:
        stop = min(start + n_rows, end)
        edge = int(order.bounds[np.searchsorted(order.bounds, stop, side="right") - 1])
        if edge > start:
            stop = edge
        elif same is not None:
            new = np.flatnonzero(~same[stop:])
            stop = stop + int(new[0]) if len(new) else end
        yield start, stop
        start = stop


def _rows(
    plan: WritePlan, part: PlannedPart, start: int, stop: int, same: np.ndarray | None
) -> FileRows:
    fields = [c for c in part.written if c.column.category == "field"]
    rows = plan.order.frame_rows(start, stop)
    positions = rows
    if isinstance(rows, np.ndarray):
        rows = rows.astype(np.intp, copy=False)  # once, not in the look-up of each column
    ticks = plan.order.ticks[start:stop]
    cells = [cells_of(plan, c, rows) for c in fields]
    bounds = plan.order.bounds
    first, last = np.searchsorted(bounds, start, side="right") - 1, np.searchsorted(bounds, stop)
    edges = np.clip(bounds[first : last + 1], start, stop) - start
    is_repeated = same is not None and bool(same.any())
    if same is not None and is_repeated:
        firsts = np.flatnonzero(~same)
        cells = [_last_values(c, firsts) for c in cells]
        ticks, edges = ticks[firsts], np.searchsorted(firsts, edges)
    if len(plan.parts) > 1 and (is_kept := has_values(cells)) is not None:
        cells, ticks = [c.filter(is_kept) for c in cells], ticks[is_kept]
        if not is_repeated:  # else a row of the file is several of the frame
            positions = row_positions(is_kept, rows)
        edges = np.array([0, len(ticks)])
    columns = [
        FileColumn(c.column.name, c.data_type, some, c.encoding, c.compression)
        for c, some in zip(fields, cells, strict=True)
        if c.data_type is not None
    ]
    names = devices_of(plan, part, int(first), int(last))
    places = edges.tolist()
    return FileRows(list(zip(names, places, places[1:], strict=False)), ticks, columns, positions)


def _last_values(cells: Cells, firsts: np.ndarray) -> Cells:
    """One row for each run of rows: the last value of it that is not null.

    Parameters
    ----------
    firsts : first row of each run
    """
    n_rows = len(cells)
    if cells.is_null is None:
        at = np.append(firsts[1:], n_rows) - 1
        is_null = None
    else:
        last = np.where(cells.is_null, -1, np.arange(n_rows))
        at = np.maximum.reduceat(last, firsts)
        is_null = at < 0
        at = np.maximum(at, 0)
    values = cells.values
    taken = values[at] if isinstance(values, np.ndarray) else values.take(pa.array(at))
    return replace(cells, values=taken, is_null=is_null, is_bad=None)


def devices_of(plan: WritePlan, part: PlannedPart, first: int, last: int) -> Sequence[Device]:
    """Segments of the devices of some groups of the order."""
    found = plan.layout.device
    firsts = plan.order.first_rows[first:last]
    if found is not None:
        return [tree_device(found.paths[code]) for code in found.codes[firsts].tolist()]
    if plan.target.model == "tree":
        return [tree_device(part.device or "")]
    by_name = {c.column.name: c for c in part.columns if c.column.category == "tag"}
    order = list(plan.existing.tags or ())
    order += [name for name in by_name if name not in order]
    texts: list[list[str | None]] = []
    for name in order:
        values: list[str | None] = [None] * len(firsts)
        if name in by_name:  # else it is null in all rows
            source = by_name[name].column.source
            cells = to_cells(source, firsts.astype(np.intp), TSDataType.STRING, plan.rules)
            values = _texts(cells.values)
        texts.append(values)
    if not texts:
        return [(plan.target.table,)] * len(firsts)
    return [table_device(plan.target.table, tags) for tags in zip(*texts, strict=True)]


def _texts(values: Any) -> list[str | None]:
    found: list[str | None] = values.cast(pa.string()).to_pylist()
    return found
