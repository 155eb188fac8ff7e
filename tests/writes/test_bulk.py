"""The bulk road: what is loaded as files is the database of tablets, told, and leaves no litter."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_tsfile import FRAMES, mixed

from full_disk import full_disk
from iotdb_frames.backfills.job import backfill
from iotdb_frames.client.connect import connect
from iotdb_frames.client.connection import Connection
from iotdb_frames.codec.names import parse_target
from iotdb_frames.errors import (
    IoTDBFramesError,
    OptionsError,
    PartialWriteError,
    ServerError,
)
from iotdb_frames.options import RetryPolicy, TimeseriesOption, write_options
from iotdb_frames.reads.read import read
from iotdb_frames.reads.sql import execute, read_sql
from iotdb_frames.server import LocalServer
from iotdb_frames.writes import bulk
from iotdb_frames.writes.frame_writer import FrameWriter
from iotdb_frames.writes.load_files import LoadFiles
from iotdb_frames.writes.writer import write
from proxy import proxy_to

INDEX = pd.date_range("2024-03-01", periods=20_000, freq="10min", name="time")
"""Twenty time partitions."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory that client and server see."""
    path = tmp_path / "see"
    path.mkdir()
    return path


def numbers(n_rows: int = 20_000) -> pd.DataFrame:
    """Two columns, one with missing values."""
    values = np.arange(float(n_rows))
    return pd.DataFrame({"x": values, "y": np.where(values % 3, values, np.nan)}, INDEX[:n_rows])


def is_load(request: bytes) -> bool:
    """Whether it asks for rows to be loaded."""
    return b"LOAD '" in request and b"/probe'" not in request


def by_files(data: Any, target: str, folder: Path, connection: Connection, **options: Any) -> Any:
    """Written by files; the directory is empty afterwards."""
    report = write(
        data, target, connection=connection, method="tsfile", tsfile_dir=folder, **options
    )
    assert not list(folder.iterdir())
    return report


@pytest.mark.parametrize("kind", FRAMES)
def test_both_roads_give_the_same_database(
    connection: Connection, database: str, folder: Path, kind: str
) -> None:
    """Rows, duplicates and points are the same, whichever road they take."""
    make, target, options = FRAMES[kind]
    name = target.format(database)
    is_tree = target.startswith("root")
    read_from = f"root.{database}.**" if is_tree and kind != "wide" else name
    first = write(make(), name, connection=connection, **options)
    wanted = read(read_from, connection=connection)
    drop = f"DELETE TIMESERIES root.{database}.**" if is_tree else f"DROP TABLE {name}"
    execute(drop, model="tree" if is_tree else "table", connection=connection)
    report = by_files(make(), name, folder, connection, **options)
    pd.testing.assert_frame_equal(read(read_from, connection=connection), wanted)
    assert (report.rows_in, report.rows_written) == (first.rows_in, first.rows_written)
    assert report.duplicates == first.duplicates
    assert any("loaded as TsFiles" in note for note in report.notes)


def test_rows_replace_and_are_replaced(connection: Connection, database: str, folder: Path) -> None:
    """The last write wins, whichever road it took, and replace=True clears what stood there."""
    target = f"root.{database}.d"
    write(numbers(), target, connection=connection)
    by_files(numbers().iloc[5:100] + 1, target, folder, connection)
    write(numbers().iloc[:10] + 2, target, connection=connection)
    got = read(target, connection=connection)
    assert got["x"].iloc[:12].tolist() == [*np.arange(10) + 2.0, 11.0, 12.0]
    assert got["x"].iloc[99:102].tolist() == [100.0, 100.0, 101.0]
    by_files(numbers()[["x"]] * 0, target, folder, connection, replace=True)
    got = read(target, connection=connection)
    assert not got["x"].any()
    assert len(got) == 20_000


