"""What tests of Flink share, above all a sink whose writer fails on purpose; workers import it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pandas as pd

import iotdb_frames as iotf
from iotdb_frames.engines import flink
from iotdb_frames.engines.flink_work import Events, Rows, Write
from iotdb_frames.engines.jobs import Outcome


class FailingWrite(Write):
    """Notes each batch in a file; fails before some of them are written, each time once."""

    def __init__(self, work: Rows | Events, *, log: Path, how: str, at: Sequence[int]) -> None:
        super().__init__(work)
        self.log, self.how, self.at = log, how, at

    def _outcome(self, columns: Sequence[Any], n_rows: int) -> Outcome:
        with self.log.open("a") as file:
            file.write(f"{os.getpid()} {n_rows}\n")
        n_batches = len(self.log.read_text().splitlines())
        if any(n_batches >= number and self._is_first(number) for number in self.at):
            if self.how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.how == "raise":
                raise RuntimeError("this bundle fails")
        return super()._outcome(columns, n_rows)

    def _is_first(self, number: int) -> bool:
        try:
            os.close(os.open(f"{self.log}.failed{number}", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        return True


@contextmanager
def failing(log: Path, how: str = "", at: Sequence[int] = ()) -> Iterator[None]:
    """Sinks that are used meanwhile fail before batches `at`: "kill" a worker, "raise" an error."""

    def made(work: Rows | Events) -> FailingWrite:
        return FailingWrite(work, log=log, how=how, at=at)

    with mock.patch.object(flink, "Write", made):
        yield


def n_failures(log: Path) -> int:
    """How often it has failed."""
    return len(list(log.parent.glob(f"{log.name}.failed*")))


def pids(log: Path) -> set[int]:
    """The workers that have written."""
    return {int(line.split()[0]) for line in log.read_text().splitlines()}


def make_environment(directory: Path) -> tuple[Any, Any]:
    """Streams and tables of a mini-cluster: one task, five checkpoints a second, in files."""
    from pyflink.common import Configuration
    from pyflink.datastream import StreamExecutionEnvironment
    from pyflink.table import StreamTableEnvironment

    config = Configuration()
    for name, value in {
        "parallelism.default": "1",
        "execution.checkpointing.interval": "200ms",
        "execution.checkpointing.dir": f"file://{directory}/checkpoints",
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        "restart-strategy.type": "fixed-delay",
        "restart-strategy.fixed-delay.attempts": "9",
        "restart-strategy.fixed-delay.delay": "100ms",
        "table.local-time-zone": "UTC",
        "heartbeat.timeout": "10min",  # a busy machine is not a bug
        "slot.request.timeout": "10min",
        "pekko.ask.timeout": "10min",
    }.items():
        config.set_string(name, value)
    env = StreamExecutionEnvironment.get_execution_environment(config)
    return env, StreamTableEnvironment.create(env)


def counted(t_env: Any, n_rows: int, per_s: int = 3000) -> Any:
    """`n_rows` rows of a source with a thread of its own: a second and a number each."""
    t_env.execute_sql(
        "CREATE TEMPORARY TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', "
        f"'rows-per-second' = '{per_s}', 'fields.n.kind' = 'sequence', "
        f"'fields.n.start' = '0', 'fields.n.end' = '{n_rows - 1}')"
    )
    sql = "SELECT TIMESTAMPADD(SECOND, CAST(n AS INT), TIMESTAMP '2024-01-01') AS `time`, n AS v"
    return t_env.sql_query(f"{sql} FROM numbers")


def missing_rows(device: str, connection: Any, n_rows: int) -> int:
    """How many of the rows of `counted` are not in the database, or not as they were."""
    stored = iotf.read(device, connection=connection)["v"]
    times = pd.date_range("2024-01-01", periods=n_rows, freq="1s", unit="ms")
    return n_rows - int((stored.reindex(times).fillna(-1) == range(n_rows)).sum())
