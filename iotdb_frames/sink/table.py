"""The table model of a sink: events with tags, and what is known of the table that they go to."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from functools import partial
from threading import Lock
from typing import Any

import pyarrow as pa

from iotdb_frames.client.connection import Connection
from iotdb_frames.codec.sources import Source, from_arrow
from iotdb_frames.errors import FrameError, OptionsError
from iotdb_frames.options import TimeseriesOption
from iotdb_frames.sink.devices import Devices
from iotdb_frames.sink.known import Known
from iotdb_frames.sink.options import IoTDBOptions
from iotdb_frames.sink.rows import KeyOf, Rows
from iotdb_frames.sink.serializer import (
    DefaultIoTSerializationSchema,
    DeviceColumns,
    Events,
    IoTSerializationSchema,
    join_mappings,
)
from iotdb_frames.writes.plan.layout import Layout, rows_layout
from iotdb_frames.writes.plan.plan import Existing, WritePlan
from iotdb_frames.writes.schema.create import create


class TableEvents(Events):
    """Takes row mappings, lists of them, DataFrames and Arrow data, with the tags of a table.

    Times are in the index of a DataFrame, else in ``timestamp`` or ``time``; numbers in mappings
    count milliseconds, and a missing time means now.

    Parameters
    ----------
    options : name the tags and attributes; a row may lack any of them
    inner : a user's own serializer, which returns such events; None: they come as they are

    Raises
    ------
    OptionsError : `inner` is of the tree model.
    """

    def __init__(self, options: IoTDBOptions, inner: IoTSerializationSchema[Any] | None) -> None:
        if isinstance(inner, DefaultIoTSerializationSchema):
            raise OptionsError(
                "DefaultIoTSerializationSchema makes devices of the tree model, and table= is set",
                hint="leave it out: events are mappings, DataFrames or Arrow data, with the tags",
            )
        super().__init__(options.tags, ("timestamp", "time"))
        self._no_fields = frozenset((*options.tags, *options.attributes, *self._time_fields))
        self._inner = inner

    def serialize(self, event: Any) -> Any:
        """The columns of an event; their device is one value, or column, per tag.

        Raises
        ------
        OptionsError : a `DeviceColumns`.
        FrameError : an unknown kind of event, or one without a field.
        """
        if self._inner is not None:
            event = self._inner.serialize(event)
            if isinstance(event, Iterator):
                event = list(event)
        if isinstance(event, DeviceColumns):
            raise _of_the_tree()
        made = super().serialize(event)
        if isinstance(made, DeviceColumns):
            self._check_fields(made.columns)
        return made

    @property
    def tags(self) -> tuple[str, ...] | None:
        """Tags of the events as they come; None where `inner` gives them."""
        return self._device_fields if self._inner is None else None

    def _pop_device(self, columns: dict[str, Any], _what: str, /) -> Any:
        return tuple([columns.pop(tag, None) for tag in self._device_fields])

    def _rows(self, events: Sequence[Mapping[str, Any]]) -> Iterator[DeviceColumns]:
        for event in events:
            if isinstance(event, DeviceColumns):
                raise _of_the_tree()
            if not isinstance(event, Mapping):
                raise FrameError(f"a list of events holds a {type(event).__name__}, not a mapping")
        if not events:
            return
        rows = [dict(event) for event in events]
        if self._are_alike(rows):
            made = self._same_keys(rows)
            self._check_fields(made.columns)
            yield made
            return
        times = []
        for row in rows:
            self._check_fields(row)
            time = next((field for field in self._time_fields if field in row), None)
            times.append(None if time is None else row.pop(time))
        # A null never erases, and all rows are of one table: what one lacks is null.
        columns: dict[str, Any] = dict(join_mappings(rows))
        yield DeviceColumns(self._pop_device(columns, "event"), columns, times, None, self._unit)

    def _check_fields(self, columns: Any) -> None:
        names = columns.column_names if isinstance(columns, pa.Table) else columns
        if self._no_fields.issuperset(names):
            raise FrameError(
                "the event has no field: a row of a table needs one",
                hint="of a column without values None will do",
            )


def _of_the_tree() -> OptionsError:
    return OptionsError(
        "a DeviceColumns is of the tree model, and this sink writes a table",
        hint="serialize(event) gives a mapping, a DataFrame or Arrow data, with the tags",
    )


def _same(*_: object) -> None:
    """The key of every device."""


class KnownTable(Known):
    """The table that a sink writes to."""

    def __init__(
        self, connection: Connection, options: IoTDBOptions, devices: Devices, *, is_lossy: bool
    ) -> None:
        super().__init__(connection, options, devices, is_lossy=is_lossy)
        self._wishes: dict[Hashable, TimeseriesOption] = {
            str(o.path).lower(): o for o in options.timeseries_option_list
        }
        self._creating = Lock()

    def prepare(self) -> None:
        """Create the table with the columns of the options, as far as it is missing.

        Raises
        ------
        OptionsError : the table has tags that the options do not name.
        FrameError, ColumnTypeError : a column exists as something else.
        ServerError : the server cannot be reached, or refuses.
        """
        _ = self.rules
        options = self._options
        tags = self._cache.look_at_table(self._connection, self.target, is_fresh=True).tags or ()
        if unnamed := set(tags) - {name.lower() for name in options.tags}:
            raise OptionsError(
                f"the table {self.target} has the tag {', '.join(sorted(unnamed))}, and tags= does "
                "not name it",
                hint=f"tags={list(tags)}",
            )
        nothing = pa.nulls(0)
        names = [*options.tags, *options.attributes, *self._wishes]
        columns: dict[Hashable, Source] = {name: from_arrow(nothing, name) for name in names}
        times = from_arrow(pa.array([], pa.timestamp("ms", "UTC")), "time")
        self._create(self._layout(times, columns, None), self._wishes).check()

    def key_of(self, _some: Sequence[Rows], /) -> KeyOf:
        """The same for all: they have the columns of the table."""
        return _same

    def plan(self, rows: Rows) -> WritePlan:
        """As `Known.plan`."""
        tags = self.devices.columns(rows.devices, rows.row_devices())
        columns: dict[Hashable, Source] = {tag: from_arrow(c, tag) for tag, c in tags.items()}
        columns.update(rows.columns)
        found = self._layout(rows.times, columns, rows.time_unit or None)
        plan = self._planned_as_known(found, partial(self._planned_for_new, found))
        if not plan.missing() or any(isinstance(p, FrameError) for p in plan.problems):
            return plan
        return self._create(found)

    def _layout(
        self, times: Source, columns: Mapping[Hashable, Source], time_unit: str | None
    ) -> Layout:
        return rows_layout(
            times,
            columns,
            target=self.target,
            tags=self._options.tags,
            attributes=[name for name in self._options.attributes if name in columns],
            time_unit=time_unit,
        )

    def _create(
        self, found: Layout, wishes: Mapping[Hashable, TimeseriesOption] | None = None
    ) -> WritePlan:
        """The plan of a frame, after creating what is missing.

        Parameters
        ----------
        wishes : the requested options, by label, also of columns that exist; None: those of the
            sink, of columns that do not exist
        """

        def planned() -> WritePlan:
            existing = self._look(found, is_fresh=True)
            if wishes is None:
                return self._planned_for_new(found, existing)
            return self._planned(found, existing, wishes)

        # One lane at a time, and the table is looked at before and after: the first to create a
        # column says its type, and the values of all others have to fit it.
        with self._creating:
            plan = planned()
            missing = plan.missing()
            if not missing or any(isinstance(p, FrameError) for p in plan.problems):
                return plan
            self._warn(create(self._connection, plan, missing))
            return planned()

    def _planned_for_new(self, found: Layout, existing: Existing) -> WritePlan:
        wishes = {
            column.source.label: self._wishes[column.name]
            for column in found.columns
            if column.name in self._wishes and existing.type_of("", column.name) is None
        }
        return self._planned(found, existing, wishes)
