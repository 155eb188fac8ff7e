"""What was seen of the schema is believed for a while; every way it can be wrong ends well.

`own` is the connection that writes; `connection`, which the other tests share, is another client.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from iotdb_frames.client.connect import connect
from iotdb_frames.client.connection import Connection
from iotdb_frames.codec.names import parse_target
from iotdb_frames.codec.statements import may_change_schema
from iotdb_frames.errors import (
    ColumnTypeError,
    FrameError,
    IoTDBFramesError,
    OptionsError,
    PartialWriteError,
)
from iotdb_frames.options import ConnectionOptions, RetryPolicy, write_options
from iotdb_frames.reads.read import read
from iotdb_frames.reads.show import show
from iotdb_frames.reads.sql import execute, read_sql
from iotdb_frames.server import LocalServer
from iotdb_frames.writes.frame_writer import FrameWriter
from iotdb_frames.writes.schema.cache import cache_of
from iotdb_frames.writes.undo import delete, drop
from iotdb_frames.writes.writer import plan, write
from proxy import proxy_to
from turned import TurnedClock

MODELS = pytest.mark.parametrize("model", ["tree", "table"])
START = pd.Timestamp("2024-01-01").as_unit("ms")


@pytest.fixture
def clock() -> TurnedClock:
    """What ages go by."""
    return TurnedClock("nobody")


@pytest.fixture
def own(server: LocalServer, clock: TurnedClock) -> Iterator[Connection]:
    """The connection that writes."""
    with Connection(lambda: server.options, label="own", clock=clock) as made:
        yield made


@pytest.fixture
def target(model: str, device: str, table: str) -> str:
    """A device or a table that is the test's own."""
    return device if model == "tree" else table


def frame(*values: Any, at: int = 0, **more: Any) -> pd.DataFrame:
    """A row a second from `at` on, with the column x and others."""
    index = pd.DatetimeIndex([START + pd.Timedelta(seconds=at + i) for i in range(len(values))])
    return pd.DataFrame({"x": list(values), **more}, index.as_unit("ms").rename("time"))


def sql(connection: Connection, *statements: str) -> None:
    """Statements of either model, which their target says."""
    for text in statements:
        model = "tree" if "root." in text else "table"
        execute(text, model=model, connection=connection)


def kind_of(connection: Connection, target: str) -> str:
    """The type of x on the server."""
    if target.startswith("root."):
        found = read_sql(f"SHOW TIMESERIES {target}.x", model="tree", connection=connection)
        return str(found["DataType"].iloc[0])
    found = read_sql(f"DESC {target}", model="table", connection=connection)
    return str(found.set_index("ColumnName")["DataType"]["x"])


def retype(connection: Connection, target: str, kind: str, *, aligned: bool = True) -> None:
    """Drop x with what stands there, and make it with another type."""
    drop(target, connection=connection)
    if target.startswith("root."):
        what = f"CREATE ALIGNED TIMESERIES {target}(x {kind})"
        what = what if aligned else f"CREATE TIMESERIES {target}.x {kind}"
        sql(connection, what)
    else:
        sql(connection, f"CREATE TABLE {target} (x {kind} FIELD)")


# --- believed ----------------------------------------------------------------------------------


@MODELS
def test_writes_that_follow_each_other_look_once(
    own: Connection, target: str, looks: list[Any]
) -> None:
    """The first call looks and makes what is missing, the next ones ask nothing."""
    for i in range(4):
        write(frame(float(i), at=i), target, connection=own)
    assert len(looks) == 1
    assert read(target, connection=own)["x"].tolist() == [0, 1, 2, 3]


@MODELS
def test_an_age_ends(own: Connection, clock: TurnedClock, target: str, looks: list[Any]) -> None:
    """After ten seconds the server is asked again, and not before."""
    write(frame(1.0), target, connection=own)
    clock.turn(9.9)
    write(frame(1.0), target, connection=own)
    assert len(looks) == 1
    clock.turn(0.2)
    write(frame(1.0), target, connection=own)
    assert len(looks) == 2


@MODELS
def test_an_age_of_zero_looks_each_time(server: LocalServer, target: str, looks: list[Any]) -> None:
    """``schema_age_s=0`` believes nothing, frame by frame of a stream, too."""
    options = replace(server.options, schema_age_s=0)
    with Connection(lambda: options, label="own") as own:
        for i in range(3):
            write(frame(1.0, at=i), target, connection=own)
        assert len(looks) == 3
        writer = FrameWriter(own, parse_target(target), write_options({}))
        writer.write(frame(1.0))
        writer.write(frame(1.0))
        writer.close()
    assert len(looks) == 5


