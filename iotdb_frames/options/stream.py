"""How a source is streamed: checked once, when a stream is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, TypedDict

from iotdb_frames.options.shown import F, show_fields
from iotdb_frames.options.write import WriteArgs, WriteOptions


@dataclass(frozen=True, kw_only=True)
class StreamOptions:
    """How a source is streamed, into a target or a sink.

    Parameters
    ----------
    window : rows per device, or a span of the source's time; None: what comes in a second
    speed : seconds of the source's time per second; None: as in life, a recording as it says;
        ``math.inf``: no waiting
    duration : seconds or a span of the source's time, of which the rows before its end are sent;
        None: to the source's end
    now : move the source's times so that its first row is at the moment of the start; after a
        pause they are again those of the clock. None: no, a recording as it says
    """

    window: Any = None
    speed: float | None = None
    duration: Any = None
    now: bool | None = None


class StreamArgs(TypedDict, total=False):
    """The fields of `StreamOptions`, for type checkers."""

    window: Any
    speed: float | None
    duration: Any
    now: bool | None


class StreamWriteArgs(StreamArgs, WriteArgs, total=False):
    """The options of a stream into a target, for type checkers."""


STREAM_FIELDS = tuple(f.name for f in fields(StreamOptions))


def split_options(options: Mapping[str, Any]) -> tuple[StreamArgs, dict[str, Any]]:
    """Those of some keyword arguments that are fields of `StreamOptions`, and the others."""
    own: Any = {name: value for name, value in options.items() if name in STREAM_FIELDS}
    return own, {name: value for name, value in options.items() if name not in own}


def show_stream_options(call: F, **defaults: Any) -> F:
    """Show the fields of `StreamOptions` and `WriteOptions` in place of ``**options``."""
    return show_fields(call, StreamOptions, WriteOptions, **defaults)
