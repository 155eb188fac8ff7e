"""What tests of Spark share: how frames are made and written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq


def load(spark: Any, frame: pd.DataFrame | pa.Table, path: Path, *, n: int = 4) -> Any:
    """A Spark frame of some partitions."""
    table = frame if isinstance(frame, pa.Table) else pa.Table.from_pandas(frame)
    path.mkdir(parents=True, exist_ok=True)
    size = -(-table.num_rows // n)
    for i in range(n):
        pq.write_table(table.slice(i * size, size), path / f"{i}.parquet", coerce_timestamps="us")
    return spark.read.parquet(str(path)).repartition(n)


def writer(frame: Any, place: dict[str, str], **options: Any) -> Any:
    """A DataFrameWriter into IoTDB."""
    kind = options.pop("kind", "iotdb")
    return frame.write.format(kind).mode("append").options(**place, **options)
