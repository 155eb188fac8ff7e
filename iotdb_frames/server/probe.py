"""Just enough of IoTDB's RPC to know that a server is ready: log in, run one statement.

Written out by hand, because the RPC stubs belong to ``client/rpc.py`` and this room lies below it.
A message is a 4-byte big-endian length and then Thrift's binary protocol. Source: IClientRPCService
of IoTDB 2.0 (`openSession`, `requestStatementId`,
`executeUpdateStatementV2`).
"""

from __future__ import annotations

import socket
import ssl
import struct
from typing import Any

SUCCESS = 200
WRONG_LOGIN = (801, 804)

_STOP, _I32, _I64, _STRING, _STRUCT, _MAP, _LIST = 0, 8, 10, 11, 12, 13, 15
_PLAIN = {2: "?", 3: "b", 4: "d", 6: "h", _I32: "i", _I64: "q"}
_PROTOCOL_V3 = 2  # TSProtocolVersion.IOTDB_SERVICE_PROTOCOL_V3


def run_statement(
    port: int, password: str, *, sql: str, tls: bool = False, timeout_s: float = 10.0
) -> tuple[int, str]:
    """Log in to 127.0.0.1:`port` as `root` and run one statement whose rows, if any, are dropped.

    Returns
    -------
    (code, message) : the server's status; 200 is success.

    Raises
    ------
    OSError : nobody answers there, or not as IoTDB does.
    """
    try:
        with _connect(port, tls=tls, timeout_s=timeout_s) as sock:
            request = (
                _field(_I32, 1, struct.pack(">i", _PROTOCOL_V3))
                + _field(_STRING, 2, _string("UTC"))
                + _field(_STRING, 3, _string("root"))
                + _field(_STRING, 4, _string(password))
                + _field(_MAP, 5, struct.pack(">bbi", _STRING, _STRING, 0))
            )
            opened = _call(sock, "openSession", _struct(request))
            code, message = _status(opened[1])
            if code != SUCCESS:
                return code, message
            session = _field(_I64, 1, struct.pack(">q", opened[3]))
            statement_id = _call(sock, "requestStatementId", session)
            request = session + _field(_STRING, 2, _string(sql))
            request += _field(_I64, 3, struct.pack(">q", statement_id))
            return _status(_call(sock, "executeUpdateStatementV2", _struct(request))[1])
    except (struct.error, KeyError, IndexError, TypeError, UnicodeDecodeError) as exc:
        raise ConnectionError(f"what listens on port {port} does not speak IoTDB's RPC") from exc


def _connect(port: int, *, tls: bool, timeout_s: float) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
    if not tls:
        return sock
    context = ssl.create_default_context()
    context.check_hostname = (
        False  # our own child on loopback; its certificate is the user's matter
    )
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(sock)


def _status(status: dict[int, Any]) -> tuple[int, str]:
    return status[1], status.get(2, b"").decode()


def _string(text: str) -> bytes:
    data = text.encode()
    return struct.pack(">i", len(data)) + data


def _field(kind: int, number: int, data: bytes) -> bytes:
    return struct.pack(">bh", kind, number) + data


def _struct(fields: bytes) -> bytes:
    return _field(_STRUCT, 1, fields + b"\0")


def _call(sock: socket.socket, method: str, arguments: bytes) -> Any:
    """The answer of one call, whose arguments are fields themselves."""
    head = struct.pack(">I", 0x80010001) + _string(method) + struct.pack(">i", 0)
    message = head + arguments + b"\0"
    sock.sendall(struct.pack(">i", len(message)) + message)
    (n_bytes,) = struct.unpack(">i", _receive(sock, 4))
    if not 0 < n_bytes < 1 << 24:
        raise ConnectionError("what answers there does not speak IoTDB's RPC")
    reply = _Reader(_receive(sock, n_bytes))
    (version,) = reply.take("I")
    reply.value(_STRING), reply.take("i")
    if version != 0x80010002:
        raise ConnectionError(f"the server does not know {method}")
    return reply.value(_STRUCT)[0]


def _receive(sock: socket.socket, n_bytes: int) -> bytes:
    data = b""
    while len(data) < n_bytes:
        part = sock.recv(n_bytes - len(data))
        if not part:
            raise ConnectionResetError("the server closed the connection")
        data += part
    return data


class _Reader:
    """Values of Thrift's binary protocol; a struct becomes a dict by field number."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, layout: str) -> tuple[Any, ...]:
        values = struct.unpack_from(">" + layout, self._data, self._at)
        self._at += struct.calcsize(">" + layout)
        return values

    def value(self, kind: int) -> Any:
        if kind in _PLAIN:
            return self.take(_PLAIN[kind])[0]
        if kind == _STRING:
            (n_bytes,) = self.take("i")
            return self.take(f"{n_bytes}s")[0]
        if kind == _STRUCT:
            fields = {}
            while (field := self.take("b")[0]) != _STOP:
                (number,) = self.take("h")
                fields[number] = self.value(field)
            return fields
        if kind == _MAP:
            of_key, of_value, n = self.take("bbi")
            return {self.value(of_key): self.value(of_value) for _ in range(n)}
        of_item, n = self.take("bi")  # a list or a set
        return [self.value(of_item) for _ in range(n)]
