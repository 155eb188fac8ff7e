"""Texts as numbers and times, and CSV files as records: for any text, the same as Python says."""

from __future__ import annotations

import csv
import io
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iotdb_frames.errors import OptionsError
from iotdb_frames.files.csv.cells import parse
from iotdb_frames.files.csv.dialect import CsvDialect
from iotdb_frames.files.csv.records import Records, blocks
from iotdb_frames.files.csv.times import parse_times
from iotdb_frames.files.sources import SourceFile

EPOCH = datetime(1970, 1, 1)
FORMS = (
    *("%Y-%m-%d %H:%M:%S", "%d.%m.%Y %H:%M:%S", "%m/%d/%y %I:%M:%S %p", "%Y%m%dT%H%M%S"),
    *("%b %d, %Y %H:%M:%S", "%H:%M:%S %d-%b-%Y", "%Y/%m/%d %H.%M.%S"),
)


@given(
    st.sampled_from(FORMS),
    st.lists(st.datetimes(datetime(1971, 1, 1), datetime(2068, 12, 31)), min_size=1, max_size=20),
)
def test_times_of_any_form(form: str, moments: list[datetime]) -> None:
    """What `strftime` writes is read as the same times."""
    moments = [m.replace(microsecond=0) for m in moments]
    texts = pa.array([m.strftime(form) for m in moments])
    parsed = parse_times(texts, form)
    assert not parsed.is_bad.any()
    assert parsed.values.to_pylist() == moments


