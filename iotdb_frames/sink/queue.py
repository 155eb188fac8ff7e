"""What a sink has not delivered yet: all of its state, behind one lock.

Entries wait in lanes, a device always in the same one. A lane is due when enough rows are there,
when the interval is over, or when someone waits; then its entries are taken as batches, in order,
and leave memory when the server has answered for the batch.

Rules: the lock is never held while planning, encoding, sending or calling a user's code. It is
reentrant, because the garbage collector may close a sink in any thread.
"""

from __future__ import annotations

import logging
import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from threading import Condition, RLock
from typing import Literal

import pandas as pd

from iotdb_frames.clock import CLOCK, Clock
from iotdb_frames.display.words import plural, size
from iotdb_frames.errors import (
    IoTDBFramesError,
    OptionsError,
    PartialWriteError,
    PoolClosed,
    SinkFull,
)
from iotdb_frames.sink.batch import Batch
from iotdb_frames.sink.rows import Device, Rows
from iotdb_frames.sink.spool import Place, Spool
from iotdb_frames.sink.stats import Counters, SinkStats
from iotdb_frames.sink.tickets import Entry

Overflow = Literal["block", "raise", "drop_oldest"]

TAKE_BYTES = 4 << 20
"""How much of a lane is prepared at once: while it is sent, the next batch is prepared."""
SAY_EVERY_S = 10.0
"""Least number of seconds between two log lines about dropped rows."""
_log = logging.getLogger("iotdb_frames.sink")


class Lane:
    """What waits for one connection, and what is on its way there.

    waiting : entries, in order
    working : batches that are not answered for, in order
    work : there may be something to prepare
    """

    def __init__(self, index: int, lock: RLock) -> None:
        self.index = index
        self.waiting: deque[Entry] = deque()
        self.is_due = False
        self.working: deque[Batch] = deque()
        self.work = Condition(lock)

    def entries(self) -> Iterator[Entry]:
        """What is not answered for, in order."""
        return chain(*(batch.entries for batch in self.working), self.waiting)


