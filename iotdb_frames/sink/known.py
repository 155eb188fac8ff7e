"""What a sink writes to: created up front, compared with the server's schema, planned.

This module has the series of devices; tables are in `table`.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Literal

import pyarrow as pa

from iotdb_frames.client.connection import Connection
from iotdb_frames.codec.cells import Rules
from iotdb_frames.codec.names import join_path, split_path
from iotdb_frames.codec.quotes import quote_path_node
from iotdb_frames.codec.sources import from_arrow
from iotdb_frames.errors import FrameError, PermissionDenied, QueryError
from iotdb_frames.options import TimeseriesOption, WriteOptions
from iotdb_frames.sink.devices import Devices
from iotdb_frames.sink.options import IoTDBOptions
from iotdb_frames.sink.rows import Device, KeyOf, Rows, Types
from iotdb_frames.writes.again import is_outdated
from iotdb_frames.writes.plan.chunks import Request
from iotdb_frames.writes.plan.layout import TREE, Column, Layout, Part, rows_layout
from iotdb_frames.writes.plan.led import LeadersOf
from iotdb_frames.writes.plan.plan import Existing, WritePlan
from iotdb_frames.writes.plan.planning import plan_layout
from iotdb_frames.writes.schema.cache import cache_of
from iotdb_frames.writes.schema.create import create
from iotdb_frames.writes.schema.look import query_table

_log = logging.getLogger(__name__)
_DATABASE_EXISTS = {501, 503}


@lru_cache(1024)
def wire_names(measurements: tuple[str, ...]) -> tuple[str, ...]:
    """Measurements as the server writes them."""
    return tuple(map(quote_path_node, measurements))


class Known(ABC):
    """What a sink writes to, and what is known of it.

    Parameters
    ----------
    connection, options, devices : the sink's
    is_lossy : whether precision may be lost

    Attributes
    ----------
    target : the table, or the tree as a whole
    """

    def __init__(
        self, connection: Connection, options: IoTDBOptions, devices: Devices, *, is_lossy: bool
    ) -> None:
        self.target = options.target
        self.devices = devices
        self._connection = connection
        self._cache = cache_of(connection)
        self._options = options
        self._told: set[str] = set()
        self._coerce: Literal["safe", "lossy"] = "lossy" if is_lossy else "safe"
        self._rules: Rules | None = None

    @property
    def leaders_of(self) -> LeadersOf | None:
        """Who leads devices, see `lanes`."""
        return self._connection.leaders_of

    @property
    def rules(self) -> Rules:
        """How cells are made; asks the server for its precision the first time."""
        if self._rules is None:
            self._rules = Rules(
                precision=self._connection.server.precision,
                time_zone=self._connection.options.time_zone,
                is_lossy=self._coerce == "lossy",
            )
        return self._rules

    @abstractmethod
    def prepare(self) -> None:
        """Create what the options name, as far as it is missing."""

    @abstractmethod
    def key_of(self, some: Sequence[Rows], /) -> KeyOf:
        """The function that says which devices of some rows can be planned together."""

    @abstractmethod
    def plan(self, rows: Rows) -> WritePlan:
        """The plan of rows; creates what is missing.

        Raises
        ------
        FrameError : they cannot be planned.
        ServerError : what is missing cannot be created.
        """

    def is_outdated(self, request: Request) -> bool:
        """Look again; whether a refused request was made for another schema than the server has."""
        return is_outdated(self._connection, self.target, request)

    def _planned(
        self, found: Layout, existing: Existing, wishes: Mapping[Hashable, TimeseriesOption]
    ) -> WritePlan:
        options = WriteOptions(schema=wishes, aligned=self._options.aligned, coerce=self._coerce)
        return plan_layout(found, options, self.rules, existing, is_stream=True)

    def _planned_as_known(self, found: Layout, plan: Callable[[Existing], WritePlan]) -> WritePlan:
        """The plan by what is known of the schema; if that does not do, by a fresh look at it."""
        planned = plan(self._look(found))
        if planned.existing.is_remembered and planned.problems:
            return plan(self._look(found, is_fresh=True))
        return planned

    def _look(self, found: Layout, *, is_fresh: bool = False) -> Existing:
        existing = self._cache.look(self._connection, found, is_fresh=is_fresh)
        self._warn([existing.note] if existing.note else [])
        return existing

    def _warn(self, notes: Iterable[str]) -> None:
        """Log each note once."""
        for note in notes:
            if note not in self._told:
                self._told.add(note)
                _log.warning("%s", note)


class KnownSeries(Known):
    """The series of the devices that a sink writes to."""

    def __init__(
        self, connection: Connection, options: IoTDBOptions, devices: Devices, *, is_lossy: bool
    ) -> None:
        super().__init__(connection, options, devices, is_lossy=is_lossy)
        self._wishes: dict[Hashable, TimeseriesOption] = {
            options.path_of(o.path or ""): o for o in options.timeseries_option_list
        }

    def prepare(self) -> None:
        """Create the storage group and the series of the options, as far as they are missing.

        Raises
        ------
        ColumnTypeError : a series exists with another type.
        ServerError : the server cannot be reached, or refuses.
        """
        _ = self.rules
        if self._options.storage_group is not None:
            self._create_database(self._options.storage_group)
        nothing = pa.nulls(0)
        times = from_arrow(pa.array([], pa.timestamp("ms", "UTC")), "timestamp")
        by_device: dict[str, list[Column]] = {}
        for path in self._wishes:
            *nodes, name = split_path(str(path))
            column = Column(quote_path_node(name), from_arrow(nothing, path))
            by_device.setdefault(join_path(nodes), []).append(column)
        if not by_device:
            return
        parts = tuple(Part(device, tuple(columns)) for device, columns in by_device.items())
        self._make(Layout(TREE, 0, times, None, parts), wishes=self._wishes).check()

    def _create_database(self, path: str) -> None:
        try:
            found = query_table(self._connection, f"SHOW DATABASES {path}", model="tree")
            if found.num_rows:
                return
            self._connection.run(lambda s: s.execute(f"CREATE DATABASE {path}"), model="tree")
        except PermissionDenied as exc:
            _log.warning("%s is not created, nor looked for: %s", path, exc.message)
        except QueryError as exc:
            if exc.code not in _DATABASE_EXISTS:
                raise

    def key_of(self, some: Sequence[Rows], /) -> KeyOf:
        """By the types that the server has."""
        wanted: dict[str, set[str]] = {}
        for rows in some:
            names = wire_names(rows.names)
            for device in rows.devices:
                wanted.setdefault(str(device), set()).update(names)
        found = self._cache.look_at_devices(self._connection, wanted)
        self._warn([found.note] if found.note else [])
        return partial(self._key, found)

    def _key(self, existing: Existing, device: Device, measurements: tuple[str, ...]) -> Hashable:
        names = wire_names(measurements)
        types = tuple(existing.type_of(str(device), name) for name in names)
        wishes: tuple[TimeseriesOption | None, ...] = ()
        if self._wishes and None in types:
            wishes = tuple(self._wishes.get(f"{device}.{name}") for name in names)
        return types, wishes

    def plan(self, rows: Rows) -> WritePlan:
        """As `Known.plan`."""
        found = rows_layout(
            rows.times,
            rows.columns,
            devices=[str(device) for device in rows.devices],
            codes=rows.row_devices(),
            time_unit=rows.time_unit or None,
        )
        return self._make(found, rows.types)

    def _make(
        self,
        found: Layout,
        types: Types | None = None,
        *,
        wishes: dict[Hashable, TimeseriesOption] | None = None,
    ) -> WritePlan:
        """The plan of a frame, after creating what is missing.

        Parameters
        ----------
        wishes : the requested options, by label, also of series that exist; None: those of the
            sink, of series that do not exist
        """

        def plan_with(existing: Existing) -> WritePlan:
            asked = self._new(found, types, existing) if wishes is None else wishes
            return self._planned(found, existing, asked)

        plan = self._planned_as_known(found, plan_with)
        if any(isinstance(problem, FrameError) for problem in plan.problems):
            return plan
        missing = plan.missing()
        notes = create(self._connection, plan, missing)
        self._warn(notes)
        if missing and not notes:
            self._cache.remember(plan, missing)
        return plan

    def _new(
        self, found: Layout, types: Types | None, existing: Existing
    ) -> dict[Hashable, TimeseriesOption]:
        """The requested options of the series that do not exist, by label."""
        wishes: dict[Hashable, TimeseriesOption] = {}
        for part in found.parts:
            device = part.device or (found.device.paths[0] if found.device is not None else "")
            for column in part.columns:
                if existing.type_of(device, column.name) is None:
                    label = column.source.label
                    wish = self._wishes.get(f"{device}.{column.name}")
                    wish = _with_type(wish, types, label)
                    if wish is not None:
                        wishes[label] = wish
        return wishes


def _with_type(
    wish: TimeseriesOption | None, types: Types | None, label: Hashable
) -> TimeseriesOption | None:
    kind = types.get(str(label)) if types else None
    if wish is None:
        return None if kind is None else TimeseriesOption(data_type=kind)
    if wish.data_type is not None or kind is None:
        return wish
    return TimeseriesOption(
        path=wish.path, data_type=kind, encoding=wish.encoding, compression=wish.compression
    )
