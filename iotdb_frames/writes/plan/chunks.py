"""A plan cut into requests: encoded tablets, sized by their bytes, made one at a time.

A lane is a sequence of requests that must go out in order; a device's rows are all in one lane.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import chain, pairwise, zip_longest
from pathlib import Path

import numpy as np

from iotdb_frames.codec.cells import Cells, to_cells
from iotdb_frames.codec.tablet import Tablet, encode_pieces
from iotdb_frames.writes.plan.attributes import by_attributes
from iotdb_frames.writes.plan.layout import as_positions, row_positions
from iotdb_frames.writes.plan.led import LeadersOf, by_leader, first_rows, in_turn, with_devices
from iotdb_frames.writes.plan.plan import PlannedColumn, PlannedPart, WritePlan

MAX_TABLETS = 1_000
"""Tablets of one request; more only make its answer late, and what the server logs of new devices
too large for it."""
OVERSIZE = 1.5
"""A request this much over the chunk size (texts longer than the average) is cut in two."""
CATEGORIES = {"tag": 0, "field": 1, "attribute": 2}
"""As a tablet says them."""


@dataclass(frozen=True)
class Request:
    """Encoded tablets that go out together.

    tablets : see `codec.tablet.Tablet`
    rows : positions in the frame
    n_points : cells that are not null
    start, end : first and last time, in ticks of the server
    is_whole : whether it holds all columns of its rows
    is_again : whether it stands for a refused one, and was planned anew
    halve : the same rows or columns as two requests; None where it cannot be cut
    """

    tablets: tuple[Tablet, ...]
    rows: slice | np.ndarray
    n_points: int
    start: int
    end: int
    is_whole: bool = False
    is_again: bool = False
    halve: Callable[[], list[Request]] | None = None

    @property
    def targets(self) -> tuple[str, ...]:
        """The first devices, or the table."""
        return tuple(t.target for t in self.tablets[:5])

    @property
    def columns(self) -> tuple[str, ...]:
        """The first columns."""
        return tuple(self.tablets[0].names[:50])

    def release(self) -> None:
        """Give back what it holds: it was answered, or will never be sent."""

    @cached_property
    def n_rows(self) -> int:
        """Rows of all tablets."""
        return sum(t.n_rows for t in self.tablets)

    @cached_property
    def n_bytes(self) -> int:
        """Encoded bytes, names left out."""
        return sum(len(t.times) + len(t.values) for t in self.tablets)


@dataclass(frozen=True)
class LoadRequest(Request):
    """A folder of files that the server loads.

    folder : removed by `release`
    statement : the LOAD
    n_file_rows, n_file_bytes : of the files
    n_files : how many; where it is one, a refused LOAD has stored nothing
    devices, names : the first of them, for a report
    """

    folder: Path = Path()
    statement: str = ""
    n_file_rows: int = 0
    n_file_bytes: int = 0
    n_files: int = 1
    devices: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    @cached_property
    def n_rows(self) -> int:
        """Rows of all files."""
        return self.n_file_rows

    @cached_property
    def n_bytes(self) -> int:
        """Bytes of all files."""
        return self.n_file_bytes

    @property
    def targets(self) -> tuple[str, ...]:
        """The first devices."""
        return self.devices

    @property
    def columns(self) -> tuple[str, ...]:
        """The first measurements."""
        return self.names

    def release(self) -> None:
        """Remove the files."""
        shutil.rmtree(self.folder, ignore_errors=True)


def lanes(plan: WritePlan, *, leaders_of: LeadersOf | None = None) -> list[Iterator[Request]]:
    """The requests of a plan, in as many sequences as it has workers (fewer for few devices).

    Parameters
    ----------
    leaders_of : devices of one leader go out together, and leaders are shared among lanes; None:
        nobody knows any
    """
    if len(plan.order) == 0:
        return []
    if len(plan.parts) > 1:
        return _lanes_of_parts(plan, leaders_of)
    if not plan.parts[0].written:
        return []
    if plan.target.model == "table":
        parts = list(by_attributes(plan))
        if leaders_of is not None:
            parts = list(map(with_devices, parts))
        shares = (_shares(*in_turn(some, leaders_of)) for some in parts)
        return [chain.from_iterable(some) for some in zip_longest(*shares, fillvalue=())]
    return _shares(*in_turn(plan, leaders_of))


def _lanes_of_parts(plan: WritePlan, leaders_of: LeadersOf | None) -> list[Iterator[Request]]:
    """The requests of a plan of a device a part, shared among lanes."""
    n_lanes = min(plan.options.workers, len(plan.parts))
    groups = [
        [plan.parts[i] for i in group.tolist()]
        for group in by_leader([part.device or "" for part in plan.parts], leaders_of)
    ]
    of_lanes = [[group[i::n_lanes] for group in groups] for i in range(n_lanes)]
    return [chain.from_iterable(map(partial(_many_parts, plan), some)) for some in of_lanes]


def _shares(plan: WritePlan, edges: Sequence[int] = ()) -> list[Iterator[Request]]:
    """The requests of a plan of one part, shared among lanes, none of them across an edge."""
    cuts = _cut_at_devices(plan.order.bounds, plan.options.workers)
    return [
        chain.from_iterable(
            _rows(plan, plan.parts[0], first, last)
            for first, last in pairwise([start, *(e for e in edges if start < e < stop), stop])
        )
        for start, stop in pairwise(cuts)
    ]


def _cut_at_devices(bounds: np.ndarray, n_lanes: int) -> list[int]:
    """Positions that share the rows among lanes, each at the first row of a device."""
    if n_lanes == 1:
        return [0, int(bounds[-1])]
    ideal = np.linspace(0, bounds[-1], n_lanes + 1)
    return sorted({int(bounds[np.searchsorted(bounds, at)]) for at in ideal})


def _rows(plan: WritePlan, part: PlannedPart, start: int, stop: int) -> Iterator[Request]:
    """Requests of a range of the order."""
    for columns in _column_groups(plan, part):
        for first, last in plan.cuts(start, stop):
            for a, b in _few_devices(plan, first, last):
                yield from _fitting(plan, part, columns, a, b)


def _few_devices(plan: WritePlan, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """A range of the order in pieces of at most `MAX_TABLETS` devices."""
    if plan.layout.device is None:
        return iter([(start, stop)])
    bounds = plan.order.bounds
    first, last = np.searchsorted(bounds, [start + 1, stop])
    cuts = bounds[first:last][MAX_TABLETS - 1 :: MAX_TABLETS]
    return pairwise([start, *cuts.tolist(), stop])


def _column_groups(plan: WritePlan, part: PlannedPart) -> list[list[PlannedColumn]]:
    """Columns that go out together: all, unless one row alone is larger than a chunk.

    A null never erases, so a row may come in pieces; each has the tags, the attributes and a field.
    """
    limit = plan.options.chunk_bytes
    written = part.written
    if limit is None or plan.row_bytes <= limit:
        return [written]
    n_groups = min(len(written), -(-plan.row_bytes // limit))
    keys = [c for c in written if c.column.category != "field"]
    others = [c for c in written if c.column.category == "field"]
    if not others:
        return [written]
    step = -(-len(others) // n_groups)
    return [[*keys, *others[i : i + step]] for i in range(0, len(others), step)]


def _fitting(
    plan: WritePlan, part: PlannedPart, columns: Sequence[PlannedColumn], start: int, stop: int
) -> Iterator[Request]:
    """One request, or more where its texts are longer than they are on average."""
    request = encode(plan, part, columns, start, stop)
    limit = plan.options.chunk_bytes
    if limit is not None and request.n_bytes > OVERSIZE * limit and stop - start > 1:
        middle = (start + stop) // 2
        yield from _fitting(plan, part, columns, start, middle)
        yield from _fitting(plan, part, columns, middle, stop)
        return
    yield request


def encode(
    plan: WritePlan, part: PlannedPart, columns: Sequence[PlannedColumn], start: int, stop: int
) -> Request:
    """The request of positions `start` to `stop` of the order.

    Of a frame with columns of many devices, rows in which this device has nothing are left out;
    the request has no tablets where that is all of them.
    """
    rows = plan.order.frame_rows(start, stop)
    ticks = plan.order.ticks[start:stop]
    places = _oldest_first(plan, start, stop)
    if places is not None:
        rows, ticks = as_positions(rows)[places], ticks[places]
    if isinstance(rows, np.ndarray):
        rows = rows.astype(np.intp, copy=False)  # once, not in the look-up of each column
    cells = [cells_of(plan, c, rows) for c in columns]
    if len(plan.parts) > 1 and (is_kept := has_values(cells)) is not None:
        cells = [c.filter(is_kept) for c in cells]
        rows, ticks = row_positions(is_kept, rows), ticks[is_kept]
    led: Sequence[tuple[Hashable, int]] = ()
    if plan.layout.device is None:
        device = part.device or ""
        if plan.target.model == "table":
            device = plan.target.table
            led = first_rows(plan, start, stop, places) if plan.devices else ()
        pieces = [(device, 0, len(ticks))] if len(ticks) else []
    else:
        pieces = list(_devices(plan, start, stop))
    first, last = plan.order.span(ticks) if len(ticks) else (0, 0)
    return Request(
        tablets=tuple(_tablets(plan, columns, pieces, ticks, cells, led)),
        rows=rows,
        n_points=_points(columns, cells),
        start=first,
        end=last,
        is_whole=len(plan.parts) == 1 and len(columns) == len(part.written),
        halve=_halver(plan, part, columns, start, stop),
    )


def _oldest_first(plan: WritePlan, start: int, stop: int) -> np.ndarray | None:
    """Positions, from `start`, with the device of the oldest row first, where it is not already.

    Of a table's rows that are out of its time to live the server tells only where the first device
    of a tablet has some; with another in its place it drops them with 200. Source: IoTDB 2.0.10.
    """
    bounds = plan.order.bounds
    if plan.target.model == "tree" or len(bounds) < 3 or stop <= start:
        return None
    oldest = start + int(plan.order.ticks[start:stop].argmin())
    group = int(np.searchsorted(bounds, oldest, side="right"))
    first, last = max(int(bounds[group - 1]), start), min(int(bounds[group]), stop)
    if first == start:
        return None
    places = np.arange(stop - start)
    return np.concatenate(
        [places[first - start : last - start], places[: first - start], places[last - start :]]
    )


def has_values(cells: Sequence[Cells]) -> np.ndarray | None:
    """Which rows have a value at all; None where all have."""
    is_empty: np.ndarray | None = None
    for c in cells:
        if c.is_null is None:
            return None
        is_empty = c.is_null if is_empty is None else is_empty & c.is_null
    return None if is_empty is None or not is_empty.any() else ~is_empty


def cells_of(plan: WritePlan, planned: PlannedColumn, rows: slice | np.ndarray) -> Cells:
    """The cells of some rows of a column."""
    assert planned.data_type is not None
    return to_cells(planned.column.source, rows, planned.data_type, plan.rules)


def _devices(plan: WritePlan, start: int, stop: int) -> Iterator[tuple[str, int, int]]:
    """Device and positions, counted from `start`, of the devices in a range of the order."""
    bounds = plan.order.bounds
    first = int(np.searchsorted(bounds, start, side="right")) - 1
    last = int(np.searchsorted(bounds, stop))
    edges = (np.clip(bounds[first : last + 1], start, stop) - start).tolist()
    for device, (a, b) in zip(plan.devices[first:last], pairwise(edges), strict=True):
        if b > a:
            yield device, a, b


def _tablets(
    plan: WritePlan,
    columns: Sequence[PlannedColumn],
    pieces: Sequence[tuple[str, int, int]],
    ticks: np.ndarray,
    cells: Sequence[Cells],
    led: Sequence[tuple[Hashable, int]],
) -> Iterator[Tablet]:
    """A tablet for each piece: device, first row, and the row behind its last."""
    names = [c.column.name for c in columns]
    types = [int(c.data_type) for c in columns if c.data_type is not None]
    categories = None
    if plan.target.model == "table":
        categories = [CATEGORIES[c.column.category] for c in columns]
    aligned, default = plan.existing.aligned, plan.options.aligned
    encoded = encode_pieces(ticks, cells, [(a, b) for _, a, b in pieces])
    for (device, a, b), (times, values) in zip(pieces, encoded, strict=True):
        is_aligned = aligned.get(device, default)
        yield Tablet(device, names, types, times, values, b - a, is_aligned, categories, led)


def _points(columns: Sequence[PlannedColumn], cells: Sequence[Cells]) -> int:
    return sum(
        c.n_values
        for planned, c in zip(columns, cells, strict=True)
        if planned.column.category == "field"
    )


def _halver(
    plan: WritePlan, part: PlannedPart, columns: Sequence[PlannedColumn], start: int, stop: int
) -> Callable[[], list[Request]] | None:
    keys = [c for c in columns if c.column.category != "field"]
    others = [c for c in columns if c.column.category == "field"]
    if stop - start > 1:
        return lambda: [
            encode(some, part, columns, first, last)
            for some, first, last in _halves(plan, start, stop)
        ]
    if len(others) > 1:
        half = len(others) // 2
        return lambda: [
            encode(plan, part, [*keys, *others[:half]], start, stop),
            encode(plan, part, [*keys, *others[half:]], start, stop),
        ]
    return None


def _halves(plan: WritePlan, start: int, stop: int) -> Iterator[tuple[WritePlan, int, int]]:
    """Positions of a plan's order in halves, the earlier rows of a device first.

    Those of a table with tags are halved by time, all devices at once.
    """
    ticks, order = plan.order.ticks[start:stop], plan.order
    middle = np.partition(ticks, len(ticks) // 2)[len(ticks) // 2]
    is_early = ticks < middle if (ticks < middle).any() else ticks == middle
    if plan.target.model == "tree" or len(order.bounds) < 3 or is_early.all():
        cut = (start + stop) // 2
        yield from ((plan, start, cut), (plan, cut, stop))
        return
    for is_half in (is_early, ~is_early):
        is_kept = np.zeros(len(order), bool)
        is_kept[start:stop] = is_half
        half = replace(plan, order=order.keep(is_kept))
        half = with_devices(half) if plan.devices else half
        yield half, 0, len(half.order)


def _many_parts(plan: WritePlan, parts: Sequence[PlannedPart]) -> Iterator[Request]:
    """Requests of several devices that have columns of their own; each joins small tablets."""
    limit = plan.options.chunk_bytes or (1 << 22)
    waiting: list[Request] = []
    for part in parts:
        if not part.written:
            continue
        for request in _rows(plan, part, 0, len(plan.order)):
            if not request.tablets:
                continue
            is_full = (
                sum(r.n_bytes for r in waiting) + request.n_bytes > limit
                or len(waiting) >= MAX_TABLETS
            )
            if waiting and is_full:
                yield _join(waiting)
                waiting = []
            waiting.append(request)
    if waiting:
        yield _join(waiting)


def _join(requests: Sequence[Request]) -> Request:
    if len(requests) == 1:
        return requests[0]

    def halve() -> list[Request]:
        half = len(requests) // 2
        return [_join(requests[:half]), _join(requests[half:])]

    return Request(
        tablets=tuple(t for r in requests for t in r.tablets),
        rows=np.unique(np.concatenate([as_positions(r.rows) for r in requests])),
        n_points=sum(r.n_points for r in requests),
        start=min(r.start for r in requests),
        end=max(r.end for r in requests),
        halve=halve,
    )
