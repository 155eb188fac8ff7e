"""Compare the cells of a unit with those of the server, in bounded memory.

The unit is in memory; the server's rows are streamed, a fetch at a time, and each is looked up
among the unit's keys. Rows of others are skipped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from iotdb_frames.backfills.proof.expect import (
    COLUMNS_A_QUERY,
    DEVICES_A_QUERY,
    Device,
    Expected,
    device_condition,
    devices_of,
    key_starts,
    valid_cells,
)
from iotdb_frames.client.connection import Connection
from iotdb_frames.codec.cells import to_cells
from iotdb_frames.codec.names import normal_path
from iotdb_frames.codec.quotes import quote_identifier, quote_path_node
from iotdb_frames.errors import QueryError
from iotdb_frames.options import TSDataType
from iotdb_frames.reads.sql import query
from iotdb_frames.writes.plan.plan import PlannedColumn, PlannedPart, WritePlan


@dataclass
class _Keys:
    """The distinct (device, time) of a part's rows, sorted.

    starts : positions in the order where each begins
    ticks : int64, shape (n_keys,)
    bounds : where each device's keys begin and end, by device
    """

    starts: np.ndarray
    ticks: np.ndarray
    bounds: dict[Device, tuple[int, int]]

    @classmethod
    def of(cls, plan: WritePlan, part: PlannedPart) -> _Keys:
        order = plan.order
        starts = key_starts(plan)
        ticks = order.ticks[starts]
        devices, _ = devices_of(plan, part)
        if len(devices) == 1 and len(order.bounds) == 2:
            return cls(starts, ticks, {devices[0]: (0, len(starts))})
        at = np.searchsorted(starts, order.bounds)
        bounds = {d: (int(at[i]), int(at[i + 1])) for i, d in enumerate(devices)}
        return cls(starts, ticks, bounds)

    def find(self, device: Device, ticks: np.ndarray) -> np.ndarray:
        """Positions of a device's times among the keys, −1 if not found."""
        low, high = self.bounds.get(device, (0, 0))
        mine = self.ticks[low:high]
        at = np.searchsorted(mine, ticks)
        at[at == len(mine)] = 0
        is_there = mine[at] == ticks if len(mine) else np.zeros(len(ticks), bool)
        return np.where(is_there, at + low, -1)


def _last_values(plan: WritePlan, column: PlannedColumn, keys: _Keys) -> pa.Array:
    """The last value of each key, null if it has none."""
    valid = valid_cells(plan, column)
    n = len(plan.order)
    if valid is None:
        last = np.append(keys.starts[1:], n) - 1
        is_null = None
    else:
        # The last position with a value, per key.
        positions = np.where(valid, np.arange(n), -1)
        last = np.maximum.reduceat(positions, keys.starts)
        is_null = last < 0
        last = np.maximum(last, 0)
    assert column.data_type is not None
    rows = last if plan.order.rows is None else plan.order.rows[last]
    cells = to_cells(column.column.source, rows, column.data_type, plan.rules)
    return _as_read(cells.values, is_null, column.data_type, plan.rules.precision)


def _as_read(values: Any, is_null: Any, kind: TSDataType, precision: str) -> pa.Array:
    """Cells as they are decoded when read."""
    if not isinstance(values, np.ndarray):
        if pa.types.is_dictionary(values.type):
            values = values.dictionary_decode()
        if is_null is not None:
            values = pc.if_else(pa.array(is_null), pa.scalar(None, values.type), values)
        target = pa.large_binary() if kind == TSDataType.BLOB else pa.large_string()
        return values.cast(pa.large_binary()).cast(target)
    array = pa.array(values, mask=is_null)
    if kind == TSDataType.TIMESTAMP:
        return array.cast(pa.timestamp(precision))
    return array


