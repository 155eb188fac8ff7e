"""Connections: what they say when nobody answers, whom they trust, and what they never show."""

from __future__ import annotations

import copy
import logging
import os
import pickle
import resource
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import iotdb_frames as iotf
from certificates import make_key_store, tls_properties
from clock import PATIENCE_S, FakeClock, wait_until
from iotdb_frames.client.connect import connect, resolve_connection, use
from iotdb_frames.client.connection import Connection
from iotdb_frames.clock import CLOCK, Clock
from iotdb_frames.errors import (
    AuthenticationError,
    ConnectionLost,
    OptionsError,
    PoolClosed,
    ServerError,
)
from iotdb_frames.options import NO_RETRY, ConnectionOptions, RetryPolicy, Secret
from iotdb_frames.server import LocalServer
from iotdb_frames.wire.rpc import Session
from proxy import proxy_to

PASSWORD = "s3cr3t/#?@ of mine"
QUICK = RetryPolicy(attempts=4, first_wait_s=0.01, longest_wait_s=0.05)


def to(server: LocalServer, *, clock: Clock = CLOCK, **options: Any) -> Connection:
    """A connection of the test's own."""
    fixed = replace(server.options, **options)
    return Connection(lambda: fixed, label=fixed.url, retry=QUICK, clock=clock)


def version(connection: Connection) -> str:
    """A statement that every session can run."""
    connection.run(lambda session: session.execute("SHOW VERSION"))
    return connection.version


