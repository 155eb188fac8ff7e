"""The manifest: an SQLite file with a row per unit, the record of what was sent.

A unit's row is written before it is sent and again after it is acknowledged, in one transaction
with its refused rows. A crash can only lose the second write; then the unit is sent again, which
changes nothing. Paths in the manifest are never opened: files are found from the sources each time,
and looked up here.
"""

from __future__ import annotations

import json
import os
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from iotdb_frames.backfills.store import Store

VERSION = 3
_SCHEMA = """
CREATE TABLE job (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE files (
    id INTEGER PRIMARY KEY, root TEXT NOT NULL, name TEXT NOT NULL,
    size INTEGER NOT NULL, modified_ns INTEGER NOT NULL, fingerprint TEXT NOT NULL,
    dialect TEXT, is_read INTEGER NOT NULL DEFAULT 0,
    error TEXT, UNIQUE (root, name));
CREATE TABLE units (
    id INTEGER PRIMARY KEY, file INTEGER NOT NULL REFERENCES files, start INTEGER NOT NULL,
    stop INTEGER NOT NULL, line INTEGER NOT NULL DEFAULT 0,
    end_line INTEGER NOT NULL DEFAULT 0, n_bytes INTEGER NOT NULL DEFAULT 0,
    digest TEXT NOT NULL DEFAULT '', state TEXT NOT NULL, tries INTEGER NOT NULL DEFAULT 0,
    rows INTEGER NOT NULL DEFAULT 0, written INTEGER NOT NULL DEFAULT 0,
    refused INTEGER NOT NULL DEFAULT 0, points INTEGER NOT NULL DEFAULT 0,
    empty INTEGER NOT NULL DEFAULT 0, lossy TEXT,
    first_tick INTEGER, last_tick INTEGER, expected BLOB, before INTEGER NOT NULL DEFAULT 0,
    began REAL, ended REAL, error TEXT, verdict TEXT, beside TEXT, UNIQUE (file, start));
CREATE INDEX units_by_state ON units (state);
CREATE INDEX units_by_time ON units (first_tick, last_tick);
CREATE TABLE refused (unit INTEGER NOT NULL REFERENCES units, n_rows INTEGER NOT NULL, data BLOB);
CREATE INDEX refused_by_unit ON refused (unit);
"""
DONE = ("written", "verified")


@dataclass(frozen=True)
class FileRow:
    """A file of the manifest; `is_read`: all its units are known."""

    id: int
    root: str
    name: str
    size: int
    modified_ns: int
    fingerprint: str
    dialect: str | None
    is_read: bool
    error: str | None


@dataclass(frozen=True)
class UnitRow:
    """A unit of the manifest.

    start, stop : its range in the file: rows; bytes of a CSV file; or the frame's number
    line, end_line : its first line (CSV), from 1, and the first line after it
    n_bytes : approximate size in the source
    digest : of its columns' names and types; for a frame not from a file, of its whole content
    state : "pending", "sending", "written", "verified", "failed"
    rows, written, refused, points, empty, lossy : as in a WriteReport; `lossy` as JSON
    first_tick, last_tick : its time range, in ticks of the server; None if it has no rows
    expected : what `verify` expects, packed (see `Expected`)
    before : points that existed before it was first sent
    verdict, beside : the result of `verify`, and what else it found there, in words
    """

    id: int
    file: int
    start: int
    stop: int
    line: int
    end_line: int
    n_bytes: int
    digest: str
    state: str
    tries: int
    rows: int
    written: int
    refused: int
    points: int
    empty: int
    lossy: str | None
    first_tick: int | None
    last_tick: int | None
    expected: bytes | None
    before: int
    began: float | None
    ended: float | None
    error: str | None
    verdict: str | None
    beside: str | None


def pack(value: Any) -> bytes:
    """JSON, compressed."""
    return zlib.compress(json.dumps(value, ensure_ascii=False).encode(), 1)


def unpack(data: bytes) -> Any:
    """The value that was packed."""
    return json.loads(zlib.decompress(data))


