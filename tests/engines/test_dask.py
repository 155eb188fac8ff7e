"""Dask, with each of its schedulers: what is written is there cell by cell, and errors surface."""

from __future__ import annotations

import itertools
import os
import pickle
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from pandas.testing import assert_frame_equal

import iotdb_frames as iotf
from iotdb_frames import SensorSource
from iotdb_frames import signals as sg
from iotdb_frames.client import endpoint
from iotdb_frames.data import load_demo
from iotdb_frames.engines import jobs
from iotdb_frames.errors import (
    AuthenticationError,
    ColumnTypeError,
    OptionsError,
    PartialWriteError,
    TimeIndexError,
)
from iotdb_frames.server import LocalServer
from iotdb_frames.writes.report import WriteReport

pytestmark = pytest.mark.engines

SCHEDULERS = ("threads", "processes", "distributed")
_numbers = itertools.count()


@pytest.fixture(scope="module")
def dd() -> Any:
    """``dask.dataframe``, its frames with ``.iotdb``."""
    import dask.dataframe

    import iotdb_frames.engines.dask  # noqa: F401 - registers ddf.iotdb

    return dask.dataframe


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """Two workers, each a process with a thread."""
    import dask
    import distributed

    with (
        dask.config.set({"distributed.admin.log-format": "%(message)s"}),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=50
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as opened,
    ):
        yield opened


