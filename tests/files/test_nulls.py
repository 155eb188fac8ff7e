"""Words for nothing: missing among numbers and times, texts among texts, unless they are given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from csvs import Found, read_csv

ROWS = (
    "2024-03-01 08:00,NA,NA,1.5",
    "2024-03-01 08:01,DE,,NA",
    '2024-03-01 08:02,"NA","",2.5',
    "2024-03-01 08:03,,n/a,3.5",
)
TEXTS = [("NA", "NA", 1.5), ("DE", None, None), ("NA", "", 2.5), (None, "n/a", 3.5)]


def read(folder: Path, *more: str, **asked: Any) -> Found:
    """Rows of a country, a note and a number."""
    file = folder / "f.csv"
    file.write_text("\n".join(["time,country,note,v", *ROWS, *more, ""]))
    return read_csv(file, **asked)


def values(found: Found) -> list[tuple[Any, ...]]:
    """The first four rows without their times."""
    return [row[1:] for row in found.rows[:4]]


@pytest.mark.parametrize("key", [None, "country"])
@pytest.mark.parametrize("is_dirty", [False, True])
def test_a_missing_number_is_a_text_among_texts(
    tmp_path: Path, key: str | None, is_dirty: bool
) -> None:
    """NA is missing where numbers are, and Namibia where texts are, be it the device or not."""
    more = [f"2024-03-01 09:{i:02d},x,y,{i}" for i in range(40)]
    more += ["2024-03-01 10:00,x,y,many"] * is_dirty
    found = read(tmp_path, *more, device=key)
    assert values(found) == TEXTS
    assert len(found.rows) == 44
    assert list(found.refused) == [46] * is_dirty


def test_words_that_are_given_are_missing_everywhere(tmp_path: Path) -> None:
    """Who says that NA is missing means it of texts, too; a quoted one is a text."""
    found = read(tmp_path, "2024-03-01 09:00,x,y,1", csv={"null_values": ["NA"]})
    assert values(found) == [(None, None, 1.5), ("DE", None, None), *TEXTS[2:]]


def test_words_that_are_found_may_be_meant_everywhere(tmp_path: Path) -> None:
    """`nulls_in_texts` says so of what is found out."""
    found = read(tmp_path, "2024-03-01 09:00,x,y,1", csv={"nulls_in_texts": True})
    assert values(found) == [(None, None, 1.5), ("DE", None, None), *TEXTS[2:]]


def test_a_late_column_keeps_its_texts(tmp_path: Path) -> None:
    """A column whose first text is behind the sample keeps the words above it in its unit."""
    rows = [f"2024-03-01 00:00:00.{i:05d},{'NA' if i % 2 else i}," for i in range(30_000)]
    rows[22_000] += "NA"
    rows[22_001] += "word"
    file = tmp_path / "f.csv"
    file.write_text("\n".join(["time,v,note", *rows, ""]))
    found = read_csv(file)
    assert found.table["note"].drop_null().to_pylist() == ["NA", "word"]
    assert found.table["v"].null_count == 15_000
