"""How lower rooms get the views of `notebook`.

Imports go one way: `notebook` may import any room, and no room may import it. A lower room that
offers a notebook view (a progress display, a panel) gets it here, by name. The view is imported on
demand, and missing packages are named then.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

from iotdb_frames.errors import missing_extra

_VIEWS = {
    "magic": "iotdb_frames.notebook.magic:register",
    "panel": "iotdb_frames.notebook.panel.opening:open_panel",
    "progress": "iotdb_frames.notebook.progress:NotebookProgress",
    "watch": "iotdb_frames.notebook.panel.watching:Watch",
}
_EXTRA_PACKAGES = ("anywidget", "comm", "ipywidgets", "traitlets", "IPython", "ipykernel")


def is_in_notebook() -> bool:
    """Whether this process is a notebook kernel; imports nothing."""
    ipython: Any = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None


def load_view(name: str) -> Any:
    """The view of that name.

    Raises
    ------
    MissingExtraError : it needs the extra ``[notebook]``.
    """
    module, _, attribute = _VIEWS[name].partition(":")
    try:
        return getattr(import_module(module), attribute)
    except ModuleNotFoundError as exc:
        if (exc.name or "").partition(".")[0] in _EXTRA_PACKAGES:
            raise missing_extra("notebook", f"the {name} in a notebook") from exc
        raise
