"""The spool: what was taken is there again after any end of the process, once, in order."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from full_disk import full_disk
from iotdb_frames.errors import IoTDBFramesError, OptionsError
from iotdb_frames.options import TSDataType
from iotdb_frames.sink import spool as spool_module
from iotdb_frames.sink.columns import rows_of_device, to_rows
from iotdb_frames.sink.rows import Rows, to_arrow
from iotdb_frames.sink.serializer import DeviceColumns
from iotdb_frames.sink.spool import Place, Spool, to_stream

NO_CODES = np.zeros(0, np.int32)
HEAD_BYTES = 20


def one_row(time: int, device: str = "root.d", **values: object) -> Rows:
    """One row, as columns."""
    ((rows, _),) = rows_of_device(device, [DeviceColumns(device, values, time)])
    assert isinstance(rows, Rows)
    return rows


def append(spool: Spool, rows: Rows) -> Place:
    """Put rows in."""
    (place,) = spool.append([to_stream(rows)])
    return place


def times_of(found: list[tuple[Rows, Place]]) -> list[int]:
    """The first time of each."""
    return [to_arrow(rows.times)[0].as_py() for rows, _ in found]


def values_of(rows: Rows) -> dict[object, list[object]]:
    """Measurements as lists."""
    return {name: to_arrow(source).to_pylist() for name, source in rows.columns.items()}


def files_of(directory: Path, pattern: str = "*.[ba]*") -> list[Path]:
    """The segments, in order."""
    return sorted(directory.glob(pattern))


def test_what_is_not_done_comes_back(tmp_path: Path) -> None:
    """After a close, the rows that are not done come back in their order, the others never."""
    spool = Spool(tmp_path)
    places = [append(spool, one_row(i, a=1.0 * i)) for i in range(10)]
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


def test_new_rows_come_after_those_of_before(tmp_path: Path) -> None:
    """Of three processes that all crash, the third finds the rows in the order they were sent."""
    for start in (0, 3):
        spool = Spool(tmp_path)
        list(spool.replay())
        for i in range(start, start + 3):
            append(spool, one_row(i, a=i))
        spool._held.release()  # as the end of the process does
    assert times_of(list(Spool(tmp_path).replay())) == list(range(6))


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
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
    sent = to_rows(
        DeviceColumns("", frame, types=types, time_unit="ns"), ("root.a", "root.`b c`"), codes
    )
    spool = Spool(tmp_path)
    append(spool, sent)
    append(spool, one_row(7, x=True, y=None))
    spool.close()
    (got, _), (row, _) = Spool(tmp_path).replay()
    assert got.devices == sent.devices
    assert got.codes.tolist() == [0, 1, 0]
    assert (got.types, got.time_unit) == (types, "ns")
    assert pd.DatetimeIndex(to_arrow(got.times).to_pandas()).equals(index.tz_convert("UTC"))
    values: dict[object, list[Any]] = values_of(got)
    assert values["i"] == [1, None, 3]
    assert values["s"] == ["a", None, "ü"]
    assert values["b"] == [b"\0", b"", None]
    assert values["c"] == ["x", "y", "x"]
    assert values["f"][0] == 1.5
    assert np.signbit(values["f"][2])
    assert values_of(row) == {"x": [True], "y": [None]}


def test_a_stream_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    """Users have such files on their disks: times first, then codes of devices, then columns."""
    about = {"devices": ["root.a", "root.b"], "time_unit": "ms", "types": {"v": "FLOAT"}}
    batch = pa.RecordBatch.from_arrays(
        [pa.array([5, 6]), pa.array([1, 0], pa.int32()), pa.array([1.5, None])],
        ["time", "device", "v"],
        metadata={"iotdb": json.dumps(about)},
    )
    spool = Spool(tmp_path)
    spool.append([b"".join((batch.schema.serialize(), batch.serialize()))])
    spool.close()
    ((rows, _),) = Spool(tmp_path).replay()
    assert (rows.devices, rows.codes.tolist()) == (("root.a", "root.b"), [1, 0])
    assert to_arrow(rows.times).to_pylist() == [5, 6]
    assert (rows.types, rows.time_unit) == ({"v": TSDataType.FLOAT}, "ms")
    assert values_of(rows) == {"v": [1.5, None]}


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    """Directory 0700, files 0600, whatever the umask."""
    before = os.umask(0)
    try:
        directory = tmp_path / "spool"
        spool = Spool(directory)
        spool.done([append(spool, one_row(1, a=1)), append(spool, one_row(2, a=1))][:1])
    finally:
        os.umask(before)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    modes = {path.suffix: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}
    assert modes == {"": 0o600, ".batches": 0o600, ".acks": 0o600}


def test_one_process_at_a_time(tmp_path: Path) -> None:
    """A second sink on the same directory is refused, until the first is closed."""
    spool = Spool(tmp_path)
    with pytest.raises(OptionsError, match="in use by another sink"):
        Spool(tmp_path)
    spool.close()
    Spool(tmp_path).close()


def test_segments_go_when_they_are_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log does not grow without end: a full segment goes with its last rows."""
    monkeypatch.setattr(spool_module, "SEGMENT_BYTES", 10_000)
    spool = Spool(tmp_path)
    places = [append(spool, one_row(i, a="x" * 1000)) for i in range(100)]
    assert len(files_of(tmp_path)) > 10
    spool.done([places[50]])
    spool.done(places[:50] + places[51:])
    assert len(files_of(tmp_path, "*.batches")) == 1
    assert append(spool, one_row(0, a=1)).segment.path.exists()
    spool.close()
    assert times_of(list(Spool(tmp_path).replay())) == [0]