def test_the_age_is_an_option() -> None:
    """It comes from a URL or a keyword, and is no negative number."""
    assert connect("iotdb://h?schema_age_s=0&connect_timeout_s=1").options.schema_age_s == 0
    assert connect("iotdb://h", schema_age_s=2).options.schema_age_s == 2
    for value in (-1, float("nan"), float("inf")):
        with pytest.raises(OptionsError, match="schema_age_s"):
            ConnectionOptions(schema_age_s=value)


@MODELS
def test_a_new_column_is_asked_for(own: Connection, target: str, looks: list[Any]) -> None:
    """Only what is there is believed: a column that was not is looked for, whoever made it."""
    write(frame(1.0), target, connection=own)
    write(frame(1.0, y=[2]), target, connection=own)
    assert len(looks) == 2
    write(frame(1.0, at=1, y=[3]), target, connection=own)
    assert len(looks) == 2
    assert read(target, connection=own)["y"].tolist() == [2, 3]


@MODELS
def test_a_column_without_values_asks_nothing(
    own: Connection, target: str, looks: list[Any]
) -> None:
    """A column of nulls that have no type is left out, call after call, without a look."""
    for i in range(3):
        write(frame(1.0, at=i, y=[None]), target, connection=own)
    assert len(looks) == 1


@MODELS
def test_a_plan_always_looks(
    own: Connection, connection: Connection, target: str, looks: list[Any]
) -> None:
    """`plan` shows the server as it is now, and the next write goes by that."""
    write(frame(1.0), target, connection=own)
    retype(connection, target, "INT64")
    looks.clear()
    (column,) = plan(frame(1.0), target, connection=own).parts[0].columns
    assert column.data_type is not None
    assert column.data_type.name == "INT64"
    write(frame(2**53 + 1), target, connection=own)
    assert len(looks) == 1
    assert read(target, connection=own)["x"].tolist() == [2**53 + 1]


@MODELS
def test_each_connection_believes_its_own(
    own: Connection, server: LocalServer, target: str, looks: list[Any]
) -> None:
    """Two connections to one server share nothing of what they saw."""
    write(frame(1.0), target, connection=own)
    with Connection(lambda: server.options, label="own") as other:
        write(frame(1.0), target, connection=other)
    assert len(looks) == 2


def test_a_fleet_that_the_server_makes_is_remembered(
    own: Connection, device: str, looks: list[Any]
) -> None:
    """Devices that are left to the server to create are asked for once."""
    rows = frame(*map(float, range(40)), d=[f"d{i}" for i in range(40)])
    for _ in range(3):
        write(rows, device, device="d", connection=own)
    assert len(looks) == 1


# --- changed through this connection -----------------------------------------------------------

CHANGES: dict[str, Callable[[Connection, str], object]] = {
    "execute": lambda own, target: execute(
        f"CREATE TIMESERIES {target}.other INT32"
        if target.startswith("root.")
        else f"ALTER TABLE {target} ADD COLUMN other INT32 FIELD",
        model="tree" if target.startswith("root.") else "table",
        connection=own,
    ),
    "run": lambda own, target: (
        own.run(lambda session: session.execute(f"DELETE TIMESERIES {target}.**"), model="tree")
        if target.startswith("root.")
        else own.run(lambda session: session.execute(f"DROP TABLE {target}"), model="table")
    ),
    "drop": lambda own, target: drop(target, connection=own),
    "delete": lambda own, target: delete(target, connection=own),
    "refused": lambda own, target: refused(own),
}


def refused(own: Connection) -> None:
    """A statement that the server does not run."""
    with pytest.raises(IoTDBFramesError):
        execute("CREATE TIMESERIES nowhere", model="tree", connection=own)


@MODELS
@pytest.mark.parametrize("how", CHANGES)
def test_a_statement_drops_what_was_seen(
    own: Connection, target: str, how: str, looks: list[Any]
) -> None:
    """After any statement that is not a query, however it was sent, the server is asked again."""
    write(frame(1.0), target, connection=own)
    CHANGES[how](own, target)
    looks.clear()
    write(frame(2.0), target, connection=own)
    assert len(looks) == 1
    assert read(target, connection=own)["x"].tolist() == [2.0]


