"""Files that are written and loaded give the database that tablets give, and none is half."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from full_disk import full_disk
from iotdb_frames.client.connection import Connection
from iotdb_frames.errors import FrameError, IoTDBFramesError, OptionsError, ServerError
from iotdb_frames.options import TimeseriesOption
from iotdb_frames.reads.read import read
from iotdb_frames.reads.sql import execute, read_sql
from iotdb_frames.server import LocalServer
from iotdb_frames.server.install import find_installation
from iotdb_frames.server.java import find_java
from iotdb_frames.writes import tsfile
from iotdb_frames.writes.tsfile import write_tsfile
from iotdb_frames.writes.writer import write

N = 11_000
"""Rows: two pages."""
INDEX = pd.date_range("2024-03-01", periods=N, freq="s", name="time")


def mixed(n_rows: int = N) -> pd.DataFrame:
    """A column of each type, with and without missing values."""
    random = np.random.default_rng(7)
    is_missing = random.random(n_rows) < 0.2
    times = INDEX[:n_rows]
    frame = pd.DataFrame(
        {
            "bool": random.random(n_rows) < 0.5,
            "int": random.integers(-(2**31), 2**31, n_rows, dtype="i4"),
            "long": random.integers(-(2**63), 2**63 - 1, n_rows),
            "float": random.normal(size=n_rows).astype("f4"),
            "double": random.normal(size=n_rows),
            "string": np.array(["", "é", "x" * 300, "z"], object)[random.integers(0, 4, n_rows)],
            "text": np.array(["A", "日本", "y" * 130], object)[random.integers(0, 3, n_rows)],
            "when": times + pd.to_timedelta(random.integers(0, 10**6, n_rows), unit="ms"),
            "steady": np.arange(n_rows) * 3,
            "odd name": np.float64(n_rows),
        },
        index=times,
    )
    frame["day"] = pd.Series((times + pd.Timedelta("3D")).date, times).astype("date32[pyarrow]")
    raw = pd.array([b"\0\xff", b"", b"abc\0"] * (n_rows // 3 + 1), dtype="binary[pyarrow]")
    frame["blob"] = raw[:n_rows]
    for name in ("bool", "int", "long", "double", "string", "blob", "when", "day"):
        column = frame[name] if name in ("blob", "day") else frame[name].convert_dtypes()
        frame[name] = column.mask(is_missing)
    frame["late"] = frame["double"].where(np.arange(n_rows) >= 7_000)
    frame["never"] = pd.Series(pd.NA, times, dtype="Float64")
    return frame


def long(n_rows: int = 4_000) -> pd.DataFrame:
    """Rows of many devices in no order, some (device, time) twice, with missing values."""
    random = np.random.default_rng(3)
    return pd.DataFrame(
        {
            "time": INDEX[random.integers(0, 600, n_rows)],
            "site": np.array(["b", "a", None, "", "ü"], object)[random.integers(0, 5, n_rows)],
            "unit": np.array(["1", None, "zz"], object)[random.integers(0, 3, n_rows)],
            "temp": np.where(random.random(n_rows) < 0.4, np.nan, random.normal(size=n_rows)),
            "state": np.array(["on", "off", None], object)[random.integers(0, 3, n_rows)],
            "count": pd.array(random.integers(0, 99, n_rows), "Int32"),
        }
    )


def devices() -> pd.DataFrame:
    """The same rows of devices of the tree model, some deep, some with odd names."""
    frame = long().drop(columns="unit")
    names = ["p1", "deep.er.still", "`od d`.x", "p2"]
    frame["site"] = np.array(names, object)[np.arange(len(frame)) % 4]
    return frame


def by_device() -> pd.DataFrame:
    """Columns of several devices, in which not all have rows."""
    frame = mixed(500)[["double", "int", "string"]]
    both = pd.concat({"d1": frame, "d2": frame.iloc[100:200], "d3": frame[["int"]]}, axis=1)
    return both.iloc[::-1]


def load(
    connection: Connection, path: Path, model: Literal["tree", "table"], database: str
) -> None:
    """Let the server load a file or a folder."""
    options = "'on-success'='none','convert-on-type-mismatch'='false'"
    if model == "table":
        options += f",'database-name'='{database}'"
    execute(f"LOAD '{path}' WITH ({options})", model=model, connection=connection)


FRAMES: dict[str, tuple[Any, str, dict[str, Any]]] = {
    "wide": (mixed, "root.{}.d", {"schema": {"text": "TEXT"}}),
    "wide table": (mixed, "{}.t", {"schema": {"text": "TEXT"}}),
    "long": (devices, "root.{}.sub", {"time": "time", "device": "site"}),
    "tags": (long, "{}.t", {"time": "time", "tags": ["site", "unit"]}),
    "columns of devices": (by_device, "root.{}", {}),
    "first": (long, "{}.t", {"time": "time", "tags": ["site", "unit"], "duplicates": "first"}),
    "reversed": (lambda: mixed(999).iloc[::-1], "root.{}.d", {}),
}


@pytest.mark.parametrize("kind", FRAMES)
@pytest.mark.parametrize("piece_bytes", [1 << 26, 200_000])
def test_a_file_and_tablets_give_the_same_database(
    connection: Connection,
    database: str,
    tmp_path: Path,
    kind: str,
    piece_bytes: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Loaded rows read as those of tablets do, whole devices or cut ones, flushed or not."""
    monkeypatch.setattr(tsfile, "PIECE_BYTES", piece_bytes)
    make, target, options = FRAMES[kind]
    model: Literal["tree", "table"] = "tree" if target.startswith("root") else "table"
    name = target.format(database)
    read_from = f"root.{database}.**" if model == "tree" and kind != "wide" else name
    write(make(), name, connection=connection, **options)
    wanted = read(read_from, connection=connection)
    execute(f"FLUSH {'root.' * (model == 'tree')}{database}", model=model, connection=connection)
    if model == "tree":
        execute(f"DELETE FROM root.{database}.**", connection=connection)
    else:
        execute(f"DROP TABLE {name}", model="table", connection=connection)
    report = write_tsfile(make(), tmp_path / "f.tsfile", target=name, **options)
    load(connection, tmp_path / "f.tsfile", model, database)
    for _ in range(2):
        got = read(read_from, connection=connection)
        pd.testing.assert_frame_equal(got, wanted)
        execute(
            f"FLUSH {'root.' * (model == 'tree')}{database}", model=model, connection=connection
        )
    assert report.rows_in == len(make())
    assert report.rows == report.rows_in - report.duplicates or kind == "columns of devices"
    assert report.bytes == (tmp_path / "f.tsfile").stat().st_size


