"""What exists and what is made: types, encodings, rights, and the time to live."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from pandas.testing import assert_frame_equal

from iotdb_frames.client.connection import Connection
from iotdb_frames.errors import (
    ColumnTypeError,
    FrameError,
    PartialWriteError,
    PermissionDenied,
    ServerError,
)
from iotdb_frames.options import (
    CompressionType,
    ConnectionOptions,
    TimeseriesOption,
    TSDataType,
    TSEncoding,
)
from iotdb_frames.reads.read import read
from iotdb_frames.reads.sql import read_sql
from iotdb_frames.server import LocalServer
from iotdb_frames.writes.plan.chunks import MAX_TABLETS
from iotdb_frames.writes.schema.create import DEFAULT_ENCODING, create
from iotdb_frames.writes.writer import plan, write

_numbers = itertools.count()
INDEX = pd.DatetimeIndex(np.array([0, 1], "M8[ms]"))
VALUES: dict[TSDataType, Any] = {
    TSDataType.BOOLEAN: [True, False],
    TSDataType.INT32: np.array([1, 2], "i4"),
    TSDataType.INT64: [1, 2],
    TSDataType.FLOAT: np.array([1, 2], "f4"),
    TSDataType.DOUBLE: [1.0, 2.0],
    TSDataType.TEXT: ["a", "b"],
    TSDataType.STRING: ["a", "b"],
    TSDataType.BLOB: [b"a", b"b"],
    TSDataType.DATE: pd.array(["2024-01-01", "2024-01-02"], dtype="date32[pyarrow]"),
    TSDataType.TIMESTAMP: INDEX,
}


def run(connection: Connection, sql: str, model: Any = "tree") -> None:
    """One statement."""
    connection.run(lambda session: session.execute(sql), model=model)


def series_of(connection: Connection, device: str) -> dict[str, tuple[str, str, str]]:
    """Type, encoding and compression by measurement."""
    found = read_sql(f"SHOW TIMESERIES {device}.*", connection=connection)
    return {
        name.rpartition(".")[2]: (kind, encoding, compression)
        for name, kind, encoding, compression in zip(
            *(found[c] for c in ("Timeseries", "DataType", "Encoding", "Compression")), strict=True
        )
    }


def count(connection: Connection, device: str, name: str = "a") -> int:
    """Values stored."""
    if not len(read_sql(f"SHOW TIMESERIES {device}.{name}", connection=connection)):
        return 0
    found = read_sql(f"SELECT count({name}) FROM {device}", connection=connection)
    return int(found.iloc[0, 0]) if len(found) else 0


FRAME = pd.DataFrame({f"a_{kind.name}": v for kind, v in VALUES.items()}, index=INDEX)
SCHEMA = {f"a_{kind.name}": kind for kind in VALUES}


@pytest.mark.parametrize("aligned", [True, False])
def test_our_defaults_are_those_of_the_server(
    connection: Connection, device: str, aligned: bool
) -> None:
    """Series made up front get the encodings that the server would choose itself."""
    write(FRAME, f"{device}.ours", schema=SCHEMA, aligned=aligned, connection=connection)
    many = pd.concat([FRAME.assign(n=f"d{i}") for i in range(20)])
    write(many, f"{device}.many", device="n", schema=SCHEMA, aligned=aligned, connection=connection)
    ours = series_of(connection, f"{device}.ours")
    assert ours == series_of(connection, f"{device}.many.d7")
    assert {n: (t, e) for n, (t, e, _) in ours.items()} == {
        f"a_{kind.name}": (kind.name, DEFAULT_ENCODING[kind].name) for kind in VALUES
    }


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("n_devices", [1, 20])
def test_encodings_are_honoured(
    connection: Connection, device: str, aligned: bool, n_devices: int
) -> None:
    """What a TimeseriesOption asks for is what the server has, also PLAIN and UNCOMPRESSED."""
    frame = pd.concat(
        [
            pd.DataFrame({"a": [1.0, 2.0], "b": [1, 2], "n": f"d{i}"}, index=INDEX)
            for i in range(n_devices)
        ]
    )
    schema = {
        "a": TimeseriesOption(encoding=TSEncoding.PLAIN, compression=CompressionType.UNCOMPRESSED),
        "b": TimeseriesOption(data_type="INT32", encoding="RLE", compression="SNAPPY"),
    }
    write(frame, device, device="n", schema=schema, aligned=aligned, connection=connection)
    for i in (0, n_devices - 1):
        assert series_of(connection, f"{device}.d{i}") == {
            "a": ("DOUBLE", "PLAIN", "UNCOMPRESSED"),
            "b": ("INT32", "RLE", "SNAPPY"),
        }


@pytest.mark.parametrize("aligned", [True, False])
def test_an_encoding_that_cannot_be_is_refused(
    connection: Connection, device: str, aligned: bool
) -> None:
    """The server's no to an encoding reaches the user, and nothing was stored."""
    frame = pd.DataFrame({"a": ["x", "y"], "b": [1.0, 2.0]}, index=INDEX)
    schema = {"a": TimeseriesOption(encoding="GORILLA")}
    with pytest.raises(ServerError, match="GORILLA"):
        write(frame, device, schema=schema, aligned=aligned, connection=connection)
    assert count(connection, device, "b") == 0


