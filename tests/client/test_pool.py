"""The pool: lends each session to one borrower, never more than its size, and always ends."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from clock import PATIENCE_S, FakeClock, wait_until
from iotdb_frames.client.pool import OpenSession, SessionPool
from iotdb_frames.errors import ConnectionLost, PoolClosed, PoolTimeout
from iotdb_frames.server import LocalServer
from iotdb_frames.wire.rpc import Session
from proxy import proxy_to


def opener(server: LocalServer, port: int | None = None) -> OpenSession:
    """Opens real sessions."""

    def open_session(*_: object) -> Session:
        return Session("127.0.0.1", port or server.port, options=server.options, model="tree")

    return open_session


@pytest.fixture
def clock() -> FakeClock:
    """Time of the test's own."""
    return FakeClock()


@pytest.fixture
def pool(server: LocalServer, clock: FakeClock) -> Iterator[SessionPool]:
    """Two sessions at most, and a borrower waits for half a minute."""
    pool = SessionPool(opener(server), size=2, timeout_s=30, clock=clock)
    yield pool
    pool.close()


def test_a_session_is_opened_once_and_lent_again(pool: SessionPool) -> None:
    """Nothing is opened before it is needed, and one session serves borrowers in turn."""
    assert pool.stats.opened == 0
    with pool.session() as first:
        first.execute("SHOW VERSION")
    with pool.session() as second:
        assert second is first
    assert (pool.stats.opened, pool.stats.checkouts, pool.stats.waits) == (1, 2, 0)


def test_a_borrower_waits_no_longer_than_its_limit(pool: SessionPool, clock: FakeClock) -> None:
    """With all sessions lent a borrower gives up after its time-out, and says what to do."""
    with ThreadPoolExecutor(1) as threads, pool.session(), pool.session():
        borrower = threads.submit(pool.take)
        clock.wait_for_waiters()
        clock.advance(29)
        assert not borrower.done()
        clock.advance(1)
        with pytest.raises(PoolTimeout, match=r"2 sessions were busy for 30 s") as caught:
            borrower.result(PATIENCE_S)
    assert clock.slept_s == [30]
    assert isinstance(caught.value, TimeoutError)
    assert "pool_size" in (caught.value.hint or "")
    assert (pool.stats.timeouts, pool.stats.wait_s) == (1, 30)
    pool.give_back(pool.take())


def test_a_waiting_borrower_is_woken(pool: SessionPool, clock: FakeClock) -> None:
    """A session that comes back goes to who waits, at once: no time has to pass."""
    with ThreadPoolExecutor(1) as threads, pool.session():
        lent = pool.take()
        borrower = threads.submit(pool.take)
        clock.wait_for_waiters()
        clock.advance(2)
        pool.give_back(lent)
        assert borrower.result(PATIENCE_S) is lent
        pool.give_back(lent)
    assert (pool.stats.waits, pool.stats.wait_s, pool.stats.timeouts) == (1, 2, 0)


def test_no_more_than_its_size(server: LocalServer) -> None:
    """Twenty threads share three sessions, and no session is in two hands."""
    pool = SessionPool(opener(server), size=3, timeout_s=PATIENCE_S)
    in_use: set[int] = set()
    wrong: list[str] = []

    def work() -> None:
        for _ in range(20):
            with pool.session() as session:
                if id(session) in in_use:
                    wrong.append("lent twice")
                in_use.add(id(session))
                if len(in_use) > 3:
                    wrong.append("too many")
                session.execute("SHOW VERSION")  # others run meanwhile
                in_use.discard(id(session))

    threads = [threading.Thread(target=work) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert pool.stats.opened <= 3
    assert pool.stats.checkouts == 400
    pool.close()


def test_a_broken_session_is_not_lent_again(server: LocalServer) -> None:
    """What was abandoned or failed in a borrower's hands makes room for a new one; only a failure
    is said to be its server's, and takes the idle sessions with it along."""
    lost: list[str] = []
    with proxy_to(server.port) as proxy:
        opens = opener(server, proxy.port)
        pool = SessionPool(opens, size=2, timeout_s=PATIENCE_S, on_lost=lost.append)
        idle = pool.take()
        for _ in range(5):
            with pool.session() as session:
                session.abandon()
        assert (pool.stats.opened, pool.stats.lost, lost) == (6, 0, [])
        with pool.session() as session:
            pool.give_back(idle)
            proxy.cuts.append(1)
            with pytest.raises(ConnectionLost):
                session.execute("SHOW VERSION")
        assert (pool.stats.lost, lost) == (1, [session.address])
        assert not pool.n_sessions
    pool.close()


def test_a_session_that_died_in_the_pool_is_not_lent(server: LocalServer) -> None:
    """A connection that the other side closed meanwhile is seen before it is lent."""
    with proxy_to(server.port) as proxy:
        pool = SessionPool(opener(server, proxy.port), size=2, timeout_s=PATIENCE_S)
        with pool.session() as session:
            pass
        proxy.close()
        wait_until(lambda: not session.is_usable)
        with pytest.raises(ConnectionLost):
            pool.take()
        assert pool.stats.lost == 1
    pool.close()


def test_an_opening_that_fails_gives_its_place_back(server: LocalServer) -> None:
    """However often opening fails, the pool does not run out of places."""
    failures = iter(range(5))

    def open_session(*_: object) -> Session:
        if next(failures, None) is not None:
            raise ConnectionLost("nobody there")
        return opener(server)({}, None)

    pool = SessionPool(open_session, size=1, timeout_s=PATIENCE_S)
    for _ in range(5):
        with pytest.raises(ConnectionLost):
            pool.take()
    with pool.session() as session:
        assert session.is_usable
    pool.close()


def test_closing_ends_everybody(server: LocalServer) -> None:
    """After `close` a waiting borrower raises, and lent sessions are at their end."""
    pool = SessionPool(opener(server), size=1, timeout_s=PATIENCE_S)
    lent = pool.take()
    with ThreadPoolExecutor(1) as threads:
        borrower = threads.submit(pool.take)
        wait_until(lambda: pool.stats.waits)
        pool.close()
        with pytest.raises(PoolClosed):
            borrower.result(PATIENCE_S)
    assert not lent.is_usable
    pool.give_back(lent)
    assert pool.stats.lost == 0
    with pytest.raises(PoolClosed):
        pool.take()


FORK = """
import os, sys
import iotdb_frames as iotf

connection = iotf.connect(sys.argv[1])
with connection.pool("tree").session() as session:
    assert session.execute("SHOW VERSION")
    first = session
child = os.fork()
if child == 0:
    if sys.argv[2] == "use":
        with connection.pool("tree").session() as session:
            assert session is not first
            assert session.execute("SHOW VERSION")
    elif sys.argv[2] == "close":
        connection.close()
    sys.exit(0)  # runs the finalizers, as a child of multiprocessing does not
assert os.waitpid(child, 0)[1] == 0
with connection.pool("tree").session() as session:
    assert session is first, "the child took the parent's session down"
    assert session.execute("SHOW VERSION")
assert connection.pool("tree").stats.lost == 0
connection.close()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
@pytest.mark.parametrize("what", ["use", "close", "nothing"])
def test_a_fork_leaves_its_parents_sessions_alone(server: LocalServer, what: str) -> None:
    """A forked child opens its own sessions, and its end is not that of the parent's."""
    options = replace(server.options)
    url = f"iotdb://root@127.0.0.1:{server.port}"
    done = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-c", FORK, url, what],
        env={"IOTDB_PASSWORD": str(options.password), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
