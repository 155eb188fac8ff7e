"""Data sources whose writers fail on purpose, in the tasks of Spark; imported by its workers."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from iotdb_frames.engines.jobs import Job
from iotdb_frames.engines.spark import IoTDBDataSource
from iotdb_frames.errors import ConnectionLost
from iotdb_frames.writes.report import WriteReport


@dataclass(frozen=True)
class FailingJob(Job):
    """Notes each write in a file; fails once, as `how` says, behind a write that is stored."""

    log: str = ""
    how: str = ""

    def write(self, part: Any) -> WriteReport:
        """Write, and fail the first time that any process does so."""
        with Path(self.log).open("a") as file:
            file.write("write\n")
        report = super().write(part)
        try:
            os.close(os.open(f"{self.log}.failed", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return report
        if self.how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.how == "lose":
            raise ConnectionLost("the connection broke", was_sent=True)
        if self.how == "break":
            raise RuntimeError("this task breaks")
        return report


class FailingSource(IoTDBDataSource):
    """``format("failing")``: `how` and `log` are options."""

    @classmethod
    def name(cls) -> str:
        """What ``format`` takes."""
        return "failing"

    def __init__(self, options: Any) -> None:
        given = {name.lower(): value for name, value in options.items()}
        self.log, self.how = given.pop("log"), given.pop("how")
        super().__init__(given)

    def _job(self, schema: Any, *, overwrite: bool) -> Job:
        made = super()._job(schema, overwrite=overwrite)
        values = {f.name: getattr(made, f.name) for f in fields(Job)}
        return FailingJob(**values, log=self.log, how=self.how)
