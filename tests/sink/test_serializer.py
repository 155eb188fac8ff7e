"""What the default serializer makes of each kind of event, and what it refuses."""

from __future__ import annotations

import datetime as dt
import math
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from iotdb_frames.errors import ColumnTypeError, FrameError, TimeIndexError
from iotdb_frames.options import TSDataType
from iotdb_frames.sink.columns import rows_of_device, to_rows, to_source, to_time
from iotdb_frames.sink.rows import NO_CODES, Rows, to_arrow
from iotdb_frames.sink.serializer import DefaultIoTSerializationSchema, DeviceColumns

SEED_MAP = {
    "device": "root.sg.D01",
    "timestamp": "1581861293000",
    "measurements": "temperature",
    "types": "DOUBLE",
    "values": "36.5",
}


def one(event: Any, **options: Any) -> DeviceColumns:
    """The one `DeviceColumns` that an event becomes."""
    made: Any = DefaultIoTSerializationSchema(**options).serialize(event)
    if isinstance(made, DeviceColumns):
        return made
    (only,) = made
    return only


def rows_of(made: DeviceColumns) -> Rows:
    """Its rows."""
    return to_rows(made, (str(made.device),), NO_CODES)


def single(time: int, **values: Any) -> DeviceColumns:
    """A row that waits as it is."""
    return DeviceColumns("root.d", values, time)


def test_the_seeds_map() -> None:
    """The map of the Flink connector's own unit test becomes one typed row."""
    made = one(SEED_MAP)
    assert made == DeviceColumns(
        "root.sg.D01",
        {"temperature": 36.5},
        "1581861293000",
        {"temperature": TSDataType.DOUBLE},
        "ms",
    )
    assert to_time(made.time, "ms") == 1581861293000


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("BOOLEAN", "True", True),
        ("BOOLEAN", "false", False),
        ("INT32", "-7", -7),
        ("INT64", str(2**62), 2**62),
        ("FLOAT", "36.6", float(np.float32(36.6))),
        ("DOUBLE", "1e300", 1e300),
        ("TEXT", "null", "null"),
        ("STRING", "", ""),
        ("DATE", "2026-02-28", dt.date(2026, 2, 28)),
        ("TIMESTAMP", "2026-01-01T00:00:00.001Z", dt.datetime(2026, 1, 1, 0, 0, 0, 1000, dt.UTC)),
        ("BLOB", "0x00ff", b"\x00\xff"),
        ("BLOB", "AP8=", b"\x00\xff"),
        ("INT32", "", None),
        ("DOUBLE", "null", None),
    ],
)
def test_values_of_the_seeds_map(kind: str, text: str, value: Any) -> None:
    """Each type's text is read as that type; only TEXT and STRING take "" for a value."""
    made = one({**SEED_MAP, "types": kind, "values": text})
    got = made.columns["temperature"]
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("BOOLEAN", "yes"),  # Java's parseBoolean would make it false
        ("INT32", "1.5"),
        ("DOUBLE", "1.5 °C"),
        ("FLOAT", "1e40"),
        ("DATE", "2026-02-30"),
        ("BLOB", "0xfg"),
    ],
)
def test_a_text_that_is_no_value_is_refused(kind: str, text: str) -> None:
    """A text that is no value of its type is refused with the measurement's name."""
    with pytest.raises(FrameError, match="temperature.*is not a valid " + kind) as caught:
        one({**SEED_MAP, "types": kind, "values": text})
    assert caught.value.column == "temperature"


def test_several_measurements() -> None:
    """Comma-separated measurements, types and values go together."""
    made = one({**SEED_MAP, "measurements": "a, b", "types": "INT32,TEXT", "values": "1,x"})
    assert made.columns == {"a": 1, "b": "x"}
    assert made.types == {"a": TSDataType.INT32, "b": TSDataType.TEXT}


def test_the_list_form_holds_commas_and_nulls() -> None:
    """Lists in place of texts let values hold the separator, and None is no value."""
    made = one(
        {
            "device": "root.d",
            "measurements": ["a", "b", "c"],
            "types": ["TEXT", TSDataType.DOUBLE, "DOUBLE"],
            "values": ["x,y", None, 2.5],
        }
    )
    assert made.columns == {"a": "x,y", "b": None, "c": 2.5}


@pytest.mark.parametrize(
    "change",
    [{"values": "1,2"}, {"types": "DOUBLE,DOUBLE"}, {"measurements": "a,b,c", "values": "1,2"}],
)
def test_unequal_counts_are_refused(change: dict[str, str]) -> None:
    """As many types and values as measurements, or the event is refused."""
    with pytest.raises(FrameError):
        one({**SEED_MAP, **change})


