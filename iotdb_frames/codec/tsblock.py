"""Result blocks (TsBlock) to Arrow, column by column, over all blocks of a fetch at once.

A block: int32 number of columns, a type byte per column, int32 number of rows, an encoding byte for
the time slot and for each column, then the time slot and the columns. A column: a may-have-null
byte, if that is not 0 a bitmap (highest bit first, 1 = null), then the values. Integers are
big-endian.

- Encoding 0, bits: one per row, null or not. 1 and 2 (values 4 and 8 bytes wide) and 3 (byte
  strings: int32 length, bytes) contain only the rows that are not null. 4, run-length: the inner
  encoding's byte, then a column of one row that stands for all.
- The block's own type bytes are wrong (TIMESTAMP as INT64, DATE as INT32, BLOB as TEXT): the types
  are those of the result's header.
- Columns follow each other without their lengths. So each block has a cursor, and the cursors of
  all blocks move over a column in one step.

Source: `org.apache.tsfile.read.common.block.column` of IoTDB 2.0.10, checked against the server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from iotdb_frames.codec.texts import Ints, every_int32, find_texts
from iotdb_frames.errors import FrameError, ServerError

Precision = Literal["ms", "us", "ns"]
Bools = npt.NDArray[np.bool_]

TIME = "time"
BITS, INT32, INT64, BINARY, RUN_LENGTH = range(5)
FREE_BYTES = 1 << 26
MOST_GROWTH = 1 << 14
"""Limit of the decoded size of a fetch, in bytes or as a multiple of the encoded size. A run-length
column can claim any number of rows in five bytes; but a block of the server has about 1,000 rows
(``max_tsblock_line_number``), so none grows that much."""

_TYPES: dict[str, tuple[pa.DataType, int, str]] = {
    "BOOLEAN": (pa.bool_(), BITS, "?"),
    "INT32": (pa.int32(), INT32, ">i4"),
    "INT64": (pa.int64(), INT64, ">i8"),
    "FLOAT": (pa.float32(), INT32, ">f4"),
    "DOUBLE": (pa.float64(), INT64, ">f8"),
    "TEXT": (pa.string(), BINARY, ""),
    "STRING": (pa.string(), BINARY, ""),
    "BLOB": (pa.binary(), BINARY, ""),
    "DATE": (pa.date32(), INT32, ">i4"),
    "TIMESTAMP": (pa.null(), INT64, ">i8"),
}
"""IoTDB type: Arrow type (TIMESTAMP's has the server's unit), encoding, numpy type on the wire."""


class Header(Protocol):
    """What the decoder needs of `wire.answers.ResultHeader`."""

    @property
    def names(self) -> Sequence[str]: ...
    @property
    def type_names(self) -> Sequence[str]: ...
    @property
    def has_time(self) -> bool: ...
    @property
    def block_columns(self) -> Sequence[int]: ...


def arrow_type(type_name: str, *, precision: Precision) -> pa.DataType:
    """The Arrow type of an IoTDB type; TIMESTAMP is naive, in the server's unit."""
    if type_name not in _TYPES:
        raise ServerError(
            f"the result has a column of type {type_name}, which this version does not support"
        )
    return pa.timestamp(precision) if type_name == "TIMESTAMP" else _TYPES[type_name][0]


def result_schema(header: Header, *, precision: Precision) -> pa.Schema:
    """Names and Arrow types of a result, the tree model's time first; labels may occur twice."""
    fields = [pa.field(TIME, pa.timestamp(precision))] if header.has_time else []
    for name, type_name in zip(header.names, header.type_names, strict=True):
        fields.append(pa.field(name, arrow_type(type_name, precision=precision)))
    return pa.schema(fields)


