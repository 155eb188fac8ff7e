"""``simulate``, against the real server: what it shows is what is there."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

import iotdb_frames as iotf
from iotdb_frames.cli import app
from iotdb_frames.server import LocalServer
from iotdb_frames.simulate.fleet import simulate_fleet

Run = Callable[..., Any]
SCRIPT = [sys.executable, "-c", "from iotdb_frames.cli import main; main()", "simulate"]


@pytest.fixture
def run(server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `simulate` on the session's server."""
    monkeypatch.setenv("IOTDB_URL", server.url)
    monkeypatch.setenv("IOTDB_PASSWORD", str(server.options.password))
    return lambda *words: CliRunner().invoke(app, ["simulate", *map(str, words)])


def number(output: str, label: str) -> float:
    """The number in the table's line of that label."""
    found = re.search(rf"^\s*{label}\s+([\d,.]+)", output, flags=re.MULTILINE)
    assert found, output
    return float(found[1].replace(",", ""))


def test_a_minute_of_history_in_a_table(run: Run) -> None:
    """At speed inf the rows of a start and a duration come at once, the same as in Python."""
    result = run(
        *("--target", "simulated.press", "--devices", 5, "--rate", 10, "--window", 100),
        *("--start", "2025-03-01", "--duration", 60, "--speed", "inf", "--seed", 3),
        *("--fault", "spike:0.01", "--fault", "dropout:0.02"),
    )
    assert result.exit_code == 0, result.output
    assert "5 devices → simulated.press" in result.output
    assert re.search(r"^\s*finished", result.output, flags=re.MULTILINE)
    source = simulate_fleet(
        5,
        model="table",
        rate_hz=10,
        duration=60,
        seed=3,
        start="2025-03-01",
        faults=["spike:0.01", "dropout:0.02"],
    )
    expected = source.frame()
    hits = source.ledger()["fault"].value_counts()
    assert number(result.output, "rows") == len(expected) == 3000
    assert number(result.output, "points") == expected[list(source.schema)].notna().sum().sum()
    assert number(result.output, "spike") == hits["spike"]
    assert number(result.output, "dropout") == hits["dropout"]
    assert "of 6 windows" in result.output
    stored = iotf.read_sql("SELECT * FROM simulated.press", model="table")
    assert len(stored) == 3000
    assert stored["cycles"].sum() == expected["cycles"].sum()


def test_live_into_the_tree(run: Run) -> None:
    """By default rows carry the time of now and come at their rate, for the duration."""
    begin = pd.Timestamp.now("UTC").tz_localize(None)
    result = run(
        "--target", "root.simulated.live", "--devices", 3, "--rate", 20, "--duration", "2s"
    )
    assert result.exit_code == 0, result.output
    assert number(result.output, "rows") == 120
    assert "/s of 60" in result.output
    assert number(result.output, "finished") == pytest.approx(2, abs=1)
    sql = "SELECT pressure FROM root.simulated.live.** ALIGN BY DEVICE"
    stored = iotf.read_sql(sql, model="tree")
    assert len(stored) == 120
    assert abs((stored.index.min() - begin).total_seconds()) < 5


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--fault", "spyke:0.01"], "spike"),
        (["--rate", 0], "must be more than 0"),
        (["--window", 100, "--duration", 10], "longer than"),
        (["--duration", "soon"], "not a valid time span"),
        (["--start", "yesterdayish"], "is not a valid time"),
    ],
)
def test_what_cannot_be_meant(run: Run, words: list[Any], text: str) -> None:
    """Wrong options end with a red line that names them, before anything is written."""
    result = run("--target", "root.simulated.never", *words)
    assert result.exit_code == 1, result.output
    assert re.search(r"^✗ \S", result.output, flags=re.MULTILINE)
    assert text in result.output
    assert "Traceback" not in result.output
    found = iotf.read_sql("SHOW DEVICES root.simulated.never.**", model="tree")
    assert len(found) == 0


def test_a_failure_is_shown_with_the_final_state(run: Run) -> None:
    """A stream that the schema does not take shows that it failed, and why, and ends with 1."""
    frame = pd.DataFrame({"state": [True]}, index=pd.to_datetime(["2020-01-01"]))
    iotf.write(frame, "root.simulated.taken.site1.line1.press0001", progress=False)
    result = run("--target", "root.simulated.taken", "--rate", 20, "--duration", 5)
    assert result.exit_code == 1
    assert re.search(r"^\s*failed", result.output, flags=re.MULTILINE)
    assert "✗ column 'state' is BOOLEAN on the server" in result.output


def test_refused_rows_are_collected(run: Run, tmp_path: Path) -> None:
    """With a file for refused rows nothing ends early, and no row is both refused and stored."""
    file = tmp_path / "refused.parquet"
    result = run(
        *("--target", "root.simulated.clean", "--duration", 5, "--start", "2025-01-01"),
        *("--speed", "inf", "--dead-letter", file),
    )
    assert result.exit_code == 0, result.output
    assert number(result.output, "refused") == 0
    assert not file.exists()


def test_a_terminal_sees_it_live_until_ctrl_c(server: LocalServer) -> None:
    """In a terminal the table is drawn again and again; Ctrl-C drains and shows the end, code 0."""
    env = {
        **os.environ,
        "IOTDB_URL": server.url,
        "IOTDB_PASSWORD": str(server.options.password),
        "TERM": "xterm-256color",
        "COLUMNS": "100",
    }
    near, far = pty.openpty()
    words = [
        "--target",
        "root.simulated.terminal",
        "--devices",
        "2",
        "--rate",
        "20",
        "--window",
        "5",
    ]
    process = subprocess.Popen([*SCRIPT, *words], stdout=far, stderr=far, env=env)
    os.close(far)
    shown = b""
    limit = time.monotonic() + 60
    while shown.count(b"running") < 5:
        assert time.monotonic() < limit, shown
        shown += os.read(near, 4096)
    process.send_signal(signal.SIGINT)
    try:
        while data := os.read(near, 4096):
            shown += data
    except OSError:  # Linux tells so that the other end is closed
        pass
    os.close(near)
    assert process.wait(timeout=30) == 0
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    final = text[text.rindex("2 devices → root.simulated.terminal") :]
    assert "stopped" in final
    rows = int(number(final, "rows"))
    connection = iotf.connect(server.url, password=str(server.options.password))
    sql = "SELECT cycles FROM root.simulated.terminal.** ALIGN BY DEVICE"
    with connection:
        assert len(iotf.read_sql(sql, connection=connection, model="tree")) == rows > 0
