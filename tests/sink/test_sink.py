"""The sink on the real server: what is sent is stored, in order, with a ticket for it."""

from __future__ import annotations

import asyncio
import math
import pickle
import random
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import iotdb_frames as iotf
from iotdb_frames.client.connection import Connection
from iotdb_frames.errors import (
    ColumnTypeError,
    ConnectionLost,
    FrameError,
    IoTDBFramesError,
    OptionsError,
    PartialWriteError,
    PoolClosed,
    WriteRejected,
)
from iotdb_frames.options import CompressionType, TimeseriesOption, TSDataType, TSEncoding
from iotdb_frames.server import LocalServer
from iotdb_frames.sink.batch import Batch
from iotdb_frames.sink.options import IoTDBOptions
from iotdb_frames.sink.queue import Pending
from iotdb_frames.sink.serializer import DefaultIoTSerializationSchema, DeviceColumns
from iotdb_frames.sink.sink import IoTDBSink
from iotdb_frames.sink.tickets import Entry, Ticket
from iotdb_frames.writes.schema.look import query_table
from proxy import Proxy
from sinks import T0, options_of, stored
from turned import TurnedClock


@pytest.fixture
def options(server: LocalServer, database: str) -> IoTDBOptions:
    """The server and the test's database."""
    return options_of(server, database)


def series(connection: Connection, path: str) -> dict[str, tuple[str, str, str]]:
    """Type, encoding and compression of every series below a path."""
    table = query_table(connection, f"SHOW TIMESERIES {path}", model="tree").to_pydict()
    columns = ("DataType", "Encoding", "Compression")
    return dict(
        zip(table["Timeseries"], zip(*(table[c] for c in columns), strict=True), strict=True)
    )


def window(n_rows: int, *, start: int = 0, **columns: Any) -> pd.DataFrame:
    """Rows at 1 kHz."""
    index = pd.to_datetime(np.arange(T0 + start, T0 + start + n_rows), unit="ms")
    return pd.DataFrame(columns or {"a": np.arange(n_rows) * 0.5}, index=index)


class SensorSource:
    """The Flink connector's source: a random point a second; here as fast as it is taken."""

    def __init__(self, n_points: int) -> None:
        self.random = random.Random(0)
        self.n_points = n_points

    def __iter__(self) -> Iterator[dict[str, str]]:
        for i in range(self.n_points):
            yield {
                "device": "root.sg.d1",
                "timestamp": str(T0 + i),
                "measurements": "s1",
                "types": "DOUBLE",
                "values": str(self.random.random()),
            }


def test_the_seeds_own_example(server: LocalServer, connection: Connection) -> None:
    """The Flink example, in Python: its points are stored, with its encoding and compression."""
    options = IoTDBOptions(
        host="127.0.0.1",
        port=server.port,
        user="root",
        password=str(server.options.password),
        storage_group="root.sg",
        timeseries_option_list=[
            TimeseriesOption(
                path="root.sg.d1.s1",
                data_type=TSDataType.DOUBLE,
                encoding=TSEncoding.GORILLA,
                compression=CompressionType.SNAPPY,
            )
        ],
    )
    sink = (
        IoTDBSink(options, DefaultIoTSerializationSchema())
        .with_batch_size(10)
        .with_flush_interval_ms(500)
        .with_session_pool_size(3)
    )
    with sink:
        for event in SensorSource(25):
            sink.send(event)
    try:
        expected = {int(e["timestamp"]): float(e["values"]) for e in SensorSource(25)}
        assert stored(connection, "root.sg.d1") == {"root.sg.d1.s1": expected}
        assert series(connection, "root.sg.**") == {
            "root.sg.d1.s1": ("DOUBLE", "GORILLA", "SNAPPY")
        }
        devices = query_table(connection, "SHOW DEVICES root.sg.d1", model="tree")
        assert devices["IsAligned"].to_pylist() == ["false"]
    finally:
        connection.run(lambda s: s.execute("DELETE DATABASE root.sg"), model="tree")


class Press(NamedTuple):
    """A user's own event."""

    number: int
    at: pd.Timestamp
    temperature: float
    state: str | None


class PressSchema:
    """A user's own serializer, as in the README."""

    def serialize(self, event: Press) -> DeviceColumns | None:
        if event.state == "test":
            return None
        return DeviceColumns(
            f"line1.press{event.number}",
            {"temperature": event.temperature, "state": event.state},
            event.at,
        )


