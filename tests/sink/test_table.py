"""The sink of the table model on the real server: events with tags, in order, per combination."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from test_sink_outage import Road

import iotdb_frames as iotf
from iotdb_frames.client.connection import Connection
from iotdb_frames.errors import (
    ColumnTypeError,
    FrameError,
    IoTDBFramesError,
    OptionsError,
    PermissionDenied,
)
from iotdb_frames.options import CompressionType, TimeseriesOption, TSDataType, TSEncoding
from iotdb_frames.server import LocalServer
from iotdb_frames.sink.options import IoTDBOptions
from iotdb_frames.sink.serializer import DefaultIoTSerializationSchema, DeviceColumns
from iotdb_frames.sink.sink import IoTDBSink
from iotdb_frames.sink.spool import Spool, to_stream
from iotdb_frames.wire.rpc import Session
from iotdb_frames.writes.schema.look import query_table
from sinks import T0, options_of

_numbers = count()


@pytest.fixture
def table(connection: Connection) -> Iterator[str]:
    """A table in a database of the test's own; nothing of it is there yet."""
    database = f"sinktable{next(_numbers)}"
    yield f"{database}.press"
    run(connection, f"DROP DATABASE IF EXISTS {database}")


@pytest.fixture
def options(server: LocalServer, table: str) -> IoTDBOptions:
    """The server and the test's table, with two tags and an attribute."""
    return options_of(server, None, table=table, tags=["site", "machine"], attributes=["maker"])


def run(connection: Connection, *statements: str) -> None:
    """Statements of the table model."""
    for sql in statements:
        connection.run(partial(Session.execute, sql=sql), model="table")


def create(connection: Connection, table: str, columns: str) -> None:
    """A table with these columns and the time."""
    database = table.partition(".")[0]
    run(
        connection,
        f"CREATE DATABASE IF NOT EXISTS {database}",
        f"CREATE TABLE {table} (time TIMESTAMP TIME, {columns})",
    )


def rows(connection: Connection, table: str, *columns: str) -> list[tuple[Any, ...]]:
    """Time, counted from `T0` in ms, and columns of all rows, ordered by tags and time."""
    names = ", ".join(columns)
    found = query_table(
        connection, f"SELECT time, {names} FROM {table} ORDER BY site, machine, time", model="table"
    )
    times = [t - T0 for t in found["time"].cast(pa.int64()).to_pylist()]
    return list(zip(times, *(found[name].to_pylist() for name in columns), strict=True))


def columns_of(connection: Connection, table: str) -> dict[str, tuple[str, str]]:
    """Type and category of a table's columns, in their order."""
    found = query_table(connection, f"DESC {table}", model="table").to_pydict()
    kinds = zip(found["DataType"], found["Category"], strict=True)
    return dict(zip(found["ColumnName"], kinds, strict=True))


def event(i: int, site: Any = "A", machine: Any = "m1", **fields: Any) -> Any:
    """A row of one machine."""
    return {"site": site, "machine": machine, "timestamp": T0 + i, **(fields or {"v": float(i)})}


def test_every_kind_of_event_in_one_stream(
    options: IoTDBOptions, connection: Connection, table: str
) -> None:
    """Mappings, lists, DataFrames and Arrow data of one table, mixed, all arrive, in order."""
    with IoTDBSink(options, batch_size=10_000, flush_interval_s=60) as sink:
        sink.send(event(0, v=0.5))
        sink.send(
            [event(1, v=1.5), event(1, "B", v=1.5, w="x"), {"site": "C", "time": T0, "v": 2.5}]
        )
        frame = pd.DataFrame(
            {"machine": pd.Categorical(["m1", "m2"]), "v": [3.5, 4.5], "site": ["A", "A"]},
            index=pd.to_datetime([T0 + 2, T0 + 2], unit="ms"),
        )
        sink.send(frame)
        sink.send(
            pa.table(
                {
                    "time": pa.array([T0 + 3, T0 + 3], pa.timestamp("ms")),
                    "site": pa.array(["A", None]).dictionary_encode(),
                    "v": [5.5, 6.5],
                }
            )
        )
        last = sink.send(event(0, v=-1.0))  # over the first
        sink.flush(60)
        assert last.acked
        assert sink.stats.acknowledged == 9
        counted = sink.device_stats()["acknowledged"]
    assert rows(connection, table, "site", "machine", "v", "w") == [
        (0, "A", "m1", -1.0, None),
        (1, "A", "m1", 1.5, None),
        (2, "A", "m1", 3.5, None),
        (2, "A", "m2", 4.5, None),
        (3, "A", None, 5.5, None),
        (1, "B", "m1", 1.5, "x"),
        (0, "C", None, 2.5, None),
        (3, None, None, 6.5, None),
    ]
    assert counted.index.names == ["site", "machine"]
    assert counted.loc[("A", "m1")] == 4
    assert counted.loc[("B", "m1")] == 1
    assert len(counted) == 6


