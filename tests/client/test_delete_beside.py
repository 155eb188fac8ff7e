"""What is deleted takes nothing else with it, though the server has it still in memory."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

import iotdb_frames as iotf
from iotdb_frames.client.connection import Connection
from iotdb_frames.server import LocalServer

INDEX = pd.date_range("2024-03-01", periods=4_000, freq="1s", name="time")
FRAME = pd.DataFrame({"site": "A", "n": np.arange(4_000)}, INDEX)
FRAME["half"] = np.where(FRAME["n"] % 3 == 0, FRAME["n"] / 2, np.nan)


def delete(target: str, connection: Connection) -> None:
    """Delete 100 rows."""
    iotf.delete(target, start=INDEX[1_000], end=INDEX[1_100], connection=connection)


def replace(target: str, connection: Connection) -> None:
    """Write 100 rows in place of themselves."""
    iotf.write(FRAME.iloc[1_000:1_100], target, tags=["site"], replace=True, connection=connection)


@pytest.mark.parametrize("change", [delete, replace])
def test_other_rows_of_a_table_stay(
    server: LocalServer, change: Callable[[str, Connection], None]
) -> None:
    """After a delete, and after `replace=True`, the other rows of a table are what they were."""
    with Connection(lambda: server.options, label=server.url) as connection:
        iotf.execute("CREATE DATABASE beside", model="table", connection=connection)
        try:
            iotf.write(FRAME, "beside.t", tags=["site"], connection=connection)
            change("beside.t", connection)
            iotf.execute("FLUSH", model="table", connection=connection)
            found = iotf.read("beside.t", connection=connection)
            want = FRAME if change is replace else FRAME.drop(INDEX[1_000:1_100])
            assert len(found) == len(want)
            for name in ("n", "half"):
                np.testing.assert_array_equal(
                    found[name].astype("float64"), want[name].astype("float64"), name
                )
        finally:
            iotf.execute("DROP DATABASE beside", model="table", connection=connection)
