"""The order rows are sent in: ascending in time per device, device by device.

The server accepts rows in any other order with 200 and answers queries on them wrongly, so this is
a rule, not an optimisation. Sorting is stable: of rows with the same (device, time) the last stays
last.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from iotdb_frames.codec.cells import Rules, to_cells
from iotdb_frames.codec.epochs import epoch_ticks
from iotdb_frames.codec.sources import Source
from iotdb_frames.codec.times import BEYOND_YEARS, NAT, TICKS_PER_S, Reason, Why, beyond_years
from iotdb_frames.codec.types import kind_of
from iotdb_frames.errors import TimeIndexError
from iotdb_frames.options import TSDataType
from iotdb_frames.writes.plan.layout import Layout, dictionary_codes, narrow, row_positions

SLICE = 1 << 20
AT_ONCE = 4 * SLICE
_MISSING = Why(Reason.MISSING, "is missing")
"""So many rows are sorted at once: it is faster, and takes 64 MiB."""


@dataclass(frozen=True)
class Order:
    """Rows as they are sent; position i of the order is row `rows[i]` of the frame.

    ticks : int64, shape (n,), times of the positions
    rows : int positions in the frame, or None where they follow each other from `start`
    bounds : int64, shape (n_groups + 1,): where each device's rows begin and end in the order
    first_rows : int64, shape (n_groups,): a row of the frame that shows the group's device or tags
    n_duplicates : rows whose (device, time) an earlier row has
    start : the row of the first position, where `rows` is None
    """

    ticks: np.ndarray
    rows: np.ndarray | None
    bounds: np.ndarray
    first_rows: np.ndarray
    n_duplicates: int = 0
    start: int = 0

    def __len__(self) -> int:
        return int(self.bounds[-1])

    def frame_rows(self, start: int, stop: int) -> slice | np.ndarray:
        """Positions in the frame of the order's positions `start` to `stop`."""
        if self.rows is None:
            return slice(self.start + start, self.start + stop)
        return self.rows[start:stop]

    def span(self, ticks: np.ndarray) -> tuple[int, int]:
        """First and last of some of its ticks, of which there is one at least."""
        if len(self.bounds) == 2:  # they ascend
            return int(ticks[0]), int(ticks[-1])
        return int(ticks.min()), int(ticks.max())

    def in_turn(self, groups: np.ndarray) -> Order:
        """The order with its devices (positions in `bounds`) in another one."""
        return self.ranges(groups, self.bounds[:-1][groups], self.bounds[1:][groups])

    def ranges(self, groups: np.ndarray, starts: np.ndarray, stops: np.ndarray) -> Order:
        """The order with a range of positions of each of some devices, one behind the other.

        Parameters
        ----------
        groups : devices (positions in `bounds`)
        starts, stops : their first position, and the one behind their last
        """
        n_rows = stops - starts
        bounds = np.concatenate([[0], np.cumsum(n_rows)])
        some = replace(self, bounds=bounds, first_rows=self.first_rows[groups])
        if len(groups) == 1:  # of which nothing is copied
            a, b = int(starts[0]), int(stops[0])
            rows = None if self.rows is None else self.rows[a:b]
            return replace(some, ticks=self.ticks[a:b], rows=rows, start=self.start + a)
        places = np.arange(bounds[-1]) + np.repeat(starts - bounds[:-1], n_rows)
        rows = self.start + places if self.rows is None else self.rows[places]
        return replace(some, ticks=self.ticks[places], rows=rows)

    def same_time(self) -> np.ndarray:
        """bool, shape (n,): whether a position repeats the (device, time) of the one before."""
        same = np.zeros(len(self), bool)
        for start in range(1, len(self), SLICE):
            stop = min(start + SLICE, len(self))
            same[start:stop] = self.ticks[start:stop] == self.ticks[start - 1 : stop - 1]
        same[self.bounds[:-1][self.bounds[:-1] < len(self)]] = False
        return same

    def keep(self, is_kept: np.ndarray) -> Order:
        """The order without some of its positions (bool, shape (n,))."""
        rows = self.start + np.arange(len(self)) if self.rows is None else self.rows
        bounds = np.concatenate([[0], np.cumsum(is_kept)])[self.bounds]
        has_rows = bounds[1:] > bounds[:-1]
        return replace(
            self,
            ticks=self.ticks[is_kept],
            rows=rows[is_kept],
            bounds=np.concatenate([[0], bounds[1:][has_rows]]),
            first_rows=self.first_rows[: len(has_rows)][has_rows],
        )