def free_port() -> int:
    """A port nothing is listening on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def test_a_connection_knows_the_server_when_it_is_open(server: LocalServer) -> None:
    """Version, precision and both dialects are there after the first use, nothing before."""
    with to(server) as connection:
        assert "IoTDB" not in repr(connection)
        assert connection.version == server.version
        assert connection.server.precision == "ms"
        assert connection.default_model == "tree"
        assert connection.run(lambda s: s.model, model="table") == "table"
        assert server.version in repr(connection)
    with to(server, database="some") as connection:
        assert connection.default_model == "table"


def test_a_dead_host_is_passed_over(server: LocalServer) -> None:
    """Of several hosts the first that answers is taken, and remembered."""
    hosts = (("127.0.0.1", free_port()), ("127.0.0.1", server.port))
    with to(server, hosts=hosts) as connection:
        assert version(connection) == server.version
    with (
        to(server, hosts=(hosts[0], ("127.0.0.1", free_port()))) as connection,
        pytest.raises(ConnectionLost, match="no host can be reached"),
    ):
        version(connection)


def _not_ready(word: bytes, data: bytes) -> bytes:
    """An answer with this word has the status 602, STORAGE_ENGINE_NOT_READY, instead of 200."""
    code = b"\x08\x00\x01"
    return data.replace(code + b"\0\0\0\xc8", code + b"\0\0\2\x5a") if word in data else data


def test_a_host_that_is_not_ready_is_passed_over(server: LocalServer) -> None:
    """One that answers the login, or the first request, that it cannot now is suspect; where all
    do, they are asked again. Who is refused for good is refused at once."""
    with proxy_to(server.port) as first, proxy_to(server.port) as second:
        hosts = (("127.0.0.1", first.port), ("127.0.0.1", second.port))
        for word in (b"Login", b"Version"):
            first.rewrite = partial(_not_ready, word)
            with to(server, hosts=hosts) as connection:
                assert version(connection) == server.version
                assert connection.hosts.is_suspect(f"127.0.0.1:{first.port}")
        assert (first.n_connections, second.n_connections) == (2, 2)
        first.rewrite = second.rewrite = partial(_not_ready, b"")
        clock = FakeClock(runs=True)
        with to(server, hosts=hosts, clock=clock) as connection:
            with pytest.raises(ServerError, match="602 STORAGE_ENGINE_NOT_READY"):
                version(connection)
            assert len(clock.slept_s) == 3
        first.rewrite = lambda data: data
        n_asked = second.n_connections
        with to(server, hosts=hosts, password=PASSWORD) as connection:
            with pytest.raises(AuthenticationError):
                _ = connection.version
            assert not connection.hosts.is_suspect(f"127.0.0.1:{first.port}")
        assert second.n_connections == n_asked


def test_a_host_that_dies_is_replaced_by_another(server: LocalServer) -> None:
    """Fail-over also happens in the middle of work."""
    with proxy_to(server.port) as first, proxy_to(server.port) as second:
        hosts = (("127.0.0.1", first.port), ("127.0.0.1", second.port))
        with to(server, hosts=hosts) as connection:
            version(connection)
            assert (first.n_connections, second.n_connections) == (1, 0)
            first.close()
            version(connection)
            assert second.n_connections == 1


def test_nobody_there_is_said_at_once() -> None:
    """A wrong port is an error without a second try, with the way to a local server in it."""
    port, clock = free_port(), FakeClock(runs=True)
    options = ConnectionOptions(hosts=(("127.0.0.1", port),))
    with Connection(lambda: options, label="nobody", clock=clock) as connection:
        for ask in (lambda: connection.version, lambda: version(connection)):
            with pytest.raises(
                ConnectionLost, match=f"nothing is listening at 127.0.0.1:{port}"
            ) as caught:
                ask()
            assert clock.slept_s == []
            assert "local:" in (caught.value.hint or "")
            assert isinstance(caught.value, ConnectionError)


def test_unknown_hosts_are_named() -> None:
    """A name that no resolver knows, and one that is not a name."""
    for host in ("no-such-host.invalid", "a" * 80):
        with connect(f"iotdb://{host}") as connection, pytest.raises(ConnectionLost, match=host):
            _ = connection.version


def test_wrong_password_and_unknown_user(server: LocalServer) -> None:
    """Who cannot log in learns that, once, and no password shows."""
    for user, password in (("root", PASSWORD), ("nobody_here", PASSWORD)):
        with to(server, user=user, password=password) as connection:
            with pytest.raises(AuthenticationError, match=r"\[80[14] ") as caught:
                _ = connection.version
            assert PASSWORD not in "".join(traceback.format_exception(caught.value))


@contextmanager
def listener(answer: bytes | None) -> Iterator[int]:
    """Somebody who is not an IoTDB: answers anything with some bytes, or with silence."""
    with socket.create_server(("127.0.0.1", 0)) as sock, ExitStack() as stack:

        def serve() -> None:
            while True:
                try:
                    client, _ = sock.accept()
                except OSError:
                    return
                stack.enter_context(client)
                if answer is not None:
                    with suppress(OSError):  # the test may be over
                        client.recv(1 << 16)  # all: what is left unread would end it with a reset
                        client.sendall(answer)
                        client.shutdown(socket.SHUT_WR)

        threading.Thread(target=serve, daemon=True).start()
        yield int(sock.getsockname()[1])
        sock.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "not an IoTDB server"),
        (b"", "closed the connection"),
        (b"\0\0\0\4abcd", "lost|connection"),
        (None, "did not answer in time"),
    ],
)
def test_somebody_else_is_recognised(answer: bytes | None, text: str) -> None:
    """A server that is not an IoTDB, or none that talks, is named; every wait has a limit."""
    with listener(answer) as port:
        limit = 0.5 if answer is None else PATIENCE_S
        url = f"iotdb://127.0.0.1:{port}?connect_timeout_s={limit}&timeout_s={limit}"
        with connect(url) as connection, pytest.raises(ConnectionLost, match=text):
            _ = connection.version


def test_an_old_server_is_refused_by_name(server: LocalServer) -> None:
    """A server that calls itself 1.3 is not used; its version stands in the error."""
    old = server.version.replace("2.0", "1.3", 1).encode()
    assert len(old) == len(server.version)
    with proxy_to(server.port) as proxy:
        proxy.rewrite = lambda data: data.replace(server.version.encode(), old)
        with to(server, hosts=(("127.0.0.1", proxy.port),)) as connection:
            with pytest.raises(ServerError, match=f"is IoTDB {old.decode()}.*2.0 or newer"):
                _ = connection.version
            assert proxy.n_connections == 1


def test_a_lost_connection_is_made_again(server: LocalServer) -> None:
    """What is safe to repeat survives a cut; what is not is in doubt and not sent again."""
    with proxy_to(server.port) as proxy, to(server, hosts=(("127.0.0.1", proxy.port),)) as own:
        version(own)
        proxy.answer_cuts = 1
        assert version(own) == server.version
        assert proxy.n_connections == 2
        proxy.answer_cuts = 1
        with pytest.raises(ConnectionLost) as caught:
            own.run(lambda s: s.execute("SHOW VERSION"), is_idempotent=False)
        assert caught.value.was_sent


def test_a_server_that_falls_silent_is_given_up(server: LocalServer) -> None:
    """A request has a limit, also where the connection stands."""
    with (
        proxy_to(server.port) as proxy,
        to(server, hosts=(("127.0.0.1", proxy.port),)) as own,
    ):
        version(own)

        def ask(session: Session) -> None:
            session.limit_all(0.3)
            session.execute("SHOW VERSION")

        proxy.is_held.set()
        with pytest.raises(ConnectionLost, match="no answer in time"):
            own.run(ask, policy=NO_RETRY)
        proxy.is_held.clear()


def in_thread(call: Callable[[], object]) -> tuple[threading.Thread, list[BaseException]]:
    """Call in a thread of its own; what it raised is in the list."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as exc:
            raised.append(exc)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, raised


