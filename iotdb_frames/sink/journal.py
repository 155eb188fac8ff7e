"""An append-only file of records, each of which can be read whatever happened to the others.

::

    file    head record*
    head    magic(7) version(1) marker(8) crc32 of these(4)
    record  marker(8) number(4) length(8) crc32 of the payload(4) crc32 of these(4) payload(length)

Integers are little-endian. The marker is random in each file, so that no payload can contain it
on purpose: where a record is damaged, the next one begins at the next marker whose own checksum is
right, and its number says how many were lost. What is missing at the end of the file, as after a
crash in the middle of a write, or is nothing but zeros, as after a loss of power, was never whole
and does not count as damage.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Container, Iterator
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from iotdb_frames.errors import OptionsError

_MAGIC, _VERSION = b"IoTsink", 1
_HEAD = struct.Struct("<7sB8s")
_RECORD = struct.Struct("<8sIQI")
_CRC = struct.Struct("<I")
_HEAD_BYTES = _HEAD.size + _CRC.size
_RECORD_BYTES = _RECORD.size + _CRC.size

Bytes = bytes | mmap.mmap


def open_private(path: Path) -> int:
    """A file, made if it is missing, to append to; for its owner only."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
    return os.open(path, flags, 0o600)


class Journal:
    """A file that is being written.

    Parameters
    ----------
    path : a new file, or one that was read: records are added behind `end`
    end : where its last whole record ends; 0 begins it anew
    """

    def __init__(self, path: Path, *, end: int = 0) -> None:
        marker = marker_of(path) if end else None
        self._fd = open_private(path)
        self._is_clean = False
        self.size = end if marker is not None else 0
        if marker is None:
            marker = os.urandom(8)
            head = _HEAD.pack(_MAGIC, _VERSION, marker)
            try:
                self._write(head + _CRC.pack(crc32(head)))
            except BaseException:
                self.close()
                raise
        self._marker = marker

    def append(self, number: int, payload: bytes) -> None:
        """Add a record; numbers only grow.

        Raises
        ------
        OSError : nothing was added.
        """
        head = _RECORD.pack(self._marker, number, len(payload), crc32(payload))
        self._write(b"".join((head, _CRC.pack(crc32(head)), payload)))

    def _write(self, data: bytes) -> None:
        if not self._is_clean:  # half a record, of a write that failed
            os.ftruncate(self._fd, self.size)
        self._is_clean = False
        n_written = os.write(self._fd, data)
        while n_written < len(data):
            n_written += os.write(self._fd, memoryview(data)[n_written:])
        self.size += len(data)
        self._is_clean = True

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Reading:
    """Goes through a file's records.

    end : where the last whole record ends, once all were gone through; 0: nothing is in it
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.end = 0

    def records(self, *, skip: Container[int] = ()) -> Iterator[tuple[int, bytes | None]]:
        """The number and payload of each record; None for one that is damaged.

        Parameters
        ----------
        skip : numbers of records to leave out

        Raises
        ------
        OptionsError : not a journal, or one of another version.
        OSError : it cannot be read.
        """
        marker = marker_of(self._path)
        if marker is None:
            return
        with (
            self._path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
        ):
            yield from self._walk(data, marker, skip)

    def _walk(
        self, data: mmap.mmap, marker: bytes, skip: Container[int]
    ) -> Iterator[tuple[int, bytes | None]]:
        at = look_from = self.end = _HEAD_BYTES
        number = 0
        while at < len(data):
            head = _record_at(data, at, marker)
            is_cut = head is not None and at + _RECORD_BYTES + head.length > len(data)
            if head is None or is_cut:
                look_from = at + 1 if is_cut else look_from
                following = _find(data, look_from, marker, number)
                if following < 0:
                    if not is_cut and not _is_torn(data, at, marker):
                        self.end = len(data)
                        yield number, None
                    return
                at = following
                continue
            for lost in range(number, head.number):
                yield lost, None
            start = at + _RECORD_BYTES
            look_from, at = at + 1, start + head.length
            number, self.end = head.number + 1, at
            if head.number not in skip:
                payload = data[start:at]
                yield head.number, payload if crc32(payload) == head.crc else None


class _Record(NamedTuple):
    number: int
    length: int
    crc: int


def marker_of(path: Path) -> bytes | None:
    """The marker of a file; None if a crash left it without a whole head, and so empty.

    Raises
    ------
    OptionsError : not a journal, or one of another version.
    OSError : it cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
        if len(head) == _HEAD_BYTES and _CRC.pack(crc32(head[: _HEAD.size])) == head[_HEAD.size :]:
            magic, version, marker = _HEAD.unpack(head[: _HEAD.size])
            if magic == _MAGIC and version == _VERSION:
                return bytes(marker)
            problem = "was written by another version of iotdb_frames"
        else:
            is_cut = len(head) < _HEAD_BYTES and _MAGIC.startswith(head[: len(_MAGIC)])
            if is_cut or not (head + file.read()).strip(b"\0"):
                return None
            problem = "cannot be read: it does not begin as a file of a spool"
    raise OptionsError(
        f"{path} {problem}",
        hint="nothing of it was sent or deleted: use the version that wrote it, or move it away",
    )


def _record_at(data: Bytes, at: int, marker: bytes) -> _Record | None:
    head = data[at : at + _RECORD_BYTES]
    if len(head) < _RECORD_BYTES or not head.startswith(marker):
        return None
    if _CRC.pack(crc32(head[: _RECORD.size])) != head[_RECORD.size :]:
        return None
    return _Record(*_RECORD.unpack(head[: _RECORD.size])[1:])


def _find(data: Bytes, at: int, marker: bytes, number: int) -> int:
    """Where the next record begins whose number is at least `number`; -1: nowhere."""
    while (at := data.find(marker, at)) >= 0:
        head = _record_at(data, at, marker)
        if head is not None and head.number >= number:
            return at
        at += 1
    return -1


def _is_torn(data: Bytes, at: int, marker: bytes) -> bool:
    """Whether the rest of a file is the beginning of a record, or was never written."""
    rest = data[at:]
    return (len(rest) < _RECORD_BYTES and marker.startswith(rest[: len(marker)])) or not rest.strip(
        b"\0"
    )
