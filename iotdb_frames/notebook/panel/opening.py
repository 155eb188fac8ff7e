"""Opening panels: called by `.panel()` of a source, a stream or a sink."""

from __future__ import annotations

from typing import Any

from iotdb_frames.notebook.panel.shown import LivePanel
from iotdb_frames.notebook.panel.sink_panel import SinkPanel
from iotdb_frames.notebook.panel.stream_panel import StreamPanel
from iotdb_frames.play.runner import Runner
from iotdb_frames.sink.sink import IoTDBSink


def open_panel(subject: Any, **options: Any) -> LivePanel:
    """A panel of a source, or attached to a stream or a sink.

    Parameters
    ----------
    subject : a `SensorSource` or a `Replay`; a `Runner`; or an `IoTDBSink`
    options : of `StreamPanel`, or of `SinkPanel`
    """
    if isinstance(subject, IoTDBSink):
        return SinkPanel(subject, **options)
    if not isinstance(subject, Runner):
        return StreamPanel(subject, **options)
    window, speed = subject.pace
    return StreamPanel(subject.source, runner=subject, window=window, speed=speed, **options)