def test_order_of_a_combination_of_tags_holds(
    options: IoTDBOptions, connection: Connection, table: str
) -> None:
    """Of many values for the same times, each combination keeps its last, however they go out."""
    rng = np.random.default_rng(0)
    expected: dict[tuple[Any, ...], int] = {}
    with IoTDBSink(options, batch_size=37, session_pool_size=4, flush_interval_s=0.02) as sink:
        for value in range(3_000):
            site, machine = ["A", "B", "", None][rng.integers(4)], f"m{rng.integers(5)}"
            at = int(rng.integers(5))
            expected[site, machine, at] = value
            row = event(at, site, machine, v=value)
            if value % 10 == 0:
                frame = pd.DataFrame([row]).set_index("timestamp")
                sink.send(frame.set_index(pd.to_datetime(frame.index, unit="ms")))
            else:
                sink.send([row] if value % 3 == 0 else row)
        sink.flush(60)
        assert sink.device_stats()["acknowledged"].sum() == 3_000
    got = {(s, m, at): v for at, s, m, v in rows(connection, table, "site", "machine", "v")}
    assert got == expected


def test_a_null_tag_and_an_empty_one_are_two_devices(
    options: IoTDBOptions, connection: Connection, table: str
) -> None:
    """A missing tag, None and NaN are one device; the empty text is another."""
    bare = event(0)
    del bare["machine"]
    with IoTDBSink(options, batch_size=10) as sink:
        sink.send(bare)
        sink.send(event(1, machine=None))
        sink.send({**event(2), "machine": float("nan")})
        sink.send(
            pd.DataFrame({"site": ["A"], "machine": [None], "v": [3.0]}).set_axis(
                pd.to_datetime([T0 + 3], unit="ms")
            )
        )
        sink.send(event(4, machine=""))
        sink.flush(60)
        counted = sink.device_stats()["acknowledged"]
    assert counted.tolist() == [1, 4]
    found = query_table(connection, f"SHOW DEVICES FROM {table}", model="table")
    assert sorted(found["machine"].to_pylist(), key=str) == ["", None]


def test_an_attribute_that_an_event_lacks_is_not_sent(
    options: IoTDBOptions, connection: Connection, table: str
) -> None:
    """What is stored of a device's attribute stays until an event names another."""
    with IoTDBSink(options) as sink:
        sink.send([event(0, v=1.0, maker="Acme"), event(0, "B", v=1.0)]).wait(60)
        sink.send([event(1, v=2.0), event(1, "B", v=2.0, maker="Bolt"), event(2, v=2.0)]).wait(60)
        sink.send(event(3, v=3.0, maker=None)).wait(60)
        assert [r[1:] for r in rows(connection, table, "site", "maker")] == (
            [("A", "Acme")] * 4 + [("B", "Bolt")] * 2
        )
        sink.send(event(4, v=3.0, maker="Bolt")).wait(60)
    assert {r[1] for r in rows(connection, table, "maker")} == {"Bolt"}
    assert columns_of(connection, table)["maker"] == ("STRING", "ATTRIBUTE")


