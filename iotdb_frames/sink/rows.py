"""Rows on their way: columns with their Arrow types, from an event to the plan of a write.

Rows that have the same columns are joined, whatever their devices, so that a thousand devices of
one kind are planned and encoded as one frame. A device's rows never change their order: rows that
would overtake earlier ones of their device are not joined with those before.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa

from iotdb_frames.codec.sources import Source, with_wide_codes
from iotdb_frames.errors import ColumnTypeError
from iotdb_frames.options import TSDataType

Types = Mapping[str, TSDataType]
Device = str | tuple[str | None, ...]
"""A normal path, or one text a tag of a table; see `devices`."""
KeyOf = Callable[[Device, tuple[str, ...]], Hashable]
"""Gives equal keys for devices that can be planned together: (device, measurements) to key."""
ColumnsOf = Callable[[Sequence[Device], np.ndarray], dict[str, pa.Array]]
"""Gives each row's device as columns; see `Devices.columns`."""

TIME = "timestamp"
"""What times are called in errors."""
NO_CODES = np.zeros(0, np.int32)
"""Each row's device where all are of one."""


@dataclass(slots=True)
class Rows:
    """Rows of one device, or of some that have the same columns.

    devices : each once
    codes : int32, shape (n_rows,): each row's device, a position in `devices`; empty for one device
    times, columns : sources, shape (n_rows,)
    time_unit : what integer times count; "" where integers are not times
    types : what was asked for new series
    at : int, shape (n_rows,): their numbers in a batch, once they are in one
    owner : what the sources are views of: as long as it lives, pandas copies it before it changes
    """

    devices: tuple[Device, ...]
    codes: np.ndarray
    times: Source
    columns: Mapping[Hashable, Source]
    time_unit: str
    types: Types | None
    at: np.ndarray = field(default_factory=lambda: NO_CODES)
    owner: Any = None

    def __len__(self) -> int:
        return len(self.times)

    @property
    def names(self) -> tuple[str, ...]:
        """Measurements."""
        return tuple(self.columns)  # type: ignore[arg-type] # all of them are texts

    @property
    def n_bytes(self) -> int:
        """Memory, about."""
        sources = (self.times, *self.columns.values())
        return sum([s.data.nbytes for s in sources], self.codes.nbytes)

    @property
    def key(self) -> Hashable:
        """The same where rows can be joined as they are."""
        asked = tuple(map(self.types.get, self.names)) if self.types else None
        kinds = tuple([_kind(source) for source in (self.times, *self.columns.values())])
        return self.names, kinds, self.time_unit, asked

    def row_devices(self) -> np.ndarray:
        """Each row's device, a position in `devices`: int32, shape (n_rows,)."""
        return self.codes if len(self.devices) > 1 else np.zeros(len(self), np.int32)

    def devices_of(self, rows: slice | np.ndarray) -> list[Device]:
        """The devices of some rows, each once."""
        return [self.devices[code] for code in np.unique(self.row_devices()[rows]).tolist()]

    def take(self, rows: np.ndarray, *, without: Hashable = None) -> Rows:
        """Some rows (int, shape (n,)), with the devices that they have, less a column."""
        kept, codes = np.unique(self.row_devices()[rows], return_inverse=True)
        return replace(
            self,
            devices=tuple(self.devices[i] for i in kept),
            codes=codes.astype(np.int32) if len(kept) > 1 else NO_CODES,
            times=replace(self.times, data=self.times.take(rows)),
            columns={
                name: replace(source, data=source.take(rows))
                for name, source in self.columns.items()
                if name != without
            },
            at=self.at[rows] if len(self.at) else self.at,
        )

    def table(self, rows: np.ndarray, columns_of: ColumnsOf) -> pa.Table:
        """Some rows, readable: device or tags, time, measurements."""
        named = columns_of(self.devices, self.row_devices()[rows])
        arrays = {label: column.dictionary_decode() for label, column in named.items()}
        for name, source in [(TIME, self.times), *self.columns.items()]:
            label = f"{name}." if name in arrays else str(name)
            arrays[label] = to_arrow(source, rows)
        return pa.table(arrays)


def _kind(source: Source) -> Hashable:
    return source.dtype if isinstance(source.data, np.ndarray) else (source.dtype, source.type)


def to_arrow(source: Source, rows: slice | np.ndarray = slice(None)) -> pa.Array:
    """A column, or some rows of it, as one Arrow array.

    Raises
    ------
    ColumnTypeError : objects that have no one type.
    """
    try:
        data = source.take(rows)
        if not isinstance(data, np.ndarray):
            return data
        # The type, for a numpy array does not say that its times are in UTC.
        return pa.array(data.astype(data.dtype.newbyteorder("="), copy=False), type=source.type)
    except (pa.ArrowException, OverflowError, UnicodeError) as exc:
        raise ColumnTypeError(
            f"column {source.label!r} cannot be written: {exc}", column=source.label
        ) from exc


def gather(some: Sequence[Rows], key_of: KeyOf) -> list[Rows]:
    """Rows that can be planned together as one, in the order they are to be sent.

    Parameters
    ----------
    some : in the order they came
    key_of : see `KeyOf`
    """
    joined: list[list[Rows]] = []
    latest: dict[Hashable, int] = {}
    last_of: dict[Device, int] = {}
    for whole in some:
        for rows, key in _same_key(whole, key_of):
            group = latest.get(key)
            if group is None or any(last_of.get(d, -1) > group for d in rows.devices):
                group = len(joined)
                joined.append([])
                latest[key] = group
            joined[group].append(rows)
            last_of.update(dict.fromkeys(rows.devices, group))
    return [_join(parts) for parts in joined]


def _same_key(rows: Rows, key_of: KeyOf) -> list[tuple[Rows, Hashable]]:
    """Rows in parts whose devices are alike; usually one part."""
    keys = [key_of(device, rows.names) for device in rows.devices]
    kinds = list(dict.fromkeys(keys))
    if len(kinds) == 1:
        return [(rows, (rows.key, kinds[0]))]
    of_row = np.array([kinds.index(key) for key in keys])[rows.row_devices()]
    return [
        (rows.take(np.flatnonzero(of_row == i)), (rows.key, kind)) for i, kind in enumerate(kinds)
    ]


def _join(some: list[Rows]) -> Rows:
    first = some[0]
    if len(some) == 1:
        return first
    devices = tuple(dict.fromkeys(device for rows in some for device in rows.devices))
    codes = NO_CODES
    if len(devices) > 1:
        place = {device: i for i, device in enumerate(devices)}
        codes = np.concatenate(
            [np.array([place[d] for d in r.devices], np.int32)[r.row_devices()] for r in some]
        )
    return replace(
        first,
        devices=devices,
        codes=codes,
        times=_join_sources([rows.times for rows in some]),
        columns={
            name: _join_sources([rows.columns[name] for rows in some]) for name in first.names
        },
        at=np.concatenate([rows.at for rows in some]),
        owner=None,
    )


def _join_sources(sources: Sequence[Source]) -> Source:
    data: list[Any] = [source.data for source in sources]
    if isinstance(data[0], np.ndarray):
        return replace(sources[0], data=np.concatenate(data))
    chunks = [c for d in data for c in (d.chunks if isinstance(d, pa.ChunkedArray) else [d])]
    whole = with_wide_codes(pa.chunked_array(chunks, type=sources[0].type)).combine_chunks()
    return replace(sources[0], type=whole.type, data=whole)
