"""Streams into the real server: what arrives is what was generated, whatever comes between."""

from __future__ import annotations

import math
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

import iotdb_frames as iotf
from clock import PATIENCE_S, wait_until
from dtypes import TEXT_DTYPE
from iotdb_frames.client.connection import Connection
from iotdb_frames.codec.names import parse_target
from iotdb_frames.errors import (
    ColumnTypeError,
    ConnectionLost,
    OptionsError,
    PartialWriteError,
)
from iotdb_frames.options import RetryPolicy, TimeseriesOption, TSEncoding, WriteOptions
from iotdb_frames.play.runner import Runner
from iotdb_frames.play.target import WindowWriter
from iotdb_frames.server import LocalServer
from iotdb_frames.simulate import signals as sg
from iotdb_frames.simulate.faults import KINDS, Fault
from iotdb_frames.simulate.fleet import simulate_fleet
from iotdb_frames.simulate.replay import replay
from iotdb_frames.simulate.sensors import Sensor
from iotdb_frames.simulate.source import SensorSource
from iotdb_frames.sink.options import IoTDBOptions
from iotdb_frames.sink.sink import IoTDBSink
from iotdb_frames.writes.schema import look
from proxy import Outage, proxy_to
from turned import TurnedClock

EVERY_FAULT = [
    Fault(kind, probability=0.02, duration=None if kind in ("spike", "dropout") else "2s")
    for kind in KINDS
]
ALL_TYPES = [
    Sensor("double", sg.sine(period_s=60) + sg.white_noise(std=0.1)),
    Sensor("float", sg.random_walk(step=0.1, low=-5, high=5), data_type="FLOAT"),
    Sensor("int32", sg.triangle(period_s=30, amplitude=50).round(), data_type="INT32"),
    Sensor("int64", sg.counter(rate_per_s=2)),
    Sensor("boolean", sg.on_off(on_s=5, off_s=5)),
    Sensor("text", sg.states(("idle", "läuft", "Störung, 停止"), dwell_s=5), data_type="TEXT"),
    Sensor("string", sg.states(("a", "b"), dwell_s=3)),
    Sensor("blob", sg.uniform(), data_type="BLOB"),
    Sensor("stamp", sg.clock()),
    Sensor("date", sg.clock(), data_type="DATE"),
]
_numbers = count()


@pytest.fixture
def name() -> str:
    """A name below the database of these tests: a small server holds few databases."""
    return f"t{next(_numbers)}"


class SlowLink:
    """A link to a server on which each answer takes `delay_s`."""

    def __init__(self, port: int) -> None:
        self.delay_s = 0.0
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._to))
                self._sockets += [near, far]
                for ends in ((near, far, 0), (far, near, 1)):
                    threading.Thread(target=self._pump, args=ends, daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, is_answer: int) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                time.sleep(self.delay_s * is_answer)
                target.sendall(data)

    def close(self) -> None:
        for end in self._sockets:
            end.close()


@pytest.fixture
def link(server: LocalServer) -> Iterator[SlowLink]:
    """A link to the session's server that can be slowed."""
    made = SlowLink(server.port)
    yield made
    made.close()


def read_devices(connection: Connection, prefix: str) -> pd.DataFrame:
    """All rows below a prefix, the column `device` first, ascending in device and time."""
    frame = iotf.read_sql(
        f"SELECT * FROM {prefix}.** ALIGN BY DEVICE", connection=connection, model="tree"
    )
    device = frame.pop("Device").astype(str).str.removeprefix(f"{prefix}.")
    frame.insert(0, "device", device)
    return in_order(frame, ["device"])


