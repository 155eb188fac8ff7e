"""What every engine shares: where workers connect to, and the write of one partition.

A `Job` travels to the workers. The client checks it and makes the schema, once; a worker writes its
partitions through one Connection per process and says what became of each; the client puts these
outcomes together.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from iotdb_frames.client.connection import Connection
from iotdb_frames.client.endpoint import Endpoint
from iotdb_frames.codec.names import parse_target
from iotdb_frames.display.words import plural
from iotdb_frames.errors import (
    IoTDBFramesError,
    OptionsError,
    PartialWriteError,
    PoolTimeout,
    ServerError,
)
from iotdb_frames.options import write_options
from iotdb_frames.writes.planner import plan_frame
from iotdb_frames.writes.report import WriteReport, partly_stored
from iotdb_frames.writes.schema.create import create
from iotdb_frames.writes.writer import write

_WHOLE = {"duplicates": "merge", "replace": False}
"""Options that need all rows in one place, and the one value that does not."""


def endpoint_of(connection: Connection | Endpoint | str | None) -> Endpoint:
    """What a call's ``connection=`` names, for workers."""
    return connection if isinstance(connection, Endpoint) else Endpoint.of(connection)


@dataclass(frozen=True)
class Job:
    """A write, ready to travel.

    Parameters
    ----------
    endpoint, target : where to
    label : the target as reports name it
    options : of `iotdb_frames.write`
    claims : what the frame says of where it was read (its ``attrs["iotdb"]``), which its partitions
        say too
    """

    endpoint: Endpoint
    target: str
    label: str
    options: Mapping[str, Any]
    claims: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, data: Any, target: str, connection: Any, options: Mapping[str, Any]) -> Job:
        """The job of writing what is like `data`, a frame without rows, and the schema for it.

        Raises
        ------
        OptionsError, FrameError, TimeIndexError, ColumnTypeError : what no partition can have.
        ServerError : the server is not there, or refuses the schema.
        """
        chosen = write_options(options)
        for name, only in _WHOLE.items():
            if getattr(chosen, name) != only:
                raise OptionsError(
                    f"{name}={getattr(chosen, name)!r} needs all rows at once, and workers have "
                    "some each",
                    hint=f"leave out {name}=",
                )
        if chosen.progress != "auto" and chosen.progress is not False:
            raise OptionsError(
                "progress= is for writes of this process", hint="the engine shows its own"
            )
        travelling = {**options, "progress": False}
        if chosen.dead_letter is not None:
            travelling["dead_letter"] = str(Path(chosen.dead_letter).expanduser().absolute())
        claims = getattr(data, "attrs", {}).get("iotdb")
        endpoint = endpoint_of(connection)
        there = endpoint.connection()
        goal = parse_target(target, database=there.options.database)
        planned = plan_frame(there, data, goal, chosen, is_fresh=True)
        planned.check()
        create(there, planned, planned.missing())
        return cls(endpoint, target, str(goal), travelling, claims)

    def write(self, part: Any) -> WriteReport:
        """Write one partition; returns when the server has acknowledged all of it.

        Raises
        ------
        IoTDBFramesError : as `iotdb_frames.write` does.
        """
        if hasattr(part, "attrs"):
            part = part.copy(deep=False)
            part.attrs = {} if self.claims is None else {"iotdb": self.claims}
        there = self.endpoint.connection()
        # Partitions share it: who finds no session free tries again, as he does later on.
        with there.retrying(self.options.get("retry", there.retry)):
            return write(part, self.target, connection=there, **self.options)


@dataclass(frozen=True)
class Run:
    """One time that a job is run, for what its partitions have in common.

    began : seconds since 1970, by the clock of whoever began
    """

    token: str
    began: float

    @classmethod
    def begin(cls) -> Run:
        """Begin one."""
        return cls(uuid4().hex, time.time())


@dataclass(frozen=True)
class Outcome:
    """What became of some partitions.

    report : of all of them
    error : why not all is stored, of the first that failed
    n_left : partitions that were not begun, because others had failed
    """

    report: WriteReport
    error: IoTDBFramesError | None = None
    n_left: int = 0

    def result(self) -> WriteReport:
        """The report.

        Raises
        ------
        IoTDBFramesError : what went wrong, with this report.
        """
        if self.error is not None:
            raise self.error
        return self.report


_failed: set[str] = set()
"""Runs of which a partition failed in this process: what has not begun is left out."""


def may_pass(error: IoTDBFramesError) -> bool:
    """Whether the same write may succeed later, or from another machine."""
    cause = error.__cause__ if isinstance(error, PartialWriteError) else error
    return isinstance(cause, PoolTimeout) or (isinstance(cause, ServerError) and cause.is_retryable)


def write_part(job: Job, part: Any, run: Run, place: int) -> Outcome:
    """Write partition number `place`; an error is an outcome, which no engine tries again.

    What may pass was tried again already, as ``retry=`` says.
    """
    n_rows = len(part) if hasattr(part, "__len__") else None  # a stream's are counted as they come
    if run.token in _failed:
        return Outcome(WriteReport(job.label, rows_in=n_rows or 0), n_left=1)
    try:
        return Outcome(job.write(part))
    except IoTDBFramesError as exc:
        _failed.add(run.token)
        report = exc.report or WriteReport(job.label)
        report.rows_in = report.rows_in if n_rows is None else n_rows
        exc.message = f"in partition {place}: {exc.message}"
        return Outcome(report, exc)


def gather(outcomes: Sequence[Outcome], label: str, run: Run) -> Outcome:
    """One outcome of many, whose error has the report of all."""
    report = WriteReport.merge([o.report for o in outcomes] or [WriteReport(label)])
    report.seconds = max(report.seconds, time.time() - run.began)
    n_left = sum(outcome.n_left for outcome in outcomes)
    if n_left:
        report.notes.append(f"{plural(n_left, 'partition')} of {len(outcomes):,} were not begun")
    error = next((o.error for o in outcomes if o.error is not None), None)
    return Outcome(report, None if error is None else _explain(error, report), n_left)


def _explain(error: IoTDBFramesError, report: WriteReport) -> IoTDBFramesError:
    if isinstance(error, ServerError) and report.is_partly_stored:
        return partly_stored(report, error.message)
    explained = copy(error)  # an engine may hold the other one, and put it together again
    explained.report = report
    return explained
