"""What can be written: a frame, checked whole, or a stream of them, batch after batch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pandas as pd
import pyarrow as pa

from iotdb_frames.codec.int96 import check_int96
from iotdb_frames.errors import OptionsError
from iotdb_frames.options import WriteOptions

_WHOLE = pd.DataFrame | pd.Series | pa.Table | pa.RecordBatch
_CALLS = {
    "__dask_graph__": "after import iotdb_frames.engines.dask, ddf.iotdb.write(…) writes it where "
    "it is; .compute()",
    "execute_insert": "iotdb_frames.engines.flink.IoTDBSink(…).run(table, t_env) writes it",
    "toPandas": 'after import iotdb_frames.engines.spark, .write.format("iotdb") writes it where '
    "it is; .toPandas()",
    "collect": ".collect()",
    "to_reader": ".to_reader()",
}
"""What makes a frame of what only says how it is made, by an attribute that tells it."""

_HINT = "a DataFrame, a Series, or anything with the Arrow C interface of arrays or streams"


def frames_of(data: Any) -> Iterator[Any]:
    """Frames to be written whole, one after the other.

    A DataFrame, a Series, a pyarrow Table and anything with the Arrow C array interface, or with a
    length and the Arrow C stream interface (Polars), is one; of a stream (a RecordBatchReader, a
    DuckDB result, a pyarrow Dataset, Scanner or ParquetFile) each batch with a row in it is.

    Raises
    ------
    OptionsError : none of these.
    FrameError : times of a Parquet file that Arrow has read wrong.
    """
    if isinstance(data, _WHOLE):
        yield data
        return
    found = _open(data)
    if found is None:
        raise OptionsError(
            f"a {type(data).__name__} cannot be written",
            hint=_hint(data),
        )
    if isinstance(found, pa.RecordBatch):
        yield found
        return
    if not is_stream(data):
        yield found.read_all()
        return
    schema, batches = found if isinstance(found, tuple) else (found.schema, found)
    is_empty = True
    for batch in batches:
        if batch.num_rows:
            is_empty = False
            yield batch
    if is_empty:
        yield schema.empty_table()


def _open(data: Any) -> Any:
    """A batch, a reader, or a schema and batches; None of what cannot be written."""
    if isinstance(data, type):
        return None
    if _is_dataset(data):
        # More of it at once would take more memory, and the server is what takes the time.
        data = data.scanner(batch_readahead=1, fragment_readahead=1)
    if _is_scanner(data):
        return data.projected_schema, _scanned(data)
    if _is_parquet(data):
        check_int96(data.metadata, data.schema_arrow, name="the ParquetFile")
        return data.schema_arrow, data.iter_batches()
    with suppress(pa.ArrowInvalid, pa.ArrowTypeError):  # a column, and no frame
        if hasattr(data, "__arrow_c_stream__"):
            return pa.RecordBatchReader.from_stream(data)
        if hasattr(data, "__arrow_c_array__"):
            return pa.record_batch(data)
    return None


def _scanned(scanner: Any) -> Iterator[pa.RecordBatch]:
    last = None
    for found in scanner.scan_batches():
        batch, fragment = found.record_batch, found.fragment
        if fragment is not last and hasattr(fragment, "row_groups"):
            check_int96(
                fragment.metadata,
                fragment.physical_schema,
                name=fragment.path,
                only=batch.schema.names,
                open_source=fragment.open,
            )
        last = fragment
        yield batch


def _is_dataset(data: Any) -> bool:
    return hasattr(data, "get_fragments") and hasattr(data, "scanner")


def _is_scanner(data: Any) -> bool:
    return hasattr(data, "scan_batches") and hasattr(data, "projected_schema")


def _is_parquet(data: Any) -> bool:
    return hasattr(data, "iter_batches") and hasattr(data, "schema_arrow")


def _speaks_arrow(data: Any) -> bool:
    return hasattr(data, "__arrow_c_stream__") or hasattr(data, "__arrow_c_array__")


def _call(data: Any) -> str | None:
    return next((call for name, call in _CALLS.items() if hasattr(data, name)), None)


def _hint(data: Any) -> str:
    call = _call(data)
    if call is None:
        return _HINT
    return call if call.endswith("writes it") else f"{call} gives a frame"


def is_one(data: Any) -> bool:
    """Whether it is a frame, or a stream of them, and not a collection of such."""
    if isinstance(data, _WHOLE):
        return True
    is_read = _is_dataset(data) or _is_scanner(data) or _is_parquet(data)
    return is_read or _speaks_arrow(data) or _call(data) is not None


def is_stream(data: Any) -> bool:
    """Whether data comes batch by batch, and nobody knows how much."""
    return not hasattr(data, "__len__") and not hasattr(data, "__arrow_c_array__")


def is_repeatable(data: Any) -> bool:
    """Whether frames can be gone through again."""
    if _is_dataset(data) or _is_parquet(data):
        return True
    is_consumed = hasattr(data, "__next__") or _is_scanner(data)
    return not is_consumed and not (is_stream(data) and _speaks_arrow(data))


def check_stream(options: WriteOptions) -> None:
    """Refuse what no stream can have; before a batch is taken out of it, so that it stays whole."""
    if options.duplicates != "merge" or options.replace:
        # A later batch would delete what an earlier one wrote.
        name = "replace=True" if options.replace else f"duplicates={options.duplicates!r}"
        raise OptionsError(
            f"{name} needs all rows at once, and this is a stream",
            hint="collect it first: reader.read_all(), dataset.to_table()",
        )
