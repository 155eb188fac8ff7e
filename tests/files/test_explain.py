"""How a CSV file is read, as a person is shown it: what was found out, by what, and values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from iotdb_frames.files.csv.explain import Explained, explain
from iotdb_frames.files.csv.infer import infer_dialect
from iotdb_frames.files.options import FileOptions
from iotdb_frames.files.sources import find_files

GERMAN = (
    "Gerät;PLC 7\nZeit;Druck;Zähler;Ort\n;bar;%;\n13.03.2024 08:00;0,25;998;NA;\n"
    "14.03.2024 08:01;NA;1.200;x;\n31.03.2024 08:02;12;1.201;y;\n"
)


def shown(folder: Path, content: str, **asked: Any) -> Explained:
    """What is shown of a file of this content."""
    file = folder / "f.csv"
    file.write_text(content)
    options = FileOptions(**asked)
    (source,), _ = find_files(str(file))
    return explain(source, options, infer_dialect(source, options))


def test_what_was_found_out_is_shown_with_what_shows_it(tmp_path: Path) -> None:
    """Each guess stands beside the text that it was made by."""
    facts = dict(shown(tmp_path, GERMAN).facts)
    assert facts["delimiter"] == ("';'", "5 fields in 3 of 3 lines")
    assert facts["decimal"] == ("','", "as in 0,25")
    assert facts["thousands"] == ("'.'", "1.200 is 1200")
    assert facts["header"] == "line 2"
    assert facts["skipped"] == "1 line above the header, 1 below"
    assert facts["missing"] == ("NA", "not among texts")
    form, order = facts["time"]
    assert (form, order) == (
        "Zeit as %d.%m.%Y %H:%M",
        "the day first, as 13.03.2024 08:00 shows",
    )
    assert facts["zone"] == "of the connection, for the file says none"


def test_values_are_shown_before_and_after(tmp_path: Path) -> None:
    """Two values of each column, as the file has them and as they are read."""
    rows = {row[0]: row[1:] for row in shown(tmp_path, GERMAN).values.rows}
    assert rows["Zähler"] == ["int64", "'998'", "998", "'1.200'", "1200"]
    assert rows["Druck"] == ["double", "'0,25'", "0.25", "'NA'", "missing"]
    assert rows["Ort"] == ["string", "'NA'", "NA", "'x'", "x"]
    assert rows["Zeit"][1:3] == ["'13.03.2024 08:00'", "2024-03-13 08:00:00"]


@pytest.mark.parametrize(
    ("content", "asked", "label", "fact"),
    [
        ("time,a\n2024-03-01,1\n", {}, "decimal", ("'.'", "assumed: no number has a fraction")),
        ("time;a\n2024-03-01;1,5\n", {"csv": {"decimal": ","}}, "decimal", ("','", "as given")),
        ("time;a\n2024-03-01;1.234.567\n", {}, "decimal", ("','", "as in 1.234.567")),
        ("time,a\n2024-03-01T08:00Z,1\n", {}, "zone", "offsets in the file"),
        ("t,a\n1564388230,1\n", {"time": "t", "time_unit": "s"}, "zone", "UTC"),
        (
            "time,a\n01/02/2024,1\n",
            {"csv": {"day_first": False}},
            "time",
            ("time as %m/%d/%Y", "the month first, as given"),
        ),
        (
            "time,a\n01.02.2024,1\n",
            {},
            "time",
            ("time as %d.%m.%Y", "the day first, as dates with dots have it"),
        ),
    ],
)
def test_how_sure_it_is(
    tmp_path: Path, content: str, asked: dict[str, Any], label: str, fact: Any
) -> None:
    """What is given, shown or only assumed is told apart."""
    assert dict(shown(tmp_path, content, **asked).facts)[label] == fact


def test_numbers_of_a_time_are_shown_as_moments(tmp_path: Path) -> None:
    """A wrong unit is seen at once: the moment stands beside the number."""
    rows = shown(tmp_path, "t,a\n1564388230.5,1\n", time="t", time_unit="s").values.rows
    assert rows[0][2:4] == ["'1564388230.5'", "2019-07-29 08:17:10.500000+00:00"]


def test_parts_of_a_time_and_an_empty_file(tmp_path: Path) -> None:
    """A time of two columns is shown as one; of a header alone there is nothing to show."""
    rows = shown(tmp_path, "Date,Time,a\n13/03/2024,08:00,1\n").values.rows
    assert rows[-1][:4] == ["time", "timestamp[ms]", "'13/03/2024 08:00'", "2024-03-13 08:00:00"]
    assert shown(tmp_path, "time,a\n").values.rows == []
