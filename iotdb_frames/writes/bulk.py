"""The bulk road: rows of a plan as TsFiles in a directory that client and server see, and LOAD.

A file is loaded in a folder of its own, which is removed when the answer is there. Whoever begins
next removes the folders of processes that were killed: each holds a lock on its own.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import numpy as np

from iotdb_frames.client.connection import Connection
from iotdb_frames.codec.quotes import quote_string
from iotdb_frames.codec.sources import is_missing
from iotdb_frames.codec.times import TICKS_PER_S
from iotdb_frames.errors import (
    Choice,
    ConnectionLost,
    Hint,
    IoTDBFramesError,
    OptionsError,
    ServerError,
)
from iotdb_frames.locks import Locked, hold
from iotdb_frames.options import TSDataType, WriteOptions
from iotdb_frames.tsfile.encode import ENCODINGS
from iotdb_frames.writes.load_files import LoadFiles, by_partition, load_of, n_runs
from iotdb_frames.writes.plan.chunks import LoadRequest, Request, lanes
from iotdb_frames.writes.plan.filed import file_rows
from iotdb_frames.writes.plan.plan import CHECK_ROWS, WritePlan
from iotdb_frames.writes.schema.look import query_table
from iotdb_frames.writes.tsfile import PIECE_BYTES

LOAD_BYTES = 128 << 20
"""Cells of the files that one LOAD takes; the next are encoded meanwhile."""
FEW_BYTES = 16 << 20
"""With fewer bytes ``method="auto"`` sends tablets. CPU of client and server until all is in files,
tablets by TsFiles, 5 DOUBLE of one device: 20,000 rows 1.8, 100,000 2.0, 400,000 3.5, 1M 4.4;
below some 4 MiB tablets are answered sooner. Source: IoTDB 2.0.10, a warm region."""
ROWS_PER_DEVICE = 1_000
"""With fewer rows per device and time partition, too: a LOAD costs the server some 0.2 ms for each
device of a file. The same ratio with 3 DOUBLE: 3,000 devices × 100 rows 0.7, × 300 1.1; 1,000 × 300
1.2, × 1,000 1.9."""
_FOLDERS_AT_ONCE = 4
"""One is written, two wait, and one is loaded."""
_FILES_AT_ONCE = 64
"""Files of a LOAD, one for each time partition: of some 20 ms each, so that it ends in time."""
_PREFIX = "iotdb-frames-load-"
_HIDDEN = f".{_PREFIX}"


class BulkRoad:
    """Which frames of a write go by files, and their requests.

    Parameters
    ----------
    connection, options : of the write
    """

    def __init__(self, connection: Connection, options: WriteOptions) -> None:
        self._connection = connection
        self._options = options
        self._base: Path | None = None
        self._lock: Any = None

    def takes(self, plan: WritePlan, notes: list[str]) -> bool:
        """Whether a plan's rows go by files; the notes say why, where the user should know.

        Raises
        ------
        OptionsError : ``method="tsfile"``, and the server does not see the directory.
        """
        method = self._options.method
        if (
            method == "tablets"
            or not len(plan.order)
            or (method == "auto" and not self._pays(plan))
        ):
            return False
        why = _why_tablets(plan)
        if self._options.tsfile_dir is None and len(self._connection.options.hosts) > 1:
            why = "tsfile_dir= names no directory that all hosts see"
        try:
            why = why or self._ttl(plan) or self._open(plan)
        except ConnectionLost:
            raise
        except ServerError as exc:  # of a user who may not look, or not load
            why = exc.message
        if why is not None:
            notes.append(f"sent as tablets: {why}")
            return False
        notes.append(f"loaded as TsFiles by way of {self._root}")
        return True

    def _pays(self, plan: WritePlan) -> bool:
        """Whether files cost less than tablets, and may be seen by the server at all."""
        if plan.n_bytes < FEW_BYTES or (self._options.tsfile_dir is None and not self._is_here):
            return False
        return len(plan.order) >= ROWS_PER_DEVICE * n_runs(plan.order, self._partition_ticks)

    @cached_property
    def _is_here(self) -> bool:
        """Whether the server may be on this machine."""
        return all(_is_loopback(host) for host, _ in self._connection.options.hosts)

    @cached_property
    def _root(self) -> Path:
        try:
            return Path(self._options.tsfile_dir or tempfile.gettempdir()).absolute()
        except FileNotFoundError:  # no directory that can be written, which is told on use
            return Path(os.devnull)

    def _open(self, plan: WritePlan) -> str | None:
        """Make a directory of our own; why not, where the server does not see it."""
        if self._base is not None:
            return None
        try:
            clear_litter(self._root)
            wanted = min(plan.n_bytes, _FOLDERS_AT_ONCE * LOAD_BYTES)
            if self._options.method == "auto" and shutil.disk_usage(self._root).free < wanted:
                return f"{self._root} has not enough room"
            self._base, self._lock = own_folder(self._root)
        except OSError as exc:
            error = _unwritable(self._root, exc)
            if self._options.method == "auto":
                return error.message
            raise error from exc
        try:
            probe = load_of(self._base / "probe", plan)  # of a folder that has no file in it
            self._connection.run(
                lambda session: session.execute(probe, is_qualified=True), model=plan.target.model
            )
        except ServerError as exc:
            self.close()
            if "Can not find" not in exc.message:
                raise
            why = f"the server does not see {self._root}"
            if self._options.method == "tsfile":
                raise OptionsError(
                    f'method="tsfile": {why}',
                    hint=Hint(
                        "name a directory that both see under one name: ", Choice(tsfile_dir=...)
                    ),
                ) from exc
            return why
        except BaseException:
            self.close()
            raise
        return None

    def _ttl(self, plan: WritePlan) -> str | None:
        """Why a time to live, of which a LOAD says nothing, stands against files."""
        is_set = "a time to live is set, which a LOAD does not tell of"
        if plan.target.model == "tree":
            found = query_table(self._connection, "SHOW ALL TTL", model="tree")
            paths, values = (column.to_pylist() for column in found.columns)
            if any(ttl != "INF" for ttl in values):
                return is_set
            if "root.**" not in paths:  # which always has one: some are hidden from this user
                return "this user may not see all times to live (GRANT SYSTEM shows them)"
            return None
        database = quote_string(plan.target.database)
        for table, column, more in (
            ("databases", "database", ""),
            ("tables", "database", f" AND table_name = {quote_string(plan.target.table)}"),
        ):
            sql = (
                f'SELECT "ttl(ms)" FROM information_schema.{table} '
                f"WHERE {column} = {database}{more}"
            )
            found = query_table(self._connection, sql, model="table")
            if any(ttl != "INF" for ttl in found.column(0).to_pylist()):
                return is_set
        return None

    @cached_property
    def _partition_ticks(self) -> int:
        """Length of a time partition of the server, in ticks."""
        values: dict[str, str] = {}
        try:
            found = query_table(self._connection, "SHOW VARIABLES", model="tree")
            values = dict(zip(*(column.to_pylist() for column in found.columns), strict=True))
        except ConnectionLost:
            raise
        except ServerError:
            pass  # of a user who may not look; files of another length the server cuts, or refuses
        usual = 604_800 * TICKS_PER_S[self._connection.server.precision]
        return int(values.get("TimePartitionInterval", usual))

    def requests(self, plan: WritePlan, *, is_whole: bool) -> Iterator[Request]:
        """Files, written as they are asked for; a request for each LOAD.

        Raises
        ------
        IoTDBFramesError : they cannot be written.
        """
        batch = LoadFiles(self._new_folder(), plan)
        try:
            for some in by_partition(plan, self._partition_ticks):
                for rows in file_rows(some, n_bytes=PIECE_BYTES):
                    is_full = batch.n_files >= _FILES_AT_ONCE and batch.writer is None
                    if batch.n_cell_bytes >= LOAD_BYTES or is_full:
                        yield batch.finish(is_whole=is_whole)
                        batch = LoadFiles(self._new_folder(), plan)
                    batch.add(rows)
                batch.close_file()
            if batch.n_rows:
                yield batch.finish(is_whole=is_whole)
        except OSError as exc:
            batch.abandon()
            if isinstance(exc, IoTDBFramesError):
                raise
            raise _unwritable(self._root, exc) from exc
        except BaseException:
            batch.abandon()
            raise

    def _new_folder(self) -> Path:
        """Where the files of one LOAD go: who may not list the directory cannot guess the name."""
        assert self._base is not None
        return self._base / secrets.token_hex(16)

    def close(self) -> None:
        """Remove the directory."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None
        if self._base is not None:
            shutil.rmtree(self._base, ignore_errors=True)
            self._base = None


