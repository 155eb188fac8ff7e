"""Sessions: every answer, torn or wrong, ends as a result or as one of our errors."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
import thrift
from iotdb.thrift.common.ttypes import TSStatus
from thrift.protocol.TProtocol import TProtocolException
from thrift.Thrift import TApplicationException, TException
from thrift.transport.TTransport import TTransportException

from iotdb_frames import delete, plan, read, read_sql, show, write
from iotdb_frames.client.connection import Connection
from iotdb_frames.errors import (
    RETRYABLE_CODES,
    AuthenticationError,
    ConnectionLost,
    IoTDBFramesError,
    OptionsError,
    PermissionDenied,
    QueryError,
    QueryTimeout,
    ServerError,
    WriteRejected,
)
from iotdb_frames.options import NO_RETRY, ConnectionOptions
from iotdb_frames.server import LocalServer
from iotdb_frames.wire.answers import check
from iotdb_frames.wire.rpc import Session
from iotdb_frames.wire.transport import Channel
from iotdb_frames.writes.plan.chunks import lanes
from proxy import Proxy, proxy_to


@pytest.fixture
def options(server: LocalServer) -> ConnectionOptions:
    """Little patience."""
    return replace(server.options, timeout_s=2.0, connect_timeout_s=2.0)


@pytest.fixture
def proxy(server: LocalServer) -> Iterator[Proxy]:
    """Between a session and the server."""
    with proxy_to(server.port) as opened:
        yield opened


def open_session(port: int, options: ConnectionOptions) -> Session:
    """A session of the tree model."""
    return Session("127.0.0.1", port, options=options, model="tree")


def ask(port: int, options: ConnectionOptions) -> None:
    """A session of its own for one statement."""
    session = open_session(port, options)
    try:
        session.execute("SHOW VERSION")
    finally:
        session.abandon()


@pytest.mark.parametrize(
    ("code", "subs", "kind", "is_retryable"),
    [
        (801, [], AuthenticationError, False),
        (804, [], AuthenticationError, False),
        (803, [], PermissionDenied, False),
        (302, [200, 803], PermissionDenied, False),
        (802, [], ConnectionLost, True),
        (720, [], QueryTimeout, False),
        (701, [], QueryError, False),
        (606, [], QueryError, True),
        (507, [], QueryError, False),
        (302, [200, 606, 606], QueryError, True),
        (302, [606, 507], QueryError, False),
        (302, [], QueryError, False),
        (99999, [], QueryError, False),
    ],
)
def test_codes_become_errors(
    code: int, subs: list[int], kind: type[ServerError], is_retryable: bool
) -> None:
    """A status code decides the class and whether to try again; 302 by its sub-statuses."""
    status = TSStatus(code, message="words", subStatus=[TSStatus(s, message="sub") for s in subs])
    with pytest.raises(ServerError, match="words") as caught:
        check(status, QueryError)
    assert type(caught.value) is kind
    assert caught.value.is_retryable is is_retryable
    if kind is not ConnectionLost:
        assert (caught.value.code, caught.value.sub_codes) == (code, tuple(subs))


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (
            2207,
            "[2207 RATIS_READ_UNAVAILABLE] too few replicas of this region are running to read it",
        ),
        (611, "[611 DISK_SPACE_INSUFFICIENT] disk space insufficient"),
        (99999, "[99999] the server gave no reason"),
    ],
)
def test_a_code_without_words_is_named(code: int, text: str) -> None:
    """Where the server gives a number alone, the error has its name and says what it means."""
    with pytest.raises(QueryError) as caught:
        check(TSStatus(code), QueryError)
    assert caught.value.message == text


@pytest.mark.parametrize(("code", "subs"), [(200, []), (400, []), (302, [200, 400])])
def test_success_and_redirect_raise_nothing(code: int, subs: list[int]) -> None:
    """Recommending another node is not a failure, neither in one status nor in many."""
    check(TSStatus(code, subStatus=[TSStatus(s) for s in subs]), WriteRejected)


def test_semantic_codes_are_never_retried() -> None:
    """What the statement or the data is to blame for is not in the list of codes to try again."""
    never = {507, 607, 614, 615, 616, 700, 701, 801, 802, 803, 804}
    assert not never & RETRYABLE_CODES


class _Raises:
    """A client whose calls end in an exception, once the request is out."""

    def __init__(self, exc: BaseException, session: Session) -> None:
        self.exc = exc
        self.session = session

    def __getattr__(self, _: str) -> Any:
        def call(*_: Any) -> None:
            self.session._channel.transport.was_sent = True
            raise self.exc

        return call


def thrift_exceptions() -> list[type[TException]]:
    """Every exception class of the RPC library."""
    found: list[type[TException]] = []
    pending: list[type[Any]] = [TException]
    while pending:
        kind = pending.pop()
        found.append(kind)
        pending += kind.__subclasses__()
    return found


def test_no_exception_of_the_rpc_library_is_unmapped(
    server: LocalServer, options: ConnectionOptions
) -> None:
    """Whatever Thrift, the socket or a broken message raises, a caller sees our error."""
    assert {TTransportException, TProtocolException, TApplicationException} <= set(
        thrift_exceptions()
    )
    assert inspect.ismodule(thrift)
    broken: list[BaseException] = [
        *(kind() for kind in thrift_exceptions()),
        OSError("x"),
        TimeoutError("x"),
        EOFError("x"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "x"),
        ValueError("x"),
        TypeError("x"),
        AttributeError("x"),
        MemoryError("x"),
    ]
    for exc in broken:
        session = open_session(server.port, options)
        session._channel._client = _Raises(exc, session)
        with pytest.raises(ConnectionLost) as caught:
            session.execute("SHOW VERSION")
        assert caught.value.__cause__ is exc
        assert session.is_broken


def test_a_request_that_cannot_be_encoded_is_no_lost_connection(
    server: LocalServer, options: ConnectionOptions
) -> None:
    """A statement with a lone surrogate is the caller's fault, and not tried again."""
    session = open_session(server.port, options)
    with pytest.raises(OptionsError, match=r"contains a lone surrogate, '\\ud800' at position 5"):
        session.execute("SHOW \ud800")
    session.close()


