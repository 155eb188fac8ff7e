"""Dates as times: the midnight of the connection's zone, wherever times go in."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from iotdb_frames.backfills.job import backfill
from iotdb_frames.client.connection import Connection
from iotdb_frames.errors import OptionsError, TimeIndexError
from iotdb_frames.reads.read import read
from iotdb_frames.server import LocalServer
from iotdb_frames.simulate.replay import replay
from iotdb_frames.sink.options import IoTDBOptions
from iotdb_frames.sink.sink import IoTDBSink
from iotdb_frames.writes.undo import delete
from iotdb_frames.writes.writer import write

ZONE = "Asia/Shanghai"
DAYS = [dt.date(2024, 3, 1), dt.date(2024, 3, 2)]
MIDNIGHTS = [pd.Timestamp(day, tz=ZONE) for day in DAYS]
VALUES = [1.0, 2.0]


@pytest.fixture(scope="module")
def shanghai(server: LocalServer) -> Iterator[Connection]:
    """A connection in a zone that is not the server's."""
    chosen = replace(server.options, time_zone=ZONE)
    with Connection(lambda: chosen, label="shanghai") as connection:
        yield connection


def days_of(connection: Connection, target: str) -> list[pd.Timestamp]:
    """The times that are stored."""
    return list(read(target, tz=ZONE, connection=connection).index)


def frames() -> dict[str, tuple[Any, dict[str, Any]]]:
    """The same rows in every form that dates have."""
    column = pd.DataFrame({"t": DAYS, "v": VALUES})
    return {
        "index": (pd.DataFrame({"v": VALUES}, index=pd.Index(DAYS)), {}),
        "named index": (column.set_index("t"), {}),
        "column": (column, {"time": "t"}),
        "category": (column.astype({"t": "category"}), {"time": "t"}),
        "date32[pyarrow]": (column.astype({"t": "date32[pyarrow]"}), {"time": "t"}),
        "date32[pyarrow] index": (column.astype({"t": "date32[pyarrow]"}).set_index("t"), {}),
        "date32": (pa.table({"time": pa.array(DAYS, pa.date32()), "v": VALUES}), {}),
        "date64": (pa.table({"time": pa.array(DAYS, pa.date64()), "v": VALUES}), {}),
        "a stream": (
            pa.table({"time": pa.array(DAYS, pa.date32()), "v": VALUES}).to_reader(),
            {},
        ),
    }


@pytest.mark.parametrize("form", frames())
@pytest.mark.parametrize("model", ["tree", "table"])
def test_dates_are_midnights(
    shanghai: Connection, device: str, table: str, form: str, model: str
) -> None:
    """A column or an index of dates holds the midnights of the connection's zone."""
    data, options = frames()[form]
    target = device if model == "tree" else table
    assert write(data, target, connection=shanghai, **options).rows_written == 2
    assert days_of(shanghai, target) == MIDNIGHTS


def test_a_level_of_dates_holds_the_times(shanghai: Connection, device: str) -> None:
    """Of an index with levels the one of dates is the time."""
    frame = pd.DataFrame({"t": DAYS, "g": ["x", "x"], "v": VALUES}).set_index(["t", "g"])
    write(frame, device, device="g", connection=shanghai)
    assert days_of(shanghai, f"{device}.x") == MIDNIGHTS


def test_what_is_wrong_with_a_date_names_its_row(shanghai: Connection, device: str) -> None:
    """A missing date, a midnight that the zone skips and a unit for dates are refused in words."""
    missing = pd.DataFrame({"t": [DAYS[0], None], "v": VALUES})
    with pytest.raises(TimeIndexError, match=r"row 1.*is missing"):
        write(missing, device, time="t", connection=shanghai)
    skipped = pd.DataFrame({"v": [1.0]}, index=pd.Index([dt.date(1940, 6, 1)]))
    with pytest.raises(TimeIndexError, match=r"row 0.*does not exist") as caught:
        write(skipped, device, connection=shanghai)
    assert f"pd.to_datetime(df.index).tz_localize('{ZONE}'" in (caught.value.hint or "")
    with pytest.raises(TimeIndexError) as caught:
        write(skipped, device, time_unit="ms", connection=shanghai)
    assert caught.value.hint == "time_unit= is for times that are numbers: leave it out"


@pytest.mark.parametrize("model", ["tree", "table"])
def test_dates_bound_a_read_and_a_delete(
    shanghai: Connection, device: str, table: str, model: str
) -> None:
    """start= and end= take a date for its midnight in the connection's zone."""
    target = device if model == "tree" else table
    write(pd.DataFrame({"v": VALUES}, index=pd.Index(DAYS)), target, connection=shanghai)
    assert read(target, start=DAYS[1], connection=shanghai)["v"].tolist() == [2.0]
    assert read(target, end=DAYS[1], connection=shanghai)["v"].tolist() == [1.0]
    delete(target, end=DAYS[1], connection=shanghai)
    assert days_of(shanghai, target) == MIDNIGHTS[1:]
    with pytest.raises(OptionsError):
        read(target, start=dt.time(1), connection=shanghai)


@pytest.mark.parametrize("is_named", [True, False])
@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_dates_of_a_file_are_midnights(
    shanghai: Connection, device: str, tmp_path: Path, suffix: str, is_named: bool
) -> None:
    """A backfill takes a column of dates for its times, also where none is named, and verifies."""
    path = tmp_path / f"days.{suffix}"
    table = pa.table({"day": pa.array(DAYS, pa.date32()), "v": VALUES})
    if suffix == "parquet":
        pq.write_table(table, path)
    else:
        table.to_pandas().to_csv(path, index=False)
    report = backfill(
        str(path),
        device,
        manifest=tmp_path / "days.sqlite",
        verify="values",
        connection=shanghai,
        **({"time": "day"} if is_named else {}),
    )
    assert report.is_complete
    assert days_of(shanghai, device) == MIDNIGHTS


def test_dates_of_a_recording_are_replayed(shanghai: Connection, device: str) -> None:
    """A recorded frame may have dates as its times."""
    frame = pd.DataFrame({"v": VALUES}, index=pd.Index(DAYS))
    replay(frame, speed=1e9).stream(to=device, connection=shanghai).run()
    assert days_of(shanghai, device) == MIDNIGHTS


def test_dates_of_events_are_midnights(
    server: LocalServer, shanghai: Connection, device: str
) -> None:
    """A sink takes a date as an event's time, of one row, of many and of a window."""
    password = server.options.password
    url = f"iotdb://root:{password}@127.0.0.1:{server.port}?time_zone={ZONE}"
    days = [*DAYS, dt.date(2024, 3, 3), dt.date(2024, 3, 4)]
    with IoTDBSink(IoTDBOptions(url=url)) as sink:
        sink.send({"device": device, "timestamp": days[0], "v": 1.0})
        window = pd.DataFrame({"v": VALUES, "device": device}, index=pd.Index(days[1:3]))
        sink.send(window)
        sink.send({"device": device, "timestamp": pd.Timestamp(days[3]), "v": 4.0})
        sink.flush()
    assert days_of(shanghai, device) == [pd.Timestamp(day, tz=ZONE) for day in days]
