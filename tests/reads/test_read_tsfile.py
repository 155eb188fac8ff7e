"""Files that the server wrote: read as a query reads them, or refused by the column's name."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from iotdb_frames.client.connection import Connection
from iotdb_frames.errors import FrameError, OptionsError
from iotdb_frames.options import TimeseriesOption
from iotdb_frames.reads.read import read
from iotdb_frames.reads.sql import execute, read_sql
from iotdb_frames.reads.tsfile import look_into, read_tsfile
from iotdb_frames.server import LocalServer
from iotdb_frames.tsfile.official import Official
from iotdb_frames.tsfile.reader import TsFileReader
from iotdb_frames.writes.writer import write

N = 25_000
TYPES = {"int": "INT32", "long": "INT64", "day": "DATE", "when": "TIMESTAMP", "text": "TEXT"}


def rows() -> pd.DataFrame:
    """Types that the server stores without GORILLA or RLE, steady and jumping, some missing."""
    random = np.random.default_rng(5)
    index = pd.date_range("2024-05-01", periods=N, freq="s", name="time")
    frame = pd.DataFrame(
        {
            "int": random.integers(-(2**31), 2**31, N, dtype="i4"),
            "long": np.cumsum(random.integers(-5, 9, N)),
            "when": index + pd.to_timedelta(random.integers(0, 1000, N), unit="ms"),
            "text": np.array(["a", "ü" * 90, ""], object)[random.integers(0, 3, N)],
        },
        index=index,
    )
    frame["day"] = pd.Series(index.date, index).astype("date32[pyarrow]")
    for name in ("int", "text"):
        frame[name] = frame[name].convert_dtypes().mask(random.random(N) < 0.2)
    return frame


def files(server: LocalServer, name: str) -> list[Path]:
    """The server's own files of a database."""
    return sorted(p for p in server.data_dir.rglob("*.tsfile") if name in p.parts)


@pytest.mark.parametrize("is_aligned", [True, False])
@pytest.mark.parametrize("encoding", [None, "PLAIN"])
def test_files_of_the_server_are_read(
    server: LocalServer, connection: Connection, database: str, is_aligned: bool, encoding: Any
) -> None:
    """Flushed devices, aligned or not, in the server's encodings or PLAIN, equal a query."""
    target = f"root.{database}.d"
    option = {n: TimeseriesOption(data_type=t, encoding=encoding) for n, t in TYPES.items()}
    write(rows(), target, connection=connection, schema=option, aligned=is_aligned)
    execute(f"FLUSH root.{database}", connection=connection)
    wanted = read(target, connection=connection)
    (file,) = files(server, f"root.{database}")
    got = read_tsfile(file)
    pd.testing.assert_frame_equal(got[list(wanted)], wanted)
    assert got.attrs["iotdb"]["types"] == wanted.attrs["iotdb"]["types"]
    found = look_into(file)
    assert found.points == wanted.count().sum()
    assert {row[2] for row in found.columns} == ({"PLAIN"} if encoding else {"PLAIN", "TS_2DIFF"})


