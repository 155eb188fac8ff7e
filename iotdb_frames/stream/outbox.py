"""The core of a sink: what was sent waits here until the server acknowledged it.

Entries wait in lanes, a device always in one. When a lane is due (enough rows, the timer, a flush)
one thread takes what waits there, makes columns, plan and requests of it, and hands them to the
lane's sender thread; while that one sends, this one prepares the next. Rows leave memory when they
are answered for, never before.

Rules: all state is behind one lock, which is never held while planning, encoding, sending or
calling a user's code; the thread that prepares never waits for a lane, so no lane holds up another.
"""

from __future__ import annotations

import atexit
import logging
import math
import os
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from threading import Condition, RLock, Thread, current_thread
from typing import Literal

import pandas as pd
import pyarrow as pa

from iotdb_frames.client.connection import Connection
from iotdb_frames.client.sender import QUEUE, Sender
from iotdb_frames.codec.names import Target
from iotdb_frames.errors import (
    IoTDBFramesError,
    OptionsError,
    PartialWriteError,
    PoolClosed,
    ServerError,
    SinkFull,
)
from iotdb_frames.frames.chunks import Request
from iotdb_frames.options import RetryPolicy
from iotdb_frames.stream.batch import Batch
from iotdb_frames.stream.groups import Group
from iotdb_frames.stream.known import KnownSeries
from iotdb_frames.stream.sink_stats import Counters, SinkStats
from iotdb_frames.stream.spool import Place, Spool
from iotdb_frames.stream.tickets import Entry

Overflow = Literal["block", "raise", "drop_oldest"]
OnRefused = Callable[[pa.Table, IoTDBFramesError], None]

TAKE_BYTES = 16 << 20
"""Of what waits in a lane, at most so much is prepared at once."""
EXIT_LIMIT_S = 10.0
"""So long the end of the interpreter waits for what is still on its way."""
_FOREVER = RetryPolicy(attempts=1 << 62, first_wait_s=0.1, longest_wait_s=2.0, total_s=math.inf)
_TREE = Target("tree", path="root")
_log = logging.getLogger(__name__)


