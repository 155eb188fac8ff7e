"""``iotdb-frames tsfile`` and ``read FILE.tsfile``, which need no server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

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
