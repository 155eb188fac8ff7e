"""A CSV file as bytes: a stream of blocks that end at the end of a record, and their records."""

from __future__ import annotations

import codecs
import re
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from iotdb_frames.errors import Choice, FrameError, Hint
from iotdb_frames.files.csv.dialect import CsvDialect
from iotdb_frames.files.sources import SourceFile

_READ = 1 << 20
_LEAST = 1 << 15
_MOST_BLOCKS = 8
"""A record longer than this many blocks is no record, but an open quote."""


class ByteStream:
    """A file's bytes from its start: decompressed, and of UTF-16 or UTF-32 as UTF-8.

    Other encodings stay as they are, so that places in the stream are places in the file; in all
    of them a line ends with the byte 10.
    """

    def __init__(self, file: SourceFile, encoding: str) -> None:
        self._raw: Any = file.filesystem.open_input_file(file.path)
        self._is_plain = file.compression is None
        self._source: Any = self._raw
        if file.compression is not None:
            self._source = pa.CompressedInputStream(self._raw, file.compression)
        self.position = 0
        self._decoder: codecs.IncrementalDecoder | None = None
        self._rest = self._ahead = b""
        if is_wide(encoding):
            # A lone surrogate is told by its line, as what is not UTF-8.
            self._decoder = codecs.getincrementaldecoder(encoding)("surrogatepass")

    @property
    def raw_position(self) -> int:
        """How far the stored file is read."""
        return int(self._raw.tell())

    def close(self) -> None:
        """Close the file."""
        self._raw.close()

    def read(self, n: int) -> bytes:
        """The next `n` bytes, fewer only at the end."""
        if self._ahead:
            data, self._ahead = self._ahead[:n], self._ahead[n:]
            self.position += len(data)
            return data + self.read(n - len(data)) if len(data) < n else data
        if self._decoder is None:
            data = bytes(self._source.read(n))
        else:
            while len(self._rest) < n and (raw := self._source.read(_READ)):
                self._rest += self._decoder.decode(bytes(raw)).encode("utf-8", "surrogatepass")
            data, self._rest = self._rest[:n], self._rest[n:]
        self.position += len(data)
        return data

    def read_into(self, room: memoryview) -> int:
        """Fill `room` with the next bytes; how many, fewer only at the end."""
        if self._ahead or self._decoder is not None:
            data = self.read(len(room))
            room[: len(data)] = data
            return len(data)
        at = 0
        while at < len(room) and (n := self._source.readinto(room[at:])):
            at += n
        self.position += at
        return at

    def restart(self, position: int, ahead: bytes) -> None:
        """Go back to a place close behind; `ahead` is what was read from there on."""
        self._ahead = ahead
        self.position = position

    def skip_to(self, position: int) -> None:
        """Go on at a later place."""
        if self._is_plain and self._decoder is None:
            self._ahead = b""
            self._source.seek(position)
            self.position = position
        while self.position < position and self.read(min(_READ, position - self.position)):
            pass


def is_wide(encoding: str) -> bool:
    """Whether a character takes two bytes or more, always."""
    return encoding.startswith(("utf-16", "utf-32", "utf_16", "utf_32"))


@dataclass(frozen=True)
class Block:
    """Whole records of a file.

    start, stop : places in the stream
    line, end_line : of its first line, and of the one behind it
    data : its bytes, as UTF-8 where they can be
    n_bytes : of the stored file
    """

    start: int
    stop: int
    line: int
    end_line: int
    data: bytes | memoryview
    n_bytes: int


def blocks(
    file: SourceFile,
    dialect: CsvDialect,
    ranges: Iterable[tuple[int, int | None, int]],
    *,
    block_bytes: int,
) -> Iterator[Block]:
    """The blocks of ascending ranges; the header is in none of them."""
    stream = ByteStream(file, dialect.encoding or "utf-8")
    try:
        for start, stop, line in ranges:
            if stop is not None:
                stream.skip_to(start)
                before = stream.raw_position
                data = stream.read(stop - start)
                yield _block(start, line, data, dialect, stream.raw_position - before)
                continue
            if start == 0:
                start, line = skip_top(stream, dialect)
                before = 0
            else:
                stream.skip_to(start)
                before = stream.raw_position
            yield from _cut(stream, start, line, before, dialect, block_bytes, file.name)
    finally:
        stream.close()