def test_a_users_own_serializer(
    options: IoTDBOptions, connection: Connection, database: str
) -> None:
    """Events of a user's own class become rows of their devices, nulls left out."""
    at = pd.Timestamp("2026-01-01", tz="UTC")
    with IoTDBSink(options, PressSchema(), batch_size=100) as sink:
        tickets = [
            sink.send(
                Press(i % 2, at + pd.Timedelta(i, "ms"), 20.5 + i, ["run", None, "test"][i % 3])
            )
            for i in range(6)
        ]
    assert [ticket.n_rows for ticket in tickets] == [1, 1, 0] * 2
    assert all(ticket.acked for ticket in tickets)
    got = stored(connection, f"{database}.**")
    assert got == {
        f"{database}.line1.press0.temperature": {T0: 20.5, T0 + 4: 24.5},
        f"{database}.line1.press0.state": {T0: "run"},
        f"{database}.line1.press1.temperature": {T0 + 1: 21.5, T0 + 3: 23.5},
        f"{database}.line1.press1.state": {T0 + 3: "run"},
    }


def test_every_kind_of_event_in_one_stream(
    options: IoTDBOptions, connection: Connection, database: str
) -> None:
    """Maps, rows, lists, DataFrames and Arrow data of one device, mixed, all arrive in order."""
    with IoTDBSink(options, batch_size=10_000, flush_interval_s=60) as sink:
        for i in range(50):
            sink.send({"device": "d1", "timestamp": T0 + i, "a": 0.5 * i})
        sink.send(
            [{"device": "d1", "timestamp": T0 + 50 + i, "a": 1.5, "b": "x"} for i in range(50)]
        )
        sink.send(window(50, start=100).assign(device="d1"))
        table = pa.table(
            {
                "time": pa.array(np.arange(T0 + 150, T0 + 200), pa.timestamp("ms")),
                "a": pa.array(np.arange(50) * 2.5),
                "device": ["d1", "d2"] * 25,
            }
        )
        sink.send(table)
        sink.send({"device": "d1", "timestamp": T0, "a": -1.0})  # over the first
        sink.flush()
        assert sink.stats.acknowledged == 201
    got = stored(connection, f"{database}.**")
    a = {T0 + i: 0.5 * i for i in range(50)} | {T0 + 50 + i: 1.5 for i in range(50)}
    a |= {T0 + 100 + i: 0.5 * i for i in range(50)}
    a |= {T0 + 150 + i: 2.5 * i for i in range(0, 50, 2)}
    a[T0] = -1.0
    assert got[f"{database}.d1.a"] == a
    assert got[f"{database}.d1.b"] == {T0 + 50 + i: "x" for i in range(50)}
    assert got[f"{database}.d2.a"] == {T0 + 150 + i: 2.5 * i for i in range(1, 50, 2)}
    assert set(got) == {f"{database}.d1.a", f"{database}.d1.b", f"{database}.d2.a"}


def test_order_of_a_device_holds(
    options: IoTDBOptions, connection: Connection, database: str
) -> None:
    """Of many values for the same times, each device keeps its last, however they go out."""
    rng = np.random.default_rng(0)
    expected: dict[str, dict[int, int]] = {}
    with IoTDBSink(options, batch_size=37, session_pool_size=4, flush_interval_s=0.02) as sink:
        for value in range(3_000):
            device, time_ = f"d{rng.integers(20)}", T0 + int(rng.integers(5))
            expected.setdefault(f"{database}.{device}.v", {})[time_] = value
            row = {"device": device, "timestamp": time_, "v": value}
            if value % 10 == 0:
                frame = pd.DataFrame({"v": [value]}, index=pd.to_datetime([time_], unit="ms"))
                sink.send(frame.assign(device=device))
            else:
                sink.send([row] if value % 3 == 0 else row)
    assert stored(connection, f"{database}.**") == expected


