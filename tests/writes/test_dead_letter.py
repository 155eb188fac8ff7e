"""Refused rows are kept as they were, whatever the frame."""

from __future__ import annotations

import datetime as dt
import os
import stat
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from iotdb_frames.errors import IoTDBFramesError, OptionsError, WriteRejected
from iotdb_frames.writes.dead_letter import DeadLetter, LetterDirectory, UnitLetter, write_units

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
        "x-2.parquet": [1.5, 6.0],
        "x-3.parquet": ["b"],
        "x-4.parquet": [1],
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
    for i in (1, 0):
        letter.add(batches[i], np.array([2]), first_row=3 * i, reason="r")
    letter.close()
    assert pq.read_table(tmp_path / "x.parquet")["refused_row"].to_pylist() == [5, 2]


def numbers(path: Path, value: int) -> DeadLetter:
    """A dead letter with one row, not closed."""
    letter = DeadLetter(path)
    letter.add(pa.table({"a": [value]}), np.array([0]), reason="r")
    return letter


def test_an_older_file_stays(tmp_path: Path) -> None:
    """Whatever has the name keeps it, also what came while rows were refused: the next is taken."""
    path = tmp_path / "bad.parquet"
    path.write_text("somebody's only copy")
    first, second = numbers(path, 1), numbers(path, 2)
    (tmp_path / "bad-2.parquet").mkdir()
    for letter in (second, first):
        letter.close()
    assert path.read_text() == "somebody's only copy"
    assert second.paths == [tmp_path / "bad-3.parquet"]
    assert first.paths == [tmp_path / "bad-4.parquet"]
    assert pq.read_table(second.paths[0])["a"].to_pylist() == [2]
    assert pq.read_table(first.paths[0])["a"].to_pylist() == [1]


def test_a_file_system_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no link can be made a file is new all the same."""

    def link(*_: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    for value in (1, 2):
        numbers(tmp_path / "bad.parquet", value).close()
    found = {p.name: pq.read_table(p)["a"].to_pylist() for p in tmp_path.iterdir()}
    assert found == {"bad.parquet": [1], "bad-2.parquet": [2]}


def test_a_file_has_its_name_when_it_is_whole(tmp_path: Path) -> None:
    """Until the last row is in it nothing is there under its name; others may never read it."""
    before = os.umask(0)
    try:
        letter = numbers(tmp_path / "bad.parquet", 1)
        (part,) = tmp_path.iterdir()
        assert part.name.startswith(".bad.parquet.")
        assert stat.S_IMODE(part.stat().st_mode) == 0o600
        letter.close()
        LetterDirectory(tmp_path / "sink").add(pa.table({"a": [1]}), WriteRejected("r", code=507))
    finally:
        os.umask(before)
    modes = {p.name.split("-")[0]: stat.S_IMODE(p.stat().st_mode) for p in tmp_path.rglob("*")}
    assert modes == {"bad.parquet": 0o600, "sink": 0o700, "refused": 0o600}


def test_the_file_of_a_job_is_its_own(tmp_path: Path) -> None:
    """All rows of a job's units go into one file, which replaces only the one it knows."""
    path = tmp_path / "dead.parquet"
    units = []
    for file, data in (("1.csv", pa.table({"a": [1, 2]})), ("2.csv", pa.table({"a": ["x"]}))):
        letter = UnitLetter(file, lines_of=lambda rows: rows + 1, texts_of=None)
        letter.add(data, np.arange(data.num_rows), reason="r")
        units.append(letter.packed()[0][1])

    def write(n_units: int, instead_of: str | None) -> tuple[Path, str]:
        made = write_units(path, lambda: units[:n_units])
        assert made is not None
        digest = made.digest()
        return made.close(instead_of=instead_of), digest

    assert write_units(path, list) is None
    path.write_text("another's")
    first, digest = write(1, None)
    second, digest = write(2, digest)
    assert first == second == tmp_path / "dead-2.parquet"
    assert pq.read_table(second).drop_columns(["refused_code", "refused_reason"]).to_pylist() == [
        {"a": "1", "refused_file": "1.csv", "refused_line": 1, "refused_text": None},
        {"a": "2", "refused_file": "1.csv", "refused_line": 2, "refused_text": None},
        {"a": "x", "refused_file": "2.csv", "refused_line": 1, "refused_text": None},
    ]
    second.write_text("mended by hand")
    assert write(2, digest)[0] == tmp_path / "dead-3.parquet"
    assert second.read_text() == "mended by hand"
    assert path.read_text() == "another's"


def test_columns_called_like_ours_are_kept_beside(tmp_path: Path) -> None:
    """Refused rows that are written and refused again keep what the first file said."""
    LetterDirectory(tmp_path).add(
        pa.table({"device": ["d"], "refused_code": [1], "refused_reason": ["old"]}),
        WriteRejected("new", code=507),
    )
    (file,) = tmp_path.iterdir()
    assert pq.read_table(file).to_pylist() == [
        {
            "device": "d",
            "refused_code_": 1,
            "refused_reason_": "old",
            "refused_code": 507,
            "refused_reason": "new",
        }
    ]


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    """A directory that cannot be there is refused in words, before and when rows come."""
    (tmp_path / "file").write_text("")
    with pytest.raises(OptionsError, match=r"dead_letter=.*cannot be made"):
        LetterDirectory(tmp_path / "file" / "deeper")
    with pytest.raises(IoTDBFramesError, match="refused rows cannot be kept in") as caught:
        numbers(tmp_path / "file" / "bad.parquet", 1)
    assert "name a file elsewhere" in str(caught.value)
