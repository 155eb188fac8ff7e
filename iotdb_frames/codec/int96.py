"""Times that Parquet stores as INT96, Spark's default for long.

The type has no unit: read as nanoseconds, which readers do, a time outside 1677 to 2262 wraps.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from iotdb_frames.errors import FrameError

_MOST_NS = (1 << 63) - 1


def unit_of_int96(source: Any, meta: Any, *, name: str) -> str | None:
    """The unit that a file's INT96 times are read in (``coerce_int96_timestamp_unit``).

    Parameters
    ----------
    source, meta : what `ParquetFile` opens, and its `FileMetaData`
    name : of the file, for the error

    Returns
    -------
    "us", or "ns" where there are digits below the microsecond; None where there are no such times.

    Raises
    ------
    FrameError : they have times outside 1677 to 2262, and digits below the microsecond, too.
    """
    schema = meta.schema
    columns = [schema.column(i) for i in range(len(schema))]
    names = [c.path for c in columns if c.physical_type == "INT96"]
    if not names:
        return None
    is_far = is_fine = False
    open_as = partial(pq.ParquetFile, source, metadata=meta)
    coarse, fine = (open_as(coerce_int96_timestamp_unit=unit) for unit in ("us", "ns"))
    for group in range(meta.num_row_groups):
        tables = [f.read_row_group(group, columns=names) for f in (coarse, fine)]
        for one, other in zip(*(_leaves(table) for table in tables), strict=True):
            us, ns = (np.asarray(c.fill_null(0)).view(np.int64) for c in (one, other))
            is_wrapped = (us > _MOST_NS // 1000) | (us < -(_MOST_NS // 1000))
            is_far |= bool(is_wrapped.any())
            is_fine |= bool((ns[~is_wrapped] % 1000 != 0).any())
    if is_far and is_fine:
        raise FrameError(
            f"{name}: {', '.join(names)} (INT96) have times outside the years 1677 to 2262, "
            "and digits below the microsecond",
            hint="no unit holds both: store the column as TIMESTAMP_MICROS, or split the file",
        )
    return "ns" if is_fine else "us"


def _leaves(table: pa.Table) -> Iterator[pa.Array]:
    """The timestamps of a table; in lists and structs they cannot be written anyway."""
    for column in table.columns:
        if pa.types.is_timestamp(column.type):
            yield column.combine_chunks()