@MODELS
def test_a_session_of_the_pool_drops_it_too(own: Connection, target: str, model: Any) -> None:
    """Who takes a session and retypes the series with it is seen by the next write."""
    write(frame(1.0), target, connection=own)
    with own.pool(model).session() as session:
        if model == "tree":
            session.execute(f"DELETE TIMESERIES {target}.x")
            session.execute(f"CREATE ALIGNED TIMESERIES {target}(x INT64)")
        else:
            session.execute(f"DROP TABLE {target}")
            session.execute(f"CREATE TABLE {target} (x INT64 FIELD)")
    write(frame(2**53 + 1), target, connection=own)
    assert kind_of(own, target) == "INT64"
    assert read(target, connection=own)["x"].tolist() == [2**53 + 1]


@MODELS
def test_queries_drop_nothing(own: Connection, target: str, looks: list[Any]) -> None:
    """Reads, SHOW, DESC, COUNT and FLUSH leave what was seen."""
    write(frame(1.0), target, connection=own)
    read(target, connection=own)
    show("databases", connection=own)
    execute("FLUSH", model="tree", connection=own)
    looks.clear()
    write(frame(1.0), target, connection=own)
    assert looks == []


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("SELECT x FROM root.a", False),
        ("  (select 1)", False),
        ("/* a */ -- b\n SHOW devices", False),
        ("explain analyze select x from t", False),
        ("WITH a AS (SELECT 1) SELECT * FROM a", False),
        ("select x into root.b(x) from root.a", True),
        ("EXPLAIN ANALYZE SELECT x INTO root.b(x) FROM root.a", True),
        ("INSERT INTO t(time, x) VALUES (1, 2)", True),
        ("-- drop\nDROP TABLE t", True),
        ("execute p", True),
        ("", True),
        ("`odd`", True),
    ],
)
def test_what_may_change_the_schema(text: str, changes: bool) -> None:
    """A statement is taken for a change unless it is sure that it is none."""
    assert may_change_schema(text) is changes


@MODELS
def test_what_a_write_made_is_not_believed_after_a_drop(
    own: Connection, target: str, looks: list[Any]
) -> None:
    """A DROP between the look of a write and what it remembers of itself counts."""
    planned = plan(frame(1.0), target, connection=own)
    write(frame(1.0), target, connection=own)
    drop(target, connection=own)
    looks.clear()
    write(frame(1), target, connection=own)
    cache_of(own).remember(planned, planned.missing())
    assert len(looks) == 1
    write(frame(2**53 + 1), target, connection=own)
    assert kind_of(own, target) == "INT64"
    assert read(target, connection=own)["x"].tolist() == [2**53 + 1]


# --- changed by another client within the age ----------------------------------------------------


@MODELS
def test_a_refused_frame_is_planned_anew(
    own: Connection, connection: Connection, target: str
) -> None:
    """A retyped series refuses the values; looked at again, they fit exactly and are stored."""
    write(frame(1.0), target, connection=own)
    retype(connection, target, "INT64")
    report = write(frame(7.0, 8.0), target, connection=own)
    assert (report.rows_written, report.points, report.is_complete) == (2, 2, True)
    assert kind_of(connection, target) == "INT64"
    assert read(target, connection=own)["x"].tolist() == [7, 8]


@MODELS
def test_what_the_new_plan_refuses_may_be_partly_stored(
    own: Connection, connection: Connection, target: str
) -> None:
    """Values that do not fit any more are a PartialWriteError: other columns may be there."""
    write(frame(1.0, y=[0.5]), target, connection=own)
    retype(connection, target, "INT64")
    with pytest.raises(PartialWriteError, match=r"x.*INT64.*schema changed") as caught:
        write(frame(7.5, 8.0, y=[1.0, 2.0]), target, connection=own)
    assert caught.value.report is not None
    assert [f.state for f in caught.value.report.failures] == ["partly stored"]
    with pytest.raises(ColumnTypeError, match="INT64"):  # and now it is known before
        write(frame(7.5), target, connection=own)


@MODELS
def test_what_no_longer_fits_is_collected(
    own: Connection, connection: Connection, target: str, tmp_path: Path
) -> None:
    """Under ``on_error="collect"`` the rows that the new plan refuses are filed, others stored."""
    write(frame(1.0), target, connection=own)
    retype(connection, target, "INT64")
    report = write(
        frame(7.5, 8.0),
        target,
        connection=own,
        on_error="collect",
        dead_letter=tmp_path / "bad.parquet",
    )
    assert (report.rows_written, report.rows_refused) == (1, 1)
    assert pd.read_parquet(tmp_path / "bad.parquet")["x"].tolist() == [7.5]
    assert read(target, connection=own)["x"].tolist() == [8]


