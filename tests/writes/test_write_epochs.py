"""Times that count seconds with a fraction, in frames and files, into a real server."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import iotdb_frames as iotf
from iotdb_frames.client.connection import Connection
from iotdb_frames.errors import TimeIndexError

TICKS = [1564388230097, 1564388230500, 1564388231000]
SECONDS = [1564388230.097, 1564388230.5, 1564388231.0]


def ticks(target: str, connection: Connection) -> list[int]:
    """Times that are stored, in ms."""
    found = iotf.read(target, connection=connection)
    times = pd.DatetimeIndex(found.get("time", found.index))
    return sorted(times.as_unit("ms").asi8.tolist())


MADE: dict[str, Any] = {
    "float64": lambda: pd.Series(SECONDS),
    "Float64": lambda: pd.Series(SECONDS, dtype="Float64"),
    "arrow": lambda: pd.Series(SECONDS, dtype="double[pyarrow]"),
    "decimal": lambda: pd.Series([Decimal(str(s)) for s in SECONDS]),
    "decimal of six digits": lambda: pd.Series(
        pa.array(map(str, SECONDS)).cast(pa.decimal128(20, 6)).to_pylist()
    ),
}


@pytest.mark.parametrize("kind", MADE)
@pytest.mark.parametrize("model", ["tree", "table"])
def test_a_column_of_seconds_with_fractions(
    kind: str, model: str, database: str, connection: Connection
) -> None:
    """``time_unit="s"`` beside fractions stores the very milliseconds, out of order, too."""
    frame = pd.DataFrame({"ts": MADE[kind](), "v": [1.0, 2.0, 3.0]}).iloc[[2, 0, 1]]
    target = f"root.{database}.d" if model == "tree" else f"{database}.t"
    report = iotf.write(frame, target, time="ts", time_unit="s", connection=connection)
    assert report.is_complete
    assert ticks(target, connection) == TICKS


def test_an_index_of_seconds_with_fractions(database: str, connection: Connection) -> None:
    """An index of floats is as good as a column."""
    frame = pd.DataFrame({"v": [1.0, 2.0, 3.0]}, index=SECONDS)
    iotf.write(frame, f"root.{database}.d", time_unit="s", connection=connection)
    assert ticks(f"root.{database}.d", connection) == TICKS


def test_a_finer_fraction_is_refused(database: str, connection: Connection) -> None:
    """A tenth of a millisecond is not rounded: row and remedy are told, and nothing is sent."""
    frame = pd.DataFrame({"ts": [1564388230.097, 1564388230.0971], "v": [1.0, 2.0]})
    target = f"root.{database}.d"
    with pytest.raises(TimeIndexError, match=r"row 1: .* is finer than") as told:
        iotf.write(frame, target, time="ts", time_unit="s", connection=connection)
    assert told.value.row == 1
    assert "df['ts'].round(3)" in str(told.value.hint)
    assert iotf.show("timeseries", f"{target}.**", connection=connection).empty
    report = iotf.write(
        frame, target, time="ts", time_unit="s", coerce="lossy", connection=connection
    )
    assert report.lossy == {"time": 1}


def test_floats_without_a_unit_are_asked(connection: Connection) -> None:
    """What numbers count is never guessed."""
    frame = pd.DataFrame({"ts": SECONDS, "v": [1.0, 2.0, 3.0]})
    with pytest.raises(TimeIndexError) as told:
        iotf.write(frame, "root.nowhere.d", time="ts", connection=connection)
    assert "time_unit='ms'" in str(told.value.hint)


@pytest.mark.parametrize("ending", ["csv", "parquet", "json"])
def test_files_of_seconds_with_fractions(
    ending: str, tmp_path: Path, database: str, connection: Connection
) -> None:
    """Files of any kind give the same, and what was written is what is verified."""
    file = tmp_path / f"f.{ending}"
    frame = pd.DataFrame({"ts": SECONDS, "v": np.arange(3.0)})
    if ending == "parquet":
        pq.write_table(pa.Table.from_pandas(frame), file)
    elif ending == "csv":
        file.write_text("ts;v\n" + "".join(f"{s};{i},5\n" for i, s in enumerate(SECONDS)))
    else:
        frame.to_json(file, orient="records", lines=True)
    report = iotf.backfill(
        file,
        f"root.{database}.d",
        manifest=tmp_path / "m.sqlite",
        time="ts",
        time_unit="s",
        verify="values",
        connection=connection,
    )
    assert report.is_complete
    assert ticks(f"root.{database}.d", connection) == TICKS
