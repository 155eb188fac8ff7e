"""A TCP proxy that can cut, hold back, change and count what goes through it."""

from __future__ import annotations

import math
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from clock import FakeClock


class Proxy:
    """Forwards connections to a server on this machine.

    Attributes
    ----------
    port : where it listens on 127.0.0.1
    cut_after : once so many more bytes came from the server, every connection is cut in the middle
        of what it carries; None: never
    cuts : after so many bytes from the clients the connection that carries them is cut, then after
        so many more the next, until none are left
    answer_cuts : as many answers in turn are swallowed, and their connection cut: requests that
        the server carried out and the client hears nothing of
    loses : whether the answer to a piece of a request is swallowed so
    rewrite : what becomes of a piece of an answer
    drip_s : where not 0, bytes from the server go on one by one, so many seconds apart
    is_held : while set, nothing from the server goes through
    is_closed : while set, new connections are cut at once
    n_connections, n_sent : connections, and bytes that clients sent
    """

    def __init__(self, port: int) -> None:
        self._server_port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.cut_after: int | None = None
        self.cuts: deque[int] = deque()
        self.answer_cuts = 0
        self.loses: Callable[[bytes], bool] = lambda data: False
        self.rewrite: Callable[[bytes], bytes] = lambda data: data
        self.drip_s = 0.0
        self.is_held = threading.Event()
        self.is_closed = threading.Event()
        self.n_connections = 0
        self.n_sent = 0
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.n_connections += 1
                if self.is_closed.is_set():
                    client.close()
                    continue
                server = self._connect(client)
                if server is None:
                    continue
                self._sockets += [client, server]
                for source, sink, change in (
                    (client, server, self._sent),
                    (server, client, self._answered),
                ):
                    threading.Thread(
                        target=self._pump, args=(source, sink, change), daemon=True
                    ).start()

    def _connect(self, client: socket.socket) -> socket.socket | None:
        try:
            return socket.create_connection(("127.0.0.1", self._server_port))
        except OSError:
            client.close()
            return None

    def _pump(
        self,
        source: socket.socket,
        sink: socket.socket,
        change: Callable[[socket.socket, bytes], tuple[bytes, bool]],
    ) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                data, is_end = change(source, data)
                step = 1 if self.drip_s and change == self._answered else max(1, len(data))
                for at in range(0, len(data), step):
                    sink.sendall(data[at : at + step])
                    threading.Event().wait(self.drip_s if step == 1 else 0)
                if is_end:
                    break
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _sent(self, _: socket.socket, data: bytes) -> tuple[bytes, bool]:
        with self._lock:
            self.n_sent += len(data)
            self.answer_cuts += self.loses(data)
            if not self.cuts:
                return data, False
            self.cuts[0] -= len(data)
            if self.cuts[0] > 0:
                return data, False
            return data[: self.cuts.popleft() or None], True

    def _answered(self, source: socket.socket, data: bytes) -> tuple[bytes, bool]:
        while self.is_held.is_set() and source.fileno() >= 0:
            threading.Event().wait(0.01)
        data = self.rewrite(data)
        with self._lock:
            if self.answer_cuts:
                self.answer_cuts -= 1
                return b"", True
            if self.cut_after is None:
                return data, False
            data, left = data[: self.cut_after], self.cut_after - len(data)
            self.cut_after = max(left, 0)
            return data, left <= 0

    def turn_to(self, port: int) -> None:
        """Cut every connection, and forward later ones to another server."""
        self._server_port = port
        self._cut(self._sockets)

    def close(self) -> None:
        """Stop listening, and cut every connection."""
        self._cut([self._listener, *self._sockets])

    @staticmethod
    def _cut(ends: list[socket.socket]) -> None:
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            with suppress(OSError):
                end.close()


@contextmanager
def proxy_to(port: int) -> Iterator[Proxy]:
    """A proxy for the length of a block."""
    proxy = Proxy(port)
    try:
        yield proxy
    finally:
        proxy.close()


class Outage(FakeClock):
    """Runs on wherever somebody waits; the road to a server is closed until `end_s`."""

    def __init__(self, road: Proxy) -> None:
        super().__init__(runs=True)
        self.end_s = math.inf
        self._road = road

    def begin(self, port: int, *, duration_s: float) -> None:
        """Cut the road to a port, and let nobody in."""
        self.end_s = self.now() + duration_s
        self._road.is_closed.set()
        self._road.turn_to(port)

    def wait(
        self, changed: threading.Condition | threading.Event, limit_s: float | None = None
    ) -> bool:
        is_there = super().wait(changed, limit_s)
        if self.now() >= self.end_s:
            self._road.is_closed.clear()
        return is_there
