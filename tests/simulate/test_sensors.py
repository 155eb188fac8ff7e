"""How a signal's values become cells of each IoTDB type."""

from __future__ import annotations

import datetime as dt
import struct

import numpy as np
import pandas as pd
import pytest

from iotdb_frames.errors import ColumnTypeError, OptionsError
from iotdb_frames.options import TSDataType
from iotdb_frames.simulate import signals as sg
from iotdb_frames.simulate.sensors import Sensor
from iotdb_frames.simulate.source import SensorSource

VALUES = np.array([-1.5, -0.5, 0.0, 0.49, 0.5, 1.5, 2.5, np.nan])


def cells(data_type: str, signal: object = None, **options: object) -> pd.Series:
    padded = lambda t: np.resize(VALUES, len(t))  # noqa: E731, named by its use
    sensor = Sensor("s", padded if signal is None else signal, data_type=data_type)
    return SensorSource([sensor], **options).window(len(VALUES))["s"]


def test_numbers_as_numbers() -> None:
    """Floats keep their bits or round to float32; whole numbers round half to even; NaN is null."""
    assert np.array_equal(cells("DOUBLE").to_numpy(), VALUES, equal_nan=True)
    assert np.array_equal(cells("FLOAT").to_numpy(), VALUES.astype("f4"), equal_nan=True)
    for name in ("INT32", "INT64"):
        got = cells(name)
        assert got.dtype == name.title()
        assert got.isna().tolist() == [False] * 7 + [True]
        assert got[:-1].tolist() == [-2, 0, 0, 0, 0, 2, 2]


def test_numbers_as_bools() -> None:
    """From 0.5 on a number is true."""
    got = cells("BOOLEAN")
    assert got.dtype == "boolean"
    assert got[:-1].tolist() == [False, False, False, False, True, True, True]
    assert got.isna()[-1:].all()


def test_numbers_as_texts_and_blobs() -> None:
    """Texts are as Arrow writes a double; blobs are its eight bytes, highest first."""
    for name in ("TEXT", "STRING"):
        got = cells(name)
        assert got.dtype == pd.Series(["x"]).dtype
        assert got[:-1].astype(float).tolist() == VALUES[:-1].tolist()
        assert got.isna().tolist() == [False] * 7 + [True]
    got = cells("BLOB")
    assert got.dtype == "binary[pyarrow]"
    assert [struct.unpack(">d", raw)[0] for raw in got[:-1]] == VALUES[:-1].tolist()
    assert got.isna()[-1:].all()


def test_numbers_as_times() -> None:
    """A TIMESTAMP is seconds since 1970, a DATE is days, rounded down."""
    got = cells("TIMESTAMP")
    assert got.dtype == "datetime64[ms]"
    assert got.iloc[0] == pd.Timestamp("1969-12-31 23:59:58.500")
    assert got.iloc[5] == pd.Timestamp("1970-01-01 00:00:01.500")
    assert got.isna().tolist() == [False] * 7 + [True]
    got = cells("DATE")
    assert got.iloc[0] == dt.date(1969, 12, 30)
    assert got.iloc[6] == dt.date(1970, 1, 3)
    assert got.isna().tolist() == [False] * 7 + [True]


def test_the_clock_in_every_type_it_fits() -> None:
    """`clock()` is the row's own time, its day, or its seconds since 1970."""
    options = {"start": "2026-02-28 23:59:58", "time_unit": "us"}
    times = pd.date_range("2026-02-28 23:59:58", periods=8, freq="s")
    assert (cells("TIMESTAMP", "clock", **options).array == times).all()
    assert cells("TIMESTAMP", "clock", **options).dtype == "datetime64[us]"
    assert cells("DATE", "clock", **options).tolist() == list(times.date)
    seconds = [int(time.timestamp()) for time in times]
    assert cells("INT64", "clock", **options).tolist() == seconds
    assert cells("DOUBLE", "clock", **options).tolist() == seconds


def test_strings_as_texts_and_blobs() -> None:
    """String states stay as they are, or become their UTF-8 bytes; nothing else."""
    states = sg.states(("läuft", "aus"))
    assert cells("TEXT", states).iloc[0] == "läuft"
    assert cells("BLOB", states).iloc[0] == "läuft".encode()
    for name in ("INT32", "INT64", "FLOAT", "DOUBLE", "BOOLEAN", "DATE", "TIMESTAMP"):
        with pytest.raises(OptionsError, match=name):
            Sensor("s", states, data_type=name)


def test_types_that_suit_a_signal() -> None:
    """Without a data type a sensor takes the one of its signal's values."""
    kinds = {"sine": "DOUBLE", "counter": "INT64", "on_off": "BOOLEAN", "states": "STRING"}
    for signal, name in (kinds | {"clock": "TIMESTAMP"}).items():
        assert Sensor("s", signal).data_type is TSDataType[name]


def test_a_whole_number_out_of_range_is_refused() -> None:
    """A clean value that an integer type cannot hold is an error that names the sensor."""
    for name, value in (("INT32", 2.0**31), ("INT32", -(2.0**31) - 1), ("INT64", 2.0**63)):
        with pytest.raises(ColumnTypeError, match="'s'") as caught:
            cells(name, value)
        assert caught.value.column == "s"
    assert cells("INT32", float(2**31 - 1)).iloc[0] == 2**31 - 1
    assert cells("INT64", 2**63 - 1).iloc[0] == 2**63 - 1


@pytest.mark.parametrize(
    "sensors",
    [[], 0, ["a", "a"], ["a", Sensor("b"), Sensor("b")], [Sensor("time")], object(), [3]],
)
def test_sensors_that_make_no_table(sensors: object) -> None:
    """No sensors, two of one name, one called time, and things that are none are refused."""
    with pytest.raises(OptionsError):
        SensorSource(sensors)


def test_sensors_in_every_form() -> None:
    """Sensors come as how many, as names, as a mapping or as a list."""
    assert list(SensorSource(3).schema) == ["s1", "s2", "s3"]
    assert list(SensorSource(["a", "b"]).schema) == ["a", "b"]
    assert list(SensorSource({"a": "sine", "b": 3}).schema) == ["a", "b"]
    assert SensorSource(Sensor("a", unit="V")).units == {"a": "V"}
