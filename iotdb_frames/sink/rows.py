"""Rows on their way, as columns: what the events of a sink become, and may stay until they go.

A DataFrame stays one, Arrow data stays Arrow; single rows wait as they are and become columns all
at once. Values are typed as strictly as those of an object column: what does not belong together
is never cast, it is told apart.
"""

from __future__ import annotations

import sys
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from iotdb_frames.codec.sources import Source, from_arrow, from_numpy, from_pandas
from iotdb_frames.codec.times import TICKS_PER_S
from iotdb_frames.codec.types import REFUSED, TABLE, kind_of, refuse
from iotdb_frames.errors import ColumnTypeError, FrameError
from iotdb_frames.options import TSDataType
from iotdb_frames.sink.serializer import DeviceColumns
from iotdb_frames.writes.plan.layout import rows_layout

Types = Mapping[str, TSDataType]
Device = str | tuple[str | None, ...]
"""A normal path, or one text a tag of a table; see `devices`."""

TIME = "timestamp"
"""What times are called in errors."""
_PLAIN = frozenset({float, int, str, bool, bytes})
_SHARES_LAZILY = int(pd.__version__.split(".")[0]) >= 3
NO_CODES = np.zeros(0, np.int32)
"""Each row's device where all are of one."""


@dataclass(slots=True, frozen=True)
class Block:
    """Rows of one device, or of some that have the same columns.

    devices : each once
    codes : int32, shape (n_rows,): each row's device, a position in `devices`; empty for one device
    data : measurements; of a DataFrame, times are its index
    times : times of Arrow data
    time_unit : what integer times count; "" where integers are not times
    types : what was asked for new series
    names : measurements
    key : the same where blocks can be put together as they are
    n_bytes : memory, about
    """

    devices: tuple[Device, ...]
    codes: np.ndarray
    data: pd.DataFrame | pa.Table
    times: pa.Array | pa.ChunkedArray | None
    time_unit: str
    types: Types | None
    names: tuple[str, ...]
    key: Hashable
    n_bytes: int

    def __len__(self) -> int:
        return self.data.num_rows if isinstance(self.data, pa.Table) else len(self.data)

    def row_devices(self) -> np.ndarray:
        """Each row's device, a position in `devices`: int32, shape (n_rows,)."""
        return self.codes if len(self.devices) > 1 else np.zeros(len(self), np.int32)

    def take(self, is_taken: np.ndarray) -> Block:
        """The block of some rows (bool, shape (n_rows,)) and of the devices they have."""
        rows = np.flatnonzero(is_taken)
        kept, codes = np.unique(self.row_devices()[rows], return_inverse=True)
        picked = pa.array(rows)
        return replace(
            self,
            devices=tuple(self.devices[i] for i in kept),
            codes=codes.astype(np.int32) if len(kept) > 1 else NO_CODES,
            data=self.data.take(picked if isinstance(self.data, pa.Table) else rows),
            times=None if self.times is None else self.times.take(picked),
            n_bytes=self.n_bytes * len(rows) // max(1, len(self)),
        )


def to_block(made: DeviceColumns, devices: tuple[Device, ...], codes: np.ndarray) -> Block:
    """The block of columns that an event gave.

    Raises
    ------
    FrameError, TimeIndexError, ColumnTypeError : nothing of the event is taken.
    """
    data = made.columns
    if isinstance(data, pd.DataFrame):
        return _from_frame(data, made, devices, codes)
    if isinstance(data, pa.RecordBatch):
        data = pa.Table.from_batches([data])
    times = to_array(_times(made.time, made.time_unit), TIME)
    if not isinstance(data, pa.Table):
        arrays = {name: to_array(values, name) for name, values in data.items()}
        data = pa.table(arrays)
    if data.num_rows != len(times):
        raise FrameError(f"{len(times)} times and {data.num_rows} values")
    return from_table(data, times, made.time_unit, made.types, devices, codes)


