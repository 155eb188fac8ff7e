"""Headers, and lines of devices and units around them: found by what the data have in common."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from csvs import Found, read_csv

from iotdb_frames.errors import FrameError

EIGHT, NINE = datetime(2024, 3, 1, 8), datetime(2024, 3, 1, 9)
TOA5 = (
    '"TOA5","CR1000","17","CPU:a.CR1"\n"TIMESTAMP","RECORD","Batt","Air"\n"TS","RN","V","Deg C"\n'
    '"","","Min","Avg"\n"2024-03-01 08:00:00",1,12.5,3.2\n"2024-03-01 09:00:00",2,12.4,3.1\n'
)


def read(folder: Path, content: str | bytes, **asked: Any) -> Found:
    """A file of this content."""
    file = folder / "f.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_csv(file, **asked)


@pytest.mark.parametrize(
    "units", [";°C;%", "-;-;%", "UTC;°C;1", '"";"";"m3"', "TS;;\n;Avg;Max", "dd.mm.yyyy;°C;\n\n"]
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines_of_units_are_no_rows(tmp_path: Path, units: str, end: str) -> None:
    """Whatever units look like, they are no row, and the columns below them are numbers."""
    text = f"time;T;p\n{units}\n2024-03-01 08:00;1,5;2\n2024-03-01 09:00;2,5;3\n"
    found = read(tmp_path, text.replace("\n", end))
    assert found.rows == [(EIGHT, 1.5, 2), (NINE, 2.5, 3)]
    assert found.table.column_names == ["time", "T", "p"]
    assert not found.refused


@pytest.mark.parametrize("time", [None, "TIMESTAMP"])
@pytest.mark.parametrize("more", ["", ',"1234","Table"'])
def test_a_loggers_own_line_is_above_the_header(
    tmp_path: Path, time: str | None, more: str
) -> None:
    """Lines of the device above the header, as wide as it or wider, and units below it."""
    content = TOA5.replace('"CPU:a.CR1"', f'"CPU:a.CR1"{more}')
    found = read(tmp_path, content, time=time)
    assert found.table.column_names == ["TIMESTAMP", "RECORD", "Batt", "Air"]
    assert found.rows == [(EIGHT, 1, 12.5, 3.2), (NINE, 2, 12.4, 3.1)]


@pytest.mark.parametrize(
    "options", [{"time": "when"}, {"time": "when", "device": "unit"}, {"csv": {"skip_lines": 2}}]
)
def test_the_line_with_a_known_name_is_the_header(tmp_path: Path, options: dict[str, Any]) -> None:
    """Of two lines that may be the header, it is the one that has the names of the options."""
    content = "plant;north\nlogger;7\nwhen;unit\n2024-03-01 08:00;a\n2024-03-01 09:00;b\n"
    found = read(tmp_path, content, **options)
    assert found.rows == [(EIGHT, "a"), (NINE, "b")]
    assert found.dialect.skip_lines == 2


def test_many_lines_above_a_short_table(tmp_path: Path) -> None:
    """Where the header's name is known, more lines above it than data below do no harm."""
    above = "".join(f"# setting {i} = {i}\n" for i in range(30))
    rows = "2024-03-01 08:00;1,5;x\n2024-03-01 09:00;2;y\n"
    found = read(tmp_path, f"{above}when;T;note\n;°C;\n{rows}", time="when")
    assert found.rows == [(EIGHT, 1.5, "x"), (NINE, 2.0, "y")]
    assert (found.dialect.skip_lines, found.dialect.skip_after_header) == (30, 1)


