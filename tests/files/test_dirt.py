"""Dirt that a parser takes for data: refused with its line, or read as it is meant."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from csvs import Found, follow, read_csv
from hypothesis import given
from hypothesis import strategies as st

from iotdb_frames.codec.cells import Rules, to_cells
from iotdb_frames.codec.sources import from_pandas
from iotdb_frames.errors import FrameError
from iotdb_frames.files.csv.dialect import CsvDialect
from iotdb_frames.files.csv.records import Records, has_hexadecimal
from iotdb_frames.options import TSDataType


def at(i: int) -> str:
    """A time of its own."""
    return str(pd.Timestamp("2024-01-01") + pd.Timedelta(i, "s"))


def read(folder: Path, content: str | bytes, **asked: Any) -> Found:
    """A file of this content, as a backfill reads it."""
    file = folder / "f.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_csv(file, **asked)


def texts(rows: list[str], end: str = "\n") -> str:
    """Rows of time, v and txt below their header."""
    return end.join(["time,v,txt", *rows]) + end


def plain(n: int) -> list[str]:
    """Rows without dirt."""
    return [f"{at(i)},{i},abc" for i in range(n)]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("is_last", [False, True])
@pytest.mark.parametrize("newlines", [None, False])
def test_an_open_quote_takes_no_other_row(
    tmp_path: Path, end: str, is_last: bool, newlines: bool | None
) -> None:
    """The line whose quote is never closed is refused, and every other row is read."""
    rows, bad = plain(1000), 999 if is_last else 500
    rows[bad] = f'{at(bad)},{bad},"abc'
    asked = {} if newlines is None else {"csv": {"newlines_in_values": newlines}}
    found = read(tmp_path, texts(rows, end), **asked)
    assert found.refused == {bad + 2: "a quote is open"}
    assert [row[1] for row in found.rows] == [i for i in range(1000) if i != bad]


def test_an_open_quote_is_refused_where_fields_have_lines(tmp_path: Path) -> None:
    """What an open quote takes to the end of the file is refused, and what came before is read."""
    rows = plain(1000)
    rows[3] = f'{at(3)},3,"a\nb"'
    rows[500] = f'{at(500)},500,"abc'
    found = read(tmp_path, texts(rows), csv={"newlines_in_values": True})
    assert found.refused == {503: "a quote is open"}
    assert [row[1] for row in found.rows] == list(range(500))
    assert found.rows[3][2] == "a\nb"


def test_two_open_quotes_do_not_join_their_lines(tmp_path: Path) -> None:
    """An open quote is not closed by the one of the next line."""
    rows = plain(30)
    rows[20], rows[21] = f'{at(20)},20,"abc', f'{at(21)},21,"def'
    found = read(tmp_path, texts(rows))
    assert found.refused == {22: "a quote is open", 23: "a quote is open"}
    assert len(found.rows) == 28


def test_a_line_break_behind_the_sample_moves_no_other_line(tmp_path: Path) -> None:
    """Fields with line breaks that the sample did not show are refused, each by its line."""
    rows = plain(20_000)
    rows[12_000] = f'{at(12_000)},12000,"a\nb"'
    rows[12_003] = f"{at(12_003)},many,abc"
    found = read(tmp_path, texts(rows))
    assert found.refused == {
        12_002: "a quote is open",
        12_003: "has 1 fields, not 3",
        12_006: "column 'v' is not a whole number, or needs more than 64 bits",
    }
    assert len(found.rows) == 19_998


def test_inch_marks_are_no_quotes(tmp_path: Path) -> None:
    """A quote inside a field without quotes is a character, also where fields have lines."""
    rows = plain(1000)
    rows[12] = f'{at(12)},12,"a\nb"'
    rows[500], rows[520] = f'{at(500)},500,5" pipe', f'{at(520)},520,7"'
    rows[510] = f"{at(510)},many,abc"
    found = read(tmp_path, texts(rows), csv={"newlines_in_values": True})
    assert found.refused == {513: "column 'v' is not a whole number, or needs more than 64 bits"}
    by_number = {row[1]: row[2] for row in found.rows}
    assert (by_number[12], by_number[500], by_number[520]) == ("a\nb", '5" pipe', '7"')
    assert len(by_number) == 999


def test_a_carriage_return_alone_is_refused(tmp_path: Path) -> None:
    """It ends a line for some parsers: refused by its line, and no other line is moved."""
    rows = plain(30)
    rows[10] = f"{at(10)},10,a\rb"
    rows[29] = f"{at(29)},many,abc"
    found = read(tmp_path, texts(rows))
    assert found.refused == {
        12: "a carriage return stands alone in it",
        31: "column 'v' is not a whole number, or needs more than 64 bits",
    }
    assert len(found.rows) == 28


def test_quoted_carriage_returns_are_text(tmp_path: Path) -> None:
    """In a quoted field a carriage return is a character."""
    rows = plain(30)
    rows[10] = f'{at(10)},10,"a\rb"'
    rows[20] = f"{at(20)},many,abc"
    found = read(tmp_path, texts(rows))
    assert list(found.refused) == [22]
    assert found.rows[10][2] == "a\rb"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16", "utf-16-le"])
def test_lines_that_end_in_carriage_returns_are_refused(tmp_path: Path, encoding: str) -> None:
    """A file of an old Macintosh is told, and the command of the hint makes one that is read."""
    word = "ä" if encoding == "cp1252" else "č"  # of which UTF-16 has 0x0D in one half
    raw = texts([f"{at(i)},{i},{word}" for i in range(30)], "\r").encode(encoding)
    (tmp_path / "old.csv").write_bytes(raw)
    csv = {"encoding": encoding} if encoding.endswith(("1252", "le")) else {}
    with pytest.raises(FrameError, match="carriage returns alone") as told:
        read_csv(tmp_path / "old.csv", csv=csv)
    follow(told.value.hint, tmp_path)
    found = read_csv(tmp_path / "new.csv", csv=csv)
    assert [row[1:] for row in found.rows] == [(i, word) for i in range(30)]


@pytest.mark.parametrize("mark", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028"])
def test_only_line_feeds_end_lines(tmp_path: Path, mark: str) -> None:
    """What Python takes for a line's end, too, does not move the first row."""
    found = read(tmp_path, f"# report{mark}page 1\n" + texts(plain(20)))
    assert [row[1] for row in found.rows] == list(range(20))


