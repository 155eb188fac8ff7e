"""Values arrive exactly or their rows are marked: every dtype, every edge of every cast."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iotdb_frames.codec.cells import Cells, Rules, check_target, is_total, to_cells
from iotdb_frames.codec.sources import Source, from_arrow, from_pandas
from iotdb_frames.codec.types import TABLE, default_type, kind_of
from iotdb_frames.errors import ColumnTypeError
from iotdb_frames.options import TSDataType as T

SAFE = Rules("ms")
LOSSY = Rules("ms", is_lossy=True)
ARROW = pd.ArrowDtype


def source_of(values: Any, dtype: Any = None) -> Source:
    """The source of a column given as a list."""
    if isinstance(values, pa.Array | pa.ChunkedArray):
        return from_arrow(values, "x")
    return from_pandas(pd.Series(values, dtype=dtype), "x")


def cells_of(source: Source, kind: T, rules: Rules = SAFE) -> Cells:
    """All cells of a column."""
    check_target(source, kind)
    return to_cells(source, slice(0, len(source)), kind, rules)


def accept(values: Any, dtype: Any) -> None:
    """What a plan does with a column before it looks at its values."""
    source = source_of(values, dtype)
    check_target(source, default_type(source.type) or T.STRING)


def listed(cells: Cells) -> list[Any]:
    """Cells as a list: None for null, "bad" for what would not arrive exactly."""
    values = cells.values.tolist() if isinstance(cells.values, np.ndarray) else cells.values
    plain = values if isinstance(values, list) else values.to_pylist()
    null = [False] * len(cells) if cells.is_null is None else cells.is_null
    bad = [False] * len(cells) if cells.is_bad is None else cells.is_bad
    return [
        None if is_null else "bad" if is_bad else value
        for value, is_null, is_bad in zip(plain, null, bad, strict=True)
    ]


STAMP = dt.datetime(1969, 12, 31, 23, 59, 59, 999000)
DEFAULTS: list[tuple[str, list[Any], Any, T, list[Any]]] = [
    *[(d, [1, 127], d, T.INT32, [1, 127]) for d in ("int8", "int16", "int32", "uint8", "uint16")],
    *[(d, [1, 2], d, T.INT64, [1, 2]) for d in ("int64", "uint32", "uint64", "Int64", "UInt64")],
    (">i8", [1, -2], np.dtype(">i8"), T.INT64, [1, -2]),
    (">f4", [1.5, None], np.dtype(">f4"), T.FLOAT, [1.5, None]),
    ("Int8", [1, None], "Int8", T.INT32, [1, None]),
    ("UInt32", [1, None], "UInt32", T.INT64, [1, None]),
    ("int16[pyarrow]", [1, None], "int16[pyarrow]", T.INT32, [1, None]),
    ("uint64[pyarrow]", [1, None], "uint64[pyarrow]", T.INT64, [1, None]),
    ("float16", [1.5, np.nan], "float16", T.FLOAT, [1.5, None]),
    ("float32", [1.5, np.nan], "float32", T.FLOAT, [1.5, None]),
    ("float64", [0.1, np.inf], "float64", T.DOUBLE, [0.1, np.inf]),
    ("Float32", [1.5, None], "Float32", T.FLOAT, [1.5, None]),
    ("Float64", [0.1, None], "Float64", T.DOUBLE, [0.1, None]),
    ("double[pyarrow]", [0.1, None], "double[pyarrow]", T.DOUBLE, [0.1, None]),
    ("halffloat[pyarrow]", [1.5, None], ARROW(pa.float16()), T.FLOAT, [1.5, None]),
    ("bool", [True, False], "bool", T.BOOLEAN, [True, False]),
    ("boolean", [True, None], "boolean", T.BOOLEAN, [True, None]),
    ("bool[pyarrow]", [True, None], "bool[pyarrow]", T.BOOLEAN, [True, None]),
    ("object of bool", [True, None, np.nan, pd.NA], object, T.BOOLEAN, [True, None, None, None]),
    ("str", ["a", None], "str", T.STRING, [b"a", None]),
    ("string", ["a", pd.NA], "string", T.STRING, [b"a", None]),
    ("string[python]", ["a", pd.NA], "string[python]", T.STRING, [b"a", None]),
    ("string[pyarrow]", ["a", None], "string[pyarrow]", T.STRING, [b"a", None]),
    ("large_string", ["a", None], ARROW(pa.large_string()), T.STRING, [b"a", None]),
    ("string_view", ["a", None], ARROW(pa.string_view()), T.STRING, [b"a", None]),
    (
        "object of str",
        ["a", None, np.nan, pd.NA, pd.NaT, "", "nan", "None"],
        object,
        T.STRING,
        [b"a", None, None, None, None, b"", b"nan", b"None"],
    ),
    ("category of str", ["a", None, "a"], "category", T.STRING, [b"a", None, b"a"]),
    ("category of int", [5, None, 7], "category", T.INT64, [5, None, 7]),
    ("object of bytes", [b"a\0\0", None, b""], object, T.BLOB, [b"a\0\0", None, b""]),
    ("bytearray", [bytearray(b"a"), memoryview(b"b")], object, T.BLOB, [b"a", b"b"]),
    ("binary[pyarrow]", [b"\xff", None], ARROW(pa.binary()), T.BLOB, [b"\xff", None]),
    ("binary_view", [b"\xff", None], ARROW(pa.binary_view()), T.BLOB, [b"\xff", None]),
    ("fixed binary", [b"ab", None], ARROW(pa.binary(2)), T.BLOB, [b"ab", None]),
    (
        "object of date",
        [dt.date(1, 1, 1), None, pd.NaT, dt.date(9999, 12, 31)],
        object,
        T.DATE,
        [10101, None, None, 99991231],
    ),
    ("date32", [dt.date(1969, 12, 31), None], "date32[pyarrow]", T.DATE, [19691231, None]),
    ("date64", [dt.date(2024, 2, 29), None], ARROW(pa.date64()), T.DATE, [20240229, None]),
    ("datetime64[s]", [STAMP.replace(microsecond=0), None], "M8[s]", T.TIMESTAMP, [-1000, None]),
    ("datetime64[ms]", [STAMP, None], "M8[ms]", T.TIMESTAMP, [-1, None]),
    ("datetime64[us]", [STAMP, None], "M8[us]", T.TIMESTAMP, [-1, None]),
    ("datetime64[ns]", [STAMP, None], "M8[ns]", T.TIMESTAMP, [-1, None]),
    (
        "zoned",
        [pd.Timestamp("2024-01-01T00:30+05:30")],
        "datetime64[us, Asia/Kolkata]",
        T.TIMESTAMP,
        [1704049200000],
    ),
    ("timestamp[pyarrow]", [STAMP, None], ARROW(pa.timestamp("us")), T.TIMESTAMP, [-1, None]),
    (
        "zoned timestamp[pyarrow]",
        [pd.Timestamp("2024-01-01T00:30+05:30"), None],
        ARROW(pa.timestamp("us", "Asia/Kolkata")),
        T.TIMESTAMP,
        [1704049200000, None],
    ),
    (
        "outside the ns range",
        [dt.datetime(1500, 1, 1), dt.datetime(9999, 1, 1)],
        object,
        T.TIMESTAMP,
        [-14831769600000, 253370764800000],
    ),
    (
        "object of decimal",
        [Decimal("0.10"), None, Decimal("NaN")],
        object,
        T.DOUBLE,
        [0.1, None, None],
    ),
    ("decimal128", [Decimal("0.10"), None], ARROW(pa.decimal128(5, 2)), T.DOUBLE, [0.1, None]),
    ("decimal256", [Decimal("0.10"), None], ARROW(pa.decimal256(50, 2)), T.DOUBLE, [0.1, None]),
    ("int and float objects", [1, 2.5, None], object, T.DOUBLE, [1.0, 2.5, None]),
    ("int and decimal objects", [1, Decimal("2.5")], object, T.DOUBLE, [1.0, 2.5]),
    ("uint64 objects", [np.uint64(5)], object, T.INT64, [5]),
    ("sparse", pd.arrays.SparseArray([1.5, np.nan]), None, T.DOUBLE, [1.5, None]),
]


@pytest.mark.parametrize(
    ("values", "dtype", "kind", "expected"),
    [case[1:] for case in DEFAULTS],
    ids=[case[0] for case in DEFAULTS],
)
def test_every_dtype_has_its_type(values: Any, dtype: Any, kind: T, expected: list[Any]) -> None:
    """Each dtype people have gets the type of the table, and its values and nulls arrive."""
    source = source_of(values, dtype)
    assert default_type(source.type) == kind
    assert listed(cells_of(source, kind)) == expected


def test_category_keeps_the_type_of_its_categories() -> None:
    """A category of integers is an integer column, with nulls."""
    source = source_of(pd.Categorical.from_codes([1, -1, 0], categories=[5, 2**53 + 1]))
    assert default_type(source.type) == T.INT64
    assert listed(cells_of(source, T.INT64)) == [2**53 + 1, None, 5]


def test_all_missing_object_column_has_no_type_of_its_own() -> None:
    """Only an existing series or schema= can say what a column of nothing is; then it is nulls."""
    source = source_of([None, np.nan, pd.NA, pd.NaT], object)
    assert default_type(source.type) is None
    for kind in T:
        assert listed(cells_of(source, kind)) == [None] * 4


REFUSED: list[tuple[str, Any, Any, int | None, str]] = [
    ("timedelta", pd.to_timedelta([1]), None, None, "total_seconds"),
    ("timedelta objects", [dt.timedelta(1)], object, None, "total_seconds"),
    ("duration[pyarrow]", [dt.timedelta(1)], ARROW(pa.duration("s")), None, "total_seconds"),
    ("complex", [1j], None, None, ".real"),
    ("complex objects", [1j, None], object, 0, ".real"),
    ("longdouble", np.array([1], np.longdouble), None, None, "type table"),
    ("list", [[1, 2]], object, None, "JSON"),
    ("dict", [{"a": 1}], object, None, "JSON"),
    ("array", [np.array([1])], object, None, "JSON"),
    ("list[pyarrow]", [[1]], ARROW(pa.list_(pa.int64())), None, "JSON"),
    ("period", pd.period_range("2024", periods=2, freq="D"), None, None, "to_timestamp"),
    ("interval", pd.interval_range(0, 2), None, None, ".left"),
    ("category of intervals", pd.cut([1, 2, 3], 2), None, None, ".left"),
    ("category of timedeltas", pd.Categorical(pd.to_timedelta([1])), None, None, "total_seconds"),
    ("category of mixed", pd.Categorical([1, "a"]), None, None, "one type"),
    ("time of day", [dt.time(1)], object, None, "as text"),
    ("object of object", [object()], object, 0, "no IoTDB type"),
    ("int and str", [1, 2, "a"], object, 2, "row 2 is of type string, earlier rows of type int"),
    ("str and int", ["a", None, 1], object, 2, "row 2 is of type int, earlier rows of type string"),
    ("np.int and str", [1, np.int8(1), "a"], object, 2, "row 2 is of type string"),
    ("bool and int", [True, 1], object, 1, "row 1 is of type int"),
    ("np.bool and int", [np.True_, 1], object, 1, "row 1 is of type int"),
    ("float and bool", [1.5, True], object, 1, "row 1 is of type bool"),
    ("str and bytes", ["a", b"b"], object, 1, "row 1 is of type bytes"),
    ("bytes and str", [b"b", "a"], object, 1, "row 1 is of type string"),
    ("date and datetime", [dt.date(2024, 1, 1), dt.datetime(2024, 1, 1, 5)], object, 1, "datetime"),
    ("datetime and date", [dt.datetime(2024, 1, 1, 5), dt.date(2024, 1, 1)], object, 1, "date"),
    ("date and int", [dt.date(2024, 1, 1), 5], object, 1, "row 1 is of type int"),
    ("decimal and float", [Decimal("1.5"), 2.5], object, 1, "row 1 is of type float"),
    (
        "naive and zoned",
        [dt.datetime(2024, 1, 1), dt.datetime(2024, 1, 1, tzinfo=dt.UTC)],
        object,
        1,
        "without a zone",
    ),
    (
        "zoned and naive",
        [pd.Timestamp("2024-01-01", tz="UTC"), None, pd.Timestamp("2024-01-01")],
        object,
        2,
        "without a zone",
    ),
    ("surrogate", ["\ud800"], object, None, "surrogate"),
    ("surrogate in string", ["\ud800"], "string[python]", None, "surrogate"),
    ("integer over 2^63", [1, 2**63], object, None, "float64"),
    ("integer over 2^64", [2**70], object, None, "float64"),
    ("float and integer over 2^53", [2.5, 2**53 + 1], object, None, "float64"),
    ("infinite decimal", [Decimal("Infinity")], object, 0, "float64"),
]


@pytest.mark.parametrize(
    ("values", "dtype", "row", "hint"), [c[1:] for c in REFUSED], ids=[c[0] for c in REFUSED]
)
def test_what_has_no_type_is_refused(values: Any, dtype: Any, row: int | None, hint: str) -> None:
    """Mixed objects and dtypes without a type: an error with column, row and remedy."""
    with pytest.raises(ColumnTypeError, match="'x'") as caught:
        accept(values, dtype)
    assert caught.value.column == "x"
    assert caught.value.row == row
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize("first", [dt.date(2024, 1, 1), 1, "a", b"a", True, Decimal(1)])
def test_objects_are_looked_at_to_the_last(first: Any) -> None:
    """A value of another kind far behind the first slice is found, with its row."""
    values = np.full(140_000, first, object)
    values[139_999] = dt.datetime(2024, 1, 1, 5)
    with pytest.raises(ColumnTypeError) as caught:
        source_of(values)
    assert caught.value.row == 139_999


def test_naive_and_zoned_in_different_slices_are_refused() -> None:
    """That one slice is naive and another zoned is not a way round the rule."""
    values = np.full(70_000, pd.Timestamp("2024-01-01"), object)
    values[69_000:] = pd.Timestamp("2024-01-01", tz="UTC")
    with pytest.raises(ColumnTypeError, match="without a zone") as caught:
        source_of(values)
    assert caught.value.row == 69_000


def test_timestamps_in_objects_keep_their_nanoseconds() -> None:
    """Objects of Timestamp are written to the nanosecond, or refused, never cut."""
    source = source_of([pd.Timestamp(1_000_000_001), dt.datetime(2024, 1, 1)], object)
    assert listed(cells_of(source, T.TIMESTAMP, Rules("ns")))[0] == 1_000_000_001
    assert listed(cells_of(source, T.TIMESTAMP)) == ["bad", 1704067200000]


def test_timestamps_too_far_apart_for_nanoseconds_are_refused() -> None:
    """A nanosecond beside a year that nanoseconds cannot reach: an error, not a guess."""
    source = source_of([pd.Timestamp(1_000_000_001), dt.datetime(1500, 1, 1)], object)
    with pytest.raises(ColumnTypeError):
        cells_of(source, T.TIMESTAMP)


EDGES: list[tuple[str, Any, Any, T, list[Any], list[Any]]] = [
    # dtype, values, target, safe, lossy
    ("int64", [2**53, 2**53 + 1, -(2**53) - 1], T.DOUBLE, [2.0**53, "bad", "bad"], None),
    ("int64", [2**63 - 1, -(2**63)], T.DOUBLE, ["bad", -(2.0**63)], None),
    ("int64", [2**63 - 1024], T.DOUBLE, [float(2**63 - 1024)], None),
    ("uint64", [2**64 - 1, 2**64 - 2048], T.DOUBLE, ["bad", float(2**64 - 2048)], None),
    ("int32", [2**24, 2**24 + 1, 2**31 - 1], T.FLOAT, [2.0**24, "bad", "bad"], None),
    ("int16", [-(2**15), 2**15 - 1], T.FLOAT, [-(2.0**15), 2.0**15 - 1], None),
    ("int64", [2**31 - 1, 2**31], T.INT32, [2**31 - 1, "bad"], [2**31 - 1, "bad"]),
    ("int64", [-(2**31), -(2**31) - 1], T.INT32, [-(2**31), "bad"], [-(2**31), "bad"]),
    ("uint64", [2**63 - 1, 2**63], T.INT64, [2**63 - 1, "bad"], [2**63 - 1, "bad"]),
    ("uint32", [2**31 - 1, 2**31], T.INT32, [2**31 - 1, "bad"], [2**31 - 1, "bad"]),
    ("float64", [1.0, 1.9, -0.5], T.INT64, [1, "bad", "bad"], [1, 1, 0]),
    ("float64", [2.0**63, -(2.0**63)], T.INT64, ["bad", -(2**63)], ["bad", -(2**63)]),
    ("float64", [2.0**31, 2.0**31 - 1], T.INT32, ["bad", 2**31 - 1], ["bad", 2**31 - 1]),
    ("float64", [2147483647.5], T.INT32, ["bad"], [2**31 - 1]),
    ("float32", [2.0**31, 3.0], T.INT32, ["bad", 3], ["bad", 3]),
    ("float16", [2.0, 0.5], T.INT32, [2, "bad"], [2, 0]),
    ("float64", [np.inf, np.nan], T.INT64, ["bad", None], ["bad", None]),
    ("float64", [0.5, 0.1, np.inf], T.FLOAT, [0.5, "bad", np.inf], None),
    ("float64", [1e39, 1e-50], T.FLOAT, ["bad", "bad"], ["bad", 0.0]),
    ("float32", [0.1], T.DOUBLE, [float(np.float32(0.1))], None),
]


@pytest.mark.parametrize("is_arrow", [False, True], ids=["numpy", "arrow"])
@pytest.mark.parametrize(("dtype", "values", "kind", "safe", "lossy"), EDGES)
def test_no_number_changes_silently(
    dtype: str, values: Any, kind: T, safe: Any, lossy: Any, is_arrow: bool
) -> None:
    """A number that a cast would change is marked; "lossy" gives up precision, never range."""
    array = np.array(values, dtype)
    source = source_of(pa.array(array, from_pandas=True) if is_arrow else array)
    assert listed(cells_of(source, kind)) == safe
    if lossy is not None:
        assert listed(cells_of(source, kind, LOSSY)) == lossy


DECIMALS: list[tuple[Any, T, Any, Any]] = [
    (["0.1", "9007199254740993"], T.DOUBLE, [0.1, "bad"], [0.1, 9007199254740992.0]),
    (["9007199254740993.00", "1.50"], T.INT64, [9007199254740993, "bad"], [9007199254740993, 1]),
    (["9223372036854775807", "9223372036854775808"], T.INT64, [2**63 - 1, "bad"], None),
    (["2147483647", "-2147483649"], T.INT32, [2**31 - 1, "bad"], [2**31 - 1, "bad"]),
    (["0.1", "16777217"], T.FLOAT, [float(np.float32(0.1)), "bad"], None),
    (["0.1234567890123456789"], T.DOUBLE, ["bad"], [0.12345678901234568]),
    (["0.1", "12345678.123456789", "1E-20"], T.DOUBLE, [0.1, 12345678.123456789, 1e-20], None),
    (["0.1", "0.1234567890123456789"], T.DOUBLE, [0.1, "bad"], [0.1, 0.12345678901234568]),
]


@pytest.mark.parametrize(("texts", "kind", "safe", "lossy"), DECIMALS)
def test_decimals_survive_at_their_own_scale(texts: Any, kind: T, safe: Any, lossy: Any) -> None:
    """A decimal goes where it comes back the same at its scale, integers without a detour."""
    source = source_of([Decimal(text) for text in texts], object)
    assert listed(cells_of(source, kind)) == safe
    if lossy is not None:
        assert listed(cells_of(source, kind, LOSSY)) == lossy


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "Float64", "double[pyarrow]"])
def test_nan_is_missing_unless_kept(dtype: str) -> None:
    """nan="null" makes NaN a null; nan="keep" a value, which no integer can take."""
    values = pd.array([1.0, 2.0], dtype="Float64") / pd.array([1.0, 2.0], dtype="Float64")
    column = pd.Series(values).astype(dtype)
    if dtype == "Float64":
        column = pd.Series(pd.arrays.FloatingArray(np.array([1.0, np.nan]), np.zeros(2, bool)))
    elif dtype == "double[pyarrow]":
        column = pd.Series(pd.arrays.ArrowExtensionArray(pa.array([1.0, np.nan])))
    else:
        column[1] = np.nan
    source = from_pandas(column, "x")
    kind = default_type(source.type)
    assert kind is not None
    assert listed(cells_of(source, kind)) == [1.0, None]
    kept = cells_of(source, kind, Rules("ms", keep_nan=True))
    assert kept.is_null is None
    assert np.isnan(kept.values[1])
    assert listed(cells_of(source, T.INT64, Rules("ms", keep_nan=True))) == [1, "bad"]


def test_kept_nan_is_told_from_null() -> None:
    """With nan="keep" a NaN beside a null stays a value."""
    source = source_of(pa.array([1.0, None, np.nan]))
    kept = cells_of(source, T.DOUBLE, Rules("ms", keep_nan=True))
    assert kept.is_null is not None
    assert kept.is_null.tolist() == [False, True, False]
    assert np.isnan(kept.values[2])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["2024-01-01", "2024-01-01T00:00:01", None], [20240101, "bad", None]),
        (["1969-12-31", "1900-02-28", "0001-01-01"], [19691231, 19000228, 10101]),
    ],
)
@pytest.mark.parametrize("unit", ["s", "ms", "us"])
def test_midnights_may_go_into_a_date(values: Any, expected: Any, unit: str) -> None:
    """A naive datetime is a date only without a time of day."""
    column = np.array(values, f"M8[{unit}]")
    assert listed(cells_of(source_of(column), T.DATE)) == expected


def test_zoned_times_are_no_dates() -> None:
    """The date of an instant depends on a zone, so it is the user's to say."""
    with pytest.raises(ColumnTypeError, match="no zone"):
        cells_of(source_of(pd.to_datetime(["2024-01-01T00:00Z"])), T.DATE)


