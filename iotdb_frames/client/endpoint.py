"""Where to connect to, as a value that goes to other processes."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field, replace
from typing import Any

from iotdb_frames.client.connection import Connection, resolve_connection
from iotdb_frames.client.retry import call_with_retry
from iotdb_frames.errors import AuthenticationError
from iotdb_frames.options import ConnectionOptions, RetryPolicy, Secret, hide_url


@dataclass(frozen=True)
class Endpoint:
    """Where to connect to, and as whom, for another process; made by `Endpoint.of`.

    A value: it can be pickled, compared and hashed. Its password shows in no repr, and is in a
    pickle only where that was asked for.

    Attributes
    ----------
    options : hosts, user, database and all else
    retry : how openings and idempotent requests are tried again
    here : the connection that it was made of, in the process that made it; not in a pickle
    """

    options: ConnectionOptions
    retry: RetryPolicy
    here: Connection | None = field(default=None, compare=False)

    @classmethod
    def of(cls, connection: Connection | str | None = None, *, travels: bool = False) -> Endpoint:
        """The endpoint of a connection.

        Parameters
        ----------
        connection : a Connection or a URL; None: see `use`. A ``local:`` server is started, and is
            the address that it has now
        travels : whether a pickle holds the password, for workers that you trust. Without, they
            take that of their own ``IOTDB_PASSWORD``, unless it is a `Secret` that travels
        """
        connection = hide_url(connection)
        found = resolve_connection(connection)
        password = Secret(found.options.password, travels=travels)
        return cls(replace(found.options, password=password), found.retry, found)

    def __repr__(self) -> str:
        return f"<Endpoint {self.options.url}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return Endpoint, (self.options, self.retry)

    def connection(self) -> Connection:
        """The connection of this process to it: one for all who ask, until it is closed.

        A server that does not answer is waited for as `retry` says: who made this was there.

        Raises
        ------
        AuthenticationError : also where the password did not travel, and this process has no
            ``IOTDB_PASSWORD``; ConnectionLost
        """
        if self.here is not None and not self.here.is_closed:
            return self.here
        key = os.getpid(), self  # a process that was forked must not talk on its parent's sockets
        with _opening:
            found = _opened.get(key)
            if found is None or found.is_closed:
                found = _open(self)
                _opened[key] = found
            return found


_opened: dict[tuple[int, Endpoint], Connection] = {}
_opening = threading.Lock()


def _open(endpoint: Endpoint) -> Connection:
    options = endpoint.options
    made = Connection(lambda: options, label=options.url, retry=endpoint.retry)
    try:
        call_with_retry(lambda: made.server, policy=endpoint.retry)
    except AuthenticationError as exc:
        if not options.password:
            exc.hint = (
                "no password came along, and this process has none: set IOTDB_PASSWORD where it "
                "starts, or let it travel: iotf.Endpoint.of(connection, travels=True), "
                'iotf.connect(…, password=iotf.Secret("…", travels=True))'
            )
        raise
    return made
