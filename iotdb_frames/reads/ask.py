"""What a call of `read` asks for: checked before anything is sent."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from iotdb_frames.client.connection import Connection
from iotdb_frames.codec.names import Target, normal_path, parse_target
from iotdb_frames.codec.times import moment, rescale, to_timedelta
from iotdb_frames.errors import OptionsError
from iotdb_frames.options import as_bool, as_whole, check_choice
from iotdb_frames.reads.select import AGGREGATES
from iotdb_frames.reads.where import conditions

DEVICE = "device"
"""Label of the device column where none is given."""
_PATTERN = re.compile(r"(?P<base>.+?)\.(?P<pattern>\*\*?)")


def split_pattern(target: str) -> tuple[str, str | None]:
    """A target without ``.*`` or ``.**`` at its end, and which of them that was."""
    match = _PATTERN.fullmatch(target.strip()) if isinstance(target, str) else None
    return (match["base"], match["pattern"]) if match else (target, None)


@dataclass(frozen=True, kw_only=True)
class Ask:
    """A call of `read`; times and lengths in ticks of the server.

    pattern : "**" or "*" where the target ended so
    where : SQL conditions, by the raw name of their column
    chosen : what `where` wants of the column that names each row's device (tree model)
    """

    target: Target
    pattern: str | None
    columns: tuple[str, ...] | None
    start: int | None
    end: int | None
    where: Mapping[str, str]
    chosen: Any
    every: int | None
    agg: str | Mapping[str, str] | None
    fill: Any
    limit: int | None
    device: str | None
    wide: bool
    precision: str

    @property
    def sql_limit(self) -> int | None:
        """The limit where the server's rows are the frame's."""
        return None if self.fill is not None or self.wide or not self.limit else self.limit

    @property
    def conditions(self) -> tuple[str, ...]:
        """What of a row is to hold, as SQL."""
        return tuple(self.where.values())

    @property
    def label(self) -> str:
        """Of the device column."""
        return self.device or DEVICE

    @property
    def paths(self) -> str:
        """The devices below the target that are read, as FROM takes them."""
        base = self.target.path
        if self.chosen is None:
            return f"{base}.{self.pattern or '**'}"
        is_list = isinstance(
            self.chosen, list | set | frozenset | np.ndarray | pd.Index | pd.Series
        )
        names = list(self.chosen) if is_list else [self.chosen]
        if not names or not all(isinstance(name, str) and "*" not in name for name in names):
            raise OptionsError(
                f"where= of {self.label!r}, which names devices: {self.chosen!r}",
                hint=f'where={{"{self.label}": ["press1", "press2"]}}: below {base}, without *',
            )
        return ", ".join(dict.fromkeys(normal_path(name, under=base) for name in names))

    def of_devices(self) -> Ask:
        """The same where FROM says which devices, and conditions are on their measurements."""
        if self.chosen is None:
            return self
        conditions = {name: sql for name, sql in self.where.items() if name != self.label}
        return replace(self, where=conditions)

    def word_of(self, column: str) -> str:
        """The aggregate of a column."""
        return self.agg[column] if isinstance(self.agg, Mapping) else str(self.agg)


def check_ask(
    connection: Connection,
    target: Any,
    *,
    columns: Any = None,
    start: Any = None,
    end: Any = None,
    where: Any = None,
    every: Any = None,
    agg: Any = None,
    fill: Any = None,
    limit: Any = None,
    device: Any = None,
    wide: Any = False,
    chunk_rows: Any = None,
) -> Ask:
    """The arguments of `read`, understood.

    Raises
    ------
    OptionsError : an invalid option.
    """
    if limit is not None:
        limit = as_whole("limit", limit, least=0)
    if chunk_rows is not None:
        chunk_rows = as_whole("chunk_rows", chunk_rows)
    _check_windows(every, agg, fill)
    names = None if columns is None else _names(columns, "columns")
    if isinstance(agg, Mapping):
        aggregated = _names(list(agg), "agg")
        missing = [name for name in names or () if name not in agg]
        if missing:
            raise OptionsError(f"agg= names nothing for {', '.join(missing)}")
        names = names or aggregated
    if chunk_rows is not None and (fill is not None or wide):
        raise OptionsError("fill= and wide= need all rows at once", hint="leave out chunk_rows=")
    wide = as_bool("wide", wide)
    if device is not None and (not isinstance(device, str) or not device):
        raise OptionsError(f"device={device!r} is not a column label", hint='device="machine"')
    if wide and device is not None:
        raise OptionsError("wide=True gives no device column; leave out device=")
    base, pattern = split_pattern(target)
    goal = parse_target(base, database=connection.options.database)
    if goal.model == "table" and (pattern or wide or device is not None):
        raise OptionsError("device=, wide= and patterns belong to the tree model; a table has tags")
    if goal.path == "root" and not pattern:
        raise OptionsError("root is not a device", hint='all devices: "root.**"')
    if goal.model == "table":
        names = None if names is None else tuple(name.lower() for name in names)
        agg = {k.lower(): word for k, word in agg.items()} if isinstance(agg, Mapping) else agg
    precision = connection.server.precision

    def to_tick(value: Any, *, name: str = "where") -> int:
        zone = connection.options.time_zone
        return moment(value, name=name, zone=zone, precision=precision)

    bounds = [
        None if value is None else to_tick(value, name=name)
        for name, value in (("start", start), ("end", end))
    ]
    if limit == 0:
        # No time at all: LIMIT 0 is refused by the tree model, and no limit to the table model.
        bounds = [0, 0]
    return Ask(
        target=goal,
        pattern=pattern,
        columns=names,
        start=bounds[0],
        end=bounds[1],
        where=conditions(where, model=goal.model, to_tick=to_tick),
        chosen=where.get(device or DEVICE) if where and goal.model == "tree" else None,
        every=None if every is None else _ticks(every, precision),
        agg=agg,
        fill=fill,
        limit=limit,
        device=device,
        wide=bool(wide),
        precision=precision,
    )


def _names(columns: Any, option: str) -> tuple[str, ...]:
    if isinstance(columns, str) or not isinstance(columns, Sequence | pd.Index | np.ndarray):
        one = columns if isinstance(columns, str) else "temp"
        raise OptionsError(f"{option}={columns!r} must be a list", hint=f"{option}=[{one!r}]")
    names = tuple(columns)
    if not names or not all(isinstance(name, str) and name for name in names):
        raise OptionsError(f"{option}={columns!r} must name columns by text")
    if len(set(names)) < len(names):
        raise OptionsError(f"{option}={columns!r} names a column twice")
    return names


def _check_windows(every: Any, agg: Any, fill: Any) -> None:
    if (every is None) != (agg is None):
        raise OptionsError("every= and agg= go together", hint='every="1min", agg="mean"')
    if every is None and fill is not None:
        raise OptionsError("fill= goes with every=", hint='every="1min", agg="mean", fill="linear"')
    for word in agg.values() if isinstance(agg, Mapping) else [agg]:
        check_choice("agg", word, AGGREGATES, is_optional=agg is None)


def _ticks(every: Any, precision: Any) -> int:
    try:
        if isinstance(every, int | float | np.number):
            raise TypeError("a number has no unit")
        length = to_timedelta(every)
        if pd.isna(length) or length <= pd.Timedelta(0):
            raise ValueError("it must be more than 0")
        ns = length.value
    except (ValueError, TypeError, OverflowError) as exc:
        raise OptionsError(
            f"every={every!r} is not a valid length of time: {exc}", hint='e.g. "1min", "5s", "1D"'
        ) from exc
    ticks = rescale(np.array([ns]), unit="ns", precision=precision, is_lossy=False)
    if ticks.is_bad is not None:
        raise OptionsError(f"every={every!r} {ticks.why}")
    return int(ticks.values[0])
