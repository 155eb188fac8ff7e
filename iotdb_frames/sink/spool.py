"""Rows of a sink on the disk until the server has them: append-only files of Arrow data.

A segment ``00000001.batches`` is a `journal` whose records are Arrow IPC streams, each of one
batch: the rows of one entry, its first column the times, the metadata of its schema their devices
(paths, or the tags of a table that it names).
``00000001.acks`` beside it is a journal of the numbers (int32, little-endian) of the batches that
are done. A segment whose batches are all done is deleted. Of what a crash cut off at the end of a
segment, `send` never returned. A batch that is damaged otherwise is left out and reported, and its
segment is kept beside as ``00000001.batches.damaged``.

The log outlives the crash of its process. Of a machine that loses power it keeps what the operating
system has written by then: it is not flushed to the disk row by row.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa

from iotdb_frames.display.words import plural
from iotdb_frames.errors import IoTDBFramesError, OptionsError
from iotdb_frames.locks import Locked, hold
from iotdb_frames.options import TSDataType
from iotdb_frames.sink.columns import to_rows
from iotdb_frames.sink.journal import Journal, Reading, marker_of, open_private
from iotdb_frames.sink.rows import NO_CODES, Rows, to_arrow
from iotdb_frames.sink.serializer import DeviceColumns

SEGMENT_BYTES = 16 << 20
_log = logging.getLogger("iotdb_frames.sink")


class _Segment:
    """A file of the log; `n_open` of its batches are not done yet."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.acks_path = path.with_suffix(".acks")
        self.n_batches = 0
        self.n_open = 0
        self.is_sealed = False
        self._acks: Journal | None = None
        self._acks_end = 0
        self._n_acks = 0
        self._unsaid: list[int] = []

    def note_done(self, numbers: Sequence[int]) -> None:
        self.n_open -= len(numbers)
        self._unsaid += numbers
        self.say_done()

    def say_done(self) -> None:
        """Write what is done; what cannot be written now is written with the next."""
        if not self._unsaid:
            return
        if self._acks is None:
            self._acks = Journal(self.acks_path, end=self._acks_end)
        self._acks.append(self._n_acks, np.array(self._unsaid, "<i4").tobytes())
        self._n_acks += 1
        self._unsaid = []

    def read_done(self) -> tuple[set[int], bool]:
        """The batches that are done, and whether all acknowledgements can be read."""
        done: set[int] = set()
        is_whole = True
        if self.acks_path.exists():
            reading = Reading(self.acks_path)
            for number, data in reading.records():
                self._n_acks = number + 1
                if data is None or len(data) % 4:
                    is_whole = False
                else:
                    done.update(np.frombuffer(data, "<i4").tolist())
            self._acks_end = reading.end
        return done, is_whole

    def put_aside(self) -> bool:
        """Keep a damaged file, whatever becomes of its other batches; whether that is new."""
        beside = self.path.with_name(self.path.name + ".damaged")
        if beside.exists():
            return False
        try:
            os.link(self.path, beside)
        except OSError:  # a file system without links
            os.close(open_private(beside))
            shutil.copyfile(self.path, beside)
        return True

    def close(self) -> None:
        if self._acks is not None:
            self._acks.close()
            self._acks = None

    def delete(self) -> None:
        self.close()
        # In this order: without its acks a segment would be sent again.
        self.path.unlink(missing_ok=True)
        self.acks_path.unlink(missing_ok=True)


