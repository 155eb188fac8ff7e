"""What tests of the sink share: a server as its options, and what it stored there."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from iotdb_frames.client.connection import Connection
from iotdb_frames.client.schema import query_table
from iotdb_frames.server import LocalServer
from iotdb_frames.stream.sink_options import IoTDBOptions

T0 = 1_767_225_600_000  # 2026-01-01


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