@pytest.mark.parametrize("aligned", [True, False])
def test_series_made_meanwhile_are_no_error(
    connection: Connection, device: str, aligned: bool
) -> None:
    """Somebody who creates the same series between the look and the write does no harm."""
    frame = pd.DataFrame({"a": [1.0, 2.0]}, index=INDEX)
    looked = plan(frame, device, aligned=aligned, connection=connection)
    write(frame, device, aligned=aligned, connection=connection)
    assert create(connection, looked, looked.missing()) == []


EXISTING = [
    ("INT32", [1, 2], True),
    ("INT32", [1, 2**31], False),
    ("INT64", np.array([1, 2], "i4"), True),
    ("FLOAT", [0.5, 1.5], True),
    ("FLOAT", [0.5, 0.1], False),
    ("DOUBLE", [1, 2**53], True),
    ("DOUBLE", [1, 2**53 + 1], False),
    ("INT64", [1.0, 2.0], True),
    ("INT64", [1.0, 2.5], False),
    ("TEXT", ["a", "b"], True),
    ("STRING", [1, 2], False),
    ("DOUBLE", ["1", "2"], False),
    ("BOOLEAN", [0, 1], False),
    ("BOOLEAN", ["true", "false"], False),
    ("INT64", INDEX, False),
    ("TIMESTAMP", [1, 2], False),
    ("BLOB", ["a", "b"], False),
    ("DATE", INDEX.normalize(), True),
    ("DATE", [20240101, 20240102], False),
]


@pytest.mark.parametrize(("kind", "values", "is_fine"), EXISTING)
@pytest.mark.parametrize("model", ["tree", "table"])
def test_an_existing_type_takes_what_fits_and_nothing_else(
    connection: Connection,
    device: str,
    table: str,
    model: str,
    kind: str,
    values: Any,
    is_fine: bool,
) -> None:
    """The server would cast silently; here a clash is found before the first byte."""
    frame = pd.DataFrame({"a": values, "b": [1.0, 2.0]}, index=INDEX)
    if model == "tree":
        target, odd = device, "`1a`"
        run(connection, f"CREATE ALIGNED TIMESERIES {device}(a {kind}, `1a` {kind})")
        frame["1a"] = frame["a"]
    else:
        target, odd = table, "a"
        run(connection, f"CREATE TABLE {table} (a {kind} FIELD)", "table")
    if is_fine:
        report = write(frame, target, connection=connection)
        assert report.rows_written == 2
        return
    for name in ("a", odd.strip("`")):
        with pytest.raises(ColumnTypeError) as caught:
            write(frame[[name, "b"]] if name in frame else frame, target, connection=connection)
        assert caught.value.column == name
    planned = plan(frame, target, connection=connection)
    assert planned.problems
    model_name: Any = model
    found = read_sql(f"SELECT count(*) FROM {target}", model=model_name, connection=connection)
    assert found.empty or not found.iloc[0].to_numpy().any()


