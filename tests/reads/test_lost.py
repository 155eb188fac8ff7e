"""A connection to a single server that breaks between two fetches: all rows are read again."""

from __future__ import annotations

import asyncio
import gc
import itertools
import math
import signal
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from clock import PATIENCE_S, FakeClock, wait_until
from iotdb_frames import aio
from iotdb_frames.cli import app
from iotdb_frames.cli import read as read_command
from iotdb_frames.client.connection import Connection
from iotdb_frames.clock import CLOCK, Clock
from iotdb_frames.errors import ConnectionLost, PoolClosed, QueryError
from iotdb_frames.options import RetryPolicy
from iotdb_frames.reads.read import read
from iotdb_frames.reads.sql import execute, query, read_sql
from iotdb_frames.server import LocalServer
from iotdb_frames.writes.undo import delete
from iotdb_frames.writes.writer import write
from proxy import Proxy, proxy_to

N_ROWS, FETCH = 50_000, 5_000
DEVICE = "root.lost.d"
SQL = f"SELECT a, b FROM {DEVICE}"
FRAME = pd.DataFrame(
    {"a": np.arange(N_ROWS) * 0.5, "b": np.arange(N_ROWS)},
    index=pd.date_range("2024-01-01", periods=N_ROWS, freq="s", unit="ms", name="time"),
)


@pytest.fixture(scope="module", autouse=True)
def stored(connection: Connection) -> Iterator[None]:
    """Rows of many fetches, in both models."""
    write(FRAME, DEVICE, connection=connection)
    write(FRAME, "lost.t", connection=connection)
    yield
    for sql, model in (("DELETE DATABASE root.lost", "tree"), ("DROP DATABASE lost", "table")):
        execute(sql, model=model, connection=connection)  # type: ignore[arg-type]


@contextmanager
def line(
    server: LocalServer,
    *,
    retry: RetryPolicy | None = None,
    clock: Clock = CLOCK,
    other_port: int | None = None,
) -> Iterator[tuple[Proxy, Connection]]:
    """A connection through a proxy, with few rows a fetch; names another host, too, if told so."""
    with proxy_to(server.port) as proxy:
        ports = (proxy.port, *([other_port] if other_port else []))
        hosts = tuple(("127.0.0.1", port) for port in ports)
        options = replace(server.options, hosts=hosts, fetch_size=FETCH, pool_size=1)
        retry = retry or RetryPolicy(first_wait_s=0.01)
        with Connection(lambda: options, label="line", retry=retry, clock=clock) as connection:
            assert connection.version
            yield proxy, connection


class Cuts:
    """Cuts the connection when it asks for the `at`-th fetch, and counts queries.

    Parameters
    ----------
    again : whether each later connection is cut, too, as soon as it asks for a fetch
    """

    def __init__(self, proxy: Proxy, at: int = 4, *, again: bool = False) -> None:
        self.n_queries = self.n_fetches = 0
        self._at, self._again = at, again
        proxy.loses = self._is_lost

    def _is_lost(self, data: bytes) -> bool:
        self.n_queries += SQL.encode() in data
        self.n_fetches += b"fetchResultsV2" in data
        is_due = self.n_fetches >= self._at if self._again else self.n_fetches == self._at
        return b"fetchResultsV2" in data and is_due


def n_lent(connection: Connection) -> str:
    """How many sessions are out."""
    return repr(connection.pool("tree")).split()[1]


def in_loop(call: Callable[[], Any]) -> Any:
    """What a coroutine gives."""
    return asyncio.run(call())


WHOLE: dict[str, Callable[[Connection], Any]] = {
    "read": lambda c: read(DEVICE, connection=c),
    "read, Arrow": lambda c: read(DEVICE, returns="arrow", connection=c).to_pandas(),
    "read, wide": lambda c: read("root.lost.**", wide=True, connection=c).droplevel(0, axis=1),
    "read, filled": lambda c: read(DEVICE, every="1s", agg="max", fill="previous", connection=c),
    "read, table": lambda c: read("lost.t", connection=c),
    "read_sql": lambda c: read_sql(SQL, connection=c),
    "to_pandas": lambda c: query(SQL, connection=c).to_pandas(),
    "to_arrow": lambda c: query(SQL, connection=c).to_arrow().to_pandas(),
    "aio.read": lambda c: in_loop(lambda: aio.read(DEVICE, connection=c)),
}


