"""The calls as coroutines: the same results, none in the others' way, and each can be cancelled."""

from __future__ import annotations

import asyncio
import inspect
import random
import re
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pandas.testing import assert_frame_equal

import iotdb_frames as iotf
from clock import PATIENCE_S, wait_until
from iotdb_frames import aio
from iotdb_frames.client import coroutines
from iotdb_frames.client.connection import Connection
from iotdb_frames.client.coroutines import in_thread
from iotdb_frames.errors import ConnectionLost, OptionsError, QueryError
from iotdb_frames.interrupts import Interrupted
from iotdb_frames.reads.read import read
from iotdb_frames.reads.sql import run_sql
from iotdb_frames.server import LocalServer
from iotdb_frames.writes.writer import write
from proxy import Proxy, proxy_to

N_ROWS = 300_000
BIG = "root.aio.big"
SQL = f"SELECT a, b FROM {BIG}"
NESTED = [f"avg({'sin(' * 16}a+{i}{')' * 16})" for i in range(300)]
SLOW = f"SELECT {', '.join(NESTED)} FROM {BIG}"
"""Takes 15 s in the server, and little memory."""


def frame(n_rows: int, *, start: int = 0) -> pd.DataFrame:
    """Rows of two columns, a second apart."""
    ticks = np.arange(start, start + n_rows)
    index = pd.DatetimeIndex((ticks * 1000).view("M8[ms]"), name="time")
    return pd.DataFrame({"a": ticks * 0.5, "b": pd.array(ticks, "Int64")}, index=index)


@pytest.fixture(scope="module", autouse=True)
def rows(connection: Connection) -> Iterator[pd.DataFrame]:
    """More rows than come in one fetch, also in the server."""
    big = frame(N_ROWS)
    write(big, BIG, connection=connection)
    yield big
    connection.run(lambda session: session.execute("DELETE DATABASE root.aio"), model="tree")


@pytest.fixture
def own(server: LocalServer) -> Iterator[Connection]:
    """A connection of the test's own, with few rows a fetch; it leaves no thread or session."""
    options = replace(server.options, fetch_size=20_000, pool_size=4)
    with Connection(lambda: options, label="own") as opened:
        yield opened
        assert lent(opened) == {"0"}
        wait_until(lambda: not calls())


@contextmanager
def line(server: LocalServer, **options: Any) -> Iterator[tuple[Proxy, Connection]]:
    """A proxy, and a connection through it that was used before."""
    with proxy_to(server.port) as proxy:
        options = {"hosts": (("127.0.0.1", proxy.port),), **options}
        made = replace(server.options, **options)
        with Connection(lambda: made, label="proxied") as opened:
            run_sql(opened, "SHOW VERSION", model="tree")
            yield proxy, opened


def lent(connection: Connection) -> set[str]:
    """How many sessions are out."""
    return set(re.findall(r"(\d+) lent", repr(connection))) or {"0"}


def calls() -> list[threading.Thread]:
    """The threads of coroutines."""
    return [t for t in threading.enumerate() if t.name == "iotdb-frames-call" and t.is_alive()]


def running(connection: Connection) -> list[str]:
    """Statements the server works on, the question left out."""
    result = run_sql(connection, "SHOW QUERIES", model="tree", memory_wait_s=PATIENCE_S)
    assert result is not None
    found = result.to_pandas()["Statement"].tolist()
    return [sql for sql in found if sql != "SHOW QUERIES"]


async def until(is_so: Callable[[], object]) -> None:
    """Return as soon as `is_so()`, asked in a thread; fail where it never is."""
    async with asyncio.timeout(PATIENCE_S):
        while not await asyncio.to_thread(is_so):
            await asyncio.sleep(0.005)


async def cancelled(task: asyncio.Task[Any]) -> asyncio.CancelledError:
    """Cancel a task; the error that it ends with."""
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    return caught.value


