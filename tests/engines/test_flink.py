"""Flink on its mini-cluster: what is written is there cell by cell, and what fails is told."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pandas as pd
import psutil
import pytest
from pandas.testing import assert_frame_equal

import iotdb_frames as iotf
from iotdb_frames.data import load_demo
from iotdb_frames.errors import ColumnTypeError, FrameError, OptionsError
from iotdb_frames.server import LocalServer

pytestmark = [
    pytest.mark.flink,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

HERE = Path(__file__).parent
GONE_S = 60.0


@pytest.mark.skipif(shutil.which("javac") is None, reason="no Java compiler on this machine")
def test_the_shipped_class_is_that_of_its_source(tmp_path: Path) -> None:
    """The compiled class that ends a job for good is that of the source beside it, to the byte."""
    import pyflink

    from iotdb_frames.engines import flink_refusal

    source = Path(flink_refusal.__file__).with_name("Refusal.java")
    lib = Path(pyflink.__file__).parent / "lib"
    options = ["--release", "8", "-Xlint:-options", "-g:none", "-cp", f"{lib}/*"]
    subprocess.run(["javac", *options, "-d", str(tmp_path), str(source)], check=True)
    made = (tmp_path / flink_refusal.CLASS.replace(".", "/")).with_suffix(".class").read_bytes()
    assert made == source.with_suffix(".class").read_bytes()


@pytest.fixture(scope="module")
def workers_of_their_own() -> Iterator[None]:
    """Python workers are processes, which import what lies beside this file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("_python_worker_execution_mode", "process")
        patch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), *sys.path]))
        patch.syspath_prepend(str(HERE))
        yield


@pytest.fixture
def environments(workers_of_their_own: None, tmp_path: Path) -> tuple[Any, Any]:
    """One task, five checkpoints a second, files of checkpoints."""
    from failing_flink import make_environment

    return make_environment(tmp_path)


@pytest.fixture
def env(environments: tuple[Any, Any]) -> Any:
    """Its streams."""
    return environments[0]


@pytest.fixture
def t_env(environments: tuple[Any, Any]) -> Any:
    """Its tables."""
    return environments[1]


@pytest.fixture
def place(server: LocalServer) -> iotf.IoTDBOptions:
    """Where to; the password goes with the workers."""
    password = iotf.Secret(str(server.options.password), travels=True)
    return iotf.IoTDBOptions(url=server.url, password=password)


def sink_of(options: Any, serializer: Any = None, **settings: Any) -> Any:
    """The sink for Flink."""
    from iotdb_frames.engines.flink import IoTDBSink

    return IoTDBSink(options, serializer, **settings)


def counted(t_env: Any, n_rows: int) -> Any:
    """Rows of a source with a thread of its own."""
    from failing_flink import counted

    return counted(t_env, n_rows)


def assert_counted(device: str, connection: Any, n_rows: int) -> None:
    """Every row of `counted` is there, once, and right."""
    expected = pd.DataFrame(
        {"v": pd.array(range(n_rows), "Int64")},
        pd.date_range("2024-01-01", periods=n_rows, freq="1s", unit="ms", name="time"),
    )
    assert_frame_equal(iotf.read(device, connection=connection), expected, check_freq=False)


def from_csv(t_env: Any, frame: pd.DataFrame, path: Path, kinds: dict[str, str]) -> Any:
    """A table of a file; an empty cell is a null."""
    path.write_text(frame.to_csv(header=False, date_format="%Y-%m-%d %H:%M:%S"))
    columns = ", ".join(f"`{name}` {kind}" for name, kind in kinds.items())
    t_env.execute_sql(
        f"CREATE TEMPORARY TABLE recorded ({columns}) WITH ('connector' = 'filesystem', "
        f"'path' = '{path.as_uri()}', 'format' = 'csv', 'csv.null-literal' = '')"
    )
    return t_env.from_path("recorded")


