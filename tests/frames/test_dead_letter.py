"""Refused rows are kept as they were, whatever the frame."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from iotdb_frames.frames.dead_letter import DeadLetter

INDEX = pd.DatetimeIndex(["2024-01-01", "NaT", "2024-01-03"])
ROWS = (np.array([1, 2]), np.array([0]))


def keep(path: Path, data: Any) -> pa.Table:
    """The file of rows 1, 2 and then 0."""
    letter = DeadLetter(path)
    letter.add(data, ROWS[0], reason="why")
    letter.add(data, ROWS[1], reason="other", code=507)
    letter.close()
    assert letter.n_rows == 3
    return pq.read_table(path)


COLUMNS: dict[str, Any] = {
    "str": ["x", None, "z"],
    "bytes": [b"\xff", None, b""],
    "category": pd.Categorical(["x", None, "z"]),
    "category of int": pd.Categorical([1, None, 3]),
    "date": [dt.date(2024, 1, 1), None, dt.date(1, 1, 1)],
    "decimal": [Decimal("1.5"), None, Decimal("-2.5")],
    "Int64": pd.array([2**53 + 1, None, 1], dtype="Int64"),
    "boolean": pd.array([True, None, False], dtype="boolean"),
    "big-endian": np.array([1.5, 2.5, 3.5], ">f8"),
    "float16": np.array([1.5, 2.5, 3.5], "f2"),
    "sparse": pd.arrays.SparseArray([1.5, 0.0, 3.5], fill_value=0.0),
    "zoned": INDEX.tz_localize("Asia/Tokyo"),
    "string_view": pd.arrays.ArrowExtensionArray(pa.array(["x", None, "z"], pa.string_view())),
}


@pytest.mark.parametrize("kind", COLUMNS)
def test_rows_are_kept_as_they_were(tmp_path: Path, kind: str) -> None:
    """Every dtype that can be written can be kept, with nulls, index, place and reason."""
    frame = pd.DataFrame({"a": COLUMNS[kind]}, index=INDEX)
    table = keep(tmp_path / "deep" / "x.parquet", frame)
    assert table.column_names == ["index", "a", "refused_row", "refused_code", "refused_reason"]
    assert table["refused_row"].to_pylist() == [1, 2, 0]
    assert table["refused_code"].to_pylist() == [None, None, 507]
    assert table["refused_reason"].to_pylist() == ["why", "why", "other"]
    expected = [None if pd.isna(frame["a"].iloc[i]) else frame["a"].iloc[i] for i in (1, 2, 0)]
    assert table["a"].to_pylist() == expected
    assert table["index"].to_pandas().isna().tolist() == [True, False, False]


def test_other_columns_go_into_a_further_file(tmp_path: Path) -> None:
    """Rows of a stream that do not fit into the first file's columns are not lost."""
    letter = DeadLetter(tmp_path / "x.parquet")
    values = ([1, 2], [3, 4], [0.5, 1.5], ["a", "b"], [5.0, 6.0])
    for some in values:
        letter.add(pd.DataFrame({"a": some}, INDEX[[0, 2]]), np.array([1]), reason="why")
    letter.add(pd.DataFrame({"b": [1, 2]}, INDEX[[0, 2]]), np.array([0]), reason="why")
    letter.close()
    assert letter.n_rows == 6
    found = {p.name: pq.read_table(p).column(1).to_pylist() for p in tmp_path.iterdir()}
    assert found == {
        "x.parquet": [2, 4],
        "x-2.parquet": [1.5],
        "x-3.parquet": ["b"],
        "x-4.parquet": [6.0],
        "x-5.parquet": [1],
    }


SHAPES: dict[str, tuple[Any, list[str]]] = {
    "series": (pd.Series([1, 2, 3], index=INDEX), ["index", "value"]),
    "clash with ours": (
        pd.DataFrame({"refused_row": [1, 2, 3], "index": [1, 2, 3]}, index=INDEX),
        ["index", "refused_row_", "index_"],
    ),
    "numbers for labels": (
        pd.DataFrame([[1, 2]] * 3, index=INDEX, columns=[1, "1"]),
        ["index", "1", "1_"],
    ),
    "column levels": (
        pd.DataFrame(
            [[1, 2]] * 3, index=INDEX, columns=pd.MultiIndex.from_product([["x"], list("ab")])
        ),
        ["index", "x.a", "x.b"],
    ),
    "index levels": (
        pd.DataFrame(
            {"v": [1, 2, 3]},
            index=pd.MultiIndex.from_arrays([INDEX, list("abc")], names=list("tn")),
        ),
        ["t", "n", "v"],
    ),
    "row numbers": (pd.DataFrame({"t": INDEX}), ["t"]),
    "arrow": (pa.table({"t": [1, 2, 3], "s": ["a", "b", None]}), ["t", "s"]),
    "batch": (pa.record_batch({"t": [1, 2, 3]}), ["t"]),
    "dictionary": (pa.table({"t": pa.array(["a", "b", "a"]).dictionary_encode()}), ["t"]),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_can_be_kept(tmp_path: Path, shape: str) -> None:
    """Index levels, column levels and clashing labels all find a column of their own."""
    data, names = SHAPES[shape]
    assert keep(tmp_path / "x.parquet", data).column_names[: len(names)] == names


def test_nothing_refused_makes_no_file(tmp_path: Path) -> None:
    """Without a refused row there is no file."""
    DeadLetter(tmp_path / "x.parquet").close()
    assert list(tmp_path.iterdir()) == []


def test_batches_of_a_stream_count_on(tmp_path: Path) -> None:
    """The place of a row is that in the whole stream."""
    batches = [pa.record_batch({"a": [1, 2, 3]}) for _ in range(2)]
    letter = DeadLetter(tmp_path / "x.parquet")
    for i, batch in enumerate(batches):
        letter.begin(batch, 3 * i)
    for batch in reversed(batches):
        letter.add(batch, np.array([2]), reason="r")
    letter.close()
    assert pq.read_table(tmp_path / "x.parquet")["refused_row"].to_pylist() == [5, 2]
