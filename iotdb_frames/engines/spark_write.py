"""How Spark writes: a partition a task, as Arrow batches; `write` gives the report of all."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any, Unpack

import pyarrow as pa

from iotdb_frames.engines.jobs import Job, Run, gather, write_part
from iotdb_frames.errors import ColumnTypeError, FrameError, missing_extra
from iotdb_frames.options import WriteArgs, hide_url, show_options
from iotdb_frames.writes.report import WriteReport

try:
    from pyspark import TaskContext
    from pyspark.errors import PySparkException
    from pyspark.sql.pandas.types import to_arrow_type
except ImportError as exc:
    raise missing_extra("spark", "a Spark frame") from exc

if TYPE_CHECKING:
    from iotdb_frames.client.connection import Connection
    from iotdb_frames.client.endpoint import Endpoint

_BATCH_BYTES = 8 << 20
"""Spark's batches are small, 10,000 rows by default: so many bytes of them are written at once."""


@show_options
def write(
    frame: Any,
    target: str,
    *,
    connection: Connection | Endpoint | str | None = None,
    **options: Unpack[WriteArgs],
) -> WriteReport:
    """Write a Spark frame, a task per partition, and give the report; see `iotdb_frames.write`.

    The schema is made here, before any task runs. Between partitions there is no order: of rows
    with the same device and time in several of them, any may win. ``format("iotdb")`` writes the
    same and gives no report; for a stream, this is what ``foreachBatch`` may call.

    Parameters
    ----------
    target : as of `iotdb_frames.write`
    frame : of Spark, with a column ``time`` unless `time` names another; not a stream
    connection : a Connection, an Endpoint or a URL; its password reaches the tasks only as their
        ``IOTDB_PASSWORD``, or in ``iotf.Endpoint.of(connection, travels=True)``
    options : as in `iotdb_frames.write`, but for what needs all rows at once: ``replace=True``, and
        other `duplicates` than "merge". A `dead_letter` is a file per task, on its machine; the
        report names them. `retry` says for how long a task waits for the server; Spark runs a task
        again that failed otherwise than by an error of this package

    Returns
    -------
    WriteReport : of all partitions

    Raises
    ------
    OptionsError, FrameError : of the options and the columns, before anything is sent; of a
        partition's rows, with the report of what others have stored
    ServerError, PartialWriteError : with the report of all
    """
    connection = hide_url(connection)
    if not hasattr(frame, "mapInArrow") or not hasattr(frame, "isStreaming"):
        raise FrameError(
            f"{type(frame).__name__} is not a Spark frame", hint="iotf.write takes other frames"
        )
    if frame.isStreaming:
        raise FrameError(
            "a stream has no end, and so no report",
            hint='.writeStream.format("iotdb"), or foreachBatch, whose frames can be written so',
        )
    job = Job.of(as_arrow(frame.schema).empty_table(), target, connection, options)
    run = Run.begin()
    told = frame.mapInArrow(_task(job, run), "outcome binary").collect()
    outcomes = [pickle.loads(row[0]) for row in told]  # noqa: S301 - what our own tasks said
    return gather(outcomes, job.label, run).result()


def _task(job: Job, run: Run) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """What a task does: an error is told, for what may pass was waited for already."""

    def each(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        part = larger(batches)
        if part is not None:
            outcome = write_part(job, part, run, TaskContext.get().partitionId())
            told = pa.array([pickle.dumps(outcome)], pa.binary())
            yield pa.record_batch([told], names=["outcome"])

    return each


def larger(batches: Iterator[pa.RecordBatch]) -> pa.RecordBatchReader | None:
    """The same rows in batches of some `_BATCH_BYTES`; None: there are none."""
    first = next(batches, None)
    if first is None:
        return None
    return pa.RecordBatchReader.from_batches(first.schema, _joined(chain([first], batches)))


def _joined(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
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


def as_arrow(schema: Any) -> pa.Schema:
    """The columns of a Spark frame, as its tasks get them.

    Raises
    ------
    ColumnTypeError : a type that Spark has no Arrow type for.
    """
    fields = []
    for field in schema.fields:
        try:
            fields.append(pa.field(field.name, to_arrow_type(field.dataType, timezone="UTC")))
        except PySparkException as exc:
            kind = field.dataType.simpleString()
            raise ColumnTypeError(
                f"column {field.name!r} ({kind}) cannot be written",
                column=field.name,
                hint=f'leave it out, or cast it: .withColumn({field.name!r}, col.cast("string"))',
            ) from exc
    return pa.schema(fields)
