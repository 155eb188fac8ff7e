"""CSV files as people have them, into a real server: what they mean is what is stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import iotdb_frames as iotf
from iotdb_frames.client.connection import Connection
from iotdb_frames.codec.names import parse_target
from iotdb_frames.errors import FrameError
from iotdb_frames.files.options import FileOptions
from iotdb_frames.files.sources import find_files
from iotdb_frames.files.writing import plan_file
from iotdb_frames.options import write_options


class Desk:
    """Files of a test, and where they go."""

    def __init__(self, folder: Path, database: str, connection: Connection) -> None:
        self.folder, self.connection = folder, connection
        self.target = f"root.{database}.d"

    def backfill(self, content: str | bytes, **options: Any) -> Any:
        """A file of this content into the target."""
        file = self.folder / "f.csv"
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        manifest = self.folder / f"{len(list(self.folder.iterdir()))}.sqlite"
        return iotf.backfill(
            file, self.target, manifest=manifest, connection=self.connection, **options
        )

    def stored(self) -> pd.DataFrame:
        """What is there."""
        return iotf.read(self.target, connection=self.connection)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was made."""
        return bool(iotf.show("timeseries", f"{self.target}.**", connection=self.connection).empty)


@pytest.fixture
def desk(tmp_path: Path, database: str, connection: Connection) -> Desk:
    """The test's own."""
    return Desk(tmp_path, database, connection)


def test_a_counter_with_groups_is_stored_as_counted(desk: Desk) -> None:
    """1.200 beside 0,25, with units and trailing delimiters, is 1200 in the server."""
    report = desk.backfill(
        "Gerät;PLC 7\nZeit;Druck;Zähler\n;bar;%\n"
        "01.03.2024 08:00;0,25;998;\n01.03.2024 08:01;0,5;1.200;\n31.03.2024 08:02;12;1.201;\n"
    )
    assert report.is_complete
    found = desk.stored()
    assert found["Zähler"].tolist() == [998, 1200, 1201]
    assert found["Druck"].tolist() == [0.25, 0.5, 12.0]


def test_nothing_is_sent_of_what_may_be_a_thousand_off(desk: Desk) -> None:
    """A file of nothing but 1.200 is asked about before anything is made; the answer is heeded."""
    content = "time;n\n2024-03-01 08:00;1.200\n2024-03-01 08:01;1.300\n"
    with pytest.raises(FrameError, match=r"may be 1\.2 or 1200"):
        desk.backfill(content)
    assert desk.is_empty
    desk.backfill(content, csv={"thousands": "."})
    assert desk.stored()["n"].tolist() == [1200, 1300]


def test_namibia_is_not_missing(desk: Desk) -> None:
    """A device and a text that are called NA are stored, where NA is a missing number."""
    report = desk.backfill(
        "time,site,country,v\n2024-03-01 08:00,a,NA,1.5\n2024-03-01 08:01,a,NA,NA\n"
        "2024-03-01 08:02,NA,DE,2.5\n",
        device="site",
        verify="values",
    )
    assert (report.is_complete, report.rows_written, report.rows_empty) == (True, 3, 0)
    target = desk.target
    found = iotf.read(f"{target}.a", connection=desk.connection)
    assert found["country"].tolist() == ["NA", "NA"]
    assert iotf.read(f"{target}.NA", connection=desk.connection)["v"].tolist() == [2.5]


def test_digits_go_into_what_is_text_on_the_server(desk: Desk) -> None:
    """Numbers of a column that the server has as texts are stored digit by digit."""
    for name, kind in (("code", "STRING"), ("note", "TEXT")):
        iotf.execute(f"CREATE TIMESERIES {desk.target}.{name} {kind}", connection=desk.connection)
    content = "time,code,note\n2024-03-01 08:00,123,5.50\n2024-03-01 08:01,456,6\n"
    assert desk.backfill(content, verify="values").is_complete
    found = desk.stored()
    assert found["code"].tolist() == ["123", "456"]
    assert found["note"].tolist() == ["5.50", "6"]
    file = desk.folder / "f.csv"
    plan = iotf.plan_backfill(file, desk.target, connection=desk.connection)
    assert not any(write.problems for _, write in plan.writes)


def test_counts_are_times_where_the_server_has_times(desk: Desk) -> None:
    """Whole numbers for a TIMESTAMP count what the file's times count; otherwise it is asked."""
    iotf.execute(f"CREATE TIMESERIES {desk.target}.seen TIMESTAMP", connection=desk.connection)
    with pytest.raises(FrameError, match="time_unit does not say what they count"):
        desk.backfill("time,seen\n2024-03-01 08:00,1564388230\n2024-03-01 08:01,1564388231\n")
    report = desk.backfill("ts,seen\n1,1564388230\n2,1564388231\n", time="ts", time_unit="s")
    assert report.is_complete
    wanted = pd.to_datetime([1564388230, 1564388231], unit="s")
    assert (pd.DatetimeIndex(desk.stored()["seen"]) == wanted).all()


def test_plans_show_what_will_be_stored(desk: Desk) -> None:
    """The plan of a backfill, and of one file, shows guesses and values before and after."""
    file = desk.folder / "f.csv"
    file.write_text("time;a;n\n2024-03-01 08:00;0,25;998\n2024-03-01 08:01;0,5;1.200\n")
    plan = iotf.plan_backfill(file, desk.target, connection=desk.connection)
    how = write_options({})
    (source,), _ = find_files(str(file))
    goal = parse_target(desk.target)
    one = plan_file(source, goal, desk.connection, options=FileOptions.of(how), write=how)
    for card in (plan.card(), one.card()):
        for text in ("decimal    ',' (as in 0,25)", "'1.200'", "1200", "header     line 1"):
            assert text in card.text()
        assert "1.200 is 1200" in card.html()
    assert desk.is_empty


def test_a_plan_shows_the_whole_question(desk: Desk) -> None:
    """What cannot be told is asked by the plan, with both readings and their options."""
    file = desk.folder / "f.csv"
    file.write_text("time;n\n2024-03-01 08:00;1.200\n2024-03-01 08:01;1.300\n")
    plan = iotf.plan_backfill(file, desk.target, connection=desk.connection)
    text = " ".join(plan.card().text().split())
    assert plan.card().status == "bad"
    assert 'csv={"decimal": "."} reads 1.2, csv={"decimal": ","} reads 1200' in text
