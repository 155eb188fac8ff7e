"""Where to connect to, as a value that can be sent to other processes."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field, replace
from typing import Any

from iotdb_frames.client.connect import resolve_connection
from iotdb_frames.client.connection import Connection
from iotdb_frames.client.retry import call_with_retry
from iotdb_frames.errors import AuthenticationError
from iotdb_frames.options import ConnectionOptions, RetryPolicy, Secret, hide_url


@dataclass(frozen=True)
class Endpoint:
    """Where to connect to, and as which user, for another process; made by `Endpoint.of`.

    A value: it can be pickled, compared and hashed. Its password never shows in a repr, and is in a
    pickle only on request.

    Attributes
    ----------
    options : hosts, user, database and all others
    retry : how openings and idempotent requests are retried
    here : the connection it was made from, in the same process; not in a pickle
    """

    options: ConnectionOptions
    retry: RetryPolicy
    here: Connection | None = field(default=None, compare=False)

    @classmethod
    def of(cls, connection: Connection | str | None = None, *, travels: bool = False) -> Endpoint:
        """The endpoint of a connection.

        Parameters
        ----------
        connection : a Connection or a URL; None: see `use`. A ``local:`` server is started, and its
            present address is used
        travels : whether a pickle contains the password, for workers that you trust. If not, they
            use their own ``IOTDB_PASSWORD``, unless it is a `Secret` that travels
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
        """This process's connection to it: the same one for every call, until it is closed.

        A server that does not answer is retried as `retry` says: it was there when this was made.

        Raises
        ------
        AuthenticationError : also if the password did not travel and this process has no
            ``IOTDB_PASSWORD``; ConnectionLost
        """
        if self.here is not None and not self.here.is_closed:
            return self.here
        key = os.getpid(), self  # a forked process must not use its parent's sockets
        with _opening:
            found = _opened.get(key)
            if found is None or found.is_closed:
                options = self.options
                found = Connection(lambda: options, label=options.url, retry=self.retry)
                _opened[key] = found
        self._reach(found)
        return found

    def _reach(self, made: Connection) -> None:
        """Open its first session; threads that need it wait side by side, each for its own time."""
        try:
            call_with_retry(lambda: made.server, policy=self.retry)
        except AuthenticationError as exc:
            if not self.options.password:
                exc.hint = (
                    "the password did not travel, and this process has none: set IOTDB_PASSWORD "
                    "where it starts, or let it travel: "
                    "iotf.Endpoint.of(connection, travels=True), "
                    'iotf.connect(…, password=iotf.Secret("…", travels=True))'
                )
            raise


_opened: dict[tuple[int, Endpoint], Connection] = {}
_opening = threading.Lock()
