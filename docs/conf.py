"""How the documentation is built: ``sphinx-build -W --keep-going docs build/docs``, offline."""

from __future__ import annotations

import re
import shutil
from importlib import metadata
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

ROOT = Path(__file__).parents[1]
EXECUTED = ROOT / "build" / "notebooks"
"""Where `tests/test_notebooks.py` leaves the notebooks that it has run."""
PAGES = ROOT / "docs" / "notebooks"
PAGES.mkdir(exist_ok=True)
for notebook in (ROOT / "notebooks").glob("*.ipynb"):  # Sphinx takes pages from its own folder only
    executed = EXECUTED / notebook.name
    shutil.copy(executed if executed.exists() else notebook, PAGES)

project = "iotdb_frames"
author = "The iotdb_frames developers"
project_copyright = "the iotdb_frames developers, Apache License 2.0"
release = version = metadata.version("iotdb-frames")

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_copybutton",
]
templates_path = ["_templates"]
exclude_patterns = ["images"]
default_role = "py:obj"

myst_enable_extensions = ["attrs_inline", "colon_fence"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # the tests run them
nb_merge_streams = True
nb_mime_priority_overrides = [  # a widget needs a kernel; each has a still picture beside it
    ("html", "application/vnd.jupyter.widget-view+json", None)
]

autosummary_generate = True
autodoc_mock_imports = ["pyflink"]  # wants an environment of its own
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
python_maximum_signature_line_length = 80
add_module_names = False

numpydoc_show_class_members = False
numpydoc_validation_checks = {"GL07", "GL08", "PR01", "SS01"}
MADE_HERE = {
    r"Error$|\.(ConnectionLost|PermissionDenied|Pool\w+|Query\w+|SinkFull|WriteRejected)$",
    r"(Report|Plan|Accessor|Result)$",
    r"\.(Connection|Endpoint|Follower|Runner|Submitted|Ticket|IoTDBDataSource)$",
}
"""Classes that only this package makes: their own parameters are nobody else's business."""
numpydoc_validation_exclude = MADE_HERE | {
    r"\.(TSDataType|TSEncoding|CompressionType)$",
    r"\.IoTSerializationSchema$|engines\.flink\.IoTDBSink$",  # whose options are told as a whole
    r"\.AsyncResult\.\w+$|IoTDBSink\.with_\w+$|\.panel$|\.run$",  # told in their one sentence
}

MEMBERS = {
    "aio.AsyncResult": "schema, batches, to_pandas, to_arrow, to_polars, cancel, close",
    "BackfillJob": "resume, status",
    "BackfillReport": "is_complete, is_finished",
    "Connection": "close, is_closed, server, version",
    "DefaultIoTSerializationSchema": "serialize",
    "Endpoint": "of, connection",
    "Fault": "parse",
    "Follower": "look, close, aclose, is_behind",
    "IoTDBAccessor": "write, plan",
    "engines.dask.IoTDBAccessor": "write",
    "engines.flink.IoTDBSink": "run, insert",
    "engines.flink.Submitted": "wait, cancel",
    "IoTDBSink": "open, send, flush, close, state, stats, device_stats, panel, "
    "with_batch_size, with_flush_interval_ms, with_session_pool_size",
    "IoTSerializationSchema": "serialize",
    "LocalServer": "start, stop, restart, kill, url, options, version, data_dir, log_tail",
    "QueryResult": "header, schema, batches, to_pandas, to_arrow, to_polars, cancel, close",
    "Runner": "start, pause, resume, change, stop, wait, run, state, stats, ledger, error, panel",
    "SensorSource": "frame, window, windows, ledger, stream, panel, schema",
    "Ticket": "wait, acked, is_done, error",
    "WritePlan": "check, missing, n_devices, n_bytes, rows_empty",
    "WriteReport": "merge, is_complete, is_partly_stored, points_per_s, rows_per_s",
}
"""What is shown of a class; other public names of these are for the rooms of the package."""

autosummary_context = {"shown": MEMBERS}

html_theme = "pydata_sphinx_theme"
html_title = "iotdb_frames"
html_favicon = "_static/mark.svg"
html_static_path = ["_static"]
html_css_files = ["own.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {
        "text": "iotdb_frames",
        "image_light": "_static/mark.svg",
        "image_dark": "_static/mark.svg",
        "alt_text": "",
    },
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "secondary_sidebar_items": ["page-toc"],
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars = {"index": []}
html_context = {"default_mode": "auto"}

_PICTURE = re.compile(
    r'<picture>\s*<source [^>]*srcset="([^"]+)">\s*<img src="([^"]+)"([^>]*)>\s*</picture>'
)
_INCLUDE = re.compile(r"^```\{include\} \.\./(\S+)\n```$", flags=re.MULTILINE)
_SECTION = re.compile(r"^(Parameters|Attributes|Returns|Yields|Raises)$")
_TYPE = re.compile(r"\w+(?: or None| of \w+)?")
_TABLE = re.compile(r"(?:^\|.*\n)+", flags=re.MULTILINE)
_ENTRY = re.compile(r"^(\*{0,2}\w+(?:, \*{0,2}\w+)*) : (.*)$")


def _read(_: Sphinx, docname: str, source: list[str]) -> None:
    """Pages as on GitHub become Sphinx's."""
    if docname.startswith("notebooks/"):
        return
    source[0] = source[0].replace("](../notebooks/", "](notebooks/")
    text = _INCLUDE.sub(lambda found: (ROOT / found[1]).read_text(encoding="utf-8"), source[0])
    if text != source[0]:  # from the root of the repository
        text = text.replace("](docs/", "](").replace('"docs/', '"')
        for file, page in {
            "CHANGELOG.md": "changes.md",
            "CONTRIBUTING.md": "development.md",
        }.items():
            text = text.replace(f"]({file}", f"]({page}")
    source[0] = _PICTURE.sub(_pictures, text)


def _pictures(found: re.Match[str]) -> str:
    """A picture of each theme; the page's switch chooses, not only the system."""
    dark, light, rest = found.groups()
    alt = re.search(r'alt="([^"]*)"', rest)
    words = alt[1] if alt else ""
    return "\n\n".join(
        f":::{{image}} {path}\n:class: only-{theme}\n:alt: {words}\n:::"
        for theme, path in (("light", light), ("dark", dark))
    )


def _explain(*given: Any) -> None:
    """Make ``name : meaning``, as our docstrings have it, numpydoc's name with its text below."""
    _, what, name, *_, lines = given
    is_section = is_left_out = False
    made: list[str] = []
    for line, below in zip(lines, [*lines[1:], ""], strict=True):
        if below and set(below) == {"-"}:
            is_section = bool(_SECTION.match(line))
            is_left_out = line == "Parameters" and _is_made_here(what, name)
        if is_left_out:
            continue
        entry = _ENTRY.match(line) if is_section else None
        if entry and not _TYPE.fullmatch(entry[2]):
            made += [entry[1], f"    {entry[2]}"]
        else:
            made.append(line)
    lines[:] = _TABLE.sub(_as_directive, "\n".join([*made, ""])).split("\n")


def _as_directive(table: re.Match[str]) -> str:
    """A table of Markdown, which `help` shows as it is, for docutils."""
    rows = [re.split(r"\s*\|\s*", line[1:-1].strip()) for line in table[0].strip().split("\n")]
    width = len(rows[0])
    made = ["", ".. list-table::", "   :header-rows: 1", ""]
    for row in (rows[0], *rows[2:]):
        cells = [cell.strip(" |") for cell in (row + [""] * width)[:width]]
        made += [f"   {'  -' if i else '* -'} {cell}" for i, cell in enumerate(cells)]
    return "\n".join([*made, "", ""])


def _is_made_here(what: str, name: str) -> bool:
    return what in ("class", "exception") and any(re.search(p, name) for p in MADE_HERE)


def _without_parameters(*given: Any) -> tuple[str, None] | None:
    """Leave out how a class is made that only this package makes."""
    _, what, name, *_ = given
    return ("", None) if _is_made_here(what, name) else None


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _read)
    app.connect("autodoc-process-signature", _without_parameters)
    app.connect("autodoc-process-docstring", _explain, priority=100)  # before numpydoc's
