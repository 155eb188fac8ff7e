"""What tests of the sink share: a server as its options, and what it stored there."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import pyarrow as pa
import pytest

from iotdb_frames.client.connection import Connection
from iotdb_frames.server import LocalServer
from iotdb_frames.sink.options import IoTDBOptions
from iotdb_frames.writes.schema.look import query_table

T0 = 1_767_225_600_000  # 2026-01-01
_numbers = count()


@pytest.fixture
def connection(server: LocalServer) -> Iterator[Connection]:
    """A connection to the session's server."""
    with Connection(lambda: server.options, label="test") as made:
        yield made


@pytest.fixture
def database(connection: Connection) -> Iterator[str]:
    """A database of the test's own; a small server holds few at a time."""
    name = f"root.sink{next(_numbers)}"
    yield name
    if query_table(connection, f"SHOW DATABASES {name}", model="tree").num_rows:
        connection.run(lambda s: s.execute(f"DELETE DATABASE {name}"), model="tree")


def options_of(
    server: LocalServer, database: str | None, *, port: int | None = None, **more: Any
) -> IoTDBOptions:
    """The server, as a sink's options."""
    given = server.options
    return IoTDBOptions(
        host="127.0.0.1",
        port=port or server.port,
        user=given.user,
        password=str(given.password),
        storage_group=database,
        **more,
    )


def stored(where: Connection | LocalServer, path: str) -> dict[str, dict[int, Any]]:
    """Every value below a path: ``{series: {time: value}}``, nulls left out."""
    if isinstance(where, LocalServer):
        with Connection(lambda: where.options, label="test") as connection:
            return stored(connection, path)
    table = query_table(where, f"SELECT * FROM {path}", model="tree")
    times = table["time"].cast(pa.int64()).to_pylist()
    return {
        name: {t: v for t, v in zip(times, table[name].to_pylist(), strict=True) if v is not None}
        for name in table.column_names
        if name != "time"
    }
