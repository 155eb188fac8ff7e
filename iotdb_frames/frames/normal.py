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
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from iotdb_frames.errors import FrameError, OptionsError

DtypeBackend = Literal["pyarrow", "numpy"] | None

INDEX_NAME = "time"
_NAT = np.iinfo(np.int64).min
_FIRST_DAY, _LAST_DAY = -719_161, 2_932_895  # in the years 1 and 9999, between which zones work


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
        made = pd.DatetimeIndex(times.to_pandas(ticks, names.pop(index)), name=INDEX_NAME)
    arrays: dict[int, Any] = {}
    for i, name in enumerate(names):
        # Let go of each column once it is converted: half the memory at the peak.
        column, columns[i] = columns[i], None
        array = _convert(column, name, times, dtype_backend)
        if isinstance(array, np.ndarray) and array.dtype == object:
            array = pd.Series(array, index=made, dtype=object)  # else pandas 3 makes it str
        arrays[i] = array
        del column, array
    frame = pd.DataFrame(arrays, index=made, copy=False)
    frame.columns = pd.Index(names, dtype=str)
    return frame


class _Times:
    """Ticks to local times: naive ones of a zone, or zoned ones."""

    def __init__(self, time_zone: str, tz: str | None) -> None:
        self._is_naive = tz is None
        self._name = tz or time_zone
        try:
            # A ZoneInfo: by its name pandas 2 takes pytz, whose summer times end in 2037.
            self._zone = ZoneInfo(self._name)
        except (KeyError, ValueError, OSError):
            raise OptionsError(f"tz={tz!r} is not known", hint='e.g. "Europe/Berlin"') from None

    def to_pandas(self, column: pa.ChunkedArray, name: str) -> Any:
        """datetime64 of the column's unit, as numpy or as a zoned DatetimeArray."""
        ends = pc.min_max(column)
        if ends["min"].is_valid and ends["min"].value == _NAT:
            raise FrameError(
                f"column {name!r} holds the time {_NAT}, which pandas takes for a missing one",
                column=name,
                hint='read it with dtype_backend="pyarrow"',
            )
        unit = column.type.unit
        ticks = _values(column, np.dtype(np.int64))
        if column.null_count:
            ticks[_is_null(column)] = _NAT
        stamps = ticks.view(f"M8[{unit}]")
        if self._name == "UTC" and self._is_naive:
            return stamps
        zoned = pd.DatetimeIndex(stamps).tz_localize("UTC").tz_convert(self._zone)
        if not self._is_naive:
            return zoned.array
        day = 86_400 * {"ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
        if ends["min"].is_valid and not (
            _FIRST_DAY * day <= ends["min"].value and ends["max"].value < _LAST_DAY * day
        ):
            raise FrameError(
                f"column {name!r} holds times that {self._name} is not known for",
                column=name,
                hint='read them in UTC: tz="UTC"',
            )
        return zoned.tz_localize(None).to_numpy()

    def to_arrow(self, column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
        """timestamp of the column's unit."""
        if not self._is_naive:
            return column.cast(pa.timestamp(column.type.unit, self._name))
        if self._name == "UTC":
            return column
        # Not by `local_timestamp`, for which summer times end in 2037.
        return pa.chunked_array([pa.array(self.to_pandas(column, name))], column.type)


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
        return times.to_pandas(column, name)
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
        return times.to_pandas(column, name)
    if pa.types.is_date(kind):
        days = _values(column, np.dtype(np.int32)).astype(np.int64)
        days[_is_null(column)] = _NAT
        return days.view("M8[D]").astype("M8[s]")
    return column.to_numpy()


def _convert(column: pa.ChunkedArray, name: str, times: _Times, dtype_backend: DtypeBackend) -> Any:
    if dtype_backend == "pyarrow":
        if pa.types.is_timestamp(column.type):
            column = times.to_arrow(column, name)
        return pd.arrays.ArrowExtensionArray(column)
    convert: Callable[..., Any] = _numpy if dtype_backend == "numpy" else _normal
    return convert(column, name, times)
