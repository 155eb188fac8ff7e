"""Rows out of their time to live, among others that are not: only they are refused and kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from iotdb_frames.client.connection import Connection
from iotdb_frames.errors import IoTDBFramesError, PartialWriteError
from iotdb_frames.reads.sql import read_sql
from iotdb_frames.server import LocalServer
from iotdb_frames.sink.options import IoTDBOptions
from iotdb_frames.sink.sink import IoTDBSink
from iotdb_frames.writes.writer import write

TTL_MS = 3_600_000


def run(connection: Connection, sql: str, model: Any) -> None:
    """One statement."""
    connection.run(lambda session: session.execute(sql), model=model)


def frame(n_old: int, n_new: int) -> pd.DataFrame:
    """Rows of which the first are days older than the time to live, shuffled; `a` counts them."""
    now = pd.Timestamp.now("UTC").floor("s").tz_localize(None)
    old = now - pd.Timedelta("3D") + pd.to_timedelta(np.arange(n_old), unit="ms")
    new = now + pd.to_timedelta(np.arange(n_new), unit="ms")
    index = old.append(new).as_unit("ms")
    made = pd.DataFrame({"a": np.arange(float(len(index))), "b": "x"}, index=index)
    return made.sample(frac=1, random_state=3)


def target_of(connection: Connection, model: str, device: str, table: str, aligned: bool) -> str:
    """A device or table with a time to live."""
    if model == "table":
        columns = "g STRING TAG, a DOUBLE FIELD, b STRING FIELD"
        run(connection, f"CREATE TABLE {table} ({columns}) WITH (TTL={TTL_MS})", "table")
        return table
    how = f"ALIGNED TIMESERIES {device}(a DOUBLE)" if aligned else f"TIMESERIES {device}.a DOUBLE"
    run(connection, f"CREATE {how}", "tree")
    run(connection, f"SET TTL TO {device}.** {TTL_MS}", "tree")
    run(connection, f"SET TTL TO {device} {TTL_MS}", "tree")
    return device


def stored(connection: Connection, target: str, model: Any) -> set[float]:
    """Values of `a` that are there."""
    found = read_sql(f"SELECT a FROM {target}", model=model, connection=connection)
    return set(found.iloc[:, 0]) if len(found) else set()


@pytest.mark.parametrize(("n_old", "n_new"), [(1, 500), (300, 200), (500, 1), (7, 0)])
@pytest.mark.parametrize("how", ["aligned", "non-aligned", "table", "table with tags"])
def test_only_expired_rows_are_refused(
    connection: Connection,
    device: str,
    table: str,
    tmp_path: Path,
    how: str,
    n_old: int,
    n_new: int,
) -> None:
    """In one chunk the young rows are counted as written, and only the old ones are kept aside."""
    model = "table" if how.startswith("table") else "tree"
    target = target_of(connection, model, device, table, how == "aligned")
    data = frame(n_old, n_new)
    options: dict[str, Any] = {}
    if how == "table with tags":
        data["g"] = np.arange(len(data)).astype(str)
        data["g"] = "g" + (data["a"] % 7).astype(int).astype(str)
        options = {"tags": ["g"]}
    path = tmp_path / "old.parquet"
    report = write(
        data, target, on_error="collect", dead_letter=path, connection=connection, **options
    )
    assert (report.rows_in, report.rows_written) == (n_old + n_new, n_new)
    assert (report.rows_refused, report.points) == (n_old, 2 * n_new)
    kept = pq.read_table(path)
    assert sorted(kept["a"].to_pylist()) == list(range(n_old))
    assert set(kept["refused_code"].to_pylist()) == {607}
    assert {f.state for f in report.failures} == {"refused"}
    assert len(report.failures) < 4 * 10
    assert stored(connection, target, model) == set(range(n_old, n_old + n_new))


@pytest.mark.parametrize("aligned", [True, False])
def test_devices_with_and_without_expired_rows(
    connection: Connection, device: str, tmp_path: Path, aligned: bool
) -> None:
    """Of one request for many devices, each loses its own old rows only."""
    for name in ("mixed", "old", "also"):
        target_of(connection, "tree", f"{device}.{name}", "", aligned)
    data = pd.concat(
        [
            frame(20, 30).assign(d="mixed"),
            frame(10, 0).assign(d="old"),
            frame(0, 40).assign(d="young"),
            frame(5, 5).assign(d="also"),
        ]
    )
    path = tmp_path / "old.parquet"
    report = write(
        data, device, device="d", on_error="collect", dead_letter=path, connection=connection
    )
    assert (report.rows_written, report.rows_refused) == (75, 35)
    kept = pq.read_table(path).to_pandas()
    assert kept.groupby("d").size().to_dict() == {"mixed": 20, "old": 10, "also": 5}
    assert stored(connection, f"{device}.young", "tree") == set(range(40))
    assert stored(connection, f"{device}.mixed", "tree") == set(range(20, 50))


def test_without_collect_the_write_still_ends_at_the_first(
    connection: Connection, device: str
) -> None:
    """With on_error="raise" nothing is asked twice; the report says what is partly stored."""
    target = target_of(connection, "tree", device, "", True)
    with pytest.raises(PartialWriteError) as caught:
        write(frame(3, 3), target, connection=connection)
    assert [f.state for f in caught.value.report.failures] == ["partly stored"]


def test_a_sink_hands_over_only_expired_rows(
    server: LocalServer, connection: Connection, device: str
) -> None:
    """Of a window a sink refuses the old rows and acknowledges the others."""
    target_of(connection, "tree", device, "", False)
    refused: list[tuple[pa.Table, IoTDBFramesError]] = []
    url = f"iotdb://root:{server.options.password}@127.0.0.1:{server.port}"
    sink = IoTDBSink(
        IoTDBOptions(url=url),
        batch_size=1000,
        on_error=lambda rows, error: refused.append((rows, error)),
    )
    with sink:
        sink.send(frame(40, 60)[["a"]].assign(device=device))
        sink.flush()
        assert (sink.stats.acknowledged, sink.stats.rejected) == (60, 40)
    assert sorted(v for rows, _ in refused for v in rows["a"].to_pylist()) == list(range(40))
    assert stored(connection, device, "tree") == set(range(40, 100))