def skip_top(stream: ByteStream, dialect: CsvDialect) -> tuple[int, int]:
    """Place and line of the first record."""
    start, head = 0, b""
    if (head := stream.read(3)) == codecs.BOM_UTF8:
        start, head = 3, b""
    for _ in range(dialect.n_top_lines):
        while (at := head.find(b"\n")) < 0 and (more := stream.read(_READ)):
            head += more
        at = len(head) - 1 if at < 0 else at
        start += at + 1
        head = head[at + 1 :]
    stream.restart(start, head)
    return start, 1 + dialect.n_top_lines


def _cut(
    stream: ByteStream,
    start: int,
    line: int,
    before: int,
    dialect: CsvDialect,
    n_bytes: int,
    name: str,
) -> Iterator[Block]:
    """Blocks to the end; `before`: how far the stored file was read for the one before."""
    rest, rooms = b"", _Rooms()
    while True:
        asked = max(_LEAST, n_bytes - len(rest))
        # Read behind what is left of the block before: all is copied once.
        room = rooms.take(len(rest) + asked)
        room[: len(rest)] = rest
        n_read = stream.read_into(room[len(rest) :])
        found = room[: len(rest) + n_read]
        if not found:
            return
        is_last = n_read < asked
        end = len(found) if is_last else _last_end(found, dialect)
        if end == 0:
            rest = bytes(found)
            if len(rest) > _MOST_BLOCKS * n_bytes:
                raise FrameError(
                    f"{name}, line {line}: the record has no end within {len(rest):,} bytes",
                    hint=Hint(
                        "a quote is open; ",
                        Choice(csv={"newlines_in_values": False}),
                        " ends records at lines",
                    ),
                )
            continue
        block = _block(start, line, found[:end], dialect, stream.raw_position - before)
        rest = bytes(found[end:])
        del room, found
        yield block
        start, line, before = block.stop, block.end_line, stream.raw_position
        del block


class _Rooms:
    """Memory for blocks: that of a block that nobody refers to any more is used again.

    New memory comes as pages of zeros, which takes longer than to read a file into them.
    """

    def __init__(self) -> None:
        self._free: list[np.ndarray] = []

    def take(self, n_bytes: int) -> memoryview:
        while self._free:
            room = self._free.pop()
            if len(room) == n_bytes:
                break
        else:
            room = np.empty(n_bytes, np.uint8)
        view = room[:]
        weakref.finalize(view, self._free.append, room).atexit = False
        return view.data


def _last_end(data: memoryview, dialect: CsvDialect) -> int:
    """Where the last whole record ends; 0 where none does."""
    octets = np.frombuffer(data, np.uint8)
    quote = (dialect.quote or "").encode()
    if dialect.newlines_in_values and quote and (octets == ord(quote)).any():
        ends = _ends(octets, dialect)
        return int(ends[-1]) + 1 if len(ends) else 0
    at = len(data)
    while at > 0:
        begin = max(0, at - _LEAST)
        if (found := bytes(data[begin:at]).rfind(b"\n")) >= 0:
            return begin + found + 1
        at = begin
    return 0


def _ends(octets: np.ndarray, dialect: CsvDialect) -> np.ndarray:
    """Positions of line feeds that end a record."""
    feeds = _places(octets, 10)
    if not dialect.newlines_in_values or not dialect.quote:
        return feeds
    return np.asarray(feeds[~_is_quoted(octets, feeds, dialect)])


def _is_quoted(octets: np.ndarray, places: np.ndarray, dialect: CsvDialect) -> np.ndarray:
    """Which places are in a quoted field; bool, shape (n,)."""
    return np.asarray(np.searchsorted(_turns(octets, dialect), places) % 2 == 1)


