"""What runs for long while nodes come and go: a sink, a stream and a backfill lose nothing."""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import iotdb_frames as iotf
from clock import wait_until
from iotdb_frames.client.connection import Connection
from nodes import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

T0 = 1_767_225_600_000  # 2026-01-01
CATCH_UP_S = 60.0


def connected(cluster: Cluster, connection: Connection) -> str:
    """The node of a connection's next session."""
    with connection.pool("tree").session() as session:
        return cluster.name_of(int(session.address.rpartition(":")[2]))


def count_through_each(cluster: Cluster, target: str, column: str, wanted: int) -> None:
    """Wait until each node counts so many values."""
    sql = f"SELECT count({column}) FROM {target} ALIGN BY DEVICE"
    for name in cluster.data_nodes:
        with cluster.connection([name]) as connection:

            def count(to: Connection = connection) -> int:
                frame = iotf.read_sql(sql, connection=to, model="tree")
                return int(frame[f"count({column})"].sum())

            wait_until(lambda counted=count: counted() == wanted, limit_s=CATCH_UP_S)


@pytest.mark.on_clusters("3/3", "2/1")
def test_a_sink_holds_rows_without_a_majority(cluster: Cluster, database: str) -> None:
    """Rows that are sent while two of three nodes are away are taken, of devices that are known and
    new ones, and delivered when they are back: none is refused or dropped."""
    options = iotf.IoTDBOptions(
        node_urls=[f"127.0.0.1:{cluster.port(name)}" for name in cluster.data_nodes],
        storage_group=f"root.{database}",
    )
    refused = []
    with iotf.IoTDBSink(
        options,
        batch_size=50,
        flush_interval_s=0.1,
        on_error=lambda rows, error: refused.append(error),
    ) as sink:

        def send(device: str, n_rows: int, start: int = 0) -> None:
            for i in range(start, start + n_rows):
                sink.send({"device": device, "timestamp": T0 + i, "v": float(i)})

        send("known", 200)
        sink.flush()
        cluster.kill("dn1")
        cluster.kill("dn3")
        send("known", 200, start=200)
        send("new", 200)
        time.sleep(30)
        assert sink.stats.acknowledged < 600
        cluster.restore()
        sink.flush()
        stats = sink.stats
    assert refused == []
    assert (stats.acknowledged, stats.rejected) == (600, 0)
    count_through_each(cluster, f"root.{database}.**", "v", 600)


@pytest.mark.on_clusters("3/3", "2/1")
@pytest.mark.parametrize(
    "hit", ["kill", *(pytest.param(hit, marks=pytest.mark.slow) for hit in ("pause", "majority"))]
)
def test_a_stream_goes_on(cluster: Cluster, database: str, hit: str) -> None:
    """What a simulated fleet sends while the connected node is killed and started, or frozen for
    20 s, or two of three are away for 30 s, is all there: none is refused or dropped."""
    source = iotf.SensorSource(rate_hz=1000, duration="60s", seed=1)
    with cluster.connection() as connection, ThreadPoolExecutor(1) as pool:
        to = f"root.{database}.d"
        running = pool.submit(
            source.stream(to=to, connection=connection, window=1000, speed=20).run
        )
        time.sleep(1)
        name = connected(cluster, connection)
        other = next(other for other in cluster.data_nodes if other != name)
        for hit_node in (name, other) if hit == "majority" else (name,):
            (cluster.pause if hit == "pause" else cluster.kill)(hit_node)
        time.sleep({"kill": 1, "pause": 20, "majority": 30}[hit])
        cluster.restore()
        stats = running.result(300)
    assert (stats.rows, stats.rejected) == (60_000, 0)
    count_through_each(cluster, to, "s1", 60_000)


