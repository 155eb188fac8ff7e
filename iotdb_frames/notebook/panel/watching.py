"""`Watch`: rows of the database, live; next to a panel, the database's view of the same rows."""

from __future__ import annotations

import threading
import time
from typing import Any

import ipywidgets as w
import pandas as pd

from iotdb_frames.client.connection import Connection
from iotdb_frames.codec.times import to_seconds
from iotdb_frames.errors import OptionsError
from iotdb_frames.notebook.panel.counters import Rates, number
from iotdb_frames.notebook.panel.feed import Feed
from iotdb_frames.notebook.panel.shown import LivePanel
from iotdb_frames.options import hide_url
from iotdb_frames.reads.follow import follow

_UNWATCHED = 10
"""Factor by which queries are less frequent once no view is open any more."""
_LATE = 10
"""How many intervals late a row may be."""
_OVER = ("stopping", "stopped")


class Watch(LivePanel):
    """A chart of what `follow` gives; see `iotdb_frames.watch`."""

    def __init__(
        self,
        target: str,
        *,
        every: float | str,
        last: Any,
        columns: Any,
        connection: Connection | str | None,
        capacity: int,
    ) -> None:
        connection = hide_url(connection)
        self._every_s = to_seconds(every, name="every")
        self._last_s = to_seconds(last, name="last")
        if not self._every_s > 0 or not self._last_s > 0:
            raise OptionsError("every= and last= must be above 0")
        self._name = target
        self._follower = follow(
            target,
            every=self._every_s,
            start=pd.Timedelta(seconds=self._last_s),
            lateness=_LATE * self._every_s,
            columns=columns,
            connection=connection,
        )
        self._newest: pd.Timestamp | None = None
        self._rows = 0
        self._query_s: float | None = None
        self._rates = Rates()
        self._changed = threading.Condition()
        self._word = "watching"
        self._pause = w.Button(description="Pause", icon="pause", layout={"width": "104px"})
        self._pause.on_click(lambda _: self._toggle())
        self._stop = w.Button(description="Stop", icon="stop", layout={"width": "104px"})
        self._stop.on_click(lambda _: self.stop())
        super().__init__(Feed(capacity=capacity, units=None), spans=[self._last_s, None])
        self._thread = threading.Thread(target=self._run, name="iotdb-frames-watch", daemon=True)
        self._thread.start()
        self.view.wake()

    @property
    def title(self) -> str:
        return self._name

    @property
    def is_over(self) -> bool:
        return self._word == "stopped"

    @property
    def n_rows(self) -> int:
        """Rows seen so far, those that changed counted again."""
        return self._rows

    def pause(self) -> None:
        """Pause the queries."""
        self._become("paused")

    def resume(self) -> None:
        """Resume the queries; rows from meanwhile are shown, too."""
        self._become("watching")

    def stop(self) -> None:
        """Query once more, then stop; all rows are drawn when this returns."""
        if self._word in _OVER:
            return
        self._become("stopping")
        self._thread.join(timeout=10.0)
        self._ask()  # what came since the last query
        self._become("stopped")
        self._follower.close()
        self.view.wait(timeout_s=2.0)  # it draws the last rows

    def close(self) -> None:
        """Stop, end its threads, and remove its widgets."""
        self._become("stopped")
        self._follower.close()
        self._thread.join(timeout=10.0)
        super().close()

    def _parts(self) -> list[w.Widget]:
        return [w.HBox([self._pause, self._stop], layout={"margin": "0 0 4px"}), self.view.widget]

    def _toggle(self) -> None:
        if self._word == "paused":
            self.resume()
        else:
            self.pause()

    def _become(self, word: str) -> None:
        with self._changed:
            if self._word in _OVER and word != "stopped":
                return
            self._word = word
            self._changed.notify_all()
        is_paused = word == "paused"
        self._pause.description = "Resume" if is_paused else "Pause"
        self._pause.icon = "play" if is_paused else "pause"
        self._pause.disabled = self._stop.disabled = word in _OVER
        self.view.refresh()

    # --- the thread ---

    def _run(self) -> None:
        while self._word not in _OVER:
            if self._word == "watching":
                self._ask()
            wait_s = self._every_s * (_UNWATCHED if self.view.was_left else 1)
            with self._changed:
                self._changed.wait_for(lambda: self._word in _OVER, timeout=wait_s)

    def _ask(self) -> None:
        began = time.monotonic()
        try:
            while True:
                frame = self._follower.look()
                if frame is not None:
                    self._take(frame)
                if not self._follower.is_behind:
                    break
        except Exception as exc:
            if self._word != "stopped":
                self.say(exc)
        else:
            self._message = ""
        self._query_s = time.monotonic() - began

    def _take(self, frame: pd.DataFrame) -> None:
        said = frame.attrs["iotdb"]
        keys = tuple(said.get("tags") or ()) or ((said["device"],) if "device" in said else ())
        self.feed.describe(units=None, keys=keys)
        self.feed.put(frame)
        self._rows += len(frame)
        newest = frame.index.max()
        self._newest = newest if self._newest is None else max(newest, self._newest)

    def _state(self) -> dict[str, Any]:
        rates = self._rates.add(time.monotonic(), self._rows, 0)
        newest = "–" if self._newest is None else f"{self._newest:%H:%M:%S}"
        query = "–" if self._query_s is None else f"{self._query_s * 1e3:.1f}"
        return {
            "word": self._word,
            "tone": {"watching": "live", "paused": "wait"}.get(self._word, "idle"),
            "counters": [
                ["rows/s", number(rates[0]), "", ""],
                ["rows seen", number(self._rows), "", ""],
                ["newest", newest, "", ""],
                ["query", query, "ms", ""],
            ],
            "empty": "no data yet",
        }
