"""Several hosts: whom sessions go to, and whom they leave."""

from __future__ import annotations

import math
import socket
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest

from clock import PATIENCE_S, FakeClock, wait_until
from iotdb_frames.client.connection import Connection
from iotdb_frames.client.hosts import SUSPECT_S, Hosts
from iotdb_frames.client.leaders import Leaders
from iotdb_frames.errors import ConnectionLost, PoolClosed, QueryTimeout
from iotdb_frames.options import RetryPolicy
from iotdb_frames.reads.cursor import open_cursor
from iotdb_frames.server import LocalServer
from iotdb_frames.wire import transport
from iotdb_frames.wire.login import takes_logins
from proxy import proxy_to

THREE = [("a", 1), ("b", 2), ("c", 3)]


def test_hosts_take_turns_and_the_idlest_is_first() -> None:
    """Whoever has the fewest sessions is asked first, and of several with as few each in turn."""
    hosts = Hosts(clock=FakeClock())
    firsts = [hosts.in_order(THREE, n_sessions={})[0] for _ in range(6)]
    assert firsts == [*THREE, *THREE]
    assert hosts.in_order(THREE, n_sessions={"a:1": 2, "b:2": 1, "c:3": 0})[0] == ("c", 3)
    assert hosts.in_order(THREE, n_sessions={"a:1": 2}, at="a:1")[0] == ("a", 1)
    assert sorted(hosts.in_order(THREE, n_sessions={"a:1": 2})) == THREE


def test_a_host_that_failed_is_asked_last_for_half_a_minute() -> None:
    """For 30 seconds others come first, also where it is the one that was wanted; an answer clears
    it at once."""
    clock = FakeClock()
    hosts = Hosts(clock=clock)
    hosts.fails("a:1")
    for _ in range(3):
        assert hosts.in_order(THREE, n_sessions={"b:2": 9, "c:3": 9}, at="a:1")[-1] == ("a", 1)
    clock.advance(SUSPECT_S - 1)
    assert hosts.is_suspect("a:1")
    clock.advance(1)
    assert hosts.in_order(THREE, n_sessions={}, at="a:1")[0] == ("a", 1)
    hosts.fails("a:1")
    hosts.answers("a:1")
    assert not hosts.is_suspect("a:1")


def test_how_long_nothing_failed() -> None:
    """It counts from the last failure, whoever answered since."""
    clock = FakeClock()
    hosts = Hosts(clock=clock)
    assert hosts.quiet_s == math.inf
    hosts.fails("a:1")
    clock.advance(5)
    hosts.answers("a:1")
    assert hosts.quiet_s == 5


def test_a_server_may_call_a_host_otherwise_than_the_url() -> None:
    """An endpoint is the host that is named so, or whose name means its address; nobody else's."""
    hosts = Hosts(clock=FakeClock())
    named = [("localhost", 6667), ("127.0.0.1", 6668), ("no-such-host.invalid", 6669)]
    assert hosts.named(("127.0.0.1", 6668), named) == "127.0.0.1:6668"
    assert hosts.named(("127.0.0.1", 6667), named) == "localhost:6667"
    assert hosts.named(("127.0.0.1", 6669), named) is None
    assert hosts.named(("0.0.0.0", 6668), named) is None
    assert hosts.named(("127.0.0.1", 6670), named) is None


