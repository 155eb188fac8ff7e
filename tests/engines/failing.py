"""Data sources whose writers fail on purpose, in the tasks of Spark; imported by its workers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from failing_job import FailingJob

from iotdb_frames.engines.jobs import Job
from iotdb_frames.engines.spark import IoTDBDataSource
from iotdb_frames.engines.spark_read import Reader


class _CountedReader(Reader):
    """Notes in `log` each part that is read."""

    log = ""

    def read(self, partition: Any) -> Any:
        with Path(self.log).open("a") as file:
            file.write("read\n")
        return super().read(partition)


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

    def reader(self, schema: Any) -> _CountedReader:
        """Notes each range that is read."""
        made = _CountedReader(self, schema)
        made.log = self.log
        return made

    def _job(self, schema: Any, *, overwrite: bool) -> Job:
        made = super()._job(schema, overwrite=overwrite)
        return FailingJob.from_job(made, self.log, self.how)
