"""``backfill`` from a shell, against the real server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import iotdb_frames as iotf
from iotdb_frames.cli import app
from iotdb_frames.cli import backfill as command
from iotdb_frames.errors import OptionsError
from iotdb_frames.server import LocalServer

Run = Callable[..., Any]
SCRIPT = [sys.executable, "-c", "from iotdb_frames.cli import main; main()", "backfill"]
START = pd.Timestamp("2024-03-01")


@pytest.fixture
def run(server: LocalServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs `backfill` on the session's server, in a folder of its own."""
    monkeypatch.setenv("IOTDB_URL", server.url)
    monkeypatch.setenv("IOTDB_PASSWORD", str(server.options.password))
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(app, ["backfill", *map(str, words)])


def frame(n_rows: int, start: int = 0) -> pd.DataFrame:
    """Seconds from `start` on, a count and its half."""
    x = np.arange(start, start + n_rows)
    return pd.DataFrame({"time": START + pd.to_timedelta(x, unit="s"), "n": x, "half": x / 2})


def stored(sql: str, model: str = "tree") -> pd.DataFrame:
    """What the server says."""
    return iotf.read_sql(sql, model=model)


def test_folder_of_two_kinds(run: Run, tmp_path: Path) -> None:
    """A folder goes in whole; the same command again sends nothing."""
    (tmp_path / "in").mkdir()
    frame(100).to_parquet(tmp_path / "in" / "a.parquet", index=False)
    frame(50, 100).to_csv(tmp_path / "in" / "b.csv.gz", index=False)
    words = ("in", "-t", "root.cli_backfill.two", "-m", "m.sqlite", "--verify", "values")
    result = run(*words)
    assert result.exit_code == 0, result.output
    assert result.output.startswith("✓ backfill  root.cli_backfill.two\n")
    assert "150 of 150 read were written" in result.output
    found = stored("SELECT n, half FROM root.cli_backfill.two")
    assert list(found.iloc[:, 0]) == list(range(150))
    assert list(found.iloc[:, 1]) == [n / 2 for n in range(150)]
    again = run(*words)
    assert again.exit_code == 0
    assert "(0 rows" in again.output


def test_messy_file_with_every_option(run: Run, tmp_path: Path) -> None:
    """What is said of a CSV file is believed, and what does not fit goes to the dead letter."""
    lines = [
        "exported by hand",
        "Tag;Uhrzeit;site;temp;note",
        "01/02/2024;08:00;north;21,5;ä",
        "01/02/2024;08:01;north;kaputt;b",
        "02/02/2024;08:00;south;-7;c",
        "03/02/2024;08:00;south;3,25;-",
    ]
    (tmp_path / "messy.txt").write_text("\n".join(lines), encoding="cp1252")
    result = run(
        *("messy.txt", "--target", "cli_backfill.messy", "--manifest", "m.sqlite"),
        *("--tag", "site", "--tag", "file", "--file-column", "file", "--type", "temp=FLOAT"),
        *("--encoding", "cp1252", "--delimiter", ";", "--decimal", ",", "--skip-lines", 1),
        *("--day-first", "--null", "-", "--sentinel", "temp=-7", "--filter", "site != east"),
        *("--dead-letter", "dead.parquet", "--workers", 2, "--memory", "8MiB", "--chunk", 100),
    )
    assert result.exit_code == 1, result.output  # not all of it is there
    assert "dead letter  dead.parquet" in result.output
    sql = "SELECT time, site, file, temp, note FROM cli_backfill.messy ORDER BY time"
    found = stored(sql, "table").astype(object)
    days = [START.replace(month=2, day=d, hour=8) for d in (1, 2, 3)]
    assert list(found.index) == days
    assert list(found["site"]) == ["north", "south", "south"]
    assert set(found["file"]) == {"messy"}
    assert [None if pd.isna(v) else v for v in found["temp"]] == [21.5, None, 3.25]
    assert [None if pd.isna(v) else v for v in found["note"]] == ["ä", "c", None]
    dead = pq.read_table(tmp_path / "dead.parquet").to_pylist()
    assert [(d["refused_file"], d["refused_line"]) for d in dead] == [("messy.txt", 4)]
    assert "kaputt" in dead[0]["refused_text"]


def test_dry_run_sends_nothing(run: Run, tmp_path: Path) -> None:
    """A dry run shows how files would be read, and leaves neither rows nor a manifest."""
    frame(10).to_csv(tmp_path / "a.csv", index=False, sep=";", decimal=",")
    result = run("a.csv", "-t", "root.cli_backfill.dry", "--dry-run")
    assert result.exit_code == 0, result.output
    for text in ("delimiter  ';'", "decimal    ','", "INT64", "DOUBLE"):
        assert text in result.output
    assert stored("SHOW TIMESERIES root.cli_backfill.dry.**").empty
    assert [p.name for p in tmp_path.iterdir()] == ["a.csv"]
    frame(10).drop(columns="time").to_csv(tmp_path / "b.csv", index=False)
    bad = run("b.csv", "-t", "root.cli_backfill.dry", "--dry-run")
    assert bad.exit_code == 1
    assert "no column of times" in bad.output


