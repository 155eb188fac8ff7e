"""One query on a session lent by the pool: open it, fetch its blocks, end it whatever happens.

- The next fetch is asked for before the last one is handed out, so that the server works while it
  is decoded. No thread does that: with one, wide results came slower than without any overlap.
- A server ends the queries of a connection that goes away; but while it computes, it does not
  look. Such a query is killed from another session. It is found by its time limit, the only thing
  of ours that SHOW QUERIES shows, so each query gets a limit of its own.
- That limit is the life of the query, fetches and the pauses between them included, so it is long.
  The wait for one answer is limited by the connection's `timeout_s`.

Source: observed on IoTDB 2.0.10.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from iotdb_frames.client.connection import Connection
from iotdb_frames.clock import CLOCK, Clock
from iotdb_frames.codec.quotes import quote_string
from iotdb_frames.codec.tsblock import Precision, decode_blocks
from iotdb_frames.errors import (
    ConnectionLost,
    PermissionDenied,
    QueryError,
    QueryTimeout,
    ServerError,
)
from iotdb_frames.options import NO_RETRY
from iotdb_frames.wire.answers import Model, ResultHeader
from iotdb_frames.wire.rpc import Session
from iotdb_frames.writes.schema.look import query_table

T = TypeVar("T")

_LIFE_MS = 7 * 86_400_000
_KILL_TIMEOUT_S = 5.0
_INTERRUPT_S = 1.0
"""Limits of ending a query from another session; who presses Ctrl-C does not wait long."""
_DRAIN_WAIT_S = 0.05
NO_MEMORY = 719
"""The code of a query that the server has no memory for: now, or at all."""
MEMORY_WAIT_S = 3.0
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.05, 0.8


class Cursor:
    """The blocks of one query, a fetch at a time; made by `open_cursor`.

    It lends a session until the last fetch is there, it is closed or it fails.

    Parameters
    ----------
    is_idempotent, is_qualified, memory_wait_s : see `open_cursor`

    Attributes
    ----------
    header : names and types
    precision : the server's unit of time
    n_rows : rows handed out, counted by whoever decodes them
    n_least : the most that were, in the runs before
    """

    header: ResultHeader
    precision: Precision

    def __init__(
        self,
        connection: Connection,
        sql: str,
        *,
        model: Model,
        is_idempotent: bool,
        is_qualified: bool,
        memory_wait_s: float,
    ) -> None:
        self.n_rows = self.n_least = 0
        self._connection = connection
        self._pool = connection.pool(model)
        self._sql = sql
        self._model = model
        self._is_idempotent = is_idempotent
        self._is_qualified = is_qualified
        self._memory_wait_s = memory_wait_s
        self._session: Session | None = None
        self._query_id = 0
        self._life_ms = 0
        self._lock = threading.Lock()
        self._is_first = True
        self._is_asked = False
        self._is_cancelled = False

    def start(self) -> bool:
        """Run the statement; whether it has a result. Errors, at the first try, are those of
        `open_cursor`."""
        limit_s = self._memory_wait_s if self._is_idempotent else 0.0
        return wait_for_memory(self._start, limit_s=limit_s, clock=self._connection.clock)

    def _start(self) -> bool:
        self._life_ms = _LIFE_MS + secrets.randbelow(100_000_000)
        self.n_least, self.n_rows = max(self.n_least, self.n_rows), 0
        session = self._session = self._pool.take()
        self._is_first = self._is_asked = True
        header = self._talk(
            lambda session: session.execute(
                self._sql, timeout_s=self._life_ms / 1000, is_qualified=self._is_qualified
            )
        )
        self._is_asked = False
        if header is not None:
            self.header, self._query_id = header, header.query_id
            self.precision = session.info.precision
        if header is None or not header.has_more:
            self.close()
        return header is not None

    def try_again(self, read: Callable[[], T], lost: ServerError) -> T:
        """Run this query again and call `read`, after a read that was lost, on a single node.

        That read counts as the first attempt of the connection's `retry`, whose time begins now,
        for a read may last longer than any outage. A cluster that lost a node may answer short,
        with 200, for as long as it is away and a while after; no statement tells whether it does.

        Raises
        ------
        lost : it is nothing that passes, the statement may not be run twice, or it is a cluster, or
            may be one.
        """
        connection, failed = self._connection, [lost]
        if not self._is_idempotent or len(connection.options.hosts) > 1:
            raise lost

        def attempt() -> T:
            if failed:
                raise failed.pop()
            if not _is_alone(connection):
                raise ConnectionLost(lost.message, was_sent=True, may_pass=False, hint=lost.hint)
            if not self.start():
                raise lost
            return read()

        return connection.try_again(attempt, is_idempotent=True)

    @property
    def is_open(self) -> bool:
        """Whether the server still holds the query."""
        return self._session is not None

    def next_blocks(self) -> tuple[bytes, ...] | None:
        """The blocks of the next fetch; None behind the last.

        Raises
        ------
        ConnectionLost, QueryTimeout, QueryError : the query is ended then.
        """
        if self._is_cancelled:
            raise QueryError("the query was cancelled")
        if self._is_first:
            self._is_first = False
            blocks, has_more = self.header.blocks, self.header.has_more
        elif self._session is None:
            return None
        else:
            blocks, has_more = self._fetch(lambda session: session.receive_fetch())
            self._is_asked = False
        if has_more:
            self._is_asked = True
            self._fetch(lambda session: session.request_fetch(self._query_id))
        else:
            self.close()
        return blocks

    def _fetch(self, call: Callable[[Session], T]) -> T:
        try:
            return self._talk(call)
        except ConnectionLost as exc:
            raise ConnectionLost(
                f"the connection was lost while reading, after row {self.n_rows:,}: {exc.message}",
                was_sent=True,
                hint="run the query again; a shorter time range is read faster",
            ) from exc

    def _talk(self, call: Callable[[Session], T]) -> T:
        session = self._session
        try:
            if session is None or self._is_cancelled:
                raise QueryError("the query was cancelled")
            return call(session)
        except ConnectionLost as exc:
            if _is_timeout(exc) and session is not None:
                session.excuse()
            self.abandon()
            if self._is_cancelled:
                raise QueryError("the query was cancelled") from exc
            if _is_timeout(exc):
                _kill(self._connection, self._model, self._life_ms)
                raise _timeout_error(self._connection) from exc
            raise
        except Exception:
            self._is_asked = False
            self.close()
            raise
        except BaseException as exc:
            self.cancel(limit_s=_patience_s(exc))
            raise

    def close(self) -> None:
        """End the query and return the session; never raises an ordinary error."""
        session = self._take_session()
        if session is None:
            return
        try:
            if self._is_asked and not session.wait_for_answer(_DRAIN_WAIT_S):
                session.abandon()
                _kill(self._connection, self._model, self._life_ms)
                return
            with suppress(Exception):
                if self._is_asked:
                    session.receive_fetch()
                session.close_query(self._query_id)
        except BaseException:
            session.abandon()
            raise
        finally:
            self._pool.give_back(session)

    def cancel(self, *, limit_s: float = _KILL_TIMEOUT_S) -> None:
        """End the query now, from any thread; who reads it gets a QueryError."""
        self._is_cancelled = True
        if self.abandon() and self._is_asked:
            _kill(self._connection, self._model, self._life_ms, limit_s=limit_s)

    def abandon(self) -> bool:
        """Drop the session without a word; whether there was one."""
        session = self._take_session()
        if session is None:
            return False
        session.abandon()
        self._pool.give_back(session)
        return True

    def _take_session(self) -> Session | None:
        with self._lock:
            session, self._session = self._session, None
            return session


def wait_for_memory(
    call: Callable[[], T],
    *,
    limit_s: float = MEMORY_WAIT_S,
    clock: Clock = CLOCK,
) -> T:
    """The result of `call`, tried again for at most `limit_s` seconds while there is no memory.

    Queries that overlap take it from each other, and give it back within a second or so.

    Raises
    ------
    QueryError : the last one, unchanged.
    """
    deadline, wait_s = clock.now() + limit_s, _FIRST_WAIT_S
    while True:
        try:
            return call()
        except QueryError as exc:
            left_s = deadline - clock.now()
            if exc.code != NO_MEMORY or left_s <= 0:
                raise
        clock.sleep(min(wait_s, left_s))
        wait_s = min(2 * wait_s, _LONGEST_WAIT_S)


def open_cursor(
    connection: Connection,
    sql: str,
    *,
    model: Model,
    is_idempotent: bool = True,
    is_qualified: bool = False,
    memory_wait_s: float = MEMORY_WAIT_S,
) -> Cursor | None:
    """Run a statement; None where it has no result.

    Parameters
    ----------
    is_idempotent : False: a statement that may have reached the server is not sent again
    is_qualified : see `Session.execute`
    memory_wait_s : how long an idempotent one is tried again while the server has no memory for it

    Raises
    ------
    QueryError, QueryTimeout, PermissionDenied, ConnectionLost
    """
    cursor = Cursor(
        connection,
        sql,
        model=model,
        is_idempotent=is_idempotent,
        is_qualified=is_qualified,
        memory_wait_s=memory_wait_s,
    )
    has_result = connection.try_again(cursor.start, is_idempotent=is_idempotent)
    return cursor if has_result else None


def _is_alone(connection: Connection) -> bool:
    """Whether the server is the only one of its cluster; False where the user may not ask."""
    try:
        rows = query_table(connection, "SHOW DATANODES", model="tree", policy=NO_RETRY)
    except (PermissionDenied, QueryError) as exc:
        if exc.is_retryable:
            raise
        return False
    return len(rows) == 1


def _patience_s(exc: BaseException) -> float:
    """How long who ends a query waits until the server has ended it."""
    return _INTERRUPT_S if isinstance(exc, KeyboardInterrupt) else _KILL_TIMEOUT_S


def _is_timeout(exc: BaseException) -> bool:
    return isinstance(exc, ConnectionLost) and isinstance(exc.__cause__, TimeoutError)


def _timeout_error(connection: Connection) -> QueryTimeout:
    return QueryTimeout(
        f"no answer within {connection.options.timeout_s:g} s; the query was cancelled",
        hint="narrow the time range, or raise timeout_s=",
    )


def _kill(
    connection: Connection, model: Model, life_ms: int, *, limit_s: float = _KILL_TIMEOUT_S
) -> None:
    """Let the server end the query with this time limit, if it still runs; never raises.

    Returns once it has ended, `limit_s` seconds later at most.
    """
    deadline = time.monotonic() + limit_s
    with suppress(Exception):
        session = connection.open_session(model, limit_s=limit_s)
        try:
            session.limit_all(deadline - time.monotonic())
            while time.monotonic() < deadline:
                with suppress(QueryError):  # the query may leave no memory for another one
                    if not _kill_once(session, life_ms):
                        return
                time.sleep(0.1)  # a KILL is answered before the query has ended
        finally:
            session.abandon()


def _kill_once(session: Session, life_ms: int) -> bool:
    """Kill it; whether it was there."""
    header = session.execute("SHOW QUERIES")
    if header is None:
        return False
    table = decode_blocks(header.blocks, header, precision=session.info.precision)
    session.close_query(header.query_id)
    # The tree model says QueryId and Timeout, the table model query_id and timeout.
    labels = [name.lower().replace("_", "") for name in table.column_names]
    limits = table.column(labels.index("timeout")).to_pylist()
    ids = table.column(labels.index("queryid")).to_pylist()
    found = [query_id for limit, query_id in zip(limits, ids, strict=True) if limit == life_ms]
    for query_id in found:
        session.execute(f"KILL QUERY {quote_string(query_id)}")
    return bool(found)
