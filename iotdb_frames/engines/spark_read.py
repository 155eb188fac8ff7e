"""How Spark reads: a range of time or some devices per task, as Arrow batches of the schema."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyspark.sql import datasource as ds
from pyspark.sql.pandas.types import to_arrow_schema

from iotdb_frames.codec.times import TICKS_PER_S
from iotdb_frames.engines.ranges import device_groups, time_ranges
from iotdb_frames.errors import FrameError
from iotdb_frames.reads.read import read

if TYPE_CHECKING:
    from iotdb_frames.engines.spark import IoTDBDataSource

_READ_ROWS = 100_000
_DEVICES_A_QUERY = 500


def as_spark(field: pa.Field) -> pa.Field:
    """A field as Spark has it, whose times count microseconds."""
    if pa.types.is_timestamp(field.type):
        return pa.field(field.name, pa.timestamp("us", field.type.tz))
    return field


class Part(ds.InputPartition):  # type: ignore[misc]
    """What a task reads: arguments of `read`, its times in ticks of the server."""


class Reader(ds.DataSourceReader):  # type: ignore[misc]
    """Reads some columns; a task reads a range of time, or some devices."""

    def __init__(self, source: IoTDBDataSource, schema: Any) -> None:
        self.names = schema.fieldNames()
        self.schema = to_arrow_schema(schema, timezone="UTC")
        self.target = source.target
        self.where: dict[str, Any] = {}
        self.column = source.given.get("partitioncolumn", "time")
        n = source.count("partitions", 8)
        start, end = source.given.get("start"), source.given.get("end")
        with source.connect() as connection:
            self.endpoint = source.endpoint(connection)
            self.device = source.value("device")
            frame = read(
                self.target,
                columns=source.value("columns"),
                device=self.device,
                limit=0,
                connection=connection,
            )
            self.said = frame.attrs["iotdb"]
            where = (connection, self.target, self.said)
            if self.column == "time":
                ranges = time_ranges(*where, start=start, end=end, where=None, n=n)
                self.parts: list[dict[str, Any]] = [{"start": a, "end": b} for a, b in ranges]
            else:
                groups = device_groups(*where, column=self.column, n=n)
                bounds = {"start": start, "end": end}
                self.parts = [{**bounds, "where": {self.column: group}} for group in groups]

    def partitions(self) -> list[Part]:
        """The parts; Spark wants at least one."""
        return [Part(how) for how in self.parts] or [Part(None)]

    def read(self, partition: Part) -> Iterator[pa.RecordBatch]:
        """The rows of a part, as the schema says."""
        if partition.value is None:
            return
        connection = self.endpoint.connection()
        keys = {"time", self.said.get("device"), *self.said.get("tags", ())}
        columns = [name for name in self.names if name not in keys]
        for how in _queries(partition.value):
            how["where"] = {**self.where, **how.get("where", {})} or None
            there: Sequence[str] = columns
            if self.column == self.said.get("device"):  # a device need not have all columns
                some = read(self.target, **how, device=self.device, limit=0, connection=connection)
                there = [name for name in columns if name in some.columns]
                if columns and not there:
                    continue
            for table in read(
                self.target,
                columns=there or None,
                device=self.device,
                **how,
                tz="UTC",
                returns="arrow",
                chunk_rows=_READ_ROWS,
                connection=connection,
            ):
                yield from _cast(table, self.schema).to_batches()


def _queries(how: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A part's reads, each of not too many devices for one statement."""
    if "where" not in how:
        yield dict(how)
        return
    ((column, values),) = how["where"].items()
    for i in range(0, len(values), _DEVICES_A_QUERY):
        yield {**how, "where": {column: values[i : i + _DEVICES_A_QUERY]}}


def _cast(table: pa.Table, schema: pa.Schema) -> pa.Table:
    columns = []
    for field in schema:
        if field.name not in table.column_names:
            columns.append(pa.nulls(table.num_rows, field.type))
            continue
        try:
            column = table[field.name]
            columns.append(column.cast(field.type))
        except pa.ArrowInvalid as exc:
            raise FrameError(
                f"column {field.name!r} is not a {field.type} exactly: {exc}",
                column=field.name,
                hint="leave it out (columns), or read it as another type (.schema(…))",
            ) from exc
    return pa.Table.from_arrays(columns, schema=schema)


class PushingReader(Reader):
    """A reader whose filters go to the server; Spark looks at its rows again.

    Spark refuses such a reader unless its session allows it, which is off by default.
    """

    def pushFilters(self, filters: Sequence[Any]) -> Iterator[Any]:  # noqa: N802 - Spark's
        """Take up what the server can look at."""
        for one in filters:
            name = ".".join(getattr(one, "attribute", ()))
            if name == "time":
                self._narrow(one)
            elif name == self.column:
                self._choose(one)
            elif name in self.said["types"] or name in self.said.get("tags", ()):
                if isinstance(one, ds.EqualTo) and isinstance(one.value, str | bool | int):
                    self.where[name] = one.value
                elif isinstance(one, ds.In) and all(isinstance(v, str | int) for v in one.value):
                    self.where[name] = list(one.value)
            yield one

    def _narrow(self, one: Any) -> None:
        if not isinstance(getattr(one, "value", None), dt.datetime):
            return
        at = one.value if one.value.tzinfo else one.value.astimezone()
        us = (at - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)
        per_s, per_us = TICKS_PER_S[self.said["precision"]], TICKS_PER_S["us"]
        low, high = us * per_s // per_us, -(-us * per_s // per_us) + 1  # outwards
        if isinstance(one, ds.LessThan | ds.LessThanOrEqual):
            low = None
        elif isinstance(one, ds.GreaterThan | ds.GreaterThanOrEqual):
            high = None
        elif not isinstance(one, ds.EqualTo):
            return
        narrowed = []
        for how in self.parts:
            start, end = how["start"], how["end"]  # a text where an option says so
            if low is not None and not isinstance(start, str):
                start = low if start is None else max(start, low)
            if high is not None and not isinstance(end, str):
                end = high if end is None else min(end, high)
            ticks = [bound for bound in (start, end) if isinstance(bound, int)]
            if len(ticks) < 2 or start < end:
                narrowed.append({**how, "start": start, "end": end})
        self.parts = narrowed

    def _choose(self, one: Any) -> None:
        """Read no devices but those of a filter on the column that parts are split by."""
        if not isinstance(one, ds.EqualTo | ds.In):
            return
        wanted = {one.value} if isinstance(one, ds.EqualTo) else set(one.value)
        groups = [[v for v in how["where"][self.column] if v in wanted] for how in self.parts]
        self.parts = [
            {**how, "where": {self.column: group}}
            for how, group in zip(self.parts, groups, strict=True)
            if group
        ]
