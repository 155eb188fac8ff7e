"""What of the rows just read was not handed over before, and what of those is not there now."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc


def compare(rows: pa.Table, held: pa.Table, *, n_keys: int) -> tuple[pa.Table, pa.Table]:
    """The rows that are not in `held`, or are there with other values; and what only `held` has.

    Parameters
    ----------
    rows, held : time, `n_keys` columns that name a device, then values; a time and a device occur
        once. A value column that one of them lacks is all null there
    n_keys : where `held` had other keys, all rows are new, and nothing is comparable

    Returns
    -------
    new, gone : rows; and rows of `held`, as columns of `rows` and others
    """
    keys = rows.column_names[: 1 + n_keys]
    if held.column_names[: 1 + n_keys] != keys:
        return rows, held.slice(0, 0)
    places = _places(rows, held, 1 + n_keys)
    known = np.flatnonzero(places >= 0)
    before, after = held.take(pa.array(places[known])), rows.take(pa.array(known))
    differs = np.zeros(len(known), bool)
    for name in {*rows.column_names, *held.column_names} - set(keys):
        differs |= _differs(before, after, name)
    is_new = places < 0
    is_new[known[differs]] = True
    is_gone = np.ones(len(held), bool)
    is_gone[places[known]] = False
    return rows.filter(pa.array(is_new)), held.filter(pa.array(is_gone))


def together(rows: pa.Table, gone: pa.Table) -> pa.Table:
    """Rows, and those that are gone, in one table; without the latter where a type differs."""
    if not len(gone) or any(
        name in gone.column_names and gone.schema.field(name).type != kind
        for name, kind in zip(rows.column_names, rows.schema.types, strict=True)
    ):
        return rows
    return pa.concat_tables([rows, gone], promote_options="default")


def _places(rows: pa.Table, held: pa.Table, n_columns: int) -> npt.NDArray[np.int64]:
    """Where each row's first columns stand in `held`; -1 where they do not."""
    codes = np.zeros(len(rows) + len(held), np.int64)
    for i in range(n_columns):
        chunks = [*rows.column(i).chunks, *held.column(i).chunks]
        values = pa.chunked_array(chunks, rows.schema.field(i).type).combine_chunks()
        found = values.dictionary_encode(null_encoding="encode")
        more = found.indices.to_numpy().astype(np.int64)
        codes, _ = pd.factorize(codes * (len(found.dictionary) + 1) + more)
    places = np.full(codes.max(initial=-1) + 1, -1)
    places[codes[len(rows) :]] = np.arange(len(held))
    return places[codes[: len(rows)]]


def _differs(before: pa.Table, after: pa.Table, name: str) -> npt.NDArray[np.bool_]:
    """Whether a column's values differ in a bit: a NaN is like itself, and 0.0 is not like -0.0."""
    if name not in before.column_names or name not in after.column_names:
        there = after if name in after.column_names else before
        return np.asarray(there[name].is_valid().to_numpy())
    old, new = _bits(before[name]), _bits(after[name])
    if old.type != new.type:
        return np.ones(len(after), bool)
    is_same = pc.fill_null(pc.equal(old, new), False)
    both_null = pc.and_(pc.is_null(old), pc.is_null(new))
    return np.asarray(~pc.or_(is_same, both_null).to_numpy(zero_copy_only=False))


def _bits(column: pa.ChunkedArray) -> pa.Array:
    values = column.combine_chunks()
    if isinstance(values, pa.ChunkedArray):  # pyarrow < 17 leaves one of no chunks
        values = pa.array([], column.type)
    if pa.types.is_floating(values.type):
        return values.view(pa.int32() if values.type == pa.float32() else pa.int64())
    return values