def test_a_name_that_could_not_be_looked_up_is_looked_up_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While a name server is away an endpoint is none of the hosts, for half a minute; the others
    are looked at all the same, also behind what cannot be a name."""
    clock, away, asked = FakeClock(), True, []
    look_up = socket.getaddrinfo

    def look_up_now_and_then(host: str, port: int, **options: Any) -> Any:
        asked.append(host)
        if away and host == "localhost":
            raise socket.gaierror(socket.EAI_AGAIN, "no name server")
        return look_up(host, port, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up_now_and_then)
    hosts = Hosts(clock=clock)
    named = [("a" * 80, 1), ("localhost", 1), ("127.2", 1)]
    assert hosts.named(("127.0.0.2", 1), named) == "127.2:1"
    for _ in range(3):
        assert hosts.named(("127.0.0.1", 1), named) is None
    assert asked == [host for host, _ in named] * 2
    away = False
    clock.advance(SUSPECT_S - 1)
    assert hosts.named(("127.0.0.1", 1), named) is None
    clock.advance(1)
    assert hosts.named(("127.0.0.1", 1), named) == "localhost:1"
    away = True
    clock.advance(10 * SUSPECT_S)
    assert hosts.named(("127.0.0.1", 1), named) == "localhost:1"


def test_leaders_are_bounded_and_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hints are of the last devices that were told of; an error forgets a device's, and a lost host
    all of its own."""
    monkeypatch.setattr("iotdb_frames.client.leaders.MOST_DEVICES", 3)
    leaders = Leaders()
    leaders.learn([("a", "x:1"), ("b", "x:1"), ("c", "y:1"), ("d", "y:1")])
    assert leaders.of(["a", "b", "c", "d"]) == [None, "x:1", "y:1", "y:1"]
    assert leaders.of_all(["c", "d"]) == "y:1"
    assert leaders.of_all(["b", "c"]) is None
    assert leaders.of_all(["a", "b"]) is None
    leaders.forget(["c", "nobody"])
    assert leaders.of(["c", "d"]) == [None, "y:1"]
    leaders.forget_host("y:1")
    assert leaders.of(["b", "d"]) == ["x:1", None]


def test_a_pool_spreads_over_all_hosts(server: LocalServer) -> None:
    """Sessions that are lent at the same time are with as many hosts as there are."""
    with ExitStack() as stack:
        ports = [stack.enter_context(proxy_to(server.port)).port for _ in range(3)]
        options = replace(server.options, hosts=tuple(("127.0.0.1", p) for p in ports), pool_size=6)
        connection = stack.enter_context(Connection(lambda: options, label="three"))
        pool = connection.pool("tree")
        sessions = [stack.enter_context(pool.session()) for _ in range(6)]
        assert Counter(s.address for s in sessions) == {f"127.0.0.1:{port}": 2 for port in ports}


def test_a_session_is_lent_where_it_is_wanted(server: LocalServer) -> None:
    """A pool opens a session at the wanted host while it has room, and else lends another one."""
    with ExitStack() as stack:
        ports = [stack.enter_context(proxy_to(server.port)).port for _ in range(3)]
        hosts = [f"127.0.0.1:{port}" for port in ports]
        options = replace(server.options, hosts=tuple(("127.0.0.1", p) for p in ports), pool_size=2)
        connection = stack.enter_context(Connection(lambda: options, label="three"))
        pool = connection.pool("tree")
        for at in (hosts[1], hosts[2], hosts[1], hosts[2]):
            with pool.session(at=at) as session:
                assert session.address == at
        with pool.session(at=hosts[0]) as session:
            assert session.address in hosts[1:]
        assert pool.stats.opened == 2


def test_nothing_is_opened_for_a_host_that_failed(server: LocalServer) -> None:
    """While the wanted host is suspect, an idle session at another one is lent, and none opened."""
    with ExitStack() as stack:
        ports = [stack.enter_context(proxy_to(server.port)).port for _ in range(2)]
        a, b = (f"127.0.0.1:{port}" for port in ports)
        options = replace(server.options, hosts=tuple(("127.0.0.1", p) for p in ports), pool_size=4)
        connection = stack.enter_context(Connection(lambda: options, label="two"))
        pool = connection.pool("tree")
        with pool.session(at=b):
            pass
        connection.hosts.fails(a)
        for _ in range(3):
            with pool.session(at=a) as session:
                assert session.address == b
        assert pool.stats.opened == 1


def test_a_full_pool_moves_a_session_to_where_it_is_wanted(server: LocalServer) -> None:
    """A host that is back, or was never reached, gets a session of a host that has two more; what
    is moved even is not moved again, and a host that failed a moment ago gets none."""
    with ExitStack() as stack:
        ports = [stack.enter_context(proxy_to(server.port)).port for _ in range(3)]
        a, b, c = (f"127.0.0.1:{port}" for port in ports)
        options = replace(server.options, hosts=tuple(("127.0.0.1", p) for p in ports), pool_size=4)
        connection = stack.enter_context(Connection(lambda: options, label="three"))
        pool = connection.pool("tree")
        with ExitStack() as lent:
            for _ in range(4):
                lent.enter_context(pool.session(at=a))
        assert pool.n_sessions == {a: 4}
        connection.hosts.fails(b)
        with pool.session(at=b) as session:
            assert session.address == a
        connection.hosts.answers(b)
        for at in (b, c):
            with pool.session(at=at) as session:
                assert session.address == at
        assert (pool.n_sessions, pool.stats.opened) == ({a: 2, b: 1, c: 1}, 6)
        for _ in range(3):
            for at in (a, b, c):  # each by two borrowers at once: all but one host have one session
                with pool.session(at=at) as session, pool.session(at=at) as other:
                    assert session.address == at
                    assert other.is_usable
        assert (max(pool.n_sessions.values()), pool.stats.opened) == (2, 6)
        assert pool.stats.lost == 0


