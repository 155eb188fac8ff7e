"""A real IoTDB on this machine, from `pip` alone: downloaded, started and reliably stopped."""

from iotdb_frames.server.local import LocalServer
from iotdb_frames.server.shared import (
    LocalStatus,
    ensure_local,
    local_status,
    serve_local,
    stop_local,
)

__all__ = [
    "LocalServer",
    "LocalStatus",
    "ensure_local",
    "local_status",
    "serve_local",
    "stop_local",
]