def test_the_table_is_created_up_front(
    server: LocalServer, connection: Connection, table: str
) -> None:
    """Before the first row, with its tags in their order and all columns that the options name."""
    options = options_of(
        server,
        None,
        table=table,
        tags=["Site", "machine"],
        attributes=["maker"],
        timeseries_option_list=[TimeseriesOption(path="Temp", data_type=TSDataType.FLOAT)],
    )
    expected = {
        "time": ("TIMESTAMP", "TIME"),
        "site": ("STRING", "TAG"),
        "machine": ("STRING", "TAG"),
        "maker": ("STRING", "ATTRIBUTE"),
        "temp": ("FLOAT", "FIELD"),
    }
    with IoTDBSink(options) as sink:
        assert columns_of(connection, table) == expected
        sink.send({"Site": "A", "time": T0, "temp": 0.5, "n": 3}).wait(60)
    assert columns_of(connection, table) == {**expected, "n": ("INT64", "FIELD")}
    assert rows(connection, table, "site", "temp", "n") == [(0, "A", 0.5, 3)]
    with IoTDBSink(options) as again:  # what is there stays
        again.send({"Site": "A", "time": T0 + 1, "Temp": 1.5}).wait(60)
    assert rows(connection, table, "temp") == [(0, 0.5), (1, 1.5)]


@pytest.mark.parametrize(
    ("columns", "error", "text"),
    [
        ("site STRING TAG, machine STRING TAG, line STRING TAG", OptionsError, "has the tag line"),
        ("site STRING TAG, machine STRING FIELD", FrameError, "'machine' is a field"),
        ("site STRING TAG, machine STRING TAG, maker STRING FIELD", FrameError, "'maker' is a"),
        ("site STRING TAG, machine STRING TAG, v INT64 FIELD", ColumnTypeError, "'v' is INT64"),
    ],
)
def test_a_table_of_another_shape_is_refused_at_open(
    server: LocalServer, connection: Connection, table: str, columns: str, error: Any, text: str
) -> None:
    """What the options name must be what the table has; nothing is changed."""
    create(connection, table, columns)
    before = columns_of(connection, table)
    options = options_of(
        server,
        None,
        table=table,
        tags=["site", "machine"],
        attributes=["maker"],
        timeseries_option_list=[TimeseriesOption(path="v", data_type=TSDataType.DOUBLE)],
    )
    with pytest.raises(error, match=text):
        IoTDBSink(options).open()
    assert columns_of(connection, table) == before


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"table": "press"}, "neither database.table"),
        ({"table": "root.plant.press"}, "path of the tree model"),
        ({"table": "a.b", "storage_group": "root.sg"}, "storage_group="),
        ({"table": "a.b", "aligned": True}, "aligned="),
        ({"tags": ["site"]}, "tags= needs table="),
        ({"attributes": ["maker"]}, "attributes= needs table="),
        ({"table": "a.b", "tags": "site"}, "must be a list"),
        ({"table": "a.b", "tags": ["site", "Site"]}, "one column"),
        ({"table": "a.b", "tags": ["site"], "attributes": ["site"]}, "more than once"),
        ({"table": "a.b", "tags": ["time"]}, "the time itself"),
        ({"table": "a.b", "tags": [1]}, "1"),
        (
            {
                "table": "a.b",
                "timeseries_option_list": [TimeseriesOption(path="v", encoding=TSEncoding.RLE)],
            },
            "has an encoding",
        ),
        (
            {
                "table": "a.b",
                "timeseries_option_list": [
                    TimeseriesOption(path="v", compression=CompressionType.LZ4)
                ],
            },
            "a compression",
        ),
        ({"table": "a.b", "timeseries_option_list": [TimeseriesOption()]}, "names no column"),
    ],
)
def test_options_of_the_other_model_are_refused(given: dict[str, Any], text: str) -> None:
    """A table has no storage group, alignment, encodings or compressions; a device has no tags."""
    with pytest.raises(OptionsError, match=text):
        IoTDBOptions(**given)


def test_a_url_may_name_the_database() -> None:
    """Of a bare table name; a table that names its own keeps it."""
    options = IoTDBOptions(url="iotdb://root@127.0.0.1:1/Plant", table="press")
    assert (options.target.database, options.target.table) == ("plant", "press")
    assert options.storage_group is None
    other = IoTDBOptions(url="iotdb://root@127.0.0.1:1/plant", table='"my.db".press')
    assert (other.target.database, other.target.table) == ("my.db", "press")


class Own:
    """A user's own serializer: gives what it is given."""

    def serialize(self, event: Any) -> Any:
        """The event itself."""
        return event


