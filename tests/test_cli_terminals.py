"""The shell and scripts on other terminals: encodings without our marks, readers that go."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

import iotdb_frames as iotf
from iotdb_frames.client.connection import Connection
from iotdb_frames.server import LocalServer

SCRIPT = [sys.executable, "-c", "from iotdb_frames.cli import main; main()"]


@pytest.fixture
def environment(server: LocalServer) -> dict[str, str]:
    """Of a command that talks to the session's server."""
    password = str(server.options.password)
    return {**os.environ, "IOTDB_URL": server.url, "IOTDB_PASSWORD": password}


@pytest.fixture
def days(tmp_path: Path) -> Path:
    """A CSV file of two days."""
    file = tmp_path / "days.csv"
    file.write_text("stamp,x\n20240101,1\n20240102,2\n")
    return file


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "ascii", "gbk", "utf-8"])
def test_what_an_encoding_lacks_is_spelled(
    environment: dict[str, str],
    connection: Connection,
    device: str,
    days: Path,
    tmp_path: Path,
    encoding: str,
) -> None:
    """Where the output's encoding has no check mark, commands print another, and end as they do."""
    environment["PYTHONIOENCODING"] = encoding

    def run(*words: str) -> tuple[int, str]:
        done = subprocess.run([*SCRIPT, *words], env=environment, capture_output=True, check=False)
        return done.returncode, (done.stdout + done.stderr).decode(encoding)

    marks = "✓✗" if encoding == "utf-8" else "+x"
    code, told = run("write", str(days), "-t", device, "--time-format", "%Y%m%d")
    assert (code, told[:8]) == (0, f"{marks[0]} write "), told
    assert len(iotf.read(device, connection=connection)) == 2
    out = tmp_path / "Größe 气.parquet"
    code, told = run("read", f"SELECT x FROM {device}", "--out", str(out))
    assert (code, told[:9]) == (0, f"{marks[0]} 2 rows "), told
    assert pq.read_table(out).num_rows == 2
    code, told = run("write", str(tmp_path / "days.csv"), "-t", "root.", "--time", "stamp")
    assert (code, told[:2]) == (1, f"{marks[1]} "), told
    code, told = run("doctor")
    assert code == 0, told
    assert f"{marks[0]} pandas" in told
    code, told = run("--help")
    assert code == 0
    assert "Pandas frames into Apache IoTDB" in told


SHOWN = """
import pandas as pd
import iotdb_frames as iotf
frame = pd.DataFrame({"Größe 气": [1.5]}, index=pd.to_datetime(["2024-01-01"]))
plan = frame.iotdb.plan(TARGET)
report = frame.iotdb.write(TARGET, progress=False)
print(report); print(str(report)); print([report])
print(plan); print(iotf.query(f"SELECT * FROM {TARGET}")); print(iotf.plan_backfill(FILE, TARGET))
source = iotf.simulate_fleet(3, seed=1); print(source, source.sensors)
print(iotf.replay(frame, speed=2.0))
try:
    frame.iotdb.write("root.x", time="…")
except iotf.FrameError as error:
    print(error)
print(frame.iotdb)
print("whole")
"""


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "gbk"])
def test_what_a_script_prints_is_spelled(
    environment: dict[str, str], device: str, days: Path, encoding: str
) -> None:
    """Reports, plans, results, sources and errors print where the console lacks a character."""
    script = SHOWN.replace("TARGET", repr(device), 9).replace("FILE", repr(str(days)))
    script = script.replace(f"{{{device!r}}}", device)
    environment["PYTHONIOENCODING"] = encoding
    done = subprocess.run(
        [sys.executable, "-X", "utf8", "-c", script],
        env=environment,
        capture_output=True,
        check=False,
    )
    told = done.stdout.decode(encoding)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    assert told.startswith("+ write "), told
    assert told.rstrip().endswith("whole")


