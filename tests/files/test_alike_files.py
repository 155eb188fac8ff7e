"""Files of one kind: the form of one is tried on the next, whose own sample confirms it or not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_dialects import CASES, write

from iotdb_frames.codec.names import parse_target
from iotdb_frames.errors import FrameError
from iotdb_frames.files.csv.dialect import CsvDialect
from iotdb_frames.files.csv.forms import Forms
from iotdb_frames.files.csv.infer import infer_dialect
from iotdb_frames.files.options import FileOptions
from iotdb_frames.files.sources import find_files
from iotdb_frames.files.survey import survey
from iotdb_frames.options import WriteOptions

HEAD = "time,a,b,state\n"
PLAIN = HEAD + "2024-03-01 08:00,1,0.5,run\n2024-03-01 08:01,2,0.25,idle\n"
DAYS = "time;a\n13/02/2024 08:00;1,5\n14/02/2024 08:00;0,25\n"


class Looked:
    """Files that were looked at one after the other, and which forms the samples confirmed."""

    def __init__(self, folder: Path, *contents: str | bytes, **asked: Any) -> None:
        for i, content in enumerate(contents):
            write(folder, content, f"f{i}.csv")
        options = FileOptions(**asked)
        files, _ = find_files(str(folder))
        self.dialects: list[CsvDialect] = []
        self.alone: list[CsvDialect] = []
        self.is_confirmed: list[bool] = []
        forms = Forms()
        for file in files:
            before = len(forms)
            self.dialects.append(infer_dialect(file, options, forms=forms))
            self.is_confirmed.append(len(forms) == before)
            self.alone.append(infer_dialect(file, options))


@pytest.mark.parametrize("name", CASES)
def test_a_form_that_is_carried_is_the_one_that_is_found(name: str, tmp_path: Path) -> None:
    """However a file is written, the same file behind it is read in the same way."""
    content, known, _ = CASES[name]
    looked = Looked(tmp_path, content, content)
    assert looked.dialects[1] == looked.alone[1]
    for key, value in known.items():
        assert getattr(looked.dialects[1], key) == value


ALIKE: dict[str, tuple[str, str]] = {
    "other values": (PLAIN, PLAIN.replace("0.5", "17.125").replace("run", "stop")),
    "cells that are missing": (PLAIN, PLAIN.replace(",1,", ",,").replace("idle", "")),
    "another serial number above": ("# SN 1\n" + PLAIN, "# SN 2\n" + PLAIN),
    "units below": (
        PLAIN.replace("state\n", "state\ns,V,A,\n"),
        PLAIN.replace("state\n", "state\ns,V,A,\n").replace("0.5", "9.5"),
    ),
    "days that tell themselves": (DAYS, DAYS.replace("13/", "28/")),
    "offsets": (
        PLAIN.replace(":00,", ":00:00+02:00,").replace(":01,", ":01:00+02:00,"),
        PLAIN.replace(":00,", ":00:00+01:00,").replace(":01,", ":01:00+01:00,"),
    ),
    "epochs": (
        "time,a\n1709280000,1\n1709280060,2\n",
        "time,a\n1709280120,3\n1709280180,4\n",
    ),
}


@pytest.mark.parametrize("name", ALIKE)
def test_a_file_of_the_same_kind_is_confirmed(name: str, tmp_path: Path) -> None:
    """Values, missing cells and what loggers say of themselves make no other kind of file."""
    looked = Looked(tmp_path, *ALIKE[name])
    assert looked.is_confirmed == [False, True]
    assert looked.dialects[1] == replace(looked.dialects[0], sentinels={})


OTHERS: dict[str, tuple[str, str]] = {
    "another delimiter": (PLAIN, PLAIN.replace(",", ";")),
    "decimal commas": (PLAIN, PLAIN.replace(",", ";").replace("0.", "0,")),
    "another name": (PLAIN, PLAIN.replace(",b,", ",c,")),
    "a column less": (PLAIN, "time,a\n2024-03-01 08:00,1\n"),
    "a line of units": (PLAIN, PLAIN.replace("state\n", "state\ns,V,A,\n")),
    "no line of units": (PLAIN.replace("state\n", "state\ns,V,A,\n"), PLAIN),
    "a line above": (PLAIN, "export\n" + PLAIN),
    "a header where there was none": ("2024-03-01 08:00,x\n", "time,name\n2024-03-01 08:00,x\n"),
    "fractions": (PLAIN, PLAIN.replace(",2,", ",2.5,")),
    "leading zeros": (PLAIN, PLAIN.replace(",2,", ",002,").replace(",1,", ",001,")),
    "long digits": (PLAIN, PLAIN.replace(",2,", f",{10**19},").replace(",1,", f",{10**19 + 1},")),
    "words among numbers": (PLAIN, PLAIN.replace("0.25", "NA")),
    "texts that are numbers": (PLAIN, PLAIN.replace("run", "1").replace("idle", "2")),
    "texts that are flags": (PLAIN, PLAIN.replace("run", "true").replace("idle", "false")),
    "an empty column that is not": (PLAIN.replace("run", "").replace("idle", ""), PLAIN),
    "offsets": (PLAIN, PLAIN.replace(":00,", ":00Z,").replace(":01,", ":01Z,")),
    "finer times": (PLAIN, PLAIN.replace(":01,", ":01:00.123456,")),
    "another order of dates": (DAYS, DAYS.replace("13/02", "02/13").replace("14/02", "02/14")),
    "other letters": (PLAIN, PLAIN.replace("run", "Ä")),
    "groups beside a point": (
        PLAIN.replace("run", "n 1").replace("idle", "n 2"),
        PLAIN.replace("run", '"1,200"').replace("idle", '"2,300"'),
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_file_of_another_kind_is_looked_at_by_itself(name: str, tmp_path: Path) -> None:
    """A file in the middle that differs is read as by itself, and those behind it as before."""
    first, other = (t.encode("cp1252") if "Ä" in t else t for t in OTHERS[name])
    looked = Looked(tmp_path, first, other, first)
    assert looked.is_confirmed[0] is looked.is_confirmed[1] is False
    assert looked.is_confirmed[2]
    assert looked.dialects[1] == looked.alone[1] != looked.dialects[0]


ASKED: dict[str, tuple[str, str, str]] = {
    "day or month": (DAYS, DAYS.replace("13/", "03/").replace("14/", "04/"), "day or the month"),
    "a fraction or a group": (
        DAYS,
        DAYS.replace("1,5", "1,200").replace("0,25", "2,500"),
        "may be 1.2 or 1200",
    ),
    "two times": (
        PLAIN.replace("time", "t1"),
        PLAIN.replace("time", "t1").replace("run", "2024/03/01").replace("idle", "2024/03/02"),
        "all hold times",
    ),
}


@pytest.mark.parametrize("name", ASKED)
def test_a_file_that_has_two_readings_asks(name: str, tmp_path: Path) -> None:
    """What a file before it showed does not decide how an ambiguous one is read."""
    first, other, told = ASKED[name]
    with pytest.raises(FrameError, match=told):
        Looked(tmp_path, first, other)


DOTS = "time;a\n{}.{}.2024 08:00;1,5\n{}.{}.2024 08:00;0,25\n"
MONTH_FIRST, OPEN = DOTS.format("02", 13, "02", 14), DOTS.format("02", "03", "02", "04")


@pytest.mark.parametrize("contents", [(MONTH_FIRST, OPEN), (OPEN, MONTH_FIRST)])
def test_beside_a_month_before_a_dot_dates_with_dots_are_asked_about(
    contents: tuple[str, str], tmp_path: Path
) -> None:
    """Dates with dots have the day first, but are asked about where other files' have the month."""
    for i, content in enumerate(contents):
        write(tmp_path, content, f"f{i}.csv")
    files, _ = find_files(str(tmp_path))
    place = parse_target("root.forms.d")
    errors = [one.error for one in survey(files, FileOptions(), WriteOptions(), None, place).files]
    at = contents.index(OPEN)
    assert errors[1 - at] is None
    assert f"f{at}.csv: times like '02.03.2024 08:00' may have the day" in str(errors[at])
    said = FileOptions(csv={"day_first": False})
    for one in survey(files, said, WriteOptions(), None, place).files:
        assert one.error is None
        assert one.dialect is not None
        assert one.dialect.time_format == "%m.%d.%Y %H:%M"


