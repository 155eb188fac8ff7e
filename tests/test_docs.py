"""The guide keeps its word: every snippet runs, the type table is the code's, commands exist."""

from __future__ import annotations

import builtins
import inspect
import logging
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
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
PAGES = {path.stem: path for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))}
TEXTS = {name: path.read_text(encoding="utf-8") for name, path in PAGES.items()}
README = TEXTS["README"]
ENTRANCES = {"README", "api", "changes", "development", "guide", "index", "notebooks", "project"}
LINKED_ELSEWHERE = {*ENTRANCES, "dask", "flink", "spark"}  # the last three by engines.md
OF_WORDS = {"cluster", "decisions", "engines", "shell", "types"}
WITHOUT_SNIPPETS = {*ENTRANCES, *OF_WORDS} - {"README"}


def fenced(language: str, text: str) -> list[tuple[int, str]]:
    """The blocks of one language, each with the number of its first line."""
    found = re.finditer(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    return [(text.count("\n", 0, match.start(1)) + 1, match[1]) for match in found]


PYTHON = {name: blocks for name, text in TEXTS.items() if (blocks := fenced("python", text))}
SHELL = [
    pytest.param(line, id=f"{name}:{number + i}")
    for name, text in TEXTS.items()
    for number, block in fenced("console", text)
    for i, line in enumerate(block.splitlines())
    if line.startswith("iotdb-frames ")
]


_LEFT_OPEN = ("ResourceWarning", "pytest.PytestUnraisableExceptionWarning")
ASIDE = {
    "iotdb_frames.engines.flink": ("DeprecationWarning", *_LEFT_OPEN),
    "sqlalchemy": ("sqlalchemy.exc.SAWarning", *_LEFT_OPEN),
}
"""Warnings of what a page imports, Flink's packages and the official client's dialect."""
TIERS = {
    "duckdb": "docs",
    "engines.dask": "engines",
    "engines.flink": "flink",
    "engines.spark": "engines",
}
"""The tier that has the packages for a page, by what it imports; no other page needs one."""


def marks_of(text: str) -> list[pytest.MarkDecorator]:
    """How the snippets of a page are run."""
    code = "".join(block for _, block in fenced("python", text))
    imported = re.findall(r"^(?:import|from) (?:iotdb_frames\.)?([\w.]+)", code, flags=re.MULTILINE)
    tiers = sorted({TIERS[name] for name in imported if name in TIERS})
    quiet = [f"ignore::{w}" for name in ASIDE if name in code for w in ASIDE[name]]
    return [getattr(pytest.mark, tier) for tier in tiers] + [
        pytest.mark.filterwarnings(warning) for warning in quiet
    ]


def run_block(page: str, place: int, names: dict[str, Any]) -> None:
    """Run one snippet of a page, with the page's own line numbers in a traceback."""
    line, block = PYTHON[page][place]
    exec(compile("\n" * (line - 1) + block, PAGES[page], "exec"), names)


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


def test_snippets_are_found() -> None:
    """There are as many snippets as fences, and every page has some but those named here."""
    assert sum(map(len, PYTHON.values())) == sum(t.count("```python") for t in TEXTS.values()) >= 30
    assert set(TEXTS) - set(PYTHON) <= WITHOUT_SNIPPETS
    assert len(SHELL) >= 10


def test_the_readme_is_a_front_door() -> None:
    """It is short, and every page of the guide is named in it."""
    assert len(README.splitlines()) <= 250
    assert not [
        name for name in TEXTS if name not in LINKED_ELSEWHERE and f"docs/{name}.md" not in README
    ]


def test_every_page_has_its_place_in_the_menu() -> None:
    """Each page is in one table of contents, so that it is reached and the docs can be built."""
    trees = [
        tree for text in TEXTS.values() for tree in re.findall(r"{toctree}\n(.*?)```", text, re.S)
    ]
    placed = [name for tree in trees for name in re.findall(r"^\w+$", tree, flags=re.MULTILINE)]
    assert sorted(placed) == sorted(set(TEXTS) - {"README", "index"})


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str) -> None:
    """Every relative link and picture is a file of this repository."""
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)|(?:src|srcset)=\"([^\":]+)\"", TEXTS[name])
    assert not [
        link for pair in links if not (PAGES[name].parent / (link := "".join(pair))).exists()
    ]


@pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas")
@pytest.mark.server
@pytest.mark.parametrize("page", [pytest.param(n, marks=marks_of(TEXTS[n])) for n in PYTHON])
def test_python_snippets_run(page: str, home: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A reader who types the README's first snippet and then a page's, in order, sees no error."""
    caplog.set_level(logging.NOTSET, "iotdb_frames")  # put back afterwards: a page says DEBUG
    names: dict[str, Any] = {}
    if page != "README":
        run_block("README", 0, names)
    for place in range(len(PYTHON[page])):
        run_block(page, place, names)


def without_numbers(text: str) -> str:
    """A report without what another machine would measure."""
    return re.sub(r"[\d.,]+( ([kM]|m?s\b))?", "#", text).strip()


@pytest.mark.server
def test_shown_report_looks_so(home: Path) -> None:
    """The report that the quickstart shows is what its snippet gives, but for the numbers."""
    names: dict[str, Any] = {}
    run_block("README", 0, names)
    (_, shown), *_ = fenced("text", README)
    assert without_numbers(repr(names["report"])) == without_numbers(shown)
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
    """The guide prints the type table as the code knows it."""
    assert markdown_table().strip() in TEXTS["types"]


@pytest.mark.parametrize(
    "name", sorted(set(re.findall(r"iotf\.([A-Za-z_]\w*)", "".join(TEXTS.values()))))
)
def test_named_calls_are_there(name: str) -> None:
    """Every `iotf.…` that the guide names is public."""
    assert name in iotf.__all__


def test_set_up_is_two_commands() -> None:
    """One command runs the demo from nothing, one the tests; each sets up all it needs."""
    commands = [line for line in README.splitlines() if line.startswith("python3 -m venv")]
    assert len(commands) == 2
    demo, tests = commands
    assert demo.endswith('pip install -q ".[server]" && .venv/bin/iotdb-frames demo')
    assert tests.endswith('pip install -q ".[test]" && .venv/bin/pytest')


def test_the_reference_names_all_that_is_public() -> None:
    """Each public name has a place in the reference, and no other of the package's root has one."""
    listed = re.findall(r"^   ([\w.]+)$", TEXTS["api"], flags=re.MULTILINE)
    modules = {"aio": iotf.aio, "signals": iotf.signals}
    within = {f"{place}.{name}" for place, module in modules.items() for name in module.__all__}
    there = {name for name in listed if not name.startswith("engines.")}
    assert there == {*iotf.__all__, *within} - {*modules, "IoTDBFrame"}  # the latter is a stub
    assert len(listed) == len(set(listed))


CLASSES = [kind for name in iotf.__all__ if isinstance(kind := getattr(iotf, name), type)]
RECORDS = [kind for kind in CLASSES if is_dataclass(kind)]
CALLS = [call for name in iotf.__all__ if callable(call := getattr(iotf, name))]


@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)
def test_every_field_is_explained(kind: type) -> None:
    """Help on a report, a plan or options has an entry for each public field."""
    entries = re.findall(r"^(\w+(?:, \w+)*) :", inspect.cleandoc(kind.__doc__ or ""), re.MULTILINE)
    explained = {name for entry in entries for name in entry.split(", ")}
    assert {field.name for field in fields(kind) if not field.name.startswith("_")} <= explained


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
def test_raised_errors_are_public(call: Any) -> None:
    """An error that help names can be caught by a name of the package, or of Python."""
    _, _, told = (inspect.getdoc(call) or "").partition("Raises\n------\n")
    names = re.findall(r"^((?:[A-Z]\w+(?:, )?)+)(?: :|$)", told, flags=re.MULTILINE)
    for name in ", ".join(names).split(", ") if names else ():
        assert name in iotf.__all__ or hasattr(builtins, name), name