def _same_kind(column: pa.Array, kind: TSDataType) -> pa.Array:
    """A column of a result, in the types of `_as_read`."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if kind == TSDataType.DATE:
        days = column.cast(pa.date32())
        number = pc.add(
            pc.add(pc.multiply(pc.year(days), 10_000), pc.multiply(pc.month(days), 100)),
            pc.day(days),
        )
        return number.cast(pa.int32())
    if kind in (TSDataType.TEXT, TSDataType.STRING):
        return column.cast(pa.large_string())
    if kind == TSDataType.BLOB:
        return column.cast(pa.large_binary())
    return column


def _are_same(one: pa.Array, other: pa.Array) -> np.ndarray:
    """Where two arrays are equal; bool, shape (n,). NaN equals NaN, null equals nothing."""
    same = pc.equal(one, other).fill_null(False)
    if pa.types.is_floating(one.type):
        both = pc.and_(pc.is_nan(one), pc.is_nan(other)).fill_null(False)
        same = pc.or_(same, both)
    return np.asarray(same)


@dataclass
class _WrongCells:
    """Differing cells of one column and device: expected (`mine`) and stored (`theirs`) values."""

    device: Device
    name: str
    ticks: np.ndarray
    mine: pa.Array
    theirs: pa.Array


class Wrong:
    """Cells of a unit that differ; later units may have overwritten them."""

    def __init__(self, cells: list[_WrongCells]) -> None:
        self._cells = cells

    def __len__(self) -> int:
        return sum(len(c.ticks) for c in self._cells)

    @property
    def example(self) -> str:
        """The first of them, without its value."""
        first = self._cells[0]
        where = ", ".join(str(d) for d in first.device)
        return f"{first.name}{f' of {where}' if where else ''} at time {first.ticks[0]}"

    def overwrite(self, plan: WritePlan) -> None:
        """Expect the values that a later unit wrote to the same cells."""
        for part in plan.parts:
            keys = _Keys.of(plan, part)
            columns = {c.column.name: c for c in part.written}
            values: dict[str, pa.Array] = {}
            for cells in self._cells:
                if cells.name not in columns or cells.device not in keys.bounds:
                    continue
                at = keys.find(cells.device, cells.ticks)
                if not (at >= 0).any():
                    continue
                if cells.name not in values:
                    values[cells.name] = _last_values(plan, columns[cells.name], keys)
                new = values[cells.name].take(pa.array(at, mask=at < 0))
                cells.mine = pc.coalesce(new.cast(cells.mine.type), cells.mine)

    def settle(self) -> None:
        """Drop the cells that have the value which the last unit wrote there."""
        left = []
        for c in self._cells:
            bad = np.flatnonzero(~_are_same(c.mine, c.theirs))
            if len(bad):
                at = pa.array(bad)
                left.append(
                    _WrongCells(c.device, c.name, c.ticks[bad], c.mine.take(at), c.theirs.take(at))
                )
        self._cells = left


def compare(connection: Connection, plan: WritePlan, expected: Expected) -> Wrong:
    """The cells of a unit that are missing or different on the server."""
    wrong: list[_WrongCells] = []
    for part in plan.parts if len(plan.order) else ():
        keys = _Keys.of(plan, part)
        fields = [c for c in part.written if c.column.category == "field"]
        for i in range(0, len(fields), COLUMNS_A_QUERY):
            some = fields[i : i + COLUMNS_A_QUERY]
            wrong += _compare_columns(connection, plan, keys, some, expected)
    return Wrong(wrong)


def _compare_columns(
    connection: Connection,
    plan: WritePlan,
    keys: _Keys,
    fields: Sequence[PlannedColumn],
    expected: Expected,
) -> list[_WrongCells]:
    wrong: list[_WrongCells] = []
    mine = {c.column.name: _last_values(plan, c, keys) for c in fields}
    kinds = {c.column.name: c.data_type for c in fields}
    was_seen = {name: ~np.asarray(values.is_valid()) for name, values in mine.items()}
    for device, ticks, columns in _rows(connection, plan, keys, list(mine), expected):
        at = keys.find(device, ticks)
        here = np.flatnonzero(at >= 0)
        positions = at[here]
        for name, theirs in columns.items() if len(here) else ():
            kind = kinds[name]
            assert kind is not None
            one = mine[name].take(pa.array(positions))
            other = _same_kind(theirs.take(pa.array(here)), kind)
            is_there = np.asarray(other.is_valid())
            was_seen[name][positions[is_there]] = True
            bad = np.flatnonzero(is_there & np.asarray(one.is_valid()) & ~_are_same(one, other))
            if len(bad):
                rows = pa.array(bad)
                wrong.append(
                    _WrongCells(device, name, ticks[here][bad], one.take(rows), other.take(rows))
                )
    for name, seen in was_seen.items():
        if seen.all():
            continue
        for device, (low, high) in keys.bounds.items():
            lost = np.flatnonzero(~seen[low:high]) + low
            if len(lost):
                values = mine[name].take(pa.array(lost))
                nothing = pa.nulls(len(lost), values.type)
                wrong.append(_WrongCells(device, name, keys.ticks[lost], values, nothing))
    return wrong


def _rows(
    connection: Connection,
    plan: WritePlan,
    keys: _Keys,
    names: list[str],
    expected: Expected,
) -> Iterator[tuple[Device, np.ndarray, dict[str, pa.Array]]]:
    """(device, ticks, columns by name) of the server's rows, per device of each batch."""
    tags = expected.tags
    is_table = plan.target.model == "table"
    if is_table:
        wanted = ", ".join(quote_identifier(n) for n in ("time", *tags, *names))
        where = [expected.span, *device_condition(expected, frozenset(keys.bounds))]
        sqls = [f"SELECT {wanted} FROM {plan.target.sql} WHERE {' AND '.join(where)}"]
    else:
        paths = [str(d[0]) for d in keys.bounds]
        sqls = [
            f"SELECT {', '.join(names)} FROM {', '.join(paths[i : i + DEVICES_A_QUERY])} "
            f"WHERE {expected.span} ALIGN BY DEVICE"
            for i in range(0, len(paths), DEVICES_A_QUERY)
        ]
    n_keys = 1 + len(tags) if is_table else 2
    for sql in sqls:
        try:
            result = query(sql, model=plan.target.model, connection=connection)
        except QueryError as exc:
            if exc.code is not None:
                raise
            continue  # none of these series exists
        with result:
            # The server omits columns that do not exist, and labels have no back-quotes.
            labels = (
                names
                if is_table
                else [n if n in names else quote_path_node(n) for n in result.schema.names[n_keys:]]
            )
            for batch in result.batches():
                for device, ticks, columns in _by_device(batch, n_keys, labels):
                    known = device if is_table else (normal_path(str(device[0])),)
                    yield known, ticks, columns


