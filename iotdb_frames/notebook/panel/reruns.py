"""Views made by each notebook cell, so that running the cell again closes them."""

from __future__ import annotations

import sys
from threading import Lock
from typing import Any, Protocol


class Closable(Protocol):
    """A view."""

    def close(self) -> None:
        """End its threads, and remove its widgets."""


_lock = Lock()
_made: dict[str, tuple[str, list[Closable]]] = {}


def adopt(view: Closable) -> None:
    """Record a view of the running cell; close those of the cell's earlier runs."""
    cell, run = _running_cell()
    if not cell:
        return
    with _lock:
        earlier_run, views = _made.get(cell, (run, []))
        is_again = earlier_run != run
        _made[cell] = (run, [view] if is_again else [*views, view])
    for old in views if is_again else ():
        old.close()


def forget(view: Closable) -> None:
    """A view was closed."""
    with _lock:
        for cell, (run, views) in list(_made.items()):
            left = [one for one in views if one is not view]
            _made[cell] = (run, left)
            if not left:
                del _made[cell]


def _running_cell() -> tuple[str, str]:
    """The ids of the running cell and of this run; "" if there is none."""
    ipython: Any = sys.modules.get("IPython")
    shell: Any = None if ipython is None else ipython.get_ipython()
    parent = shell.get_parent() if hasattr(shell, "get_parent") else {}
    metadata = parent.get("metadata") or {}
    cell = str(metadata.get("cellId") or metadata.get("cell_id") or "")
    return cell, str((parent.get("header") or {}).get("msg_id", ""))