def test_a_recording_arrives_at_the_end_of_the_input(
    t_env: Any, place: Any, connection: Any, device: str, tmp_path: Path
) -> None:
    """45 days of a buoy are there, with gaps in whole numbers, and no flush but that of the end."""
    buoy = load_demo()
    kinds = {"time": "TIMESTAMP(3)"}
    kinds |= {name: "BIGINT" if str(t) == "Int64" else "DOUBLE" for name, t in buoy.dtypes.items()}
    t_env.get_config().set("execution.checkpointing.interval", "10min")
    table = from_csv(t_env, buoy, tmp_path / "buoy.csv", kinds)
    sink = sink_of(place, target=device, batch_size=100_000, flush_interval_s=600)
    report = sink.run(table, t_env)
    assert (report.rows_in, report.rows_written) == (len(buoy), len(buoy))
    assert report.points == buoy.count().sum()
    found = iotf.read(device, columns=list(buoy.columns), connection=connection)
    plain = f"{device}_plain"
    iotf.write(buoy, plain, connection=connection)
    expected = iotf.read(plain, columns=list(buoy.columns), connection=connection)
    assert_frame_equal(found, expected.astype(found.dtypes.to_dict()))


@pytest.mark.parametrize("how", ["kill", "raise"])
def test_a_bundle_that_fails_is_written_again(
    t_env: Any, place: Any, connection: Any, device: str, tmp_path: Path, how: str
) -> None:
    """A worker killed, or an error, before a batch is written: every row is there, none wrong."""
    from failing_flink import failing, n_failures, pids

    log = tmp_path / "log"
    with failing(log, how, at=[8]):
        sink = sink_of(place, target=device, batch_size=500, flush_interval_s=0.1)
        report = sink.run(counted(t_env, 6000), t_env)
    assert n_failures(log) == 1
    assert report.rows_written == 6000
    assert_counted(device, connection, 6000)
    workers = [psutil.Process(pid) for pid in pids(log) if psutil.pid_exists(pid)]
    _, alive = psutil.wait_procs(workers, timeout=GONE_S)
    assert not alive


def test_a_permanent_error_is_told_and_not_tried_again(
    t_env: Any, place: Any, connection: Any, device: str, tmp_path: Path
) -> None:
    """A value that does not fit is our error, with column and report, and its batch came once."""
    from failing_flink import failing, pids

    log = tmp_path / "log"
    table = counted(t_env, 1000)
    iotf.create({"v": "BOOLEAN"}, f"{device}.flag", connection=connection)
    with failing(log), pytest.raises(ColumnTypeError, match="'v'"):
        sink_of(place, target=f"{device}.flag").run(table, t_env)
    assert not log.exists()  # the client has found it
    iotf.create({"v": "INT32"}, f"{device}.whole", connection=connection)
    halves = table.select(table.time, (table.v / 2.0).alias("v"))
    with failing(log), pytest.raises(ColumnTypeError, match="does not fit INT32") as caught:
        sink_of(place, target=f"{device}.whole", batch_size=100).run(halves, t_env)
    assert caught.value.column == "v"
    assert caught.value.report.rows_written < 1000
    assert len(pids(log)) == 1


def test_a_submitted_job_writes_and_fails_for_good(
    t_env: Any, place: Any, connection: Any, device: str
) -> None:
    """A job that nobody reads writes all; what is permanent fails it at once, in our words."""
    table = counted(t_env, 1000)
    sink_of(place, target=device).insert(table, t_env).wait()
    assert_counted(device, connection, 1000)

    iotf.create({"v": "INT32"}, f"{device}.whole", connection=connection)
    halves = table.select(table.time, (table.v / 2.0).alias("v"))
    t_env.get_config().set("restart-strategy.fixed-delay.attempts", "1000000")
    job = sink_of(place, target=f"{device}.whole").insert(halves, t_env)
    with pytest.raises(ColumnTypeError, match="does not fit INT32") as caught:
        job.wait()
    assert caught.value.hint is not None
    assert "coerce" in caught.value.hint