@dataclass(frozen=True)
class ServerTicks:
    """All times of a frame as the server counts them.

    ticks : int64, shape (n_rows,), undefined where bad
    is_bad : rows without an exact time, bool, shape (n_rows,), or None
    why : what is wrong with the first of them, if any
    n_lossy : times that lost what is finer than the server's precision
    """

    ticks: np.ndarray
    is_bad: np.ndarray | None = None
    why: Why | None = None
    n_lossy: int = 0


def to_server_ticks(times: Source, *, time_unit: str | None, rules: Rules) -> ServerTicks:
    """All times as ticks of the server.

    Parameters
    ----------
    time_unit : unit of times that are numbers; None: datetimes
    """
    n_rows = len(times)
    if n_rows == 0:
        return ServerTicks(np.empty(0, np.int64))
    is_bad: np.ndarray | None = None
    why: Why | None = None
    n_lossy = 0
    if time_unit is not None and kind_of(times.type) == "int":
        times, is_bad, why = _integers_as_times(times, time_unit, rules)
    elif time_unit is not None:
        times, is_bad, why, n_lossy = _numbers_as_times(times, time_unit, rules)
    is_utc = times.type.tz is not None or rules.time_zone == "UTC"
    # The server's own unit needs no copy; any other is converted slice by slice, to stay small.
    step = n_rows if is_utc and times.type.unit == rules.precision else SLICE
    out = np.empty(n_rows if step < n_rows else 0, np.int64)
    for start in range(0, n_rows, step):
        rows = slice(start, start + step)
        cells = to_cells(times, rows, TSDataType.TIMESTAMP, rules)
        n_lossy += cells.n_lossy
        if step < n_rows:
            out[rows] = cells.values
        else:
            out = np.asarray(cells.values)
        beyond = beyond_years(np.asarray(cells.values), rules.precision)
        masks = [mask for mask in (cells.is_null, cells.is_bad, beyond) if mask is not None]
        if masks:
            bad = np.logical_or.reduce(masks)
            first = int(bad.argmax())
            is_bad = np.zeros(n_rows, bool) if is_bad is None else is_bad
            is_bad[rows] |= bad
            if why is None and cells.is_null is not None and cells.is_null[first]:
                why = _MISSING
            elif why is None and cells.is_bad is not None and cells.is_bad[first]:
                why = cells.why
            why = why or BEYOND_YEARS
    return ServerTicks(out, is_bad, why, n_lossy)


def _integers_as_times(
    times: Source, unit: str, rules: Rules
) -> tuple[Source, np.ndarray | None, Why | None]:
    """Integers as UTC times, which of them are none (bool, shape (n_rows,)), and why the first."""
    cells = to_cells(times, slice(0, len(times)), TSDataType.INT64, rules)
    ticks = cells.values.view(f"M8[{unit}]")
    made = replace(times, type=pa.timestamp(unit, "UTC"), data=ticks)
    # The smallest is an integer, and would be NaT.
    masks = [mask for mask in (cells.is_null, cells.is_bad) if mask is not None]
    is_none = np.logical_or.reduce([*masks, cells.values == NAT])
    if not is_none.any():
        return made, None, None
    first = int(is_none.argmax())
    why = BEYOND_YEARS
    if cells.is_null is not None and cells.is_null[first]:
        why = _MISSING
    elif cells.is_bad is not None and cells.is_bad[first]:
        why = Why(Reason.RANGE, "is not a 64-bit integer")
    made = replace(made, data=np.where(is_none, np.int64(0), cells.values).view(ticks.dtype))
    return made, is_none, why


