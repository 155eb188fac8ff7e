"""Where a sink writes: the `IoTDBOptions` of the Flink connector, and a table in their place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pyarrow as pa

from iotdb_frames.client.connect import connect
from iotdb_frames.client.connection import Connection
from iotdb_frames.codec.names import Target, normal_path, parse_target, split_path
from iotdb_frames.codec.sources import from_arrow
from iotdb_frames.errors import FrameError, OptionsError
from iotdb_frames.options import (
    DEFAULT_PORT,
    RetryPolicy,
    TimeseriesOption,
    WriteOptions,
    hide_fields,
    parse_url,
)
from iotdb_frames.writes.plan.layout import table_part


@hide_fields("url", "password")
@dataclass(frozen=True, kw_only=True)
class IoTDBOptions:
    """Where a sink writes: devices of the tree model, or with `table` one table.

    Parameters
    ----------
    host, port : of the server
    node_urls : ``["host:6667", …]``, of a cluster, in place of host and port
    url : ``iotdb://user@host:6667/root.sg?tls=true&…`` or ``local:``, in place of all of these; its
        password is taken out of it, and its database is the storage group where none is given, or
        that of the table
    user, password : who writes. Without a password that of the URL, else ``IOTDB_PASSWORD``, else
        root's. A pickle leaves it out, unless it is ``Secret("…", travels=True)``
    storage_group : database, e.g. ``root.sg``: created if it is missing; devices that do not begin
        with ``root.`` are below it
    timeseries_option_list : series that are created before the first row, each with its data type,
        encoding and compression; with `table`, its columns by name, each with its data type
    aligned : whether new devices are aligned; an existing one is written its own way
    table : ``database.table``, or a table of the URL's database: created before the first row if it
        is missing
    tags, attributes : names of these columns of the table and of the events; a new table has its
        tags in this order

    Raises
    ------
    OptionsError : an invalid option, or one of the other model: a table has no `storage_group`, and
        neither `aligned` nor encodings and compression, which it chooses itself.
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
    table: str | None = None
    tags: Sequence[str] = ()
    attributes: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.url is not None and not self.url.startswith("local:"):
            self._take_from_url()
        if bool(self.url) + bool(self.host) + bool(self.node_urls) > 1:
            raise OptionsError("host=, node_urls= and url= exclude each other")
        if isinstance(self.node_urls, str):
            raise OptionsError("node_urls must be a list", hint=f"node_urls=[{self.node_urls!r}]")
        if self.table is not None:
            self._check_table()
        else:
            self._check_series()
        object.__setattr__(self, "timeseries_option_list", tuple(self.timeseries_option_list))

    def _check_series(self) -> None:
        for name in ("tags", "attributes"):
            if getattr(self, name):
                raise OptionsError(f"{name}= needs table=", hint='e.g. table="plant.press"')
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

    def _check_table(self) -> None:
        if self.storage_group is not None:
            raise OptionsError(
                f"storage_group={self.storage_group!r} belongs to the tree model",
                hint='the database goes before the table: table="database.table"',
            )
        if self.aligned is not False:
            raise OptionsError(
                "aligned= belongs to the tree model", hint="leave it out: a table chooses its own"
            )
        if parse_target(self.table or "").model == "tree":
            raise OptionsError(
                f"table={self.table!r} is a path of the tree model",
                hint='table="database.table"; devices of the tree model need no table=',
            )
        labels = WriteOptions(tags=self.tags, attributes=self.attributes)
        object.__setattr__(self, "tags", labels.tags)
        object.__setattr__(self, "attributes", labels.attributes)
        names = [*labels.tags, *labels.attributes]
        for option in self.timeseries_option_list:
            if not isinstance(option.path, str):
                raise OptionsError(f"{option.path!r} names no column", hint='path="temp"')
            if option.encoding is not None or option.compression is not None:
                raise OptionsError(
                    f"{option.path!r} has an encoding or a compression",
                    hint="a table chooses its own: TimeseriesOption(path=…, data_type=…)",
                )
            names.append(option.path)
        for name in names:
            if names.count(name) > 1:
                raise OptionsError(f"column {name!r} of the table is named more than once")
        try:
            # The rules that the columns of events have to follow.
            nothing = {name: from_arrow(pa.nulls(0), name) for name in names}
            table_part(nothing, labels.tags, labels.attributes)
        except FrameError as exc:
            raise OptionsError(f"table={self.table!r}: {exc.message}", hint=exc.hint) from exc

    def _take_from_url(self) -> None:
        url = self.url or ""
        found = parse_url(url, {})
        parts = urlsplit(url)
        login, at, hosts = parts.netloc.rpartition("@")
        user = login.partition(":")[0]
        object.__setattr__(
            self, "url", urlunsplit(parts._replace(netloc=user + at + hosts, path=""))
        )
        if self.password is None:
            object.__setattr__(self, "password", found.get("password"))
        database = found.get("database")
        if self.table is not None:
            target = parse_target(self.table, database=database)
            if target.model == "table":
                object.__setattr__(self, "table", target.sql)
        elif self.storage_group is None:
            object.__setattr__(self, "storage_group", database)

    @property
    def target(self) -> Target:
        """What it writes to: the table, or the tree as a whole."""
        return parse_target(self.table or "root")

    def path_of(self, path: str) -> str:
        """The normal path of a device or a series, which may be relative to the storage group.

        Raises
        ------
        OptionsError : not a valid path, or a relative one without a storage group.
        """
        if self.storage_group is None or path.startswith("root."):
            return normal_path(path)
        return normal_path(path, under=self.storage_group)

    def connect(self, *, pool_size: int) -> Connection:
        """A connection of the sink's own; its sender retries, not the connection."""
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
