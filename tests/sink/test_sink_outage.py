"""The sink when the server, the process or the caller ends: what was acknowledged is stored, and
what was taken is not lost."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from clock import PATIENCE_S, wait_until
from iotdb_frames.client.connection import Connection
from iotdb_frames.client.pool import SessionPool
from iotdb_frames.errors import OptionsError, PartialWriteError, PoolClosed, SinkFull
from iotdb_frames.options import RetryPolicy
from iotdb_frames.server import LocalServer
from iotdb_frames.sink.options import IoTDBOptions
from iotdb_frames.sink.sink import IoTDBSink
from iotdb_frames.wire.answers import Model
from proxy import Proxy
from sinks import T0, options_of, stored


class Road(Proxy):
    """The way to the server, which can be blocked: what was on it is cut, and nobody gets in."""

    def block(self) -> None:
        self.is_closed.set()
        self.cut_after = 0

    def clear(self) -> None:
        self.cut_after = None
        self.is_closed.clear()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """The server takes what is sent for the length of a block, and answers after it."""
        self.is_held.set()
        try:
            yield
        finally:
            self.is_held.clear()


@pytest.fixture
def road(server: LocalServer) -> Iterator[Road]:
    """A way to the session's server."""
    made = Road(server.port)
    yield made
    made.close()


@pytest.fixture
def options(server: LocalServer, road: Road, database: str) -> IoTDBOptions:
    """The test's database, by way of `road`."""
    return options_of(server, database, port=road.port)


def row(i: int, device: str = "d1", **values: Any) -> dict[str, Any]:
    """One row."""
    return {"device": device, "timestamp": T0 + i, **(values or {"v": i})}


def silent_port() -> int:
    """A port on which nothing is listening."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def mortal() -> Iterator[LocalServer]:
    """A server of this module's own, to stop and to kill; it acknowledges what is on the disk."""
    with LocalServer(durable=True) as running:
        yield running


@pytest.mark.parametrize("way", ["stopped", "killed"])
def test_a_server_that_goes_away(way: str, mortal: LocalServer) -> None:
    """Stopped or killed in mid-stream and started again, it has every row that was sent."""
    database = f"root.{way}"
    is_back = threading.Event()
    acked_when_down: list[int] = []

    def interrupt() -> None:
        while sink.stats.acknowledged < 2_000:
            time.sleep(0.01)
        if way == "killed":
            mortal.kill()
            time.sleep(0.5)
            acked_when_down.append(sink.stats.acknowledged)
            mortal.start()
        else:
            mortal.restart()
        is_back.set()

    sent: dict[str, dict[int, float]] = {}
    tickets = []
    options = options_of(mortal, database)
    with IoTDBSink(options, batch_size=500, flush_interval_s=0.1, max_pending="8MB") as sink:
        trouble = threading.Thread(target=interrupt)
        trouble.start()
        i = 0
        while not is_back.is_set() or i < 10_000:
            device, time_ = f"d{i % 7}", i // 7 % 20_000
            tickets.append(sink.send(row(time_, device, v=i)))
            sent.setdefault(f"{database}.{device}.v", {})[T0 + time_] = i
            if i % 50 == 0:
                values = np.arange(i, i + 20) * 0.5
                index = pd.to_datetime(np.arange(T0 + i, T0 + i + 20), unit="ms")
                sink.send(pd.DataFrame({"f": values, "device": "wide"}, index=index))
                times = range(T0 + i, T0 + i + 20)
                sent.setdefault(f"{database}.wide.f", {}).update(
                    zip(times, values.tolist(), strict=True)
                )
            i += 1
            if i % 200 == 0:
                time.sleep(0.01)
        trouble.join()
        sink.flush(120)
        stats = sink.stats
    assert all(ticket.acked for ticket in tickets)
    assert stats.retried > 0
    assert (stats.rejected, stats.dropped, stats.queued) == (0, 0, 0)
    assert stored(mortal, f"{database}.**") == sent
    if way == "killed":
        assert acked_when_down[0] < stats.acknowledged