def test_a_thousand_devices_in_few_requests(
    server: LocalServer, connection: Connection, database: str
) -> None:
    """Windows of a thousand new devices are written as frames, not as a thousand requests."""
    road, answered = Proxy(server.port), []
    # Not its queries: a look at the schema asks once for each device template of the server.
    call = re.compile(rb"(?:insert|create)\w+")
    road.rewrite = lambda data: answered.extend(call.findall(data[:64])) or data
    frame = window(5_000, a=np.arange(5_000) * 0.5, b=np.arange(5_000))
    frame.index = frame.index.repeat(5)[: len(frame)]
    frame["device"] = [f"`press {i % 1000}`" for i in range(len(frame))]
    with IoTDBSink(options_of(server, database, port=road.port), batch_size=100_000) as sink:
        for i in range(4):
            sink.send(frame.set_axis(frame.index + pd.Timedelta(i, "h")))
        sink.flush()
        stats = sink.device_stats()
    road.close()
    assert len(stats) == 1000
    assert (stats["acknowledged"] == 20).all()
    found = query_table(
        connection, f"SELECT count(a), count(b) FROM {database}.* ALIGN BY DEVICE", model="tree"
    )
    assert found.num_rows == 1000
    assert set(found["count(a)"].to_pylist()) == {20}
    assert 0 < len(answered) < 100


def test_batch_size_counts_rows(options: IoTDBOptions) -> None:
    """Nothing goes before so many rows are there; a window of 1,000 rows is 1,000."""
    with IoTDBSink(options, batch_size=2_000, flush_interval_s=600) as sink:
        first = sink.send(window(1_000).assign(device="d1"))
        rows = [sink.send({"device": "d2", "timestamp": T0 + i, "a": 1.0}) for i in range(999)]
        time.sleep(0.3)
        assert sink.stats.acknowledged == 0
        assert not first.acked
        last = sink.send({"device": "d3", "timestamp": T0, "a": 1.0})
        for ticket in (first, rows[0], rows[-1], last):
            ticket.wait(30)
        assert sink.stats.acknowledged == 2_000


def test_without_a_batch_size_each_event_goes_at_once(options: IoTDBOptions) -> None:
    """As upstream: the default sends one event after another."""
    with IoTDBSink(options, flush_interval_s=600) as sink:
        for i in range(3):
            sink.send({"device": "d1", "timestamp": T0 + i, "a": 1.0}).wait(30)


def test_the_timer(options: IoTDBOptions) -> None:
    """A row waits no longer than the interval, though nothing follows it; and no less."""
    clock = TurnedClock("iotdb-frames-sink")
    with IoTDBSink(options, batch_size=1_000_000, flush_interval_s=1.0, clock=clock) as sink:
        for i in range(3):
            clock.turn(0.2 * i)
            ticket = sink.send({"device": "d1", "timestamp": T0 + i, "a": 1.0})
            clock.turn(0.99)
            assert sink.stats.queued == 1
            clock.turn(0.02)
            ticket.wait()


def test_the_timer_of_a_lane_does_not_wait_for_another() -> None:
    """While one connection is stuck, what waits for another goes when its time is over."""
    pending = Pending(
        n_lanes=2,
        batch_size=1_000_000,
        interval_s=0.2,
        max_bytes=1 << 20,
        overflow="block",
        spool=None,
    )
    taken: list[Any] = []
    known: Any = None  # of which nothing is asked here

    def prepare() -> None:  # lane 0 is stuck: nobody takes from it
        batch = pending.take_batch(pending.lanes[1], lambda entries: Batch(entries, known))
        taken.extend(batch.entries if batch is not None else [])

    thread = threading.Thread(target=prepare, daemon=True)
    thread.start()
    time.sleep(0.1)
    for lane in (0, 1):
        ticket = Ticket(pending.changed, pending.told)
        entry = Entry(
            ticket,
            DeviceColumns("d", {"a": 1.0}, T0),
            device=f"root.d{lane}",
            lane=lane,
            n_rows=1,
            n_bytes=400,
            at=time.monotonic(),
        )
        ticket.stand_for([entry])
        pending.offer([entry])
    thread.join(30)
    assert [entry.lane for entry in taken] == [1]


def test_flush_is_a_barrier(options: IoTDBOptions, connection: Connection, database: str) -> None:
    """After a flush everything sent before it is stored, whatever the batch size says."""
    with IoTDBSink(options, batch_size=1_000_000, flush_interval_s=600) as sink:
        sink.flush()  # nothing to wait for
        for i in range(5):
            tickets = [sink.send(window(100, start=i).assign(device=f"d{j}")) for j in range(5)]
            sink.flush()
            assert all(ticket.acked for ticket in tickets)
            found = query_table(connection, f"SELECT count(a) FROM {database}.**", model="tree")
            assert [found[name][0].as_py() for name in found.column_names] == [100 + i] * 5


