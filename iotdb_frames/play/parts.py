"""Parts of a source: some of its rows, and which a stream sends next."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from iotdb_frames.play.playable import Playable


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """Some rows of a source.

    Attributes
    ----------
    low, high : they arrive in [low, high); without `high`, from `low` on
    since, before : they were read in [since, before); without `before`, in time to arrive so
    refused : positions of the refused rows among them
    """

    source: Playable
    low: int
    high: int | None
    since: int = 0
    before: int | None = None
    refused: npt.NDArray[np.intp] | None = None

    @property
    def end(self) -> int:
        """The position after it."""
        return (self.before or self.low) if self.high is None else self.high

    def rows(self) -> pd.DataFrame:
        """The rows, in the order in which they arrive, with the refused ones."""
        return self.source.rows(self.low, self.high, since=self.since, before=self.before)

    def ledger(self) -> pd.DataFrame:
        """Which fault hit which of the rows; refused ones are left out."""
        return self.source.ledger_of(
            self.low, self.high, since=self.since, before=self.before, refused=self.refused
        )

    def count_faults(self) -> dict[str, int]:
        """The ledger's rows, by kind."""
        return self.source.count_faults(
            self.low, self.high, since=self.since, before=self.before, refused=self.refused
        )

    def joined(self, following: Part) -> Part | None:
        """Both as one; None if they cannot be joined."""
        is_next = self.high == following.low and self.since == following.since
        has_refused = self.refused is not None or following.refused is not None
        if self.source is not following.source or not is_next or has_refused:
            return None
        return replace(self, high=following.high, before=following.before)


class Place:
    """Where in its source a stream is. Not thread-safe.

    Parameters
    ----------
    source : what is streamed; see `go_on_with`
    until_s : stream time at which the stream is over; inf: never

    Attributes
    ----------
    position : the next row
    """

    def __init__(self, source: Playable, *, until_s: float) -> None:
        self.source = source
        self.position = 0
        self._since = 0  # the first row of this source
        self._until_s = until_s

    def holds(self, window: Any) -> bool:
        """Whether a first window ends before the stream does."""
        following = self.source.next_window(self.position, window)
        return following is None or following[0] <= self._end(math.inf)

    def following(self, window: Any, *, until_s: float = math.inf) -> tuple[Part, float] | None:
        """The next window and the stream time at which it is due; None if there is none.

        Parameters
        ----------
        window : rows, or a span
        until_s : leave out rows from this stream time on
        """
        following = self.source.next_window(self.position, window)
        last = self._end(until_s)
        if following is None or last <= self.position:
            return None
        end, due_s = following
        end = end if end <= last else int(last)
        part = Part(source=self.source, low=self.position, high=end, since=self._since)
        return part, min(due_s, until_s, self._until_s)

    def late(self) -> Part:
        """Rows read before the next row that have not arrived."""
        at = self.position
        return Part(source=self.source, low=at, high=None, since=self._since, before=at)

    def go_on_with(self, source: Playable, *, at_s: float) -> None:
        """Go on with a source from a stream time on; no row of the same source comes twice."""
        at = source.first_from(at_s)
        self.position = self._since = max(at, self.position) if source is self.source else at
        self.source = source

    def _end(self, until_s: float) -> float:
        until_s = min(until_s, self._until_s)
        return math.inf if math.isinf(until_s) else self.source.first_from(until_s)
