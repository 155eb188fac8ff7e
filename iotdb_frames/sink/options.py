"""Where a sink writes: the Flink connector's `IoTDBOptions`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from iotdb_frames.client.connection import Connection, connect
from iotdb_frames.codec.names import normal_path, split_path
from iotdb_frames.errors import OptionsError
from iotdb_frames.options import (
    DEFAULT_PORT,
    RetryPolicy,
    TimeseriesOption,
    hide_fields,
    parse_url,
)


@hide_fields("url", "password")
@dataclass(frozen=True, kw_only=True)
class IoTDBOptions:
    """Where a sink writes, and how its series are stored.

    Parameters
    ----------
    host, port : of the server
    node_urls : ``["host:6667", …]``, of a cluster, in place of host and port
    url : ``iotdb://user@host:6667/root.sg?tls=true&…`` or ``local:``, in place of all of these; its
        password is taken out of it, and its database is the storage group where none is given
    user, password : who writes. Without a password that of the URL, else ``IOTDB_PASSWORD``, else
        root's. A pickle leaves it out, unless it is ``Secret("…", travels=True)``
    storage_group : database, e.g. ``root.sg``: created if it is missing; devices that do not begin
        with ``root.`` are below it
    timeseries_option_list : series that are created before the first row, each with its data type,
        encoding and compression
    aligned : whether new devices are aligned; an existing one is written its own way

    Raises
    ------
    OptionsError : an invalid option.
    """

    host: str | None = None
    port: int = DEFAULT_PORT
    node_urls: Sequence[str] = ()
    url: str | None = None
    user: str | None = None
    password: str | None = field(default=None)
    storage_group: str | None = None
    timeseries_option_list: Sequence[TimeseriesOption] = ()
    aligned: bool = False

    def __post_init__(self) -> None:
        if self.url is not None and not self.url.startswith("local:"):
            self._take_from_url()
        if bool(self.url) + bool(self.host) + bool(self.node_urls) > 1:
            raise OptionsError("host=, node_urls= and url= exclude each other")
        if isinstance(self.node_urls, str):
            raise OptionsError("node_urls must be a list", hint=f"node_urls=[{self.node_urls!r}]")
        if self.storage_group is not None:
            path = normal_path(self.storage_group)
            if path == "root":
                raise OptionsError("root is not a storage group", hint='e.g. "root.sg"')
            object.__setattr__(self, "storage_group", path)
        paths = set()
        for option in self.timeseries_option_list:
            if option.path is None or len(split_path(self.path_of(option.path))) < 3:
                raise OptionsError(
                    f"{option.path!r} is not a valid path of a series", hint='e.g. "root.sg.d1.s1"'
                )
            path = self.path_of(option.path)
            if path in paths:
                raise OptionsError(f"{path} is in timeseries_option_list more than once")
            paths.add(path)
        object.__setattr__(self, "timeseries_option_list", tuple(self.timeseries_option_list))

    def _take_from_url(self) -> None:
        url = self.url or ""
        found = parse_url(url, {})
        parts = urlsplit(url)
        login, at, hosts = parts.netloc.rpartition("@")
        user = login.partition(":")[0]
        object.__setattr__(
            self, "url", urlunsplit(parts._replace(netloc=user + at + hosts, path=""))
        )
        for name, of_url in (("password", "password"), ("storage_group", "database")):
            if getattr(self, name) is None:
                object.__setattr__(self, name, found.get(of_url))

    def path_of(self, path: str) -> str:
        """The normal path of a device or a series, which may be relative to the storage group.

        Raises
        ------
        OptionsError : no path, or a relative one and there is no storage group.
        """
        if self.storage_group is None or path.startswith("root."):
            return normal_path(path)
        return normal_path(path, under=self.storage_group)

    def connect(self, *, pool_size: int) -> Connection:
        """A connection of the sink's own; its sender tries again, not the connection."""
        options: dict[str, Any] = {"pool_size": pool_size, "retry": RetryPolicy(attempts=1)}
        if self.user is not None:
            options["user"] = self.user
        if self.password is not None:
            options["password"] = self.password
        url = self.url
        if self.node_urls:
            url = "iotdb://" + ",".join(self.node_urls)
        elif self.host:
            host = f"[{self.host}]" if ":" in self.host else self.host
            url = f"iotdb://{host}:{self.port}"
        elif url is None and self.port != DEFAULT_PORT:
            url = f"iotdb://127.0.0.1:{self.port}"
        return connect(url, **options)