def from_table(
    data: pa.Table,
    times: pa.Array | pa.ChunkedArray,
    time_unit: str,
    types: Types | None,
    devices: tuple[Device, ...],
    codes: np.ndarray,
) -> Block:
    """The block of Arrow columns."""
    names = tuple(data.schema.names)
    key = (names, tuple(data.schema.types), times.type, time_unit)
    _check(from_arrow(times, TIME), names, time_unit)
    n_bytes = data.nbytes + times.nbytes + codes.nbytes
    return Block(devices, codes, data, times, time_unit, types, names, key, n_bytes)


def _from_frame(
    data: pd.DataFrame, made: DeviceColumns, devices: tuple[Device, ...], codes: np.ndarray
) -> Block:
    if made.time is not None:
        data = data.set_index(pd.Index(made.time))
    else:
        # A later change of the caller's frame must not change what is on its way.
        data = data.copy(deep=not _SHARES_LAZILY)
    names, dtypes = tuple(data.columns.tolist()), tuple(data.dtypes)
    if data.index.dtype == object:  # whose type says nothing
        _check(from_pandas(data.index, None), (), made.time_unit)
    shape = _shape_of(names, dtypes, data.index.dtype, made.time_unit)
    n_bytes = shape.row_bytes * len(data) + codes.nbytes
    for label in shape.unsized:
        n_bytes += int(data[label].memory_usage(index=False, deep=True))
    return Block(devices, codes, data, None, made.time_unit, made.types, names, shape, n_bytes)


@dataclass(slots=True, frozen=True, eq=False)
class _Shape:
    """What windows have in common: looked at once, and the key of their blocks.

    row_bytes : of the columns of fixed size, and the time
    unsized : the others
    """

    row_bytes: int
    unsized: tuple[str, ...]


@lru_cache(64)
def _shape_of(
    names: tuple[str, ...], dtypes: tuple[Any, ...], time_type: Any, time_unit: str
) -> _Shape:
    _check(from_pandas(pd.Index([], dtype=time_type), None), names, time_unit)
    is_sized = [isinstance(dtype, np.dtype) and dtype.kind != "O" for dtype in dtypes]
    return _Shape(
        8 + sum(d.itemsize for d, sized in zip(dtypes, is_sized, strict=True) if sized),
        tuple(name for name, sized in zip(names, is_sized, strict=True) if not sized),
    )


def _check(times: Source, labels: tuple[Any, ...], time_unit: str) -> None:
    """Raise what is wrong with the times' type, or with a label."""
    rows_layout(times, {}, devices=("",), time_unit=time_unit or None)
    for label in labels:
        if not isinstance(label, str) or not label:
            raise FrameError(f"{label!r} names no measurement: it is not text", column=label)
    if len(set(labels)) < len(labels):
        label = next(label for label in labels if labels.count(label) > 1)
        raise FrameError(f"measurement {label!r} occurs more than once", column=label)


def to_array(values: Any, label: Hashable) -> pa.Array | pa.ChunkedArray:
    """A column of any kind as Arrow, typed as strictly as an object column of a frame.

    Raises
    ------
    ColumnTypeError : values of more than one kind, or of one that IoTDB has no type for.
    """
    if isinstance(values, pa.Array | pa.ChunkedArray):
        return values
    if isinstance(values, pd.Series | pd.Index):
        return _to_arrow(from_pandas(values, label))
    if isinstance(values, np.ndarray):
        return _to_arrow(from_numpy(values, label))
    if hasattr(values, "__arrow_c_stream__"):
        return pa.chunked_array(values)
    if isinstance(values, str | bytes) or not hasattr(values, "__len__"):
        raise FrameError(f"{label!r} holds one value where its times are many", column=label)
    kinds = set(map(type, values))
    kinds.discard(type(None))
    if len(kinds) <= 1 and kinds <= _PLAIN:
        try:
            return pa.array(values, from_pandas=True)
        except (pa.ArrowException, OverflowError, UnicodeError):
            pass  # the slow way says which value, and why
    array = _to_arrow(from_numpy(np.fromiter(values, object, len(values)), label))
    if kind_of(array.type) not in TABLE:
        raise refuse(label, array.type, REFUSED.get(kind_of(array.type), "convert it"))
    return array


