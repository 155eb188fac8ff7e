"""What Flink's Python workers do: write a batch inside its bundle, and tell what became of it.

Flink ends each bundle before a checkpoint, and at the end of the input, so the rows of a checkpoint
are acknowledged by the server when it completes. A Python function has no other place that Flink
waits for: what ``close()`` raises, for one, is not told to anybody.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from iotdb_frames.client.connection import Connection
from iotdb_frames.client.endpoint import Endpoint
from iotdb_frames.engines.flink_refusal import in_words
from iotdb_frames.engines.jobs import Job, Outcome, may_pass
from iotdb_frames.errors import FrameError, IoTDBFramesError, missing_extra
from iotdb_frames.options import RetryPolicy
from iotdb_frames.sink.options import IoTDBOptions
from iotdb_frames.sink.serializer import DefaultIoTSerializationSchema, IoTSerializationSchema
from iotdb_frames.sink.sink import IoTDBSink
from iotdb_frames.writes.report import WriteReport

try:
    from pyflink.common import Row
    from pyflink.table.udf import ScalarFunction
except ImportError as exc:
    raise missing_extra("flink", "a sink for Flink") from exc

_CLOSE_LIMIT_S = 5.0


@dataclass(frozen=True, kw_only=True)
class PlacedOptions(IoTDBOptions):
    """Options of a sink whose server is where an endpoint says."""

    endpoint: Endpoint

    def connect(self, *, pool_size: int) -> Connection:
        """As of `IoTDBOptions`."""
        there = replace(self.endpoint.options, pool_size=pool_size)
        return Connection(lambda: there, label=there.url, retry=RetryPolicy(attempts=1))


@dataclass(frozen=True)
class Rows:
    """Writes the rows of a table.

    names : of its columns
    masked : those that come as two columns, values and whether they are missing: PyFlink makes
        floats of whole numbers where one is missing, and NaN of a missing float
    """

    job: Job
    names: tuple[str, ...]
    masked: tuple[str, ...]

    @property
    def label(self) -> str:
        """The target, as reports name it."""
        return self.job.label

    def open(self) -> None:
        """Connect."""
        self.job.endpoint.connection()

    def close(self) -> None:
        """Nothing: the connection is the process's."""

    def write(self, columns: Sequence[Any]) -> WriteReport:
        """Write a batch; returns when all of it is acknowledged."""
        return self.job.write(self._frame(columns))

    def _frame(self, columns: Sequence[Any]) -> pd.DataFrame:
        n_rows = n_rows_of(columns)
        columns = [  # a constant comes as the scalar it is
            c if isinstance(c, pd.Series) else pd.Series([c] * n_rows) for c in columns
        ]
        masks = dict(zip(self.masked, columns[len(self.names) :], strict=True))
        whole = {}
        for name, column in zip(self.names, columns, strict=False):
            if name in masks:
                values, is_missing = column.to_numpy(), masks[name].to_numpy("bool")
                is_float = values.dtype.kind == "f"
                kind = pd.arrays.FloatingArray if is_float else pd.arrays.IntegerArray
                whole[name] = kind(values, is_missing)
            else:
                whole[name] = column
        return pd.DataFrame(whole, copy=False)


def n_rows_of(columns: Sequence[Any]) -> int:
    """Rows of a batch; where all columns are constants, PyFlink fails before it comes here."""
    return next(len(column) for column in columns if isinstance(column, pd.Series))