def test_a_refused_device_does_not_hold_up_others(
    options: IoTDBOptions, connection: Connection, database: str, tmp_path: Path
) -> None:
    """Rows a device cannot take are collected; all others of the same flush are stored."""
    connection.run(
        lambda s: s.execute(f"CREATE TIMESERIES {database}.bad.a WITH DATATYPE=BOOLEAN"),
        model="tree",
    )
    sink = IoTDBSink(
        options, batch_size=10_000, flush_interval_s=600, on_error="collect", dead_letter=tmp_path
    )
    with sink:
        tickets = {}
        for name in ("d1", "bad", "d2"):
            tickets[name] = sink.send(window(100).assign(device=name))
            sink.send([{"device": name, "timestamp": T0 + 200 + i, "a": 0.5} for i in range(10)])
        whole = sink.send(window(100, a=np.arange(100.0)).assign(device="bad"))
        sink.flush()
        stats, by_device = sink.stats, sink.device_stats()
    assert tickets["d1"].acked
    assert tickets["d2"].acked
    for ticket in (tickets["bad"], whole):
        with pytest.raises(ColumnTypeError, match="cannot go into BOOLEAN"):
            ticket.wait()
    assert (stats.acknowledged, stats.rejected, stats.queued) == (220, 210, 0)
    assert by_device.loc[f"{database}.bad", "rejected"] == 210
    assert by_device.loc[f"{database}.d1", "acknowledged"] == 110
    got = stored(connection, f"{database}.**")
    assert len(got[f"{database}.d1.a"]) == len(got[f"{database}.d2.a"]) == 110
    letters = pd.concat(pd.read_parquet(file) for file in sorted(tmp_path.glob("*.parquet")))
    assert len(letters) == 210
    assert set(letters["device"]) == {f"{database}.bad"}
    assert letters["refused_reason"].str.contains("cannot go into BOOLEAN").all()
    assert letters["refused_code"].isna().all()


def test_dead_letters_can_be_written_again(
    options: IoTDBOptions, connection: Connection, database: str, tmp_path: Path
) -> None:
    """A file of refused rows is a frame that, mended, `write` takes as it is."""
    sink = IoTDBSink(options, batch_size=10, on_error="collect", dead_letter=tmp_path)
    with sink:
        sink.send({"device": "d1", "timestamp": T0, "a": 1.0})
        sink.flush()
        sink.send({"device": "d1", "timestamp": T0 + 1, "a": "2.5"})
    (file,) = tmp_path.glob("*.parquet")
    letters = pd.read_parquet(file).iloc[:, :-2].astype({"a": float})
    letters.iotdb.write(
        "root", device="device", time="timestamp", time_unit="ms", connection=connection
    )
    assert stored(connection, f"{database}.d1") == {f"{database}.d1.a": {T0: 1.0, T0 + 1: 2.5}}


def test_one_bad_row_of_a_window(
    options: IoTDBOptions, connection: Connection, database: str
) -> None:
    """Of a window only the rows that cannot be stored exactly are refused; its ticket says so."""
    refused: list[tuple[pa.Table, IoTDBFramesError]] = []
    sink = IoTDBSink(
        options, batch_size=10_000, on_error=lambda rows, error: refused.append((rows, error))
    )
    with sink:
        sink.send({"device": "d1", "timestamp": T0, "i": 1})
        sink.flush()
        values = np.arange(100.0)
        values[[7, 50]] = [0.5, 1e300]
        ticket = sink.send(window(100, i=values).assign(device="d1"))
        good = sink.send(window(100, start=500, i=np.arange(100.0)).assign(device="d1"))
        sink.flush()
        with pytest.raises(ColumnTypeError, match=r"row 7: 0\.5 does not fit INT64"):
            ticket.wait()
        assert good.acked
        assert sink.stats.rejected == 2
    assert [rows["timestamp"].cast(pa.int64()).to_pylist() for rows, _ in refused]
    assert refused[0][0]["i"].to_pylist() == [0.5, 1e300]
    got = stored(connection, f"{database}.d1")[f"{database}.d1.i"]
    assert set(got) == {T0 + i for i in range(100) if i not in (7, 50)} | {
        T0 + 500 + i for i in range(100)
    }


