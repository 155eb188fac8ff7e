"""The cluster that the other tests here hit: it is real, and what hits a node hits that node."""

from __future__ import annotations

import pandas as pd
import pytest

import iotdb_frames as iotf
from iotdb_frames.errors import ServerError
from nodes import Cluster

pytestmark = pytest.mark.cluster


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
