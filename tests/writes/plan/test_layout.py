"""Every shape of frame, as what it stores; every bad one, as the error it gets."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from plans import checked, days, plan_of, requests_of, stamps

from iotdb_frames.errors import ColumnTypeError, FrameError, OptionsError, TimeIndexError
from iotdb_frames.options import TimeseriesOption, TSDataType
from stored import stored

DAY = 86_400_000
WIDE = pd.DataFrame({"a": [1.5, 2.5], "b": [True, False]}, index=days(2))
WIDE_STORED = {
    ("root.a.d", 0): {"a": 1.5, "b": True},
    ("root.a.d", DAY): {"a": 2.5, "b": False},
}
LONG = pd.DataFrame(
    {"name": ["x", "y.z", "x", "root.a.d.y.z"], "v": [1, 2, 3, 4]}, index=days(2).repeat(2)
)
LONG_STORED = {
    ("root.a.d.x", 0): {"v": 1},
    ("root.a.d.y.z", 0): {"v": 2},
    ("root.a.d.x", DAY): {"v": 3},
    ("root.a.d.y.z", DAY): {"v": 4},
}
TABLE = pd.DataFrame(
    {"V": [1, 2, 3], "Site": ["p", None, "p"], "kind": ["k", "k", None], "t": ["u", "", None]},
    index=days(3),
)
TABLE_STORED = {
    ("m", b"p", b"u", 0): {"v": 1, "kind": b"k"},
    ("m", None, b"", DAY): {"v": 2, "kind": b"k"},
    ("m", b"p", None, 2 * DAY): {"v": 3},
}
NOT_UTF8 = pa.Array.from_buffers(
    pa.string(), 2, [None, pa.py_buffer(np.array([0, 1, 2], "i4")), pa.py_buffer(b"a\xff")]
)
AS_TABLE: dict[str, Any] = {"target": "db.m", "tags": ["Site", "t"], "attributes": ["kind"]}

SHAPES: dict[str, tuple[Any, dict[str, Any], dict[Any, Any]]] = {
    "wide": (WIDE, {}, WIDE_STORED),
    "time column": (WIDE.rename_axis("when").reset_index(), {"time": "when"}, WIDE_STORED),
    "time level by name": (WIDE.rename_axis("when"), {"time": "when"}, WIDE_STORED),
    "integer times": (
        WIDE.set_axis(np.array([0, 86_400]), axis=0),
        {"time_unit": "s"},
        WIDE_STORED,
    ),
    "unsigned times": (
        WIDE.assign(at=np.array([0, DAY], "u4")).reset_index(drop=True),
        {"time": "at", "time_unit": "ms"},
        WIDE_STORED,
    ),
    "category of times": (
        WIDE.assign(at=pd.Categorical(days(2))).reset_index(drop=True),
        {"time": "at"},
        WIDE_STORED,
    ),
    "arrow times": (WIDE.set_axis(WIDE.index.astype("timestamp[us][pyarrow]")), {}, WIDE_STORED),
    "zoned times": (WIDE.tz_localize("UTC").tz_convert("Asia/Tokyo"), {}, WIDE_STORED),
    "unsorted": (WIDE[::-1], {}, WIDE_STORED),
    "series": (WIDE["a"], {}, {k: {"a": v["a"]} for k, v in WIDE_STORED.items()}),
    "nameless series": (
        WIDE["a"].rename(None),
        {},
        {k: {"value": v["a"]} for k, v in WIDE_STORED.items()},
    ),
    "odd names": (
        WIDE.set_axis(["1a", "µg/m³ `x`.y"], axis=1),
        {"target": "root.a.`b c`.d"},
        {
            ("root.a.`b c`.d", k[1]): {"`1a`": v["a"], "`µg/m³ ``x``.y`": v["b"]}
            for k, v in WIDE_STORED.items()
        },
    ),
    "device column": (LONG, {"device": "name"}, LONG_STORED),
    "device category": (
        LONG.astype({"name": pd.CategoricalDtype(["no such .. path", "root.a.d.y.z", "x", "y.z"])}),
        {"device": "name"},
        LONG_STORED,
    ),
    "device level": (
        LONG.set_index("name", append=True).rename_axis(["t", "n"]),
        {"device": "n"},
        LONG_STORED,
    ),
    "series with levels": (
        LONG.set_index("name", append=True).rename_axis(["t", "n"])["v"],
        {"device": "n"},
        LONG_STORED,
    ),
    "device and measurement levels": (
        pd.DataFrame(
            [[1, np.nan, 2.5], [np.nan, np.nan, 3.5]],
            index=days(2),
            columns=pd.MultiIndex.from_tuples([("x", "v"), ("x", "w"), ("root.a.d.y", "v")]),
        ),
        {},
        {
            ("root.a.d.x", 0): {"v": 1.0, "w": None},
            ("root.a.d.y", 0): {"v": 2.5},
            ("root.a.d.y", DAY): {"v": 3.5},
        },
    ),
    "full paths": (
        pd.DataFrame(
            {"root.a.d.x.v": [1.0, 2.0], "root.a.d.y.`v.w`": [np.nan, 3.0]}, index=days(2)
        ),
        {},
        {
            ("root.a.d.x", 0): {"v": 1.0},
            ("root.a.d.x", DAY): {"v": 2.0},
            ("root.a.d.y", DAY): {"`v.w`": 3.0},
        },
    ),
    "table": (TABLE, AS_TABLE, TABLE_STORED),
    "table of levels": (
        TABLE.rename_axis("at").set_index(["Site", "t"], append=True),
        AS_TABLE,
        TABLE_STORED,
    ),
    "table of categories": (
        TABLE.astype({"Site": "category", "kind": "category"}),
        AS_TABLE,
        TABLE_STORED,
    ),
    "table without tags": (
        WIDE,
        {"target": "db.m"},
        {("m", k[1]): v for k, v in WIDE_STORED.items()},
    ),
    "arrow table": (
        pa.table({"time": pa.array([0, DAY], pa.timestamp("ms")), "a": [1.5, 2.5]}),
        {},
        {k: {"a": v["a"]} for k, v in WIDE_STORED.items()},
    ),
    "record batch": (
        pa.record_batch({"at": pa.array([0, 1], pa.int8()), "a": [1.5, 2.5]}),
        {"time": "at", "time_unit": "s"},
        {("root.a.d", 0): {"a": 1.5}, ("root.a.d", 1000): {"a": 2.5}},
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_stores_what_it_means(shape: str) -> None:
    """Each shape of frame becomes the rows of the right devices, in one model or the other."""
    data, options, expected = SHAPES[shape]
    assert stored(requests_of(checked(data, **options))) == expected


def test_tags_keep_their_order_and_come_first() -> None:
    """The order of tags= is the order of the table's key; all names are lower-case."""
    planned = checked(TABLE, "DB.M", tags=["t", "Site"], attributes=["kind"])
    request, without_kind = requests_of(planned)
    assert without_kind.tablets[0].names == ["t", "site", "v"]
    assert request.tablets[0].names == ["t", "site", "kind", "v"]
    assert request.tablets[0].categories == [0, 0, 2, 1]
    assert (request.tablets[0].target, planned.target.database) == ("m", "db")


