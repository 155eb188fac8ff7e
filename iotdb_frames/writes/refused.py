"""Refused rows as Arrow tables: their own columns, where they were, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from iotdb_frames.codec.sources import Source
from iotdb_frames.writes.plan.labelled import labelled

OWN = (
    "refused_file",
    "refused_line",
    "refused_text",
    "refused_row",
    "refused_code",
    "refused_reason",
)
"""Columns that are ours, in their order."""


def with_reason(
    own: pa.Table | None, where: Mapping[str, pa.Array], *, reason: str, code: int | None
) -> pa.Table:
    """Rows with where they were, the server's code and the reason, which is the same for all."""
    columns: dict[str, Any] = {}
    if own is not None:
        for name, column in zip(own.column_names, own.columns, strict=True):
            columns[_free(name, columns)] = _plain(column)
    columns.update(where)
    n_rows = len(next(iter(columns.values()), ()))
    columns["refused_code"] = pa.array([code] * n_rows, pa.int32())
    columns["refused_reason"] = pa.array([reason] * n_rows, pa.string())
    return pa.table(columns)


def rows_of(data: Any, rows: np.ndarray) -> pa.Table:
    """Some rows (int, shape (n,)) of a frame that could be planned, with its index, as Arrow."""
    found = labelled(data, time="")  # an index is a column like any other here
    arrays: dict[str, pa.Array] = {}
    for label, source in {**found.index, **found.sources}.items():
        name = ".".join(map(str, label)) if isinstance(label, tuple) else str(label)
        arrays[_free("index" if label is None else name, arrays)] = _array(source, rows)
    return pa.table(arrays)


def _free(name: str, taken: Mapping[str, Any]) -> str:
    """The name, or one like it that neither another column nor we have."""
    while name in taken or name in OWN:
        name += "_"
    return name


def _array(source: Source, rows: np.ndarray) -> pa.Array:
    values = source.take(rows)
    if not isinstance(values, np.ndarray):
        return values
    native = np.ascontiguousarray(values, values.dtype.newbyteorder("="))
    array = pa.array(native)
    return array.cast(source.type) if array.type != source.type else array


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column in a type that Parquet has."""
    if pa.types.is_dictionary(column.type):
        return column.cast(column.type.value_type)
    if pa.types.is_decimal256(column.type):
        return column.cast(pa.string())
    return column
