"""Flink: a sink for tables and for streams of events, at least once.

    sink = IoTDBSink(IoTDBOptions(url="local:", storage_group="root.sg"), travels=True)
    report = sink.run(table, t_env)     # to the end of the input
    sink.insert(table, t_env)           # submit a job, also one without an end

Rows are written inside the bundle, before Flink's checkpoint counts them as done. A task that is
run again writes its rows again, which are stored once all the same, for device and time are their
key.
"""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn, Unpack

import pyarrow as pa

from iotdb_frames.client.connection import Connection
from iotdb_frames.client.endpoint import Endpoint
from iotdb_frames.engines.jobs import Job, Outcome, Run, gather
from iotdb_frames.errors import ColumnTypeError, OptionsError, missing_extra, raise_explained
from iotdb_frames.options import RetryPolicy, WriteArgs, as_whole, hide_url, show_options
from iotdb_frames.server.java import find_java
from iotdb_frames.sink.options import IoTDBOptions
from iotdb_frames.sink.serializer import IoTSerializationSchema
from iotdb_frames.sink.sink import IoTDBSink as PlainSink
from iotdb_frames.writes.report import WriteReport

try:
    from pyflink.common import Types
    from pyflink.datastream import DataStream
    from pyflink.table import DataTypes, ExplainDetail, Schema, Table, TableDescriptor
    from pyflink.table.expressions import call, col, if_then_else, lit
    from pyflink.table.types import (
        BigIntType,
        DoubleType,
        FloatType,
        IntType,
        LocalZonedTimestampType,
        SmallIntType,
        TinyIntType,
        to_arrow_type,
    )
    from pyflink.table.udf import udf

    from iotdb_frames.engines.flink_refusal import CLASS, found_in, the_jar
    from iotdb_frames.engines.flink_work import Events, PlacedOptions, Refuse, Rows, Write, pack
except ImportError as exc:
    raise missing_extra("flink", "a sink for Flink") from exc

_TIMES = ("timestamp", "time")
"""Columns that are the time where none is named, as in the connector."""
_NUMBERS = (TinyIntType, SmallIntType, IntType, BigIntType, FloatType, DoubleType)
_BATCHES = 4
"""In a bundle: Flink makes the next ones while one is written, and waits at the end of a bundle."""
_OF_EVENTS = frozenset({"coerce", "on_error", "dead_letter"})
_REFUSAL = "iotdb_refusal"
_UTC = ("UTC", "GMT", "Z", "Etc/UTC", "Etc/GMT")


def _set_java_home() -> None:
    """Name the Java that Flink starts with, where the user does not."""
    if not os.environ.get("JAVA_HOME"):
        os.environ["JAVA_HOME"] = str(find_java().command.resolve().parent.parent)


_set_java_home()


