"""Progress of a write, where somebody looks: a bar in a terminal, a display in a notebook."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any, Literal, Protocol

from iotdb_frames.display.views import is_in_notebook, load_view

QUICK_ROWS = 200_000
"""Rows that are written before anybody has read a progress display; "auto" shows none then."""


class Progress(Protocol):
    """Told of rows as they are answered; closed at the end, always."""

    def update(self, n_rows: int) -> None:
        """`n_rows` more are done; called from any thread."""

    def close(self, *, is_complete: bool = True) -> None:
        """Show the final state."""


class Silent:
    """Shows nothing."""

    def update(self, n_rows: int) -> None:
        """Nothing to show."""

    def close(self, *, is_complete: bool = True) -> None:
        """Nothing to show."""


class Callback:
    """Calls (rows_done, rows_in_all)."""

    def __init__(self, call: Callable[[int, int], None], total: int) -> None:
        self._call, self._total, self._done = call, total, 0
        self._lock = threading.Lock()

    def update(self, n_rows: int) -> None:
        """Tell the callback."""
        with self._lock:
            self._done += n_rows
            done = self._done
        self._call(done, self._total)

    def close(self, *, is_complete: bool = True) -> None:
        """Nothing to close."""


class Bar:
    """A bar in a terminal; one that was not asked for goes away when all is done."""

    def __init__(self, total: int, *, label: str, stays: bool) -> None:
        from tqdm import tqdm

        self._bar: Any = tqdm(
            total=total or None, desc=label, unit=" rows", unit_scale=True, leave=stays
        )

    def update(self, n_rows: int) -> None:
        """Move the bar."""
        self._bar.update(n_rows)

    def close(self, *, is_complete: bool = True) -> None:
        """Leave the bar as it is, or take it away."""
        self._bar.leave = self._bar.leave or not is_complete
        self._bar.close()


def open_progress(
    wish: bool | Literal["auto"] | Callable[[int, int], None], total: int, *, label: str
) -> Progress:
    """What shows the progress of `total` rows (0: nobody knows how many).

    Parameters
    ----------
    wish : True, False, "auto" (where somebody looks, and there is time to), or a function of
        (rows done, rows in all)
    label : what is written to
    """
    if callable(wish):
        return Callback(wish, total)
    if wish is False:
        return Silent()
    if is_in_notebook():
        # A display belongs to a cell; what a thread writes (a stream, a panel) does not.
        is_worth_it = threading.current_thread() is threading.main_thread() and (
            not total or total > QUICK_ROWS
        )
        if wish is True or is_worth_it:
            return load_view("progress")(total, label=label)  # type: ignore[no-any-return]
        return Silent()
    if wish == "auto" and not somebody_looks():
        return Silent()
    return Bar(total, label=label, stays=wish is True)


def somebody_looks() -> bool:
    """Whether standard error is a terminal."""
    return sys.stderr is not None and sys.stderr.isatty()
