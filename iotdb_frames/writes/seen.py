"""What the server has of a target, asked once: for frames that follow each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from iotdb_frames.client.connection import Connection
from iotdb_frames.options import TSDataType
from iotdb_frames.writes import schema
from iotdb_frames.writes.plan.layout import Layout
from iotdb_frames.writes.plan.plan import Existing, PlannedColumn, WritePlan


class SeenSchema:
    """The series of the devices (or the table) that frames are written to, one after the other.

    The server is asked again where a frame brings a device, or a column of one, for the first time.
    A frame is told of its own devices only: what others have is nothing to it.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._looked = Existing()
        self._types: dict[str, dict[str, TSDataType]] = {}
        self._aligned: dict[str, bool] = {}
        self._aliases: dict[tuple[str, str], str] = {}
        self._templates: dict[str, str] = {}
        self._note: str | None = None
        self._seen: dict[tuple[str, ...], set[str]] = {}

    def knows(self, found: Layout) -> bool:
        """Whether the server need not be asked."""
        return all(devices <= self._seen.get(names, set()) for names, devices in _wanted(found))

    def look(self, found: Layout) -> tuple[Existing, str | None]:
        """What the server has where a frame goes, and a note where it may not be seen."""
        if not self.knows(found):
            self._looked, self._note = schema.look(self._connection, found)
            self._keep(self._looked.types)
            self._aligned.update(self._looked.aligned)
            self._aliases.update(self._looked.aliases)
            self._templates.update(self._looked.templates)
            for names, devices in _wanted(found):
                self._seen.setdefault(names, set()).update(devices)
        here = set().union(*(devices for _, devices in _wanted(found)))
        existing = replace(
            self._looked,
            types={(d, n): kind for d in here for n, kind in self._types.get(d, {}).items()},
            aligned={d: self._aligned[d] for d in here & self._aligned.keys()},
            aliases={key: name for key, name in self._aliases.items() if key[0] in here},
            templates={d: self._templates[d] for d in here & self._templates.keys()},
        )
        return existing, self._note

    def remember(self, plan: WritePlan, made: Sequence[tuple[str, PlannedColumn]]) -> None:
        """Series that a write created, or the server creates as their first rows come.

        Parameters
        ----------
        made : what the plan found missing
        """
        self._keep({(d, c.column.name): c.data_type for d, c in made if c.data_type is not None})
        if plan.target.model == "table":
            categories = {c.column.name: c.column.category for _, c in made}
            categories = {**self._looked.categories, **categories}
            self._looked = Existing.of_table({}, categories, time=self._looked.time)

    def _keep(self, types: Mapping[tuple[str, str], TSDataType]) -> None:
        for (device, name), kind in types.items():
            self._types.setdefault(device, {})[name] = kind


def _wanted(found: Layout) -> list[tuple[tuple[str, ...], set[str]]]:
    """Names of columns, and the devices that have them; a table counts as one device."""
    if found.target.model == "tree" and found.device is not None:
        devices = {path for path in found.device.paths if path}
        return [(tuple(c.name for c in found.columns), devices)]
    return [(tuple(c.name for c in part.columns), {part.device or ""}) for part in found.parts]
