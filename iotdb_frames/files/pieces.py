"""What a reader gives: a file in pieces, each the frame of a range of it (see `readers`)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from iotdb_frames.codec.sources import with_wide_codes
from iotdb_frames.codec.times import beyond_years
from iotdb_frames.errors import FrameError, Hint, nearest
from iotdb_frames.files.options import FileOptions
from iotdb_frames.files.sources import SourceFile

Range = tuple[int, int | None, int]
"""Start, stop (None: to the end, in as many units as it takes) and first line of a unit."""
SAMPLE_ROWS = 10_000
_TEXT_BYTES = 24


@dataclass(frozen=True)
class Refusal:
    """Rows that could not even be parsed.

    lines : int64, shape (n,): their lines in the file, from 1
    texts : the lines themselves; None: `own` has the rows, as Arrow
    hint : what would take them
    """

    lines: np.ndarray
    texts: pa.Array | None
    reason: str
    own: pa.Table | None = None
    hint: Hint | None = None


@dataclass
class Piece:
    """What a unit holds.

    start, stop, line, end_line, n_bytes, digest : as in the manifest
    data : its frame
    rows : int64, shape (n_rows of data,): which rows of the unit these are; None: all, in order
    refusals : rows that are not in `data`
    """

    start: int
    stop: int
    data: Any
    line: int = 0
    end_line: int = 0
    n_bytes: int = 0
    digest: str = ""
    rows: np.ndarray | None = None
    refusals: list[Refusal] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def texts(self) -> Any:
        """Gives the file's own text of some rows; None: the rows of `data` tell.

        It is made when it is asked for: a piece that held it would be a cycle, and stay in memory
        until Python looks for such.
        """
        return None

    @property
    def n_refused(self) -> int:
        """Rows that are not in `data`."""
        return sum(len(r.lines) for r in self.refusals)

    def lines(self, positions: np.ndarray) -> np.ndarray:
        """Lines of the file, or numbers of its rows, from 1, of some rows of `data`."""
        rows = positions if self.rows is None else self.rows[positions]
        return np.asarray(rows, np.int64) + self.start + 1


class JoinedPiece(Piece):
    """Pieces of a file that follow each other, as one."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        first, last = pieces[0], pieces[-1]
        super().__init__(
            first.start,
            last.stop,
            pa.concat_tables([p.data for p in pieces], promote_options="default"),
            line=first.line,
            end_line=last.end_line,
            n_bytes=sum(p.n_bytes for p in pieces),
            refusals=[r for p in pieces for r in p.refusals],
            notes=list(dict.fromkeys(note for p in pieces for note in p.notes)),
        )
        self._pieces = pieces
        self._bounds = np.cumsum([0, *(len(p.data) for p in pieces)])

    def lines(self, positions: np.ndarray) -> np.ndarray:
        lines = np.empty(len(positions), np.int64)
        for piece, at, own in self._of_each(positions):
            lines[at] = piece.lines(own)
        return lines

    @property
    def texts(self) -> Any:
        return None if self._pieces[0].texts is None else self._texts

    def _texts(self, positions: np.ndarray) -> pa.Array:
        parts = [(at, piece.texts(own)) for piece, at, own in self._of_each(positions)]
        order = np.argsort(np.concatenate([at for at, _ in parts]))
        return pa.concat_arrays([texts for _, texts in parts]).take(pa.array(order))

    def _of_each(self, positions: np.ndarray) -> Iterator[tuple[Piece, np.ndarray, np.ndarray]]:
        """Each piece that has some of the rows: which they are, and their positions in it."""
        which = np.searchsorted(self._bounds, positions, side="right") - 1
        for number in np.unique(which).tolist():
            at = np.flatnonzero(which == number)
            yield self._pieces[number], at, positions[at] - self._bounds[number]


def schema_digest(schema: pa.Schema) -> str:
    """A digest of names and types."""
    text = "\n".join(f"{field.name}\t{field.type}" for field in schema)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


