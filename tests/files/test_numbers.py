"""Decimal marks and groups of digits: read as the whole file shows them, or asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from csvs import Found, read_csv

from iotdb_frames.errors import FrameError


def read(
    folder: Path, *columns: list[str], sep: str = ";", code: str = "utf-8", **asked: Any
) -> Found:
    """A file of a time and these columns, named a, b …"""
    names = ["time", *"abcdef"[: len(columns)]]
    times = [f"2024-03-01 08:{i:02d}" for i in range(len(columns[0]))]
    lines = [sep.join(names), *(sep.join(row) for row in zip(times, *columns, strict=True))]
    file = folder / "f.csv"
    file.write_bytes("\n".join([*lines, ""]).encode(code))
    return read_csv(file, **asked)


def values(found: Found) -> list[tuple[Any, ...]]:
    """The rows without their times."""
    return [row[1:] for row in found.rows]


def test_points_beside_decimal_commas_are_groups(tmp_path: Path) -> None:
    """A column of decimal commas says that 1.200 in another one is 1200."""
    found = read(tmp_path, ["0,25", "0,5", "12"], ["998", "1.200", "1.201"])
    assert values(found) == [(0.25, 998), (0.5, 1200), (12.0, 1201)]
    assert found.kinds["b"] == "int64"


def test_commas_beside_decimal_points_are_groups(tmp_path: Path) -> None:
    """In a file with decimal points "1,200" is 1200, wherever it is written."""
    found = read(tmp_path, ['"1,200"', "998"], ["0.25", "7"], sep=",")
    assert values(found) == [(1200, 0.25), (998, 7.0)]


def test_a_decimal_comma_stands_in_quotes(tmp_path: Path) -> None:
    """Commas between the fields do not hide decimal commas in them."""
    found = read(tmp_path, ['"0,25"', '"1,201"'], ["5", "1"], sep=",")
    assert values(found) == [(0.25, 5), (1.201, 1)]


@pytest.mark.parametrize("mark", ["\u00a0", "\u202f", "\u2009", "'", "’", " "])
@pytest.mark.parametrize("point", [",", "."])
def test_spaces_and_apostrophes_group_digits(tmp_path: Path, mark: str, point: str) -> None:
    """Spaces of any width and apostrophes are known as groups, with or without a fraction."""
    found = read(tmp_path, [f"1{mark}200{point}5", "998"], [f"12{mark}345{mark}678", "7"])
    assert values(found) == [(1200.5, 12345678), (998.0, 7)]
    whole = read(tmp_path, [f"12{mark}345", "998"])
    assert values(whole) == [(12345,), (998,)]


def test_groups_of_windows_are_known(tmp_path: Path) -> None:
    """A no-break space of cp1252 is one, too."""
    found = read(tmp_path, ["1\u00a0200,5", "998"], code="cp1252")
    assert values(found) == [(1200.5,), (998.0,)]


def test_apostrophes_tell_what_a_point_is(tmp_path: Path) -> None:
    """Where apostrophes group digits, a point is before a fraction."""
    assert values(read(tmp_path, ["1'200", "998"], ["1.200", "7.000"])) == [(1200, 1.2), (998, 7.0)]


def test_several_groups_tell_what_a_point_is(tmp_path: Path) -> None:
    """1.234.567 has no fraction, so that 1.200 has none."""
    assert values(read(tmp_path, ["1.234.567", "3"], ["1.200", "7"])) == [(1234567, 1200), (3, 7)]


@pytest.mark.parametrize(
    ("mark", "sep", "read_so", "value"),
    [
        (".", ";", {"decimal": "."}, 1.2),
        (".", ";", {"thousands": "."}, 1200),
        (".", ";", {"decimal": ","}, 1200),
        (".", "\t", {"thousands": ""}, 1.2),
        (",", ";", {"decimal": ","}, 1.2),
        (",", ";", {"thousands": ","}, 1200),
        (",", ",", {"decimal": ","}, 1.2),
        (",", ",", {"decimal": "."}, 1200),
    ],
)
def test_what_may_be_a_thousand_off_is_asked(
    tmp_path: Path, mark: str, sep: str, read_so: dict[str, str], value: float
) -> None:
    """Of nothing but 1.200 both readings are named, with the option of each, which works."""
    cells = [f'"1{mark}200"', f'"2{mark}000"']
    with pytest.raises(
        FrameError, match=r"f\.csv: .*'1.200' of column 'a' may be 1\.2 or 1200"
    ) as told:
        read(tmp_path, cells, sep=sep)
    assert f'csv={{"decimal": "{mark}"}} reads 1.2' in str(told.value.hint)
    other = "," if mark == "." else "."
    assert f'csv={{"decimal": "{other}"}} reads 1200' in str(told.value.hint)
    assert values(read(tmp_path, cells, sep=sep, csv=read_so))[0] == (value,)


def test_points_between_commas_are_decimal(tmp_path: Path) -> None:
    """A file of commas between fields has decimal points, also where three digits follow each."""
    assert values(read(tmp_path, ["1.200", "2.345"], sep=",")) == [(1.2,), (2.345,)]


@pytest.mark.parametrize("columns", [(["0,25", "0,5"], ["1.5", "1.6"]), (["0,25", "0.5"],)])
def test_numbers_of_two_kinds_are_asked(tmp_path: Path, columns: tuple[list[str], ...]) -> None:
    """Decimal commas and decimal points in one file are asked about, and not texts in silence."""
    with pytest.raises(FrameError, match="written in two ways") as told:
        read(tmp_path, *columns)
    assert 'csv={"decimal": ","}' in str(told.value.hint)
    found = read(tmp_path, *columns, csv={"decimal": ","})
    assert values(found)[0][0] in (0.25, "0,25")


def test_a_version_is_no_number_where_it_is_said(tmp_path: Path) -> None:
    """A column that is said to be of texts tells nothing about numbers."""
    found = read(tmp_path, ["1.2", "1.3"], ["0,5", "0,7"], csv={"types": {"a": "string"}})
    assert values(found) == [("1.2", 0.5), ("1.3", 0.7)]


def test_addresses_are_no_groups(tmp_path: Path) -> None:
    """192.168.100.200 is no number, though each point has three digits behind it."""
    found = read(tmp_path, ["192.168.100.200", "192.168.100.201"], ["1.200", "0.5"])
    assert values(found) == [("192.168.100.200", 1.2), ("192.168.100.201", 0.5)]


def test_one_other_mark_is_dirt(tmp_path: Path) -> None:
    """One decimal point among fifty commas is refused by its line, and the rest is read."""
    cells = [f"{i},5" for i in range(50)]
    cells[33] = "33.5"
    found = read(tmp_path, cells)
    assert found.refused == {35: "column 'a' is not a number"}
    assert len(found.rows) == 49


@pytest.mark.parametrize("kind", ["int64", "double"])
@pytest.mark.parametrize("late", ["1.000", "1,200"])
def test_a_late_mark_is_no_fraction(tmp_path: Path, kind: str, late: str) -> None:
    """Behind a sample of whole numbers 1.000 is not 1: it is refused by its line."""
    cells = [str(i % 999) for i in range(60_000)]
    cells[40_000] = late
    rows = "".join(
        f"2024-03-01 {i // 3600:02d}:{i // 60 % 60:02d}:{i % 60:02d};{cell}\n"
        for i, cell in enumerate(cells)
    )
    file = tmp_path / "f.csv"
    file.write_text(f"time;a\n{rows}")
    found = read_csv(file, csv={"types": {"a": kind}})
    assert list(found.refused) == [40_002]
    assert len(found.rows) == 59_999
    said = read_csv(file, csv={"types": {"a": kind}, "thousands": late[1]})
    assert said.table["a"][40_000].as_py() == int(late.replace(late[1], ""))