def test_an_interrupt_is_no_error_of_ours(server: LocalServer, options: ConnectionOptions) -> None:
    """Ctrl-C passes through, and the session between two messages is not used again."""
    session = open_session(server.port, options)
    session._channel._client = _Raises(KeyboardInterrupt(), session)
    with pytest.raises(KeyboardInterrupt):
        session.execute("SHOW VERSION")
    assert session.is_broken
    assert not session.is_usable


def test_answers_cut_anywhere_are_lost_connections(
    proxy: Proxy, options: ConnectionOptions
) -> None:
    """An answer torn after any byte, at login or later, is a lost connection and nothing else."""
    sizes = []
    proxy.rewrite = lambda data: (sizes.append(len(data)), data)[1]
    session = open_session(proxy.port, options)
    login = sum(sizes)
    session.execute("SHOW VERSION")
    whole = sum(sizes)
    session.close()
    proxy.rewrite = lambda data: data
    for n_bytes in [*range(12), *range(12, whole, 17), whole - 1]:
        proxy.cut_after = n_bytes
        with pytest.raises(ConnectionLost):
            ask(proxy.port, options)
    assert 0 < login < whole


class Flip:
    """Turns one bit of what comes, so many bytes on."""

    def __init__(self, at: int, bit: int) -> None:
        self.left, self.bit = at, bit

    def __call__(self, data: bytes) -> bytes:
        at, self.left = self.left, self.left - len(data)
        if not 0 <= at < len(data):
            return data
        return data[:at] + bytes([data[at] ^ self.bit]) + data[at + 1 :]


