"""From events to columns of devices: what a sink asks of a serializer, and its own two.

A user's own class for their own events has one method::

    class PressEvents:
        def serialize(self, event):
            return DeviceColumns(f"root.plant.{event.press}", {"temp": event.temp}, event.time)
"""

from __future__ import annotations

import base64
import datetime
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from operator import itemgetter
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa

from iotdb_frames.errors import FrameError
from iotdb_frames.options import TSDataType, as_enum

E_contra = TypeVar("E_contra", contravariant=True)


class DeviceColumns(NamedTuple):
    """Rows of one device, or of several that have the same columns.

    Parameters
    ----------
    device : path, absolute or below the sink's storage group; or a sequence of them, one per row
    columns : ``{measurement: value}`` is one row, and ``{measurement: values}`` with a sequence of
        times are columns; or a DataFrame, or a pyarrow Table or RecordBatch. None is a missing
        value, and skipped
    time : a datetime, ISO 8601 text or a number of `time_unit` since 1970; None means now, and of a
        DataFrame its index. A sequence of them (list, array, index) makes `columns` columns
    types : IoTDB type of measurements that the server does not have yet; others keep theirs
    time_unit : "s", "ms", "us" or "ns": what numbers count
    """

    device: str | Sequence[str]
    columns: Mapping[str, Any] | pd.DataFrame | pa.Table | pa.RecordBatch
    time: Any = None
    types: Mapping[str, TSDataType] | None = None
    time_unit: str = "ms"


Serialized: TypeAlias = (
    DeviceColumns
    | Iterable[DeviceColumns]
    | Mapping[str, Any]
    | Iterable[Mapping[str, Any]]
    | pd.DataFrame
    | pa.Table
    | None
)


class IoTSerializationSchema(Protocol[E_contra]):
    """Turns an event into columns of a device; for a table, into what the sink takes itself."""

    def serialize(self, event: E_contra) -> Serialized:
        """The event's rows; None to leave the event out.

        Parameters
        ----------
        event : what `IoTDBSink.send` was given

        Returns
        -------
        `DeviceColumns`, or some of them, of several devices. With `IoTDBOptions.table` a mapping,
        or some, a DataFrame or Arrow data, with the tags.
        """


class Events:
    """Mappings, frames and Arrow data as columns; a subclass says what names a row's device.

    Parameters
    ----------
    device_fields : columns that name the device
    time_fields : columns that may hold the time
    types : of new measurements
    time_unit : what numbers count that are times; None: "ms", and in DataFrames and Arrow data
        numbers are no times
    """

    def __init__(
        self,
        device_fields: Sequence[str],
        time_fields: Sequence[str],
        types: Mapping[str, TSDataType] | None = None,
        time_unit: str | None = None,
    ) -> None:
        self._device_fields = tuple(device_fields)
        self._time_fields = tuple(dict.fromkeys(time_fields))
        self._types = types
        self._frame_unit = time_unit
        self._unit = time_unit or "ms"

    def _pop_device(self, columns: dict[str, Any], what: str, /) -> Any:
        """Take the device out of a row, or of columns; raises if there is none."""
        raise NotImplementedError

    def serialize(self, event: Any) -> DeviceColumns | Iterable[DeviceColumns] | None:
        """The columns of an event.

        Parameters
        ----------
        event : a map or mapping, a list of them, a DataFrame or Arrow data

        Raises
        ------
        FrameError : an unknown kind of event, or one without a device or time.
        """
        if isinstance(event, dict):
            return self._map(event)
        if event is None:
            return None
        if isinstance(event, pd.DataFrame):
            return self._frame(event)
        if isinstance(event, pa.RecordBatch):
            event = pa.Table.from_batches([event])
        elif hasattr(event, "__arrow_c_stream__") and not isinstance(event, pa.Table):
            event = pa.table(event)
        if isinstance(event, pa.Table):
            return self._table(event)
        if isinstance(event, Mapping):
            return self._map(dict(event))
        if isinstance(event, list | tuple):
            return self._rows(event)
        raise FrameError(
            f"an event of type {type(event).__name__} is not known",
            hint="a map, a DataFrame, Arrow data; or your own class with serialize(event)",
        )

    def _map(self, event: dict[str, Any]) -> DeviceColumns:
        row = event.copy()
        device = self._pop_device(row, "event")
        for field in self._time_fields:
            if field in row:
                return DeviceColumns(device, row, row.pop(field), self._types, self._unit)
        return DeviceColumns(device, row, None, self._types, self._unit)

    def _rows(self, events: Sequence[Mapping[str, Any]]) -> Iterator[DeviceColumns]:
        raise NotImplementedError

    def _are_alike(self, events: Sequence[Mapping[str, Any]]) -> bool:
        return len(events[0]) > 1 and len(set(map(tuple, events))) == 1

    def _same_keys(self, events: Sequence[Mapping[str, Any]]) -> DeviceColumns:
        """Rows that all have the same keys become columns, with loops in C only."""
        names = list(events[0])
        columns = dict(zip(names, zip(*map(itemgetter(*names), events), strict=True), strict=True))
        device = self._pop_device(columns, "event")
        time: Any = (None,) * len(events)
        for field in self._time_fields:
            if field in columns:
                time = columns.pop(field)
                break
        return DeviceColumns(device, columns, time, self._types, self._unit)

    def _frame(self, frame: pd.DataFrame) -> DeviceColumns:
        if not isinstance(frame.index, pd.DatetimeIndex):
            label = next((f for f in self._time_fields if f in frame.columns), None)
            if label is not None:
                frame = frame.set_index(label)
        named = {field: frame[field] for field in self._device_fields if field in frame.columns}
        if named:
            frame = frame.drop(columns=list(named))
        device = self._pop_device(named, "DataFrame")
        return DeviceColumns(device, frame, None, self._types, self._frame_unit or "")

    def _table(self, table: pa.Table) -> DeviceColumns:
        names = table.column_names
        label = next((f for f in self._time_fields if f in names), None)
        if label is None:
            raise FrameError(f"the Arrow data has no time column {self._time_fields[0]!r}")
        time = table[label]
        named = {field: table[field] for field in self._device_fields if field in names}
        device = self._pop_device(named, "Arrow data")
        table = table.drop_columns(
            [label, *(field for field in self._device_fields if field in names)]
        )
        return DeviceColumns(device, table, time, self._types, self._frame_unit or "")


