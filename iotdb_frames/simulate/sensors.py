"""Sensors and devices: a name, a signal, a unit, and the IoTDB type its values are stored as.

How a signal's values become cells:

| data type | from numbers and bools | from strings | from `clock()` |
|---|---|---|---|
| BOOLEAN | at least 0.5 is true | refused | refused |
| INT32, INT64 | rounded half to even; out of range is refused | refused | seconds since 1970 |
| FLOAT, DOUBLE | as they are | refused | seconds since 1970 |
| TEXT, STRING | as Arrow writes them | as they are | seconds since 1970 |
| BLOB | 8 bytes, the big-endian double | UTF-8 | 8 bytes, seconds since 1970 |
| TIMESTAMP | seconds since 1970 | refused | as it is |
| DATE | days since 1970, rounded down | refused | its day |

A NaN is a missing cell in every column.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from iotdb_frames.errors import ColumnTypeError, OptionsError
from iotdb_frames.options import TSDataType, as_enum, as_whole, is_whole
from iotdb_frames.simulate.clock import SampleClock
from iotdb_frames.simulate.signals import signal as as_signal
from iotdb_frames.simulate.signals import uniform
from iotdb_frames.simulate.signals.base import Kind, Values
from iotdb_frames.spelling import printable

Bools = npt.NDArray[np.bool_]

_TYPE_OF_KIND: dict[Kind, TSDataType] = {
    "float": TSDataType.DOUBLE,
    "int": TSDataType.INT64,
    "bool": TSDataType.BOOLEAN,
    "str": TSDataType.STRING,
    "time": TSDataType.TIMESTAMP,
}
_STORED_AS: dict[TSDataType, type] = {
    TSDataType.BOOLEAN: np.bool_,
    TSDataType.INT32: np.int32,
    TSDataType.INT64: np.int64,
    TSDataType.FLOAT: np.float32,
    TSDataType.DOUBLE: np.float64,
    TSDataType.TEXT: np.object_,
    TSDataType.STRING: np.object_,
    TSDataType.BLOB: np.object_,
    TSDataType.TIMESTAMP: np.int64,
    TSDataType.DATE: np.int32,
}
_HAS_STR = int(pd.__version__.split(".")[0]) >= 3  # before, strings are objects
_TEXTS = (TSDataType.TEXT, TSDataType.STRING)
_NUMBERS = (TSDataType.FLOAT, TSDataType.DOUBLE, TSDataType.INT32, TSDataType.INT64)


@dataclass(frozen=True)
class Sensor:
    """One measurement of a device.

    Parameters
    ----------
    name : its column
    signal : its readings: a signal, the name of one ("sine"), a number, a function of time
    unit : of its values, for display; e.g. "°C"
    data_type : IoTDB's type, or its name; None takes what suits the signal: DOUBLE, INT64,
        BOOLEAN, STRING or TIMESTAMP

    Raises
    ------
    OptionsError : an unknown signal or type, a type the signal cannot be stored as.
    """

    name: str
    signal: Any = field(default_factory=uniform)
    unit: str | None = field(default=None, kw_only=True)
    data_type: Any = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise OptionsError(f"{self.name!r} is not a valid sensor name")
        signal = as_signal(self.signal)
        object.__setattr__(self, "signal", signal)
        if self.data_type is None:
            data_type = _TYPE_OF_KIND[signal.kind]
        else:
            data_type = as_enum(TSDataType, self.data_type)
        object.__setattr__(self, "data_type", data_type)
        fits_strings = data_type in (*_TEXTS, TSDataType.BLOB)
        if (signal.kind == "str" and not fits_strings) or (
            signal.kind == "time" and data_type is TSDataType.BOOLEAN
        ):
            raise OptionsError(
                f"sensor {self.name!r}: {signal!r} gives {signal.kind} values, "
                f"which are not valid {data_type.name} values"
            )

    @property
    def is_numeric(self) -> bool:
        """Whether its values can be shifted by a fault."""
        return self.signal.kind in ("float", "int") and self.data_type in _NUMBERS

    def __repr__(self) -> str:
        unit = f" in {self.unit}" if self.unit else ""
        return printable(f"Sensor({self.name!r}, {self.signal!r}, {self.data_type.name}{unit})")


@dataclass(frozen=True)
class Device:
    """A device of a fleet.

    Parameters
    ----------
    name : below the prefix of the target (tree model); in the table model for display only
    sensors : its sensors
    tags : tag columns and their values (table model); empty in the tree model
    """

    name: str
    sensors: tuple[Sensor, ...]
    tags: Mapping[str, str] = field(default_factory=dict, kw_only=True)

    def __repr__(self) -> str:
        names = ", ".join(sensor.name for sensor in self.sensors)
        tags = f", tags={dict(self.tags)}" if self.tags else ""
        return printable(f"Device({self.name!r}, [{names}]{tags})")


def as_sensors(sensors: Any) -> tuple[Sensor, ...]:
    """Sensors from a list of them or of names, from ``{name: signal}``, or from how many.

    Raises
    ------
    OptionsError : no sensor, two of one name, or a reserved name.
    """
    if sensors is None:
        sensors = 1
    if is_whole(sensors):
        sensors = [f"s{i + 1}" for i in range(as_whole("sensors", sensors))]
    if isinstance(sensors, Mapping):
        sensors = [s if isinstance(s, Sensor) else Sensor(n, s) for n, s in sensors.items()]
    if isinstance(sensors, (Sensor, str)):
        sensors = [sensors]
    if not isinstance(sensors, Sequence):
        raise OptionsError(f"sensors={sensors!r}: a list of Sensor, or {{name: signal}}")
    made = tuple(s if isinstance(s, Sensor) else Sensor(s) for s in sensors)
    if not made:
        raise OptionsError("a source needs at least one sensor")
    names = [sensor.name for sensor in made]
    for name in names:
        if names.count(name) > 1:
            raise OptionsError(f"two sensors are called {name!r}")
        if name == "time":
            raise OptionsError("a sensor cannot be called 'time': that is the index")
    return made


def empty_cells(data_type: TSDataType, n_rows: int) -> Values:
    """An array for the stored cells of one column, shape (n_rows,)."""
    return np.empty(n_rows, dtype=_STORED_AS[data_type])


def store(
    values: Values, *, sensor: Sensor, clock: SampleClock, saturate: bool
) -> tuple[Values, Bools | None]:
    """A signal's values as stored cells, and which of them are missing (None: none).

    Parameters
    ----------
    values : what the signal gave, shape (n,)
    saturate : values beyond an integer's range become its limit, as when a fault drives a real
        sensor there; else they are refused

    Raises
    ------
    ColumnTypeError : a value does not fit the type.
    """
    kind: Kind = sensor.signal.kind
    data_type: TSDataType = sensor.data_type
    if kind == "str":
        if data_type is TSDataType.BLOB:
            binary = pa.array(values, pa.string()).cast(pa.binary())
            values = binary.to_numpy(zero_copy_only=False)
        return values, None
    if kind == "time":
        if data_type is TSDataType.TIMESTAMP:
            return values, None
        values = values / clock.units_per_s
        if data_type is TSDataType.DATE:
            values = values / 86_400
    missing = np.isnan(values) if values.dtype.kind == "f" else None
    if missing is not None and not missing.any():
        missing = None
    if data_type in _TEXTS:
        texts = pa.array(values, from_pandas=True).cast(pa.string())
        return texts.to_numpy(zero_copy_only=False), missing
    if data_type is TSDataType.BLOB:
        raw = pa.py_buffer(values.astype(">f8").tobytes())
        binary = pa.FixedSizeBinaryArray.from_buffers(pa.binary(8), len(values), [None, raw])
        return binary.to_numpy(zero_copy_only=False), missing
    if data_type in (TSDataType.FLOAT, TSDataType.DOUBLE):
        return values.astype(_STORED_AS[data_type], copy=False), None
    if missing is not None:
        values = np.where(missing, 0, values)
    if data_type is TSDataType.BOOLEAN:
        return values >= 0.5, missing
    if data_type is TSDataType.TIMESTAMP:
        values = values * float(clock.units_per_s)
    if data_type is TSDataType.DATE:
        values = np.floor(values)
    elif values.dtype.kind == "f":
        values = np.rint(values)  # integers stay: not every one is a double
    return _to_integers(values, sensor, saturate), missing


def _to_integers(whole: Values, sensor: Sensor, saturate: bool) -> Values:
    dtype = _STORED_AS[sensor.data_type]
    if whole.dtype == dtype:
        return whole
    limits = np.iinfo(dtype)
    # 2^63 - 1 is not a double: the largest double below 2^63 is the limit of an INT64.
    high = np.nextafter(2.0**63, 0) if dtype is np.int64 else float(limits.max)
    is_out = (whole < limits.min) | (whole > high)
    if is_out.any():
        if not saturate:
            worst = float(whole[is_out][0])
            raise ColumnTypeError(
                f"sensor {sensor.name!r}: {worst:g} does not fit {sensor.data_type.name}",
                column=sensor.name,
                hint="clip(low=, high=) the signal, or take a wider data_type",
            )
        whole = np.clip(whole, limits.min, high)
    return whole.astype(dtype)


def to_column(
    cells: Values, missing: Bools | None, *, data_type: TSDataType, unit: str
) -> pd.api.extensions.ExtensionArray | Values:
    """A frame's column from stored cells, in the dtypes that a read gives back.

    Parameters
    ----------
    cells : as `store` gives them, shape (n,); owned by the column afterwards
    missing : which are missing, or None
    unit : of TIMESTAMP cells
    """
    if data_type in (TSDataType.FLOAT, TSDataType.DOUBLE):
        if missing is not None:
            cells[missing] = np.nan
        return cells
    if data_type is TSDataType.TIMESTAMP:
        if missing is not None:
            cells[missing] = np.iinfo(np.int64).min  # NaT
        return cells.view(f"datetime64[{unit}]")
    if data_type is TSDataType.DATE:
        days = pa.array(cells, pa.int32(), mask=missing).cast(pa.date32())
        return pd.arrays.ArrowExtensionArray(days)
    if data_type in _TEXTS:
        if missing is not None:
            cells[missing] = None
        return pd.array(cells, dtype="str") if _HAS_STR else cells
    if data_type is TSDataType.BLOB:
        if missing is not None:
            cells[missing] = None
        return pd.arrays.ArrowExtensionArray(pa.array(cells, pa.binary()))
    mask = np.zeros(len(cells), dtype=bool) if missing is None else missing
    if data_type is TSDataType.BOOLEAN:
        return pd.arrays.BooleanArray(cells, mask)
    return pd.arrays.IntegerArray(cells, mask)