class Manifest(Store):
    """An open manifest; may be used from several threads.

    Parameters
    ----------
    path : of the file
    create : create it if it does not exist

    Raises
    ------
    OptionsError : it does not exist, is not a manifest, or can be changed by other users.
    IoTDBFramesError : it is damaged.
    """

    def __init__(self, path: str | os.PathLike[str], *, create: bool = False) -> None:
        super().__init__(path, schema=_SCHEMA, version=VERSION, create=create)

    # --- files -------------------------------------------------------------------------------

    def files(self) -> list[FileRow]:
        """All files, in sending order."""
        return [FileRow(*row) for row in self._all("SELECT * FROM files ORDER BY id")]

    def add_file(
        self,
        root: str,
        name: str,
        *,
        size: int,
        modified_ns: int,
        fingerprint: str,
        dialect: str | None = None,
        error: str | None = None,
        is_read: bool = False,
    ) -> None:
        """Add a file after the others, or start one again: its units are deleted."""
        with self._writing():
            same = "file IN (SELECT id FROM files WHERE root = ? AND name = ?)"
            self._db.execute(
                f"DELETE FROM refused WHERE unit IN (SELECT id FROM units WHERE {same})",
                (root, name),
            )
            self._db.execute(f"DELETE FROM units WHERE {same}", (root, name))
            self._db.execute("DELETE FROM files WHERE root = ? AND name = ?", (root, name))
            self._db.execute(
                "INSERT INTO files "
                "(root, name, size, modified_ns, fingerprint, dialect, error, is_read) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (root, name, size, modified_ns, fingerprint, dialect, error, is_read),
            )

    def set_file(self, file: int, **values: Any) -> None:
        """Change columns of a file."""
        with self._writing():
            self._set("files", file, values)

    # --- units -------------------------------------------------------------------------------

    def units(self, *states: str, file: int | None = None) -> list[UnitRow]:
        """Units in sending order.

        Parameters
        ----------
        states : only those in these states; none given: all
        file : only those of this file; None: all
        """
        marks = ", ".join("?" * len(states))
        rows = self._all(
            f"SELECT * FROM units WHERE (file = ? OR ? IS NULL) "
            f"AND (state IN ({marks}) OR {not states}) ORDER BY file, start",
            file,
            file,
            *states,
        )
        return [UnitRow(*row) for row in rows]

    def problems(self, *, most: int) -> list[UnitRow]:
        """Units that failed or had rows refused, in sending order."""
        rows = self._all(
            "SELECT * FROM units WHERE error IS NOT NULL OR state = 'failed' "
            "ORDER BY file, start LIMIT ?",
            most,
        )
        return [UnitRow(*row) for row in rows]

    def begin(
        self,
        file: int,
        start: int,
        stop: int,
        *,
        before: int = 0,
        **values: Any,
    ) -> int:
        """Record that a unit is about to be sent; return its id.

        `before` is stored only the first time: later, part of the unit may be there.
        """
        with self._writing():
            self._db.execute(
                "INSERT INTO units (file, start, stop, before, state) "
                "VALUES (?, ?, ?, ?, 'pending') ON CONFLICT (file, start) DO NOTHING",
                (file, start, stop, before),
            )
            unit = self._db.execute(
                "SELECT id, tries FROM units WHERE file = ? AND start = ?", (file, start)
            ).fetchone()
            self._set(
                "units",
                unit[0],
                {**values, "state": "sending", "tries": unit[1] + 1, "began": time.time()},
            )
            self._db.execute("DELETE FROM refused WHERE unit = ?", (unit[0],))
        return int(unit[0])

    def finish(self, unit: int, *, letters: list[tuple[int, bytes]], **values: Any) -> None:
        """Record that a unit was acknowledged, and store its refused rows: (rows, Arrow IPC)."""
        with self._writing():
            self._set(
                "units",
                unit,
                {
                    "state": "written",
                    "ended": time.time(),
                    "error": None,
                    "verdict": None,
                    "beside": None,
                }
                | values,
            )
            self._db.executemany(
                "INSERT INTO refused VALUES (?, ?, ?)",
                [(unit, n_rows, data) for n_rows, data in letters],
            )

    def set_unit(self, unit: int, **values: Any) -> None:
        """Change columns of a unit."""
        with self._writing():
            self._set("units", unit, values)

    def reopen(self, unit: int, first_tick: int, last_tick: int) -> int:
        """Make later units pending that may share a (device, time) with a unit; return how many.

        Of two such rows, the later one must win, so it must arrive later.
        """
        with self._writing():
            changed = self._db.execute(
                "UPDATE units SET state = 'pending' WHERE state IN ('written', 'verified') "
                "AND first_tick <= ? AND last_tick >= ? AND (file, start) > "
                "(SELECT file, start FROM units WHERE id = ?)",
                (last_tick, first_tick, unit),
            )
            return changed.rowcount

    def retry_failed(self) -> int:
        """Make failed units and files pending; return how many."""
        with self._writing():
            units = self._db.execute(
                "UPDATE units SET state = 'pending', error = NULL WHERE state = 'failed'"
            )
            files = self._db.execute(
                "UPDATE files SET error = NULL, is_read = 0 WHERE error IS NOT NULL"
            )
            return units.rowcount + files.rowcount

    def refused(self) -> Iterator[tuple[int, bytes]]:
        """(unit, Arrow IPC stream) of refused rows, in order."""
        last = 0
        while rows := self._all(
            "SELECT rowid, unit, data FROM refused WHERE rowid > ? ORDER BY rowid LIMIT 1", last
        ):
            last = rows[0][0]
            yield rows[0][1], rows[0][2]

    def totals(self) -> list[tuple[Any, ...]]:
        """(file, state, units, rows, written, refused, points, n_bytes, empty) of each pair."""
        return self._all(
            "SELECT file, state, count(*), sum(rows), sum(written), sum(refused), sum(points), "
            "sum(n_bytes), sum(empty) FROM units GROUP BY file, state"
        )

    def lossy(self) -> Counter[str]:
        """How many values of finished units lost precision, by column."""
        found: Counter[str] = Counter()
        for (text,) in self._all(
            "SELECT lossy FROM units WHERE lossy IS NOT NULL AND state IN (?, ?)", *DONE
        ):
            found.update(json.loads(text))
        return found

    def verdicts(self) -> list[tuple[str, int]]:
        """Verdicts of verification, and the number of units of each."""
        return self._all(
            "SELECT verdict, count(*) FROM units WHERE verdict IS NOT NULL GROUP BY verdict "
            "ORDER BY count(*) DESC"
        )

    def beside(self, verdict: str, *, most: int) -> list[str]:
        """What else was found at units with a verdict, the most frequent first."""
        found = self._all(
            "SELECT beside FROM units WHERE verdict = ? AND beside IS NOT NULL GROUP BY beside "
            "ORDER BY count(*) DESC LIMIT ?",
            verdict,
            most,
        )
        return [text for (text,) in found]

    def _set(self, table: str, row: int, values: dict[str, Any]) -> None:
        names = ", ".join(f"{name} = ?" for name in values)
        self._db.execute(f"UPDATE {table} SET {names} WHERE id = ?", (*values.values(), row))
