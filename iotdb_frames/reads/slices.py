"""A read that is wider than the server has memory for: by slices of its columns, joined here.

The server refuses a query (719) whose columns together need more memory than is free. Slices are
read one after the other, all up to the same end, and joined on device and time. Rows that are
written meanwhile may therefore be partial.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from iotdb_frames.client.connection import Connection
from iotdb_frames.codec.names import split_path
from iotdb_frames.errors import QueryError
from iotdb_frames.reads.ask import Ask
from iotdb_frames.reads.cursor import NO_MEMORY
from iotdb_frames.reads.run import open_reading
from iotdb_frames.reads.select import tree_range_sql
from iotdb_frames.reads.shape import Reading
from iotdb_frames.reads.sql import run_query

_ESTIMATE = re.compile(r"free memory is (\d+)B, .* is (\d+)B")


def can_slice(ask: Ask) -> bool:
    """Whether a read can be put together of slices: rows as they are stored, of the tree model."""
    is_plain = ask.every is None and not ask.wide and ask.chosen is None
    return ask.target.model == "tree" and is_plain


def read_slices(connection: Connection, ask: Ask, refusal: QueryError) -> tuple[Reading, pa.Table]:
    """What `ask` asks for, slice by slice.

    Parameters
    ----------
    refusal : why it could not be read at once

    Returns
    -------
    reading, table : of the first slice, with the names and types of all; and the joined rows

    Raises
    ------
    QueryError : one column is too much already; or as of `open_reading`.
    """
    paths, names = _names_there(connection, ask)
    if len(names) < 2:
        raise refusal
    n_first = _first_size(len(names), refusal)
    if ask.end is None:
        ask = replace(ask, end=_newest(connection, ask, paths, names, n_first) + 1)
    slices = list(_read(connection, ask, names, n_first))
    readings = [reading for reading, _ in slices]
    n_keys = readings[0].n_keys
    joined = _join([table for _, table in slices], n_keys=1 + n_keys)
    if ask.limit is not None:
        joined = joined.slice(0, ask.limit)
    types = {name: kind for reading in readings for name, kind in reading.types.items()}
    return replace(readings[0], names=joined.column_names, all_types=types), joined


def _names_there(connection: Connection, ask: Ask) -> tuple[str, Sequence[str]]:
    """The path or pattern that is read, and the measurements that it has, or those asked for."""
    base = ask.target.path
    is_prefix = ask.pattern is not None or ask.device is not None
    for path in [f"{base}.{ask.pattern or '**'}"] if is_prefix else [base, f"{base}.**"]:
        pattern = path if path.endswith("**") else f"{path}.*"
        found = run_query(connection, f"SHOW TIMESERIES {pattern}", model="tree").to_arrow()
        series = found["Timeseries"].to_pylist()
        if series:
            there = sorted({split_path(name)[-1] for name in series})
            return path, ask.columns or there
    return base, ()


def _first_size(n_columns: int, refusal: QueryError) -> int:
    """Columns per slice, by what the server said of its memory; half of them where it did not."""
    estimate = _ESTIMATE.search(refusal.message)
    if estimate is None:
        return n_columns // 2
    free, needed = map(int, estimate.groups())
    return max(1, min(n_columns // 2, n_columns * free // (2 * needed)))


def _slices(names: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for i in range(0, len(names), size):
        yield names[i : i + size]


def _newest(connection: Connection, ask: Ask, paths: str, names: Sequence[str], size: int) -> int:
    """The tick of the newest row; the start where there is none."""
    newest = ask.start or 0
    by_device = "*" in paths
    for part in _slices(names, size):
        sql = tree_range_sql(
            paths,
            columns=part,
            start=ask.start,
            end=None,
            where=ask.conditions,
            by_device=by_device,
        )
        ticks = run_query(connection, sql, model="tree").to_arrow().columns[int(by_device) :]
        tops = (pc.max(column).as_py() for column in ticks[len(ticks) // 2 :])
        newest = max(newest, *(top for top in tops if top is not None), newest)
    return newest


def _read(
    connection: Connection, ask: Ask, names: Sequence[str], size: int
) -> Iterator[tuple[Reading, pa.Table]]:
    for part in _slices(names, size):
        try:
            reading = open_reading(connection, replace(ask, columns=tuple(part)))
        except QueryError as exc:
            if exc.code != NO_MEMORY or len(part) == 1:
                raise
            yield from _read(connection, ask, part, -(-len(part) // 2))
        else:
            yield reading, reading.pick(reading.result.to_arrow())


def _join(tables: Sequence[pa.Table], *, n_keys: int) -> pa.Table:
    """An outer join on the first columns, time and devices; ascending by device, then time."""
    codes = np.zeros(sum(table.num_rows for table in tables), np.int64)
    for i in reversed(range(n_keys)):  # the device counts more than the time
        chunks = [chunk for table in tables for chunk in table.column(i).chunks]
        values = pa.chunked_array(chunks, tables[0].schema.field(i).type)
        if pa.types.is_timestamp(values.type):
            plain = values.cast(pa.int64()).to_numpy()
        else:
            plain = values.to_numpy().astype(object)
        levels, ranks = np.unique(plain, return_inverse=True)
        _, codes = np.unique(codes * len(levels) + ranks, return_inverse=True)
    _, firsts = np.unique(codes, return_index=True)
    n_rows = len(firsts)
    every = pa.concat_tables([table.select(range(n_keys)) for table in tables])
    columns, names, at = every.take(pa.array(firsts)).columns, every.column_names, 0
    for table in tables:
        places = np.full(n_rows, -1)
        places[codes[at : at + table.num_rows]] = np.arange(table.num_rows)
        at += table.num_rows
        taken = pa.array(places, mask=places < 0)
        columns += [table.column(i).take(taken) for i in range(n_keys, table.num_columns)]
        names += table.column_names[n_keys:]
    return pa.table(columns, names=names)