class Events:
    """Writes events that were pickled, through a sink of the task's own.

    Parameters
    ----------
    options, serializer, settings : of `iotdb_frames.IoTDBSink`
    timeout_s : how long the server is waited for
    """

    def __init__(
        self,
        options: PlacedOptions,
        serializer: IoTSerializationSchema[Any] | None,
        settings: dict[str, Any],
        *,
        timeout_s: float,
    ) -> None:
        self.options = options
        self.serializer = serializer
        self.settings = settings
        self.timeout_s = timeout_s
        self.label = options.table or options.storage_group or "root"
        self._sink: IoTDBSink | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_sink": None}

    def open(self) -> None:
        """Connect."""
        # One lane, and nothing leaves before the batch is whole: `write` says when.
        self._sink = IoTDBSink(
            self.options,
            self.serializer,
            **self.settings,
            batch_size=1 << 30,
            flush_interval_s=1e6,
            session_pool_size=1,
        ).open()
        self._before = self._sink.stats

    def close(self) -> None:
        """End the connection; every batch was flushed."""
        if self._sink is not None:
            self._sink.close(_CLOSE_LIMIT_S)

    def write(self, columns: Sequence[Any]) -> WriteReport:
        """Write a batch; returns when all of it is acknowledged.

        Raises
        ------
        IoTDBFramesError : some events were refused, or the serializer raised; the others are
            stored, as `.report` says.
        TimeoutError : the server was away for too long.
        """
        assert self._sink is not None
        events = [pickle.loads(event) for event in columns[0]]  # noqa: S301 - packed by `pack`
        error: IoTDBFramesError | None = None
        try:
            self._send(self._sink, events)
        except IoTDBFramesError as exc:
            error = exc
        except Exception as exc:
            error = FrameError(f"the serializer raised {type(exc).__name__}: {exc}")
        try:
            self._sink.flush(self.timeout_s)
        except IoTDBFramesError as exc:
            error = error or exc
        report = self._news(self._sink, len(events))
        if error is not None:
            error.report = report
            raise error
        return report

    def _send(self, sink: IoTDBSink, events: list[Any]) -> None:
        if self.serializer is None or isinstance(self.serializer, DefaultIoTSerializationSchema):
            sink.send([e.as_dict() if isinstance(e, Row) else e for e in events])
        else:
            for event in events:
                sink.send(event)

    def _news(self, sink: IoTDBSink, n_rows: int) -> WriteReport:
        """What became of rows since the last time."""
        now, before = sink.stats, self._before
        self._before = now
        return WriteReport(
            self.label,
            rows_in=n_rows,
            rows_written=now.acknowledged - before.acknowledged,
            rows_empty=now.empty - before.empty,
            rows_refused=now.rejected - before.rejected,
            retries=now.retried - before.retried,
            notes=["of events rows are counted, not points"],
            lossy={
                name: n - before.lossy.get(name, 0)
                for name, n in now.lossy.items()
                if n > before.lossy.get(name, 0)
            },
        )


def pack(event: Any) -> bytes:
    """An event on its way to `Events`."""
    return pickle.dumps(event, protocol=pickle.HIGHEST_PROTOCOL)


class Write(ScalarFunction):  # type: ignore[misc]
    """The pandas function that writes; the first row of a batch gets what became of all.

    Parameters
    ----------
    work : `Rows` or `Events`
    """

    def __init__(self, work: Rows | Events) -> None:
        self.work = work
        self._error: IoTDBFramesError | None = None

    def open(self, function_context: Any) -> None:
        """Connect: a server that is away fails the task here."""
        metrics = function_context.get_metric_group().add_group("iotdb")
        self._rows, self._points = metrics.counter("rows"), metrics.counter("points")
        try:
            self.work.open()
        except IoTDBFramesError as exc:
            if may_pass(exc):
                raise
            self._error = exc

    def close(self) -> None:
        """End what `open` began."""
        self.work.close()

    def is_deterministic(self) -> bool:
        """No: so that the planner neither computes it beforehand nor leaves it out."""
        return False

    def eval(self, *columns: Any) -> pd.Series[Any]:
        """Write a batch.

        What may pass is raised, so that Flink goes back to the last checkpoint; any other error is
        told, for it would only be the same again.
        """
        n_rows = n_rows_of(columns)
        told = self._told(self._outcome(columns, n_rows))
        return pd.Series([told, *[None] * (n_rows - 1)], dtype=object)

    def _told(self, outcome: Outcome) -> bytes | str | None:
        return pickle.dumps(outcome)

    def _outcome(self, columns: Sequence[Any], n_rows: int) -> Outcome:
        try:
            if self._error is not None:
                raise self._error
            report = self.work.write(columns)
        except IoTDBFramesError as exc:
            if may_pass(exc):
                raise
            report = exc.report or WriteReport(self.work.label)
            report.rows_in = n_rows
            return Outcome(report, exc)
        self._rows.inc(report.rows_written)
        self._points.inc(report.points)
        return Outcome(report)


class Refuse(Write):
    """The same, for a job that nobody reads: told are errors only, in words."""

    def _told(self, outcome: Outcome) -> str | None:
        return None if outcome.error is None else in_words(outcome.error)