def decode_blocks(blocks: Sequence[bytes], header: Header, *, precision: Precision) -> pa.Table:
    """Decode the blocks of one fetch.

    Parameters
    ----------
    blocks : encoded TsBlocks, of any number of rows each; no blocks give an empty table
    header : names, types and positions of the result's columns
    precision : the server's unit of time

    Returns
    -------
    pyarrow.Table with `result_schema`, the rows in the order of the blocks

    Raises
    ------
    ServerError : bytes that are not such blocks.
    FrameError : text that is not UTF-8, or an invalid DATE; the server stores both unchecked.
    """
    schema = result_schema(header, precision=precision)
    slots, types = list(header.block_columns), list(header.type_names)
    if header.has_time:
        slots, types = [-1, *slots], ["TIMESTAMP", *types]
    try:
        walk = _Walk(blocks)
        columns = {
            slot: walk.step(slot, is_wanted=slot in slots) for slot in range(-1, walk.n_columns)
        }
        walk.check_end()
        return _to_table(walk, columns, slots, types, schema)
    except FrameError:  # a ValueError, too
        raise
    except (IndexError, ValueError) as exc:
        raise ServerError(f"the result does not consist of valid TsBlocks: {exc}") from exc


def _to_table(
    walk: _Walk,
    columns: Mapping[int, _Column | None],
    slots: Sequence[int],
    types: Sequence[str],
    schema: pa.Schema,
) -> pa.Table:
    if not walk.n_rows.size:
        return schema.empty_table()
    arrays: dict[tuple[int, str], pa.Array] = {}
    for slot, type_name, field in zip(slots, types, schema, strict=True):
        if (slot, type_name) not in arrays:
            column = columns.get(slot)
            if column is None:
                raise ServerError(f"the result has no column {field.name!r}")
            arrays[slot, type_name] = _to_arrow(column, walk, type_name, field)
    return pa.Table.from_arrays(
        [arrays[key] for key in zip(slots, types, strict=True)], schema=schema
    )


_NONE: Ints = np.empty(0, np.int64)


@dataclass
class _Column:
    """Positions of one column's values; a cell is a row, or the only row of a run.

    is_run : by block; None where no block has a run
    """

    encoding: int
    n_cells: Ints
    n_values: Ints
    values_at: Ints
    is_run: Bools | None
    is_null: Bools | None
    text_at: Ints
    text_end: Ints