class Place:
    """Where rows are in the log; done when all entries that they were divided into are."""

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
    home : what its rows are for; see `Devices`

    Raises
    ------
    OptionsError : another process has it; it cannot be made or read; it is of another version. What
        is in it stays there.

    Attributes
    ----------
    n_damaged : damaged batches, which `replay` left out
    """

    def __init__(self, directory: str | os.PathLike[str], *, home: tuple[str, ...] = ()) -> None:
        self._home = home
        self._directory = Path(directory).expanduser()
        self._lock = Lock()
        self._segments: list[_Segment] = []
        self._batches: Journal | None = None
        self._held: Any = None
        self.n_damaged = 0
        self._damage: list[str] = []
        try:
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._held = hold(self._directory / "lock")
            self._old = self._look()
        except Locked as exc:
            raise OptionsError(
                f"the spool {self._directory} is in use by another sink",
                hint="give each sink a directory of its own",
            ) from exc
        except OSError as exc:
            self.close()
            raise OptionsError(f"spool={str(directory)!r} cannot be used: {exc}") from exc
        except BaseException:
            self.close()
            raise

    def _look(self) -> list[Path]:
        """The segments that an earlier process left, in order."""
        for older in sorted(self._directory.glob("*.arrows")):
            raise OptionsError(
                f"{older} was written by an older version of iotdb_frames",
                hint="nothing of it was sent or deleted: let that version send it, or move it away",
            )
        segments = sorted(self._directory.glob("*.batches"))
        acks = sorted(self._directory.glob("*.acks"))
        for path in (*segments, *acks):
            marker_of(path)
        numbers = [path.name.split(".")[0] for path in self._directory.glob("*.*")]
        self._number = max((int(number) for number in numbers if number.isdecimal()), default=0)
        for path in acks:
            if path.with_suffix(".batches") not in segments:  # a crash left it of a deleted segment
                path.unlink()
        return segments

    def replay(self) -> Iterator[tuple[Rows, Place]]:
        """The rows that an earlier process left, in the order they came.

        Raises
        ------
        OptionsError : they cannot be read, or are for another table; all of them stay there.
        """
        try:
            yield from self._replay()
        except OSError as exc:
            raise OptionsError(f"the spool {self._directory} cannot be read: {exc}") from exc

    def _replay(self) -> Iterator[tuple[Rows, Place]]:
        is_known = True
        for path in self._old:
            segment = _Segment(path)
            segment.is_sealed = True
            done, is_whole = segment.read_done()
            if is_known and not is_whole:
                # Which other batches are done is unknown. All that came after the first of them go
                # again, too: an older value must not be the last one.
                is_known = False
                done = set(range(next(i for i in range(len(done) + 1) if i not in done)))
            elif not is_known:
                done = set()
            self._segments.append(segment)
            n_damaged = 0
            segment.n_open = 1  # for this loop: its rows may be done before all are given
            for number, data in Reading(path).records(skip=done):
                if number in done:
                    continue
                found = None if data is None else _from_stream(data)
                if found is None:
                    n_damaged += 1
                    continue
                rows, home = found
                if home != self._home:
                    raise self._not_ours(home)
                segment.n_open += 1
                yield rows, Place(segment, number)
            segment.n_open -= 1
            self._note_damage(segment, n_damaged, is_whole)
            if not segment.n_open:
                segment.delete()
                self._segments.remove(segment)
        self._old = []

    def _not_ours(self, home: tuple[str, ...]) -> OptionsError:
        def shown(home: tuple[str, ...]) -> str:
            return f"the table {home[0]} with tags={list(home[1:])}" if home else "tree devices"

        return OptionsError(
            f"the spool {self._directory} holds rows of {shown(home)}, not of {shown(self._home)}",
            hint="nothing of it was sent or deleted: give each sink a directory of its own",
        )

    def _note_damage(self, segment: _Segment, n_damaged: int, is_whole: bool) -> None:
        if not n_damaged and is_whole:
            return
        self.n_damaged += n_damaged
        found = [f"acknowledgements in {segment.acks_path.name}"] * (not is_whole)
        if n_damaged:
            found.append(f"{plural(n_damaged, 'batch', 'batches')} in {segment.path.name}")
        if segment.put_aside():
            self._damage += found
        else:
            _log.warning("damaged, as reported before: %s", " and ".join(found))

    def damage(self) -> IoTDBFramesError | None:
        """The damage found by `replay` that was not reported yet."""
        if not self._damage:
            return None
        what, self._damage = " and ".join(self._damage), []
        error = IoTDBFramesError(
            f"the spool {self._directory} is damaged: {what}",
            hint="every other batch is sent, also those whose acknowledgement cannot be read; the "
            "damaged files are kept beside, as *.damaged",
        )
        _log.error("%s", error.message)
        return error

    def append(self, streams: Sequence[bytes]) -> list[Place]:
        """Write what `to_stream` gives at the end of the log: all or none.

        Raises
        ------
        IoTDBFramesError : it cannot be written.
        """
        places: list[Place] = []
        try:
            with self._lock:
                for data in streams:
                    places.append(self._append(data))
        except BaseException as exc:
            with suppress(IoTDBFramesError):
                self.done(places)
            if isinstance(exc, OSError):
                raise self._unusable(exc, "make room; nothing of this event was taken") from exc
            raise
        return places

    def _append(self, data: bytes) -> Place:
        if self._batches is None or self._batches.size >= SEGMENT_BYTES:
            self._next_segment()
        assert self._batches is not None
        segment = self._segments[-1]
        self._batches.append(segment.n_batches, data)
        place = Place(segment, segment.n_batches)
        segment.n_batches += 1
        segment.n_open += 1
        return place

    def _unusable(self, exc: OSError, hint: str) -> IoTDBFramesError:
        return IoTDBFramesError(f"the spool {self._directory} cannot be written: {exc}", hint=hint)

    def done(self, places: Sequence[Place]) -> None:
        """Note entries that need not be sent again.

        Raises
        ------
        IoTDBFramesError : it could not be written now; it will be with the next.
        """
        by_segment: dict[_Segment, list[int]] = {}
        failure: OSError | None = None
        with self._lock:
            for place in places:
                place.n_entries -= 1
                if not place.n_entries:
                    by_segment.setdefault(place.segment, []).append(place.number)
            for segment, numbers in by_segment.items():
                try:
                    segment.note_done(numbers)
                except OSError as exc:
                    failure = exc
                if segment.is_sealed and not segment.n_open:
                    segment.delete()
                    self._segments.remove(segment)
        if failure is not None:
            hint = "make room: after a crash now, rows that are stored would be sent again"
            raise self._unusable(failure, hint) from failure

    def close(self) -> None:
        """Close the files, and delete those of which everything is done."""
        with self._lock:
            self._seal()
            for segment in self._segments:
                with suppress(OSError):
                    segment.say_done()
                segment.close()
                if not segment.n_open:
                    segment.delete()
            self._segments = []
            if self._held is not None:
                self._held.release()
                self._held = None

    def _next_segment(self) -> None:
        self._seal()
        self._number += 1
        segment = _Segment(self._directory / f"{self._number:08}.batches")
        self._batches = Journal(segment.path)
        self._segments.append(segment)

    def _seal(self) -> None:
        if self._batches is None:
            return
        self._batches.close()
        self._batches = None
        segment = self._segments[-1]
        segment.is_sealed = True
        if not segment.n_open:
            segment.delete()
            self._segments.remove(segment)


def to_stream(rows: Rows, *, home: tuple[str, ...] = ()) -> bytes:
    """Rows as an Arrow IPC stream, for sinks of the same `home`."""
    arrays = [to_arrow(source) for source in (rows.times, *rows.columns.values())]
    names = ["time", *rows.names]
    if len(rows.devices) > 1:
        arrays.insert(1, pa.array(rows.codes, pa.int32()))
        names.insert(1, "device")
    about = {
        "home": home,
        "devices": rows.devices,
        "time_unit": rows.time_unit,
        "types": {name: kind.name for name, kind in (rows.types or {}).items()},
    }
    batch = pa.RecordBatch.from_arrays(arrays, names, metadata={"iotdb": json.dumps(about)})
    schema = batch.schema
    if not any(map(pa.types.is_dictionary, schema.types)):  # what a writer makes, made faster
        return b"".join((schema.serialize(), batch.serialize()))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue().to_pybytes())


def _from_stream(data: bytes) -> tuple[Rows, tuple[str, ...]] | None:
    """The rows and their home; None if it cannot be read."""
    try:
        table = pa.ipc.open_stream(data).read_all()
        about = json.loads(table.schema.metadata[b"iotdb"])
        times, table = table.column(0), table.remove_column(0)
        codes = NO_CODES
        if len(about["devices"]) > 1:
            codes = np.asarray(table.column(0)).astype(np.int32)
            table = table.remove_column(0)
        types = {name: TSDataType[kind] for name, kind in about["types"].items()} or None
        home = tuple(about.get("home", ()))
        devices = tuple(tuple(device) if home else device for device in about["devices"])
        made = DeviceColumns("", table, times, types, about["time_unit"])
        return to_rows(made, devices, codes), home
    except (pa.ArrowException, OSError, LookupError, ValueError, TypeError):
        return None
