"""Progress of a backfill over files, rows and bytes, where somebody looks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from iotdb_frames.display.card import count, plural
from iotdb_frames.display.progress import somebody_looks
from iotdb_frames.display.views import is_in_notebook, load_view


@dataclass(frozen=True)
class Standing:
    """How far a backfill is.

    phase : "writing" or "verifying"
    n_bytes, n_files : of the sources; bytes_done, files_done : those that are behind us
    rows : rows that were acknowledged
    seconds : of this run
    left_s : seconds that are left at this pace, None while nobody knows
    """

    phase: Literal["writing", "verifying"] = "writing"
    n_files: int = 0
    files_done: int = 0
    n_bytes: int = 0
    bytes_done: int = 0
    rows: int = 0
    seconds: float = 0.0
    left_s: float | None = None

    @property
    def text(self) -> str:
        """Files and rows, in words; units are verified, whatever their files."""
        if self.phase == "verifying":
            return plural(self.rows, "row")
        of = f"{count(self.files_done)} of {plural(self.n_files, 'file')}"
        return f"{of}, {plural(self.rows, 'row')}"


class View(Protocol):
    """Shows standings; closed at the end, always."""

    def show(self, standing: Standing) -> None:
        """Draw it."""

    def close(self, *, is_complete: bool = True) -> None:
        """Leave the final state."""


class _Nobody:
    def show(self, standing: Standing) -> None:
        """Nothing to show."""

    def close(self, *, is_complete: bool = True) -> None:
        """Nothing to show."""


class _Call(_Nobody):
    def __init__(self, call: Callable[[Standing], None]) -> None:
        self._call = call

    def show(self, standing: Standing) -> None:
        self._call(standing)


class _Bar:
    """A bar in a terminal."""

    def __init__(self, label: str) -> None:
        from tqdm import tqdm

        self._label = label
        self._bar: Any = tqdm(unit="B", unit_scale=True, unit_divisor=1024, desc=label)
        self._phase = ""

    def show(self, standing: Standing) -> None:
        bar = self._bar
        if standing.phase != self._phase:
            self._phase = standing.phase
            bar.set_description(f"{self._label} {standing.phase}", refresh=False)
            bar.reset(total=standing.n_bytes or None)
            bar.initial = standing.bytes_done  # what earlier runs did says nothing of the pace
        bar.n = standing.bytes_done
        bar.set_postfix_str(standing.text, refresh=False)
        bar.refresh()

    def close(self, *, is_complete: bool = True) -> None:  # noqa: ARG002 - as it is, it is right
        self._bar.close()


EVERY_S = 0.1


class Progress:
    """Keeps the standing and shows it; may be told from any thread."""

    def __init__(self, wish: Any, *, label: str) -> None:
        self._view = _open_view(wish, label)
        self._lock = threading.Lock()
        self._standing = Standing()
        self._started = self._shown = time.monotonic()
        self._bytes_before = 0

    def begin(
        self,
        phase: Literal["writing", "verifying"],
        *,
        n_files: int,
        files_done: int,
        n_bytes: int,
        bytes_done: int,
        rows: int,
    ) -> None:
        """Begin a phase."""
        with self._lock:
            if self._standing.n_files:
                self._view.show(self._timed(time.monotonic()))  # how the phase before ended
            self._started = time.monotonic()
            self._bytes_before = bytes_done
            self._standing = Standing(phase, n_files, files_done, n_bytes, bytes_done, rows)
            self._view.show(self._standing)

    def unit(self, n_bytes: int, n_rows: int) -> None:
        """A unit is done."""
        with self._lock:
            old = self._standing
            done = min(old.n_bytes, old.bytes_done + n_bytes)
            self._standing = replace(old, bytes_done=done, rows=old.rows + n_rows)
            self._show()

    def file(self) -> None:
        """A file is done."""
        with self._lock:
            done = min(self._standing.n_files, self._standing.files_done + 1)
            self._standing = replace(self._standing, files_done=done)
            self._show()

    def _show(self) -> None:
        now = time.monotonic()
        if now - self._shown < EVERY_S:
            return
        self._shown = now
        self._view.show(self._timed(now))

    def _timed(self, now: float) -> Standing:
        standing, passed = self._standing, now - self._started
        here = standing.bytes_done - self._bytes_before
        left = (standing.n_bytes - standing.bytes_done) * passed / here if here > 0 else None
        return replace(standing, seconds=passed, left_s=left)

    def close(self, *, is_complete: bool) -> None:
        """Show the final state."""
        with self._lock:
            self._view.show(self._timed(time.monotonic()))
            self._view.close(is_complete=is_complete)


def _open_view(wish: Any, label: str) -> View:
    if callable(wish):
        return _Call(wish)
    if wish is False:
        return _Nobody()
    if is_in_notebook() and threading.current_thread() is threading.main_thread():
        return load_view("backfill")(label=label)  # type: ignore[no-any-return]
    if wish == "auto" and not somebody_looks():
        return _Nobody()
    return _Bar(label)
