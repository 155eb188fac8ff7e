"""What a server's logs say when it does not start."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

_CAUSES = (
    (r"BindException|Address already in use|port.{0,40}occupied", "port", None),
    (r"No space left on device", "disk", "make room on the disk, or name another directory"),
    (r"OutOfMemoryError|Could not reserve enough space", "memory", 'give it more: heap="2GiB"'),
    (r"UnsupportedClassVersionError", "java", "it needs a newer Java; set JAVA_HOME to one"),
    (
        r"Permission denied|AccessDeniedException",
        "rights",
        "name a directory that you may write to",
    ),
    (
        r"Could not find or load main class|ClassNotFoundException|NoClassDefFoundError",
        "jars",
        "the installation is damaged; delete it from the cache, or repair IOTDB_HOME",
    ),
)


def read_tail(directory: Path, *, n_lines: int) -> str:
    """The last lines of the server's log and of what its JVM printed, oldest first."""
    lines: list[str] = []
    for name in ("server.log", "jvm.log"):
        with suppress(OSError), (directory / "logs" / name).open("rb") as log:
            log.seek(max(0, log.seek(0, 2) - 64_000))
            text = log.read().decode("utf-8", errors="replace")
            lines += [line for line in text.splitlines() if not line.startswith("SLF4J")]
    return "\n".join(lines[-n_lines:])


def explain(tail: str) -> tuple[str | None, str | None]:
    """The (cause, hint) of a start that failed, where the log shows a known one."""
    for pattern, cause, hint in _CAUSES:
        if re.search(pattern, tail):
            return cause, hint
    return None, None