def test_a_terminal_is_fitted_and_a_pipe_gets_all(
    environment: dict[str, str], connection: Connection, device: str
) -> None:
    """In a terminal no line is wider than this; what is piped is whole, plain and unpadded."""
    index = pd.date_range("2026-01-01", periods=3, freq="s", name="time")
    frame = pd.DataFrame({f"measurement_{i}": [i / 7] * 3 for i in range(12)}, index=index)
    iotf.write(frame, device, connection=connection, progress=False)
    words = [*SCRIPT, "read", f"SELECT * FROM {device}"]
    piped = subprocess.run(words, env=environment, capture_output=True, check=True, text=True)
    assert "measurement_7" in piped.stdout
    assert all(line == line.rstrip() for line in piped.stdout.splitlines())
    assert piped.stdout.endswith("\n")
    helped = subprocess.run([*SCRIPT, "stop", "-h"], capture_output=True, check=True, text=True)
    assert "--data-dir" in helped.stdout
    assert helped.stdout.endswith("\n")
    assert all(line == line.rstrip() for line in helped.stdout.splitlines())
    for width in (60, 80):
        told = _in_terminal(words, environment, width)
        assert max(map(len, told.splitlines())) <= width
        assert "…" in told
        assert "\x1b" not in told
    wrong = [*SCRIPT, "read", "SELECT * FRM root"]
    assert "\x1b[31m" in _in_terminal(wrong, environment, 80)
    told = _in_terminal(wrong, {**environment, "NO_COLOR": "1"}, 200)
    assert "\x1b" not in told
    sql, caret = told.splitlines()[1:3]
    assert sql[caret.index("^") :] == "root"


def test_a_hint_is_one_line(environment: dict[str, str], tmp_path: Path) -> None:
    """A command that it names can be copied, however narrow the terminal is."""
    file = tmp_path / "f.json"
    file.write_text('[{"time": 1}]')
    told = _in_terminal([*SCRIPT, "write", str(file), "-t", "root.none"], environment, 60)
    (hint,) = (line for line in told.splitlines() if "python -c" in line)
    assert hint.endswith("file=open('new.jsonl', 'w'))\"")


def _in_terminal(words: list[str], environment: dict[str, str], width: int) -> str:
    """What a command shows in a terminal of that width."""
    ours, theirs = pty.openpty()
    try:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
        with subprocess.Popen(
            words, stdin=theirs, stdout=theirs, stderr=theirs, env={**environment, "TERM": "xterm"}
        ):
            os.close(theirs)
            told = b""
            with suppress(OSError):  # Linux's end of a terminal
                while part := os.read(ours, 1 << 16):
                    told += part
    finally:
        os.close(ours)
    return told.decode().replace("\r\n", "\n")


def _leave(words: list[str], environment: dict[str, str], n_lines: int) -> tuple[int, bytes]:
    """Run a command whose reader goes after some lines: its code, and what it said elsewhere."""
    with subprocess.Popen(
        [*SCRIPT, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for _ in range(n_lines):
            process.stdout.readline()
        process.stdout.close()
        told = process.stderr.read()
    return process.returncode, told


@pytest.mark.parametrize("n_lines", [0, 1])
def test_a_reader_may_go(
    environment: dict[str, str], connection: Connection, device: str, tmp_path: Path, n_lines: int
) -> None:
    """``| head`` and ``| true`` end no command early, and change neither its work nor its code."""
    file = tmp_path / "many.csv"
    file.write_text("time,x\n" + "".join(f"{i},{i / 7}\n" for i in range(100_000)))
    write = ["write", str(file), "-t", device, "--time-unit", "s"]
    assert _leave(write, environment, n_lines) == (0, b"")
    assert len(iotf.read(device, connection=connection)) == 100_000
    query = f"SELECT x FROM {device}"
    for words in (["read", query], ["read", query, "--out", "-"], ["doctor"], ["--help"]):
        assert _leave(words, environment, n_lines) == (0, b""), words
    file.write_text("time,x\n1,1\n2,two\n" + "3,3\n" * 20)
    dead = ["--dead-letter", str(tmp_path / "dead.parquet")]
    assert _leave([*write, *dead], environment, n_lines) == (1, b"")
    code, told = _leave([*write, "--type", "x"], environment, 0)
    assert code == 1
    assert b"--type" in told


def test_times_are_found_by_their_form(
    environment: dict[str, str], connection: Connection, device: str, days: Path
) -> None:
    """A column that is written as ``--time-format`` says holds the times, whatever its name."""
    words = [*SCRIPT, "write", str(days), "-t", device]
    assert subprocess.run(words, env=environment, capture_output=True, check=False).returncode == 1
    subprocess.run([*words, "--time-format", "%Y%m%d"], env=environment, check=True)
    times = iotf.read(device, connection=connection).index
    assert times.strftime("%F").tolist() == ["2024-01-01", "2024-01-02"]
