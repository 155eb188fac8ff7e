"""The shell commands, against the real server."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import csv
from typer.testing import CliRunner

import iotdb_frames as iotf
from iotdb_frames.cli import app
from iotdb_frames.data import load_demo
from iotdb_frames.errors import OptionsError
from iotdb_frames.files import writing
from iotdb_frames.server import LocalServer, local_status, stop_local

Run = Callable[..., Any]
SCRIPT = [sys.executable, "-c", "from iotdb_frames.cli import main; main()"]


@pytest.fixture
def run(server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command that talks to the session's server where it names no other."""
    monkeypatch.setenv("IOTDB_URL", server.url)
    monkeypatch.setenv("IOTDB_PASSWORD", str(server.options.password))
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Path]:
    """A directory for a shared server, which is stopped after the test."""
    yield tmp_path / "own"
    stop_local(tmp_path / "own")


@pytest.fixture
def press(tmp_path: Path) -> Path:
    """A CSV file: 100 rows, a cell of `temp` and one of `note` missing, one note empty."""
    frame = pd.DataFrame(
        {
            "time": pd.date_range("2024-03-01", periods=100, freq="1s"),
            "temp": np.linspace(20, 21, 100),
            "site": ["north", "south"] * 50,
            "note": ["fine, mostly"] * 100,
        }
    )
    frame.loc[3, "temp"] = np.nan
    lines = frame.to_csv(index=False).splitlines()
    lines[5] = lines[5].replace('"fine, mostly"', "")
    lines[6] = lines[6].replace('"fine, mostly"', '""')
    file = tmp_path / "press.csv"
    file.write_text("\n".join(lines))
    return file


def failed(result: Any, *texts: str) -> None:
    """The command ended with code 1, a red line, and no traceback."""
    assert result.exit_code == 1, result.output
    assert re.search(r"^✗ \S", result.output, flags=re.MULTILINE)
    assert "Traceback" not in result.output
    for text in texts:
        assert text in result.output


