"""Connections: options, one pool per SQL dialect, fail-over and retry."""

from __future__ import annotations

import itertools
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType
from typing import Any, TypeVar

from iotdb_frames.client.hosts import Host, Hosts, address_of
from iotdb_frames.client.leaders import Leaders
from iotdb_frames.client.pool import SessionPool, closed
from iotdb_frames.client.retry import call_with_retry
from iotdb_frames.clock import CLOCK, Clock
from iotdb_frames.display.card import Card
from iotdb_frames.display.words import plural
from iotdb_frames.errors import (
    AuthenticationError,
    ConnectionLost,
    IoTDBFramesError,
    PoolTimeout,
    ServerError,
)
from iotdb_frames.options import NO_RETRY, ConnectionOptions, RetryPolicy
from iotdb_frames.spelling import printable
from iotdb_frames.wire.answers import Model, ServerInfo
from iotdb_frames.wire.rpc import Session
from iotdb_frames.wire.version import read_version

T = TypeVar("T")


class Connection:
    """A thread-safe connection to one IoTDB: at most `pool_size` sessions per SQL dialect.

    Made by `iotdb_frames.connect`; a context manager. Opens nothing before its first use.

    Parameters
    ----------
    resolve : returns the options each time a session opens (a ``local:`` server may have moved)
    label : shown in a repr
    retry : how openings and idempotent requests are retried
    clock : measures waits for a free session and between attempts

    Attributes
    ----------
    hosts : what is known of its hosts
    """

    def __init__(
        self,
        resolve: Callable[[], ConnectionOptions],
        *,
        label: str,
        retry: RetryPolicy | None = None,
        clock: Clock = CLOCK,
    ) -> None:
        self._resolve = resolve
        self._label = label
        self._retry = retry or RetryPolicy()
        self._here = threading.local()
        self.clock = clock
        self._lock = threading.RLock()
        self._pools: dict[Model, SessionPool] = {}
        self._options: ConnectionOptions | None = None
        self._server: ServerInfo | None = None
        self._version: str | None = None
        self.hosts = Hosts(clock=clock)
        self._leaders = Leaders()
        self._n_changes = itertools.count(1)
        self._last_change = 0
        self._is_closed = False
        self._closed = threading.Event()
        self._told_closed = weakref.WeakSet([self._closed])
        # At the end of the process; it refers to the pools, and they to this connection.
        self._at_exit = weakref.finalize(self, _close_pools, self._pools)

    def __repr__(self) -> str:
        pools = ", ".join(f"{model}: {pool!r}" for model, pool in self._pools.items())
        version = f" IoTDB {self._version}" if self._version else ""
        return printable(f"<Connection {self._label}{version}{' ' + pools if pools else ''}>")

    def _repr_html_(self) -> str:
        facts: list[tuple[str, Any]] = [("IoTDB", self._version or "not connected yet")]
        n_sessions: Counter[str] = Counter()
        for model, pool in self._pools.items():
            n_sessions += pool.n_sessions
            stats = pool.stats
            facts.append(
                (f"sessions, {model}", (f"{stats.opened:,} opened", f"{pool.size} at most"))
            )
        hosts = self._options.hosts if self._options else ()
        for address in map(address_of, hosts if len(hosts) > 1 else ()):
            state = "failed a moment ago" if self.hosts.is_suspect(address) else ""
            facts.append((address, (plural(n_sessions[address], "session"), state)))
        return Card("connection", self._label, "ok" if self._version else "", facts).html()

    def __reduce__(self) -> Any:
        raise TypeError(
            "a Connection cannot be pickled: pickle iotf.Endpoint.of(connection), which takes the "
            "password from IOTDB_PASSWORD where it is loaded, or contains it with travels=True"
        )

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every session, even those in use; calls waiting for the server raise PoolClosed."""
        self._is_closed = True
        for event in self._told_closed:
            event.set()
        _close_pools(self._pools)
        self._at_exit.detach()

    def another(self) -> Connection:
        """A connection of its own to the same place; to close one does not close the other."""
        return Connection(self._resolve, label=self._label, retry=self._retry, clock=self.clock)

    def tell_closed(self, event: threading.Event) -> None:
        """Have `close` set an event, for a wait elsewhere that needs the server."""
        self._told_closed.add(event)

    @property
    def is_closed(self) -> bool:
        """Whether it was closed."""
        return self._is_closed

    @property
    def retry(self) -> RetryPolicy:
        """How openings and idempotent requests are retried."""
        return self._retry

    @contextmanager
    def retrying(self, policy: RetryPolicy) -> Iterator[None]:
        """Retry what this thread asks in this block as `policy` says, not as `retry` does."""
        before = getattr(self._here, "policy", None)
        self._here.policy = policy
        try:
            yield
        finally:
            self._here.policy = before

    @property
    def options(self) -> ConnectionOptions:
        """The options in force; starts a ``local:`` server that is not running."""
        with self._lock:
            if self._options is None:
                self._options = self._resolve()
            return self._options

    @property
    def default_model(self) -> Model:
        """ "table" if the options name a database, otherwise "tree"."""
        return "table" if self.options.database else "tree"

    @property
    def server(self) -> ServerInfo:
        """What the server reported when a session opened; opens one if necessary."""
        if self._server is None:
            with self.pool(self.default_model).session() as session:
                self._server = session.info
        return self._server

    @property
    def version(self) -> str:
        """The server's version, from ``SHOW VERSION``."""
        _ = self.server
        return self._version or ""

    def pool(self, model: Model) -> SessionPool:
        """The pool of one dialect."""
        with self._lock:
            if self._is_closed:
                raise closed()
            if model not in self._pools:
                options = self.options
                self._pools[model] = SessionPool(
                    lambda n_sessions, at: self.open_session(model, n_sessions=n_sessions, at=at),
                    size=options.pool_size,
                    timeout_s=options.pool_timeout_s,
                    clock=self.clock,
                    on_lost=self._has_lost,
                    is_suspect=self.hosts.is_suspect,
                )
            return self._pools[model]

    @property
    def epoch(self) -> int:
        """A number that changes whenever a schema looked up before may be outdated.

        That is after each statement through this connection that is not a query, and after a
        session failed, for the next one may be on another server. Changes by other clients are not
        noticed.
        """
        for pool in list(self._pools.values()):
            pool.drop_dead()
        return self._last_change

    def _has_changed(self) -> None:
        self._last_change = next(self._n_changes)

    @property
    def leaders(self) -> Leaders | None:
        """Who leads which device, as far as was told; None where a single host is named."""
        return self._leaders if len(self.options.hosts) > 1 else None

    @property
    def leaders_of(self) -> Callable[[Sequence[Hashable]], Sequence[str | None]] | None:
        """Gives the address of each device's leader, see `leaders`."""
        return None if self.leaders is None else self.leaders.of

    def learn_leaders(self, told: Iterable[tuple[Hashable, Host | None]], *, here: str) -> None:
        """Remember what a host at an address said who leads devices; None: itself.

        Who is not among the hosts that are named is not remembered, and so never asked.
        """
        if self.leaders is None:
            return
        hosts = self.options.hosts
        named = ((d, here if at is None else self.hosts.named(at, hosts)) for d, at in told)
        self._leaders.learn((device, at) for device, at in named if at is not None)

    def _has_lost(self, address: str) -> None:
        self.hosts.fails(address)
        self._leaders.forget_host(address)
        self._has_changed()

    def open_session(
        self,
        model: Model,
        *,
        n_sessions: Mapping[str, int] | None = None,
        at: str | None = None,
        limit_s: float | None = None,
    ) -> Session:
        """A session outside the pool, on the first host that takes it, see `Hosts.in_order`.

        A host that cannot be reached, or says that it cannot now, is passed over, and suspect; what
        it refuses for good is raised at once.

        Parameters
        ----------
        n_sessions, at : see `Hosts.in_order`
        limit_s : try a single host, for so many seconds; None: see `ConnectionOptions`
        """
        options = self._resolve()
        hosts = self.hosts.in_order(options.hosts, n_sessions=n_sessions or {}, at=at)
        errors: list[ServerError] = []
        if limit_s is not None:
            del hosts[1:]
            options = replace(options, connect_timeout_s=limit_s)
        for host in hosts:
            try:
                session = self._open(host, options, model)
            except ServerError as exc:
                is_passing = isinstance(exc, ConnectionLost) or exc.is_retryable
                if isinstance(exc, AuthenticationError) or not is_passing:
                    raise
                # Less than its full time says nothing of a host.
                if limit_s is None or not isinstance(exc.__cause__, TimeoutError):
                    self._has_lost(address_of(host))
                errors.append(exc)
                continue
            self.hosts.answers(session.address)
            if limit_s is None:
                self._options, self._server = options, session.info
            return session
        for error in errors:
            if len(errors) == 1 or not isinstance(error, ConnectionLost):
                raise error  # who answers is there, and is asked again
        raise ConnectionLost(
            "no host can be reached: " + "; ".join(e.message for e in errors),
            hint=errors[0].hint,
            may_pass=any(e.is_retryable for e in errors),
        ) from errors[0]

    def _open(self, host: Host, options: ConnectionOptions, model: Model) -> Session:
        """A session on one host; the version of what is there is known then."""
        session = Session(
            *host, options=options, model=model, on_change=self._has_changed, clock=self.clock
        )
        try:
            if self._version is None:
                self._version = read_version(session)
        except BaseException:
            session.close()
            raise
        return session

    def run(
        self,
        call: Callable[[Session], T],
        *,
        model: Model | None = None,
        is_idempotent: bool = True,
        is_ordered: bool = False,
        policy: RetryPolicy | None = None,
    ) -> T:
        """Call with a session of the pool; retry what may succeed later.

        Parameters
        ----------
        is_idempotent : False: a request that may have reached the server is not sent again
        is_ordered : True: a request that its host may still carry out is not sent again, as what
            follows must come after it
        policy : how it is retried; None: see `retrying`
        """
        pool = self.pool(model or self.default_model)

        def once() -> T:
            with pool.session() as session:
                return call(session)

        return self.try_again(
            once, is_idempotent=is_idempotent, is_ordered=is_ordered, policy=policy
        )

    def try_whole(self, call: Callable[[], T], *, policy: RetryPolicy) -> T:
        """Call what asks one thing after the other, all of it idempotent; retry it as a whole.

        None of it is retried by itself, so that one limit holds.
        """
        with self.retrying(NO_RETRY):
            return self.try_again(call, is_idempotent=True, policy=policy)

    def try_again(
        self,
        once: Callable[[], T],
        *,
        is_idempotent: bool,
        is_ordered: bool = False,
        policy: RetryPolicy | None = None,
    ) -> T:
        """Call a function that takes a session of a pool itself; retry what may succeed later.

        Parameters are those of `run`.
        """

        policy = policy or getattr(self._here, "policy", None)

        def on_retry(exc: IoTDBFramesError) -> None:
            if isinstance(exc, PoolTimeout) and policy is None:
                raise exc  # `pool_timeout_s` is all of its time
            if isinstance(exc, ConnectionLost):
                is_first = self._server is None  # most likely a wrong address: report it at once
                if is_first or (exc.was_sent and not is_idempotent):
                    raise exc
                if exc.may_come_late and is_ordered:
                    exc.hint = "it may still be carried out: wait until the server answers again"
                    raise exc

        try:
            return call_with_retry(
                once,
                policy=policy or self._retry,
                on_retry=on_retry,
                give_up=self._closed,
                clock=self.clock,
            )
        except ServerError as exc:
            if self._is_closed and exc.is_retryable:
                raise closed() from exc
            raise


def _close_pools(pools: dict[Model, SessionPool]) -> None:
    for pool in list(pools.values()):
        pool.close()
