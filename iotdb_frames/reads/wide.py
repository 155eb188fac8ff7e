"""Long rows to wide ones: a column for each device and measurement, one row a time."""

from __future__ import annotations

import numpy as np
import pyarrow as pa


def widen(table: pa.Table) -> tuple[pa.Table, list[tuple[str, str]]]:
    """One row a time, over the devices.

    Parameters
    ----------
    table : time, device, measurements; rows of one device together, its times ascending and each
        there once

    Returns
    -------
    pyarrow.Table : the time, then the columns that hold a value, by device; labels are positions
    list of (device, measurement) : of those columns
    """
    ticks = table.column(0).cast(pa.int64()).to_numpy()
    times, place = np.unique(ticks, return_inverse=True)
    devices = table.column(1).combine_chunks().dictionary_encode()
    codes = devices.indices.to_numpy()
    starts = np.flatnonzero(np.diff(codes, prepend=-1))
    stops = np.append(starts[1:], len(codes))[: len(starts)]
    columns = [pa.array(times).cast(table.schema.field(0).type)]
    labels: list[tuple[str, str]] = []
    values = [table.column(i).combine_chunks() for i in range(2, table.num_columns)]
    for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
        rows = np.full(len(times), -1, np.int64)
        rows[place[start:stop]] = np.arange(start, stop)
        taken = pa.array(rows, mask=rows < 0)
        device = devices.dictionary[int(codes[start])].as_py()
        for name, column in zip(table.column_names[2:], values, strict=True):
            if column.slice(start, stop - start).null_count < stop - start:
                labels.append((device, name))
                columns.append(column.take(taken))
    return pa.Table.from_arrays(columns, [str(i) for i in range(len(columns))]), labels
