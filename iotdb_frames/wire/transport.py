"""Framed Thrift messages over one socket, and what a broken one means.

A request is a framed Thrift message (4-byte big-endian length, then the message). The transport is
our own: it reads frames of any size (the stock one stops at 16,384,000 bytes), sends header and
body without gluing them, and knows whether a request may have reached the server when it breaks.
Every exception of the RPC library and of the socket leaves this module as one of ours.
Source: `IClientRPCService` of apache-iotdb 2.0; observed on IoTDB 2.0.10.
"""

from __future__ import annotations

import select
import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from io import BytesIO
from typing import Any

from iotdb.thrift.rpc.IClientRPCService import Client
from thrift.protocol.TBinaryProtocol import TBinaryProtocolAccelerated
from thrift.Thrift import TException
from thrift.transport.TTransport import CReadableTransport, TTransportBase

from iotdb_frames.errors import ConnectionLost, OptionsError

MAX_FRAME_BYTES = 1 << 30
LARGE_BYTES = 1 << 14
"""Buffers from here go to the socket by themselves, smaller ones are joined."""


class Transport(TTransportBase, CReadableTransport):  # type: ignore[misc]
    """Framed messages over one socket.

    `late_fields` are put into the request's struct as it leaves: encoded tablets go from their
    arrays to the socket without a copy. Thrift reads a struct's fields in any order.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._out: list[bytes] = []
        self._in = BytesIO()
        self.was_sent = False
        self.late_fields: list[bytes | memoryview] = []
        self._in_use = threading.Lock()
        self._is_closed = False

    def isOpen(self) -> bool:  # noqa: N802 - Thrift's name
        return not self._is_closed

    def close(self) -> None:
        """Close, from any thread; who waits for the socket is woken."""
        self._is_closed = True
        # Closing alone would wake nobody. And who is woken looks at the file number again, in the
        # kernel: were it closed by then, and another socket's, he would go on to wait for that one.
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        if self._in_use.acquire(blocking=False):
            try:
                self.sock.close()
            finally:
                self._in_use.release()

    @contextmanager
    def _using(self) -> Iterator[None]:
        """In here nobody else closes the socket; who wanted to leaves it to the end."""
        try:
            with self._in_use:
                yield
        finally:
            if self._is_closed:
                self.close()

    def write(self, data: bytes) -> None:
        self._out.append(data)

    def flush(self) -> None:
        message, self._out = b"".join(self._out), []
        parts: list[bytes | memoryview] = [message]
        if self.late_fields:
            # A request ends with two STOP bytes, of its struct and of the call's arguments.
            parts = [message[:-2], *self.late_fields, b"\0\0"]
            self.late_fields = []
        small = [struct.pack("!i", sum(map(len, parts)))]
        self.was_sent = True
        with self._using():
            for part in parts:
                if len(part) < LARGE_BYTES:
                    small.append(bytes(part))
                    continue
                self.sock.sendall(b"".join(small))
                self.sock.sendall(part)
                small = []
            if small:
                self.sock.sendall(b"".join(small))

    def _receive(self, view: memoryview) -> None:
        with self._using():
            while view:
                n = self.sock.recv_into(view)
                if not n:
                    raise ConnectionResetError("the server closed the connection")
                view = view[n:]

    def _read_frame(self) -> None:
        header = bytearray(4)
        self._receive(memoryview(header))
        (n_bytes,) = struct.unpack("!i", header)
        if not 0 <= n_bytes <= MAX_FRAME_BYTES:
            kind = "a TLS server" if n_bytes >> 16 in (0x1503, 0x1603) else "no IoTDB server"
            raise ConnectionAbortedError(f"this is {kind}: its answer is no frame of IoTDB's")
        frame = BytesIO()
        if n_bytes:
            # Make room and receive into it: no second copy of what may be megabytes.
            frame.seek(n_bytes - 1)
            frame.write(bytes(1))
            frame.seek(0)
        self._receive(frame.getbuffer())
        self._in = frame

    def read(self, n_bytes: int) -> bytes:
        data = self._in.read(n_bytes)
        if not data:
            self._read_frame()
            data = self._in.read(n_bytes)
        return data

    @property
    def cstringio_buf(self) -> BytesIO:
        return self._in

    def cstringio_refill(self, partial: bytes, n_bytes: int) -> BytesIO:
        parts = [partial]
        while (missing := n_bytes - sum(map(len, parts))) > 0:
            parts.append(self.read(missing))
        self._in = BytesIO(b"".join([*parts, self._in.read()]))
        return self._in

    def has_pending(self, wait_s: float = 0.0) -> bool:
        """Whether something arrived; between requests that can only be the end."""
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
    is_broken : whether a failure in mid-request, or `abandon`, ended it
    """

    def __init__(self, sock: socket.socket, address: str) -> None:
        self.address = address
        self.is_broken = False
        self.transport = Transport(sock)
        self._client = Client(
            TBinaryProtocolAccelerated(self.transport, string_length_limit=MAX_FRAME_BYTES)
        )

    def call(self, method: str, *args: Any, late_fields: Sequence[bytes | memoryview] = ()) -> Any:
        """One request and its answer; any failure in between ends the channel.

        Raises
        ------
        ConnectionLost : `was_sent` says whether the request may have reached the server.
        OptionsError : a text that cannot be encoded; nothing was sent.
        """
        transport = self.transport
        transport.was_sent = False
        transport.late_fields = list(late_fields)
        try:
            return getattr(self._client, method)(*args)
        except Exception as exc:
            self.abandon()
            if isinstance(exc, UnicodeEncodeError) and not transport.was_sent:
                # Without the text, which may be the password, and which `exc` holds.
                raise OptionsError(
                    f"a text holds half a character, {exc.object[exc.start]!r} "
                    f"at position {exc.start}, and cannot be sent",
                    hint="mend it: text.encode(errors='replace').decode()",
                ) from None
            is_ours = isinstance(
                exc, OSError | EOFError | OverflowError | TException | struct.error
            )
            if not is_ours and not transport.was_sent:
                raise  # a request that cannot be encoded; a broken answer may raise anything
            what = "no answer in time from" if isinstance(exc, TimeoutError) else "lost"
            raise ConnectionLost(
                f"{what} {self.address}: {exc or type(exc).__name__}",
                was_sent=transport.was_sent,
            ) from exc
        except BaseException:
            # An interrupt between request and answer: the stream is out of step for good.
            self.abandon()
            raise
        finally:
            transport.late_fields = []

    def abandon(self) -> None:
        """Close the socket without a word; the server ends the session and its queries."""
        self.is_broken = True
        self.transport.close()

    def disown(self) -> None:
        """Drop this process's hand on the socket, in a forked child; the parent's session lives."""
        self.is_broken = True
        with suppress(OSError):
            self.transport.sock.close()
