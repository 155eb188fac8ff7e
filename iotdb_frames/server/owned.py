"""What must end with a server's owner: its JVM, and its lock on the data directory."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from iotdb_frames.server.datadir import DataDir
from iotdb_frames.server.jvm import Jvm
from iotdb_frames.wire.answers import SUCCESS

_GRACE_S = 1.0


class Owned:
    """What must end with a `LocalServer`; the finalizer refers to this, not to the server."""

    def __init__(self, stop_timeout_s: float) -> None:
        self._stop_timeout_s = stop_timeout_s
        self._owner_pid = os.getpid()
        self.directory: DataDir | None = None  # locked
        self.jvm: Jvm | None = None
        # runs a statement on the server, as `root`
        self.run: Callable[..., tuple[int, str]] | None = None

    def open(self, path: Path | None) -> None:
        """Lock the data directory, or create a temporary one, until `release`."""
        self._owner_pid = os.getpid()
        if self.directory is None:
            self.directory = DataDir(path)

    def end(self, *, gently: bool) -> None:
        """End the JVM; gently: after it has flushed its data."""
        jvm, self.jvm = self.jvm, None
        if jvm is None:
            return
        try:
            if gently and jvm.exit_code is None:
                jvm.terminate(timeout_s=_GRACE_S if self._flush() else self._stop_timeout_s)
        finally:
            self.run = None
            jvm.kill()

    def _flush(self) -> bool:
        """Have the server flush its data, after which nothing is lost by killing it.

        Its own shutdown does that, too, but then takes another 6 to 39 s.
        """
        if self.run is None:
            return False
        try:
            code, _ = self.run(sql="FLUSH", timeout_s=self._stop_timeout_s)
        except OSError:
            return False
        return code == SUCCESS

    def release(self, *, gently: bool = True) -> None:
        """End the JVM and release the directory; a temporary one is deleted."""
        if os.getpid() != self._owner_pid:
            return  # a fork of the owner ends; the server is not its own
        directory, self.directory = self.directory, None
        if directory is not None:
            try:
                self.end(gently=gently and not directory.is_temporary)
            finally:
                directory.close()
