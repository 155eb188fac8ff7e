"""The notebooks: committed as written, and run from top to bottom against a real IoTDB."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from iotdb_frames.server import stop_local

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "notebooks"
EXECUTED = ROOT / "build" / "notebooks"
"""Where the documentation takes them from, so that they run once for both."""
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def _names(path: Path) -> str:
    return path.stem


def _read(path: Path) -> dict[str, Any]:
    notebook: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return notebook


def test_there_are_six() -> None:
    """A notebook that is lost is noticed."""
    assert len(NOTEBOOKS) == 6


@pytest.mark.parametrize("path", NOTEBOOKS, ids=_names)
def test_it_is_committed_without_what_a_run_leaves(path: Path) -> None:
    """No outputs, no counts, no widget state; a kernel that everybody has."""
    notebook = _read(path)
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert "widgets" not in notebook["metadata"]
    for cell in notebook["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A user's directory, with a ``local:`` server in it that is stopped in the end."""
    path = tmp_path_factory.mktemp("home")
    yield path
    stop_local(path / "iotdb-frames" / "server")


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(p, marks=pytest.mark.flink if "6_flink" in p.stem else pytest.mark.browser)
        for p in NOTEBOOKS
    ],
    ids=[p.stem for p in NOTEBOOKS],
)
def test_it_runs_and_shows_a_plot(path: Path, home: Path, tmp_path: Path) -> None:
    """Every cell runs, and again; there is a plot, and what is exported needs no widget."""
    import nbformat
    from nbclient import NotebookClient
    from nbconvert import HTMLExporter

    environment = {k: v for k, v in os.environ.items() if not k.startswith(("IOTDB_", "MPL"))}
    for _ in range(2):  # with what the first run left in the database
        notebook = nbformat.read(path, 4)
        client = NotebookClient(
            notebook,
            timeout=120,
            store_widget_state=False,
            resources={"metadata": {"path": str(tmp_path)}},
        )
        client.execute(env={**environment, "XDG_DATA_HOME": str(home)})
    outputs = [o for cell in notebook.cells for o in cell.get("outputs", ())]
    assert any("image/png" in o.get("data", {}) for o in outputs)
    assert not [o for o in outputs if o.output_type == "stream" and o.name == "stderr"]
    EXECUTED.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, EXECUTED / path.name)
    html, _ = HTMLExporter().from_notebook_node(notebook)
    assert "application/vnd.jupyter.widget-view+json" not in html
    if "panel" in path.read_text(encoding="utf-8"):
        assert 'aria-label="inlet, outlet"' in html  # the panel's still picture