def _unwritable(directory: Path, exc: OSError) -> IoTDBFramesError:
    return IoTDBFramesError(
        f"files to load cannot be written to {directory}: {exc.strerror or exc}",
        hint=Hint(
            "make room, or name another directory, ",
            Choice(tsfile_dir=...),
            ", or ",
            Choice(method="tablets"),
        ),
    )


def tablets_instead(plan: WritePlan, request: Request) -> list[Request]:
    """The rows of a refused LOAD as tablets, which are refused row by row; none of some frames.

    Columns of several devices may be in two LOADs: what one stored would be counted twice.
    """
    if plan.options.method != "auto" or len(plan.parts) > 1:
        return []
    is_kept = np.zeros(plan.layout.n_rows, bool)
    is_kept[request.rows] = True
    order = plan.order.keep(is_kept[plan.order.frame_rows(0, len(plan.order))])
    return [some for lane in lanes(replace(plan, order=order)) for some in lane]


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_partly_loaded(request: Request, error: ServerError) -> bool:
    """Whether a refused LOAD may have stored some of its files: the schema of all comes first."""
    is_many = isinstance(request, LoadRequest) and request.n_files > 1
    return is_many and "verify schema error" not in error.message


def own_folder(root: Path) -> tuple[Path, Any]:
    """A new folder, in which is one called ``probe``, and the lock that tells others to leave it.

    Raises
    ------
    OSError : none can be made.
    """
    # Hidden until it is locked: a lock that others could ask for before would be no safe sign.
    hidden = Path(tempfile.mkdtemp(prefix=_HIDDEN, dir=root))
    lock = None
    try:
        hidden.chmod(0o711)  # the server may run as another user; others may not list it
        (hidden / "probe").mkdir()
        lock = hold(hidden / "lock")
        if os.name == "nt":  # which renames no folder in which a file is open
            return hidden, lock
        return hidden.rename(root / hidden.name.replace(_HIDDEN, _PREFIX, 1)), lock
    except BaseException:
        if lock is not None:
            lock.release()
        shutil.rmtree(hidden, ignore_errors=True)
        raise


