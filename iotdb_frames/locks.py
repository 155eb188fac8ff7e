"""File locks, released when the process that holds them ends, however it ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any


class Locked(Exception):
    """Another process holds the lock."""


def hold(file: Path, *, timeout_s: float = 0.0) -> Any:
    """Take the lock on `file`; the result has `release()` and is a context manager.

    Raises
    ------
    Locked : another process still holds it after `timeout_s` seconds.
    OSError : the file cannot be created.
    """
    import filelock

    lock = filelock.FileLock(file, thread_local=False, mode=0o600)
    try:
        return lock.acquire(timeout=timeout_s, poll_interval=0.1).lock
    except filelock.Timeout as exc:
        raise Locked(str(file)) from exc
