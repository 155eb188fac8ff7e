"""Standard output and error in any encoding, and with a reader that may stop reading."""

from __future__ import annotations

import os
import sys
from typing import Any

from iotdb_frames.spelling import SPELLED


def spell_out() -> None:
    """Replace characters that the encodings of standard output and error lack."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=SPELLED)


def let_go(stream: Any) -> None:
    """Discard further output of a stream that has no reader any more.

    Otherwise Python would end with an error when it flushes the buffer on closing the stream.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
