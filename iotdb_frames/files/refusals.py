"""Rows of a file that do not fit: told by file and line, and kept for the dead letter."""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from iotdb_frames.display.words import shorten
from iotdb_frames.errors import Choice, ColumnTypeError, FrameError, Hint, TimeIndexError
from iotdb_frames.files.pieces import Piece
from iotdb_frames.writes.dead_letter import UnitLetter, write_units
from iotdb_frames.writes.plan.conflicts import OR_LAST

_LEAVE_OUT = Hint(Choice(on_error="collect", dead_letter="file.parquet"), " leaves such rows out")
_NO_TIMES = Hint(
    Choice(time=...), " names their column, ", Choice(time_unit=...), " says what numbers count"
)

_OTHER_COLUMNS = Hint(
    "convert it in the file; a backfill takes the others alone: ", Choice(columns=...)
)


def check_whole(piece: Piece, name: str) -> None:
    """Refuse a piece of which not every row could be read.

    Parameters
    ----------
    name : of its file

    Raises
    ------
    FrameError : with the first such line.
    """
    if piece.refusals:
        first = min(piece.refusals, key=lambda r: int(r.lines[0]))
        if first.texts is not None:
            text = first.texts[0].as_py()
        else:
            text = "" if first.own is None else first.own.slice(0, 1).to_pylist()[0]
        place = "line" if piece.line else "row"
        raise FrameError(
            f"{name}, {place} {first.lines[0]:,}: {first.reason}: {shorten(text, 80)}",
            row=int(first.lines[0]),
            hint=_LEAVE_OUT if first.hint is None else first.hint.with_more(*_LEAVE_OUT.parts),
        )


def without_pandas(error: FrameError) -> None:
    """Say in an error of a file what helps where there is no frame at hand."""
    if error.row is not None or isinstance(error.hint, Hint):
        return
    if isinstance(error, TimeIndexError):  # there are no times at all
        error.hint = _NO_TIMES
    elif isinstance(error, ColumnTypeError):
        error.hint = _OTHER_COLUMNS


def locate(error: FrameError, piece: Piece, name: str) -> None:
    """Say in an error in which file it is, and in which line where it has a row."""
    if isinstance(error.hint, Hint):
        error.hint = error.hint.without(OR_LAST)  # a piece of a file is not all rows
    first = f"lines from {piece.line:,}" if piece.line else f"rows from {piece.start + 1:,}"
    where = f"{name}, {first}"
    if error.row is not None and hasattr(piece.data, "schema"):
        line = int(piece.lines(np.array([error.row]))[0])
        where = f"{name}, {'line' if piece.line else 'row'} {line:,} of the file"
        error.row, error.hint = line, _LEAVE_OUT
    error.message = f"{where}: {error.reason}"
    without_pandas(error)


def letter_of(piece: Piece, name: str) -> UnitLetter:
    """A letter for a piece of a file, with the rows that could not be read in it."""
    letter = UnitLetter(name, lines_of=piece.lines, texts_of=piece.texts)
    for refusal in piece.refusals:
        letter.add_lines(refusal.lines, refusal.texts, refusal.own, reason=refusal.reason)
    return letter


class FileLetter:
    """The refused rows of a file that is written piece after piece (a `Letter`).

    Parameters
    ----------
    name : of the file
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = Lock()
        self._open: dict[int, UnitLetter] = {}
        self._packed: dict[int, list[bytes]] = {}
        self.n_rows = 0

    def begin(self, piece: Piece, first_row: int) -> None:
        """Take the rows of a piece, which begins at a row of what is written."""
        with self._lock:
            self._open[first_row] = letter_of(piece, self._name)
            self.n_rows += piece.n_refused

    def end(self, first_row: int) -> None:
        """The last answer of a piece is there: what was refused of it is kept, and no more."""
        with self._lock:
            packed = self._open.pop(first_row).packed()
            self._packed[first_row] = [data for _, data in packed]

    def add(
        self,
        data: Any,
        rows: np.ndarray,
        *,
        first_row: int,
        reason: str,
        code: int | None = None,
    ) -> None:
        """Keep some rows (int, shape (n,)) of a piece's frame."""
        letter = self._open[first_row]
        letter.add(data, rows, reason=reason, code=code)
        with self._lock:
            self.n_rows += len(rows)

    def write(self, path: Path) -> Path | None:
        """All of them as a new Parquet file; its path, None where no row was refused.

        Raises
        ------
        IoTDBFramesError : the file cannot be written.
        """
        for first_row in list(self._open):  # of what was never sent, or not answered
            self.end(first_row)
        packed = [data for _, some in sorted(self._packed.items()) for data in some]
        file = write_units(path, lambda: packed)
        return None if file is None else file.close()