@pytest.mark.on_clusters("3/3", "2/1")
@pytest.mark.parametrize("hit", ["kill", pytest.param("pause", marks=pytest.mark.slow)])
def test_a_backfill_verifies_what_it_wrote(
    cluster: Cluster, database: str, tmp_path: Path, hit: str
) -> None:
    """A backfill whose connected node is killed or frozen in the middle waits until all replicas
    are back before it counts, and then finds all it sent."""
    n_rows = 400_000
    times = pd.date_range("2026", periods=n_rows, freq="1s", name="time")
    frame = pd.DataFrame({"a": np.arange(n_rows, dtype=float)}, index=times)
    for i in range(4):
        part = frame.iloc[i * n_rows // 4 : (i + 1) * n_rows // 4]
        part.reset_index().to_parquet(tmp_path / f"{i}.parquet")
    target = f"root.{database}.d"
    retry = iotf.RetryPolicy(total_s=400)
    with cluster.connection(retry=retry) as connection, ThreadPoolExecutor(1) as pool:
        job = pool.submit(
            iotf.backfill,
            str(tmp_path / "*.parquet"),
            target,
            time="time",
            manifest=tmp_path / "job.sqlite",
            memory="32MB",
            retry=retry,
            progress=False,
            connection=connection,
        )
        wait_until(lambda: connection.pool("tree").n_sessions)
        name = connected(cluster, connection)
        getattr(cluster, hit)(name)
        assert not job.done()
        time.sleep(20 if hit == "pause" else 2)
        if hit == "pause":
            cluster.resume(name)
        else:
            cluster.start(name)
        report = job.result(500)
    assert report.is_finished
    assert report.rows_written == n_rows
    cluster.restore()
    count_through_each(cluster, target, "a", n_rows)


@pytest.mark.parametrize("is_new", [True, False], ids=["new", "old"])
def test_what_a_restarted_node_hands_on_late_is_waited_for(
    cluster: Cluster, database: str, caplog: pytest.LogCaptureFixture, is_new: bool
) -> None:
    """A row that only a killed leader has, and hands on when it is back, does not come over what
    `replace=True` wrote since, through a connection that knows of no failure: a new one, or one
    that had nothing to do. Where nothing failed, it does not wait."""
    target = f"root.{database}.d"
    times = pd.date_range("2026", periods=2_001, freq="1s", name="time")
    frame = pd.DataFrame({"a": np.arange(2_001, dtype=float)}, index=times)
    new = frame[::2] + 0.5
    caplog.set_level(logging.INFO, logger="iotdb_frames.client")
    with cluster.connection() as idle:
        frame[:1].iotdb.write(target, connection=idle)
        if not is_new:
            frame[:1].iotdb.write(target, replace=True, connection=idle)
            assert any("caught up" in said for said in caplog.messages)
            caplog.clear()
            frame[:1].iotdb.write(target, replace=True, connection=idle)
            assert not any("caught up" in said for said in caplog.messages)
        leader = next(iter(cluster.leaders(f"root.{database}").values()))
        cluster.kill(leader)
        with cluster.connection() as connection:
            frame.iotdb.write(target, connection=connection)
        cluster.restore()
        with cluster.connection() if is_new else nullcontext(idle) as connection:
            new.iotdb.write(target, replace=True, connection=connection)
    time.sleep(12)  # without the wait it came 3 to 9 s after all replicas ran
    for name in cluster.data_nodes:
        with cluster.connection([name]) as connection:
            found = iotf.read(target, connection=connection)
            assert found["a"].tolist() == new["a"].tolist()


@pytest.mark.slow
def test_a_backfill_is_verified_after_a_restart(
    cluster: Cluster, database: str, tmp_path: Path
) -> None:
    """What a node that was restarted a moment ago lacks is not taken for lost by a verification
    through a connection that saw no failure."""
    n_rows, target = 200_000, f"root.{database}.d"
    times = pd.date_range("2026", periods=n_rows, freq="1s", name="time")
    frame = pd.DataFrame({"a": np.arange(n_rows, dtype=float)}, index=times)
    frame.reset_index().to_parquet(tmp_path / "0.parquet")
    job = {"time": "time", "manifest": tmp_path / "job.sqlite", "progress": False}
    with cluster.connection() as connection:
        frame[:1].iotdb.write(target, connection=connection)
        leader = next(iter(cluster.leaders(f"root.{database}").values()))
        cluster.kill(leader)
        iotf.backfill(
            str(tmp_path / "0.parquet"), target, verify=None, connection=connection, **job
        )
    cluster.restore()
    with cluster.connection() as connection:
        report = iotf.backfill(str(tmp_path / "0.parquet"), target, connection=connection, **job)
    assert report.is_finished
    assert report.rows_written == n_rows
    count_through_each(cluster, target, "a", n_rows)
