"""A clock that a test turns by hand, so that what it asserts holds however busy the machine is.

Threads that wait by it wait until it is turned past the moment that they wait for. `turn` goes from
one such moment to the next, and each time lets the threads do what they do, until all of them wait
again. A thread that is busy, with a real server say, is waited for; its work takes no time.
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from iotdb_frames.clock import Clock

BEGIN_S = 1_000.0
_STEP_S = 1e-11  # rounding may leave next to nothing of a wait
_GLANCE_S = 0.02  # real time: a thread that ends tells nobody


class TurnedClock(Clock):
    """A clock that is turned by hand.

    Parameters
    ----------
    names : of the threads that go by it; those are waited for that begin after it was made
    """

    def __init__(self, *names: str) -> None:
        self._names = names or ("iotdb-frames-stream",)
        self._before = set(threading.enumerate())
        self._seconds = BEGIN_S
        self._state = threading.Condition()
        self._waiting: dict[threading.Thread, tuple[float, threading.Condition]] = {}
        self._n_waits: Counter[threading.Thread] = Counter()
        self._also: set[threading.Thread] = set()

    def now(self) -> float:
        return self._seconds

    @property
    def passed_s(self) -> float:
        """How far it was turned."""
        return self._seconds - BEGIN_S

    def time_ns(self) -> int:
        return round(self._seconds * 1_000_000_000)

    def wait(
        self, changed: threading.Condition | threading.Event, limit_s: float | None = None
    ) -> bool:
        assert isinstance(changed, threading.Condition), (
            "it can wake only who waits for a condition"
        )
        thread = threading.current_thread()
        until = math.inf if limit_s is None else self._seconds + limit_s
        with self._state:
            self._waiting[thread] = until, changed
            self._n_waits[thread] += 1
            self._state.notify_all()
        try:
            changed.wait()
        finally:
            with self._state:
                self._waiting.pop(thread)
        return self._seconds < until

    def sleep(self, duration_s: float) -> None:
        until, never = self._seconds + duration_s, threading.Condition()
        with never:
            while (left_s := until - self._seconds) > 0:
                self.wait(never, left_s)

    def settle(self) -> None:
        """Let every thread do what there is to do at this moment."""
        for _ in range(2):  # what one did may be something to do for another
            self._wait_for(self._all_wait)
            self._wake_all()
        self._wait_for(self._all_wait)

    def turn(self, seconds: float) -> None:
        """Let so many seconds pass."""
        self._turn_to(self._seconds + seconds)

    def turn_until(self, is_true: Callable[[], bool]) -> None:
        """Let time pass, from one moment that is waited for to the next, until something is so."""
        self.settle()
        while not is_true():
            due = self._next_due()
            assert due < math.inf, "nobody waits for a time: it will never be so"
            self._turn_to(due)

    @contextmanager
    def turning(self) -> Iterator[None]:
        """Let time pass by itself while the caller waits by it, for calls that block."""
        caller, is_over = threading.current_thread(), threading.Event()
        self._also.add(caller)

        def keep_turning() -> None:
            while not is_over.is_set():
                if self._wait_for(self._all_wait, unless=is_over.is_set):
                    due = self._next_due()
                    if due < math.inf:
                        self._seconds = max(self._seconds + _STEP_S, due)
                    self._wake_all()

        turner = threading.Thread(target=keep_turning, name="turner")
        turner.start()
        try:
            yield
        finally:
            is_over.set()
            turner.join()
            self._also.discard(caller)

    # --- inside ---

    def _turn_to(self, target: float) -> None:
        self.settle()
        while (due := self._next_due()) <= target:
            self._seconds = max(due, self._seconds + _STEP_S)
            self.settle()
        self._seconds = max(target, self._seconds)
        self.settle()

    def _next_due(self) -> float:
        with self._state:
            return min((until for until, _ in self._waiting.values()), default=math.inf)

    def _wake_all(self) -> None:
        with self._state:
            before = {t: self._n_waits[t] for t in self._waiting}
            conditions = [changed for _, changed in self._waiting.values()]
        for changed in conditions:
            with changed:
                changed.notify_all()
        self._wait_for(lambda: all(self._woke(thread, n) for thread, n in before.items()))

    def _woke(self, thread: threading.Thread, n_waits: int) -> bool:
        return thread not in self._waiting or self._n_waits[thread] > n_waits

    def _served(self) -> set[threading.Thread]:
        new = {
            thread
            for thread in threading.enumerate()
            if thread not in self._before and thread.name.startswith(self._names)
        }
        return new | self._also

    def _all_wait(self) -> bool:
        return all(thread in self._waiting for thread in self._served())

    def _wait_for(
        self, is_true: Callable[[], bool], *, unless: Callable[[], bool] = lambda: False
    ) -> bool:
        with self._state:
            while not is_true():
                if unless():
                    return False
                self._state.wait(_GLANCE_S)
        return True
