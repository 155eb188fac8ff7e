"""Jobs, which engines share, without an engine."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pandas as pd

from clock import PATIENCE_S, wait_until
from iotdb_frames.client.connection import Connection
from iotdb_frames.engines.jobs import Job, Run, write_part
from iotdb_frames.server import LocalServer
from proxy import proxy_to


def test_more_partitions_than_sessions(server: LocalServer) -> None:
    """While the server is frozen, a partition that finds no session to look at the schema with
    tries again, and ends no run."""
    index = pd.date_range("2024-01-01", periods=300, freq="1s", name="time")
    some = pd.DataFrame({"a": range(300)}, index=index, dtype="float64")
    with proxy_to(server.port) as proxy, ThreadPoolExecutor(3) as threads:
        hosts = (("127.0.0.1", proxy.port),)
        options = replace(
            server.options, hosts=hosts, pool_size=1, pool_timeout_s=0.05, schema_age_s=0
        )
        with Connection(lambda: options, label="frozen") as frozen:
            job, run = Job.of(some[:0], "root.jobs.full", frozen, {}), Run.begin()
            before = frozen.pool("tree").stats.timeouts
            proxy.is_held.set()
            parts = [some[at : at + 100] for at in (0, 100, 200)]
            sent = [threads.submit(write_part, job, p, run, i) for i, p in enumerate(parts)]
            wait_until(
                lambda: (
                    frozen.pool("tree").stats.timeouts - before >= 4
                    or any(one.done() for one in sent)
                )
            )
            proxy.is_held.clear()
            for one in sent:
                assert one.result(PATIENCE_S).result().is_complete
            frozen.run(lambda session: session.execute("DELETE DATABASE root.jobs"))