@pytest.mark.parametrize("is_idempotent", [True, False])
def test_closing_ends_who_waits_for_an_answer(server: LocalServer, is_idempotent: bool) -> None:
    """`close` ends a request that the server does not answer: its thread sees PoolClosed."""
    with proxy_to(server.port) as proxy, to(server, hosts=(("127.0.0.1", proxy.port),)) as own:
        version(own)
        proxy.is_held.set()
        n_sent = proxy.n_sent
        ask = partial(own.run, lambda s: s.execute("SHOW VERSION"), is_idempotent=is_idempotent)
        thread, raised = in_thread(ask)
        wait_until(lambda: proxy.n_sent > n_sent)
        own.close()
        thread.join(PATIENCE_S)
        assert [type(exc) for exc in raised] == [PoolClosed]
        assert "0 lent" in repr(own)


def test_closing_ends_who_waits_for_another_try(server: LocalServer) -> None:
    """`close` ends the pause before a request is tried again."""
    clock = FakeClock()
    with proxy_to(server.port) as proxy:
        options = replace(server.options, hosts=(("127.0.0.1", proxy.port),))
        own = Connection(lambda: options, label="own", clock=clock)
        version(own)
        proxy.close()
        thread, raised = in_thread(lambda: version(own))
        clock.wait_for_waiters()
        own.close()
        thread.join(PATIENCE_S)
    assert [type(exc) for exc in raised] == [PoolClosed]


def test_an_answer_that_drips_is_given_up(server: LocalServer) -> None:
    """The limits hold for a whole answer: bytes that come one by one do not extend them."""
    with proxy_to(server.port) as proxy:
        slow = to(server, hosts=(("127.0.0.1", proxy.port),), timeout_s=0.3, connect_timeout_s=0.3)
        quick = to(server, hosts=(("127.0.0.1", proxy.port),), timeout_s=0.3)
        with slow, quick:
            version(quick)
            proxy.drip_s = 0.05
            with pytest.raises(ConnectionLost, match="did not answer in time"):
                version(slow)
            with pytest.raises(ConnectionLost, match="no answer in time"):
                quick.run(lambda s: s.execute("SHOW VERSION"), policy=NO_RETRY)


def test_a_closed_connection_stays_closed(server: LocalServer) -> None:
    """After `close` no dialect opens again, one that was never used neither."""
    connection = to(server)
    version(connection)
    connection.close()
    for model in ("tree", "table"):
        with pytest.raises(PoolClosed):
            connection.run(lambda s: s.execute("SHOW VERSION"), model=model)  # type: ignore[arg-type]