def test_a_bad_measurement_keeps_back_only_its_rows(
    options: IoTDBOptions, connection: Connection, database: str
) -> None:
    """Rows without a value in a column at fault go out without it."""
    sink = IoTDBSink(options, batch_size=1_000, on_error=lambda rows, error: None)
    with sink:
        sink.send({"device": "d1", "timestamp": T0, "a": 1.0, "b": 1.0})
        sink.flush()
        bad = []
        for i in range(1, 100):
            extra: dict[str, Any] = {"b": "text"} if i % 10 == 0 else {"b": [1]} if i == 5 else {}
            ticket = sink.send({"device": "d1", "timestamp": T0 + i, "a": float(i), **extra})
            bad += [ticket] if extra else []
        sink.flush()
        assert sink.stats.rejected == len(bad) == 10
        assert all(ticket.error is not None for ticket in bad)
    got = stored(connection, f"{database}.d1")
    assert set(got[f"{database}.d1.a"]) == {
        T0 + i for i in range(100) if i == 0 or (i % 10 and i != 5)
    }


@pytest.mark.parametrize("values", [[1, "x", 2.5], [1j, 2j, 3j]])
def test_a_frame_without_a_type_is_refused_by_send(options: IoTDBOptions, values: Any) -> None:
    """A column that has no IoTDB type raises in `send`, and the sink goes on."""
    good = window(3, a=np.arange(3.0)).assign(device="d1")
    with IoTDBSink(options) as sink:
        with pytest.raises(ColumnTypeError, match="column 'a'"):
            sink.send(good.assign(a=np.array(values, object if values[0] == 1 else complex)))
        sink.send(good).wait(60)
        assert (sink.stats.acknowledged, sink.stats.rejected) == (3, 0)


def test_failures_are_raised_once(options: IoTDBOptions) -> None:
    """Without another place for it, the next call raises a refusal and takes nothing, once."""
    row = {"device": "d1", "timestamp": T0, "a": 1.0}
    with IoTDBSink(options, batch_size=100) as sink:
        sink.send(row)
        sink.flush()
        ticket = sink.send({**row, "a": "text"})
        with pytest.raises(ColumnTypeError):
            sink.flush()
        sink.flush()
        assert sink.send(row).n_rows == 1
        sink.flush()
        sink.send({**row, "a": "text"})
        sink._pending.make_due()
        while sink.stats.rejected != 2:
            time.sleep(0.01)
        with pytest.raises(ColumnTypeError):
            sink.send(row)
        sink.send(row)
        with pytest.raises(ColumnTypeError):
            ticket.wait()
    assert sink.stats.acknowledged == 3


def test_close_tells_what_nobody_was_told(options: IoTDBOptions) -> None:
    """A refusal that nobody was told of is raised at the latest by `close`, with counts."""
    sink = IoTDBSink(options, batch_size=100).open()
    sink.send({"device": "d1", "timestamp": T0, "a": 1.0})
    sink.flush()
    sink.send({"device": "d1", "timestamp": T0, "a": "text"})
    with pytest.raises(PartialWriteError, match=r"1 row refused.*cannot go into DOUBLE") as e:
        sink.close()
    assert e.value.report.rows_written == 1
    assert e.value.report.rows_refused == 1
    sink.close()
    with pytest.raises(PoolClosed):
        sink.send({"device": "d1", "timestamp": T0, "a": 1.0})


def test_what_the_server_refuses(
    options: IoTDBOptions, connection: Connection, database: str
) -> None:
    """A series that became another behind the sink's back is looked up again."""
    with IoTDBSink(options, batch_size=1_000, on_error=lambda rows, error: None) as sink:
        for name in ("d1", "d2"):
            sink.send({"device": name, "timestamp": T0, "a": 0.5})
        sink.flush()
        for statement in (
            f"DELETE TIMESERIES {database}.d1.a",
            f"CREATE TIMESERIES {database}.d1.a WITH DATATYPE=BOOLEAN",
        ):
            connection.run(lambda s, sql=statement: s.execute(sql), model="tree")
        bad = sink.send({"device": "d1", "timestamp": T0 + 1, "a": 1.5})
        good = sink.send({"device": "d2", "timestamp": T0 + 1, "a": 1.5})
        sink.flush()
        assert good.acked
        with pytest.raises((ColumnTypeError, WriteRejected)):
            bad.wait()
        boolean = sink.send({"device": "d1", "timestamp": T0 + 2, "a": True})
        sink.flush()
        assert boolean.acked


