"""What is new in the database: each row once, late and changed ones too, whatever happens."""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import random
import re
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from clock import PATIENCE_S, FakeClock, wait_until
from iotdb_frames.client.connection import Connection
from iotdb_frames.errors import ConnectionLost, OptionsError, PoolClosed, QueryError
from iotdb_frames.options import RetryPolicy
from iotdb_frames.reads import follow as home
from iotdb_frames.reads.follow import Follower, follow
from iotdb_frames.reads.sql import execute
from iotdb_frames.server import LocalServer
from iotdb_frames.writes.writer import write
from proxy import proxy_to

T0 = 1_767_225_600_000
"""2026-01-01 in ms."""
_numbers = itertools.count()


class Target:
    """A target of one kind, and how rows of two devices get there."""

    def __init__(self, kind: str, connection: Connection) -> None:
        name = f"{kind}{next(_numbers)}"
        self.kind = kind
        self.connection = connection
        self.place = f"follow.{name}" if kind == "table" else f"root.follow.{name}"
        self.name = f"{self.place}.m" if kind == "device" else self.place
        if kind == "pattern":
            self.name += ".**"

    def write(self, seconds: Any, value: float = 0.0, *, device: str = "m") -> None:
        """Rows at so many seconds after `T0`, with `value`, and the second in a column of texts."""
        ticks = T0 + np.asarray(seconds) * 1000
        index = pd.DatetimeIndex(ticks.astype(np.int64).view("M8[ms]"), name="time")
        texts = [str(second) for second in seconds]
        rows = pd.DataFrame({"v": float(value), "s": texts}, index=index)
        if self.kind == "table":
            write(rows.assign(id=device), self.place, tags=["id"], connection=self.connection)
        else:
            write(rows, f"{self.place}.{device}", connection=self.connection)


def seen(frame: pd.DataFrame | None) -> list[tuple[str, float, float]]:
    """Rows of a frame: device, seconds after `T0`, value."""
    if frame is None:
        return []
    assert len(frame)
    names = {"id", "device"} & set(frame.columns)
    devices = frame[names.pop()] if names else ["m"] * len(frame)
    seconds = (frame.index.asi8 - T0) / 1000
    assert frame["s"].tolist() == [f"{second:.10g}" for second in seconds]
    return sorted(zip(devices, seconds.tolist(), frame["v"].tolist(), strict=True))


@pytest.fixture(scope="module", autouse=True)
def databases(connection: Connection) -> Iterator[None]:
    """``root.follow`` and ``follow``."""
    for model, name in (("tree", "root.follow"), ("table", "follow")):
        execute(f"CREATE DATABASE {name}", model=model, connection=connection)
    yield
    for model, name in (("tree", "root.follow"), ("table", "follow")):
        execute(f"DROP DATABASE {name}", model=model, connection=connection)


@pytest.fixture(params=["device", "prefix", "pattern", "table"])
def target(request: pytest.FixtureRequest, connection: Connection) -> Target:
    """Each kind of target."""
    return Target(request.param, connection)


@pytest.fixture
def device(connection: Connection) -> Target:
    """One device."""
    return Target("device", connection)


def test_each_row_once(target: Target, connection: Connection) -> None:
    """New rows, late ones and changed ones come with the next look, and only with that."""
    target.write(range(5))
    with follow(target.name, lateness="10s", connection=connection) as frames:
        assert frames.look() is None
        target.write([5, 6])
        assert seen(frames.look()) == [("m", 5, 0), ("m", 6, 0)]
        assert frames.look() is None
        target.write([20, 22])
        assert [second for _, second, _ in seen(frames.look())] == [20, 22]
        target.write([12, 22], 7)
        assert seen(frames.look()) == [("m", 12, 7), ("m", 22, 7)]
        assert frames.look() is None
        target.write([12, 22], 7)  # the same again
        assert frames.look() is None


def test_rows_that_are_too_late(target: Target, connection: Connection) -> None:
    """A row is seen until the newest of the look before the last is `lateness` newer."""
    target.write([0])
    with follow(target.name, lateness="10s", connection=connection) as frames:
        target.write([100])
        assert seen(frames.look()) == [("m", 100, 0)]
        target.write([-9])  # 100 was not there yet when the last look began
        assert seen(frames.look()) == [("m", -9, 0)]
        target.write([80, 90])
        assert seen(frames.look()) == [("m", 90, 0)]
        assert frames.look() is None


