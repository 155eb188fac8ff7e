"""``iotdb-frames read`` against the real server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import csv
from typer.testing import CliRunner

import iotdb_frames as iotf
from full_disk import full_disk
from iotdb_frames.cli import app
from iotdb_frames.cli import read as read_command
from iotdb_frames.client.connection import Connection
from iotdb_frames.server import LocalServer

Run = Callable[..., Any]
DEVICE = "root.cliread.d"
SQL = f"SELECT temp, n, note, pic FROM {DEVICE}"
N_ROWS = 30_000


@pytest.fixture(scope="module")
def stored(server: LocalServer) -> pa.Table:
    """Rows in the server, and the Arrow table a read of them gives."""
    numbers = np.arange(N_ROWS)
    frame = pd.DataFrame(
        {
            "temp": numbers / 7,
            "n": pd.array(numbers, "Int64"),
            "note": np.where(numbers % 2, 'a "b", c', "").astype(object),
            "pic": np.array([b"\x00\xff", b"", b"a"] * (N_ROWS // 3), dtype=object),
        },
        index=pd.date_range("2024-03-31", periods=N_ROWS, freq="1s", name="time"),
    )
    for i, name in enumerate(frame):
        frame.loc[frame.index[i::11], name] = None
    with Connection(lambda: server.options, label="test") as connection:
        iotf.write(frame, DEVICE, connection=connection)
        return iotf.query(SQL, connection=connection).to_arrow()


@pytest.fixture
def run(stored: pa.Table, server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs ``read`` on the session's server."""
    assert stored.num_rows == N_ROWS
    monkeypatch.setenv("IOTDB_URL", f"{server.url}?fetch_size=5000")
    monkeypatch.setenv("IOTDB_PASSWORD", str(server.options.password))
    return lambda *words: CliRunner().invoke(app, ["read", *(str(word) for word in words)])


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
def test_a_file_holds_what_the_query_gives(
    run: Run, stored: pa.Table, tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every cell, times as UTC instants; in row groups that are written as the rows come."""
    monkeypatch.setattr(read_command, "GROUP_BYTES", 100_000)
    path = tmp_path / f"rows.{ending}"
    result = run(SQL, "--out", path)
    assert result.exit_code == 0, result.output
    assert f"✓ {N_ROWS:,} rows in {path}" in result.output
    if ending == "parquet":
        assert pq.ParquetFile(path).num_row_groups > 1
        found = pq.read_table(path)
    else:
        found = pa.ipc.open_file(path).read_all()
    assert found.schema.field("time").type == pa.timestamp("ms", "UTC")
    assert found.column(0).cast(pa.timestamp("ms")).equals(stored.column(0))
    assert found.drop_columns(["time"]).equals(stored.drop_columns(["time"]))
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("ending", ["csv", "csv.gz"])
def test_csv(run: Run, stored: pa.Table, tmp_path: Path, ending: str) -> None:
    """Missing cells are empty, empty texts quoted; numbers exact; a BLOB in hexadecimal."""
    path = tmp_path / f"rows.{ending}"
    assert run(SQL, "-o", path).exit_code == 0
    options = csv.ConvertOptions(
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
        column_types={f"{DEVICE}.pic": pa.string(), "time": pa.timestamp("ms", "UTC")},
    )
    found = csv.read_csv(path, convert_options=options)
    for name in stored.column_names[1:-1]:
        assert found[name].combine_chunks().equals(stored[name].combine_chunks()), name
    blobs = [None if v is None else v.hex() for v in stored.column(4).to_pylist()]
    assert found.column(4).to_pylist() == blobs
    assert found.column(0).cast(pa.timestamp("ms")).equals(stored.column(0))


def test_standard_output_has_the_rows_alone(run: Run) -> None:
    """``--out -`` is for pipes: CSV and nothing else."""
    result = run(f"SELECT n FROM {DEVICE} LIMIT 2", "--out", "-", "--tz", "Europe/Berlin")
    assert result.stdout.splitlines() == [
        f'"time","{DEVICE}.n"',
        "2024-03-31 01:00:00.000+0100,0",
        "2024-03-31 01:00:02.000+0100,2",
    ]


def test_without_a_file_the_first_rows_show(run: Run) -> None:
    """A look at the result."""
    result = run(SQL)
    assert result.exit_code == 0
    assert "below " in result.stdout  # the device, once
    assert any(line.split()[1:2] == ["temp"] for line in result.stdout.splitlines())
    assert "2024-03-31" in result.stdout


def test_what_is_there_stays(run: Run, tmp_path: Path) -> None:
    """A file is replaced only on request, and only by a whole one."""
    path = tmp_path / "rows.csv"
    path.write_text("mine")
    refused = run(SQL, "--out", path)
    assert refused.exit_code == 1
    assert "--overwrite" in refused.output
    failed = run("SELECT nothing FROM root.cliread.nowhere", "--out", path, "--overwrite")
    assert failed.exit_code == 1
    assert path.read_text() == "mine"
    assert run(SQL, "--out", path, "--overwrite").exit_code == 0
    assert path.read_text().startswith('"time"')
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((SQL, "--out", "rows.xlsx"), "the file must end with"),
        ((SQL, "--out", "nowhere/rows.csv"), "No such file"),
        (("SELECT FROM root.cliread.d", "--out", "a.csv"), "SELECT FROM"),
        (("FLUSH", "--out", "a.csv"), "is not a query"),
        ((SQL, "--model", "graph"), "must be"),
        ((SQL, "--out", "a.csv", "--tz", "Mars/Olympus"), "Mars/Olympus"),
        ((f"SELECT n, n FROM {DEVICE}", "--out", "a.parquet"), "AS"),
    ],
)
def test_bad_requests_leave_nothing(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], said: str
) -> None:
    """Short words, exit code 1, no file."""
    monkeypatch.chdir(tmp_path)
    result = run(*words)
    assert result.exit_code == 1
    assert said in result.output
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ending", ["parquet", "arrow", "csv", "csv.gz"])
def test_a_full_disk_is_told(run: Run, tmp_path: Path, ending: str) -> None:
    """A file that the disk has no room for is named with a remedy, and nothing of it is left."""
    out = tmp_path / f"x.{ending}"
    with full_disk(20_000):
        result = run(SQL, "--out", out)
    assert result.exit_code == 1
    assert "x." in result.output
    assert "cannot be written: File too large" in result.output
    assert "--out" in result.output
    assert not list(tmp_path.iterdir())
    assert run(SQL, "--out", out).exit_code == 0
