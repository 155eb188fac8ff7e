"""Results: rows once, in bounded memory; ended when left, cancelled, timed out or cut off."""

from __future__ import annotations

import gc
import re
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from clock import PATIENCE_S, wait_until
from iotdb_frames.client.connection import Connection
from iotdb_frames.errors import ConnectionLost, IoTDBFramesError, QueryError, QueryTimeout
from iotdb_frames.reads.result import QueryResult
from iotdb_frames.reads.sql import query, read_sql, run_sql
from iotdb_frames.server import LocalServer
from iotdb_frames.wire.transport import Channel
from iotdb_frames.writes.writer import write
from proxy import proxy_to

N_ROWS = 300_000
SQL = "SELECT a, b FROM root.result.d"
NESTED = [f"avg({'sin(' * 16}a+{i}{')' * 16})" for i in range(300)]
NO_MEMORY = 719
SLOW = f"SELECT {', '.join(NESTED)} FROM root.result.d"
"""Takes 15 s and little memory. Deeper nests take minutes to be planned, and no KILL ends that."""
HASTE_S = 2.0
"""Less than `SLOW` takes on any machine, and more than any other request on a busy one."""


@pytest.fixture(scope="module", autouse=True)
def rows(connection: Connection) -> Iterator[pd.DataFrame]:
    """More rows than come in one fetch, also in the server."""
    index = pd.date_range("2024-01-01", periods=N_ROWS, freq="s", unit="ms", name="time")
    frame = pd.DataFrame({"a": np.arange(N_ROWS) * 0.5, "b": np.arange(N_ROWS)}, index=index)
    write(frame, "root.result.d", connection=connection)
    yield frame
    connection.run(lambda session: session.execute("DELETE DATABASE root.result"), model="tree")


@pytest.fixture
def own(server: LocalServer) -> Iterator[Connection]:
    """A connection of the test's own, with few rows a fetch; what ends a query is not a failure of
    its server."""
    options = replace(server.options, fetch_size=20_000, pool_size=2)
    with Connection(lambda: options, label="own") as opened:
        yield opened
        assert opened.pool("tree").stats.lost == 0


def running(connection: Connection) -> list[str]:
    """Statements the server works on, the question left out."""
    # A query of the test may leave no memory for this one, for as long as it runs.
    result = run_sql(connection, "SHOW QUERIES", model="tree", memory_wait_s=PATIENCE_S)
    assert result is not None
    found = result.to_pandas()["Statement"]
    return [sql for sql in found.tolist() if sql != "SHOW QUERIES"]


def wait_until_idle(connection: Connection) -> None:
    """Fail unless the server's queries end soon."""
    wait_until(lambda: not running(connection))


def n_lent(connection: Connection) -> str:
    """How many sessions are out."""
    return repr(connection.pool("tree")).split()[1]


def test_all_rows(own: Connection, rows: pd.DataFrame) -> None:
    """Rows over many fetches come once each and in order, and the session goes back."""
    table = query(SQL, connection=own).to_arrow()
    assert table.column(0).cast(pa.int64()).to_numpy().tolist() == rows.index.asi8.tolist()
    assert table.column(1).to_pylist() == rows["a"].tolist()
    assert table.column(2).to_pylist() == rows["b"].tolist()
    assert n_lent(own) == "0"


