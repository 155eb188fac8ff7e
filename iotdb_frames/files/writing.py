"""One file into IoTDB, at once: the shell's `write` (`backfill` takes many, and resumes).

A small file is checked whole before the first byte is sent; a large one goes piece after piece.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path

from iotdb_frames.client.connection import Connection
from iotdb_frames.codec.names import Target
from iotdb_frames.display.words import plural
from iotdb_frames.errors import FrameError, IoTDBFramesError
from iotdb_frames.files.csv.explain import explain
from iotdb_frames.files.options import FileOptions, write_options_for
from iotdb_frames.files.pieces import JoinedPiece, Piece
from iotdb_frames.files.readers import open_reader
from iotdb_frames.files.refusals import FileLetter, check_whole, locate
from iotdb_frames.files.sources import SourceFile
from iotdb_frames.files.survey import survey
from iotdb_frames.options import WriteOptions
from iotdb_frames.writes.frame_writer import FrameWriter
from iotdb_frames.writes.plan.plan import Refused, WritePlan
from iotdb_frames.writes.planner import plan_frame
from iotdb_frames.writes.report import WriteReport
from iotdb_frames.writes.schema.create import ddl

STREAM_FROM_BYTES = 64 << 20
"""A file this large is written piece after piece, where the options allow."""
PIECE_BYTES = 8 << 20


def write_file(
    file: SourceFile,
    target: Target,
    connection: Connection,
    *,
    options: FileOptions,
    write: WriteOptions,
) -> WriteReport:
    """Write a file.

    Parameters
    ----------
    options, write : how it is read, and how its frames are written

    Raises
    ------
    FrameError : a line does not fit; what came before the piece that it is in was sent. With
        ``on_error="collect"`` such lines are left to the dead letter.
    ServerError, PartialWriteError : as of `iotf.write`.
    """
    job = _FileWrite(file, target, connection, options, write)
    first = next(job.pieces)
    chosen = job.write_options(first)
    letter = None if write.dead_letter is None else FileLetter(file.name)
    n_rows = len(first.data) if job.is_whole else 0
    writer = FrameWriter(connection, target, chosen, n_rows=n_rows, dead_letter=letter)
    writer.report.notes += job.notes
    try:
        for piece in chain([first], job.pieces):
            _send(writer, piece, file.name, letter)
            if writer.is_stopped:
                break
    except BaseException as exc:
        writer.close(exc)
        raise
    else:
        writer.close()
    finally:
        if letter is not None and write.dead_letter is not None:
            _keep(letter, Path(write.dead_letter).expanduser(), writer.report)
    return writer.report


def plan_file(
    file: SourceFile,
    target: Target,
    connection: Connection,
    *,
    options: FileOptions,
    write: WriteOptions,
) -> WritePlan:
    """What `write_file` would do, of a large file with its first piece; nothing is sent.

    Raises
    ------
    FrameError : as `write_file`.
    """
    job = _FileWrite(file, target, connection, options, write)
    piece = next(job.pieces)
    notes = job.notes + [f"{file.name}: {note}" for note in piece.notes]
    if write.on_error == "raise":
        check_whole(piece, file.name)
    elif piece.refusals:
        notes.append(
            f"{plural(piece.n_refused, 'line')} cannot be read: {piece.refusals[0].reason}"
        )
    planned = plan_frame(connection, piece.data, target, job.write_options(piece), is_fresh=True)
    for problem in planned.problems:
        locate(problem.error if isinstance(problem, Refused) else problem, piece, file.name)
    explained = None
    if job.dialect is not None and file.format == "csv":
        explained = explain(file, options, job.dialect)
    return replace(
        planned,
        ddl=tuple(ddl(planned)),
        notes=(*planned.notes, *notes),
        read_facts=() if explained is None else explained.facts,
        read_grids=() if explained is None else (explained.values,),
    )


class _FileWrite:
    """A file that is opened to be written.

    is_whole : whether it is one piece, which is checked before anything is sent
    pieces : its frames, one at least
    dialect : how it is written, if it is a CSV file
    notes : what was found out about it and changes values
    """

    def __init__(
        self,
        file: SourceFile,
        target: Target,
        connection: Connection,
        options: FileOptions,
        write: WriteOptions,
    ) -> None:
        self._write = write
        needs_all = write.replace or write.duplicates != "merge"
        self.is_whole = needs_all or file.size < STREAM_FROM_BYTES
        piece_bytes = STREAM_FROM_BYTES if self.is_whole else PIECE_BYTES
        options = replace(options, unit_bytes=piece_bytes)
        found = survey([file], options, write, connection, target)
        (one,) = found.files
        if one.error is not None:
            raise one.error
        found.check_labels(options, write)
        self._reader = open_reader(file, options, one.dialect)
        self.dialect = one.dialect
        self.notes = [] if one.dialect is None else one.dialect.surprises()
        self.pieces = self._pieces()

    def _pieces(self) -> Iterator[Piece]:
        pieces = self._reader.pieces([(0, None, 0)])
        first = next(pieces, None)
        if first is None:
            yield Piece(0, 0, self._reader.sample())
        elif self.is_whole and (others := list(pieces)):
            yield JoinedPiece([first, *others])
        else:
            yield first
            yield from pieces

    def write_options(self, piece: Piece) -> WriteOptions:
        """How the frames are written; they all have the same columns."""
        chosen = write_options_for(self._write, piece.data.schema.names, self._reader.time)
        return replace(chosen, progress=self._write.progress)


def _send(writer: FrameWriter, piece: Piece, name: str, letter: FileLetter | None) -> None:
    report = writer.report
    report.notes += [n for note in piece.notes if (n := f"{name}: {note}") not in report.notes]
    if letter is None:
        check_whole(piece, name)
    report.rows_in += piece.n_refused
    report.rows_refused += piece.n_refused
    first_row = report.rows_in
    on_end: Callable[[bool], None] | None = None
    if letter is not None:
        letter.begin(piece, first_row)

        def on_end(_: bool) -> None:
            letter.end(first_row)

    try:
        writer.send(writer.plan(piece.data), piece.data, on_end=on_end)
    except FrameError as exc:
        locate(exc, piece, name)
        raise


def _keep(letter: FileLetter, path: Path, report: WriteReport) -> None:
    """Write the dead letter, and name it in the report."""
    try:
        kept = letter.write(path)
    except IoTDBFramesError as exc:
        exc.report = report
        raise
    if kept is not None:
        report.dead_letter = str(kept)