def test_loads_of_a_bounded_size(
    connection: Connection, database: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frame larger than a LOAD takes goes in several, and each is counted."""
    monkeypatch.setattr(bulk, "LOAD_BYTES", 50_000)
    monkeypatch.setattr(bulk, "PIECE_BYTES", 20_000)
    report = by_files(numbers(), f"root.{database}.d", folder, connection)
    assert report.chunks > 3
    assert (report.rows_written, report.points) == (20_000, int(numbers().count().sum()))
    pd.testing.assert_frame_equal(
        read(f"root.{database}.d", connection=connection),
        numbers(),
        check_index_type=False,
        check_freq=False,
    )


def test_many_time_partitions(connection: Connection, database: str, folder: Path) -> None:
    """Years, also before 1970, go as a file for each partition with rows, so many to a LOAD."""
    index = pd.date_range("2015-01-01", periods=900, freq="D", name="time")
    old = pd.date_range("1965-01-01", periods=10, freq="h", name="time")
    both = pd.DataFrame({"x": np.arange(910.0)}, old.append(index))
    frame = pd.concat([both.assign(d="a"), both.iloc[5:].assign(d="b")])
    frame["y"] = "é"
    report = by_files(frame, f"root.{database}", folder, connection, device="d")
    assert report.rows_written == len(frame)
    assert report.chunks == 1 + 130 // bulk._FILES_AT_ONCE
    for device, n_rows in (("a", 910), ("b", 905)):
        pd.testing.assert_frame_equal(
            read(f"root.{database}.{device}", connection=connection)[["x", "y"]],
            both.assign(y="é").iloc[-n_rows:],
            check_dtype=False,
            check_index_type=False,
            check_freq=False,
        )


def test_partitions_of_a_server_in_nanoseconds(folder: Path) -> None:
    """Its partitions are weeks of its own ticks; rows over more than one LOAD takes are cut."""
    frame = numbers()
    with (
        LocalServer(timestamp_precision="ns") as server,
        Connection(lambda: server.options, label="ns") as own,
    ):
        by_files(frame, "root.p.d", folder, own)
        found = read("root.p.d", connection=own)
        pd.testing.assert_frame_equal(
            found, frame, check_dtype=False, check_index_type=False, check_freq=False
        )


def test_what_a_file_cannot_hold_goes_by_tablets(
    connection: Connection, database: str, folder: Path
) -> None:
    """NaN that is kept, attributes, devices that are not aligned, GORILLA, a time to live."""
    frame = numbers(300)
    frame.index = pd.date_range(pd.Timestamp.now("UTC").floor("s"), periods=300, freq="s")
    tagged = frame.assign(t="a", about="b")
    gorilla = {"x": TimeseriesOption(encoding="GORILLA")}
    cases: list[tuple[Any, str, dict[str, Any], str]] = [
        (frame, "root.{}.nan", {"nan": "keep"}, "'y' has NaN"),
        (tagged, "{}.about", {"tags": ["t"], "attributes": ["about"]}, "attributes"),
        (frame, "root.{}.alone", {"aligned": False}, "not aligned"),
        (frame, "root.{}.gorilla", {"schema": gorilla}, "GORILLA"),
    ]
    for data, target, options, why in cases:
        report = by_files(data, target.format(database), folder, connection, **options)
        assert any("sent as tablets" in n and why in n for n in report.notes), report.notes
        assert report.rows_written == 300
    execute(f"SET TTL TO root.{database}.** 3600000", connection=connection)
    report = by_files(frame, f"root.{database}.ttl", folder, connection)
    assert any("time to live" in note for note in report.notes)
    execute(f"UNSET TTL TO root.{database}.**", connection=connection)


def test_auto_takes_files_where_they_pay(
    connection: Connection, database: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few rows, or few of each device, go as tablets; many as files."""
    options = {"connection": connection, "tsfile_dir": folder}
    monkeypatch.setattr(bulk, "FEW_BYTES", 10_000)
    monkeypatch.setattr(bulk, "ROWS_PER_DEVICE", 100)
    small = write(numbers(50), f"root.{database}.d", **options)
    large = write(numbers(), f"root.{database}.d", **options)
    wide = numbers(4_000).assign(d=[f"d{i % 100}" for i in range(4_000)])
    short = write(wide, f"root.{database}", device="d", **options)
    assert not small.notes
    assert any("loaded as TsFiles" in note for note in large.notes)
    assert not any("TsFile" in note for note in short.notes)


def test_a_load_that_is_refused_goes_as_tablets(
    connection: Connection, database: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under "auto" a series made meanwhile in another type gets its rows as tablets, and a note."""
    monkeypatch.setattr(bulk, "FEW_BYTES", 1)
    target = f"root.{database}.d"
    frame = pd.DataFrame({"x": np.arange(20_000), "y": 1.0}, INDEX)
    writer = FrameWriter(connection, parse_target(target), write_options({"tsfile_dir": folder}))
    write(frame.iloc[:1], target, connection=connection)
    planned = writer.plan(frame)
    execute(f"DELETE TIMESERIES {target}.x", connection=connection)
    write(frame[["x"]].astype(float).iloc[:1], target, connection=connection)
    writer.send(planned, frame)
    writer.close()
    report = writer.report
    assert any("sent as tablets: a LOAD was refused" in note for note in report.notes)
    assert (report.rows_written, report.points) == (20_000, 40_000)
    assert read(target, connection=connection)["x"].tolist() == list(range(20_000))
    assert not list(folder.iterdir())


def test_a_user_with_few_rights(
    server: LocalServer,
    connection: Connection,
    database: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who may write a table may load it; who may not see all times to live sends tablets."""
    monkeypatch.setattr(bulk, "FEW_BYTES", 1)
    target, table = f"root.{database}.d", f"{database}.t"
    write(numbers(5), target, connection=connection)
    write(numbers(5), table, connection=connection)
    user = f"u{database}"
    execute(f"CREATE USER {user} 'Few!Rights-1234'", connection=connection)
    rights = f"GRANT WRITE_DATA,WRITE_SCHEMA ON root.{database}.** TO USER {user}"
    execute(rights, connection=connection)
    execute(f"GRANT INSERT ON {table} TO USER {user}", model="table", connection=connection)
    url = f"iotdb://{user}@127.0.0.1:{server.port}"
    with connect(url, password="Few!Rights-1234") as other:
        told = write(numbers(), target, connection=other, tsfile_dir=folder)
        loaded = write(numbers(), table, connection=other, tsfile_dir=folder)
    execute(f"DROP USER {user}", connection=connection)
    assert any("may not see all times to live" in note for note in told.notes)
    assert any("loaded as TsFiles" in note for note in loaded.notes)
    assert told.rows_written == loaded.rows_written == 20_000
    for name in (target, table):
        assert len(read(name, connection=connection)) == 20_000


@pytest.mark.parametrize(
    ("host", "is_here"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("10.0.0.1", False), ("h", False)],
)
def test_auto_looks_for_files_only_on_this_machine(host: str, is_here: bool) -> None:
    """Without a directory that is named, another machine's disk is not asked for."""
    road = bulk.BulkRoad(connect(hosts=((host, 6667),), password="x"), write_options({}))
    assert road._is_here is is_here


def test_a_directory_that_the_server_does_not_see(
    connection: Connection, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """method="tsfile" is an error that says what to do; "auto" sends tablets and says why."""
    monkeypatch.chdir(tmp_path)
    unseen = "/proc/self/cwd"  # which is another directory to the server
    target = f"root.{database}.d"
    with pytest.raises(OptionsError, match="does not see") as caught:
        write(numbers(), target, connection=connection, method="tsfile", tsfile_dir=unseen)
    assert "tsfile_dir" in str(caught.value.hint)
    monkeypatch.setattr(bulk, "FEW_BYTES", 1)
    report = write(numbers(), target, connection=connection, method="auto", tsfile_dir=unseen)
    assert report.rows_written == 20_000
    assert any("does not see" in note for note in report.notes)
    assert not list(tmp_path.glob("iotdb-frames*"))
    with pytest.raises(OptionsError, match="not a directory"):
        write(numbers(), target, connection=connection, tsfile_dir=tmp_path / "none")


def test_a_type_that_changed_is_refused_whole(
    connection: Connection, database: str, folder: Path
) -> None:
    """A series made meanwhile in another type: an error, no row stored or cast."""
    target = f"root.{database}.d"
    frame = numbers()[["x"]]
    options = write_options({"method": "tsfile", "tsfile_dir": folder})
    write(frame.iloc[:1], target, connection=connection)
    writer = FrameWriter(connection, parse_target(target), options)
    planned = writer.plan(frame)
    execute(f"DELETE TIMESERIES {target}.x", connection=connection)
    text = pd.DataFrame({"x": ["text"]}, INDEX[:1])
    write(text, target, connection=connection)
    writer.send(planned, frame)
    with pytest.raises(ServerError) as caught:
        writer.close()
    report = caught.value.report
    assert report.rows_written == 0
    assert {f.state for f in report.failures} == {"refused"}
    assert read(target, connection=connection)["x"].tolist() == ["text"]
    assert not list(folder.iterdir())


def test_a_full_disk_is_told(connection: Connection, database: str, folder: Path) -> None:
    """What cannot be written ends in an error that names the ways round, and is removed."""
    with full_disk(50_000), pytest.raises(IoTDBFramesError, match="cannot be written") as caught:
        write(
            mixed(), f"root.{database}.d", connection=connection, method="tsfile", tsfile_dir=folder
        )
    assert 'method="tablets"' in str(caught.value.hint)
    assert not list(folder.iterdir())


def test_a_lost_answer_is_in_doubt(server: LocalServer, database: str, folder: Path) -> None:
    """A LOAD that the server carried out and nobody heard of is told, and counted, as in doubt."""
    target = f"root.{database}.d"
    with (
        proxy_to(server.port) as road,
        connect(
            f"iotdb://root@127.0.0.1:{road.port}?pool_size=1",
            password=str(server.options.password),
        ) as through,
    ):
        write(numbers(5), target, connection=through)
        road.loses = is_load
        with pytest.raises(PartialWriteError) as caught:
            write(
                numbers(),
                target,
                connection=through,
                method="tsfile",
                tsfile_dir=folder,
                retry=RetryPolicy(attempts=1),
            )
    report = caught.value.report
    assert [f.state for f in report.failures] == ["in doubt"]
    assert report.failures[0].rows == 20_000
    assert (report.rows_in, report.rows_written) == (20_000, 0)
    assert not list(folder.iterdir())


def test_a_lost_answer_is_asked_for_again(server: LocalServer, database: str, folder: Path) -> None:
    """By default a LOAD whose answer is lost is sent again: the same rows are stored once."""
    target = f"root.{database}.d"
    with (
        proxy_to(server.port) as road,
        connect(
            f"iotdb://root@127.0.0.1:{road.port}?pool_size=1",
            password=str(server.options.password),
        ) as through,
    ):
        write(numbers(5), target, connection=through)
        lost = iter([True])
        road.loses = lambda data: is_load(data) and next(lost, False)
        report = write(numbers(), target, connection=through, method="tsfile", tsfile_dir=folder)
        count = read_sql(f"SELECT count(x) FROM {target}", connection=through).iloc[0, 0]
    assert next(lost, None) is None
    assert report.retries == 1
    assert (report.rows_written, count) == (20_000, 20_000)
    assert not list(folder.iterdir())


KILLED = """
import sys
import pandas as pd
import numpy as np
import iotdb_frames as iotf
from iotdb_frames.tsfile.writer import TsFileWriter
from iotdb_frames.writes.plan.chunks import LoadRequest
from iotdb_frames.writes.sender import Sender
target, url, folder, moment = sys.argv[1:]
kind, name = {
    "encoding": (TsFileWriter, "close"),
    "loading": (Sender, "_insert"),
    "removing": (LoadRequest, "release"),
}[moment]
real = getattr(kind, name)
def told(self, *args, **options):
    print("now", flush=True)
    if moment != "loading":
        sys.stdin.read()
    return real(self, *args, **options)
setattr(kind, name, told)
index = pd.date_range("2024-03-01", periods=9000, freq="s", name="time")
frame = pd.DataFrame({"x": np.arange(9000.0)}, index)
iotf.write(frame, target, connection=url, method="tsfile", tsfile_dir=folder)
sys.stdin.read()
"""


def test_a_folder_of_a_live_client_is_no_litter(folder: Path) -> None:
    """Many that begin at once, and clear what others left, keep their own folders."""
    dead = folder / "iotdb-frames-load-dead"
    (dead / "0").mkdir(parents=True)

    def begin(_: int) -> bool:
        bulk.clear_litter(folder)
        mine, lock = bulk.own_folder(folder)
        bulk.clear_litter(folder)
        is_there = (mine / "probe").is_dir()
        lock.release()
        return is_there

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(begin, range(200)))
    bulk.clear_litter(folder)
    assert not list(folder.iterdir())


def test_a_client_killed_while_it_began_leaves_no_litter(folder: Path) -> None:
    """A folder that was never locked is left alone for a day, and then removed."""
    hidden = folder / ".iotdb-frames-load-dead"
    (hidden / "probe").mkdir(parents=True)
    bulk.clear_litter(folder)
    assert hidden.is_dir()
    os.utime(hidden, (0, 0))
    bulk.clear_litter(folder)
    assert not hidden.exists()


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_other_users_cannot_find_the_files(
    connection: Connection, database: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server of another user can open them by the name that LOAD says; nobody can list them."""
    seen = []

    def watched(path: Path, plan: Any) -> LoadFiles:
        seen.append((path.name, path.parent.stat().st_mode & 0o777))
        return LoadFiles(path, plan)

    monkeypatch.setattr(bulk, "LoadFiles", watched)
    monkeypatch.setattr(bulk, "LOAD_BYTES", 100_000)
    by_files(numbers(), f"root.{database}.d", folder, connection)
    names, modes = zip(*seen, strict=True)
    assert set(modes) == {0o711}
    assert len(set(names)) == len(names) > 1
    assert all(len(name) == 32 for name in names)


def test_no_room_is_a_reason_for_tablets(
    connection: Connection, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under "auto" a directory without room is told, and the rows arrive."""
    monkeypatch.setattr(bulk, "FEW_BYTES", 1)
    options = {"connection": connection, "tsfile_dir": "/proc"}
    report = write(numbers(), f"root.{database}.d", **options)
    assert any("sent as tablets: /proc has not enough room" in note for note in report.notes)
    assert report.rows_written == 20_000
    with pytest.raises(IoTDBFramesError, match="cannot be written to /proc"):
        write(numbers(), f"root.{database}.d", method="tsfile", **options)


@pytest.mark.parametrize(
    ("moment", "n_stored"), [("encoding", {0}), ("loading", {0, 9000}), ("removing", {9000})]
)
def test_a_killed_client_leaves_no_litter(
    server: LocalServer,
    connection: Connection,
    database: str,
    folder: Path,
    moment: str,
    n_stored: set[int],
) -> None:
    """A file is loaded whole or not at all, and the next write removes what was left."""
    target = f"root.{database}.d"
    environment = {**os.environ, "IOTDB_PASSWORD": str(server.options.password)}
    url = f"iotdb://root@127.0.0.1:{server.port}"
    command = [sys.executable, "-c", KILLED, target, url, str(folder), moment]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "now"
        assert list(folder.rglob("*.tsfile")) or moment == "loading"
        other = folder / "iotdb-frames-other"
        other.mkdir()
        process.send_signal(signal.SIGKILL)
    assert list(folder.glob("iotdb-frames-load-*")) or moment == "loading"
    later = pd.DataFrame({"y": [1.0]}, INDEX[-1:])
    write(later, target, connection=connection, method="tsfile", tsfile_dir=folder)
    assert list(folder.iterdir()) == [other]
    rows = read(target, connection=connection)
    assert (rows["x"].count() if "x" in rows else 0) in n_stored


def test_a_backfill_knows_what_was_loaded(
    connection: Connection, database: str, folder: Path, tmp_path: Path
) -> None:
    """Files are loaded, verified, and not again when the job is started again."""
    numbers().to_parquet(tmp_path / "a.parquet")
    numbers().set_axis(INDEX + pd.Timedelta("1000D")).rename_axis("time").to_parquet(
        tmp_path / "b.parquet"
    )
    where: dict[str, Any] = {
        "manifest": tmp_path / "m.sqlite",
        "connection": connection,
        "method": "tsfile",
        "tsfile_dir": folder,
    }
    sources = [str(tmp_path / "a.parquet"), str(tmp_path / "b.parquet")]
    first = backfill(sources, f"root.{database}.d", **where)
    assert first.rows_written == 40_000
    count = f"SELECT count(x) FROM root.{database}.d"
    assert read_sql(count, connection=connection).iloc[0, 0] == 40_000
    execute(f"DELETE FROM root.{database}.d.**", connection=connection)
    backfill(sources, f"root.{database}.d", **where)
    assert read_sql(count, connection=connection).iloc[0, 0] == 0
    assert not list(folder.iterdir())
