"""A real IoTDB on this machine, from `pip` alone: found or fetched, started, surely stopped."""

from iotdb_frames.server.local import LocalServer

__all__ = ["LocalServer"]