def test_several_devices(connection: Connection) -> None:
    """Rows of devices that come at other times are told apart, and each is seen."""
    for kind in ("prefix", "pattern", "table"):
        target = Target(kind, connection)
        target.write([0], device="m")
        with follow(target.name, lateness="10s", connection=connection) as frames:
            target.write([1], device="n")
            assert seen(frames.look()) == [("n", 1, 0)]
            target.write([0], 5, device="n")
            target.write([3], device="m")
            assert seen(frames.look()) == [("m", 3, 0), ("n", 0, 5)]
            target.write([1], device="m")
            assert seen(frames.look()) == [("m", 1, 0)]
            assert frames.look() is None


@pytest.mark.parametrize(
    ("start", "first"),
    [
        ("begin", 0),
        ("2026-01-01 00:01", 60),
        (pd.Timestamp("2026-01-01 00:01:30"), 90),
        (T0 + 95_000, 95),
        (pd.Timedelta("20s"), 79),
        (pd.Timedelta("2s"), 97),
        (np.timedelta64(2, "s"), 97),
        ("2027-01-01", 100),
        ("now", 100),
    ],
)
def test_where_it_begins(target: Target, connection: Connection, start: Any, first: int) -> None:
    """It begins with what is there, what is there from a time on, or what comes from now on."""
    target.write(range(100))
    with follow(target.name, start=start, lateness="10s", connection=connection) as frames:
        found = []
        while frames.is_behind:
            found += seen(frames.look())
        found += seen(frames.look())
        assert [second for _, second, _ in found] == list(range(first, 100))
        target.write([100])
        assert [s for _, s, _ in seen(frames.look())] == [100] * bool(start != "2027-01-01")


def test_rows_before_a_start_are_not_new(device: Target, connection: Connection) -> None:
    """With a time to start at, no late row before it is handed over, and each after it is."""
    device.write(range(100))
    start = pd.Timestamp("2026-01-01 00:01:38.500")
    with follow(device.name, start=start, lateness="1min", connection=connection) as frames:
        assert [second for _, second, _ in seen(frames.look())] == [99]
        device.write([98, 98.6, 98.7])
        assert [second for _, second, _ in seen(frames.look())] == [98.6, 98.7]


def test_what_is_not_there_yet(target: Target, connection: Connection) -> None:
    """A target need not exist; all that comes is new, whatever its time."""
    with follow(target.name, connection=connection) as frames:
        assert frames.look() is None
        target.write([0, 100])
        assert seen(frames.look()) == [("m", 0, 0), ("m", 100, 0)]
        target.write([50])
        assert seen(frames.look()) == [("m", 50, 0)]
        assert frames.look() is None


def test_what_is_dropped_and_made_again(connection: Connection) -> None:
    """Rows that are deleted are not told of; a target that is made again goes on."""
    for kind in ("device", "table"):
        target = Target(kind, connection)
        target.write([0])
        with follow(target.name, connection=connection) as frames:
            if kind == "table":
                execute(f"DROP TABLE {target.place}", model="table", connection=connection)
            else:
                sql = f"DELETE TIMESERIES {target.place}.**"
                execute(sql, model="tree", connection=connection)
            assert frames.look() is None
            target.write([1], 8)
            assert seen(frames.look()) == [("m", 1, 8)]


def test_rows_that_were_away_are_not_new(connection: Connection) -> None:
    """Rows that an answer lacks for a while, as of a node that has not caught up, come once."""
    for kind in ("prefix", "table"):
        target = Target(kind, connection)
        with follow(target.name, connection=connection) as frames:
            target.write([0, 1], 5)
            assert len(seen(frames.look())) == 2
            end = f"time <= {T0 + 1000}"
            if kind == "table":
                sql = f"DELETE FROM {target.place} WHERE {end}"
                execute("FLUSH", model="tree", connection=connection)
                execute(sql, model="table", connection=connection)
            else:
                sql = f"DELETE FROM {target.place}.** WHERE {end}"
                execute(sql, model="tree", connection=connection)
            assert frames.look() is None
            target.write([0, 1, 2], 5)
            assert seen(frames.look()) == [("m", 2, 5)]


def test_a_new_column_changes_no_row(device: Target, connection: Connection) -> None:
    """A column that is added brings the rows that have a value in it, and no others."""
    device.write(range(5))
    with follow(device.name, connection=connection) as frames:
        execute(
            f"INSERT INTO {device.name}(time, w) VALUES ({T0 + 3000}, true)",
            model="tree",
            connection=connection,
        )
        found = frames.look()
        assert seen(found) == [("m", 3, 0)]
        assert found is not None
        assert found["w"].tolist() == [True]


