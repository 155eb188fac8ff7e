"""`read`, the mirror of `write`: a device, a prefix of devices or a table as a frame."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import tzinfo
from functools import partial
from typing import Any, Literal, TypedDict, Unpack, overload

import pandas as pd

from iotdb_frames.client.connect import resolve_connection
from iotdb_frames.client.connection import Connection
from iotdb_frames.errors import OptionsError, QueryError
from iotdb_frames.options import hide_url
from iotdb_frames.reads.ask import check_ask
from iotdb_frames.reads.cursor import NO_MEMORY
from iotdb_frames.reads.form import Form, Returns
from iotdb_frames.reads.frames import DtypeBackend
from iotdb_frames.reads.run import open_reading
from iotdb_frames.reads.slices import can_slice, read_slices
from iotdb_frames.reads.sql import frames


class ReadArgs(TypedDict, total=False):
    """Options of `read` that do not decide what it returns, for type checkers."""

    columns: Sequence[str] | None
    start: Any
    end: Any
    where: Mapping[str, Any] | None
    every: Any
    agg: str | Mapping[str, str] | None
    fill: Any
    limit: int | None
    device: str | None
    wide: bool
    tz: str | tzinfo | None
    dtype_backend: DtypeBackend


@overload
def read(
    target: str,
    *,
    returns: Literal["pandas"] = ...,
    chunk_rows: None = ...,
    connection: Connection | str | None = ...,
    **options: Unpack[ReadArgs],
) -> pd.DataFrame: ...
@overload
def read(
    target: str,
    *,
    returns: Literal["pandas"] = ...,
    chunk_rows: int,
    connection: Connection | str | None = ...,
    **options: Unpack[ReadArgs],
) -> Iterator[pd.DataFrame]: ...
@overload
def read(
    target: str,
    *,
    returns: Returns,
    chunk_rows: int | None = ...,
    connection: Connection | str | None = ...,
    **options: Unpack[ReadArgs],
) -> Any: ...
def read(
    target: str,
    *,
    columns: Sequence[str] | None = None,
    start: Any = None,
    end: Any = None,
    where: Mapping[str, Any] | None = None,
    every: Any = None,
    agg: str | Mapping[str, str] | None = None,
    fill: Any = None,
    limit: int | None = None,
    device: str | None = None,
    wide: bool = False,
    returns: Returns = "pandas",
    tz: str | tzinfo | None = None,
    dtype_backend: DtypeBackend = None,
    chunk_rows: int | None = None,
    connection: Connection | str | None = None,
) -> Any:
    """What was written to a target, as a frame in the normal form, its index the time.

    Parameters
    ----------
    target : ``root.plant.press1``: a device, or, where that holds no series itself, all devices
        below it; ``root.plant.**``: all devices below; ``database.table``: a table, with its tags
    columns : measurements or fields, in this order; None: all (a device's by name, a table's as it
        was made)
    start, end : first time, and first that is left out; Timestamp, datetime, text or an integer
        tick of the server; naive ones are in the connection's `time_zone`
    where : conditions that all hold of a row: ``{"machine": ["a", "b"], "temp": (">", 20), "note":
        None}``: a value; a list: one of these; (operator, value): ``=  !=  <  <=  >  >=``; a list
        of those: all of them; None: missing, and ``("!=", None)``: not missing. The server looks,
        before it aggregates; of a missing value no comparison holds. Fields, tags and attributes
        of a table; in the tree model measurements, and of several devices the column that names
        them: ``{"device": ["press1", "press2"]}``, one or a list
    every : length of the windows to downsample to in the server, e.g. ``"1min"``; windows are
        aligned to 1970-01-01 in UTC and labelled by their first time; those without a value are
        left out
    agg : with `every`: mean, sum, min, max, first, last, count, std or var, one for all columns or
        one for each: ``{"temp": "mean", "state": "last"}``
    fill : with `every`: give every window from `start` to `end`, and fill those without a value
        with the "previous" one, "linear" between two, or a constant
    limit : at most so many rows; 0: only the columns and their types, also of an empty target
    device : label of the column that names each row's device below the target, as
        ``write(…, device=)`` takes it (tree model, several devices); None: ``device``
    wide : columns (device, measurement) and one row a time instead (tree model)
    returns : "pandas"; "arrow": an Arrow table; "polars": a Polars frame (extra ``[polars]``); in
        these two the time is a column like the others, called ``time``
    tz : zone of the times, its name or a ZoneInfo; None: naive, in the connection's `time_zone`
    dtype_backend, chunk_rows : see `read_sql`. Without `chunk_rows`, columns that the server has
        no memory to read at once are read in slices; rows written meanwhile may then be partial
    connection : a Connection or a URL; None: see `use`

    Returns
    -------
    DataFrame, or what `returns` says, or an iterator of them : rows in time order, per device where
        there are several; a frame's ``attrs["iotdb"]`` holds target, types and the server's unit

    Raises
    ------
    QueryError : an unknown path, table or column; QueryTimeout, PermissionDenied, ConnectionLost,
        OptionsError, FrameError, MissingExtraError
    """
    connection = hide_url(connection)
    conn = resolve_connection(connection)
    form = Form(returns=returns, tz=tz, dtype_backend=dtype_backend)
    ask = check_ask(
        conn,
        target,
        columns=columns,
        start=start,
        end=end,
        where=where,
        every=every,
        agg=agg,
        fill=fill,
        limit=limit,
        device=device,
        wide=wide,
        chunk_rows=chunk_rows,
    )
    if ask.wide and returns != "pandas":
        raise OptionsError(
            f"wide=True labels columns by device and measurement; returns={returns!r} has one text",
            hint="leave out one of the two",
        )
    try:
        reading = open_reading(conn, ask)
    except QueryError as exc:
        if exc.code != NO_MEMORY or chunk_rows is not None or not can_slice(ask):
            raise
        reading, table = read_slices(conn, ask, exc)
        return reading.finish(table, form)
    if chunk_rows is None:
        return reading.whole(form)
    return frames(reading.result, chunk_rows, partial(reading.some, form=form))
