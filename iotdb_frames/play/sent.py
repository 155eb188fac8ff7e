"""What a stream handed over, and what of it was acknowledged, with its faults."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any

import pandas as pd

from iotdb_frames.clock import Clock
from iotdb_frames.display.words import plural
from iotdb_frames.play.ledgers import join_ledgers
from iotdb_frames.play.parts import Part


@dataclass(frozen=True, kw_only=True, eq=False)
class Window:
    """A window that was handed over.

    Attributes
    ----------
    part : its rows
    given : what the receiver returned: a sink's ticket, an `Answer`, or anything
    took_s : seconds that sending it took
    faults : number of its rows that were hit, by kind
    """

    part: Part
    given: Any
    took_s: float
    faults: dict[str, int]

    @property
    def is_done(self) -> bool:
        """Whether it is known what happened to it."""
        return bool(getattr(self.given, "is_done", True))

    @property
    def error(self) -> BaseException | None:
        """Why rows of it were refused, if it is not known which ones."""
        error: BaseException | None = getattr(self.given, "error", None)
        return error


Listener = Callable[[pd.DataFrame, Window], None]
"""Gets the rows of a window that was handed over, and what happened to them."""


class Sent:
    """The windows that a stream handed over, and which of them were acknowledged.

    Acknowledged windows next to each other are kept as one, so that a long stream needs no memory.
    Windows with rows that a sink refused are not among them.

    Parameters
    ----------
    send : called with the rows of each window that has any
    clock : measures how long that takes
    """

    def __init__(self, send: Callable[[pd.DataFrame], Any], *, clock: Clock) -> None:
        self.send = send
        self._clock = clock
        self._listeners: tuple[Listener, ...] = ()
        self.n_windows = 0
        self.n_rows = 0
        self._took_s: deque[float] = deque(maxlen=1000)
        self._parts: list[Part] = []
        self._waiting: deque[Window] = deque()
        self._faults: Counter[str] = Counter()
        self._lock = Lock()

    @property
    def has_listeners(self) -> bool:
        """Whether anyone listens."""
        return bool(self._listeners)

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` with every window, until the result is called."""
        with self._lock:
            self._listeners = (*self._listeners, listener)

        def end() -> None:
            with self._lock:
                self._listeners = tuple(one for one in self._listeners if one is not listener)

        return end

    def hand_over(self, part: Part, frame: pd.DataFrame | None = None) -> None:
        """Send a window, and note it, whether it is acknowledged yet or not.

        Parameters
        ----------
        frame : its rows, if they are made already
        """
        frame = part.rows() if frame is None else frame
        n_rows = len(frame)
        given: Any = None
        took_s = 0.0
        if n_rows:
            begin = self._clock.now()
            try:
                given = self.send(frame)
            except BaseException as exc:
                exc.add_note(
                    f"while sending {plural(n_rows, 'row')}, {frame.index[0]} … {frame.index[-1]}"
                )
                raise
            took_s = self._clock.now() - begin
        part = replace(part, refused=getattr(given, "refused", None))
        window = Window(part=part, given=given, took_s=took_s, faults=part.count_faults())
        with self._lock:
            if n_rows:
                self.n_windows += 1
                self.n_rows += n_rows
                self._took_s.append(window.took_s)
            self._waiting.append(window)
            self._settle()
        for listener in self._listeners if n_rows else ():
            listener(frame, window)

    def counters(self) -> dict[str, Any]:
        """The fields of `StreamStats` about what was sent."""
        with self._lock:
            self._settle()
            took_s = sorted(self._took_s) or [0.0]
            faults = self._faults.copy()
            for window in self._early():
                faults.update(window.faults)
            return {
                "windows": self.n_windows,
                "rows": self.n_rows,
                "send_s": self._took_s[-1] if self._took_s else 0.0,
                "median_send_s": took_s[len(took_s) // 2],
                "p99_send_s": took_s[len(took_s) * 99 // 100],
                "max_send_s": took_s[-1],
                "faults": dict(faults),
            }

    def ledger(self) -> pd.DataFrame | None:
        """The ledger of what was acknowledged, as `SensorSource.ledger`; None if nothing was."""
        with self._lock:
            self._settle()
            parts = [*self._parts, *(window.part for window in self._early())]
        return join_ledgers([part.ledger() for part in parts]) if parts else None

    def _settle(self) -> None:
        while self._waiting and self._waiting[0].is_done:
            window = self._waiting.popleft()
            if window.error is not None:
                continue
            self._faults.update(window.faults)
            joined = self._parts[-1].joined(window.part) if self._parts else None
            if joined is not None:
                self._parts[-1] = joined
            else:
                self._parts.append(window.part)

    def _early(self) -> Iterator[Window]:
        """Windows that were acknowledged before an earlier one."""
        return (window for window in self._waiting if window.is_done and window.error is None)