def test_frames_are_those_of_read(connection: Connection) -> None:
    """Columns, conditions, zone and dtypes are those of `read`."""
    target = Target("table", connection)
    target.write([0])
    with follow(
        target.name,
        columns=["v"],
        where={"id": "m", "v": (">", 1)},
        tz="Asia/Tokyo",
        dtype_backend="numpy_nullable",
        connection=connection,
    ) as frames:
        target.write([1, 2], 5)
        target.write([3], 0.5)
        target.write([4], 9, device="n")
        found = frames.look()
        assert found is not None
        assert found.columns.tolist() == ["id", "v"]
        assert found["v"].tolist() == [5, 5]
        assert found["v"].dtype == pd.Float64Dtype()
        assert str(found.index.tz) == "Asia/Tokyo"
        assert found.attrs["iotdb"]["target"] == target.name


def test_history_comes_in_pieces(
    target: Target, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was there before comes in pieces of bounded size, oldest first, each row once."""
    target.write(range(0, 4000, 2))
    target.write(range(50_000, 58_000), device="m" if target.kind == "device" else "n")
    monkeypatch.setattr(home, "PIECE_BYTES", 20_000)
    rows: list[tuple[str, float, float]] = []
    n_frames = 0
    with follow(target.name, start="begin", connection=connection) as frames:
        for frame in frames:
            assert len(frame) < 2_000
            found = seen(frame)
            if rows:
                assert found[0][1] > max(second for _, second, _ in rows) - 1e-9
            rows += found
            n_frames += 1
            if len(rows) >= 10_000:
                break
        assert frames.look() is None
    assert n_frames > 5
    assert [s for _, s, _ in sorted(rows, key=lambda row: row[1])] == [
        *range(0, 4000, 2),
        *range(50_000, 58_000),
    ]


def test_rows_in_the_future_hide_none(device: Target, connection: Connection) -> None:
    """What is newest is at most the time of day, so that a clock set wrong hides no other rows."""

    class Set(FakeClock):
        """A clock that shows a quarter of an hour after `T0`."""

        def time_ns(self) -> int:
            return (T0 + 900_000) * 1_000_000

    with follow(device.name, lateness="10s", clock=Set(), connection=connection) as frames:
        device.write([890, 1_000_000])
        assert [second for _, second, _ in seen(frames.look())] == [890, 1_000_000]
        device.write([891])
        assert [second for _, second, _ in seen(frames.look())] == [891]
        device.write([892, 895])
        assert [second for _, second, _ in seen(frames.look())] == [892, 895]
        assert frames.look() is None


def test_looks_begin_at_even_intervals(device: Target, connection: Connection) -> None:
    """Between looks it waits for what is left of `every`; a late consumer does not wait."""
    clock = FakeClock(runs=True)
    device.write([0])
    with follow(
        device.name, every="2min", start="begin", clock=clock, connection=connection
    ) as frames:
        next(frames)
        assert clock.slept_s == []
        device.write([1])
        clock.advance(30)
        next(frames)
        assert clock.slept_s == [90]
        device.write([2])
        clock.advance(500)
        next(frames)
        assert clock.slept_s == [90]


@pytest.mark.parametrize("kind", ["prefix", "table"])
def test_writers_at_work(kind: str, connection: Connection) -> None:
    """Beside writers of many devices, out of order and late, every row comes exactly once."""
    target = Target(kind, connection)
    target.write([0], device="d0")
    n_rows, done = 400, threading.Event()
    failures: list[BaseException] = []

    def feed(number: int) -> None:
        dice = random.Random(number)
        order = sorted(range(1, n_rows + 1), key=lambda i: i + dice.uniform(0, 40))
        try:
            for at in range(0, n_rows, 10):
                target.write(order[at : at + 10], number, device=f"d{number}")
        except BaseException as exc:
            failures.append(exc)

    writers = [threading.Thread(target=feed, args=(number,)) for number in range(4)]

    def wait() -> None:
        for writer in writers:
            writer.join()
        done.set()

    rows: Counter[tuple[str, float, float]] = Counter()
    with follow(target.name, every=0.01, lateness="10min", connection=connection) as frames:
        for thread in (*writers, threading.Thread(target=wait)):
            thread.start()
        for frame in frames:
            rows.update(seen(frame))
            if done.is_set():
                break
        rows.update(seen(frames.look()))
    assert not failures
    wanted = {(f"d{d}", second, d) for d in range(4) for second in range(1, n_rows + 1)}
    assert set(rows) == wanted
    assert set(rows.values()) == {1}


def test_a_read_that_breaks_off(server: LocalServer, device: Target) -> None:
    """A connection that is cut in the middle of a look, again and again, loses and doubles none."""
    with proxy_to(server.port) as proxy:
        options = replace(server.options, hosts=(("127.0.0.1", proxy.port),), fetch_size=1_000)
        retry = RetryPolicy(first_wait_s=0.01, longest_wait_s=0.02)
        with (
            Connection(lambda: options, label="proxied", retry=retry) as made,
            follow(device.name, lateness="2h", connection=made) as frames,
        ):
            rows: list[tuple[str, float, float]] = []
            for at in range(0, 5_000, 1_000):
                device.write(range(at, at + 1_000))
                proxy.cut_after = 20_000 + at * 10
                mending = threading.Timer(0.2, lambda: setattr(proxy, "cut_after", None))
                mending.start()
                rows += seen(frames.look())
                mending.join()
            assert [second for _, second, _ in rows] == list(range(5_000))


def test_after_an_error_it_goes_on(server: LocalServer, device: Target) -> None:
    """A server that is away for longer than `retry` waits raises; the next frame misses nothing."""
    device.write([0])
    with proxy_to(server.port) as proxy:
        options = replace(server.options, hosts=(("127.0.0.1", proxy.port),))
        retry = RetryPolicy(attempts=2, first_wait_s=0.01)
        with (
            Connection(lambda: options, label="proxied", retry=retry) as made,
            follow(device.name, every=0.01, connection=made) as frames,
        ):
            proxy.is_closed.set()
            proxy.turn_to(server.port)
            for _ in range(3):
                with pytest.raises(ConnectionLost):
                    next(frames)
            device.write([1, 2])
            proxy.is_closed.clear()
            assert [second for _, second, _ in seen(next(frames))] == [1, 2]


def test_a_server_that_restarts() -> None:
    """Killed and started again while it is followed, a server is waited for; no row is missed."""
    with LocalServer(durable=True) as own, Connection(lambda: own.options, label="own") as made:
        target = Target("prefix", made)
        target.write([0])
        with follow(target.name, every=0.05, connection=made) as frames:
            target.write([1], 1)
            rows = seen(next(frames))
            own.kill()
            restarting = threading.Thread(target=own.start)
            writing = threading.Thread(target=target.write, args=([2], 1))
            for thread in (restarting, writing):
                thread.start()
            rows += seen(next(frames))
            for thread in (restarting, writing):
                thread.join()
        assert rows == [("m", 1, 1), ("m", 2, 1)]


def waiting(frames: Follower) -> bool:
    """Whether somebody waits for a frame of it."""
    return frames._lock.locked()


@pytest.mark.parametrize("every", [0.01, 3600])
def test_close_ends_it(device: Target, connection: Connection, every: float) -> None:
    """Closed by another thread, whoever waits for a frame gets none, and no error."""
    device.write([0])
    frames = follow(device.name, every=every, connection=connection)
    ends: list[Any] = []
    thread = threading.Thread(target=lambda: ends.append(list(frames)))
    thread.start()
    wait_until(lambda: waiting(frames))
    frames.close()
    thread.join(PATIENCE_S)
    assert ends == [[]]
    assert list(frames) == []
    assert "closed" in repr(frames)
    with pytest.raises(PoolClosed):
        frames.look()


def test_close_ends_a_wait_for_the_server(server: LocalServer, device: Target) -> None:
    """A close ends a look that a silent server does not answer, and one that is tried again."""
    device.write([0])
    with proxy_to(server.port) as proxy:
        options = replace(server.options, hosts=(("127.0.0.1", proxy.port),))
        with Connection(lambda: options, label="proxied") as made:
            for silence in (proxy.is_held, proxy.is_closed):
                frames = follow(device.name, every=0.01, connection=made)
                assert frames.look() is None
                silence.set()
                if silence is proxy.is_closed:
                    proxy.turn_to(server.port)
                n_before = proxy.n_sent + proxy.n_connections
                ends: list[Any] = []
                thread = threading.Thread(target=lambda f=frames, e=ends: e.append(list(f)))
                thread.start()
                wait_until(lambda n=n_before: proxy.n_sent + proxy.n_connections > n)
                frames.close()
                thread.join(PATIENCE_S)
                assert ends == [[]]
                silence.clear()


def test_closing_the_connection_ends_it(server: LocalServer, device: Target) -> None:
    """A connection that is closed ends who follows through it, with the error that says so."""
    device.write([0])
    with Connection(lambda: server.options, label="own") as made:
        frames = follow(device.name, every=3600, connection=made)
        assert frames.look() is None
        threading.Timer(0.1, made.close).start()
        with pytest.raises(PoolClosed):
            next(frames)
    frames.close()


def test_ctrl_c(device: Target, connection: Connection) -> None:
    """Ctrl-C ends the wait and leaves nothing behind; the next frame misses nothing."""
    device.write([0])
    with follow(device.name, every=0.2, connection=connection) as frames:

        def interrupt() -> None:
            wait_until(lambda: waiting(frames))
            os.kill(os.getpid(), signal.SIGINT)

        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            next(frames)
        thread.join()
        device.write([1])
        assert seen(next(frames)) == [("m", 1, 0)]
        assert set(re.findall(r"(\d+) lent", repr(frames._own))) == {"0"}


def test_in_coroutines(target: Target, connection: Connection) -> None:
    """It is an asynchronous iterator, too: the loop goes on, and a cancelled wait loses no row."""
    target.write([0])

    async def run() -> None:
        async with follow(target.name, every=0.01, connection=connection) as frames:
            for _ in range(5):
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.05):
                        await anext(frames)
            await asyncio.to_thread(target.write, [1, 2], 3)
            assert seen(await anext(frames)) == [("m", 1, 3), ("m", 2, 3)]
            writing = asyncio.create_task(asyncio.to_thread(target.write, [3]))
            async for frame in frames:
                assert seen(frame) == [("m", 3, 0)]
                break
            await writing
            waits = asyncio.create_task(anext(frames))  # type: ignore[arg-type]
            await asyncio.sleep(0.05)
            await frames.aclose()
            with pytest.raises(StopAsyncIteration):
                await waits

    asyncio.run(run())


def test_a_frame_that_nobody_got_comes_again(device: Target, connection: Connection) -> None:
    """Cancelled at any moment, also when its frame was just there, it hands each row over."""
    device.write([0])
    rows: Counter[float] = Counter()

    async def run() -> None:
        dice = random.Random(3)
        async with follow(device.name, every=0.001, connection=connection) as frames:
            for second in range(1, 60):
                await asyncio.to_thread(device.write, [second])
                task = asyncio.create_task(anext(frames))  # type: ignore[arg-type]
                await asyncio.sleep(dice.uniform(0, 0.02))
                task.cancel()
                with suppress(asyncio.CancelledError):
                    rows.update(s for _, s, _ in seen(await task))
            await asyncio.to_thread(device.write, [60])
            rows.update(s for _, s, _ in seen(await anext(frames)))

    asyncio.run(run())
    assert set(rows) == set(range(1, 61))
    assert set(rows.values()) == {1}


@pytest.mark.parametrize(
    "options",
    [
        {"every": 0},
        {"every": "-1s"},
        {"lateness": -1},
        {"lateness": "soon"},
        {"start": "then"},
        {"start": None},
        {"start": 1.5},
        {"tz": "Mars/Base"},
        {"dtype_backend": "polars"},
        {"columns": "v"},
        {"target": "root"},
    ],
)
def test_options_that_are_not_valid(
    connection: Connection, device: Target, options: dict[str, Any]
) -> None:
    """What cannot be followed is refused before the first frame."""
    options = {"target": device.name, **options}
    with pytest.raises(OptionsError):
        next(follow(connection=connection, **options))


def test_a_column_that_is_not_there(connection: Connection) -> None:
    """A misspelled column of a table that exists is refused, with the one that was meant."""
    target = Target("table", connection)
    target.write([0])
    with pytest.raises(QueryError, match="no 'vv'"):
        next(follow(target.name, columns=["vv"], connection=connection))


def test_an_iterator_that_is_forgotten(device: Target, connection: Connection) -> None:
    """A loop that is left without `close` leaves no session open."""
    device.write([0])
    pools = []
    for _ in (frames := follow(device.name, start="begin", connection=connection)):
        pools.append(frames._own.pool("tree"))
        break
    assert pools[0].n_sessions
    del frames
    gc.collect()
    assert not pools[0].n_sessions