def test_what_was_acknowledged_survives_a_kill(mortal: LocalServer) -> None:
    """What has a ticket that says so when the server is killed is there when it is back."""
    sink = IoTDBSink(options_of(mortal, "root.acked"), batch_size=100, flush_interval_s=0.01)
    tickets = {}
    stop = threading.Event()

    def feed() -> None:
        for i in count():
            tickets[i] = sink.send(row(i))
            if stop.is_set():
                return
            if i % 100 == 0:
                time.sleep(0.005)

    sink.open()
    feeder = threading.Thread(target=feed)
    feeder.start()
    while sink.stats.acknowledged < 2_000:
        time.sleep(0.01)
    mortal.kill()
    acked = {i for i, ticket in tickets.copy().items() if ticket.acked}
    time.sleep(0.5)
    stop.set()
    feeder.join()
    with pytest.raises(PartialWriteError, match="not acknowledged; last trouble"):
        sink.close(0.5)
    mortal.start()
    assert len(acked) >= 2_000
    got = stored(mortal, "root.acked.d1")["root.acked.d1.v"]
    assert [i for i in acked if got.get(T0 + i) != i] == []
    with pytest.raises(PoolClosed, match="closed before"):
        tickets[max(tickets)].wait(1)


def pool_of(sink: IoTDBSink, model: Model) -> SessionPool:
    """A sink's own pool."""
    assert sink._box is not None
    return sink._box._connection.pool(model)


@pytest.mark.parametrize("model", ["tree", "table"])
def test_no_row_lacks_a_session(
    server: LocalServer, road: Road, connection: Connection, database: str, model: Model
) -> None:
    """While the server is frozen, what each lane sends and what it asks for the next rows wait side
    by side, each in a session of its own: nothing is refused, and nothing waits for a session."""
    name = database.removeprefix("root.")
    target = {"table": f"{name}.t", "tags": ["device"]}
    options = IoTDBOptions(
        url=f"iotdb://root@127.0.0.1:{road.port}?connect_timeout_s=300&pool_timeout_s=0.1",
        password=str(server.options.password),
        **({"storage_group": database} if model == "tree" else target),
    )
    devices = [f"d{i}" for i in range(16)]  # some on each lane
    with IoTDBSink(options, session_pool_size=2) as sink:
        sink.send([row(0, device) for device in devices])
        sink.flush(PATIENCE_S)
        pool = pool_of(sink, model)
        before = pool.stats.checkouts

        def n_asked() -> int:
            return pool.stats.checkouts - before + pool.stats.timeouts

        with road.frozen():
            sink.send([row(1, device) for device in devices])
            wait_until(lambda: n_asked() == 2)
            sink.send([row(2, device, new=1.5) for device in devices])
            wait_until(lambda: n_asked() == 4)
        sink.flush(PATIENCE_S)
        stats = sink.stats
    if model == "table":
        connection.run(lambda s: s.execute(f"DROP DATABASE {name}"), model="table")
    assert (stats.acknowledged, stats.rejected, pool.stats.timeouts) == (3 * len(devices), 0, 0)


def test_what_close_gives_up_is_not_refused(
    server: LocalServer, road: Road, connection: Connection, database: str, tmp_path: Path
) -> None:
    """Rows whose schema a frozen server is still asked for when a sink ends are not refused: nobody
    is told so, and they stay in the spool for the next start."""
    name = database.removeprefix("root.")
    options = options_of(server, None, port=road.port, table=f"{name}.t", tags=["device"])
    refused = []
    sink = IoTDBSink(options, spool=tmp_path, on_error=lambda rows, error: refused.append(error))
    sink.send(row(0)).wait(PATIENCE_S)
    pool = pool_of(sink, "table")
    before = pool.stats.checkouts
    with road.frozen():
        sink.send(row(1, new=1.5))
        wait_until(lambda: pool.stats.checkouts > before)
        with pytest.raises(PartialWriteError, match="1 row not acknowledged"):
            sink.close(0.1)
        wait_until(lambda: all(t.name != "iotdb-frames-sink" for t in threading.enumerate()))
    assert (refused, sink.stats.rejected) == ([], 0)
    with IoTDBSink(options, spool=tmp_path) as again:
        again.flush(PATIENCE_S)
        assert (again.stats.replayed, again.stats.acknowledged) == (1, 1)
    connection.run(lambda s: s.execute(f"DROP DATABASE {name}"), model="table")


