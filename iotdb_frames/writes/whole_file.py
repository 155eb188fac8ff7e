"""A file that is there whole, or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from iotdb_frames.errors import IoTDBFramesError


@contextmanager
def whole_file(path: Path, *, remedy: str) -> Iterator[IO[bytes]]:
    """A file that gets its name once it is complete, and is removed otherwise.

    Parameters
    ----------
    remedy : the hint of the error, in the words of where it is read

    Raises
    ------
    IoTDBFramesError : it cannot be written.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("xb") as stream:
            yield stream
        part.replace(path)
    except OSError as exc:
        if isinstance(exc, IoTDBFramesError):  # ConnectionLost is an OSError
            raise
        raise IoTDBFramesError(
            f"{path} cannot be written: {exc.strerror or exc}", hint=remedy
        ) from exc
    finally:
        with suppress(FileNotFoundError):
            part.unlink()
