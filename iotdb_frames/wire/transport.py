"""Framed Thrift messages over one socket, and what a broken connection means.

- Requests and answers are framed Thrift messages (4-byte big-endian length, then the message). The
  transport is our own: it reads frames of any size (the stock one stops at 16,384,000 bytes), sends
  header and body without joining them, and knows whether a request may have reached the server when
  the connection breaks.
- A limit covers a whole answer, however slowly its bytes arrive: so many seconds to its header,
  then as many again plus the time for the received bytes at `SLOWEST_BYTES_PER_S`. (If the size
  claimed by the header counted, a peer could block a call for hours.)
- If other hosts are named, a caller that has waited for `LOOK_AFTER_S` checks whether this one
  still accepts logins, and again after each such wait: long work is waited for, a frozen host is
  left.
- No length claimed by an answer is trusted: memory is allocated as bytes arrive, and no text or
  list in an answer is longer than the answer.
- Every exception of the RPC library and of the socket leaves this module as one of our errors.

Source: `IClientRPCService` of apache-iotdb 2.0; observed on IoTDB 2.0.10.
"""

from __future__ import annotations

import math
import os
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from io import BytesIO
from typing import Any
from weakref import WeakSet

from iotdb.thrift.rpc.IClientRPCService import Client
from thrift.protocol.TBinaryProtocol import TBinaryProtocolAccelerated
from thrift.Thrift import TException
from thrift.transport.TTransport import CReadableTransport, TTransportBase

from iotdb_frames.clock import CLOCK, Clock
from iotdb_frames.errors import ConnectionLost, OptionsError
from iotdb_frames.interrupts import Interruptible, check_interrupt

MAX_FRAME_BYTES = 1 << 30
FIRST_BYTES = 1 << 24
"""Memory allocated for an answer before its bytes arrive; a fetch takes about half of it."""
LARGE_BYTES = 1 << 14
"""Buffers from this size are sent by themselves, smaller ones are joined."""
SLOWEST_BYTES_PER_S = 1 << 16
"""The rate that the time limit of a large request or answer allows for."""
LOOK_AFTER_S = 20.0
"""How long a silent host is waited for before it is checked; only where others are named."""


_waiting: dict[int, Transport] = {}
"""By thread: the transport on which it sends or waits for an answer."""
_waits = threading.Lock()
"""Held while that changes, so that a transport is closed from outside only while it is used."""
_ended: WeakSet[threading.Thread] = WeakSet()


def _forget_waits() -> None:
    """In a forked child, where no thread waits and none gives the lock back."""
    global _waits
    _waits = threading.Lock()
    _waiting.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_waits)


def end_wait(thread: threading.Thread) -> None:
    """Close the connection on which a thread sends or waits for an answer, which it sees as lost.

    The thread is to end: from now on it retries nothing.
    """
    _ended.add(thread)
    _close_wait(thread)


def interrupt(thread: Interruptible) -> None:
    """End a thread where it waits, or at its next wait; see `interrupts`."""
    thread.is_to_end = True
    _close_wait(thread)


def _close_wait(thread: threading.Thread) -> None:
    with _waits:
        transport = _waiting.get(thread.ident or 0)
        if transport is not None:
            transport.close()


def is_ended() -> bool:
    """Whether `end_wait` was called for this thread."""
    return threading.current_thread() in _ended


class _FrozenError(ConnectionAbortedError):
    """The host does not answer, and no login either."""