def test_many_open_files_are_no_obstacle(server: LocalServer) -> None:
    """A process with more than 1,024 open files can connect, and use a session again."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    try:
        with closing(socket.socket()) as one, ExitStack() as stack:
            copies = [stack.enter_context(closing(one.dup())) for _ in range(1100)]
            assert copies[-1].fileno() > 1024
            with to(server) as connection:
                for _ in range(2):
                    version(connection)
                assert connection.pool("tree").stats.opened == 1
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_zone_that_only_python_knows(server: LocalServer) -> None:
    """Where the server opens no session, and the time zone may be why, the error names it."""
    with (
        to(server, time_zone="EST") as connection,
        pytest.raises(ConnectionLost, match="time_zone='EST'"),
    ):
        version(connection)
    for zone in ("Europe/Berlin", "EST5EDT", "Etc/GMT-3"):
        with to(server, time_zone=zone) as connection:
            assert version(connection) == server.version


@pytest.mark.parametrize(
    "bad",
    [
        *({"time_zone": zone} for zone in (5, None, "", "Mars/Base", ["UTC"])),
        *({"retry": retry} for retry in (3, "x", True, [])),
    ],
)
def test_options_that_cannot_be_meant(bad: dict[str, Any]) -> None:
    """A wrong option of a connection is refused by name before anything is opened."""
    with pytest.raises(OptionsError, match=next(iter(bad))):
        connect("iotdb://host", **bad)


@pytest.mark.parametrize("name", ["user", "password", "database"])
def test_texts_that_cannot_be_sent(server: LocalServer, name: str) -> None:
    """Half a character in a login is said, and a password is not shown."""
    with to(server, **{name: "s3cr3t\ud800"}) as connection:
        with pytest.raises(OptionsError, match="contains a lone surrogate") as caught:
            version(connection)
        shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
        if name == "password":
            assert "s3cr3t" not in "".join(shown.format())


# secrets


def test_no_secret_is_shown(server: LocalServer, caplog: pytest.LogCaptureFixture) -> None:
    """Neither reprs, pickles, logs nor tracebacks with all locals hold the password."""
    caplog.set_level(logging.DEBUG)
    with to(server, password=PASSWORD) as connection:
        with pytest.raises(AuthenticationError) as caught:
            connection.run(lambda s: s.execute("SHOW VERSION"))
        shown = [repr(connection), repr(connection.options), str(connection.options)]
        shown += [connection.options.url, repr(connection.pool("tree")), caplog.text]
        frames = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
        shown += list(frames.format())
        shown.append(repr(pickle.loads(pickle.dumps(caught.value))))
        with pytest.raises(TypeError, match=r"Endpoint\.of.*IOTDB_PASSWORD.*travels=True"):
            pickle.dumps(connection)
    assert not [text for text in shown if PASSWORD in text or repr(PASSWORD)[1:-1] in text]


def test_pickled_options_forget_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    """Options that travel take their password from the environment they arrive in."""
    data = pickle.dumps(ConnectionOptions(password=PASSWORD, hosts=(("h", 1),)))
    assert PASSWORD.encode() not in data
    monkeypatch.setenv("IOTDB_PASSWORD", "theirs")
    arrived = pickle.loads(data)
    assert (str(arrived.password), arrived.hosts) == ("theirs", (("h", 1),))
    assert "theirs" not in repr(arrived)


def test_a_password_travels_only_when_told_to() -> None:
    """A Secret that travels is in the pickle of what holds it, and in no repr."""
    made = ConnectionOptions(password=Secret(PASSWORD, travels=True))
    arrived = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(made))))
    assert str(arrived.password) == PASSWORD
    assert PASSWORD not in repr(arrived)
    assert str(copy.deepcopy(ConnectionOptions(password=PASSWORD)).password) == PASSWORD


@pytest.mark.parametrize(
    "url",
    [
        "iotdb://root:s3cr3t",
        "iotdb://root:s3cr3t/x@host",
        "iotdb://root:12/s3cr3t@host",
        "iotdb://root:12?s3cr3t@host",
        "iotdb://root:s3cr3t#x@host",
        "iotdb://root:s3cr3t℀@host",
        "iotdb://root:s3cr3t@[::1",
        "iotdb://root:s3cr3t@host:port",
        "iotdb:/root:s3cr3t@host",
        "iotdb:root:s3cr3t@host",
        "//root:s3cr3t@host",
        "root:s3cr3t@host",
        "http://root:s3cr3t@host",
        "iotdb://root:s3cr3t@host:0",
        "iotdb://root:s3cr3t@host?pool_size=many",
        "iotdb://root:s3cr3t@host?no_such=1",
    ],
)
def test_a_wrong_url_does_not_show_its_password(url: str) -> None:
    """However a URL is wrong, its error holds no part of the password and says what is."""
    with pytest.raises(OptionsError) as caught:
        connect(url)
    text = "".join(
        traceback.TracebackException.from_exception(caught.value).format_exception_only()
    )
    assert "s3cr3t" not in text
    for frame, _ in list(traceback.walk_tb(caught.value.__traceback__))[1:]:  # but this test's
        assert "s3cr3t" not in repr(list(frame.f_locals.values()))
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


# precedence


def test_who_names_the_connection_wins(
    server: LocalServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Argument, then use(), then IOTDB_URL, then the profile, then this machine's 6667."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("IOTDB_URL", raising=False)
    monkeypatch.setenv("IOTDB_PASSWORD", "x")
    use(None)
    assert resolve_connection(None).options.hosts == (("127.0.0.1", 6667),)
    (tmp_path / "iotdb-frames").mkdir()
    (tmp_path / "iotdb-frames" / "config.toml").write_text('[default]\nurl = "iotdb://profile"\n')
    assert resolve_connection(None).options.hosts == (("profile", 6667),)
    monkeypatch.setenv("IOTDB_URL", "iotdb://environment")
    assert resolve_connection(None).options.hosts == (("environment", 6667),)
    try:
        assert iotf.use("iotdb://used") is resolve_connection(None)
        assert resolve_connection("iotdb://argument").options.hosts == (("argument", 6667),)
        with to(server) as own:
            assert resolve_connection(own) is own
    finally:
        use(None)
    again = resolve_connection("iotdb://argument")
    assert resolve_connection("iotdb://argument") is again
    again.close()
    assert resolve_connection("iotdb://argument") is not again
    with pytest.raises(OptionsError, match="neither"):
        resolve_connection(5)  # type: ignore[arg-type]


def test_where_the_password_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    """URL, then environment, then root's own; for a named user nothing is guessed."""
    monkeypatch.delenv("IOTDB_PASSWORD", raising=False)
    monkeypatch.setattr(sys, "stdin", None)
    assert str(connect("iotdb://host").options.password) == "root"
    assert str(connect("iotdb://me:p%2Fq@host").options.password) == "p/q"
    with pytest.raises(OptionsError, match="no password for user 'me'"):
        connect("iotdb://me@host")
    monkeypatch.setenv("IOTDB_PASSWORD", "env")
    assert str(connect("iotdb://me@host").options.password) == "env"
    assert str(connect("iotdb://me:url@host").options.password) == "url"


