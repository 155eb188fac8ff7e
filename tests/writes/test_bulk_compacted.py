"""Both roads, compared after the server has compacted what they wrote."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clock import wait_until
from iotdb_frames.client.connection import Connection
from iotdb_frames.reads.read import read
from iotdb_frames.reads.sql import execute
from iotdb_frames.server import LocalServer
from iotdb_frames.writes.writer import write

EAGER = {
    "compaction_schedule_interval_in_ms": "200",
    "inner_compaction_candidate_file_num": "2",
    "inner_compaction_total_file_num_threshold": "2",
    "min_cross_compaction_unseq_file_level": "0",
}
"""A server that compacts whatever it can at once."""
WEEK = 7 * 86_400_000
VALUES: dict[str, tuple[Any, Any]] = {
    "BOOLEAN": (st.booleans(), "boolean"),
    "INT32": (st.integers(-(2**31), 2**31 - 1), "Int32"),
    "INT64": (st.integers(-(2**63), 2**63 - 1), "Int64"),
    "FLOAT": (st.floats(width=32, allow_nan=False), "float32"),
    "DOUBLE": (st.floats(allow_nan=False), "float64"),
    "STRING": (st.text(st.characters(codec="utf-8"), max_size=5), "object"),
    "TEXT": (st.text(st.characters(codec="utf-8"), max_size=5), "object"),
}
_names = count()


@pytest.fixture(scope="module")
def eager() -> Iterator[LocalServer]:
    """A server of its own, for others must not find their files compacted."""
    with LocalServer(properties=EAGER) as running:
        yield running


@st.composite
def frames(draw: st.DrawFn) -> pd.DataFrame:
    """Rows of two devices in any order, in three time partitions, some twice, some missing."""
    n_rows = draw(st.integers(1, 40))
    times = st.builds(
        lambda week, tick: week * WEEK + tick, st.integers(2800, 2802), st.integers(0, 20)
    )
    some = {
        "time": pd.to_datetime(draw(st.lists(times, min_size=n_rows, max_size=n_rows)), unit="ms")
    }
    some["device"] = draw(st.lists(st.sampled_from("ab"), min_size=n_rows, max_size=n_rows))
    for kind in draw(st.lists(st.sampled_from(sorted(VALUES)), min_size=1, unique=True)):
        cells, dtype = VALUES[kind]
        made = draw(st.lists(cells | st.none(), min_size=n_rows, max_size=n_rows))
        if dtype.startswith("float"):
            made = [np.nan if cell is None else cell for cell in made]
        some[kind.lower()] = pd.Series(made, dtype=dtype)
    return pd.DataFrame(some)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["tree", "table"])
def test_both_roads_give_the_same_database_for_good(
    server: LocalServer, eager: LocalServer, tmp_path_factory: pytest.TempPathFactory, model: Any
) -> None:
    """Frames written over each other read alike by both roads, before a compaction and after."""
    folder = tmp_path_factory.mktemp("see")
    with (
        Connection(lambda: server.options, label=server.url) as plain,
        Connection(lambda: eager.options, label=eager.url) as compacting,
    ):

        @given(st.lists(frames(), min_size=2, max_size=4))
        @settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
        def alike(parts: list[pd.DataFrame]) -> None:
            name = f"h{next(_names)}"
            database = f"root.{name}" if model == "tree" else name
            with _written(plain, database, model, parts, folder):
                before = _rows(plain, database, model, "tablets")
                pd.testing.assert_frame_equal(_rows(plain, database, model, "tsfile"), before)
            with _written(compacting, database, model, parts, folder):
                wait_until(lambda: _is_compacted(eager, database))
                for method in ("tablets", "tsfile"):
                    after = _rows(compacting, database, model, method)
                    pd.testing.assert_frame_equal(after, before)

        alike()


@contextmanager
def _written(
    connection: Connection, database: str, model: Any, parts: list[pd.DataFrame], folder: Path
) -> Iterator[None]:
    """A database that both roads have written to, each into a device, or table, of its name."""
    keys: dict[str, Any] = {"device": "device"} if model == "tree" else {"tags": ["device"]}
    execute(f"CREATE DATABASE {database}", model=model, connection=connection)
    for part in parts:
        for method in ("tablets", "tsfile"):
            report = write(
                part,
                f"{database}.{method}",
                time="time",
                schema={c: c.upper() for c in part.columns[2:]},
                duplicates="last",
                method=method,
                tsfile_dir=folder,
                connection=connection,
                **keys,
            )
            assert method == "tablets" or "loaded as TsFiles" in report.notes[-1]
            execute(f"FLUSH {database}", model=model, connection=connection)
    yield
    drop = "DELETE DATABASE" if model == "tree" else "DROP DATABASE"
    execute(f"{drop} {database}", model=model, connection=connection)


def _rows(connection: Connection, database: str, model: str, method: str) -> pd.DataFrame:
    target = f"{database}.{method}{'.**' if model == 'tree' else ''}"
    found = read(target, connection=connection)
    found.attrs = {}
    key = found.pop("device")
    return found.set_index(key, append=True).sort_index(axis=1).sort_index(kind="stable")


def _is_compacted(server: LocalServer, database: str) -> bool:
    """Whether each time partition is one file, which is in order."""
    files = [p for p in server.data_dir.rglob("*.tsfile") if database in p.parts]
    per_partition = Counter(p.parent.name for p in files)
    return set(per_partition.values()) <= {1} and not any("unsequence" in p.parts for p in files)
