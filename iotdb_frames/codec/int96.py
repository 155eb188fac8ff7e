"""Times stored in Parquet as INT96, for years Spark's default.

The type has no unit: read as nanoseconds, as readers do, a time outside 1677 to 2262 wraps.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from iotdb_frames.errors import FrameError

_MOST_NS = (1 << 63) - 1


def unit_of_int96(source: Any, meta: Any, *, name: str) -> str | None:
    """The unit to read a file's INT96 times in (``coerce_int96_timestamp_unit``).

    Parameters
    ----------
    source, meta : argument of `ParquetFile`, and its `FileMetaData`
    name : of the file, for the error

    Returns
    -------
    "us", or "ns" if some have digits below the microsecond; None if there are no such columns.

    Raises
    ------
    FrameError : they have both times outside 1677 to 2262 and digits below the microsecond.
    """
    names = _columns(meta)
    if not names:
        return None
    is_far, is_fine = _look(source, meta, names)
    if is_far and is_fine:
        raise FrameError(
            f"{name}: {', '.join(names)} (INT96) have times outside the years 1677 to 2262, "
            "and digits below the microsecond",
            hint="no unit can hold both: store the column as TIMESTAMP_MICROS, or split the file",
        )
    return "ns" if is_fine else "us"


def check_int96(
    meta: Any,
    schema: pa.Schema,
    *,
    name: str,
    only: Collection[str] | None = None,
    open_source: Callable[[], Any] | None = None,
) -> None:
    """Refuse INT96 times that wrap because another reader reads them as nanoseconds.

    Parameters
    ----------
    meta, schema : of the Parquet file, the schema as it is read
    name : of the file, for the error
    only : labels of the columns to read; None: all
    open_source : opens the file; without it, all of them may have wrapped, and are refused

    Raises
    ------
    FrameError
    """
    names = [
        path
        for path in _columns(meta)
        if path in schema.names
        and schema.field(path).type == pa.timestamp("ns")
        and (only is None or path in only)
    ]
    if not names or (open_source is not None and not _look(open_source(), meta, names)[0]):
        return
    what = "may have" if open_source is None else "have"
    raise FrameError(
        f"{name}: {', '.join(names)} (INT96) {what} times outside the years 1677 to 2262, "
        "which wrap as nanoseconds",
        hint='coerce_int96_timestamp_unit="us", an option of ParquetFile and ParquetFileFormat',
    )


def _columns(meta: Any) -> list[str]:
    """Paths of the INT96 columns."""
    columns = (meta.schema.column(i) for i in range(len(meta.schema)))
    return [column.path for column in columns if column.physical_type == "INT96"]


def _look(source: Any, meta: Any, names: list[str]) -> tuple[bool, bool]:
    """Whether any times are outside 1677 to 2262, and any have digits below the microsecond."""
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
    return is_far, is_fine


def _leaves(table: pa.Table) -> Iterator[pa.Array]:
    """The timestamps of a table; in lists and structs they cannot be written anyway."""
    for column in table.columns:
        if pa.types.is_timestamp(column.type):
            yield column.combine_chunks()
