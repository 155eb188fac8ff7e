"""Sources of cells: one column of any dtype, sliced without copying it whole.

A numpy column stays numpy (a slice of a strided block is a view, in any byte order). Everything
else is Arrow: pandas' nullable, string, categorical and Arrow-backed columns convert without
copying, and an object column is converted slice by slice.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import repeat
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from iotdb_frames.codec.objects import SURROGATE, type_of_objects
from iotdb_frames.codec.types import REFUSED, kind_of, refuse
from iotdb_frames.errors import ColumnTypeError

Rows = slice | np.ndarray
_AT_ONCE = 1 << 18
"""Values that are looked at, or converted, at once."""


@dataclass(frozen=True)
class Source:
    """One column.

    label : its label in the frame
    dtype : as the user knows it, for messages
    type : the Arrow type equivalent to its dtype; for an object column, of all its values
    data : numpy array, shape (n_rows,), or pyarrow Array or ChunkedArray
    """

    label: Hashable
    dtype: str
    type: pa.DataType
    data: np.ndarray | pa.Array | pa.ChunkedArray = field(repr=False)
    _n_missing: dict[bool, int] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.data)

    def take(self, rows: Rows) -> np.ndarray | pa.Array:
        """Some of its values: a view for a slice, a copy for row positions (int, shape (n,))."""
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

    def n_missing(self, *, keep_nan: bool) -> int:
        """How many values are missing (see `is_missing`); they are looked through once."""
        if keep_nan not in self._n_missing:
            slices = (slice(start, start + _AT_ONCE) for start in range(0, len(self), _AT_ONCE))
            self._n_missing[keep_nan] = sum(self._missing_of(rows, keep_nan) for rows in slices)
        return self._n_missing[keep_nan]

    def _missing_of(self, rows: slice, keep_nan: bool) -> int:
        try:
            data = self.take(rows)
        except (pa.ArrowException, OverflowError, UnicodeError):  # which is a problem of the plan
            return int(np.count_nonzero(pd.isna(self.data[rows])))
        return int(np.count_nonzero(is_missing(data, keep_nan=keep_nan)))

    def is_known_whole(self, *, keep_nan: bool) -> bool:
        """Whether it was seen that no value is missing."""
        return self._n_missing.get(keep_nan) == 0

    def show(self, row: int) -> str:
        """One value as text, for an error; never fails."""
        value = self.take(slice(row, row + 1))[0]
        try:
            return str(value)
        except (ValueError, OverflowError):  # a time that Python's datetime cannot hold
            return str(value.value)

    def _object_to_arrow(self, values: np.ndarray) -> pa.Array:
        made = pa.array(values, type=self.type, from_pandas=True)
        if not pa.types.is_floating(self.type) or not made.null_count:
            return made
        # NaN may be a value, so it is distinguished from missing; Arrow makes both null.
        is_null = np.array(made.is_null())
        at = np.flatnonzero(is_null)
        is_float = map(isinstance, values[at], repeat((float, np.floating)))
        is_null[at] = ~np.fromiter(is_float, bool, len(at))
        floats = made.fill_null(np.nan).to_numpy()
        return pa.array(floats, type=self.type, mask=is_null)


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
        raise refuse(label, dtype, REFUSED[dtype.name.split("[")[0]])
    if isinstance(dtype, np.dtype):
        return from_numpy(column.to_numpy(), label)
    if isinstance(dtype, pd.CategoricalDtype):
        if dtype.categories is None or dtype.categories.empty:
            # No value, so no type: pandas versions differ in the dtype of no categories.
            return from_arrow(pa.nulls(len(column)), label, dtype="category")
        return from_arrow(_categorical(column, dtype.categories, label), label, dtype="category")
    if not hasattr(column.array, "__arrow_array__"):
        return from_numpy(np.asarray(column, dtype=object), label)
    try:
        array = pa.array(column.array)
    except UnicodeError as exc:
        raise refuse(label, dtype, SURROGATE) from exc
    return from_arrow(array, label, dtype=str(dtype))


def _categorical(
    column: pd.Series | pd.Index, categories: pd.Index, label: Hashable
) -> pa.DictionaryArray:
    try:
        kinds = from_pandas(categories, label).take(slice(0, len(categories)))
    except ColumnTypeError as exc:
        exc.row = None  # that of a category
        raise
    if isinstance(kinds, np.ndarray):
        kinds = pa.array(categories)
    codes = np.asarray(pd.Series(column).cat.codes)
    return pa.DictionaryArray.from_arrays(pa.array(codes, mask=codes < 0), kinds)


def from_arrow(
    data: pa.Array | pa.ChunkedArray, label: Hashable, dtype: str | None = None
) -> Source:
    """The source of an Arrow column; extension types are taken as their storage.

    Views and run-end encoded arrays become plain ones: few of Arrow's kernels accept them.
    """
    dtype = dtype or str(data.type)
    if isinstance(data.type, pa.ExtensionType):
        data = (
            pa.chunked_array([c.storage for c in data.chunks], type=data.type.storage_type)
            if isinstance(data, pa.ChunkedArray)
            else data.storage
        )
    if pa.types.is_run_end_encoded(data.type):
        try:
            data = pc.run_end_decode(data)
        except pa.ArrowNotImplementedError as exc:
            raise refuse(label, dtype, "decode its run-end encoding first") from exc
    if kind_of(data.type) == "string":
        try:  # a foreign buffer may not be UTF-8, and the server does not check
            data.validate()
            chunks = data.chunks if isinstance(data, pa.ChunkedArray) else [data]
            if not all(map(_is_utf8, chunks)):
                data.validate(full=True)
        except pa.ArrowInvalid as exc:
            raise refuse(label, dtype, f"it contains invalid text: {exc}") from exc
    if pa.types.is_dictionary(data.type):
        plain = _PLAIN.get(str(data.type.value_type))
        if plain is not None:
            data = data.cast(pa.dictionary(data.type.index_type, plain))
    elif (plain := _PLAIN.get(str(data.type))) is not None:
        try:
            data = data.cast(plain)
        except pa.ArrowNotImplementedError:  # pyarrow before 18 has no kernels for views
            data = pa.array(data.to_pylist(), plain)
    if isinstance(data, pa.ChunkedArray):
        data = data.chunk(0) if data.num_chunks == 1 else with_wide_codes(data)
    return Source(label, dtype, data.type, data)


def _is_utf8(texts: pa.Array) -> bool:
    """Whether texts are certainly UTF-8: their bytes are as a whole, and none starts mid-character.

    Checking each text takes Arrow twice as long; only that tells which bytes a null hides.
    """
    if not (pa.types.is_string(texts.type) or pa.types.is_large_string(texts.type)):
        return False
    offsets, data = binary_bytes(texts)
    if (offsets[1:] < offsets[:-1]).any():
        return False
    ends = pa.py_buffer(np.array([0, len(data)]))
    whole = pa.Array.from_buffers(pa.large_string(), 1, [None, ends, pa.py_buffer(data)])
    try:
        whole.validate(full=True)
    except pa.ArrowInvalid:
        return False
    begins = offsets[: np.searchsorted(offsets, len(data))]
    return not (data[begins] & 0xC0 == 0x80).any()


def with_wide_codes(data: pa.ChunkedArray) -> pa.ChunkedArray:
    """Dictionaries with 32-bit codes: those of all chunks together may not fit into 8 bits.

    Plain values if any dictionary contains a null.
    """
    kind = data.type
    if not pa.types.is_dictionary(kind):
        return data
    if any(chunk.dictionary.null_count for chunk in data.chunks):  # Arrow cannot join such
        return pa.chunked_array([chunk.dictionary_decode() for chunk in data.chunks])
    if kind.index_type.bit_width >= 32:
        return data
    return data.cast(pa.dictionary(pa.int32(), kind.value_type))


_PLAIN = {"string_view": pa.large_string(), "binary_view": pa.large_binary()}


def from_numpy(values: np.ndarray, label: Hashable) -> Source:
    """The source of a numpy column, including one of objects."""
    dtype = values.dtype
    if dtype.kind == "O":
        return Source(label, "object", type_of_objects(values, label), values)
    if dtype.kind == "c":
        raise refuse(label, dtype, REFUSED["complex"])
    if dtype.kind == "m":
        raise refuse(label, dtype, REFUSED["duration"])
    if dtype.kind in "SU":
        return from_numpy(values.astype(object), label)
    if dtype.kind == "M" and np.datetime_data(dtype)[0] not in ("s", "ms", "us", "ns"):
        return from_numpy(values.astype("M8[s]"), label)
    try:
        name, kind = _plain_type(dtype)
        return Source(label, name, kind, values)
    except (pa.ArrowNotImplementedError, TypeError):
        raise refuse(label, dtype, "convert it to a type of the docs' type table") from None


@lru_cache(64)
def _plain_type(dtype: np.dtype[Any]) -> tuple[str, pa.DataType]:
    """Name and Arrow type of a numpy dtype."""
    return str(dtype), pa.from_numpy_dtype(dtype.newbyteorder("="))


def is_missing(data: np.ndarray | pa.Array, *, keep_nan: bool = False) -> np.ndarray:
    """Which values are null or NaT, or NaN unless `keep_nan`; bool, shape (n,)."""
    if isinstance(data, np.ndarray):
        if data.dtype.kind == "f" and not keep_nan:
            return np.isnan(data)
        if data.dtype.kind == "M":
            return np.isnat(data)
        return np.zeros(len(data), bool)
    is_null = np.asarray(data.is_null()) if data.null_count else np.zeros(len(data), bool)
    if pa.types.is_floating(data.type) and not keep_nan:
        is_null = is_null | np.isnan(values_of(data, np.dtype(data.type.to_pandas_dtype())))
    return is_null


def values_of(data: pa.Array, dtype: np.dtype) -> np.ndarray:
    """The values buffer of a primitive Arrow array, undefined where null."""
    raw = data.buffers()[1]
    if raw is None:
        return np.zeros(len(data), dtype)
    return np.frombuffer(raw, dtype)[data.offset : data.offset + len(data)]


def binary_bytes(values: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Offsets (shape (n + 1,), from 0) and bytes (uint8) of an Arrow binary array.

    Offsets are int32, and int64 for a large array.
    """
    _, offsets, data = values.buffers()
    is_large = pa.types.is_large_string(values.type) or pa.types.is_large_binary(values.type)
    width = np.int64 if is_large else np.int32
    if offsets is None:
        return np.zeros(1, width), np.zeros(0, np.uint8)
    at = np.frombuffer(offsets, width)[values.offset : values.offset + len(values) + 1]
    raw = np.zeros(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)
    return at - at[0], raw[at[0] : at[-1]]
