"""What a server has memory for, and what becomes of a query that finds none."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from clock import FakeClock
from iotdb_frames.client.connection import Connection
from iotdb_frames.errors import QueryError
from iotdb_frames.reads.cursor import NO_MEMORY, wait_for_memory
from iotdb_frames.reads.explain import explain
from iotdb_frames.reads.read import read
from iotdb_frames.reads.sql import run_sql
from iotdb_frames.server import LocalServer
from iotdb_frames.wire.answers import Model
from iotdb_frames.writes.writer import write

N_COLUMNS = 3000
INDEX = pd.date_range("2024-01-01", periods=20, freq="s", unit="ms", name="time")


def shape_at_once(connection: Connection, sql: str, model: Model = "tree") -> tuple[int, int]:
    """Rows and columns of one query, without its time, that is not tried a second time."""
    result = run_sql(connection, sql, model=model, memory_wait_s=0.0)
    assert result is not None
    table = result.to_arrow()
    return table.num_rows, table.num_columns - (model == "tree")


def test_wide_device(connection: Connection, database: str) -> None:
    """A local server reads 3,000 columns of one device by one query, and 300 for four clients."""
    values = np.arange(len(INDEX) * N_COLUMNS, dtype=float).reshape(len(INDEX), N_COLUMNS)
    frame = pd.DataFrame(values, index=INDEX, columns=[f"c{i}" for i in range(N_COLUMNS)])
    write(frame, f"root.{database}.wide", connection=connection)
    sql = f"SELECT * FROM root.{database}.wide"
    assert shape_at_once(connection, sql) == frame.shape

    def read_part(i: int) -> tuple[int, int]:
        names = ", ".join(frame.columns[i * 300 : (i + 1) * 300])
        return shape_at_once(connection, f"SELECT {names} FROM root.{database}.wide")

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(read_part, range(8))) == [(len(INDEX), 300)] * 8


def test_many_devices(connection: Connection, database: str) -> None:
    """A local server reads one series of each of 3,000 devices by one query."""
    frame = pd.DataFrame(
        {"v": np.arange(3000.0), "device": [f"d{i}" for i in range(3000)]},
        index=INDEX[:1].repeat(3000),
    )
    write(frame, f"root.{database}", device="device", connection=connection)
    assert shape_at_once(connection, f"SELECT v FROM root.{database}.*") == (1, 3000)


def test_small_sorts(connection: Connection, database: str) -> None:
    """A local server sorts a small table, and fills its gaps, for eight clients at once."""
    frame = pd.DataFrame({"time": INDEX[:9], "m": ["a", "b", "c"] * 3, "v": np.arange(9.0)})
    write(frame, f"{database}.t", time="time", tags=["m"], connection=connection)
    order = f"SELECT * FROM {database}.t ORDER BY v"
    gaps = (
        f"SELECT date_bin_gapfill(1s, time) AS t, m, avg(v) FROM {database}.t WHERE time >= "
        "2024-01-01T00:00:00 AND time < 2024-01-01T00:00:20 GROUP BY 1, m FILL METHOD LINEAR"
    )
    with ThreadPoolExecutor(8) as pool:
        shapes = list(pool.map(lambda sql: shape_at_once(connection, sql, "table"), [order] * 40))
    assert shapes == [(9, 3)] * 40
    with ThreadPoolExecutor(4) as pool:
        shapes = list(pool.map(lambda sql: shape_at_once(connection, sql, "table"), [gaps] * 8))
    assert shapes == [(60, 3)] * 8


@pytest.mark.parametrize("free_after_s", [0.0, 1.0, 2.5])
def test_memory_that_comes_free(free_after_s: float) -> None:
    """A query that finds no memory runs as soon as there is some, within 3 s."""
    clock = FakeClock(runs=True)

    def call() -> str:
        if clock.now() < 100.0 + free_after_s:
            raise QueryError("no memory", code=NO_MEMORY)
        return "rows"

    assert wait_for_memory(call, clock=clock) == "rows"
    assert clock.now() <= 100.0 + free_after_s + 0.8


def test_memory_that_does_not() -> None:
    """A query that never finds memory fails with the server's error within 3 s; others at once."""
    clock = FakeClock(runs=True)
    calls: list[int] = []

    def call(code: int) -> None:
        calls.append(code)
        raise QueryError("no", code=code)

    with pytest.raises(QueryError) as caught:
        wait_for_memory(lambda: call(NO_MEMORY), clock=clock)
    assert caught.value.code == NO_MEMORY
    assert len(calls) > 3
    assert 102.0 < clock.now() <= 103.0
    calls.clear()
    with pytest.raises(QueryError):
        wait_for_memory(lambda: call(701), clock=clock)
    assert calls == [701]


@pytest.mark.parametrize(
    ("sql", "remedy"),
    [
        ("SELECT * FROM root.a.d", "fewer columns or devices"),
        ("SELECT * FROM root.a.** ORDER BY TIME DESC", "fewer columns or devices"),
        ("SELECT * FROM t\nORDER  BY v", "sort the frame"),
        ("SELECT date_bin_gapfill(1s, time), avg(v) FROM t GROUP BY 1", "fill the gaps in Python"),
    ],
)
def test_hint_fits_the_query(sql: str, remedy: str) -> None:
    """The hint of a query without memory says what makes this one smaller."""
    hint = explain(QueryError("no memory", code=NO_MEMORY), sql, model="table").hint
    assert hint is not None
    assert remedy in hint


def test_wider_than_the_memory() -> None:
    """What a server has no memory to read at once comes in slices: the same frame, and limits."""
    stock = {"page_size_in_byte": str(64 << 10), "datanode_memory_proportion": "3:3:1:1:1:1"}
    numbers = np.arange(len(INDEX) * N_COLUMNS, dtype=float).reshape(len(INDEX), N_COLUMNS)
    numbers[numbers % 3 == 0] = np.nan
    numbers[5, : N_COLUMNS // 2] = np.nan  # a row that some slices do not have
    names = sorted(f"c{i}" for i in range(N_COLUMNS))
    frame = pd.DataFrame(numbers, index=pd.DatetimeIndex(INDEX, freq=None), columns=names)
    frame[names[0]] = pd.array([None, 2**53 + 1] * (len(INDEX) // 2), "Int64")
    fleet = pd.concat([frame[:15].assign(device="a"), frame[5:].assign(device="b")])
    with (
        LocalServer(properties=stock) as server,
        Connection(lambda: server.options, label="stock") as own,
    ):
        write(frame, "root.wide.d", connection=own)
        write(fleet, "root.fleet", device="device", connection=own)
        with pytest.raises(QueryError) as caught:
            shape_at_once(own, "SELECT * FROM root.wide.d")
        assert caught.value.code == NO_MEMORY
        found = read("root.wide.d", connection=own)
        assert_frame_equal(found, frame)
        assert list(found.attrs["iotdb"]["types"]) == names
        some = names[:1] + names[:0:-1]
        assert_frame_equal(
            read("root.wide.d", columns=some, limit=7, connection=own), frame[some][:7]
        )
        middle = float(frame[names[1]].median())
        found = read("root.wide.d", where={names[1]: (">", middle)}, connection=own)
        assert len(found) > 1
        assert_frame_equal(found, frame[frame[names[1]] > middle])
        assert_frame_equal(read("root.wide.d", limit=0, connection=own), frame[:0])
        found = read("root.fleet.**", connection=own)
        assert found["device"].tolist() == ["a"] * 15 + ["b"] * 15
        assert_frame_equal(found[names], fleet[names])
