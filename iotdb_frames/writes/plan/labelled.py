"""A frame's columns and index levels as labelled sources, and which of them holds the times."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from iotdb_frames.codec.sources import Source, from_arrow, from_numpy, from_pandas
from iotdb_frames.codec.types import kind_of
from iotdb_frames.errors import (
    ColumnTypeError,
    FrameError,
    OptionsError,
    TimeIndexError,
    nearest,
)
from iotdb_frames.options import check_choice

_FEW_CELLS = 1 << 16


@dataclass(frozen=True)
class Labelled:
    """A frame as labelled sources; `index` is what a pandas index gave."""

    sources: dict[Hashable, Source]
    index: dict[Hashable, Source]
    n_rows: int
    n_column_levels: int = 1
    is_pandas: bool = True

    def told(self, time: Hashable | None) -> str | None:
        """How pandas calls the times; None where it is not at hand."""
        if time in self.sources:
            return f"df[{time!r}]" if self.is_pandas else None
        return "df.index" if len(self.index) < 2 else f"df.reset_index()[{time!r}]"

    @property
    def time_choices(self) -> list[str]:
        """What names a column of times, for each that there is."""
        kinds = ((label, s) for label, s in self.sources.items() if s.dtype != "object")
        return [f"time={label!r}" for label, s in kinds if kind_of(s.type) == "timestamp"]


def labelled(data: Any, *, time: Hashable | None) -> Labelled:
    """The sources of a frame: DataFrame, Series, pyarrow Table or RecordBatch."""
    if isinstance(data, pa.Table | pa.RecordBatch):
        return _from_arrow_table(data)
    return _from_frame(data, time)


def require(columns: dict[Hashable, Source], labels: Sequence[Hashable], option: str) -> None:
    """Refuse labels that the frame lacks, with the nearest that it has.

    Raises
    ------
    FrameError
    """
    for label in labels:
        if label not in columns:
            names = [c for c in columns if isinstance(c, str)]
            raise FrameError(
                f"{option} names {label!r}, and the frame has no such column",
                column=label,
                hint=nearest(label, names),
            )


def _from_arrow_table(data: pa.Table | pa.RecordBatch) -> Labelled:
    if len(set(data.schema.names)) < len(data.schema.names):
        _refuse_duplicates(pd.Index(data.schema.names))
    sources: dict[Hashable, Source] = {}
    for name, column in zip(data.schema.names, data.columns, strict=True):
        sources[name] = from_arrow(column, name)
    return Labelled(sources, {}, data.num_rows, is_pandas=False)


def _refuse_duplicates(index: pd.Index) -> None:
    if not index.is_unique:
        label = index[index.duplicated()][0]
        raise FrameError(
            f"column {label!r} occurs more than once",
            column=label,
            hint="rename one: labels name measurements, and a second would overwrite the first",
        )


def _from_frame(data: Any, time: Hashable | None) -> Labelled:
    if isinstance(data, pd.Series):
        data = data.to_frame(name="value" if data.name is None else data.name)
    if not isinstance(data, pd.DataFrame):
        raise OptionsError(
            f"a {type(data).__name__} cannot be written",
            hint="a DataFrame, a Series, or anything with the Arrow C stream interface",
        )
    _refuse_duplicates(data.columns)
    sources = _columns(data)
    index = _index_sources(data.index, needs_time=time is None)
    for label in index:
        if label in sources:
            raise FrameError(
                f"{label!r} is a column and a level of the index", column=label, hint="rename one"
            )
    return Labelled(sources, index, len(data), data.columns.nlevels)


def _columns(data: pd.DataFrame) -> dict[Hashable, Source]:
    """The sources of a DataFrame's columns.

    A few numbers of one dtype are taken all at once, copied where pandas has them in pieces: to
    make a Series of each column takes longer than all else that a small write does.
    """
    if data.size <= _FEW_CELLS:
        kinds = set(data.dtypes.to_numpy())
        kind = next(iter(kinds)) if len(kinds) == 1 else None
        if isinstance(kind, np.dtype) and kind.kind in "fiub":
            values = data.to_numpy()
            return {label: from_numpy(values[:, i], label) for i, label in enumerate(data.columns)}
    return {label: from_pandas(column, label) for label, column in data.items()}


def _index_sources(index: pd.Index, *, needs_time: bool) -> dict[Hashable, Source]:
    """Levels of the index that hold data: all of a MultiIndex, and any named or non-integer one."""
    if isinstance(index, pd.MultiIndex):
        if None in index.names or len(set(index.names)) < index.nlevels:
            raise FrameError(
                "every level of a MultiIndex needs a name of its own",
                hint="df.index.names = [...], or df.reset_index()",
            )
        return {
            name: from_pandas(index.get_level_values(i), name) for i, name in enumerate(index.names)
        }
    if not needs_time and index.name is None and pd.api.types.is_integer_dtype(index.dtype):
        return {}  # row numbers, not data
    try:
        return {index.name: from_pandas(index, index.name)}
    except ColumnTypeError as exc:
        if not needs_time:
            raise
        is_period = isinstance(index.dtype, pd.PeriodDtype)
        raise TimeIndexError(
            f"the index ({index.dtype}) holds no times",
            column=index.name,
            row=exc.row,
            hint="df.index.to_timestamp()" if is_period else "set a DatetimeIndex, or time='…'",
        ) from exc


def find_times(table: Labelled, time: Hashable | None, time_unit: str | None) -> Source:
    """The times: of the column `time`, else of the index, else of ``time``.

    Raises
    ------
    TimeIndexError, FrameError, OptionsError
    """
    choices = [] if time is not None else table.time_choices
    which = " or ".join(choices)
    if time is not None:
        everything = {**table.sources, **table.index}
        require(everything, [time], "time")
        source = everything[time]
    elif table.index:
        found = [
            s
            for s in table.index.values()
            if kind_of(s.type) in ("timestamp", "date") or len(table.index) == 1
        ]
        if len(found) != 1:
            raise TimeIndexError(
                f"{len(found)} levels of the index hold times, not one",
                hint=which or "name the time column: time='…', after df.reset_index()",
            )
        source = found[0]
    elif "time" in table.sources:
        source = table.sources["time"]
    else:
        which = which or "name the time column: time='…'"
        raise TimeIndexError("no column is called time", hint=which)
    check_time_kind(source, time_unit, them=table.told(time or source.label), choices=choices)
    return source


def plain_times(source: Source) -> Source:
    """Times that are categories as plain ones, and dates as their midnights, which are naive."""
    data: Any = source.data
    kind = source.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
        data = data.cast(kind)
    if pa.types.is_date(kind):
        kind = pa.timestamp("s") if kind == pa.date32() else pa.timestamp("ms")
        if isinstance(data, np.ndarray):
            data = source.take(slice(0, len(source)))
        data = data.cast(kind)
    return source if data is source.data else replace(source, type=kind, data=data)


def check_time_kind(
    source: Source,
    time_unit: str | None,
    *,
    them: str | None = "df.index",
    choices: Sequence[str] = (),
) -> None:
    """Refuse what holds no times: datetimes, dates, or numbers with a unit.

    Parameters
    ----------
    them : how pandas calls it; None where it is not at hand
    choices : what would name another column, which holds times

    Raises
    ------
    TimeIndexError, OptionsError
    """
    kind = kind_of(source.type)
    where = "the index" if source.label is None else f"time {source.label!r}"
    if kind == "timestamp" and time_unit is None and source.dtype != "object":
        return
    if kind == "date" and time_unit is None:
        return
    is_number = kind in ("int", "float", "decimal")
    if is_number and time_unit in ("s", "ms", "us", "ns"):
        return
    if len(source) == 0 and kind == "null":
        return
    check_choice("time_unit", time_unit, ("s", "ms", "us", "ns"), is_optional=True)
    if kind in ("timestamp", "date") and time_unit is not None:
        hint = "time_unit= is for times that are numbers: leave it out"
    elif choices:
        hint = " or ".join(choices)
    elif kind == "timestamp":
        # With utc=True, naive ones would no longer be wall times of the connection's zone.
        hint = f"pd.to_datetime({them})"
        hint = hint if source.type.tz is None else f"{hint[:-1]}, utc=True)"
    elif is_number:
        hint = "say what the numbers count: time_unit='ms'"
        if them == "df.index":
            hint = f"set a DatetimeIndex, name the column (time='…'), or {hint}"
    elif kind == "string" and them is None:
        hint = "cast it to timestamps"
    elif kind == "string":
        hint = f"pd.to_datetime({them})"
        if them == "df.index":
            hint = f"set a DatetimeIndex, {hint}, or name the time column: time='…'"
    else:
        hint = "set a DatetimeIndex (df.set_index('…')), or name the time column: time='…'"
    raise TimeIndexError(f"{where} ({source.dtype}) holds no times", column=source.label, hint=hint)