@pytest.fixture(params=SCHEDULERS)
def scheduler(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each scheduler, while it is Dask's."""
    import dask

    if request.param == "distributed":
        with request.getfixturevalue("client").as_current():
            yield request.param
        return
    with dask.config.set(scheduler=request.param, num_workers=2):
        yield request.param


@pytest.fixture(scope="module")
def place(server: LocalServer) -> Iterator[iotf.Connection]:
    """A connection whose password may travel."""
    password = iotf.Secret(str(server.options.password), travels=True)
    with iotf.connect(server.url, password=password) as opened:
        yield opened


def fleet(model: str = "table") -> pd.DataFrame:
    """Five machines, five minutes."""
    return iotf.simulate_fleet(5, rate_hz=1, duration="5min", model=model).frame()


def in_time_order(frame: pd.DataFrame) -> pd.DataFrame:
    """A read frame as `read_dask` orders it."""
    return frame.sort_index(kind="stable")


def as_texts(frame: pd.DataFrame) -> pd.DataFrame:
    """Every column as text: Dask has its own dtype of texts."""
    return frame.astype("string")


# --- writing ---


def test_a_recording_is_there_cell_by_cell(
    dd: Any, scheduler: str, place: iotf.Connection, device: str
) -> None:
    """45 days of a buoy arrive whole, whatever runs the tasks, and the report counts all."""
    buoy = load_demo()
    report = dd.from_pandas(buoy, npartitions=7).iotdb.write(device, connection=place)
    assert report.is_complete
    assert (report.rows_in, report.rows_written) == (len(buoy), len(buoy))
    assert report.points == buoy.notna().sum().sum()
    assert report.chunks >= 7
    assert report.target == device
    found = iotf.read(device, columns=list(buoy.columns), connection=place)
    assert_frame_equal(found, buoy, check_freq=False)


def test_a_fleet_is_there_cell_by_cell(
    dd: Any, scheduler: str, place: iotf.Connection, device: str, table: str
) -> None:
    """Devices of the tree and of the table model arrive whole, cut where Dask likes."""
    tree, tagged = fleet("tree"), fleet("table")
    for frame, target, names in (
        (tree, device, {"device": "device"}),
        (tagged, table, {"tags": ["site", "line", "machine"]}),
    ):
        iotf.write(frame, f"{target}_plain", connection=place, **names)
        ddf = dd.from_pandas(in_time_order(frame), npartitions=6)
        report = ddf.iotdb.write(target, connection=place, **names)
        assert report.rows_written == len(frame)
        expected = iotf.read(f"{target}_plain", connection=place)
        assert_frame_equal(iotf.read(target, connection=place), expected)


def test_a_source_is_written_by_the_workers_that_make_it(
    dd: Any, client: Any, place: iotf.Connection, device: str
) -> None:
    """Partitions that a worker makes itself need no frame on the client."""
    with client.as_current():
        window = partial(_window, _source())
        ddf = dd.from_map(window, range(4), meta=window(0).iloc[:0])
        assert ddf.iotdb.write(device, connection=place).rows_written == 400
    found = iotf.read(device, connection=place)
    expected = _source().window(400)
    expected.iotdb.write(f"{device}_plain", connection=place)
    assert_frame_equal(found, iotf.read(f"{device}_plain", connection=place))
    assert found["temp"].tolist() == expected["temp"].tolist()


def _source() -> SensorSource:
    wave = sg.sine(period_s=60).round(digits=2)
    return SensorSource({"temp": wave, "on": sg.on_off(on_s=5.0, off_s=3.0)}, rate_hz=10, seed=3)


def _window(source: SensorSource, i: int) -> pd.DataFrame:
    return source.window(100, at=100 * i)


def test_a_series_and_a_schema_of_its_own(dd: Any, place: iotf.Connection, device: str) -> None:
    """A Dask series is a measurement, and the client makes its schema as `schema=` says."""
    temp = pd.Series(np.arange(10.0), pd.date_range("2024-01-01", periods=10), name="temp")
    ddf = dd.from_pandas(temp, npartitions=3)
    pending = ddf.iotdb.write(device, connection=place, compute=False, schema={"temp": "FLOAT"})
    (kind,) = iotf.show("timeseries", f"{device}.*", connection=place)["DataType"]
    assert kind == "FLOAT"
    assert pending.compute(scheduler="threads").rows_written == 10


def test_looking_writes_nothing(dd: Any, place: iotf.Connection, device: str) -> None:
    """Neither `head` nor `len`, nor making a Delayed, stores a row."""
    frame = pd.DataFrame({"v": np.arange(10)}, pd.date_range("2024-01-01", periods=10))
    ddf = dd.from_pandas(frame, npartitions=2)
    pending = ddf.iotdb.write(device, connection=place, compute=False)
    assert len(ddf.head(3)) == 3
    assert len(ddf) == 10
    repr(pending)
    assert len(iotf.read(device, connection=place)) == 0
    pending.compute(scheduler="sync")
    assert len(iotf.read(device, connection=place)) == 10


def test_a_delayed_writes_each_time(
    dd: Any, client: Any, place: iotf.Connection, device: str
) -> None:
    """What is computed again is written again, also while the first result is held."""
    frame = pd.DataFrame({"v": np.arange(10)}, pd.date_range("2024-01-01", periods=10))
    with client.as_current():
        ddf = dd.from_pandas(frame, npartitions=2)
        pending = ddf.iotdb.write(device, connection=place, compute=False)
        again = pickle.loads(pickle.dumps(pending))
        held = client.compute(pending)
        assert held.result().rows_written == 10
        for one in (pending, pending, again):
            iotf.delete(device, connection=place)
            assert one.compute().rows_written == 10
            assert len(iotf.read(device, connection=place)) == 10
        del held


# --- what goes wrong ---


def _patch(write: Callable[..., WriteReport]) -> None:
    """Have this process write partitions so."""
    jobs.write = write  # type: ignore[attr-defined]


def _killed(when: str, marker: str, part: pd.DataFrame, *args: Any, **options: Any) -> WriteReport:
    """Write, and be killed before or after it; the first time that any process does so."""
    try:
        os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return iotf.write(part, *args, **options)
    if when == "after":
        iotf.write(part, *args, **options)
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_killed_worker_costs_time_only(
    dd: Any, client: Any, place: iotf.Connection, device: str, tmp_path: Path, when: str
) -> None:
    """A worker that is killed in its writer loses no row and leaves no wrong one."""
    marker = tmp_path / "killed"
    buoy = load_demo()
    client.wait_for_workers(2)
    client.run(_patch, partial(_killed, when, str(marker)))
    try:
        with client.as_current():
            report = dd.from_pandas(buoy, npartitions=8).iotdb.write(device, connection=place)
    finally:
        client.wait_for_workers(2)
        client.run(_patch, iotf.write)
    assert marker.exists()
    assert report.rows_written == len(buoy)
    found = iotf.read(device, columns=list(buoy.columns), connection=place)
    assert_frame_equal(found, buoy, check_freq=False)


def _counted(log: str, part: pd.DataFrame, *args: Any, **options: Any) -> WriteReport:
    """Write, and note it."""
    with Path(log).open("a") as file:
        file.write(f"{part.index[0]}\n")
    return iotf.write(part, *args, **options)


def test_a_permanent_error_is_ours_and_tried_once(
    dd: Any, client: Any, place: iotf.Connection, device: str, tmp_path: Path
) -> None:
    """A value that does not fit arrives as our error, with the report of all partitions."""
    log = tmp_path / "log"
    values = np.arange(100.0)
    values[77] = 0.5
    frame = pd.DataFrame({"v": values}, pd.date_range("2024-01-01", periods=100))
    client.wait_for_workers(2)
    client.run(_patch, partial(_counted, str(log)))
    try:
        with client.as_current(), pytest.raises(ColumnTypeError) as caught:
            dd.from_pandas(frame, npartitions=10).iotdb.write(
                device, connection=place, schema={"v": "INT32"}
            )
    finally:
        client.run(_patch, iotf.write)
    error = caught.value
    assert (error.column, error.row) == ("v", 7)
    assert "in partition 7: " in str(error)
    begun = log.read_text().split("\n")[:-1]
    assert len(begun) == len(set(begun))
    n_stored = len(iotf.read(device, connection=place))
    assert error.report.rows_in == 100
    assert error.report.rows_written == n_stored
    n_left = 10 - len(begun)
    assert n_stored == 10 * (len(begun) - 1)
    assert (
        f"{n_left} partition{'s' * (n_left > 1)} of 10 were not begun" in error.report.notes
    ) == (n_left > 0)


def test_an_error_on_every_scheduler(
    dd: Any, scheduler: str, place: iotf.Connection, device: str
) -> None:
    """A refusal of the server says what is stored; a Delayed raises the same."""
    iotf.write(
        pd.DataFrame({"a": [1.5]}, pd.date_range("2024-01-01", periods=1)),
        device,
        connection=place,
    )
    frame = pd.DataFrame({"v": ["x"] * 40}, pd.date_range("2024-01-01", periods=40))
    ddf = dd.from_pandas(frame, npartitions=4)
    old = ddf.map_partitions(_long_ago, meta=ddf._meta)
    iotf.execute(f"SET TTL TO {device} 3600000", connection=place)
    with pytest.raises((PartialWriteError, iotf.WriteRejected)) as caught:
        old.iotdb.write(device, connection=place)
    assert "partition" in str(caught.value)
    assert caught.value.report.rows_in == 40
    assert caught.value.report.rows_written == 0
    with pytest.raises((PartialWriteError, iotf.WriteRejected)) as again:
        old.iotdb.write(device, connection=place, compute=False).compute()
    assert again.value.report.rows_in == 40
    iotf.execute(f"UNSET TTL TO {device}", connection=place)
    assert ddf.iotdb.write(device, connection=place).rows_written == 40


def _long_ago(part: pd.DataFrame) -> pd.DataFrame:
    return part.set_axis(part.index - pd.Timedelta("3650D"))


def test_columns_are_checked_before_any_task(dd: Any, place: iotf.Connection, device: str) -> None:
    """What the columns tell is refused by the client, where nothing is written yet."""
    days = pd.date_range("2024-01-01", periods=4)
    gone = pd.DataFrame({"d": pd.to_timedelta([1, 2, 3, 4], unit="s")}, days)
    with pytest.raises(ColumnTypeError, match="cannot be written"):
        dd.from_pandas(gone, npartitions=2).iotdb.write(device, connection=place)
    numbered = pd.DataFrame({"v": [1.0, 2.0]})
    with pytest.raises(TimeIndexError):
        dd.from_pandas(numbered, npartitions=2).iotdb.write(device, connection=place)
    with pytest.raises(iotf.QueryError):
        iotf.read(device, connection=place)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"replace": True}, "replace=True needs all rows"),
        ({"duplicates": "last"}, "duplicates='last' needs all rows"),
        ({"progress": True}, "progress="),
        ({"retries": -1}, "retries=-1"),
        ({"compute": "no"}, "compute='no'"),
        ({"tag": ["a"]}, "unknown option 'tag'"),
    ],
)
def test_what_needs_all_rows_is_refused(
    dd: Any, place: iotf.Connection, device: str, options: dict[str, Any], said: str
) -> None:
    """An option that partitions cannot have is refused, and nothing is made."""
    frame = pd.DataFrame({"v": [1.0, 2.0]}, pd.date_range("2024-01-01", periods=2))
    with pytest.raises(OptionsError, match=said):
        dd.from_pandas(frame, npartitions=2).iotdb.write(device, connection=place, **options)
    with pytest.raises(iotf.QueryError):
        iotf.read(device, connection=place)


