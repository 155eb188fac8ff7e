"""Progress of a write, where somebody looks."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any, Literal, Protocol


class Progress(Protocol):
    """Told of rows as they are answered; closed at the end, always."""

    def update(self, n_rows: int) -> None:
        """`n_rows` more are done."""

    def close(self) -> None:
        """Show the final state."""


class Silent:
    """Shows nothing."""

    def update(self, n_rows: int) -> None:
        """Nothing to show."""

    def close(self) -> None:
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

    def close(self) -> None:
        """Nothing to close."""


def open_progress(
    wish: bool | Literal["auto"] | Callable[[int, int], None], total: int, *, label: str
) -> Progress:
    """What shows the progress of `total` rows: a bar in a terminal, a display in a notebook."""
    if callable(wish):
        return Callback(wish, total)
    if wish is False or (wish == "auto" and not _somebody_looks()):
        return Silent()
    from tqdm import tqdm

    bar: Any = tqdm(
        total=total or None, desc=label, unit=" rows", unit_scale=True, leave=wish is True
    )
    return bar  # type: ignore[no-any-return]


def _somebody_looks() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()
