"""Frames: whole answers within their limits, and no room for what is only claimed."""

from __future__ import annotations

import socket
import struct
import threading
import tracemalloc
from collections.abc import Iterator

import pytest

from clock import FakeClock
from iotdb_frames.errors import ConnectionLost
from iotdb_frames.wire.transport import FIRST_BYTES, Channel, Transport


class Ticking(FakeClock):
    """Every look takes a second."""

    def now(self) -> float:
        self.advance(1.0)
        return super().now()


class Dripping(socket.socket):
    """Gives one byte at a time."""

    def recv_into(self, buffer: memoryview, *_: int) -> int:  # type: ignore[override]
        return super().recv_into(buffer[:1])


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of a connection."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


@pytest.mark.parametrize(("limit_s", "is_in_time"), [(50, False), (150, True)])
def test_a_limit_holds_for_a_whole_answer(
    pair: tuple[socket.socket, socket.socket], limit_s: float, is_in_time: bool
) -> None:
    """An answer whose bytes come one by one has the limit once, and not each byte."""
    ours, theirs = pair
    theirs.sendall(struct.pack("!i", 100) + bytes(100))
    with Dripping(ours.family, ours.type, fileno=ours.detach()) as dripping:
        transport = Transport(dripping, clock=Ticking())
        transport.limit(limit_s)
        if is_in_time:
            assert transport.receive_frame() == 100
        else:
            with pytest.raises(TimeoutError):
                transport.receive_frame()


class Slow(socket.socket):
    """Gives eleven bytes at a time."""

    def recv_into(self, buffer: memoryview, *_: int) -> int:  # type: ignore[override]
        return super().recv_into(buffer[:11])


@pytest.mark.parametrize("in_all", [False, True])
def test_a_large_answer_has_longer(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch, in_all: bool
) -> None:
    """An answer that keeps coming has the time its size takes on a slow line; a login has not."""
    monkeypatch.setattr("iotdb_frames.wire.transport.SLOWEST_BYTES_PER_S", 10)
    ours, theirs = pair
    theirs.sendall(struct.pack("!i", 1000) + bytes(1000))  # 91 seconds
    with Slow(ours.family, ours.type, fileno=ours.detach()) as slow:
        transport = Transport(slow, clock=Ticking())
        transport.limit(20, in_all=in_all)
        if in_all:
            with pytest.raises(TimeoutError):
                transport.receive_frame()
        else:
            assert transport.receive_frame() == 1000


@pytest.mark.parametrize("is_sending", [False, True])
def test_long_work_is_waited_for_and_a_frozen_host_is_not(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch, is_sending: bool
) -> None:
    """Who waits looks again and again whether the host is there, and leaves with the first no,
    however much time is left."""
    monkeypatch.setattr("iotdb_frames.wire.transport.LOOK_AFTER_S", 0.01)
    ours, theirs = pair
    looks = iter([True, True, False])
    transport = Transport(ours)
    transport.limit(300)
    transport.is_there = lambda: next(looks)
    if is_sending:
        transport.late_fields = [bytes(1 << 24)]
    with pytest.raises(ConnectionAbortedError, match="logins"):
        (transport.flush if is_sending else transport.receive_frame)()
    assert next(looks, None) is None

    def answer() -> bool:
        theirs.sendall(struct.pack("!i", 3) + b"end")
        return True

    if not is_sending:
        transport.is_there = answer
        assert transport.receive_frame() == 3


def test_a_claimed_size_is_not_believed(pair: tuple[socket.socket, socket.socket]) -> None:
    """A header that says a gigabyte makes room for what comes, not for what is said."""
    ours, theirs = pair
    theirs.sendall(struct.pack("!i", 1 << 30) + bytes(1000))
    theirs.shutdown(socket.SHUT_WR)
    tracemalloc.start()
    try:
        with pytest.raises(ConnectionResetError):
            Transport(ours).receive_frame()
        assert tracemalloc.get_traced_memory()[1] < 2 * FIRST_BYTES
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "field",
    [
        struct.pack("!bhbi", 15, 3, 12, 1 << 30),  # subStatus: a list of a billion
        struct.pack("!bhi", 11, 2, 1 << 30),  # message: a gigabyte of text
    ],
    ids=["list", "text"],
)
def test_a_claimed_length_is_not_believed(
    pair: tuple[socket.socket, socket.socket], field: bytes
) -> None:
    """A list or a text that says it is longer than its answer ends as a lost connection."""
    ours, theirs = pair
    status = struct.pack("!bhi", 8, 1, 200) + field
    success = struct.pack("!bh", 12, 0) + struct.pack("!bh", 12, 1) + status
    message = struct.pack("!Ii", 0x80010002, 12) + b"closeSession" + struct.pack("!i", 0) + success
    theirs.sendall(struct.pack("!i", len(message)) + message)
    channel = Channel(ours, "there")
    tracemalloc.start()
    try:
        with pytest.raises(ConnectionLost):
            channel.receive("executeStatementV2")
        assert tracemalloc.get_traced_memory()[1] < FIRST_BYTES + (1 << 20)
    finally:
        tracemalloc.stop()
    assert channel.is_broken


def test_a_large_answer_grows_as_it_comes(pair: tuple[socket.socket, socket.socket]) -> None:
    """An answer larger than the first room arrives byte for byte."""
    ours, theirs = pair
    data = bytes(range(256)) * (3 * FIRST_BYTES // 256) + b"end"
    sending = threading.Thread(
        target=theirs.sendall, args=(struct.pack("!i", len(data)) + data,), daemon=True
    )
    sending.start()
    transport = Transport(ours)
    assert transport.receive_frame() == len(data)
    sending.join()
    assert transport.read(len(data)) == data