def test_refused_rows_of_every_process_are_kept(
    dd: Any, scheduler: str, place: iotf.Connection, device: str, tmp_path: Path
) -> None:
    """Dead letters of several tasks are a file each, which the report names; no row is lost."""
    values = np.arange(400.0)
    values[::4] += 0.5
    frame = pd.DataFrame({"v": values}, pd.date_range("2024-01-01", periods=400))
    report = dd.from_pandas(frame, npartitions=4).iotdb.write(
        device,
        connection=place,
        schema={"v": "INT32"},
        on_error="collect",
        dead_letter=tmp_path / "bad.parquet",
    )
    assert (report.rows_written, report.rows_refused) == (300, 100)
    files = sorted(tmp_path.glob("*.parquet"))
    refused = np.concatenate([pq.read_table(file)["v"].to_numpy() for file in files])
    assert sorted(refused) == sorted(values[::4])
    said = f"{report.dead_letter} {' '.join(report.notes)}"
    assert all(str(file) in said for file in files)


# --- where workers connect to ---


def test_a_password_travels_only_on_request(
    dd: Any, place: iotf.Connection, server: LocalServer, device: str
) -> None:
    """Neither a graph nor its repr has a password, unless it was said that it may travel."""
    import cloudpickle

    secret = str(server.options.password)
    frame = pd.DataFrame({"v": [1.0, 2.0]}, pd.date_range("2024-01-01", periods=2))
    ddf = dd.from_pandas(frame, npartitions=2)
    with iotf.connect(server.url, password=secret) as kept:
        told = iotf.Endpoint.of(kept, travels=True)
        for connection, is_there in ((kept, False), (place, True), (told, True)):
            ddf.iotdb.write(device, connection=connection)
            pending = ddf.iotdb.write(device, connection=connection, compute=False)
            found = iotf.read_dask(device, connection=connection)
            for thing in (pending, found):
                assert (secret.encode() in cloudpickle.dumps(thing)) == is_there
                graph = thing.__dask_graph__()
                shown = f"{thing!r} {dict(graph)!r} {list(graph)}"
                assert secret not in shown