def _turns(octets: np.ndarray, dialect: CsvDialect) -> np.ndarray:
    """Where quoted fields begin and end, in turn.

    As for Arrow's parser a quote begins a field only where the field begins, and two of them inside
    one are a quote. Without `newlines_in_values` the line feed ends a field that is open.
    """
    quote = ord(dialect.quote or "\0")
    quotes = np.flatnonzero(octets == quote)
    if not len(quotes):
        return quotes
    around = np.full(len(octets) + 2, 10, np.uint8)
    around[1:-1] = octets
    before, after = around[quotes], around[quotes + 2]
    edges = [ord(dialect.delimiter or ","), 10, 13]
    begins, ends = np.isin(before, edges), np.isin(after, edges)
    feeds = np.flatnonzero(octets == 10)
    line = np.zeros(len(quotes), int) if dialect.newlines_in_values else feeds.searchsorted(quotes)
    usual = np.where(
        np.arange(len(quotes)) % 2 == 0, begins | (before == quote), ends | (after == quote)
    )
    n_pairs = len(quotes) // 2
    is_paired = (line[::2][:n_pairs] == line[1::2]).all()
    if usual.all() and is_paired and (dialect.newlines_in_values or n_pairs * 2 == len(quotes)):
        return quotes
    # Quotes in fields without quotes, or open ones: each of them is looked at, and no row is.
    found: list[int] = []
    opened: int | None = None
    at = 0
    while at < len(quotes):
        if opened is None:
            if begins[at]:
                found.append(int(quotes[at]))
                opened = at
            at += 1
        elif line[at] != line[opened]:
            found.append(int(feeds[line[opened]]))
            opened = None
        elif after[at] == quote:
            at += 2
        else:
            found.append(int(quotes[at]))
            opened = None
            at += 1
    return np.array(found, np.int64)


def _block(
    start: int, line: int, data: bytes | memoryview, dialect: CsvDialect, n_bytes: int
) -> Block:
    n_lines = count_bytes(data, "\n") + (data[-1:] != b"\n")
    encoding = dialect.encoding or "utf-8"
    text = data
    if not is_utf8(encoding):
        # What does not decode stays as it is: no UTF-8, and told by its line later.
        text = str(data, encoding, "surrogateescape").encode("utf-8", "surrogateescape")
    return Block(start, start + len(data), line, line + n_lines, text, n_bytes)


def count_bytes(data: bytes | memoryview, which: str) -> int:
    """How often it has some of these characters.

    Several times faster than `bytes.count`, and it lets other threads run.
    """
    octets = np.frombuffer(data, np.uint8)
    step = 1 << 18  # what is compared stays in the processor's cache
    parts = (octets[at : at + step] == ord(c) for at in range(0, len(octets), step) for c in which)
    return sum(int(np.count_nonzero(part)) for part in parts)


def _places(octets: np.ndarray, which: int) -> np.ndarray:
    """Where a byte stands; what is compared stays in the processor's cache."""
    step = 1 << 18
    starts = range(0, len(octets), step)
    parts = [np.flatnonzero(octets[at : at + step] == which) + at for at in starts]
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def has_hexadecimal(data: bytes | memoryview) -> bool:
    """Whether ``0x`` stands in it where a number might begin."""
    if not count_bytes(data, "xX"):
        return False
    octets = np.frombuffer(data, np.uint8)
    places = np.flatnonzero((octets == ord("x")) | (octets == ord("X")))
    places = places[places > 0]
    before = octets[np.maximum(places - 2, 0)]
    is_letter = (before >= ord("A")) | ((before >= ord("0")) & (before <= ord("9")))
    return bool(((octets[places - 1] == ord("0")) & ~is_letter).any())


def collapse_spaces(data: bytes | memoryview, quote: str) -> bytes:
    """Runs of spaces as one, and none at the ends of lines; those between quotes stay."""
    if quote and quote.encode() in bytes(data):
        q = re.escape(quote.encode())
        quoted = rb"(?<![^ \r\n])" + q + rb"(?:[^" + q + rb"]|" + q * 2 + rb")*" + q
        data = re.sub(quoted + rb"| +", lambda m: m[0] if m[0].strip(b" ") else b" ", bytes(data))
    else:
        data = re.sub(rb" +", b" ", data)
    return re.sub(rb"(?m)^ | (?=\r?$)", b"", data)


