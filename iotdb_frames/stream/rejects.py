"""Rows of a sink that were refused, as files a person can read, mend and write again."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock

import pyarrow as pa
import pyarrow.parquet as pq

from iotdb_frames.errors import IoTDBFramesError, ServerError


class RejectFiles:
    """A directory of Parquet files, one a refusal, each whole as soon as it is there.

    Their columns are ``device``, ``timestamp``, the measurements, then ``refused_code`` (the
    server's, null where the sink refused) and ``refused_reason``; so
    ``pd.read_parquet(file).iloc[:, :-2].iotdb.write("root", device="device", time="timestamp")``
    writes the mended rows.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self._directory = Path(directory).expanduser()
        self._directory.mkdir(parents=True, exist_ok=True)
        self._lock = Lock()
        self._number = 0

    def add(self, rows: pa.Table, error: IoTDBFramesError) -> None:
        """Keep some rows, and why they were refused."""
        code = error.code if isinstance(error, ServerError) else None
        n_rows = rows.num_rows
        rows = rows.append_column("refused_code", pa.array([code] * n_rows, pa.int32()))
        rows = rows.append_column("refused_reason", pa.array([error.message] * n_rows))
        with self._lock:
            self._number += 1
            now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
            name = f"refused-{now}-{os.getpid()}-{self._number:06}.parquet"
        unfinished = self._directory / f".{name}"
        pq.write_table(rows, unfinished)
        unfinished.rename(self._directory / name)
