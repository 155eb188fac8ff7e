"""A write that fails on purpose in the workers of an engine, which import this."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from iotdb_frames.engines.jobs import Job
from iotdb_frames.errors import ConnectionLost
from iotdb_frames.writes.report import WriteReport


@dataclass(frozen=True)
class FailingJob(Job):
    """Notes each write in a file; fails once, as `how` says, behind a write that is stored."""

    log: str = ""
    how: str = ""

    @classmethod
    def from_job(cls, job: Job, log: str | Path, how: str) -> FailingJob:
        """The same job, which fails."""
        values = {f.name: getattr(job, f.name) for f in fields(Job)}
        return cls(**values, log=str(log), how=how)

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


@dataclass(frozen=True)
class FailingJobs:
    """Stands for `Job` where a call makes one: its jobs fail."""

    log: Path
    how: str

    def of(self, *args: Any) -> FailingJob:
        """A job that fails."""
        return FailingJob.from_job(Job.of(*args), self.log, self.how)