def test_the_same_as_without_await(own: Connection, connection: Connection, device: str) -> None:
    """Each coroutine gives what the call of its name gives."""

    async def run() -> None:
        report = await aio.write(frame(10), device, connection=own)
        assert (report.rows_written, report.points) == (10, 20)
        found = await aio.read(device, start=2000, connection=own)
        assert_frame_equal(found, read(device, start=2000, connection=connection))
        assert isinstance(await aio.read(device, returns="arrow", connection=own), pa.Table)
        pieces = await aio.read(device, chunk_rows=4, connection=own)
        assert isinstance(pieces, AsyncIterator)
        assert [len(piece) async for piece in pieces] == [4, 4, 2]
        async with await aio.query(f"SELECT a FROM {device}", connection=own) as result:
            assert result.schema.names == ["time", f"{device}.a"]
            assert [len(batch) async for batch in result.batches()] == [10]
        result = await aio.query(f"SELECT a FROM {device}", connection=own)
        masked = await result.to_pandas(tz="Asia/Tokyo", dtype_backend="numpy_nullable")
        assert (str(masked.index.tz), str(masked.dtypes.iloc[0])) == ("Asia/Tokyo", "Float64")
        result = await aio.query(f"SELECT a FROM {device}", connection=own)
        assert (await result.to_arrow()).num_rows == 10
        result = await aio.query(f"SELECT a FROM {device}", connection=own)
        assert len(await result.to_polars()) == 10
        sql = f"INSERT INTO {device}(time, a) VALUES (?, 1.5)"
        assert await aio.execute(sql, params=[99_000], connection=own) is None
        shown = await aio.execute("SHOW VERSION", connection=own)
        assert shown is not None
        assert "SHOW VERSION" in repr(shown)
        assert "<" in shown._repr_html_()
        assert len(await aio.read(device, connection=own)) == 11

    asyncio.run(run())


@pytest.mark.parametrize("name", ["read", "query", "execute", "write"])
def test_help_is_that_of_the_call(name: str) -> None:
    """A coroutine shows every option of the call of its name, its default and what it means."""
    call, coroutine = getattr(iotf, name), getattr(aio, name)
    assert inspect.iscoroutinefunction(coroutine)
    assert inspect.signature(coroutine).parameters == inspect.signature(call).parameters
    documented = inspect.getdoc(coroutine) or ""
    for option in inspect.signature(call).parameters:
        assert re.search(rf"^(?:\w+, )*{option}(?:, \w+)* : ", documented, re.MULTILINE), option
    assert "Raises\n------" in documented


def test_typed_arguments_equal_those_of_read() -> None:
    """What type checkers know of `read` is what it takes."""
    from iotdb_frames.reads import read as home

    parameters = dict(inspect.signature(read).parameters)
    for name in ("target", "returns", "chunk_rows", "connection"):
        del parameters[name]
    typed = {name: kind.__forward_arg__ for name, kind in home.ReadArgs.__annotations__.items()}
    assert typed == {name: p.annotation for name, p in parameters.items()}


def test_errors_are_those_of_the_calls(own: Connection) -> None:
    """What a call raises reaches who awaits it, with its words."""

    async def run() -> None:
        with pytest.raises(QueryError, match="no series"):
            await aio.read("root.aio.nothing", connection=own)
        with pytest.raises(OptionsError, match="every="):
            await aio.read(BIG, agg="mean", connection=own)
        with pytest.raises(OptionsError, match="connection="):
            await aio.read(BIG, connection=5)  # type: ignore[call-overload]
        with pytest.raises(iotf.TimeIndexError):
            await aio.write(pd.DataFrame({"a": [1.0]}), "root.aio.x", connection=own)

    asyncio.run(run())


def test_hundreds_at_once(own: Connection, device: str) -> None:
    """Hundreds of reads and writes share the sessions of a pool; all of them come out right."""
    most = 0

    async def write_and_read(i: int) -> None:
        nonlocal most
        rows = frame(50, start=i)
        report = await aio.write(rows, f"{device}.d{i}", connection=own)
        assert report.rows_written == 50
        most = max(most, len(calls()))
        assert_frame_equal(await aio.read(f"{device}.d{i}", connection=own), rows)

    async def run() -> None:
        async with asyncio.TaskGroup() as tasks:
            for i in range(300):
                tasks.create_task(write_and_read(i))

    asyncio.run(run())
    pool = own.pool("tree")
    assert pool.stats.timeouts == pool.stats.waits == 0
    assert pool.stats.opened <= 4
    assert 1 < most <= 8, "a thread that has told its result may not have ended yet"


def test_the_loop_goes_on_while_the_server_is_silent(server: LocalServer, device: str) -> None:
    """However many calls wait for a server, the loop runs: it is what lets the server speak."""

    async def run() -> None:
        with line(server, pool_size=3) as (proxy, connection):
            await aio.write(frame(5), device, connection=connection)
            proxy.is_held.set()
            n_sent = proxy.n_sent
            tasks = [
                asyncio.create_task(aio.read(device, connection=connection))
                if i % 2
                else asyncio.create_task(aio.write(frame(5), device, connection=connection))
                for i in range(200)
            ]
            await until(lambda: proxy.n_sent > n_sent)
            assert len(calls()) <= 6
            assert not any(task.done() for task in tasks)
            proxy.is_held.clear()
            found = await asyncio.gather(*tasks)
            assert all(len(one) == 5 for one in found[1::2])
            assert all(one.rows_written == 5 for one in found[::2])

    asyncio.run(run())


