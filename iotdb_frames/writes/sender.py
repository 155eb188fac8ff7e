"""Requests on their way: one thread and one short queue per lane.

The caller encodes while lanes send, and blocks when a lane has `QUEUE` requests waiting, so memory
stays flat however large the data. A lane keeps its order and waits out its own retries: a retry
never reorders a device's rows. Frames, streams, the sink and backfills all send through here.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Literal

from iotdb_frames.client.connection import Connection
from iotdb_frames.client.pool import SessionPool
from iotdb_frames.client.retry import call_with_retry
from iotdb_frames.codec.names import Target
from iotdb_frames.codec.tablet import Tablet
from iotdb_frames.display.words import duration, plural, size
from iotdb_frames.errors import (
    ConnectionLost,
    IoTDBFramesError,
    PoolClosed,
    PoolTimeout,
    ServerError,
    WriteRejected,
)
from iotdb_frames.interrupts import SLICE_S, check_interrupt
from iotdb_frames.options import RetryPolicy
from iotdb_frames.wire.rpc import Session, Told
from iotdb_frames.wire.transport import end_wait
from iotdb_frames.writes.plan.chunks import LoadRequest, Request

_log = logging.getLogger("iotdb_frames.write")

QUEUE = 2
HALVE_FROM_BYTES = 1 << 20
"""A drop on a request this large may be the server's frame limit: it is tried in halves."""
GRACE_S = 1.0
"""How long an interrupt waits for the answer to what is on the wire."""
LOSSES = 5
"""So often a request that large may be lost where it cannot be cut, before it is given up."""

OnDone = Callable[[Request, int, ServerError | None], None]
"""Told of each request when it is answered or given up: (request, retries, error)."""
OnRefused = Callable[[Request, ServerError], Sequence[Request]]
"""Asked of each request that was refused for good: what to send in its place, before any other of
its lane; nothing to leave it refused."""
OnEnd = Callable[[], None]
"""Told once of each submitted request, after all of its answers, also where it was never sent."""


@dataclass(frozen=True)
class _Item:
    target: Target
    request: Request
    on_done: OnDone
    on_refused: OnRefused | None = None
    on_end: OnEnd | None = None