SCHEMAS: list[tuple[Any, Any]] = [
    ({"a": "DOUBLE"}, WIDE),
    ({"a": TSDataType.DOUBLE}, WIDE),
    ({"a": 4}, WIDE),
    ({"a": TimeseriesOption(data_type="DOUBLE")}, WIDE),
    ([TimeseriesOption(path="a", data_type="DOUBLE")], WIDE),
    ([TimeseriesOption(path="root.a.d.a", data_type="DOUBLE")], WIDE),
    ([TimeseriesOption(path="root.a.`d`.a", data_type="DOUBLE")], WIDE),
    (
        [TimeseriesOption(path="root.a.d.a", data_type="DOUBLE")],
        WIDE.rename(columns={"a": "root.a.d.a", "b": "root.a.d.b"}),
    ),
]


@pytest.mark.parametrize(("schema", "frame"), SCHEMAS)
def test_schema_names_a_column_by_label_or_path(schema: Any, frame: pd.DataFrame) -> None:
    """A type is asked for by label, or by the full path of the series."""
    frame = frame.astype({frame.columns[0]: "float32"})
    planned = checked(frame, schema=schema)
    assert planned.parts[0].columns[0].data_type == TSDataType.DOUBLE


NAT = WIDE.set_axis(pd.DatetimeIndex(["1970-01-01", pd.NaT]))
T, F, C, OPTION = TimeIndexError, FrameError, ColumnTypeError, OptionsError
BAD: dict[str, tuple[Any, dict[str, Any], type[Exception], Any, int | None, str]] = {
    # frame, options, error, column, row, a word of the text
    "RangeIndex": (WIDE.reset_index(drop=True), {}, T, None, None, "time_unit"),
    "text index": (WIDE.set_axis(["1970", "1971"]), {}, T, None, None, "DatetimeIndex"),
    "float index": (WIDE.set_axis([0.5, 1.5]), {}, T, None, None, "DatetimeIndex"),
    "period index": (WIDE.to_period("D"), {}, T, None, None, "to_timestamp"),
    "timedelta index": (WIDE.set_axis(pd.to_timedelta([1, 2])), {}, T, None, None, "no times"),
    "object times": (WIDE.set_axis(WIDE.index.astype(object)), {}, T, None, None, "to_datetime"),
    "mixed index": (
        WIDE.set_axis(pd.Index([1, "a"], dtype=object)),
        {},
        T,
        None,
        1,
        "holds no times",
    ),
    "NaT": (NAT, {}, T, None, 1, "drop these rows"),
    "NaT in a column": (NAT.rename_axis("at").reset_index(), {"time": "at"}, T, "at", 1, "drop"),
    "finer than ms": (
        WIDE.set_axis(stamps("1970-01-01", "1970-01-01T00:00:00.0001", unit="us")),
        {},
        T,
        None,
        1,
        "lossy",
    ),
    "finer comes before missing": (
        WIDE.set_axis(stamps("1970-01-01T00:00:00.0001", "NaT", unit="us")),
        {},
        T,
        None,
        0,
        "finer",
    ),
    "outside the range of int64": (
        WIDE.set_axis(np.array([0, 2**62], "M8[s]")),
        {},
        T,
        None,
        1,
        "int64",
    ),
    "time twice in zone": (
        WIDE.set_axis(stamps("2024-10-27", "2024-10-27T02:30")),
        {"time_zone": "Europe/Berlin"},
        T,
        None,
        1,
        "tz_localize",
    ),
    "unit of datetimes": (WIDE, {"time_unit": "ms"}, T, None, None, "leave it out"),
    "unknown unit": (WIDE.reset_index(drop=True), {"time_unit": "min"}, OPTION, None, None, "'ns'"),
    "no time column": (WIDE, {"time": "aa"}, F, "aa", None, "did you mean 'a'"),
    "arrow without time": (pa.table({"a": [1]}), {}, T, None, None, "time="),
    "levels without time": (
        LONG.assign(k=1).set_index(["name", "k"]),
        {"device": "name"},
        T,
        None,
        None,
        "0 levels",
    ),
    "two time levels": (
        WIDE.assign(t1=days(2), t2=days(2)).set_index(["t1", "t2"]),
        {},
        T,
        None,
        None,
        "2 levels",
    ),
    "nameless levels": (
        LONG.set_index("name", append=True),
        {"device": "name"},
        F,
        None,
        None,
        "name of its own",
    ),
    "nameless leftover index": (
        WIDE.assign(at=WIDE.index),
        {"time": "at"},
        F,
        None,
        None,
        "reset_index",
    ),
    "duplicate labels": (
        WIDE.set_axis(["a", "a"], axis=1),
        {},
        F,
        "a",
        None,
        "more than once",
    ),
    "column and level": (WIDE.rename_axis("a"), {}, F, "a", None, "rename"),
    "number for a label": (WIDE.set_axis(["a", 7], axis=1), {}, F, 7, None, "map(str)"),
    "empty label": (WIDE.set_axis(["a", ""], axis=1), {}, F, "", None, "give it a name"),
    "column called time": (WIDE.rename(columns={"b": "Time"}), {}, F, "Time", None, "rename"),
    "field called time": (
        WIDE.rename(columns={"b": "Time"}),
        {"target": "db.m"},
        F,
        "Time",
        None,
        "rename",
    ),
    "line break in a label": (WIDE.rename(columns={"b": "b\n"}), {}, F, "b\n", None, "rename"),
    "labels that clash in a table": (
        WIDE.set_axis(["a", "A"], axis=1),
        {"target": "db.m"},
        F,
        "A",
        None,
        "lower-case",
    ),
    "no columns": (WIDE[[]], {}, F, None, None, "no columns"),
    "no columns of two levels": (
        pd.DataFrame(index=days(2), columns=pd.MultiIndex.from_arrays([[], []])),
        {},
        F,
        None,
        None,
        "no columns",
    ),
    "three column levels": (
        pd.DataFrame([[1]], index=days(1), columns=pd.MultiIndex.from_tuples([("a", "b", "c")])),
        {},
        F,
        None,
        None,
        "at most two",
    ),
    "device level outside": (
        pd.DataFrame([[1]], index=days(1), columns=pd.MultiIndex.from_tuples([("root.b", "s")])),
        {},
        F,
        ("root.b", "s"),
        None,
        "not below",
    ),
    "path outside": (
        pd.DataFrame({"root.b.c.s": [1]}, index=days(1)),
        {},
        F,
        "root.b.c.s",
        None,
        "not below",
    ),
    "path and label": (
        pd.DataFrame({"root.a.d.s": [1], "s": [1]}, index=days(1)),
        {},
        F,
        "s",
        None,
        "either all",
    ),
    "one path twice": (
        pd.DataFrame({"root.a.d.s": [1], "root.a.d.`s`": [1]}, index=days(1)),
        {},
        F,
        "root.a.d.`s`",
        None,
        "more than once",
    ),
    "no device": (LONG, {"device": "nme"}, F, "nme", None, "did you mean 'name'"),
    "device of numbers": (LONG, {"device": "v"}, F, "v", None, "astype(str)"),
    "missing device": (
        LONG.assign(name=["x", None, "x", "x"]),
        {"device": "name"},
        F,
        "name",
        1,
        "dropna",
    ),
    "half a device": (
        LONG.assign(name=["x", "x", "y..z", "x"]),
        {"device": "name"},
        F,
        "name",
        2,
        "back-quotes",
    ),
    "device outside": (
        LONG.assign(name=["x", "x", "root.b.c", "x"]),
        {"device": "name"},
        F,
        "name",
        2,
        "below the target",
    ),
    "device in a table": (LONG, {"target": "db.m", "device": "name"}, OPTION, None, None, "tags="),
    "tags in the tree": (LONG, {"tags": ["name"]}, OPTION, None, None, "device="),
    "tags as text": (LONG, {"target": "db.m", "tags": "name"}, OPTION, None, None, "['name']"),
    "unknown tag": (LONG, {"target": "db.m", "tags": ["nam"]}, F, "nam", None, "'name'"),
    "tag of numbers": (LONG, {"target": "db.m", "tags": ["v"]}, F, "v", None, "astype(str)"),
    "tag and attribute": (
        LONG,
        {"target": "db.m", "tags": ["name"], "attributes": ["name"]},
        OPTION,
        None,
        None,
        "in tags= and in attributes=",
    ),
    "schema of no column": (WIDE, {"schema": {"aa": "INT32"}}, F, "aa", None, "did you mean 'a'"),
    "schema of no path": (
        WIDE,
        {"schema": [TimeseriesOption(path="root.a.e.a", data_type="INT32")]},
        F,
        "root.a.e.a",
        None,
        "no such column",
    ),
    "no exact value": (WIDE, {"schema": {"a": "INT32"}}, C, "a", 0, "1.5"),
    "no such cast": (WIDE, {"schema": {"b": "INT32"}}, C, "b", None, "BOOLEAN"),
    "no such bool": (WIDE, {"schema": {"a": "BOOLEAN"}}, C, "a", None, "BOOLEAN"),
    "timedelta": (WIDE.assign(c=pd.to_timedelta([1, 2])), {}, C, "c", None, "total_seconds"),
    "mixed objects": (
        WIDE.assign(c=np.array([1, "a"], object)),
        {},
        C,
        "c",
        1,
        "row 1 is of type string",
    ),
    "over 2^63": (WIDE.assign(c=np.array([1, 2**63], "u8")), {}, C, "c", 1, "DOUBLE"),
    "a list": ([1, 2], {}, OPTION, None, None, "list"),
    "root as a device": (WIDE, {"target": "root"}, OPTION, None, None, "root is not a device"),
    "repeated times": (
        WIDE.set_axis(days(1).repeat(2)),
        {"duplicates": "raise"},
        T,
        None,
        1,
        "merge",
    ),
    "unsigned time over 2^63": (
        WIDE.assign(at=np.array([2**63 + 5, 0], "u8")).reset_index(drop=True),
        {"time": "at", "time_unit": "ms"},
        T,
        "at",
        0,
        "64-bit",
    ),
    "nullable unsigned time over 2^63": (
        WIDE.assign(at=pd.array([0, 2**63 + 5], "UInt64")).reset_index(drop=True),
        {"time": "at", "time_unit": "ms"},
        T,
        "at",
        1,
        "64-bit",
    ),
    "integer times with a hole": (
        WIDE.assign(at=np.array([0, None], object)).reset_index(drop=True),
        {"time": "at", "time_unit": "ms"},
        T,
        "at",
        1,
        "is missing",
    ),
    "Arrow time out of Python's range": (
        pa.table({"time": pa.array([0, 2**60], pa.timestamp("s")), "a": [1, 2]}),
        {},
        T,
        "time",
        1,
        "int64",
    ),
    "date out of Python's range": (
        pa.table(
            {
                "time": stamps("2024", "2025"),
                "a": pa.array([0, -800_000], pa.int32()).cast(pa.date32()),
            }
        ),
        {},
        C,
        "a",
        1,
        "years 1 to 9999",
    ),
    "white space behind a device": (
        LONG.assign(name=["x", "x ", "x", "x"]),
        {"device": "name"},
        F,
        "name",
        1,
        "expected a dot",
    ),
    "white space behind a path": (
        WIDE.set_axis(["root.a.d.x", "root.a.d.y "], axis=1),
        {},
        F,
        "root.a.d.y ",
        None,
        "expected a dot",
    ),
    "nothing but devices": (LONG[["name"]], {"device": "name"}, F, None, None, "no columns"),
    "type of a tag": (TABLE, {**AS_TABLE, "schema": {"t": "INT32"}}, C, "t", None, "is STRING"),
    "a duration among ints": (
        WIDE.assign(c=np.array([5, np.timedelta64(7, "ns")], object)),
        {},
        C,
        "c",
        1,
        "is of type duration",
    ),
    "long doubles": (
        WIDE.assign(c=np.array([np.longdouble("0.1"), np.longdouble(1)], object)),
        {},
        C,
        "c",
        0,
        "float64",
    ),
    "integers of numpy beside decimals": (
        WIDE.assign(c=np.array([np.int64(1), Decimal("2.5")], object)),
        {},
        C,
        "c",
        None,
        "decimals",
    ),
    "pandas texts that are not UTF-8": (
        WIDE.assign(c=pd.arrays.ArrowExtensionArray(pa.chunked_array([NOT_UTF8]))),
        {},
        C,
        "c",
        None,
        "invalid text",
    ),
    "forgotten device": (
        pd.DataFrame({"v": [1, 2], "who": ["x", "y"]}, index=days(1).repeat(2)),
        {},
        F,
        "who",
        None,
        'device="who"',
    ),
    "too few tags": (
        pd.DataFrame({"v": [1, 2], "s": ["p", "p"], "who": ["x", "y"]}, index=days(1).repeat(2)),
        {"target": "db.m", "tags": ["s"]},
        F,
        "who",
        None,
        'tags=[…, "who"]',
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_with_its_place_and_remedy(case: str) -> None:
    """Each bad frame: the designed error, its column and row, and what to do about it."""
    data, options, kind, column, row, word = BAD[case]
    with pytest.raises(kind) as caught:
        checked(data, **options)
    assert type(caught.value) is kind
    assert word in str(caught.value)
    if isinstance(caught.value, FrameError):
        assert (caught.value.column, caught.value.row) == (column, row)


def test_a_missing_label_is_no_text() -> None:
    """pd.NA as a label is refused like a number."""
    with pytest.raises(FrameError, match="is not text"):
        checked(WIDE.set_axis(["a", pd.NA], axis=1))


@pytest.mark.parametrize("one", [np.float16(1.5), np.float32(1.5), np.float64(1.5)])
def test_floats_of_numpy_among_ints_are_not_cut(one: np.floating[Any]) -> None:
    """An object column of ints and floats is one of floats, whatever width they have."""
    frame = pd.DataFrame({"c": np.array([1, one], object)}, index=days(2))
    assert [row["c"] for row in stored(requests_of(plan_of(frame))).values()] == [1.0, 1.5]


@pytest.mark.parametrize("keep", [True, False])
def test_nan_among_objects(keep: bool) -> None:
    """NaN is kept or missing as `nan` says, and what marks a missing object never is a value."""
    cells = [1.5, float("nan"), None, pd.NA, np.float64("nan"), pd.NaT]
    frame = pd.DataFrame({"c": np.array(cells, object)}, index=days(6))
    rows = stored(requests_of(plan_of(frame, nan="keep" if keep else "null")))
    there = [row["c"] for row in rows.values() if row.get("c") is not None]
    assert there[0] == 1.5
    assert np.isnan(there[1:]).tolist() == [True] * (2 * keep)


def test_dictionaries_with_a_null_in_chunks() -> None:
    """Chunks whose dictionaries hold a null among their texts are texts like any other."""
    chunk = pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int8()), pa.array(["x", None]))
    times = pa.array(range(4), pa.timestamp("ms"))
    frame = pa.table({"time": times, "c": pa.chunked_array([chunk, chunk])})
    found = [row.get("c") for row in stored(requests_of(plan_of(frame))).values()]
    assert found == [b"x", None] * 2