@pytest.mark.parametrize(
    ("late", "kind", "first"),
    [
        ("5.5", "double", 5.5),
        ("12", "int64", 12),
        ("007", "string", "007"),
        ("1234567890123456789", "string", "1234567890123456789"),
        ("true", "bool", True),
    ],
)
def test_a_column_that_begins_late_is_typed_like_any(
    tmp_path: Path, late: str, kind: str, first: Any
) -> None:
    """Behind the sample the same rules hold: names stay names, and no digit is lost."""
    lines = [f"{at(i)},{i},{late if 22_000 < i < 23_000 else ''}" for i in range(40_000)]
    found = read(tmp_path, "time,a,b\n" + "\n".join(lines) + "\n", unit_bytes=1 << 16)
    assert found.kinds["b"] == kind
    values = found.table["b"].drop_null()
    assert (len(values), values[0].as_py()) == (999, first)
    assert found.n_units > 10


def test_quoted_line_breaks_in_a_large_file_are_seen(tmp_path: Path) -> None:
    """Wherever the sample is cut, fields with lines are known as such."""
    for n in (6_997, 6_998, 6_999, 7_000):
        lines = [f'{at(i)},"ab\nc, {i} d",{i}' for i in range(n)]
        found = read(tmp_path, "time,txt,v\n" + "\n".join(lines) + "\n")
        assert not found.refused
        assert [row[2] for row in found.rows] == list(range(n))


def test_a_very_long_field_is_read(tmp_path: Path) -> None:
    """Longer than Python's own reader takes, among the first lines."""
    found = read(tmp_path, texts([f"{at(0)},0,{'x' * 200_000}", f"{at(1)},1,y"]))
    assert [len(row[2]) for row in found.rows] == [200_000, 1]


def test_a_lone_surrogate_is_refused(tmp_path: Path) -> None:
    """A lone surrogate is not text; the other rows are."""
    raw = texts(plain(1000)).encode("utf-16")
    found = read(tmp_path, raw[:20_000] + b"\x00\xd8" + raw[20_002:])
    assert list(found.refused.values()) == ["is not valid UTF-8"]
    assert len(found.rows) == 999


