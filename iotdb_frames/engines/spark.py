"""Spark: the data source ``format("iotdb")``, to write frames and streams, and to read frames.

    spark.dataSource.register(IoTDBDataSource)
    df.write.format("iotdb").mode("append").option("tags", "machine").save("plant.press")
    spark.read.format("iotdb").load("plant.press")

A partition is written by one task, at least once: a task that Spark runs again writes its rows
again, which are stored once all the same, for device and time are their key.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import pyarrow as pa

from iotdb_frames.client.connection import Connection, connect
from iotdb_frames.client.endpoint import Endpoint
from iotdb_frames.engines.jobs import Job, Outcome, Run, gather, may_pass
from iotdb_frames.errors import IoTDBFramesError, OptionsError, missing_extra, nearest
from iotdb_frames.options import Secret
from iotdb_frames.reads.read import read
from iotdb_frames.writes.report import WriteReport

try:
    from pyspark.sql import datasource as ds
    from pyspark.sql.pandas.types import from_arrow_schema, to_arrow_schema

    from iotdb_frames.engines.spark_read import PushingReader, Reader, as_spark
except ImportError as exc:
    raise missing_extra("spark", "a Spark data source") from exc

_log = logging.getLogger("iotdb_frames.spark")
_BATCH_BYTES = 8 << 20
"""Spark's batches are small, 10,000 rows by default: so many bytes of them are written at once."""
_LISTS = ("tags", "attributes", "columns")
_FLAGS = ("aligned", "create")
_WRITE = {
    name.replace("_", ""): name
    for name in (
        *("time", "time_unit", "device", "tags", "attributes", "schema", "aligned", "create"),
        *("chunk", "nan", "coerce"),
    )
}
"""Options of a write, as Spark spells them (in any case), and as we do."""
_OTHERS = frozenset(
    {"path", "target", "url", "password", "columns", "start", "end", "partitions", "pushdown"}
    | {"travels", "checkpointlocation"}
)


class IoTDBDataSource(ds.DataSource):  # type: ignore[misc]
    """``spark.dataSource.register(IoTDBDataSource)``, then ``format("iotdb")``.

    Options are texts, in any case; lists take commas. A write's are those of `iotdb_frames.write`:
    ``time``, ``timeUnit``, ``device``, ``tags``, ``attributes``, ``schema`` (JSON), ``aligned``,
    ``create``, ``chunk``, ``nan``, ``coerce``. A read's are ``columns``, ``start``, ``end``;
    ``partitions`` (ranges of time, 8) and ``pushdown`` ("true" where the session has
    ``spark.sql.python.filterPushdown.enabled``: bounds of the time, and columns that are to equal
    a text, a whole number or a boolean, go to the server). ``url`` and ``password`` say where; a
    password of this option travels to the tasks, any other with ``travels`` "true"; without, they
    take their own IOTDB_PASSWORD.
    """

    @classmethod
    def name(cls) -> str:
        """What ``format`` takes."""
        return "iotdb"

    def __init__(self, options: Mapping[str, str]) -> None:
        self.given = {name.lower(): value for name, value in options.items()}
        for name in self.given:
            if name not in _OTHERS and name not in _WRITE:
                known = sorted({*_WRITE, *_OTHERS} - {"checkpointlocation"})
                raise OptionsError(f"unknown option {name!r}", hint=nearest(name, known))
        self.target = self.given.get("target") or self.given.get("path", "")
        if not self.target:
            raise OptionsError("no target", hint='.save("root.plant.press1"), .load("plant.press")')
        if "password" in self.given:
            self.given["password"] = Secret(self.given["password"], travels=True)

    def connect(self) -> Connection:
        """A connection to where the options say."""
        url, password = self.given.get("url"), self.given.get("password")
        return connect(url) if password is None else connect(url, password=password)

    def endpoint(self, connection: Connection) -> Endpoint:
        """Where tasks connect to."""
        return Endpoint.of(connection, travels=self.given.get("travels", "").lower() == "true")

    def schema(self) -> Any:
        """The columns of the target, or those of the option ``columns``."""
        columns = self.value("columns")
        with self.connect() as connection:
            table = read(
                self.target,
                columns=columns,
                limit=0,
                tz="UTC",
                returns="arrow",
                connection=connection,
            )
        return from_arrow_schema(pa.schema([as_spark(field) for field in table.schema]))

    def reader(self, schema: Any) -> Reader:
        """Reads the columns of `schema`."""
        kind = PushingReader if self.given.get("pushdown", "").lower() == "true" else Reader
        return kind(self, schema)

    def writer(self, schema: Any, overwrite: bool) -> _BatchWriter:
        """Writes frames."""
        return _BatchWriter(self._job(schema, overwrite=overwrite))

    def streamWriter(self, schema: Any, overwrite: bool) -> _StreamWriter:  # noqa: N802 - Spark's
        """Writes streams."""
        return _StreamWriter(self._job(schema, overwrite=overwrite))

    def _job(self, schema: Any, *, overwrite: bool) -> Job:
        if overwrite:
            raise OptionsError(
                'mode("overwrite") would delete what stands in the target',
                hint='mode("append"): rows of the same device and time are replaced',
            )
        options = {ours: self.value(name) for name, ours in _WRITE.items() if name in self.given}
        empty = to_arrow_schema(schema, timezone="UTC").empty_table()
        with self.connect() as connection:
            return Job.of(empty, self.target, self.endpoint(connection), options)

    def value(self, name: str) -> Any:
        """An option as `iotdb_frames` takes it; None where it is not given."""
        text = self.given.get(name)
        if text is None:
            return None
        if name in _LISTS:
            return [part.strip() for part in text.split(",")]
        if name in _FLAGS:
            return {"true": True, "false": False}.get(text.lower(), text)
        if name == "chunk" and text.isdigit():
            return int(text)
        if name == "schema":
            try:
                return json.loads(text)
            except ValueError as exc:
                raise OptionsError(f"schema is not JSON: {exc}", hint='{"temp": "FLOAT"}') from exc
        return text