@pytest.mark.parametrize("number", [-(10**6), 2932897, 10**9])
def test_dates_outside_the_calendar_are_marked(number: int) -> None:
    """Days that yyyymmdd cannot say are bad."""
    assert listed(cells_of(source_of(pa.array([number, None], pa.date32())), T.DATE)) == [
        "bad",
        None,
    ]


def test_bytes_go_into_text_only_as_utf8() -> None:
    """Bytes that are no UTF-8 are refused for TEXT and STRING: the server would store them."""
    assert listed(cells_of(source_of([b"\xc3\xa9", None], object), T.TEXT)) == ["é".encode(), None]
    with pytest.raises(ColumnTypeError, match="UTF8"):
        cells_of(source_of([b"\xff"], object), T.STRING)


@pytest.mark.parametrize("kind", list(TABLE))
def test_only_the_pairs_of_the_table_are_tried(kind: str) -> None:
    """Each kind of source is refused for every IoTDB type that the table does not list."""
    samples = {
        "bool": pa.array([True]),
        "int": pa.array([1]),
        "float": pa.array([1.0]),
        "decimal": pa.array([Decimal(1)]),
        "string": pa.array(["a"]),
        "bytes": pa.array([b"a"]),
        "date": pa.array([dt.date(2024, 1, 1)]),
        "timestamp": pa.array([dt.datetime(2024, 1, 1)]),
        "null": pa.array([None]),
    }
    source = source_of(samples[kind])
    assert kind_of(source.type) == kind
    for target in T:
        if target in TABLE[kind].targets:
            assert len(cells_of(source, target)) == 1
        else:
            with pytest.raises(ColumnTypeError, match=target.name):
                check_target(source, target)


INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")


@given(data=st.data())
def test_unmarked_numbers_are_equal(data: st.DataObject) -> None:
    """Whatever number goes into whatever type: where it is not marked it is the same number."""
    dtype = np.dtype(data.draw(st.sampled_from([*INTEGERS, "float16", "float32", "float64"])))
    if dtype.kind == "f":
        value = st.floats(width=dtype.itemsize * 8)
    else:
        value = st.integers(int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
    near = st.sampled_from([2**24, 2**31, 2**53, 2**63]).flatmap(
        lambda edge: st.integers(edge - 2, edge + 2)
    )
    if dtype.kind != "f":
        value |= near.filter(lambda n: n <= np.iinfo(dtype).max)
    values = np.array(data.draw(st.lists(value, min_size=1, max_size=8)), dtype)
    kind = data.draw(st.sampled_from([T.INT32, T.INT64, T.FLOAT, T.DOUBLE]))
    source = source_of(values)
    found = listed(cells_of(source, kind))
    for was, now in zip(values.tolist(), found, strict=True):
        if now is None:
            assert np.isnan(was)
        elif now != "bad":
            assert now == was  # Python compares int and float exactly
    if is_total(source, kind):
        assert "bad" not in found


@given(
    pieces=st.lists(st.binary(max_size=4) | st.text(max_size=3).map(str.encode), max_size=9),
    cuts=st.lists(st.integers(0, 20), max_size=6),
)
def test_texts_of_broken_bytes_are_refused(pieces: list[bytes], cuts: list[int]) -> None:
    """Foreign texts are taken where each of them is UTF-8, wherever they are cut; else refused."""
    data = b"".join(pieces)
    ends = np.array([0, *sorted(min(cut, len(data)) for cut in cuts), len(data)], np.int32)
    texts = [data[a:b] for a, b in pairwise(ends.tolist())]
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(data)]
    column = pa.Array.from_buffers(pa.string(), len(texts), buffers)
    try:
        wanted = [text.decode() for text in texts]
    except UnicodeDecodeError:
        with pytest.raises(ColumnTypeError, match="it contains invalid text"):
            from_arrow(column, "x")
    else:
        assert from_arrow(column, "x").data.to_pylist() == wanted


def test_texts_whose_offsets_fall_are_refused() -> None:
    """A foreign column whose texts overlap is refused though its bytes are UTF-8."""
    ends = np.array([0, 3, 1, 4], np.int32)
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(b"abcd")]
    with pytest.raises(ColumnTypeError, match="it contains invalid text"):
        from_arrow(pa.Array.from_buffers(pa.string(), 3, buffers), "x")
