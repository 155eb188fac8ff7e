"""Dask's scheduler of processes, one of which is killed in its writer."""

from __future__ import annotations

from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from failing_job import FailingJobs
from pandas.testing import assert_frame_equal

import iotdb_frames as iotf
from iotdb_frames.data import load_demo
from iotdb_frames.errors import ConnectionLost, PartialWriteError

pytestmark = pytest.mark.engines


@pytest.mark.parametrize("how", ["kill", "break", "lose"])
@pytest.mark.parametrize("data", ["recording", "fleet"])
def test_a_task_that_fails(
    there: iotf.Endpoint,
    connection: Any,
    table: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
    data: str,
) -> None:
    """A task that is killed, breaks or loses its connection is told; a second write mends it."""
    import dask
    import dask.dataframe as dd

    from iotdb_frames.engines import dask as engine

    frame, names = load_demo(), {}
    if data == "fleet":
        frame = iotf.simulate_fleet(5, rate_hz=1, duration="2min", model="table").frame()
        frame, names = frame.sort_index(kind="stable"), {"tags": ["site", "line", "machine"]}
    monkeypatch.setattr(engine, "Job", FailingJobs(tmp_path / "log", how))
    ddf = dd.from_pandas(frame, npartitions=6)
    lost = (ConnectionLost, PartialWriteError)  # by whether another task has stored rows
    error = {"kill": BrokenProcessPool, "break": RuntimeError, "lose": lost}[how]
    with dask.config.set(scheduler="processes", num_workers=2):
        with pytest.raises(error) as caught:
            ddf.iotdb.write(table, connection=there, **names)
        if how == "lose":
            assert isinstance(caught.value, lost)
            assert caught.value.report.rows_in == len(frame)
            assert caught.value.report.rows_written < len(frame)
        report = ddf.iotdb.write(table, connection=there, **names)
    assert (tmp_path / "log.failed").exists()
    assert report.rows_written == len(frame)
    iotf.write(frame, f"{table}_plain", connection=connection, **names)
    expected: pd.DataFrame = iotf.read(f"{table}_plain", connection=connection)
    assert_frame_equal(iotf.read(table, connection=connection), expected)
