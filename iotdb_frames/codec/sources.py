"""Where cells come from: one column of any dtype, sliced without copying it whole.

A numpy column stays numpy (a slice of a strided block is a view, and any byte order will do);
everything else is Arrow, which pandas' own nullable, string, categorical and Arrow-backed columns
give without copying. An object column is turned into Arrow slice by slice.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from iotdb_frames.codec.types import REFUSED
from iotdb_frames.errors import ColumnTypeError

Rows = slice | np.ndarray
OBJECT_SLICE = 65_536


@dataclass(frozen=True)
class Source:
    """One column.

    label : its label in the frame
    dtype : as the user knows it, for texts
    type : the Arrow type that equals its dtype; of an object column, of all its values
    data : numpy array, shape (n_rows,), or pyarrow Array or ChunkedArray
    """

    label: Hashable
    dtype: str
    type: pa.DataType
    data: np.ndarray | pa.Array | pa.ChunkedArray = field(repr=False)

    def __len__(self) -> int:
        return len(self.data)

    def take(self, rows: Rows) -> np.ndarray | pa.Array:
        """Some of its values: a view of a slice, a copy of picked rows (int, shape (n,))."""
        data = self.data
        if isinstance(data, np.ndarray):
            values = data[rows]
            return self._object_to_arrow(values) if values.dtype.kind == "O" else values
        if isinstance(rows, slice):
            start, stop, _ = rows.indices(len(data))
            part = data.slice(start, stop - start)
        else:
            part = data.take(pa.array(rows))
        if isinstance(part, pa.ChunkedArray):
            return part.chunk(0) if part.num_chunks == 1 else part.combine_chunks()
        return part

    def _object_to_arrow(self, values: np.ndarray) -> pa.Array:
        return pa.array(values, type=self.type, from_pandas=True)


def _refuse(label: Hashable, dtype: Any, why: str, row: int | None = None) -> ColumnTypeError:
    return ColumnTypeError(
        f"column {label!r} ({dtype}) cannot be written", column=label, row=row, hint=why
    )


def from_pandas(column: pd.Series | pd.Index, label: Hashable) -> Source:
    """The source of a pandas column.

    Raises
    ------
    ColumnTypeError : a dtype without an IoTDB type, or an object column of mixed types.
    """
    dtype = column.dtype
    if isinstance(dtype, pd.DatetimeTZDtype):
        ticks = pd.DatetimeIndex(column).asi8
        return Source(
            label, str(dtype), pa.timestamp(dtype.unit, "UTC"), ticks.view(f"M8[{dtype.unit}]")
        )
    if isinstance(dtype, pd.SparseDtype):
        return from_pandas(column.astype(dtype.subtype), label)
    if isinstance(dtype, pd.PeriodDtype | pd.IntervalDtype):
        raise _refuse(label, dtype, REFUSED["period"])
    if isinstance(dtype, np.dtype):
        return from_numpy(column.to_numpy(), label)
    if isinstance(dtype, pd.CategoricalDtype):
        codes = np.asarray(pd.Series(column).cat.codes)
        kinds = pa.array(dtype.categories, from_pandas=True)
        indices = pa.array(codes, mask=codes < 0)
        return from_arrow(pa.DictionaryArray.from_arrays(indices, kinds), label, dtype="category")
    array = pa.array(column.array) if hasattr(column.array, "__arrow_array__") else None
    if array is None:
        return from_numpy(np.asarray(column, dtype=object), label)
    return from_arrow(array, label, dtype=str(dtype))


def from_arrow(
    data: pa.Array | pa.ChunkedArray, label: Hashable, dtype: str | None = None
) -> Source:
    """The source of an Arrow column; extension types count as their storage."""
    if isinstance(data.type, pa.ExtensionType):
        data = (
            pa.chunked_array([c.storage for c in data.chunks], type=data.type.storage_type)
            if isinstance(data, pa.ChunkedArray)
            else data.storage
        )
    if isinstance(data, pa.ChunkedArray) and data.num_chunks == 1:
        data = data.chunk(0)
    return Source(label, dtype or str(data.type), data.type, data)


def from_numpy(values: np.ndarray, label: Hashable) -> Source:
    """The source of a numpy column, of objects too."""
    dtype = values.dtype
    if dtype.kind == "O":
        return Source(label, "object", _infer_objects(values, label), values)
    if dtype.kind == "c":
        raise _refuse(label, dtype, REFUSED["complex"])
    if dtype.kind == "m":
        raise _refuse(label, dtype, REFUSED["duration"])
    if dtype.kind in "SU":
        return from_numpy(values.astype(object), label)
    if dtype.kind == "M" and np.datetime_data(dtype)[0] not in ("s", "ms", "us", "ns"):
        return from_numpy(values.astype("M8[s]"), label)
    try:
        return Source(label, str(dtype), pa.from_numpy_dtype(dtype.newbyteorder("=")), values)
    except (pa.ArrowNotImplementedError, TypeError):
        raise _refuse(label, dtype, "convert it to a type of the README's type table") from None


def _infer_objects(values: np.ndarray, label: Hashable) -> pa.DataType:
    """The one Arrow type of an object column's values; null where all are missing.

    Slices are typed apart, so that the column is never held twice, then brought together: ints and
    floats meet in float64 (exactly, or `to_cells` refuses), everything else must agree.
    """
    types: list[pa.DataType] = []
    for start in range(0, len(values), OBJECT_SLICE):
        part = values[start : start + OBJECT_SLICE]
        try:
            found = pa.array(part, from_pandas=True).type
        except (pa.ArrowException, OverflowError, UnicodeError, TypeError, ValueError) as exc:
            raise _explain_mixed(values, label, start, exc) from exc
        if not pa.types.is_null(found) and found not in types:
            types.append(found)
    if not types:
        return pa.null()
    if len(types) == 1:
        return _plain(types[0])
    if all(pa.types.is_integer(t) or pa.types.is_floating(t) for t in types):
        return pa.float64()
    if all(pa.types.is_decimal(t) for t in types):
        scale = max(t.scale for t in types)
        return pa.decimal256(min(76, scale + max(t.precision - t.scale for t in types)), scale)
    if all(pa.types.is_timestamp(t) for t in types) and len({t.tz is None for t in types}) == 1:
        unit = max((t.unit for t in types), key=["s", "ms", "us", "ns"].index)
        return pa.timestamp(unit, types[0].tz and "UTC")
    raise _explain_mixed(values, label, 0, None)


def _plain(found: pa.DataType) -> pa.DataType:
    return pa.timestamp(found.unit, "UTC") if pa.types.is_timestamp(found) and found.tz else found


def _explain_mixed(
    values: np.ndarray, label: Hashable, start: int, exc: BaseException | None
) -> ColumnTypeError:
    """The first value whose Python type differs from those before it."""
    if isinstance(exc, UnicodeError):
        return _refuse(label, "object", "a text holds a lone surrogate: clean it first")
    if isinstance(exc, OverflowError):
        return _refuse(
            label, "object", 'an integer is outside int64: cast the column to "float64" or to str'
        )
    present = pd.Series(values).dropna()
    names = present.map(lambda value: type(value).__name__)
    others = names[names != names.iloc[0]] if len(names) else names
    if len(others):
        row = int(others.index[0])
        return _refuse(
            label,
            "object",
            f"row {row} holds {others.iloc[0]}, the rows before {names.iloc[0]}: "
            "cast the column to one type",
            row,
        )
    kind = names.iloc[0] if len(names) else "object"
    why = REFUSED["complex"] if kind == "complex" else f"values of type {kind} have no IoTDB type"
    return _refuse(label, "object", why, start)


def is_missing(data: np.ndarray | pa.Array) -> np.ndarray:
    """Which values are null or NaN or NaT; bool, shape (n,)."""
    if isinstance(data, np.ndarray):
        if data.dtype.kind == "f":
            return np.isnan(data)
        if data.dtype.kind == "M":
            return np.isnat(data)
        return np.zeros(len(data), bool)
    return np.asarray(pc.is_null(data, nan_is_null=pa.types.is_floating(data.type)))