def test_workers_without_a_password(dd: Any, client: Any, server: LocalServer, device: str) -> None:
    """Workers take their own IOTDB_PASSWORD; without one the error says what to do."""
    secret = str(server.options.password)
    frame = pd.DataFrame({"v": [1.0, 2.0]}, pd.date_range("2024-01-01", periods=2))
    with client.as_current(), iotf.connect(server.url, password=secret, pool_size=3) as kept:
        ddf = dd.from_pandas(frame, npartitions=2)
        with pytest.raises(AuthenticationError, match=r"IOTDB_PASSWORD.*travels=True"):
            ddf.iotdb.write(device, connection=kept)
        iotf.write(frame, device, connection=kept)
        with pytest.raises(AuthenticationError, match=r"IOTDB_PASSWORD.*travels=True"):
            iotf.read_dask(device, connection=kept).compute()
        client.run(_set_password, secret)
        try:
            assert ddf.iotdb.write(device, connection=kept).rows_written == 2
        finally:
            client.run(_set_password, None)


def _set_password(password: str | None) -> None:
    os.environ.pop("IOTDB_PASSWORD", None)
    if password is not None:
        os.environ["IOTDB_PASSWORD"] = password


def test_a_process_has_one_connection(
    dd: Any, client: Any, place: iotf.Connection, device: str
) -> None:
    """Many partitions, written twice and read, go over one Connection per worker."""
    client.run(lambda: endpoint._opened.clear())
    buoy = load_demo()
    with client.as_current():
        for _ in range(2):
            dd.from_pandas(buoy, npartitions=10).iotdb.write(device, connection=place)
        iotf.read_dask(device, connection=place).compute()
    assert max(client.run(lambda: len(endpoint._opened)).values()) == 1


