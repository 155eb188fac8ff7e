"""Texts on consoles whose encoding lacks a character: it is spelled, and printing never fails."""

from __future__ import annotations

import codecs
import sys

SPELLED = "iotdb_frames.spelled"
"""The name of the handler of `codecs` that does it."""
_SPELLED = {"✓": "+", "✗": "x", "×": "x", "→": "->", "…": "...", "—": "-", "−": "-", "°": "deg "}
"""What stands for the characters that we write ourselves; others show as ``\\uhhhh``."""


def printable(text: str) -> str:
    """The text as standard output can show it: what its encoding lacks is spelled.

    ``print(report)`` in a script would fail otherwise on a Windows console or a redirected one.
    """
    encoding = getattr(sys.stdout, "encoding", None)
    if text.isascii() or not isinstance(encoding, str):
        return text
    try:
        return text.encode(encoding, SPELLED).decode(encoding)
    except (LookupError, UnicodeError):  # no encoding of texts, or one of a kind of its own
        return text


def _spell(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    part = error.object[error.start : error.end]
    return "".join(_SPELLED.get(c) or ascii(c)[1:-1] for c in part), error.end


codecs.register_error(SPELLED, _spell)