class Transport(TTransportBase, CReadableTransport):  # type: ignore[misc]
    """Framed messages over one socket.

    `late_fields` are added to the request's struct when it is sent, so that encoded tablets go from
    their arrays to the socket without a copy. Thrift reads a struct's fields in any order.
    """

    def __init__(self, sock: socket.socket, *, clock: Clock = CLOCK) -> None:
        self.sock = sock
        self._clock = clock
        self._limit_s = self._end = math.inf
        self._out: list[bytes] = []
        self._in = BytesIO()
        self.was_sent = False
        self.late_fields: list[bytes | memoryview] = []
        self.is_there: Callable[[], bool] | None = None
        self.was_there = False
        self._in_use = threading.Lock()
        self._is_closed = False
        self._look: Transport | None = None

    def limit(self, seconds: float, *, in_all: bool = False) -> None:
        """Limit each later message (see the module); `in_all`: all of them together, from now."""
        self._limit_s = seconds
        self._end = self._clock.now() + seconds if in_all else math.inf

    def _wait(self, step: Callable[[], int], until: float, *, n_bytes: int = 0) -> int:
        """Call the socket, at most to `until` plus the time that `n_bytes` may take."""
        until = min(self._end, until + n_bytes / SLOWEST_BYTES_PER_S)
        while True:
            left_s = until - self._clock.now()
            if left_s <= 0:
                raise TimeoutError("timed out")
            limit_s = left_s if self.is_there is None else min(left_s, LOOK_AFTER_S)
            self.sock.settimeout(None if limit_s == math.inf else limit_s)
            try:
                return step()
            except TimeoutError:
                if self.is_there is None or limit_s == left_s:
                    raise
                self.was_there = self.is_there()
                if not self.was_there:
                    raise _FrozenError("it does not take logins any more") from None

    def isOpen(self) -> bool:  # noqa: N802 - Thrift's name
        return not self._is_closed

    def close(self) -> None:
        """Close, from any thread; a thread waiting for the socket is woken."""
        self._is_closed = True
        if (look := self._look) is not None:
            look.close()
        # Closing alone would not wake a waiting thread. And when woken, it looks at the file number
        # again, in the kernel: if that belonged to another socket by then, it would wait for that.
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        if self._in_use.acquire(blocking=False):
            try:
                self.sock.close()
            finally:
                self._in_use.release()

    @contextmanager
    def _using(self) -> Iterator[None]:
        """Keep other threads from closing the socket; a close meanwhile happens at the end."""
        me = threading.get_ident()
        outer = _waiting.get(me)  # whose `is_there` logs in, and which closes this one, too
        try:
            with self._in_use:
                with _waits:
                    if outer is None:
                        _waiting[me] = self
                    else:
                        outer._look = self
                check_interrupt()  # only now, so that none is missed
                if outer is not None and outer._is_closed:
                    raise ConnectionAbortedError("closed meanwhile")
                yield
        finally:
            with _waits:
                if outer is None:
                    _waiting.pop(me, None)
                else:
                    outer._look = None
            if self._is_closed:
                self.close()
        if self._is_closed:
            check_interrupt()  # which may have closed it behind the last byte

    def write(self, data: bytes) -> None:
        self._out.append(data)

    def flush(self) -> None:
        message, self._out = b"".join(self._out), []
        parts: list[bytes | memoryview] = [message]
        if self.late_fields:
            # A request ends with two STOP bytes, of its struct and of the call's arguments.
            parts = [message[:-2], *self.late_fields, b"\0\0"]
            self.late_fields = []
        n_bytes = sum(map(len, parts))
        small: list[bytes | memoryview] = [struct.pack("!i", n_bytes)]
        self.was_sent = True
        with self._using():
            until = self._clock.now() + self._limit_s

            def send(data: bytes | memoryview) -> None:
                left = memoryview(data)
                while left:
                    left = left[self._wait(partial(self.sock.send, left), until, n_bytes=n_bytes) :]

            for part in parts:
                if len(part) < LARGE_BYTES:
                    small.append(part)
                    continue
                send(b"".join(small))
                send(part)
                small = []
            if small:
                send(b"".join(small))

    def _receive(self, view: memoryview, until: float, *, n_held: int = 0) -> None:
        n = 0
        while n < len(view):
            receive = partial(self.sock.recv_into, view[n:])
            n_more = self._wait(receive, until, n_bytes=n_held + n)
            if not n_more:
                raise ConnectionResetError("the server closed the connection")
            n += n_more

    def receive_frame(self) -> int:
        """Wait for an answer, buffer it for `read`, and return its size."""
        with self._using():
            header = bytearray(4)
            self._receive(memoryview(header), self._clock.now() + self._limit_s)
            (n_bytes,) = struct.unpack("!i", header)
            if not 0 <= n_bytes <= MAX_FRAME_BYTES:
                is_tls = n_bytes >> 16 in (0x1503, 0x1603)
                kind = "a TLS server" if is_tls else "not an IoTDB server"
                raise ConnectionAbortedError(f"this is {kind}: its answer is not a Thrift frame")
            until = self._clock.now() + self._limit_s
            frame, n_held = BytesIO(), 0
            while n_held < n_bytes:
                # Extend the buffer and receive into it: no second copy of possible megabytes.
                n_room = min(n_bytes, max(FIRST_BYTES, 2 * n_held))
                frame.seek(n_room - 1)
                frame.write(b"\0")
                self._receive(frame.getbuffer()[n_held:], until, n_held=n_held)
                n_held = n_room
            frame.seek(0)
        self._in = frame
        return int(n_bytes)

    def read(self, n_bytes: int) -> bytes:
        data = self._in.read(n_bytes)
        if n_bytes and not data:
            raise EOFError("the answer ends in the middle")
        return data

    @property
    def cstringio_buf(self) -> BytesIO:
        return self._in

    def cstringio_refill(self, _partial: bytes, _n_bytes: int) -> BytesIO:
        raise EOFError("the answer ends in the middle")

    def has_pending(self, wait_s: float = 0.0) -> bool:
        """Whether something arrived; between requests, that can only be the end."""
        if not hasattr(select, "poll"):
            return bool(select.select([self.sock], [], [], wait_s)[0])
        poll = select.poll()  # `select` takes no file number over 1,023
        poll.register(self.sock, select.POLLIN)
        return bool(poll.poll(wait_s * 1000))


