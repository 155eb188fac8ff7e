"""Refused rows, kept: what writes, streams, sinks and backfills do with them.

Every file is a new one: where its name is taken, it becomes ``bad-2.parquet``, and so on, for
Parquet cannot be appended to and an older file is somebody's only copy. It is written under a name
of its own and gets the one that was asked for when it is whole, so that no disk that fills up and
no crash leaves a file there that nobody can read. Only its owner may read it.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from hashlib import blake2b
from itertools import count
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from iotdb_frames.display.words import plural
from iotdb_frames.errors import IoTDBFramesError, OptionsError, ServerError
from iotdb_frames.writes.refused import OWN, rows_of, with_reason

_log = logging.getLogger("iotdb_frames.dead_letter")


class LetterFile:
    """A new Parquet file, which has its name when it is whole.

    Parameters
    ----------
    path : the name that it shall have
    schema : of its tables

    Raises
    ------
    IoTDBFramesError : it cannot be written; as every method does. Nothing of it is left then.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._wanted = path
        self.schema = schema
        self.n_rows = 0
        with self._writing():
            path.parent.mkdir(parents=True, exist_ok=True)
            # For its owner only, from its first byte on.
            fd, name = tempfile.mkstemp(".part", f".{path.name}.", path.parent)
            os.close(fd)
            self._part = Path(name)
            self._writer = pq.ParquetWriter(name, schema)

    def write(self, table: pa.Table) -> None:
        """Add a table of its schema."""
        with self._writing():
            self.n_rows += table.num_rows
            self._writer.write_table(table)

    def close(self, *, instead_of: str | None = None) -> Path:
        """Finish it; the name that it got.

        Parameters
        ----------
        instead_of : the digest of an earlier file, which it may replace under its name
        """
        with self._writing():
            self._writer.close()
            with self._part.open("rb+") as file:
                os.fsync(file.fileno())  # a name must not be on the disk before what it names
            return _give_name(self._part, self._wanted, instead_of)

    def digest(self) -> str:
        """A digest of the file as it will be; nothing more can be added."""
        with self._writing():
            self._writer.close()
            return _digest_of(self._part) or ""

    def discard(self) -> None:
        """Leave nothing of it."""
        with suppress(AttributeError, OSError, pa.ArrowException):
            self._writer.close()
        with suppress(AttributeError, OSError):
            self._part.unlink()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except BaseException as exc:
            self.discard()
            if not isinstance(exc, OSError | pa.ArrowException):
                raise
            rows = f"{plural(self.n_rows, 'refused row')} " if self.n_rows else "refused rows "
            raise IoTDBFramesError(
                f"{rows}cannot be kept in {self._wanted}: {exc}",
                hint="make room, or name a file elsewhere, and write the same rows again: those "
                "that are stored already do not change",
            ) from exc


def _digest_of(path: Path) -> str | None:
    """A digest of a file; None where it cannot be read."""
    try:
        with path.open("rb") as file:
            digest = blake2b(digest_size=16)
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    except OSError:
        return None
    return digest.hexdigest()


def _give_name(part: Path, wanted: Path, instead_of: str | None) -> Path:
    """Give a whole file its name, or the next that is free or is that of a known file."""
    for number in count(1):
        path = wanted if number == 1 else wanted.with_stem(f"{wanted.stem}-{number}")
        if instead_of is not None and _digest_of(path) == instead_of:
            return part.replace(path)
        try:
            os.link(part, path)  # unlike a rename, it never replaces a file
        except FileExistsError:
            continue
        except OSError:  # a file system without links
            try:
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            except FileExistsError:
                continue
            return part.replace(path)
        part.unlink()
        return path
    raise AssertionError("numbers do not end")


class Letter(Protocol):
    """Takes the refused rows of a write.

    n_rows : how many it has taken
    """

    n_rows: int

    def add(
        self,
        data: Any,
        rows: np.ndarray,
        *,
        first_row: int,
        reason: str,
        code: int | None = None,
    ) -> None:
        """Keep some rows (int, shape (n,)) of a frame, which begins at a row of its stream.

        Raises
        ------
        IoTDBFramesError : they cannot be kept.
        """


