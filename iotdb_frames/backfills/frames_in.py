"""Frames made by a program: a list or a generator. Each frame is a unit.

They cannot be reopened by name, so a job of frames resumes when it is called with the same frames
again; each is identified by a digest of its whole content.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Any

import pandas as pd
import pyarrow as pa

from iotdb_frames.errors import FrameError
from iotdb_frames.files.pieces import Piece, Range
from iotdb_frames.writes.frames import frames_of, is_one

NAME = "frames"


class FramesReader:
    """Frames as pieces.

    Parameters
    ----------
    frames : DataFrames, Arrow tables or anything else that `write` takes
    known : digest of each frame in the manifest, by its number
    """

    def __init__(self, frames: Iterable[Any], known: Mapping[int, str]) -> None:
        self._frames = frames
        self._known = known
        self.time: Hashable | None = None

    def pieces(self, ranges: Iterable[Range]) -> Iterator[Piece]:
        wanted = list(ranges)
        starts = {start for start, stop, _ in wanted if stop is not None}
        rest = min((start for start, stop, _ in wanted if stop is None), default=None)
        given = [self._frames] if is_one(self._frames) else self._frames
        for i, frame in enumerate(frame for data in given for frame in frames_of(data)):
            seen = digest(frame)
            if self._known.get(i, seen) != seen:
                raise FrameError(
                    f"frame {i} differs from that of the first run",
                    hint="pass the same frames in the same order, or start a new manifest",
                )
            if i in starts or (rest is not None and i >= rest):
                yield Piece(i, i + 1, frame, digest=seen)


def digest(frame: Any) -> str:
    """A digest of a frame's labels, types and values."""
    if isinstance(frame, pd.Series):
        frame = frame.to_frame(name="value" if frame.name is None else frame.name)
    if isinstance(frame, pd.DataFrame):
        labels = repr([*map(str, frame.columns), *map(str, frame.dtypes), frame.index.names])
        hashes = pd.util.hash_pandas_object(frame).to_numpy()
        return hashlib.blake2b(labels.encode() + hashes.tobytes(), digest_size=16).hexdigest()
    table = frame if isinstance(frame, pa.Table) else pa.Table.from_batches([frame])
    sink = hashlib.blake2b(digest_size=16)
    with pa.ipc.new_stream(pa.PythonFile(_Digest(sink), "w"), table.schema) as stream:
        stream.write_table(table.combine_chunks())
    return sink.hexdigest()


class _Digest:
    """A file that only digests what is written to it."""

    closed = False

    def __init__(self, sink: Any) -> None:
        self._sink = sink

    def write(self, data: Any) -> int:
        self._sink.update(data)
        return len(data)

    def flush(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""