def test_alignment_of_an_existing_device_is_kept(connection: Connection, device: str) -> None:
    """Either way of writing reaches an existing device, and the report says which it was."""
    frame = pd.DataFrame({"a": [1.0, 2.0]}, index=INDEX)
    for was in (True, False):
        path = f"{device}.{'yes' if was else 'no'}_"
        write(frame, path, aligned=was, connection=connection)
        report = write(frame.assign(b=1), path, aligned=not was, connection=connection)
        assert report.points == 4
        assert any("exists as" in note for note in report.notes)
        found = read_sql(f"SHOW DEVICES {path}", connection=connection)
        assert found["IsAligned"].tolist() == [str(was).lower()]


def test_many_devices_are_compared_at_once(connection: Connection, device: str) -> None:
    """Also of many devices, one of them above the others, a clash in one is found first."""
    names = ["x", *[f"x.d{i}" for i in range(20)]]
    frame = pd.DataFrame({"n": names, "a": np.arange(21)}, index=INDEX[:1].repeat(21))
    run(connection, f"CREATE TIMESERIES {device}.x.a BOOLEAN")
    with pytest.raises(ColumnTypeError, match="BOOLEAN"):
        write(frame, device, device="n", connection=connection)
    run(connection, f"DELETE TIMESERIES {device}.x.a")
    run(connection, f"CREATE TIMESERIES {device}.x.d19.a INT32")
    report = write(frame, device, device="n", connection=connection)
    assert report.points == 21
    assert any("x.d19" in note and "non-aligned" in note for note in report.notes)


@pytest.mark.parametrize("how", ["aligned", "non-aligned", "table"])
def test_ten_thousand_columns(connection: Connection, device: str, table: str, how: str) -> None:
    """All of them are created, and written."""
    n_columns = 10_000
    frame = pd.DataFrame(
        np.arange(2.0 * n_columns).reshape(2, -1), INDEX, [f"c{i}" for i in range(n_columns)]
    )
    target = table if how == "table" else device
    report = write(frame, target, aligned=how == "aligned", connection=connection)
    assert report.points == 2 * n_columns
    few = ["c0", "c5000", "c9999"]
    found = read(target, columns=few, connection=connection)
    assert_frame_equal(found, frame[few], check_names=False)


def test_thousands_of_devices(connection: Connection, device: str) -> None:
    """Devices that come with their first row are made by the server, a thousand a request."""
    n_devices = 5_000
    names = [f"g{i // 1000}.d{i}" for i in range(n_devices)]
    frame = pd.DataFrame({"n": names, "a": np.arange(n_devices)}, INDEX[:1].repeat(n_devices))
    report = write(frame, device, device="n", connection=connection)
    assert report.chunks >= n_devices / MAX_TABLETS
    found = read_sql(f"COUNT DEVICES {device}.**", connection=connection)
    assert found.iloc[0, 0] == n_devices
    again = write(frame, device, device="n", connection=connection)
    assert again.points == n_devices


@pytest.mark.parametrize("model", ["tree", "table"])
def test_create_false_makes_nothing(
    connection: Connection, device: str, table: str, model: str
) -> None:
    """Unknown targets and unknown columns are refused, by the plan as by the write."""
    target = device if model == "tree" else table
    frame = pd.DataFrame({"a": [1.0, 2.0]}, index=INDEX)
    with pytest.raises(FrameError, match="create=False") as caught:
        write(frame, target, create=False, connection=connection)
    assert caught.value.column == "a"
    assert plan(frame, target, create=False, connection=connection).problems
    write(frame, target, connection=connection)
    assert write(frame, target, create=False, connection=connection).points == 2
    with pytest.raises(FrameError, match=r"has no 'b'.*create=False"):
        write(frame.assign(b=1), target, create=False, connection=connection)


# rights


class User:
    """A user of the test's own, without rights."""

    def __init__(self, connection: Connection, server: LocalServer) -> None:
        self.name = f"someone{next(_numbers)}"
        self._root = connection
        password = "a-Passw0rd-of-16"
        run(connection, f"CREATE USER {self.name} '{password}'")
        options = ConnectionOptions(
            hosts=server.options.hosts, user=self.name, password=password, pool_size=2
        )
        self.connection = Connection(lambda: options, label=self.name)

    def may(self, rights: str, where: str, model: Any = "tree") -> None:
        """Grant a right."""
        run(self._root, f"GRANT {rights} ON {where} TO USER {self.name}", model)

    def close(self) -> None:
        """Gone."""
        self.connection.close()
        run(self._root, f"DROP USER {self.name}")


