"""The node that a long read asks is lost between two of its fetches."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import iotdb_frames as iotf
from nodes import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(600)]

N_ROWS, FETCH = 200_000, 5_000


@pytest.mark.parametrize("n_named", [1, 3])
def test_a_long_read_does_not_run_again(cluster: Cluster, database: str, n_named: int) -> None:
    """What a cluster answers after a loss may be short, also where the URL names one node only."""
    frame = pd.DataFrame(
        {"number": np.arange(N_ROWS)},
        index=pd.date_range("2026", periods=N_ROWS, freq="1s", unit="ms", name="time"),
    )
    target = f"root.{database}.d"
    names = cluster.data_nodes[:n_named]
    with cluster.connection(names, fetch_size=FETCH, pool_size=1) as connection:
        iotf.write(frame, target, connection=connection, progress=False)
        result = iotf.query(f"SELECT number FROM {target}", connection=connection)
        (address,) = connection.pool("tree").n_sessions
        cluster.restart(cluster.name_of(int(address.rpartition(":")[2])))
        with pytest.raises(iotf.ConnectionLost, match="while reading"):
            result.to_pandas()
        cluster.wait_until_healthy()
        assert iotf.read(target, connection=connection)["number"].tolist() == list(range(N_ROWS))