@given(
    st.lists(
        st.tuples(
            st.datetimes(datetime(1700, 1, 1), datetime(2250, 1, 1)),
            st.integers(0, 9),
            st.integers(0, 999_999_999),
            st.integers(-14 * 60, 14 * 60),
        ),
        min_size=1,
        max_size=20,
    ),
    st.booleans(),
)
def test_fractions_and_offsets_of_any_kind(
    rows: list[tuple[datetime, int, int, int]], is_zoned: bool
) -> None:
    """Each row may have its own number of digits and its own offset from UTC."""
    texts, wanted = [], []
    for moment, n_digits, nanos, minutes in rows:
        digits = f"{nanos:09d}"[:n_digits]
        text = f"{moment.year:04d}{moment:-%m-%dT%H:%M:%S}" + (f".{digits}" if digits else "")
        offset = timedelta(minutes=minutes) if is_zoned else timedelta(0)
        if is_zoned:
            sign, left = "-" if minutes < 0 else "+", abs(minutes)
            text += f"{sign}{left // 60:02d}:{left % 60:02d}"
        whole = moment.replace(microsecond=0) - offset - EPOCH
        wanted.append((whole // timedelta(seconds=1)) * 10**9 + int(digits.ljust(9, "0")))
        texts.append(text)
    parsed = parse_times(pa.array(texts), "iso8601")
    assert not parsed.is_bad.any()
    assert parsed.values.type.tz == ("UTC" if is_zoned else None)
    per_s = {"ms": 10**3, "us": 10**6, "ns": 10**9}[parsed.values.type.unit]
    got = [v * (10**9 // per_s) for v in parsed.values.cast("int64").to_pylist()]
    assert got == wanted


@pytest.mark.parametrize(
    "text",
    [
        *("2024-02-30", "2024-13-01", "2024-01-01 25:00", "2024-01-01 24:01", "2024-01-01 08:60"),
        *(
            "2024-01-01 08:00:61",
            "24-01-01",
            "2024-01-01x",
            "noon",
            "2024-01-01 08:00:00.1234567890",
        ),
    ],
)
def test_what_is_no_time(text: str) -> None:
    """A time that is not in the calendar or on the clock is bad, and its neighbours are not."""
    parsed = parse_times(pa.array(["2024-01-01 08:00", text, None]), "iso8601")
    assert parsed.is_bad.tolist() == [False, True, False]
    assert parsed.values.is_valid().to_pylist() == [True, False, False]


def test_unknown_directives_are_refused() -> None:
    """A form with a directive that is not known is an invalid option."""
    with pytest.raises(OptionsError, match="%q"):
        parse_times(pa.array(["1"]), "%q")


NUMBERS: list[tuple[str, str, object]] = [
    ("double", "1.5", 1.5),
    ("double", " +1.5e3 ", 1500.0),
    ("double", "-inf", -np.inf),
    ("double", ".5", 0.5),
    ("double", "1,5", "bad"),
    ("double", "1_000", "bad"),
    ("double", "0x10", "bad"),
    ("double", "NA", None),
    ("int64", "9223372036854775807", 2**63 - 1),
    ("int64", "-9223372036854775808", -(2**63)),
    ("int64", "-9223372036854775809", "bad"),
    ("int64", "9223372036854775808", "bad"),
    ("int64", "+7.00", 7),
    ("int64", "7.5", "bad"),
    ("int64", "1e3", "bad"),
    ("bool", "TRUE", True),
    ("bool", "0", False),
    ("bool", "Yes", True),
    ("bool", "off", False),
    ("bool", "perhaps", "bad"),
    ("date32", "2024-02-29", datetime(2024, 2, 29).date()),
    ("date32", "2024-02-29 08:00", "bad"),
    ("timestamp", "2024-02-29 08:00", datetime(2024, 2, 29, 8)),
]


@pytest.mark.parametrize(("kind", "text", "value"), NUMBERS)
def test_cells(kind: str, text: str, value: object) -> None:
    """A cell is its value, missing, or bad; never something near."""
    parsed = parse(pa.array([text]), kind, nulls=("NA",), decimal=".", thousands="")
    assert bool(parsed.is_bad[0]) == (value == "bad")
    assert parsed.values[0].as_py() == (None if value == "bad" else value)


def test_grouped_numbers() -> None:
    """Groups of digits count only where they are groups."""
    texts = pa.array(["1.234.567,5", "12,5", "1.23,5", "-1.000", "1234,5"])
    parsed = parse(texts, "double", nulls=(), decimal=",", thousands=".")
    assert parsed.values.to_pylist() == [1234567.5, 12.5, None, -1000.0, 1234.5]
    assert parsed.is_bad.tolist() == [False, False, True, False, False]


CELL = st.text(st.sampled_from('ab,"\n\r;é€ '), max_size=6)


@given(st.lists(st.tuples(CELL, CELL), min_size=1, max_size=12), st.integers(1, 40), st.booleans())
def test_any_block_is_whole_records(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], n_bytes: int, crlf: bool
) -> None:
    """Cut anywhere, blocks are whole records, without a gap, and each line is where it says."""
    sink = io.StringIO()
    csv.writer(sink, lineterminator="\r\n" if crlf else "\n").writerows([("h1", "h2"), *rows])
    data = sink.getvalue().encode()
    file = tmp_path_factory.getbasetemp() / "any.csv"
    file.write_bytes(data)
    info = pafs.LocalFileSystem().get_file_info(str(file))
    source = SourceFile("", "any.csv", pafs.LocalFileSystem(), str(file), info.size, 0, "csv")
    has_breaks = any(c in cell for row in rows for cell in row for c in "\r\n")
    dialect = CsvDialect(
        encoding="utf-8", delimiter=",", quote='"', header=True, newlines_in_values=has_breaks
    )
    found = cut(source, dialect, n_bytes)
    assert b"".join(b.data for b in found) == data[data.index(b"\n") + 1 :]
    line = 2
    for block in found:
        assert block.line == line
        records = Records(block.data, dialect)
        lines = data.split(b"\n")
        for start, at in zip(records.starts.tolist(), records.lines.tolist(), strict=True):
            assert lines[line + at - 1].startswith(bytes(block.data[start:]).split(b"\n")[0])
        line = block.end_line
    kept = [(b.start, b.stop, b.line) for b in found][::2]
    again = list(blocks(source, dialect, kept, block_bytes=n_bytes))
    assert [b.data for b in again] == [b.data for b in found[::2]]


def cut(source: SourceFile, dialect: CsvDialect, n_bytes: int) -> list:
    """The blocks of a file, in spite of the least size that a real one has."""
    from iotdb_frames.files.csv import records

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "_LEAST", 1)
        patch.setattr(records, "_MOST_BLOCKS", 1 << 20)
        return list(blocks(source, dialect, [(0, None, 0)], block_bytes=n_bytes))


def test_an_open_quote_is_told(tmp_path: Path) -> None:
    """A quote that is never closed does not fill the memory: its line is told."""
    from csvs import read_csv

    from iotdb_frames.errors import FrameError

    file = tmp_path / "open.csv"
    rows = "".join(f"2024-03-01 08:00:{i % 60:02d},{i}\n" for i in range(60_000))
    file.write_text("time,a\n2024-03-01 08:00,1\n" + '2024-03-01 08:00,"\n' + rows)
    with pytest.raises(FrameError, match="line 3: the record has no end"):
        read_csv(
            file, unit_bytes=1 << 16, csv={"newlines_in_values": True, "types": {"a": "string"}}
        )


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("double", "9007199254740993", None),
        ("double", "-9007199254740993.0", None),
        ("double", "9007199254740992", 2.0**53),
        ("double", "18446744073709551616", 2.0**64),
        ("double", "18446744073709551617", None),
        ("double", "9007199254740993.5", 9007199254740994.0),
        ("double", "1e300", 1e300),
        ("double", "-inf", -np.inf),
        ("double", "1e999", None),
        ("float", "16777217", None),
        ("float", "16777216", 2.0**24),
        ("float", "20.1", float(np.float32(20.1))),
        ("float", "1e39", None),
    ],
)
def test_no_whole_number_is_rounded(kind: str, text: str, value: float | None) -> None:
    """A whole number that a floating-point type does not hold is bad, and so is one beyond it."""
    texts = pa.array([text, "0.5", None])
    parsed = parse(texts, kind, nulls=(), decimal=".", thousands="")
    assert parsed.values.to_pylist() == [value, 0.5, None]
    assert parsed.is_bad.tolist() == [value is None, False, False]
    lossy = parse(texts, kind, nulls=(), decimal=".", thousands="", is_lossy=True)
    assert not lossy.is_bad.any()


