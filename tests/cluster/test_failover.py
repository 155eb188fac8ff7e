"""Nodes are lost, one of three and two: what is acknowledged is there, and nobody waits long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest

import iotdb_frames as iotf
from clock import wait_until
from iotdb_frames.client.connection import Connection
from iotdb_frames.wire.answers import Model
from nodes import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

N_TIMES = 20
LONGEST_S = 90.0
"""How long a write may take on this machine while one node is away, which three others wait for."""


CATCH_UP_S = 60.0
"""For 5 to 20 s after a node is back reads come short, with 200."""


def frame_of(n_devices: int, at: int) -> pd.DataFrame:
    """`N_TIMES` rows of each device, the `at`-th of their kind."""
    times = pd.date_range("2026", periods=N_TIMES, freq="1s") + pd.Timedelta(at, unit="h")
    return pd.DataFrame(
        {
            "device": np.repeat([f"d{i}" for i in range(n_devices)], N_TIMES),
            "value": np.arange(n_devices * N_TIMES) + 0.5 * at,
        },
        index=pd.DatetimeIndex(np.tile(times, n_devices), name="time"),
    )


class Repeating:
    """A thread that does something again and again while nodes come and go.

    Parameters
    ----------
    once : does it the n-th time; whatever it raises ends the test

    Attributes
    ----------
    n_done : how often it was done
    longest_s : how long the longest took
    """

    def __init__(self, once: Callable[[int], object]) -> None:
        self.n_done = 0
        self.longest_s = 0.0
        self._once = once
        self._is_over = threading.Event()

    def _run(self) -> None:
        while not self._is_over.is_set():
            started = time.monotonic()
            self._once(self.n_done)
            self.longest_s = max(self.longest_s, time.monotonic() - started)
            self.n_done += 1

    def wait_for(self, n_more: int) -> None:
        """Return when it was done so many times more."""
        wanted = self.n_done + n_more
        while self.n_done < wanted and not self._future.done():
            time.sleep(0.05)
        if self._future.done():
            self._future.result()

    @contextmanager
    def running(self) -> Iterator[None]:
        """It goes on for the length of a block; what it raises is raised at the end."""
        with ThreadPoolExecutor(1) as pool:
            self._future = pool.submit(self._run)
            try:
                self.wait_for(2)
                yield
            finally:
                self._is_over.set()
            self._future.result()

    def through(self, hit: str, name: str, *, cluster: Cluster) -> None:
        """Hit a node, and return when things went on after it, and again after it is back."""
        getattr(cluster, hit)(name)
        if hit == "pause":
            time.sleep(20)
            cluster.resume(name)
        elif hit == "kill" and cluster.is_replicated:
            self.wait_for(3)
            cluster.start(name)
        elif hit == "kill":  # what it held alone is waited for
            time.sleep(10)
            cluster.start(name)
        self.wait_for(3)


def writing(connection: Connection, target: str, n_devices: int) -> Repeating:
    """Writes frames one after the other, none of which may fail."""
    is_tree = target.startswith("root.")
    options: dict[str, Any] = {"device": "device"} if is_tree else {"tags": ["device"]}

    def once(at: int) -> None:
        frame = frame_of(n_devices, at)
        report = iotf.write(frame, target, connection=connection, progress=False, **options)
        assert (report.rows_written, report.failures) == (len(frame), [])

    return Repeating(once)


def whose(cluster: Cluster, connection: Connection, whom: str, target: str, *, model: Model) -> str:
    """A node: the one a connection is with, another one, or the leader of a target's region."""
    if whom == "leader":
        return next(iter(cluster.leaders(target, model=model).values()))
    with connection.pool(model).session() as session:
        name = cluster.name_of(int(session.address.rpartition(":")[2]))
    if whom == "connected":
        return name
    return next(other for other in cluster.data_nodes if other != name)


def read(connection: Connection, target: str) -> pd.DataFrame:
    """All rows of a target, by device and time."""
    is_tree = target.startswith("root.")
    options = {"device": "device"} if is_tree else {}
    found = iotf.read(target, connection=connection, **options).reset_index()
    if is_tree:
        found["device"] = found["device"].str.rpartition(".")[2]
    return found.sort_values(["device", "time"], ignore_index=True)


def written(n_devices: int, n_frames: int) -> pd.DataFrame:
    """All rows of the first frames, by device and time."""
    rows = pd.concat(frame_of(n_devices, i) for i in range(n_frames)).reset_index()
    return rows.sort_values(["device", "time"], ignore_index=True)


def is_all_there(found: pd.DataFrame, wanted: pd.DataFrame) -> bool:
    """Whether a read gave what was acknowledged, value for value."""
    return len(found) == len(wanted) and all(
        (found[name].to_numpy(kind) == wanted[name].to_numpy(kind)).all()
        for name, kind in (("device", object), ("time", "M8[ms]"), ("value", float))
    )


def assert_all_there(cluster: Cluster, target: str, wanted: pd.DataFrame) -> None:
    """What was acknowledged is there through each node, as soon as replicas have caught up."""
    for name in cluster.data_nodes:
        with cluster.connection([name]) as connection:
            wait_until(lambda: is_all_there(read(connection, target), wanted), limit_s=CATCH_UP_S)


