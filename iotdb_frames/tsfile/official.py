"""Chunks that IoTDB's own package decodes: GORILLA, of which it gives each bit of FLOAT and DOUBLE.

The package reads tables only, and of others types it loses values (INT64 with nulls through
float64, texts cut at NUL). So a chunk is given to it as a file of one table with one column.
"""

from __future__ import annotations

import tempfile
from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa

from iotdb_frames.options import TSDataType, TSEncoding
from iotdb_frames.tsfile.index import Chunk, Series, TableColumn, write_end
from iotdb_frames.tsfile.layout import (
    CHUNK,
    GROUP,
    MAGIC,
    ONE_PAGE_CHUNK,
    TIME,
    VALUE,
    VECTOR,
    VERSION,
    Damaged,
    Device,
    Statistics,
    device_id,
    text,
    varint,
)
from iotdb_frames.tsfile.storage import Storage

_DEVICE: Device = ("t",)
_COLUMN = "v"
_BATCH_ROWS = 1 << 16


def is_installed() -> bool:
    """Whether the package is there."""
    return find_spec("tsfile") is not None


def chunk_of(
    storage: Storage, pages: memoryview, is_many: bool, statistics: Statistics
) -> tuple[bytes, Statistics]:
    """A chunk as `decode_chunk` takes it: with another name."""
    kind = storage.data_type
    mark = (TIME if kind is None else VALUE) | (CHUNK if is_many else ONE_PAGE_CHUNK)
    name, number = ("", VECTOR) if kind is None else (_COLUMN, kind)
    numbers = bytes((number, storage.compression, storage.encoding))
    return b"".join((bytes((mark,)), text(name), varint(len(pages)), numbers, pages)), statistics


def decode_chunk(
    data_type: TSDataType,
    times: tuple[bytes, Statistics],
    values: tuple[bytes, Statistics],
) -> pa.Array:
    """The values and nulls of a chunk of an aligned device.

    Parameters
    ----------
    times, values : the chunk of the times and that of the column, as `chunk_of` gives them

    Raises
    ------
    Damaged : the package does not read it.
    """
    import tsfile

    with tempfile.TemporaryDirectory(prefix="iotdb-frames-") as folder:
        path = Path(folder, "chunk.tsfile")
        with path.open("wb") as stream:
            head = MAGIC + bytes((VERSION, GROUP)) + device_id(_DEVICE)
            stream.writelines((head, times[0], values[0]))
            end = len(head) + len(times[0]) + len(values[0])
            series = {
                "": Series(None, [Chunk(len(head), times[1])]),
                _COLUMN: Series(data_type, [Chunk(len(head) + len(times[0]), values[1])]),
            }
            column = TableColumn(_COLUMN, data_type, "field", TSEncoding.GORILLA)
            write_end(stream.write, end, {_DEVICE: series}, {"t": [column]})
        batches = []
        try:
            with tsfile.TsFileReader(str(path)) as reader:
                found = reader.query_table("t", [_COLUMN], batch_size=_BATCH_ROWS)
                while (batch := found.read_arrow_batch()) is not None and batch.num_rows:
                    batches.append(batch.column(1))
                found.close()
        except tsfile.LibraryError as exc:
            raise Damaged(f"a chunk that tsfile does not read: {exc}") from exc
    return pa.concat_arrays([part for column in batches for part in _parts(column)])


def _parts(column: pa.Array | pa.ChunkedArray) -> list[pa.Array]:
    return list(column.chunks) if isinstance(column, pa.ChunkedArray) else [column]