def test_a_mark_of_an_encoding_that_is_given_is_no_name(tmp_path: Path) -> None:
    """A byte order mark is left out, also where the encoding says the order."""
    raw = ("\ufeff" + texts(plain(100))).encode("utf-16-le")
    found = read(tmp_path, raw, csv={"encoding": "utf-16-le"})
    assert found.table.column_names == ["time", "v", "txt"]


def test_spaces_between_quotes_stay(tmp_path: Path) -> None:
    """Runs of spaces are one delimiter, and in a quoted text they are its own."""
    lines = [f'2024-01-01T00:00:{i:02}   {i} 1.5  "a  b"' for i in range(30)]
    given = {"delimiter": " ", "skip_lines": 0, "header": True, "time_columns": ["time"]}
    found = read(tmp_path, "time v w t\n" + "\n".join(lines) + "\n", csv=given)
    assert {row[3] for row in found.rows} == {"a  b"}
    assert [row[1] for row in found.rows] == list(range(30))


def test_hexadecimal_is_no_whole_number(tmp_path: Path) -> None:
    """0x1F is refused among whole numbers; text with an x is nothing special."""
    rows = plain(100)
    rows[50] = f"{at(50)},0x1F,box 0x"
    found = read(tmp_path, texts(rows))
    assert found.refused == {52: "column 'v' is not a whole number, or needs more than 64 bits"}
    assert not has_hexadecimal(b"box, 10x20, xx, x0")
    assert has_hexadecimal(b"1,0X1\n")


def test_a_file_of_a_header_alone_is_empty(tmp_path: Path) -> None:
    """A day without rows is no error."""
    file = tmp_path / "f.csv"
    file.write_text("time,a\n")
    from iotdb_frames.files.options import FileOptions
    from iotdb_frames.files.readers import open_reader
    from iotdb_frames.files.sources import find_files

    (source,), _ = find_files(str(file))
    reader = open_reader(source, FileOptions(), None)
    assert reader.sample().num_rows == 0
    assert list(reader.pieces([(0, None, 0)])) == []


def test_decimals_are_the_nearest_doubles() -> None:
    """A decimal becomes the double that its digits stand for."""
    rng = np.random.default_rng(1)
    cents = rng.integers(-(10**9), 10**9, 2_000)
    values = [Decimal(int(c)).scaleb(-2) for c in cents]
    source = from_pandas(pd.Series(values), "v")
    cells = to_cells(source, slice(0, len(values)), TSDataType.DOUBLE, Rules("ms"))
    assert cells.is_bad is None
    assert cells.values.tolist() == [float(v) for v in values]


def turns_of(data: bytes, *, has_newlines: bool) -> tuple[list[int], list[bool]]:
    """Records by a plain state machine: where each begins, and whether a quote of it is open."""
    starts, opens, start, is_inside = [], [], 0, False
    begins, i = True, 0
    while i <= len(data):
        c = data[i : i + 1]
        if c == b"" or (c == b"\n" and not (is_inside and has_newlines)):
            if i > start and data[start:i] != b"\r":
                starts.append(start)
                opens.append(is_inside)
            start, is_inside, begins = i + 1, False, True
        elif c == b'"' and is_inside:
            if data[i + 1 : i + 2] == b'"':
                i += 1
            else:
                is_inside = False
        elif c == b'"' and begins:
            is_inside, begins = True, False
        else:
            begins = c in (b",", b"\r", b"\n")
        i += 1
    return starts, opens


@given(st.text(alphabet='",\na\r', max_size=60), st.booleans())
def test_records_are_those_of_a_state_machine(text: str, has_newlines: bool) -> None:
    """Any quotes, in any place: records begin, and quotes are open, where they should."""
    data = text.encode()
    dialect = CsvDialect(delimiter=",", quote='"', newlines_in_values=has_newlines)
    records = Records(data, dialect)
    starts, opens = turns_of(data, has_newlines=has_newlines)
    assert records.starts.tolist() == starts
    assert records.open_quotes().tolist() == opens
