"""A TCP proxy that can cut, hold back and count what goes through it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Proxy:
    """Forwards connections to a server on this machine.

    Attributes
    ----------
    port : where it listens on 127.0.0.1
    cut_after : once so many more bytes came from the server, every connection is cut in the middle
        of what it carries; None: never
    is_held : while set, nothing from the server goes through
    """

    def __init__(self, port: int) -> None:
        self._server_port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.cut_after: int | None = None
        self.is_held = threading.Event()
        self.n_connections = 0
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._server_port))
                self.n_connections += 1
                self._sockets += [client, server]
                for source, sink, is_answer in ((client, server, False), (server, client, True)):
                    threading.Thread(
                        target=self._pump, args=(source, sink, is_answer), daemon=True
                    ).start()

    def _pump(self, source: socket.socket, sink: socket.socket, is_answer: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if is_answer:
                    while self.is_held.wait(0) and source.fileno() >= 0:
                        threading.Event().wait(0.01)
                    with self._lock:
                        if self.cut_after is not None:
                            data, left = data[: self.cut_after], self.cut_after - len(data)
                            self.cut_after = max(left, 0)
                            if left <= 0:
                                sink.sendall(data)
                                break
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Stop listening, and cut every connection."""
        for end in [self._listener, *self._sockets]:
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
