"""Blocks with a few records that do not fit are parsed around them, with the same outcome."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from csvs import Found, read_csv

from iotdb_frames.files.csv import arrow, reader

CELLS = {
    "a word": lambda row: [row[0], "x", *row[2:]],
    "a number as text": lambda row: [row[0], f" +{row[1]}.00 ", *row[2:]],
    "a word for nothing": lambda row: [*row[:2], "missing", row[3]],
    "no time": lambda row: ["yesterday", *row[1:]],
    "too many fields": lambda row: [*row, "more"],
    "too few fields": lambda row: row[:2],
    "no UTF-8": lambda row: [*row[:3], "\udcff"],
    "empty": lambda row: [""],
}
"""What becomes of a row, by what is wrong with it."""


def lines_of(n: int, dirt: dict[int, str], end: str = "\n", *, has_text: bool = True) -> bytes:
    """Rows of which some are dirty."""
    rows = [
        [f"2024-01-01 00:{i // 60 % 60:02d}:{i % 60:02d}", str(i), f"{i}.5", f"t{i}"]
        for i in range(n)
    ]
    for at, kind in dirt.items():
        rows[at] = CELLS[kind](rows[at])
    names = ["time", "n", "x", "note"]
    if not has_text:
        rows, names = [row[:3] + row[4:] for row in rows], names[:3]
    text = end.join([",".join(names), *map(",".join, rows), ""])
    return text.encode("utf-8", "surrogateescape")


def read_both(
    folder: Path, data: bytes, monkeypatch: pytest.MonkeyPatch, **asked: Any
) -> list[Found]:
    """The file as it is read, and as it is read text by text."""
    file = folder / "f.csv"
    file.write_bytes(data)
    found = [read_csv(file, unit_bytes=1 << 17, **asked)]
    monkeypatch.setattr(reader, "read_around", lambda *_, **__: None)
    return [*found, read_csv(file, unit_bytes=1 << 17, **asked)]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("key", "has_text"), [(None, True), ("note", True), (None, False)], ids=["text", "key", "none"]
)
def test_what_fits_and_what_does_not_is_the_same(
    seed: int,
    end: str,
    key: str | None,
    has_text: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Any dirt in any rows: rows, their order, lines that are refused and reasons do not change."""
    rng = np.random.default_rng(seed)
    at = [0, 1, *rng.integers(2, 19_998, 30).tolist(), 19_999]
    dirt = {i: str(rng.choice(list(CELLS))) for i in at}
    data = lines_of(20_000, dirt, end, has_text=has_text)
    one, other = read_both(tmp_path, data, monkeypatch, device=key)
    assert one.rows == other.rows
    assert one.refused == other.refused
    assert len(one.rows) + len(one.refused) == 20_000 - list(dirt.values()).count("empty")


def test_one_row_is_parsed_again_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a block with one row that does not fit, that row alone is parsed as text."""
    seen = []
    parse = reader.CsvReader._parse_texts

    def watched(self: Any, block: Any, records: Any, which: np.ndarray) -> Any:
        seen.append(int(which.sum()))
        return parse(self, block, records, which)

    monkeypatch.setattr(reader.CsvReader, "_parse_texts", watched)
    file = tmp_path / "f.csv"
    file.write_bytes(lines_of(20_000, {12_345: "a word"}))
    assert list(read_csv(file).refused) == [12_347]
    assert seen == [1]


@pytest.mark.parametrize("nothing", ["NaN", "none"])
def test_words_among_numbers_are_found_before_they_are_parsed(
    nothing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Words among numbers are left out at once, and words for a missing number are not."""
    calls = []
    read_on = arrow._read_on
    monkeypatch.setattr(arrow, "_read_on", lambda *args: calls.append(1) or read_on(*args))
    text = lines_of(20_000, {}, has_text=False).decode().split("\n")
    for i in range(50, 20_000, 100):
        text[i] = text[i].rpartition(",")[0] + f",{nothing}"
    for i in range(99, 20_000, 1_000):
        text[i] += "?word"
    file = tmp_path / "f.csv"
    file.write_text("\n".join(text))
    found = read_csv(file)
    assert found.refused == {i + 1: "column 'x' is not a number" for i in range(99, 20_000, 1_000)}
    assert len(found.rows) == 19_980
    assert sum(row[2] is None for row in found.rows) == 200
    assert not calls


def test_where_all_rows_differ_none_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A column that Arrow takes in no row is parsed as text, all of it."""
    dirt = dict.fromkeys(range(15_000, 20_000), "a number as text")
    one, other = read_both(tmp_path, lines_of(20_000, dirt), monkeypatch)
    assert one.rows == other.rows
    assert [row[1] for row in one.rows] == list(range(20_000))
