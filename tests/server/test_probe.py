"""The few lines of RPC that tell whether a server is ready."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from iotdb_frames.server import LocalServer, probe


@contextmanager
def stranger(answer: bytes) -> Iterator[int]:
    """A server on loopback that gives every client the same answer; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with listening.accept()[0] as client:
                client.recv(65536)
                client.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        yield listening.getsockname()[1]


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\0\0\0\4abcd",
        b"\0\0\0\x0c\x80\x01\0\2\0\0\0\0\0\0\0\0",
        b"\x15\x03\x03\0\2\2\x50",
    ],
    ids=["hangs up", "HTTP", "junk", "empty reply", "TLS alert"],
)
def test_stranger_is_no_server(answer: bytes) -> None:
    """Whatever else listens on the port gives an OSError, never another exception."""
    with stranger(answer) as port, pytest.raises(OSError):
        probe.run_statement(port, "root", sql="SHOW VERSION", timeout_s=5)


def test_statement_gives_the_servers_code(server: LocalServer) -> None:
    """Success is 200; a statement the server cannot parse is 700, with its words."""
    password = str(server.options.password)
    assert probe.run_statement(server.port, password, sql="SHOW VERSION") == (200, "")
    code, message = probe.run_statement(server.port, password, sql="NO SUCH STATEMENT")
    assert code == 700
    assert "NO" in message