def test_a_series_that_was_made_anew(
    options: IoTDBOptions, connection: Connection, database: str
) -> None:
    """Rows that a stale plan got refused are planned anew, and stored in the series' new type."""
    with IoTDBSink(options, batch_size=1_000) as sink:
        sink.send({"device": "d1", "timestamp": T0, "a": 1.0, "b": 1})
        sink.flush()
        for statement in (
            f"DELETE TIMESERIES {database}.d1.a",
            f"CREATE TIMESERIES {database}.d1.a WITH DATATYPE=INT32",
        ):
            connection.run(lambda s, sql=statement: s.execute(sql), model="tree")
        sink.send({"device": "d1", "timestamp": T0 + 1, "a": 7.0, "b": 2})
        sink.flush()
        assert sink.stats.acknowledged == 2
    got = stored(connection, f"{database}.d1")
    assert got[f"{database}.d1.a"] == {T0 + 1: 7}
    assert got[f"{database}.d1.b"] == {T0: 1, T0 + 1: 2}


def test_series_of_the_options(server: LocalServer, connection: Connection, database: str) -> None:
    """Listed series are created before the first row, also relative, quoted and without a type."""
    wishes = [
        TimeseriesOption(path="d1.f", data_type="FLOAT", encoding="RLE", compression="ZSTD"),
        TimeseriesOption(path=f"{database}.d1.`a b`", data_type="INT32", encoding="PLAIN"),
        TimeseriesOption(path="d2.later", encoding="CHIMP", compression="UNCOMPRESSED"),
    ]
    options = options_of(server, database, timeseries_option_list=wishes, aligned=True)
    with IoTDBSink(options) as sink:
        assert series(connection, f"{database}.**") == {
            f"{database}.d1.f": ("FLOAT", "RLE", "ZSTD"),
            f"{database}.d1.`a b`": ("INT32", "PLAIN", "LZ4"),
        }
        sink.send({"device": "d2", "timestamp": T0, "later": 0.5})
        sink.send({"device": "d1", "timestamp": T0, "f": 0.5, "a b": 7})
    assert series(connection, f"{database}.d2.**") == {
        f"{database}.d2.later": ("DOUBLE", "CHIMP", "UNCOMPRESSED")
    }
    assert stored(connection, f"{database}.d1") == {
        f"{database}.d1.f": {T0: 0.5},
        f"{database}.d1.`a b`": {T0: 7},
    }
    aligned = query_table(connection, f"SHOW DEVICES {database}.**", model="tree")["IsAligned"]
    assert aligned.to_pylist() == ["true", "true"]
    other = options_of(
        server, database, timeseries_option_list=[TimeseriesOption(path="d1.f", data_type="TEXT")]
    )
    with pytest.raises(ColumnTypeError, match="FLOAT on the server"):
        IoTDBSink(other).open()


def test_stats(options: IoTDBOptions, database: str) -> None:
    """What a sink counts, and how it shows it."""
    clock = TurnedClock("iotdb-frames-sink")
    with IoTDBSink(options, batch_size=1_000_000, flush_interval_s=600, clock=clock) as sink:
        assert math.isnan(sink.stats.latency_p50_s)
        sink.send(window(100).assign(device="d1"))
        sink.send([{"device": f"d{i % 2}", "timestamp": T0 + i, "a": 0.5} for i in range(100)])
        stats, by_device = sink.stats, sink.device_stats()
        assert (stats.queued, stats.acknowledged) == (200, 0)
        assert stats.queued_bytes > 1600
        assert by_device["queued"].to_dict() == {f"{database}.d0": 50, f"{database}.d1": 150}
        clock.turn(0.2)
        sink.flush()
        stats, by_device = sink.stats, sink.device_stats()
        assert (stats.queued, stats.queued_bytes, stats.acknowledged) == (0, 0, 200)
        assert stats.latency_p50_s == pytest.approx(0.2, abs=0.1)
        assert stats.latency_p50_s <= stats.latency_p99_s < 10
        assert by_device["acknowledged"].to_dict() == {f"{database}.d0": 50, f"{database}.d1": 150}
        assert "acknowledged  200 rows" in repr(stats)
        assert "<b>sink</b>" in stats._repr_html_()


