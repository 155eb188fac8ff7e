"""``tsfile`` and ``read FILE.tsfile``, which need no server, and ``--method`` of what writes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from iotdb_frames.client.connection import Connection
from iotdb_frames.reads.read import read
from iotdb_frames.server import LocalServer
from iotdb_frames.writes.tsfile import write_tsfile


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    command = [str(Path(sys.executable).with_name("iotdb-frames")), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_a_file_is_shown_and_copied(tmp_path: Path) -> None:
    """What is in it; all of its rows as Parquet; the first of them on the screen."""
    index = pd.date_range("2024-01-01", periods=20_000, freq="s", name="time")
    frame = pd.DataFrame({"x": np.arange(20_000.0), "s": "é"}, index=index)
    file, out = tmp_path / "f.tsfile", tmp_path / "f.parquet"
    write_tsfile(frame, file, target="root.p.d")
    shown = run("tsfile", file)
    assert shown.returncode == 0, shown.stderr
    assert "20,000" in shown.stdout
    assert "PLAIN" in shown.stdout
    done = run("read", file, "--out", out)
    assert done.returncode == 0, done.stderr
    copied = pq.read_table(out).to_pandas().set_index("time")
    assert copied["x"].tolist() == frame["x"].tolist()
    assert copied.index.tz_localize(None).tolist() == index.tolist()
    assert "2024-01-01 00:00:09" in run("read", file).stdout


def test_a_damaged_file_is_one_line(tmp_path: Path) -> None:
    """No traceback, a hint, exit code 1, and no copy."""
    (tmp_path / "f.tsfile").write_bytes(b"TsFile\4" + b"\0" * 90)
    for arguments in (
        ["tsfile", tmp_path / "f.tsfile"],
        ["read", tmp_path / "f.tsfile", "--out", tmp_path / "o.csv"],
    ):
        done = run(*arguments)
        assert done.returncode == 1
        assert "is not a whole TsFile" in done.stderr
        assert "Traceback" not in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["f.tsfile"]


@pytest.mark.parametrize("command", ["write", "backfill"])
def test_files_are_loaded_from_the_shell(
    server: LocalServer,
    connection: Connection,
    database: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
) -> None:
    """``--method tsfile`` loads by way of ``--tsfile-dir``, says so, and leaves nothing there."""
    monkeypatch.setenv("IOTDB_URL", server.url)
    monkeypatch.setenv("IOTDB_PASSWORD", str(server.options.password))
    monkeypatch.chdir(tmp_path)
    index = pd.date_range("2024-01-01", periods=20_000, freq="h", name="time")
    frame = pd.DataFrame({"x": np.arange(20_000.0), "s": "é"}, index=index)
    frame.to_parquet("f.parquet")
    (tmp_path / "see").mkdir()
    target = f"root.{database}.d"
    by_files = ("--method", "tsfile", "--tsfile-dir", tmp_path / "see")
    manifest = ("-m", "m.sqlite", "--verify", "values") if command == "backfill" else ()
    done = run(command, "f.parquet", "-t", target, *by_files, *manifest)
    assert done.returncode == 0, done.stderr
    assert "loaded as TsFiles" in done.stdout + done.stderr
    assert not list((tmp_path / "see").iterdir())
    pd.testing.assert_frame_equal(
        read(target, connection=connection)[["x", "s"]],
        frame,
        check_dtype=False,
        check_index_type=False,
        check_freq=False,
    )
    wrong = run(command, "f.parquet", "-t", target, "--method", "file", *manifest)
    assert wrong.returncode != 0
    assert "tablets" in wrong.stderr + wrong.stdout