# --- reading ---


def test_read_dask_mirrors_read(
    dd: Any, scheduler: str, place: iotf.Connection, device: str
) -> None:
    """A recording comes back as `read` gives it, in partitions whose divisions are known."""
    buoy = load_demo()
    iotf.write(buoy, device, connection=place)
    ddf = iotf.read_dask(device, partitions=5, connection=place)
    assert ddf.npartitions == 5
    assert ddf.known_divisions
    assert_frame_equal(ddf.compute(), iotf.read(device, connection=place))
    start, end = "2022-05-01", "2022-05-03 12:00"
    some = iotf.read_dask(device, columns=["gust_ms"], start=start, end=end, connection=place)
    expected = iotf.read(device, columns=["gust_ms"], start=start, end=end, connection=place)
    assert_frame_equal(some.compute(), expected)
    part = ddf.loc["2022-05-01":"2022-05-02"].compute()  # type: ignore[misc]
    assert_frame_equal(part, buoy.loc["2022-05-01":"2022-05-02", list(part.columns)])  # type: ignore[misc]


@pytest.mark.parametrize("model", ["tree", "table"])
def test_devices_come_in_time_order(
    dd: Any, scheduler: str, place: iotf.Connection, device: str, table: str, model: str
) -> None:
    """Rows of several devices come whole, in time order, and can be written again as they are."""
    frame = fleet(model)
    target, names = (
        (device, {"device": "device"})
        if model == "tree"
        else (table, {"tags": ["site", "line", "machine"]})
    )
    iotf.write(frame, target, connection=place, **names)
    expected = iotf.read(target, connection=place)
    ddf = iotf.read_dask(target, partitions=4, connection=place)
    assert_frame_equal(as_texts(ddf.compute()), as_texts(in_time_order(expected)))
    assert len(ddf) == len(frame)
    where = {"state": ["idle", "running"], "vibration": (">", 2.0)}
    some = iotf.read_dask(target, where=where, partitions=3, connection=place).compute()
    expected_some = in_time_order(iotf.read(target, where=where, connection=place))
    assert 0 < len(some) < len(frame)
    assert_frame_equal(as_texts(some), as_texts(expected_some))
    ddf.iotdb.write(f"{target}_again", connection=place)
    assert_frame_equal(iotf.read(f"{target}_again", connection=place), expected)