def test_the_server_ends_a_query_itself(own: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """A result that is read to its end leaves no query behind, and costs no request to say so."""
    wait_until_idle(own)
    asked: list[str] = []
    send = Channel.send

    def told(channel: Channel, method: str, *args: Any, **options: Any) -> None:
        asked.append(method)
        send(channel, method, *args, **options)

    monkeypatch.setattr(Channel, "send", told)
    small = query(f"{SQL} LIMIT 3", connection=own).to_arrow()
    assert (small.num_rows, asked) == (3, ["executeStatementV2"])
    whole = query(SQL, connection=own).to_arrow()
    assert whole.num_rows == N_ROWS
    assert set(asked[1:]) == {"executeStatementV2", "fetchResultsV2"}
    wait_until_idle(own)


def test_streams(own: Connection) -> None:
    """Whatever speaks the Arrow C stream interface reads a result batch by batch."""
    result = query(SQL, connection=own)
    reader = pa.RecordBatchReader.from_stream(result)
    assert reader.schema == result.schema
    batches = [batch.num_rows for batch in reader]
    assert sum(batches) == N_ROWS
    assert len(batches) > 5


def test_rows_are_read_once(own: Connection) -> None:
    """A second reading is refused rather than empty."""
    result = query(SQL, connection=own)
    result.to_pandas()
    with pytest.raises(IoTDBFramesError, match="read already"):
        result.to_arrow()


def test_left_by_the_with_block(own: Connection) -> None:
    """A result that is not read ends with its block, in the server, too."""
    with query(SQL, connection=own):
        assert running(own) == [SQL]
        assert n_lent(own) == "1"
    assert n_lent(own) == "0"
    wait_until_idle(own)


def test_left_in_the_middle(own: Connection) -> None:
    """To leave a loop over batches or frames early ends the query."""
    for batch in query(SQL, connection=own).batches():
        assert batch.num_rows
        break
    for frame in read_sql(SQL, chunk_rows=1000, connection=own):
        assert len(frame) == 1000
        break
    gc.collect()
    assert n_lent(own) == "0"
    wait_until_idle(own)


def test_forgotten(own: Connection) -> None:
    """A result that is collected ends its query and gives its session back."""
    result = query(SQL, connection=own)
    stream = iter(query(SQL, connection=own).batches())
    next(stream)
    assert n_lent(own) == "2"
    del result, stream
    gc.collect()
    assert n_lent(own) == "0"
    wait_until_idle(own)


def test_cancelled_by_another_thread(own: Connection) -> None:
    """Who reads a cancelled result gets an error, never fewer rows."""
    result = query(SQL, connection=own)
    batches = result.batches()
    next(batches)
    thread = threading.Thread(target=result.cancel)
    thread.start()
    thread.join()
    with pytest.raises(QueryError, match="cancelled"):
        list(batches)
    assert n_lent(own) == "0"
    wait_until_idle(own)


def run_slow(connection: Connection) -> None:
    """Run `SLOW` until something ends it; earlier queries may still hold the server's memory."""

    def run() -> None:
        try:
            read_sql(SLOW, connection=connection)
        except QueryError as exc:
            if exc.code != NO_MEMORY:
                raise

    wait_until(run)  # it is never true


@pytest.mark.parametrize("turn", range(8))
def test_cancelled_while_it_waits(server: LocalServer, turn: int) -> None:
    """A cancel wakes a reader that waits for the server, each time: it was a race."""
    with proxy_to(server.port) as proxy, ThreadPoolExecutor(2) as threads:
        options = replace(server.options, hosts=(("127.0.0.1", proxy.port),), fetch_size=20_000)
        with Connection(lambda: options, label="proxied") as own:
            result = query(SQL, connection=own)
            batches = result.batches()
            next(batches)
            proxy.is_held.set()
            reader = threads.submit(list, batches)
            time.sleep(0.02 * turn)  # in the first turns it is on its way, in the last it waits
            cancelled = threads.submit(result.cancel)
            with pytest.raises(QueryError, match="cancelled"):
                reader.result(PATIENCE_S)
            proxy.is_held.clear()
            cancelled.result(PATIENCE_S)
            assert own.pool("tree").stats.lost == 0


def test_ctrl_c(own: Connection, connection: Connection) -> None:
    """Ctrl-C ends a query the server still computes, and leaves the connection usable."""
    wait_until_idle(own)

    def interrupt() -> None:
        wait_until(lambda: SLOW in running(connection))
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)  # as a terminal would

    with ThreadPoolExecutor(1) as threads:
        sent = threads.submit(interrupt)
        with pytest.raises(KeyboardInterrupt):
            run_slow(own)
        sent.result(PATIENCE_S)
    wait_until_idle(own)
    assert len(read_sql(f"{SQL} LIMIT 3", connection=own)) == 3
    assert n_lent(own) == "0"


