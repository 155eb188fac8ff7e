"""The file of rows that were refused: the rows as they were, and why."""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from iotdb_frames.codec.sources import Source
from iotdb_frames.frames.labelled import labelled

_OWN = ("refused_row", "refused_code", "refused_reason")


class DeadLetter:
    """A Parquet file, made with the first refused row.

    Its columns are the data's own (an index is one, too; all labels as text), then `refused_row`
    (position in the data), `refused_code` (the server's, null where we refused) and
    `refused_reason`. A file of this name that was there before is gone with the first row. Rows of
    a stream whose columns changed go into a further file beside it, ``name-2.parquet`` and so on.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        self._writer: pq.ParquetWriter | None = None
        self._n_files = 0
        self._first_rows: dict[int, int] = {}
        self.n_rows = 0

    def begin(self, data: Any, first_row: int) -> None:
        """Say at which row of a stream a batch of it begins."""
        self._first_rows[id(data)] = first_row

    def add(self, data: Any, rows: np.ndarray, *, reason: str, code: int | None = None) -> None:
        """Keep some rows (int, shape (n,)) of a DataFrame or an Arrow table."""
        table = rows_of(data, rows)
        positions = np.asarray(rows, np.int64) + self._first_rows.get(id(data), 0)
        table = table.append_column("refused_row", pa.array(positions))
        table = table.append_column("refused_code", pa.array([code] * len(rows), pa.int32()))
        table = table.append_column("refused_reason", pa.array([reason] * len(rows), pa.string()))
        with self._lock:
            writer, table = self._place_for(table)
            writer.write_table(table)
            self.n_rows += len(rows)

    def _place_for(self, table: pa.Table) -> tuple[pq.ParquetWriter, pa.Table]:
        """The open file, where rows fit into it, or the next one."""
        path = self.path
        if self._writer is None:
            path.parent.mkdir(parents=True, exist_ok=True)
        elif _fits(table.schema, self._writer.schema):
            return self._writer, table.cast(self._writer.schema)
        else:
            self._writer.close()
            path = path.with_stem(f"{path.stem}-{self._n_files + 1}")
        self._n_files += 1
        self._writer = pq.ParquetWriter(path, table.schema)
        return self._writer, table

    def close(self) -> None:
        """Finish the file."""
        with self._lock:
            if self._writer is not None:
                self._writer.close()


def without_row(reason: str) -> str:
    """A reason without the number of its row."""
    return re.sub(r"^row [\d,]+: |, row [\d,]+(?=: )", "", reason)


def of_one_row(reason: str) -> str:
    """A reason as it is for each of several rows."""
    return re.sub(r" \(and [\d,]+ more rows?\)$", "", without_row(reason))


def _fits(some: pa.Schema, there: pa.Schema) -> bool:
    """Whether rows may stand in a file as they are; a column without values has any type."""
    return some.names == there.names and all(
        one.type in (other.type, pa.null()) for one, other in zip(some, there, strict=True)
    )


def rows_of(data: Any, rows: np.ndarray) -> pa.Table:
    """Some rows (int, shape (n,)) of a frame that could be planned, with its index, as Arrow."""
    found = labelled(data, time="")  # an index is a column like any other here
    arrays: dict[str, pa.Array] = {}
    for label, source in {**found.index, **found.sources}.items():
        name = ".".join(map(str, label)) if isinstance(label, tuple) else str(label)
        name = "index" if label is None else name
        while name in arrays or name in _OWN:
            name += "_"
        arrays[name] = _array(source, rows)
    return pa.table(arrays)


def _array(source: Source, rows: np.ndarray) -> pa.Array:
    values = source.take(rows)
    if isinstance(values, np.ndarray):
        native = np.ascontiguousarray(values, values.dtype.newbyteorder("="))
        array = pa.array(native)
        return array.cast(source.type) if array.type != source.type else array
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pa.types.is_decimal256(values.type):
        values = values.cast(pa.string())  # which Parquet has no place for
    return values