@pytest.mark.parametrize("how", ["kill", "raise"])
def test_a_fleet_as_the_maps_of_the_connector(
    env: Any, t_env: Any, place: Any, connection: Any, device: str, tmp_path: Path, how: str
) -> None:
    """Events of a fleet, two tasks, one of which fails: the database has what the source gave."""
    from failing_flink import failing, n_failures

    from iotdb_frames.engines.flink_source import stream

    fleet = iotf.simulate_fleet(4, rate_hz=10, duration="1min", seed=7)
    types = {name: kind.name for name, kind in fleet.schema.items()}

    def as_map(event: dict[str, Any]) -> dict[str, Any]:
        names = [n for n in types if event.get(n) is not None]
        return {
            "device": event["device"],
            "timestamp": str(int(event["timestamp"].timestamp() * 1000)),
            "measurements": ",".join(names),
            "types": ",".join(types[n] for n in names),
            "values": ",".join(str(event[n]) for n in names),
        }

    env.set_parallelism(2)
    maps = stream(fleet, env, window=20).map(as_map)
    options = iotf.IoTDBOptions(
        url=place.url,
        password=place.password,
        storage_group=device,
        timeseries_option_list=[
            iotf.TimeseriesOption(
                path=f"{device}.site1.line1.press0001.temperature",
                data_type="DOUBLE",
                encoding="GORILLA",
                compression="SNAPPY",
            )
        ],
    )
    with failing(tmp_path / "log", how, at=[4]):
        report = sink_of(options, batch_size=200, flush_interval_s=0.1).run(maps, t_env)
    assert n_failures(tmp_path / "log") == 1
    frame = fleet.frame()
    assert report.rows_written == len(frame)
    iotf.write(frame, f"{device}_plain", device="device", connection=connection)
    found = iotf.read(f"{device}.**", connection=connection)
    expected = iotf.read(f"{device}_plain.**", connection=connection)
    assert_frame_equal(found[expected.columns], expected)
    sql = f"SHOW TIMESERIES {device}.site1.line1.press0001.temperature"
    made = iotf.read_sql(sql, model="tree", connection=connection)
    assert made["Encoding"].tolist() == ["GORILLA"]


class Readings:
    """A user's own events: (machine, second, value); a negative second is an error of theirs."""

    def serialize(self, event: tuple[str, int, int]) -> Any:
        """The columns of an event."""
        machine, second, value = event
        if second < 0:
            raise KeyError(machine)
        return iotf.DeviceColumns(machine, {"v": value}, second * 1000)