def _numbers_as_times(
    times: Source, unit: str, rules: Rules
) -> tuple[Source, np.ndarray | None, Why | None, int]:
    """Floats and decimals as the same, and how many lost what is finer than the precision."""
    n_rows, n_lossy = len(times), 0
    why: Why | None = None
    out, is_none = np.empty(n_rows, np.int64), np.zeros(n_rows, bool)
    for start in range(0, n_rows, SLICE):
        rows = slice(start, start + SLICE)
        ticks = epoch_ticks(
            times.take(rows), unit=unit, precision=rules.precision, is_lossy=rules.is_lossy
        )
        masks = [mask for mask in (ticks.is_null, ticks.is_bad) if mask is not None]
        out[rows] = ticks.values
        n_lossy += ticks.n_cut
        if masks:
            is_none[rows] = np.logical_or.reduce(masks)
            first = int(is_none[rows].argmax())
            is_missing = ticks.is_null is not None and ticks.is_null[first]
            why = why or (_MISSING if is_missing else ticks.why)
    out[is_none] = 0
    kind = pa.timestamp(rules.precision, "UTC")
    made = replace(times, type=kind, data=out.view(f"M8[{rules.precision}]"))
    return made, is_none if is_none.any() else None, why, n_lossy


def bad_time(
    times: Source,
    row: int,
    why: Why | None,
    *,
    rules: Rules,
    time: Hashable | None,
    time_unit: str | None,
) -> TimeIndexError:
    """The error for a row whose time cannot be sent.

    Parameters
    ----------
    time, time_unit : the options of the write; without `time` it is the index
    """
    where = "the index" if times.label is None else repr(times.label)
    them = "df.index" if time is None else f"df[{time!r}]"
    hint = None
    reason = None if why is None else why.reason
    if why is _MISSING:
        rows = "df[df.index.notna()]" if time is None else f"df.dropna(subset=[{time!r}])"
        hint = f"drop these rows first, e.g. {rows}"
    elif reason is Reason.YEARS:
        hint = "drop these rows first, or correct their times"
    elif reason is Reason.FINER and time_unit is not None:
        step = TICKS_PER_S[time_unit] // TICKS_PER_S[rules.precision]
        how = f"{them} // {step} * {step}"
        if step <= 1:
            digits = len(str(TICKS_PER_S[rules.precision])) - len(str(TICKS_PER_S[time_unit]))
            how = f"{them}.round({digits})"
        hint = f'round the times first ({how}), or coerce="lossy"'
    elif reason is Reason.FINER:
        dt = "" if time is None else ".dt"
        hint = f'round the times first ({them}{dt}.floor("{rules.precision}")), or coerce="lossy"'
    elif reason is Reason.ABSENT:
        if times.dtype == "object" or kind_of(times.type) == "date":
            them = f"pd.to_datetime({them})"
        dt = "" if time is None else ".dt"
        hint = (
            f"give the times their zone: {them}{dt}.tz_localize({rules.time_zone!r}, "
            "ambiguous=…, nonexistent=…)"
        )
    wrong = f"time {times.show(row)} of {where} {why}"
    return TimeIndexError(
        f"row {row}: {wrong}",
        reason=wrong,
        column=times.label,
        row=row,
        hint=hint,
    )


def group_codes(found: Layout) -> np.ndarray | None:
    """A number a row that is the same where the device, or all tags, are the same.

    Returns
    -------
    unsigned int, shape (n_rows,); None where a frame has no device column and no tags
    """
    if found.device is not None:
        return found.device.codes
    codes: np.ndarray | None = None
    n_codes = 1
    for column in found.columns:
        if column.category != "tag":
            continue
        more, texts = dictionary_codes(column.source)
        n_more = len(texts) + 1
        if codes is None:
            codes, n_codes = more, n_more
            continue
        codes, n_codes = codes.astype(np.int64) * n_more + more, n_codes * n_more
        if n_codes > 1 << 31:
            kinds, codes = np.unique(codes, return_inverse=True)
            n_codes = len(kinds)
    return None if codes is None else narrow(codes, n_codes)


@dataclass(frozen=True)
class SortedRows:
    """All rows of a frame in the order they would be sent in.

    order : of all rows, those of `is_bad` too
    key : labels of the device column or tags they are grouped by
    times : is_bad and why of it tell the rows without an exact time
    """

    order: Order
    key: tuple[Hashable, ...]
    times: ServerTicks


def key_labels(found: Layout) -> tuple[Hashable, ...]:
    """Labels of what tells devices apart."""
    if found.device is not None:
        return (found.device.label,)
    return tuple(c.source.label for c in found.columns if c.category == "tag")


def sort_rows(found: Layout, rules: Rules) -> SortedRows:
    """Times as ticks, and the rows in order; needs nothing of the server but its precision."""
    times = to_server_ticks(found.times, time_unit=found.time_unit, rules=rules)
    return SortedRows(make_order(times.ticks, group_codes(found)), key_labels(found), times)


