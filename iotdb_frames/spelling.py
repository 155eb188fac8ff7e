"""Texts on consoles whose encoding lacks a character: it is spelled, and printing never fails."""

from __future__ import annotations

import codecs
import os
import sys
from typing import Any

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


def painted(text: str, style: str) -> str:
    """The text in an ANSI style ("1": bold, "31": red), unless the user wants no colours.

    ``NO_COLOR`` in the environment says that, and IPython's ``%colors NoColor``.
    """
    ipython: Any = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    is_plain = str(getattr(shell, "colors", "")).lower() == "nocolor"
    return text if is_plain or os.environ.get("NO_COLOR") else f"\x1b[{style}m{text}\x1b[0m"


def _spell(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    part = error.object[error.start : error.end]
    return "".join(_SPELLED.get(c) or ascii(c)[1:-1] for c in part), error.end


codecs.register_error(SPELLED, _spell)
