"""Progress of a backfill: right at every moment, and left right at the end."""

from __future__ import annotations

import io
import re
import sys

import pytest

from iotdb_frames.backfills import progress as module
from iotdb_frames.backfills.progress import Progress, Standing


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, in the test's hands."""
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def walk(progress: Progress, clock: list[float]) -> None:
    """A job of 1,000 bytes, 200 of them done by earlier runs: 100 a second."""
    progress.begin("writing", n_files=3, files_done=1, n_bytes=1_000, bytes_done=200, rows=20)
    for _ in range(8):
        clock[0] += 1
        progress.unit(100, 10)
    progress.file()
    progress.begin("verifying", n_files=3, files_done=0, n_bytes=800, bytes_done=0, rows=0)
    clock[0] += 1
    progress.unit(900, 80)  # sizes of units are estimates: never more than there is
    progress.close(is_complete=True)


def test_standings_and_what_is_left(clock: list[float]) -> None:
    """Only this run's pace says how long it takes; what earlier runs did does not."""
    seen: list[Standing] = []
    walk(Progress(seen.append, label="x"), clock)
    writing = [s for s in seen if s.phase == "writing"]
    assert [s.bytes_done for s in writing] == [*range(200, 1_001, 100), 1_000]
    assert [s.left_s for s in writing] == [None, *map(float, range(7, -1, -1)), 0.0]
    assert writing[-1].text == "2 of 3 files, 100 rows"  # how it ended, before the next begins
    assert (seen[-1].phase, seen[-1].text) == ("verifying", "80 rows")
    assert (seen[-1].bytes_done, seen[-1].left_s) == (800, 0.0)


def test_bar_in_a_terminal(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """In a terminal a bar shows phase, share and rows, and stays complete."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    walk(Progress("auto", label="root.d"), clock)
    shown = screen.getvalue()
    assert re.search(r"root\.d writing: +20%", shown)
    last = shown.rstrip().rpartition("\r")[2]
    assert re.search(r"root\.d verifying: 100%.*800/800", last)


def test_nobody_looks(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    """Where nobody looks, "auto" prints nothing, and False nothing anywhere."""
    for wish in ("auto", False):
        walk(Progress(wish, label="x"), clock)
    assert capsys.readouterr() == ("", "")
