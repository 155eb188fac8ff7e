"""A look at all files before anything is sent: their columns, their types, how they are written.

Types are a matter of all files together: a column of whole numbers in one and of fractions in
another is DOUBLE from the first row on.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from iotdb_frames.client.connection import Connection
from iotdb_frames.codec.names import Target
from iotdb_frames.codec.types import default_type
from iotdb_frames.errors import FrameError
from iotdb_frames.files.csv.dialect import CsvDialect
from iotdb_frames.files.csv.forms import Forms
from iotdb_frames.files.csv.infer import check_order
from iotdb_frames.files.csv.infer_times import day_or_month
from iotdb_frames.files.csv.reader import CsvReader
from iotdb_frames.files.json_lines import JsonReader
from iotdb_frames.files.options import FileOptions, write_options_for
from iotdb_frames.files.pieces import no_column
from iotdb_frames.files.readers import open_reader
from iotdb_frames.files.refusals import without_pandas
from iotdb_frames.files.sources import EmptyFile, SourceFile
from iotdb_frames.options import TSDataType, WriteOptions
from iotdb_frames.writes.plan.plan import WritePlan
from iotdb_frames.writes.planner import plan_frame

_NUMBERS = (TSDataType.INT32, TSDataType.INT64, TSDataType.FLOAT, TSDataType.DOUBLE)
_CSV_TYPE = {
    TSDataType.BOOLEAN: "bool",
    TSDataType.INT32: "int64",
    TSDataType.INT64: "int64",
    TSDataType.FLOAT: "float",
    TSDataType.DOUBLE: "double",
    TSDataType.TEXT: "string",
    TSDataType.STRING: "string",
    TSDataType.BLOB: "string",
    TSDataType.TIMESTAMP: "timestamp",
    TSDataType.DATE: "date32",
}


@dataclass
class Surveyed:
    """A file that was looked at.

    types : IoTDB type its columns would get by themselves, by label
    names : of all columns that it has
    plan : of its sample; None where another file of the same columns has it
    """

    file: SourceFile
    dialect: CsvDialect | None
    types: dict[str, TSDataType]
    plan: WritePlan | None = None
    error: FrameError | None = None
    names: Sequence[str] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing in it."""
        return isinstance(self.error, EmptyFile)


@dataclass
class Survey:
    """All files that were looked at.

    agreed : types that files have to agree on, by label
    problems : what cannot go together, in words
    """

    files: list[Surveyed] = field(default_factory=list)
    agreed: dict[str, TSDataType] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def notes(self) -> list[str]:
        """What is no reason to stop, and a person should know."""
        empty = [one.file.name for one in self.files if one.is_empty]
        more = f" and {len(empty) - 1:,} more" if len(empty) > 1 else ""
        return [f"{empty[0]}{more}: empty"] if empty else []

    def check_labels(self, options: FileOptions, write: WriteOptions) -> None:
        """Refuse labels that no file has.

        Raises
        ------
        FrameError
        """
        known = dict.fromkeys(name for one in self.files for name in one.names)
        csv = options.csv
        for what, labels in (
            ("schema", write.series),
            ("columns", options.columns),
            ("csv: types", csv.types),
            ("csv: sentinels", csv.sentinels),
        ):
            for label in (labels or ()) if known else ():
                if label not in known:
                    name = self.files[0].file.name if len(self.files) == 1 else None
                    there = f"{name} has no such column" if name else "no file has such a column"
                    raise no_column(there, what, label, known)


@dataclass
class _Known:
    """What files that were looked at spare those that follow.

    types : as of `Surveyed`, by what files have in common
    plans : of samples, by their columns
    """

    forms: Forms = field(default_factory=Forms)
    types: dict[Hashable, dict[str, TSDataType]] = field(default_factory=dict)
    plans: dict[Any, WritePlan] = field(default_factory=dict)


def survey(
    files: Iterable[SourceFile],
    options: FileOptions,
    write: WriteOptions,
    connection: Connection | None,
    target: Target,
) -> Survey:
    """Look at files: footers, and samples of those that have none.

    Parameters
    ----------
    options, write : how they are read, and written
    connection : None: the server is not asked, and its precision taken for ms
    """
    found = Survey()
    known = _Known()
    plans = known.plans
    for file in files:
        try:
            found.files.append(_look(file, options, write, connection, target, known))
        except FrameError as exc:
            without_pandas(exc)
            if not exc.message.startswith(file.name):
                exc.message = f"{file.name}: {exc.message}"
            found.files.append(Surveyed(file, None, {}, error=exc))
    _check_orders(found, options)
    _agree(found, write, plans.values())
    seen: dict[str, TSDataType] = {}
    for one in reversed(found.files):
        seen |= one.types
    for one in found.files:
        if one.dialect is None:
            continue
        settled = _settle_types(one, found.agreed, seen, options, write, plans.values())
        if one.plan is not None and one.plan.problems and settled != one.dialect:
            sample = open_reader(one.file, options, settled).sample()
            one.plan = _plan(sample, one.plan.options.time, write, connection, target)
        one.dialect = settled
    return found


