"""Spark: the data source ``format("iotdb")``, to write frames and streams, and to read frames.

    spark.dataSource.register(IoTDBDataSource)
    df.write.format("iotdb").mode("append").option("tags", "machine").save("plant.press")
    spark.read.format("iotdb").load("plant.press")

`write` does the same as the first and gives its report.

A partition is written by one task, at least once: a task that Spark runs again writes its rows
again, which are stored once all the same, for device and time are their key.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from iotdb_frames.client.connect import connect
from iotdb_frames.client.connection import Connection
from iotdb_frames.client.endpoint import Endpoint
from iotdb_frames.engines.jobs import Job, Outcome, Run, gather, may_pass
from iotdb_frames.errors import IoTDBFramesError, OptionsError, missing_extra, nearest
from iotdb_frames.options import Secret
from iotdb_frames.reads.read import read
from iotdb_frames.writes.report import WriteReport

try:
    from pyspark.sql import datasource as ds
    from pyspark.sql.pandas.types import from_arrow_schema

    from iotdb_frames.engines.spark_read import PushingReader, Reader, as_spark
    from iotdb_frames.engines.spark_write import as_arrow, larger
    from iotdb_frames.engines.spark_write import write as write
except ImportError as exc:
    raise missing_extra("spark", "a Spark data source") from exc

_log = logging.getLogger("iotdb_frames.spark")
_LISTS = ("tags", "attributes", "columns")
_FLAGS = ("aligned", "create", "replace", "travels", "pushdown")
_WRITE = {
    name.replace("_", ""): name
    for name in (
        *("time", "time_unit", "device", "tags", "attributes", "schema", "aligned", "create"),
        *("chunk", "nan", "coerce", "duplicates", "replace"),
    )
}
"""Options of a write, as Spark spells them (in any case), and as we do."""
_READ = ("columns", "start", "end", "device", "partitions", "partitioncolumn", "pushdown")
_PLACE = ("path", "target", "url", "password", "travels")
_SPARKS = ("checkpointlocation",)
_NO_REPORT = ("onerror", "deadletter")
"""Options of `iotdb_frames.write` whose result is in its report."""


class IoTDBDataSource(ds.DataSource):  # type: ignore[misc]
    """``spark.dataSource.register(IoTDBDataSource)``, then ``format("iotdb")``.

    Options are texts, in any case; lists take commas, or are JSON. A write's are those of
    `iotdb_frames.write`: ``time``, ``timeUnit``, ``device``, ``tags``, ``attributes``, ``schema``
    (JSON), ``aligned``, ``create``, ``chunk``, ``nan``, ``coerce``. A read's are ``columns``,
    ``start``, ``end``, ``device``; ``partitions`` (8) and ``partitionColumn``: "time", a tag, or
    the column that names devices; ``pushdown`` ("true" where the session has
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
        known = {*_WRITE, *_READ, *_PLACE, *_SPARKS}
        for name in self.given:
            if name in _NO_REPORT:
                raise OptionsError(
                    f"{name!r}: refused rows are told by a report, and format() gives none",
                    hint="iotdb_frames.engines.spark.write(df, target, on_error=…, dead_letter=…)",
                )
            if name not in known:
                raise OptionsError(
                    f"unknown option {name!r}", hint=nearest(name, sorted(known - {*_SPARKS}))
                )
        path, target = self.given.get("path", ""), self.given.get("target", "")
        if path and target and path != target:
            raise OptionsError(
                f"two targets: {target!r} and {path!r}", hint="leave out one of them"
            )
        self.target = target or path
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
        return Endpoint.of(connection, travels=self.flag("travels"))

    def schema(self) -> Any:
        """The columns of the target, or those of the option ``columns``."""
        self._refuse("a read", set(_WRITE) - set(_READ))
        columns, device = self.value("columns"), self.value("device")
        with self.connect() as connection:
            table = read(
                self.target,
                columns=columns,
                device=device,
                limit=0,
                tz="UTC",
                returns="arrow",
                connection=connection,
            )
        return from_arrow_schema(pa.schema([as_spark(field) for field in table.schema]))

    def reader(self, schema: Any) -> Reader:
        """Reads the columns of `schema`."""
        self._refuse("a read", set(_WRITE) - set(_READ))
        return PushingReader(self, schema) if self.flag("pushdown") else Reader(self, schema)

    def streamReader(self, schema: Any) -> Any:  # noqa: ARG002, N802 - Spark's
        """Refused: a stream of what is new would miss rows that come late."""
        raise OptionsError(
            "no streaming read: rows whose times are older than what was read would be missed",
            hint='spark.read.format("iotdb") with start and end',
        )

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
        self._refuse("a write", set(_READ) - set(_WRITE))
        options = {ours: self.value(name) for name, ours in _WRITE.items() if name in self.given}
        empty = as_arrow(schema).empty_table()
        with self.connect() as connection:
            return Job.of(empty, self.target, self.endpoint(connection), options)

    def value(self, name: str) -> Any:
        """An option as `iotdb_frames` takes it; None where it is not given."""
        text = self.given.get(name)
        if text is None:
            return None
        if name == "schema" or (name in _LISTS and text.lstrip().startswith("[")):
            try:
                return json.loads(text)
            except ValueError as exc:
                hint = (
                    '{"temp": "FLOAT"}' if name == "schema" else '["temp", "state"], or temp,state'
                )
                raise OptionsError(f"{name} is not JSON: {exc}", hint=hint) from exc
        if name in _LISTS:
            return [part.strip() for part in text.split(",")]
        if name in _FLAGS:
            return {"true": True, "false": False}.get(text.lower(), text)
        if name == "chunk" and text.isdecimal():
            return int(text)
        return text

    def flag(self, name: str) -> bool:
        """An option that is "true" or "false", as which it is taken where it is not given."""
        value = self.value(name)
        if value not in (None, True, False):
            raise OptionsError(f"{name}={value!r} is neither true nor false")
        return bool(value)

    def count(self, name: str, default: int) -> int:
        """An option that is a number from 1."""
        text = self.given.get(name, str(default))
        if not (text.isascii() and text.isdigit()) or int(text) < 1:
            raise OptionsError(f"{name}={text!r} must be a whole number from 1")
        return int(text)

    def _refuse(self, use: str, others: set[str]) -> None:
        for name in self.given:
            if name in others:
                raise OptionsError(f"{name!r} is not an option of {use}", hint="leave it out")


# --- writing ---


@dataclass
class _Told(ds.WriterCommitMessage):  # type: ignore[misc]
    """What a task tells the driver."""

    outcome: Outcome


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
        part = larger(iterator)
        if part is None:
            return _Told(Outcome(WriteReport(self.job.label)))
        try:
            return _Told(Outcome(self.job.write(part)))
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
