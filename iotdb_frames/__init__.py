"""The pandas connector for Apache IoTDB 2.x: frames in, frames out, nothing lost.

import iotdb_frames as iotf                  # registers df.iotdb
df.iotdb.write("root.plant.press1")
iotf.read("root.plant.press1")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from iotdb_frames.accessor import IoTDBAccessor, IoTDBFrame  # registers df.iotdb, too
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
    from iotdb_frames import aio
    from iotdb_frames.backfills.job import BackfillJob, backfill, plan_backfill
    from iotdb_frames.backfills.report import BackfillPlan, BackfillReport
    from iotdb_frames.client.connect import connect, use
    from iotdb_frames.client.connection import Connection
    from iotdb_frames.client.endpoint import Endpoint
    from iotdb_frames.engines.dask_read import read_dask
    from iotdb_frames.files.csv.dialect import CsvDialect
    from iotdb_frames.play.runner import Runner
    from iotdb_frames.play.watch import watch
    from iotdb_frames.reads.follow import Follower, follow
    from iotdb_frames.reads.read import read
    from iotdb_frames.reads.result import QueryResult
    from iotdb_frames.reads.show import show
    from iotdb_frames.reads.sql import execute, query, read_sql
    from iotdb_frames.reads.tsfile import read_tsfile
    from iotdb_frames.server import LocalServer
    from iotdb_frames.simulate import signals
    from iotdb_frames.simulate.faults import Fault
    from iotdb_frames.simulate.fleet import simulate_fleet
    from iotdb_frames.simulate.replay import replay
    from iotdb_frames.simulate.sensors import Device, Sensor
    from iotdb_frames.simulate.source import SensorSource
    from iotdb_frames.sink.options import IoTDBOptions
    from iotdb_frames.sink.serializer import (
        DefaultIoTSerializationSchema,
        DeviceColumns,
        IoTSerializationSchema,
    )
    from iotdb_frames.sink.sink import IoTDBSink
    from iotdb_frames.sink.tickets import Ticket
    from iotdb_frames.writes.create import create
    from iotdb_frames.writes.plan.plan import WritePlan
    from iotdb_frames.writes.report import CreateReport, DeleteReport, WriteReport
    from iotdb_frames.writes.tsfile import TsFileReport, write_tsfile
    from iotdb_frames.writes.undo import delete, drop
    from iotdb_frames.writes.writer import plan, write

_HOME = {
    "aio": "aio",
    "BackfillJob": "backfills.job",
    "BackfillPlan": "backfills.report",
    "BackfillReport": "backfills.report",
    "Connection": "client.connection",
    "CreateReport": "writes.report",
    "CsvDialect": "files.csv.dialect",
    "DefaultIoTSerializationSchema": "sink.serializer",
    "DeleteReport": "writes.report",
    "Device": "simulate.sensors",
    "DeviceColumns": "sink.serializer",
    "Endpoint": "client.endpoint",
    "Fault": "simulate.faults",
    "Follower": "reads.follow",
    "IoTDBOptions": "sink.options",
    "IoTDBSink": "sink.sink",
    "IoTSerializationSchema": "sink.serializer",
    "LocalServer": "server",
    "QueryResult": "reads.result",
    "Runner": "play.runner",
    "Sensor": "simulate.sensors",
    "SensorSource": "simulate.source",
    "Ticket": "sink.tickets",
    "TsFileReport": "writes.tsfile",
    "WritePlan": "writes.plan.plan",
    "WriteReport": "writes.report",
    "backfill": "backfills.job",
    "connect": "client.connect",
    "create": "writes.create",
    "delete": "writes.undo",
    "drop": "writes.undo",
    "execute": "reads.sql",
    "follow": "reads.follow",
    "plan": "writes.writer",
    "plan_backfill": "backfills.job",
    "query": "reads.sql",
    "read": "reads.read",
    "read_dask": "engines.dask_read",
    "read_sql": "reads.sql",
    "read_tsfile": "reads.tsfile",
    "replay": "simulate.replay",
    "show": "reads.show",
    "signals": "simulate.signals",
    "simulate_fleet": "simulate.fleet",
    "use": "client.connect",
    "watch": "play.watch",
    "write": "writes.writer",
    "write_tsfile": "writes.tsfile",
}
"""Modules of the public names that are loaded on first use."""

__all__ = [
    "AuthenticationError",
    "BackfillJob",
    "BackfillPlan",
    "BackfillReport",
    "ColumnTypeError",
    "CompressionType",
    "Connection",
    "ConnectionLost",
    "CreateReport",
    "CsvDialect",
    "DefaultIoTSerializationSchema",
    "DeleteReport",
    "Device",
    "DeviceColumns",
    "Endpoint",
    "Fault",
    "Follower",
    "FrameError",
    "IoTDBAccessor",
    "IoTDBFrame",
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
    "TsFileReport",
    "WritePlan",
    "WriteRejected",
    "WriteReport",
    "aio",
    "backfill",
    "connect",
    "create",
    "delete",
    "drop",
    "execute",
    "follow",
    "plan",
    "plan_backfill",
    "query",
    "read",
    "read_dask",
    "read_sql",
    "read_tsfile",
    "replay",
    "show",
    "signals",
    "simulate_fleet",
    "use",
    "watch",
    "write",
    "write_tsfile",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'iotdb_frames' has no attribute {name!r}")
    home = import_module(f"iotdb_frames.{_HOME[name]}")
    value = getattr(home, name, home)  # a public module is its own home
    globals()[name] = value
    return value


def load_ipython_extension(shell: Any) -> None:
    """Register the cell magic ``%%iotdb``; called by ``%load_ext iotdb_frames``."""
    from iotdb_frames.display.views import load_view

    load_view("magic")(shell)


def __dir__() -> list[str]:
    return __all__