def test_weeks_and_days_of_the_year_are_those_of_the_calendar() -> None:
    """Every day of 60 years is read from its ISO week, and from its number; what is none is bad."""
    days = [date(1990, 1, 1) + timedelta(days=i) for i in range(60 * 365)]
    weeks = ["{}-W{:02}-{}".format(*day.isocalendar()) for day in days]
    numbers = [f"{day:%Y-%j}" for day in days]
    for texts, form in ((weeks, "%G-W%V-%u"), (numbers, "%Y-%j")):
        found = parse_times(pa.array(texts), form)
        assert not found.is_bad.any()
        assert [time.date() for time in found.values.to_pylist()] == days
    for text, form in (
        ("2024-W53-1", "%G-W%V-%u"),
        ("2024-W00-1", "%G-W%V-%u"),
        ("2023-366", "%Y-%j"),
        ("2023-000", "%Y-%j"),
    ):
        assert parse_times(pa.array([text]), form).is_bad.tolist() == [True]


@pytest.mark.parametrize(
    "names",
    [
        "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec",
        "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
        "Jän. Feb. Mrz. Apr. Mai. Jun. Jul. Aug. Sep. Okt. Nov. Dez.",
        "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
        "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
        "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre "
        "dicembre",
        "janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro",
        "januari februari maart april mei juni juli augustus september oktober november december",
        "januar februar mars april maj juni juli august september oktober november desember",
        "januari februari mars april maj juni juli augusti september oktober november december",
    ],
)
def test_months_have_names_in_many_languages(names: str) -> None:
    """The twelve names of a language are the months 1 to 12, in any case."""
    texts = [f"5 {name} 2024" for name in names.split()]
    for some in (texts, [text.upper() for text in texts]):
        found = parse_times(pa.array(some), "%d %b %Y")
        assert [time.month for time in found.values.to_pylist()] == list(range(1, 13))