def test_a_users_own_serializer_gives_rows_with_tags(
    options: IoTDBOptions, connection: Connection, table: str
) -> None:
    """A mapping, some of them, a frame, or nothing."""
    with IoTDBSink(options, Own(), batch_size=100) as sink:
        tickets = [
            sink.send(event(0)),
            sink.send(event(i) for i in (1, 2)),
            sink.send(None),
            sink.send([]),
            sink.send(pa.table({"time": pa.array([T0 + 3], pa.timestamp("ms")), "v": [3.0]})),
        ]
        sink.flush(60)
    assert [ticket.n_rows for ticket in tickets] == [1, 2, 0, 0, 1]
    assert rows(connection, table, "site", "v") == [
        (0, "A", 0.0),
        (1, "A", 1.0),
        (2, "A", 2.0),
        (3, None, 3.0),
    ]


def test_columns_of_tree_devices_are_refused(options: IoTDBOptions) -> None:
    """What makes a `DeviceColumns` cannot feed a table."""
    with pytest.raises(OptionsError, match="tree model"):
        IoTDBSink(options, DefaultIoTSerializationSchema())
    made = DeviceColumns("root.sg.d1", {"v": 1.5}, T0)
    with IoTDBSink(options, Own()) as sink:
        for given in (made, [made]):
            with pytest.raises(OptionsError, match="a DeviceColumns is of the tree model"):
                sink.send(given)
        assert sink.stats.queued == 0


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (event(0, 7), "tag 'site' must hold text, not 7"),
        ([event(0), event(0, 7)], "'site'"),
        (pd.DataFrame({"site": [7], "v": [1.5]}, index=pd.to_datetime([T0], unit="ms")), "'site'"),
        ({**event(0), "machine": ["m1"]}, "tag 'machine' must hold text"),
        (event(0, "\ud800"), "lone surrogate"),
        ({"site": "A", "time": T0, "maker": "Acme"}, "no field"),
        ([event(0), {"site": "A", "time": T0}], "no field"),
        (pa.table({"time": pa.array([T0], pa.timestamp("ms")), "site": ["A"]}), "no field"),
        (42, "not known"),
    ],
)
def test_what_is_no_row_of_a_table_is_not_taken(
    options: IoTDBOptions, given: Any, text: str
) -> None:
    """`send` says which column, and nothing of the event is taken."""
    with IoTDBSink(options, batch_size=10) as sink:
        with pytest.raises(IoTDBFramesError, match=text):
            sink.send(given)
        assert sink.stats.queued == 0


def test_refused_rows_are_kept_with_their_tags(
    options: IoTDBOptions, connection: Connection, table: str, tmp_path: Path
) -> None:
    """A dead letter names the tags; all rows around it are stored, of its device too."""
    create(connection, table, "site STRING TAG, machine STRING TAG, v DOUBLE FIELD")
    sink = IoTDBSink(options, batch_size=100, on_error="collect", dead_letter=tmp_path)
    with sink:
        good = sink.send([event(i) for i in range(3)])
        bad = sink.send(event(3, "B", v="many"))
        mixed = sink.send(event(4, "B", v=4.0, maker=5))
        unfit = sink.send([event(5, "B"), event(5, 7)])
        also_good = sink.send(event(6, "B"))
        sink.flush(60)
        stats, counted = sink.stats, sink.device_stats()
    assert good.acked
    assert also_good.acked
    for ticket in (bad, mixed, unfit):
        with pytest.raises(IoTDBFramesError):
            ticket.wait(0)
    assert (stats.acknowledged, stats.rejected) == (5, 3)
    assert counted["rejected"].to_dict() == {("A", "m1"): 0, ("B", "m1"): 2}
    assert rows(connection, table, "site", "v") == [
        (0, "A", 0.0),
        (1, "A", 1.0),
        (2, "A", 2.0),
        (5, "B", 5.0),
        (6, "B", 6.0),
    ]
    kept = [pd.read_parquet(file) for file in sorted(tmp_path.iterdir())]
    named = [frame for frame in kept if "site" in frame.columns]
    assert [(f["site"][0], f["machine"][0]) for f in named] == [("B", "m1")] * 2
    assert len(kept) == 3


