"""Standard output and error as they are elsewhere: any encoding, and a reader that may go."""

from __future__ import annotations

import codecs
import os
import sys
from typing import Any

_SPELLED = {"✓": "+", "✗": "x", "×": "x", "→": "->", "…": "...", "—": "-", "−": "-", "°": "deg "}
"""What stands for the characters that we write ourselves where an encoding has none of them."""


def spell_out() -> None:
    """Let no text fail on the encodings of standard output and error: what they lack is spelled."""
    codecs.register_error("iotdb_frames.spelled", _spelled)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="iotdb_frames.spelled")


def _spelled(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    part = error.object[error.start : error.end]
    return "".join(_SPELLED.get(c) or ascii(c)[1:-1] for c in part), error.end


def let_go(stream: Any) -> None:
    """Write to nowhere from now on, as nobody reads the stream; what is done there goes on.

    Python would end with an error when it closes the stream with what is still in its buffer.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