class DefaultIoTSerializationSchema(Events):
    """Takes the Flink connector's maps, row mappings, Arrow batches and DataFrame windows.

    - The connector's map of texts: ``{"device": "root.sg.d1", "timestamp": "1581861293000",
      "measurements": "s1,s2", "types": "DOUBLE,INT32", "values": "36.5,7"}``. Lists in place of
      the comma-separated texts let values hold commas. A missing timestamp means now. None is
      a missing value, and so is an empty text or ``null``, but for TEXT and STRING.
    - A row: ``{"device": "root.sg.d1", "timestamp": …, "s1": 36.5, "s2": 7}``, or a list of them.
    - A DataFrame with a time index (or a column ``timestamp`` or ``time``) and, where `device` is
      not given, a column ``device``; the same as a pyarrow Table or RecordBatch, or anything with
      the Arrow C stream interface.

    Parameters
    ----------
    device : of events that name none
    types : ``{measurement: TSDataType}`` of series that do not exist yet; without it a value's own
        type counts: ``20`` is an INT64, ``20.0`` a DOUBLE
    time_unit : what numbers count that are times. None: "ms", as in the connector; in DataFrames
        and Arrow data numbers are not times then
    field_device, field_timestamp, field_measurements, field_types, field_values, separator :
        the connector's setters
    """

    def __init__(
        self,
        *,
        device: str | None = None,
        types: Mapping[str, TSDataType | str | int] | None = None,
        time_unit: str | None = None,
        field_device: str = "device",
        field_timestamp: str = "timestamp",
        field_measurements: str = "measurements",
        field_types: str = "types",
        field_values: str = "values",
        separator: str = ",",
    ) -> None:
        super().__init__(
            (field_device,),
            (field_timestamp, "time"),
            {k: as_enum(TSDataType, v) for k, v in types.items()} if types else None,
            time_unit,
        )
        self._device = device
        self._field_device = field_device
        self._field_measurements = field_measurements
        self._field_types = field_types
        self._field_values = field_values
        self._separator = separator

    def _map(self, event: dict[str, Any]) -> DeviceColumns:
        if self._is_flink_map(event):
            return self._flink_map(event)
        return super()._map(event)

    def _is_flink_map(self, event: Mapping[str, Any]) -> bool:
        return self._field_measurements in event and self._field_values in event

    def _pop_device(self, columns: dict[str, Any], what: str, /) -> Any:
        return self._named(columns.pop(self._field_device, self._device), what)

    def _named(self, device: Any, what: str) -> Any:
        if device is None:
            raise FrameError(
                f"the {what} names no device: it has no {self._field_device!r}",
                hint='DefaultIoTSerializationSchema(device="root.…") names one for all',
            )
        return device

    def _flink_map(self, event: dict[str, Any]) -> DeviceColumns:
        device = self._named(event.get(self._field_device, self._device), "event")
        names, values = event[self._field_measurements], event[self._field_values]
        types = event.get(self._field_types)
        separator = self._separator
        if types is None and self._types is not None:
            known = self._types
            split = names.split(separator) if isinstance(names, str) else names
            types = [known.get(name.strip(), TSDataType.STRING) for name in split]
        if not isinstance(types, str):
            types = separator.join(as_enum(TSDataType, t).name for t in types or ())
        columns = _Columns.of(names if isinstance(names, str) else tuple(names), types, separator)
        texts = values.split(separator) if isinstance(values, str) else values
        if len(texts) != len(columns.names):
            raise FrameError(
                f"an event of {device} has {len(columns.names)} measurements and {len(texts)} "
                "values",
                hint="values that hold the separator go in a list",
            )
        row = {
            name: parse(value) if isinstance(value, str) else value
            for name, parse, value in zip(columns.names, columns.parsers, texts, strict=True)
        }
        time = next((event[f] for f in self._time_fields if f in event), None)
        return DeviceColumns(device, row, time, columns.types or self._types, self._unit)

    def _rows(self, events: Sequence[Mapping[str, Any]]) -> Iterator[DeviceColumns]:
        are_dicts = set(map(type, events)) == {dict}
        if are_dicts and not self._is_flink_map(events[0]) and self._are_alike(events):
            yield self._same_keys(events)
            return
        by_device: dict[str, list[DeviceColumns]] = {}
        for event in events:
            if not isinstance(event, Mapping):
                raise FrameError(f"a list of events holds a {type(event).__name__}, not a mapping")
            made = self._map(dict(event))
            by_device.setdefault(str(made.device), []).append(made)
        for device, made_rows in by_device.items():
            columns, types = join_rows(made_rows)
            yield DeviceColumns(device, columns, [m.time for m in made_rows], types, self._unit)


