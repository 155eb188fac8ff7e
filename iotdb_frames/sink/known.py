"""What a sink knows of the server's series, so that it does not ask at every flush.

A device is looked up when it or one of its measurements is new, and again when the server refused
a write to it.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from threading import Lock

import pyarrow as pa

from iotdb_frames.client.connection import Connection
from iotdb_frames.codec.cells import Rules
from iotdb_frames.codec.names import Target, join_path, split_path
from iotdb_frames.codec.quotes import quote_path_node
from iotdb_frames.codec.sources import from_arrow
from iotdb_frames.errors import FrameError, PermissionDenied, QueryError
from iotdb_frames.options import TimeseriesOption, TSDataType, WriteOptions
from iotdb_frames.sink.groups import Group
from iotdb_frames.sink.options import IoTDBOptions
from iotdb_frames.sink.rows import Types
from iotdb_frames.writes import schema
from iotdb_frames.writes.plan.layout import Column, Layout, Part
from iotdb_frames.writes.plan.plan import Existing, WritePlan
from iotdb_frames.writes.plan.planning import plan_layout

_log = logging.getLogger(__name__)
_DATABASE_EXISTS = {501, 503}


@lru_cache(1024)
def wire_names(measurements: tuple[str, ...]) -> tuple[str, ...]:
    """Measurements as the server wants them."""
    return tuple(map(quote_path_node, measurements))


@dataclass
class _Device:
    """What is known of a device.

    types : by measurement as on the wire
    is_aligned : None where the device is new
    template : device template that it is below
    """

    types: dict[str, TSDataType] = field(default_factory=dict)
    is_aligned: bool | None = None
    template: str | None = None
    was_seen: bool = True


class KnownSeries:
    """The series of the devices that a sink writes to.

    Parameters
    ----------
    connection, options : the sink's
    is_lossy : whether precision may be lost
    """

    def __init__(self, connection: Connection, options: IoTDBOptions, *, is_lossy: bool) -> None:
        self._connection = connection
        self._options = options
        self._lock = Lock()
        self._devices: dict[str, _Device] = {}
        self._wishes: dict[Hashable, TimeseriesOption] = {
            options.path_of(o.path or ""): o for o in options.timeseries_option_list
        }
        self._coerce = "lossy" if is_lossy else "safe"
        self._rules: Rules | None = None

    @property
    def rules(self) -> Rules:
        """How cells are made; asks the server its precision the first time."""
        if self._rules is None:
            self._rules = Rules(
                precision=self._connection.server.precision,
                time_zone=self._connection.options.time_zone,
                is_lossy=self._coerce == "lossy",
            )
        return self._rules

    def prepare(self) -> None:
        """Create the storage group and the series of the options, as far as they are missing.

        Raises
        ------
        ColumnTypeError : a series is there with another type.
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
        found = Layout(Target("tree", path="root"), 0, times, None, parts)
        self.learn({device: [c.name for c in some] for device, some in by_device.items()})
        self._make(found, by_device, self._wishes).check()

    def _create_database(self, path: str) -> None:
        try:
            found = schema.query_table(self._connection, f"SHOW DATABASES {path}", model="tree")
            if found.num_rows:
                return
            self._connection.run(lambda s: s.execute(f"CREATE DATABASE {path}"), model="tree")
        except PermissionDenied as exc:
            _log.warning("%s is not created, nor looked for: %s", path, exc.message)
        except QueryError as exc:
            if exc.code not in _DATABASE_EXISTS:
                raise

    def learn(self, wanted: Mapping[str, Iterable[str]]) -> None:
        """Look up devices that are new or have a new measurement.

        Parameters
        ----------
        wanted : names as on the wire, by device
        """
        with self._lock:
            known = self._devices
            new = [
                device
                for device, names in wanted.items()
                if device not in known
                or (known[device].was_seen and any(n not in known[device].types for n in names))
            ]
        if new:
            self._look(new)

    def _look(self, devices: list[str]) -> None:
        try:
            found = schema.look_at_devices(self._connection, devices)
        except PermissionDenied as exc:
            _log.warning("types are not compared with the server's: %s", exc.message)
            found = Existing()
        looked = {
            d: _Device(
                is_aligned=found.aligned.get(d),
                template=found.templates.get(d),
                was_seen=found.was_seen,
            )
            for d in devices
        }
        for (device, name), kind in found.types.items():
            looked[device].types[name] = kind
        with self._lock:
            self._devices.update(looked)

    def has_changed(self, device: str) -> bool:
        """Look a device up again; whether it is not as it was thought to be."""
        with self._lock:
            before = self._devices.get(device)
        self._look([device])
        with self._lock:
            return self._devices[device] != before

    def key(self, device: str, measurements: tuple[str, ...]) -> Hashable:
        """Equal for devices whose rows can be planned together."""
        names = wire_names(measurements)
        with self._lock:
            known = self._devices[device]
            types = tuple(map(known.types.get, names))
        wishes: tuple[TimeseriesOption | None, ...] = ()
        if self._wishes and None in types:
            wishes = tuple(self._wishes.get(f"{device}.{name}") for name in names)
        return known.was_seen, types, wishes

    def plan(self, group: Group) -> WritePlan:
        """The plan of a group; creates what is missing.

        Raises
        ------
        FrameError : the group cannot be planned.
        ServerError : what is missing cannot be created.
        """
        found = group.layout()
        wishes: dict[Hashable, TimeseriesOption] = {}
        device = group.devices[0]
        with self._lock:
            known = self._devices[device].types
            for column in found.columns:
                if column.name not in known:
                    label = column.source.label
                    wish = self._wishes.get(f"{device}.{column.name}")
                    wish = _with_type(wish, group.types, label)
                    if wish is not None:
                        wishes[label] = wish
        names = dict.fromkeys(group.devices, found.parts[0].columns)
        return self._make(found, names, wishes)

    def _make(
        self,
        found: Layout,
        columns: Mapping[str, Iterable[Column]],
        wishes: dict[Hashable, TimeseriesOption],
    ) -> WritePlan:
        options = WriteOptions(
            schema=wishes,
            aligned=self._options.aligned,
            coerce="lossy" if self._coerce == "lossy" else "safe",
        )
        with self._lock:
            devices = {device: self._devices[device] for device in columns}
            existing = Existing(
                types={
                    (d, c.name): devices[d].types[c.name]
                    for d, some in columns.items()
                    for c in some
                    if c.name in devices[d].types
                },
                aligned={
                    d: known.is_aligned
                    for d, known in devices.items()
                    if known.is_aligned is not None
                },
                templates={
                    d: known.template for d, known in devices.items() if known.template is not None
                },
                was_seen=all(known.was_seen for known in devices.values()),
            )
        plan = plan_layout(found, options, self.rules, existing, is_stream=True)
        if any(isinstance(problem, FrameError) for problem in plan.problems):
            return plan
        for note in schema.create(self._connection, plan, plan.missing()):
            _log.warning("%s", note)
        self._remember(plan, columns)
        return plan

    def _remember(self, plan: WritePlan, devices: Iterable[str]) -> None:
        """What the plan created, or the server creates as the first rows come."""
        with self._lock:
            for part in plan.parts:
                for device in devices if part.device is None else [part.device]:
                    known = self._devices[device]
                    known.is_aligned = plan.is_aligned(device)
                    for c in part.written:
                        assert c.data_type is not None
                        known.types.setdefault(c.column.name, c.data_type)


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