def test_empty_rows_and_lost_digits_are_told(options: IoTDBOptions, database: str) -> None:
    """A sink tells rows of missing values only, and values that lost precision, as a write does."""
    schema = DefaultIoTSerializationSchema(types={"a": "INT32"})
    with IoTDBSink(options, schema, batch_size=1_000, coerce="lossy") as sink:
        for i, value in enumerate([1.5, None, 2.0]):
            sink.send({"device": "d1", "timestamp": T0 + i, "a": value})
        sink.send(window(3, a=[0.5, np.nan, 2.5]).assign(device="d2"))
        sink.flush()
        stats, by_device = sink.stats, sink.device_stats()
    assert (stats.acknowledged, stats.empty, stats.lossy) == (6, 2, {"a": 3})
    assert by_device["empty"].to_dict() == {f"{database}.d1": 1, f"{database}.d2": 1}
    assert "2 rows of missing values only" in repr(stats)
    assert "3 values of a" in repr(stats)


def test_threads_may_share_a_sink(
    options: IoTDBOptions, connection: Connection, database: str
) -> None:
    """Many threads send at once; nothing is lost and nothing is stored twice over."""
    with IoTDBSink(options, batch_size=500, session_pool_size=3, flush_interval_s=0.05) as sink:

        def feed(number: int) -> None:
            for i in range(1_000):
                sink.send({"device": f"d{number}", "timestamp": T0 + i, "v": i})

        threads = [threading.Thread(target=feed, args=(n,)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        sink.flush()
        assert sink.stats.acknowledged == 6_000
    got = stored(connection, f"{database}.**")
    assert got == {f"{database}.d{n}.v": {T0 + i: i for i in range(1_000)} for n in range(6)}


def test_threads_may_open_a_sink(options: IoTDBOptions) -> None:
    """Whichever of many threads sends first opens it, once."""
    sink = IoTDBSink(options, batch_size=10)
    begin = threading.Barrier(6)

    def feed(number: int) -> None:
        begin.wait()
        sink.send({"device": f"d{number}", "timestamp": T0, "v": number})

    threads = [threading.Thread(target=feed, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sink.stats.queued + sink.stats.acknowledged == 6
    sink.close()
    assert sink.stats.acknowledged == 6


def test_a_loop_that_ended_before_the_answer(
    options: IoTDBOptions, connection: Connection, database: str
) -> None:
    """Whoever awaits a ticket may give up, and end the loop; the sink goes on."""
    with IoTDBSink(options, flush_interval_s=3600) as sink:
        ticket = sink.send({"device": "d1", "timestamp": T0, "v": 1})
        with pytest.raises(TimeoutError):
            asyncio.run(asyncio.wait_for(ticket, 0.01))
        sink.flush()
        assert ticket.acked
        sink.send({"device": "d1", "timestamp": T0 + 1, "v": 2})
    assert stored(connection, f"{database}.d1") == {f"{database}.d1.v": {T0: 1, T0 + 1: 2}}


def test_in_coroutines(options: IoTDBOptions, connection: Connection, database: str) -> None:
    """The same sink under asyncio; a full one lets other coroutines go on."""

    async def feed() -> int:
        n_beats = 0

        async def beat() -> None:
            nonlocal n_beats
            while True:
                await asyncio.sleep(0.001)
                n_beats += 1

        heart = asyncio.create_task(beat())
        async with IoTDBSink(options, batch_size=100, max_pending="100kB") as sink:
            tickets = [
                await sink.send({"device": "d1", "timestamp": T0 + i, "v": i}) for i in range(5_000)
            ]
            await asyncio.gather(*(wait(ticket) for ticket in tickets[:500]))
            await sink.flush()
            bad = await sink.send({"device": "d1", "timestamp": T0, "v": "text"})
            with pytest.raises(ColumnTypeError):
                await bad
            assert sink.stats.acknowledged == 5_000
        heart.cancel()
        return n_beats

    async def wait(ticket: Any) -> None:
        await ticket
        assert ticket.acked

    assert asyncio.run(feed()) > 10
    assert stored(connection, f"{database}.d1") == {
        f"{database}.d1.v": {T0 + i: i for i in range(5_000)}
    }


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"batch_size": 0}, "batch_size=0"),
        ({"batch_size": True}, "batch_size=True"),
        ({"flush_interval_s": 0}, "flush_interval_s=0"),
        ({"session_pool_size": 0}, "session_pool_size=0"),
        ({"max_pending": "much"}, "max_pending='much'"),
        ({"overflow": "wait"}, "overflow='wait'"),
        ({"on_error": "ignore"}, "on_error='ignore'"),
        ({"on_error": "collect"}, "go together"),
        ({"dead_letter": "x"}, "go together"),
        ({"coerce": "maybe"}, "coerce='maybe'"),
    ],
)
def test_options_that_cannot_be_meant(change: dict[str, Any], words: str) -> None:
    """A wrong option is refused before anything is opened."""
    with pytest.raises(OptionsError, match=words):
        IoTDBSink("iotdb://127.0.0.1:1", **change)


