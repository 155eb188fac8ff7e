"""`StreamPanel`: a stream with its controls, live."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ipywidgets as w
import pandas as pd

from iotdb_frames.client.connection import Connection
from iotdb_frames.errors import OptionsError
from iotdb_frames.notebook.panel.controls import Controls, close_tree
from iotdb_frames.notebook.panel.counters import Rates, Totals, tiles
from iotdb_frames.notebook.panel.feed import Feed
from iotdb_frames.notebook.panel.fields import settle
from iotdb_frames.notebook.panel.followed import Followed, keys_of, units_of
from iotdb_frames.notebook.panel.settings import SourceSettings
from iotdb_frames.notebook.panel.shown import LivePanel, now, sentences, spans_of
from iotdb_frames.options import hide_url
from iotdb_frames.play.pace import checked_speed
from iotdb_frames.play.playable import Playable, StreamStats
from iotdb_frames.play.runner import Runner
from iotdb_frames.play.target import stream
from iotdb_frames.simulate.source import SensorSource

_TONES = {
    "running": "live", "paused": "wait", "stopping": "wait", "finished": "done", "failed": "bad"
}  # fmt: skip
_WORDS = {"running": "streaming", "stopping": "stopping …", "ready": "ready"}


class StreamPanel(LivePanel):
    """A stream of a source, or one that is already running, with its controls.

    Also works without a front end: `start`, `pause`, `resume`, `stop`, `stats`, `totals`.

    Parameters
    ----------
    source : the source to stream, which the controls change
    to : the target, which the panel's text field may change before a start; or a sink
    window, speed, duration, now, connection, options : as in `SensorSource.stream`
    runner : a stream to attach to, instead of making one
    capacity : rows that the chart keeps
    """

    def __init__(
        self,
        source: Playable,
        *,
        to: Any = "",
        window: Any = None,
        speed: float | None = None,
        duration: Any = None,
        now: bool = True,
        connection: Connection | str | None = None,
        runner: Runner | None = None,
        capacity: int = 10_000,
        **options: Any,
    ) -> None:
        connection = hide_url(connection)
        self.source = source
        self._sink = None if isinstance(to, str) else to
        self._options = {"duration": duration, "now": now, "connection": connection, **options}
        self._is_attached = runner is not None
        self._rates = Rates()
        speed = checked_speed(source.speed if speed is None else speed)
        self.controls = Controls(
            source,
            target=_name_of(runner.receiver if runner is not None else to),
            window=source.default_window if window is None else window,
            speed=speed,
            can_restart=not self._is_attached,
            can_retarget=not self._is_attached and self._sink is None,
            on_press=self._press,
            on_change=self._change,
        )
        self._applied = self.controls.entered()
        feed = Feed(capacity=capacity, units=units_of(source), keys=keys_of(source))
        self._followed = None if runner is None else Followed(runner, feed)
        step_s = source.clock.period_s if isinstance(source, SensorSource) else 1.0
        super().__init__(feed, spans=spans_of(step_s, capacity=capacity, speed=speed))
        self._show_state()
        if runner is not None:
            self.view.wake()

    # --- what it is ---

    @property
    def stream(self) -> Runner | None:
        """The stream, once it has been started."""
        return None if self._followed is None else self._followed.runner

    @property
    def stats(self) -> StreamStats | None:
        """The stream's own counters."""
        return None if self.stream is None else self.stream.stats

    @property
    def totals(self) -> Totals:
        """Counts of acknowledged, refused and waiting rows."""
        self._collect()
        return Totals() if self._followed is None else self._followed.totals()

    def ledger(self) -> pd.DataFrame | None:
        """The faults in the acknowledged rows, as in `Runner.ledger`; None before a start."""
        return None if self.stream is None else self.stream.ledger()

    @property
    def state(self) -> str:
        """ready, running, paused, stopping, stopped, finished or failed."""
        return "ready" if self.stream is None else self.stream.state

    @property
    def is_over(self) -> bool:
        return self._followed is None or self._followed.is_over

    @property
    def title(self) -> str:
        return str(self.controls.target.value) or "a stream"

    # --- what it does ---

    def start(self) -> StreamPanel:
        """Start, or start a new stream if the last one is over.

        Raises
        ------
        OptionsError : no target, or invalid settings.
        ConnectionLost, AuthenticationError : the database is not reachable, or refuses the login.
        """
        with self._guard:
            if self.state not in ("ready", "stopped", "finished", "failed"):
                return self
            if self._is_attached:
                if self.stream is not None and self.state == "ready":
                    self.stream.start()
            else:
                self._start_new()
            self.view.wake()
        self.say(None)
        self._show_state()
        return self

    def pause(self) -> None:
        """Pause the stream's time."""
        if self.stream is not None:
            self.stream.pause()
        self._show_state()

    def resume(self) -> None:
        """Continue, as with `Runner.resume`."""
        if self.stream is not None:
            self.stream.resume()
        self._show_state()

    def stop(self, *, timeout_s: float | None = 30.0) -> StreamStats | None:
        """End the stream and wait for its last rows.

        Raises
        ------
        TimeoutError : they are still on their way.
        What ended the stream, if it failed.
        """
        if self.stream is None:
            return None
        self._show_state("stopping" if self.state in ("running", "paused") else None)
        try:
            return self.stream.stop(timeout_s=timeout_s)
        finally:
            self._collect()
            self._show_state()
            self.view.wait(timeout_s=2.0)  # it draws the last rows

    def close(self) -> None:
        """Stop its own stream, end its threads, and remove its widgets."""
        if self.stream is not None and not self._is_attached:
            try:
                self.stream.stop(drain=False, timeout_s=10.0)
            except BaseException as exc:
                self._message = str(exc)
        if self._followed is not None:
            self._followed.collect()
            self._followed.close()
        for control in self.controls.hidden:
            close_tree(control)
        super().close()

    # --- inside ---

    def _parts(self) -> list[w.Widget]:
        return [self.controls.top, self.view.widget, self.controls.bottom]

    def _start_new(self) -> None:
        source = self._source_of(self._applied)
        target = str(self.controls.target.value).strip()
        if not target:
            raise OptionsError(
                "the target is missing",
                hint="enter a target: root.plant.press1, or database.table",
            )
        runner = stream(
            source,
            to=self._sink or target,
            window=self._applied["window"],
            speed=self._applied["speed"],
            **self._options,
        )
        if self._followed is not None:
            self._followed.close()
        self._followed = Followed(runner, self.feed)
        runner.start()

    def _changes(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """What these values of the controls change in the source of the code."""
        if not isinstance(self.source, SensorSource):
            return {}
        settings = {name: values[name] for name in values if name not in ("window", "speed")}
        return SourceSettings(**settings).changes(self.source)

    def _source_of(self, values: Mapping[str, Any]) -> Playable:
        if not isinstance(self.source, SensorSource):
            return self.source
        return self.source.replace(**self._changes(values))

    def _check(self, values: Mapping[str, Any]) -> None:
        self._source_of(values).next_window(0, values["window"])

    def _press(self, action: str) -> None:
        try:
            getattr(self, action)()
        except Exception as exc:
            self.say(exc)
            self._show_state()

    def _change(self) -> None:
        """Apply what is entered; a field that cannot be says why, and keeps nothing else back."""
        good, refused = settle(self._applied, self.controls.entered(), self._check)
        self.controls.show_refused(
            {
                name: f"{sentences(exc)} {_said(name, good[name])} stays."
                for name, exc in refused.items()
            }
        )
        if good == self._applied:
            return
        self._applied = good
        try:
            if self.stream is not None and self.state in ("running", "paused"):
                self.stream.change(
                    window=good["window"], speed=good["speed"], **self._changes(good)
                )
        except (OptionsError, ValueError) as exc:
            self.say(exc)
        else:
            self.say(None)

    def _show_state(self, state: str | None = None) -> None:
        self.controls.show_state(state or self.state)
        self.view.refresh()

    def _collect(self) -> None:
        if self._followed is not None:
            self._followed.collect()

    def _at_end(self) -> None:
        self._show_state()  # it may have ended by itself, or failed
        if self._followed is not None and self._followed.error is not None:
            self.say(self._followed.error)
        super()._at_end()

    def _state(self) -> dict[str, Any]:
        state = self.state
        self.controls.show_state(state)  # others may start and stop it, too
        totals = Totals() if self._followed is None else self._followed.totals()
        rates = self._rates.add(now(), totals.rows, totals.points)
        shown: dict[str, Any] = {
            "title": "",  # the target's field is above it
            "word": _WORDS.get(state, state),
            "tone": _TONES.get(state, "idle"),
            "counters": [list(tile) for tile in tiles(totals, rates)],
            "empty": "" if state == "running" else "press Start" if state == "ready" else "no rows",
        }
        if totals.behind_s:
            shown["warning"] = (
                f"The database cannot keep up: the stream is {totals.behind_s:.1f} s late. "
                "Try a larger window, a lower rate or fewer sensors."
            )
        return shown


def _said(name: str, value: Any) -> str:
    """A value of a field, as it is entered."""
    if name == "faults":
        return ", ".join(fault.kind for fault in value) or "No fault"
    return f"{value:g} Hz" if name == "rate_hz" else str(value)


def _name_of(receiver: Any) -> str:
    """The text of the target's field."""
    if isinstance(receiver, str):
        return receiver
    return str(getattr(receiver, "target", type(receiver).__name__))
