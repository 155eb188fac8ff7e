"""A share of a lane's entries on its way: made into columns, planned and encoded step by step."""

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
from iotdb_frames.errors import FrameError, IoTDBFramesError, ServerError
from iotdb_frames.sink.groups import Group, gather
from iotdb_frames.sink.known import Known
from iotdb_frames.sink.rows import Block, Device, Row, rows_to_blocks
from iotdb_frames.sink.stats import N_BUCKETS, Tally, latency_bucket
from iotdb_frames.sink.tickets import Entry
from iotdb_frames.writes.expired import Expired, is_out_of_ttl
from iotdb_frames.writes.plan.chunks import Request, lanes
from iotdb_frames.writes.plan.plan import Refused

_log = logging.getLogger(__name__)


Again = Callable[[Callable[[], Any]], Any]
"""Gives what a call gives; calls again while the server cannot answer it."""


class Batch:
    """Entries of one lane, on their way.

    is_lost : a request of it was never answered for, and will not be
    is_unkept : refused rows of it are nowhere else
    lossy : how many values of a column lost precision, by its name
    """

    def __init__(self, entries: list[Entry], known: Known) -> None:
        self.entries = entries
        self.is_lost = False
        self.is_unkept = False
        self.lossy: Counter[str] = Counter()
        self._known = known
        self._lock = Lock()
        self._n_parts = 1  # requests that are not answered for, and one while there may be more
        self._groups: list[Group] = []
        self._expired = Expired()
        self._unfit: list[tuple[np.ndarray, IoTDBFramesError]] = []

    def part_begins(self) -> None:
        """A request goes to the sender."""
        with self._lock:
            self._n_parts += 1

    def part_ends(self) -> bool:
        """A request is answered for, or there is no further one; whether that was the last."""
        with self._lock:
            self._n_parts -= 1
            return not self._n_parts

    def requests(self, again: Again) -> Iterator[tuple[Group, Request]]:
        """Its requests, in order, and the group of their rows.

        Raises
        ------
        ServerError : one that may succeed later, where `again` gave up.
        """
        self._groups = self._gather(again)
        for group in self._groups:
            try:
                for request in again(partial(self._plan, group)):
                    yield group, request
            except Exception as exc:
                if isinstance(exc, ServerError) and exc.is_retryable:
                    raise
                self._refuse_all(group, exc)

    def _gather(self, again: Again) -> list[Group]:
        blocks = list(self._to_blocks())
        return gather(blocks, again(lambda: self._known.key_of([block for block, _ in blocks])))

    def _to_blocks(self) -> Iterator[tuple[Block, np.ndarray]]:
        """Single rows become a block per device, which ends where a whole block of it comes."""
        waiting: dict[Device, list[int]] = {}
        for i, entry in enumerate(self.entries):
            if isinstance(entry.rows, Block):
                for device in entry.rows.devices:
                    if device in waiting:
                        yield from self._rows_to_blocks(device, waiting.pop(device))
                yield entry.rows, np.full(len(entry.rows), i, np.int32)
            else:
                waiting.setdefault(entry.device, []).append(i)
        for device, owners in waiting.items():
            yield from self._rows_to_blocks(device, owners)

    def _rows_to_blocks(
        self, device: Device, owners: Sequence[int]
    ) -> Iterator[tuple[Block, np.ndarray]]:
        rows = [row for i in owners if isinstance(row := self.entries[i].rows, Row)]
        of_row = np.array(owners, np.int32)
        for block, at in rows_to_blocks(device, rows):
            if isinstance(block, Block):
                yield block, of_row[at]
            else:
                self._unfit.append((of_row[at], block))

    def _refuse_all(self, group: Group, exc: Exception) -> None:
        if not isinstance(exc, IoTDBFramesError):
            _log.exception("rows could not be prepared")
            exc = IoTDBFramesError(f"{type(exc).__name__}: {exc}")
        group.refuse(slice(None), exc)

    def _plan(self, group: Group) -> Iterator[Request]:
        """The requests of a group; what can't be sent is refused, and keeps back nothing else."""
        try:
            plan = self._known.plan(group)
        except FrameError as exc:
            return self._plan_rest(group, exc)
        for problem in plan.problems:
            if not isinstance(problem, Refused):
                return self._plan_rest(group, problem)
        for problem in plan.problems:
            assert isinstance(problem, Refused)
            group.refuse(problem.rows, problem.error)
        self.lossy.update(plan.lossy)
        if plan.is_empty is not None:
            group.note_empty(np.flatnonzero(plan.is_empty))
        return chain.from_iterable(lanes(plan))

    def _plan_rest(self, group: Group, problem: FrameError) -> Iterator[Request]:
        """Refuse the rows that have a value in a column at fault, and plan the others."""
        source = group.columns.get(problem.column)
        if source is None:
            group.refuse(slice(None), problem)
            return iter(())
        is_at_fault = ~is_missing(source.take(slice(0, len(source))))
        group.refuse(np.flatnonzero(is_at_fault), problem)
        rest = np.flatnonzero(~is_at_fault)
        return self._plan_part(group, rest, without=problem.column) if len(rest) else iter(())

    def _plan_part(
        self, group: Group, rows: np.ndarray, *, without: Hashable = None
    ) -> Iterator[Request]:
        requests = self._plan(group.part(rows, without=without))
        return (replace(r, rows=rows[r.rows], halve=None) for r in requests)

    def in_place_of(self, group: Group, request: Request, error: ServerError) -> Sequence[Request]:
        """What to send in place of a refused request: its devices apart, or a new plan of it.

        Rows out of their time to live are told from the others by halves. A device is planned anew
        where the server has it otherwise than it was known.

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
            made = self._plan_part(group, np.arange(len(group))[request.rows])
            return [replace(r, is_again=True) for r in made]
        except FrameError:
            return ()

    def settle(self) -> None:
        """Note in the entries why rows of theirs were refused."""
        for owners, error in self._unfit:
            for i in owners.tolist():
                self.entries[i].error = error
        for group in self._groups:
            for rows, error in group.refused:
                for i in np.unique(group.owners[rows]).tolist():
                    self.entries[i].error = self.entries[i].error or error

    def refused(self) -> Iterator[tuple[pa.Table, IoTDBFramesError]]:
        """Rows that were refused, each once, and why."""
        for owners, error in self._unfit:
            yield self._unfit_table(owners), error
        for group in self._groups:
            is_told = np.zeros(len(group), bool)
            for rows, error in group.refused:
                new = rows[~is_told[rows]]
                is_told[new] = True
                if len(new):
                    yield group.table(new, self._known.devices), error

    def _unfit_table(self, owners: np.ndarray) -> pa.Table:
        """Rows that are not columns, as texts."""
        entries = [self.entries[i] for i in owners.tolist()]
        rows = [entry.rows for entry in entries if isinstance(entry.rows, Row)]
        named = self._known.devices.columns([e.device for e in entries], np.arange(len(entries)))
        return pa.table(
            {
                **{label: column.dictionary_decode() for label, column in named.items()},
                "timestamp": [str(row.time) for row in rows],
                "values": [repr(dict(row.values)) for row in rows],
            }
        )

    def tallies(self, now: float) -> Mapping[Device, Tally]:
        """What became of its rows, by device."""
        waited = now - np.array([entry.at for entry in self.entries])
        bucket_of = latency_bucket(waited)
        out: dict[Device, Tally] = {}
        for owners, _ in self._unfit:
            for i in owners.tolist():
                out.setdefault(self.entries[i].device, Tally()).rejected += 1
        for group in self._groups:
            codes, owners = group.codes, group.owners
            is_refused = group.is_refused()
            if group.empty:
                is_empty = np.zeros(len(group), bool)
                is_empty[np.concatenate(group.empty)] = True
                n_empty = np.bincount(codes[is_empty & ~is_refused])
                for code in np.flatnonzero(n_empty).tolist():
                    out.setdefault(group.devices[code], Tally()).empty += int(n_empty[code])
            if group.refused:
                for code, n_rows in enumerate(np.bincount(codes[is_refused]).tolist()):
                    if n_rows:
                        out.setdefault(group.devices[code], Tally()).rejected += n_rows
                codes, owners = codes[~is_refused], owners[~is_refused]
            counts = np.bincount(codes.astype(np.int64) * N_BUCKETS + bucket_of[owners])
            for pair in np.flatnonzero(counts).tolist():
                tally = out.setdefault(group.devices[pair // N_BUCKETS], Tally())
                n_rows = int(counts[pair])
                tally.acknowledged += n_rows
                tally.latencies[pair % N_BUCKETS] += n_rows
        return out
