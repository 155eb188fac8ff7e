"""Arrow to pandas in the normal form: one dtype a column type, whatever the values.

================  ======================  ==================  =========================
IoTDB             normal form             "pyarrow"           "numpy"
================  ======================  ==================  =========================
BOOLEAN           boolean                 bool[pyarrow]       bool, refused with nulls
INT32, INT64      Int32, Int64            int32, int64        the same, refused with nulls
FLOAT, DOUBLE     float32, float64 (NaN)  float, double       float32, float64 (NaN)
TEXT, STRING      str                     string              object
TIMESTAMP         datetime64[unit]        timestamp[unit]     datetime64[unit]
DATE              date32[pyarrow]         date32[day]         datetime64[s]
BLOB              binary[pyarrow]         binary              object
================  ======================  ==================  =========================

The index is a DatetimeIndex in the server's unit whatever the dtype backend.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from iotdb_frames.errors import FrameError, OptionsError

DtypeBackend = Literal["pyarrow", "numpy"] | None

INDEX_NAME = "time"
_NAT = np.iinfo(np.int64).min


def to_pandas(
    table: pa.Table,
    *,
    index: int | None,
    time_zone: str,
    tz: str | None = None,
    dtype_backend: DtypeBackend = None,
) -> pd.DataFrame:
    """A frame in the normal form.

    Parameters
    ----------
    table : types of `codec.tsblock`; labels may occur twice
    index : position of the timestamps that become the index; None: a RangeIndex
    time_zone : in which naive times are meant
    tz : zone of zoned times instead; None: naive ones
    dtype_backend : None: the normal form; "pyarrow", "numpy": see the module

    Raises
    ------
    FrameError : a column that cannot be held exactly in what was asked for.
    OptionsError : an unknown dtype backend.
    """
    if dtype_backend not in (None, "pyarrow", "numpy"):
        raise OptionsError(f'dtype_backend={dtype_backend!r} is neither "pyarrow" nor "numpy"')
    times = _Times(time_zone, tz)
    names, columns = table.column_names, table.columns
    n_rows = table.num_rows
    del table
    made: pd.Index = pd.RangeIndex(n_rows)
    if index is not None:
        ticks = columns.pop(index)
        made = pd.DatetimeIndex(times.to_datetime64(ticks, names.pop(index)), name=INDEX_NAME)
    arrays: dict[int, Any] = {}
    for i, name in enumerate(names):
        # Let go of each column once it is converted: half the memory at the peak.
        column, columns[i] = columns[i], None
        arrays[i] = _convert(column, name, times, dtype_backend)
        del column
    frame = pd.DataFrame(arrays, index=made, copy=False)
    frame.columns = pd.Index(names, dtype=str)
    return frame


class _Times:
    """Ticks to local times, naive or zoned."""

    def __init__(self, time_zone: str, tz: str | None) -> None:
        self.zone = tz or time_zone
        self.is_naive = tz is None

    def to_datetime64(self, column: pa.ChunkedArray, name: str) -> Any:
        """datetime64 of the column's unit as an array, or a zoned DatetimeIndex."""
        earliest = pc.min_max(column)["min"]
        if earliest.is_valid and earliest.value == _NAT:
            raise FrameError(
                f"column {name!r} holds the time {_NAT}, which pandas takes for a missing one",
                column=name,
                hint='read it with dtype_backend="pyarrow"',
            )
        ticks = _values(column, np.dtype(np.int64))
        if column.null_count:
            ticks[_is_null(column)] = _NAT
        stamps = ticks.view(f"M8[{column.type.unit}]")
        if self.zone == "UTC" and self.is_naive:
            return stamps
        local = pd.DatetimeIndex(stamps).tz_localize("UTC").tz_convert(self.zone)
        return local.tz_localize(None).array if self.is_naive else local.array

    def to_arrow(self, column: pa.ChunkedArray) -> pa.ChunkedArray:
        if self.zone == "UTC" and self.is_naive:
            return column
        zoned = column.cast(pa.timestamp(column.type.unit, "UTC"))
        zoned = zoned.cast(pa.timestamp(column.type.unit, self.zone))
        return pc.local_timestamp(zoned) if self.is_naive else zoned


def _values(column: pa.ChunkedArray, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """A writable copy of fixed-width values; anything where null."""
    chunks = [
        np.frombuffer(chunk.buffers()[1], dtype, len(chunk), chunk.offset * dtype.itemsize)
        for chunk in column.chunks
        if len(chunk)
    ]
    return np.concatenate(chunks) if chunks else np.empty(0, dtype)


def _is_null(column: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    if not column.null_count:
        return np.zeros(len(column), bool)
    return column.is_null().to_numpy()  # type: ignore[no-any-return]


def _refuse_nulls(column: pa.ChunkedArray, name: str) -> None:
    if column.null_count:
        raise FrameError(
            f"column {name!r} ({column.type}) has missing values, which numpy has no place for",
            column=name,
            row=int(np.argmax(_is_null(column))),
            hint='leave out dtype_backend="numpy", or take "pyarrow"',
        )


def _to_bools(column: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    filled = column.fill_null(False) if column.null_count else column
    return np.array(filled.to_numpy(), bool)


def _to_floats(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    values = _values(column, np.dtype(column.type.to_pandas_dtype()))
    if column.null_count:
        values[_is_null(column)] = np.nan
    return values


def _text_dtype() -> Any:
    try:
        return pd.StringDtype("pyarrow", na_value=np.nan)
    except TypeError:  # pandas 2.2 knows the same by another name
        return pd.StringDtype("pyarrow_numpy")


def _normal(column: pa.ChunkedArray, name: str, times: _Times) -> Any:
    kind = column.type
    if pa.types.is_boolean(kind):
        return pd.arrays.BooleanArray(_to_bools(column), _is_null(column))
    if pa.types.is_integer(kind):
        values = _values(column, np.dtype(kind.to_pandas_dtype()))
        return pd.arrays.IntegerArray(values, _is_null(column))
    if pa.types.is_floating(kind):
        return _to_floats(column)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _text_dtype().__from_arrow__(column)
    if pa.types.is_timestamp(kind):
        return times.to_datetime64(column, name)
    return pd.arrays.ArrowExtensionArray(column)


def _numpy(column: pa.ChunkedArray, name: str, times: _Times) -> Any:
    kind = column.type
    if pa.types.is_boolean(kind):
        _refuse_nulls(column, name)
        return _to_bools(column)
    if pa.types.is_integer(kind):
        _refuse_nulls(column, name)
        return _values(column, np.dtype(kind.to_pandas_dtype()))
    if pa.types.is_floating(kind):
        return _to_floats(column)
    if pa.types.is_timestamp(kind):
        return times.to_datetime64(column, name)
    if pa.types.is_date(kind):
        days = _values(column, np.dtype(np.int32)).astype(np.int64)
        days[_is_null(column)] = _NAT
        return days.view("M8[D]").astype("M8[s]")
    return column.to_numpy()


def _convert(column: pa.ChunkedArray, name: str, times: _Times, dtype_backend: DtypeBackend) -> Any:
    if dtype_backend == "pyarrow":
        if pa.types.is_timestamp(column.type):
            column = times.to_arrow(column)
        return pd.arrays.ArrowExtensionArray(column)
    convert: Callable[..., Any] = _numpy if dtype_backend == "numpy" else _normal
    return convert(column, name, times)
