"""CSV files in all the ways they are written: found out, read exactly, or asked about."""

from __future__ import annotations

import gzip
import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from csvs import read_csv

from iotdb_frames.data import load_demo
from iotdb_frames.errors import FrameError, OptionsError

UTC = UTC
EIGHT = datetime(2024, 3, 1, 8)
MINUTE = timedelta(minutes=1)


def write(folder: Path, content: str | bytes, name: str = "f.csv") -> Path:
    """A file of this content."""
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


CASES: dict[str, tuple[str | bytes, dict[str, Any], list[tuple[Any, ...]]]] = {
    "plain": (
        "time,a,b,c\n2024-03-01 08:00:00,1,0.5,x\n2024-03-01T08:01:00,2,,\n",
        {"delimiter": ",", "decimal": ".", "encoding": "utf-8", "header": True},
        [(EIGHT, 1, 0.5, "x"), (EIGHT + MINUTE, 2, None, None)],
    ),
    "an empty text is one, and a missing one is not": (
        'time,a,b\n2024-03-01 08:00,1,""\n2024-03-01 08:01,2,\n2024-03-01 08:02,3,z\n',
        {},
        [(EIGHT, 1, ""), (EIGHT + MINUTE, 2, None), (EIGHT + 2 * MINUTE, 3, "z")],
    ),
    "semicolons, decimal commas, day first": (
        "Zeit;a\r\n01.03.2024 08:00;1,5\r\n01.03.2024 08:01;-2\r\n",
        {"delimiter": ";", "decimal": ",", "time_format": "%d.%m.%Y %H:%M"},
        [(EIGHT, 1.5), (EIGHT + MINUTE, -2.0)],
    ),
    "thousands": (
        "time;a\n2024-03-01 08:00;1.234,5\n2024-03-01 08:01;12.345.678,25\n2024-03-01 08:02;7,0\n",
        {"decimal": ",", "thousands": "."},
        [(EIGHT, 1234.5), (EIGHT + MINUTE, 12345678.25), (EIGHT + 2 * MINUTE, 7.0)],
    ),
    "tabs in UTF-16": (
        "time\tµ\n2024-03-01 08:00\t1\n2024-03-01 08:01\t2\n".encode("utf-16"),
        {"delimiter": "\t", "encoding": "utf-16"},
        [(EIGHT, 1), (EIGHT + MINUTE, 2)],
    ),
    "a sign of three bytes at the end": (
        "time,a\n2024-03-01 08:00,€5\n2024-03-01 08:01,€6\n",
        {"encoding": "utf-8"},
        [(EIGHT, "€5"), (EIGHT + MINUTE, "€6")],
    ),
    "ISO 8601 without marks": (
        "time,a\n20240301T080000Z,1\n20240301T080100Z,2\n",
        {"time_format": "%Y%m%dT%H%M%S%z", "has_offset": True},
        [(EIGHT.replace(tzinfo=UTC), 1), ((EIGHT + MINUTE).replace(tzinfo=UTC), 2)],
    ),
    "days of the week": (
        'stamp,a\n"Fri, 01 Mar 2024 08:00:00 +0000",x\n"Fri, 01 Mar 2024 09:01:00 +0100",y\n',
        {"time_format": "%a, %d %b %Y %H:%M:%S.%f %z", "has_offset": True},
        [(EIGHT.replace(tzinfo=UTC), "x"), ((EIGHT + MINUTE).replace(tzinfo=UTC), "y")],
    ),
    "days of the week in words": (
        "stamp;a\nFriday, March 1, 2024 8:00 AM;1\nFriday, March 1, 2024 8:01 AM;2\n",
        {"time_format": "%a, %b %d, %Y %I:%M %p"},
        [(EIGHT, 1), (EIGHT + MINUTE, 2)],
    ),
    "ISO weeks": (
        "time,a\n2024-W09-5T08:00,1\n2020-W53-5T08:00,3\n",
        {"time_format": "%G-W%V-%uT%H:%M"},
        [(EIGHT, 1), (datetime(2021, 1, 1, 8), 3)],
    ),
    "days of the year": (
        "time,a\n2024-061 08:00,1\n2024-366 08:00,2\n",
        {"time_format": "%Y-%j %H:%M"},
        [(EIGHT, 1), (datetime(2024, 12, 31, 8), 2)],
    ),
    "months in German": (
        "Zeit;a\n1. März 2024 08:00;1,5\n5. Mai 2024 08:00;2,5\n",
        {"time_format": "%d. %b %Y %H:%M", "delimiter": ";"},
        [(EIGHT, 1.5), (datetime(2024, 5, 5, 8), 2.5)],
    ),
    "months in French": (
        "temps;a\n1 mars 2024 08:00;1\n2 juin 2024 08:00;2\n2 juil. 2024 08:00;3\n",
        {"time_format": "%d %b %Y %H:%M"},
        [(EIGHT, 1), (datetime(2024, 6, 2, 8), 2), (datetime(2024, 7, 2, 8), 3)],
    ),
    "days of the week in German": (
        "Zeit;a\nFr 01.03.2024 08:00;1\nFr 01.03.2024 08:01;2\n",
        {"time_format": "%a %d.%m.%Y %H:%M"},
        [(EIGHT, 1), (EIGHT + MINUTE, 2)],
    ),
    "a zone in brackets": (
        "time;a\n2024-03-01 09:00 (UTC+01:00);1.5\n2024-03-01 09:01 (UTC+01:00);2.5\n",
        {"delimiter": ";", "time_format": "%Y-%m-%d %H:%M %z", "has_offset": True},
        [(EIGHT.replace(tzinfo=UTC), 1.5), ((EIGHT + MINUTE).replace(tzinfo=UTC), 2.5)],
    ),
    "a zone of one digit": (
        "time;a\n2024-03-01 03:00 UTC-5;1\n2024-03-01 09:01 UTC+1;2\n",
        {"has_offset": True},
        [(EIGHT.replace(tzinfo=UTC), 1), ((EIGHT + MINUTE).replace(tzinfo=UTC), 2)],
    ),
    "times of JavaScript": (
        "time;a\nFri Mar 01 2024 09:00:00 GMT+0100 (Central European Standard Time);1\n",
        {"time_format": "%a %b %d %Y %H:%M:%S.%f %z", "has_offset": True},
        [(EIGHT.replace(tzinfo=UTC), 1)],
    ),
    "errors of a spreadsheet": (
        "time,a\n2024-03-01 08:00,#DIV/0!\n"
        + "".join(f"2024-03-01 08:{i:02},{i}.5\n" for i in range(1, 12)),
        {"null_values": ("#DIV/0!",)},
        [(EIGHT, None), *((EIGHT + i * MINUTE, i + 0.5) for i in range(1, 12))],
    ),
    "Windows' letters": (
        "time,°C,note\n2024-03-01 08:00,1,größer – à\n2024-03-01 08:01,2,n\n".encode("cp1252"),
        {"encoding": "cp1252"},
        [(EIGHT, 1, "größer – à"), (EIGHT + MINUTE, 2, "n")],
    ),
    "a byte order mark": (
        b"\xef\xbb\xbf" + "time,ä\n2024-03-01 08:00,1\n2024-03-01 08:01,2\n".encode(),
        {"encoding": "utf-8", "names": ("time", "ä")},
        [(EIGHT, 1), (EIGHT + MINUTE, 2)],
    ),
    "lines above the header, units below": (
        "exported by logger 7\nserial 42\n\ntime,a,b\nUTC,degC,hPa\n"
        "2024-03-01 08:00,1,2\n2024-03-01 08:01,3,4\n",
        {"skip_lines": 3, "skip_after_header": 1, "header": True},
        [(EIGHT, 1, 2), (EIGHT + MINUTE, 3, 4)],
    ),
    "no header": (
        "2024-03-01 08:00,1.5,7\n2024-03-01 08:01,2.5,8\n",
        {"header": False, "names": ("column_1", "column_2", "column_3")},
        [(EIGHT, 1.5, 7), (EIGHT + MINUTE, 2.5, 8)],
    ),
    "quoted breaks": (
        'time,note,a\n2024-03-01 08:00,"one\ntwo, ""three""",1\n2024-03-01 08:01,x,2\n',
        {"newlines_in_values": True},
        [(EIGHT, 'one\ntwo, "three"', 1), (EIGHT + MINUTE, "x", 2)],
    ),
    "mixed offsets": (
        "time,a\n2024-03-01T09:00:00+01:00,1\n2024-03-01T13:31:00+05:30,2\n2024-03-01T08:02Z,3\n",
        {"has_offset": True},
        [((EIGHT + i * MINUTE).replace(tzinfo=UTC), i + 1) for i in range(3)],
    ),
    "fractions of different length": (
        "time,a\n2024-03-01 08:00:00,1\n2024-03-01 08:00:00.5,2\n2024-03-01 08:00:00.123456,3\n",
        {"fraction_digits": 6},
        [
            (EIGHT, 1),
            (EIGHT + timedelta(milliseconds=500), 2),
            (EIGHT + timedelta(microseconds=123456), 3),
        ],
    ),
    "day first, as one of them shows": (
        "time,a\n01/03/2024 08:00,1\n13/03/2024 08:00,2\n",
        {"time_format": "%d/%m/%Y %H:%M"},
        [(EIGHT, 1), (EIGHT.replace(day=13), 2)],
    ),
    "month first, as one of them shows": (
        "time,a\n03/01/2024 08:00,1\n03/13/2024 08:00,2\n",
        {"time_format": "%m/%d/%Y %H:%M"},
        [(EIGHT, 1), (EIGHT.replace(day=13), 2)],
    ),
    "clocks of twelve hours": (
        "time,a\n13-Mar-24 12:00 AM,1\n13-Mar-24 12:30 pm,2\n13-Mar-24 11:59 PM,3\n",
        {"time_format": "%d-%b-%y %I:%M %p"},
        [
            (datetime(2024, 3, 13), 1),
            (datetime(2024, 3, 13, 12, 30), 2),
            (datetime(2024, 3, 13, 23, 59), 3),
        ],
    ),
    "a day that ends at 24:00": (
        "time,a\n2024-02-29 23:00,1\n2024-02-29 24:00,2\n",
        {},
        [(datetime(2024, 2, 29, 23), 1), (datetime(2024, 3, 1), 2)],
    ),
    "nothing between the digits": (
        "date,a\n20240301,1\n20240302,2\n",
        {"time_format": "%Y%m%d"},
        [(datetime(2024, 3, 1), 1), (datetime(2024, 3, 2), 2)],
    ),
    "date and time apart": (
        "Date;Time;a;\n10/03/2004;18.00.00;2,6;\n31/03/2004;19.30.00;3;\n;;;\n;;;\n",
        {"time_columns": ("Date", "Time"), "time_format": "%d/%m/%Y %H.%M.%S.%f"},
        [(2.6, datetime(2004, 3, 10, 18)), (3.0, datetime(2004, 3, 31, 19, 30))],
    ),
    "a column a part": (
        "#YY  MM DD hh mm  WSPD\n#yr  mo dy hr mn   m/s\n2022 06 05 13 00   3.0\n"
        "2022 06 05 12 50    MM\n2022 06 05 12 40   4.5\n",
        {"delimiter": " ", "null_values": ("MM",), "skip_after_header": 1},
        [
            (3.0, datetime(2022, 6, 5, 13)),
            (None, datetime(2022, 6, 5, 12, 50)),
            (4.5, datetime(2022, 6, 5, 12, 40)),
        ],
    ),
    "words for nothing, and as texts": (
        "time,a,b,c\n2024-03-01 08:00,nil,NA,nil\n2024-03-01 08:01,1,2.5,word\n"
        + "2024-03-01 08:02,3,n/a,word\n" * 1,
        {"null_values": ("NA", "n/a", "nil")},
        [
            (EIGHT, None, None, "nil"),
            (EIGHT + MINUTE, 1, 2.5, "word"),
            (EIGHT + 2 * MINUTE, 3, None, "word"),
        ],
    ),
    "texts that only look like numbers": (
        "time,id,big,day,ok\n2024-03-01 08:00,007,12345678901234567890,2024-03-01,True\n"
        "2024-03-01 08:01,012,12345678901234567891,2024-03-02,false\n",
        {},
        [
            (EIGHT, "007", "12345678901234567890", date(2024, 3, 1), True),
            (EIGHT + MINUTE, "012", "12345678901234567891", date(2024, 3, 2), False),
        ],
    ),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("is_packed", [False, True], ids=["", "gz"])
def test_found_out_and_read(name: str, is_packed: bool, tmp_path: Path) -> None:
    """What is found out of a file, and every value of it, is what a person would say."""
    content, known, rows = CASES[name]
    data = content if isinstance(content, bytes) else content.encode()
    file = write(tmp_path, gzip.compress(data), "f.csv.gz") if is_packed else write(tmp_path, data)
    found = read_csv(file)
    assert {key: getattr(found.dialect, key) for key in known} == known
    assert found.rows == rows
    assert not found.refused


ASKED: dict[str, tuple[str, dict[str, Any], list[tuple[Any, ...]]]] = {
    "day first": (
        "time,a\n01/03/2024,1\n",
        {"csv": {"day_first": True}},
        [(datetime(2024, 3, 1), 1)],
    ),
    "month first": (
        "time,a\n01/03/2024,1\n",
        {"csv": {"day_first": False}},
        [(datetime(2024, 1, 3), 1)],
    ),
    "years": (
        "YEAR,a\n1700,5\n1701,11\n",
        {"csv": {"time_columns": ["YEAR"], "time_format": "%Y"}},
        [(datetime(1700, 1, 1), 5), (datetime(1701, 1, 1), 11)],
    ),
    "one of two columns of times": (
        "pickup,dropoff,a\n2024-03-01 08:00,2024-03-01 08:01,1\n",
        {"time": "dropoff"},
        [(EIGHT, EIGHT + MINUTE, 1)],
    ),
    "names": (
        "time,x,x\n2024-03-01 08:00,1,2\n2024-03-01 08:01,1,2\n",
        {"csv": {"names": ["time", "a", "b"]}},
        [(EIGHT, 1, 2), (EIGHT + MINUTE, 1, 2)],
    ),
    "types": (
        "time,a,b\n2024-03-01 08:00,1,2\n",
        {"csv": {"types": {"a": "double", "b": "string"}}},
        [(EIGHT, 1.0, "2")],
    ),
    "flags in words": (
        "time,a,b\n2024-03-01 08:00,yes,Off\n2024-03-01 08:01,N,on\n",
        {"csv": {"types": {"a": "bool", "b": "bool"}}},
        [(EIGHT, True, False), (EIGHT + MINUTE, False, True)],
    ),
    "a stand-in": (
        "time,a,b\n2024-03-01 08:00,-1,-1\n2024-03-01 08:01,2,-1\n",
        {"csv": {"sentinels": {"a": [-1]}}},
        [(EIGHT, None, -1), (EIGHT + MINUTE, 2, -1)],
    ),
    "a word for nothing": (
        "time,a\n2024-03-01 08:00,kaputt\n2024-03-01 08:01,2\n",
        {"csv": {"null_values": ["kaputt"]}},
        [(EIGHT, None), (EIGHT + MINUTE, 2)],
    ),
    "columns": (
        "time,a,b,c\n2024-03-01 08:00,1,2,3\n",
        {"columns": ["c"], "filter": [("b", ">", 1)]},
        [(EIGHT, 3)],
    ),
    "whole numbers that count": (
        "time,a\n1709280000,1\n",
        {"time_unit": "s"},
        [(1709280000, 1)],
    ),
}


@pytest.mark.parametrize("name", ASKED)
def test_what_is_said_is_believed(name: str, tmp_path: Path) -> None:
    """What is said of a file stands above what it looks like."""
    content, options, rows = ASKED[name]
    assert read_csv(write(tmp_path, content), **options).rows == rows


REFUSED: dict[str, tuple[str | bytes, str]] = {
    "day or month": ("time,a\n01/02/2024,1\n03/04/2024,2\n", "day or the month first"),
    "day and month": ("time,a\n13/02/2024,1\n03/14/2024,2\n", "day first in some rows"),
    "two of times": ("t1,t2\n2024-03-01 08:00,2024-03-01 08:00\n", "t1, t2 all hold times"),
    "none of times": ("a,b\n1,2\n", "no column of times"),
    "a form nobody knows": ("time,a\n1st of May,1\n", "form of the times of time is not known"),
    "a zone's name": (
        "time,a\n2024-03-01 08:00:00 EST,1\n2024-03-01 08:01:00 EST,2\n",
        '"time_format": "%Y-%m-%d %H:%M:%S EST"} takes it',
    ),
    "a language nobody knows": ("time,a\n5 stycznia 2024,1\n", "write others as numbers"),
    "years with fractions": ("time,a\n1973,1\n1973.08333333333,2\n", "no exact time"),
    "no date": ("time;a\n10:00:00;1\n", '"time_format": "%H:%M:%S"} counts it from 1970'),
    "a workbook": (b"PK\x03\x04...", "a ZIP archive or an Excel workbook"),
    "gzip without its ending": (gzip.compress(b"time,a\n"), "its name has to end in .gz"),
    "the same name twice": ("time,a,a\n2024-03-01 08:00,1,2\n", "more than once"),
    "nothing": ("", "empty"),
    "blanks": ("\n\n \n", "empty"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_known_is_asked(name: str, tmp_path: Path) -> None:
    """Where two readings are possible, or none is, the file is refused with what to say."""
    content, told = REFUSED[name]
    with pytest.raises(FrameError, match=told) as caught:
        read_csv(write(tmp_path, content))
    assert "f.csv" in str(caught.value)


UNKNOWN: dict[str, tuple[str, list[str]]] = {
    "2024-W05": ("%G-W%V", ["2024-01-29"]),
    "2024-01": ("%Y-%m", ["2024-01-01"]),
    "01/2024": ("%m/%Y", ["2024-01-01"]),
    "2024": ("%Y", ["2024-01-01"]),
    "202402": ("%Y%m", ["2024-02-01"]),
    "2024366": ("%Y%j", ["2024-12-31"]),
    "Mai 2024": ("%b %Y", ["2024-05-01"]),
    "Jan-24": ("%b-%y", ["2024-01-01"]),
    "5 de marzo de 2024": ("%d de %b de %Y", ["2024-03-05"]),
    "Mon Jan  5 10:00:00 2024": ("%a %b %d %H:%M:%S %Y", ["2024-01-05 10:00:00"]),
    "2024年1月5日": ("%Y年%m月%d日", ["2024-01-05"]),
    "05.01.2024, 10:00 Uhr": ("%d.%m.%Y, %H:%M Uhr", ["2024-01-05 10:00"]),
    "05.01.2024 10:00 CET": ("%d.%m.%Y %H:%M CET", ["2024-01-05 10:00"]),
    "2024-01-05 10:00 (UTC+01:00) Oslo": ("%Y-%m-%d %H:%M %z Oslo", ["2024-01-05 09:00"]),
    "01/02/2024 10:00 CET": (
        "%d/%m/%Y %H:%M CET|%m/%d/%Y %H:%M CET",
        ["2024-02-01 10:00", "2024-01-02 10:00"],
    ),
}
"""Times of no known form; the forms that the hint names, and what each makes of the time."""


@pytest.mark.parametrize("text", UNKNOWN)
def test_a_form_that_the_hint_names_reads_the_time(text: str, tmp_path: Path) -> None:
    """Where a time's form is not known, what the hint says to write reads it when it is written."""
    file = write(tmp_path, f"time;a\n{text};1\n{text};2\n")
    with pytest.raises(FrameError, match="the form of the times of time is not known") as caught:
        read_csv(file)
    found = re.findall(r'"time_format": "([^"]+)"', str(caught.value.hint))
    forms, times = UNKNOWN[text]
    assert found == forms.split("|")
    for form, time in zip(found, times, strict=True):
        read = read_csv(file, csv={"time_format": form}).rows[0][0]
        assert pd.Timestamp(read).tz_localize(None) == pd.Timestamp(time)


@pytest.mark.parametrize(
    ("csv", "told"),
    [
        ({"delimeter": ","}, "unknown option 'delimeter'"),
        ({"encoding": "klingon"}, "is not known"),
        ({"delimiter": "||"}, "one character"),
        ({"decimal": ",", "delimiter": ",", "quote": ""}, "decimal"),
        ({"decimal": ",", "thousands": ","}, "decimal"),
        ({"names": "time"}, "must be a list"),
        ({"types": {"a": "float16"}}, "must be"),
    ],
)
def test_wrong_dialects_are_refused(csv: dict[str, Any], told: str, tmp_path: Path) -> None:
    """An invalid dialect is refused before the file is read."""
    with pytest.raises(OptionsError, match=told):
        read_csv(tmp_path / "not there.csv", csv=csv)


def test_stand_ins_of_an_air_quality_sensor(tmp_path: Path) -> None:
    """-200 is missing where it stands out, and in the file's other columns; real ones stay."""
    n = 200
    rng = np.random.default_rng(1)
    columns = {
        "CO": rng.uniform(0.1, 12, n).round(1),
        "NOx": rng.integers(2, 1480, n).astype(float),
        "cold": np.where(np.arange(n) % 2, -200.0, -150.0) + rng.normal(0, 30, n).round(1),
        "full": rng.integers(0, 9999, n).astype(float),
    }
    gone = np.zeros(n, bool)
    gone[::9] = True
    for name in ("CO", "NOx"):
        columns[name] = np.where(gone, -200.0, columns[name])
    columns["full"][::7] = 9999.0  # a counter at its end is not a stand-in: its values are close
    columns["cold"][::5] = -200.0
    lines = ["time," + ",".join(columns)]
    for i in range(n):
        when = EIGHT + i * MINUTE
        lines.append(f"{when:%Y-%m-%d %H:%M}," + ",".join(f"{c[i]:g}" for c in columns.values()))
    found = read_csv(write(tmp_path, "\n".join(lines)))
    assert found.dialect.sentinels == {"CO": (-200.0,), "NOx": (-200.0,)}
    assert [found.table[c].null_count for c in columns] == [gone.sum(), gone.sum(), 0, 0]


def test_buoy_as_its_agency_writes_it(tmp_path: Path) -> None:
    """The buoy's 6,508 rows, in the agency's own form, are read as the same values."""
    want = load_demo().sort_index(ascending=False)
    shown = want.astype(object).where(want.notna(), "MM")
    lines = [
        "#YY  MM DD hh mm " + " ".join(f"{c:>9}" for c in want),
        "#yr  mo dy hr mn  unit" + "  unit" * 9,
    ]
    lines += [
        f"{when:%Y %m %d %H %M} " + " ".join(f"{v!s:>9}" for v in row)
        for when, row in zip(want.index, shown.itertuples(index=False), strict=True)
    ]
    found = read_csv(write(tmp_path, "\n".join(lines) + "\n", "44013.txt"), unit_bytes=1 << 16)
    assert found.n_units > 3
    got = found.table.to_pandas().set_index("time")[list(want)]
    assert (got.index == want.index).all()
    for name in want:
        mine, theirs = want[name].astype("float64"), got[name].astype("float64")
        np.testing.assert_array_equal(mine, theirs, name)
    assert found.kinds["time"] == "timestamp[ms]"


DIRT = [
    ("2024-03-01 08:01,x,1.5,a", "column 'n' is not a whole number"),
    ("2024-03-01 08:01,1,1.5.2,a", "column 'x' is not a number"),
    ("2024-03-01 08:01,1,1.5", "has 3 fields, not 4"),
    ("2024-03-01 08:01,1,1.5,a,b", "has 5 fields, not 4"),
    ("2024-13-01 08:01,1,1.5,a", "column 'time' is not a "),
    ("2023-02-29 08:01,1,1.5,a", "column 'time' is not a "),
    ("2024-03-01 08:01+01:00,1,1.5,a", "offset"),
    ("yesterday,1,1.5,a", "column 'time' is not a "),
    ("2024-03-01 08:01,9223372036854775808,1.5,a", "column 'n' is not a whole number"),
    ("2024-03-01 08:01,1.5,1.5,a", "column 'n' is not a whole number"),
    (b"2024-03-01 08:01,1,1.5,\xff\xfe", "not valid UTF-8"),
    ('2024-03-01 08:01,1,1.5,"a', "a quote is open"),
]


@pytest.mark.parametrize("at", [0, 700, 2499])
def test_what_does_not_fit_is_told_by_its_line(at: int, tmp_path: Path) -> None:
    """Only rows that do not fit are left out, each with its line and what is wrong."""
    n_rows = 2_500
    good = [f"{EIGHT + i * MINUTE:%Y-%m-%d %H:%M},{i},{i / 4},t{i}".encode() for i in range(n_rows)]
    lines: list[bytes] = [b"time,n,x,text", *good]
    told = {}
    for k, (dirt, why) in enumerate(DIRT):
        line = 1 + min(at, n_rows - 1) + k
        lines.insert(line, dirt if isinstance(dirt, bytes) else dirt.encode())
        told[line + 1] = why
    found = read_csv(
        write(tmp_path, b"\n".join(lines) + b"\n"),
        unit_bytes=1 << 16,
        csv={"types": {"n": "int64", "x": "double", "text": "string"}, "encoding": "utf-8"},
    )
    assert found.refused.keys() == told.keys()
    for line, why in told.items():
        assert why in found.refused[line], line
    assert found.table["n"].to_pylist() == list(range(n_rows))
    assert found.table["text"].to_pylist() == [f"t{i}" for i in range(n_rows)]


@pytest.mark.parametrize("mark", [".", ","])
def test_seconds_with_a_fraction_are_times(tmp_path: Path, mark: str) -> None:
    """Numbers of a time with a fraction are decimals, whatever the mark of the other numbers."""
    rows = f"1564388230{mark}097;0,5\n1564388231{mark}1;1,5\n1564388232;2\n"
    file = write(tmp_path, f"ts;a\n{rows}{rows.replace('097', '0970000001')}")
    found = read_csv(file, time="ts", time_unit="s")
    assert [str(row[0]) for row in found.rows[:3]] == [
        "1564388230.097000000",
        "1564388231.100000000",
        "1564388232.000000000",
    ]
    assert [row[1] for row in found.rows] == [0.5, 1.5, 2.0, 1.5, 2.0]
    assert found.refused == {5: "column 'ts' is not a number of at most 9 digits behind the mark"}