CutOff = Callable[..., IoTDBSink]


@pytest.fixture
def cut_off(road: Road, options: IoTDBOptions) -> Iterator[CutOff]:
    """Makes a sink that worked, and whose server is away now."""
    made = []

    def make(**more: Any) -> IoTDBSink:
        sink = IoTDBSink(options, **more).open()
        made.append(sink)
        sink.send(row(0)).wait(60)
        road.block()
        return sink

    yield make
    road.clear()
    for sink in made:
        with suppress(PartialWriteError):
            sink.close(5)


def test_an_outage_may_last() -> None:
    """The wait before a try stays within its bound, however many went before."""
    policy = RetryPolicy(attempts=1 << 62, first_wait_s=0.1, longest_wait_s=2.0)
    assert [policy.wait_s(attempt, 1.0) for attempt in (0, 3, 10, 5_000)] == [0.1, 0.8, 2.0, 2.0]


def test_overflow_block(server: LocalServer, road: Road, cut_off: CutOff, database: str) -> None:
    """A full sink makes `send` wait, and lets it go on when there is room; nothing is lost."""
    sink = cut_off(batch_size=10, max_pending="50kB")
    n_sent = 0

    def feed() -> None:
        nonlocal n_sent
        for i in range(1000):
            sink.send(row(i))
            n_sent += 1

    feeder = threading.Thread(target=feed)
    feeder.start()
    feeder.join(1.0)
    assert feeder.is_alive()
    held = n_sent
    assert 10 < held < 500
    time.sleep(0.3)
    assert n_sent == held
    assert sink.stats.queued_bytes <= 50_000
    road.clear()
    feeder.join(60)
    assert n_sent == 1000
    sink.close()
    assert stored(server, f"{database}.d1")[f"{database}.d1.v"] == {T0 + i: i for i in range(1000)}


def test_cancelled_in_coroutines(road: Road, options: IoTDBOptions) -> None:
    """A `flush` or a `send` that is cancelled ends at once, and the rows taken go on."""

    async def feed() -> None:
        async with IoTDBSink(options, batch_size=10, max_pending="50kB") as face:
            await (await face.send(row(0)))
            road.block()
            n_sent = 1

            async def send_all() -> None:
                nonlocal n_sent
                while True:
                    await face.send(row(n_sent))
                    n_sent += 1

            sending = asyncio.create_task(send_all())
            while face.stats.queued_bytes < 48_000:
                await asyncio.sleep(0.001)
            flushing = asyncio.create_task(face.flush())
            await asyncio.sleep(0)
            for task in (sending, flushing):
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            assert face.stats.queued
            road.clear()
            await face.flush(60)
            assert face.stats.acknowledged == n_sent

    asyncio.run(feed())


def test_overflow_block_in_coroutines(road: Road, options: IoTDBOptions) -> None:
    """A full sink holds up the coroutine that sends, and no other."""

    async def feed() -> int:
        sink = IoTDBSink(options, batch_size=10, max_pending="50kB")
        n_sent = 0
        async with sink as face:
            await (await face.send(row(0)))
            road.block()

            async def send_all() -> None:
                nonlocal n_sent
                for i in range(500):
                    await face.send(row(i))
                    n_sent += 1

            task = asyncio.create_task(send_all())
            await asyncio.sleep(1.0)
            assert n_sent < 400
            road.clear()
            await task
        return n_sent

    assert asyncio.run(feed()) == 500


def test_overflow_raise(server: LocalServer, road: Road, cut_off: CutOff, database: str) -> None:
    """A full sink refuses an event and says why; what it took before stays taken."""
    sink = cut_off(batch_size=10, max_pending="50kB", overflow="raise")
    n_taken = 0

    def feed() -> None:
        nonlocal n_taken
        for i in range(1000):
            sink.send(row(i))
            n_taken += 1

    with pytest.raises(SinkFull, match=r"KiB wait for the server, of 48\.8 KiB"):
        feed()
    assert n_taken > 10
    road.clear()
    sink.flush(60)
    sink.close()
    got = stored(server, f"{database}.d1")[f"{database}.d1.v"]
    assert got == {T0 + i: i for i in range(n_taken)}


