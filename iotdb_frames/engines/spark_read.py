"""How the data source of Spark reads: a range of time a task, as Arrow batches of the schema."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyspark.sql import datasource as ds
from pyspark.sql.pandas.types import to_arrow_schema

from iotdb_frames.codec.times import TICKS_PER_S
from iotdb_frames.engines.ranges import time_ranges
from iotdb_frames.errors import FrameError, OptionsError
from iotdb_frames.reads.read import read

if TYPE_CHECKING:
    from iotdb_frames.engines.spark import IoTDBDataSource

_READ_ROWS = 100_000


def as_spark(field: pa.Field) -> pa.Field:
    """A field as Spark has it, whose times count microseconds."""
    if pa.types.is_timestamp(field.type):
        return pa.field(field.name, pa.timestamp("us", field.type.tz))
    return field


class Range(ds.InputPartition):  # type: ignore[misc]
    """A range of time, in ticks of the server."""


class Reader(ds.DataSourceReader):  # type: ignore[misc]
    """Reads some columns, a range of time a task."""

    def __init__(self, source: IoTDBDataSource, schema: Any) -> None:
        self.names = schema.fieldNames()
        self.schema = to_arrow_schema(schema, timezone="UTC")
        self.target = source.target
        self.where: dict[str, Any] = {}
        text = source.given.get("partitions", "8")
        if not text.isdigit() or int(text) < 1:
            raise OptionsError(f"partitions={text!r} must be a whole number from 1")
        with source.connect() as connection:
            self.endpoint = source.endpoint(connection)
            frame = read(
                self.target, columns=source.value("columns"), limit=0, connection=connection
            )
            self.said = frame.attrs["iotdb"]
            self.ranges = time_ranges(
                connection,
                self.target,
                self.said,
                start=source.given.get("start"),
                end=source.given.get("end"),
                where=None,
                n=int(text),
            )

    def partitions(self) -> list[Range]:
        """The ranges; Spark wants one at the least."""
        return [Range(ticks) for ticks in self.ranges] or [Range((0, 0))]

    def read(self, partition: Range) -> Iterator[pa.RecordBatch]:
        """The rows of a range, as the schema says."""
        start, end = partition.value
        if start >= end:
            return
        keys = {"time", self.said.get("device")}
        for table in read(
            self.target,
            columns=[name for name in self.names if name not in keys] or None,
            start=start,
            end=end,
            where=self.where or None,
            tz="UTC",
            returns="arrow",
            chunk_rows=_READ_ROWS,
            connection=self.endpoint.connection(),
        ):
            yield from _cast(table.select(self.names), self.schema).to_batches()


def _cast(table: pa.Table, schema: pa.Schema) -> pa.Table:
    columns = []
    for field, column in zip(schema, table.columns, strict=True):
        try:
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
        self.ranges = [
            (max(start, start if low is None else low), min(end, end if high is None else high))
            for start, end in self.ranges
            if (low is None or end > low) and (high is None or start < high)
        ]
