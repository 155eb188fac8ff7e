"""What an option cannot be is refused at once, with its name; what it can be means the same."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from iotdb_frames.errors import OptionsError
from iotdb_frames.options import (
    ConnectionOptions,
    RetryPolicy,
    TimeseriesOption,
    TSDataType,
    TSEncoding,
    WriteOptions,
    parse_bytes,
    write_options,
)

ARRAY = np.array([True, False])
X = TimeseriesOption(path="x", data_type="INT32")
NO_FILES: list[Any] = ["", 5, b"bad.parquet", True, "a\0b", "a\ud800", "/", Path()]
BAD: dict[str, list[Any]] = {
    "aligned": ["no", 1, None, pd.NA, ARRAY, []],
    "create": ["no", 0, None, pd.NA, ARRAY],
    "replace": ["False", 1, None, pd.NA, ARRAY],
    "nan": ["", None, pd.NA, ARRAY, ["keep"]],
    "duplicates": ["all", None, pd.NA, ARRAY],
    "coerce": [True, None, pd.NA, ARRAY],
    "on_error": ["ignore", None, pd.NA, ARRAY],
    "time_unit": ["min", 5, pd.NA, ARRAY, ["s"]],
    "time": [["x"], {}, ARRAY, ("a", [])],
    "device": [["m"], {"m"}, pd.Series(["m"])],
    "tags": ["name", b"name", None, 5, pd.NA, [["name"]], ARRAY.reshape(2, 1)],
    "attributes": ["name", None, 5, [{}]],
    "workers": [0, 1.5, True, "2", None],
    "chunk": [0, True, None, pd.NA, 1.5, "much", "9" * 400 + "MB", "9" * 300 + "TiB"],
    "retry": [3, None, "x", pd.NA, RetryPolicy],
    "progress": ["x", 5, None, pd.NA, ARRAY, ["auto"]],
    "schema": [
        *("DOUBLE", 5, True, "", pd.NA, ARRAY, X, pd.Series({"x": "DOUBLE"})),
        *(["x"], [("x", "FLOAT")], {X}, iter([X]), [TimeseriesOption()], [X, X]),
        *(
            {"x": wish}
            for wish in (math.inf, 4.7, True, np.True_, np.timedelta64(4), None, 99, "no", [4], "4")
        ),
        [TimeseriesOption(path=["x"])],  # type: ignore[arg-type]
    ],
}


@pytest.mark.parametrize("name", BAD)
def test_values_that_cannot_be_meant(name: str) -> None:
    """Each is an OptionsError that names the option or the value, and no foreign error."""
    for value in BAD[name]:
        with pytest.raises(OptionsError) as caught:
            write_options({name: value})
        assert name in str(caught.value) or name == "schema", value


@pytest.mark.parametrize("path", NO_FILES)
def test_dead_letters_need_a_file(path: Any, tmp_path: Path) -> None:
    """What is not a file path is refused before any row could be lost for it."""
    with pytest.raises(OptionsError, match="dead_letter"):
        WriteOptions(on_error="collect", dead_letter=path)
    (tmp_path / "file").write_text("")
    for place in (tmp_path, tmp_path / "file" / "x.parquet", tmp_path / ("x" * 5000)):
        with pytest.raises(OptionsError, match="dead_letter"):
            WriteOptions(on_error="collect", dead_letter=place)
    for place in (tmp_path / "new" / "x.parquet", str(tmp_path / "file")):
        assert WriteOptions(on_error="collect", dead_letter=place).dead_letter == place


@pytest.mark.parametrize(
    "kind", [list, tuple, iter, pd.Series, pd.Index, np.array, dict.fromkeys, lambda x: map(str, x)]
)
def test_labels_are_gone_through_once(kind: Any) -> None:
    """Any iterable of labels is kept as a tuple, also where it can be gone through only once."""
    options = WriteOptions(tags=kind(["a", "b"]), attributes=kind(["c"]))
    again = replace(options, progress=False)
    assert (again.tags, again.attributes) == (("a", "b"), ("c",))


def test_booleans_of_numpy_are_booleans() -> None:
    """A flag that was computed is the plain one, which a manifest can keep."""
    options = WriteOptions(aligned=np.False_, create=np.True_, replace=np.False_)  # type: ignore[arg-type]
    kept = json.dumps([options.aligned, options.create, options.replace])
    assert kept == "[false, true, false]"


@pytest.mark.parametrize("progress", ["auto", True, False, print])
def test_progress(progress: Any) -> None:
    """The four ways to ask for it."""
    assert WriteOptions(progress=progress).progress is progress


@pytest.mark.parametrize("wish", ["double", "DOUBLE", 4, np.int8(4), TSDataType.DOUBLE])
def test_types_by_name_and_number(wish: Any) -> None:
    """A type is a member, its name or its number; a mapping and a list say the same."""
    asked = TimeseriesOption(path="x", data_type=wish, encoding="gorilla")
    assert (asked.data_type, asked.encoding) == (TSDataType.DOUBLE, TSEncoding.GORILLA)
    assert WriteOptions(schema={"x": wish}).series["x"].data_type is TSDataType.DOUBLE
    assert dict(WriteOptions(schema=[asked]).series) == {"x": asked}
    for none in (None, {}, [], ()):
        assert dict(WriteOptions(schema=none).series) == {}


@pytest.mark.parametrize(
    "bad",
    [
        *({"attempts": n} for n in (0, 1.5, True, "3", math.nan, math.inf)),
        *({"total_s": s} for s in (-1, math.nan, None, "3", True, pd.NA)),
        {"first_wait_s": pd.Timedelta("1s")},
        {"longest_wait_s": [1]},
        {"total_s": np.timedelta64(5, "s")},
    ],
)
def test_policies_that_cannot_be_meant(bad: dict[str, Any]) -> None:
    """Tries are a number from 1, times are seconds from 0; anything else is refused by name."""
    with pytest.raises(OptionsError, match=next(iter(bad))):
        RetryPolicy(**bad)


def test_policies_without_end() -> None:
    """A policy may go on forever, and numbers of numpy are numbers."""
    RetryPolicy(total_s=math.inf)
    RetryPolicy(attempts=np.int64(3), first_wait_s=np.float32(0.5), longest_wait_s=0)  # type: ignore[arg-type]


def test_whole_numbers_of_numpy_are_whole_numbers() -> None:
    """They become Python's own, which a manifest's JSON holds; booleans and spans are refused."""
    options = WriteOptions(workers=np.int64(2), chunk=np.uint16(500))  # type: ignore[arg-type]
    assert json.loads(json.dumps([options.workers, options.chunk])) == [2, 500]
    place = ConnectionOptions(hosts=(("h", 1),), pool_size=np.int8(3))  # type: ignore[arg-type]
    assert type(place.pool_size) is int
    assert place.pool_size == 3
    assert parse_bytes(np.int64(7), name="chunk") == 7
    for wrong in (True, np.True_, np.timedelta64(3), 2.0, np.float64(2), "2", None, 0):
        with pytest.raises(OptionsError, match="workers="):
            WriteOptions(workers=wrong)  # type: ignore[arg-type]
