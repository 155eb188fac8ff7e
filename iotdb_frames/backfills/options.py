"""What a backfill was asked for; most of it goes into the manifest, so that a job can resume."""

from __future__ import annotations

import inspect
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from iotdb_frames.backfills.dialect import CsvDialect
from iotdb_frames.errors import OptionsError
from iotdb_frames.options import (
    RetryPolicy,
    WriteOptions,
    parse_bytes,
    show_options,
    write_options,
)
from iotdb_frames.options.write import F

PATIENCE = RetryPolicy(attempts=1_000, first_wait_s=0.2, longest_wait_s=5.0, total_s=600.0)
"""A backfill outwaits a server that is restarted; what lasts longer stops it, and it resumes."""
SHARES = 32
"""A unit takes this part of the budget: one is read, one planned, some are on the wire, and Arrow
needs as much again beside them. Source: peaks that bench_backfill.py measured."""

Verify = Literal["count", "values"]
_DECISIVE = (
    *("time", "time_unit", "device", "tags", "attributes", "aligned"),
    *("nan", "duplicates", "coerce"),
)
_MANNER = ("create", "chunk", "on_error", "workers")


@dataclass(frozen=True, kw_only=True)
class BackfillOptions:
    """What was asked for, checked.

    write : how frames are written
    columns : labels to take; None: all
    filter : rows to take: an Arrow expression, or (column, operator, value) lists as of pyarrow
    file_column : label of a column that holds each file's name without folder and endings
    format : of all files; None: by their endings
    csv : what is known of CSV files
    verify : "count", "values" or None
    durable : refuse a server that acknowledges rows before they are on its disk
    memory : bytes of data that are held at a time, about
    """

    write: WriteOptions = field(default_factory=WriteOptions)
    columns: tuple[str, ...] | None = None
    filter: Any = None
    file_column: str | None = None
    format: str | None = None
    csv: CsvDialect = field(default_factory=CsvDialect)
    verify: Verify | None = "count"
    durable: bool = False
    memory: int = 256 << 20

    def __post_init__(self) -> None:
        if self.verify not in ("count", "values", None):
            raise OptionsError(f"verify={self.verify!r} is none of 'count', 'values', None")
        if self.write.replace:
            raise OptionsError(
                "replace=True is not for backfills: a unit would delete what another one wrote",
                hint="delete first (iotf.delete), then backfill",
            )
        if self.write.duplicates != "merge":
            raise OptionsError(
                f"duplicates={self.write.duplicates!r} needs all rows at once, and these are files",
                hint='duplicates="merge": of each column the last value that is not missing',
            )
        for name in ("time", "device"):
            self._refuse_odd_label(name, getattr(self.write, name))
        for name in ("tags", "attributes"):
            for label in getattr(self.write, name):
                self._refuse_odd_label(name, label)
        if isinstance(self.columns, str):
            raise OptionsError(f"columns={self.columns!r} must be a list")
        _ = self.expression  # a wrong filter is said before anything is read

    @staticmethod
    def _refuse_odd_label(name: str, label: Hashable) -> None:
        if label is not None and not isinstance(label, str):
            raise OptionsError(f"{name}={label!r}: labels of files are texts")

    @property
    def unit_bytes(self) -> int:
        """Bytes of a unit, as Arrow holds it."""
        return max(1 << 16, self.memory // SHARES)

    @property
    def expression(self) -> pc.Expression | None:
        """`filter` as an Arrow expression."""
        return self.expression_on(pa.schema([]))

    def expression_on(self, schema: pa.Schema) -> pc.Expression | None:
        """The same for columns of these types: a text stands for a time where they are times."""
        if self.filter is None or isinstance(self.filter, pc.Expression):
            return self.filter
        import pyarrow.parquet as pq

        try:
            return pq.filters_to_expression([_condition(f, schema) for f in self.filter])
        except (TypeError, ValueError, pa.ArrowInvalid) as exc:
            raise OptionsError(
                f"filter={self.filter!r} is none: {exc}", hint='filter=[("temp", ">", 20)]'
            ) from exc

    def write_for(self, labels: Sequence[Hashable], time: Hashable | None) -> WriteOptions:
        """How one file's frames are written: its time column, and what schema= says of it."""
        there = {k: v for k, v in self.write.series.items() if k in set(labels)}
        return replace(self.write, time=time, schema=there, progress=False)

    def asked(self) -> dict[str, Any]:
        """All of it, as JSON knows it: what decides on the data, and the manner of sending."""
        write = self.write
        return {
            "decisive": {
                **{name: _plain(getattr(write, name)) for name in _DECISIVE},
                "schema": {
                    str(label): [
                        None if value is None else value.name
                        for value in (option.data_type, option.encoding, option.compression)
                    ]
                    for label, option in write.series.items()
                },
                "columns": _plain(self.columns),
                "filter": str(self.expression) if self.filter is not None else None,
                "file_column": self.file_column,
                "format": self.format,
                "csv": self.csv.given(),
            },
            "manner": {
                **{name: getattr(write, name) for name in _MANNER},
                "dead_letter": write.dead_letter and str(Path(write.dead_letter).absolute()),
                "filter": None if isinstance(self.filter, pc.Expression) else self.filter,
                "has_expression": isinstance(self.filter, pc.Expression),
                "verify": self.verify,
                "durable": self.durable,
                "memory": self.memory,
            },
        }


def _condition(given: Any, schema: pa.Schema) -> Any:
    """A condition as pyarrow takes it: a tuple, though it came from JSON; or a list of such."""
    if given and not isinstance(given[0], str):
        return [_condition(one, schema) for one in given]
    name, sign, value = given
    kind = schema.field(name).type if schema.names.count(name) == 1 else None
    if kind is not None and pa.types.is_temporal(kind):
        is_many = isinstance(value, list | tuple | set)
        value = [_moment(v, kind) for v in value] if is_many else _moment(value, kind)
    return name, sign, value


def _moment(value: Any, kind: pa.DataType) -> Any:
    """A text as a value of a type of times; naive ones are in the column's zone."""
    if not isinstance(value, str) or not (pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
        return value
    moment = pd.Timestamp(value)
    if pa.types.is_date(kind):
        return moment.date()
    zone = kind.tz
    if moment.tzinfo is None:
        return moment.tz_localize(zone)
    return moment.tz_convert(zone) if zone else moment.tz_convert("UTC").tz_localize(None)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple | list) else value


def make_options(given: Mapping[str, Any]) -> BackfillOptions:
    """Options from the keyword arguments of `backfill`; unknown ones are named."""
    own = {f.name for f in fields(BackfillOptions)} - {"write"}
    for name in given:
        if (close := get_close_matches(name, own, n=1, cutoff=0.8)) and name not in own:
            raise OptionsError(f"unknown option {name!r}", hint=f"did you mean {close[0]!r}?")
    mine = {k: v for k, v in given.items() if k in own}
    rest = {k: v for k, v in given.items() if k not in own}
    rest.setdefault("retry", PATIENCE)
    mine["csv"] = CsvDialect.of(mine.get("csv"))
    if isinstance(mine.get("columns"), list):
        mine["columns"] = tuple(mine["columns"])
    if "memory" in mine:
        mine["memory"] = parse_bytes(mine["memory"], name="memory")
    return BackfillOptions(write=write_options(rest), **mine)


def show_all_options(call: F) -> F:
    """Let a notebook's help and Tab show what may be asked in place of ``**options``."""
    show_options(call)
    signature = inspect.signature(call)
    shown = [p for p in signature.parameters.values() if p.name not in ("replace", "duplicates")]
    own = BackfillOptions()
    more = [
        inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=getattr(own, f.name))
        for f in fields(BackfillOptions)
        if f.name not in ("write", "csv")
    ]
    csv = inspect.Parameter("csv", inspect.Parameter.KEYWORD_ONLY, default=None)
    call.__signature__ = signature.replace(parameters=[*shown, *more, csv])  # type: ignore[attr-defined]
    return call


def read_asked(asked: Mapping[str, Any]) -> BackfillOptions:
    """The options a manifest holds.

    Raises
    ------
    OptionsError : its filter cannot be kept in a file.
    """
    decisive, manner = dict(asked["decisive"]), dict(asked["manner"])
    if manner.pop("has_expression"):
        raise OptionsError(
            "this job has a filter that only its program knows",
            hint="call iotf.backfill(…) as before: with the same manifest it resumes",
        )
    decisive.pop("filter")
    schema = {
        label: dict(zip(("data_type", "encoding", "compression"), kinds, strict=True))
        for label, kinds in decisive.pop("schema").items()
    }
    from iotdb_frames.options import TimeseriesOption

    decisive["schema"] = {label: TimeseriesOption(**kinds) for label, kinds in schema.items()}
    return make_options({**decisive, **manner})
