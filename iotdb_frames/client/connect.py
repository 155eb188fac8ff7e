"""Finding the connection of a call: its URL, `use`, the environment, the profile, the default."""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path
from typing import Any, Unpack

from iotdb_frames.client.connection import Connection
from iotdb_frames.errors import OptionsError
from iotdb_frames.options import (
    ConnectArgs,
    ConnectionOptions,
    RetryPolicy,
    Secret,
    check_retry,
    default_url,
    hide_url,
    parse_url,
    show_connect_options,
)


def _password(options: dict[str, Any]) -> Secret:
    """The password of the URL, the environment or a prompt; root's default without a user."""
    if "password" in options:
        return Secret(options["password"])
    if "IOTDB_PASSWORD" in os.environ:
        return Secret(os.environ["IOTDB_PASSWORD"])
    if "user" not in options:
        return Secret("root")
    if sys.stdin is not None and (sys.stdin.isatty() or "ipykernel" in sys.modules):
        return Secret(getpass.getpass(f"Password of IoTDB user {options['user']}: "))
    raise OptionsError(f"no password for user {options['user']!r}", hint="set IOTDB_PASSWORD")


@show_connect_options
def connect(
    url: str | None = None,
    *,
    retry: RetryPolicy | None = None,
    **options: Unpack[ConnectArgs],
) -> Connection:
    """A connection to the IoTDB at `url`.

    Parameters
    ----------
    url : ``iotdb://user:password@host:6667,host2:6667/database?pool_size=4&tls=true``; ``local:``
        or ``local:///dir`` for your own local server; None: the environment's ``IOTDB_URL``, the
        profile in your configuration file, then ``iotdb://root:root@127.0.0.1:6667``
    retry : a `RetryPolicy`: how openings and idempotent requests are retried
    options : fields of `ConnectionOptions`, which override the URL

    Raises
    ------
    OptionsError : an unknown option, or one out of range. Nothing is opened before the first use.
    """
    if retry is not None:
        check_retry(retry)
    if "password" in options:
        options["password"] = Secret(options["password"])
    # Secrets, so that tracebacks that show variables do not show them.
    url = Secret(url or default_url() or "iotdb://127.0.0.1:6667")
    if url.startswith("local:"):
        return _connect_local(url, dict(options), retry)
    parsed = parse_url(url, options)
    parsed["password"] = _password(parsed)
    fixed = ConnectionOptions(**parsed)
    return Connection(lambda: fixed, label=fixed.url, retry=retry)


def _connect_local(url: str, options: dict[str, Any], retry: RetryPolicy | None) -> Connection:
    from iotdb_frames.server import ensure_local

    address, _, query = url.partition("?")
    path = address.removeprefix("local:").removeprefix("//")
    database = options.pop("database", None)
    directory = Path(path) if path else None
    extra = parse_url(f"iotdb://localhost/?{query}", options)
    for name in ("hosts", "user", "password"):
        extra.pop(name, None)
    if database:
        extra["database"] = database

    def resolve() -> ConnectionOptions:
        found = ensure_local(directory)
        return ConnectionOptions(
            hosts=found.hosts, user=found.user, password=found.password, **extra
        )

    return Connection(resolve, label=address, retry=retry)


_current: Connection | None = None
_by_url: dict[str | None, Connection] = {}


def use(connection: Connection | str | None) -> Connection | None:
    """Set the connection (or its URL) of every call that names none.

    Parameters
    ----------
    connection : a Connection or a URL; None: the environment, the profile and the default address
        apply again
    """
    connection = hide_url(connection)
    global _current
    _current = connect(connection) if isinstance(connection, str) else connection
    return _current


def resolve_connection(connection: Connection | str | None) -> Connection:
    """The connection of a call: its argument, `use`, environment, profile or default address."""
    connection = hide_url(connection)
    if isinstance(connection, Connection):
        return connection
    if connection is None and _current is not None:
        return _current
    if connection is not None and not isinstance(connection, str):
        raise OptionsError(f"connection={connection!r} is neither a Connection nor a URL")
    url = connection or default_url()
    if url not in _by_url or _by_url[url].is_closed:
        _by_url[url] = connect(url)
    return _by_url[url]
