"""SQL to frames: `query`, `execute`, `read_sql`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import tzinfo
from typing import Any, Literal, overload

import pandas as pd
import pyarrow as pa

from iotdb_frames.client.connect import resolve_connection
from iotdb_frames.client.connection import Connection
from iotdb_frames.codec.params import bind
from iotdb_frames.codec.statements import check_query, check_session
from iotdb_frames.codec.times import moment
from iotdb_frames.errors import LOOK, Hint, OptionsError, QueryError, raise_explained
from iotdb_frames.options import as_whole, check_choice, hide_url
from iotdb_frames.reads.cursor import MEMORY_WAIT_S, open_cursor
from iotdb_frames.reads.explain import explain
from iotdb_frames.reads.form import Form, Returns
from iotdb_frames.reads.frames import DtypeBackend
from iotdb_frames.reads.result import QueryResult
from iotdb_frames.wire.answers import Model

Params = Mapping[str, Any] | Sequence[Any] | None


def _bind(sql: str, params: Params, connection: Connection, model: Model) -> str:
    if not isinstance(sql, str) or not sql.strip():
        raise OptionsError(f"sql={sql!r} is not a statement")
    check_session(sql, model=model)

    def to_tick(value: Any) -> int:
        zone, precision = connection.options.time_zone, connection.server.precision
        return moment(value, name="parameter", zone=zone, precision=precision)

    return bind(sql, params, model=model, to_tick=to_tick)


def run_sql(
    connection: Connection,
    sql: str,
    *,
    model: Model,
    is_idempotent: bool = True,
    is_qualified: bool = False,
    memory_wait_s: float = MEMORY_WAIT_S,
) -> QueryResult | None:
    """Run a statement as it is; None where it has no result.

    Parameters
    ----------
    is_idempotent, is_qualified, memory_wait_s : see `open_cursor`

    Raises
    ------
    QueryError : with the place of a syntax error in `sql`; QueryTimeout, PermissionDenied,
        ConnectionLost
    """
    try:
        cursor = open_cursor(
            connection,
            sql,
            model=model,
            is_idempotent=is_idempotent,
            is_qualified=is_qualified,
            memory_wait_s=memory_wait_s,
        )
    except QueryError as exc:
        raise_explained(explain(exc, sql, model=model), exc)
    if cursor is None:
        return None
    return QueryResult(cursor, sql=sql, model=model, time_zone=connection.options.time_zone)


def run_query(
    connection: Connection, sql: str, *, model: Model, is_qualified: bool = True
) -> QueryResult:
    """Run a query as it is; parameters and errors as of `run_sql`."""
    result = run_sql(connection, sql, model=model, is_qualified=is_qualified)
    if result is None:
        raise QueryError(f"{sql!r} has no result")
    return result


def query(
    sql: str,
    *,
    params: Params = None,
    model: Model | None = None,
    connection: Connection | str | None = None,
) -> QueryResult:
    """Run a query; its rows are fetched as they are read.

    Parameters
    ----------
    sql : one query: SELECT (without INTO), WITH, SHOW, DESCRIBE, LIST, COUNT or EXPLAIN
    params : a mapping for places ``:name``, or a sequence for ``?``; quoted by type
    model : "tree" or "table"; None: "table" where the connection names a database
    connection : a Connection or a URL; None: see `use`

    Raises
    ------
    QueryError : the server's words and the place in `sql`; or no series is there to select from.
    QueryTimeout, PermissionDenied, ConnectionLost, OptionsError
    """
    connection = hide_url(connection)
    conn = resolve_connection(connection)
    model = check_model(model) or conn.default_model
    text = _bind(sql, params, conn, model)
    check_query(text, model=model)
    result = run_query(conn, text, model=model, is_qualified=False)
    if not len(result.schema) or (model == "tree" and result.schema.names == ["time"]):
        result.close()
        raise QueryError(
            "no series is there of what the statement selects",
            hint=Hint("look at what is there: ", LOOK),
        )
    return result


def execute(
    sql: str,
    *,
    params: Params = None,
    model: Model | None = None,
    connection: Connection | str | None = None,
) -> QueryResult | None:
    """Run any statement; a `QueryResult` where it has a result, else None.

    A statement that may have reached the server when
    the connection broke is not sent again. USE, SET SQL_DIALECT and prepared statements are
    refused: they would change one session of several.

    Parameters
    ----------
    sql : one statement
    params, model, connection : as of `query`

    Raises
    ------
    QueryError, QueryTimeout, PermissionDenied, ConnectionLost, OptionsError : as of `query`.
    """
    connection = hide_url(connection)
    conn = resolve_connection(connection)
    model = check_model(model) or conn.default_model
    return run_sql(conn, _bind(sql, params, conn, model), model=model, is_idempotent=False)


@overload
def read_sql(
    sql: str,
    *,
    params: Params = ...,
    model: Model | None = ...,
    returns: Literal["pandas"] = ...,
    dtype_backend: DtypeBackend = ...,
    tz: str | tzinfo | None = ...,
    chunk_rows: None = ...,
    connection: Connection | str | None = ...,
) -> pd.DataFrame: ...
@overload
def read_sql(
    sql: str,
    *,
    params: Params = ...,
    model: Model | None = ...,
    returns: Literal["pandas"] = ...,
    dtype_backend: DtypeBackend = ...,
    tz: str | tzinfo | None = ...,
    chunk_rows: int,
    connection: Connection | str | None = ...,
) -> Iterator[pd.DataFrame]: ...
@overload
def read_sql(
    sql: str,
    *,
    params: Params = ...,
    model: Model | None = ...,
    returns: Returns,
    dtype_backend: DtypeBackend = ...,
    tz: str | tzinfo | None = ...,
    chunk_rows: int | None = ...,
    connection: Connection | str | None = ...,
) -> Any: ...
def read_sql(
    sql: str,
    *,
    params: Params = None,
    model: Model | None = None,
    returns: Returns = "pandas",
    dtype_backend: DtypeBackend = None,
    tz: str | tzinfo | None = None,
    chunk_rows: int | None = None,
    connection: Connection | str | None = None,
) -> Any:
    """The result of a query as a frame in the normal form.

    The tree model's time, or the table model's column ``time``, is the index; other results have a
    RangeIndex. Labels are the server's, so that a tree frame of full paths can be written back.

    Parameters
    ----------
    sql, params, model, connection : see `query`
    returns : "pandas"; "arrow": an Arrow table; "polars": a Polars frame (extra ``[polars]``); in
        these two the time is a column like the others
    dtype_backend : of a frame of pandas. None: the normal form; "numpy_nullable": pandas' masked
        dtypes for all numbers and booleans, ``string``, objects for DATE and BLOB; "pyarrow": Arrow
        dtypes for all columns; "numpy": plain numpy, refused where that is not exact
    tz : zone of the times, its name or a ZoneInfo; None: naive, in the connection's `time_zone`
    chunk_rows : give an iterator of frames of so many rows instead, in flat memory

    Raises
    ------
    FrameError : a column that cannot be held exactly in what was asked for.
    QueryError, QueryTimeout, PermissionDenied, ConnectionLost, OptionsError, MissingExtraError
    """
    connection = hide_url(connection)
    if chunk_rows is not None:
        chunk_rows = as_whole("chunk_rows", chunk_rows)
    form = Form(returns=returns, tz=tz, dtype_backend=dtype_backend)
    result = query(sql, params=params, model=model, connection=connection)
    if chunk_rows is None:
        return whole(result, form)
    return frames(result, chunk_rows, lambda rows: _some(result, rows, form))


def whole(result: QueryResult, form: Form) -> Any:
    """All rows of a result in a form."""
    if form.returns == "pandas":
        return result.to_pandas(dtype_backend=form.dtype_backend, tz=form.tz)
    return _some(result, result.to_arrow(), form)


def _some(result: QueryResult, rows: pa.Table, form: Form) -> Any:
    return form.of(rows, index=result.time_column, time_zone=result.time_zone)


def frames(
    result: QueryResult, chunk_rows: int, to_frame: Callable[[pa.Table], Any]
) -> Iterator[Any]:
    """Frames of `chunk_rows` rows, the last of what is left; one without rows where there are none.

    To leave the loop early ends the query.
    """
    held: list[pa.RecordBatch] = []
    n_held = n_given = 0
    for batch in result.batches():
        at = 0
        while n_held + len(batch) - at >= chunk_rows:
            held.append(batch.slice(at, chunk_rows - n_held))
            at += chunk_rows - n_held
            yield to_frame(pa.Table.from_batches(held, schema=result.schema))
            n_given += 1
            held, n_held = [], 0
        held.append(batch.slice(at))
        n_held += len(batch) - at
    if n_held or not n_given:
        yield to_frame(pa.Table.from_batches(held, schema=result.schema))


def check_model(model: Any) -> Literal["tree", "table"] | None:
    """Raise unless `model` is None or one of the two."""
    check_choice("model", model, ("tree", "table"), is_optional=True)
    return model  # type: ignore[no-any-return]
