"""The README keeps its word: every snippet runs, the type table is the code's, commands exist."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import iotdb_frames as iotf
from iotdb_frames.codec.types import markdown_table
from iotdb_frames.server import stop_local
from iotdb_frames.writes.tsfile import write_tsfile
from java import end_java

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"^```python\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
CONSOLE = re.findall(r"^```console\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
SHELL = [
    line for block in CONSOLE for line in block.splitlines() if line.startswith("iotdb-frames ")
]


def marks_of(snippet: str) -> list[pytest.MarkDecorator]:
    """The tier that has the packages for a snippet; none for most. Flink's own packages warn."""
    if "iotdb_frames.engines.flink" in snippet:
        warnings = (
            "DeprecationWarning",
            "ResourceWarning",
            "pytest.PytestUnraisableExceptionWarning",
        )
        quiet = [pytest.mark.filterwarnings(f"ignore::{warning}") for warning in warnings]
        return [pytest.mark.flink, *quiet]
    return [pytest.mark.engines] * ("iotdb_frames.engines" in snippet)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A user's data directory of this module's own, so that `local:` is nobody else's server."""
    directory = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(directory))
        patch.delenv("IOTDB_URL", raising=False)
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        patch.chdir(directory)  # snippets make files
        end_java()  # that of other tests has their environment, and so their `local:`
        yield directory
        end_java()
        iotf.use(None)
        stop_local()


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    """What the snippets before have defined."""
    return {}


def test_snippets_are_found() -> None:
    """There are as many snippets as fences, and every section has what it promises."""
    assert len(PYTHON) == README.count("```python") >= 8
    assert len(SHELL) >= 5
    for section in ("Quickstart", "Guide", "Development", "Decisions", "Changes"):
        assert f"\n## {section}\n" in README


@pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas")
@pytest.mark.server
@pytest.mark.parametrize(
    "snippet",
    [pytest.param(text, marks=marks_of(text)) for text in PYTHON],
    ids=range(len(PYTHON)),
)
def test_python_snippet_runs(snippet: str, home: Path, names: dict[str, Any]) -> None:
    """A reader who types the snippets in their order sees no error."""
    if "df" not in names and snippet is not PYTHON[0]:  # this test alone was asked for
        exec(compile(PYTHON[0], "README.md", "exec"), names)
    exec(compile(snippet, "README.md", "exec"), names)


def without_numbers(text: str) -> str:
    """A report without what another machine would measure."""
    return re.sub(r"[\d.,]+( [kM])?", "#", text).strip()


@pytest.mark.server
def test_shown_report_looks_so(home: Path, names: dict[str, Any]) -> None:
    """The report that the quickstart shows is what its snippet gives, but for the numbers."""
    if "report" not in names:  # this test alone was asked for
        exec(compile(PYTHON[0], "README.md", "exec"), names)
    shown = re.findall(r"^```text\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
    assert without_numbers(repr(names["report"])) == without_numbers(shown[0])
    assert names["report"].points == 7


@pytest.mark.server
@pytest.mark.parametrize("line", SHELL)
def test_shell_snippet_runs(line: str, home: Path, tmp_path: Path) -> None:
    """A reader who types the commands in their order sees no error."""
    (tmp_path / "press.csv").write_text("time,machine,temp\n2024-03-01 08:00:00,press2,21.5\n")
    frame = pd.DataFrame({"temp": [21.5]}, pd.DatetimeIndex(["2024-03-01 08:00"], name="time"))
    write_tsfile(frame, tmp_path / "press1.tsfile", target="root.plant.press1")
    script = Path(sys.executable).with_name("iotdb-frames")
    done = subprocess.run(
        [script, *shlex.split(line)[1:]],
        cwd=tmp_path,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_type_table_is_the_one_of_the_code() -> None:
    """The README prints the type table as the code knows it."""
    assert markdown_table().strip() in README


@pytest.mark.parametrize("name", sorted(set(re.findall(r"iotf\.([A-Za-z_]\w*)", README))))
def test_named_calls_are_there(name: str) -> None:
    """Every `iotf.…` that the README names is public."""
    assert name in iotf.__all__


def test_set_up_is_two_commands() -> None:
    """One command runs the demo from nothing, one the tests; each sets up all it needs."""
    commands = [line for line in README.splitlines() if line.startswith("python3 -m venv")]
    assert len(commands) == 2
    demo, tests = commands
    assert demo.endswith('pip install -q ".[server]" && .venv/bin/iotdb-frames demo')
    assert tests.endswith('pip install -q ".[test]" && .venv/bin/pytest')
