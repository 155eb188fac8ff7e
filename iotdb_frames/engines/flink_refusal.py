"""How a submitted job ends for good: with a Java function, for Python has no word for it.

`Refusal.java` beside this file says why; its compiled class, which is handed to jobs in a jar, is
shipped too, because there may be no compiler where there is a Java.
"""

from __future__ import annotations

import atexit
import re
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZipFile

from iotdb_frames import errors
from iotdb_frames.errors import IoTDBFramesError

CLASS = "iotdb_frames.Refusal"


@cache
def the_jar() -> str:
    """The URL of a jar of that class, which is there as long as this process: jobs are given it."""
    directory = TemporaryDirectory(prefix="iotdb-frames-")
    atexit.register(directory.cleanup)
    jar = Path(directory.name) / "refusal.jar"
    with ZipFile(jar, "w") as file:
        file.write(Path(__file__).with_name("Refusal.class"), CLASS.replace(".", "/") + ".class")
    return jar.as_uri()


def in_words(error: IoTDBFramesError) -> str:
    """An error as the text that goes through Java; `found_in` finds it there."""
    hint = f" [{error.hint}]" if error.hint else ""
    return f"iotdb_frames.errors.{type(error).__name__}: {error.message}{hint}".replace("\n", " ")


def found_in(trace: str) -> IoTDBFramesError | None:
    """Our error in the stack trace of a job that failed, with its words only."""
    found = re.findall(r"\biotdb_frames\.errors\.(\w+): (.*)", trace)
    kind = getattr(errors, found[-1][0], None) if found else None
    if not (isinstance(kind, type) and issubclass(kind, IoTDBFramesError)):
        return None
    message, _, hint = found[-1][1].removesuffix("]").partition(" [")
    return kind(message, hint=hint or None)
