"""Endpoints: where other processes connect to, and with which password."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

import iotdb_frames as iotf
from clock import PATIENCE_S, wait_until
from iotdb_frames.client.connection import Connection
from iotdb_frames.client.endpoint import Endpoint
from iotdb_frames.errors import AuthenticationError
from iotdb_frames.options import NO_RETRY, ConnectionOptions, RetryPolicy
from iotdb_frames.server import LocalServer
from proxy import proxy_to

WORKER = """
import pickle, sys
import iotdb_frames as iotf
endpoint = pickle.load(sys.stdin.buffer)
connection = endpoint.connection()
assert endpoint.connection() is connection
print(connection.version, connection.options.time_zone, repr(endpoint))
"""


@pytest.fixture
def password(server: LocalServer, connection: Connection) -> str:
    """That of a user whose it is alone."""
    secret = "s3cr3t-of-a-Worker"
    iotf.execute(f"CREATE USER worker '{secret}'", connection=connection)
    return secret


@pytest.fixture
def place(
    server: LocalServer, connection: Connection, password: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Connection]:
    """A connection of that user, with options of its own."""
    monkeypatch.delenv("IOTDB_PASSWORD", raising=False)
    host, port = server.options.hosts[0]
    with iotf.connect(
        f"iotdb://worker@{host}:{port}?time_zone=Asia/Tokyo", password=password, retry=NO_RETRY
    ) as opened:
        yield opened
    iotf.execute("DROP USER worker", connection=connection)


def worker(data: bytes, password: str | None = None) -> subprocess.CompletedProcess[bytes]:
    """A process that is handed a pickle, and whose environment may have a password."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("IOTDB_")}
    environment["PYTHONPATH"] = str(Path(iotf.__file__).parents[1])
    if password is not None:
        environment["IOTDB_PASSWORD"] = password
    return subprocess.run(
        [sys.executable, "-c", WORKER],
        input=data,
        env=environment,
        capture_output=True,
        check=False,
        timeout=120,
    )


def test_a_password_that_travels(place: Connection, password: str) -> None:
    """Another process connects as we do, with all options, if the password was told to travel."""
    endpoint = Endpoint.of(place, travels=True)
    data = pickle.dumps(endpoint)
    assert password.encode() in data
    done = worker(data)
    assert done.returncode == 0, done.stderr.decode()
    version, zone, shown = done.stdout.decode().split(maxsplit=2)
    assert (version, zone) == (place.version, "Asia/Tokyo")
    assert shown.strip() == repr(endpoint) == f"<Endpoint {place.options.url}>"
    assert pickle.loads(data) == endpoint
    assert hash(pickle.loads(data)) == hash(endpoint)


def test_a_password_that_stays(place: Connection, password: str) -> None:
    """Else it is in no pickle: the process has its own, or is told what it lacks."""
    data = pickle.dumps(Endpoint.of(place))
    assert password.encode() not in data
    assert worker(data, password).returncode == 0
    failed = worker(data)
    assert failed.returncode == 1
    for word in ("AuthenticationError", "IOTDB_PASSWORD", "travels=True"):
        assert word in failed.stderr.decode()
    assert password not in failed.stderr.decode()


def test_no_password_is_shown(place: Connection, password: str) -> None:
    """Neither the repr of an endpoint nor that of what is in it holds a password."""
    for endpoint in (Endpoint.of(place), Endpoint.of(place, travels=True)):
        shown = f"{endpoint!r} {endpoint} {endpoint.options!r} {vars(endpoint)}"
        assert password not in shown


def test_one_connection_per_process(server: LocalServer) -> None:
    """Threads share one connection, equal endpoints too; one that was closed is opened again."""
    options = server.options
    made = [Endpoint(options, RetryPolicy(attempts=1)) for _ in range(8)]
    found: list[Connection] = []
    threads = [
        threading.Thread(target=lambda one=one: found.append(one.connection())) for one in made
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, found))) == 1
    found[0].close()
    again = made[0].connection()
    assert again is not found[0]
    assert again.version
    again.close()


def test_in_its_own_process(place: Connection) -> None:
    """Where it was made, an endpoint is the connection it was made of, until that is closed."""
    endpoint = Endpoint.of(place, travels=True)
    assert endpoint.connection() is place
    place.close()
    other = endpoint.connection()
    assert other is not place
    assert other.version
    other.close()


def test_a_local_server_is_an_address(server: LocalServer) -> None:
    """What a connection finds when it opens, such as a ``local:`` server, is fixed."""
    asked = []

    def resolve() -> ConnectionOptions:
        asked.append(1)
        return server.options

    with Connection(resolve, label="local:") as moving:
        endpoint = pickle.loads(pickle.dumps(Endpoint.of(moving, travels=True)))
        assert asked
        assert endpoint.options.hosts == server.options.hosts
        with endpoint.connection() as fixed:
            n_asked = len(asked)
            assert fixed.version
            assert len(asked) == n_asked


def test_an_endpoint_of_a_url(server: LocalServer) -> None:
    """A URL is one too; a wrong password is the server's word, without our hint."""
    host, port = server.options.hosts[0]
    url = f"iotdb://root:wrong-Passw0rd@{host}:{port}"
    endpoint = pickle.loads(pickle.dumps(Endpoint.of(url, travels=True)))
    with pytest.raises(AuthenticationError) as caught:
        endpoint.connection()
    assert "travels" not in str(caught.value)


def test_who_waits_for_a_server_keeps_nobody_waiting(server: LocalServer) -> None:
    """While one endpoint's server does not answer, others are opened, and each thread has its own
    time for it: not one after the other."""

    def to(port: int) -> Endpoint:
        options = replace(server.options, hosts=(("127.0.0.1", port),), connect_timeout_s=300)
        return Endpoint(options, NO_RETRY)

    with proxy_to(server.port) as frozen, ThreadPoolExecutor(3) as threads:
        frozen.is_held.set()
        waiting = [threads.submit(to(frozen.port).connection) for _ in range(2)]
        try:
            wait_until(lambda: frozen.n_connections == 2)
            with threads.submit(to(server.port).connection).result(PATIENCE_S) as opened:
                assert opened.version
        finally:
            frozen.is_held.clear()
        first, second = (one.result(PATIENCE_S) for one in waiting)
        assert first is second
        first.close()
