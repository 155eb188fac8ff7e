"""Progress: one standing, one meter that updates it, and views that show it."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from iotdb_frames.display.views import is_in_notebook, load_view
from iotdb_frames.display.words import count, plural

QUICK_ROWS = 200_000
"""Up to so many rows are written before a progress display can be read; "auto" shows none."""

APPEARS_S = 0.3
"""A bar that goes away at the end does not appear for less, which would only flicker."""

Phase = Literal["writing", "verifying"]


@dataclass(frozen=True)
class Standing:
    """How far a job has come.

    Attributes
    ----------
    phase : "writing" or "verifying"
    n_bytes, n_files : size of a backfill's sources; bytes_done, files_done : the part that is done
    rows : rows answered by the server; n_rows : rows in total, 0 if unknown
    seconds : duration of this phase, in this run
    rows_per_s : rate of this run
    left_s : seconds left at this rate, None if unknown
    is_whole : False at the end if something was refused, or is not verified
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
    is_whole: bool = True

    @property
    def text(self) -> str:
        """Files and rows, in words; only rows when verifying, which goes by units, not files."""
        if self.rows < self.n_rows:
            rows = f"{count(self.rows)} of {plural(self.n_rows, 'row')}"
        else:
            rows = plural(self.rows, "row")
        if not self.n_files or self.phase == "verifying":
            return rows
        return f"{count(self.files_done)} of {plural(self.n_files, 'file')}, {rows}"

    @property
    def share(self) -> float | None:
        """How much is done, 0 to 1; None if unknown."""
        done, whole = self.counted
        return min(1.0, done / whole) if whole else None

    @property
    def counted(self) -> tuple[int, int]:
        """(done, total) in bytes if known, otherwise in rows."""
        return (self.bytes_done, self.n_bytes) if self.n_bytes else (self.rows, self.n_rows)

    def timed(self, passed: float, *, since: Standing) -> Standing:
        """The same with the rate reached in the `passed` seconds since `since`."""
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
    every_s : least number of seconds between two calls of `show`
    """

    every_s = 0.1

    def begin(self, standing: Standing) -> None:
        """Begin a phase."""

    def show(self, standing: Standing) -> None:
        """Show the current state."""

    def close(self, standing: Standing, *, is_complete: bool) -> None:
        """Show the final state; always called, once."""


class _Rows(View):
    """Calls a function with (rows done, total rows)."""

    every_s = 0.0

    def __init__(self, call: Callable[[int, int], None]) -> None:
        self._call = call

    def show(self, standing: Standing) -> None:
        self._call(standing.rows, standing.n_rows)


class _Standings(View):
    """Calls a function with each standing."""

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
    """A bar in a terminal; if not asked for explicitly, it is removed once a write is complete."""

    def __init__(self, label: str, *, stays: bool) -> None:
        self._label, self._stays = label, stays
        self._begun = Standing()
        self._bar: Any = None

    def begin(self, standing: Standing) -> None:
        if self._bar is not None:
            self._bar.close()
        self._begun, self._bar = standing, None
        self._stays = self._stays or bool(standing.n_files)
        if self._stays:
            self._open()

    def _open(self, *, after_s: float = 0.0) -> None:
        from tqdm import tqdm

        label = self._label
        unit: dict[str, Any] = {"unit": " rows"}
        if self._begun.n_files:
            label, unit = f"{label} {self._begun.phase}", {"unit": "B", "unit_divisor": 1024}
        done, whole = self._begun.counted
        self._bar = tqdm(desc=label, total=whole or None, initial=done, unit_scale=True, **unit)
        self._bar.start_t -= after_s

    def show(self, standing: Standing) -> None:
        if self._bar is None:
            if standing.seconds < APPEARS_S:
                return
            self._open(after_s=standing.seconds)
        self._bar.n = standing.counted[0]
        if standing.n_files:
            self._bar.set_postfix_str(standing.text, refresh=False)
        self._bar.refresh()

    def close(self, standing: Standing, *, is_complete: bool) -> None:
        if self._bar is None and not is_complete and standing.counted > self._begun.counted:
            self._open(after_s=standing.seconds)
        if self._bar is not None:
            self.show(standing)
            self._bar.leave = self._stays or not is_complete
            self._bar.close()


class Meter:
    """Updates the standing and has it shown; may be called from any thread.

    Parameters
    ----------
    clock : returns monotonic seconds
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
                self._view.show(self._timed(self._clock()))  # the end of the previous phase
            self._started = self._shown = self._clock()
            self._first = self._standing = standing
            self._view.begin(standing)

    def add(self, *, rows: int = 0, n_bytes: int = 0, files: int = 0) -> None:
        """Add to what is done; bytes are estimated per unit, so their sum is capped."""
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

    def close(self, *, is_complete: bool, is_whole: bool = True) -> None:
        """Show the final state.

        is_complete : the job came to its end
        is_whole : all of it is stored as it should be, as its report says
        """
        with self._lock:
            standing = replace(self._timed(self._clock()), is_whole=is_whole)
            self._view.close(standing, is_complete=is_complete)

    def _timed(self, now: float) -> Standing:
        return self._standing.timed(now - self._started, since=self._first or Standing())


def measure_rows(
    wish: bool | Literal["auto"] | Callable[[int, int], None], n_rows: int, *, label: str
) -> Meter:
    """A meter of `n_rows` rows (0: unknown), already begun.

    Parameters
    ----------
    wish : True, False, "auto" (in a notebook or terminal, unless it is too quick to be read), or
        a function of (rows done, total rows)
    label : target of the write
    """
    is_quick = 0 < n_rows <= QUICK_ROWS and is_in_notebook()
    if wish == "auto" and is_quick:
        wish = False
    meter = Meter(_Rows(wish) if callable(wish) else _view(wish, label))
    meter.begin(Standing(n_rows=n_rows))
    return meter


def measure_files(wish: Any, *, label: str) -> Meter:
    """A meter of a backfill; `wish` as in `measure_rows`, or a function of a `Standing`."""
    return Meter(_Standings(wish) if callable(wish) else _view(wish, label))


def is_shown() -> bool:
    """Whether somebody sees a bar on standard error; into a pipe or a file it is noise."""
    return sys.stderr is not None and (sys.stderr.isatty() or is_in_notebook())


def _view(wish: bool | Literal["auto"], label: str) -> View:
    if wish is False:
        return View()
    if is_in_notebook():
        # A display belongs to a cell; a write in a thread (a stream, a panel) has none.
        if wish is True or threading.current_thread() is threading.main_thread():
            return load_view("progress")(label)  # type: ignore[no-any-return]
        return View()
    if wish == "auto" and not is_shown():
        return View()
    return _Bar(label, stays=wish is True)