def test_types_given_once_count_for_maps_without() -> None:
    """A map that names no types takes those of the serializer."""
    event = {k: v for k, v in SEED_MAP.items() if k != "types"}
    assert one(event).columns == {"temperature": "36.5"}
    assert one(event, types={"temperature": "DOUBLE"}).columns == {"temperature": 36.5}


def test_other_fields_and_separator() -> None:
    """The Flink connector's setters are options."""
    made = one(
        {"dev": "root.d", "ts": "5", "ms": "a;b", "ty": "INT32;INT32", "vs": "1;2"},
        field_device="dev",
        field_timestamp="ts",
        field_measurements="ms",
        field_types="ty",
        field_values="vs",
        separator=";",
    )
    assert (made.device, made.time, made.columns) == ("root.d", "5", {"a": 1, "b": 2})


def test_a_row_is_copied() -> None:
    """A mapping that is used again for the next event does not change the first."""
    row = {"device": "root.d", "timestamp": 5, "a": 1.0}
    made = one(row)
    row["a"] = 2.0
    assert made == DeviceColumns("root.d", {"a": 1.0}, 5, None, "ms")


@pytest.mark.parametrize("kind", [dict, MappingProxyType])
def test_a_list_of_rows_with_the_same_keys(kind: type) -> None:
    """Rows become columns, with the device of each row where they have several."""
    rows = [kind({"device": f"root.d{i % 2}", "time": i, "a": i, "b": str(i)}) for i in range(4)]
    made: Any = list(DefaultIoTSerializationSchema().serialize(rows))
    got = [
        (str(device), time, a, b)
        for m in made
        for device, time, a, b in zip(
            [m.device] * len(m.time) if isinstance(m.device, str) else m.device,
            m.time,
            m.columns["a"],
            m.columns["b"],
            strict=True,
        )
    ]
    assert sorted(got, key=lambda r: r[1]) == [(f"root.d{i % 2}", i, i, str(i)) for i in range(4)]


def test_a_list_of_rows_with_different_keys() -> None:
    """A device gets the measurements of its own rows only; what a row lacks is no value."""
    rows = [
        {"device": "root.d1", "time": 1, "a": 1},
        {"device": "root.d2", "time": 1, "z": 9},
        {"device": "root.d1", "time": 2, "b": 2},
    ]
    made: Any = list(DefaultIoTSerializationSchema().serialize(rows))
    assert [(m.device, m.time, m.columns) for m in made] == [
        ("root.d1", [1, 2], {"a": [1, None], "b": [None, 2]}),
        ("root.d2", [1], {"z": [9]}),
    ]


def test_a_list_of_the_seeds_maps() -> None:
    """The Flink connector's maps in a list keep their types."""
    made: Any = list(DefaultIoTSerializationSchema().serialize([SEED_MAP, SEED_MAP]))
    assert made[0].columns == {"temperature": [36.5, 36.5]}
    assert made[0].types == {"temperature": TSDataType.DOUBLE}


def test_a_frame() -> None:
    """A window's index is its time; a column `device` names each row's."""
    index = pd.date_range("2026-01-01", periods=2, freq="s", name="time")
    frame = pd.DataFrame({"device": ["root.d1", "root.d2"], "a": [1.0, 2.0]}, index=index)
    made = one(frame)
    assert list(made.device) == ["root.d1", "root.d2"]
    assert list(made.columns.columns) == ["a"]
    made = one(frame.drop(columns="device").reset_index(), device="root.d")
    assert made.device == "root.d"
    assert made.columns.index.equals(index)


def test_arrow_batches() -> None:
    """A RecordBatch, a Table and anything with the Arrow C stream interface are the same."""
    batch = pa.record_batch({"time": pa.array([1, 2], pa.timestamp("ms")), "a": pa.array([1, 2])})

    class Stream:
        def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
            return pa.Table.from_batches([batch]).__arrow_c_stream__(requested_schema)

    for event in (batch, pa.Table.from_batches([batch]), Stream()):
        made = one(event, device="root.d")
        assert made.columns.column_names == ["a"]
        assert made.time.to_pylist() == batch["time"].to_pylist()


@pytest.mark.parametrize(
    ("event", "words"),
    [
        ({"a": 1}, "names no device"),
        ([{"time": 1, "a": 1}], "names no device"),
        (pd.DataFrame({"a": [1]}), "names no device"),
        (pa.table({"device": ["root.d"], "a": [1]}), "no time column"),
        ("text", "type str is not known"),
        ([1, 2], "a list of events holds a int"),
    ],
)
def test_events_that_are_refused(event: Any, words: str) -> None:
    """What is not an event, or names no device or time, is refused by name."""
    with pytest.raises(FrameError, match=words):
        one(event)


def test_no_event() -> None:
    """None is left out, as upstream does."""
    assert DefaultIoTSerializationSchema().serialize(None) is None


