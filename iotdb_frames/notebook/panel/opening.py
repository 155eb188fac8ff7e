"""How panels are opened; what `.panel()` of a source or a stream calls."""

from __future__ import annotations

from typing import Any

from iotdb_frames.notebook.panel.stream_panel import StreamPanel
from iotdb_frames.stream.runner import Runner


def open_panel(subject: Any, **options: Any) -> StreamPanel:
    """A panel of a source, or attached to a stream.

    Parameters
    ----------
    subject : a `SensorSource` or a `Replay`; or a `Runner`
    options : of `StreamPanel`
    """
    if not isinstance(subject, Runner):
        return StreamPanel(subject, **options)
    window, speed = subject.pace
    return StreamPanel(subject.source, runner=subject, window=window, speed=speed, **options)