def test_overflow_drop_oldest(
    server: LocalServer,
    road: Road,
    cut_off: CutOff,
    database: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A full sink lets go of the rows that wait longest, counts them and tells their tickets."""
    sink = cut_off(batch_size=10, max_pending="200kB", overflow="drop_oldest")
    with caplog.at_level(logging.WARNING, "iotdb_frames.sink"):
        tickets = [sink.send(row(i, f"d{i % 3}")) for i in range(5000)]
    assert caplog.text.count("dropped for newer ones") < 5
    assert "dropped for newer ones" in caplog.text
    stats = sink.stats
    assert stats.queued_bytes <= 200_000
    assert stats.dropped > 3000
    assert stats.dropped + stats.queued == 5000
    dropped = [i for i, ticket in enumerate(tickets) if ticket.is_done]
    assert len(dropped) == stats.dropped == sink.device_stats()["dropped"].sum()
    assert tickets[-1].error is None
    with pytest.raises(SinkFull, match="1 row dropped"):
        tickets[dropped[0]].wait()
    road.clear()
    sink.close()
    got = stored(server, f"{database}.**")
    kept = [i for i, ticket in enumerate(tickets) if ticket.acked]
    assert sorted(kept + dropped) == list(range(5000))
    assert {t - T0 for values in got.values() for t in values} == {0, *kept}


def test_an_exception_does_not_hang(road: Road, cut_off: CutOff) -> None:
    """Out of a `with` block with an exception, and the server is away: it goes on at once."""

    def fail() -> None:
        with cut_off(batch_size=10) as sink:
            for i in range(100):
                sink.send(row(i))
            raise ZeroDivisionError

    begin = time.monotonic()
    with pytest.raises(ZeroDivisionError) as caught:
        fail()
    assert time.monotonic() - begin < PATIENCE_S  # the retries would last three times as long
    notes = getattr(caught.value, "__notes__", [])
    assert re.search("and the sink: 100 rows not acknowledged", "\n".join(notes))


def test_an_exception_still_delivers(road: Road, options: IoTDBOptions) -> None:
    """Out of a `with` block with an exception, and the server is there: all is stored."""
    sink = IoTDBSink(options, batch_size=1_000_000, flush_interval_s=600)

    def fail() -> Any:
        with sink:
            tickets.append(sink.send(row(0)))
            raise ZeroDivisionError

    tickets: list[Any] = []
    with pytest.raises(ZeroDivisionError):
        fail()
    assert tickets[0].acked


def test_flush_with_a_limit(road: Road, cut_off: CutOff) -> None:
    """A flush that takes too long says so, and what the trouble is; the rows stay on their way."""
    sink = cut_off(batch_size=10)
    ticket = sink.send(row(1))
    with pytest.raises(TimeoutError, match=r"1 row not .* last trouble: ."):
        sink.flush(1.0)
    with pytest.raises(TimeoutError):
        ticket.wait(0.1)
    road.clear()
    ticket.wait(60)
    sink.close()


def test_trouble_is_logged_once(
    road: Road, cut_off: CutOff, caplog: pytest.LogCaptureFixture
) -> None:
    """An outage is one warning, however often it is tried again, and one word when it is over."""
    caplog.set_level(logging.INFO, "iotdb_frames.sink")
    sink = cut_off(batch_size=1)
    sink.send(row(1))
    time.sleep(3)  # several tries
    road.clear()
    sink.close()
    said = [r.message for r in caplog.records if r.name == "iotdb_frames.sink"]
    assert len([m for m in said if "waiting for the server" in m]) == 1
    assert said[-1] == "the server takes rows again"


def test_an_unclosed_sink_warns(options: IoTDBOptions) -> None:
    """A sink that is collected unclosed warns, and still sends what waits in it."""
    sink = IoTDBSink(options, batch_size=1_000_000, flush_interval_s=600)
    ticket = sink.send(row(0))
    sinks = [sink]
    del sink
    with pytest.warns(ResourceWarning, match="was never closed"):
        sinks.clear()
    ticket.wait(60)
    wait_until(lambda: all(t.name != "iotdb-frames-sink" for t in threading.enumerate()))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        unused = IoTDBSink(options)
        del unused
        gc.collect()


def test_a_closed_sink_leaves_nothing(server: LocalServer, database: str) -> None:
    """No thread and no file of it is left after `close`."""

    def open_files() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    options = options_of(server, database)
    with IoTDBSink(options) as sink:
        sink.send(row(0))
    threads, files = threading.active_count(), open_files()
    for i in range(5):
        with IoTDBSink(options, session_pool_size=4) as sink:
            sink.send(row(i))
    assert (threading.active_count(), open_files()) == (threads, files)


def run(code: str, options: IoTDBOptions, *arguments: str) -> subprocess.Popen[str]:
    """A Python process with a sink's options as `options`."""
    head = f"""
        import logging, os, sys, time
        from iotdb_frames import IoTDBOptions, IoTDBSink
        options = IoTDBOptions(
            host="127.0.0.1", port={options.port}, password=os.environ["SINK_PASSWORD"],
            storage_group={options.storage_group!r},
        )
        T0 = {T0}
    """
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(head) + textwrap.dedent(code), *arguments],
        env={**os.environ, "SINK_PASSWORD": str(options.password)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_end_of_the_interpreter_drains(
    server: LocalServer, road: Road, options: IoTDBOptions, database: str
) -> None:
    """A script that ends without closing its sink has stored what it sent."""
    process = run(
        """
        sink = IoTDBSink(options, batch_size=1_000_000, flush_interval_s=600)
        for i in range(1000):
            sink.send({"device": "d1", "timestamp": T0 + i, "v": i})
        """,
        options,
    )
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    got = stored(server, f"{database}.d1")[f"{database}.d1.v"]
    assert got == {T0 + i: i for i in range(1000)}


def test_the_end_of_the_interpreter_has_a_limit(road: Road, options: IoTDBOptions) -> None:
    """With its server away a script ends all the same, in seconds, and says what is lost."""
    process = run(
        """
        sink = IoTDBSink(options, batch_size=10)
        sink.send({"device": "d1", "timestamp": T0, "v": 0}).wait(60)
        print("up", flush=True)
        sys.stdin.read()
        for i in range(100):
            sink.send({"device": "d1", "timestamp": T0 + i, "v": i})
        """,
        options,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    road.block()
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert "at the end of the interpreter: 100 rows not acknowledged" in errors


def test_a_fork_is_told_apart(road: Road, options: IoTDBOptions) -> None:
    """A forked process cannot use its parent's sink, and does not end it."""
    process = run(
        """
        sink = IoTDBSink(options)
        sink.send({"device": "d1", "timestamp": T0, "v": 0}).wait(60)
        if os.fork() == 0:
            try:
                sink.send({"device": "d1", "timestamp": T0, "v": 1})
            except Exception as exc:
                print(type(exc).__name__, exc.message, flush=True)
            sys.exit(0)
        os.wait()
        sink.send({"device": "d1", "timestamp": T0, "v": 2}).wait(60)
        sink.close()
        print("stored", flush=True)
        """,
        options,
    )
    out, errors = process.communicate(timeout=60)
    assert out.splitlines() == ["OptionsError this sink belongs to another process", "stored"]
    assert errors == ""


SPOOLED = """
sink = IoTDBSink(options, batch_size=50, flush_interval_s=0.01, spool=sys.argv[1])
for i in range(10**9):
    sink.send({"device": f"d{i % 3}", "timestamp": T0 + i % 300, "v": i})
    print(i, flush=True)
    if i % 100 == 0:
        time.sleep(0.005)
"""


@pytest.mark.parametrize("is_up", [True, False])
def test_the_spool_after_a_crash(
    is_up: bool,
    server: LocalServer,
    road: Road,
    options: IoTDBOptions,
    database: str,
    tmp_path: Path,
) -> None:
    """After SIGKILL of the process, every row that was taken is stored, and newer ones win."""
    spool = tmp_path / "spool"
    port = options.port if is_up else silent_port()
    elsewhere = IoTDBOptions(
        host="127.0.0.1", port=port, password=options.password, storage_group=database
    )
    process = run(SPOOLED, elsewhere, str(spool))
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) >= 3000:
            break
    process.send_signal(signal.SIGKILL)
    rest = process.stdout.read().split("\n")[:-1]
    last = int(rest[-1]) if rest else 3000
    process.communicate()

    with IoTDBSink(options, batch_size=1_000_000, flush_interval_s=600, spool=spool) as sink:
        # Newer values for times of the crashed process, sent before those are replayed.
        newer = [sink.send(row(i, f"d{i % 3}", v=-i)) for i in range(30)]
        sink.flush(60)
        stats = sink.stats
    assert all(ticket.acked for ticket in newer)
    assert 0 < stats.replayed <= last + 2
    assert stats.acknowledged == stats.replayed + 30
    assert (stats.rejected, stats.queued) == (0, 0)
    got = stored(server, f"{database}.**")
    for slot in range(300):
        value = got[f"{database}.d{slot % 3}.v"][T0 + slot]
        if slot < 30:
            assert value == -slot
        else:
            # The last of this slot that was told, or the one after, which may have been taken.
            expected = last - (last - slot) % 300
            assert value in (expected, last + 1)
    assert sorted(path.name for path in spool.iterdir()) == ["lock"]


def test_a_spool_waits_for_its_server(
    server: LocalServer, road: Road, options: IoTDBOptions, database: str, tmp_path: Path
) -> None:
    """With a spool a sink starts without its server, and delivers when that is there."""
    road.block()
    sink = IoTDBSink(options, batch_size=10, spool=tmp_path).open()
    tickets = [sink.send(row(i)) for i in range(100)]
    assert not any(ticket.acked for ticket in tickets)
    road.clear()
    tickets[-1].wait(60)
    sink.close()
    assert len(stored(server, f"{database}.d1")[f"{database}.d1.v"]) == 100


def test_a_spool_keeps_what_close_could_not_deliver(
    server: LocalServer,
    road: Road,
    cut_off: CutOff,
    options: IoTDBOptions,
    database: str,
    tmp_path: Path,
) -> None:
    """What `close` gives up is in the spool: the next sink stores it, whatever its lanes."""
    sink = cut_off(batch_size=10, spool=tmp_path)
    frame = pd.DataFrame(
        {"device": [f"d{i % 5}" for i in range(100)], "v": np.arange(100)},
        index=pd.to_datetime(np.arange(T0, T0 + 100), unit="ms"),
    )
    sink.send(frame)
    with pytest.raises(PartialWriteError, match="100 rows not acknowledged") as caught:
        sink.close(0.5)
    assert caught.value.hint == "they are in the spool, for the next start"
    road.clear()
    for _ in range(2):
        with IoTDBSink(options, session_pool_size=5, spool=tmp_path) as again:
            again.flush(60)
            n_replayed = again.stats.replayed
    assert n_replayed == 0
    got = stored(server, f"{database}.**")
    assert {t - T0: v for values in got.values() for t, v in values.items()} == {
        i: i for i in range(100)
    }


def test_a_spool_serves_one_sink(options: IoTDBOptions, tmp_path: Path) -> None:
    """Two sinks on one spool would replay each other's rows: the second is refused."""
    with (
        IoTDBSink(options, spool=tmp_path),
        pytest.raises(OptionsError, match="in use by another sink"),
    ):
        IoTDBSink(options, spool=tmp_path).open()


def test_refused_rows_leave_the_spool(options: IoTDBOptions, tmp_path: Path) -> None:
    """A row that can never be stored is reported once, and not replayed forever."""
    with IoTDBSink(options, spool=tmp_path, on_error=lambda rows, error: None) as sink:
        sink.send(row(0, v=1.5)).wait(60)
        sink.send(row(1, v="text"))
        sink.flush(60)
        assert sink.stats.rejected == 1
    with IoTDBSink(options, spool=tmp_path) as sink:
        assert sink.stats.replayed == 0
