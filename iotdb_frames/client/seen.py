"""What the server has of a target, asked once: for frames that follow each other."""

from __future__ import annotations

from dataclasses import replace

from iotdb_frames.client import schema
from iotdb_frames.client.connection import Connection
from iotdb_frames.frames.layout import Layout
from iotdb_frames.frames.plan import Existing, WritePlan


class SeenSchema:
    """The series of the devices (or the table) that frames are written to, one after the other.

    The server is asked again where a frame brings a device, or a column of one, for the first time.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._existing = Existing()
        self._note: str | None = None
        self._seen: dict[tuple[str, ...], set[str]] = {}

    def knows(self, found: Layout) -> bool:
        """Whether the server need not be asked."""
        return all(devices <= self._seen.get(names, set()) for names, devices in _wanted(found))

    def look(self, found: Layout) -> tuple[Existing, str | None]:
        """What the server has where a frame goes, and a note where it may not be seen."""
        if not self.knows(found):
            looked, self._note = schema.look(self._connection, found)
            self._existing = replace(
                looked,
                types={**self._existing.types, **looked.types},
                aligned={**self._existing.aligned, **looked.aligned},
            )
            for names, devices in _wanted(found):
                self._seen.setdefault(names, set()).update(devices)
        return self._existing, self._note

    def remember(self, plan: WritePlan) -> None:
        """Series that a write created, or the server creates as their first rows come."""
        made = {
            (device, c.column.name): c.data_type
            for device, c in plan.missing()
            if c.data_type is not None
        }
        if made:
            self._existing = replace(self._existing, types={**self._existing.types, **made})


def _wanted(found: Layout) -> list[tuple[tuple[str, ...], set[str]]]:
    """Names of columns, and the devices that have them; a table counts as one device."""
    if found.target.model == "tree" and found.device is not None:
        devices = {path for path in found.device.paths if path}
        return [(tuple(c.name for c in found.columns), devices)]
    return [(tuple(c.name for c in part.columns), {part.device or ""}) for part in found.parts]