@pytest.mark.parametrize("how", WHOLE)
def test_a_whole_is_read_again(server: LocalServer, how: str) -> None:
    """What gives all rows at once gives each of them once, in the form that it has anyway."""
    with line(server) as (proxy, connection):
        wanted = WHOLE[how](connection)
        cuts, n_before = Cuts(proxy), proxy.n_connections
        found = WHOLE[how](connection)
        assert cuts.n_fetches > 4
        assert proxy.n_connections == n_before + 1
        assert n_lent(connection) == "0"
    pd.testing.assert_frame_equal(found, wanted)
    assert found.attrs == wanted.attrs
    assert len(found) == N_ROWS
    assert found.iloc[:, -1].tolist() == FRAME["b"].tolist()


@pytest.mark.parametrize("at", [1, 2, 5])
def test_after_a_look_at_its_first_rows(
    server: LocalServer, connection: Connection, at: int
) -> None:
    """A result that was shown gives no row of its first run, whichever fetch is lost."""
    with line(server) as (proxy, own):
        result = query(SQL, connection=own)
        assert "4.5" in repr(result)
        write(pd.DataFrame({"a": [-1.0]}, FRAME.index[:1]), DEVICE, connection=connection)
        try:
            Cuts(proxy, at)
            found = result.to_pandas()
        finally:
            write(FRAME[:1], DEVICE, connection=connection)
    assert found.iloc[:, 0].tolist() == [-1.0, *FRAME["a"][1:]]
    assert found.iloc[:, 1].tolist() == FRAME["b"].tolist()