@MODELS
def test_what_seems_not_to_fit_is_asked_for(
    own: Connection, connection: Connection, target: str
) -> None:
    """A frame that does not fit what was seen, and fits what is there now, is written."""
    write(frame(1), target, connection=own)
    retype(connection, target, "DOUBLE")
    assert write(frame(0.5), target, connection=own).rows_written == 1
    assert read(target, connection=own)["x"].tolist() == [0.5]


@MODELS
def test_what_was_dropped_is_made_again(
    own: Connection, connection: Connection, target: str
) -> None:
    """Series and tables that another client dropped take the next rows as before."""
    write(frame(1.0), target, connection=own)
    drop(target, connection=connection)
    write(frame(2.0), target, connection=own)
    assert kind_of(connection, target) == "DOUBLE"
    assert read(target, connection=own)["x"].tolist() == [2.0]


@pytest.mark.parametrize("aligned", [True, False])
def test_a_device_that_is_aligned_otherwise(
    own: Connection, connection: Connection, device: str, aligned: bool
) -> None:
    """A device that was made again, non-aligned or aligned, is written its own way."""
    write(frame(1.0), device, aligned=aligned, connection=own)
    retype(connection, device, "DOUBLE", aligned=not aligned)
    report = write(frame(2.0), device, aligned=aligned, connection=own)
    assert report.rows_written == 1
    assert read(device, connection=own)["x"].tolist() == [2.0]


@MODELS
def test_a_database_that_is_gone(
    own: Connection, connection: Connection, database: str, model: str
) -> None:
    """The database is deleted by another client: it is made again, and the rows are there."""
    target = f"root.{database}.d" if model == "tree" else f"{database}.t"
    write(frame(1.0), target, connection=own)
    if model == "tree":
        sql(connection, f"DELETE DATABASE root.{database}", f"CREATE DATABASE root.{database}")
    else:
        sql(connection, f"DROP DATABASE {database}")
    report = write(frame(2.0), target, connection=own)
    if model == "table":
        sql(connection, f"CREATE DATABASE IF NOT EXISTS {database}")
    assert report.rows_written == 1
    assert read(target, connection=own)["x"].tolist() == [2.0]


def test_a_column_of_another_category(own: Connection, connection: Connection, table: str) -> None:
    """A tag that is a field now: the rows are planned anew, and refused or stored, by name."""
    rows = frame(1.0, who=["a"])
    write(rows, table, tags=["who"], connection=own)
    drop(table, connection=connection)
    sql(connection, f"CREATE TABLE {table} (who STRING FIELD, x DOUBLE FIELD)")
    with pytest.raises(PartialWriteError, match=r"who.*field"):
        write(rows, table, tags=["who"], connection=own)
    write(rows, table, connection=own)
    assert read(table, connection=own)["who"].tolist() == ["a"]


def test_one_device_of_many(own: Connection, connection: Connection, device: str) -> None:
    """One of many devices that is retyped refuses its rows; the others are stored."""
    names = [f"d{i}" for i in range(20)]
    rows = frame(*[float(i) for i in range(20)], d=names)
    write(rows, device, device="d", connection=own)
    retype(connection, f"{device}.d7", "INT64")
    with pytest.raises(PartialWriteError, match="different devices"):
        write(rows, device, device="d", connection=own)
    assert read(f"{device}.d6", connection=own)["x"].tolist() == [6.0]
    assert read(f"{device}.d7", connection=own).empty


def test_replace_always_looks(own: Connection, connection: Connection, table: str) -> None:
    """A field that another client added a moment ago is not deleted unseen."""
    write(frame(1.0), table, connection=own)
    sql(
        connection,
        f"ALTER TABLE {table} ADD COLUMN y INT32 FIELD",
        f"INSERT INTO {table}(time, y) VALUES ({START.value // 10**6}, 5)",
    )
    with pytest.raises(FrameError, match="lacks: y"):
        write(frame(2.0), table, replace=True, connection=own)
    found = read(table, connection=own)
    assert (found["x"].tolist(), found["y"].tolist()) == ([1.0], [5])


def test_a_template_that_comes_in_between(
    own: Connection, connection: Connection, device: str
) -> None:
    """A device that was dropped, and is below a template now, is written as that says."""
    target, name = f"{device}.a", device.replace(".", "_")
    write(frame(1.0), target, connection=own)
    drop(target, connection=connection)
    for text in (
        f"CREATE DEVICE TEMPLATE {name} (x INT64)",
        f"SET DEVICE TEMPLATE {name} TO {device}",
    ):
        execute(text, model="tree", connection=connection)
    report = write(frame(2.0), target, connection=own)
    assert report.rows_written == 1
    assert kind_of(connection, target) == "INT64"
    assert read(target, connection=own)["x"].tolist() == [2]


