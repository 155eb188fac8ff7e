"""One run of a job: read, plan and send units, and record the answers in the manifest.

A thread reads the next unit while this one is planned and encoded, and the sender's lanes have the
previous one on the wire.
"""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from iotdb_frames.backfills.manifest import FileRow, Manifest, pack
from iotdb_frames.backfills.options import BackfillOptions
from iotdb_frames.backfills.proof.expect import Expected, expect
from iotdb_frames.client.connection import Connection
from iotdb_frames.client.retry import call_with_retry
from iotdb_frames.codec.names import Target
from iotdb_frames.display.progress import Meter
from iotdb_frames.errors import (
    Choice,
    FrameError,
    Hint,
    IoTDBFramesError,
    PartialWriteError,
    ServerError,
    raise_explained,
)
from iotdb_frames.files.options import write_options_for
from iotdb_frames.files.pieces import Piece, Range
from iotdb_frames.files.readers import Reader
from iotdb_frames.files.refusals import check_whole, letter_of, locate
from iotdb_frames.files.sources import SourceFile
from iotdb_frames.options import SchemaOption, WriteOptions
from iotdb_frames.writes.bulk import BulkRoad
from iotdb_frames.writes.dead_letter import UnitLetter
from iotdb_frames.writes.frame_writer import FrameWriter
from iotdb_frames.writes.plan.plan import WritePlan
from iotdb_frames.writes.sender import Sender

OpenReader = Callable[[FileRow], tuple[SourceFile | None, Reader]]
CountBefore = Callable[[WritePlan, Expected], int]


@dataclass
class Read:
    """From the reading thread: a piece of a file, the end of the file, or an error in it."""

    file: FileRow
    reader: Reader | None = None
    piece: Piece | None = None
    error: Exception | None = None


@dataclass
class Sent:
    """What one run sent, as acknowledged: see BackfillReport."""

    rows: int = 0
    points: int = 0
    bytes_sent: int = 0
    retries: int = 0


