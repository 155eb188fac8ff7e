"""Events that cannot be serialized, as rows of a dead letter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from iotdb_frames.errors import FrameError, IoTDBFramesError
from iotdb_frames.sink.tickets import Entry
from iotdb_frames.writes.refused import rows_of


def without_unfit(
    event: Any, exc: Exception, serialize: Callable[[Any], list[Entry]]
) -> tuple[list[Entry], list[tuple[pa.Table, IoTDBFramesError]]]:
    """What is left of an event that cannot be serialized, and what is refused, with reasons.

    Each event of a list is tried alone.

    Parameters
    ----------
    exc : why the whole event cannot be serialized
    serialize : raises if it cannot
    """
    if type(event) is not list or len(event) < 2:
        return [], [(event_table(event), _as_ours(exc))]
    entries: list[Entry] = []
    unfit: dict[str, tuple[list[Any], Exception]] = {}
    for one in event:
        try:
            entries += serialize([one])
        except Exception as one_exc:
            unfit.setdefault(str(one_exc), ([], one_exc))[0].append(one)
    return entries, [(event_table(some), _as_ours(why)) for some, why in unfit.values()]


def _as_ours(exc: Exception) -> IoTDBFramesError:
    if isinstance(exc, IoTDBFramesError):
        return exc
    error = FrameError(
        f"the event cannot be serialized: {type(exc).__name__}: {exc}",
        hint="it is the serializer that raised this",
    )
    error.__cause__ = exc
    return error


def event_table(event: Any) -> pa.Table:
    """An event as rows: a frame's own columns, else one column ``event`` of reprs."""
    if isinstance(event, pd.DataFrame | pa.Table | pa.RecordBatch):
        try:
            return rows_of(event, np.arange(len(event)))
        except (FrameError, pa.ArrowException):  # invalid columns
            frame = event if isinstance(event, pd.DataFrame) else event.to_pandas()
            index = [] if isinstance(frame.index, pd.RangeIndex) else [frame.index]
            columns = [frame.iloc[:, i] for i in range(frame.shape[1])]
            event = list(zip(*index, *columns, strict=True))
    rows = event if type(event) is list else [event]
    # A lone surrogate is not text for Arrow.
    texts = [repr(row).encode("utf-8", "backslashreplace").decode() for row in rows]
    return pa.table({"event": pa.array(texts, pa.string())})
