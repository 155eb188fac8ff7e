"""The live chart: a thin view of a `Feed`, and the thread that keeps it up to date.

At most `FRAMES_PER_S` updates per second go to the browser, each with everything since the last.
Views say hello periodically; if none has for a while, nothing is sent, since a server in between
would buffer it for a page that never comes back.

A hello is answered, and a view without an answer repeats it through a comm of its own (target
`HELLO_TARGET`): after a reload, JupyterLab 4.6 may send widget messages to a subshell of the kernel
that it has deleted (`CommHandler._closePerCommTargetSubshell`), where they are lost.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from importlib.resources import files
from typing import Any
from uuid import uuid4
from weakref import WeakValueDictionary

import anywidget
import comm
import numpy as np
import traitlets

from iotdb_frames.notebook.panel.feed import Feed, Update

_log = logging.getLogger(__name__)

FRAMES_PER_S = 10.0
MAX_BYTES_PER_S = 600_000
"""Limit of the data rate, by sending fewer frames: Jupyter's server drops messages above 1 MB/s."""
STATE_EVERY_S = 0.5
FORGET_VIEWS_S = 60.0
"""Without a hello for so long, there is no view; views send one every 15 s."""
REPLAY_EVERY_S = 5.0
"""Least time between replays to a view, whose hellos may have queued up in a busy kernel."""
HELLO_TARGET = "iotdb_frames.hello"

_BUILT = files("iotdb_frames.notebook.panel")


class LiveChart(anywidget.AnyWidget):
    """The widget: `state` is shown as it is, rows and marks arrive as messages.

    key : identifies the chart for a hello that does not come through the widget's own comm
    """

    _esm = (_BUILT / "panel.js").read_text(encoding="utf-8")
    _css = (_BUILT / "panel.css").read_text(encoding="utf-8")
    state = traitlets.Dict().tag(sync=True)
    key = traitlets.Unicode().tag(sync=True)


_charts: WeakValueDictionary[str, ChartView] = WeakValueDictionary()


def _on_hello(line: Any, message: dict[str, Any]) -> None:
    """A comm was opened for one hello."""
    content = message["content"]["data"]
    chart = _charts.get(str(content.get("key")))
    if chart is not None:
        chart.receive(content)
    line.close()


class ChartView:
    """Keeps a `LiveChart` up to date.

    Parameters
    ----------
    feed : the rows
    describe : returns `state`; called several times per second in a thread of the view
    is_over : whether no more rows will come; the thread ends then, until `wake`
    on_end : called when it ends like this, with all rows in the feed
    spans : seconds that the chart can show, initially the first; None: all rows kept
    """

    def __init__(
        self,
        feed: Feed,
        *,
        describe: Callable[[], dict[str, Any]],
        is_over: Callable[[], bool],
        on_end: Callable[[], None],
        spans: list[float | None],
    ) -> None:
        self.feed = feed
        self.spans = spans
        self._describe = describe
        self._is_over = is_over
        self._on_end = on_end
        self._lock = threading.RLock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._seen_at: float | None = None
        self._replayed_at: dict[str, float] = {}
        self.frames_sent = 0
        self.widget = LiveChart(state=describe(), key=uuid4().hex)
        self.widget.on_msg(lambda _widget, content, _buffers: self.receive(content))
        _charts[self.widget.key] = self
        comm.get_comm_manager().register_target(HELLO_TARGET, _on_hello)

    @property
    def has_views(self) -> bool:
        """Whether any view is open."""
        seen_at = self._seen_at
        return seen_at is not None and time.monotonic() - seen_at < FORGET_VIEWS_S

    @property
    def was_left(self) -> bool:
        """Whether views were open, and none is any more."""
        return self._seen_at is not None and not self.has_views

    @property
    def is_alive(self) -> bool:
        """Whether its thread follows the feed."""
        return self._thread is not None and self._thread.is_alive()

    def wake(self) -> None:
        """Start or resume following the feed."""
        with self._lock:
            if not self.is_alive and not self._ended.is_set():
                self._thread = threading.Thread(
                    target=self._run, name="iotdb-frames-chart", daemon=True
                )
                self._thread.start()

    def refresh(self) -> None:
        """Show the current state."""
        state = self._describe()
        with self._lock:
            if not self._ended.is_set() and state != self.widget.state:
                self.widget.state = state

    def wait(self, *, timeout_s: float) -> None:
        """Wait until the thread has ended by itself, so that all rows are drawn."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout_s)

    def close(self) -> None:
        """End the thread."""
        self._ended.set()
        self.wait(timeout_s=2.0)

    def _run(self) -> None:
        shown_at = rests_until = 0.0
        due = time.monotonic()
        try:
            while not self._ended.wait(max(0.0, due - time.monotonic())):
                is_over = self._is_over()
                now = time.monotonic()
                if now >= rests_until or is_over:
                    rests_until = now + self._send(self.feed.take()) / MAX_BYTES_PER_S
                if is_over or now - shown_at >= STATE_EVERY_S:
                    shown_at = now
                    self.refresh()
                if is_over:
                    self._on_end()
                    return
                # Late frames are skipped, and half of the time is left to other threads.
                due = max(due + 1 / FRAMES_PER_S, time.monotonic() + 0.5 / FRAMES_PER_S)
        except Exception:
            _log.exception("the chart is no longer kept up to date")

    def _send(self, update: Update | None, *, view: str | None = None) -> int:
        """Send to all views, or to one; return the bytes of the rows, sent or not."""
        if update is None:
            return 0
        rows = update.rows
        n_bytes = 0 if rows is None else rows.times.nbytes + rows.values.nbytes
        if not (self.has_views or view):
            return n_bytes
        to = {"view": view} if view else {}
        with self._lock:
            if self._ended.is_set():
                return n_bytes
            if update.lines is not None:
                self.widget.send({"kind": "series", **to, **self._lines(update)})
            if rows is not None:
                self.widget.send(
                    {"kind": "rows", **to}, buffers=[rows.times.data, rows.values.tobytes()]
                )
                self.frames_sent += 1
            if update.marks:
                times = np.array([mark.time for mark in update.marks], dtype=np.float64)
                self.widget.send(
                    {
                        "kind": "marks",
                        **to,
                        "series": [mark.series for mark in update.marks],
                        "kinds": [mark.kind for mark in update.marks],
                    },
                    buffers=[times.data],
                )
        return n_bytes

    def _lines(self, update: Update) -> dict[str, Any]:
        assert update.lines is not None
        series = [
            {"name": s.name, "unit": s.unit, "lane": s.lane, "color": s.color}
            for s in update.lines.series
        ]
        return {
            "series": series,
            "lanes": list(update.lines.lanes),
            "capacity": self.feed.capacity,
            "spans": self.spans,
        }

    def receive(self, content: Any) -> None:
        """Handle a message of a view."""
        kind = content.get("kind") if isinstance(content, dict) else None
        if kind != "hello":
            return
        view, now = str(content.get("view")), time.monotonic()
        was_seen = self.has_views
        self._seen_at = now
        with self._lock:
            if not self._ended.is_set():
                self.widget.send({"kind": "welcome", "view": view})
        if not was_seen:
            self._send(self.feed.replay())
        elif content.get("has") or now - self._replayed_at.get(view, -1e9) < REPLAY_EVERY_S:
            return
        else:
            self._send(self.feed.replay(), view=view)
        self._replayed_at[view] = now
