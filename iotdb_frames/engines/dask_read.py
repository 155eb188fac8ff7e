"""`read_dask`: a target as a Dask frame, cut into ranges of time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pandas as pd

from iotdb_frames.client.endpoint import Endpoint
from iotdb_frames.engines.jobs import endpoint_of
from iotdb_frames.engines.ranges import time_ranges
from iotdb_frames.options import as_whole, hide_url
from iotdb_frames.reads.frames import DtypeBackend
from iotdb_frames.reads.read import read

if TYPE_CHECKING:
    import dask.dataframe as dd

    from iotdb_frames.client.connection import Connection


def read_dask(
    target: str,
    *,
    partitions: int = 8,
    columns: Sequence[str] | None = None,
    start: Any = None,
    end: Any = None,
    where: Mapping[str, Any] | None = None,
    device: str | None = None,
    tz: str | tzinfo | None = None,
    dtype_backend: DtypeBackend = None,
    connection: Connection | Endpoint | str | None = None,
) -> dd.DataFrame:
    """What was written to a target, as a Dask frame: each partition is read by the task needing it.

    Partitions are ranges of time of equal length between the first and the last row that is there
    now, whatever comes later. Rows are in time order, also those of several devices, and divisions
    are known; except where times are naive in another zone than UTC, which repeats an hour a year.

    Parameters
    ----------
    partitions : how many at most, up to 10,000
    target, columns, start, end, where, device, tz, dtype_backend : as in `iotdb_frames.read`
    connection : a Connection, an Endpoint or a URL; its password reaches workers in other processes
        only as their ``IOTDB_PASSWORD``, or in ``iotf.Endpoint.of(connection, travels=True)``

    Raises
    ------
    MissingExtraError : Dask is not installed; QueryError : an unknown path, table or column
    """
    connection = hide_url(connection)
    partitions = as_whole("partitions", partitions)
    from iotdb_frames.engines.dask import from_map  # with it, what is read can be written

    endpoint = endpoint_of(connection)
    there = endpoint.connection()
    how: dict[str, Any] = {
        "columns": columns,
        "where": where,
        "device": device,
        "tz": tz,
        "dtype_backend": dtype_backend,
    }
    meta: pd.DataFrame = read(target, limit=0, connection=there, **how)
    said = meta.attrs["iotdb"]
    ranges = time_ranges(there, target, said, start=start, end=end, where=where, n=partitions)
    is_plain = tz is not None or there.options.time_zone == "UTC"
    # In the tree model a row is there if one of the columns that are read has a value, so that Dask
    # may not leave out columns that a computation does not need.
    kind = _TablePart if "tags" in said else _Part
    part = kind(endpoint, target, meta, how, is_sorted=is_plain)
    divisions = None
    if is_plain and ranges:
        ticks = [*(low for low, _ in ranges), ranges[-1][1] - 1]
        divisions = tuple(_to_index(ticks, said["precision"], meta.index))
    return from_map(
        part,
        ranges or [(0, 0)],
        meta=meta,
        divisions=divisions,
        label="read-iotdb",
        enforce_metadata=True,
    )


def _to_index(ticks: Sequence[int], precision: str, like: pd.Index) -> pd.DatetimeIndex:
    times = pd.DatetimeIndex(pd.array(ticks, "int64").to_numpy().view(f"M8[{precision}]"))
    zone = getattr(like, "tz", None)
    return times if zone is None else times.tz_localize("UTC").tz_convert(zone)


@dataclass(frozen=True)
class _Part:
    """Reads one range of time.

    meta : a frame without rows
    how : arguments of `read`
    is_sorted : whether times order rows
    token : makes what one call of `read_dask` gives another thing than what an earlier one gave,
        which Dask may hold, and which may be out of date
    """

    endpoint: Endpoint
    target: str
    meta: pd.DataFrame
    how: dict[str, Any]
    is_sorted: bool
    token: str = field(default_factory=lambda: uuid4().hex)

    def __dask_tokenize__(self) -> str:
        return self.token

    def __call__(self, ticks: tuple[int, int]) -> pd.DataFrame:
        return self.read(ticks)

    def read(self, ticks: tuple[int, int], **how: Any) -> pd.DataFrame:
        """The rows of a range, from its first tick on; `how` goes before the arguments of all."""
        start, end = ticks
        if start == end:
            return self.meta
        where = {"start": start, "end": end, "connection": self.endpoint.connection()}
        frame: pd.DataFrame = read(self.target, **{**self.how, **where, **how})
        if self.is_sorted and not frame.index.is_monotonic_increasing:
            frame = frame.sort_index(kind="stable")
        return frame.astype({name: self.meta[name].dtype for name in frame.columns})


class _TablePart(_Part):
    """Reads only what is needed of a range: `columns` is Dask's word for it."""

    def __call__(
        self, ticks: tuple[int, int], columns: Sequence[str] | None = None
    ) -> pd.DataFrame:
        if columns is None:
            return self.read(ticks)
        names = list(columns)
        return self.read(ticks, columns=names)[names]
