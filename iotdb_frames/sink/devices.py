"""What identifies the devices of a sink: a path of the tree model, or the tags of a table.

Rows keep their order, and are counted, per device. A device is one value: a normal path, or the
texts of a table's tags in the order of the options, None if a row lacks that tag.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa

from iotdb_frames.codec.names import is_utf8
from iotdb_frames.codec.types import kind_of
from iotdb_frames.errors import FrameError
from iotdb_frames.sink.columns import to_source
from iotdb_frames.sink.options import IoTDBOptions
from iotdb_frames.sink.rows import NO_CODES, Device, to_arrow
from iotdb_frames.writes.plan.layout import as_text, dictionary_codes


class Devices(Protocol):
    """How a sink identifies devices.

    home : what its rows in a spool are for; a sink with another home does not take them
    """

    home: tuple[str, ...]

    def of_row(self, device: Any) -> Device:
        """The device that an event names."""

    def of_rows(self, device: Any) -> tuple[tuple[Device, ...], np.ndarray]:
        """The distinct devices of columns, and each row's: int32, shape (n_rows,); none for one."""

    def columns(self, devices: Sequence[Device], codes: np.ndarray) -> dict[str, pa.Array]:
        """Each row's device as columns again: dictionaries of texts, by label."""

    def index(self, devices: Sequence[Device]) -> pd.Index[Any]:
        """Devices as the index of a frame."""


class PathDevices:
    """Devices of the tree model.

    Parameters
    ----------
    path_of : gives the normal path of a device
    """

    home: tuple[str, ...] = ()

    def __init__(self, path_of: Callable[[str], str]) -> None:
        self._path_of = path_of
        self._paths: dict[str, str] = {}

    def of_row(self, device: Any) -> Device:
        """The normal path.

        Raises
        ------
        OptionsError : not a valid path, or a relative one without a storage group.
        """
        name = str(device)
        path = self._paths.get(name)
        if path is None:
            path = self._paths[name] = self._path_of(name)
        return path

    def of_rows(self, device: Any) -> tuple[tuple[Device, ...], np.ndarray]:
        """As `Devices.of_rows`, of a path or a column of paths.

        Raises
        ------
        FrameError : a row that names no device.
        """
        if isinstance(device, str):
            return (self.of_row(device),), NO_CODES
        found: Any = to_arrow(to_source(device, "device"))
        if not pa.types.is_dictionary(found.type):
            found = found.dictionary_encode()
        if found.null_count:
            row = int(np.argmax(found.is_null()))
            raise FrameError(f"row {row} names no device", column="device", row=row)
        codes, names = np.asarray(found.indices), found.dictionary.to_pylist()
        paths = [self.of_row(name) for name in names]
        places = {path: i for i, path in enumerate(dict.fromkeys(paths))}
        if len(places) == 1:
            return tuple(places), NO_CODES
        place = np.array([places[path] for path in paths] or [0], np.int32)
        return tuple(places), place[codes]

    def columns(self, devices: Sequence[Device], codes: np.ndarray) -> dict[str, pa.Array]:
        """One column, ``device``."""
        return {"device": _column(devices, codes)}

    def index(self, devices: Sequence[Device]) -> pd.Index[Any]:
        """Paths."""
        return pd.Index(list(devices), name="device", dtype="str")


class TagDevices:
    """Devices of a table: combinations of its tags.

    Parameters
    ----------
    table : as in SQL
    tags : their labels in the events
    """

    def __init__(self, table: str, tags: Sequence[str]) -> None:
        self.home = (table, *tags)
        self._tags = tuple(tags)

    def of_row(self, device: Any) -> Device:
        """As `Devices.of_row`, of one text, or missing value, per tag.

        Raises
        ------
        FrameError : a tag that is not text.
        """
        return tuple(map(self._text, self._tags, device))

    def _text(self, tag: str, value: Any) -> str | None:
        if isinstance(value, str):
            if not is_utf8(value):
                raise FrameError(f"tag {tag!r}: {value!r} holds a lone surrogate", column=tag)
            return str(value)
        if value is None or (pd.api.types.is_scalar(value) and pd.isna(value)):
            return None
        raise FrameError(
            f"tag {tag!r} must hold text, not {value!r} ({type(value).__name__})",
            column=tag,
            hint=f"str(event[{tag!r}])",
        )

    def of_rows(self, device: Any) -> tuple[tuple[Device, ...], np.ndarray]:
        """As `Devices.of_rows`, of one column per tag; None if no row has it.

        Raises
        ------
        FrameError, ColumnTypeError : a tag that is not text.
        """
        devices: list[tuple[str | None, ...]] = [()]
        codes: np.ndarray | None = None
        for tag, values in zip(self._tags, device, strict=True):
            if values is None:
                devices = [(*device, None) for device in devices]
                continue
            source = to_source(values, tag)
            if kind_of(source.type) not in ("string", "null"):
                raise FrameError(
                    f"tag {tag!r} ({source.dtype}) must hold text", column=tag, hint=as_text(source)
                )
            more, names = dictionary_codes(source)
            texts = [*names.to_pylist(), None]
            pairs = more if codes is None else codes.astype(np.int64) * len(texts) + more
            encoded = pa.array(pairs).dictionary_encode()
            codes = np.asarray(encoded.indices)
            kinds = encoded.dictionary.to_pylist()
            devices = [(*devices[k // len(texts)], texts[k % len(texts)]) for k in kinds]
        return tuple(devices), NO_CODES if codes is None or len(devices) < 2 else codes

    def columns(self, devices: Sequence[Device], codes: np.ndarray) -> dict[str, pa.Array]:
        """One column per tag."""
        return {
            tag: _column([device[i] for device in devices], codes)
            for i, tag in enumerate(self._tags)
        }

    def index(self, devices: Sequence[Device]) -> pd.Index[Any]:
        """Tags; without any, one row of all."""
        levels = [[device[i] for device in devices] for i in range(len(self._tags))]
        if len(levels) > 1:
            return pd.MultiIndex.from_arrays(levels, names=self._tags)
        return pd.Index(levels[0], name=self._tags[0]) if levels else pd.RangeIndex(len(devices))


def devices_of(options: IoTDBOptions) -> Devices:
    """The devices of a sink's options."""
    if options.table is None:
        return PathDevices(options.path_of)
    return TagDevices(options.target.sql, options.tags)


def _column(texts: Sequence[Any], codes: np.ndarray) -> pa.Array:
    """Each row's text as a dictionary array, whose texts are there once."""
    encoded = pa.array(texts, pa.string()).dictionary_encode()
    return pa.DictionaryArray.from_arrays(encoded.indices.take(pa.array(codes)), encoded.dictionary)
