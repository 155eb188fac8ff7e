"""From an address to an open session: socket, TLS, login, and errors that explain a failure."""

from __future__ import annotations

import errno
import ssl
from dataclasses import dataclass

from iotdb.thrift.rpc import ttypes
from thrift.Thrift import TApplicationException

from iotdb_frames.clock import CLOCK, Clock
from iotdb_frames.errors import ConnectionLost, OptionsError, ServerError
from iotdb_frames.options import ConnectionOptions
from iotdb_frames.wire.answers import Model, ServerInfo, check
from iotdb_frames.wire.sockets import as_lost, open_socket, speaks_tls
from iotdb_frames.wire.transport import Channel


@dataclass(frozen=True)
class Login:
    """An open session: its channel, its ids and what the server reported."""

    channel: Channel
    info: ServerInfo
    session_id: int
    statement_id: int


def log_in(
    host: str,
    port: int,
    *,
    options: ConnectionOptions,
    model: Model,
    context: ssl.SSLContext | None = None,
    clock: Clock = CLOCK,
) -> Login:
    """Connect and open a session, within the `connect_timeout_s` of `options`.

    Parameters
    ----------
    context : of TLS; None: as `options` say

    Raises
    ------
    ConnectionLost : no IoTDB answers there; the text explains why.
    AuthenticationError : unknown user or wrong password.
    """
    address = f"{host}:{port}"
    until = clock.now() + options.connect_timeout_s
    try:
        sock = open_socket(host, port, options, until=until, context=context, clock=clock)
    except OptionsError:  # a ValueError, too
        raise
    except (OSError, ValueError) as exc:
        raise as_lost(exc, address) from exc
    channel = Channel(sock, address, clock=clock)
    try:
        channel.transport.limit(until - clock.now(), in_all=True)
        login = _open_session(channel, options, model)
        channel.transport.limit(options.timeout_s)
    except ConnectionLost as exc:
        channel.abandon()
        cause = exc.__cause__ or exc
        if isinstance(cause, ConnectionResetError) and channel.has_failed and not options.tls:
            is_tls = speaks_tls(host, port)
            cause = ConnectionAbortedError("TLS") if is_tls else cause
        lost = as_lost(cause, address)
        if isinstance(cause, TApplicationException) and options.time_zone != "UTC":
            # Python has zone names that Java lacks; a session with one of those fails like this.
            lost.hint = f"the server may not know time_zone={options.time_zone!r}: try another"
        raise lost from cause
    except BaseException:
        channel.abandon()
        raise
    return login


_NOBODY_THERE = {errno.EHOSTUNREACH, errno.EHOSTDOWN, errno.ENETUNREACH, errno.ENETDOWN}
"""Nobody at an address, or no way there. Not ECONNREFUSED: then a machine is there, whose system
ends our connection itself if its process is gone; and a server that stops may refuse new ones while
it still answers what it has."""


def takes_logins(host: str, port: int, *, options: ConnectionOptions) -> bool:
    """Whether a server answers a login, however: False only where nothing comes in time, or nobody
    is there."""
    try:
        log_in(host, port, options=options, model="tree").channel.abandon()
    except ServerError as exc:
        cause = exc.__cause__
        is_away = isinstance(cause, OSError) and cause.errno in _NOBODY_THERE
        return not (is_away or isinstance(cause, TimeoutError))
    return True


def _open_session(channel: Channel, options: ConnectionOptions, model: Model) -> Login:
    request = ttypes.TSOpenSessionReq(
        client_protocol=ttypes.TSProtocolVersion.IOTDB_SERVICE_PROTOCOL_V3,
        username=options.user,
        password=options.password,  # a Secret, so that no traceback with locals shows it
        zoneId=options.time_zone,
        # Without the database: it may not exist yet, and the server would not report that.
        configuration={"version": "V_1_0", "sql_dialect": model},
    )
    response = channel.call("openSession", request)
    check(response.status, ServerError)
    precision = (response.configuration or {}).get("timestamp_precision", "ms")
    if response.sessionId is None or precision not in ("ms", "us", "ns"):
        raise channel.broken_answer(f"session {response.sessionId}, precision {precision!r}")
    info = ServerInfo(precision=precision, protocol=response.serverProtocolVersion)
    statement_id = channel.call("requestStatementId", response.sessionId)
    return Login(channel, info, response.sessionId, statement_id)
