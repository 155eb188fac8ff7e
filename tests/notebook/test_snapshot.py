"""The still picture of a panel."""

from __future__ import annotations

import numpy as np
import pandas as pd

from iotdb_frames.notebook.panel import snapshot
from iotdb_frames.notebook.panel.feed import Feed

BAD = "<script>alert(1)</script>"


def _feed(values: list[float], name: str = "a", unit: str = "°C") -> Feed:
    index = pd.date_range("2026-01-01", periods=len(values), freq="s", name="time")
    feed = Feed(units={name: unit})
    feed.put(pd.DataFrame({name: values}, index=index))
    feed.take()
    return feed


def test_everything_it_shows_is_escaped() -> None:
    """Names, units, titles and words cannot put anything into the page."""
    html = snapshot.html(_feed([1.0, 2.0], BAD, BAD), title=BAD, word=BAD, counters=[])
    assert BAD not in html
    assert "&lt;script&gt;" in html


def test_a_sanitized_page_still_has_the_numbers() -> None:
    """Without the drawing there are points, last, least, mean and most, and a course in blocks."""
    text = snapshot.card(_feed([1.0, np.nan, 3.0]), title="t", word="stopped", counters=[]).text()
    line = text.splitlines()[-1].split()
    assert line == ["a", "°C", "2", "3", "1", "2", "3", "▁", "█"]


def test_gaps_stay_gaps_in_the_drawing() -> None:
    """A missing reading lifts the pen."""
    html = snapshot.html(_feed([1.0, 2.0, np.nan, 3.0, 4.0]), title="t", word="w", counters=[])
    path = html.partition('<path d="')[2].partition('"')[0]
    assert (path.count("M"), path.count("L")) == (2, 2)


def test_it_stays_small() -> None:
    """Ten thousand rows make no more of a picture than fit on a screen."""
    rows = np.random.default_rng(1).normal(size=10_000).tolist()
    assert len(snapshot.html(_feed(rows), title="t", word="w", counters=[])) < 20_000


def test_nothing_is_shown_of_nothing() -> None:
    """A panel without rows is a title and its counters."""
    html = snapshot.html(Feed(), title="t", word="ready", counters=[("rows/s", "0", "", "")])
    assert "<svg" not in html
    assert "rows/s" in html
