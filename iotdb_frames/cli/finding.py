"""A line of `doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from iotdb_frames.errors import IoTDBFramesError


@dataclass(frozen=True)
class Finding:
    """One line: what was checked, what was found, and what to do about it.

    state : "ok"; "absent": only some features need it; "broken": something required does not work
    """

    what: str
    found: str
    state: Literal["ok", "absent", "broken"] = "ok"
    remedy: str | None = None

    @classmethod
    def from_error(cls, what: str, error: IoTDBFramesError, state: str = "broken") -> Finding:
        """A finding from an error."""
        return cls(what, error.message, "absent" if state == "absent" else "broken", error.hint)