class _Lane:
    """What waits for one sender thread, and what is with it."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.waiting: deque[Entry] = deque()
        self.is_due = False
        self.batch: Batch | None = None  # being prepared
        self.working: deque[Batch] = deque()  # not answered for, the one being prepared included
        self.n_out = 0  # requests with the sender
        self.retry_at = 0.0
        self.n_failed = 0

    @property
    def first_number(self) -> float:
        """Of the oldest entry that is not answered for."""
        if self.working:
            return self.working[0].entries[0].number
        return self.waiting[0].number if self.waiting else math.inf


class Outbox:
    """Rows on their way to the server.

    Parameters
    ----------
    connection, known : the sink's own
    n_lanes : connections that send side by side
    batch_size : rows that are collected before they go
    flush_interval_s : they go after so long in any case
    max_pending_bytes : memory, about, of all rows that are not acknowledged
    overflow : what happens over that
    on_refused : given refused rows, and why; None: the next call raises it
    spool : where rows are kept across a crash
    """

    def __init__(
        self,
        connection: Connection,
        known: KnownSeries,
        *,
        n_lanes: int,
        batch_size: int,
        flush_interval_s: float,
        max_pending_bytes: int,
        overflow: Overflow,
        on_refused: OnRefused | None,
        spool: Spool | None,
    ) -> None:
        self._connection = connection
        self._known = known
        self._batch_size = batch_size
        self._interval_s = flush_interval_s
        self._max_bytes = max_pending_bytes
        self._take_bytes = min(TAKE_BYTES, max_pending_bytes // (4 * n_lanes))
        self._overflow = overflow
        self._on_refused = on_refused
        self._spool = spool
        self._pid = os.getpid()
        self._lock = RLock()  # the collector of garbage may close a sink in any thread
        self._work = Condition(self._lock)  # there may be something to prepare
        self.changed = Condition(self._lock)  # something was answered for, or it is over
        self._lanes = [_Lane(i) for i in range(n_lanes)]
        self._turn = 0
        self._counters = Counters()
        self._n_collected = 0
        self._deadline = math.inf
        self._number = 0
        self._bytes = 0
        self._failure: BaseException | None = None
        self._broken: BaseException | None = None
        self._is_prepared = False
        self._is_closing = self._is_orphan = self._is_over = False
        self._sender = Sender(connection, n_lanes=n_lanes, policy=_FOREVER, stop_on_error=False)
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
        atexit.register(self._at_exit)

    def _prepare(self) -> None:
        if not self._is_prepared:
            self._known.prepare()
            self._is_prepared = True

    # --- what the face calls ---

    def offer(self, entries: Sequence[Entry], *, may_block: bool = True) -> bool:
        """Take entries of one send; False where they would have to wait and may not.

        Raises
        ------
        SinkFull : under ``overflow="raise"``; nothing was taken.
        PoolClosed : it is closed.
        IoTDBFramesError : a failure that nobody was told of yet; nothing was taken.
        """
        n_bytes = sum(entry.n_bytes for entry in entries)
        with self._lock:
            self._check_open()
            while self._bytes and self._bytes + n_bytes > self._max_bytes:
                self._make_due()
                if self._overflow == "raise":
                    raise SinkFull(
                        f"{self._bytes:,} bytes wait for the server, of {self._max_bytes:,}",
                        hint='a larger max_pending=, or overflow="block"',
                    )
                if self._overflow == "drop_oldest":
                    if not self._drop_oldest(self._bytes + n_bytes - self._max_bytes):
                        break
                elif not may_block:
                    return False
                else:
                    self.changed.wait()
                    self._check_open()
            if self._spool is not None:
                _keep(entries, self._spool)
            self._take(entries)
        return True

    def put_back(self, entries: Sequence[Entry], place: Place) -> None:
        """Take entries of one block that is in the spool already, whatever their size."""
        place.n_entries = len(entries)
        for entry in entries:
            entry.place = place
        with self._lock:
            self._take(entries)
            self._counters.replayed += sum(entry.n_rows for entry in entries)
            self._make_due()

    def _take(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            self._number += 1
            entry.number = self._number
            self._lanes[entry.lane].waiting.append(entry)
            self._bytes += entry.n_bytes
            self._n_collected += entry.n_rows
            self._counters.total.queued += entry.n_rows
        if self._n_collected >= self._batch_size:
            self._make_due()
        elif self._deadline == math.inf:
            self._deadline = time.monotonic() + self._interval_s
            self._work.notify()

    def _make_due(self) -> None:
        for lane in self._lanes:
            lane.is_due = lane.is_due or bool(lane.waiting)
        self._n_collected = 0
        self._deadline = math.inf
        self._work.notify()

    def _check_open(self) -> None:
        if self._pid != os.getpid():
            raise OptionsError(
                "this sink belongs to another process", hint="after a fork, open a new one"
            )
        if self._is_closing:
            raise PoolClosed("the sink is closed", hint="open a new one")
        self._raise_failure()

    def _raise_failure(self) -> None:
        if self._broken is not None:
            raise self._broken
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def told(self, error: BaseException) -> None:
        """Somebody was told of an error."""
        with self._lock:
            if self._failure is error:
                self._failure = None

    def _drop_oldest(self, n_bytes: int) -> bool:
        """Let go of the oldest entries that wait; False where none does."""
        n_rows = 0
        while n_bytes > 0:
            lane = min(
                (lane for lane in self._lanes if lane.waiting),
                key=lambda lane: lane.waiting[0].number,
                default=None,
            )
            if lane is None:
                break
            entry = lane.waiting.popleft()
            n_bytes -= entry.n_bytes
            n_rows += entry.n_rows
            self._forget([entry])
            self._counters.drop(entry)
            if entry.place is not None and self._spool is not None:
                self._spool.done([entry.place])
            error = SinkFull(f"{entry.n_rows} rows were dropped: the server does not keep up")
            for tell in entry.ticket.part_done(error):
                tell()
        if n_rows:
            _log.warning("%d rows were dropped: the server does not keep up", n_rows)
            self.changed.notify_all()
        return n_rows > 0

    def _forget(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            self._bytes -= entry.n_bytes
            self._counters.total.queued -= entry.n_rows

    def flush(self, timeout_s: float | None = None) -> None:
        """Wait until everything offered so far is answered for.

        Raises
        ------
        TimeoutError : it is not after `timeout_s`.
        IoTDBFramesError : the first failure that nobody was told of yet.
        """
        with self._lock:
            self._make_due()
            last = self._number
            if not self.changed.wait_for(lambda: self._is_done(last), timeout_s):
                raise TimeoutError(
                    f"{self._counters.total.queued:,} rows are not acknowledged after {timeout_s} s"
                )
            self._raise_failure()

    def _is_done(self, number: int) -> bool:
        if self._broken is not None:
            return True
        return all(lane.first_number > number for lane in self._lanes)

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self._is_over

    def wait_for_room(self) -> None:
        """Wait until something was answered for."""
        with self._lock:
            if self._bytes and not self._is_closing:
                self.changed.wait(1.0)

    def stats(self) -> SinkStats:
        """Counters of this moment."""
        with self._lock:
            return self._counters.stats(self._bytes)

    def device_stats(self) -> pd.DataFrame:
        """Counters of this moment, a row a device."""
        with self._lock:
            waiting = [e for lane in self._lanes for e in lane.waiting]
            waiting += [e for lane in self._lanes for b in lane.working for e in b.entries]
            return self._counters.by_device(waiting)

    def close(self, timeout_s: float | None) -> None:
        """Drain for at most so long, then end.

        Raises
        ------
        PartialWriteError : rows are undelivered, or were refused and nobody was told.
        """
        deadline = math.inf if timeout_s is None else time.monotonic() + timeout_s
        with self._lock:
            if self._is_over:
                return
            self._is_closing = True
            self._make_due()
            self.changed.notify_all()
            left_s = None if timeout_s is None else timeout_s
            self.changed.wait_for(lambda: not self._left() or self._broken, left_s)
        self._end(max(0.0, deadline - time.monotonic()))
        with self._lock:
            failure, self._failure = self._broken or self._failure, None
            total = self._counters.total
        if total.queued or failure is not None:
            raise self._undelivered(failure) from failure

    def _left(self) -> int:
        return self._counters.total.queued

    def _undelivered(self, failure: BaseException | None) -> PartialWriteError:
        total = self._counters.total
        parts = []
        if total.queued:
            parts.append(f"{total.queued:,} rows are not acknowledged")
        if total.rejected:
            parts.append(f"{total.rejected:,} rows were refused")
        text = " and ".join(parts) or "the sink failed"
        if failure is not None:
            text += f", the first because: {failure}"
        hint = None
        if total.queued:
            hint = "a longer close(timeout_s=…), or spool= to keep them for the next start"
            if self._spool is not None:
                hint = "they are in the spool, for the next start"
        error = PartialWriteError(text, hint=hint)
        error.report = self._counters.report()
        return error

    def close_later(self) -> None:
        """Drain and end in the background; never waits."""
        with self._lock:
            self._is_closing = self._is_orphan = True
            self._make_due()

    def _at_exit(self) -> None:
        if self._pid != os.getpid():
            return
        try:
            self.close(EXIT_LIMIT_S)
        except Exception as exc:
            _log.error("at the end of the interpreter: %s", exc)

    def _end(self, timeout_s: float) -> None:
        with self._lock:
            if self._is_over:
                return
            self._is_over = True
            self._work.notify_all()
            is_drained = not self._left()
        if not is_drained:
            self._sender.abort()
        if current_thread() is not self._thread:
            self._thread.join(1.0)
        self._sender.close(timeout_s=min(1.0, timeout_s) if not is_drained else 5.0)
        self._connection.close()
        if self._spool is not None:
            self._spool.close()
        atexit.unregister(self._at_exit)
        with self._lock:
            self.changed.notify_all()

    # --- the thread that prepares ---

    def _run(self) -> None:
        try:
            while (lane := self._next_lane()) is not None:
                self._step(lane)
            if self._is_orphan:
                self._end(0.0)
        except BaseException as exc:
            _log.exception("the sink failed")
            self._break(exc)

    def _break(self, exc: BaseException) -> None:
        with self._lock:
            self._broken = self._broken or exc
            self.changed.notify_all()

    def _next_lane(self) -> _Lane | None:
        """A lane that can go on; waits for one. None at the end."""
        with self._lock:
            while not self._is_over:
                now = time.monotonic()
                if now >= self._deadline:
                    self._make_due()
                wake_at = self._deadline
                self._turn += 1  # another lane is the first each time
                for i in range(len(self._lanes)):
                    lane = self._lanes[(self._turn + i) % len(self._lanes)]
                    if lane.n_out < QUEUE and (lane.batch or (lane.is_due and lane.waiting)):
                        if now >= lane.retry_at:
                            return lane
                        wake_at = min(wake_at, lane.retry_at)
                if self._is_orphan and not self._left():
                    return None
                self._work.wait(None if wake_at == math.inf else max(0.0, wake_at - now))
        return None

    def _step(self, lane: _Lane) -> None:
        """Hand one request of a lane to the sender."""
        batch = lane.batch or self._take_batch(lane)
        try:
            self._prepare()
            made = batch.next_request()
        except ServerError as exc:
            if not exc.is_retryable:
                raise
            with self._lock:
                wait_s = _FOREVER.wait_s(lane.n_failed, random.random())  # noqa: S311 - jitter
                lane.retry_at = time.monotonic() + wait_s
                lane.n_failed = min(lane.n_failed + 1, 16)
            _log.info("again in %.2f s: %s", wait_s, exc.message)
            return
        lane.n_failed = 0
        if made is None:
            with self._lock:
                lane.batch = None
                batch.is_submitted = True
                is_done = not batch.n_out
            if is_done:
                self._finish(lane, batch)
            return
        group, request = made
        with self._lock:
            lane.n_out += 1
            batch.n_out += 1
        self._submit(lane, batch, group, request)

    def _take_batch(self, lane: _Lane) -> Batch:
        with self._lock:
            entries: list[Entry] = []
            n_bytes = 0
            while lane.waiting and (not entries or n_bytes < self._take_bytes):
                entry = lane.waiting.popleft()
                n_bytes += entry.n_bytes
                entries.append(entry)
            lane.is_due = bool(lane.waiting)
            lane.batch = Batch(entries, self._known)
            lane.working.append(lane.batch)
            return lane.batch

    def _submit(self, lane: _Lane, batch: Batch, group: Group, request: Request) -> None:
        def on_done(sent: Request, retries: int, error: ServerError | None) -> None:
            if retries:
                with self._lock:
                    self._counters.retry(retries, [tablet.target for tablet in sent.tablets])
            if error is not None:
                if error.is_retryable and self._is_over:
                    batch.is_lost = True
                else:
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
            with self._lock:
                lane.n_out -= 1
                batch.n_out -= 1
                self._work.notify()
                is_done = batch.is_submitted and not batch.n_out
            if self._sender.is_stopped:
                batch.is_lost = True
                if not self._is_over:
                    self._break(self._sender.error or PoolClosed("the sender stopped"))
            elif is_done:
                self._finish(lane, batch)

        is_queued = self._sender.submit(
            lane.index, _TREE, request, on_done, on_refused=on_refused, on_end=on_end
        )
        if not is_queued:
            on_end()

    def _finish(self, lane: _Lane, batch: Batch) -> None:
        """All requests of a batch are answered for."""
        if batch.is_lost:
            return
        batch.settle()
        try:
            failure = self._hand_over_refused(batch)
            if self._spool is not None:
                self._spool.done([e.place for e in batch.entries if e.place is not None])
        except Exception as exc:
            _log.exception("rows could not be accounted for")
            failure = exc
        tallies = batch.tallies(time.monotonic())
        with self._lock:
            lane.working.remove(batch)
            self._forget(batch.entries)
            self._counters.add(tallies)
            tell = [t for e in batch.entries for t in e.ticket.part_done(e.error)]
            self._failure = self._failure or failure
            self.changed.notify_all()
            self._work.notify()
        for callback in tell:
            callback()

    def _hand_over_refused(self, batch: Batch) -> Exception | None:
        """Refused rows to whom it may concern; the first error, where it is to be raised."""
        first: Exception | None = None
        for table, error in batch.refused():
            first = first or error
            _log.error("%d rows were refused: %s", table.num_rows, error)
            if self._on_refused is not None:
                self._on_refused(table, error)
        return first if self._on_refused is None else None


def _keep(entries: Sequence[Entry], spool: Spool) -> None:
    """All of the entries into the spool, or none."""
    blocks = [entry.block() for entry in entries]
    try:
        for entry, block in zip(entries, blocks, strict=True):
            entry.place = spool.append(block)
    except BaseException:
        spool.done([entry.place for entry in entries if entry.place is not None])
        raise