@pytest.mark.parametrize("name", ["rows.parquet", "rows.csv.gz", "rows.arrow"])
def test_a_file_is_written_again(
    server: LocalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The shell's file has all rows once, also when some were in it as the connection broke."""
    monkeypatch.setattr(read_command, "GROUP_BYTES", 100_000)
    monkeypatch.setenv("IOTDB_PASSWORD", str(server.options.password))
    with proxy_to(server.port) as proxy:
        url = f"iotdb://root@127.0.0.1:{proxy.port}?fetch_size={FETCH}"
        cuts = Cuts(proxy)
        told = CliRunner().invoke(app, ["read", SQL, "--url", url, "--out", str(tmp_path / name)])
    assert told.exit_code == 0, told.output
    assert told.output.count(f"✓ {N_ROWS:,} rows") == 1
    assert cuts.n_queries == 2
    path = tmp_path / name
    assert list(tmp_path.iterdir()) == [path]
    if name.endswith("parquet"):
        found = pq.read_table(path)
    elif name.endswith("arrow"):
        found = pa.ipc.open_file(path).read_all()
    else:
        found = pa.Table.from_pandas(pd.read_csv(path))
    values = found[found.column_names[-1]]
    assert values.to_pylist() == FRAME["b"].tolist()


PIECES: dict[str, Callable[[Connection], Iterator[Any]]] = {
    "batches": lambda c: query(SQL, connection=c).batches(),
    "Arrow stream": lambda c: iter(
        pa.RecordBatchReader.from_stream(query(SQL, connection=c))  # as DuckDB reads it
    ),
    "read": lambda c: read(DEVICE, chunk_rows=FETCH, connection=c),
    "read_sql": lambda c: read_sql(SQL, chunk_rows=FETCH, connection=c),
}


@pytest.mark.parametrize("how", PIECES)
def test_pieces_end_in_an_error(server: LocalServer, how: str) -> None:
    """Where rows were handed out, the query does not start over behind the caller's back."""
    with line(server) as (proxy, connection):
        cuts = Cuts(proxy)
        pieces = PIECES[how](connection)
        n_rows = len(next(pieces))
        with pytest.raises(Exception, match=r"lost while reading, after row \d") as caught:
            n_rows += sum(map(len, pieces))
        assert "run the query again" in str(caught.value)
        assert isinstance(caught.value, ConnectionLost) or how == "Arrow stream"
        assert 0 < n_rows < N_ROWS
        assert cuts.n_queries <= 1
        assert n_lent(connection) == "0"
        assert len(read_sql(SQL, connection=connection)) == N_ROWS


def test_a_statement_of_execute_is_not_run_again(server: LocalServer) -> None:
    """`execute` sends whatever changes something, and never twice."""
    with line(server) as (proxy, connection):
        result = execute(SQL, connection=connection)
        assert result is not None
        cuts = Cuts(proxy, 1)
        with pytest.raises(ConnectionLost, match="while reading"):
            result.to_pandas()
        assert cuts.n_queries == 0


@pytest.mark.parametrize("attempts", [1, 3])
def test_one_budget(server: LocalServer, attempts: int) -> None:
    """A query that breaks its connection each time runs as often as `retry` says, first included,
    and ends in the error that says how far it came."""
    retry = RetryPolicy(attempts=attempts, first_wait_s=0.01)
    with line(server, retry=retry) as (proxy, connection):
        cuts = Cuts(proxy, 1, again=True)
        with pytest.raises(ConnectionLost, match=r"after row \d") as caught:
            read_sql(SQL, connection=connection)
        assert cuts.n_queries == attempts
        assert caught.value.hint is not None
        assert "run the query again" in caught.value.hint
        assert n_lent(connection) == "0"


def test_a_cluster_is_not_asked_again(server: LocalServer) -> None:
    """Where several hosts are named, a query that was lost does not run again: nodes that take over
    may answer short."""
    with (
        proxy_to(server.port) as other,
        line(server, other_port=other.port) as (proxy, connection),
    ):
        cuts, n_before = Cuts(proxy), other.n_connections
        with pytest.raises(ConnectionLost, match=r"after row \d"):
            read_sql(SQL, connection=connection)
        assert (cuts.n_queries, other.n_connections) == (1, n_before)


def test_who_may_not_ask_for_nodes(server: LocalServer, connection: Connection) -> None:
    """A user to whom the server does not say whether it is a node of a cluster gets the error."""
    with proxy_to(server.port) as proxy:
        hosts = (("127.0.0.1", proxy.port),)
        options = replace(server.options, hosts=hosts, fetch_size=FETCH, pool_size=1)
        execute("CREATE USER reader 'Passw0rd!2026'", connection=connection)
        try:
            execute("GRANT READ_DATA ON root.lost.** TO USER reader", connection=connection)
            own = replace(options, user="reader", password="Passw0rd!2026")
            with Connection(lambda: own, label="reader") as reader:
                cuts = Cuts(proxy)
                with pytest.raises(ConnectionLost, match=r"after row \d"):
                    read_sql(SQL, connection=reader)
                assert cuts.n_queries == 1
        finally:
            execute("DROP USER reader", connection=connection)


def test_the_budget_begins_with_the_loss(server: LocalServer) -> None:
    """A read that had taken longer than `retry` waits when it was lost is still run again."""
    clock = FakeClock(runs=True)
    with line(server, clock=clock) as (proxy, connection):

        def count(batches: Iterator[pa.RecordBatch]) -> int:
            n_rows = 0
            for batch in batches:
                n_rows += len(batch)
                clock.advance(1_000)
            return n_rows

        cuts = Cuts(proxy)
        assert query(SQL, connection=connection).gather(count) == N_ROWS
        assert cuts.n_queries == 2


def test_rows_of_the_first_run_are_let_go(server: LocalServer) -> None:
    """While the query runs again, nothing holds what had been read."""

    class Rows(list[pa.RecordBatch]):
        """What is weakly known."""

    known: list[weakref.ref[Rows]] = []

    def collect(batches: Iterator[pa.RecordBatch]) -> int:
        assert [one() for one in known] == [None] * len(known)
        rows = Rows()
        known.append(weakref.ref(rows))
        rows.extend(itertools.islice(batches, 2))
        rows.extend(batches)
        return sum(map(len, rows))

    with line(server) as (proxy, connection):
        Cuts(proxy)
        result = query(SQL, connection=connection)
        gc.disable()  # cycles would be a matter of luck
        try:
            assert result.gather(collect) == N_ROWS
        finally:
            gc.enable()
    assert len(known) == 2


def test_columns_that_changed_meanwhile(server: LocalServer, connection: Connection) -> None:
    """A second run with other columns than the first, which a caller may know, is refused."""
    sql = "SELECT * FROM root.lost.wider"
    with line(server) as (proxy, own):
        write(FRAME, "root.lost.wider", connection=connection)
        result = query(sql, connection=own)
        write(FRAME[["a"]].rename(columns={"a": "c"}), "root.lost.wider", connection=connection)
        Cuts(proxy)
        with pytest.raises(QueryError, match="other columns by now") as caught:
            result.to_pandas()
        assert caught.value.hint == "run the query again"
        assert n_lent(own) == "0"
        assert read_sql(sql, connection=own).shape == (N_ROWS, 3)


def test_fewer_rows_than_before(server: LocalServer, connection: Connection) -> None:
    """A second run that lacks rows which the first had given is no result, and tried again."""
    device = "root.lost.short"
    tries: list[int] = []

    def collect(batches: Iterator[pa.RecordBatch]) -> int:
        tries.append(0)
        try:
            for batch in batches:
                tries[-1] += len(batch)
        finally:
            if len(tries) == 2:
                write(FRAME, device, connection=connection)
        return tries[-1]

    for attempts in (2, 3):
        tries.clear()
        retry = RetryPolicy(attempts=attempts, first_wait_s=0.01)
        with line(server, retry=retry) as (proxy, own):
            write(FRAME, device, connection=connection)
            result = query(f"SELECT * FROM {device}", connection=own)
            Cuts(proxy)
            delete(device, start=FRAME.index[10], connection=connection)
            if attempts == 3:
                assert result.gather(collect) == N_ROWS
                continue
            with pytest.raises(ConnectionLost, match=r"only 10 rows were there of \d+,\d+"):
                result.gather(collect)
            assert tries[1:] == [10]
            assert n_lent(own) == "0"


def interrupt(_: Connection) -> None:
    """Press Ctrl-C."""
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("end", "kind"), [(Connection.close, PoolClosed), (interrupt, KeyboardInterrupt)]
)
def test_ended_while_it_waits(
    server: LocalServer, end: Callable[[Connection], None], kind: type[BaseException]
) -> None:
    """Ctrl-C, and a close in another thread, end the wait for a server at once."""
    retry = RetryPolicy(first_wait_s=3_600, longest_wait_s=3_600, total_s=math.inf)
    with line(server, retry=retry) as (proxy, connection), ThreadPoolExecutor(1) as threads:
        cuts = Cuts(proxy)

        def stop() -> None:
            wait_until(lambda: cuts.n_fetches == 4 and n_lent(connection) == "0")
            end(connection)

        stopped = threads.submit(stop)
        with pytest.raises(kind):
            read_sql(SQL, connection=connection)
        stopped.result(PATIENCE_S)
        assert cuts.n_queries == 1


def test_cancelled_while_it_waits(server: LocalServer) -> None:
    """A result that is cancelled after its connection was lost does not run again."""
    with line(server) as (proxy, connection), ThreadPoolExecutor(1) as threads:
        result = query(SQL, connection=connection)
        cuts = Cuts(proxy)
        proxy.is_closed.set()
        n_before = proxy.n_connections
        reader = threads.submit(result.to_arrow)
        wait_until(lambda: proxy.n_connections > n_before + 1)  # it is trying
        result.cancel()
        proxy.is_closed.clear()
        with pytest.raises(QueryError, match="cancelled"):
            reader.result(PATIENCE_S)
        assert cuts.n_queries == 0
        assert n_lent(connection) == "0"
