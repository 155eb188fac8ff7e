"""Sockets to a server, TLS included, and what it really is when there is none."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

from iotdb_frames.errors import OptionsError
from iotdb_frames.options import ConnectionOptions


def _tls_context(options: ConnectionOptions) -> ssl.SSLContext:
    """Verifies the server by the system's authorities or `ca_file`."""
    try:
        context = ssl.create_default_context(cafile=options.ca_file)
        if options.cert_file:
            context.load_cert_chain(options.cert_file, options.key_file)
    except OSError as exc:  # ssl.SSLError is one
        files = [f for f in (options.ca_file, options.cert_file, options.key_file) if f]
        missing = next((f for f in files if not Path(f).is_file()), None)
        what = f"there is no file {missing}" if missing else f"{', '.join(files)}: {exc}"
        raise OptionsError(what, hint="certificates and keys are files in PEM") from exc
    return context


def speaks_tls(host: str, port: int, options: ConnectionOptions) -> bool:
    """Whether somebody who hung up on plain talk shakes hands; only asked to explain an error."""
    try:
        with (
            socket.create_connection((host, port), timeout=options.connect_timeout_s) as sock,
            unverified_context().wrap_socket(sock),  # nothing is sent
        ):
            return True
    except (OSError, ValueError):
        return False


def unverified_context() -> ssl.SSLContext:
    """TLS with whoever is there: a child process of ours on loopback, or to explain an error."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def open_socket(
    host: str, port: int, options: ConnectionOptions, *, context: ssl.SSLContext | None = None
) -> socket.socket:
    """A connected socket, TLS included; OSError names what failed."""
    if context is None and options.tls:
        context = _tls_context(options)
    sock = socket.create_connection((host, port), timeout=options.connect_timeout_s)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if context is not None:
            sock = context.wrap_socket(sock, server_hostname=host)
    except BaseException:
        sock.close()
        raise
    return sock


def explain(exc: BaseException, address: str) -> tuple[str, str | None]:
    """What a failed connection attempt really is, and the remedy."""
    if isinstance(exc, ssl.SSLCertVerificationError):
        return (
            f"the TLS certificate of {address} is not accepted: {exc.verify_message}",
            "name the right ca_file=, and a host the certificate was made for",
        )
    if isinstance(exc, ssl.SSLError):
        return f"{address} does not speak TLS ({exc.reason})", "leave out tls=true"
    if isinstance(exc, socket.gaierror):
        return f"the host of {address} is not known", "check its name"
    if isinstance(exc, TimeoutError):
        return f"{address} did not answer in time", "is it an IoTDB, or a firewall between?"
    if isinstance(exc, ConnectionRefusedError):
        return (
            f"nobody listens at {address}",
            'start IoTDB there, or use your own local server: iotf.use("local:")',
        )
    if isinstance(exc, ConnectionAbortedError) and "TLS" in str(exc):
        return f"{address} speaks TLS", "add tls=true (and ca_file=) to the URL"
    return f"no connection to {address}: {exc}", None