def is_utf8(encoding: str) -> bool:
    """Whether the stream is UTF-8 without a change."""
    return encoding in ("utf-8", "ascii", "utf-8-sig") or is_wide(encoding)


class Records:
    """The records of a block; those without a character are none.

    Attributes
    ----------
    starts, stops : int64, shape (n,), in `data`; the line feed is not in
    """

    def __init__(self, data: bytes | memoryview, dialect: CsvDialect) -> None:
        self._data = data
        self._dialect = dialect
        self._octets = np.frombuffer(data, np.uint8)
        ends = _ends(self._octets, dialect)
        if len(data) and (not len(ends) or ends[-1] != len(data) - 1):
            ends = np.append(ends, len(data))
        ends = ends.astype(np.int64, copy=False)
        starts = np.zeros(len(ends), np.int64)
        starts[1:] = ends[:-1] + 1
        short = np.flatnonzero(ends - starts <= 1)
        first = self._octets[np.minimum(starts[short], max(0, len(data) - 1))]
        blank = short[(ends[short] == starts[short]) | (first == 13)]
        self.starts = np.delete(starts, blank) if len(blank) else starts
        self.stops = np.delete(ends, blank) if len(blank) else ends

    @cached_property
    def lines(self) -> np.ndarray:
        """Line in the block each record begins in, from 0; int64, shape (n,)."""
        if count_bytes(self._data, "\n") + (self._data[-1:] != b"\n") == len(self):
            return np.arange(len(self))
        return np.searchsorted(np.flatnonzero(self._octets == 10), self.starts)

    def __len__(self) -> int:
        return len(self.starts)

    @cached_property
    def _bytes(self) -> pa.Array:
        """The records as Arrow binary, each with its line feed."""
        offsets = np.append(self.starts, len(self._data)).astype(np.int64)
        buffers = [None, pa.py_buffer(offsets), pa.py_buffer(self._data)]
        return pa.Array.from_buffers(pa.large_binary(), len(self), buffers)

    def texts(self, positions: np.ndarray) -> pa.Array:
        """Some records as text; bytes that are none show as ``\\xhh``."""
        parts = self._bytes.take(pa.array(positions)).to_pylist()
        return pa.array([p.decode("utf-8", "backslashreplace").rstrip("\r\n") for p in parts])

    def joined(self, keep: np.ndarray) -> bytes | memoryview:
        """The bytes of some records (bool, shape (n,))."""
        if keep.all():
            return self._data
        kept = self._bytes.filter(pa.array(keep))
        return kept.buffers()[2].to_pybytes() if len(kept) else b""

    def undecodable(self) -> np.ndarray:
        """Which records are no UTF-8; bool, shape (n,)."""
        bad = np.zeros(len(self), bool)
        try:
            str(self._data, "utf-8")
        except UnicodeDecodeError:
            # Each undecodable byte becomes a lone surrogate DC80 to DCFF; line feeds stay.
            text = str(self._data, "utf-8", "surrogateescape")
            units = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
            places = np.flatnonzero((units >= 0xDC80) & (units <= 0xDCFF))
            line = np.searchsorted(np.flatnonzero(units == 10), places)
            at = np.searchsorted(self.lines, line, side="right") - 1
            bad[at] = True
        return bad

    def open_quotes(self) -> np.ndarray:
        """Which records have a quoted field that does not end in them; bool, shape (n,)."""
        turns = _turns(self._octets, self._dialect)
        turns = turns[self._octets[turns] != 10]
        bounds = np.searchsorted(turns, np.append(self.starts, len(self._octets)))
        return np.asarray(np.diff(bounds) % 2 == 1)

    def lone_returns(self) -> np.ndarray:
        """Which records have a carriage return in them that Arrow takes for their end."""
        returns = np.flatnonzero(self._octets[:-1] == 13)
        returns = returns[self._octets[returns + 1] != 10]
        if self._dialect.quote and len(returns):
            returns = returns[~_is_quoted(self._octets, returns, self._dialect)]
        bounds = np.searchsorted(returns, np.append(self.starts, len(self._octets)))
        return np.asarray(np.diff(bounds) > 0)