def test_times_of_rows() -> None:
    """A text is the number or the time it is, nanoseconds included; nothing means now."""
    assert to_time("1581861293000", "ms") == 1581861293000
    assert to_time("2026-01-01T00:00:00.000000001Z", "ns").nanosecond == 1
    now = pd.Timestamp.now("UTC").timestamp()
    assert math.isclose(to_time(None, "ms") / 1e3, now, abs_tol=5)
    assert math.isclose(to_time(None, "us") / 1e6, now, abs_tol=5)
    with pytest.raises(FrameError, match="is not a valid time"):
        to_time("yesterday-ish", "ms")


def test_integers_of_frames_are_no_times() -> None:
    """A RangeIndex is never taken for 1970, unless the serializer was told what numbers count."""
    frame = pd.DataFrame({"a": [1.0]})
    with pytest.raises(TimeIndexError):
        rows_of(one(frame, device="root.d"))
    assert len(rows_of(one(frame, device="root.d", time_unit="s"))) == 1


@pytest.mark.parametrize(
    ("values", "arrow"),
    [
        ([1, None], pa.int64()),
        ([1.5, None, 2], pa.float64()),
        (["a", None], pa.string()),
        ([True, None], pa.bool_()),
        ([None, None], pa.null()),
        ([np.float32(1.5)], pa.float32()),
        (np.array([1, 2], ">i4"), pa.int32()),
        (pd.Series([1, None], dtype="Int32"), pa.int32()),
    ],
)
def test_columns_are_typed(values: Any, arrow: pa.DataType) -> None:
    """A column has the type of its values."""
    source = to_source(values, "a")
    assert source.type == to_arrow(source).type == arrow


@pytest.mark.parametrize(
    "values", [[1.0, True], ["a", b"b"], [1, "x"], [[1], [2]], [2**70], [2**60, 1.5], [1j]]
)
def test_columns_of_two_minds_are_refused(values: list[Any]) -> None:
    """Values that Arrow would cast into each other are refused instead."""
    with pytest.raises(ColumnTypeError):
        to_source(values, "a")


def test_one_value_where_times_are_many() -> None:
    """A text is not a column of its letters."""
    with pytest.raises(FrameError, match="holds one value"):
        rows_of(DeviceColumns("root.d", {"a": "ab"}, [1, 2]))


def test_rows_of_another_kind_go_apart() -> None:
    """One bad row among a thousand is told apart, with its reason; all others stay columns."""
    events = [single(i, a=float(i), b="x") for i in range(1000)]
    events[500] = single(500, a=[1, 2], b="x")
    events[700] = single(700, a="text", b="x")
    events[900] = single(900, a=2**80, b="x")
    parts = list(rows_of_device("root.d", events))
    refused = {int(i): error for error, at in parts if isinstance(error, FrameError) for i in at}
    assert set(refused) == {500, 900}
    kept = [(rows, at) for rows, at in parts if isinstance(rows, Rows)]
    assert sorted(i for _, at in kept for i in at.tolist()) == [
        i for i in range(1000) if i not in (500, 900)
    ]
    texts = [at.tolist() for rows, at in kept if rows.columns["a"].type == pa.string()]
    assert texts == [[700]]


def test_rows_of_one_device_share_their_measurements() -> None:
    """Events of one measurement each go together; in each the other measurements are null."""
    events = [single(i, a=1.0) if i % 2 else single(i, b=2) for i in range(6)]
    ((rows, at),) = rows_of_device("root.d", events)
    assert isinstance(rows, Rows)
    assert at.tolist() == list(range(6))
    values = {name: to_arrow(source).to_pylist() for name, source in rows.columns.items()}
    assert values == {"b": [2, None] * 3, "a": [None, 1.0] * 3}


def test_rows_do_not_follow_later_changes_of_their_frame() -> None:
    """What the caller does with a frame after it was sent changes nothing of what goes out."""
    index = pd.date_range("2026-01-01", periods=3, freq="s")
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0]}, index=index)
    rows = rows_of(DeviceColumns("root.d", frame))
    frame.loc[:, "a"] = 0.0
    frame.iloc[0, 0] = 9.0
    assert to_arrow(rows.columns["a"]).to_pylist() == [1.0, 2.0, 3.0]


def test_an_index_of_objects_holds_no_times() -> None:
    """The type of an index of objects says nothing: its values are looked at, in each window."""
    for values in ([dt.datetime(2026, 1, 1)], ["x"], [(1, 2)]):
        index = pd.Index(values, dtype=object, tupleize_cols=False)
        with pytest.raises(TimeIndexError, match="holds no times"):
            rows_of(DeviceColumns("root.d", pd.DataFrame({"a": [1.5]}, index)))
