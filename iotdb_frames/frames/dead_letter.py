"""The file of rows that were refused: the rows as they were, and why."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq


class DeadLetter:
    """A Parquet file, made with the first refused row.

    Its columns are the data's own (objects as text), then `refused_row` (position in the data),
    `refused_code` (the server's, null where we refused) and `refused_reason`.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        self._writer: pq.ParquetWriter | None = None
        self.n_rows = 0

    def add(self, data: Any, rows: np.ndarray, *, reason: str, code: int | None = None) -> None:
        """Keep some rows (int, shape (n,)) of a DataFrame or an Arrow table."""
        table = _rows_of(data, rows)
        table = table.append_column("refused_row", pa.array(rows, pa.int64()))
        table = table.append_column("refused_code", pa.array([code] * len(rows), pa.int32()))
        table = table.append_column("refused_reason", pa.array([reason] * len(rows), pa.string()))
        with self._lock:
            if self._writer is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._writer = pq.ParquetWriter(self.path, table.schema)
            self._writer.write_table(table.cast(self._writer.schema))
            self.n_rows += len(rows)

    def close(self) -> None:
        """Finish the file."""
        with self._lock:
            if self._writer is not None:
                self._writer.close()


def _rows_of(data: Any, rows: np.ndarray) -> pa.Table:
    if isinstance(data, pa.RecordBatch):
        data = pa.Table.from_batches([data])
    if isinstance(data, pa.Table):
        return data.take(pa.array(rows))
    frame = data.to_frame() if isinstance(data, pd.Series) else data
    frame = frame.iloc[rows]
    if not (isinstance(frame.index, pd.RangeIndex) and frame.index.name is None):
        frame = frame.reset_index()
    frame.columns = [
        ".".join(map(str, label)) if isinstance(label, tuple) else str(label)
        for label in frame.columns
    ]
    objects = frame.select_dtypes("object").columns
    frame = frame.astype(dict.fromkeys(objects, "string"))
    return pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