def _by_device(
    batch: pa.RecordBatch, n_keys: int, labels: list[str]
) -> Iterator[tuple[Device, np.ndarray, dict[str, pa.Array]]]:
    ticks = np.asarray(batch.column(0).cast(pa.int64()))
    if n_keys == 1:
        columns = dict(zip(labels, batch.columns[1:], strict=True))
        yield (), ticks, columns
        return
    keys = [_texts(batch.column(i)) for i in range(1, n_keys)]
    codes, devices = _codes(keys)
    order = np.argsort(codes, kind="stable")
    bounds = np.searchsorted(codes[order], np.arange(len(devices) + 1))
    for i, device in enumerate(devices):
        rows = order[bounds[i] : bounds[i + 1]]
        taken = batch.take(pa.array(rows))
        yield device, ticks[rows], dict(zip(labels, taken.columns[n_keys:], strict=True))


def _texts(column: pa.Array) -> pa.DictionaryArray:
    is_dictionary = pa.types.is_dictionary(column.type)
    return column if is_dictionary else column.dictionary_encode()


def _codes(keys: list[pa.DictionaryArray]) -> tuple[np.ndarray, list[Device]]:
    """A code per row that identifies its device, and the device of each code."""
    n_rows = len(keys[0])
    codes = np.zeros(n_rows, np.int64)
    for key in keys:
        n_known = len(key.dictionary) + 1
        indices = np.asarray(key.indices.fill_null(n_known - 1)).astype(np.int64)
        codes = codes * n_known + indices
    _, first, codes = np.unique(codes, return_index=True, return_inverse=True)
    devices = [tuple(key[row].as_py() for key in keys) for row in first.tolist()]
    return codes, devices
