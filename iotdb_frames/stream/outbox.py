"""The core of a sink: a thread that prepares what is due, and threads that send it.

While a lane's sender is busy with one request, the next is prepared. The thread that prepares never
waits for a lane, so no lane holds up another; what the server cannot take now, a lane tries again
until it can, and nothing of that lane goes before it.
"""

from __future__ import annotations

import atexit
import logging
import math
import os
import random
from collections.abc import Callable, Sequence
from threading import Lock, Thread, current_thread

import pyarrow as pa

from iotdb_frames.client.connection import Connection
from iotdb_frames.client.sender import Sender
from iotdb_frames.codec.names import Target
from iotdb_frames.errors import IoTDBFramesError, PoolClosed, ServerError
from iotdb_frames.frames.chunks import Request
from iotdb_frames.options import RetryPolicy
from iotdb_frames.stream.batch import Batch
from iotdb_frames.stream.groups import Group
from iotdb_frames.stream.known import KnownSeries
from iotdb_frames.stream.pending import Lane, Pending
from iotdb_frames.stream.spool import Spool
from iotdb_frames.stream.tickets import Entry

OnRefused = Callable[[pa.Table, IoTDBFramesError], None]

EXIT_LIMIT_S = 10.0
"""So long the end of the interpreter waits for what is still on its way."""
_FOREVER = RetryPolicy(attempts=1 << 62, first_wait_s=0.1, longest_wait_s=2.0, total_s=math.inf)
_TREE = Target("tree", path="root")
_log = logging.getLogger("iotdb_frames.sink")


class Outbox:
    """Delivers what is pending.

    Parameters
    ----------
    connection, known : the sink's own
    pending : what to deliver
    n_lanes : connections that send side by side
    on_refused : given refused rows, and why; None: the sink's next call raises it
    spool : where rows are kept across a crash
    """

    def __init__(
        self,
        connection: Connection,
        known: KnownSeries,
        pending: Pending,
        *,
        n_lanes: int,
        on_refused: OnRefused | None,
        spool: Spool | None,
    ) -> None:
        self._connection = connection
        self._known = known
        self.pending = pending
        self._on_refused = on_refused
        self._spool = spool
        self._pid = os.getpid()
        self._is_prepared = False
        self._ending = Lock()
        self._is_ended = False
        self._sender = Sender(
            connection,
            n_lanes=n_lanes,
            policy=_FOREVER,
            stop_on_error=False,
            on_trouble=pending.has_trouble,
        )
        self._thread = Thread(target=self._run, name="iotdb-frames-sink", daemon=True)

    def start(self) -> None:
        """Prepare the server, and begin.

        Raises
        ------
        ServerError : it cannot be reached (with a spool, rows wait until it can), or refuses.
        ColumnTypeError : a series of the options is there with another type.
        """
        try:
            self._prepare()
        except BaseException as exc:
            is_waiting = isinstance(exc, ServerError) and exc.is_retryable
            if self._spool is None or not is_waiting:
                self._sender.close()
                raise
            _log.warning("rows wait in the spool: %s", exc)
        self._thread.start()
        # Only now: what was registered before, as the end of a connection, comes after it.
        atexit.register(self._at_exit)

    def _prepare(self) -> None:
        if not self._is_prepared:
            self._known.prepare()
            self._is_prepared = True

    def close(self, timeout_s: float | None) -> None:
        """Drain for at most so long, then end.

        Raises
        ------
        PartialWriteError : rows are undelivered, or were refused and nobody was told.
        """
        if not self._is_ended:
            self.pending.drain(timeout_s)
            self._end()
            error = self.pending.undelivered()
            if error is not None:
                raise error

    def _at_exit(self) -> None:
        if self._pid != os.getpid():
            return
        try:
            self.close(EXIT_LIMIT_S)
        except Exception as exc:
            _log.error("at the end of the interpreter: %s", exc)

    def _end(self) -> None:
        with self._ending:
            if self._is_ended:
                return
            self._is_ended = True
            is_left = self.pending.end()
            if is_left:
                self._sender.abort()
            if current_thread() is not self._thread:
                self._thread.join(1.0)
            # A thread that waits for an answer of the server ends with it, or with the process.
            self._sender.close(timeout_s=0.5 if is_left else 5.0)
            self._connection.close()
            if self._spool is not None:
                self._spool.close()
            atexit.unregister(self._at_exit)

    # --- the thread that prepares ---

    def _run(self) -> None:
        try:
            while (lane := self.pending.next_lane()) is not None:
                self._step(lane)
            if self.pending.is_orphan:
                self._end()
        except BaseException as exc:
            _log.exception("the sink failed")
            self.pending.break_down(exc)

    def _step(self, lane: Lane) -> None:
        """Hand one request of a lane to the sender."""
        batch = lane.batch or self.pending.take_batch(lane, self._new_batch)
        try:
            self._prepare()
            made = batch.next_request()
        except ServerError as exc:
            if not exc.is_retryable:
                raise
            self.pending.has_trouble(exc)
            wait_s = _FOREVER.wait_s(min(lane.n_failed, 16), random.random())  # noqa: S311 - jitter
            self.pending.postpone(lane, wait_s)
            return
        if made is not None:
            self.pending.request_out(lane, batch)
            self._submit(lane, batch, *made)
        elif self.pending.all_submitted(lane, batch):
            self._finish(lane, batch)

    def _new_batch(self, entries: list[Entry]) -> Batch:
        return Batch(entries, self._known)

    def _submit(self, lane: Lane, batch: Batch, group: Group, request: Request) -> None:
        def on_done(sent: Request, retries: int, error: ServerError | None) -> None:
            if retries:
                with self.pending.lock:
                    devices = [tablet.target for tablet in sent.tablets]
                    self.pending.counters.retry(retries, devices)
            if error is not None and error.is_retryable and self.pending.is_over:
                batch.is_lost = True
            elif error is not None:
                group.refuse(sent.rows, error)

        def on_refused(sent: Request, error: ServerError) -> Sequence[Request]:
            try:
                return batch.in_place_of(group, sent)
            except ServerError as exc:
                if exc.is_retryable:
                    raise
                _log.info("not planned anew after %s: %s", error.message, exc.message)
                return ()

        def on_end() -> None:
            if self._sender.is_stopped:
                batch.is_lost = True
                if not self.pending.is_over:
                    self.pending.break_down(self._sender.error or PoolClosed("nobody sends"))
            if self.pending.request_back(lane, batch):
                self._finish(lane, batch)

        is_queued = self._sender.submit(
            lane.index, _TREE, request, on_done, on_refused=on_refused, on_end=on_end
        )
        if not is_queued:
            on_end()

    def _finish(self, lane: Lane, batch: Batch) -> None:
        """All requests of a batch are answered for, or never will be."""
        if batch.is_lost:
            return
        try:
            batch.settle()
            failure = self._hand_over_refused(batch)
            if self._spool is not None:
                self._spool.done([e.place for e in batch.entries if e.place is not None])
        except Exception as exc:
            _log.exception("rows could not be accounted for")
            failure = exc
        self.pending.finish(lane, batch, failure)

    def _hand_over_refused(self, batch: Batch) -> Exception | None:
        """Refused rows to whom it may concern; the first error, where it is to be raised."""
        first: Exception | None = None
        for table, error in batch.refused():
            first = first or error
            _log.error("%d rows were refused: %s", table.num_rows, error)
            if self._on_refused is not None:
                self._on_refused(table, error)
        return first if self._on_refused is None else None