def cases() -> list[Any]:
    """What is written, whom it hits and how; few of them outside the slow tier."""
    core = {
        ("tree", 100, "connected", "kill"),
        ("tree", 100, "connected", "pause"),
        ("table", 100, "other", "kill"),
    }
    whole = product(
        (("tree", 1), ("tree", 100), ("tree", 1_000), ("table", 100)),
        ("connected", "other", "leader"),
        ("kill", "pause", "restart"),
    )
    every = [(*what, whom, hit) for what, whom, hit in whole]
    return [pytest.param(*case, marks=() if case in core else pytest.mark.slow) for case in every]


@pytest.mark.on_clusters("3/3", "2/1")
@pytest.mark.parametrize(("model", "n_devices", "whom", "hit"), cases())
def test_writes_go_on_without_any_one_node(
    cluster: Cluster, database: str, model: Model, n_devices: int, whom: str, hit: str
) -> None:
    """With a node killed, frozen for 20 s or restarted, no write fails, none waits for more than
    its budget, and all that was acknowledged is there."""
    target = f"root.{database}" if model == "tree" else f"{database}.sensors"
    with cluster.connection() as connection:
        writes = writing(connection, target, n_devices)
        with writes.running():
            name = whose(cluster, connection, whom, target, model=model)
            writes.through(hit, name, cluster=cluster)
    cluster.restore()
    assert writes.longest_s < (LONGEST_S if cluster.is_replicated else iotf.RetryPolicy().total_s)
    assert_all_there(cluster, target, written(n_devices, writes.n_done))


@pytest.mark.slow
@pytest.mark.parametrize("model", ["tree", "table"])
def test_writes_leave_a_node_that_stays_frozen(
    cluster: Cluster, database: str, model: Model
) -> None:
    """Writes go on while the node they went to takes connections and answers nothing."""
    target = f"root.{database}" if model == "tree" else f"{database}.sensors"
    with cluster.connection() as connection:
        writes = writing(connection, target, 100)
        with writes.running():
            with cluster.paused(whose(cluster, connection, "connected", target, model=model)):
                writes.wait_for(3)
            writes.wait_for(3)
    assert writes.longest_s < LONGEST_S
    assert_all_there(cluster, target, written(100, writes.n_done))


def read_cases() -> list[Any]:
    """Which target is read, whom it hits and how."""
    every = product(("tree", "table"), ("connected", "leader"), ("kill", "pause", "restart"))
    core = ("tree", "connected", "kill")
    return [pytest.param(*case, marks=() if case == core else pytest.mark.slow) for case in every]


@pytest.mark.on_clusters("3/3", "2/1")
@pytest.mark.parametrize(("model", "whom", "hit"), read_cases())
def test_reads_go_on_without_any_one_node(
    cluster: Cluster, database: str, model: Model, whom: str, hit: str
) -> None:
    """With a node killed, frozen for 20 s or restarted, no read fails or takes longer than its
    budget; it may come short for a while, and what it gives was written."""
    target = f"root.{database}" if model == "tree" else f"{database}.sensors"
    with cluster.connection() as connection:
        writes = writing(connection, target, 100)
        with writes.running():
            pass
        wanted = written(100, writes.n_done)
        values = wanted.set_index(["device", "time"])["value"]

        def once(_: int) -> None:
            found = read(connection, target)
            keys = pd.MultiIndex.from_frame(found[["device", "time"]])
            assert found["value"].tolist() == values.reindex(keys).tolist()

        reads = Repeating(once)
        with reads.running():
            name = whose(cluster, connection, whom, target, model=model)
            reads.through(hit, name, cluster=cluster)
    cluster.restore()
    assert reads.longest_s < (LONGEST_S if cluster.is_replicated else iotf.RetryPolicy().total_s)
    assert_all_there(cluster, target, wanted)


def test_rows_outlast_the_loss_of_the_majority(cluster: Cluster, database: str) -> None:
    """With two of three nodes killed writes to what is new wait, and those to what is known may;
    all succeed when the nodes are back, and none is refused."""
    targets = [f"root.{database}.known", f"root.{database}.new", f"{database}.known"]
    targets.append(f"{database}.new")
    retry = iotf.RetryPolicy(total_s=400)
    frame = frame_of(1, 0)

    def write(target: str) -> int:
        is_table = not target.startswith("root.")
        data = frame if is_table else frame.drop(columns="device")
        options = {"tags": ["device"]} if is_table else {}
        report = iotf.write(
            data, target, connection=connection, progress=False, retry=retry, **options
        )
        return int(report.rows_written)

    with cluster.connection(retry=retry) as connection, ThreadPoolExecutor(4) as pool:
        for target in (targets[0], targets[2]):
            write(target)
        cluster.kill("dn2")
        cluster.kill("dn3")
        writes = [pool.submit(write, target) for target in targets]
        try:
            time.sleep(60)
            # The leader of a device that is known takes its rows alone, and may be the node left.
            assert all(write.result() == N_TIMES for write in writes if write.done())
            assert not writes[1].done()
            assert not writes[3].done()
        finally:
            cluster.restore()
        assert [write.result(300) for write in writes] == [N_TIMES] * 4
    for target in targets:
        for name in cluster.data_nodes:
            with cluster.connection([name]) as connection:
                wait_until(
                    lambda: len(iotf.read(target, connection=connection)) == N_TIMES,  # noqa: B023
                    limit_s=CATCH_UP_S,
                )
