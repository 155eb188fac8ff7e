"""Requests on their way: one thread and one short queue a lane.

The caller encodes while lanes send, and blocks when a lane has `QUEUE` requests waiting, so memory
stays flat however large the data. A lane keeps its order and waits out its own retries: a retry
never reorders a device's rows. Frames, streams, the sink and backfills all send through here.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType

from iotdb_frames.client.connection import Connection
from iotdb_frames.client.retry import call_with_retry
from iotdb_frames.codec.names import Target
from iotdb_frames.errors import ConnectionLost, ServerError
from iotdb_frames.frames.chunks import Request
from iotdb_frames.options import RetryPolicy

QUEUE = 2
HALVE_FROM_BYTES = 1 << 20
"""A drop on a request this large may be the server's frame limit: it is tried once in halves."""

OnDone = Callable[[Request, int, ServerError | None], None]
"""Told of each request when it is answered or given up: (request, retries, error)."""


@dataclass(frozen=True)
class _Item:
    target: Target
    request: Request
    on_done: OnDone


class Sender:
    """Sends requests on lanes; a context manager that waits for them at its end.

    Parameters
    ----------
    connection : where to
    n_lanes : sequences that go out side by side, each on a session of its own while it sends
    policy : how a request is tried again
    stop_on_error : after the first failed request nothing more is sent (its error is `error`)
    """

    def __init__(
        self,
        connection: Connection,
        *,
        n_lanes: int = 1,
        policy: RetryPolicy,
        stop_on_error: bool = True,
    ) -> None:
        self._connection = connection
        self._policy = policy
        self._stop_on_error = stop_on_error
        self._stop = threading.Event()
        self.error: BaseException | None = None
        self._queues: list[queue.Queue[_Item | None]] = [queue.Queue(QUEUE) for _ in range(n_lanes)]
        self._threads = [
            threading.Thread(target=self._run, args=(q,), daemon=True, name="iotdb-frames-send")
            for q in self._queues
        ]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Sender:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        if kind is not None:
            self._stop.set()
        self.close()

    @property
    def is_stopped(self) -> bool:
        """Whether nothing more is sent."""
        return self._stop.is_set()

    def submit(self, lane: int, target: Target, request: Request, on_done: OnDone) -> bool:
        """Queue a request; blocks while its lane is full. False: the sender stopped."""
        item = _Item(target, request, on_done)
        while not self._stop.is_set():
            with suppress(queue.Full):
                self._queues[lane].put(item, timeout=0.1)
                return True
        return False

    def stop(self) -> None:
        """Send nothing more than what is on the wire."""
        self._stop.set()

    def drain(self) -> None:
        """Wait until everything submitted is answered or given up."""
        for q in self._queues:
            q.join()

    def close(self) -> None:
        """Wait as `drain` does, and end the threads."""
        for q in self._queues:
            q.put(None)
        for thread in self._threads:
            thread.join()

    def _run(self, q: queue.Queue[_Item | None]) -> None:
        while (item := q.get()) is not None:
            try:
                if not self._stop.is_set():
                    self._send(item)
            except BaseException as exc:
                self._give_up(exc)
            finally:
                q.task_done()
        q.task_done()

    def _give_up(self, exc: BaseException) -> None:
        self.error = self.error or exc
        self._stop.set()

    def _send(self, item: _Item) -> None:
        """One request through its retries; once in halves where it may be too large."""
        retries, error = self._insert(item.target, item.request)
        pieces = [(item.request, retries, error)]
        may_be_too_large = isinstance(error, ConnectionLost) and error.was_sent
        if may_be_too_large and item.request.n_bytes >= HALVE_FROM_BYTES and item.request.halve:
            halves = item.request.halve()
            pieces = [(half, *self._insert(item.target, half)) for half in halves]
            pieces[0] = (pieces[0][0], pieces[0][1] + retries + 1, pieces[0][2])
        for request, tries, failed in pieces:
            item.on_done(request, tries, failed)
            if failed is not None and self._stop_on_error:
                self._give_up(failed)

    def _insert(self, target: Target, request: Request) -> tuple[int, ServerError | None]:
        pool = self._connection.pool(target.model)
        retries = 0

        def once() -> None:
            with pool.session() as session:
                if target.model == "table":
                    session.use(target.database)
                session.insert(request.tablets)

        def on_retry(exc: ServerError) -> None:
            nonlocal retries
            retries += 1
            if isinstance(exc, ConnectionLost):
                pool.drop_idle()
                if exc.was_sent and retries > 1 and request.n_bytes >= HALVE_FROM_BYTES:
                    raise exc  # twice lost in mid-request: try halves rather than the same again

        try:
            call_with_retry(once, policy=self._policy, on_retry=on_retry)
        except ServerError as exc:
            return retries, exc
        return retries, None