def test_a_frozen_host_is_left_for_another(
    server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request to a host that stops to answer, logins too, goes to another one long before its
    time-out; sessions to that one only are dropped."""
    monkeypatch.setattr(transport, "LOOK_AFTER_S", 0.1)
    with proxy_to(server.port) as first, proxy_to(server.port) as second:
        hosts = (("127.0.0.1", first.port), ("127.0.0.1", second.port))
        options = replace(server.options, hosts=hosts, timeout_s=300, connect_timeout_s=1)
        with Connection(lambda: options, label="two") as connection:
            pool = connection.pool("tree")
            with pool.session(), pool.session():
                pass
            first.is_held.set()
            for _ in range(4):
                connection.run(lambda session: session.execute("SHOW VERSION"), model="tree")
            assert pool.stats.lost <= 1
            with pool.session(at=f"127.0.0.1:{first.port}") as session:
                assert session.address == f"127.0.0.1:{second.port}"
            first.is_held.clear()


@pytest.mark.parametrize("how", ["close", "end_wait"])
def test_a_look_at_a_frozen_host_is_ended(
    server: LocalServer, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Who is ended while he looks whether a frozen host takes logins ends at once, and not with the
    look, nor with a later one."""
    workers: list[threading.Thread] = []

    def ask() -> None:
        workers.append(threading.current_thread())
        connection.run(lambda session: session.execute("SHOW VERSION"), model="tree")

    with proxy_to(server.port) as first, proxy_to(server.port) as second, ExitStack() as stack:
        threads = stack.enter_context(ThreadPoolExecutor(1))
        hosts = (("127.0.0.1", first.port), ("127.0.0.1", second.port))
        options = replace(server.options, hosts=hosts, connect_timeout_s=300)
        connection = stack.enter_context(Connection(lambda: options, label="two"))
        with connection.pool("tree").session(at=f"127.0.0.1:{first.port}"):
            pass
        monkeypatch.setattr(transport, "LOOK_AFTER_S", 0.01)
        first.is_held.set()
        stack.callback(first.is_held.clear)
        asked = threads.submit(ask)
        wait_until(lambda: first.n_connections == 2)  # the second one is the look
        if how == "close":
            connection.close()
        else:
            transport.end_wait(workers[0])
        with pytest.raises(PoolClosed if how == "close" else ConnectionLost):
            asked.result(PATIENCE_S)
        assert first.n_connections == 2


def test_a_query_that_takes_long_is_no_failure_of_its_host(
    server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a host takes logins meanwhile, a query that runs into its time-out leaves it in its
    place, with its other sessions and its hints. A request that is tried again does not."""
    monkeypatch.setattr(transport, "LOOK_AFTER_S", 0.1)
    is_over = threading.Event()

    def hold(answer: bytes) -> bytes:
        if b"Version" in answer:
            is_over.wait()
        return answer

    with proxy_to(server.port) as first, proxy_to(server.port) as second:
        hosts = (("127.0.0.1", first.port), ("127.0.0.1", second.port))
        options = replace(server.options, hosts=hosts, timeout_s=0.5)
        with Connection(lambda: options, label="two") as connection:
            pool, at = connection.pool("tree"), f"127.0.0.1:{first.port}"
            connection.learn_leaders([("d", None)], here=at)
            with pool.session(at=at), pool.session(at=at):
                pass
            epoch, first.rewrite = connection.epoch, hold
            with pytest.raises(QueryTimeout, match="no answer within"):
                open_cursor(connection, "SHOW VERSION", model="tree")
            assert not connection.hosts.is_suspect(at)
            assert connection.leaders is not None
            assert (connection.leaders.of(["d"]), connection.epoch) == ([at], epoch)
            assert (pool.n_sessions[at], pool.stats.lost) == (1, 0)
            with pool.session(at=at) as session, pytest.raises(ConnectionLost, match="in time"):
                session.execute("SHOW VERSION")
            assert connection.hosts.is_suspect(at)
            is_over.set()


def test_a_machine_that_is_off_takes_no_logins(server: LocalServer) -> None:
    """Where there is no way to a host, or nothing comes in time, it is not there; where a port is
    closed, or the login refused, somebody is."""
    options = replace(server.options, connect_timeout_s=0.2)
    # No stream socket goes to a broadcast address: the system says that it is unreachable.
    assert not takes_logins("255.255.255.255", 6667, options=options)
    with proxy_to(server.port) as proxy:
        proxy.is_held.set()
        assert not takes_logins("127.0.0.1", proxy.port, options=options)
        proxy.is_held.clear()
    assert takes_logins("127.0.0.1", proxy.port, options=options)
    refused = replace(server.options, user="nobody_here")
    assert takes_logins("127.0.0.1", server.port, options=refused)


def test_what_is_given_up_is_no_failure_of_its_host(server: LocalServer) -> None:
    """A session that its borrower abandons leaves its host's other sessions, its hints and the
    schema alone, and so does a login that had less time than it may need; one refused does not."""
    with proxy_to(server.port) as first, proxy_to(server.port) as second:
        hosts = (("127.0.0.1", first.port), ("127.0.0.1", second.port))
        options = replace(server.options, hosts=hosts)
        with Connection(lambda: options, label="two") as connection:
            pool, at = connection.pool("tree"), f"127.0.0.1:{first.port}"
            connection.learn_leaders([("d", None)], here=at)
            with pool.session(at=at) as given_up, pool.session(at=at):
                given_up.abandon()
            epoch = connection.epoch
            first.is_held.set()
            with pytest.raises(ConnectionLost, match="did not answer in time"):
                connection.open_session("tree", at=at, limit_s=0.1)
            first.is_held.clear()
            assert not connection.hosts.is_suspect(at)
            assert connection.leaders is not None
            assert (connection.leaders.of(["d"]), connection.epoch) == ([at], epoch)
            assert (pool.n_sessions[at], pool.stats.lost) == (1, 0)
            first.close()
            with pytest.raises(ConnectionLost, match="nothing is listening"):
                connection.open_session("tree", at=at, limit_s=0.1)
            assert connection.hosts.is_suspect(at)


def test_what_others_follow_is_not_sent_twice(
    server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that its frozen host may still carry out, after what comes next, is in doubt, and
    not sent to another host."""
    monkeypatch.setattr(transport, "LOOK_AFTER_S", 0.1)
    with proxy_to(server.port) as first, proxy_to(server.port) as second:
        hosts = (("127.0.0.1", first.port), ("127.0.0.1", second.port))
        options = replace(server.options, hosts=hosts, connect_timeout_s=1)
        with Connection(lambda: options, label="two") as connection:
            _ = connection.version
            first.is_held.set()
            sent = second.n_sent
            with pytest.raises(ConnectionLost, match="does not take logins") as caught:
                connection.run(
                    lambda session: session.execute("SHOW VERSION"), model="tree", is_ordered=True
                )
            assert caught.value.may_come_late
            assert "may still be carried out" in (caught.value.hint or "")
            assert second.n_sent == sent
            first.is_held.clear()


def test_a_single_host_has_its_whole_time(
    server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no other host is named nobody looks: an answer has the options' `timeout_s`."""
    monkeypatch.setattr(transport, "LOOK_AFTER_S", 0.01)
    with proxy_to(server.port) as proxy:
        options = replace(server.options, hosts=(("127.0.0.1", proxy.port),), timeout_s=1)
        retry = RetryPolicy(attempts=1)
        with Connection(lambda: options, label="one", retry=retry) as connection:
            _ = connection.version
            proxy.is_held.set()
            with pytest.raises(ConnectionLost, match="no answer in time"):
                connection.run(lambda session: session.execute("SHOW VERSION"), model="tree")
            assert proxy.n_connections == 1
            proxy.is_held.clear()
