"""From events to rows: columns that a serializer returned, with their Arrow types.

Single rows wait as they are, and become columns all at once. Values are typed as strictly as those
of an object column: values of different kinds are never cast, but separated.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from iotdb_frames.codec.sources import Source, from_arrow, from_numpy, from_pandas
from iotdb_frames.codec.times import TICKS_PER_S
from iotdb_frames.codec.types import REFUSED, TABLE, kind_of, refuse
from iotdb_frames.errors import FrameError
from iotdb_frames.sink.rows import NO_CODES, TIME, Device, Rows, to_arrow
from iotdb_frames.sink.serializer import DeviceColumns, join_rows
from iotdb_frames.writes.plan.layout import rows_layout

_TABLES = (pd.DataFrame, pa.Table, pa.RecordBatch)
_PLAIN = frozenset({float, int, str, bool, bytes})
_SHARES_LAZILY = int(pd.__version__.split(".")[0]) >= 3


def is_one_row(made: DeviceColumns) -> bool:
    """Whether it is a single row, which waits as it is."""
    if type(made.columns) is not dict and isinstance(made.columns, _TABLES):
        return False
    time_ = made.time
    return type(time_) is int or isinstance(time_, str) or not hasattr(time_, "__len__")


def to_rows(made: DeviceColumns, devices: tuple[Device, ...], codes: np.ndarray) -> Rows:
    """The rows of columns that an event gave.

    Raises
    ------
    FrameError, TimeIndexError, ColumnTypeError : nothing of the event is taken.
    """
    data = made.columns
    names: Sequence[Any]
    owner = None
    if isinstance(data, pd.DataFrame):
        if made.time is not None:
            data = data.set_index(pd.Index(made.time))
        times, names = from_pandas(data.index, data.index.name), data.columns.tolist()
    else:
        times = to_source(_times(made.time, made.time_unit), TIME)
        times = replace(times, dtype=str(times.type))
        names = data.schema.names if isinstance(data, pa.Table | pa.RecordBatch) else list(data)
    _check(tuple(names), times.label, times.dtype, times.type, made.time_unit)
    columns: dict[Hashable, Source]
    if isinstance(data, pd.DataFrame):
        columns, owner = _sources_of(data, names)
    elif isinstance(data, pa.Table | pa.RecordBatch):
        columns = {n: from_arrow(c, n) for n, c in zip(names, data.columns, strict=True)}
    else:
        columns = {name: to_source(values, name) for name, values in data.items()}
    lengths = {len(times)} if isinstance(data, pd.DataFrame) else set(map(len, columns.values()))
    if lengths != {len(times)}:
        values = next((n for n in lengths if n != len(times)), 0)
        raise FrameError(f"{len(times)} times and {values} values")
    return Rows(devices, codes, _whole(times), columns, made.time_unit, made.types, owner=owner)


def _sources_of(
    frame: pd.DataFrame, names: Sequence[Any]
) -> tuple[dict[Hashable, Source], pd.DataFrame | None]:
    """Columns that no later change of the caller's frame changes, and what they are views of."""
    dtypes = set(frame.dtypes)
    kind = next(iter(dtypes)) if len(dtypes) == 1 else None
    if isinstance(kind, np.dtype) and kind.kind in "fiub":  # one array, as a rule
        values = frame.to_numpy().T.copy()
        like = from_numpy(values[0], None)
        columns = zip(names, values, strict=True)
        return {name: Source(name, like.dtype, like.type, column) for name, column in columns}, None
    owner = frame.copy(deep=not _SHARES_LAZILY)
    return {name: _whole(from_pandas(column, name)) for name, column in owner.items()}, owner


def _whole(source: Source) -> Source:
    """Objects as the Arrow data that they are, and anything else as it is."""
    if isinstance(source.data, np.ndarray) and source.data.dtype.kind == "O":
        return replace(source, data=to_arrow(source))
    return source


@lru_cache(1024)
def _check(
    names: tuple[Any, ...], label: Hashable, dtype: str, kind: pa.DataType, time_unit: str
) -> None:
    """Raise what is wrong with the type of the times, or with a name of a measurement."""
    times = Source(label, dtype, kind, pa.array([], kind))
    rows_layout(times, {}, devices=("",), time_unit=time_unit or None)
    for name in names:
        if not isinstance(name, str) or not name:
            raise FrameError(f"{name!r} names no measurement: it is not text", column=name)
    if len(set(names)) < len(names):
        name = next(name for name in names if names.count(name) > 1)
        raise FrameError(f"measurement {name!r} occurs more than once", column=name)


def to_source(values: Any, label: Hashable) -> Source:
    """A column of any kind, typed as strictly as an object column of a frame.

    Raises
    ------
    ColumnTypeError : values of more than one kind, or of one that IoTDB has no type for.
    """
    if isinstance(values, pa.Array | pa.ChunkedArray):
        return from_arrow(values, label)
    if isinstance(values, pd.Series | pd.Index):
        return _whole(from_pandas(values, label))
    if isinstance(values, np.ndarray):
        return _whole(from_numpy(values, label))
    if hasattr(values, "__arrow_c_stream__"):
        return from_arrow(pa.chunked_array(values), label)
    if isinstance(values, str | bytes) or not hasattr(values, "__len__"):
        raise FrameError(f"{label!r} holds one value where its times are many", column=label)
    kinds = set(map(type, values))
    kinds.discard(type(None))
    if len(kinds) <= 1 and kinds <= _PLAIN:
        try:
            return from_arrow(pa.array(values, from_pandas=True), label)
        except (pa.ArrowException, OverflowError, UnicodeError):
            pass  # the slow way reports which value, and why
    array = to_arrow(from_numpy(np.fromiter(values, object, len(values)), label))
    if kind_of(array.type) not in TABLE:
        raise refuse(label, array.type, REFUSED.get(kind_of(array.type), "convert it"))
    return from_arrow(array, label)


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


def rows_of_device(
    device: Device, single: Sequence[DeviceColumns]
) -> Iterator[tuple[Rows | FrameError, np.ndarray]]:
    """Single rows of one device as columns, with the positions (int, shape (n,)) of what is given.

    Usually all at once. Rows whose values are of another kind than those of the others come
    separately, and rows that cannot become columns at all come with the reason.

    Parameters
    ----------
    single : their times as `to_time` gives them
    """
    columns, types = join_rows(single)
    todo = [np.arange(len(single))]
    while todo:
        at = todo.pop()
        here = at.tolist()
        picked = {
            n: c if len(at) == len(single) else [c[i] for i in here] for n, c in columns.items()
        }
        times = [single[i].time for i in here]
        made = DeviceColumns("", picked, times, types or None, single[0].time_unit)
        try:
            yield to_rows(made, (device,), NO_CODES), at
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
