"""The base of all panels: a feed, its chart, and how they are displayed and closed."""

from __future__ import annotations

import threading
import time
import uuid
from typing import Any

import ipywidgets as w
from IPython.display import display, update_display

from iotdb_frames.display.card import Card
from iotdb_frames.display.views import is_in_notebook
from iotdb_frames.errors import IoTDBFramesError
from iotdb_frames.notebook.panel import reruns, snapshot
from iotdb_frames.notebook.panel.chart import ChartView
from iotdb_frames.notebook.panel.controls import close_tree
from iotdb_frames.notebook.panel.counters import Tile
from iotdb_frames.notebook.panel.feed import Feed

_WIDGET = "application/vnd.jupyter.widget-view+json"


class LivePanel:
    """A chart of a feed: a widget in a live notebook, and a still picture elsewhere.

    Parameters
    ----------
    feed : the rows
    spans : seconds that the chart can show, initially the first; None: all
    """

    def __init__(self, feed: Feed, *, spans: list[float | None]) -> None:
        self.feed = feed
        self._guard = threading.RLock()
        self._message = ""
        self._is_closed = False
        self._shown_as: str | None = None
        self.view = ChartView(
            feed,
            describe=self._describe,
            is_over=self._is_over_now,
            on_end=self._at_end,
            spans=spans,
        )
        self.widget: w.Widget = w.VBox(self._parts())
        self.widget.add_class("iotf-live")
        reruns.adopt(self)

    # --- what a kind of panel says ---

    def _parts(self) -> list[w.Widget]:
        return [self.view.widget]

    def _collect(self) -> None:
        """Bring the feed up to date."""

    def _at_end(self) -> None:
        """Called once no more rows will come, and all are in the feed."""
        self._show_still()

    @property
    def is_over(self) -> bool:
        """Whether no more rows will come."""
        raise NotImplementedError

    @property
    def title(self) -> str:
        """What it shows."""
        raise NotImplementedError

    def _state(self) -> dict[str, Any]:
        """``word``, ``tone``, ``counters``, ``empty``, ``warning`` of this moment."""
        raise NotImplementedError

    # --- what they have in common ---

    def close(self) -> None:
        """End its threads, and remove its widgets."""
        with self._guard:
            if self._is_closed:
                return
            self._is_closed = True
        self.view.close()
        self._show_still()
        close_tree(self.widget)
        reruns.forget(self)

    def say(self, error: BaseException | None) -> None:
        """Show an error in plain words; None removes it."""
        self._message = "" if error is None else in_words(error)
        self.view.refresh()

    def card(self) -> Card:
        """The current state of the panel, without widgets."""
        self._bring_up_to_date()
        return snapshot.card(self.feed, **self._still())

    def __repr__(self) -> str:
        # A traceback with locals may show a panel that did not open.
        return self.card().text() if "view" in vars(self) else object.__repr__(self)

    def _repr_html_(self) -> str:
        self._bring_up_to_date()
        return snapshot.html(self.feed, **self._still())

    def _ipython_display_(self) -> None:
        self._shown_as = f"iotdb-frames-{uuid.uuid4().hex}"
        display(self._bundle(), raw=True, display_id=self._shown_as)

    def _bundle(self) -> dict[str, Any]:
        bundle: dict[str, Any] = {"text/plain": repr(self), "text/html": self._repr_html_()}
        if not self._is_closed:
            bundle[_WIDGET] = {
                "version_major": 2, "version_minor": 0, "model_id": self.widget.model_id
            }  # fmt: skip
        return bundle

    def _show_still(self) -> None:
        """Update the still picture in the notebook's file."""
        if self._shown_as is not None and is_in_notebook():
            update_display(self._bundle(), raw=True, display_id=self._shown_as)

    def _bring_up_to_date(self) -> None:
        # Rows taken by the chart's thread are kept in the feed; those waiting are taken now.
        self._collect()
        if not self.view.is_alive:
            self.feed.take()

    def _is_over_now(self) -> bool:
        is_over = self.is_over
        self._collect()
        return is_over

    def _describe(self) -> dict[str, Any]:
        state = self._state()
        warning = state.pop("warning", "")
        return {
            "title": self.title,
            **state,
            "error": self._message or warning,
            "error_tone": "bad" if self._message else "warn",
        }

    def _still(self) -> dict[str, Any]:
        state = self._state()
        counters: list[Tile] = state.get("counters", [])
        return {"title": self.title, "word": state["word"], "counters": counters}


def in_words(error: BaseException) -> str:
    """An error as one or two plain lines."""
    if isinstance(error, IoTDBFramesError):
        return error.message + (f"\n{error.hint}" if error.hint else "")
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def sentences(error: BaseException) -> str:
    """An error as sentences on one line."""
    lines = in_words(error).splitlines()
    # An option's name stays as it is written.
    told = [li if "=" in li.partition(" ")[0] else f"{li[:1].upper()}{li[1:]}" for li in lines]
    return " ".join(f"{line.rstrip('.')}." for line in told)


def spans_of(step_s: float, *, capacity: int, speed: float = 1.0) -> list[float | None]:
    """Spans that a chart offers: about 200 rows and a minute's worth or so, ten times that, all.

    step_s : seconds from row to row
    """
    nice = (10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400, 604800, 2592000, 31536000)
    wanted = max(60.0 * max(speed, 1.0) / 2, 120 * step_s)
    first = next((float(s) for s in nice if s >= wanted), float(nice[-1]))
    spans: list[float | None] = [first]
    if capacity * step_s > first * 5:
        spans.append(first * 10)
    return [*spans, None]


def now() -> float:
    """Seconds of the monotonic clock."""
    return time.monotonic()
