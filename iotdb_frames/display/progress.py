"""Progress, where somebody looks: one standing, one meter that keeps it, and views that show it."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from iotdb_frames.display.card import count, plural
from iotdb_frames.display.views import is_in_notebook, load_view

QUICK_ROWS = 200_000
"""Rows that are written before anybody has read a progress display; "auto" shows none then."""

Phase = Literal["writing", "verifying"]


@dataclass(frozen=True)
class Standing:
    """How far a job is.

    Attributes
    ----------
    phase : "writing" or "verifying"
    n_bytes, n_files : of a backfill's sources; bytes_done, files_done : those that are behind us
    rows : rows that were answered; n_rows : rows there are, 0 while nobody knows
    seconds : of this phase, in this run
    rows_per_s : this run's pace
    left_s : seconds that are left at this pace, None while nobody knows
    """

    phase: Phase = "writing"
    n_files: int = 0
    files_done: int = 0
    n_bytes: int = 0
    bytes_done: int = 0
    rows: int = 0
    n_rows: int = 0
    seconds: float = 0.0
    rows_per_s: float = 0.0
    left_s: float | None = None

    @property
    def text(self) -> str:
        """Files and rows, in words; units are verified, whatever their files."""
        if self.rows < self.n_rows:
            rows = f"{count(self.rows)} of {plural(self.n_rows, 'row')}"
        else:
            rows = plural(self.rows, "row")
        if not self.n_files or self.phase == "verifying":
            return rows
        return f"{count(self.files_done)} of {plural(self.n_files, 'file')}, {rows}"

    @property
    def share(self) -> float | None:
        """How much of it is done, 0 to 1; None while nobody knows."""
        done, whole = self.counted
        return min(1.0, done / whole) if whole else None

    @property
    def counted(self) -> tuple[int, int]:
        """What is done and the whole of it, in bytes where they are known, else in rows."""
        return (self.bytes_done, self.n_bytes) if self.n_bytes else (self.rows, self.n_rows)

    def timed(self, passed: float, *, since: Standing) -> Standing:
        """The same `passed` seconds after `since`, with the pace from there to here."""
        done, whole = self.counted
        here = done - since.counted[0]
        return replace(
            self,
            seconds=passed,
            rows_per_s=(self.rows - since.rows) / passed if passed > 0 else 0.0,
            left_s=(whole - done) * passed / here if whole and here > 0 else None,
        )


class View:
    """Shows standings; this one shows nothing.

    Attributes
    ----------
    every_s : seconds between two standings that it is shown
    """

    every_s = 0.1

    def begin(self, standing: Standing) -> None:
        """A phase begins."""

    def show(self, standing: Standing) -> None:
        """So far it is."""

    def close(self, standing: Standing, *, is_complete: bool) -> None:
        """Leave the final state; called once, always."""


class _Rows(View):
    """Calls (rows done, rows in all)."""

    every_s = 0.0

    def __init__(self, call: Callable[[int, int], None]) -> None:
        self._call = call

    def show(self, standing: Standing) -> None:
        self._call(standing.rows, standing.n_rows)


class _Standings(View):
    """Calls with each standing."""

    every_s = 0.0

    def __init__(self, call: Callable[[Standing], None]) -> None:
        self._call = call

    def begin(self, standing: Standing) -> None:
        self._call(standing)

    def show(self, standing: Standing) -> None:
        self._call(standing)

    def close(self, standing: Standing, *, is_complete: bool) -> None:  # noqa: ARG002 - the report says it
        self._call(standing)


class _Bar(View):
    """A bar in a terminal; one that was not asked for goes away when all of a write is done."""

    def __init__(self, label: str, *, stays: bool) -> None:
        self._label, self._stays = label, stays
        self._bar: Any = None

    def begin(self, standing: Standing) -> None:
        from tqdm import tqdm

        if standing.n_files:
            self._stays, label = True, f"{self._label} {standing.phase}"
            unit: dict[str, Any] = {"unit": "B", "unit_divisor": 1024}
        else:
            label, unit = self._label, {"unit": " rows"}
        if self._bar is not None:
            self._bar.close()
        done, whole = standing.counted
        self._bar = tqdm(desc=label, total=whole or None, initial=done, unit_scale=True, **unit)

    def show(self, standing: Standing) -> None:
        self._bar.n = standing.counted[0]
        if standing.n_files:
            self._bar.set_postfix_str(standing.text, refresh=False)
        self._bar.refresh()

    def close(self, standing: Standing, *, is_complete: bool) -> None:
        if self._bar is not None:
            self.show(standing)
            self._bar.leave = self._stays or not is_complete
            self._bar.close()


class Meter:
    """Keeps the standing and has it shown; may be told from any thread.

    Parameters
    ----------
    clock : seconds, ascending
    """

    def __init__(self, view: View, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._view = view
        self._clock = clock
        self._lock = threading.Lock()
        self._first: Standing | None = None
        self._standing = Standing()
        self._started = self._shown = clock()

    def begin(self, standing: Standing) -> None:
        """Begin a phase."""
        with self._lock:
            if self._first is not None:
                self._view.show(self._timed(self._clock()))  # how the phase before ended
            self._started = self._shown = self._clock()
            self._first = self._standing = standing
            self._view.begin(standing)

    def add(self, *, rows: int = 0, n_bytes: int = 0, files: int = 0) -> None:
        """So much more is done; bytes of units are estimates, and never more than there are."""
        with self._lock:
            old = self._standing
            self._standing = replace(
                old,
                rows=old.rows + rows,
                bytes_done=min(old.n_bytes, old.bytes_done + n_bytes),
                files_done=min(old.n_files, old.files_done + files),
            )
            now = self._clock()
            if now - self._shown >= self._view.every_s:
                self._shown = now
                self._view.show(self._timed(now))

    def close(self, *, is_complete: bool) -> None:
        """Show the final state."""
        with self._lock:
            self._view.close(self._timed(self._clock()), is_complete=is_complete)

    def _timed(self, now: float) -> Standing:
        return self._standing.timed(now - self._started, since=self._first or Standing())


def measure_rows(
    wish: bool | Literal["auto"] | Callable[[int, int], None], n_rows: int, *, label: str
) -> Meter:
    """The progress of `n_rows` rows (0: nobody knows how many), begun.

    Parameters
    ----------
    wish : True, False, "auto" (where somebody looks, and there is time to), or a function of
        (rows done, rows in all)
    label : what is written to
    """
    is_quick = 0 < n_rows <= QUICK_ROWS and is_in_notebook()
    if wish == "auto" and is_quick:
        wish = False
    meter = Meter(_Rows(wish) if callable(wish) else _view(wish, label))
    meter.begin(Standing(n_rows=n_rows))
    return meter


def measure_files(wish: Any, *, label: str) -> Meter:
    """The progress of a backfill; `wish` as in `measure_rows`, or a function of a `Standing`."""
    return Meter(_Standings(wish) if callable(wish) else _view(wish, label))


def _view(wish: bool | Literal["auto"], label: str) -> View:
    if wish is False:
        return View()
    if is_in_notebook():
        # A display belongs to a cell; what a thread writes (a stream, a panel) does not.
        if wish is True or threading.current_thread() is threading.main_thread():
            return load_view("progress")(label)  # type: ignore[no-any-return]
        return View()
    if wish == "auto" and not somebody_looks():
        return View()
    return _Bar(label, stays=wish is True)


def somebody_looks() -> bool:
    """Whether standard error is a terminal."""
    return sys.stderr is not None and sys.stderr.isatty()