class DeadLetter:
    """The refused rows of a write, in a Parquet file that is made with the first of them.

    Its columns are the data's own (an index is one, too; all labels as text), then `refused_row`
    (position in the data), `refused_code` (the server's, null where we refused) and
    `refused_reason`. Rows of a stream whose columns changed go into a further file.

    paths : of the files, once they are whole
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path).expanduser()
        self._lock = Lock()
        self._files: list[LetterFile] = []
        self.n_rows = 0
        self.paths: list[Path] = []

    def add(
        self,
        data: Any,
        rows: np.ndarray,
        *,
        first_row: int = 0,
        reason: str,
        code: int | None = None,
    ) -> None:
        """Keep some rows (int, shape (n,)) of a DataFrame or an Arrow table.

        Raises
        ------
        IoTDBFramesError : the file cannot be written.
        """
        where = {"refused_row": pa.array(np.asarray(rows, np.int64) + first_row)}
        table = with_reason(rows_of(data, rows), where, reason=reason, code=code)
        with self._lock:
            self.n_rows += len(rows)
            for file in self._files:
                if _fits(table.schema, file.schema):
                    break
            else:
                file = LetterFile(self._path, table.schema)
                self._files.append(file)
            try:
                file.write(table.cast(file.schema))
            except IoTDBFramesError:
                self._files.remove(file)
                raise

    def close(self) -> None:
        """Finish the files.

        Raises
        ------
        IoTDBFramesError : one could not be finished; the others are.
        """
        failure: IoTDBFramesError | None = None
        with self._lock:
            files, self._files = self._files, []
            for file in files:
                try:
                    self.paths.append(file.close())
                except IoTDBFramesError as exc:
                    failure = exc
        if failure is not None:
            raise failure


def _fits(some: pa.Schema, there: pa.Schema) -> bool:
    """Whether rows may stand in a file as they are; a column without values has any type."""
    return some.names == there.names and all(
        one.type in (other.type, pa.null()) for one, other in zip(some, there, strict=True)
    )


class UnitLetter:
    """The refused rows of one unit of a file, in memory.

    Parameters
    ----------
    file : its name
    lines_of : the lines of some rows of the unit's frame, from 1
    texts_of : the file's own text of some rows; None: the rows of the frame tell
    """

    def __init__(
        self,
        file: str,
        *,
        lines_of: Callable[[np.ndarray], np.ndarray],
        texts_of: Callable[[np.ndarray], pa.Array] | None,
    ) -> None:
        self._file, self._lines_of, self._texts_of = file, lines_of, texts_of
        self._lock = Lock()
        self._tables: list[pa.Table] = []
        self.n_rows = 0

    def add(
        self,
        data: Any,
        rows: np.ndarray,
        *,
        first_row: int = 0,  # noqa: ARG002 - the lines tell where a row is
        reason: str,
        code: int | None = None,
    ) -> None:
        """Keep some rows (int, shape (n,)) of the unit's frame."""
        own, texts = None, None
        if self._texts_of is not None:
            texts = self._texts_of(rows)
        else:
            own = rows_of(data, rows)
        self.add_lines(self._lines_of(rows), texts, own, reason=reason, code=code)

    def add_lines(
        self,
        lines: np.ndarray,
        texts: pa.Array | None,
        own: pa.Table | None = None,
        *,
        reason: str,
        code: int | None = None,
    ) -> None:
        """Keep some lines (int64, shape (n,)), with their texts or their own columns."""
        n = len(lines)
        where = {
            "refused_file": pa.array([self._file] * n, pa.string()),
            "refused_line": pa.array(lines, pa.int64()),
            "refused_text": pa.nulls(n, pa.string()) if texts is None else texts,
        }
        table = with_reason(own, where, reason=reason, code=code)
        with self._lock:
            self._tables.append(table)
            self.n_rows += n

    def packed(self) -> list[tuple[int, bytes]]:
        """(rows, Arrow IPC stream) of what it has."""
        out = []
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        for table in self._tables:
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, table.schema, options=options) as stream:
                stream.write_table(table)
            out.append((table.num_rows, sink.getvalue().to_pybytes()))
        return out


def write_units(path: Path, units: Callable[[], Iterable[bytes]]) -> LetterFile | None:
    """A file, not closed yet, of the refused rows of all units; None where there are none.

    A column of different types in different files is text.

    Parameters
    ----------
    units : gives what `UnitLetter.packed` gave; called twice

    Raises
    ------
    IoTDBFramesError : the file cannot be written.
    """
    schema = _joint_schema(pa.ipc.open_stream(data).schema for data in units())
    if schema is None:
        return None
    file = LetterFile(path, schema)
    for data in units():
        table = pa.ipc.open_stream(data).read_all()
        columns = [
            table[f.name].cast(f.type)
            if f.name in table.column_names
            else pa.nulls(table.num_rows, f.type)
            for f in schema
        ]
        file.write(pa.table(columns, schema=schema))
    return file


def _joint_schema(schemas: Iterable[pa.Schema]) -> pa.Schema | None:
    kinds: dict[str, pa.DataType] = {}
    for schema in schemas:
        for field in schema:
            if kinds.setdefault(field.name, field.type) != field.type:
                kinds[field.name] = pa.string()
    if not kinds:
        return None
    ordered = [n for n in kinds if n not in OWN] + [n for n in OWN if n in kinds]
    return pa.schema([(name, kinds[name]) for name in ordered])


class LetterDirectory:
    """The refused rows of a sink: a directory of Parquet files, one a refusal.

    Their columns are those of the rows (``device``, ``timestamp``, the measurements), then
    ``refused_code`` (the server's, null where the sink refused) and ``refused_reason``; so
    ``pd.read_parquet(file).iloc[:, :-2].iotdb.write("root", device="device", time="timestamp")``
    writes the mended rows.

    Raises
    ------
    OptionsError : there cannot be such a directory.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self._directory = Path(directory).expanduser()
        self._numbers = count(1)
        try:
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as exc:
            raise OptionsError(f"dead_letter={str(directory)!r} cannot be made: {exc}") from exc

    def add(self, rows: pa.Table, error: IoTDBFramesError) -> None:
        """Keep some rows, and why they were refused.

        Raises
        ------
        IoTDBFramesError : they cannot be kept.
        """
        code = error.code if isinstance(error, ServerError) else None
        table = with_reason(rows, {}, reason=error.message, code=code)
        now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        name = f"refused-{now}-{os.getpid()}-{next(self._numbers):06}.parquet"
        file = LetterFile(self._directory / name, table.schema)
        file.write(table)
        _log.warning("%s kept in %s", plural(rows.num_rows, "refused row"), file.close())
