"""Standard output and error in any encoding, and with a reader that may stop reading."""

from __future__ import annotations

import codecs
import os
import sys
from typing import Any

_SPELLED = {"✓": "+", "✗": "x", "×": "x", "→": "->", "…": "...", "—": "-", "−": "-", "°": "deg "}
"""Replacements of our own non-ASCII characters, for encodings that lack them."""


def spell_out() -> None:
    """Replace characters that the encodings of standard output and error lack."""
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
    """Discard further output of a stream that has no reader any more.

    Otherwise Python would end with an error when it flushes the buffer on closing the stream.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
