"""The pandas connector for Apache IoTDB 2.x: frames in, frames out, nothing lost.

import iotdb_frames as iotf                  # registers df.iotdb
df.iotdb.write("root.plant.press1")
iotf.read("root.plant.press1")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from iotdb_frames import accessor as accessor  # registers df.iotdb
from iotdb_frames.errors import (
    AuthenticationError,
    ColumnTypeError,
    ConnectionLost,
    FrameError,
    IoTDBFramesError,
    LaunchError,
    MissingExtraError,
    OptionsError,
    PartialWriteError,
    PermissionDenied,
    PoolClosed,
    PoolTimeout,
    QueryError,
    QueryTimeout,
    ServerError,
    SinkFull,
    TimeIndexError,
    WriteRejected,
)
from iotdb_frames.options import (
    CompressionType,
    RetryPolicy,
    TimeseriesOption,
    TSDataType,
    TSEncoding,
)

if TYPE_CHECKING:
    from iotdb_frames.client.connection import Connection, connect, use
    from iotdb_frames.client.delete import delete, drop
    from iotdb_frames.client.read import read
    from iotdb_frames.client.reader import execute, query, read_sql
    from iotdb_frames.client.result import QueryResult
    from iotdb_frames.client.show import show
    from iotdb_frames.client.writer import plan, write
    from iotdb_frames.frames.plan import WritePlan
    from iotdb_frames.frames.report import WriteReport
    from iotdb_frames.server import LocalServer
    from iotdb_frames.stream.showing import watch

_HOME = {
    "Connection": "client.connection",
    "LocalServer": "server",
    "QueryResult": "client.result",
    "WritePlan": "frames.plan",
    "WriteReport": "frames.report",
    "connect": "client.connection",
    "delete": "client.delete",
    "drop": "client.delete",
    "execute": "client.reader",
    "plan": "client.writer",
    "query": "client.reader",
    "read": "client.read",
    "read_sql": "client.reader",
    "show": "client.show",
    "use": "client.connection",
    "watch": "stream.showing",
    "write": "client.writer",
}
"""Where a public name that is loaded at its first use lives."""

__all__ = [
    "AuthenticationError",
    "ColumnTypeError",
    "CompressionType",
    "Connection",
    "ConnectionLost",
    "FrameError",
    "IoTDBFramesError",
    "LaunchError",
    "LocalServer",
    "MissingExtraError",
    "OptionsError",
    "PartialWriteError",
    "PermissionDenied",
    "PoolClosed",
    "PoolTimeout",
    "QueryError",
    "QueryResult",
    "QueryTimeout",
    "RetryPolicy",
    "ServerError",
    "SinkFull",
    "TSDataType",
    "TSEncoding",
    "TimeIndexError",
    "TimeseriesOption",
    "WritePlan",
    "WriteRejected",
    "WriteReport",
    "connect",
    "delete",
    "drop",
    "execute",
    "plan",
    "query",
    "read",
    "read_sql",
    "show",
    "use",
    "watch",
    "write",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'iotdb_frames' has no attribute {name!r}")
    value = getattr(import_module(f"iotdb_frames.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