def test_answers_with_any_byte_wrong_are_errors_of_ours(
    proxy: Proxy, options: ConnectionOptions
) -> None:
    """A flipped bit in an answer never ends in a foreign exception or in an endless wait."""
    rng = random.Random(20)
    seen = set()
    quick = replace(options, timeout_s=0.3, connect_timeout_s=0.3)
    for _ in range(100):
        proxy.rewrite = Flip(rng.randrange(500), 1 << rng.randrange(8))
        try:
            ask(proxy.port, quick)
            seen.add("fine")
        except IoTDBFramesError as exc:
            seen.add(type(exc).__name__)
    assert {"fine", "ConnectionLost"} <= seen


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("model", ["tree", "table"])
def test_whole_calls_with_any_byte_wrong_raise_errors_of_ours(
    server: LocalServer, connection: Connection, database: str, seed: int, model: str
) -> None:
    """Reading, planning, showing and deleting through answers with wrong bytes end in our tree."""
    target = f"root.{database}.d" if model == "tree" else f"{database}.t"
    index = pd.date_range("2024-01-01", periods=50, freq="s", name="time")
    frame = pd.DataFrame({"a": range(50), "b": ["x", None] * 25, "c": [True, False] * 25}, index)
    write(frame, target, connection=connection)
    rng = random.Random(seed)
    seen = set()
    with proxy_to(server.port) as proxy:
        options = replace(
            server.options,
            hosts=(("127.0.0.1", proxy.port),),
            timeout_s=0.5,
            connect_timeout_s=0.5,
        )
        calls: list[Callable[[Connection], object]] = [
            lambda c: read(target, connection=c),
            lambda c: read_sql(f"SELECT count(a) FROM {target}", model=model, connection=c),
            lambda c: plan(frame, target, connection=c),
            lambda c: write(frame, target, retry=NO_RETRY, progress=False, connection=c),
            lambda c: show("devices" if model == "tree" else "tables", connection=c),
            lambda c: delete(target, start="2030-01-01", connection=c),
        ]
        for call in calls * 8:
            with Connection(lambda: options, label="wrong", retry=NO_RETRY) as own:
                read_sql("SHOW VERSION", connection=own)
                at, bit = rng.randrange(600), 1 << rng.randrange(8)
                proxy.rewrite = Flip(at, bit)
                try:
                    call(own)
                    seen.add("fine")
                except IoTDBFramesError as exc:
                    seen.add(type(exc).__name__)
                finally:
                    proxy.rewrite = lambda data: data
    assert {"fine", "ConnectionLost"} <= seen


def test_a_session_shows_little(server: LocalServer, options: ConnectionOptions) -> None:
    """A session's repr: where it goes, and whether it still stands."""
    session = open_session(server.port, options)
    assert repr(session) == f"<Session 127.0.0.1:{server.port} tree>"
    session.close()
    assert "broken" in repr(session)
    session.close()


def test_a_row_of_each_device_is_refused_as_its_tablet_is(
    server: LocalServer, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such rows go as records; where one is refused the server says of it what it says of tablets,
    and the other rows are stored."""
    frame = pd.DataFrame(
        {"device": ["a", "b", "c"], "x": [1.5, 2.5, 3.5]},
        index=pd.DatetimeIndex(["2024-01-01"] * 3, name="time"),
    )
    prefix = "root.records"
    connection.run(lambda s: s.execute(f"CREATE TIMESERIES {prefix}.b.x BOOLEAN"), model="tree")
    planned = plan(frame, prefix, device="device", offline=True, aligned=False)
    (request,) = [request for lane in lanes(planned) for request in lane]
    session = Session(*server.options.hosts[0], options=server.options, model="tree")
    told: list[tuple[int | None, tuple[int, ...], str]] = []
    asked: list[str] = []
    call = Channel.call

    def record(channel: Channel, method: str, *args: Any, **options: Any) -> Any:
        asked.append(method)
        return call(channel, method, *args, **options)

    monkeypatch.setattr(Channel, "call", record)
    try:
        for tablets in (
            request.tablets,
            [t._replace(types=list(t.types)) for t in request.tablets],
        ):
            with pytest.raises(WriteRejected) as caught:
                session.insert(tablets)
            told.append((caught.value.code, caught.value.sub_codes, caught.value.message))
    finally:
        session.close()
    assert asked[:3] == ["insertRecords", "insertTablets", "insertTablets"]
    assert told[0] == told[1]
    for name, value in (("a", 1.5), ("c", 3.5)):
        assert read(f"{prefix}.{name}", connection=connection)["x"].tolist() == [value]
