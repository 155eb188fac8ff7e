"""Memory stays flat: what was sent is let go at once, and not when Python looks for cycles."""

from __future__ import annotations

import gc
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

import iotdb_frames as iotf
from iotdb_frames.client.connection import Connection
from iotdb_frames.files.pieces import Piece
from iotdb_frames.writes.frame_writer import FrameWriter
from iotdb_frames.writes.plan.plan import WritePlan
from iotdb_frames.writes.sent_frame import SentFrame

HELD = (Piece, SentFrame, FrameWriter, WritePlan)


@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl"])
def test_nothing_sent_stays_in_memory(
    connection: Connection, device: str, tmp_path: Path, kind: str
) -> None:
    """No unit, plan or frame is left when a backfill and a write have ended."""
    file = tmp_path / f"rows.{kind}"
    table = pa.table({"time": pa.array(range(1000), pa.timestamp("ms")), "v": [0.5] * 1000})
    if kind == "csv":
        pacsv.write_csv(table, file)
    elif kind == "parquet":
        pq.write_table(table, file)
    else:
        rows = (
            f'{{"time": "2024-03-01T00:{i // 60:02}:{i % 60:02}Z", "v": 0.5}}' for i in range(999)
        )
        file.write_text("\n".join(rows) + "\n")
    gc.collect()
    before = {id(one) for one in gc.get_objects() if isinstance(one, HELD)}
    gc.disable()
    try:
        for name in ("a", "b"):
            manifest = tmp_path / name
            iotf.backfill(file, f"{device}.{name}", manifest=manifest, connection=connection)
        iotf.write(table, f"{device}.c", time="time", connection=connection)
        left = [one for one in gc.get_objects() if isinstance(one, HELD) and id(one) not in before]
    finally:
        gc.enable()
    assert [type(one).__name__ for one in left] == []