@pytest.fixture
def user(connection: Connection, server: LocalServer) -> Iterator[User]:
    """A user without rights."""
    user = User(connection, server)
    yield user
    user.close()


@pytest.mark.parametrize("model", ["tree", "table"])
def test_without_any_right_nothing_happens(user: User, device: str, table: str, model: str) -> None:
    """Who may nothing is told so, and what to ask for."""
    frame = pd.DataFrame({"a": [1.0, 2.0]}, index=INDEX)
    with pytest.raises(PermissionDenied) as caught:
        write(frame, device if model == "tree" else table, connection=user.connection)
    assert "GRANT" in (caught.value.hint or "")
    assert caught.value.report.rows_written == 0


def test_who_may_only_write_is_served_and_told(
    connection: Connection, user: User, device: str
) -> None:
    """Without the right to look the rows are stored, and the report says what was not compared."""
    frame = pd.DataFrame({"a": [1.0, 2.0]}, index=INDEX)
    write(frame, device, connection=connection)
    user.may("WRITE_DATA", f"{device}.**")
    report = write(frame * 2, device, connection=user.connection)
    assert report.points == 2
    assert count(connection, device) == 2
    with pytest.raises(PermissionDenied):
        write(frame, f"{device}_not_mine", connection=user.connection)


def test_who_may_only_insert_into_a_table_is_served_and_told(
    connection: Connection, user: User, table: str
) -> None:
    """The same in the table model, where a description may be refused."""
    frame = pd.DataFrame({"a": [1.0, 2.0], "t": ["x", "y"]}, index=INDEX)
    write(frame, table, tags=["t"], connection=connection)
    user.may("INSERT", table, "table")
    report = write(frame, table, tags=["t"], connection=user.connection)
    assert report.points == 2
    found = read_sql(f"SELECT count(*) FROM {table}", model="table", connection=connection)
    assert found.iloc[0, 0] == 2


def test_who_may_not_create_is_told(connection: Connection, user: User, device: str) -> None:
    """A new column where one may not make it: refused, said, and the rest is as it was."""
    frame = pd.DataFrame({"a": [1.0, 2.0]}, index=INDEX)
    write(frame, device, connection=connection)
    user.may("WRITE_DATA", f"{device}.**")
    with pytest.raises((PermissionDenied, PartialWriteError)) as caught:
        write(frame.assign(b=1), device, connection=user.connection)
    assert any("types are unchecked" in note for note in caught.value.report.notes)


# time to live


@pytest.mark.parametrize("model", ["tree", "table"])
def test_data_older_than_its_time_to_live(
    connection: Connection, device: str, table: str, tmp_path: Path, model: str
) -> None:
    """Rows beyond the TTL are refused by the server: said with its code, kept with on_error."""
    now = pd.Timestamp.now("UTC").floor("s").tz_localize(None)
    index = pd.DatetimeIndex([now - pd.Timedelta("2D"), now]).as_unit("ms")
    frame = pd.DataFrame({"a": [1.0, 2.0]}, index=index)
    if model == "tree":
        target = device
        run(connection, f"CREATE ALIGNED TIMESERIES {device}(a DOUBLE)")
        run(connection, f"SET TTL TO {device} 3600000")
    else:
        target = table
        run(connection, f"CREATE TABLE {table} (a DOUBLE FIELD) WITH (TTL=3600000)", "table")
    with pytest.raises(PartialWriteError) as caught:
        write(frame, target, connection=connection)
    report = caught.value.report
    assert report.failures[0].code == 607
    assert report.failures[0].state == "partly stored"
    path = tmp_path / "old.parquet"
    report = write(
        frame, target, chunk=1, on_error="collect", dead_letter=path, connection=connection
    )
    assert (report.rows_written, report.rows_refused, report.n_failures) == (1, 1, 1)
    kept = pq.read_table(path)
    assert kept["a"].to_pylist() == [1.0]
    assert kept["refused_code"].to_pylist() == [607]
    assert report.dead_letter == str(path)
    assert not report.is_complete
