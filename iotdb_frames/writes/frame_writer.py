"""Frames on their way: created, encoded while the last request is on the wire, accounted for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain, islice
from typing import Any

import numpy as np

from iotdb_frames.client.connection import Connection
from iotdb_frames.codec.names import Target
from iotdb_frames.display.progress import measure_rows
from iotdb_frames.errors import (
    ConnectionLost,
    FrameError,
    IoTDBFramesError,
    PermissionDenied,
    ServerError,
    raise_explained,
)
from iotdb_frames.interrupts import Interrupted
from iotdb_frames.options import WriteOptions
from iotdb_frames.writes.again import plan_again, requests_again
from iotdb_frames.writes.bulk import BulkRoad, is_partly_loaded, tablets_instead
from iotdb_frames.writes.dead_letter import DeadLetter, Letter
from iotdb_frames.writes.delete import delete_replaced
from iotdb_frames.writes.expired import Expired, is_out_of_ttl
from iotdb_frames.writes.plan.chunks import LoadRequest, Request, lanes
from iotdb_frames.writes.plan.layout import as_positions, row_positions
from iotdb_frames.writes.plan.plan import Refused, WritePlan
from iotdb_frames.writes.planner import plan_frame, tell
from iotdb_frames.writes.regions import wait_until_whole
from iotdb_frames.writes.report import (
    ChunkFailure,
    State,
    WriteReport,
    further_refused,
    partly_stored,
)
from iotdb_frames.writes.schema.cache import cache_of
from iotdb_frames.writes.schema.create import create
from iotdb_frames.writes.sender import Sender
from iotdb_frames.writes.sent_frame import SentFrame, Unanswered

_PARTLY_STORED = {507, 607}
_FEW_BYTES = 1 << 18
"""Fewer are encoded, and sent, sooner than a thread for it begins."""


class FrameWriter:
    """Writes frames one after the other to one target, with one report.

    Parameters
    ----------
    connection, target, options : of all frames
    n_rows : rows that will come, for the progress; 0: nobody knows
    sender, bulk : of a longer job that this writer is a part of; None: its own
    dead_letter : takes the refused rows; None: the file that the options name
    is_alone : whether there is one frame; if it is small, no thread sends it
    """

    def __init__(
        self,
        connection: Connection,
        target: Target,
        options: WriteOptions,
        *,
        n_rows: int = 0,
        sender: Sender | None = None,
        bulk: BulkRoad | None = None,
        dead_letter: Letter | None = None,
        is_alone: bool = False,
    ) -> None:
        self._is_alone = is_alone
        self.report = WriteReport(str(target))
        self._connection = connection
        self._target = target
        self._options = options
        self._lock = threading.Lock()
        self._misfit: FrameError | None = None
        self._files = None
        if dead_letter is None and options.dead_letter:
            dead_letter = self._files = DeadLetter(options.dead_letter)
        self._dead_letter = dead_letter
        self._meter = measure_rows(options.progress, n_rows, label=str(target))
        self._has_own_sender = sender is None
        self._has_deleted = False
        self._expired = Expired()
        self._has_own_bulk = bulk is None
        self._bulk = bulk or BulkRoad(connection, options)
        self._sender = sender or Sender(
            connection,
            n_lanes=options.workers,
            policy=options.retry,
            stop_on_error=options.on_error == "raise",
        )
        self._started = time.perf_counter()

    @property
    def is_stopped(self) -> bool:
        """Whether an error ended the write."""
        return self._sender.is_stopped

    def write(self, data: Any) -> None:
        """Plan and submit a frame; returns when all of it is encoded, not yet acknowledged."""
        try:
            planned = self.plan(data)
        except FrameError as exc:
            if before := self.report.rows_in:
                exc.message = f"in the batch that begins at row {before:,}: {exc.message}"
            raise
        self.send(planned, data)

    def plan(self, data: Any) -> WritePlan:
        """The plan of a frame, checked; nothing of it is sent.

        Raises
        ------
        FrameError, TimeIndexError, ColumnTypeError
        """
        planned = plan_frame(self._connection, data, self._target, self._options)
        planned.check()
        return replace(planned, starts_small=not self._sender.is_warm)

    def send(
        self, planned: WritePlan, data: Any, *, on_end: Callable[[bool], None] | None = None
    ) -> np.ndarray:
        """Submit a planned frame; returns when all of it is encoded, not yet acknowledged.

        Parameters
        ----------
        on_end : called once, from any thread, when the last answer is there; with False where
            something was never sent

        Returns
        -------
        bool array, shape (n_rows,) : which rows were refused, complete with the last answer
        """
        report = self.report
        frame = SentFrame(data, planned, report.rows_in)
        frame.pending = Unanswered(lambda is_sent: self._end(frame, on_end, is_sent=is_sent))
        tell(planned)
        report.rows_in += planned.layout.n_rows
        report.duplicates += planned.order.n_duplicates
        for name, n_values in planned.lossy.items():
            report.lossy[name] = report.lossy.get(name, 0) + n_values
        self._note(planned.notes)
        self._refuse_problems(frame, planned)
        if len(planned.order) == 0:
            self._note(["there was nothing to write: no rows, or none that could be sent"])
            frame.pending.end(is_sent=True)
            return frame.is_refused
        requests = self._begin(planned)
        if self._options.workers > 1:
            self._sender.drain()  # a device may change its lane from frame to frame
        self._submit(frame, requests)
        return frame.is_refused

    def refuse(self, data: Any, error: FrameError) -> np.ndarray:
        """File all rows of a frame that cannot be planned, under ``on_error="collect"``.

        Returns
        -------
        bool array, shape (n_rows,) : all True
        """
        rows = np.arange(len(data))
        first_row, self.report.rows_in = self.report.rows_in, self.report.rows_in + len(rows)
        self.report.rows_refused += len(rows)
        if self._dead_letter is not None:
            self._dead_letter.add(data, rows, first_row=first_row, reason=error.reason, code=None)
        return np.ones(len(rows), bool)

    def _note(self, notes: Iterable[str]) -> None:
        """Each note once, of however many frames."""
        self.report.notes += [note for note in notes if note not in self.report.notes]

    def _end(
        self, frame: SentFrame, on_end: Callable[[bool], None] | None, *, is_sent: bool
    ) -> None:
        if not is_sent:
            cache_of(self._connection).forget(frame.planned)  # what was to be made is not there
        else:
            self._meter.add(rows=frame.take(frame.planned.layout.n_rows))
        if on_end is not None:
            on_end(is_sent)

    def _refuse_problems(
        self, frame: SentFrame, planned: WritePlan, rows: np.ndarray | None = None
    ) -> None:
        """Note what does not fit of a plan of some rows (positions in the frame; None: all)."""
        for problem in planned.problems:
            assert isinstance(problem, Refused)
            with self._lock:
                own = problem.rows if rows is None else rows[problem.rows]
                self._refuse(frame, own, problem.error.reason)

    def _refuse(
        self, frame: SentFrame, rows: np.ndarray, reason: str, code: int | None = None
    ) -> None:
        """Note refused rows, each once, whatever else is wrong with it."""
        new = rows[~frame.is_refused[rows]]
        frame.is_refused[new] = True
        if self._dead_letter is not None and len(new):
            self.report.rows_refused += len(new)
            self._dead_letter.add(
                frame.data, new, first_row=frame.first_row, reason=reason, code=code
            )

    def _begin(self, planned: WritePlan) -> list[Iterator[Request]]:
        """Create what is missing, and meanwhile encode the first request of each lane."""
        notes: list[str] = []
        is_bulk = self._bulk.takes(planned, notes)
        self._note(notes)
        requests = lanes(planned, leaders_of=self._connection.leaders_of)
        if is_bulk:
            requests = [self._bulk.requests(planned, is_whole=all_whole(planned))]
        if is_bulk or planned.n_bytes <= _FEW_BYTES:
            self._create(planned)
        elif planned.missing():
            with ThreadPoolExecutor(1) as pool:
                encoding = pool.submit(lambda: [list(islice(lane, 1)) for lane in requests])
                self._create(planned)
                firsts = encoding.result()
            requests = [chain(first, lane) for first, lane in zip(firsts, requests, strict=True)]
        if self._options.replace:
            devices = planned.devices or [part.device or "" for part in planned.parts]
            note = wait_until_whole(
                self._connection, planned.target, devices=devices, policy=self._options.retry
            )
            self._note([note] if note else [])
            delete_replaced(self._connection, planned, on_delete=self._on_delete)
        return requests

    def _create(self, planned: WritePlan) -> None:
        missing = planned.missing()
        notes = create(self._connection, planned, missing)
        self._note(notes)
        if missing and not notes:  # they say that nothing was made
            cache_of(self._connection).remember(planned, missing)

    def _on_delete(self) -> None:
        self._has_deleted = True

    def _submit(self, frame: SentFrame, requests_of: Sequence[Iterator[Request]]) -> None:
        planned, pending = frame.planned, frame.pending
        is_now = self._is_alone and len(requests_of) == 1 and planned.n_bytes <= _FEW_BYTES
        todo = list(enumerate(requests_of))
        while todo and not self._sender.is_stopped:
            still = []
            for lane, requests in todo:
                request = next(requests, None)
                if request is not None and self._submit_one(lane, request, frame, is_now=is_now):
                    still.append((lane, requests))
            todo = still
        if not all_whole(planned):
            self._sender.drain()
            if not self._sender.is_stopped:
                rows = planned.order.frame_rows(0, len(planned.order))
                self._count_rows(planned, row_positions(~frame.is_refused[rows], rows))
        pending.end(is_sent=not todo)

    def _submit_one(self, lane: int, request: Request, frame: SentFrame, *, is_now: bool) -> bool:
        is_answered = False
        pending = frame.pending

        def on_done(request: Request, retries: int, error: ServerError | None) -> None:
            nonlocal is_answered
            is_answered = True
            with self._lock:
                self.report.retries += retries
                if error is None:
                    self.report.chunks += 1
                    self.report.points += request.n_points
                    self.report.bytes_sent += request.n_bytes
                    if request.is_whole:
                        self._count_rows(frame.planned, request.rows)
                else:
                    self._fail(request, error, frame)
            self._meter.add(rows=frame.take(request.n_rows / frame.n_shares))

        def on_end() -> None:
            request.release()
            pending.end(is_sent=is_answered)

        def on_refused(request: Request, error: ServerError) -> Sequence[Request]:
            if not is_out_of_ttl(error):
                return self._again(frame, request, error)
            return () if self._options.on_error == "raise" else self._expired.pieces(request)

        pending.begin()
        is_queued = self._sender.submit(
            lane,
            self._target,
            request,
            on_done,
            on_refused=on_refused,
            on_end=on_end,
            is_now=is_now,
        )
        if not is_queued:
            request.release()
            pending.end(is_sent=False)
        return is_queued

    def _again(self, frame: SentFrame, request: Request, error: ServerError) -> Sequence[Request]:
        """A refused request once more, where the server has its series otherwise than was seen."""
        if isinstance(request, LoadRequest):
            instead = tablets_instead(frame.planned, request)
            if instead:
                self._note([f"sent as tablets: a LOAD was refused: {error.message}"])
            return instead
        if request.is_again or isinstance(error, PermissionDenied):
            return ()
        try:
            planned = plan_again(self._connection, frame.planned, request)
            if planned is None:
                return ()
            planned.check()
        except FrameError as exc:
            frame.misfits[id(request)] = exc
            return ()
        self._create(planned)
        self._refuse_problems(frame, planned, as_positions(request.rows))
        return requests_again(planned, request)

    def _count_rows(self, planned: WritePlan, rows: slice | np.ndarray) -> None:
        """Count acknowledged rows (positions in the frame)."""
        n_rows = rows.stop - rows.start if isinstance(rows, slice) else len(rows)
        self.report.rows_written += n_rows
        self.report.rows_empty += planned.n_empty(rows)

    def _fail(self, request: Request, error: ServerError, frame: SentFrame) -> None:
        codes = {error.code, *error.sub_codes}
        state: State = "refused"
        message = error.message
        cache_of(self._connection).forget(frame.planned)
        if misfit := frame.misfits.pop(id(request), None):
            self._misfit = self._misfit or misfit
            state, message = "partly stored", misfit.message
        elif isinstance(error, ConnectionLost):
            state = "in doubt" if error.was_sent else "refused"
        elif is_out_of_ttl(error) and self._options.on_error == "collect":
            state = "refused"  # the others of these rows went out again, without them
        elif (
            codes & _PARTLY_STORED
            or is_partly_loaded(request, error)
            or (len(request.tablets) > 1 and error.sub_codes)
        ):
            state = "partly stored"
        self.report.add_failure(
            ChunkFailure(
                targets=request.targets,
                start=request.start,
                end=request.end,
                rows=request.n_rows,
                columns=request.columns,
                state=state,
                code=error.code,
                message=message,
            )
        )
        self._refuse(frame, as_positions(request.rows), message, error.code)

    def close(self, error: BaseException | None = None) -> None:
        """Wait for the last answers and finish the report.

        What was submitted is sent, also where something later went wrong; an interrupt leaves out
        what is not on the wire yet.

        Raises
        ------
        PartialWriteError : some rows are stored and others are not, or in doubt.
        ServerError : nothing is stored.
        """
        is_interrupt = error is not None and not isinstance(error, Exception)
        if self._has_own_sender and is_interrupt:
            self._sender.give_up()
        elif self._has_own_sender:
            try:
                self._sender.close()
            except (KeyboardInterrupt, Interrupted) as exc:
                self.close(exc)
                raise
        elif is_interrupt:
            self._sender.stop()
        self._meter.close(
            is_complete=error is None and self._sender.error is None,
            is_whole=self.report.is_complete,
        )
        if self._has_own_bulk:
            self._sender.drain()  # of a longer job: what it loads is still in the directory
            self._bulk.close()
        unkept = self._finish_files()
        failed = self._sender.error or unkept
        self.report.seconds = time.perf_counter() - self._started
        if self._has_deleted and (error or failed or not self.report.is_complete):
            self._note(["replace=True had deleted what stood in the rows' time range"])
        if error is None and failed is not None:
            raise_explained(self._explain(failed), failed)
        if isinstance(error, IoTDBFramesError | Interrupted):
            error.report = self.report
        elif error is not None:
            error.add_note(f"what was written before:\n{self.report!r}")

    def _finish_files(self) -> IoTDBFramesError | None:
        """Name the files of refused rows in the report; what is wrong, where one is not whole."""
        if self._files is None:
            return None
        failure = None
        try:
            self._files.close()
        except IoTDBFramesError as exc:
            failure = exc
            self._note([exc.message])
        paths = [str(path) for path in self._files.paths]
        if paths:
            self.report.dead_letter = paths[0]
            self._note(map(further_refused, paths[1:]))
        return failure

    def _explain(self, error: BaseException) -> BaseException:
        if isinstance(error, IoTDBFramesError) and self.report.is_partly_stored:
            then, hint = error.message, None
            if self._misfit is not None:
                then = (
                    f"{self._misfit.message}, since the schema changed on the server; "
                    f"other columns of these rows may be stored ({error.message})"
                )
                hint = self._misfit.hint
            return partly_stored(self.report, then, hint=hint)
        if isinstance(error, IoTDBFramesError):
            error.report = self.report
        else:
            error.add_note(f"what was written:\n{self.report!r}")
        return error


def all_whole(planned: WritePlan) -> bool:
    """Whether every request holds all columns of its rows."""
    limit = planned.options.chunk_bytes
    return len(planned.parts) == 1 and (limit is None or planned.row_bytes <= limit)