@settings(max_examples=30, deadline=None)
@given(share=st.floats(0, 1))
def test_any_cut_leaves_a_beginning(tmp_path_factory: pytest.TempPathFactory, share: float) -> None:
    """However a crash cuts the last segment, what is whole before the cut comes back."""
    directory = tmp_path_factory.mktemp("cut")
    spool = Spool(directory)
    for i in range(20):
        append(spool, one_row(i, **({"a": i} if i % 7 else {"b": "text"})))
    spool._held.release()
    (path,) = files_of(directory)
    size = path.stat().st_size
    os.truncate(path, int(size * share))
    again = Spool(directory)
    times = times_of(list(again.replay()))
    assert times == list(range(len(times)))
    assert len(times) >= int(20 * share) - 2
    append(again, one_row(99, a=1))
    again.close()
    assert times_of(list(Spool(directory).replay())) == [*times, 99]


def test_a_full_disk_takes_nothing_by_halves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that fails leaves the log readable, and nothing of its rows in it."""
    spool = Spool(tmp_path)
    append(spool, one_row(0, a=1))
    real = os.write

    def full(fd: int, data: bytes) -> int:
        real(fd, bytes(data)[:10])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(IoTDBFramesError, match="No space"):
            append(spool, one_row(1, a=1))
    append(spool, one_row(2, a=1))
    spool.close()
    assert times_of(list(Spool(tmp_path).replay())) == [0, 2]


WRITER = """
import sys
sys.path[:0] = sys.argv[2:]
from test_spool import Spool, append, one_row
spool = Spool(sys.argv[1])
for i in range(10**9):
    append(spool, one_row(i, a=float(i), b="text"))
    print(i, flush=True)
"""


def test_a_killed_process_loses_nothing(tmp_path: Path) -> None:
    """Every append that returned before SIGKILL is there after it."""
    command = [sys.executable, "-c", WRITER, str(tmp_path), str(Path(__file__).parent)]
    command.append(str(Path(__file__).parents[1]))
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


def crashed(directory: Path, device: str = "root.d", *, done: tuple[int, ...] = ()) -> Path:
    """The segment of a process that was killed; each acknowledgement is a record of its own."""
    spool = Spool(directory)
    places = [append(spool, one_row(i, device, a=f"value {i}")) for i in range(10)]
    for i in done:
        spool.done([places[i]])
    spool._held.release()
    return files_of(directory, "*.batches")[-1]


def flip(path: Path, at: int) -> None:
    """Turn one bit of a file around."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1 << at % 8
    path.write_bytes(data)


@settings(max_examples=100, deadline=None)
@given(share=st.floats(0, 1, exclude_max=True))
def test_any_flipped_bit_costs_one_batch_and_is_told(
    tmp_path_factory: pytest.TempPathFactory, share: float
) -> None:
    """However one bit is flipped, all other batches come back unchanged, and the loss is told."""
    directory = tmp_path_factory.mktemp("flip")
    path = crashed(directory)
    at = HEAD_BYTES + int((path.stat().st_size - HEAD_BYTES) * share)
    flip(path, at)
    damaged = path.read_bytes()
    spool = Spool(directory)
    found = list(spool.replay())
    values = {to_arrow(rows.times)[0].as_py(): values_of(rows)["a"][0] for rows, _ in found}
    assert len(values) == 9
    assert values == {i: f"value {i}" for i in values}
    assert list(values) == sorted(values)
    assert spool.n_damaged == 1
    error = spool.damage()
    assert error is not None
    assert "1 batch in 00000001.batches" in error.message
    assert spool.damage() is None
    spool.done([place for _, place in found])
    spool.close()
    kept = directory / "00000001.batches.damaged"
    assert kept.read_bytes() == damaged
    assert sorted(p.name for p in directory.iterdir()) == [kept.name, "lock"]
    again = Spool(directory)
    assert list(again.replay()) == []
    assert again.damage() is None
    assert append(again, one_row(1, a=1)).segment.path.name == "00000002.batches"