class Run:
    """One run over the units that are not done.

    Parameters
    ----------
    open_reader : returns the source and reader of a file of the manifest
    schema : types that several files have to agree on, by label
    count_before : counts the points that exist before a unit is first sent; None: not needed
    meter : counts each acknowledged unit
    on_note : called with each note for the user
    """

    def __init__(
        self,
        manifest: Manifest,
        connection: Connection,
        target: Target,
        options: BackfillOptions,
        *,
        open_reader: OpenReader,
        schema: Mapping[str, SchemaOption],
        count_before: CountBefore | None = None,
        meter: Meter,
        on_note: Callable[[str], None],
    ) -> None:
        self._manifest = manifest
        self._connection = connection
        self._target = target
        self._options = options
        self._open_reader = open_reader
        self._schema = schema
        self._count_before = count_before
        self._meter = meter
        self._on_note = on_note
        self._raises = options.write.on_error == "raise"
        self._bulk = BulkRoad(connection, options.write)
        self._lock = threading.Lock()
        self._fatal: BaseException | None = None
        self.sent = Sent()

    def go(self) -> None:
        """Send all units that are not done.

        Raises
        ------
        FrameError, ServerError, PartialWriteError : what stopped it; with ``on_error="collect"``,
            only errors other than in the data.
        """
        while self._go_once():
            pass  # a unit sent again made later units pending that were already passed

    def _go_once(self) -> bool:
        write = self._options.write
        n_reopened = 0
        with (
            closing(self._bulk),
            Sender(
                self._connection,
                n_lanes=write.workers,
                policy=write.retry,
                stop_on_error=True if self._raises else "lost",
            ) as sender,
        ):
            with read_ahead(self._reads()) as reads:
                for read in reads:
                    if sender.is_stopped or self._fatal is not None:
                        break
                    n_reopened += self._handle(sender, read)
            sender.drain()
        if self._fatal is not None:
            raise self._fatal
        if sender.error is not None:
            raise_explained(self._stopped_by(sender.error), sender.error)
        return n_reopened > 0

    # --- reading, in a thread of its own -------------------------------------------------------

    def _reads(self) -> Iterator[Read]:
        for file in self._manifest.files():
            units = self._manifest.units(file=file.id)
            open_units = [u for u in units if u.state in ("pending", "sending")]
            todo: list[Range] = [(u.start, u.stop, u.line) for u in open_units]
            if file.error is not None or (file.is_read and not todo):
                continue
            if not file.is_read:
                last = max(units, key=lambda u: u.start, default=None)
                todo.append((0, None, 0) if last is None else (last.stop, None, last.end_line))
            try:
                source, reader = self._open_reader(file)
                for piece in reader.pieces(todo):
                    yield Read(file, reader, piece)
                if source is not None and is_changed(file, source.look_again()):
                    raise FrameError(
                        f"{file.name} was changed while it was read",
                        hint=Hint(
                            "resume when it no longer changes, with ", Choice(changed="again")
                        ),
                    )
                yield Read(file, reader)
            except FrameError as exc:
                yield Read(file, error=exc)

    # --- planning and sending -------------------------------------------------------------------

    def _handle(self, sender: Sender, read: Read) -> int:
        """Send a piece; return how many later units have to be sent again after it."""
        try:
            if read.error is not None:
                raise read.error
            if read.piece is not None and read.reader is not None:
                # Looking up and creating the schema is retried as long as sending is.
                piece, send = read.piece, partial(self._send, sender, read.file, read.reader)
                return call_with_retry(lambda: send(piece), policy=self._options.write.retry)
            self._manifest.set_file(read.file.id, is_read=1)
            self._meter.add(files=1)
        except FrameError as exc:
            if self._raises:
                raise
            if read.piece is None:
                self._manifest.set_file(read.file.id, error=exc.message)
            else:
                unit = self._begin(read.file, read.piece, None, 0)
                self._manifest.set_unit(
                    unit, state="failed", error=exc.message, rows=_rows_of(read.piece)
                )
        return 0

    def _send(self, sender: Sender, file: FileRow, reader: Reader, piece: Piece) -> int:
        for note in piece.notes:
            self._on_note(f"{file.name}: {note}")
        if self._raises:
            check_whole(piece, file.name)
        letter = letter_of(piece, file.name)
        writer = FrameWriter(
            self._connection,
            self._target,
            self._options_for(reader, piece),
            sender=sender,
            bulk=self._bulk,
            dead_letter=letter,
        )
        if len(piece.data) == 0:
            unit = self._begin(file, piece, None, 0)
            self._ended(unit, piece, writer, letter, is_all_sent=True)
            return 0
        try:
            return self._plan_and_send(file, piece, writer, letter)
        except FrameError as exc:
            locate(exc, piece, file.name)
            raise

    def _plan_and_send(
        self, file: FileRow, piece: Piece, writer: FrameWriter, letter: UnitLetter
    ) -> int:
        planned = writer.plan(piece.data)
        expected = expect(planned)
        before = 0
        if self._count_before is not None and expected is not None:
            before = self._count_before(planned, expected)
        unit = self._begin(file, piece, expected, before)
        n_reopened = 0
        if expected is not None:
            n_reopened = self._manifest.reopen(unit, expected.first, expected.last)
        ended = partial(self._ended, unit, piece, writer, letter)
        writer.send(planned, piece.data, on_end=lambda is_sent: ended(is_all_sent=is_sent))
        for note in writer.report.notes:
            self._on_note(note)
        return n_reopened

    def _options_for(self, reader: Reader, piece: Piece) -> WriteOptions:
        if not hasattr(piece.data, "schema"):
            return replace(self._options.write, progress=False)
        labels = piece.data.schema.names
        options = write_options_for(self._options.write, labels, reader.time)
        agreed: dict[Hashable, SchemaOption] = {
            k: v for k, v in self._schema.items() if k in set(labels)
        }
        agreed.update(options.series)
        return replace(options, schema=agreed)

    def _begin(self, file: FileRow, piece: Piece, expected: Expected | None, before: int) -> int:
        values: dict[str, Any] = {"expected": None, "first_tick": None, "last_tick": None}
        if expected is not None:
            values = {
                "expected": pack(expected.to_plain()),
                "first_tick": expected.first,
                "last_tick": expected.last,
            }
        return self._manifest.begin(
            file.id,
            piece.start,
            piece.stop,
            line=piece.line,
            end_line=piece.end_line,
            n_bytes=piece.n_bytes,
            digest=piece.digest,
            before=before,
            **values,
        )

    def _ended(
        self,
        unit: int,
        piece: Piece,
        writer: FrameWriter,
        letter: UnitLetter,
        *,
        is_all_sent: bool,
    ) -> None:
        """Called with the last answer for a unit, in a lane's thread, so it must not raise."""
        report = writer.report
        try:
            is_lost = any(f.state == "in doubt" for f in report.failures)
            if not is_all_sent or is_lost or (self._raises and report.n_failures):
                first = report.failures[0].message if report.failures else "was not sent"
                self._manifest.set_unit(unit, state="pending", error=first)
                return
            refusal = report.failures[0].message if report.failures else None
            self._manifest.finish(
                unit,
                error=refusal,
                letters=letter.packed(),
                rows=_rows_of(piece),
                written=report.rows_written,
                refused=letter.n_rows,
                points=report.points,
                empty=report.rows_empty,
                lossy=json.dumps(report.lossy) if report.lossy else None,
            )
            with self._lock:
                self.sent.rows += report.rows_written
                self.sent.points += report.points
                self.sent.bytes_sent += report.bytes_sent
                self.sent.retries += report.retries
            self._meter.add(n_bytes=piece.n_bytes, rows=report.rows_written)
        except BaseException as exc:
            self._fatal = self._fatal or exc

    def _stopped_by(self, error: BaseException) -> BaseException:
        if not isinstance(error, IoTDBFramesError) or not self.sent.rows:
            return error
        hint = "call it again with the same manifest: it continues where it stopped"
        if isinstance(error, ServerError) and error.is_retryable:
            return type(error)(f"the backfill stopped: {error.message}", hint=hint)
        return PartialWriteError(f"the backfill stopped: {error.message}", hint=hint)


def is_changed(known: FileRow, found: SourceFile) -> bool:
    """Whether a file has changed, by its size and modification time."""
    return (known.size, known.modified_ns) != (found.size, found.modified_ns)


def _rows_of(piece: Piece) -> int:
    return len(piece.data) + piece.n_refused


@contextmanager
def read_ahead(source: Iterator[Read]) -> Iterator[Iterator[Read]]:
    """Run an iterator in a thread, one element ahead.

    An element is started when the previous one is taken, so that at most two are in memory.
    """
    elements: queue.SimpleQueue[Read | BaseException | None] = queue.SimpleQueue()
    room = threading.Semaphore()
    is_over = threading.Event()

    def read() -> None:
        last: BaseException | None = None
        try:
            while room.acquire() and not is_over.is_set():
                if (element := next(source, None)) is None:
                    break
                elements.put(element)
                del element
        except BaseException as exc:
            last = exc
        elements.put(last)

    def give() -> Iterator[Read]:
        while (element := elements.get()) is not None:
            if isinstance(element, BaseException):
                raise element
            room.release()
            yield element
            del element

    thread = threading.Thread(target=read, daemon=True, name="iotdb-frames-read")
    thread.start()
    try:
        yield give()
    finally:
        is_over.set()
        room.release()
        thread.join()