# --- writing ---


@dataclass
class _Told(ds.WriterCommitMessage):  # type: ignore[misc]
    """What a task tells the driver."""

    outcome: Outcome


def _larger(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same rows in batches of some `_BATCH_BYTES`."""
    held: list[pa.RecordBatch] = []
    n_bytes = 0
    for batch in batches:
        held.append(batch)
        n_bytes += batch.nbytes
        if n_bytes >= _BATCH_BYTES:
            yield from pa.Table.from_batches(held).combine_chunks().to_batches()
            held, n_bytes = [], 0
    if held:
        yield from pa.Table.from_batches(held).combine_chunks().to_batches()


class _Writer:
    """Writes partitions in tasks, and puts together on the driver what became of them."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.run = Run.begin()

    def write(self, iterator: Iterator[pa.RecordBatch]) -> _Told:
        """Write a partition.

        What may pass is raised, so that Spark runs the task again; any other error is told, for it
        would only be the same again.
        """
        first = next(iterator, None)
        if first is None:
            return _Told(Outcome(WriteReport(self.job.label)))
        batches = _larger(chain([first], iterator))
        try:
            reader = pa.RecordBatchReader.from_batches(first.schema, batches)
            return _Told(Outcome(self.job.write(reader)))
        except IoTDBFramesError as exc:
            if may_pass(exc):
                raise
            return _Told(Outcome(exc.report or WriteReport(self.job.label), exc))

    def end(self, messages: Sequence[_Told | None]) -> None:
        """Raise what went wrong; what is stored is right, and may be written again."""
        outcomes = [message.outcome for message in messages if message is not None]
        _log.info("%r", gather(outcomes, self.job.label, self.run).result())


class _BatchWriter(_Writer, ds.DataSourceArrowWriter):  # type: ignore[misc]
    def commit(self, messages: Sequence[Any]) -> None:
        self.end(messages)


class _StreamWriter(_Writer, ds.DataSourceStreamArrowWriter):  # type: ignore[misc]
    def commit(self, messages: Sequence[Any], batchId: int) -> None:  # noqa: ARG002, N803 - Spark's
        self.end(messages)
