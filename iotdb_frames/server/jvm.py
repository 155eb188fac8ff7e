"""A JVM as a child process that reliably ends with its parent."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path


class Jvm:
    """A running JVM whose standard input is a pipe from this process: it ends when that closes.

    Parameters
    ----------
    command : its command line
    directory : its working directory; its output goes to ``logs/jvm.log`` there

    Raises
    ------
    OSError : it cannot be started.
    """

    def __init__(self, command: Sequence[str], *, directory: Path) -> None:
        own_session = (
            {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
            if os.name == "nt"
            # its files are private, including the settings it rewrites
            else {"start_new_session": True, "umask": 0o077}
        )
        with (directory / "logs" / "jvm.log").open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own command line
                command,
                cwd=directory,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                # paths are read as UTF-8, and errors are in English
                env={**os.environ, "LC_ALL": "C.UTF-8"},
                **own_session,
            )

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def terminate(self, *, timeout_s: float) -> bool:
        """Ask it to shut down; whether it did within `timeout_s` seconds."""
        self._process.terminate()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self._process.kill()
        self._process.wait()
        with suppress(OSError):
            if self._process.stdin:
                self._process.stdin.close()
