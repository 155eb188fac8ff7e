"""Cells of a unit against cells of the server, in bounded memory.

The unit is held; the server's rows stream by, a fetch at a time, and each is looked up among the
unit's keys. What others wrote beside is passed over.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from iotdb_frames.backfills.expect import (
    DEVICES_A_QUERY,
    Device,
    Expected,
    device_condition,
    devices_of,
    key_starts,
    valid_cells,
)
from iotdb_frames.client.connection import Connection
from iotdb_frames.client.reader import query
from iotdb_frames.codec.cells import to_cells
from iotdb_frames.codec.names import normal_path
from iotdb_frames.codec.sql import quote_identifier, quote_path_node
from iotdb_frames.errors import QueryError
from iotdb_frames.frames.plan import PlannedColumn, PlannedPart, WritePlan
from iotdb_frames.options import TSDataType

_COLUMNS_A_QUERY = 500


@dataclass
class _Keys:
    """The (device, time) of a part's rows, each once, by device and time.

    starts : positions of the order where each begins
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
        """Positions of a device's times among the keys, −1 where there is none."""
        low, high = self.bounds.get(device, (0, 0))
        mine = self.ticks[low:high]
        at = np.searchsorted(mine, ticks)
        at[at == len(mine)] = 0
        is_there = mine[at] == ticks if len(mine) else np.zeros(len(ticks), bool)
        return np.where(is_there, at + low, -1)


def _last_values(plan: WritePlan, column: PlannedColumn, keys: _Keys) -> pa.Array:
    """The value each key ends with, null where it has none."""
    valid = valid_cells(plan, column)
    n = len(plan.order)
    if valid is None:
        last = np.append(keys.starts[1:], n) - 1
        is_null = None
    else:
        # Of each key the last position with a value: the running maximum of such positions.
        positions = np.where(valid, np.arange(n), -1)
        last = np.maximum.reduceat(positions, keys.starts)
        is_null = last < 0
        last = np.maximum(last, 0)
    assert column.data_type is not None
    rows = last if plan.order.rows is None else plan.order.rows[last]
    cells = to_cells(column.column.source, rows, column.data_type, plan.rules)
    return _as_read(cells.values, is_null, column.data_type, plan.rules.precision)


def _as_read(values: Any, is_null: Any, kind: TSDataType, precision: str) -> pa.Array:
    """Cells as the reading side decodes them."""
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
    """A column that was read, in the types of `_as_read`."""
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
    """Where two arrays have the same value; bool, shape (n,). NaN is NaN, and null is nothing."""
    same = pc.equal(one, other).fill_null(False)
    if pa.types.is_floating(one.type):
        both = pc.and_(pc.is_nan(one), pc.is_nan(other)).fill_null(False)
        same = pc.or_(same, both)
    return np.asarray(same)


@dataclass
class _HeldPart:
    """A part's keys, and of each of its fields the value each key should have."""

    part: PlannedPart
    keys: _Keys
    fields: dict[str, PlannedColumn]
    values: dict[str, pa.Array]


