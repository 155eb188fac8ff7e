"""What is streamed, and its counters: the `Playable` protocol, `StreamStats`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import pandas as pd

from iotdb_frames.display.card import Card
from iotdb_frames.display.words import count, duration, plural, rate

State = Literal["ready", "running", "paused", "stopping", "stopped", "finished", "failed"]


class Playable(Protocol):
    """What a runner asks of a source; all of it pure. `SensorSource` and `Replay` are."""

    speed: float
    starts_now: bool

    @property
    def default_window(self) -> Any:
        """The window if none is requested."""

    def starting_at(self, time: Any) -> Any:
        """The same source with its first row at `time`."""

    def next_window(self, position: int, window: Any) -> tuple[int, float] | None:
        """(end position, stream time at which it is complete); None: the source is over."""

    def first_from(self, elapsed_s: float) -> int:
        """The first row not before a stream time, and so the number of rows before it."""

    def rows(
        self, low: int, high: int | None = None, *, since: int = 0, before: int | None = None
    ) -> pd.DataFrame:
        """What arrives in [low, high), of rows read in [since, before).

        Without `high`: whatever arrives from `low` on; without `before`: before `high`.
        """

    def count_faults(self, low: int, high: int | None = None, **which: Any) -> dict[str, int]:
        """Which faults hit how many of `rows`, by kind; `which` as of `ledger_of`."""

    def ledger_of(self, low: int, high: int | None = None, **which: Any) -> pd.DataFrame:
        """Which fault hit which of `rows`, as of `SensorSource.ledger`.

        `which` is ``since`` and ``before``, and ``refused``: positions in `rows` that do not count.
        """

    def prepare(self, low: int, high: int) -> None:
        """Do a share, in proportion to [low, high), of the work that later rows need at once."""


@dataclass(frozen=True, kw_only=True, repr=False)
class StreamStats:
    """A moment of a stream.

    Attributes
    ----------
    state : ready, running, paused, stopping, stopped, finished or failed
    windows, rows : sent so far
    elapsed_s : seconds run, pauses left out
    stream_s : stream time of the rows sent, in seconds since the source's first row
    rows_per_s : sent, over `elapsed_s`
    behind_s : how late the window in hand is, in seconds
    max_behind_s : the longest delay of any window
    is_behind : the receiver does not keep up: more than two windows, and a second, late
    window_s : seconds from window to window, by the wall clock
    send_s, median_send_s, p99_send_s, max_send_s : how long sending took, of the last window and of
        the last 1,000; into a target, until its last acknowledgement
    points : cells that are not missing, acknowledged (into a target; else 0)
    retries : requests that were sent again (into a target; else 0)
    rejected : of `rows`, those that the database refused, under ``on_error="collect"``
    faults : acknowledged rows hit, by kind: as many as `Runner.ledger` has
    error : what `send` raised, or None
    """

    state: State
    windows: int
    rows: int
    elapsed_s: float
    stream_s: float
    rows_per_s: float
    behind_s: float
    max_behind_s: float
    is_behind: bool
    window_s: float
    send_s: float
    median_send_s: float
    p99_send_s: float
    max_send_s: float
    points: int = 0
    retries: int = 0
    rejected: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    error: BaseException | None = None

    def card(self) -> Card:
        """Its summary card."""
        facts: list[tuple[str, Any]] = [
            ("rows", (count(self.rows), plural(self.windows, "window"))),
            ("rate", rate(self.rows_per_s, "rows")),
            ("ran", duration(self.elapsed_s)),
            (
                "sending a window",
                (duration(self.median_send_s), f"99 %: {duration(self.p99_send_s)}"),
            ),
        ]
        if self.points:
            facts.insert(1, ("points", count(self.points)))
        for label, n in (("retries", self.retries), ("refused rows", self.rejected)):
            if n:
                facts.append((label, count(n)))
        facts += [
            (kind, (count(n), "row hit" if n == 1 else "rows hit"))
            for kind, n in self.faults.items()
        ]
        notes = [] if self.error is None else [str(self.error)]
        if self.is_behind:
            notes.append(f"{duration(self.behind_s)} late: the receiver does not keep up")
        status = "bad" if self.error else "warn" if notes or self.rejected else "ok"
        return Card("stream", self.state, status, facts, notes=notes)

    def __repr__(self) -> str:
        return f"<StreamStats {self}>"

    def _repr_html_(self) -> str:
        return self.card().html()

    def __str__(self) -> str:
        text = (
            f"{self.state}: {plural(self.rows, 'row')} in {plural(self.windows, 'window')}, "
            f"{duration(self.elapsed_s)}, {rate(self.rows_per_s, 'rows')}"
        )
        if self.is_behind:
            text += (
                f"; {duration(self.behind_s)} late: a window is due every "
                f"{duration(self.window_s)}, sending one takes {duration(self.median_send_s)}"
            )
        for what, n in (("retry", self.retries), ("refused row", self.rejected)):
            if n:
                text += f"; {plural(n, what, 'retries' if what == 'retry' else None)}"
        if self.faults:
            text += "; faults: " + ", ".join(f"{k} {n:,}" for k, n in self.faults.items())
        return f"{text}; {self.error!r}" if self.error else text
