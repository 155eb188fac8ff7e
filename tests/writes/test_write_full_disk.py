"""Refused rows of a write on a disk that fills up: told, and no older file is touched."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from full_disk import full_disk
from iotdb_frames.client.connection import Connection
from iotdb_frames.errors import IoTDBFramesError, PartialWriteError
from iotdb_frames.reads.read import read
from iotdb_frames.writes.writer import write

N = 5_000


def frame() -> pd.DataFrame:
    """Every other row fits INT32."""
    index = pd.date_range("2026-01-01", periods=N, freq="s")
    values = np.arange(N) + np.where(np.arange(N) % 2, 0.5, 0.0)
    return pd.DataFrame({"x": values, "y": np.random.default_rng(0).random(N)}, index=index)


@pytest.mark.parametrize("model", ["tree", "table"])
@pytest.mark.parametrize("n_bytes", [0, 100, 30_000])
def test_a_full_disk_is_told_and_destroys_nothing(
    connection: Connection, database: str, tmp_path: Path, model: str, n_bytes: int
) -> None:
    """The good rows are stored, the error has the report, and only older files are there."""
    target = f"root.{database}.d" if model == "tree" else f"{database}.t"
    path = tmp_path / "bad.parquet"
    options = {"schema": {"x": "INT32"}, "on_error": "collect", "dead_letter": path}
    report = write(frame(), target, connection=connection, **options)
    older = path.read_bytes()
    with full_disk(n_bytes), pytest.raises(IoTDBFramesError) as caught:
        write(frame(), target, connection=connection, **options)
    error = pickle.loads(pickle.dumps(caught.value))
    assert "cannot be kept in" in error.message
    assert "File too large" in error.message
    assert error.report.rows_refused == N // 2
    assert error.report.dead_letter is None
    if isinstance(error, PartialWriteError):  # the file was full when it was closed
        assert error.report.rows_written == N // 2
    assert [p.name for p in tmp_path.iterdir()] == ["bad.parquet"]
    assert path.read_bytes() == older
    again = write(frame(), target, connection=connection, **options)
    assert (report.dead_letter, again.dead_letter) == (str(path), str(tmp_path / "bad-2.parquet"))
    assert pq.read_table(again.dead_letter).equals(pq.read_table(path))
    assert len(read(target, connection=connection)) == N // 2


def test_two_writes_with_one_name_keep_both(
    connection: Connection, database: str, tmp_path: Path
) -> None:
    """The rows of each write are in the file that its report names."""
    path = tmp_path / "bad.parquet"
    names = []
    for value in (0.5, 1.5):
        bad = pd.DataFrame({"x": [value, 1.0]}, index=pd.to_datetime([1, 2], unit="s"))
        report = write(
            bad,
            f"root.{database}.d",
            schema={"x": "INT32"},
            on_error="collect",
            dead_letter=path,
            connection=connection,
        )
        assert report.dead_letter is not None
        assert pq.read_table(report.dead_letter)["x"].to_pylist() == [value]
        names.append(Path(report.dead_letter).name)
    assert names == ["bad.parquet", "bad-2.parquet"]
