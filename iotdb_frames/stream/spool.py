"""Rows of a sink on the disk until the server has them: an append-only log of Arrow IPC streams.

A segment ``00000001.arrows`` is IPC streams one after the other, each of one batch: the rows of one
block, its first column the times, the metadata of its schema their devices. ``00000001.acks``
beside it holds the numbers (int32, little-endian) of the batches that are done. A segment whose
batches are all done is deleted. What a crash cut off at the end of a segment was never promised.

The log outlives the crash of its process. Of a machine that loses power it keeps what the operating
system has written by then: it is not flushed to the disk row by row.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock

import numpy as np
import pandas as pd
import pyarrow as pa

from iotdb_frames.errors import OptionsError
from iotdb_frames.options import TSDataType
from iotdb_frames.stream.blocks import Block, from_table, to_array

SEGMENT_BYTES = 16 << 20
_NO_CODES = np.zeros(0, np.int32)


class _Segment:
    """A file of the log; `n_open` of its batches are not done yet."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.acks_path = path.with_suffix(".acks")
        self.n_batches = 0
        self.n_open = 0
        self.is_sealed = False
        self._acks = -1

    def note_done(self, numbers: Sequence[int]) -> None:
        if self._acks < 0:
            self._acks = _open_private(self.acks_path)
        os.write(self._acks, np.array(numbers, "<i4").tobytes())
        self.n_open -= len(numbers)

    def read_done(self) -> set[int]:
        if not self.acks_path.exists():
            return set()
        data = self.acks_path.read_bytes()
        return set(np.frombuffer(data[: len(data) // 4 * 4], "<i4").tolist())

    def close(self) -> None:
        if self._acks >= 0:
            os.close(self._acks)
            self._acks = -1

    def delete(self) -> None:
        self.close()
        self.path.unlink(missing_ok=True)
        self.acks_path.unlink(missing_ok=True)


class Place:
    """Where a block is in the log; done with when so many entries are that it was divided into."""

    __slots__ = ("n_entries", "number", "segment")

    def __init__(self, segment: _Segment, number: int) -> None:
        self.segment = segment
        self.number = number
        self.n_entries = 1


class Spool:
    """A directory that holds the rows of one sink; one process at a time.

    Parameters
    ----------
    directory : made if it is missing, for its owner only

    Raises
    ------
    OptionsError : another process has it.
    OSError : it cannot be written.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self._directory = Path(directory).expanduser()
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = Lock()
        self._held = _hold(self._directory / "lock")
        self._old = sorted(self._directory.glob("*.arrows"))
        self._number = max((int(path.stem) for path in self._old), default=0)
        self._segments: list[_Segment] = []
        self._fd = -1
        self._size = 0

    def replay(self) -> Iterator[tuple[Block, Place]]:
        """The blocks that an earlier process left, in the order they came."""
        for path in self._old:
            segment = _Segment(path)
            segment.is_sealed = True
            done = segment.read_done()
            blocks = [(i, block) for i, block in enumerate(_read(path)) if i not in done]
            segment.n_open = len(blocks)
            if not blocks:
                segment.delete()
                continue
            self._segments.append(segment)
            for i, block in blocks:
                yield block, Place(segment, i)
        self._old = []

    def append(self, block: Block) -> Place:
        """Write a block at the end of the log.

        Raises
        ------
        ColumnTypeError : values that have no one type.
        OSError : nothing was written.
        """
        data = _to_stream(block)
        with self._lock:
            if self._fd < 0 or self._size >= SEGMENT_BYTES:
                self._next_segment()
            segment = self._segments[-1]
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(self._fd, view) :]
            except BaseException:
                with suppress(OSError):  # leave no half of a batch behind
                    os.ftruncate(self._fd, self._size)
                self._seal()
                raise
            self._size += len(data)
            place = Place(segment, segment.n_batches)
            segment.n_batches += 1
            segment.n_open += 1
            return place

    def done(self, places: Sequence[Place]) -> None:
        """Note entries that need not be sent again."""
        by_segment: dict[_Segment, list[int]] = {}
        with self._lock:
            for place in places:
                place.n_entries -= 1
                if not place.n_entries:
                    by_segment.setdefault(place.segment, []).append(place.number)
            for segment, numbers in by_segment.items():
                segment.note_done(numbers)
                if segment.is_sealed and not segment.n_open:
                    segment.delete()
                    self._segments.remove(segment)

    def close(self) -> None:
        """Close the files, and delete those of which everything is done."""
        with self._lock:
            self._seal()
            for segment in self._segments:
                segment.close()
                if not segment.n_open:
                    segment.delete()
            self._segments = []
            if self._held >= 0:
                os.close(self._held)
                self._held = -1

    def _next_segment(self) -> None:
        self._seal()
        self._number += 1
        segment = _Segment(self._directory / f"{self._number:08}.arrows")
        self._fd = _open_private(segment.path)
        self._size = 0
        self._segments.append(segment)

    def _seal(self) -> None:
        if self._fd < 0:
            return
        os.close(self._fd)
        self._fd = -1
        segment = self._segments[-1]
        segment.is_sealed = True
        if not segment.n_open:
            segment.delete()
            self._segments.remove(segment)


def _open_private(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def _hold(file: Path) -> int:
    """Lock a file for as long as this process lives, and the result is open."""
    fd = _open_private(file)
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        os.close(fd)
        raise OptionsError(
            f"the spool {file.parent} is in use by another sink",
            hint="give each sink a directory of its own",
        ) from exc
    return fd


def _to_stream(block: Block) -> pa.Buffer:
    if isinstance(block.data, pd.DataFrame):
        times = to_array(block.data.index, "time")
        arrays = [to_array(block.data[name], name) for name in block.names]
    else:
        times, arrays = block.times, block.data.columns
    whole = [a.combine_chunks() if isinstance(a, pa.ChunkedArray) else a for a in (times, *arrays)]
    names = ["time", *block.names]
    if len(block.devices) > 1:
        whole.insert(1, pa.array(block.codes, pa.int32()))
        names.insert(1, "device")
    types = {name: kind.name for name, kind in (block.types or {}).items()}
    about = {"devices": block.devices, "time_unit": block.time_unit, "types": types}
    batch = pa.RecordBatch.from_arrays(whole, names, metadata={"iotdb": json.dumps(about)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue()


def _read(path: Path) -> Iterator[Block]:
    """The blocks of a segment, up to its end or to where it was cut off."""
    with pa.OSFile(str(path)) as file:
        size = file.size()
        while file.tell() < size:
            try:
                table = pa.ipc.open_stream(file).read_all()
            except (pa.ArrowException, OSError):
                return
            if not table.num_rows:  # cut off behind its schema
                return
            yield _to_block(table)


def _to_block(table: pa.Table) -> Block:
    about = json.loads(table.schema.metadata[b"iotdb"])
    times, table = table.column(0), table.remove_column(0)
    codes = _NO_CODES
    if len(about["devices"]) > 1:
        codes = np.asarray(table.column(0)).astype(np.int32)
        table = table.remove_column(0)
    types = {name: TSDataType[kind] for name, kind in about["types"].items()} or None
    unit, devices = about["time_unit"], tuple(about["devices"])
    return from_table(table.replace_schema_metadata(None), times, unit, types, devices, codes)
