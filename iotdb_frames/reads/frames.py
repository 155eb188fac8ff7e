"""Arrow to pandas in the normal form: one dtype a column type, whatever the values.

================  ======================  ==================  ================  ====================
IoTDB             normal form             "numpy_nullable"    "pyarrow"         "numpy"
================  ======================  ==================  ================  ====================
BOOLEAN           boolean                 boolean             bool[pyarrow]     bool, without nulls
INT32, INT64      Int32, Int64            Int32, Int64        int32, int64      the same, likewise
FLOAT, DOUBLE     float32, float64 (NaN)  Float32, Float64    float, double     float32, float64
TEXT, STRING      str                     string              string            object
TIMESTAMP         datetime64[unit]        datetime64[unit]    timestamp[unit]   datetime64[unit]
DATE              date32[pyarrow]         object of date      date32[day]       datetime64[s]
BLOB              binary[pyarrow]         object of bytes     binary            object of bytes
================  ======================  ==================  ================  ====================

"numpy_nullable" and "pyarrow" give the dtypes that pandas' own readers give for these words. Of the
floats, these two tell a stored NaN from a missing value; for the others both are NaN. (pandas'
readers make a NaN a missing one under "numpy_nullable"; here what is stored stays.)

The index is a DatetimeIndex in the server's unit whatever the dtype backend.

A frame is built while its rows arrive: values of fixed width go into arrays that grow in place, so
that no second copy of the whole is ever made, and the work falls into the waits for the server.
"""

from __future__ import annotations

from datetime import tzinfo
from functools import lru_cache
from typing import Any, Literal, Protocol
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from iotdb_frames.codec.times import zone_ends
from iotdb_frames.errors import FrameError
from iotdb_frames.options import check_choice, zone_name

DtypeBackend = Literal["numpy_nullable", "pyarrow", "numpy"] | None

DTYPE_BACKENDS = ("numpy_nullable", "pyarrow", "numpy")

INDEX_NAME = "time"
_NAT = np.iinfo(np.int64).min
_GROWTH = 1.5
_FEW_CELLS = 1 << 16


def check_form(*, tz: Any, dtype_backend: Any) -> None:
    """Raise what a `FrameBuilder` would, before a query runs for nothing.

    Raises
    ------
    OptionsError : an unknown dtype backend or zone.
    """
    check_choice("dtype_backend", dtype_backend, DTYPE_BACKENDS, is_optional=True)
    if tz is not None:
        zone_name(tz, option="tz")


class FrameBuilder:
    """Makes a frame in the normal form of rows that arrive in batches.

    Parameters
    ----------
    schema : of the batches: types of `codec.tsblock`; labels may occur twice
    index : position of the timestamps that become the index; None: a RangeIndex
    time_zone : in which naive times are meant
    tz : zone of zoned times instead, its name or a ZoneInfo; None: naive ones
    dtype_backend : None: the normal form; else see the module
    n_rows : how many will come, where that is known

    Raises
    ------
    OptionsError : an unknown dtype backend or zone.
    """

    def __init__(
        self,
        schema: pa.Schema,
        *,
        index: int | None,
        time_zone: str,
        tz: str | tzinfo | None = None,
        dtype_backend: DtypeBackend = None,
        n_rows: int = 0,
    ) -> None:
        check_form(tz=tz, dtype_backend=dtype_backend)
        zone = _Zone(time_zone, tz)
        self._names = schema.names
        self._index = index
        self._n_rows = 0
        self._columns: list[_Column] = [
            _Times(field, zone, n_rows)
            if i == index
            else _column(field, dtype_backend, zone, n_rows)
            for i, field in enumerate(schema)
        ]

    def add(self, rows: pa.RecordBatch | pa.Table) -> None:
        """Append rows.

        Raises
        ------
        FrameError : a column that cannot be held exactly in what was asked for.
        """
        for column, values in zip(self._columns, rows.columns, strict=True):
            at = self._n_rows
            for chunk in values.chunks if isinstance(values, pa.ChunkedArray) else [values]:
                column.add(chunk, at)
                at += len(chunk)
        self._n_rows += rows.num_rows

    def finish(self) -> pd.DataFrame:
        """The frame; the builder is used up."""
        names, columns = list(self._names), self._columns
        index: pd.Index = pd.RangeIndex(self._n_rows)
        if self._index is not None:
            del names[self._index]
            times = columns.pop(self._index).finish(self._n_rows)
            index = pd.DatetimeIndex(times, name=INDEX_NAME)
        labels = _labels(tuple(names)).copy()
        if self._n_rows * len(columns) <= _FEW_CELLS and all(type(c) is _Floats for c in columns):
            values = [column.finish(self._n_rows) for column in columns]
            if len({array.dtype for array in values}) == 1:  # one array is made sooner than many
                return pd.DataFrame(np.stack(values).T, index, labels, copy=False)
        arrays: dict[int, Any] = {}
        for i in range(len(columns)):
            array = columns[i].finish(self._n_rows)
            if isinstance(array, np.ndarray) and array.dtype == object:
                array = pd.Series(array, index=index, dtype=object)  # else pandas 3 makes it str
            arrays[i] = array
        frame = pd.DataFrame(arrays, index=index, copy=False)
        frame.columns = labels
        return frame


