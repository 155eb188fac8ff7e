"""The spool: what was taken is there again after any end of the process, once, in order."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iotdb_frames.errors import OptionsError
from iotdb_frames.options import TSDataType
from iotdb_frames.stream import spool as spool_module
from iotdb_frames.stream.blocks import Block, Row, rows_to_blocks, to_block
from iotdb_frames.stream.serializer import DeviceColumns
from iotdb_frames.stream.spool import Place, Spool

NO_CODES = np.zeros(0, np.int32)


def row_block(time: int, **values: object) -> Block:
    """A block of one row."""
    ((block, _),) = rows_to_blocks("root.d", [Row(time, values, None, "ms")])
    assert isinstance(block, Block)
    return block


def times_of(found: list[tuple[Block, Place]]) -> list[int]:
    """The first time of each block."""
    return [block.times[0].as_py() for block, _ in found if block.times is not None]


def files_of(directory: Path, pattern: str = "*.ar*") -> list[Path]:
    """The segments, in order."""
    return sorted(directory.glob(pattern))


def test_what_is_not_done_comes_back(tmp_path: Path) -> None:
    """After a close, the blocks that are not done come back in their order, the others never."""
    spool = Spool(tmp_path)
    places = [spool.append(row_block(i, a=1.0 * i)) for i in range(10)]
    spool.done(places[:4])
    spool.done([places[7]])
    spool.close()
    again = Spool(tmp_path)
    found = list(again.replay())
    assert times_of(found) == [4, 5, 6, 8, 9]
    again.done([place for _, place in found])
    again.close()
    assert files_of(tmp_path) == []
    assert list(Spool(tmp_path).replay()) == []


def test_new_blocks_come_after_those_of_before(tmp_path: Path) -> None:
    """Of three processes that all crash, the third finds the rows in the order they were sent."""
    for start in (0, 3):
        spool = Spool(tmp_path)
        list(spool.replay())
        for i in range(start, start + 3):
            spool.append(row_block(i, a=i))
        os.close(spool._held)  # as the end of the process does
    assert times_of(list(Spool(tmp_path).replay())) == list(range(6))


def test_blocks_come_back_as_they_were(tmp_path: Path) -> None:
    """Devices, times, types, nulls and every kind of column survive."""
    index = pd.date_range("2026-01-01", periods=3, freq="us", tz="Europe/Berlin")
    frame = pd.DataFrame(
        {
            "f": [1.5, np.nan, -0.0],
            "i": pd.array([1, None, 3], "Int64"),
            "s": ["a", None, "ü"],
            "b": pd.Series([b"\0", b"", None], dtype=object).to_numpy(),
            "c": pd.Categorical(["x", "y", "x"]),
        },
        index=index,
    )
    types = {"f": TSDataType.FLOAT}
    codes = np.array([0, 1, 0], np.int32)
    sent = to_block(
        DeviceColumns("", frame, types=types, time_unit="ns"), ("root.a", "root.`b c`"), codes
    )
    spool = Spool(tmp_path)
    spool.append(sent)
    spool.append(row_block(7, x=True, y=None))
    spool.close()
    (got, _), (row, _) = Spool(tmp_path).replay()
    assert got.devices == sent.devices
    assert got.codes.tolist() == [0, 1, 0]
    assert (got.types, got.time_unit) == (types, "ns")
    assert got.times is not None
    assert pd.DatetimeIndex(got.times.to_pandas()).equals(index.tz_convert("UTC"))
    assert isinstance(got.data, pa.Table)
    values = got.data.to_pydict()
    assert values["i"] == [1, None, 3]
    assert values["s"] == ["a", None, "ü"]
    assert values["b"] == [b"\0", b"", None]
    assert values["c"] == ["x", "y", "x"]
    assert values["f"][0] == 1.5
    assert np.signbit(values["f"][2])
    assert isinstance(row.data, pa.Table)
    assert row.data.to_pydict() == {"x": [True], "y": [None]}


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    """Directory 0700, files 0600, whatever the umask."""
    before = os.umask(0)
    try:
        directory = tmp_path / "spool"
        spool = Spool(directory)
        spool.done([spool.append(row_block(1, a=1)), spool.append(row_block(2, a=1))][:1])
    finally:
        os.umask(before)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    modes = {path.suffix: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}
    assert modes == {"": 0o600, ".arrows": 0o600, ".acks": 0o600}


def test_one_process_at_a_time(tmp_path: Path) -> None:
    """A second sink on the same directory is refused, until the first is closed."""
    spool = Spool(tmp_path)
    with pytest.raises(OptionsError, match="in use by another sink"):
        Spool(tmp_path)
    spool.close()
    Spool(tmp_path).close()


def test_segments_go_when_they_are_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log does not grow without end: a full segment goes with its last block."""
    monkeypatch.setattr(spool_module, "SEGMENT_BYTES", 10_000)
    spool = Spool(tmp_path)
    places = [spool.append(row_block(i, a="x" * 1000)) for i in range(100)]
    assert len(files_of(tmp_path)) > 10
    spool.done([places[50]])
    spool.done(places[:50] + places[51:])
    assert len(files_of(tmp_path, "*.arrows")) == 1
    assert spool.append(row_block(0, a=1)).segment.path.exists()
    spool.close()
    assert times_of(list(Spool(tmp_path).replay())) == [0]


@settings(max_examples=30, deadline=None)
@given(share=st.floats(0, 1))
def test_any_cut_leaves_a_beginning(tmp_path_factory: pytest.TempPathFactory, share: float) -> None:
    """However a crash cuts the last segment, what is whole before the cut comes back."""
    directory = tmp_path_factory.mktemp("cut")
    spool = Spool(directory)
    for i in range(20):
        spool.append(row_block(i, **({"a": i} if i % 7 else {"b": "text"})))
    os.close(spool._held)
    (path,) = files_of(directory)
    size = path.stat().st_size
    os.truncate(path, int(size * share))
    again = Spool(directory)
    times = times_of(list(again.replay()))
    assert times == list(range(len(times)))
    assert len(times) >= int(20 * share) - 2
    again.append(row_block(99, a=1))
    again.close()
    assert times_of(list(Spool(directory).replay())) == [*times, 99]


def test_a_full_disk_takes_nothing_by_halves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that fails leaves the log readable, and nothing of its block in it."""
    spool = Spool(tmp_path)
    spool.append(row_block(0, a=1))
    real = os.write

    def full(fd: int, data: bytes) -> int:
        real(fd, bytes(data)[:10])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space"):
            spool.append(row_block(1, a=1))
    spool.append(row_block(2, a=1))
    spool.close()
    assert times_of(list(Spool(tmp_path).replay())) == [0, 2]


WRITER = """
import sys
sys.path.insert(0, sys.argv[2])
from test_spool import Spool, row_block
spool = Spool(sys.argv[1])
for i in range(10**9):
    spool.append(row_block(i, a=float(i), b="text"))
    print(i, flush=True)
"""


def test_a_killed_process_loses_nothing(tmp_path: Path) -> None:
    """Every append that returned before SIGKILL is there after it."""
    command = [sys.executable, "-c", WRITER, str(tmp_path), str(Path(__file__).parent)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) >= 500:
            break
    process.send_signal(signal.SIGKILL)
    last = max(int(line) for line in process.stdout.read().split()[:-1] or ["500"])
    process.stdout.close()
    process.wait()
    times = times_of(list(Spool(tmp_path).replay()))
    assert times == list(range(len(times)))
    assert len(times) > last