def test_a_column_that_lanes_bring_at_once_has_one_type(
    options: IoTDBOptions, connection: Connection, table: str
) -> None:
    """Of whole and other numbers for a new column, none is rounded: one kind of them is refused."""
    large = (1 << 53) + 1
    errors: list[Any] = []
    refused = IoTDBSink(
        options, session_pool_size=4, on_error=lambda found, error: errors.append(found.num_rows)
    )
    n_columns = 12
    with refused as sink:
        for i in range(n_columns):
            for machine in range(4):
                sink.send(event(i, machine=f"m{machine}", **{f"v{i}": [large, 0.5][machine % 2]}))
        sink.flush(60)
    n_stored = 0
    for i in range(n_columns):
        got = [v for _, v in rows(connection, table, f"v{i}") if v is not None]
        assert set(got) in ({large}, {0.5})
        n_stored += len(got)
    assert n_stored + sum(errors) == 4 * n_columns


def test_a_table_that_is_made_anew_is_looked_at_again(
    options: IoTDBOptions, connection: Connection, table: str
) -> None:
    """Where somebody else changes a column's type, rows are planned for it as it is now."""
    with IoTDBSink(options, session_pool_size=4) as sink:
        sink.send([event(i, machine=f"m{i}", v=i) for i in range(8)]).wait(60)
        run(connection, f"DROP TABLE {table}")
        create(connection, table, "site STRING TAG, machine STRING TAG, v INT32 FIELD")
        for i in range(8):
            sink.send(event(i, machine=f"m{i}", v=i))
        sink.flush(60)
    assert columns_of(connection, table)["v"] == ("INT32", "FIELD")
    assert [v for _, v in rows(connection, table, "v")] == list(range(8))


def test_only_rows_out_of_their_time_to_live_are_refused(
    options: IoTDBOptions, connection: Connection, table: str
) -> None:
    """Rows of the same request that are young enough are stored, each combination's."""
    create(connection, table, "site STRING TAG, machine STRING TAG, v DOUBLE FIELD")
    run(connection, f"ALTER TABLE {table} SET PROPERTIES TTL=86400000")
    now = pd.Timestamp.now("UTC").floor("ms")
    times = [now - pd.Timedelta(days=days) for days in (3, 0, 2, 0)]
    frame = pd.DataFrame(
        {"site": ["A", "A", "B", "B"], "machine": "m1", "v": np.arange(4.0)},
        index=pd.DatetimeIndex(times),
    )
    n_refused: list[int] = []
    sink = IoTDBSink(
        options,
        batch_size=100,
        session_pool_size=1,
        on_error=lambda found, error: n_refused.append(found.num_rows),
    )
    with sink:
        sink.send(frame)
        sink.flush(60)
        assert (sink.stats.acknowledged, sink.stats.rejected) == (2, 2)
    assert sum(n_refused) == 2
    assert [v for _, v in rows(connection, table, "v")] == [1.0, 3.0]


def test_a_spool_keeps_rows_of_a_table(
    options: IoTDBOptions, connection: Connection, table: str, tmp_path: Path
) -> None:
    """The next start sends what a crash left, with its tags; another table's sink leaves it."""
    home = (options.target.sql, "site", "machine")
    left = Spool(tmp_path, home=home)
    idle = IoTDBSink(options, batch_size=1_000_000, flush_interval_s=600, spool=tmp_path / "own")
    with idle as sink:
        for given in (event(0), [event(1), event(1, None, "", v=1.0)], event(2, "A", "m2")):
            _, entries = sink._entries_of(given, sink._pending)
            left.append([to_stream(entry.columns(), home=home) for entry in entries])
    left.close()
    tree = IoTDBOptions(host="127.0.0.1", port=options.port, storage_group="root.other")
    other = IoTDBOptions(host="127.0.0.1", port=options.port, table=table, tags=["machine", "site"])
    for wrong in (tree, other):
        with pytest.raises(OptionsError, match="holds rows of the table"):
            IoTDBSink(wrong, spool=tmp_path).open()
    with IoTDBSink(options, spool=tmp_path) as again:
        again.flush(60)
        assert again.stats.replayed == 4
    assert rows(connection, table, "site", "machine", "v") == [
        (0, "A", "m1", 0.0),
        (1, "A", "m1", 1.0),
        (2, "A", "m2", 2.0),
        (1, None, "", 1.0),
    ]
    assert not list(tmp_path.glob("*.batches"))