class Channel:
    """Requests and their answers over one connected socket; used by one thread at a time.

    Attributes
    ----------
    address : ``host:port``, for errors
    transport : the frames below
    is_broken : whether a failure during a request, or `abandon`, ended it
    has_failed : whether it was a failure, of the peer or on the way there
    """

    def __init__(self, sock: socket.socket, address: str, *, clock: Clock = CLOCK) -> None:
        self.address = address
        self.is_broken = self.has_failed = False
        self.transport = Transport(sock, clock=clock)
        self._protocol = TBinaryProtocolAccelerated(self.transport)
        self._client = Client(self._protocol)

    def call(self, method: str, *args: Any, late_fields: Sequence[bytes | memoryview] = ()) -> Any:
        """One request and its answer; any failure in between ends the channel.

        Raises
        ------
        ConnectionLost : `was_sent` says whether the request may have reached the server.
        OptionsError : a text that cannot be encoded; nothing was sent.
        """
        self.send(method, *args, late_fields=late_fields)
        return self.receive(method)

    def send(self, method: str, *args: Any, late_fields: Sequence[bytes | memoryview] = ()) -> None:
        """Send a request; `receive` must be the next call. Errors are those of `call`."""
        self.transport.was_sent = self.transport.was_there = False
        self.transport.late_fields = list(late_fields)
        with self._unbroken():
            getattr(self._client, f"send_{method}")(*args)

    def receive(self, method: str) -> Any:
        """The answer to the request sent. Errors are those of `call`."""
        with self._unbroken():
            n_bytes = self.transport.receive_frame()
            self._protocol.string_length_limit = self._protocol.container_length_limit = n_bytes
            return getattr(self._client, f"recv_{method}")()

    @contextmanager
    def _unbroken(self) -> Iterator[None]:
        """Any exception in this block ends the channel, and is raised as one of our errors."""
        try:
            yield
        except Exception as exc:
            is_open = self.transport.isOpen()  # otherwise we closed it, from another thread
            self.abandon()
            check_interrupt()
            was_sent = self.transport.was_sent
            if isinstance(exc, UnicodeEncodeError) and not was_sent:
                # Not from `exc`, which contains the text: it may be the password.
                raise OptionsError(
                    f"a text contains a lone surrogate, {exc.object[exc.start]!r} "
                    f"at position {exc.start}, and cannot be sent",
                    hint="clean it: text.encode(errors='replace').decode()",
                ) from None
            is_ours = isinstance(
                exc, OSError | EOFError | OverflowError | TException | struct.error
            )
            if not is_ours and not was_sent:
                raise  # a request that cannot be encoded; a broken answer may raise anything
            self.has_failed = is_open
            what = "no answer in time from" if isinstance(exc, TimeoutError) else "lost"
            raise ConnectionLost(
                f"{what} {self.address}: {exc or type(exc).__name__}",
                was_sent=was_sent,
                may_come_late=was_sent and isinstance(exc, TimeoutError | _FrozenError),
            ) from exc
        except BaseException:
            # An interrupt between request and answer leaves the stream out of sync for good.
            self.abandon()
            raise

    def broken_answer(self, what: str) -> ConnectionLost:
        """End the channel; the error for an answer that IoTDB cannot have sent."""
        self.fail()
        return ConnectionLost(f"the answer of {self.address} is invalid: {what}", was_sent=True)

    def fail(self) -> None:
        """End it after an answer that shows that it is of no use."""
        self.has_failed = True
        self.abandon()

    def abandon(self) -> None:
        """Close the socket without a request; the server ends the session and its queries."""
        self.is_broken = True
        self.transport.close()

    def disown(self) -> None:
        """Close a forked child's copy of the socket; the parent's session stays open."""
        self.is_broken = True
        with suppress(OSError):
            self.transport.sock.close()
