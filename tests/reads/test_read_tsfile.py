"""Files that the server wrote: read as a query reads them, or refused by the column's name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from iotdb_frames.client.connection import Connection
from iotdb_frames.errors import FrameError, OptionsError
from iotdb_frames.options import TimeseriesOption
from iotdb_frames.reads.read import read
from iotdb_frames.reads.sql import execute
from iotdb_frames.reads.tsfile import look_into, read_tsfile
from iotdb_frames.server import LocalServer
from iotdb_frames.writes.writer import write

N = 25_000
TYPES = {"int": "INT32", "long": "INT64", "day": "DATE", "when": "TIMESTAMP", "text": "TEXT"}


def rows() -> pd.DataFrame:
    """Types that the server stores without GORILLA or RLE, steady and jumping, some missing."""
    random = np.random.default_rng(5)
    index = pd.date_range("2024-05-01", periods=N, freq="s", name="time")
    frame = pd.DataFrame(
        {
            "int": random.integers(-(2**31), 2**31, N, dtype="i4"),
            "long": np.cumsum(random.integers(-5, 9, N)),
            "when": index + pd.to_timedelta(random.integers(0, 1000, N), unit="ms"),
            "text": np.array(["a", "ü" * 90, ""], object)[random.integers(0, 3, N)],
        },
        index=index,
    )
    frame["day"] = pd.Series(index.date, index).astype("date32[pyarrow]")
    for name in ("int", "text"):
        frame[name] = frame[name].convert_dtypes().mask(random.random(N) < 0.2)
    return frame


def files(server: LocalServer, name: str) -> list[Path]:
    """The server's own files of a database."""
    return sorted(p for p in server.data_dir.rglob("*.tsfile") if name in p.parts)


@pytest.mark.parametrize("is_aligned", [True, False])
@pytest.mark.parametrize("encoding", [None, "PLAIN"])
def test_files_of_the_server_are_read(
    server: LocalServer, connection: Connection, database: str, is_aligned: bool, encoding: Any
) -> None:
    """Flushed devices, aligned or not, in the server's encodings or PLAIN, equal a query."""
    target = f"root.{database}.d"
    option = {n: TimeseriesOption(data_type=t, encoding=encoding) for n, t in TYPES.items()}
    write(rows(), target, connection=connection, schema=option, aligned=is_aligned)
    execute(f"FLUSH root.{database}", connection=connection)
    wanted = read(target, connection=connection)
    (file,) = files(server, f"root.{database}")
    got = read_tsfile(file)
    pd.testing.assert_frame_equal(got[list(wanted)], wanted)
    assert got.attrs["iotdb"]["types"] == wanted.attrs["iotdb"]["types"]
    found = look_into(file)
    assert found.points == wanted.count().sum()
    assert {row[2] for row in found.columns} == ({"PLAIN"} if encoding else {"PLAIN", "TS_2DIFF"})


def test_a_column_in_another_encoding_is_refused_by_name(
    server: LocalServer, connection: Connection, database: str
) -> None:
    """GORILLA is not guessed at; the other columns of the file can be read."""
    frame = rows()[["long", "text"]].iloc[:500].assign(x=0.5)
    write(frame, f"{database}.t", connection=connection)
    execute(f"FLUSH {database}", model="table", connection=connection)
    (file,) = files(server, database)
    with pytest.raises(FrameError, match=r"'x'.* is stored as GORILLA") as caught:
        read_tsfile(file)
    assert caught.value.column == "x"
    assert "LOAD" in str(caught.value.hint)
    got = read_tsfile(file, columns=["long", "text"])
    wanted = read(f"{database}.t", connection=connection, columns=["long", "text"])
    pd.testing.assert_frame_equal(got, wanted)


def test_what_is_no_file_is_told(tmp_path: Path) -> None:
    """A missing file, a folder, a Parquet file: an error of ours, which says what it is."""
    rows().iloc[:5].to_parquet(tmp_path / "p.tsfile")
    (tmp_path / "empty.tsfile").touch()
    for name, kind, match in (
        ("none.tsfile", OptionsError, "No such file"),
        ("", OptionsError, "directory"),
        ("p.tsfile", FrameError, "not a whole TsFile: it does not begin"),
        ("empty.tsfile", FrameError, "not a whole TsFile: 0 bytes"),
    ):
        with pytest.raises(kind, match=match):
            read_tsfile(tmp_path / name)