@MODELS
def test_a_stream_goes_on_after_a_change(
    own: Connection, connection: Connection, target: str
) -> None:
    """Frames of one writer that follow a change are planned by it, those before are stored."""
    writer = FrameWriter(own, parse_target(target), write_options({}))
    writer.write(frame(1.0))
    writer._sender.drain()
    retype(connection, target, "INT64")
    for i in range(2, 5):
        writer.write(frame(float(i), at=i))
    writer.close()
    assert writer.report.is_complete
    assert read(target, connection=own)["x"].tolist() == [2, 3, 4]


# --- other processes, other servers, other threads ----------------------------------------------


@MODELS
def test_a_write_that_failed_is_not_believed(
    server: LocalServer, clock: TurnedClock, target: str, looks: list[Any]
) -> None:
    """What a write would have made is not taken for made when its rows got no answer."""
    with proxy_to(server.port) as proxy:
        options = replace(server.options, hosts=(("127.0.0.1", proxy.port),), connect_timeout_s=2.0)
        with Connection(lambda: options, label="own", retry=RetryPolicy(attempts=2)) as own:
            write(frame(1.0), target, connection=own)
            proxy.answer_cuts = 2
            with pytest.raises(IoTDBFramesError):
                write(frame(2.0), target, connection=own, retry=RetryPolicy(attempts=2))
            proxy.answer_cuts = 0
            looks.clear()
            write(frame(3.0), target, connection=own)
            assert len(looks) == 1


@MODELS
def test_another_server_at_the_same_address(
    server: LocalServer, connection: Connection, target: str
) -> None:
    """Once its sessions end, nothing that was seen of the server is believed of the next."""
    with LocalServer() as second, proxy_to(server.port) as proxy:
        options = replace(server.options, hosts=(("127.0.0.1", proxy.port),))
        with (
            Connection(lambda: options, label="own") as own,
            Connection(lambda: second.options, label="second") as there,
        ):
            write(frame(1.0), target, connection=own)
            if target.startswith("root."):
                sql(there, f"CREATE ALIGNED TIMESERIES {target}(x INT64)")
            else:
                sql(there, f"CREATE DATABASE {target.split('.')[0]}")
                sql(there, f"CREATE TABLE {target} (x INT64 FIELD)")
            options = replace(second.options, hosts=options.hosts)
            proxy.turn_to(second.port)
            write(frame(2**53 + 1), target, connection=own)
            assert kind_of(there, target) == "INT64"
            assert read(target, connection=there)["x"].tolist() == [2**53 + 1]
    assert read(target, connection=connection)["x"].tolist() == [1.0]


FORKED = """
import os, sys, warnings
import pandas as pd
import iotdb_frames as iotf
from iotdb_frames.writes.schema import look
url, target = sys.argv[1:]
frame = pd.DataFrame({"x": [1.0]}, pd.DatetimeIndex(["2024-01-01"]).as_unit("ms"))
with iotf.connect(url) as connection:
    iotf.write(frame, target, connection=connection)
    asked = []
    ask = look.look_at_devices
    look.look_at_devices = lambda *given: asked.append(given) or ask(*given)
    warnings.simplefilter("ignore", DeprecationWarning)
    child = os.fork()
    if child == 0:
        iotf.write(frame, target, connection=connection)
        iotf.write(frame, target, connection=connection)
        os._exit(10 + len(asked))
    _, status = os.waitpid(child, 0)
    iotf.write(frame, target, connection=connection)
    print(os.waitstatus_to_exitcode(status) - 10, len(asked))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_a_fork_looks_itself(server: LocalServer, device: str) -> None:
    """A forked process is another client: it begins with nothing seen, the parent goes on."""
    done = subprocess.run(
        [sys.executable, "-c", FORKED, server.url, device],
        env={**os.environ, "IOTDB_PASSWORD": str(server.options.password)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.stdout.split(), done.stderr) == (["1", "0"], "")


@MODELS
def test_threads_share_what_was_seen(own: Connection, target: str) -> None:
    """Eight threads write to one new target, each a column more at a time; nothing is lost."""

    def some(number: int) -> None:
        for i in range(6):
            rows = frame(float(i), at=number * 10 + i, **{f"y{i}": [number]})
            assert write(rows, target, connection=own).is_complete

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(some, range(8)))
    found = read(target, connection=own)
    assert len(found) == 48
    assert found["x"].tolist() == [float(i) for _ in range(8) for i in range(6)]
    assert found.filter(like="y").notna().sum().tolist() == [8] * 6
