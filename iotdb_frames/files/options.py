"""How files are read: which columns and rows of them, and how a CSV file is written."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from iotdb_frames.errors import OptionsError
from iotdb_frames.files.csv.dialect import CsvDialect
from iotdb_frames.options import WriteOptions


@dataclass(frozen=True, kw_only=True)
class FileOptions:
    """How files are read, checked.

    time : label of the column of times; None: it is looked for
    time_unit : what times that are numbers count, with a fraction or without
    device, tags, attributes : labels of columns that say what a row belongs to, as in WriteOptions
    columns : labels to take; None: all
    filter : rows to take: an Arrow expression, or (column, operator, value) lists as of pyarrow
    file_column : label of a column that holds each file's name without folder and endings
    format : of all files; None: by their endings
    csv : what is known of CSV files, or a mapping of that; for JSON lines, too, how times and
        numbers in texts are written
    is_lossy : whether a whole number of a text may lose digits to a fraction in its column
    unit_bytes : bytes of a piece, as Arrow holds it
    """

    time: Hashable | None = None
    time_unit: str | None = None
    device: Hashable | None = None
    tags: tuple[Hashable, ...] = ()
    attributes: tuple[Hashable, ...] = ()
    columns: tuple[str, ...] | None = None
    filter: Any = None
    file_column: str | None = None
    format: str | None = None
    csv: CsvDialect = field(default_factory=CsvDialect)
    is_lossy: bool = False
    unit_bytes: int = 8 << 20

    def __post_init__(self) -> None:
        object.__setattr__(self, "csv", CsvDialect.of(self.csv))
        for name in ("columns", "tags", "attributes"):
            value = getattr(self, name)
            if isinstance(value, str):
                raise OptionsError(f"{name}={value!r} must be a list")
            if value is not None:
                object.__setattr__(self, name, tuple(value))
        for name, labels in (
            ("time", (self.time,)),
            ("device", (self.device,)),
            ("tags", self.tags),
            ("attributes", self.attributes),
        ):
            for label in labels:
                if label is not None and not isinstance(label, str):
                    raise OptionsError(f"{name}={label!r}: labels of files are texts")
        _ = self.expression  # a wrong filter is said before anything is read

    @classmethod
    def of(cls, write: WriteOptions, **given: Any) -> FileOptions:
        """The options of files that are written so."""
        return cls(
            time=write.time,
            time_unit=write.time_unit,
            device=write.device,
            tags=tuple(write.tags),
            attributes=tuple(write.attributes),
            is_lossy=write.coerce == "lossy",
            **given,
        )

    @property
    def keys(self) -> set[Hashable]:
        """Labels of the columns that say what a row belongs to."""
        return {self.device, *self.tags, *self.attributes} - {None}

    @property
    def filtered(self) -> list[str]:
        """Labels that `filter` names, but for an Arrow expression."""
        return (
            []
            if self.filter is None or isinstance(self.filter, pc.Expression)
            else [name for given in self.filter for name in _named(given)]
        )

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


def write_options_for(
    write: WriteOptions, labels: Iterable[Hashable], time: Hashable | None
) -> WriteOptions:
    """How one file's frames are written: its time column, and what schema= says of its columns."""
    there = set(labels)
    schema = {label: option for label, option in write.series.items() if label in there}
    return replace(write, time=time, schema=schema, progress=False)


def _named(given: Any) -> list[str]:
    """The labels of a condition, or of a list of them."""
    return [given[0]] if isinstance(given[0], str) else [n for one in given for n in _named(one)]


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