def _check_orders(found: Survey, options: FileOptions) -> None:
    """Dates with dots have the day first, but not where another file has the month there."""
    orders = {
        one.file.name: day_or_month(one.dialect.time_format or "")
        for one in found.files
        if one.dialect is not None and one.file.format == "csv"
    }
    others = [name for name, order in orders.items() if order == ("m", ".")]
    for one in found.files if others else ():
        if one.file.name in orders and one.dialect is not None:
            try:
                check_order(one.file, options, one.dialect, other_file=others[0])
            except FrameError as exc:
                one.error = exc


def _look(
    file: SourceFile,
    options: FileOptions,
    write: WriteOptions,
    connection: Connection | None,
    target: Target,
    known: _Known,
) -> Surveyed:
    reader = open_reader(file, options, forms=known.forms)
    dialect = reader.dialect if isinstance(reader, CsvReader | JsonReader) else None
    kind = _kind_of(file, reader)
    if kind in known.types:
        return Surveyed(file, dialect, known.types[kind], names=reader.shaper.names)
    sample = reader.sample()
    kinds = {f.name: default_type(f.type) for f in sample.schema if f.name != reader.time}
    types = {name: kind for name, kind in kinds.items() if kind is not None}
    key = (reader.time, tuple(sample.schema.names), tuple(map(str, sample.schema.types)))
    plan = None
    if key not in known.plans:
        plan = known.plans[key] = _plan(sample, reader.time, write, connection, target)
    if kind is not None:
        known.types[kind] = types
    return Surveyed(file, dialect, types, plan, names=reader.shaper.names)


def _kind_of(file: SourceFile, reader: Any) -> Hashable | None:
    """What files have in common whose samples have the same types; None: the sample tells."""
    if not isinstance(reader, CsvReader):
        return None
    dialect = reader.dialect
    if {n for n in dialect.names or () if n} - {
        *(dialect.types or {}),
        *(dialect.time_columns or ()),
    }:
        return None  # the sample may have the first value of a column
    places = tuple((label, value is None) for label, value in file.partitions)
    return replace(dialect, sentinels=None).to_json(), places


def _plan(
    sample: pa.Table,
    time: Hashable | None,
    write: WriteOptions,
    connection: Connection | None,
    target: Target,
) -> WritePlan:
    known = write_options_for(write, sample.schema.names, time)
    # What a sample shows of rows that do not fit is no reason to stop: they are told by line.
    return plan_frame(connection, sample, target, replace(known, create=True))


def _agree(found: Survey, write: WriteOptions, plans: Iterable[WritePlan]) -> None:
    """Types for columns that files give different ones; the server's own and the user's stand."""
    fixed = {*_there(plans), *(k for k, v in write.series.items() if v.data_type)}
    seen: dict[str, dict[TSDataType, str]] = {}
    for one in found.files:
        for label, kind in one.types.items():
            seen.setdefault(label, {}).setdefault(kind, one.file.name)
    for label, kinds in seen.items():
        if len(kinds) == 1 or label in fixed:
            continue
        if all(kind in _NUMBERS for kind in kinds):
            has_fractions = TSDataType.FLOAT in kinds or TSDataType.DOUBLE in kinds
            found.agreed[label] = TSDataType.DOUBLE if has_fractions else TSDataType.INT64
        else:
            told = ", ".join(f"{kind.name} in {name}" for kind, name in kinds.items())
            found.problems.append(f"column {label!r} is {told}")


def _there(plans: Iterable[WritePlan]) -> dict[Hashable, TSDataType]:
    """Types of columns that the server has, also where what the sample shows does not go in."""
    out: dict[Hashable, TSDataType] = {}
    for plan, part in [(one, part) for one in plans for part in one.parts]:
        for planned in part.columns:
            if planned.state == "exists":
                kinds = {
                    there[planned.column.name]
                    for device, there in plan.existing.types.items()
                    if planned.column.name in there and part.device in (device, None)
                }
                kinds = kinds if planned.data_type is None else {planned.data_type}
                if len(kinds) == 1:
                    out[planned.column.source.label] = kinds.pop()
    return out


def _settle_types(
    one: Surveyed,
    agreed: Mapping[str, TSDataType],
    seen: Mapping[str, TSDataType],
    options: FileOptions,
    write: WriteOptions,
    plans: Iterable[WritePlan],
) -> CsvDialect:
    """A file's types, as the server, the user and the other files want them."""
    assert one.dialect is not None
    wanted: dict[Hashable, TSDataType] = {}
    wanted.update(agreed)
    wanted.update(_there(plans))
    for label, option in write.series.items():
        if option.data_type is not None:
            wanted[label] = option.data_type
    # A column that is empty in this sample has the type that another file gives it.
    for label, kind in seen.items():
        if label not in one.types:
            wanted.setdefault(label, kind)
    own: Mapping[str, str] = one.dialect.types or {}
    names = set(one.dialect.names or ())
    given = set(options.csv.types or {})
    more = {
        str(label): _CSV_TYPE[kind]
        for label, kind in wanted.items()
        if label in names and label not in given and own.get(str(label)) != _CSV_TYPE[kind]
    }
    return one.dialect.with_types(more) if more else one.dialect
