"""The pandas connector for Apache IoTDB 2.x: frames in, frames out, nothing lost.

    import iotdb_frames as iotf                  # registers df.iotdb
    df.iotdb.write("root.plant.press1")
    iotf.read("root.plant.press1")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from iotdb_frames.client.connection import Connection, connect, use
    from iotdb_frames.client.writer import plan, write
    from iotdb_frames.frames.plan import WritePlan
    from iotdb_frames.frames.report import WriteReport

_HOME = {
    "Connection": "client.connection",
    "WritePlan": "frames.plan",
    "WriteReport": "frames.report",
    "connect": "client.connection",
    "plan": "client.writer",
    "use": "client.connection",
    "write": "client.writer",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'iotdb_frames' has no attribute {name!r}")
    value = getattr(import_module(f"iotdb_frames.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__


from iotdb_frames import accessor as _accessor  # noqa: E402, F401 - registers df.iotdb

__all__ = ["Connection", "WritePlan", "WriteReport", "connect", "plan", "use", "write"]