@contextmanager
def reading(file: SourceFile) -> Iterator[None]:
    """Errors of the file as FrameErrors that name it."""
    try:
        yield
    except (pa.ArrowException, OSError, EOFError, UnicodeError, RecursionError) as exc:
        raise FrameError(f"{file.name} cannot be read: {exc}") from exc


def check_names(file: SourceFile, names: Iterable[str], *, hint: str | None = None) -> None:
    """Refuse a file that has two columns of one name.

    Raises
    ------
    FrameError
    """
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise FrameError(
                f"{file.name}: column {name!r} occurs more than once", column=name, hint=hint
            )
        seen.add(name)


def time_label(schema: pa.Schema, wish: Hashable | None) -> Hashable | None:
    """The time column of a file where none is named.

    It is the column ``time``, else the index that pandas stored, else the one column of
    timestamps, else that of dates; None where that is not one.
    """
    if wish is not None:
        return wish
    if "time" in schema.names:
        return "time"
    stored = (schema.metadata or {}).get(b"pandas")
    index = json.loads(stored).get("index_columns", []) if stored else []
    stored_names = [n for n in index if isinstance(n, str)]
    for is_time in (pa.types.is_timestamp, pa.types.is_date):
        for labels in (stored_names, schema.names):
            times = [n for n in labels if n in schema.names and is_time(schema.field(n).type)]
            if len(times) == 1:
                return times[0]
    return None


def no_column(there: str, what: str, label: Hashable, names: Iterable[str]) -> FrameError:
    """The error for an option that names a column which is not there."""
    return FrameError(
        f"{what} names {label!r}, and {there}",
        column=label,
        hint=nearest(label, names),
    )


class Shaper:
    """Makes what a file holds into a frame: its columns, its path's, its rows.

    names : of all columns that the file and its path have
    """

    def __init__(self, file: SourceFile, options: FileOptions) -> None:
        self._options = options
        self._filter = options.expression
        self._columns = options.columns
        self._added: list[tuple[str, str | None]] = list(file.partitions)
        if options.file_column is not None:
            self._added.append((options.file_column, file.stem))
        self._time_unit = options.time_unit
        self._file = file
        self.names: list[str] = []
        # These may be needed though they are not asked for.
        self._always = {options.time, *options.keys}

    def stored(self, names: Sequence[str], time: Hashable | None) -> list[str]:
        """Which of the file's columns are to be read.

        Raises
        ------
        FrameError : a column that the file's path gives is in the file, too; it has none of those
            that are asked for.
        """
        self._always.add(time)
        check_names(self._file, names)
        for name, _ in self._added:
            if name in names:
                raise FrameError(
                    f"{self._file.name}: {name!r} is a column and in the path, too", column=name
                )
        self.names = [*names, *(name for name, _ in self._added)]
        if self._columns is None:
            return [n for n in names if n != "__index_level_0__" or n == time]
        if self._columns and not {*self._columns} & {*self.names}:
            raise no_column("the file has no such column", "columns", self._columns[0], self.names)
        wanted = {*self._columns, *self._always, *_names_in(self._filter, names)}
        return [n for n in names if n in wanted]

    def shape(self, table: pa.Table) -> tuple[pa.Table, np.ndarray | None]:
        """The frame of some stored rows, and which of them it holds (None: all)."""
        # In one chunk a column is sliced as it is, of several each slice would be put together.
        columns = [with_wide_codes(column) for column in table.columns]
        with reading(self._file):  # a damaged file is found out here
            table = pa.table(columns, names=table.column_names).combine_chunks()
        for name, value in self._added:
            if self._columns is None or name in self._columns or name in self._always:
                codes = pa.array(np.zeros(table.num_rows, np.int32))
                if value is None:
                    column: Any = pa.nulls(table.num_rows, pa.string())
                else:
                    column = pa.DictionaryArray.from_arrays(codes, pa.array([value]))
                table = table.append_column(name, column)
        for name in self._options.filtered:
            if name not in table.column_names:
                raise no_column("the file has no such column", "filter", name, table.column_names)
        expression = self._options.expression_on(table.schema)
        if expression is None:
            return table, None
        rows = pa.array(np.arange(table.num_rows))
        kept = table.append_column("__row__", rows).filter(expression)
        positions = kept["__row__"].to_numpy()
        kept = kept.drop_columns(["__row__"])
        if self._columns is not None:
            wanted = {*self._columns, *self._always}
            extra = [n for n in _names_in(self._filter, kept.column_names) if n not in wanted]
            kept = kept.drop_columns(extra)
        return kept, positions

    def checked(self, piece: Piece, time: Hashable | None) -> Piece:
        """The piece, with rows whose time is in none of the years 1 to 9999 refused."""
        names = piece.data.column_names
        is_far = _far_times(piece.data[str(time)], self._time_unit) if time in names else None
        if is_far is None:
            return piece
        at, kept = np.flatnonzero(is_far), np.flatnonzero(~is_far)
        piece.refusals.append(
            Refusal(
                piece.lines(at),
                None if piece.texts is None else piece.texts(at),
                f"column {time!r} has a time outside the years 1 to 9999",
                own=piece.data.take(pa.array(at)) if piece.texts is None else None,
            )
        )
        piece.data = piece.data.take(pa.array(kept))
        piece.rows = kept if piece.rows is None else piece.rows[kept]
        return piece


