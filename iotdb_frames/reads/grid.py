"""Windows without gaps: one row a group and window, and what stands in those without a value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from iotdb_frames.errors import OptionsError, did_you_mean

Ints = npt.NDArray[np.int64]


def fill_windows(
    table: pa.Table,
    *,
    keys: Sequence[int],
    first: int,
    every: int,
    n_windows: int,
    fill: Any,
) -> pa.Table:
    """All windows of each group, in its order.

    Parameters
    ----------
    table : column 0 the windows' first times; rows of one group together, ascending
    keys : positions of the columns that name the group
    first, every, n_windows : first window and length in ticks, number of windows
    fill : "previous", "linear" (between two values; floating columns only), or a constant

    Returns
    -------
    pyarrow.Table, n_groups × n_windows rows; missing where there is nothing to fill from

    Raises
    ------
    OptionsError : a column that cannot be filled that way.
    """
    code = _group_codes([table.column(i) for i in keys], table.num_rows)
    n_groups = int(code[-1]) + 1 if len(code) else 0
    window = (table.column(0).cast(pa.int64()).to_numpy() - first) // every
    row_of = np.full((n_groups, n_windows), -1, np.int64)
    row_of[code, window] = np.arange(table.num_rows)
    times = np.tile(first + every * np.arange(n_windows, dtype=np.int64), n_groups)
    columns = [pa.array(times).cast(table.schema.field(0).type)]
    first_row = np.searchsorted(code, np.arange(n_groups))
    for i in range(1, table.num_columns):
        column = table.column(i).combine_chunks()
        if i in keys:
            columns.append(column.take(pa.array(np.repeat(first_row, n_windows))))
        else:
            columns.append(_fill(column, row_of, fill, table.schema.field(i).name))
    return pa.Table.from_arrays(columns, schema=table.schema)


def _group_codes(keys: Sequence[pa.ChunkedArray], n_rows: int) -> Ints:
    """Number of each row's group, counted where a key differs from the row before."""
    is_new = np.zeros(n_rows, bool)
    for key in keys:
        codes = pc.fill_null(key.combine_chunks().dictionary_encode().indices, -1).to_numpy()
        is_new[1:] |= codes[1:] != codes[:-1]
    return np.cumsum(is_new)


def _fill(column: pa.Array, row_of: Ints, fill: Any, name: str) -> pa.Array:
    is_valid = column.is_valid().to_numpy(zero_copy_only=False)
    has_value = row_of >= 0
    has_value[has_value] = is_valid[row_of[has_value]]
    word = fill if isinstance(fill, str) else None
    if word == "linear":
        if not pa.types.is_floating(column.type):
            raise OptionsError(
                f'fill="linear" cannot fill {name!r}, which is {column.type}',
                hint='columns= of numbers with agg="mean", or fill="previous"',
            )
        return _interpolate(column, row_of, has_value)
    rows = np.where(has_value, row_of, -1)
    if word == "previous":
        at = np.where(has_value, np.arange(row_of.shape[1]), -1)
        np.maximum.accumulate(at, axis=1, out=at)
        rows = np.where(at < 0, -1, np.take_along_axis(row_of, np.maximum(at, 0), axis=1))
    flat = rows.ravel()
    taken = column.take(pa.array(flat, mask=flat < 0))
    if word == "previous":
        return taken
    return taken.fill_null(_constant(fill, column.type, name))


def _constant(fill: Any, kind: pa.DataType, name: str) -> pa.Scalar:
    hint = 'a constant of its type, fill="previous", or columns= of one type'
    if isinstance(fill, str):
        hint = did_you_mean(fill, ("linear", "previous")) or hint
    try:
        value = pa.scalar(fill, kind)
    except (ValueError, TypeError, OverflowError, pa.ArrowNotImplementedError) as exc:
        raise OptionsError(
            f"fill={fill!r} cannot stand in {name!r}, which is {kind}", hint=hint
        ) from exc
    # Arrow cuts the fraction of a float without a word.
    if not value.is_valid or (pa.types.is_integer(kind) and value.as_py() != fill):
        raise OptionsError(f"fill={fill!r} cannot stand in {name!r}, which is {kind}", hint=hint)
    return value


def _interpolate(column: pa.Array, row_of: Ints, has_value: npt.NDArray[np.bool_]) -> pa.Array:
    values = column.fill_null(0.0).to_numpy()
    place = np.arange(row_of.shape[1])
    before = np.maximum.accumulate(np.where(has_value, place, -1), axis=1)
    n = row_of.shape[1]
    after = np.minimum.accumulate(np.where(has_value, place, n)[:, ::-1], axis=1)[:, ::-1]
    is_between = (before >= 0) & (after < n)
    left = np.take_along_axis(row_of, np.maximum(before, 0), axis=1)
    right = np.take_along_axis(row_of, np.minimum(after, n - 1), axis=1)
    if not len(values):
        return pa.nulls(row_of.size, column.type)
    low, high = values[left], values[right]
    share = (place - before) / np.maximum(after - before, 1)
    mixed = np.where(has_value, low, low + (high - low) * share).astype(values.dtype)
    return pa.array(mixed.ravel(), mask=~is_between.ravel())