def in_order(frame: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Ascending in keys and time, keys as plain strings."""
    frame = frame.astype(dict.fromkeys(keys, "str"))
    times = frame.index.to_numpy()
    return frame.iloc[np.lexsort((times, *(frame[key].to_numpy(str) for key in reversed(keys))))]


def as_read(frame: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """In order, and with texts as they are read: before pandas 3 a source gives objects."""
    frame = in_order(frame, keys)
    texts = [name for name in frame.columns.difference(keys) if frame[name].dtype == object]
    return frame.astype(dict.fromkeys(texts, TEXT_DTYPE))


def count_rows(connection: Connection, target: str) -> int:
    sql = f"SELECT count(s1) FROM {target}"
    return int(iotf.read_sql(sql, connection=connection, model="tree").iloc[0, 0])


def test_every_fault_tree(connection: Connection, name: str) -> None:
    """A fleet of all types under all faults, in the tree model: read back, it is `frame()`."""
    source = simulate_fleet(
        20, sensors=ALL_TYPES, rate_hz=5, duration=60, seed=7, faults=EVERY_FAULT
    )
    assert set(source.ledger()["fault"]) == set(KINDS)
    runner = source.stream(
        to=f"root.stream.{name}.fleet", connection=connection, window=20, speed=math.inf
    )
    stats = runner.run()
    stored = read_devices(connection, f"root.stream.{name}.fleet")
    expected = as_read(source.frame(), ["device"])
    fields = list(source.schema)
    expected = expected[expected[fields].notna().any(axis=1)]
    assert_frame_equal(stored[["device", *fields]], expected)
    sent = pd.concat([source.window(20, at=at) for at in range(0, 300, 20)] + [source.late(300)])
    assert stats.rows == len(sent) > len(expected)
    assert stats.points == sent[fields].notna().sum().sum()
    assert stats.faults.keys() == set(KINDS)
    assert stats.rejected == stats.retries == 0


def test_every_fault_table(connection: Connection, name: str) -> None:
    """The same in the table model, by tags; rows without any value are there, too."""
    source = simulate_fleet(
        20,
        sensors=ALL_TYPES,
        model="table",
        rate_hz=5,
        duration=60,
        seed=8,
        faults=EVERY_FAULT,
    )
    assert set(source.ledger()["fault"]) == set(KINDS)
    source.stream(
        to=f"stream.{name}", connection=connection, window="3s", speed=math.inf, workers=2
    ).run()
    sql = f"SELECT * FROM stream.{name}"
    stored = iotf.read_sql(sql, connection=connection, model="table")
    tags = ["site", "line", "machine"]
    stored = in_order(stored, tags)
    assert_frame_equal(stored[[*tags, *source.schema]], as_read(source.frame(), tags))


def test_one_device_with_the_clock(connection: Connection, name: str) -> None:
    """The Flink connector's source, as in life: one DOUBLE `s1` a tick, times from the start on."""
    begin = pd.Timestamp.now("UTC").tz_localize(None)
    runner = SensorSource(rate_hz=20).stream(
        to=f"root.stream.{name}.d", connection=connection, window=5, now=True
    )
    assert runner.report is None
    stats = runner.run(2)
    assert stats.rows == pytest.approx(40, abs=3)
    assert 0 < stats.median_send_s <= stats.p99_send_s <= stats.max_send_s
    stored = iotf.read_sql(
        f"SELECT s1 FROM root.stream.{name}.d", connection=connection, model="tree"
    )
    assert len(stored) == stats.rows == stats.points
    assert abs((stored.index[0] - begin).total_seconds()) < 1
    assert stored.iloc[:, 0].dtype == np.float64
    assert stored.iloc[:, 0].between(0, 1).all()


def test_a_tree_fleet_in_a_table(connection: Connection, name: str) -> None:
    """Devices of the tree model go into a table under the tag `device`."""
    source = simulate_fleet(3, duration=10)
    source.stream(to=f"stream.{name}", connection=connection, speed=math.inf).run()
    found = iotf.read_sql(f"SELECT * FROM stream.{name}", connection=connection, model="table")
    assert_frame_equal(
        in_order(found, ["device"])[["device", *source.schema]],
        as_read(source.frame(), ["device"]),
    )


def test_the_schema_is_asked_for_once(
    connection: Connection, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many windows there are, and whatever is missing in them, one look is enough."""
    looks = []
    ask = look.look_at_devices
    monkeypatch.setattr(look, "look_at_devices", lambda *given: looks.append(given) or ask(*given))
    faults = ["dropout:0.5", "offline:0.01", Fault("dropout", sensors="s2", devices="d3")]
    fleet = simulate_fleet(20, sensors=["s1", "s2"], rate_hz=5, duration=60, faults=faults[:2])
    fleet.stream(to=f"root.stream.{name}", connection=connection, window=5, speed=math.inf).run()
    assert len(looks) == 1
    wide = SensorSource(3, rate_hz=5, duration=20, faults=Fault("dropout", sensors="s3"))
    runner = wide.stream(
        to=f"root.stream.{name}.one",
        connection=connection,
        window=5,
        speed=math.inf,
        schema={"s1": TimeseriesOption(encoding=TSEncoding.PLAIN)},
    )
    runner.run()
    assert len(looks) == 2
    found = look.query_table(connection, f"SHOW TIMESERIES root.stream.{name}.one.*", model="tree")
    kinds = dict(zip(found["Timeseries"].to_pylist(), found["Encoding"].to_pylist(), strict=True))
    assert kinds[f"root.stream.{name}.one.s1"] == "PLAIN"
    assert kinds[f"root.stream.{name}.one.s3"] == "GORILLA"  # no value of it ever came


def test_pause_and_resume(connection: Connection, name: str) -> None:
    """While paused nothing arrives; in the end every row is there."""
    clock = TurnedClock()
    source = SensorSource(rate_hz=100, duration=1.5)
    to = f"root.stream.{name}.d"
    runner = source.stream(to=to, connection=connection, window=10, clock=clock).start()
    clock.turn(0.35)
    runner.pause()
    clock.turn(10)
    assert count_rows(connection, to) == runner.stats.rows == 30
    runner.resume()
    clock.turn(2)
    assert runner.wait().state == "finished"
    assert count_rows(connection, to) == 150


def test_the_ledger_is_what_the_database_has(connection: Connection, name: str) -> None:
    """Over a change of faults, a pause that is skipped and another rate, the ledger's cells are the
    stored ones, and without them the stored rows are the clean ones."""
    clock = TurnedClock()
    to = f"root.stream.{name}.d"
    source = SensorSource({"s1": "sine"}, rate_hz=100, faults=["spike:0.2"])
    runner = source.stream(to=to, connection=connection, window=10, now=True, clock=clock).start()
    first = runner.source.start
    clock.turn(1.0)
    runner.change(faults=["bias:0.2"])
    clock.turn(1.0)
    runner.pause()
    clock.turn(5.0)
    runner.resume()
    clock.turn(1.0)
    runner.change(rate_hz=50)
    clock.turn(1.0)
    stats = runner.stop()
    stored = iotf.read(to, start=first, connection=connection)["s1"]
    ledger = runner.ledger()
    hits = pd.DatetimeIndex(ledger["stamped"])
    assert len(stored) == stats.rows
    assert stats.faults == ledger["fault"].value_counts().to_dict()
    assert stats.faults.keys() == {"spike", "bias"}
    stored.index = stored.index.tz_localize(None).as_unit("ms")
    assert stored.loc[hits].tolist() == ledger["faulty"].tolist()
    clean = SensorSource({"s1": "sine"}, rate_hz=100, start=first, duration=10).frame()["s1"]
    untouched = stored.drop(hits)
    assert np.allclose(untouched, clean.loc[untouched.index], rtol=1e-9, atol=1e-12)


def test_changes_while_it_runs(connection: Connection, name: str) -> None:
    """Sensors that come and go in a running stream get, and leave, their columns."""
    runner = SensorSource({"s1": "sine", "gone": 1}, rate_hz=50).stream(
        to=f"root.stream.{name}.d", connection=connection, window=5
    )
    with runner:
        wait_until(lambda: runner.stats.rows >= 20)
        runner.change(sensors={"s1": "sine", "state": sg.states(("a", "b"), dwell_s=1)})
        rows = runner.stats.rows
        wait_until(lambda: runner.stats.rows >= rows + 20)
    found = iotf.read_sql(
        f"SELECT s1, gone, state FROM root.stream.{name}.d", connection=connection, model="tree"
    )
    found.columns = ["s1", "gone", "state"]
    assert found["s1"].notna().all()
    n_gone = int(found["gone"].notna().sum())
    assert 20 <= n_gone < len(found)
    assert found["state"].notna().to_numpy().tolist() == [False] * n_gone + [True] * (
        len(found) - n_gone
    )


def test_a_restart_in_mid_stream_loses_nothing() -> None:
    """A server that restarts is waited for; every acknowledged row is there, and all that came."""
    with LocalServer(durable=True) as own, Connection(lambda: own.options, label="own") as to:
        source = simulate_fleet(5, sensors=["s1"], rate_hz=20, faults=["straggler:0.05"])
        runner = source.stream(to="root.fleet", connection=to, window=10).start()
        wait_until(lambda: runner.stats.rows >= 100)
        own.restart()
        before = runner.stats.rows
        wait_until(lambda: runner.stats.rows >= before + 200)
        wait_until(lambda: not runner.stats.is_behind)
        stats = runner.stop()
        stored = read_devices(to, "root.fleet")
        seconds = stats.stream_s + 1
        expected = in_order(
            source.replace(duration=seconds).frame(), ["device"]
        )  # a little more than what was streamed
        merged = expected.reset_index().merge(stored.reset_index(), on=["device", "time"])
        assert len(stored) == len(merged) == stats.rows == stats.points
        assert (merged["s1_x"] == merged["s1_y"]).all()
        assert stats.retries > 0
        assert stats.max_behind_s > 0.5
        per_device = stored.groupby("device").size()
        assert per_device.nunique() == 1  # no gap in any


@pytest.mark.parametrize("model", ["tree", "table"])
def test_a_look_waits_as_long_as_the_stream(server: LocalServer, name: str, model: str) -> None:
    """The server is asked for what is new as long as the stream's own `retry` says, also where the
    connection gives up earlier."""
    times = pd.date_range("2024-01-01", periods=3, freq="1s")
    target = f"root.stream.{name}.d" if model == "tree" else f"stream.{name}"
    wanted = WriteOptions(progress=False, retry=RetryPolicy(total_s=300))
    with proxy_to(server.port) as road:
        clock = Outage(road)
        options = replace(server.options, hosts=(("127.0.0.1", road.port),))
        with Connection(lambda: options, label="road", clock=clock) as to:
            writer = WindowWriter(to, parse_target(target, database=None), wanted)
            writer.open()
            writer.send(pd.DataFrame({"a": [1.0, 2.0, 3.0]}, index=times))
            clock.begin(server.port, duration_s=250)
            writer.send(pd.DataFrame({"b": [1.0, 2.0, 3.0]}, index=times))
            assert clock.now() >= clock.end_s
            writer.close()
            assert writer.report is not None
            assert writer.report.rows_written == 6
            clock.begin(server.port, duration_s=250)
            with pytest.raises(ConnectionLost):
                to.run(lambda session: session.execute("SHOW VERSION"))
            assert clock.now() < clock.end_s


def test_a_stop_does_not_wait_for_a_server_that_is_away() -> None:
    """Without drain, a stream whose server died ends in seconds, and says what is in doubt."""
    with LocalServer() as own, Connection(lambda: own.options, label="own") as to:
        runner = SensorSource(rate_hz=20).stream(to="root.d", connection=to, window=5).start()
        wait_until(lambda: runner.stats.rows >= 20)
        own.kill()
        rows = runner.stats.rows
        time.sleep(1)
        begin = time.monotonic()
        with pytest.raises((ConnectionLost, PartialWriteError)) as caught:
            runner.stop(drain=False)
        assert time.monotonic() - begin < PATIENCE_S  # the retries would last three times as long
        assert caught.value.report.rows_written in (rows, rows + 5)
        assert runner.state == "failed"


def test_nobody_there() -> None:
    """A stream to a port that nothing is listening on fails at its start, not in the background."""
    runner = SensorSource().stream(
        to="root.d", connection=iotf.connect("iotdb://127.0.0.1:1", password="x")
    )
    with pytest.raises(ConnectionLost):
        runner.start()
    assert runner.state == "ready"


def test_a_slow_server_is_told_of(
    server: LocalServer, link: SlowLink, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Answers slower than the windows make the stream say so; then it catches up, rows and all."""
    slow = iotf.connect(f"iotdb://127.0.0.1:{link.port}", password=str(server.options.password))
    with slow:
        source = SensorSource(rate_hz=40)
        runner = source.stream(to=f"root.stream.{name}.d", connection=slow, window=4).start()
        wait_until(lambda: runner.stats.rows >= 20)
        assert not runner.stats.is_behind
        link.delay_s = 0.6  # of 0.1 s between windows
        wait_until(lambda: runner.stats.is_behind)
        assert " late: " in str(runner.stats)
        assert runner.stats.max_send_s >= 0.6
        link.delay_s = 0.0
        wait_until(lambda: not runner.stats.is_behind)
        stats = runner.stop()
    assert stats.max_behind_s > 1
    assert [r for r in caplog.records if "does not keep up" in r.message]
    with Connection(lambda: server.options, label="direct") as direct:
        assert count_rows(direct, f"root.stream.{name}.d") == stats.rows


def test_a_type_that_differs_ends_the_stream(connection: Connection, name: str) -> None:
    """A window that does not fit the schema ends the stream with its error; nothing is sent."""
    iotf.write(
        pd.DataFrame({"s1": [True]}, index=pd.to_datetime(["2020-01-01"])),
        f"root.stream.{name}.d",
        connection=connection,
        progress=False,
    )
    runner = SensorSource(rate_hz=20).stream(to=f"root.stream.{name}.d", connection=connection)
    with pytest.raises(ColumnTypeError, match="BOOLEAN on the server"):
        runner.run(5)
    assert runner.state == "failed"
    assert runner.stats.rows == 0


def replaced_in_mid_stream(connection: Connection, device: str, **options: Any) -> Runner:
    """A stream whose series becomes a BOOLEAN under it, behind its back."""
    source = SensorSource(rate_hz=50, faults=["bias:1"])
    runner = source.stream(to=device, connection=connection, window=5, **options)
    runner.start()
    wait_until(lambda: runner.stats.rows >= 10)
    runner.pause()
    time.sleep(0.3)
    with Connection(lambda: connection.options, label="another client") as other:
        for sql in (
            f"DELETE TIMESERIES {device}.s1",
            f"CREATE ALIGNED TIMESERIES {device}(s1 BOOLEAN)",
        ):
            other.run(lambda session, sql=sql: session.execute(sql), model="tree")
    runner.resume()
    return runner


def test_a_refused_window_ends_the_stream(connection: Connection, name: str) -> None:
    """What the server refuses ends the stream, with a report of what was stored before."""
    runner = replaced_in_mid_stream(connection, f"root.stream.{name}.d")
    with pytest.raises(PartialWriteError) as caught:
        runner.wait()
    assert caught.value.report is runner.report
    assert caught.value.report.rows_written == runner.stats.rows >= 10
    assert caught.value.report.failures[0].code == 507
    assert "while sending 5 rows" in "".join(caught.value.__notes__)


def test_refused_windows_are_collected(connection: Connection, name: str, tmp_path: Path) -> None:
    """With on_error="collect" the stream goes on; refused rows are in the file alone."""
    file = tmp_path / "refused.parquet"
    runner = replaced_in_mid_stream(
        connection, f"root.stream.{name}.d", on_error="collect", dead_letter=file
    )
    wait_until(lambda: runner.stats.rejected >= 10)
    stats = runner.stop()
    assert stats.state == "stopped"
    assert runner.report is not None
    assert stats.rejected == stats.rows - runner.report.rows_written > 0
    refused = pd.read_parquet(file)
    assert len(refused) == stats.rejected
    source = SensorSource(rate_hz=50, faults=["bias:1"]).window(int(stats.rows))
    assert refused["s1"].to_numpy() == pytest.approx(source["s1"].to_numpy()[-len(refused) :])
    assert len(runner.ledger()) == stats.faults["bias"] == runner.report.rows_written


def test_replay_into_the_server(connection: Connection, name: str) -> None:
    """A recording with gaps and devices arrives whole, in a tenth of its time."""
    fleet = simulate_fleet(4, rate_hz=2, duration=20, faults=["dropout:0.1"])
    recorded = fleet.frame()
    recorded = recorded[(recorded.index.second < 5) | (recorded.index.second >= 15)]
    begin = time.monotonic()
    runner = replay(recorded, speed=10).stream(
        to=f"root.stream.{name}", connection=connection, window="1s", device="device"
    )
    stats = runner.run()
    assert 1.9 < time.monotonic() - begin < 20  # sooner than it was recorded
    assert (stats.state, stats.rows, stats.windows) == ("finished", len(recorded), 10)
    stored = read_devices(connection, f"root.stream.{name}")
    expected = as_read(recorded, ["device"])
    expected = expected[expected[list(fleet.schema)].notna().any(axis=1)]
    expected["pressure"] = expected["pressure"].astype(np.float32)
    assert_frame_equal(stored[["device", *fleet.schema]], expected)


def test_into_a_sink(server: LocalServer, connection: Connection, name: str) -> None:
    """A sink takes the windows of a fleet, and is flushed when the stream is over."""
    source = simulate_fleet(5, rate_hz=10, duration=5, faults=["straggler:0.1", "dropout:0.1"])
    url = server.url.replace("root@", f"root:{server.options.password}@")
    options = IoTDBOptions(url=url, storage_group=f"root.sink_{name}")
    with IoTDBSink(options, batch_size=1000, flush_interval_s=60) as sink:
        stats = source.stream(to=sink, speed=math.inf).run()
        assert stats.state == "finished"
        stored = read_devices(connection, f"root.sink_{name}")  # before the sink closes
    expected = as_read(source.frame(), ["device"])
    expected = expected[expected[list(source.schema)].notna().any(axis=1)]
    assert_frame_equal(stored[["device", *source.schema]], expected)


@pytest.mark.parametrize(
    ("source", "options", "words"),
    [
        (simulate_fleet(2, model="table"), {"to": "root.d"}, "this fleet has tags"),
        (SensorSource(), {"to": 3}, "neither a target nor a sink"),
        (SensorSource(), {"to": "root.d", "duplicates": "last"}, "this is a stream"),
        (SensorSource(), {"to": "root.d", "replace": True}, "this is a stream"),
        (SensorSource(), {"to": "root.d", "chunks": 3}, "did you mean 'chunk'"),
        (SensorSource(), {"to": "root.d", "speed": 0}, "must be more than 0"),
        (SensorSource(duration=5), {"to": "root.d", "window": "1min"}, "longer than the source"),
        (SensorSource(), {"to": "root.d", "window": "1min", "duration": 5}, "longer than duration"),
        (SensorSource(), {"to": "root.d", "schema": [TimeseriesOption(path="s1")]}, "column: type"),
    ],
)
def test_what_cannot_be_meant(source: Any, options: dict[str, Any], words: str) -> None:
    """Options that make no sense for a stream are refused before anything is opened."""
    with pytest.raises(OptionsError, match=words):
        source.stream(connection="iotdb://root:x@127.0.0.1:1", **options)


def test_options_of_a_sink_are_its_own() -> None:
    """With a sink, options of a write are refused."""

    class Sink:
        def send(self, frame: pd.DataFrame) -> None: ...
        def flush(self) -> None: ...

    with pytest.raises(OptionsError, match="chunk= goes with a target"):
        SensorSource().stream(to=Sink(), chunk=10)
