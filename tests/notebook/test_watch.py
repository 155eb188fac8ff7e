"""`watch`: the database's view, live."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from noting import Notes

import iotdb_frames as iotf
from clock import wait_until
from iotdb_frames.client.connection import Connection
from iotdb_frames.errors import OptionsError
from iotdb_frames.simulate.fleet import simulate_fleet

_numbers = itertools.count(1)


def _frame(start: str, n: int, **values: Any) -> pd.DataFrame:
    index = pd.date_range(start, periods=n, freq="s", unit="ms", name="time")
    return pd.DataFrame({"v": np.arange(n, dtype=float), **values}, index=index)


@pytest.fixture
def write(connection: Connection) -> Callable[..., Any]:
    """Writes into the session's server."""

    def call(frame: pd.DataFrame, target: str, **options: Any) -> None:
        iotf.write(frame, target, connection=connection, progress=False, **options)

    return call


def test_it_begins_with_the_newest_rows_and_follows(
    notes: Notes, connection: Connection, write: Callable[..., Any]
) -> None:
    """The last rows of what is there are shown at once, and each new row once."""
    target = f"root.watch.d{next(_numbers)}"
    write(_frame("2026-01-01", 1_000), target)
    follow = iotf.watch(target, every=0.05, last="100s", connection=connection)
    wait_until(lambda: follow.n_rows == 101)  # the newest, and those of the 100 s before it
    write(_frame("2026-01-01 00:16:40", 50), target)
    wait_until(lambda: follow.n_rows == 151)
    time.sleep(0.3)
    assert follow.n_rows == 151
    follow.stop()
    assert follow.card().grids[0].rows[0][:4] == ("v", "", 151, 49.0)
    follow.close()


def test_what_came_last_is_drawn_when_stop_returns(
    notes: Notes, connection: Connection, write: Callable[..., Any]
) -> None:
    """Rows since the last query are asked for by stop, and are in the chart after it."""
    target = f"root.watch.d{next(_numbers)}"
    write(_frame("2026-01-01", 5), target)
    follow = iotf.watch(target, every="1h", connection=connection)
    wait_until(lambda: follow.n_rows == 5)
    write(_frame("2026-01-01 00:00:05", 5), target)
    follow.stop()
    rows = follow.feed.replay().rows
    assert rows is not None
    assert len(rows) == follow.n_rows == 10
    assert not follow.view.is_alive
    follow.close()


def test_late_rows_and_changed_cells_are_seen(
    notes: Notes, connection: Connection, write: Callable[..., Any]
) -> None:
    """A row that comes late is drawn in its place, a cell written again as it is now."""
    target = f"root.watch.d{next(_numbers)}"
    write(_frame("2026-01-01", 10).drop(pd.Timestamp("2026-01-01 00:00:08")), target)
    follow = iotf.watch(target, every=0.5, connection=connection)
    wait_until(lambda: follow.n_rows == 9)
    write(_frame("2026-01-01 00:00:07", 2) * 0 + 70, target)
    wait_until(lambda: follow.n_rows == 11)  # one new, one changed
    follow.stop()
    rows = follow.feed.replay().rows
    assert rows is not None
    assert rows.values[0].tolist() == [0, 1, 2, 3, 4, 5, 6, 70, 70, 9]
    follow.close()


def test_what_is_not_there_yet_is_waited_for(
    notes: Notes, connection: Connection, write: Callable[..., Any]
) -> None:
    """A target without a series is no error; its rows are shown when they come, in both models."""
    number = next(_numbers)
    for target in (f"root.watch.d{number}", f"watched.d{number}"):
        follow = iotf.watch(target, every=0.05, connection=connection)
        time.sleep(0.3)
        assert not follow.view.widget.state["error"]
        assert follow.n_rows == 0
        write(_frame("2026-01-01", 5), target)
        wait_until(lambda follow=follow: follow.n_rows == 5)
        follow.close()


def test_devices_are_told_apart(
    notes: Notes, connection: Connection, write: Callable[..., Any]
) -> None:
    """Below a prefix and in a table the lines are of devices."""
    prefix, table = f"root.watch.p{next(_numbers)}", f"watched.t{next(_numbers)}"
    tree = simulate_fleet(3, duration="10s")
    tagged = simulate_fleet(3, duration="10s", model="table")
    write(tree.frame(), prefix, device="device")
    write(tagged.frame(), table, tags=list(tagged.tags))
    for target in (prefix, table):
        follow = iotf.watch(target, every=0.1, connection=connection)
        wait_until(lambda follow=follow: follow.n_rows == 30)
        follow.stop()
        names = {line.name.split()[0] for line in follow.feed.lines.series}
        assert names == {"press0001", "press0002", "press0003"}
        follow.close()


def test_pause_asks_no_more_and_resume_catches_up(
    notes: Notes, connection: Connection, write: Callable[..., Any]
) -> None:
    """What was written meanwhile is shown after the pause."""
    target = f"root.watch.d{next(_numbers)}"
    write(_frame("2026-01-01", 5), target)
    follow = iotf.watch(target, every=0.05, connection=connection)
    wait_until(lambda: follow.n_rows == 5)
    follow.pause()
    time.sleep(0.2)
    write(_frame("2026-01-01 00:01", 5), target)
    time.sleep(0.3)
    assert follow.n_rows == 5
    follow.resume()
    wait_until(lambda: follow.n_rows == 10)
    follow.close()


def test_a_server_that_is_gone_is_said_and_asked_again(notes: Notes) -> None:
    """Nobody there: the reason in words, and no thread that dies of it."""
    nobody = iotf.connect("iotdb://root:root@127.0.0.1:1")
    follow = iotf.watch("root.a.b", every=0.05, connection=nobody)
    wait_until(lambda: "127.0.0.1:1" in follow.view.widget.state["error"])
    assert follow.view.widget.state["word"] == "watching"
    follow.close()


@pytest.mark.parametrize("wrong", [{"every": 0}, {"last": "-1s"}])
def test_spans_must_be_spans(notes: Notes, connection: Connection, wrong: dict[str, Any]) -> None:
    """No time between queries, or none to look back, is refused."""
    with pytest.raises(OptionsError):
        iotf.watch("root.a.b", connection=connection, **wrong)


def test_devices_below_a_prefix_have_lines_of_what_they_measure(
    notes: Notes, connection: Connection, write: Callable[..., Any]
) -> None:
    """A pattern is a target as for `read`, and what has no values is not drawn."""
    prefix = f"root.watch.d{next(_numbers)}"
    write(_frame("2026-01-01", 5).assign(w=np.nan), f"{prefix}.a", schema={"w": "DOUBLE"})
    write(_frame("2026-01-01", 5).rename(columns={"v": "x"}), f"{prefix}.b")
    follow = iotf.watch(f"{prefix}.**", every=0.05, connection=connection)
    wait_until(lambda: follow.n_rows == 10)
    follow.stop()
    assert sorted(s.name for s in follow.feed.lines.series) == ["a v", "b x"]
    assert len(follow.feed.lines.lanes) == 2
    follow.close()