def test_a_plan_of_values_that_cannot_be_read_is_shown() -> None:
    """A plan whose objects Arrow cannot take shows them as its problem, and their nulls."""
    cells = np.array([pd.Timestamp.max, dt.datetime(1, 1, 1), None], object)
    text = repr(plan_of(pd.DataFrame({"c": cells}, index=days(3))))
    assert "cannot" in text


def test_a_plan_shows_all_problems_at_once() -> None:
    """A plan lists every problem; the error of a write says how many more there are."""
    frame = NAT.assign(c=[0.5, 2.0], d=np.array([1, 2**63], "u8"))
    planned = plan_of(frame, schema={"c": "INT32", "b": "DOUBLE"})
    texts = repr(planned)
    assert len(planned.problems) == 4
    for text in ("NaT", "0.5", "9223372036854775808", "cannot go into DOUBLE"):
        assert text in texts
    with pytest.raises(FrameError, match="3 more problems"):
        planned.check()


def test_texts_twice_in_a_dictionary_are_one_device() -> None:
    """A foreign dictionary may hold a text twice and a null: rows of one device stay together."""
    names = pa.DictionaryArray.from_arrays(
        pa.array([0, 1, 2, None], pa.int8()), pa.array(["x", "x", None])
    )
    times = pa.array([3, 1, 2, 0], pa.timestamp("ms"))
    data = pa.table({"time": times, "tag": names, "v": [1, 2, 3, 4]})
    found = stored(requests_of(checked(data, "db.m", tags=["tag"])))
    assert found == {
        ("m", b"x", 1): {"v": 2},
        ("m", b"x", 3): {"v": 1},
        ("m", None, 0): {"v": 4},
        ("m", None, 2): {"v": 3},
    }