def test_entry_point_tells_its_version() -> None:
    """`iotdb-frames --version` prints the installed version."""
    done = subprocess.run([*SCRIPT, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"iotdb-frames {version('iotdb-frames')}\n"


def test_every_command_and_option_is_explained() -> None:
    """Each command has a help text, and each of its options."""
    import typer

    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    assert {"backfill", "demo", "doctor", "serve", "simulate", "stop", "write"} <= set(commands)
    for name, command in commands.items():
        assert command.help, name
        for parameter in command.params:
            assert getattr(parameter, "help", None) or parameter.name == "help", (name, parameter)


def test_csv_file_into_the_tree(run: Run, press: Path) -> None:
    """A CSV file is written whole; an empty cell is a missing value, a quoted one an empty text."""
    result = run("write", press, "--target", "root.cli.csv")
    assert result.exit_code == 0, result.output
    assert result.output.startswith("✓ write  root.cli.csv\n")
    assert "100 of 100 written" in result.output
    back = iotf.read_sql("SELECT temp, site, note FROM root.cli.csv")
    assert len(back) == 100
    temp = np.linspace(20, 21, 100)
    temp[3] = np.nan
    np.testing.assert_array_equal(back.iloc[:, 0], temp)
    assert list(back.iloc[:, 1]) == ["north", "south"] * 50
    note = back.iloc[:, 2]
    assert note.isna().sum() == 1
    assert pd.isna(note.iloc[4])
    assert note.iloc[5] == ""


def test_file_with_tags_into_a_table(run: Run, press: Path) -> None:
    """Tags and attributes become what they are called; the other columns are fields."""
    words = ("--tag", "site", "--attribute", "note", "--type", "temp=FLOAT")
    result = run("write", press, "-t", "cli.press", *words)
    assert result.exit_code == 0, result.output
    described = iotf.read_sql("DESCRIBE cli.press", model="table")
    kinds = dict(zip(described.iloc[:, 0], described.iloc[:, 2], strict=True))
    assert kinds == {"time": "TIME", "site": "TAG", "note": "ATTRIBUTE", "temp": "FIELD"}
    counted = iotf.read_sql("SELECT site, count(temp) FROM cli.press GROUP BY site", model="table")
    assert counted.set_index("site").iloc[:, 0].to_dict() == {"north": 50, "south": 49}


def test_pandas_parquet_needs_no_time_option(run: Run, tmp_path: Path) -> None:
    """The index that pandas put into a Parquet file is the time, whatever its name."""
    index = pd.date_range("2024-01-01", periods=50, freq="1min", name="stamp")
    pd.DataFrame({"x": range(50)}, index).to_parquet(tmp_path / "x.parquet")
    result = run("write", tmp_path / "x.parquet", "-t", "root.cli.parquet")
    assert result.exit_code == 0, result.output
    assert iotf.read_sql("SELECT count(x) FROM root.cli.parquet").iloc[0, 0] == 50


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_large_file_is_streamed(
    run: Run, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file above the limit is written batch by batch, every row of it."""
    n_rows = 50_000
    table = pa.table(
        {
            "time": pa.array(np.arange(n_rows), pa.timestamp("s")),
            "x": np.random.default_rng(1).normal(size=n_rows),
        }
    )
    file = tmp_path / f"large.{kind}"
    if kind == "csv":
        csv.write_csv(table, file)
    else:
        pq.write_table(table, file)
    monkeypatch.setattr(writing, "STREAM_FROM_BYTES", 1000)
    monkeypatch.setattr(writing, "PIECE_BYTES", 1 << 17)
    result = run("write", file, "-t", f"root.cli.stream_{kind}")
    assert result.exit_code == 0, result.output
    assert int(re.search(r"in (\d+) chunks", result.output)[1]) >= 5  # type: ignore[index]
    count = iotf.read_sql(f"SELECT count(x), sum(x) FROM root.cli.stream_{kind}")
    assert count.iloc[0, 0] == n_rows
    assert count.iloc[0, 1] == pytest.approx(table["x"].to_numpy().sum())


def test_type_that_changes_late_is_explained(run: Run, tmp_path: Path) -> None:
    """A cell that does not fit the type of its column ends the write with its line."""
    lines = [f"{i},{i}" for i in range(90_000)]
    lines[40_000] += ".5"  # behind the head of the sample, and between its other places
    file = tmp_path / "late.csv"
    file.write_text("\n".join(["time,x", *lines]))
    words = ("write", file, "-t", "root.cli.late", "--time-unit", "s")
    failed(run(*words), "late.csv, line 40,002", "'x'")
    assert len(iotf.read_sql("SHOW TIMESERIES root.cli.late.**")) == 0
    assert run(*words, "--type", "x=DOUBLE").exit_code == 0
    assert iotf.read_sql("SELECT max_value(x) FROM root.cli.late").iloc[0, 0] == 89_999


def test_times_of_another_format(run: Run, tmp_path: Path) -> None:
    """How times are written is found out, and asked for where it can be read in two ways."""
    file = tmp_path / "german.csv"
    file.write_text("when\tx\n31.12.2023 23:59:59\t1\n01.01.2024 00:00:00\t2\n")
    words = ("write", file, "-t", "root.cli.german")
    assert run(*words).exit_code == 0
    times = iotf.read_sql("SELECT x FROM root.cli.german").index
    assert list(times) == [pd.Timestamp("2023-12-31 23:59:59"), pd.Timestamp("2024-01-01")]
    file.write_text("when,x\n01/02/2024 00:00,1\n02/02/2024 00:00,2\n")
    failed(run(*words), "the day or the month first", "--day-first")
    assert run(*words, "--day-first").exit_code == 0


def test_a_thousand_off_is_asked_in_flags(run: Run, tmp_path: Path) -> None:
    """Of 1.200 both readings are named with the flag of each, and each flag is heeded."""
    file = tmp_path / "counts.csv"
    file.write_text("time;n\n2024-03-01 08:00;1.200\n2024-03-01 08:01;1.300\n")
    words = ("write", file, "-t", "root.cli.counts")
    asked = ('--decimal "." reads 1.2', '--decimal "," reads 1200')
    failed(run(*words), "may be 1.2 or 1200", *asked)
    assert run(*words, "--decimal", ",").exit_code == 0
    assert iotf.read("root.cli.counts")["n"].tolist() == [1200, 1300]


DIRTY = """\
time;temp;count;code;flag
2024-01-01 00:00:00;20,5;007;0x1F;a
2024-01-01 00:00:01;20,7;008;0x2F;"open
2024-01-01 00:00:02;-999;009;0x3F;c
2024-01-01 00:00:03;-999;010;0x4F;"two
2024-01-01 00:00:04;-999;011;0x5F;e
2024-01-01 00:00:05;20,9;012;0x6F;f
2024-01-01 00:00:06;20,8;012;0x6F;g
2024-01-01 00:00:07;-999;012;0x7F;h
"""


def test_write_reads_as_backfill_does(run: Run, tmp_path: Path) -> None:
    """Open quotes, decimal commas, leading zeros and stand-ins mean the same in both."""
    file = tmp_path / "dirty.csv"
    file.write_text(DIRTY)
    failed(run("write", file, "-t", "root.cli.one"), "dirty.csv, line 3: a quote is open")
    dead = tmp_path / "dead.parquet"
    result = run("write", file, "-t", "root.cli.one", "--dead-letter", dead)
    assert result.exit_code == 1
    assert "6 of 8 written" in result.output
    assert "-999 is missing in temp" in result.output
    words = ("-t", "root.cli.other", "-m", tmp_path / "m.sqlite", "--dead-letter", dead)
    assert run("backfill", file, *words).exit_code == 1
    one, other = (
        iotf.read_sql(f"SELECT temp, count, code, flag FROM root.cli.{name}")
        for name in ("one", "other")
    )
    assert one.astype(str).to_numpy().tolist() == other.astype(str).to_numpy().tolist()
    assert one.iloc[:, 0].tolist()[:1] == [20.5]
    assert one.iloc[:, 0].isna().sum() == 3
    assert one.iloc[:, 1].tolist() == ["007", "009", "011", "012", "012", "012"]
    letters = [pq.read_table(f).to_pydict() for f in (dead, tmp_path / "dead-2.parquet")]
    assert letters[0] == letters[1]
    assert letters[0]["refused_line"] == [3, 5]


def test_lines_are_told_in_a_streamed_file(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a large file, too, a row that the server cannot take is told and kept by its line."""
    monkeypatch.setattr(writing, "STREAM_FROM_BYTES", 1000)
    monkeypatch.setattr(writing, "PIECE_BYTES", 1 << 16)
    lines = [f"{i},{i % 7}" for i in range(30_000)]
    lines[10_000] = f"10000,{2**31}"
    lines[25_000] = "25000,1,2"
    file = tmp_path / "large.csv"
    file.write_text("\n".join(["time,x", *lines]))
    words = ("write", file, "-t", "root.cli.lines", "--time-unit", "s", "--type", "x=INT32")
    failed(run(*words), "large.csv, line 10,002 of the file", "--dead-letter FILE")
    dead = tmp_path / "dead.parquet"
    assert run(*words, "--dead-letter", dead).exit_code == 1
    assert pq.read_table(dead)["refused_line"].to_pylist() == [10_002, 25_002]
    assert iotf.read_sql("SELECT count(x) FROM root.cli.lines").iloc[0, 0] == 29_998


def test_dry_run_sends_nothing(run: Run, press: Path) -> None:
    """`--dry-run` shows types and what it would create, and creates nothing."""
    result = run("write", press, "-t", "root.cli.dry", "--dry-run")
    assert result.exit_code == 0, result.output
    assert "CREATE TIMESERIES root.cli.dry.temp" in result.output
    assert len(iotf.read_sql("SHOW TIMESERIES root.cli.dry.**")) == 0


def test_refused_rows_go_to_the_dead_letter(run: Run, tmp_path: Path) -> None:
    """With `--dead-letter` the good rows are stored, the bad ones filed, and the code is 1."""
    file = tmp_path / "some.parquet"
    index = pd.date_range("2024-01-01", periods=4, freq="1s", name="time")
    pd.DataFrame({"x": pd.Series([1, 2, 2**63, 4], dtype="uint64").array}, index).to_parquet(file)
    failed(run("write", file, "-t", "root.cli.dead"), "some.parquet, row 3 of the file")
    letter = tmp_path / "dead.parquet"
    result = run("write", file, "-t", "root.cli.dead", "--dead-letter", letter)
    assert result.exit_code == 1
    assert "3 of 4 written" in result.output
    assert pq.read_table(letter).num_rows == 1
    assert iotf.read_sql("SELECT count(x) FROM root.cli.dead").iloc[0, 0] == 3


@pytest.mark.parametrize(
    ("words", "texts"),
    [
        (["--duplicates", "sum"], ["duplicates='sum'", "'merge'"]),
        (["--type", "temp"], ["--type 'temp'", "--type temp=DOUBLE"]),
        (["--type", "temp=NUMBER"], ["'NUMBER'", "DOUBLE"]),
        (["--device", "cite"], ["'cite'", "did you mean 'site'?"]),
        (["--delimiter", "ab"], ["'ab'"]),
        (["--chunk", "lots"], ["chunk='lots'"]),
        (["--url", "http://x"], ["not an IoTDB URL"]),
        (["--url", "iotdb://root@127.0.0.1:1"], ["nothing is listening at 127.0.0.1:1", "local:"]),
    ],
)
def test_wrong_options_are_explained(
    run: Run, press: Path, words: list[str], texts: list[str]
) -> None:
    """An invalid option ends with one line and its remedy."""
    failed(run("write", press, "-t", "root.cli.wrong", *words), *texts)


@pytest.mark.parametrize("command", ["write", "doctor", "demo"])
def test_password_in_a_command_line_is_refused(run: Run, command: str, press: Path) -> None:
    """A password shows in the process list, so no command takes one, and none repeats it."""
    words = [press, "-t", "root.cli.secret"] if command == "write" else []
    result = run(command, *words, "--url", "iotdb://root:hunter2@127.0.0.1")
    failed(result, "IOTDB_PASSWORD")
    assert "hunter2" not in result.output


def test_traceback_is_shown_on_request(run: Run, press: Path) -> None:
    """With `--traceback` the error itself comes out."""
    result = run("--traceback", "write", press, "-t", "root.cli.x", "--duplicates", "sum")
    assert isinstance(result.exception, OptionsError)


def test_closed_pipe_is_no_error(run: Run) -> None:
    """`iotdb-frames … | head` ends without a word on standard error."""
    with subprocess.Popen(
        [*SCRIPT, "doctor"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""


def test_doctor_finds_everything(run: Run, server: LocalServer) -> None:
    """Doctor names versions, Java, the installation and the server that is reached."""
    result = run("doctor")
    assert result.exit_code == 0, result.output
    assert re.search(rf"✓ pandas +{re.escape(pd.__version__)}\n", result.output)
    assert re.search(r"✓ Java +\d+, ", result.output)
    assert re.search(rf"✓ IoTDB +{re.escape(server.version)}", result.output)
    assert f"{server.url}, IoTDB {server.version}, times in ms" in result.output
    assert str(server.options.password) not in result.output


def test_doctor_says_what_to_do(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Doctor ends with code 1 where what was asked for does not work, each with its remedy."""
    result = run("doctor", "--url", "iotdb://root@127.0.0.1:1")
    assert result.exit_code == 1
    assert re.search(
        r"✗ --url +nothing is listening at 127.0.0.1:1\n +→ start IoTDB", result.output
    )
    monkeypatch.setenv("IOTDB_PASSWORD", "wrong")
    result = run("doctor")
    assert result.exit_code == 1
    assert "check user and password" in result.output


def test_doctor_fetches_nothing(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a new machine doctor says that IoTDB is not there yet, and leaves it so."""
    monkeypatch.delenv("IOTDB_HOME", raising=False)
    monkeypatch.setenv("IOTDB_FRAMES_CACHE", str(tmp_path / "cache"))
    result = run("doctor")
    assert result.exit_code == 0, result.output
    assert re.search(r"- IoTDB +\S+ is not downloaded yet", result.output)
    assert not (tmp_path / "cache").exists()


@pytest.mark.server
def test_demo_writes_and_reads_twice(own_server: Path) -> None:
    """The demo ends well on a new server and again on the same; stop ends that server."""
    for _ in range(2):
        result = CliRunner().invoke(app, ["demo", "--url", f"local://{own_server}"])
        assert result.exit_code == 0, result.output
        assert "38,498 points are stored" in result.output
        assert f'iotf.use("local://{own_server}")' in result.output
    written = load_demo()
    frame = iotf.read("root.demo.buoy", connection=f"local://{own_server}")
    # what the demo says to type next
    pd.testing.assert_frame_equal(frame[written.columns], written, check_freq=False)
    assert local_status(own_server).is_running
    for text in ("Stopped", "No server is running on"):
        result = CliRunner().invoke(app, ["stop", "--data-dir", str(own_server)])
        assert result.exit_code == 0
        assert text in result.output
    assert not local_status(own_server).is_running


@pytest.mark.server
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_served_server_ends_with_its_terminal(own_server: Path, number: signal.Signals) -> None:
    """`serve` prints what to type, serves other processes, and leaves no JVM behind."""
    with subprocess.Popen(
        [*SCRIPT, "serve", "--data-dir", own_server],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(5)]
        assert re.match(r"IoTDB \S+ runs at iotdb://root@127.0.0.1:\d+\n", lines[0])
        assert f'iotf.use("local://{own_server}")' in lines[1]
        assert iotf.connect(f"local://{own_server}").version in lines[0]
        (jvm,) = psutil.Process(process.pid).children()
        second = CliRunner().invoke(app, ["serve", "--data-dir", str(own_server)])
        failed(second, "already running on")
        process.send_signal(number)
        assert process.wait(timeout=60) == (0 if number == signal.SIGINT else 128 + number)
    psutil.wait_procs([jvm], timeout=30)
    assert not jvm.is_running()
    assert not local_status(own_server).is_running