def _far_times(times: pa.ChunkedArray, unit: str | None) -> np.ndarray | None:
    """Which times are in none of the years 1 to 9999 (bool, shape (n,)); None where all are."""
    if pa.types.is_timestamp(times.type):
        unit, times = times.type.unit, times.cast(pa.int64())
    if unit is None or not pa.types.is_integer(times.type):
        return None
    ends = [end for end in pc.min_max(times).as_py().values() if end is not None]
    if beyond_years(np.array(ends, np.int64), unit) is None:
        return None
    return beyond_years(times.fill_null(0).to_numpy(), unit)


def _names_in(expression: Any, names: Sequence[str]) -> list[str]:
    """Columns an expression may use, by the text it shows; one too many does no harm."""
    text = "" if expression is None else str(expression)
    return [n for n in names if n in text]


def row_width(schema: pa.Schema) -> int:
    """Bytes of a row in Arrow, about."""
    return max(1, sum(_width(kind) for kind in schema.types))


def _width(kind: pa.DataType) -> int:
    try:
        return int(max(1, kind.bit_width // 8))
    except ValueError:
        return _TEXT_BYTES


class Rows:
    """Rows of batches that come one after the other."""

    def __init__(self, batches: Iterator[pa.RecordBatch], schema: pa.Schema) -> None:
        self._batches, self._schema = batches, schema
        self._rest: pa.RecordBatch | None = None
        self.at = 0

    def _next(self) -> pa.RecordBatch | None:
        while self._rest is None or len(self._rest) == 0:
            self._rest = next(self._batches, None)
            if self._rest is None:
                return None
        return self._rest

    def skip_to(self, row: int) -> None:
        while self.at < row and (batch := self._next()) is not None:
            n = min(row - self.at, len(batch))
            self._rest, self.at = batch.slice(n), self.at + n

    def over(
        self, ranges: Iterable[Range], *, n_bytes: int, file: SourceFile
    ) -> Iterator[tuple[int, pa.Table]]:
        """Each unit of the ranges: its first row and its rows; about `n_bytes`, where open."""
        for start, stop, _ in ranges:
            while start != stop:
                with reading(file):
                    self.skip_to(start)
                    table = self.take(stop, n_bytes)
                if table.num_rows == 0:
                    break
                yield start, table
                start += table.num_rows

    def take(self, stop: int | None, n_bytes: int) -> pa.Table:
        """Rows up to `stop`; without one about `n_bytes` of them."""
        taken: list[pa.RecordBatch] = []
        left = n_bytes
        while (stop is None or self.at < stop) and left > 0 and (batch := self._next()) is not None:
            width = max(1, batch.nbytes // len(batch))
            n = (
                min(len(batch), max(1, left // width))
                if stop is None
                else min(len(batch), stop - self.at)
            )
            taken.append(batch.slice(0, n))
            left -= n * width if stop is None else 0
            self._rest, self.at = batch.slice(n), self.at + n
        return pa.Table.from_batches(taken, self._schema)