def test_time_out(server: LocalServer) -> None:
    """A query over the time-out is cancelled in the server; the connection stays usable."""
    options = replace(server.options, timeout_s=HASTE_S)
    with Connection(lambda: options, label="hasty") as own:
        with pytest.raises(QueryTimeout, match=f"{HASTE_S:g} s") as caught:
            run_slow(own)
        assert isinstance(caught.value, TimeoutError)
        wait_until_idle(own)
        assert len(read_sql(f"{SQL} LIMIT 3", connection=own)) == 3


def test_pauses_are_no_time_out(server: LocalServer) -> None:
    """The limit is one answer's: a reader may take its time between two fetches."""
    options = replace(server.options, timeout_s=HASTE_S, fetch_size=20_000)
    with Connection(lambda: options, label="hasty") as own:
        batches = query(SQL, connection=own).batches()
        n_rows = next(batches).num_rows
        time.sleep(1.5 * HASTE_S)
        assert n_rows + sum(batch.num_rows for batch in batches) == N_ROWS


@pytest.mark.parametrize("n_bytes", [1, 100_000, 2_000_000])
def test_cut_in_the_middle(server: LocalServer, n_bytes: int) -> None:
    """A connection that breaks anywhere in a read raises; no rows are taken for all."""
    with proxy_to(server.port) as proxy:
        options = replace(server.options, hosts=(("127.0.0.1", proxy.port),), fetch_size=20_000)
        with Connection(lambda: options, label="cut") as own:
            batches = query(SQL, connection=own).batches()
            proxy.cut_after = n_bytes
            with pytest.raises(ConnectionLost, match="while reading"):
                list(batches)
            assert n_lent(own) == "0"
            proxy.cut_after = None
            assert len(read_sql(SQL, connection=own)) == N_ROWS


def test_a_session_lost_before_the_query(server: LocalServer) -> None:
    """A query on a session that went away meanwhile is sent again on a new one."""
    with proxy_to(server.port) as proxy:
        options = replace(server.options, hosts=(("127.0.0.1", proxy.port),))
        with Connection(lambda: options, label="cut") as own:
            read_sql("SHOW VERSION", connection=own)
            proxy.cuts.append(1)
            assert len(read_sql(f"{SQL} LIMIT 3", connection=own)) == 3


def show(result: QueryResult) -> tuple[str, str]:
    """A result's card."""
    return repr(result), result._repr_html_()


def test_preview(own: Connection) -> None:
    """A result shows labels, types and its first rows, and can still be read in full."""
    result = query(SQL, connection=own)
    text, html = show(result)
    for shown in (text, html):
        for word in (SQL, "root.result.d", "DOUBLE", "2024-01-01 00:00:09", "4.5", "or more"):
            assert word in shown
        assert "00:00:10" not in shown
    assert re.search(r"time +a +b", text)
    assert ">a<br>DOUBLE<" in html
    assert '<td class="n">4.5</td>' in html
    assert '<td class="n">2024' not in html
    assert len(result.to_pandas()) == N_ROWS
    assert "300,000" in repr(result)


def test_preview_is_escaped_and_small(connection: Connection, database: str) -> None:
    """Whatever cells and labels hold, a preview is HTML-safe and short."""
    evil = "<script>alert(1)</script>" * 1000
    columns = {f"c{i:03}": [evil] for i in range(100)}
    frame = pd.DataFrame(columns, index=pd.DatetimeIndex(["2024-01-01"], name="time"))
    write(frame, f"root.{database}.d", connection=connection)
    text, html = show(query(f"SELECT * FROM root.{database}.d", connection=connection))
    assert "<script>" not in html
    assert "89 more columns" in text
    assert len(text) < 5_000
    assert len(html) < 10_000
