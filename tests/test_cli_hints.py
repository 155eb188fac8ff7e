"""Hints in the shell: they name its options, and what they say, done, stores what was meant."""

from __future__ import annotations

import pickle
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

import iotdb_frames as iotf
from iotdb_frames.cli import app
from iotdb_frames.cli.flags import in_flags
from iotdb_frames.errors import Choice, FrameError, Hint
from iotdb_frames.server import LocalServer

Run = Callable[..., Any]
PYTHON = re.compile(r"csv=\{|time=|schema=|manifest=|on_error|iotf\.|pd\.|df")


@pytest.fixture
def run(server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command that talks to the session's server where it names no other."""
    monkeypatch.setenv("IOTDB_URL", server.url)
    monkeypatch.setenv("IOTDB_PASSWORD", str(server.options.password))
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


# What is in the file, what the hint has to say, the flags of it that are meant, and the value.
CASES: dict[str, tuple[str, str, str, Any]] = {
    "day or month": ("when,x\n01/02/2024,1\n02/02/2024,2\n", "--day-first", "--day-first", 1),
    "form": ("t,x\n20240101,1\n20240102,2\n", "--time-format %Y", "--time-format %Y%m%d", 1),
    "two times": ("a,b,x\n2024-01-01,2023-01-01,1\n", "--time a", "--time a", 1),
    "groups": (
        "time;x\n2024-01-01;1.200\n2024-01-02;1.300\n",
        '--decimal "," reads 1200',
        '--decimal ","',
        1200,
    ),
    "fraction": (
        "time;x\n2024-01-01;1.200\n2024-01-02;1.300\n",
        '--decimal "." reads 1.2',
        '--decimal "."',
        1.2,
    ),
    "names": (
        "time,x\n2024-01-01,1,7\n2024-01-02,2,8\n",
        '--csv \'names=["time", "x", ""]\'',
        '--csv \'names=["time", "x", ""]\'',
        1,
    ),
    "a device": (
        "time,sensor,x\n" + "2024-01-01,a,1\n2024-01-01,b,2\n" * 9,
        "--device sensor",
        "",
        1,
    ),
    "a zone's name": (
        "time,x\n2024-01-01 00:00 CET,1\n2024-01-01 00:01 CET,2\n",
        '--time-format "%Y-%m-%d %H:%M CET"',
        '--time-format "%Y-%m-%d %H:%M CET"',
        1,
    ),
    "names twice": (
        "time,x,x\n2024-01-01,1,7\n2024-01-02,2,8\n",
        '--csv \'names=["time", "x", "x_2"]\'',
        '--csv \'names=["time", "x", "x_2"]\'',
        1,
    ),
    "whole numbers": ("time,x\n1,1\n2,2\n", "--time-unit", "--time-unit s", 1),
    "a row": ("time,x\n" + "2024-01-01,1\n" * 20 + "2024-01-02,two\n", "--dead-letter FILE", "", 1),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("command", ["write", "backfill"])
def test_a_hint_is_made_of_flags(
    run: Run, device: str, tmp_path: Path, command: str, case: str
) -> None:
    """It names what this command takes, nothing of Python, and that stores the value."""
    content, says, flags, value = CASES[case]
    file = tmp_path / "f.csv"
    file.write_text(content)
    words = [command, file, "-t", device]

    def told(*more: Any) -> Any:
        manifest = ["-m", tmp_path / f"{len(more)}.sqlite"] if command == "backfill" else []
        return run(*words, *manifest, *more)

    shown = [told()] if command == "write" else [told(), told("--dry-run")]
    for refused in shown[: 1 if case == "a row" else 2]:
        assert refused.exit_code == 1, refused.output
        assert says in " ".join(refused.output.split())
        assert not PYTHON.search(refused.output), refused.output
    if flags:
        done = told(*shlex.split(flags))
        assert done.exit_code == 0, done.output
        assert iotf.read(device)["x"].iloc[0] == value


def test_a_plan_shows_a_remedy_whole_and_once(run: Run, tmp_path: Path, device: str) -> None:
    """However long it is, what to do stands in the dry run in words that can be typed."""
    file = tmp_path / f"{'long_name_' * 9}.csv"
    file.write_text("time,sensor,x\n" + "2024-01-01,a,1\n2024-01-01,b,2\n" * 9)
    for command in ("write", "backfill"):
        told = run(command, file, "-t", device, "--dry-run")
        shown = " ".join(told.output.split())
        assert shown.count("they would overwrite each other") == 1, told.output
        assert shown.count("Hint: name the device column (--device sensor)") == 1, told.output


def test_what_is_not_there_is_looked_for_by_the_shell(run: Run, device: str) -> None:
    """A read of what does not exist names a command, and a wrong model a flag."""
    told = run("read", f"SELECT x FROM {device}").output
    assert "iotdb-frames read 'SHOW TIMESERIES root.**'" in told
    assert not PYTHON.search(told), told
    told = run("read", "SELECT FROM x", "--model", "table").output
    assert "the other is --model tree" in told


def test_no_times_and_no_server_are_told_in_flags(run: Run, tmp_path: Path) -> None:
    """A file whose texts are no times says --time, and an address without a server --url local:."""
    file = tmp_path / "f.parquet"
    pd.DataFrame({"when": ["2024-01-01"], "x": [1]}).to_parquet(file)
    for words in (["--time", "when"], []):
        for command in (["write"], ["backfill", "-m", tmp_path / f"{len(words)}.sqlite"]):
            told = run(command[0], file, "-t", "root.none", *command[1:], *words)
            assert told.exit_code == 1
            assert "--time names their column" in told.output
            assert not PYTHON.search(told.output), told.output
    gone = run("read", "SHOW DATABASES", "--url", "iotdb://root@127.0.0.1:1").output
    assert "--url local:" in gone


def test_a_column_without_a_type_is_told_in_flags(run: Run, tmp_path: Path, device: str) -> None:
    """A duration has no IoTDB type: convert it, or take the other columns by a backfill."""
    file = tmp_path / "f.parquet"
    index = pd.date_range("2024-03-01", periods=2, freq="1s", name="time")
    pd.DataFrame({"x": [1, 2], "took": pd.to_timedelta([1, 2], "s")}, index).to_parquet(file)
    told = run("write", file, "-t", device)
    assert told.exit_code == 1
    assert "a backfill takes the others alone: --column" in " ".join(told.output.split())
    for text in (told.output, run("write", file, "-t", device, "--dry-run").output):
        assert not PYTHON.search(text), text
    words = ["backfill", file, "-t", device, "-m", tmp_path / "m.sqlite", "--column", "x"]
    assert run(*words).exit_code == 0


def test_rows_that_overwrite_each_other_are_told_in_flags(
    run: Run, tmp_path: Path, device: str
) -> None:
    """A file goes in pieces, for which --duplicates last is no remedy: only --device is named."""
    file = tmp_path / "f.csv"
    file.write_text("time,g,v\n2024-03-01T00:00:00Z,x,1.5\n2024-03-01T00:00:00Z,y,2.5\n")
    told = run("write", file, "-t", device)
    assert told.exit_code == 1
    assert "name the device column (--device g)" in " ".join(told.output.split())
    assert "duplicates" not in told.output


def test_a_hint_is_text_for_python_and_survives_pickle() -> None:
    """Python reads it as Python writes options; pickled with its error it can still be told."""
    hint = Hint(Choice(csv={"day_first": True, "names": [...]}, time_unit=...), " or nothing")
    assert hint == 'csv={"day_first": True, "names": […]}, time_unit=… or nothing'
    error = pickle.loads(pickle.dumps(FrameError("no", hint=hint)))
    assert (error.hint, str(error)) == (hint, f"no\nHint: {hint}")
    assert in_flags(error.hint) == "--day-first --csv names=… --time-unit or nothing"
    assert in_flags("a text") == "a text"
    last = Hint(", or ", Choice(duplicates="last"))
    both = pickle.loads(pickle.dumps(Hint(Choice(tags=[..., "g"]), last)))
    assert (both, in_flags(both)) == (
        'tags=[…, "g"], or duplicates="last"',
        "--tag g, or --duplicates last",
    )
    assert both.without(last) == 'tags=[…, "g"]'
