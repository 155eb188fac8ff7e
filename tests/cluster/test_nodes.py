"""The cluster that the other tests here hit: it is real, and what hits a node hits that node."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
import pytest

import iotdb_frames as iotf
from iotdb_frames.codec.tablet import Tablet
from iotdb_frames.errors import ServerError
from iotdb_frames.wire.answers import Model
from iotdb_frames.wire.rpc import Session, Told
from nodes import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


@pytest.mark.on_clusters("3/3", "TLS")
def test_what_goes_in_through_one_node_comes_out_of_each(cluster: Cluster, database: str) -> None:
    """Rows written through one node are read through each of the three, and regions have three
    replicas."""
    frame = pd.DataFrame({"a": [1.0, 2.0]}, index=pd.to_datetime([1, 2], unit="s"))
    with cluster.connection(["dn2"]) as connection:
        frame.iotdb.write(f"root.{database}.d", connection=connection)
    for name in cluster.data_nodes:
        with cluster.connection([name]) as connection:
            assert iotf.read(f"root.{database}.d", connection=connection)["a"].tolist() == [1, 2]
    regions = cluster.ask(f"SHOW REGIONS OF DATABASE root.{database}")
    assert {row["RpcPort"] for row in regions} == set(map(cluster.port, cluster.data_nodes))
    assert all(sum(r["RegionId"] == row["RegionId"] for r in regions) == 3 for row in regions)


def test_a_node_is_frozen_killed_and_back(cluster: Cluster) -> None:
    """A frozen node takes connections and answers nothing, a killed one takes none, and both
    come back."""
    with cluster.paused("dn3"), pytest.raises(ServerError, match="did not answer in time"):
        cluster.ask("SHOW VERSION", through="dn3")
    cluster.ask("SHOW VERSION", through="dn3")
    cluster.kill("dn3")
    with pytest.raises(ServerError, match="nothing is listening"):
        cluster.ask("SHOW VERSION", through="dn3")
    cluster.restore()
    cluster.ask("SHOW VERSION", through="dn3")


@pytest.mark.on_clusters("3/3", "2/1")
@pytest.mark.parametrize("model", ["tree", "table"])
def test_rows_go_to_their_leaders(
    cluster: Cluster, database: str, monkeypatch: pytest.MonkeyPatch, model: Model
) -> None:
    """Once the server has told who leads each device, no node is sent rows that it hands on."""
    target = f"root.{database}" if model == "tree" else f"{database}.sensors"
    options: dict[str, Any] = {"device": "device"} if model == "tree" else {"tags": ["device"]}
    frame = pd.DataFrame({"device": np.repeat([f"d{i}" for i in range(99)], 3), "value": 1.0})
    frame.index = pd.to_datetime(np.tile([1, 2, 3], 99), unit="s")
    told, insert = [], Session.insert

    def insert_and_keep(session: Session, tablets: Sequence[Tablet]) -> Told:
        told.extend(found := insert(session, tablets))
        return found

    monkeypatch.setattr(Session, "insert", insert_and_keep)
    with cluster.connection() as connection:
        iotf.write(frame, target, connection=connection, progress=False, **options)
        elsewhere = {at for _, at in told if at is not None}
        assert elsewhere <= {("127.0.0.1", cluster.port(name)) for name in cluster.data_nodes}
        assert elsewhere
        told.clear()
        iotf.write(frame, target, connection=connection, progress=False, workers=2, **options)
    assert len({device for device, _ in told}) == len(told) == 99
    assert {at for _, at in told} == {None}


def test_without_its_confignode_what_is_known_is_written(cluster: Cluster, database: str) -> None:
    """While the only ConfigNode is away, rows of known devices are taken by each node; reads and
    what is new wait, say why when their time is over, and succeed when it is back."""
    frame = pd.DataFrame({"a": [1.0, 2.0]}, index=pd.to_datetime([1, 2], unit="s"))
    known, new = f"root.{database}.known", f"root.{database}.new"
    short, long = iotf.RetryPolicy(total_s=5), iotf.RetryPolicy(total_s=400)
    for name in cluster.data_nodes:
        with cluster.connection([name]) as connection:
            frame.iotdb.write(known, connection=connection)
    cluster.kill("cn1")
    for name in cluster.data_nodes:
        with cluster.connection([name], retry=short) as connection:
            (frame + 1).iotdb.write(known, connection=connection)
            with pytest.raises(ServerError, match="305 INTERNAL_SERVER_ERROR") as caught:
                iotf.read(known, connection=connection)
            assert caught.value.is_retryable
            with pytest.raises(ServerError, match=r"config node|Connection refused") as caught:
                frame.iotdb.write(new, connection=connection)
            assert caught.value.is_retryable
    with cluster.connection(retry=long) as connection, ThreadPoolExecutor(2) as pool:
        write = pool.submit(frame.iotdb.write, new, retry=long, connection=connection)
        read = pool.submit(iotf.read, known, connection=connection)
        time.sleep(5)
        assert not write.done()
        assert not read.done()
        cluster.restore()
        assert write.result(300).rows_written == 2
        assert read.result(300)["a"].tolist() == [2, 3]