def test_the_order_of_a_keyed_stream(
    env: Any, t_env: Any, place: Any, connection: Any, device: str
) -> None:
    """Of rows with one device and time the last one of the stream wins, with two tasks."""
    from pyflink.common import Types

    events = [(f"m{i % 3}", i // 30, i) for i in range(3000)]
    stream = env.from_collection(events).key_by(lambda e: e[0], key_type=Types.STRING())
    options = iotf.IoTDBOptions(url=place.url, password=place.password, storage_group=device)
    sink = sink_of(options, Readings(), session_pool_size=2, batch_size=50, flush_interval_s=0.05)
    assert sink.run(stream, t_env).rows_written == 3000
    for i in range(3):
        last = [max(v for m, s, v in events if m == f"m{i}" and s == at) for at in range(100)]
        assert iotf.read(f"{device}.m{i}", connection=connection)["v"].tolist() == last


def test_a_serializer_that_raises_is_not_tried_again(
    env: Any, t_env: Any, place: Any, connection: Any, device: str
) -> None:
    """What a user's own code raises comes to the user, and what came before it is stored."""
    events = [("m0", 1, 1), ("m0", 2, 2), ("m7", -1, 3)]
    options = iotf.IoTDBOptions(url=place.url, password=place.password, storage_group=device)
    with pytest.raises(FrameError, match="the serializer raised KeyError: 'm7'") as caught:
        sink_of(options, Readings()).run(env.from_collection(events), t_env)
    assert caught.value.report.rows_written == 2
    assert iotf.read(f"{device}.m0", connection=connection)["v"].tolist() == [1, 2]


TYPES = {
    "time": (
        "TIMESTAMP(3)",
        ["TIMESTAMP '1969-12-31 23:59:59.999'", "TIMESTAMP '9999-12-31 00:00:00'"],
    ),
    "flag": ("BOOLEAN", ["TRUE", "NULL"]),
    "byte": ("TINYINT", ["-128", "NULL"]),
    "short": ("SMALLINT", ["NULL", "32767"]),
    "whole": ("INT", ["-2147483648", "NULL"]),
    "long": ("BIGINT", ["9223372036854775807", "NULL"]),
    "always": ("BIGINT", ["9007199254740993", "-9007199254740993"]),
    "single": ("FLOAT", ["1.5", "NULL"]),
    "double": ("DOUBLE", ["NULL", "1E300"]),
    "exact": ("DECIMAL(10, 2)", ["1.25", "NULL"]),
    "text": ("STRING", ["'ü'", "NULL"]),
    "short_text": ("VARCHAR(9)", ["''", "'a'"]),
    "raw": ("BYTES", ["X'00FF'", "NULL"]),
    "day": ("DATE", ["DATE '2024-02-29'", "DATE '0001-01-01'"]),
    "at": ("TIMESTAMP(3)", ["NULL", "TIMESTAMP '2024-01-01 00:00:00.001'"]),
    "zoned": ("TIMESTAMP_LTZ(3)", ["TO_TIMESTAMP_LTZ(1, 3)", "NULL"]),
}
"""Flink's type, and SQL of the values of two rows."""


def test_every_scalar_type(t_env: Any, place: Any, connection: Any, device: str) -> None:
    """Flink's scalars arrive as what they are: nulls, ends of the range, any year, constants."""
    import datetime as dt

    counted(t_env, 2)
    columns = ", ".join(
        f"CASE n WHEN 0 THEN CAST({one} AS {kind}) ELSE CAST({other} AS {kind}) END AS `{name}`"
        for name, (kind, (one, other)) in TYPES.items()
    )
    table = t_env.sql_query(f"SELECT {columns}, 7 AS seven, 'x' AS same FROM numbers")
    assert sink_of(place, target=device, nan="keep").run(table, t_env).rows_written == 2
    found = iotf.read(device, returns="arrow", connection=connection).to_pydict()
    utc = dt.UTC
    expected = {
        "flag": [True, None],
        "byte": [-128, None],
        "short": [None, 32767],
        "whole": [-(2**31), None],
        "long": [2**63 - 1, None],
        "always": [2**53 + 1, -(2**53) - 1],
        "single": [1.5, None],
        "double": [None, 1e300],
        "exact": [1.25, None],
        "text": ["ü", None],
        "short_text": ["", "a"],
        "raw": [b"\x00\xff", None],
        "day": [dt.date(2024, 2, 29), dt.date(1, 1, 1)],
        "at": [None, dt.datetime(2024, 1, 1, 0, 0, 0, 1000)],
        "zoned": [dt.datetime(1970, 1, 1, 0, 0, 0, 1000), None],
        "seven": [7, 7],
        "same": ["x", "x"],
    }
    for name, values in expected.items():
        got = [v.replace(tzinfo=None) if isinstance(v, dt.datetime) else v for v in found[name]]
        assert got == values, name
    times = [t.replace(tzinfo=utc) for t in found["time"]]
    assert times[0] == dt.datetime(1969, 12, 31, 23, 59, 59, 999000, utc)
    assert times[1] == dt.datetime(9999, 12, 31, tzinfo=utc)


@pytest.mark.parametrize(
    ("sql", "settings", "said"),
    [
        ("SELECT t, ARRAY[n] AS odd FROM r", {}, "column 'odd'"),
        ("SELECT t, MAP['a', n] AS odd FROM r", {}, "column 'odd'"),
        ("SELECT t, CAST(ROW(n) AS ROW<a BIGINT>) AS odd FROM r", {}, "column 'odd'"),
        ("SELECT t, CAST('10:00:00' AS TIME) AS odd FROM r", {}, "column 'odd'"),
        ("SELECT t, n, TO_TIMESTAMP_LTZ(n, 3) AS odd FROM r", {}, "'odd' is a TIMESTAMP_LTZ"),
        ("SELECT MAX(t) AS t, COUNT(*) AS n FROM r GROUP BY n", {}, "the table has updates"),
        ("SELECT n FROM r", {"time": None}, "no column is called time"),
        ("SELECT t, n FROM r", {"replace": True}, "replace=True needs all rows"),
        ("SELECT t, n FROM r", {"serializer": Readings()}, "serializer= is for streams"),
    ],
)
def test_what_cannot_be_carried_is_named(
    t_env: Any, place: Any, connection: Any, device: str, sql: str, settings: Any, said: str
) -> None:
    """What IoTDB has not, or PyFlink hands over wrongly, is refused by name; nothing is made."""
    t_env.get_config().set("table.local-time-zone", "Europe/Berlin")
    values = "VALUES (TIMESTAMP '2024-01-01 00:00:00', CAST(1 AS BIGINT))"
    t_env.create_temporary_view("r", t_env.sql_query(f"SELECT * FROM ({values}) AS t (t, n)"))
    given = {"time": "t", **settings}
    if given["time"] is None:
        del given["time"]
    sink = sink_of(place, given.pop("serializer", None), target=device, **given)
    with pytest.raises(iotf.IoTDBFramesError, match=said):
        sink.run(t_env.sql_query(sql), t_env)
    with pytest.raises(iotf.QueryError):
        iotf.read(device, connection=connection)


def test_without_checkpoints_it_refuses(t_env: Any, place: Any, device: str) -> None:
    """Rows of a lost worker would be lost, so the sink says what to set."""
    from pyflink.table import EnvironmentSettings, TableEnvironment

    bare = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
    with pytest.raises(OptionsError, match="checkpointing is off"):
        sink_of(place, target=device).run(counted(bare, 10), bare)


def test_a_password_shows_nowhere(
    t_env: Any, place: Any, device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither plan, settings nor checkpoints hold it; it travels only where it was told to."""
    import cloudpickle

    secret = str(place.password)
    sink = sink_of(place, target=device, batch_size=500, flush_interval_s=0.1)
    table = counted(t_env, 1_000_000)
    told, work = sink._told(table, t_env, is_submitted=False)
    settings = t_env.get_config().get_configuration().to_dict()
    assert secret not in "".join([told.explain(), repr(sink), repr(work), str(settings)])
    assert secret.encode() in cloudpickle.dumps(work)

    job = sink.insert(table, t_env)
    while not list(tmp_path.rglob("_metadata")):
        Event().wait(0.1)
    job.cancel()
    files = [file for file in (tmp_path / "checkpoints").rglob("*") if file.is_file()]
    assert not [file for file in files if secret.encode() in file.read_bytes()]

    monkeypatch.setenv("IOTDB_PASSWORD", secret)
    stays = sink_of(iotf.IoTDBOptions(url=place.url), target=device)
    _, work = stays._told(table, t_env, is_submitted=False)
    assert secret.encode() not in cloudpickle.dumps(work)


def test_a_wrong_password_is_told(
    t_env: Any, place: Any, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers that were given no password end the job with our words, at the first try."""
    monkeypatch.setenv("IOTDB_PASSWORD", str(place.password))  # not that of the workers
    sink = sink_of(iotf.IoTDBOptions(url=place.url), target=device)
    with pytest.raises(iotf.AuthenticationError, match="travels=True"):
        sink.run(counted(t_env, 100), t_env)
