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
    Secret,
    TimeseriesOption,
    TSDataType,
    TSEncoding,
)

if TYPE_CHECKING:
    from iotdb_frames.backfills.job import BackfillJob, backfill, plan_backfill
    from iotdb_frames.client.connection import Connection, connect, use
    from iotdb_frames.client.read import read
    from iotdb_frames.client.reader import execute, query, read_sql
    from iotdb_frames.client.result import QueryResult
    from iotdb_frames.client.show import show
    from iotdb_frames.client.undo import delete, drop
    from iotdb_frames.client.writer import plan, write
    from iotdb_frames.files.csv.dialect import CsvDialect
    from iotdb_frames.frames.backfill_report import BackfillPlan, BackfillReport
    from iotdb_frames.frames.plan import WritePlan
    from iotdb_frames.frames.report import DeleteReport, WriteReport
    from iotdb_frames.server import LocalServer
    from iotdb_frames.stream import signals
    from iotdb_frames.stream.faults import Fault
    from iotdb_frames.stream.fleet import simulate_fleet
    from iotdb_frames.stream.replay import replay
    from iotdb_frames.stream.runner import Runner
    from iotdb_frames.stream.sensors import Device, Sensor
    from iotdb_frames.stream.serializer import (
        DefaultIoTSerializationSchema,
        DeviceColumns,
        IoTSerializationSchema,
    )
    from iotdb_frames.stream.showing import watch
    from iotdb_frames.stream.sink import IoTDBSink
    from iotdb_frames.stream.sink_options import IoTDBOptions
    from iotdb_frames.stream.source import SensorSource
    from iotdb_frames.stream.tickets import Ticket

_HOME = {
    "BackfillJob": "backfills.job",
    "BackfillPlan": "frames.backfill_report",
    "BackfillReport": "frames.backfill_report",
    "Connection": "client.connection",
    "CsvDialect": "files.csv.dialect",
    "DefaultIoTSerializationSchema": "stream.serializer",
    "DeleteReport": "frames.report",
    "Device": "stream.sensors",
    "DeviceColumns": "stream.serializer",
    "Fault": "stream.faults",
    "IoTDBOptions": "stream.sink_options",
    "IoTDBSink": "stream.sink",
    "IoTSerializationSchema": "stream.serializer",
    "LocalServer": "server",
    "QueryResult": "client.result",
    "Runner": "stream.runner",
    "Sensor": "stream.sensors",
    "SensorSource": "stream.source",
    "Ticket": "stream.tickets",
    "WritePlan": "frames.plan",
    "WriteReport": "frames.report",
    "backfill": "backfills.job",
    "connect": "client.connection",
    "delete": "client.undo",
    "drop": "client.undo",
    "execute": "client.reader",
    "plan": "client.writer",
    "plan_backfill": "backfills.job",
    "query": "client.reader",
    "read": "client.read",
    "read_sql": "client.reader",
    "replay": "stream.replay",
    "show": "client.show",
    "signals": "stream.signals",
    "simulate_fleet": "stream.fleet",
    "use": "client.connection",
    "watch": "stream.showing",
    "write": "client.writer",
}
"""Where a public name that is loaded at its first use lives."""

__all__ = [
    "AuthenticationError",
    "BackfillJob",
    "BackfillPlan",
    "BackfillReport",
    "ColumnTypeError",
    "CompressionType",
    "Connection",
    "ConnectionLost",
    "CsvDialect",
    "DefaultIoTSerializationSchema",
    "DeleteReport",
    "Device",
    "DeviceColumns",
    "Fault",
    "FrameError",
    "IoTDBFramesError",
    "IoTDBOptions",
    "IoTDBSink",
    "IoTSerializationSchema",
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
    "Runner",
    "Secret",
    "Sensor",
    "SensorSource",
    "ServerError",
    "SinkFull",
    "TSDataType",
    "TSEncoding",
    "Ticket",
    "TimeIndexError",
    "TimeseriesOption",
    "WritePlan",
    "WriteRejected",
    "WriteReport",
    "backfill",
    "connect",
    "delete",
    "drop",
    "execute",
    "plan",
    "plan_backfill",
    "query",
    "read",
    "read_sql",
    "replay",
    "show",
    "signals",
    "simulate_fleet",
    "use",
    "watch",
    "write",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'iotdb_frames' has no attribute {name!r}")
    home = import_module(f"iotdb_frames.{_HOME[name]}")
    value = getattr(home, name, home)  # a module that is public, such as signals, is its own home
    globals()[name] = value
    return value


def load_ipython_extension(shell: Any) -> None:
    """Make the cell magic ``%%iotdb`` known; what ``%load_ext iotdb_frames`` calls."""
    from iotdb_frames.views import load_view

    load_view("magic")(shell)


def __dir__() -> list[str]:
    return __all__