@pytest.mark.parametrize("n_names", [127, 128, 129, 255, 256, 257])
def test_codes_of_a_category_do_not_overflow_at_a_null(n_names: int) -> None:
    """As many names as a category's codes can hold, and a null: all rows find their device."""
    names = [f"n{i}" for i in range(n_names)]
    frame = pd.DataFrame(
        {"name": pd.Categorical([*names, None], names), "v": range(n_names + 1)},
        index=days(1).repeat(n_names + 1),
    )
    found = stored(requests_of(checked(frame, "db.m", tags=["name"])))
    expected = {("m", name.encode(), 0): {"v": i} for i, name in enumerate(names)}
    assert found == expected | {("m", None, 0): {"v": n_names}}


def test_labels_are_taken_literally() -> None:
    """Labels that pandas could take for something else than a label name their own columns."""
    frame = pd.DataFrame([[1, 2, 3]], index=days(1), columns=pd.Index(["a", "b", "c"]))
    frame.columns = pd.MultiIndex.from_tuples([("a", "s"), ("a", "s:t"), ("b", "s")])
    found = stored(requests_of(checked(frame)))
    assert found == {
        ("root.a.d.a", 0): {"s": 1, "`s:t`": 2},
        ("root.a.d.b", 0): {"s": 3},
    }


def test_an_empty_frame_has_a_plan_and_nothing_to_send() -> None:
    """No rows: columns and types as ever, no request."""
    planned = checked(WIDE[:0])
    assert [c.data_type for c in planned.parts[0].columns] == [
        TSDataType.DOUBLE,
        TSDataType.BOOLEAN,
    ]
    assert requests_of(planned) == []
    assert "0" in repr(planned)
