"""The progress of a write in a notebook."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from iotdb_frames.backfills.progress import Standing
from iotdb_frames.display import progress as opening
from iotdb_frames.display.card import Card
from iotdb_frames.notebook import backfill
from iotdb_frames.notebook import progress as shown
from iotdb_frames.notebook.backfill import BackfillProgress
from iotdb_frames.notebook.progress import NotebookProgress


class Clock:
    """A clock that is set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Card]]:
    """What is drawn: (display, card), the newest last."""
    made: list[tuple[str, Card]] = []
    for name in ("display", "update_display"):
        monkeypatch.setattr(shown, name, lambda card, display_id: made.append((display_id, card)))
    return made


def test_it_draws_some_times_a_second_in_one_place(drawn: list[tuple[str, Card]]) -> None:
    """A thousand answers in a second are a few drawings, all of the same display."""
    clock = Clock()
    bar = NotebookProgress(1_000_000, label="root.a.b", clock=clock)
    for _ in range(1_000):
        clock.now += 0.001
        bar.update(500)
    assert 5 <= len(drawn) <= 8
    assert len({display for display, _ in drawn}) == 1
    card = drawn[-1][1]
    assert card.bar == pytest.approx(0.45, abs=0.08)
    assert "k rows/s" in card.title
    assert "left" in card.title


def test_it_ends_in_its_final_state(drawn: list[tuple[str, Card]]) -> None:
    """However little was answered since the last drawing, the bar ends full, and says the time."""
    clock = Clock()
    bar = NotebookProgress(100, label="root.a.b", clock=clock)
    bar.update(99)
    clock.now = 2.5
    bar.close()
    last = drawn[-1][1]
    assert (last.bar, last.status) == (1.0, "ok")
    assert last.title == "100 rows in 2.50 s"


def test_a_write_that_failed_says_how_far_it_came(drawn: list[tuple[str, Card]]) -> None:
    """An error leaves the bar where it was, and not green."""
    bar = NotebookProgress(100, label="root.a.b", clock=Clock())
    bar.update(40)
    bar.close(is_complete=False)
    last = drawn[-1][1]
    assert (last.bar, last.status) == (0.4, "warn")
    assert "40 of 100" in last.title


def test_rows_without_a_known_end_have_no_bar(drawn: list[tuple[str, Card]]) -> None:
    """Of a stream only what is done is said."""
    clock = Clock()
    bar = NotebookProgress(0, label="root.a.b", clock=clock)
    clock.now = 1.0
    bar.update(70)
    assert drawn[-1][1].bar is None
    bar.close()
    assert drawn[-1][1].title == "70 rows in 1.00 s"


def test_auto_shows_it_where_there_is_time_to_look(
    drawn: list[tuple[str, Card]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a notebook large writes of a cell have a display, quick ones and those of threads not."""
    monkeypatch.setattr(opening, "is_in_notebook", lambda: True)
    assert isinstance(opening.open_progress("auto", 10_000_000, label="x"), NotebookProgress)
    assert isinstance(opening.open_progress("auto", 1_000, label="x"), opening.Silent)
    assert isinstance(opening.open_progress(True, 1_000, label="x"), NotebookProgress)
    assert isinstance(opening.open_progress(False, 10_000_000, label="x"), opening.Silent)
    made: list[opening.Progress] = []
    thread = threading.Thread(
        target=lambda: made.append(opening.open_progress("auto", 10_000_000, label="x"))
    )
    thread.start()
    thread.join()
    assert isinstance(made[0], opening.Silent)


def test_a_backfill_ends_with_what_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files and rows are those that were written, also where verifying came after; nothing is 0."""
    shown: list[Card] = []
    monkeypatch.setattr(backfill, "display", lambda card, **_: shown.append(card))
    monkeypatch.setattr(backfill, "update_display", lambda card, **_: shown.append(card))
    progress = BackfillProgress(label="root.a.b")
    written = Standing("writing", 7, 3, 1000, 500, 3000, seconds=1.5, left_s=1.5)
    progress.show(written)
    assert shown[-1].title == (
        "writing · 3 of 7 files, 3,000 rows · 500 B of 1000 B · 2.0 k rows/s · 1.50 s left"
    )
    assert shown[-1].bar == 0.5
    progress.show(replace(written, files_done=7, bytes_done=1000, rows=6000, left_s=None))
    progress.show(Standing("verifying", 7, 0, 0, 0, 4000, seconds=1.0))
    assert shown[-1].title == "verifying · 4,000 rows · 4.0 k rows/s"
    progress.close(is_complete=False)
    assert shown[-1].title == "stopped verifying · 7 of 7 files, 6,000 rows"
    progress.close()
    assert shown[-1].title == "7 of 7 files, 6,000 rows · 1000 B · verified"
    assert (shown[-1].status, shown[-1].bar) == ("ok", 1.0)
