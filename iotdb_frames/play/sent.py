"""What was handed over of a stream, and what of it was acknowledged: the truth about its faults."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from threading import Lock
from typing import Any

import pandas as pd

from iotdb_frames.play.ledgers import join_ledgers
from iotdb_frames.play.parts import Part


@dataclass(frozen=True, kw_only=True, eq=False)
class Window:
    """A window that was handed over.

    Attributes
    ----------
    part : its rows
    given : what the receiver gave for it: a sink's ticket, an `Answer`, or anything
    took_s : seconds that handing it over took
    faults : rows of it that were hit, by kind
    """

    part: Part
    given: Any
    took_s: float
    faults: dict[str, int]

    @property
    def is_done(self) -> bool:
        """Whether its fate is known."""
        return bool(getattr(self.given, "is_done", True))

    @property
    def error(self) -> BaseException | None:
        """Why rows of it were refused, where it is not known which ones."""
        error: BaseException | None = getattr(self.given, "error", None)
        return error


class Sent:
    """The windows that a stream handed over, and which of them were acknowledged.

    Of these, those next to each other are kept as one, whatever was changed between others, so that
    a long stream costs no memory. Windows of which a sink refused rows are not among them.
    """

    def __init__(self) -> None:
        self.n_windows = 0
        self.n_rows = 0
        self._took_s: deque[float] = deque(maxlen=1000)
        self._parts: list[Part] = []
        self._waiting: deque[Window] = deque()
        self._faults: Counter[str] = Counter()
        self._lock = Lock()

    def add(self, window: Window, *, n_rows: int) -> None:
        """Note a window, whether it is acknowledged yet or not."""
        with self._lock:
            if n_rows:
                self.n_windows += 1
                self.n_rows += n_rows
                self._took_s.append(window.took_s)
            self._waiting.append(window)
            self._settle()

    def counters(self) -> dict[str, Any]:
        """The fields of `StreamStats` that are of what was sent."""
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
        """The ledger of what was acknowledged, as of `SensorSource.ledger`; None: nothing was."""
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
        """Those that were acknowledged before an earlier one."""
        return (window for window in self._waiting if window.is_done and window.error is None)
