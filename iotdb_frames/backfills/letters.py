"""Rows that do not fit: kept in the manifest with their unit, and given out as one Parquet file.

A Parquet file that is being written is worth nothing after a crash; the manifest is. So refused
rows are stored in the transaction that marks their unit, and the dead letter is made of them at
the end of each run.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from iotdb_frames.backfills.manifest import Manifest
from iotdb_frames.files.pieces import Piece, Refusal
from iotdb_frames.frames.dead_letter import DeadLetter, of_one_row, rows_of

_OWN = ("refused_file", "refused_line", "refused_text", "refused_reason", "refused_code")
_ZSTD = pa.ipc.IpcWriteOptions(compression="zstd")


class UnitLetter(DeadLetter):
    """The refused rows of one unit, in memory.

    Parameters
    ----------
    file : name of its file
    piece : what the unit holds
    """

    def __init__(self, file: str, piece: Piece) -> None:
        super().__init__(os.devnull)
        self._file, self._piece = file, piece
        self.tables: list[pa.Table] = []
        for refusal in piece.refusals:
            self._add_text(refusal)

    def add(self, data: Any, rows: np.ndarray, *, reason: str, code: int | None = None) -> None:
        """Keep some rows (int, shape (n,)) of the unit's frame."""
        lines = self._piece.lines(rows)
        texts = self._piece.texts(rows) if self._piece.texts is not None else None
        own = rows_of(data, rows) if texts is None else None
        self._keep(lines, texts, of_one_row(reason), code, own)

    def _add_text(self, refusal: Refusal) -> None:
        self._keep(refusal.lines, refusal.texts, refusal.reason, None, None)

    def _keep(
        self,
        lines: np.ndarray,
        texts: pa.Array | None,
        reason: str,
        code: int | None,
        own: pa.Table | None,
    ) -> None:
        n = len(lines)
        columns = {
            "refused_file": pa.array([self._file] * n, pa.string()),
            "refused_line": pa.array(lines, pa.int64()),
            "refused_text": pa.nulls(n, pa.string()) if texts is None else texts,
            "refused_reason": pa.array([reason] * n, pa.string()),
            "refused_code": pa.array([code] * n, pa.int32()),
        }
        table = pa.table(columns)
        if own is not None:
            for name in own.column_names:
                table = table.append_column(name, _plain(own[name]))
        with self._lock:
            self.tables.append(table)
            self.n_rows += n

    def packed(self) -> list[tuple[int, bytes]]:
        """(rows, Arrow IPC stream) for the manifest."""
        out = []
        for table in self.tables:
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, table.schema, options=_ZSTD) as stream:
                stream.write_table(table)
            out.append((table.num_rows, sink.getvalue().to_pybytes()))
        return out


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    is_dictionary = pa.types.is_dictionary(column.type)
    return column.cast(column.type.value_type) if is_dictionary else column


def write_dead_letter(manifest: Manifest, path: str | os.PathLike[str]) -> int:
    """All refused rows of a job as one Parquet file; how many.

    The file appears whole or not at all. Its columns are those of the sources, where these have
    some before they are parsed, then file, line (from 1; of a file of rows, the row), the line's
    text, reason and the server's code. A column of different types in different files is text.
    """
    schema = _joint_schema(manifest)
    target = Path(path)
    if schema is None:
        return 0
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    n_rows = 0
    with pq.ParquetWriter(part, schema) as writer:
        for _, data in manifest.refused():
            table = pa.ipc.open_stream(data).read_all()
            columns = [
                table[f.name].cast(f.type)
                if f.name in table.column_names
                else pa.nulls(table.num_rows, f.type)
                for f in schema
            ]
            writer.write_table(pa.table(columns, schema=schema))
            n_rows += table.num_rows
    part.replace(target)
    return n_rows


def _joint_schema(manifest: Manifest) -> pa.Schema | None:
    kinds: dict[str, pa.DataType] = {}
    for _, data in manifest.refused():
        for field in pa.ipc.open_stream(data).schema:
            if kinds.setdefault(field.name, field.type) != field.type:
                kinds[field.name] = pa.string()
    if not kinds:
        return None
    ordered = [n for n in kinds if n not in _OWN] + [n for n in _OWN if n in kinds]
    return pa.schema([(name, kinds[name]) for name in ordered])