def test_a_stand_in_is_each_files_own(tmp_path: Path) -> None:
    """-999 is missing in the file where it stands out, and a value in the one where it does not."""
    rows = [f"2024-03-01 08:{i:02},{i},0.5,x" for i in range(40)]
    gaps = [f"2024-03-01 09:{i:02},-999,0.5,x" for i in range(5)]
    near = [f"2024-03-01 10:{i:02},{-1000 + i},0.5,x" for i in range(40)]
    contents = (HEAD + "\n".join(part) + "\n" for part in (rows + gaps, rows, rows + gaps + near))
    looked = Looked(tmp_path, *contents)
    assert looked.is_confirmed == [False, True, True]
    assert [d.sentinels for d in looked.dialects] == [{"a": (-999.0,)}, {}, {}]


def test_files_of_one_kind_have_one_plan(tmp_path: Path) -> None:
    """Of many files of one kind the types are known, one plan is made, and other files count."""
    contents = [PLAIN] * 5 + [PLAIN.replace(",2,", ",2.5,")] + [PLAIN] * 5
    for i, content in enumerate(contents):
        write(tmp_path, content, f"f{i}.csv")
    files, _ = find_files(str(tmp_path))
    found = survey(files, FileOptions(), WriteOptions(), None, parse_target("root.forms.d"))
    assert found.problems == []
    assert {kind.name for kind in found.agreed.values()} == {"DOUBLE"}
    assert [one.plan is not None for one in found.files] == [True] + [False] * 4 + [True] + [
        False
    ] * 5
    assert all(one.dialect.types["a"] == "double" for one in found.files if one.dialect)