class Pending:
    """The entries that are not answered for.

    Parameters
    ----------
    n_lanes : connections that send in parallel
    batch_size : rows that are collected before they are sent
    interval_s : after this time they are sent in any case
    max_bytes : approximate memory of all of them
    overflow : what happens beyond that
    spool : where rows are kept across a crash
    clock : measures the interval, and every wait with a limit
    """

    def __init__(
        self,
        *,
        n_lanes: int,
        batch_size: int,
        interval_s: float,
        max_bytes: int,
        overflow: Overflow,
        spool: Spool | None,
        clock: Clock = CLOCK,
    ) -> None:
        self._clock = clock
        self._batch_size = batch_size
        self._interval_s = interval_s
        self._max_bytes = max_bytes
        # What is taken can no longer be dropped: leave most of the room to what waits.
        self._most_taken = max_bytes // (4 * n_lanes)
        self._overflow = overflow
        self.spool = spool
        self._pid = os.getpid()
        self.lock = RLock()
        self.changed = Condition(self.lock)  # something was answered for, or it is over
        self.lanes = [Lane(i, self.lock) for i in range(n_lanes)]
        self.counters = Counters()
        self._n_collected = 0
        self._deadline = math.inf
        self._number = 0
        self._bytes = 0
        self._failure: BaseException | None = None
        self._broken: BaseException | None = None
        self._trouble: IoTDBFramesError | None = None
        self._say_dropped_at = 0.0
        self.is_closing = False  # nothing more is taken
        self.is_orphan = False  # and it ends by itself
        self.is_over = False  # nothing more is sent

    @property
    def n_rows(self) -> int:
        """Rows that are not answered for."""
        return self.counters.total.queued

    @property
    def is_forked(self) -> bool:
        """Whether this process is a fork of the one that the sink belongs to."""
        return os.getpid() != self._pid

    def _entries(self) -> Iterator[Entry]:
        """All that is not answered for, lane by lane, in order."""
        return chain(*(lane.entries() for lane in self.lanes))

    # --- what is taken ---

    def offer(self, entries: Sequence[Entry], *, may_block: bool = True) -> bool:
        """Take the entries of one `send`; False if they would have to wait and may not.

        Raises
        ------
        SinkFull : under ``overflow="raise"``; nothing was taken.
        PoolClosed : it is closed.
        IoTDBFramesError : a failure that was not reported yet; nothing was taken.
        """
        n_bytes = sum([entry.n_bytes for entry in entries])
        with self.lock:
            self._check_open()
            while self._bytes and self._bytes + n_bytes > self._max_bytes:
                self.make_due()
                if self._overflow == "raise":
                    raise SinkFull(
                        f"{size(self._bytes)} wait for the server, of {size(self._max_bytes)}"
                        + self._because(),
                        hint='a larger max_pending=, or overflow="block"',
                    )
                if self._overflow == "drop_oldest":
                    if not self._drop_oldest(self._bytes + n_bytes - self._max_bytes):
                        break  # all of it is on its way
                elif not may_block:
                    return False
                else:
                    self.changed.wait()
                    self._check_open()
            if self.spool is not None:
                places = self.spool.append([entry.packed for entry in entries])
                for entry, place in zip(entries, places, strict=True):
                    entry.place, entry.packed = place, b""
            self._take(entries)
        return True

    def put_back(self, entries: Sequence[Entry], place: Place) -> None:
        """Take entries of rows that are in the spool already, whatever their size."""
        place.n_entries = len(entries)
        for entry in entries:
            entry.place = place
        with self.lock:
            self._take(entries)
            self.counters.replayed += sum(entry.n_rows for entry in entries)
            self.make_due()

    def _take(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            self._number += 1
            entry.number = self._number
            self.lanes[entry.lane].waiting.append(entry)
            self._bytes += entry.n_bytes
            self._n_collected += entry.n_rows
            self.counters.total.queued += entry.n_rows
        if self._n_collected >= self._batch_size:
            self.make_due()
        elif self._deadline == math.inf and entries:
            self._deadline = self._clock.now() + self._interval_s
            self._wake_all()  # whichever lane is idle then watches the deadline

    def make_due(self) -> None:
        """Have everything that waits sent."""
        with self.lock:
            for lane in self.lanes:
                if lane.waiting:
                    lane.is_due = True
                    lane.work.notify()
            self._n_collected = 0
            self._deadline = math.inf

    def _check_open(self) -> None:
        if self.is_forked:
            raise OptionsError(
                "this sink belongs to another process", hint="after a fork, open a new one"
            )
        if self.is_closing:
            raise PoolClosed("the sink is closed", hint="open a new one")
        self.raise_failure()

    def _drop_oldest(self, n_bytes: int) -> bool:
        """Drop the entries that have waited longest; False if none waits."""
        n_rows = 0
        while n_bytes > 0 and (waiting := [lane for lane in self.lanes if lane.waiting]):
            entry = min(waiting, key=lambda lane: lane.waiting[0].number).waiting.popleft()
            n_bytes -= entry.n_bytes
            n_rows += entry.n_rows
            self._forget([entry])
            self.counters.drop(entry)
            self._leave_spool([entry])
            text = f"{plural(entry.n_rows, 'row')} dropped for newer ones"
            error = SinkFull(text + self._because())
            for tell in entry.ticket.part_done(error):
                tell()
        if n_rows:
            now = self._clock.now()
            if now >= self._say_dropped_at:
                in_all = plural(self.counters.total.dropped, "row")
                _log.warning("%s dropped for newer ones%s", in_all, self._because())
                self._say_dropped_at = now + SAY_EVERY_S
            self.changed.notify_all()
        return n_rows > 0

    def _leave_spool(self, entries: Sequence[Entry]) -> None:
        if self.spool is not None:
            try:
                self.spool.done([e.place for e in entries if e.place is not None])
            except IoTDBFramesError as exc:
                _log.error("rows that are stored could not leave the spool: %s", exc)

    def _forget(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            self._bytes -= entry.n_bytes
            self.counters.total.queued -= entry.n_rows

    # --- failures ---

    def raise_failure(self) -> None:
        """Raise a failure that was not reported yet."""
        if self._broken is not None:
            raise self._broken
        if self._failure is not None:
            failure, self._failure = self._failure, None
            if isinstance(failure, IoTDBFramesError) and failure.report is None:
                failure.report = self.counters.report()
            raise failure

    def told(self, error: BaseException) -> None:
        """Note that an error was reported."""
        with self.lock:
            if self._failure is error:
                self._failure = None

    def break_down(self, exc: BaseException) -> None:
        """End all delivery."""
        with self.lock:
            self._broken = self._broken or exc
            self._fail_tickets(exc)

    def has_trouble(self, exc: IoTDBFramesError) -> None:
        """Note that a request has to be retried; logged once, until one succeeds."""
        with self.lock:
            is_new, self._trouble = self._trouble is None, exc
            n_rows = self.n_rows
        if is_new:
            _log.warning("%s waiting for the server: %s", plural(n_rows, "row"), exc.message)

    def _because(self) -> str:
        return f"; last trouble: {self._trouble.message}" if self._trouble is not None else ""

    # --- waiting ---

    def flush(self, timeout_s: float | None) -> None:
        """Wait until the server has answered for everything offered so far.

        Raises
        ------
        TimeoutError : not within `timeout_s`.
        IoTDBFramesError : the first failure that was not reported yet.
        """
        with self.lock:
            self.make_due()
            last = self._number
            if not self._wait_for(lambda: self._is_done(last), timeout_s):
                text = f"{plural(self.n_rows, 'row')} not acknowledged after {timeout_s} s"
                raise TimeoutError(text + self._because())
            self.raise_failure()

    def _is_done(self, number: int) -> bool:
        if self._broken is not None or self.is_over:
            return True
        firsts = [next(lane.entries(), None) for lane in self.lanes]
        return all(entry is None or entry.number > number for entry in firsts)

    def _wait_for(self, is_true: Callable[[], bool], timeout_s: float | None) -> bool:
        """Wait, with the lock held, until a condition is true; False after `timeout_s`."""
        until = math.inf if timeout_s is None else self._clock.now() + timeout_s
        while not is_true():
            left_s = until - self._clock.now()
            if left_s <= 0:
                return False
            self._clock.wait(self.changed, None if left_s == math.inf else left_s)
        return True

    def wait_for_room(self) -> None:
        """Wait until the server has answered for something, for at most a second."""
        with self.lock:
            if self._bytes and not self.is_closing:
                self._clock.wait(self.changed, 1.0)

    def drain(self, timeout_s: float | None) -> None:
        """Take nothing more, and wait until all is answered for, at most `timeout_s`."""
        with self.lock:
            self.is_closing = True
            self.make_due()
            self.changed.notify_all()
            self._wait_for(lambda: not self.n_rows or self._broken is not None, timeout_s)

    def end(self) -> bool:
        """Prepare nothing more; whether anything is left."""
        with self.lock:
            self.is_closing = self.is_over = True
            self._wake_all()
            error = PoolClosed("the sink was closed before these rows were acknowledged")
            self._fail_tickets(error)
            return self.n_rows > 0

    def _fail_tickets(self, error: BaseException) -> None:
        """Fail the tickets of what will not be sent; its rows count as undelivered."""
        for entry in self._entries():
            for tell in entry.ticket.part_done(error):
                tell()
        self.changed.notify_all()

    def abandon(self) -> None:
        """Take nothing more, and end when all is answered for."""
        with self.lock:
            self.is_closing = self.is_orphan = True
            self.make_due()
            self._wake_all()

    def _wake_all(self) -> None:
        for lane in self.lanes:
            lane.work.notify()

    def undelivered(self) -> PartialWriteError | None:
        """The error about rows that were not delivered; None the next time."""
        with self.lock:
            failure, self._failure = self._broken or self._failure, None
            total = self.counters.total
            if not total.queued and failure is None:
                return None
            left = {"not acknowledged": total.queued, "refused": total.refused}
            text = " and ".join(f"{plural(n, 'row')} {what}" for what, n in left.items() if n)
            text = (text or "the sink failed") + self._because()
            if failure is not None:
                text += f"; first failure: {failure}"
            hint = None
            if total.queued:
                hint = "a longer close(timeout_s=…), or spool= to keep them for the next start"
                if self.spool is not None:
                    hint = "they are in the spool, for the next start"
            error = PartialWriteError(text, hint=hint)
            error.__cause__ = failure
            error.report = self.counters.report()
            return error

    # --- what lanes take ---

    def take_batch(self, lane: Lane, make: Callable[[list[Entry]], Batch]) -> Batch | None:
        """The next entries of a lane, up to a limit, once they are due; None at the end."""
        with self.lock:
            while not self.is_over and not (lane.is_due and lane.waiting):
                if self.is_orphan and not self.n_rows:
                    return None
                left_s = self._deadline - self._clock.now()
                if left_s <= 0:
                    self.make_due()
                else:
                    self._clock.wait(lane.work, None if left_s == math.inf else left_s)
            if self.is_over:
                return None
            batch = make(self._take_some(lane))
            lane.is_due = bool(lane.waiting)
            lane.working.append(batch)
            return batch

    def _take_some(self, lane: Lane) -> list[Entry]:
        entries: list[Entry] = []
        n_bytes = n_sent = 0
        while lane.waiting:
            entry = lane.waiting[0]
            n_bytes += entry.n_bytes
            # A row that is a mapping is some ten times larger than as columns.
            n_sent += entry.n_bytes // (1 if isinstance(entry.rows, Rows) else 10)
            if entries and (n_sent > TAKE_BYTES or n_bytes > self._most_taken):
                break  # what is over would be a small request of its own
            entries.append(lane.waiting.popleft())
        return entries

    def retried(self, n_requests: int, devices: Iterable[Device]) -> None:
        """Count requests that were sent again."""
        with self.lock:
            self.counters.retry(n_requests, devices)

    def finish(self, lane: Lane, batch: Batch, failure: BaseException | None) -> None:
        """Account for a batch: its entries leave memory, their tickets are done."""
        tallies = batch.tallies(self._clock.now())
        # What was refused and could be kept nowhere else stays, for the next start.
        kept = [e for e in batch.entries if e.error is None or not batch.is_unkept]
        self._leave_spool(kept)
        with self.lock:
            lane.working.remove(batch)
            self._forget(batch.entries)
            self.counters.add(tallies, batch.lossy)
            tell = [t for e in batch.entries for t in e.ticket.part_done(e.error)]
            self._failure = self._failure or failure
            is_over, self._trouble = self._trouble is not None, None
            self.changed.notify_all()
            if self.is_orphan:
                self._wake_all()
        if is_over:
            _log.info("the server takes rows again")
        for callback in tell:
            callback()

    # --- what is counted ---

    def stats(self) -> SinkStats:
        """Counters of this moment."""
        with self.lock:
            return self.counters.stats(self._bytes)

    def device_stats(self) -> pd.DataFrame:
        """Counters of this moment, a row per device."""
        with self.lock:
            return self.counters.by_device(self._entries())
