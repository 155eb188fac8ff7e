"""A pool of sessions of one SQL dialect (a session's dialect is fixed when it opens)."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from iotdb_frames.clock import CLOCK, Clock
from iotdb_frames.errors import PoolClosed, PoolTimeout
from iotdb_frames.wire.rpc import Session


@dataclass
class PoolStats:
    """Counters since the pool opened.

    opened, lost : sessions opened; sessions that broke
    checkouts, waits, wait_s : sessions lent; how often and how long (s) a borrower waited
    timeouts : borrowers that gave up
    """

    opened: int = 0
    lost: int = 0
    checkouts: int = 0
    waits: int = 0
    wait_s: float = 0.0
    timeouts: int = 0


class SessionPool:
    """Lends sessions to threads; opens them on demand, up to `size`.

    Parameters
    ----------
    open_session : opens one; its errors reach the borrower
    size : most sessions
    timeout_s : limit of the wait for a free one, in seconds
    clock : measures that wait
    on_lost : called when a session broke: the next one may be on another server
    """

    def __init__(
        self,
        open_session: Callable[[], Session],
        *,
        size: int,
        timeout_s: float,
        clock: Clock = CLOCK,
        on_lost: Callable[[], None] = lambda: None,
    ) -> None:
        self._on_lost = on_lost
        self._open_session = open_session
        self.size = size
        self._timeout_s = timeout_s
        self._clock = clock
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._condition = threading.Condition()
        self._idle: list[Session] = []
        self._lent: set[Session] = set()
        self._n_out = 0
        self._is_closed = False
        self._stats = PoolStats()

    def __repr__(self) -> str:
        return f"<SessionPool {self._n_out} lent, {len(self._idle)} idle, {self.size} at most>"

    def _after_fork(self) -> None:
        """In a forked child: start with no sessions, and leave the parent's alone."""
        if self._pid != os.getpid():
            for session in [*self._idle, *self._lent]:
                session.disown()
            self._reset()

    @property
    def stats(self) -> PoolStats:
        """A copy of the counters."""
        self._after_fork()
        with self._condition:
            return replace(self._stats)

    def take(self) -> Session:
        """A usable session; give it back with `give_back`.

        Raises
        ------
        PoolTimeout, PoolClosed, or what opening a session raises
        """
        self._after_fork()
        with self._condition:
            session = self._take_idle()
            self._n_out += 1
            self._stats.checkouts += 1
            if session is not None:
                self._lent.add(session)
                return session
        try:
            session = self._open_session()
        except BaseException:
            self._return_slot()
            raise
        with self._condition:
            self._stats.opened += 1
            self._lent.add(session)
            is_closed = self._is_closed
        if is_closed:  # meanwhile
            self.give_back(session)
            raise closed()
        return session

    def _take_idle(self) -> Session | None:
        """An idle session, or None where a new one may be opened; the caller holds the lock."""
        started = self._clock.now()
        while True:
            if self._is_closed:
                raise closed()
            while self._idle:
                session = self._idle.pop()
                if session.is_usable:
                    return session
                self._lose(session)
            if self._n_out < self.size:
                return None
            left_s = started + self._timeout_s - self._clock.now()
            if left_s <= 0:
                self._stats.timeouts += 1
                raise PoolTimeout(
                    f"all {self.size} sessions were busy for {self._timeout_s:g} s",
                    hint="use a larger pool_size=, or close results that you no longer read",
                )
            self._stats.waits += 1
            waiting_since = self._clock.now()
            self._clock.wait(self._condition, left_s)
            self._stats.wait_s += self._clock.now() - waiting_since

    def _lose(self, session: Session) -> None:
        session.abandon()
        self._stats.lost += 1
        self._on_lost()

    def drop_dead(self) -> None:
        """Drop idle sessions whose connection ended, as far as can be seen without a request."""
        self._after_fork()
        with self._condition:
            dead = [session for session in self._idle if not session.is_usable]
            for session in dead:
                self._idle.remove(session)
                self._lose(session)

    def _return_slot(self) -> None:
        with self._condition:
            self._n_out -= 1
            self._condition.notify()

    def give_back(self, session: Session) -> None:
        """Return a lent session; a broken one is dropped."""
        if self._pid != os.getpid():
            session.disown()
            return
        with self._condition:
            self._lent.discard(session)
            keep = not self._is_closed and not session.is_broken
            if keep:
                self._idle.append(session)
            elif session.is_broken:
                self._lose(session)
        if not keep:
            session.close()
        self._return_slot()

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A session for the duration of a block."""
        session = self.take()
        try:
            yield session
        finally:
            self.give_back(session)

    def drop_idle(self) -> None:
        """Drop all idle sessions, after one of them was found lost."""
        for session in self._take_all_idle():
            session.abandon()
        self._on_lost()

    def _take_all_idle(self) -> list[Session]:
        self._after_fork()
        with self._condition:
            idle, self._idle = self._idle, []
        return idle

    def close(self) -> None:
        """Close every session, even lent ones; borrowers waiting for one or for an answer raise."""
        self._after_fork()
        with self._condition:
            self._is_closed = True
            lent = list(self._lent)
            self._condition.notify_all()
        for session in lent:
            session.abandon()
        for session in self._take_all_idle():
            session.close()


def closed() -> PoolClosed:
    """The error for using a closed connection."""
    return PoolClosed("the connection is closed", hint="open a new one: iotf.connect(…)")