def to_pandas(
    table: pa.Table,
    *,
    index: int | None,
    time_zone: str,
    tz: str | tzinfo | None = None,
    dtype_backend: DtypeBackend = None,
) -> pd.DataFrame:
    """A whole table as a frame; see `FrameBuilder`."""
    builder = FrameBuilder(
        table.schema,
        index=index,
        time_zone=time_zone,
        tz=tz,
        dtype_backend=dtype_backend,
        n_rows=table.num_rows,
    )
    builder.add(table)
    return builder.finish()


def local_times(table: pa.Table, *, time_zone: str, tz: str | tzinfo | None = None) -> pa.Table:
    """A table whose times are those of a frame: of a zone, or naive ones.

    Raises
    ------
    FrameError : a time that the zone is not known for.
    """
    zone = _Zone(time_zone, tz)
    columns = [
        zone.arrow_to_local(column, field.name) if pa.types.is_timestamp(field.type) else column
        for field, column in zip(table.schema, table.columns, strict=True)
    ]
    return pa.Table.from_arrays(columns, table.column_names)


class _Zone:
    """UTC ticks to local times: naive ones of a zone, or zoned ones."""

    def __init__(self, time_zone: str, tz: str | tzinfo | None) -> None:
        self.is_naive = tz is None
        self.name = time_zone if tz is None else zone_name(tz, option="tz")
        # A ZoneInfo: by its name pandas 2 takes pytz, whose summer times end in 2037.
        self._zone = ZoneInfo(self.name)

    @property
    def is_plain(self) -> bool:
        """Whether local times are the ticks as they are."""
        return self.is_naive and self.name == "UTC"

    def to_local(self, ticks: npt.NDArray[np.int64], unit: str, label: str) -> Any:
        """datetime64 of `unit`, as numpy or as a zoned DatetimeArray; the smallest tick is NaT."""
        stamps = ticks.view(f"M8[{unit}]")
        if self.is_plain:
            return stamps
        zoned = pd.DatetimeIndex(stamps).tz_localize("UTC").tz_convert(self._zone)
        if not self.is_naive:
            return zoned.array
        first, last = zone_ends(unit, margin_days=1)
        is_far = ((ticks < first) | (ticks >= last)) & (ticks != _NAT)
        if is_far.any():
            raise FrameError(
                f"column {label!r} holds times that {self.name} is not known for",
                column=label,
                row=int(is_far.argmax()),
                hint='read them in UTC: tz="UTC"',
            )
        return zoned.tz_localize(None).to_numpy()

    def arrow_to_local(self, column: pa.ChunkedArray, label: str) -> pa.ChunkedArray:
        """The same of a column of timestamps, which stays one of Arrow."""
        if self.is_plain:
            return column
        if not self.is_naive:
            return column.cast(pa.timestamp(column.type.unit, self.name))
        # Not by Arrow's `local_timestamp`, for which summer times end in 2037.
        times = _Times(pa.field(label, column.type), self, len(column))
        at = 0
        for chunk in column.chunks:
            times.add(chunk, at)
            at += len(chunk)
        return pa.chunked_array([pa.array(times.finish(len(column)))], column.type)


class _Column(Protocol):
    """Collects the chunks of one column."""

    def add(self, chunk: pa.Array, at: int) -> None:
        """Append a chunk whose first row is row `at`."""

    def finish(self, n_rows: int) -> Any:
        """The column as pandas takes it."""


class _Values:
    """Values of fixed width in an array that grows in place; the mask comes with the first null."""

    def __init__(self, field: pa.Field, dtype: npt.DTypeLike, n_rows: int) -> None:
        self.name = field.name
        self.type = field.type
        self.values = np.empty(n_rows, dtype)
        self.mask: npt.NDArray[np.bool_] | None = None

    def add(self, chunk: pa.Array, at: int) -> None:
        end = at + len(chunk)
        self.values = _grow(self.values, end)
        part = self.values[at:end]
        if pa.types.is_boolean(chunk.type):
            part[:] = (chunk.fill_null(False) if chunk.null_count else chunk).to_numpy(
                zero_copy_only=False
            )
        elif len(chunk):
            start = chunk.offset * part.itemsize
            part[:] = np.frombuffer(chunk.buffers()[1], part.dtype, len(chunk), start)
        is_null = chunk.is_null().to_numpy(zero_copy_only=False) if chunk.null_count else None
        self.settle(part, is_null, at)

    def settle(
        self, part: npt.NDArray[Any], is_null: npt.NDArray[np.bool_] | None, at: int
    ) -> None:
        """Look at new values; note or fill in what is missing."""
        if is_null is None and self.mask is None:
            return
        if self.mask is None:
            self.mask = np.zeros(len(self.values), bool)
        # What `resize` adds is zero: not null.
        self.mask = _grow(self.mask, at + len(part))
        self.mask[at : at + len(part)] = False if is_null is None else is_null

    def finish(self, n_rows: int) -> Any:
        self.values.resize(n_rows, refcheck=False)
        mask = np.zeros(n_rows, bool) if self.mask is None else self.mask
        mask.resize(n_rows, refcheck=False)
        if pa.types.is_boolean(self.type):
            return pd.arrays.BooleanArray(self.values, mask)
        if pa.types.is_floating(self.type):
            return pd.arrays.FloatingArray(self.values, mask)
        return pd.arrays.IntegerArray(self.values, mask)