def booleans_and_floats() -> pd.DataFrame:
    """What the server stores in RLE and GORILLA: runs of any length, special numbers, nulls."""
    random = np.random.default_rng(7)
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 5e-324, 1.7976931348623157e308])
    walk = np.cumsum(random.normal(size=N)).round(2)
    walk[random.integers(0, N, 2_000)] = random.choice(special, 2_000)
    at = np.arange(N)
    with np.errstate(over="ignore"):
        columns = {
            "double": walk,
            "float": walk.astype("f4"),
            "late": np.where(at < 12_000, np.nan, 1),
        }
    chance = random.random(N) < 0.5
    columns["random"], columns["runs"] = chance, (at // 37) % 2 == 0
    columns["both"] = np.where((at // 997) % 2, chance, columns["runs"])
    columns["no"], columns["yes"] = np.zeros(N, bool), np.ones(N, bool)
    columns["alternate"] = at % 2 == 0
    frame = pd.DataFrame(columns, rows().index)
    frame["some"] = frame["both"].convert_dtypes().mask(random.random(N) < 0.3)
    return frame


@pytest.mark.parametrize("model", ["tree", "table"])
def test_what_the_server_stores_by_default_is_read(
    server: LocalServer, connection: Connection, database: str, model: Any
) -> None:
    """GORILLA and RLE give each bit that a query gives, pages without a value and NaN included."""
    name, target = (f"root.{database}", f"root.{database}.d")
    if model == "table":
        name, target = (database, f"{database}.t")
    late, others = ["late"], booleans_and_floats().drop(columns="late")
    write(others, target, connection=connection, nan="keep")
    write(booleans_and_floats()[late], target, connection=connection)
    execute(f"FLUSH {name}", model=model, connection=connection)
    (file,) = files(server, name)
    wanted = read(target, connection=connection, returns="arrow")
    got = read_tsfile(file, returns="arrow").select(wanted.column_names)
    assert got.schema.types == wanted.schema.types
    for column in wanted.column_names:
        one, other = (t.column(column).combine_chunks() for t in (got, wanted))
        np.testing.assert_array_equal(one.is_valid(), other.is_valid())
        bits = [np.asarray(c.drop_null()).tobytes() for c in (one, other)]
        assert bits[0] == bits[1], column
    found = {row[0]: row[2:5:2] for row in look_into(file).columns}
    assert found["double"] == found["float"] == ("GORILLA", True)
    assert found["both"] == ("RLE", True)


def test_a_column_in_another_encoding_is_refused_by_name(
    server: LocalServer, connection: Connection, database: str
) -> None:
    """No encoding is guessed at; the other columns of the file can be read."""
    frame = rows()[["long", "text"]].iloc[:500].assign(x=0.5, own=0.5)
    chimp = {"x": TimeseriesOption(encoding="CHIMP")}
    write(frame[["x", "text", "long"]], f"root.{database}.d", connection=connection, schema=chimp)
    write(frame[["own"]], f"root.{database}.e", connection=connection, aligned=False)
    execute(f"FLUSH root.{database}", connection=connection)
    (file,) = files(server, f"root.{database}")
    for device, column, how in (("d", "x", "CHIMP"), ("e", "own", "GORILLA")):
        with pytest.raises(FrameError, match=rf"'{column}'.* is stored as {how}") as caught:
            read_tsfile(file, target=f"root.{database}.{device}")
        assert caught.value.column == column
        assert 'via="local:"' in str(caught.value.hint)
    target = f"root.{database}.d"
    got = read_tsfile(file, target=target, columns=["long", "text"])
    wanted = read(target, connection=connection, columns=["long", "text"])
    pd.testing.assert_frame_equal(got, wanted)
    assert {row[0] for row in look_into(file).columns if not row[4]} == {"x", "own"}


@pytest.mark.parametrize("model", ["tree", "table"])
def test_a_server_reads_any_encoding(
    server: LocalServer, connection: Connection, database: str, tmp_path: Path, model: Any
) -> None:
    """via= gives what a query gave, whatever the encodings, and leaves nothing on the server."""
    frame = rows().iloc[:500].assign(x=0.5, flag=True)
    other = frame.assign(x=1.5)
    name, target = f"root.{database}", f"root.{database}.d"
    if model == "table":
        name, target = database, f"{database}.t"
        write(frame.assign(tag="a"), target, connection=connection, tags=["tag"])
        write(other.assign(tag=None), target, connection=connection, tags=["tag"])
    else:
        encoded = {"x": TimeseriesOption(encoding="CHIMP")}
        write(frame, target, connection=connection, schema=encoded)
        write(other, f"root.{database}.e", connection=connection)
    execute(f"FLUSH {name}", model=model, connection=connection)
    (found,) = files(server, name)
    file = tmp_path / "f.tsfile"
    shutil.copy(found, file)
    wanted = read(target, connection=connection, start="2024-05-01 00:01")
    asked = {"start": "2024-05-01 00:01", "via": connection}
    if model == "tree":
        with pytest.raises(OptionsError, match=f"has a database root.{database} of its own"):
            read_tsfile(file, target=target, **asked)
        execute(f"DELETE DATABASE root.{database}", connection=connection)
        with pytest.raises(OptionsError, match="has 2 devices"):
            read_tsfile(file, **asked)
        below = read_tsfile(file, target=f"root.{database}.**", **asked)
        assert below.groupby("device")["x"].first().to_dict() == {"d": 0.5, "e": 1.5}
    got = read_tsfile(file, target=target if model == "tree" else None, **asked)
    pd.testing.assert_frame_equal(got, wanted)
    with pytest.raises(OptionsError, match="has no batches"):
        read_tsfile(file, returns="batches", **asked)
    with pytest.raises(OptionsError, match="counts in ms"):
        read_tsfile(file, precision="us", **asked)
    databases = read_sql("SHOW DATABASES", model=model, connection=connection).iloc[:, 0]
    assert not [d for d in databases if "iotdb_frames_" in d]
    if model == "tree":
        assert f"root.{database}" not in set(databases)
        execute(f"CREATE DATABASE root.{database}", connection=connection)  # for the fixture


def test_what_is_no_file_is_told(tmp_path: Path) -> None:
    """A missing file, a folder, a Parquet file: an error of ours, which says what it is."""
    rows().iloc[:5].to_parquet(tmp_path / "p.tsfile")
    (tmp_path / "empty.tsfile").touch()
    for name, kind, match in (
        ("none.tsfile", OptionsError, "No such file"),
        ("", OptionsError, "directory"),
        ("p.tsfile", FrameError, "not a whole TsFile: it does not begin"),
        ("empty.tsfile", FrameError, "not a whole TsFile: 0 bytes"),
    ):
        with pytest.raises(kind, match=match):
            read_tsfile(tmp_path / name)


def test_a_damaged_chunk_ends_whatever_the_package_does(
    server: LocalServer, connection: Connection, database: str, tmp_path: Path
) -> None:
    """Pages that leave IoTDB's package in a loop end in an error of ours, and its process ends."""
    index = pd.date_range("2024-05-01", periods=100, freq="s", name="time")
    values = np.random.default_rng(1).normal(size=100)
    plain = TimeseriesOption(encoding="GORILLA", compression="UNCOMPRESSED")
    write(
        pd.DataFrame({"x": values}, index),
        f"root.{database}.d",
        connection=connection,
        schema={"x": plain},
    )
    execute(f"FLUSH root.{database}", connection=connection)
    (file,) = files(server, f"root.{database}")
    whole = file.read_bytes()
    with TsFileReader(file) as reader:
        ((_, at, end),) = reader.devices()
        series = reader.series(at, end)
        (chunk,) = series["x"].chunks
        page = chunk.offset + 60  # past the head of the chunk, and the bits of nulls
        damaged = whole[:page] + b"\x00" * 500 + whole[page + 500 :]
        (tmp_path / "f.tsfile").write_bytes(damaged)
    with TsFileReader(tmp_path / "f.tsfile") as reader:
        reader._official = Official(limit_s=5.0)
        with pytest.raises(FrameError, match="tsfile does not read"):
            list(reader.read(series, ["x"], start=-(2**62), end=2**62))
    assert reader._official._process is None
    assert read_tsfile(file)["x"].tolist() == values.tolist()