def test_statistics_answer_as_values_do(
    connection: Connection, database: str, tmp_path: Path
) -> None:
    """What the server takes from a file's statistics is what the rows give."""
    frame = mixed().drop(columns="never")
    write_tsfile(frame, tmp_path / "f.tsfile", target=f"root.{database}.d")
    load(connection, tmp_path / "f.tsfile", "tree", database)
    names = ["long", "int", "double", "float", "late"]
    calls = ", ".join(f"{f}({n})" for n in names for f in ("min_value", "max_value", "count"))
    found = read_sql(f"SELECT {calls} FROM root.{database}.d", connection=connection)
    for i, name in enumerate(names):
        got = found.iloc[0, 3 * i : 3 * i + 3].tolist()
        assert got == [frame[name].min(), frame[name].max(), frame[name].count()], name
    texts = read_sql(
        f"SELECT min_value(string), max_value(string), last_value(text), sum(bool), sum(int), "
        f"max_time(late), min_time(late) FROM root.{database}.d".replace("sum(bool), ", ""),
        connection=connection,
    )
    assert texts.iloc[0, :4].tolist() == ["", "é", frame["text"].iloc[-1], frame["int"].sum()]


def test_many_columns_and_devices_are_found(
    connection: Connection, database: str, tmp_path: Path
) -> None:
    """An index of more entries than a node holds, of measurements and of devices, finds each."""
    wide = pd.DataFrame(
        np.arange(3.0)[:, None] * np.arange(700), INDEX[:3], [f"m{i}" for i in range(700)]
    )
    write_tsfile(wide, tmp_path / "wide.tsfile", target=f"root.{database}.wide")
    rows = pd.DataFrame(
        {"time": INDEX[0], "d": [f"d{i}" for i in range(600)], "x": np.arange(600.0)}
    )
    write_tsfile(
        rows, tmp_path / "many.tsfile", target=f"root.{database}.many", device="d", time="time"
    )
    load(connection, tmp_path, "tree", database)
    got = read(f"root.{database}.wide", connection=connection)
    pd.testing.assert_frame_equal(got[list(wide)], wide, check_index_type=False, check_freq=False)
    count = read_sql(
        f"SELECT count(x) FROM root.{database}.many.* GROUP BY LEVEL = 1", connection=connection
    )
    assert count.iloc[0, 0] == 600
    one = read(f"root.{database}.many.d513", connection=connection)
    assert one["x"].tolist() == [513.0]


