"""Sockets to a server, including TLS, and errors that explain why there is none.

One deadline covers everything: each address of the host, and the TLS handshake.
"""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

from iotdb_frames.clock import CLOCK, Clock
from iotdb_frames.errors import Choice, ConnectionLost, Hint, OptionsError
from iotdb_frames.interrupts import check_interrupt
from iotdb_frames.options import ConnectionOptions

_EXPLAIN_S = 2.0
_KEEPALIVE = {"TCP_KEEPIDLE": 20, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
"""A machine that is off is noticed after 50 s; by default a system takes two hours."""


def _tls_context(options: ConnectionOptions) -> ssl.SSLContext:
    """A context that verifies the server by the system's authorities or `ca_file`."""
    try:
        context = ssl.create_default_context(cafile=options.ca_file)
        if options.cert_file:
            # An empty password: otherwise OpenSSL prompts for that of an encrypted key.
            context.load_cert_chain(options.cert_file, options.key_file, password="")
    except (OSError, ValueError) as exc:  # ssl.SSLError is an OSError
        files = [f for f in (options.ca_file, options.cert_file, options.key_file) if f]
        missing = next((f for f in files if not Path(f).is_file()), None)
        what = f"there is no file {missing}" if missing else f"{', '.join(files)}: {exc}"
        hint = "certificates and keys must be PEM files, and a key must not have a password"
        raise OptionsError(what, hint=hint) from exc
    return context


def unverified_context() -> ssl.SSLContext:
    """TLS with any peer: for our own child process on loopback, or to explain an error."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def speaks_tls(host: str, port: int) -> bool:
    """Whether a peer that closed a plain connection accepts TLS; used to explain an error."""
    try:
        with (
            socket.create_connection((host, port), timeout=_EXPLAIN_S) as sock,
            unverified_context().wrap_socket(sock),  # nothing is sent
        ):
            return True
    except (OSError, ValueError):
        return False


def open_socket(
    host: str,
    port: int,
    options: ConnectionOptions,
    *,
    until: float,
    context: ssl.SSLContext | None = None,
    clock: Clock = CLOCK,
) -> socket.socket:
    """A connected socket, including TLS; an OSError names what failed.

    Parameters
    ----------
    until : deadline, by `clock`
    context : of TLS; None: as `options` say
    """
    if context is None and options.tls:
        context = _tls_context(options)
    sock = _connect(host, port, until=until, clock=clock)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE.items():
            if hasattr(socket, name):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        if context is not None:
            sock.settimeout(_left_s(until, clock))
            sock = context.wrap_socket(sock, server_hostname=host)
    except BaseException:
        sock.close()
        raise
    return sock


def _connect(host: str, port: int, *, until: float, clock: Clock) -> socket.socket:
    """A socket to the first address of `host` that answers; each gets a share of the time."""
    addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    check_interrupt()
    for n_later in reversed(range(len(addresses))):
        family, kind, protocol, _, address = addresses[-1 - n_later]
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(_left_s(until, clock) / (n_later + 1))
            sock.connect(address)
        except BaseException as exc:
            sock.close()
            if not isinstance(exc, OSError) or not n_later:
                raise
        else:
            return sock
    raise OSError(f"{host} has no address")


def _left_s(until: float, clock: Clock) -> float:
    left_s = until - clock.now()
    if left_s <= 0:
        raise TimeoutError("timed out")
    return left_s


def as_lost(exc: BaseException, address: str) -> ConnectionLost:
    """The error for a failed connection: the cause, and the remedy."""
    text, hint, may_pass = f"no connection to {address}: {exc}", None, True
    if isinstance(exc, ssl.SSLCertVerificationError):
        text = f"the TLS certificate of {address} is not accepted: {exc.verify_message}"
        hint, may_pass = "give the right ca_file=, and a host that the certificate covers", False
    elif isinstance(exc, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        # A stopping server does the same, so it may pass.
        text, hint = f"{address} does not speak TLS, or closed the connection", "remove tls=true"
    elif isinstance(exc, ssl.SSLError) and "ALERT" in (exc.reason or ""):
        text = f"{address} refuses our TLS ({exc.reason})"
        hint, may_pass = "it may require cert_file= and key_file=", False
    elif isinstance(exc, ssl.SSLError):
        text = f"{address} does not speak TLS ({exc.reason})"
        hint, may_pass = "remove tls=true", False
    elif isinstance(exc, socket.gaierror):
        text, hint = f"the host of {address} is not known", "check its name"
    elif isinstance(exc, TimeoutError):
        text = f"{address} did not answer in time"
        hint = "check that it is an IoTDB, and that no firewall is in between"
    elif isinstance(exc, ConnectionRefusedError):
        text = f"nothing is listening at {address}"
        own = Choice(connection="local:")
        hint = Hint("start IoTDB there, or use a local server of your own: ", own)
    elif isinstance(exc, ConnectionAbortedError) and "TLS" in str(exc):
        text, hint = f"{address} speaks TLS", "add tls=true (and ca_file=) to the URL"
        may_pass = False
    return ConnectionLost(text, hint=hint, may_pass=may_pass)
