"""A server's logs, and what they say about a failed start."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

_PORT_TAKEN = "port"
_CAUSES = (
    (r"Address already in use", _PORT_TAKEN),
    (r"No space left on device", "free space on the disk, or choose another directory"),
    (
        r"OutOfMemoryError|Could not reserve enough space|[Tt]oo small.{0,40}heap|GC overhead",
        'it has too little memory; give it more, e.g. heap="2GiB"',
    ),
    (r"UnsupportedClassVersionError", "it needs a newer Java; set JAVA_HOME to one"),
    (r"Permission denied|AccessDeniedException", "choose a directory that you can write to"),
    (
        r"Could not find or load main class|ClassNotFoundException|NoClassDefFoundError",
        "the installation is damaged: delete it from the cache, or repair IOTDB_HOME",
    ),
)

_CRASH = re.compile(
    r'^Exception in thread "(main|datanode)"|ExitUtils: Terminating with exit status'
    r"|ERROR \[.*(DataNode: Fail to start server|ConfigNode: Meet error while starting up)"
)


def rotate(directory: Path) -> None:
    """Set aside the log of the last run."""
    with suppress(FileNotFoundError):
        (directory / "logs" / "server.log").replace(directory / "logs" / "previous.log")


def read_tail(directory: Path, *, n_lines: int) -> str:
    """The last lines of the JVM's output and the server's log, oldest first."""
    lines = _lines(directory, "jvm.log") + _lines(directory, "server.log")
    return "\n".join(lines[-n_lines:])


def read_failure(directory: Path) -> str:
    """Of a failed start: the JVM's output, the first errors and the last lines."""
    printed, log = _lines(directory, "jvm.log"), _lines(directory, "server.log")
    errors: list[str] = []
    is_error = is_first = False
    for line in log:
        if re.match(r"\d{4}-\d\d-\d\d ", line):
            is_error = is_first = " ERROR [" in line
            errors += [line] if is_error else []
        elif is_error and (is_first or line.startswith("Caused by")):
            errors.append(line)
            is_first = False
    last = [line for line in log[-8:] if line not in errors[:10]]
    return "\n".join(printed[:16] + errors[:10] + last)


def has_crashed(directory: Path) -> bool:
    """Whether one of the nodes ended with an exception, which does not end the JVM."""
    lines = _lines(directory, "jvm.log") + _lines(directory, "server.log")
    return any(_CRASH.search(line) for line in lines)


def cause_of(failure: str) -> tuple[bool, str | None]:
    """(whether a port was in use, a hint) from the log of a failed start."""
    for pattern, hint in _CAUSES:
        if re.search(pattern, failure):
            return hint == _PORT_TAKEN, None if hint == _PORT_TAKEN else hint
    return False, None


def _lines(directory: Path, name: str) -> list[str]:
    try:
        with (directory / "logs" / name).open("rb") as log:
            log.seek(max(0, log.seek(0, 2) - 64_000))
            text = log.read().decode("utf-8", errors="replace")
    except OSError:
        return []
    return [line for line in text.splitlines() if not line.startswith("SLF4J")]