def test_a_cancelled_query_no_longer_runs_in_the_server(
    own: Connection, connection: Connection
) -> None:
    """When a cancelled coroutine ends, its query has ended on the server, too."""

    async def run(ask: Callable[..., Awaitable[Any]], *what: Any, **options: Any) -> None:
        task = asyncio.create_task(ask(*what, connection=own, **options))  # type: ignore[arg-type]
        await until(lambda: SLOW in running(connection))
        error = await cancelled(task)
        assert isinstance(error.__cause__, Interrupted)
        await until(lambda: SLOW not in running(connection))  # a busy one takes more than 5 s
        assert lent(own) == {"0"}

    asyncio.run(run(aio.query, SLOW))
    asyncio.run(run(aio.execute, SLOW))


def test_a_timeout_ends_a_query(own: Connection, connection: Connection) -> None:
    """`asyncio.timeout` ends a query as a cancellation does."""

    async def run() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await aio.query(SLOW, connection=own)
        await until(lambda: SLOW not in running(connection))

    asyncio.run(run())


@pytest.mark.parametrize("form", ["batches", "frames", "whole"])
def test_cancelled_in_the_middle_of_rows(
    own: Connection, connection: Connection, form: str
) -> None:
    """A query that is cancelled between its fetches ends on the server."""
    is_open = asyncio.Event()

    async def take() -> None:
        if form == "frames":
            pieces: Any = await aio.read(BIG, chunk_rows=100, connection=own)
            async with aclosing(pieces):
                async for _ in pieces:
                    is_open.set()
                    await asyncio.sleep(0)
            return
        async with await aio.query(SQL, connection=own) as result:
            if form == "whole":
                is_open.set()
                await result.to_arrow()
            async for _ in result.batches():
                is_open.set()
                await asyncio.sleep(0)

    async def run() -> None:
        task = asyncio.create_task(take())
        await is_open.wait()
        await cancelled(task)
        assert lent(own) == {"0"}
        await until(lambda: SQL not in running(connection))

    asyncio.run(run())


def test_left_in_the_middle(own: Connection, connection: Connection) -> None:
    """To leave the loop over batches, or the block of a result, ends the query."""

    async def run() -> None:
        async with await aio.query(SQL, connection=own) as result:
            async for _ in result.batches():
                break
        async with await aio.query(SQL, connection=own):
            assert SQL in await asyncio.to_thread(running, connection)
        result = await aio.query(SQL, connection=own)
        await result.cancel()
        with pytest.raises(QueryError, match="cancelled"):
            await result.to_arrow()
        assert lent(own) == {"0"}
        assert SQL not in running(connection)

    asyncio.run(run())


def test_cancelled_before_its_turn(server: LocalServer, device: str) -> None:
    """A call that waits for its turn sends nothing once it is cancelled, and keeps no turn."""

    async def run() -> None:
        with line(server, pool_size=1) as (proxy, connection):
            await aio.write(frame(1), device, connection=connection)
            proxy.is_held.set()
            n_sent = proxy.n_sent
            first = asyncio.create_task(aio.read(device, connection=connection))
            await until(lambda: proxy.n_sent > n_sent)
            n_sent = proxy.n_sent
            other = frame(1, start=9)
            waiting = asyncio.create_task(aio.write(other, device, connection=connection))
            last = asyncio.create_task(aio.read(device, connection=connection))
            await asyncio.sleep(0)
            await cancelled(waiting)
            assert proxy.n_sent == n_sent
            proxy.is_held.clear()
            assert len(await first) == len(await last) == 1

    asyncio.run(run())