def test_rows_of_a_table_wait_for_a_server_that_is_away(
    server: LocalServer, connection: Connection, table: str, caplog: pytest.LogCaptureFixture
) -> None:
    """They are tried again until it takes them, in order, counted per combination of tags."""
    road = Road(server.port)
    options = options_of(server, None, port=road.port, table=table, tags=["site", "machine"])
    try:
        with IoTDBSink(options, batch_size=10) as sink:
            sink.send([event(i, machine=f"m{i}") for i in range(4)])
            sink.flush(60)
            road.block()
            for value in (1.5, 2.5):
                sink.send([event(0, machine=f"m{i}", v=value) for i in range(4)])
            sink._pending.make_due()
            while "waiting for the server" not in caplog.text:
                time.sleep(0.01)
            road.clear()
            sink.flush(60)
            stats, retried = sink.stats, sink.device_stats()["retried"]
    finally:
        road.close()
    assert (stats.acknowledged, stats.rejected) == (12, 0)
    assert (retried > 0).any()
    assert retried.max() <= stats.retried
    assert [r for r in rows(connection, table, "machine", "v") if not r[0]] == [
        (0, f"m{i}", 2.5) for i in range(4)
    ]


def test_who_may_only_insert_writes_into_a_table_that_is_there(
    server: LocalServer, connection: Connection, table: str
) -> None:
    """Of a table that nobody may look at for them the types are not compared; others refuse."""
    create(connection, table, "site STRING TAG, machine STRING TAG, v DOUBLE FIELD")
    run(
        connection,
        "CREATE USER sinkwriter 'onlyInserts1234'",
        f"GRANT INSERT ON TABLE {table} TO USER sinkwriter",
    )
    try:
        for name, is_taken in ((table, True), (f"{table}2", False)):
            options = IoTDBOptions(
                host="127.0.0.1",
                port=server.port,
                user="sinkwriter",
                password="onlyInserts1234",
                table=name,
                tags=["site", "machine"],
            )
            refused: list[IoTDBFramesError] = []
            with IoTDBSink(options, on_error=lambda _, error, to=refused: to.append(error)) as sink:
                sink.send(event(0))
                sink.flush(60)
            assert [type(error) for error in refused] == [PermissionDenied] * (not is_taken)
    finally:
        run(connection, "DROP USER sinkwriter")
    assert rows(connection, table, "site", "v") == [(0, "A", 0.0)]


def test_the_async_face_writes_a_table(
    options: IoTDBOptions, connection: Connection, table: str
) -> None:
    """In coroutines it is the same."""

    async def feed() -> pd.DataFrame:
        async with IoTDBSink(options, batch_size=10) as sink:
            for i in range(3):
                await sink.send(event(i))
            await sink.flush(60)
            return sink.device_stats()

    assert asyncio.run(feed())["acknowledged"].to_dict() == {("A", "m1"): 3}
    assert [v for _, v in rows(connection, table, "v")] == [0.0, 1.0, 2.0]


def test_a_table_without_tags(server: LocalServer, connection: Connection, table: str) -> None:
    """All of its rows are of one device."""
    with IoTDBSink(options_of(server, None, table=table), batch_size=10) as sink:
        for i in range(3):
            sink.send({"time": T0 + i, "v": float(i)})
        sink.send(pd.DataFrame({"v": [3.0]}, index=pd.to_datetime([T0 + 3], unit="ms")))
        sink.flush(60)
        assert sink.device_stats()["acknowledged"].tolist() == [4]
    found = query_table(connection, f"SELECT v FROM {table} ORDER BY time", model="table")
    assert found["v"].to_pylist() == [0.0, 1.0, 2.0, 3.0]


def test_a_fleet_is_streamed_into_a_table(
    server: LocalServer, connection: Connection, table: str
) -> None:
    """Its tags are those of the sink, which refuses a fleet that it would not tell apart."""
    fleet = iotf.simulate_fleet(3, model="table", rate_hz=10)
    options = options_of(server, None, table=table, tags=list(fleet.tags))
    with IoTDBSink(options, batch_size=100) as sink:
        runner = fleet.stream(to=sink, window=10, speed=float("inf"), duration=5)
        runner.run()
        assert sink.device_stats()["acknowledged"].tolist() == [50] * 3
    found = query_table(connection, f"SELECT count(*) AS n FROM {table}", model="table")
    assert found["n"].to_pylist() == [150]
    with pytest.raises(OptionsError, match="does not name it"):
        fleet.stream(to=IoTDBSink(options_of(server, None, table=table, tags=["other"])))
