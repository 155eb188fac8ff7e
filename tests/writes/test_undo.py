"""`delete` and `drop` tell what they took, and raise where there is nothing of that name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd
import pytest

import iotdb_frames as iotf
from iotdb_frames.client.connection import Connection
from iotdb_frames.options import ConnectionOptions
from iotdb_frames.server import LocalServer

INDEX = pd.date_range("2024-03-01", periods=3, freq="1s", name="time")
FRAME = pd.DataFrame({"temp": [1.0, 2.0, 3.0], "state": ["a", "b", "c"]}, INDEX)


@pytest.fixture
def press(device: str, connection: Connection) -> str:
    """A device with `FRAME`."""
    iotf.write(FRAME, f"{device}.press1", connection=connection)
    return f"{device}.press1"


def test_a_delete_tells_series_and_range(press: str, connection: Connection) -> None:
    """The report has the series and the first tick that went and that stayed."""
    report = iotf.delete(press, columns=["temp"], start=INDEX[1], connection=connection)
    assert report.series == (f"{press}.temp",)
    assert (report.n_series, report.start, report.end) == (1, 1709251201000, None)
    assert "2024-03-01T00:00:01.000Z" in repr(report)
    assert iotf.read(press, connection=connection)["temp"].count() == 1
    report = iotf.delete(press, connection=connection)
    assert sorted(report.series) == [f"{press}.state", f"{press}.temp"]
    assert iotf.read(press, connection=connection).empty


def test_a_drop_tells_series(press: str, device: str, connection: Connection) -> None:
    """The report has every series below the path."""
    report = iotf.drop(device, connection=connection)
    assert (report.did, report.n_series) == ("drop", 2)
    assert sorted(report.series) == [f"{press}.state", f"{press}.temp"]


def test_a_table(table: str, connection: Connection) -> None:
    """Of a table the report says that it was there."""
    iotf.write(FRAME, table, connection=connection)
    assert iotf.delete(table, end=INDEX[1], connection=connection).n_series == 1
    assert len(iotf.read(table, connection=connection)) == 2
    assert iotf.drop(table, connection=connection).n_series == 1
    assert iotf.drop(table, missing_ok=True, connection=connection).n_series == 0


@pytest.mark.parametrize(
    ("call", "near"),
    [
        (lambda p, c: iotf.delete(p, columns=["temp", "tmp"], connection=c), "'temp'"),
        (lambda p, c: iotf.delete(p.replace("press1", "pres1"), connection=c), "press1"),
        (lambda p, c: iotf.delete(p[:-1] + "2", columns=["temp"], connection=c), "press1"),
        (lambda p, c: iotf.delete(f"{p}.temp", connection=c), "press1"),
        (lambda p, c: iotf.drop(p.replace("shared", "shraed"), connection=c), "root.shared"),
        (lambda p, c: iotf.delete("shared.presses", connection=c), "press_table"),
        (lambda p, c: iotf.drop("shared.pres_table", connection=c), "press_table"),
        (lambda p, c: iotf.drop("sharde.press_table", connection=c), "shared"),
    ],
)
def test_names_that_are_not_there(
    press: str, connection: Connection, call: Callable[[str, Connection], Any], near: str
) -> None:
    """A name that fits nothing raises with the nearest names, and nothing is deleted."""
    iotf.write(FRAME, "shared.press_table", connection=connection)
    with pytest.raises(iotf.QueryError) as caught:
        call(press, connection)
    assert near in (caught.value.hint or "")
    assert iotf.read(press, connection=connection)["temp"].count() == 3
    assert len(iotf.read("shared.press_table", connection=connection)) == 3


def test_missing_names_may_be_passed_over(press: str, connection: Connection) -> None:
    """With missing_ok=True what is there goes, and the report says where there was nothing."""
    report = iotf.delete(press, columns=["temp", "nothing"], missing_ok=True, connection=connection)
    assert report.series == (f"{press}.temp",)
    assert iotf.read(press, connection=connection)["temp"].count() == 0
    for call in (iotf.delete, iotf.drop):
        report = call(f"{press}.nothing", missing_ok=True, connection=connection)
        assert report.n_series == 0
        assert "nothing of that name" in repr(report)


def test_an_alias_is_its_series(device: str, connection: Connection) -> None:
    """Values are deleted by an alias as by the series' own name."""
    sql = f"CREATE ALIGNED TIMESERIES {device}(temp(warmth) DOUBLE)"
    iotf.execute(sql, model="tree", connection=connection)
    iotf.write(FRAME[["temp"]], device, connection=connection)
    report = iotf.delete(device, columns=["warmth"], connection=connection)
    assert report.series == (f"{device}.temp",)
    assert iotf.read(device, connection=connection).empty


@pytest.fixture
def blind(server: LocalServer, connection: Connection, device: str) -> Iterator[Connection]:
    """A connection whose user may write below `device`, and not look."""
    user, password = "blind_user", "a-long-Passw0rd"
    iotf.execute(f"CREATE USER {user} '{password}'", model="tree", connection=connection)
    sql = f"GRANT WRITE_DATA ON {device}.** TO USER {user}"
    iotf.execute(sql, model="tree", connection=connection)
    options = ConnectionOptions(hosts=server.options.hosts, user=user, password=password)
    with Connection(lambda: options, label=server.url) as opened:
        yield opened
    iotf.execute(f"DROP USER {user}", model="tree", connection=connection)


@pytest.mark.parametrize("columns", [["temp"], None])
def test_who_may_not_look(
    press: str, blind: Connection, connection: Connection, columns: list[str] | None
) -> None:
    """Who may delete and not see the series deletes, and the report says that none was seen."""
    report = iotf.delete(press, columns=columns, connection=blind)
    assert report.n_series is None
    assert "could not be seen" in repr(report)
    assert iotf.read(press, columns=["temp"], connection=connection)["temp"].count() == 0
