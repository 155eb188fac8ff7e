"""Writes through a broken line: all of it arrives in order, or the report says what did."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from clock import PATIENCE_S, wait_until
from iotdb_frames.client.connection import Connection
from iotdb_frames.errors import ConnectionLost, PartialWriteError
from iotdb_frames.options import RetryPolicy
from iotdb_frames.reads.read import read
from iotdb_frames.reads.sql import read_sql
from iotdb_frames.server import LocalServer
from iotdb_frames.writes.report import WriteReport
from iotdb_frames.writes.writer import write
from proxy import Proxy, proxy_to

N_ROWS = 50_000
QUICK = RetryPolicy(attempts=3, first_wait_s=0.01, longest_wait_s=0.05)


@pytest.fixture
def line(server: LocalServer) -> Iterator[tuple[Proxy, Connection]]:
    """A proxy, and a connection through it."""
    with proxy_to(server.port) as proxy:
        options = replace(server.options, hosts=(("127.0.0.1", proxy.port),))
        with Connection(lambda: options, label="proxied") as made:
            yield proxy, made


def frame(n_rows: int = N_ROWS) -> pd.DataFrame:
    """Rows of two columns whose later ones differ from the earlier."""
    index = pd.DatetimeIndex(np.arange(n_rows).view("M8[ms]"), name="time")
    return pd.DataFrame({"a": np.arange(n_rows) / 3, "b": np.arange(n_rows) * 2.0}, index)


@pytest.mark.parametrize("chunk", [5_000, "256KiB", "64MiB"])
@pytest.mark.parametrize("workers", [1, 3])
def test_cut_in_mid_request(
    line: tuple[Proxy, Connection], connection: Connection, device: str, chunk: Any, workers: int
) -> None:
    """What was not acknowledged is sent again, wherever the line broke."""
    proxy, broken = line
    read_sql("SHOW VERSION", connection=broken)
    proxy.cuts.extend([30_000, 200_000, 300_000])
    report = write(
        frame(),
        device,
        connection=broken,
        chunk=chunk,
        workers=workers,
        retry=QUICK,
        progress=False,
    )
    assert report.retries > 0
    assert report.is_complete
    assert report.points == 2 * N_ROWS
    assert_frame_equal(read(device, connection=connection), frame())


def test_more_lanes_than_sessions(server: LocalServer, connection: Connection, device: str) -> None:
    """While the server is frozen, lanes that find no session try again, and end no write."""
    names = [f"{device}.d{i}" for i in range(16)]  # some on each lane
    some = pd.concat([frame(100).assign(n=name.rpartition(".")[2]) for name in names])
    with proxy_to(server.port) as proxy, ThreadPoolExecutor(1) as thread:
        options = replace(
            server.options,
            hosts=(("127.0.0.1", proxy.port),),
            pool_size=1,
            pool_timeout_s=0.05,
            schema_age_s=3_600,
        )
        with Connection(lambda: options, label="frozen") as frozen:

            def send() -> WriteReport:
                return write(some, device, device="n", workers=3, connection=frozen, progress=False)

            assert send().is_complete
            before = frozen.pool("tree").stats.timeouts
            proxy.is_held.set()
            sent = thread.submit(send)
            wait_until(lambda: frozen.pool("tree").stats.timeouts - before >= 4 or sent.done())
            proxy.is_held.clear()
            report = sent.result(PATIENCE_S)
    assert report.is_complete
    assert report.retries >= 4
    for name in names:
        assert len(read(name, connection=connection)) == 100


@pytest.mark.parametrize("model", ["tree", "table"])
def test_an_answer_that_was_lost(
    line: tuple[Proxy, Connection], connection: Connection, device: str, table: str, model: str
) -> None:
    """The server took it, nobody heard: sent again, rows are there once, the last values win."""
    proxy, broken = line
    twice = pd.concat([frame(2_000), frame(2_000).assign(a=-1.0)])
    twice["n"] = "x"
    key: Any = {"device": "n"} if model == "tree" else {"tags": ["n"]}
    target = device if model == "tree" else table
    write(twice.iloc[:1], target, connection=broken, **key)

    def lose_answers(n_done: int, _: int) -> None:
        proxy.answer_cuts = 1 if n_done == 100 else proxy.answer_cuts

    for _ in range(3):
        report = write(
            twice, target, connection=broken, chunk=100, retry=QUICK, progress=lose_answers, **key
        )
        assert report.retries == 1
        found = read(target, columns=["a", "b"], connection=connection)
        assert (found["a"] == -1.0).all()
        assert found["b"].tolist() == frame(2_000)["b"].tolist()


def test_a_line_that_stays_dead(
    line: tuple[Proxy, Connection], connection: Connection, device: str
) -> None:
    """Chunks that were acknowledged, and those that may be stored, are told apart."""
    proxy, broken = line
    write(frame(1), device, connection=broken)
    proxy.cuts.extend([300_000, *[1] * 50])
    with pytest.raises(PartialWriteError) as caught:
        write(frame(), device, connection=broken, chunk=1_000, retry=QUICK, progress=False)
    report = caught.value.report
    assert isinstance(caught.value.__cause__, ConnectionLost)
    assert 0 < report.rows_written < N_ROWS
    assert report.rows_written == 1_000 * report.chunks
    assert [failure.state for failure in report.failures] == ["in doubt"]
    failed = report.failures[0]
    assert failed.start == report.rows_written  # the first that was not acknowledged
    stored = read(device, connection=connection)
    assert report.rows_written <= len(stored) <= failed.end + 1
    assert_frame_equal(stored, frame().iloc[: len(stored)])


def test_nobody_there_from_the_first(line: tuple[Proxy, Connection], device: str) -> None:
    """A server that cannot be reached is a ConnectionLost, before anything is sent."""
    proxy, broken = line
    proxy.close()
    with pytest.raises(ConnectionLost) as caught:
        write(frame(10), device, connection=broken, retry=QUICK)
    assert not caught.value.was_sent


def test_a_server_that_restarts_in_mid_write() -> None:
    """A node that is killed and comes back costs a write time, and no row."""
    with LocalServer() as server, Connection(lambda: server.options, label="own") as own:
        write(frame(1), "root.restart.d", connection=own)
        restarting: list[threading.Thread] = []

        def restart(n_done: int, _: int) -> None:
            if n_done >= 5_000 and not restarting:
                server.kill()
                restarting.append(threading.Thread(target=server.start))
                restarting[0].start()

        report = write(frame(), "root.restart.d", connection=own, chunk=1_000, progress=restart)
        restarting[0].join()
        assert report.is_complete
        assert report.retries
        rest = frame().iloc[10_000:]  # what was acknowledged before the kill may be gone
        found = read("root.restart.d", connection=own)
        assert_frame_equal(found[found.index >= rest.index[0]], rest)


def test_a_request_over_the_server_s_limit_is_halved(
    connection: Connection, device: str, table: str
) -> None:
    """The server cuts the line at a frame it has no room for (16 MB here): halves are tried."""
    n_rows = 1_200_000
    large = frame(n_rows)
    report = write(
        large,
        device,
        connection=connection,
        chunk="1GiB",
        method="tablets",
        retry=QUICK,
        progress=False,
    )
    assert report.is_complete
    assert report.chunks > 1
    assert report.rows_written == n_rows
    found = read_sql(f"SELECT count(a), sum(b) FROM {device}", connection=connection)
    assert found.iloc[0].tolist() == [n_rows, large["b"].sum()]