class _Floats(_Values):
    """Floats, NaN where missing."""

    def settle(
        self,
        part: npt.NDArray[Any],
        is_null: npt.NDArray[np.bool_] | None,
        at: int,  # noqa: ARG002 - others need it
    ) -> None:
        if is_null is not None:
            part[is_null] = np.nan

    def finish(self, n_rows: int) -> Any:
        self.values.resize(n_rows, refcheck=False)
        return self.values


class _Complete(_Floats):
    """Booleans and integers as plain numpy, which has no place for missing ones."""

    def settle(
        self,
        part: npt.NDArray[Any],  # noqa: ARG002 - others need it
        is_null: npt.NDArray[np.bool_] | None,
        at: int,
    ) -> None:
        if is_null is not None:
            raise FrameError(
                f"column {self.name!r} ({self.type}) has missing values, which numpy has no "
                "place for",
                column=self.name,
                row=at + int(np.argmax(is_null)),
                hint='leave out dtype_backend="numpy", or take "numpy_nullable"',
            )


class _Times(_Values):
    """Ticks, NaT where missing; local times in the end."""

    def __init__(self, field: pa.Field, zone: _Zone, n_rows: int) -> None:
        super().__init__(field, np.int64, n_rows)
        self._zone = zone

    def settle(
        self, part: npt.NDArray[Any], is_null: npt.NDArray[np.bool_] | None, at: int
    ) -> None:
        if is_null is not None:
            part[is_null] = 0
        if len(part) and part.min() == _NAT:
            raise FrameError(
                f"column {self.name!r} holds the time {_NAT}, which pandas takes for a missing one",
                column=self.name,
                row=at + int(np.argmin(part)),
                hint='read it with dtype_backend="pyarrow"',
            )
        if is_null is not None:
            part[is_null] = _NAT

    def finish(self, n_rows: int) -> Any:
        self.values.resize(n_rows, refcheck=False)
        return self._zone.to_local(self.values, self.type.unit, self.name)


class _Chunks:
    """What stays Arrow, or is made of it in the end."""

    def __init__(self, field: pa.Field, dtype_backend: DtypeBackend, zone: _Zone) -> None:
        self._field = field
        self._backend = dtype_backend
        self._zone = zone
        self._chunks: list[pa.Array] = []

    def add(self, chunk: pa.Array, at: int) -> None:  # noqa: ARG002 - as the others take it
        self._chunks.append(chunk)

    def finish(self, n_rows: int) -> Any:  # noqa: ARG002
        kind = self._field.type
        column = pa.chunked_array(self._chunks, kind)
        if pa.types.is_timestamp(kind):
            column = self._zone.arrow_to_local(column, self._field.name)
        if self._backend == "numpy":
            return _dates(column) if pa.types.is_date(kind) else column.to_numpy()
        if self._backend != "pyarrow" and pa.types.is_string(kind):
            dtype: Any = _text_dtype() if self._backend is None else pd.StringDtype()
            return dtype.__from_arrow__(column)
        if self._backend == "numpy_nullable":
            return column.to_pandas().to_numpy()
        return pd.arrays.ArrowExtensionArray(column)


@lru_cache(maxsize=32)
def _labels(names: tuple[str, ...]) -> pd.Index:
    """Column labels; of a small frame they are what takes longest to make."""
    return pd.Index(names, dtype=str)


def _grow(array: npt.NDArray[Any], n_rows: int) -> npt.NDArray[Any]:
    """`array` with room for `n_rows`; the system moves pages of large ones, not their bytes."""
    if n_rows > len(array):
        array.resize(max(n_rows, int(len(array) * _GROWTH)), refcheck=False)
    return array


def _dates(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    days = column.cast(pa.int32())
    ticks = np.asarray(days.fill_null(0).to_numpy(), np.int64)
    ticks[days.is_null().to_numpy()] = _NAT
    return np.asarray(ticks.view("M8[D]"), "M8[s]")


def _text_dtype() -> Any:
    try:
        return pd.StringDtype("pyarrow", na_value=np.nan)
    except TypeError:  # pandas 2.2 knows the same by another name
        return pd.StringDtype("pyarrow_numpy")


def _column(field: pa.Field, dtype_backend: DtypeBackend, zone: _Zone, n_rows: int) -> _Column:
    kind = field.type
    if dtype_backend != "pyarrow":
        if pa.types.is_timestamp(kind):
            return _Times(field, zone, n_rows)
        if pa.types.is_floating(kind) and dtype_backend != "numpy_nullable":
            return _Floats(field, kind.to_pandas_dtype(), n_rows)
        if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind):
            values = _Complete if dtype_backend == "numpy" else _Values
            return values(field, kind.to_pandas_dtype(), n_rows)
    return _Chunks(field, dtype_backend, zone)