@pytest.mark.parametrize("workers", [1, 2])
def test_a_cancelled_write_says_what_is_in_doubt(
    server: LocalServer, connection: Connection, device: str, workers: int
) -> None:
    """Its report names the chunks in doubt; what was acknowledged is stored, the rest is not."""

    async def run() -> Any:
        with line(server) as (proxy, own):
            await aio.write(frame(1), device, connection=own)

            def hold(n_done: int, _: int) -> None:
                if n_done >= 2_000:
                    proxy.is_held.set()

            task = asyncio.create_task(
                aio.write(
                    frame(N_ROWS),
                    device,
                    connection=own,
                    chunk=1_000,
                    workers=workers,
                    progress=hold,
                )
            )
            await until(proxy.is_held.is_set)
            error = await cancelled(task)
            assert lent(own) == {"0"}
            await until(lambda: not calls())
            return error.__cause__

    cause = asyncio.run(run())
    assert isinstance(cause, Interrupted)
    report = cause.report
    assert report.rows_written >= 2_000
    in_doubt = [failure for failure in report.failures if failure.state == "in doubt"]
    assert in_doubt == list(report.failures)
    there = read(device, connection=connection)["b"].dropna()
    stored = set(there.tolist())
    rows_in_doubt = {
        row for failure in in_doubt for row in range(failure.start // 1000, failure.end // 1000 + 1)
    }
    acknowledged = set(range(report.rows_written + len(rows_in_doubt))) - rows_in_doubt
    assert acknowledged <= stored <= acknowledged | rows_in_doubt
    again = write(frame(5_000), device, connection=connection)
    assert again.rows_written == 5_000


def test_a_write_that_was_over_says_so(own: Connection, device: str) -> None:
    """A write that had ended when it was cancelled leaves its report, and nothing in doubt."""
    is_over, may_go = threading.Event(), threading.Event()

    def slowly() -> Any:
        report = write(frame(3), device, connection=own)
        is_over.set()
        may_go.wait()
        return report

    async def run() -> None:
        task = asyncio.create_task(in_thread(slowly))
        await until(is_over.is_set)
        task.cancel()
        await asyncio.sleep(0)
        may_go.set()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        assert caught.value.__cause__.report.rows_written == 3  # type: ignore[union-attr]

    asyncio.run(run())


def test_cancelled_while_it_waits_for_another_try(server: LocalServer, device: str) -> None:
    """A call that waits to be tried again, for the server is away, ends at once."""

    async def run() -> None:
        with line(server) as (proxy, connection):
            await aio.write(frame(1), device, connection=connection)
            proxy.is_closed.set()
            proxy.turn_to(server.port)
            for call in (
                aio.read(device, connection=connection),
                aio.write(frame(1), device, connection=connection),
            ):
                enough = proxy.n_connections + 3
                task = asyncio.create_task(call)  # type: ignore[arg-type]
                await until(partial(lambda n: proxy.n_connections >= n, enough))
                await cancelled(task)
                await until(lambda: not calls())
            proxy.is_closed.clear()
            assert len(await aio.read(device, connection=connection)) == 1

    asyncio.run(run())


def test_cancelled_at_any_moment(own: Connection, device: str) -> None:
    """Wherever cancellations hit, no session is lost, and what ends well is whole."""
    dice = random.Random(7)
    n_ended = 0

    async def work(i: int) -> None:
        nonlocal n_ended
        if i % 2:
            assert len(await aio.read(BIG, limit=25_000, connection=own)) == 25_000
        else:
            rows = frame(2_000)
            report = await aio.write(rows, f"{device}.d{i}", chunk=500, connection=own)
            assert report.rows_written == 2_000
        n_ended += 1

    async def run() -> None:
        for _ in range(10):
            tasks = [asyncio.create_task(work(i)) for i in range(12)]
            for _ in range(dice.randrange(40)):
                await asyncio.sleep(0.001)
            for task in tasks:
                if dice.random() < 0.7:
                    task.cancel()
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    await task
        assert len(await aio.read(BIG, limit=10, connection=own)) == 10

    asyncio.run(run())
    assert n_ended


def test_several_loops_share_a_connection(own: Connection, device: str) -> None:
    """Loops in other threads, and one after the other, use the same connection."""
    write(frame(5), device, connection=own)
    failures: list[BaseException] = []

    async def run() -> None:
        found = await asyncio.gather(*(aio.read(device, connection=own) for _ in range(20)))
        assert all(len(one) == 5 for one in found)

    def start() -> None:
        try:
            asyncio.run(run())
            asyncio.run(run())
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=start) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    asyncio.run(run())
    assert len(coroutines._gates) == 1, "loops that ended are kept"


def test_a_server_that_is_not_there(server: LocalServer) -> None:
    """The first call of a connection to nowhere fails with its remedy, and the next one, too."""
    nowhere = replace(server.options, hosts=(("127.0.0.1", 1),))

    async def run() -> None:
        with Connection(lambda: nowhere, label="nowhere") as connection:
            for _ in range(2):
                with pytest.raises(ConnectionLost, match="nothing is listening"):
                    await aio.read(BIG, connection=connection)

    asyncio.run(run())