class IoTDBSink:
    """Writes Flink's tables, and streams of events, into Apache IoTDB.

    Parameters
    ----------
    options : `IoTDBOptions`, or where to: a URL, a Connection, an Endpoint. The series, or the
        table's columns, of ``timeseries_option_list`` are created before the job starts. The
        password reaches the workers only as their ``IOTDB_PASSWORD``, or where it `travels`
    serializer : of a stream's events, see `IoTSerializationSchema`. None: they are the connector's
        maps, or other mappings or Rows, as `DefaultIoTSerializationSchema` takes them
    target : of tables, as in `iotdb_frames.write`. None: that of the options, their table or their
        storage group; a column ``device`` names the device below it
    batch_size : rows that are written at once, at most; a few batches are on their way
    flush_interval_s : no row waits longer for its batch
    session_pool_size : how many tasks write side by side, each on a connection; None: as many as
        the job has. A stream that was keyed keeps its order per key
    travels : whether the password goes with the job, to workers that you trust; as
        ``password=iotf.Secret("…", travels=True)`` of the options it does, too
    write : as in `iotdb_frames.write`, but for what needs all rows at once; of events only
        ``coerce``, ``on_error``, ``dead_letter`` (a directory). ``time`` is the column ``time`` or
        ``timestamp`` where it is not given

    Raises
    ------
    OptionsError : an invalid option.
    """

    @show_options
    def __init__(
        self,
        options: IoTDBOptions | Connection | Endpoint | str,
        serializer: IoTSerializationSchema[Any] | None = None,
        *,
        target: str | None = None,
        batch_size: int = 50_000,
        flush_interval_s: float = 1.0,
        session_pool_size: int | None = None,
        travels: bool = False,
        **write: Unpack[WriteArgs],
    ) -> None:
        options = hide_url(options)
        batch_size = as_whole("batch_size", batch_size)
        if session_pool_size is not None:
            session_pool_size = as_whole("session_pool_size", session_pool_size)
        if not flush_interval_s >= 0.001:
            raise OptionsError(f"flush_interval_s={flush_interval_s!r} must be at least 0.001")
        if isinstance(options, str):
            options = IoTDBOptions(url=options)
        self._named = options if isinstance(options, IoTDBOptions) else IoTDBOptions()
        self._place = options
        self._serializer = serializer
        self._target = target
        self._batch_size = batch_size
        self._interval_s = flush_interval_s
        self._n_tasks = session_pool_size
        self._travels = travels
        self._write: dict[str, Any] = dict(write)

    def __repr__(self) -> str:
        return f"<IoTDBSink of Flink, batch_size={self._batch_size}>"

    def run(self, data: Table | DataStream, t_env: Any) -> WriteReport:
        """Write all of a table or a stream that ends.

        Parameters
        ----------
        data : an append-only table, or a stream of events
        t_env : its (Stream)TableEnvironment; chaining is switched off in it, see docs/flink.md

        Returns
        -------
        WriteReport : what was written twice, because Flink went back, counts once

        Raises
        ------
        OptionsError, FrameError : before anything is sent: no checkpoints, updates, columns that
            IoTDB or PyFlink cannot carry.
        IoTDBFramesError : what the server or a row refused, which is not tried again; with the
            report of what was told until then.
        """
        run = Run.begin()
        told, work = self._told(data, t_env, is_submitted=False)
        outcomes: list[Outcome] = []
        try:
            with told.execute().collect() as rows:  # leaving it ends the job
                for row in rows:
                    outcomes.append(pickle.loads(row[0]))  # noqa: S301 - of our own workers
                    if outcomes[-1].error is not None:
                        break
        except Exception as exc:  # the job has failed
            _raise_ours(exc)
        return gather(outcomes, work.label, run).result()

    def insert(self, data: Table | DataStream, t_env: Any) -> Submitted:
        """Submit a job that writes a table or a stream, which need not end.

        What the server or a row refuses for good fails the job, at once and for all, with our words
        in its exception.

        Parameters
        ----------
        data, t_env : as of `run`

        Raises
        ------
        OptionsError, FrameError : as of `run`.
        """
        told, _ = self._told(data, t_env, is_submitted=True)
        t_env.execute_sql(
            f"CREATE TEMPORARY SYSTEM FUNCTION IF NOT EXISTS {_REFUSAL} AS '{CLASS}' "
            f"LANGUAGE JAVA USING JAR '{the_jar()}'"
        )
        ends = told.select(call(_REFUSAL, col("told")).alias("told"))
        columns = Schema.new_builder().column("told", DataTypes.STRING()).build()
        nowhere = TableDescriptor.for_connector("blackhole").schema(columns).build()
        return Submitted(ends.execute_insert(nowhere))

    def _told(
        self, data: Table | DataStream, t_env: Any, *, is_submitted: bool
    ) -> tuple[Table, Rows | Events]:
        """What the batches of a job tell, as a table, and who writes them."""
        config = t_env.get_config()
        is_batch = config.get("execution.runtime-mode", "STREAMING").upper() == "BATCH"
        if not is_batch and not config.get("execution.checkpointing.interval", ""):
            raise OptionsError(
                "checkpointing is off: rows of a worker that is lost would be lost",
                hint='t_env.get_config().set("execution.checkpointing.interval", "10s")',
            )
        for name, value in {
            # Chained to a source with a thread of its own a bundle that fails half-way can be
            # followed by a checkpoint that counts its rows as done.
            "pipeline.operator-chaining.enabled": "false",
            "python.fn-execution.arrow.batch.size": self._batch_size,
            "python.fn-execution.bundle.size": _BATCHES * self._batch_size,
            "python.fn-execution.bundle.time": int(self._interval_s * 1000),
        }.items():
            config.set(name, str(value))
        if self._n_tasks is not None:
            config.set("table.exec.resource.default-parallelism", str(self._n_tasks))
        work: Rows | Events
        if isinstance(data, Table):
            work, arguments = self._rows(data, t_env)
        else:
            work = self._events()
            packed = data.map(pack, output_type=Types.PRIMITIVE_ARRAY(Types.BYTE()))
            if self._n_tasks is not None:
                packed = packed.set_parallelism(self._n_tasks)
            data = t_env.from_data_stream(packed)
            arguments = [col(data.get_resolved_schema().get_column_names()[0])]
        write = udf(
            Refuse(work) if is_submitted else Write(work),
            result_type=DataTypes.STRING() if is_submitted else DataTypes.BYTES(),
            func_type="pandas",
        )
        told = data.select(write(*arguments).alias("told"))
        return told.where(col("told").is_not_null), work

    def _endpoint(self) -> Endpoint:
        if isinstance(self._place, Endpoint):
            return self._place
        if not isinstance(self._place, IoTDBOptions):
            return Endpoint.of(self._place, travels=self._travels)
        found = Endpoint.of(self._place.connect(pool_size=1), travels=self._travels)
        return replace(found, retry=RetryPolicy())  # a sink's connection tries nothing again

    def _placed(self) -> PlacedOptions:
        """The options for workers; what they name is created."""
        kept = ("storage_group", "timeseries_option_list", "aligned", "table", "tags", "attributes")
        placed = PlacedOptions(
            endpoint=self._endpoint(), **{name: getattr(self._named, name) for name in kept}
        )
        if placed.storage_group or placed.table or placed.timeseries_option_list:
            PlainSink(placed).open().close()
        return placed

    # --- events ---

    def _events(self) -> Events:
        settings = {k: v for k, v in self._write.items() if k in _OF_EVENTS}
        for name in [*self._write, *["target"] * (self._target is not None)]:
            if name not in settings:
                raise OptionsError(
                    f"{name}= is for tables", hint="the serializer says what an event's columns are"
                )
        PlainSink(self._named, self._serializer, **settings)  # raises what is wrong
        if "dead_letter" in settings:  # workers are elsewhere
            settings["dead_letter"] = str(Path(settings["dead_letter"]).expanduser().absolute())
        timeout_s = RetryPolicy().total_s
        return Events(self._placed(), self._serializer, settings, timeout_s=timeout_s)

    # --- tables ---

    def _rows(self, table: Table, t_env: Any) -> tuple[Rows, list[Any]]:
        if self._serializer is not None:
            raise OptionsError(
                "serializer= is for streams of events, and this is a table",
                hint="leave it out, or t_env.to_data_stream(table)",
            )
        schema = table.get_resolved_schema()
        kinds = dict(zip(schema.get_column_names(), schema.get_column_data_types(), strict=True))
        _check_appends(table)
        _check_zone(kinds, t_env)
        target, options = self._target_of(list(kinds))
        endpoint = self._placed().endpoint
        job = Job.of(_empty(kinds), target, endpoint, options)
        is_kept = options.get("nan") == "keep"
        wanted = _NUMBERS if is_kept else (BigIntType,)
        masked = [n for n, kind in kinds.items() if isinstance(kind, wanted) and kind._nullable]
        values = [
            if_then_else(col(n).is_null, lit(0).cast(kind.not_null()), col(n))
            if n in masked
            else col(n)
            for n, kind in kinds.items()
        ]
        masks = [col(n).is_null for n in masked]
        return Rows(job, tuple(kinds), tuple(masked)), [*values, *masks]

    def _target_of(self, names: Sequence[str]) -> tuple[str, dict[str, Any]]:
        """Where a table goes, and the options of its write."""
        options = dict(self._write)
        named = self._named
        target = self._target or named.table or named.storage_group
        if target is None:
            raise OptionsError("no target", hint='target="root.plant.press1", or "plant.press"')
        if self._target is None:
            if named.table is not None:
                options = {"tags": named.tags, "attributes": named.attributes, **options}
            elif "device" in names:
                options = {"device": "device", **options}
        if target.startswith("root."):
            options.setdefault("aligned", named.aligned)
        if "time" not in options:
            found = [name for name in _TIMES if name in names]
            if not found:
                raise OptionsError("no column is called time or timestamp", hint='time="ts"')
            options["time"] = found[0]
        return target, options


