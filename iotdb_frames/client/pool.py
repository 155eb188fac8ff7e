"""A pool of sessions of one SQL dialect (a session's dialect is fixed when it opens)."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

from iotdb_frames.clock import CLOCK, Clock
from iotdb_frames.errors import PoolClosed, PoolTimeout
from iotdb_frames.wire.rpc import Session

OpenSession = Callable[[Mapping[str, int], str | None], Session]
"""Opens a session, given how many are open by address, and the address that is wanted, if any."""


@dataclass
class PoolStats:
    """Counters since the pool opened.

    opened, lost : sessions opened; sessions that failed
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
    on_lost : called with the address of a session that failed: the next one may be on another
        server. One that its borrower abandoned says nothing of its server
    is_suspect : whether the server at an address failed a moment ago
    """

    def __init__(
        self,
        open_session: OpenSession,
        *,
        size: int,
        timeout_s: float,
        clock: Clock = CLOCK,
        on_lost: Callable[[str], None] = lambda _: None,
        is_suspect: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._on_lost = on_lost
        self._is_suspect = is_suspect
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

    @property
    def n_sessions(self) -> Counter[str]:
        """How many sessions are open, by the address of their server."""
        self._after_fork()
        with self._condition:
            return self._count()

    def _count(self) -> Counter[str]:
        return Counter(session.address for session in (*self._idle, *self._lent))

    def take(self, *, at: str | None = None) -> Session:
        """A usable session; give it back with `give_back`.

        Parameters
        ----------
        at : the address of the server that it had best be with; None: any

        Raises
        ------
        PoolTimeout, PoolClosed, or what opening a session raises
        """
        self._after_fork()
        with self._condition:
            session = self._take_idle(at)
            self._n_out += 1
            n_sessions = self._count()
            self._stats.checkouts += 1
            if session is not None:
                self._lent.add(session)
                return session
        try:
            session = self._open_session(n_sessions, at)
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

    def _take_idle(self, at: str | None) -> Session | None:
        """An idle session, or None where a new one may be opened; the caller holds the lock."""
        started = self._clock.now()
        has_waited = False
        while True:
            if self._is_closed:
                raise closed()
            while self._idle:
                i = next((i for i, s in enumerate(self._idle) if s.address == at), -1)
                if at and i < 0 and self._has_room(at):
                    return None
                session = self._idle.pop(i)
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
            self._stats.waits += not has_waited
            has_waited = True
            waiting_since = self._clock.now()
            self._clock.wait(self._condition, left_s)
            self._stats.wait_s += self._clock.now() - waiting_since

    def _has_room(self, at: str) -> bool:
        """Whether a session may be opened at an address where none is idle; the caller holds the
        lock.

        Not at one that failed a moment ago: another one would be asked first, where some are idle.
        In a full pool an idle one is dropped for it, but only at a server that is left with as many
        as are there then: what moves evens them out, and never moves back.
        """
        if self._is_suspect(at):
            return False
        if self._n_out + len(self._idle) < self.size:
            return True
        n_sessions = self._count()
        spare = max(self._idle, key=lambda session: n_sessions[session.address])
        if n_sessions[spare.address] < n_sessions[at] + 2:
            return False
        self._idle.remove(spare)
        spare.abandon()  # without a goodbye, which may take its time
        return True

    def _lose(self, session: Session) -> None:
        session.abandon()
        self._stats.lost += 1
        self._on_lost(session.address)

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
            elif session.has_failed:
                self._lose(session)
                self._drop_idle(session.address)
        if not keep:
            session.close()
        self._return_slot()

    def _drop_idle(self, address: str) -> None:
        """Forget idle sessions with a server, after one of them was lost; the caller holds the
        lock."""
        for session in [s for s in self._idle if s.address == address]:
            self._idle.remove(session)
            session.abandon()

    @contextmanager
    def session(self, *, at: str | None = None) -> Iterator[Session]:
        """A session for the duration of a block, see `take`."""
        session = self.take(at=at)
        try:
            yield session
        finally:
            self.give_back(session)

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
