"""Progress: right at every moment, in every view, and left right at the end."""

from __future__ import annotations

import io
import re
import sys
import threading
from functools import partial
from typing import Any

import pytest

from iotdb_frames.display import progress as module
from iotdb_frames.display.card import Card
from iotdb_frames.display.progress import Meter, Standing, View, measure_files, measure_rows
from iotdb_frames.notebook import progress as shown
from iotdb_frames.notebook.progress import NotebookProgress


class Clock:
    """A clock that is set."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time, in the test's hands."""
    made = Clock()
    monkeypatch.setattr(module, "Meter", partial(Meter, clock=made))
    return made


def look(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """A standard error at which somebody looks; pytest sets its own before each test's body."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    return screen


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Card]]:
    """What a notebook draws: (display, card), the newest last."""
    made: list[tuple[str, Card]] = []
    for name in ("display", "update_display"):
        monkeypatch.setattr(shown, name, lambda card, display_id: made.append((display_id, card)))
    return made


def backfill(meter: Meter, clock: Clock) -> None:
    """A job of 1,000 bytes, 200 of them done by earlier runs: 100 a second."""
    meter.begin(Standing(n_files=3, files_done=1, n_bytes=1_000, bytes_done=200, rows=20))
    for _ in range(8):
        clock.now += 1
        meter.add(n_bytes=100, rows=10)
    meter.add(files=1)
    meter.begin(Standing("verifying", n_files=3, n_bytes=800))
    clock.now += 1
    meter.add(n_bytes=900, rows=80)  # sizes of units are estimates: never more than there is
    meter.close(is_complete=True)


def test_only_this_run_tells_the_pace(clock: Clock) -> None:
    """Pace and what is left come from this run; what earlier runs did is in neither."""
    seen: list[Standing] = []
    backfill(measure_files(seen.append, label="x"), clock)
    writing = [s for s in seen if s.phase == "writing"]
    # The last one twice: with its file, and as the phase ended.
    assert [s.bytes_done for s in writing] == [*range(200, 1_001, 100), 1_000, 1_000]
    assert [s.left_s for s in writing] == [None, *map(float, range(7, -1, -1)), 0.0, 0.0]
    assert {s.rows_per_s for s in writing[1:]} == {10.0}
    assert writing[-1].text == "2 of 3 files, 100 rows"
    assert (seen[-1].phase, seen[-1].text) == ("verifying", "80 rows")
    assert (seen[-1].bytes_done, seen[-1].left_s, seen[-1].share) == (800, 0.0, 1.0)


def test_a_function_hears_of_every_answer(clock: Clock) -> None:
    """However fast they come, each answer of a write is told, in order, with the whole."""
    told: list[tuple[int, int]] = []
    meter = measure_rows(lambda done, whole: told.append((done, whole)), 50, label="x")
    for _ in range(5):
        meter.add(rows=10)
    meter.close(is_complete=True)
    assert told == [(10, 50), (20, 50), (30, 50), (40, 50), (50, 50)]


def test_a_backfill_in_a_terminal(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bar for each phase shows its share and rows, and stays, complete."""
    terminal = look(monkeypatch)
    backfill(measure_files("auto", label="root.d"), clock)
    text = terminal.getvalue()
    assert re.search(r"root\.d writing: +20%", text)
    last = text.rstrip().rpartition("\r")[2]
    assert re.search(r"root\.d verifying: 100%.*800/800", last)
    assert "80 rows" in last


@pytest.mark.parametrize(
    ("wish", "is_complete", "stays"),
    [("auto", True, False), ("auto", False, True), (True, True, True)],
)
def test_a_write_in_a_terminal(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, wish: Any, *, is_complete: bool, stays: bool
) -> None:
    """A bar that nobody asked for goes away when all is written, and stays where it stopped."""
    terminal = look(monkeypatch)
    meter = measure_rows(wish, 1_000, label="root.d")
    clock.now += 1
    meter.add(rows=400)
    meter.close(is_complete=is_complete)
    text = terminal.getvalue()
    assert re.search(r"root\.d: +40%.*400/1\.00k", text)
    assert text.endswith("\n") == stays


def test_nobody_looks(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """Where nobody looks, "auto" prints nothing, and False nothing anywhere."""
    for wish in ("auto", False):
        backfill(measure_files(wish, label="x"), clock)
        measure_rows(wish, 10**7, label="x").close(is_complete=True)
    assert capsys.readouterr() == ("", "")


def test_a_notebook_draws_some_times_a_second_in_one_place(
    drawn: list[tuple[str, Card]],
) -> None:
    """A thousand answers in a second are a few drawings, all of the same display."""
    clock = Clock()
    meter = Meter(NotebookProgress("root.a.b"), clock=clock)
    meter.begin(Standing(n_rows=1_000_000))
    for _ in range(1_000):
        clock.now += 0.001
        meter.add(rows=500)
    assert 5 <= len(drawn) <= 9
    assert len({display for display, _ in drawn}) == 1
    card = drawn[-1][1]
    assert card.bar == pytest.approx(0.45, abs=0.08)
    assert re.fullmatch(
        r"4\d\d,\d{3} of 1,000,000 rows · 500\.0 k rows/s · 1\.\d\d s left", card.title
    )


def test_a_write_ends_in_its_final_state(drawn: list[tuple[str, Card]]) -> None:
    """However little was answered since the last drawing, the bar ends full, and says the time."""
    clock = Clock()
    meter = Meter(NotebookProgress("root.a.b"), clock=clock)
    meter.begin(Standing(n_rows=100))
    meter.add(rows=100)
    clock.now += 2.5
    meter.close(is_complete=True)
    last = drawn[-1][1]
    assert (last.bar, last.status, last.title) == (1.0, "ok", "100 rows in 2.50 s")


def test_a_write_that_failed_says_how_far_it_came(drawn: list[tuple[str, Card]]) -> None:
    """An error leaves the bar where it was, and not green."""
    clock = Clock()
    meter = Meter(NotebookProgress("root.a.b"), clock=clock)
    meter.begin(Standing(n_rows=100))
    meter.add(rows=40)
    clock.now += 2
    meter.close(is_complete=False)
    last = drawn[-1][1]
    assert (last.bar, last.status) == (0.4, "warn")
    assert last.title == "stopped writing after 40 of 100 rows and 2.00 s"


def test_rows_without_a_known_end_have_no_bar(drawn: list[tuple[str, Card]]) -> None:
    """Of a stream only what is done is said."""
    clock = Clock()
    meter = Meter(NotebookProgress("root.a.b"), clock=clock)
    meter.begin(Standing())
    clock.now += 1
    meter.add(rows=70)
    assert drawn[-1][1].bar is None
    meter.close(is_complete=True)
    assert drawn[-1][1].title == "70 rows in 1.00 s"


def test_auto_shows_it_where_there_is_time_to_look(
    drawn: list[tuple[str, Card]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a notebook large writes of a cell have a display, quick ones and those of threads not."""
    monkeypatch.setattr(module, "is_in_notebook", lambda: True)

    def view(wish: Any, n_rows: int) -> type[View]:
        return type(measure_rows(wish, n_rows, label="x")._view)

    assert view("auto", 10_000_000) is NotebookProgress
    assert view("auto", 1_000) is View
    assert view(True, 1_000) is NotebookProgress
    assert view(False, 10_000_000) is View
    made: list[type[View]] = []
    thread = threading.Thread(target=lambda: made.append(view("auto", 10_000_000)))
    thread.start()
    thread.join()
    assert made == [View]


def test_a_backfill_in_a_notebook(drawn: list[tuple[str, Card]]) -> None:
    """Files and rows are those that were written, also where verifying came after; nothing is 0."""
    view = NotebookProgress("root.a.b")
    begun = Standing(n_files=7, n_bytes=1000)
    half = Standing("writing", 7, 3, 1000, 500, 3000).timed(1.5, since=begun)
    view.begin(half)
    assert drawn[-1][1].title == (
        "writing · 3 of 7 files, 3,000 rows · 500 B of 1000 B · 2.0 k rows/s · 1.50 s left"
    )
    assert drawn[-1][1].bar == 0.5
    view.show(Standing("writing", 7, 7, 1000, 1000, 6000).timed(3, since=begun))
    verifying = Standing("verifying", 7, rows=4000).timed(1, since=Standing("verifying", 7))
    view.show(verifying)
    assert drawn[-1][1].title == "verifying · 4,000 rows · 4.0 k rows/s"
    view.close(verifying, is_complete=False)
    assert drawn[-1][1].title == "stopped verifying after 7 of 7 files, 6,000 rows and 3.00 s"
    view.close(verifying, is_complete=True)
    assert drawn[-1][1].title == "7 of 7 files, 6,000 rows in 3.00 s · 1000 B · verified"
    assert (drawn[-1][1].status, drawn[-1][1].bar) == ("ok", 1.0)


def test_the_end_is_marked_as_the_report_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that ended with refused rows has no green check above its report's amber mark."""
    drawn: list[Any] = []
    monkeypatch.setattr(shown, "display", lambda card, **_: drawn.append(card))
    monkeypatch.setattr(shown, "update_display", lambda card, **_: drawn.append(card))
    for is_whole, mark, word in ((True, "ok", "verified"), (False, "warn", "see the report")):
        meter = Meter(NotebookProgress("x"))
        meter.begin(Standing("verifying", n_rows=10))
        meter.close(is_complete=True, is_whole=is_whole)
        assert drawn[-1].status == mark
        assert word in drawn[-1].title


def test_a_quick_write_in_a_terminal_shows_no_bar(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bar that would go at once does not come; one that stops early stays, however early."""
    for is_complete in (True, False):
        terminal = look(monkeypatch)
        meter = measure_rows("auto", 1_000, label="root.d")
        clock.now += 0.2
        meter.add(rows=400)
        meter.close(is_complete=is_complete)
        assert bool(terminal.getvalue()) is not is_complete
    terminal = look(monkeypatch)
    measure_rows("auto", 1_000, label="root.d").close(is_complete=False)  # refused, nothing sent
    assert not terminal.getvalue()
