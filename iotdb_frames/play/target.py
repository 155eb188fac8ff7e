"""A source streamed into IoTDB or into a sink: `SensorSource.stream`, `Replay.stream`.

Into a target, windows go through the one write path (`writes/`), one after the other. A window
counts as sent when all of it is acknowledged, so that the runner measures the database, and notices
at once when it does not keep up.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self, Unpack

import numpy as np
import numpy.typing as npt
import pandas as pd

from iotdb_frames.client.connect import resolve_connection
from iotdb_frames.client.connection import Connection
from iotdb_frames.clock import CLOCK, Clock
from iotdb_frames.codec.names import Target, parse_target
from iotdb_frames.errors import ConnectionLost, FrameError, OptionsError
from iotdb_frames.options import (
    STREAM_FIELDS,
    RetryPolicy,
    StreamArgs,
    StreamWriteArgs,
    TimeseriesOption,
    TSDataType,
    WriteOptions,
    hide_url,
    split_options,
    write_options,
)
from iotdb_frames.play.playable import Playable, State, StreamStats
from iotdb_frames.play.runner import Runner
from iotdb_frames.wire.transport import end_wait
from iotdb_frames.writes.frame_writer import FrameWriter
from iotdb_frames.writes.planner import plan_frame
from iotdb_frames.writes.report import WriteReport
from iotdb_frames.writes.sender import Sender

Types = Mapping[str, TSDataType]

PATIENT = RetryPolicy(longest_wait_s=2.0, total_s=300.0)
"""A stream waits for a server that restarts; rows due meanwhile are made later."""

_GRACE_S = 2.0  # how long a stop without draining waits for the window in hand


def stream(
    source: Playable,
    *,
    to: Any,
    connection: Connection | str | None = None,
    clock: Clock = CLOCK,
    **options: Unpack[StreamWriteArgs],
) -> Runner:
    """A source streamed into IoTDB, not yet started; see `SensorSource.stream`.

    Parameters
    ----------
    clock : as of `Runner`

    Raises
    ------
    OptionsError : an invalid option, or one that a stream cannot have.
    """
    connection = hide_url(connection)
    own, rest = split_options(options)
    if isinstance(to, str):
        conn = resolve_connection(connection)
        target = parse_target(to, database=conn.options.database)
        chosen = write_options({**_own_options(source, target), **rest}, also=STREAM_FIELDS)
        _check(chosen, rest)
        return TargetRunner(source, WindowWriter(conn, target, chosen), clock=clock, **own)
    if not (hasattr(to, "send") and hasattr(to, "flush")):
        raise OptionsError(
            f"to={to!r} is neither a target nor a sink",
            hint='to="root.plant", to="database.table", or an IoTDBSink',
        )
    if rest or connection is not None:
        name = next(iter(rest), "connection")
        raise OptionsError(f"{name}= goes with a target; the sink has options of its own")
    _check_tags(source, getattr(to, "tags", None))
    return Runner(source, to.send, finish=to.flush, clock=clock, **own)


def _own_options(source: Any, target: Target) -> dict[str, Any]:
    """The options that a source's windows and a stream need."""
    own: dict[str, Any] = {"progress": False, "retry": PATIENT}
    tags = getattr(source, "tags", ())
    if tags and target.model == "tree":
        raise OptionsError(
            f"{target} is of the tree model, and this fleet has tags: {', '.join(tags)}",
            hint='to="database.table", or simulate_fleet(…, model="tree")',
        )
    if tags:
        own["tags"] = tags
    elif getattr(source, "has_devices", False):
        own |= {"device": "device"} if target.model == "tree" else {"tags": ("device",)}
    return own


def _check_tags(source: Any, tags: Sequence[str] | None) -> None:
    """Check that the sink distinguishes all devices, or they would overwrite each other."""
    if tags is None:
        return
    own = getattr(source, "tags", ()) or ("device",) * getattr(source, "has_devices", False)
    if lacking := [tag for tag in own if tag not in tags]:
        raise OptionsError(
            f"this fleet has the tag {', '.join(lacking)}, and the sink's tags= does not name it",
            hint=f"IoTDBOptions(table=…, tags={list(own)})",
        )


def _check(chosen: WriteOptions, given: Mapping[str, Any]) -> None:
    if chosen.duplicates != "merge":
        raise OptionsError(
            f"duplicates={chosen.duplicates!r} needs all rows at once, and this is a stream"
        )
    if chosen.replace:
        raise OptionsError(
            "replace=True deletes the time range of a whole frame, and this is a stream",
            hint="iotf.delete(target) before it",
        )
    if isinstance(chosen.schema, Mapping) or not given.get("schema"):
        return
    raise OptionsError("schema= of a stream is {column: type}")


@dataclass(frozen=True, eq=False)
class Answer:
    """What happened to a window.

    Attributes
    ----------
    refused : positions of the refused rows under ``on_error="collect"``; None: none
    """

    refused: npt.NDArray[np.intp] | None