# TLS


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key store for 127.0.0.1, its certificate as PEM, and a stranger's."""
    directory = tmp_path_factory.mktemp("tls")
    for name in ("own", "stranger"):
        make_key_store(directory, name)
    return directory


@pytest.fixture(scope="module")
def tls_server(certificates: Path) -> Iterator[LocalServer]:
    """An IoTDB that speaks TLS only."""
    with LocalServer(properties=tls_properties(certificates / "own.jks")) as running:
        yield running


def test_tls_is_verified(tls_server: LocalServer, certificates: Path) -> None:
    """The right authority and host connect, and a session is used again."""
    with to(tls_server, tls=True, ca_file=str(certificates / "own.pem")) as connection:
        for _ in range(3):
            assert version(connection) == tls_server.version
        assert connection.pool("tree").stats.opened == 1


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"tls": False}, r"speaks TLS.*\n.*tls=true"),
        ({"tls": True}, "certificate .* is not accepted"),
        ({"tls": True, "ca_file": "stranger.pem"}, "certificate .* is not accepted"),
        ({"tls": True, "ca_file": "own.pem", "host": "localhost"}, "is not accepted: .*localhost"),
        ({"tls": True, "ca_file": "nowhere.pem"}, "nowhere.pem"),
        ({"tls": True, "ca_file": "own.jks"}, "own.jks"),
    ],
    ids=["plain", "system's CAs", "stranger", "wrong host", "no such file", "no PEM"],
)
def test_tls_trusts_nobody_else(
    tls_server: LocalServer, certificates: Path, options: dict[str, Any], text: str
) -> None:
    """Plain talk, an unknown authority, another host name: refused once, and said what it is."""
    options, clock = dict(options), FakeClock(runs=True)
    host = options.pop("host", "127.0.0.1")
    if "ca_file" in options:
        options["ca_file"] = str(certificates / options["ca_file"])
    hosts = ((host, tls_server.port),)
    with to(tls_server, clock=clock, **{"ca_file": None, **options, "hosts": hosts}) as connection:
        with pytest.raises((ConnectionLost, OptionsError), match=text) as caught:
            _ = connection.version
        assert clock.slept_s == []
        if isinstance(caught.value, ConnectionLost):
            assert not caught.value.is_retryable
        else:
            assert "ca_file" in options


def test_tls_to_a_plain_server(server: LocalServer) -> None:
    """tls=true against a server without is said to be that."""
    with to(server, tls=True) as connection:
        with pytest.raises(ConnectionLost, match="does not speak TLS") as caught:
            _ = connection.version
        assert "tls=true" in (caught.value.hint or "")


def test_environment_is_left_alone() -> None:
    """None of these tests leaves a connection in use."""
    assert use(None) is None
    assert "IOTDB_URL" not in os.environ