class _Walk:
    """The blocks of a fetch, joined, and a cursor in each."""

    def __init__(self, blocks: Sequence[bytes]) -> None:
        blocks = [block for block in blocks if block]
        self.data = blocks[0] if len(blocks) == 1 else b"".join(blocks)
        if len(self.data) >= 1 << 31:
            raise ValueError("more than 2 GiB in one fetch")
        self.bytes = np.frombuffer(self.data, np.uint8)
        int32s = every_int32(self.data)
        self.ends = np.cumsum([len(block) for block in blocks], dtype=np.int64)
        starts = np.concatenate([[0], self.ends[:-1]]).astype(np.int64)[: len(blocks)]
        self.n_columns = int(int32s[0]) if blocks else 0
        if (int32s[starts] != self.n_columns).any():
            raise ValueError("blocks of different width")
        if (starts + 9 + 2 * self.n_columns > self.ends).any():
            raise ValueError(f"{self.n_columns:,} columns in {len(self.data):,} bytes")
        self.n_rows = int32s[starts + 4 + self.n_columns].astype(np.int64)
        self.check_growth(int(self.n_rows.sum()) * (self.n_columns + 1) * 8)
        has_rows = self.n_rows > 0
        starts, self.ends, self.n_rows = (
            starts[has_rows],
            self.ends[has_rows],
            self.n_rows[has_rows],
        )
        encodings_at = starts + 8 + self.n_columns
        self._encodings = self.bytes[encodings_at[:, None] + np.arange(self.n_columns + 1)]
        self._is_alike = (self._encodings == self._encodings[:1]).all(axis=0).tolist()
        self._cursor = encodings_at + self.n_columns + 1
        self.n_total, self._n_most = int(self.n_rows.sum()), int(self.n_rows.max(initial=0))

    def check_growth(self, n_bytes: int, *, most: int = MOST_GROWTH) -> None:
        """Raise if the blocks would take an implausible `n_bytes` in memory."""
        if n_bytes > max(FREE_BYTES, most * len(self.data)):
            raise ValueError(f"{len(self.data):,} bytes claim rows that would take {n_bytes:,}")

    def check_end(self) -> None:
        """Raise unless every block was read to its last byte."""
        if (self._cursor != self.ends).any():
            raise ValueError("a block does not end where its columns do")

    def step(self, slot: int, *, is_wanted: bool) -> _Column | None:
        """Move over the time slot (-1) or a column."""
        if not self.n_rows.size:
            return None
        at, n_cells, is_run = self._cursor, self.n_rows, None
        encoding = int(self._encodings[0, slot + 1])
        if encoding == RUN_LENGTH or not self._is_alike[slot + 1]:
            encodings = self._encodings[:, slot + 1]
            is_run = encodings == RUN_LENGTH
            encodings = np.where(is_run, self.bytes[at], encodings)
            at, n_cells = at + is_run, np.where(is_run, 1, n_cells)
            encoding = int(encodings[0])
            if (encodings != encoding).any():
                raise ValueError(f"unknown encodings {sorted(set(encodings.tolist()))}")
        n_most = self._n_most if is_run is None else int(n_cells.max())
        self.check_growth(8 * n_most * len(n_cells), most=64)  # all blocks padded
        has_nulls = self.bytes[at] != 0
        at = at + 1
        is_null, n_values = None, n_cells
        if has_nulls.any():
            bitmap_end = at + has_nulls * ((n_cells + 7) // 8)
            if (bitmap_end > self.ends).any():
                raise ValueError("a bitmap extends beyond its block")
            is_null = np.zeros(n_cells.sum(), bool)
            is_null[np.repeat(has_nulls, n_cells)] = self.bits(at[has_nulls], n_cells[has_nulls])
            first_cell = np.cumsum(n_cells) - n_cells
            n_values = n_cells - np.add.reduceat(is_null, first_cell, dtype=np.int64)
            at = bitmap_end
        text_at = text_end = _NONE
        if encoding == BITS:
            self._cursor = at + (n_cells + 7) // 8
        elif encoding == BINARY:
            text_at, text_end, self._cursor = find_texts(self.data, at, n_values)
        elif encoding in (INT32, INT64):
            self._cursor = at + n_values * (4 * encoding)
        else:
            raise ValueError(f"unknown encoding {encoding}")
        if not is_wanted:
            return None
        return _Column(encoding, n_cells, n_values, at, is_run, is_null, text_at, text_end)

    def bits(self, starts: Ints, counts: Ints) -> Bools:
        """Bits from `counts` bitmaps that begin at bytes `starts`, highest bit first."""
        n_most = int(counts.max())
        places = starts[:, None] + np.arange((n_most + 7) // 8)
        bits = np.unpackbits(self.bytes.take(places, mode="clip"), axis=1, count=n_most).view(bool)
        if (counts == n_most).all():
            return bits.ravel()
        return bits[np.arange(n_most) < counts[:, None]]

    def values(self, starts: Ints, counts: Ints, wire: str) -> npt.NDArray[Any]:
        """Values of one width from `counts` runs that begin at bytes `starts`, native order."""
        native = np.dtype(wire).newbyteorder("=")
        if len(starts) == 1:
            return np.frombuffer(self.data, wire, counts[0], starts[0]).astype(native)
        out = np.empty(counts.sum(), native)
        end = 0
        for at, n in zip(starts.tolist(), counts.tolist(), strict=True):
            out[end : end + n] = np.frombuffer(self.data, wire, n, at)
            end += n
        return out


def _repeat_runs(
    column: _Column, n_rows: Ints, values: npt.NDArray[Any]
) -> tuple[npt.NDArray[Any], Bools | None]:
    """Values and nulls per row, from the values that are not null."""
    is_null = column.is_null
    if is_null is not None and column.encoding != BITS:
        spread = np.zeros(len(is_null), values.dtype)
        spread[np.flatnonzero(~is_null)] = values
        values = spread
    if column.is_run is not None:
        times = np.ones(len(values), np.int64)
        first_cell = np.cumsum(column.n_cells) - column.n_cells
        times[first_cell[column.is_run]] = n_rows[column.is_run]
        values = np.repeat(values, times)
        is_null = None if is_null is None else np.repeat(is_null, times)
    return values, is_null


def _to_arrow(column: _Column, walk: _Walk, type_name: str, field: pa.Field) -> pa.Array:
    _, encoding, wire = _TYPES[type_name]
    n_total = walk.n_total
    if column.encoding != encoding:
        if column.is_null is not None and column.is_null.all():
            return pa.nulls(n_total, field.type)
        raise ServerError(f"column {field.name!r} is {type_name}, but encoded as {column.encoding}")
    if encoding == BINARY:
        values: npt.NDArray[Any] = np.arange(0, 2 * len(column.text_at), 2)
    elif encoding == BITS:
        values = walk.bits(column.values_at, column.n_cells)
    else:
        values = walk.values(column.values_at, column.n_values, wire)
    if type_name == "DATE":
        values = to_days(values, field.name)
    values, is_null = _repeat_runs(column, walk.n_rows, values)
    if encoding == BINARY and column.is_run is not None and len(column.text_at):
        walk.check_growth(int((column.text_end - column.text_at)[values // 2].sum()))
    valid = None
    if is_null is not None:
        valid = pa.py_buffer(np.packbits(~is_null, bitorder="little"))
    if encoding == BINARY:
        places = pa.Array.from_buffers(pa.int64(), n_total, [valid, pa.py_buffer(values)])
        return _cut_texts(walk.data, column, places, field)
    if encoding == BITS:
        values = np.packbits(values, bitorder="little")
    return pa.Array.from_buffers(field.type, n_total, [valid, pa.py_buffer(values)])


def _cut_texts(data: bytes, column: _Column, places: pa.Array, field: pa.Field) -> pa.Array:
    """The texts at `places`, of a byte array cut into texts (even) and the gaps between (odd)."""
    if not len(column.text_at):
        return pa.nulls(len(places), field.type)
    offsets = np.empty(2 * len(column.text_at), np.int32)
    offsets[0::2] = column.text_at
    offsets[1::2] = column.text_end
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(data)]
    pieces = pa.Array.from_buffers(pa.binary(), len(offsets) - 1, buffers)
    try:
        texts = pieces.take(places)
    except pa.ArrowException as exc:  # a long text in a run of many rows
        raise ServerError(
            f"column {field.name!r} exceeds 2 GiB in one fetch", hint="use a smaller fetch_size="
        ) from exc
    if field.type == pa.binary():
        return texts
    if texts.buffers()[2].to_pybytes().isascii():
        return pa.Array.from_buffers(field.type, len(texts), texts.buffers())
    try:
        return texts.cast(field.type)
    except pa.ArrowInvalid as exc:
        raise FrameError(
            f"column {field.name!r} contains text that is not UTF-8", column=field.name
        ) from exc


def to_days(dates: npt.NDArray[Any], name: str) -> npt.NDArray[np.int32]:
    """Days since 1970, from dates written as the number yyyymmdd."""
    months = (dates // 10000 - 1970) * 12 + dates // 100 % 100 - 1
    days = months.astype("M8[M]").astype("M8[D]") + (dates % 100 - 1)
    day = days.astype("M8[M]")
    is_wrong = (day.astype(np.int64) != months) | (dates % 100 < 1) | (dates // 100 % 100 > 12)
    is_wrong |= (dates // 100 % 100 < 1) | (dates < 0)
    if is_wrong.any():
        wrong = int(dates[int(np.argmax(is_wrong))])
        raise FrameError(
            f"column {name!r} contains {wrong}, which is not a valid date", column=name
        )
    return np.asarray(days.astype(np.int64), np.int32)