def leave_out(order: Order, is_dropped: np.ndarray | None) -> Order:
    """The order without some rows (bool, shape (n_rows of the frame,))."""
    if is_dropped is None or not is_dropped.any():
        return order
    kept = order.keep(~is_dropped[order.frame_rows(0, len(order))])
    return replace(kept, n_duplicates=int(np.count_nonzero(kept.same_time())))


def make_order(ticks: np.ndarray, codes: np.ndarray | None) -> Order:
    """The order of rows by group, then time, stable.

    Parameters
    ----------
    codes : group of each row (see `group_codes`), or None where there is one
    """
    n_rows = len(ticks)
    rows: np.ndarray | None = None
    if codes is None:
        bounds = np.array([0, n_rows])
        if bool(np.all(ticks[1:] > ticks[:-1])):  # as they mostly are
            return Order(ticks, None, bounds, np.zeros(min(n_rows, 1), int))
        if not _ascends(ticks):
            rows = _by(ticks)
        first_rows = np.zeros(min(n_rows, 1), int) if rows is None else rows[:1]
    else:
        if not _ascends(codes) or not _ascends_in_groups(ticks, codes):
            if _ascends(ticks):
                rows = _by_code(codes)
            else:
                by_time = _by(ticks)
                rows = by_time[_by_code(codes[by_time])]
        starts = _changes(codes if rows is None else codes[rows])
        bounds = np.concatenate([[0], starts, [n_rows]]) if n_rows else np.array([0, 0])
        firsts = bounds[:-1][bounds[:-1] < n_rows]
        first_rows = firsts if rows is None else rows[firsts]
    if rows is not None:
        ticks = ticks[rows]
        rows = rows.astype(_row_type(n_rows), copy=False)
    order = Order(ticks, rows, bounds, first_rows)
    return replace(order, n_duplicates=int(np.count_nonzero(order.same_time())))


def _row_type(n_rows: int) -> type[np.signedinteger[Any]]:
    return np.int32 if n_rows < 1 << 31 else np.int64


def _by(keys: np.ndarray) -> np.ndarray:
    """Rows by their keys, stable; as 32 bits where they are many, though 64 are faster to use."""
    rows = np.argsort(keys, kind="stable")
    return rows if len(rows) <= AT_ONCE else rows.astype(_row_type(len(rows)), copy=False)


def _by_code(codes: np.ndarray) -> np.ndarray:
    """Rows by code, stable.

    Very many are sorted slice by slice, each row going where its code has come to: `argsort` takes
    16 bytes a row more.
    """
    n_rows = len(codes)
    if codes.dtype != np.uint16 or n_rows <= AT_ONCE:
        return _by(codes)
    slices = [slice(start, start + SLICE) for start in range(0, n_rows, SLICE)]
    counts = [np.bincount(codes[some], minlength=1 << 16) for some in slices]
    totals = np.sum(counts, axis=0)
    begins = np.cumsum(totals) - totals
    rows = np.empty(n_rows, _row_type(n_rows))
    for some, count in zip(slices, counts, strict=True):
        order = np.argsort(codes[some], kind="stable")
        code = codes[some][order]
        # Of the rows of a code in this slice, the first goes to `begins`.
        offset = begins - (np.cumsum(count) - count)
        rows[offset[code] + np.arange(len(code))] = order + some.start
        begins += count
    return rows


def _changes(values: np.ndarray) -> np.ndarray:
    """Positions of values that differ from the one before."""
    return np.flatnonzero(values[1:] != values[:-1]) + 1


def _ascends(values: np.ndarray) -> bool:
    return bool(np.all(values[1:] >= values[:-1]))


def _ascends_in_groups(ticks: np.ndarray, codes: np.ndarray) -> bool:
    return bool(np.all((ticks[1:] >= ticks[:-1]) | (codes[1:] != codes[:-1])))


def drop_duplicates(order: Order, keep: str) -> Order:
    """The order with the first or the last whole row of each (device, time)."""
    same = order.same_time()
    if keep == "first":
        return order.keep(~same)
    is_followed = np.append(same[1:], False)
    return order.keep(~is_followed)


def first_duplicate(order: Order) -> int:
    """Row of the frame that first repeats a (device, time)."""
    rows = order.frame_rows(0, len(order))
    return int(np.min(row_positions(order.same_time(), rows)))