class Held:
    """What a unit should have left, ready to be compared.

    Attributes
    ----------
    n_wrong : cells that differ, of the last comparison
    example : one of them, without its value
    """

    def __init__(self, plan: WritePlan, expected: Expected) -> None:
        self._target = plan.target
        self._plan = plan
        self._expected = expected
        self._parts: list[_HeldPart] = []
        self.n_wrong = 0
        self.example = ""
        for part in plan.parts:
            keys = _Keys.of(plan, part)
            fields = {c.column.name: c for c in part.written if c.column.category == "field"}
            values = {name: _last_values(plan, c, keys) for name, c in fields.items()}
            self._parts.append(_HeldPart(part, keys, fields, values))

    def overwrite(self, plan: WritePlan) -> None:
        """Expect what a later unit wrote at the same places and times."""
        for part in plan.parts:
            keys = _Keys.of(plan, part)
            columns = {c.column.name: c for c in part.written}
            for held in self._parts:
                places = self._places(held, keys)
                if not (places >= 0).any():
                    continue
                for name in held.values.keys() & columns.keys():
                    theirs = _last_values(plan, columns[name], keys)
                    there = pa.array(places, mask=places < 0)
                    new = theirs.take(there)
                    held.values[name] = pc.coalesce(
                        new.cast(held.values[name].type), held.values[name]
                    )

    @staticmethod
    def _places(held: _HeldPart, keys: _Keys) -> np.ndarray:
        """Position of each held key among others, −1 where it is not there."""
        out = np.full(len(held.keys.ticks), -1, np.int64)
        for device, (low, high) in held.keys.bounds.items():
            if device in keys.bounds:
                out[low:high] = keys.find(device, held.keys.ticks[low:high])
        return out

    def compare(self, connection: Connection) -> int:
        """Compare with what the server has; the number of cells that differ."""
        self.n_wrong, self.example = 0, ""
        for held in self._parts:
            names = list(held.fields)
            for i in range(0, len(names), _COLUMNS_A_QUERY):
                self._compare_columns(connection, held, names[i : i + _COLUMNS_A_QUERY])
        return self.n_wrong

    def _compare_columns(self, connection: Connection, held: _HeldPart, names: list[str]) -> None:
        is_right = {name: ~np.asarray(held.values[name].is_valid()) for name in names}
        for device, ticks, columns in self._rows(connection, held, names):
            at = held.keys.find(device, ticks)
            here = np.flatnonzero(at >= 0)
            positions = at[here]
            for name in names if len(here) else ():
                if name not in columns:
                    continue
                kind = held.fields[name].data_type
                assert kind is not None
                one = held.values[name].take(pa.array(positions))
                other = _same_kind(columns[name].take(pa.array(here)), kind)
                is_right[name][positions] |= _are_same(one, other)
        for name, right in is_right.items():
            n_wrong = int(np.count_nonzero(~right))
            if n_wrong and not self.example:
                self.example = self._place(held.keys, name, int(np.argmin(right)))
            self.n_wrong += n_wrong

    @staticmethod
    def _place(keys: _Keys, name: str, position: int) -> str:
        device = next(d for d, (low, high) in keys.bounds.items() if low <= position < high)
        where = ", ".join(str(d) for d in device)
        return f"{name}{f' of {where}' if where else ''} at time {keys.ticks[position]}"

    def _rows(
        self, connection: Connection, held: _HeldPart, names: list[str]
    ) -> Iterator[tuple[Device, np.ndarray, dict[str, pa.Array]]]:
        """(device, ticks, columns by name) of the server's rows, a device of a batch at a time."""
        tags = self._expected.tags
        bounds = f"time >= {self._expected.first} AND time <= {self._expected.last}"
        is_table = self._target.model == "table"
        if is_table:
            wanted = ", ".join(quote_identifier(n) for n in ("time", *tags, *names))
            where = [bounds, *device_condition(self._expected, frozenset(held.keys.bounds))]
            sqls = [f"SELECT {wanted} FROM {self._target.sql} WHERE {' AND '.join(where)}"]
        else:
            paths = [str(d[0]) for d in held.keys.bounds]
            sqls = [
                f"SELECT {', '.join(names)} FROM {', '.join(paths[i : i + DEVICES_A_QUERY])} "
                f"WHERE {bounds} ALIGN BY DEVICE"
                for i in range(0, len(paths), DEVICES_A_QUERY)
            ]
        n_keys = 1 + len(tags) if is_table else 2
        for sql in sqls:
            try:
                result = query(sql, model=self._target.model, connection=connection)
            except QueryError as exc:
                if exc.code is not None:
                    raise
                continue  # none of these series is there
            with result:
                # The server leaves out columns it does not have.
                labels = names if is_table else _as_written(result.schema.names[n_keys:], names)
                for batch in result.batches():
                    for device, ticks, columns in _by_device(batch, n_keys, labels):
                        known = device if is_table else (normal_path(str(device[0])),)
                        yield known, ticks, columns


def _as_written(labels: Sequence[str], names: Sequence[str]) -> list[str]:
    """Labels of a result, which come without back-quotes, as the names that were asked for."""
    return [label if label in names else quote_path_node(label) for label in labels]


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
    """A number a row that tells devices apart, and the device of each."""
    n_rows = len(keys[0])
    codes = np.zeros(n_rows, np.int64)
    for key in keys:
        n_known = len(key.dictionary) + 1
        indices = np.asarray(key.indices.fill_null(n_known - 1)).astype(np.int64)
        codes = codes * n_known + indices
    _, first, codes = np.unique(codes, return_index=True, return_inverse=True)
    devices = [tuple(key[row].as_py() for key in keys) for row in first.tolist()]
    return codes, devices