@pytest.mark.parametrize("time", [None, "time"])
@pytest.mark.parametrize("code", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("sep", [";", ",", "\t", "|"])
def test_excels_own_line_says_the_delimiter(
    tmp_path: Path, time: str | None, code: str, sep: str
) -> None:
    """``sep=;`` above two columns is neither header nor name."""
    lines = [f"sep={sep}", f"time{sep}a", f"2024-03-01 08:00{sep}1", f"2024-03-01 09:00{sep}2"]
    found = read(tmp_path, "\r\n".join([*lines, ""]).encode(code), time=time)
    assert found.dialect.delimiter == sep
    assert found.rows == [(EIGHT, 1), (NINE, 2)]


@pytest.mark.parametrize("time", [None, "time"])
def test_nul_characters_are_no_utf16(tmp_path: Path, time: str | None) -> None:
    """What a loss of power leaves is no line above the header, and is told by its line below it."""
    nul = b"\0" * 60 + b"\n"
    rows = b"time;a\n2024-03-01 08:00;1\n" + nul + b"2024-03-01 09:00;2\n"
    found = read(tmp_path, nul + rows, time=time)
    assert found.dialect.encoding == "utf-8"
    assert found.rows == [(EIGHT, 1), (NINE, 2)]
    assert found.refused == {4: "has 1 fields, not 2"}


@pytest.mark.parametrize("time", [None, "time"])
@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("csv", [{}, {"header": True}, {"skip_lines": 0}, {"skip_after_header": 0}])
def test_delimiters_at_the_ends_of_data_lines(
    tmp_path: Path, time: str | None, n: int, csv: dict[str, Any]
) -> None:
    """The header's names stay, though each line below it has more delimiters."""
    end = ";" * n
    content = f"time;a;b\n2024-03-01 08:00;1;x{end}\n2024-03-01 09:00;2;{end}\n"
    found = read(tmp_path, content, time=time, csv=csv)
    assert found.table.column_names == ["time", "a", "b"]
    assert found.rows == [(EIGHT, 1, "x"), (NINE, 2, None)]
    assert not found.refused


def test_delimiters_at_the_end_of_the_header(tmp_path: Path) -> None:
    """Names that are none, at the header's end, are no columns."""
    found = read(tmp_path, "time;a;;\n2024-03-01 08:00;1\n2024-03-01 09:00;2\n")
    assert found.rows == [(EIGHT, 1), (NINE, 2)]


@pytest.mark.parametrize(
    "content",
    [
        '"a","b"\n"2024-03-01 08:00",0.5,0.7\n"2024-03-01 09:00",0.5,0.7\n',
        "time,a\n2024-03-01 08:00,1,2\n2024-03-01 09:00,1,2\n",
    ],
)
def test_a_header_with_too_few_names_is_asked(tmp_path: Path, content: str) -> None:
    """Nobody can tell which column has no name: no name is lost or moved in silence."""
    with pytest.raises(FrameError, match=r"the header has 2 names, .* 3 fields") as told:
        read(tmp_path, content)
    assert "names" in str(told.value.hint)
    found = read(tmp_path, content, csv={"names": ["time", "", "c"]})
    assert found.table.column_names == ["time", "c"]
    assert len(found.rows) == 2


def test_numbers_are_names_where_the_time_has_one(tmp_path: Path) -> None:
    """A header of sensors' numbers is one."""
    found = read(tmp_path, "time,773869,773870\n2024-03-01 08:00,1,2\n2024-03-01 09:00,3,4\n")
    assert found.rows == [(EIGHT, 1, 2), (NINE, 3, 4)]
    assert found.table.column_names == ["time", "773869", "773870"]


@pytest.mark.parametrize(
    ("first", "told"),
    [
        ("2024-03-01 07:00,1", "has 2 fields, not 3"),
        ("yesterday,1,2", "column 'time' is not a time written like the others"),
    ],
)
def test_a_first_row_with_dirt_is_no_line_of_units(tmp_path: Path, first: str, told: str) -> None:
    """A row that does not fit is told, and not skipped, where it is the first."""
    rows = "".join(f"2024-03-01 08:{i:02d},1,2\n" for i in range(20))
    found = read(tmp_path, f"time,a,b\n{first}\n{rows}")
    assert found.refused == {2: told}
    assert len(found.rows) == 20


def test_names_over_two_lines_are_one_name(tmp_path: Path) -> None:
    """A line break in a quoted name is a space, and the rows begin where they do."""
    found = read(tmp_path, 'time,"T\n(°C)"\n2024-03-01 08:00,1\n2024-03-01 09:00,2\n')
    assert found.table.column_names == ["time", "T (°C)"]
    assert found.rows == [(EIGHT, 1), (NINE, 2)]


def test_a_name_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    """A wrong ``time=`` names the columns that were seen."""
    with pytest.raises(FrameError, match="no column 'Zeit'") as told:
        read(tmp_path, "time;a;b\n2024-03-01 08:00;1;2\n", time="Zeit")
    assert "time, a, b" in str(told.value.hint)
