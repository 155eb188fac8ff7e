"""A `SensorSource` as a stream of Flink's: the source of the connector's example, and fleets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from iotdb_frames.errors import OptionsError, missing_extra
from iotdb_frames.simulate.source import SensorSource

try:
    from pyflink.common import Types, WatermarkStrategy
    from pyflink.datastream import DataStream, FlatMapFunction
    from pyflink.datastream.connectors.number_seq import NumberSequenceSource
except ImportError as exc:
    raise missing_extra("flink", "a stream for Flink") from exc


class _Windows(FlatMapFunction):  # type: ignore[misc]
    """Gives the events of windows by their numbers: the same ones, however often and wherever."""

    def __init__(self, source: SensorSource, window: int) -> None:
        self.source = source
        self.window = window

    def flat_map(self, number: int) -> Iterator[dict[Any, Any]]:
        first = number * self.window
        n_ticks = min(self.window, (self.source.n_ticks or 0) - first)
        frame = self.source.window(n_ticks, at=first).rename_axis("timestamp").reset_index()
        values = frame.astype(object)
        yield from values.where(pd.notna(values), None).to_dict("records")


def stream(source: SensorSource, env: Any, *, window: int = 100) -> DataStream:
    """The events of a source, as mappings of ``timestamp``, ``device`` or tags, and measurements.

    Parameters
    ----------
    source : one that ends
    env : the StreamExecutionEnvironment
    window : ticks that a task makes at a time

    Raises
    ------
    OptionsError : a source without an end.
    """
    if source.n_ticks is None:
        raise OptionsError("the source has no end", hint='SensorSource(duration="10min")')
    numbers = NumberSequenceSource(0, -(-source.n_ticks // window) - 1)
    found = env.from_source(numbers, WatermarkStrategy.no_watermarks(), "windows of sensors")
    return found.flat_map(_Windows(source, window), output_type=Types.PICKLED_BYTE_ARRAY())