class Sender:
    """Sends requests on lanes; a context manager that waits for them at its end.

    Parameters
    ----------
    connection : where to
    n_lanes : sequences that go out side by side, each on a session of its own while it sends
    policy : how a request is tried again
    stop_on_error : after the first failed request nothing more is sent (its error is `error`);
        "lost": only after one that might have succeeded at another time (nobody there, no memory)
    on_trouble : told in a lane's thread of each error after which a request is tried again; None:
        a wait is logged

    Attributes
    ----------
    error : what stopped it
    is_warm : whether something was submitted before
    """

    def __init__(
        self,
        connection: Connection,
        *,
        n_lanes: int = 1,
        policy: RetryPolicy,
        stop_on_error: bool | Literal["lost"] = True,
        on_trouble: Callable[[IoTDBFramesError], None] | None = None,
    ) -> None:
        self._connection = connection
        self._policy = policy
        self._on_trouble = on_trouble
        self._stop_on_error = stop_on_error
        self._stop = threading.Event()
        self._abort = threading.Event()
        connection.tell_closed(self._abort)
        self.error: BaseException | None = None
        self.is_warm = False
        self._n_lanes = n_lanes
        self._queues: list[queue.Queue[_Item | None]] = []  # and threads: with the first request
        self._threads: list[threading.Thread] = []
        self._starting = threading.Lock()

    def __enter__(self) -> Sender:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        if kind is not None and not issubclass(kind, Exception):
            self.give_up()
            return
        if kind is not None:
            self._stop.set()
        self.close()

    @property
    def is_stopped(self) -> bool:
        """Whether nothing more is sent."""
        return self._stop.is_set()

    def submit(
        self,
        lane: int,
        target: Target,
        request: Request,
        on_done: OnDone,
        *,
        on_refused: OnRefused | None = None,
        on_end: OnEnd | None = None,
        is_now: bool = False,
    ) -> bool:
        """Queue a request; blocks while its lane is full. False: the sender stopped.

        The callbacks are called in the lane's thread.

        Parameters
        ----------
        is_now : send it in this thread, and return with its answer: there is nothing to do
            meanwhile; where an interrupt ends the wait, it is in doubt
        """
        self.is_warm = True
        item = _Item(target, request, on_done, on_refused, on_end)
        if is_now and not self._stop.is_set():
            self._send_now(item)
            return True
        self._start()
        while not self._stop.is_set():
            check_interrupt()
            with suppress(queue.Full):
                self._queues[lane].put(item, timeout=SLICE_S)
                return True
        return False

    def _send_now(self, item: _Item) -> None:
        try:
            self._send(item)
        except Exception as exc:
            self._give_up(exc)
        except BaseException:
            lost = ConnectionLost("interrupted before an answer came", was_sent=True)
            item.on_done(item.request, 0, lost)
            raise
        finally:
            if item.on_end is not None:
                item.on_end()

    def _start(self) -> None:
        """Begin the lanes, if nothing was submitted before."""
        if self._threads:
            return
        with self._starting:
            if not self._threads:
                self._queues = [queue.Queue(QUEUE) for _ in range(self._n_lanes)]
                threads = [
                    threading.Thread(
                        target=self._run, args=(q,), daemon=True, name="iotdb-frames-send"
                    )
                    for q in self._queues
                ]
                for thread in threads:
                    thread.start()
                self._threads = threads

    def stop(self) -> None:
        """Send nothing more than what is on the wire."""
        self._stop.set()

    def abort(self) -> None:
        """Stop, and give up what waits for another try; an answer on its way is not waited for."""
        self._abort.set()
        self._stop.set()
        for q in self._queues:
            with suppress(queue.Full):  # a full lane is awake and sees that it is over
                q.put_nowait(None)

    def drain(self) -> None:
        """Wait until everything submitted is answered or given up."""
        for q, thread in zip(self._queues, self._threads, strict=False):  # or not yet
            with q.all_tasks_done:
                # A thread that was given up may leave the word to end in its queue.
                while q.unfinished_tasks and thread.is_alive():
                    check_interrupt()
                    q.all_tasks_done.wait(SLICE_S)

    def close(self, *, timeout_s: float | None = None) -> None:
        """Wait as `drain` does, and end the threads; with a limit, abort what is left after it."""
        if timeout_s is None:
            self.drain()
            for q in self._queues:
                q.put(None)
            for thread in self._threads:
                thread.join()
            return
        deadline = time.monotonic() + timeout_s
        for q in self._queues:
            with suppress(queue.Full):
                q.put(None, timeout=max(0.0, deadline - time.monotonic()))
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self.abort()

    def give_up(self, *, grace_s: float = GRACE_S) -> None:
        """End whatever the server does: what it has not answered after `grace_s` is in doubt.

        For an interrupt: nothing more is sent, no thread and no lent session is left.
        """
        self._stop.set()
        self.close(timeout_s=grace_s)
        deadline = time.monotonic() + GRACE_S
        while any(t.is_alive() for t in self._threads) and time.monotonic() < deadline:
            for thread in self._threads:
                end_wait(thread)
                thread.join(0.02)

    def _run(self, q: queue.Queue[_Item | None]) -> None:
        while (item := q.get()) is not None:
            try:
                if not self._stop.is_set():
                    self._send(item)
            except BaseException as exc:
                self._give_up(exc)
            finally:
                if item.on_end is not None:
                    item.on_end()
                q.task_done()
            if self._abort.is_set() and q.empty():
                return
        q.task_done()

    def _give_up(self, exc: BaseException) -> None:
        self.error = self.error or exc
        self._stop.set()

    def _send(self, item: _Item) -> None:
        """One request through its retries; in pieces where it may be too large, or was refused."""
        todo = deque([item.request])
        earlier = 0
        while todo:
            request = todo.popleft()
            started = time.perf_counter()
            retries, error = self._insert(item.target, request)
            if _log.isEnabledFor(logging.DEBUG):
                _note(item.target, request, retries, error, time.perf_counter() - started)
            pieces = self._pieces(item, request, error) if error is not None else ()
            if pieces:
                todo.extendleft(reversed(pieces))
                earlier += retries + 1
                continue
            item.on_done(request, retries + earlier, error)
            earlier = 0
            if error is not None and (self._stop_on_error is True or self._is_lost(error)):
                self._give_up(error)

    def _is_lost(self, error: ServerError) -> bool:
        return self._stop_on_error == "lost" and error.is_retryable

    def _pieces(self, item: _Item, request: Request, error: ServerError) -> Sequence[Request]:
        """What to send in place of a request that failed."""
        if isinstance(error, ConnectionLost):
            may_be_too_large = error.was_sent and request.n_bytes >= HALVE_FROM_BYTES
            is_over = self._abort.is_set()
            return request.halve() if may_be_too_large and request.halve and not is_over else ()
        if item.on_refused is None or error.is_retryable:
            return ()
        refused = item.on_refused
        return call_with_retry(
            lambda: refused(request, error), policy=self._policy, give_up=self._abort
        )

    def _insert(self, target: Target, request: Request) -> tuple[int, ServerError | None]:
        pool = self._connection.pool(target.model)
        retries = losses = 0
        is_large = request.n_bytes >= HALVE_FROM_BYTES
        most_losses = LOSSES if request.halve is None else 1

        def once() -> None:
            if self._abort.is_set():
                raise ConnectionLost("given up before it was sent")
            if isinstance(request, LoadRequest):
                with pool.session() as session:
                    session.execute(request.statement, is_qualified=True)
                return
            self._insert_near(pool, target, request.tablets)

        def on_retry(exc: IoTDBFramesError) -> None:
            nonlocal retries, losses
            retries += 1
            if self._on_trouble is not None:
                self._on_trouble(exc)
            if isinstance(exc, ConnectionLost):
                losses += exc.was_sent
                if is_large and losses > most_losses:
                    raise exc  # lost in mid-request again: halves rather than the same once more

        try:
            call_with_retry(
                once,
                policy=self._policy,
                on_retry=on_retry,
                give_up=self._abort,
                is_told=self._on_trouble is None,
            )
        except (PoolClosed, PoolTimeout) as exc:
            if not losses:
                raise
            lost = ConnectionLost(f"no answer came, and then {exc.message}", was_sent=True)
            lost.__cause__ = exc
            return retries, lost
        except ServerError as exc:
            if isinstance(exc, ConnectionLost) and losses:
                exc.was_sent = True  # an earlier try may have been stored
            return retries, exc
        return retries, None

    def _insert_near(self, pool: SessionPool, target: Target, tablets: Sequence[Tablet]) -> None:
        """Send tablets to the node that leads their devices, where one is known."""
        leaders = self._connection.leaders
        if leaders is None:
            with pool.session() as session:
                _insert(session, target, tablets)
            return
        devices = [device for tablet in tablets for device in tablet.devices]
        try:
            with pool.session(at=leaders.of_all(devices)) as session:
                told = _insert(session, target, tablets)
        except ServerError:
            leaders.forget(devices)
            raise
        self._connection.learn_leaders(told, here=session.address)


def _note(
    target: Target, request: Request, retries: int, error: ServerError | None, seconds: float
) -> None:
    """Log a request that is answered; not the server's words, which may hold values."""
    if error is None:
        how = "sent"
    elif isinstance(error, ConnectionLost):
        how = "lost on the way" if error.was_sent else "not sent"
    else:
        how = f"refused with {error.code}"
    _log.debug(
        "%s: %s of %s, %s for %s, in %s after %s",
        how,
        plural(request.n_rows, "row"),
        plural(request.n_points, "point"),
        size(request.n_bytes),
        target,
        duration(seconds),
        plural(retries, "retry", "retries"),
    )


def _insert(session: Session, target: Target, tablets: Sequence[Tablet]) -> Told:
    if target.model == "tree":
        return session.insert(tablets)
    session.use(target.database)
    try:
        return session.insert(tablets)
    except WriteRejected:
        if session.is_in(target.database):
            raise
        session.use(target.database)  # it was dropped, and made again
        return session.insert(tablets)