def test_missing_and_foreign_bytes_cost_what_they_hit(tmp_path: Path) -> None:
    """A hole, or bytes that do not belong there, cost the batches they touch and no other."""
    path = crashed(tmp_path)
    data = path.read_bytes()
    size = (len(data) - HEAD_BYTES) // 10
    middle = HEAD_BYTES + 4 * size + size // 2
    for changed, lost in (
        (data[:middle] + data[middle + 2 * size :], {4, 5, 6}),
        (data[:middle] + os.urandom(5_000) + data[middle:], {4}),
        (data[:middle] + bytes(2 * size) + data[middle + 2 * size :], {4, 5, 6}),
        (data[: HEAD_BYTES + 9 * size] + os.urandom(size), {9}),
        (data + bytes(5_000), set()),
    ):
        path.write_bytes(changed)
        spool = Spool(tmp_path)
        assert times_of(list(spool.replay())) == [i for i in range(10) if i not in lost]
        assert spool.n_damaged == len(lost)
        spool.close()


def test_damage_is_told_once_while_its_rows_wait(tmp_path: Path) -> None:
    """A start after the one that told of it replays the same rows, and does not raise again."""
    flip(crashed(tmp_path), 200)
    for is_first in (True, False):
        spool = Spool(tmp_path)
        assert len(list(spool.replay())) == 9
        assert (spool.damage() is not None) == is_first
        spool.close()


def test_a_damaged_batch_that_is_done_is_no_loss(tmp_path: Path) -> None:
    """What the server has need not be readable."""
    path = crashed(tmp_path, done=(0, 1))
    flip(path, HEAD_BYTES + 100)
    spool = Spool(tmp_path)
    assert times_of(list(spool.replay())) == list(range(2, 10))
    assert spool.damage() is None


def test_a_damaged_acknowledgement_sends_in_order(tmp_path: Path) -> None:
    """Where it is unknown what is done, all that followed goes again: the last value wins."""
    crashed(tmp_path, done=(0, 1, 2, 3, 4, 5))
    (acks,) = files_of(tmp_path, "*.acks")
    flip(acks, HEAD_BYTES + (acks.stat().st_size - HEAD_BYTES) // 6 * 2 + 3)
    spool = Spool(tmp_path)
    assert times_of(list(spool.replay())) == list(range(2, 10))
    error = spool.damage()
    assert error is not None
    assert "acknowledgements in 00000001.acks" in error.message


def test_a_torn_acknowledgement_is_normal(tmp_path: Path) -> None:
    """A crash in the middle of one sends its batch again; later ones can be read all the same."""
    crashed(tmp_path, done=(0, 1))
    (acks,) = files_of(tmp_path, "*.acks")
    os.truncate(acks, acks.stat().st_size - 3)
    for expected in (list(range(1, 10)), list(range(2, 10))):
        spool = Spool(tmp_path)
        found = list(spool.replay())
        assert times_of(found) == expected
        assert spool.damage() is None
        spool.done([found[0][1]])
        spool._held.release()


def test_acknowledgements_on_a_full_disk_go_with_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What could not be noted is noted with the next: no older row is sent behind a newer one."""
    spool = Spool(tmp_path)
    places = [append(spool, one_row(i, a=i)) for i in range(3)]
    with full_disk(0), pytest.raises(IoTDBFramesError, match="cannot be written"):
        spool.done([places[0]])
    spool.done([places[1]])
    spool._held.release()
    assert times_of(list(Spool(tmp_path).replay())) == [2]


def test_acknowledgements_of_a_deleted_segment_are_of_no_other(tmp_path: Path) -> None:
    """A crash between the deletions of a segment's two files costs no later row."""
    path = crashed(tmp_path, done=(0, 1, 2))
    path.unlink()
    spool = Spool(tmp_path)
    for i in range(3):
        append(spool, one_row(i, a=i))
    spool._held.release()
    assert times_of(list(Spool(tmp_path).replay())) == [0, 1, 2]


@pytest.mark.parametrize("case", ["older", "newer", "head", "other"])
def test_an_unreadable_spool_is_refused_by_name(tmp_path: Path, case: str) -> None:
    """A spool of another version, or without its head, is refused, named, and left as it is."""
    path = crashed(tmp_path)
    if case == "older":
        path = path.rename(path.with_suffix(".arrows"))
    elif case == "newer":
        head = bytearray(path.read_bytes())
        head[7] += 1
        head[16:20] = zlib.crc32(head[:16]).to_bytes(4, "little")
        path.write_bytes(head)
    elif case == "head":
        flip(path, 3)
    else:
        path.write_text("not a spool")
    before = path.read_bytes()
    with pytest.raises(OptionsError) as caught:
        Spool(tmp_path)
    assert str(path) in caught.value.message
    assert "nothing of it was sent or deleted" in str(caught.value)
    assert path.read_bytes() == before
    path.rename(tmp_path / "elsewhere")
    Spool(tmp_path).close()  # and its lock is free
