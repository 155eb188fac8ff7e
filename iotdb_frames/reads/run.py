"""What `read` runs, in both models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

import pyarrow as pa

from iotdb_frames.client.connection import Connection
from iotdb_frames.codec.names import split_path
from iotdb_frames.errors import LOOK, Hint, OptionsError, QueryError, ServerError, nearest
from iotdb_frames.reads.ask import Ask
from iotdb_frames.reads.ends import ends_of
from iotdb_frames.reads.result import QueryResult
from iotdb_frames.reads.select import (
    ARITHMETIC,
    Windows,
    table_range_sql,
    table_sql,
    tree_sql,
)
from iotdb_frames.reads.shape import Reading
from iotdb_frames.reads.sql import run_query
from iotdb_frames.writes.schema.nearby import measurements_at, nearest_path, no_table

_NO_TABLE = (500, 550)
"""Codes of a database and a table that are not there."""
_NO_SERIES = 508
"""The code of a path that is not there; a SELECT of one has no columns instead."""
NOT_THERE = frozenset({_NO_SERIES, *_NO_TABLE})
"""Codes of the errors of `open_reading` for a target that does not exist."""
_NUMBERS = frozenset({"INT32", "INT64", "FLOAT", "DOUBLE"})


def _run(connection: Connection, sql: str, ask: Ask) -> QueryResult:
    return run_query(connection, sql, model=ask.target.model)


def _read_tree(connection: Connection, ask: Ask) -> Reading:
    base = ask.target.path
    if ask.pattern is None and ask.device is None and not ask.wide:
        reading = _read_paths(connection, ask, base, by_device=False)
        if reading is not None:
            return reading
    try:
        reading = _read_paths(connection, ask.of_devices(), ask.paths, by_device=True)
    except QueryError as exc:
        if "data types of the same measurement" not in exc.message:
            raise
        raise QueryError(
            f"devices below {base} have a measurement in different types",
            code=exc.code,
            hint="name columns= that agree, or read the devices one by one",
        ) from exc
    if reading is None:
        raise _no_series(connection, ask)
    return reading


def _no_series(connection: Connection, ask: Ask) -> QueryError:
    """The error of a read that finds no series, with what looks like those that were meant."""
    at = ask.target.path if ask.chosen is None else ask.paths
    of = f" {', '.join(ask.columns)}" if ask.columns else ""
    hint: str | None = None
    with suppress(ServerError):  # without the right to look
        is_many = ask.pattern is not None or ask.device is not None or ask.wide
        there = measurements_at(connection, ask.paths if is_many else ask.target.path)
        if there and ask.columns:
            hint = nearest(ask.columns[0], there)
        elif not there:
            hint = nearest_path(connection, ask.target)
    return QueryError(
        f"there is no series{of} at {at}",
        code=_NO_SERIES,
        hint=hint or Hint("look at what is there: ", LOOK),
    )


def _read_paths(connection: Connection, ask: Ask, paths: str, *, by_device: bool) -> Reading | None:
    """The rows of a device, or of the devices a pattern matches; None where there is no series."""
    windows, columns = None, ask.columns
    others = [] if columns is None else [name for name in ask.where if name not in columns]
    is_checked = bool(others) or ask.every is not None
    if is_checked:
        # A probe: windows want names, and their functions certain types; and of what a condition
        # names and no device has, the server says nothing.
        asked = None if columns is None else [*columns, *others]
        probe = _run(
            connection,
            tree_sql(paths, columns=asked, start=0, end=0, by_device=by_device),
            ask,
        )
        probe.close()
        found = _measurements(probe, by_device)
        if not found:
            return None
        _check_columns(ask, found)
    if ask.every is not None:
        columns = columns or tuple(sorted(found))
        words = _words(
            ask, columns, {name: probe.header.type_names[i] for name, i in found.items()}
        )
        windows = _tree_windows(connection, ask, columns, words, by_device)
    sql = tree_sql(
        paths,
        columns=columns,
        start=ask.start,
        end=ask.end,
        where=ask.conditions,
        limit=ask.sql_limit,
        by_device=by_device,
        windows=windows,
        precision=ask.precision,
    )
    result = _run(connection, sql, ask)
    n_keys = int(by_device)
    if windows is not None:
        places = range(n_keys, n_keys + len(columns or ()))
        found = dict(zip(columns or (), places, strict=True))
    else:
        found = _measurements(result, by_device)
        if not found:
            result.close()
            return None
        try:
            if not is_checked:
                _check_columns(ask, found)
        except QueryError:
            result.close()
            raise
    names = list(ask.columns or sorted(found))
    label = ask.label
    if by_device and label in names:
        result.close()
        raise OptionsError(
            f"there is a measurement {label!r}", hint="name the device column otherwise: device="
        )
    keys = [label] * n_keys
    return Reading(
        result=result,
        ask=ask,
        places=[0, *range(1, 1 + n_keys), *(1 + found[name] for name in names)],
        names=["time", *keys, *names],
        n_keys=n_keys,
        base=ask.target.path if by_device else None,
        windows=windows,
    )


def _measurements(result: QueryResult, by_device: bool) -> dict[str, int]:
    """Raw measurement names of a tree result and their positions, without the time."""
    labels = list(enumerate(result.header.names))[int(by_device) :]
    return {split_path(label)[-1]: i for i, label in labels}


def _check_columns(ask: Ask, found: Iterable[str]) -> None:
    there = set(found)
    missing = [name for name in (*(ask.columns or ()), *ask.where) if name not in there]
    if not missing:
        return
    hint = nearest(missing[0], sorted(there))
    if missing[0] == "time":
        hint = "start= and end= bound the times"
    elif missing[0] in ask.where and ask.target.model == "tree":
        others = f"; {hint}" if hint and ask.columns is None else ""
        hint = f"the tree model has no tags: the target names its devices{others}"
    raise QueryError(f"{ask.target} has no {', '.join(map(repr, missing))}", hint=hint)


def _words(ask: Ask, names: Sequence[str], types: Mapping[str, str]) -> list[str]:
    """The aggregate of each column; raises where its type has none such."""
    words = [ask.word_of(name) for name in names]
    for name, word in zip(names, words, strict=True):
        if word in ARITHMETIC and types[name] not in _NUMBERS:
            raise OptionsError(
                f"{word} is for numbers, and {name!r} is {types[name]}",
                hint='name columns=, or one word each: agg={"temp": "mean", "state": "last"}',
            )
    return words


def _align(ask: Ask, first: int | None, last: int | None, words: Sequence[str]) -> Windows:
    """Windows over the range asked for, or over what is there."""
    every = ask.every or 1
    start = ask.start if ask.start is not None else first
    end = ask.end if ask.end is not None else None if last is None else last + 1
    if start is None or end is None or end <= start:
        start, end = 0, 1  # nothing is there: one window, which will be left out
    return Windows(
        every=every,
        first=start // every * every,
        end=-(-end // every) * every,
        words=words,
    )


def _tree_windows(
    connection: Connection,
    ask: Ask,
    columns: Sequence[str],
    words: Sequence[str],
    by_device: bool,
) -> Windows:
    first = last = None
    if ask.start is None or ask.end is None:
        lows, tops = ends_of(connection, ask, columns, by_device=by_device)
        first, last = min(lows, default=None), max(tops, default=None)
    return _align(ask, first, last, words)


def _read_table(connection: Connection, ask: Ask) -> Reading:
    try:
        described = _run(connection, f"DESC {ask.target.sql}", ask).to_arrow().to_pydict()
    except QueryError as exc:
        if exc.code not in _NO_TABLE:
            raise
        raise no_table(connection, ask.target, code=exc.code) from exc
    categories = dict(zip(described["ColumnName"], described["Category"], strict=True))
    types = dict(zip(described["ColumnName"], described["DataType"], strict=True))
    (time,) = (name for name, category in categories.items() if category == "TIME")
    tags = [name for name, category in categories.items() if category == "TAG"]
    kinds = ("FIELD",) if ask.every is not None else ("ATTRIBUTE", "FIELD")
    _check_columns(ask, categories)
    if time in ask.where:
        raise OptionsError(f"where= of {time!r}, the time", hint="start= and end= bound the times")
    columns = [
        name
        for name in ask.columns or [name for name, kind in categories.items() if kind in kinds]
        if name not in tags and name != time
    ]
    windows = None
    if ask.every is not None:
        if not columns:
            raise OptionsError("no column is left to aggregate", hint="columns= of fields")
        words = _words(ask, columns, types)
        first = last = None
        if ask.fill is not None and (ask.start is None or ask.end is None):
            sql = table_range_sql(
                ask.target, time=time, start=ask.start, end=ask.end, where=ask.conditions
            )
            found = _run(connection, sql, ask).to_arrow()
            first, last = (found.column(i)[0].cast(pa.int64()).as_py() for i in (0, 1))
        windows = _align(ask, first, last, words)
    sql = table_sql(
        ask.target,
        tags=tags,
        columns=columns,
        time=time,
        start=ask.start,
        end=ask.end,
        where=ask.conditions,
        limit=ask.sql_limit,
        windows=windows,
        precision=ask.precision,
    )
    return Reading(
        result=_run(connection, sql, ask),
        ask=ask,
        places=range(1 + len(tags) + len(columns)),
        names=["time", *tags, *columns],
        n_keys=len(tags),
        attributes=[name for name in columns if categories[name] == "ATTRIBUTE"],
        windows=windows,
    )


def open_reading(connection: Connection, ask: Ask) -> Reading:
    """Run what `ask` says.

    Raises
    ------
    QueryError : an unknown path, table or column; OptionsError : an aggregate its type has not.
    """
    if ask.target.model == "table":
        return _read_table(connection, ask)
    return _read_tree(connection, ask)
