"""The SQLite file of the manifest: only its owner can write it, one process at a time uses it."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from iotdb_frames.errors import IoTDBFramesError, OptionsError
from iotdb_frames.locks import Locked, hold

APPLICATION_ID = 0x496F5446  # "IoTF"
BUSY_S = 30.0
"""How long to wait for another process's transaction, in seconds."""


class Store:
    """An open file; may be used from several threads.

    Parameters
    ----------
    path : of the file
    schema : statements that create its tables
    version : of the schema
    create : create it if it does not exist

    Raises
    ------
    OptionsError : it does not exist, is not a manifest, or can be changed by other users.
    IoTDBFramesError : it is damaged.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, schema: str, version: int, create: bool = False
    ) -> None:
        self.path = Path(path).expanduser().absolute()
        self._lock = threading.RLock()
        if create:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError):
                os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        self._check_file()
        self._db = sqlite3.connect(self.path, timeout=BUSY_S, check_same_thread=False)
        self._db.isolation_level = None
        try:
            self._set_up(schema, version)
        except sqlite3.OperationalError as exc:
            self._db.close()
            raise self._unusable(exc) from exc
        except sqlite3.DatabaseError as exc:
            self._db.close()
            raise self._torn(exc) from exc
        except BaseException:
            self._db.close()
            raise

    def _check_file(self) -> None:
        try:
            found = self.path.lstat()
        except FileNotFoundError:
            raise OptionsError(f"there is no manifest {self.path}") from None
        if not stat.S_ISREG(found.st_mode):
            raise OptionsError(f"the manifest {self.path} is not a regular file")
        if os.name != "posix":
            return
        if found.st_uid not in (os.geteuid(), 0) or found.st_mode & 0o022:
            raise OptionsError(
                f"other users can change the manifest {self.path}",
                hint="it determines what is sent: make it your own file, with chmod 600",
            )
        if found.st_mode & 0o077:
            self.path.chmod(0o600)

    def _set_up(self, schema: str, version: int) -> None:
        # In WAL mode a commit needs no sync; what a power cut loses is only sent again.
        self._set_wal()
        self._db.execute("PRAGMA synchronous = NORMAL")
        if self._is_empty():
            with self._writing():
                if self._is_empty():  # no other process was faster
                    for statement in schema.split(";"):
                        self._db.execute(statement)
                    self._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                    self._db.execute(f"PRAGMA user_version = {version}")
        kind = self._db.execute("PRAGMA application_id").fetchone()[0]
        if kind != APPLICATION_ID:
            raise OptionsError(f"{self.path} is not a manifest, but another SQLite file")
        found = self._db.execute("PRAGMA user_version").fetchone()[0]
        if found != version:
            raise OptionsError(f"{self.path} was made by another version of iotdb_frames")
        answer = self._db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if answer != "ok":
            raise sqlite3.DatabaseError(answer)

    def _set_wal(self) -> None:
        deadline = time.monotonic() + BUSY_S
        while True:  # SQLite does not wait here for another process that does the same
            try:
                self._db.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as exc:
                if exc.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
            time.sleep(0.005)

    def _is_empty(self) -> bool:
        return not self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]

    def _torn(self, exc: Exception) -> IoTDBFramesError:
        return IoTDBFramesError(
            f"the manifest {self.path} is damaged: {exc}",
            hint="move it away and start the backfill again: rows that are already stored are "
            "written again, which changes nothing",
        )

    def _unusable(self, exc: Exception) -> IoTDBFramesError:
        return IoTDBFramesError(
            f"the manifest {self.path} cannot be written: {exc}",
            hint="free some space, then resume: what was not recorded is sent again",
        )

    def close(self) -> None:
        """Close the file."""
        with self._lock, suppress(sqlite3.Error):
            self._db.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """A transaction.

        Raises
        ------
        IoTDBFramesError : it could not be written, e.g. because the disk is full.
        """
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                try:
                    yield
                except BaseException:
                    self._db.execute("ROLLBACK")
                    raise
                self._db.execute("COMMIT")
            except sqlite3.Error as exc:
                with suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
                raise self._unusable(exc) from exc

    def _all(self, sql: str, *values: Any) -> list[Any]:
        with self._lock:
            try:
                return self._db.execute(sql, values).fetchall()
            except sqlite3.OperationalError as exc:
                raise IoTDBFramesError(f"the manifest {self.path} cannot be read: {exc}") from exc
            except sqlite3.DatabaseError as exc:
                raise self._torn(exc) from exc

    # --- one process at a time ---------------------------------------------------------------

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Lock it for this process.

        The lock is on a file next to it: the operating system frees it however its holder ends.

        Raises
        ------
        OptionsError : another process uses it; the text says which.
        """
        try:
            guard = hold(self.path.with_name(self.path.name + ".lock"))
        except Locked as exc:
            who = self.get("holder") or {}
            raise OptionsError(
                f"the manifest {self.path} is in use by process {who.get('pid', '?')} of "
                f"{who.get('user', '?')} on {who.get('host', '?')}, since {who.get('since', '?')}",
                hint="wait for it or stop it; its lock ends with it",
            ) from exc
        with guard:
            self.set(holder=_myself())
            try:
                yield
            finally:
                with suppress(IoTDBFramesError):
                    self.set(holder=None)

    @property
    def holder(self) -> dict[str, Any] | None:
        """The process that last locked it; it may have been killed since."""
        return self.get("holder")  # type: ignore[no-any-return]

    # --- the job -----------------------------------------------------------------------------

    def get(self, key: str) -> Any:
        """A value of the job, or None."""
        rows = self._all("SELECT value FROM job WHERE key = ?", key)
        return json.loads(rows[0][0]) if rows else None

    def set(self, **values: Any) -> None:
        """Store values of the job."""
        with self._writing():
            for key, value in values.items():
                self._db.execute(
                    "INSERT OR REPLACE INTO job VALUES (?, ?)", (key, json.dumps(value))
                )


def _myself() -> dict[str, Any]:
    import getpass
    import socket

    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # no name for this user id, as in many containers
        user = str(os.getuid()) if hasattr(os, "getuid") else "?"
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "user": user,
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
    }
