"""Some of a lane's entries, being sent: made into columns, planned and encoded step by step."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa

from iotdb_frames.codec.sources import is_missing
from iotdb_frames.errors import FrameError, IoTDBFramesError, PoolClosed, ServerError
from iotdb_frames.sink.columns import rows_of_device
from iotdb_frames.sink.known import Known
from iotdb_frames.sink.rows import Device, Rows, gather
from iotdb_frames.sink.serializer import DeviceColumns
from iotdb_frames.sink.stats import N_BUCKETS, Tally, latency_bucket
from iotdb_frames.sink.tickets import Entry
from iotdb_frames.writes.expired import Expired, is_out_of_ttl
from iotdb_frames.writes.plan.chunks import Request, lanes
from iotdb_frames.writes.plan.plan import Refused

_log = logging.getLogger(__name__)


Again = Callable[[Callable[[], Any]], Any]
"""Returns what a call returns; repeats it while the server cannot answer."""


class Batch:
    """Entries of one lane that are being sent. Their rows are numbered in the order they came.

    is_lost : one of its requests was never answered, and will not be
    is_unkept : some of its refused rows could not be kept elsewhere
    lossy : number of values that lost precision, by column
    """

    def __init__(self, entries: list[Entry], known: Known) -> None:
        self.entries = entries
        self.is_lost = False
        self.is_unkept = False
        self.lossy: Counter[str] = Counter()
        self._known = known
        self._lock = Lock()
        self._n_parts = 1  # requests that are not answered for, and one while there may be more
        self._expired = Expired()
        n_rows = [entry.n_rows for entry in entries]
        self._first = np.cumsum([0, *n_rows])  # row of each entry
        self._owners = np.repeat(np.arange(len(entries)), n_rows)  # each row's entry
        self._gathered: list[Rows] = []
        self._unfit: list[np.ndarray] = []  # single rows that cannot be columns
        self._is_empty = np.zeros(len(self._owners), bool)  # of missing values only
        self._reason = np.full(len(self._owners), -1, np.int32)  # why a row is refused
        self._reasons: list[IoTDBFramesError] = []

    def part_begins(self) -> None:
        """Note that a request goes to the sender."""
        with self._lock:
            self._n_parts += 1

    def part_ends(self) -> bool:
        """Note that a request is answered, or that no more follow; whether it was the last."""
        with self._lock:
            self._n_parts -= 1
            return not self._n_parts

    def refuse(self, at: np.ndarray, error: IoTDBFramesError) -> None:
        """Note rows (their numbers) that will not be stored; the first reason stays."""
        with self._lock:
            self._reason[at[self._reason[at] < 0]] = len(self._reasons)
            self._reasons.append(error)

    def requests(self, again: Again) -> Iterator[tuple[Rows, Request]]:
        """Its requests, in order, and the rows that they are of.

        Raises
        ------
        ServerError : one that may succeed later, if `again` gave up.
        PoolClosed : the sink ended.
        """
        some = list(self._to_rows())
        self._gathered = gather(some, again(lambda: self._known.key_of(some)))
        for rows in self._gathered:
            try:
                for request in again(partial(self._plan, rows)):
                    yield rows, request
            except PoolClosed:
                raise  # the sink ended, which says nothing about the rows
            except Exception as exc:
                if isinstance(exc, ServerError) and exc.is_retryable:
                    raise
                if not isinstance(exc, IoTDBFramesError):
                    _log.exception("rows could not be prepared")
                    exc = IoTDBFramesError(f"{type(exc).__name__}: {exc}")
                self.refuse(rows.at, exc)

    def _to_rows(self) -> Iterator[Rows]:
        """Single rows of a device become columns together, before columns of it that follow."""
        waiting: dict[Device, list[int]] = {}
        for i, entry in enumerate(self.entries):
            if isinstance(entry.rows, DeviceColumns):
                waiting.setdefault(entry.device, []).append(i)
                continue
            for device in entry.rows.devices:
                if device in waiting:
                    yield from self._single(device, waiting.pop(device))
            yield replace(entry.rows, at=np.arange(self._first[i], self._first[i + 1]))
        for device, owners in waiting.items():
            yield from self._single(device, owners)

    def _single(self, device: Device, owners: Sequence[int]) -> Iterator[Rows]:
        single = [row for i in owners if isinstance(row := self.entries[i].rows, DeviceColumns)]
        numbers = self._first[owners]
        for made, which in rows_of_device(device, single):
            if isinstance(made, Rows):
                yield replace(made, at=numbers[which])
            else:
                self._unfit.append(numbers[which])
                self.refuse(numbers[which], made)

    def _plan(self, rows: Rows) -> Iterator[Request]:
        """The requests of rows; what cannot be sent is refused, and holds back nothing else."""
        try:
            plan = self._known.plan(rows)
        except FrameError as exc:
            return self._plan_rest(rows, exc)
        for problem in plan.problems:
            if not isinstance(problem, Refused):
                return self._plan_rest(rows, problem)
        for problem in plan.problems:
            assert isinstance(problem, Refused)
            self.refuse(rows.at[problem.rows], problem.error)
        self.lossy.update(plan.lossy)
        if plan.is_empty is not None:
            self._is_empty[rows.at[plan.is_empty]] = True
        return chain.from_iterable(lanes(plan, leaders_of=self._known.leaders_of))

    def _plan_rest(self, rows: Rows, problem: FrameError) -> Iterator[Request]:
        """Refuse the rows that have a value in a column at fault, and plan the others."""
        source = rows.columns.get(problem.column)
        if source is None:
            self.refuse(rows.at, problem)
            return iter(())
        is_at_fault = ~is_missing(source.take(slice(0, len(source))))
        self.refuse(rows.at[is_at_fault], problem)
        rest = np.flatnonzero(~is_at_fault)
        return self._plan_part(rows, rest, without=problem.column) if len(rest) else iter(())

    def _plan_part(
        self, rows: Rows, which: np.ndarray, *, without: Hashable = None
    ) -> Iterator[Request]:
        requests = self._plan(rows.take(which, without=without))
        return (replace(r, rows=which[r.rows], halve=None) for r in requests)

    def in_place_of(self, rows: Rows, request: Request, error: ServerError) -> Sequence[Request]:
        """What to send instead of a refused request: its devices one by one, or a new plan.

        Rows beyond their time to live are found by halving. A device is planned anew if the
        server's schema differs from the one known.

        Raises
        ------
        ServerError : one that may succeed later.
        """
        if len(request.tablets) > 1 and request.halve is not None:
            return request.halve()
        if is_out_of_ttl(error):
            return self._expired.pieces(request)
        if request.is_again or not self._known.is_outdated(request):
            return ()
        try:
            made = self._plan_part(rows, np.arange(len(rows))[request.rows])
            return [replace(r, is_again=True) for r in made]
        except FrameError:
            return ()

    def settle(self) -> None:
        """Note in the entries why rows of theirs were refused."""
        refused = np.flatnonzero(self._reason >= 0)
        owners, first = np.unique(self._owners[refused], return_index=True)
        for i, reason in zip(owners, self._reason[refused[first]], strict=True):
            self.entries[i].error = self._reasons[reason]

    def refused(self) -> Iterator[tuple[pa.Table, IoTDBFramesError]]:
        """Rows that were refused, each once, and why."""
        for at in self._unfit:
            yield self._unfit_table(self._owners[at]), self._reasons[self._reason[at[0]]]
        for rows in self._gathered:
            reason = self._reason[rows.at]
            for which in np.unique(reason[reason >= 0]):
                table = rows.table(np.flatnonzero(reason == which), self._known.devices.columns)
                yield table, self._reasons[which]

    def _unfit_table(self, owners: np.ndarray) -> pa.Table:
        """Rows that are not columns, as texts."""
        entries = [self.entries[i] for i in owners]
        single = [entry.rows for entry in entries if isinstance(entry.rows, DeviceColumns)]
        named = self._known.devices.columns([e.device for e in entries], np.arange(len(entries)))
        return pa.table(
            {
                **{label: column.dictionary_decode() for label, column in named.items()},
                "timestamp": [str(row.time) for row in single],
                "values": [repr(dict(row.columns)) for row in single],
            }
        )

    def tallies(self, now: float) -> Mapping[Device, Tally]:
        """What happened to its rows, by device."""
        place: dict[Device, int] = {}
        codes = np.zeros(len(self._owners), np.int64)
        for at in self._unfit:
            devices = [self.entries[i].device for i in self._owners[at]]
            codes[at] = [place.setdefault(device, len(place)) for device in devices]
        for rows in self._gathered:
            here = np.array([place.setdefault(device, len(place)) for device in rows.devices])
            codes[rows.at] = here[rows.row_devices()]
        tallies = [Tally() for _ in place]
        is_refused = self._reason >= 0
        for code, n_rows in _counts(codes[is_refused]):
            tallies[code].refused = n_rows
        for code, n_rows in _counts(codes[self._is_empty & ~is_refused]):
            tallies[code].empty = n_rows
        buckets = latency_bucket(now - np.array([entry.at for entry in self.entries]))
        pairs = codes * N_BUCKETS + buckets[self._owners]
        for pair, n_rows in _counts(pairs[~is_refused]):
            tally = tallies[pair // N_BUCKETS]
            tally.acknowledged += n_rows
            tally.latencies[pair % N_BUCKETS] += n_rows
        return dict(zip(place, tallies, strict=True))


def _counts(codes: np.ndarray) -> Iterator[tuple[int, int]]:
    """Each code that occurs, and how often."""
    counts = np.bincount(codes)
    found = np.flatnonzero(counts)
    return zip(found.tolist(), counts[found].tolist(), strict=True)