def join_rows(rows: Sequence[DeviceColumns]) -> tuple[dict[str, list[Any]], dict[str, TSDataType]]:
    """Single rows as columns, None where a row lacks one; of types the first one counts."""
    types: dict[str, TSDataType] = {}
    last: Mapping[str, TSDataType] | None = None
    for row in rows:
        if row.types is not last and row.types is not None:
            last = row.types
            types = {**last, **types}
    return join_mappings([row.columns for row in rows]), types


def join_mappings(rows: Sequence[Any]) -> dict[str, list[Any]]:
    """Mappings as columns of all their keys, None where one lacks a key."""
    shapes = dict.fromkeys(map(tuple, rows))
    names = dict.fromkeys(chain.from_iterable(shapes))
    if len(shapes) == 1:
        return {name: list(map(itemgetter(name), rows)) for name in names}
    return {name: [row.get(name) for row in rows] for name in names}


def _parse_boolean(text: str) -> bool:
    value = {"true": True, "false": False}.get(text.strip().lower())
    if value is None:
        raise ValueError(f"{text!r} is neither true nor false")
    return value


def _parse_float(text: str) -> float:
    """The 32-bit float next to the text, as Java's ``Float.parseFloat``."""
    exact = float(text)
    with np.errstate(over="ignore"):
        value = float(np.float32(exact))
    if math.isinf(value) and not math.isinf(exact):
        raise ValueError("it is out of range")
    return value


def _parse_bytes(text: str) -> bytes:
    """``0x…`` in hexadecimal digits, else base64."""
    if text[:2].lower() == "0x":
        return bytes.fromhex(text[2:])
    return base64.b64decode(text, validate=True)


_PARSERS: dict[TSDataType, Callable[[str], Any]] = {
    TSDataType.BOOLEAN: _parse_boolean,
    TSDataType.INT32: int,
    TSDataType.INT64: int,
    TSDataType.FLOAT: _parse_float,
    TSDataType.DOUBLE: float,
    TSDataType.DATE: datetime.date.fromisoformat,
    TSDataType.TIMESTAMP: datetime.datetime.fromisoformat,
    TSDataType.BLOB: _parse_bytes,
}


def _parser(name: str, kind: TSDataType) -> Callable[[str], Any]:
    parse = _PARSERS.get(kind)
    if parse is None:
        return str

    def call(text: str) -> Any:
        if text in ("", "null"):
            return None
        try:
            return parse(text)
        except ValueError as exc:
            raise FrameError(
                f"{name}: {text!r} is not a valid {kind.name}: {exc}", column=name
            ) from exc

    return call


class _Columns(NamedTuple):
    """Measurements of a map: their names, how their texts are read, their types."""

    names: tuple[str, ...]
    parsers: tuple[Callable[[str], Any], ...]
    types: Mapping[str, TSDataType] | None

    @staticmethod
    @lru_cache(4096)
    def of(names: str | tuple[str, ...], types: str, separator: str) -> _Columns:
        """What the two texts say; the same object for the same texts."""
        if isinstance(names, str):
            names = tuple(name.strip() for name in names.split(separator))
        if not types:
            return _Columns(names, tuple(str for _ in names), None)
        kinds = [as_enum(TSDataType, kind) for kind in types.split(separator)]
        if len(kinds) != len(names):
            raise FrameError(f"an event has {len(names)} measurements and {len(kinds)} types")
        parsers = tuple(map(_parser, names, kinds))
        return _Columns(names, parsers, dict(zip(names, kinds, strict=True)))
