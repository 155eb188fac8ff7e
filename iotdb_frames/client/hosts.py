"""Which of the hosts that a URL names is asked next.

A host is called by its address, ``host:port``, as `Session.address` says it.
"""

from __future__ import annotations

import itertools
import math
import socket
import threading
from collections.abc import Mapping, Sequence

from iotdb_frames.clock import CLOCK, Clock

SUSPECT_S = 30.0
"""So long after it failed others are asked before a host."""

Host = tuple[str, int]


def address_of(host: Host) -> str:
    """``host:port``"""
    return f"{host[0]}:{host[1]}"


class Hosts:
    """What a connection has seen of its hosts; for use by many threads."""

    def __init__(self, *, clock: Clock = CLOCK) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._suspect_until: dict[str, float] = {}
        self._last_failure = -math.inf
        self._turns = itertools.count()
        self._named: dict[Host, tuple[str | None, float]] = {}

    def fails(self, address: str) -> None:
        """A host timed out, refused or hung up."""
        with self._lock:
            self._last_failure = self._clock.now()
            self._suspect_until[address] = self._last_failure + SUSPECT_S

    def answers(self, address: str) -> None:
        """A host took a session."""
        with self._lock:
            self._suspect_until.pop(address, None)

    @property
    def quiet_s(self) -> float:
        """For how many seconds none was seen to fail; inf: none ever was."""
        return self._clock.now() - self._last_failure

    def is_suspect(self, address: str) -> bool:
        """Whether a host failed a short while ago."""
        return self._suspect_until.get(address, self._clock.now()) > self._clock.now()

    def in_order(
        self, hosts: Sequence[Host], *, n_sessions: Mapping[str, int], at: str | None = None
    ) -> list[Host]:
        """All hosts, the one to ask first in front.

        That is `at`, then whoever has the fewest sessions, in turn where several have as few; those
        that failed a short while ago come last.

        Parameters
        ----------
        n_sessions : the sessions that are open, by address
        at : the address that is wanted; None: any
        """
        turn = next(self._turns)

        def rank(i: int) -> tuple[bool, bool, int, int]:
            address = address_of(hosts[i])
            in_turn = (i - turn) % len(hosts)
            return self.is_suspect(address), address != at, n_sessions.get(address, 0), in_turn

        return [hosts[i] for i in sorted(range(len(hosts)), key=rank)]

    def named(self, endpoint: Host, hosts: Sequence[Host]) -> str | None:
        """The address of the host that the server calls `endpoint`; None where it is none of these.

        A server says the address that it listens at, where a URL may say a name. A name that could
        not be looked up is looked up again, after a while.
        """
        address, until = self._named.get(endpoint, (None, -math.inf))
        if until <= self._clock.now():
            address, is_sure = _named_among(endpoint, hosts)
            until = math.inf if is_sure else self._clock.now() + SUSPECT_S
            self._named[endpoint] = address, until
        return address


def _named_among(endpoint: Host, hosts: Sequence[Host]) -> tuple[str | None, bool]:
    """The address of the host that means an endpoint, by its name or by its IP address; and whether
    that is sure: one whose name could not be looked up may mean it, too."""
    if endpoint in hosts:
        return address_of(endpoint), True
    is_sure = True
    for host in hosts:
        if host[1] != endpoint[1]:
            continue
        try:
            found = socket.getaddrinfo(*host, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):  # the latter for what cannot be a name
            is_sure = False
            continue
        if endpoint[0] in {address[0] for *_, address in found}:
            return address_of(host), True
    return None, is_sure
