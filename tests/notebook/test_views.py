"""How views are found, closed and built."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from iotdb_frames.display import views
from iotdb_frames.errors import MissingExtraError
from iotdb_frames.notebook.panel import reruns

PANEL = Path(reruns.__file__).parent


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without ipywidgets a panel names the pip command."""
    for name in [*sys.modules]:
        if name.startswith("iotdb_frames.notebook.panel"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    with pytest.raises(MissingExtraError, match=r"pip install \"iotdb-frames\[notebook\]\""):
        views.load_view("panel")


@pytest.mark.parametrize("name", sorted(views._VIEWS))
def test_every_view_is_there(name: str) -> None:
    """A name of the table leads to a class or function."""
    assert callable(views.load_view(name))


def test_widgets_are_imported_by_those_who_show_them() -> None:
    """Neither the package, a write, nor a source with its stream imports ipywidgets."""
    code = (
        "import sys, iotdb_frames as iotf; iotf.write; iotf.SensorSource(3).window(5); iotf.Runner;"
        "iotf.watch; print([m for m in ('ipywidgets', 'anywidget', 'IPython') if m in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["panel.js", "panel.css"])
def test_what_is_committed_was_built_from_these_sources(name: str) -> None:
    """The first line of a built file has the hash of the sources beside it."""
    listed = (PANEL / "src" / "build.js").read_text("utf-8").partition("SOURCES = ")[2]
    sources = json.loads(listed.partition(";")[0])
    found = {p.name for p in (PANEL / "src").iterdir() if p.is_file()}
    assert set(sources) == found
    joined = b"".join((PANEL / "src" / source).read_bytes() for source in sources)
    first_line = (PANEL / name).read_text("utf-8").partition("*/")[0]
    assert hashlib.sha256(joined).hexdigest() in first_line


def test_what_is_built_asks_nobody() -> None:
    """The bundle imports nothing and names no address to load from."""
    built = (PANEL / "panel.js").read_text("utf-8")
    assert "import(" not in built
    assert "//cdn" not in built
    assert "fetch(" not in built


class Shell:
    """The part of IPython's shell that tells which cell runs."""

    def __init__(self) -> None:
        self.cell, self.run = "", ""

    def get_parent(self) -> dict[str, Any]:
        """The request that runs."""
        return {"metadata": {"cellId": self.cell}, "header": {"msg_id": self.run}}


class View:
    """Something that can be closed."""

    is_closed = False

    def close(self) -> None:
        """Note it."""
        self.is_closed = True


def test_a_cell_that_runs_again_closes_what_it_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """All views of the earlier run go, those of this run and of other cells stay."""
    import IPython

    shell = Shell()
    monkeypatch.setattr(IPython, "get_ipython", lambda: shell)
    monkeypatch.setattr(reruns, "_made", {})

    def make(cell: str, run: str) -> View:
        shell.cell, shell.run = cell, run
        view = View()
        reruns.adopt(view)
        return view

    first, second, other = make("a", "1"), make("a", "1"), make("b", "1")
    again, more = make("a", "2"), make("a", "2")
    assert [v.is_closed for v in (first, second, other, again, more)] == [
        True, True, False, False, False
    ]  # fmt: skip
    reruns.forget(other)
    assert list(reruns._made) == ["a"]


def test_where_there_is_no_cell_nothing_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a script views are the script's."""
    monkeypatch.setattr(reruns, "_made", {})
    view = View()
    reruns.adopt(view)
    reruns.adopt(View())
    assert not view.is_closed
    assert not reruns._made