def test_loads_overlap(connection: Connection, database: str, tmp_path: Path) -> None:
    """The file that is loaded last wins, and what it has not stays."""
    index = INDEX[:100]
    for i in range(4):
        frame = pd.DataFrame({"x": float(i), "y": [i, None] * 50}, index).iloc[10 * i :]
        write_tsfile(frame, tmp_path / f"{i}.tsfile", target=f"root.{database}.d")
        load(connection, tmp_path / f"{i}.tsfile", "tree", database)
    got = read(f"root.{database}.d", connection=connection)
    assert got["x"].tolist() == [float(min(row // 10, 3)) for row in range(100)]
    assert got["y"].isna().sum() == 50


def test_a_stream_becomes_one_file(connection: Connection, database: str, tmp_path: Path) -> None:
    """Batches that follow each other in time are one file; one that goes back is refused."""
    table = pa.table(
        {"time": pa.array(INDEX), "x": np.arange(N), "y": [None] * 9_000 + [1.5] * (N - 9_000)}
    )
    reader = pa.RecordBatchReader.from_batches(table.schema, table.to_batches(max_chunksize=4_000))
    report = write_tsfile(reader, tmp_path / "f.tsfile", target=f"root.{database}.d")
    assert (report.rows_in, report.rows, report.points) == (N, N, 2 * N - 9_000)
    load(connection, tmp_path / "f.tsfile", "tree", database)
    got = read(f"root.{database}.d", connection=connection)
    assert got["x"].tolist() == list(range(N))
    assert got["y"].count() == N - 9_000
    back = pa.RecordBatchReader.from_batches(
        table.schema, table.to_batches(max_chunksize=4_000)[::-1]
    )
    with pytest.raises(FrameError, match="already has a time as late"):
        write_tsfile(back, tmp_path / "g.tsfile", target=f"root.{database}.d")
    assert not list(tmp_path.glob("*g.tsfile*"))


@pytest.mark.parametrize("compression", ["lz4", "snappy", "zstd", "uncompressed"])
def test_every_compression_and_encoding_is_read_by_the_server(
    connection: Connection, database: str, tmp_path: Path, compression: str
) -> None:
    """What is offered, the server reads exactly."""
    frame = mixed(5_000)[["long", "int", "when", "double", "string", "steady"]]
    plain = TimeseriesOption(encoding="PLAIN")
    schema = {"long": plain, "when": plain, "double": TimeseriesOption(compression="zstd")}
    write_tsfile(
        frame,
        tmp_path / "f.tsfile",
        target=f"root.{database}.d",
        compression=compression,
        schema=schema,
    )
    load(connection, tmp_path / "f.tsfile", "tree", database)
    got = read(f"root.{database}.d", connection=connection)
    for name in frame:
        assert got[name].dropna().tolist() == frame[name].dropna().tolist(), name
        assert got[name].isna().tolist() == frame[name].isna().tolist(), name


def test_what_no_file_holds_is_refused_and_none_is_left(tmp_path: Path) -> None:
    """An encoding that is not written, a full disk, a bad row, a name that is taken: no file."""
    frame = mixed(50)[["double", "long"]]
    path = tmp_path / "f.tsfile"

    def refused(kind: type[Exception], match: str, data: Any = frame, **options: Any) -> None:
        with pytest.raises(kind, match=match):
            write_tsfile(data, path, target="root.a.d", **options)
        assert not list(tmp_path.iterdir())

    gorilla = {"double": TimeseriesOption(encoding="GORILLA")}
    refused(FrameError, "cannot be GORILLA", schema=gorilla)
    refused(FrameError, "compressed by GZIP", schema={"long": TimeseriesOption(compression="GZIP")})
    refused(OptionsError, "not written into files", compression="lzma2")
    refused(
        FrameError, "row 3", pd.DataFrame({"x": [1, 2, 3, 1.5]}, INDEX[:4]), schema={"x": "INT32"}
    )
    refused(FrameError, "duplicate|repeat", pd.concat([frame, frame]), duplicates="raise")
    with full_disk(100):
        refused(IoTDBFramesError, "cannot be written")
    write_tsfile(frame, path, target="root.a.d")
    before = path.read_bytes()
    with pytest.raises(OptionsError, match="there already"):
        write_tsfile(frame, path, target="root.a.d")
    assert path.read_bytes() == before
    assert write_tsfile(frame, path, target="root.a.d", overwrite=True).bytes == len(before)


def test_a_file_over_more_weeks_than_a_load_takes_says_so(
    connection: Connection, database: str, tmp_path: Path
) -> None:
    """Ten weeks are loaded; of eleven the report says what the server will do, and it does."""
    for n_weeks, is_loaded in ((10, True), (11, False)):
        index = pd.date_range("2024-01-04", periods=n_weeks, freq="7D", name="time")
        frame = pd.DataFrame({"x": np.arange(float(n_weeks))}, index)
        path, target = tmp_path / f"{n_weeks}.tsfile", f"root.{database}.d{n_weeks}"
        report = write_tsfile(frame, path, target=target)
        assert bool(report.notes) is not is_loaded
        if is_loaded:
            load(connection, path, "tree", database)
            assert len(read(target, connection=connection)) == n_weeks
        else:
            assert "over 11 weeks" in report.notes[0]
            with pytest.raises(ServerError, match="LOAD_FILE_ERROR"):
                load(connection, path, "tree", database)


def tool(name: str, *arguments: str, folder: Path) -> str:
    """What a tool of the IoTDB distribution prints, which works in `folder`."""
    command = [str(find_java().command), "-cp", str(find_installation().lib / "*"), name]
    run = subprocess.run(
        [*command, *arguments], cwd=folder, capture_output=True, text=True, encoding="utf-8"
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def test_the_tools_of_the_server_accept_every_kind_of_file(
    server: LocalServer, connection: Connection, database: str, tmp_path: Path
) -> None:
    """validate-tsfile.sh finds nothing wrong in loaded files, and print-tsfile.sh prints them."""
    for i, (kind, (make, target, options)) in enumerate(FRAMES.items()):
        model: Literal["tree", "table"] = "tree" if target.startswith("root") else "table"
        name = f"{database}.t{i}" if model == "table" else target.format(f"{database}.k{i}")
        path = tmp_path / f"{i}.tsfile"
        report = write_tsfile(make(), path, target=name, **options)
        if kind in ("tags", "columns of devices"):  # a Java for each file takes its time
            sketch = "org.apache.iotdb.db.tools.TsFileSketchTool"
            printed = tool(sketch, str(path), str(tmp_path / "sketch.txt"), folder=tmp_path)
            assert "END of TsFile" in printed
            assert printed.count("[Chunk Group] of") == 2 * report.devices
        load(connection, path, model, database)
    names = {database, f"root.{database}"}
    loaded = [p for p in server.data_dir.rglob("*.tsfile") if names & {*p.parts}]
    assert len(loaded) >= len(FRAMES)
    bad = tmp_path / loaded[0].name
    for ending in ("", ".resource"):
        shutil.copy(f"{loaded[0]}{ending}", f"{bad}{ending}")
    raw = bytearray(bad.read_bytes())
    raw[40:80] = bytes(40)
    bad.write_bytes(raw)
    validate = "org.apache.iotdb.db.tools.validate.TsFileValidationTool"
    files = [str(path) for path in (*loaded, bad)]
    told = tool(validate, *files, folder=tmp_path).splitlines()
    assert [line for line in told if line in files] == [str(bad)]
    assert not any(str(path) in line and "ERROR" in line for line in told for path in loaded)
