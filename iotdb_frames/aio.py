"""`read`, `query`, `execute` and `write` as coroutines: the same calls, without blocking the loop.

::

    from iotdb_frames import aio

    frame = await aio.read("root.plant.press1", start="2026-01-01")
    report = await aio.write(frame, "root.plant.press1")
    async with await aio.query("SELECT * FROM root.plant.press1") as result:
        async for batch in result.batches():
            ...
    frames = await aio.read("root.plant.press1", chunk_rows=10_000)
    async with contextlib.aclosing(frames):  # to leave the loop early ends the query
        async for frame in frames:
            ...

Each call runs in a thread of its own, at most `pool_size` per connection at once; the others wait
in the event loop, in order. (Open results have sessions, too: close them.) Those of several
connections, and the sink's own (``async with IoTDBSink(…)``), do not wait for each other.

**Cancelled**, by ``task.cancel()``, ``asyncio.timeout`` or a TaskGroup, a call ends where it waits
for the server, and the coroutine ends once it has: a query no longer runs in the server, and its
session is free. A write sends nothing more. What was acknowledged is stored, what was on its way is
in doubt, the rest is not stored; with ``replace=True``, what stood in the rows' time range may be
deleted already. The ``__cause__`` of the CancelledError has the `WriteReport` as its ``report``,
which names the chunks in doubt; to write the same frame again is always right.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator
from datetime import tzinfo
from functools import partial
from types import TracebackType
from typing import Any, Literal, TypeVar, Unpack, overload

import pandas as pd
import pyarrow as pa

from iotdb_frames.client.connect import resolve_connection
from iotdb_frames.client.connection import Connection
from iotdb_frames.client.coroutines import each, in_thread, on_session
from iotdb_frames.options import WriteArgs, hide_url, show_as
from iotdb_frames.reads.form import Returns
from iotdb_frames.reads.frames import DtypeBackend
from iotdb_frames.reads.read import ReadArgs
from iotdb_frames.reads.read import read as sync_read
from iotdb_frames.reads.result import QueryResult
from iotdb_frames.reads.sql import Params
from iotdb_frames.reads.sql import execute as sync_execute
from iotdb_frames.reads.sql import query as sync_query
from iotdb_frames.wire.answers import Model
from iotdb_frames.writes.report import WriteReport
from iotdb_frames.writes.writer import write as sync_write

T = TypeVar("T")

__all__ = ["AsyncResult", "execute", "query", "read", "write"]


class AsyncResult:
    """What `query` gives: a `QueryResult` whose rows are waited for without blocking the loop.

    A context manager; until the last row is read, or it is closed, it holds a session.
    """

    def __init__(self, result: QueryResult) -> None:
        self._result = result

    def __repr__(self) -> str:
        return repr(self._result)

    def _repr_html_(self) -> str:
        return self._result._repr_html_()

    @property
    def schema(self) -> pa.Schema:
        """As `QueryResult.schema`."""
        return self._result.schema

    def batches(self) -> AsyncIterator[pa.RecordBatch]:
        """As `QueryResult.batches`."""
        return each(self._result.batches())

    async def to_arrow(self) -> pa.Table:
        """As `QueryResult.to_arrow`."""
        return await in_thread(self._result.to_arrow)

    async def to_pandas(
        self, *, dtype_backend: DtypeBackend = None, tz: str | tzinfo | None = None
    ) -> pd.DataFrame:
        """As `QueryResult.to_pandas`."""
        to_pandas = partial(self._result.to_pandas, dtype_backend=dtype_backend, tz=tz)
        return await in_thread(to_pandas)

    async def to_polars(self) -> Any:
        """As `QueryResult.to_polars`."""
        return await in_thread(self._result.to_polars)

    async def cancel(self) -> None:
        """As `QueryResult.cancel`."""
        await in_thread(self._result.cancel)

    async def close(self) -> None:
        """As `QueryResult.close`."""
        await in_thread(self._result.close)

    async def __aenter__(self) -> AsyncResult:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.close()


@overload
async def read(
    target: str,
    *,
    returns: Literal["pandas"] = ...,
    chunk_rows: None = ...,
    connection: Connection | str | None = ...,
    **options: Unpack[ReadArgs],
) -> pd.DataFrame: ...
@overload
async def read(
    target: str,
    *,
    returns: Literal["pandas"] = ...,
    chunk_rows: int,
    connection: Connection | str | None = ...,
    **options: Unpack[ReadArgs],
) -> AsyncIterator[pd.DataFrame]: ...
@overload
async def read(
    target: str,
    *,
    returns: Returns,
    chunk_rows: int | None = ...,
    connection: Connection | str | None = ...,
    **options: Unpack[ReadArgs],
) -> Any: ...
@show_as(sync_read)
async def read(target: str, *, connection: Connection | str | None = None, **options: Any) -> Any:
    """Read as `iotdb_frames.read` does; with `chunk_rows` its iterator is an asynchronous one."""
    connection = hide_url(connection)
    found = await _call(sync_read, target, connection=connection, **options)
    return each(found) if isinstance(found, Generator) else found


@show_as(sync_query)
async def query(
    sql: str,
    *,
    params: Params = None,
    model: Model | None = None,
    connection: Connection | str | None = None,
) -> AsyncResult:
    """Run a query as `iotdb_frames.query` does; its rows are fetched as they are read."""
    connection = hide_url(connection)
    found = await _call(sync_query, sql, params=params, model=model, connection=connection)
    return AsyncResult(found)


@show_as(sync_query)
async def execute(
    sql: str,
    *,
    params: Params = None,
    model: Model | None = None,
    connection: Connection | str | None = None,
) -> AsyncResult | None:
    """Run any statement as `iotdb_frames.execute` does; None where it has no result."""
    connection = hide_url(connection)
    found = await _call(sync_execute, sql, params=params, model=model, connection=connection)
    return None if found is None else AsyncResult(found)


@show_as(sync_write)
async def write(
    data: Any,
    target: str,
    *,
    connection: Connection | str | None = None,
    **options: Unpack[WriteArgs],
) -> WriteReport:
    """Write as `iotdb_frames.write` does; see this module for what a cancelled one leaves."""
    connection = hide_url(connection)
    return await _call(sync_write, data, target, connection=connection, **options)


async def _call(
    call: Callable[..., T], *args: Any, connection: Connection | str | None = None, **options: Any
) -> T:
    """A call on a session of its connection."""
    connection = resolve_connection(hide_url(connection))
    return await on_session(connection, partial(call, *args, connection=connection, **options))