def clear_litter(root: Path) -> None:
    """Remove the folders of processes that were killed."""
    a_day_ago = time.time() - 86_400
    for folder in (*root.glob(f"{_PREFIX}*"), *root.glob(f"{_HIDDEN}*")):
        with suppress(Locked, OSError):
            is_new = folder.name.startswith(_HIDDEN) and folder.stat().st_mtime > a_day_ago
            if is_new or folder.is_symlink():  # it may be locked in a moment; it is none of ours
                continue
            with hold(folder / "lock"):
                shutil.rmtree(folder, ignore_errors=True)
            if os.name == "nt":  # which keeps a file that is open
                shutil.rmtree(folder, ignore_errors=True)


def _why_tablets(plan: WritePlan) -> str | None:
    """What of a plan a file, or its LOAD, does not have; None where it has all."""
    existing = plan.existing
    columns = [c for part in plan.parts for c in part.written]
    if any(c.column.category == "attribute" for c in columns):
        return "attributes are no part of a file"
    if not existing.was_seen:
        return "the schema could not be compared"
    if existing.templates:
        return "a device template is above the target"
    if not plan.options.create:
        return "create=False, and a LOAD creates what is missing"
    if plan.target.model == "tree" and not (
        plan.options.aligned and all(existing.aligned.values())
    ):
        return "devices are not aligned"
    for c in columns:
        kind = c.data_type
        if c.encoding is not None and kind is not None and c.encoding not in ENCODINGS[kind]:
            return f"column {c.column.source.label!r} is to be {c.encoding.name}"
        if plan.rules.keep_nan and kind in (TSDataType.FLOAT, TSDataType.DOUBLE) and _has_nan(c):
            return f"column {c.column.source.label!r} has NaN, which would spoil statistics"
    return None


def _has_nan(planned: Any) -> bool:
    source = planned.column.source
    for start in range(0, len(source), CHECK_ROWS):
        data = source.take(slice(start, start + CHECK_ROWS))
        n_null = np.count_nonzero(is_missing(data, keep_nan=True))
        if np.count_nonzero(is_missing(data)) > n_null:
            return True
    return False