def test_rows_stay_where_columns_are_left_out(
    dd: Any, place: iotf.Connection, device: str, table: str
) -> None:
    """Taking a column of a frame takes no row away, in either model."""
    days = pd.date_range("2024-01-01", periods=6, unit="ms")
    frame = pd.DataFrame({"a": [1.0, None, 3, None, 5, 6], "b": [None, 2.0, 3, 4, None, 6]}, days)
    iotf.write(frame, device, connection=place)
    iotf.write(frame.assign(m=list("xyxyxy")), table, tags=["m"], connection=place)
    for target in (device, table):
        ddf = iotf.read_dask(target, partitions=2, connection=place)
        assert len(ddf["a"].compute(scheduler="sync")) == 6
        assert len(ddf["b"]) == 6
        assert (ddf.a + ddf.b).sum().compute(scheduler="sync") == 18.0
    tags = ddf[["m"]].compute(scheduler="sync")
    assert sorted(tags["m"]) == list("xxxyyy")


def test_what_is_not_there(dd: Any, place: iotf.Connection, table: str, device: str) -> None:
    """A target without rows is a frame without rows; one that does not exist raises."""
    frame = pd.DataFrame({"v": [1.0], "m": ["x"]}, pd.date_range("2024-01-01", periods=1))
    iotf.write(frame, table, tags=["m"], connection=place)
    iotf.write(frame[["v"]], device, connection=place)
    for target in (device, table):
        iotf.delete(target, connection=place)
        empty = iotf.read_dask(target, connection=place)
        assert "v" in empty.columns
        assert len(empty.compute(scheduler="sync")) == 0
    with pytest.raises(iotf.QueryError):
        iotf.read_dask(f"{device}_none", connection=place)
    with pytest.raises(OptionsError, match="partitions=0"):
        iotf.read_dask(device, partitions=0, connection=place)
    with pytest.raises(OptionsError, match=r"columns=\['v'\]"):
        iotf.read_dask(device, columns="v", connection=place)
    iotf.write(frame[["v"]].set_axis(frame.index + pd.Timedelta("1D")), device, connection=place)
    iotf.write(frame[["v"]], device, connection=place)
    assert iotf.read_dask(device, partitions=10**12, connection=place).npartitions == 10_000


def test_a_new_read_is_not_an_old_one(
    dd: Any, client: Any, place: iotf.Connection, device: str
) -> None:
    """A frame that Dask holds is not taken for what the database has now."""
    days = pd.date_range("2024-01-01", periods=4)
    iotf.write(pd.DataFrame({"v": [1.0, 2, 3, 4]}, days), device, connection=place)
    with client.as_current():
        held = iotf.read_dask(device, connection=place).persist()
        assert held["v"].sum().compute() == 10
        iotf.write(pd.DataFrame({"v": [10.0, 20, 30, 40]}, days), device, connection=place)
        assert iotf.read_dask(device, connection=place)["v"].sum().compute() == 100


def test_the_hour_that_comes_twice(dd: Any, server: LocalServer, device: str) -> None:
    """Where naive times repeat an hour, all rows are there and divisions are not."""
    instants = pd.date_range("2024-10-27 00:30", periods=8, freq="15min", tz="UTC")
    frame = pd.DataFrame({"v": np.arange(8.0)}, instants)
    with iotf.connect(
        server.url, password=server.options.password, time_zone="Europe/Berlin"
    ) as there:
        iotf.write(frame, device, connection=there)
        naive = iotf.read_dask(device, partitions=3, connection=there)
        assert not naive.known_divisions
        assert_frame_equal(naive.compute(scheduler="threads"), iotf.read(device, connection=there))
        zoned = iotf.read_dask(device, partitions=3, tz="Europe/Berlin", connection=there)
        assert zoned.known_divisions
        found = zoned.compute(scheduler="threads")
        assert found["v"].tolist() == list(range(8))
        assert (found.index == instants).all()