@pytest.mark.parametrize(
    "change",
    [
        {"storage_group": "sg"},
        {"storage_group": "root"},
        {"host": "h", "url": "local:"},
        {"url": "iotdb://root:secret@h/sg"},
        {"host": "h", "node_urls": ["a:1"]},
        {"node_urls": "a:1"},
        {"timeseries_option_list": [TimeseriesOption(data_type="INT32")]},
        {"timeseries_option_list": [TimeseriesOption(path="d1.s1")]},
        {"timeseries_option_list": [TimeseriesOption(path="root.sg.d1.s1")] * 2},
    ],
)
def test_places_that_cannot_be_meant(change: dict[str, Any]) -> None:
    """Where to write is checked, too."""
    with pytest.raises(OptionsError):
        IoTDBOptions(**change)


def test_options_hide_the_password() -> None:
    """No password in a repr, wherever it was given."""
    assert "secret" not in repr(IoTDBOptions(host="h", password="secret"))
    assert "secret" not in repr(IoTDBOptions(url="iotdb://root:secret@h"))


def test_options_travel_without_their_password(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pickle holds the password only where that was asked for."""
    monkeypatch.setenv("IOTDB_PASSWORD", "theirs")
    for options in (
        IoTDBOptions(host="h", password="s3cr3t"),
        IoTDBOptions(url="iotdb://root:s3cr3t@h"),
    ):
        data = pickle.dumps(options)
        assert b"s3cr3t" not in data
        assert pickle.loads(data).password == "theirs"
    told = IoTDBOptions(host="h", password=iotf.Secret("s3cr3t", travels=True))
    assert pickle.loads(pickle.dumps(told)).password == "s3cr3t"


def test_options_from_a_url(server: LocalServer, connection: Connection, database: str) -> None:
    """A URL is enough: whom to ask, the password, and the storage group, which is created."""
    password = str(server.options.password)
    url = f"iotdb://root:{password}@127.0.0.1:{server.port}/{database}?time_zone=UTC"
    options = IoTDBOptions(url=url)
    assert (options.storage_group, options.password) == (database, password)
    assert IoTDBOptions(url=url, storage_group="root.other").storage_group == "root.other"
    with IoTDBSink(url) as sink:
        found = query_table(connection, f"SHOW DATABASES {database}", model="tree")
        assert found.num_rows == 1
        sink.send({"device": "d1", "timestamp": T0, "a": 1.5})
    assert stored(connection, f"{database}.d1") == {f"{database}.d1.a": {T0: 1.5}}


def test_a_running_sink_keeps_its_options(options: IoTDBOptions) -> None:
    """The builder's calls come before the first event."""
    with (
        IoTDBSink(options) as sink,
        pytest.raises(OptionsError, match="open already"),
    ):
        sink.with_batch_size(2)


def test_events_without_a_device_below_anything(server: LocalServer) -> None:
    """A relative device needs a storage group; nothing of the event is taken."""
    with IoTDBSink(options_of(server, None)) as sink:
        with pytest.raises(OptionsError, match="does not begin with root"):
            sink.send({"device": "d1", "timestamp": T0, "a": 1.0})
        frame = window(2).assign(device=["root.d1", None])
        with pytest.raises(FrameError, match="row 1 names no device"):
            sink.send(frame)
        assert sink.send({"device": "root.d1", "timestamp": T0}).acked
        assert sink.send([]).acked
        assert sink.send(window(0).assign(device="root.d1")).acked
        assert sink.stats.queued == 0


def test_nobody_there() -> None:
    """Without a server the first send says so at once, and takes nothing."""
    sink = IoTDBSink(IoTDBOptions(host="127.0.0.1", port=1, password="root"))
    with pytest.raises(ConnectionLost, match="nothing is listening"):
        sink.send({"device": "root.d1", "timestamp": T0, "a": 1.0})
    sink.close()


def test_public_names() -> None:
    """What the README uses is there."""
    assert iotf.IoTDBSink is IoTDBSink
    assert iotf.IoTDBOptions is IoTDBOptions
    assert iotf.DefaultIoTSerializationSchema is DefaultIoTSerializationSchema
    assert iotf.DeviceColumns is DeviceColumns