class WindowWriter:
    """Writes windows to a target; each returns when it is acknowledged.

    Parameters
    ----------
    connection, target, options : of all windows

    Attributes
    ----------
    report : what happened to all windows so far; None before `open`
    source : returns what is streamed; its ``schema`` types the columns that the options do not
    """

    def __init__(self, connection: Connection, target: Target, options: WriteOptions) -> None:
        self.report: WriteReport | None = None
        self.source: Callable[[], Any] = lambda: None
        self._connection = connection
        self._target = target
        self._options = options
        self._typed: tuple[Any, pd.Index[Any], WriteOptions] | None = None

    @property
    def target(self) -> str:
        """Where the windows go."""
        return str(self._target)

    def open(self) -> None:
        """Reach the server.

        Raises
        ------
        ServerError : it cannot be reached.
        """
        _ = self._connection.server
        self._sender = Sender(
            self._connection,
            n_lanes=self._options.workers,
            policy=self._options.retry,
            stop_on_error=self._options.on_error == "raise",
        )
        self._writer = FrameWriter(
            self._connection,
            self._target,
            self._options,
            sender=self._sender,
        )
        self.report = self._writer.report

    def send(self, frame: pd.DataFrame) -> Answer:
        """Write a window; returns when the server has answered for all of it.

        Raises
        ------
        FrameError, ServerError, PartialWriteError : as `iotdb_frames.write`, with its report of
            all windows so far.
        """
        with self._connection.retrying(self._options.retry):
            return self._send(frame)

    def _send(self, frame: pd.DataFrame) -> Answer:
        planned = plan_frame(
            self._connection,
            frame,
            self._target,
            self._options_for(frame),
            is_stream=True,
        )
        try:
            planned.check()
        except FrameError as exc:
            if self._options.on_error == "raise" or not self._writer.report.rows_in:
                raise
            # What fit at first and no longer does was changed on the server: the stream goes on.
            self._writer.refuse(frame, exc)
            return Answer(np.arange(len(frame)))
        is_refused = self._writer.send(planned, frame)
        self._sender.drain()
        if self._sender.is_stopped:
            self._writer.close()  # raises what the server said
            raise ConnectionLost("the window was given up: the stream was stopped without drain")
        return Answer(np.flatnonzero(is_refused) if is_refused.any() else None)

    def close(self, error: BaseException | None = None) -> None:
        """Close what is open; an error gets the report of what was written before it."""
        if self.report is None:
            return
        self._sender.close()
        if error is None or getattr(error, "report", None) is None:
            self._writer.close(error)

    def give_up(self, thread: threading.Thread) -> None:
        """Give up the window in hand, whose answer or schema `thread` waits for."""
        end_wait(thread)
        self._sender.give_up(grace_s=0)

    def _options_for(self, frame: pd.DataFrame) -> WriteOptions:
        """The options with the types of the source; the same object while both stay."""
        source = self.source()
        if self._typed is not None:
            typed_source, columns, options = self._typed
            if typed_source is source and columns.equals(frame.columns):
                return options
        types: Types = getattr(source, "schema", {})
        series: dict[Hashable, TimeseriesOption] = dict(self._options.series)
        for name in frame.columns.intersection(list(types)):  # a change may remove a sensor
            wish = series.get(name, TimeseriesOption())
            if wish.data_type is None:
                wish = replace(wish, data_type=types[name])
            series[name] = wish
        options = replace(self._options, schema=series)
        self._typed = source, frame.columns, options
        return options


class TargetRunner(Runner):
    """A `Runner` that writes into IoTDB.

    Its `stats` count points, retries and refused rows, too; `report` tells the rest.
    """

    def __init__(
        self,
        source: Playable,
        writer: WindowWriter,
        *,
        clock: Clock,
        **options: Unpack[StreamArgs],
    ) -> None:
        super().__init__(source, writer.send, finish=writer.close, clock=clock, **options)
        self._writer = writer
        writer.source = lambda: self.source

    @property
    def report(self) -> WriteReport | None:
        """What happened to all windows so far; None before the start."""
        return self._writer.report

    @property
    def stats(self) -> StreamStats:
        """Counters of this moment."""
        stats, report = super().stats, self.report
        if report is None:
            return stats
        return replace(
            stats, points=report.points, retries=report.retries, rejected=report.rows_refused
        )

    def start(self) -> Self:
        """Reach the server, then start in the background.

        Raises
        ------
        OptionsError : it was started before.
        ServerError : the server cannot be reached.
        """
        if self.state == "ready":
            self._writer.open()
        return super().start()

    def stop(self, *, drain: bool = True, timeout_s: float | None = None) -> StreamStats:
        """End the stream and wait for it; see `Runner.stop`.

        Without `drain`, a window that the server does not answer is given up.
        """
        if not drain:
            limit_s = _GRACE_S if timeout_s is None else min(timeout_s, _GRACE_S)
            try:
                return super().stop(drain=False, timeout_s=limit_s)
            except TimeoutError:
                if self._thread is not None:
                    self._writer.give_up(self._thread)
        return super().stop(drain=drain, timeout_s=timeout_s)

    cancel = stop

    def _end(self, state: State) -> None:
        if state == "failed":
            self._writer.close(self.error)
        super()._end(state)
