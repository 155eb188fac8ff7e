"""Ctrl-C beside a server that does not answer: it ends the call, the threads and the sessions."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from clock import wait_until
from iotdb_frames.client.connection import Connection
from iotdb_frames.reads.sql import execute, read_sql
from iotdb_frames.server import LocalServer
from iotdb_frames.simulate.source import SensorSource
from iotdb_frames.writes.writer import plan, write
from proxy import Proxy, proxy_to

Line = tuple[Proxy, Connection]


@pytest.fixture
def line(server: LocalServer) -> Iterator[Line]:
    """A proxy, and a connection through it that was used before."""
    with proxy_to(server.port) as proxy:
        options = replace(server.options, hosts=(("127.0.0.1", proxy.port),))
        with Connection(lambda: options, label="proxied") as made:
            read_sql("SHOW VERSION", connection=made)
            yield proxy, made


def frame(n_rows: int) -> pd.DataFrame:
    """Rows of one column."""
    index = pd.DatetimeIndex(np.arange(n_rows).view("M8[ms]"), name="time")
    return pd.DataFrame({"a": np.arange(n_rows) / 3}, index)


def interrupt_when(is_so: Callable[[], bool]) -> threading.Thread:
    """Send SIGINT to the main thread, once, a moment after `is_so`."""

    def run() -> None:
        wait_until(is_so)
        threading.Event().wait(0.2)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=run, name="interrupting", daemon=True)
    thread.start()
    return thread


def interrupted(line: Line, call: Callable[[], object]) -> None:
    """`call` beside a server that falls silent ends with the first Ctrl-C and leaves nothing."""
    proxy, connection = line
    before = set(threading.enumerate())
    n_sent = proxy.n_sent
    waiting = interrupt_when(lambda: proxy.is_held.is_set() and proxy.n_sent > n_sent)
    with pytest.raises(KeyboardInterrupt):
        call()
    waiting.join()
    n_sent = proxy.n_sent
    left = set(threading.enumerate()) - before
    assert not [t.name for t in left if t.name.startswith(("iotdb-frames", "ThreadPool"))]
    assert set(re.findall(r"(\d+) lent", repr(connection))) == {"0"}
    assert not connection.hosts.is_suspect(f"127.0.0.1:{proxy.port}")
    proxy.is_held.clear()
    read_sql("SHOW VERSION", connection=connection)
    assert proxy.n_sent - n_sent < 1_000, "what was given up is sent all the same"


@pytest.mark.parametrize("call", [write, plan])
def test_while_the_schema_is_looked_up(
    line: Line, device: str, call: Callable[..., object]
) -> None:
    """A write, or a plan, that waits for the schema ends."""
    line[0].is_held.set()
    interrupted(line, lambda: call(frame(10), device, connection=line[1]))


@pytest.mark.parametrize("workers", [1, 2])
def test_in_the_middle_of_a_write(line: Line, device: str, workers: int) -> None:
    """A write that waits for an answer ends; its report goes with the interrupt."""
    proxy, connection = line
    write(frame(1), device, connection=connection)

    def hold(n_done: int, _: int) -> None:
        if n_done >= 2_000:
            proxy.is_held.set()

    def call() -> None:
        write(
            frame(500_000),
            device,
            connection=connection,
            chunk=1_000,
            workers=workers,
            progress=hold,
        )

    interrupted(line, call)


@pytest.mark.parametrize("ask", [read_sql, execute])
def test_while_a_query_waits(line: Line, ask: Callable[..., object]) -> None:
    """A query that waits for its first answer ends."""
    line[0].is_held.set()
    interrupted(line, lambda: ask("SHOW DATABASES", connection=line[1]))


def test_while_a_session_opens(server: LocalServer) -> None:
    """A first call whose login is not answered ends."""
    with proxy_to(server.port) as proxy:
        options = replace(server.options, hosts=(("127.0.0.1", proxy.port),))
        with Connection(lambda: options, label="proxied") as made:
            proxy.is_held.set()
            interrupted((proxy, made), lambda: read_sql("SHOW VERSION", connection=made))


def test_while_a_stream_looks_the_schema_up(line: Line, device: str) -> None:
    """A stream in the foreground that waits for the schema ends."""
    runner = SensorSource(rate_hz=10).stream(to=device, connection=line[1], window=1)
    line[0].is_held.set()
    interrupted(line, runner.run)
    assert runner.state == "failed"


def test_in_the_middle_of_a_stream(line: Line, device: str) -> None:
    """A stream in the foreground that waits for an answer ends; the window in hand is in doubt."""
    runner = SensorSource(rate_hz=50).stream(to=device, connection=line[1], window=1)
    runner.listen(lambda _frame, _window: line[0].is_held.set())
    interrupted(line, runner.run)
    assert runner.state == "failed"
    assert runner.stats.rows == 1
    assert runner.report is not None
    assert [failure.state for failure in runner.report.failures] == ["in doubt"]