class Submitted:
    """A job that was submitted.

    Attributes
    ----------
    result : Flink's ``TableResult``
    """

    def __init__(self, result: Any) -> None:
        self.result = result

    def wait(self, timeout_s: float | None = None) -> None:
        """Wait until the job ends.

        Parameters
        ----------
        timeout_s : wait no longer than this; None: as long as it takes

        Raises
        ------
        IoTDBFramesError : what failed it, where that was ours; else Flink's own exception.
        """
        try:
            if timeout_s is None:
                self.result.wait()
            else:
                self.result.wait(int(timeout_s * 1000))
        except Exception as exc:
            _raise_ours(exc)

    def cancel(self) -> None:
        """End the job; what is acknowledged stays."""
        self.result.get_job_client().cancel().result()


def _raise_ours(exc: Exception) -> NoReturn:
    """Raise the error of ours that failed a job; where there is none, Flink's own."""
    raise_explained(found_in(str(exc)) or exc, exc)


def _empty(kinds: Mapping[str, Any]) -> pa.Table:
    """The table without its rows.

    Raises
    ------
    ColumnTypeError : a column that Arrow has no type for.
    """
    fields = []
    for name, kind in kinds.items():
        try:
            fields.append(pa.field(name, to_arrow_type(kind)))
        except (TypeError, ValueError) as exc:
            raise ColumnTypeError(f"column {name!r}: {exc}", column=name) from exc
    return pa.schema(fields).empty_table()


def _check_appends(table: Table) -> None:
    """Refuse updates, which Python functions get as plain rows."""
    modes = re.findall(r"changelogMode=\[([^\]]*)\]", table.explain(ExplainDetail.CHANGELOG_MODE))
    if modes and modes[0] != "I":
        raise OptionsError(
            f"the table has updates ({modes[0]}), which would be stored as rows",
            hint="write what it is made of, or make it append-only, e.g. by windows",
        )


def _check_zone(kinds: Mapping[str, Any], t_env: Any) -> None:
    zone = t_env.get_config().get_local_timezone()
    zoned = [n for n, kind in kinds.items() if isinstance(kind, LocalZonedTimestampType)]
    if zoned and zone not in _UTC:
        raise OptionsError(
            f"column {zoned[0]!r} is a TIMESTAMP_LTZ, which PyFlink hands over shifted by the "
            f"offset of {zone}",
            hint='t_env.get_config().set("table.local-time-zone", "UTC")',
        )