def _to_arrow(source: Source) -> pa.Array:
    try:
        data = source.take(slice(0, len(source)))
        if not isinstance(data, np.ndarray):
            return data
        # The type, for a numpy array does not say that its times are in UTC.
        return pa.array(data.astype(data.dtype.newbyteorder("="), copy=False), type=source.type)
    except (pa.ArrowException, OverflowError, UnicodeError) as exc:
        raise ColumnTypeError(
            f"column {source.label!r} cannot be written: {exc}", column=source.label
        ) from exc


def _times(time: Any, unit: str) -> Any:
    """A sequence of times; of a list, None as now, and texts as the times they are."""
    if isinstance(time, list | tuple):
        kinds = set(map(type, time))
        if type(None) in kinds or str in kinds:
            return [to_time(value, unit) for value in time]
    if isinstance(time, pa.Array | pa.ChunkedArray) and pa.types.is_string(time.type):
        return pc.cast(time, pa.timestamp("ns", "UTC"))
    return time


def to_time(value: Any, unit: str) -> Any:
    """One time: None as now, a text as the number or the time it is.

    Raises
    ------
    FrameError : a text that is neither.
    """
    if value is None:
        from time import time_ns

        return time_ns() // (TICKS_PER_S["ns"] // TICKS_PER_S[unit])
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            pass
        try:
            return pd.Timestamp(value)
        except ValueError as exc:
            raise FrameError(f"{value!r} is not a valid time: {exc}", column=TIME) from exc
    return value


@dataclass(slots=True)
class Row:
    """One row of one device, not yet columns; `time` is what `to_time` gives."""

    time: Any
    values: Mapping[str, Any]
    types: Types | None
    time_unit: str

    @property
    def n_bytes(self) -> int:
        """Memory, about."""
        return 400 + sum(map(sys.getsizeof, self.values.values()))


def rows_to_blocks(
    device: Device, rows: Sequence[Row]
) -> Iterator[tuple[Block | FrameError, np.ndarray]]:
    """Rows of one device as columns, with the positions (int, shape (n,)) of each block's rows.

    As a rule it is one block. Rows whose values are of another kind than those of the others get
    a block of their own, and those that cannot be columns at all are given with the reason.
    """
    cells = [row.values for row in rows]
    shapes = dict.fromkeys(map(tuple, cells))
    names = dict.fromkeys(chain.from_iterable(shapes))
    if len(shapes) == 1:
        columns = {name: list(map(itemgetter(name), cells)) for name in names}
    else:
        columns = {name: [cell.get(name) for cell in cells] for name in names}
    types: dict[str, TSDataType] = {}
    last: Types | None = None
    for row in rows:
        if row.types is not last and row.types is not None:
            last = row.types
            types = {**last, **types}
    todo = [np.arange(len(rows))]
    while todo:
        at = todo.pop()
        here = at.tolist()
        picked = {
            n: c if len(at) == len(rows) else [c[i] for i in here] for n, c in columns.items()
        }
        times = [rows[i].time for i in here]
        made = DeviceColumns("", picked, times, types or None, rows[0].time_unit)
        try:
            yield to_block(made, (device,), NO_CODES), at
        except FrameError as exc:
            values = times if exc.column == TIME else picked.get(exc.column, [None])
            parts = _unlike(values) if len(at) > 1 else []
            if len(parts) < 2 and len(at) > 1:
                parts = np.array_split(np.arange(len(at)), 2)
            if not parts:
                yield exc, at
            todo += [at[part] for part in reversed(parts)]


def _unlike(values: Sequence[Any]) -> list[np.ndarray]:
    """Positions of the values of each kind, numbers as one, in the order of their first."""
    kinds = [float if type(v) is int else type(v) for v in values]
    first = next((kind for kind in kinds if kind is not type(None)), float)
    codes, _ = pd.factorize(np.fromiter((first if k is type(None) else k for k in kinds), object))
    return [np.flatnonzero(codes == code) for code in range(codes.max(initial=0) + 1)]