def test_killed_resumed_and_looked_at(run: Run, server: LocalServer, tmp_path: Path) -> None:
    """Killed in its midst, the job is shown by --status, and --resume alone brings the rest."""
    n_rows = 200_000
    frame(n_rows).to_csv(tmp_path / "a.csv", index=False)
    target = "root.cli_backfill.killed"
    words = ["a.csv", "-t", target, "-m", "m.sqlite", "--memory", "512KiB", "--chunk", "1000"]
    process = subprocess.Popen([*SCRIPT, *words], cwd=tmp_path, env=dict(os.environ))
    job = iotf.BackfillJob(tmp_path / "m.sqlite")
    while process.poll() is None:
        try:
            if job.status().units.get("written", 0) > 3:
                break
        except iotf.IoTDBFramesError:
            pass  # it has not begun
        time.sleep(0.01)
    process.send_signal(signal.SIGSTOP)  # still there, and at work
    refused = run("--manifest", "m.sqlite", "--resume")
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert refused.exit_code == 1
    assert f"in use by process {process.pid}" in refused.output
    shown = run("--manifest", "m.sqlite", "--status")
    assert shown.exit_code == 0
    assert "0 of 1 done" in shown.output
    result = run("--manifest", "m.sqlite", "--resume", "--retry-failed")
    assert result.exit_code == 0, result.output
    assert f"{n_rows:,} of {n_rows:,} read were written" in result.output
    assert stored(f"SELECT count(n), sum(n) FROM {target}").iloc[0].tolist() == [
        n_rows,
        n_rows * (n_rows - 1) / 2,
    ]


def test_changed_file_is_asked_about(run: Run, tmp_path: Path) -> None:
    """A file that was changed is refused, and written once more with --again."""
    frame(10).to_csv(tmp_path / "a.csv", index=False)
    words = ("a.csv", "-t", "root.cli_backfill.changed", "-m", "m.sqlite", "--verify", "none")
    assert run(*words).exit_code == 0
    frame(12).assign(half=-1.0).to_csv(tmp_path / "a.csv", index=False)
    refused = run(*words)
    assert refused.exit_code == 1
    assert "a.csv has changed" in refused.output
    assert run(*words, "--again").exit_code == 0
    found = stored("SELECT half FROM root.cli_backfill.changed")
    assert list(found.iloc[:, 0]) == [-1.0] * 12


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--status"], "Missing --manifest"),
        (["--resume", "-m", "none.sqlite"], "there is no manifest"),
        (["a.csv", "--resume", "-m", "m.sqlite"], "take sources and target from the manifest"),
        (["-t", "root.x", "-m", "m.sqlite"], "Missing SOURCES"),
        (["a.csv", "-m", "m.sqlite"], "Missing --target"),
        (["a.csv", "-t", "root.x"], "Missing --manifest"),
        (
            ["a.csv", "-t", "root.x", "-m", "m", "--verify", "all"],
            "must be 'count', 'values' or None",
        ),
        (["a.csv", "-t", "root.x", "-m", "m", "--sentinel", "7"], "is not COLUMN=NUMBER"),
        (["a.csv", "-t", "root.x", "-m", "m", "--sentinel", "n=x"], "is not COLUMN=NUMBER"),
        (["a.csv", "-t", "root.x", "-m", "m", "--filter", "n"], "is not a valid condition"),
        (["a.csv", "-t", "root.x", "-m", "m", "--type", "n"], "is not COLUMN=TYPE"),
        (["b.csv", "-t", "root.x", "-m", "m"], "there is no"),
        (["a.csv", "-t", "root.x", "-m", "m", "--durable"], "wal_mode is ASYNC"),
    ],
)
def test_wrong_words_are_told(run: Run, tmp_path: Path, words: list[str], told: str) -> None:
    """An invalid option is said in a line, with a code that is not 0."""
    frame(3).to_csv(tmp_path / "a.csv", index=False)
    result = run(*words)
    assert result.exit_code in (1, 2)
    assert told in " ".join(result.output.split())
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("temp > 20", ("temp", ">", 20)),
        ("temp<=-1.5", ("temp", "<=", -1.5)),
        ("a b == 'x y'", ("a b", "==", "x y")),
        ("time>=2024-01-01 08:00", ("time", ">=", "2024-01-01 08:00")),
        ("site!=", ("site", "!=", "")),
    ],
)
def test_conditions(text: str, condition: tuple[str, str, Any]) -> None:
    """A condition is a column, an operator and a number or a text."""
    assert command._condition(text) == condition
    with pytest.raises(OptionsError):
        command._condition("> 3")
