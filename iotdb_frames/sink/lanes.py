"""The core of a sink: one thread per lane, which prepares what is due, and one sender.

While one request of a lane is sent, its thread prepares the next. A lane retries what the server
cannot take now until it can, and sends nothing else before it; so no lane holds up another, and a
device's rows keep their order.
"""

from __future__ import annotations

import atexit
import logging
import math
from collections.abc import Callable, Sequence
from functools import partial
from threading import Event, Lock, Thread, current_thread
from typing import TypeVar

import pyarrow as pa

from iotdb_frames.client.connection import Connection
from iotdb_frames.client.retry import call_with_retry
from iotdb_frames.display.words import plural
from iotdb_frames.errors import IoTDBFramesError, PoolClosed, ServerError
from iotdb_frames.options import RetryPolicy
from iotdb_frames.sink.batch import Batch
from iotdb_frames.sink.known import Known
from iotdb_frames.sink.queue import Lane, Pending
from iotdb_frames.sink.rows import Rows
from iotdb_frames.writes.plan.chunks import Request
from iotdb_frames.writes.sender import Sender

T = TypeVar("T")
OnRefused = Callable[[pa.Table, IoTDBFramesError], None]

EXIT_LIMIT_S = 10.0
"""How long the end of the interpreter waits for what is still being sent."""
_FOREVER = RetryPolicy(longest_wait_s=2.0, total_s=math.inf)
_log = logging.getLogger("iotdb_frames.sink")


class Outbox:
    """Delivers what is pending.

    Parameters
    ----------
    connection, known : the sink's own
    pending : what to deliver
    on_refused : gets refused rows and the reason; None: the sink's next call raises it
    """

    def __init__(
        self,
        connection: Connection,
        known: Known,
        pending: Pending,
        *,
        on_refused: OnRefused | None,
    ) -> None:
        self._connection = connection
        self._known = known
        self.pending = pending
        self._on_refused = on_refused
        self._is_prepared = False
        self._preparing = Lock()
        self._ending = Lock()
        self._is_ended = False
        self._abort = Event()
        self._sender = Sender(
            connection,
            n_lanes=len(pending.lanes),
            policy=_FOREVER,
            stop_on_error=False,
            on_trouble=pending.has_trouble,
        )
        self._threads = [
            Thread(target=self._run, args=(lane,), name="iotdb-frames-sink", daemon=True)
            for lane in pending.lanes
        ]

    def start(self) -> None:
        """Prepare the server, and begin.

        Raises
        ------
        ServerError : it cannot be reached (with a spool, rows wait until it can), or refuses.
        ColumnTypeError : a series of the options exists with another type.
        """
        try:
            self._prepare()
        except BaseException as exc:
            is_waiting = isinstance(exc, ServerError) and exc.is_retryable
            if self.pending.spool is None or not is_waiting:
                self._sender.close()
                raise
            _log.warning("rows wait in the spool: %s", exc)
        for thread in self._threads:
            thread.start()
        # Only now: exit handlers registered before, e.g. of a connection, then run after it.
        atexit.register(self._at_exit)

    def _prepare(self) -> None:
        with self._preparing:
            if not self._is_prepared:
                self._known.prepare()
                self._is_prepared = True

    def close(self, timeout_s: float | None) -> None:
        """Drain for at most `timeout_s`, then end.

        Raises
        ------
        PartialWriteError : rows are undelivered, or were refused and that was not reported.
        """
        if not self._is_ended:
            self.pending.drain(timeout_s)
            self._end()
            error = self.pending.undelivered()
            if error is not None:
                raise error

    def _at_exit(self) -> None:
        if self.pending.is_forked:
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
        self._abort.set()
        if is_left:
            self._sender.abort()
        for thread in self._threads:
            if thread is not current_thread():
                thread.join(1.0)
        # A thread that waits for the server ends with the answer, or with the process.
        self._sender.close(timeout_s=0.5 if is_left else 5.0)
        self._connection.close()
        if self.pending.spool is not None:
            self.pending.spool.close()
        atexit.unregister(self._at_exit)

    # --- the thread of a lane ---

    def _run(self, lane: Lane) -> None:
        try:
            make = partial(Batch, known=self._known)
            while (batch := self.pending.take_batch(lane, make)) is not None:
                self._again(self._prepare)
                for rows, request in batch.requests(self._again):
                    self._submit(lane, batch, rows, request)
                self._part_done(lane, batch)
        except BaseException as exc:
            if not self._abort.is_set():
                _log.exception("the sink failed")
                self.pending.break_down(exc)
        if self.pending.is_orphan:
            self._end()

    def _again(self, call: Callable[[], T]) -> T:
        """What a call to the server returns, however long the server is away."""
        return call_with_retry(
            call,
            policy=_FOREVER,
            on_retry=self.pending.has_trouble,
            give_up=self._abort,
            is_told=False,
        )

    def _submit(self, lane: Lane, batch: Batch, rows: Rows, request: Request) -> None:
        def on_done(sent: Request, retries: int, error: ServerError | None) -> None:
            if retries:
                self.pending.retried(retries, rows.devices_of(sent.rows))
            if error is not None and error.is_retryable and self.pending.is_over:
                batch.is_lost = True
            elif error is not None:
                batch.refuse(rows.at[sent.rows], error)

        def on_refused(sent: Request, error: ServerError) -> Sequence[Request]:
            try:
                return batch.in_place_of(rows, sent, error)
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
            self._part_done(lane, batch)

        batch.part_begins()
        is_queued = self._sender.submit(
            lane.index, self._known.target, request, on_done, on_refused=on_refused, on_end=on_end
        )
        if not is_queued:
            on_end()

    def _part_done(self, lane: Lane, batch: Batch) -> None:
        """After the last part of a batch, account for its rows."""
        if not batch.part_ends() or batch.is_lost:
            return
        try:
            batch.settle()
            failure = self._hand_over_refused(batch)
        except Exception as exc:
            _log.exception("rows could not be accounted for")
            failure = exc
        self.pending.finish(lane, batch, failure)

    def _hand_over_refused(self, batch: Batch) -> Exception | None:
        """Hand over refused rows; the first error, if it is to be raised."""
        first: Exception | None = None
        for table, error in batch.refused():
            _log.error("%s refused: %s", plural(table.num_rows, "row"), error)
            if self._on_refused is None:
                first = first or error
                continue
            try:
                self._on_refused(table, error)
            except Exception as exc:
                _log.error("%s not kept: %s", plural(table.num_rows, "refused row"), exc)
                first = first or exc
                batch.is_unkept = True
        return first
