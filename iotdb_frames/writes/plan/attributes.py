"""Attributes of a table: one value per device, which a missing one in the frame must not erase.

To the server a null attribute is a value: it clears what is stored. So every row of a device gets
the last value that the frame has for it, and a device for which it has none goes out without the
column.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa

from iotdb_frames.codec.sources import Source, is_missing
from iotdb_frames.display.words import plural
from iotdb_frames.writes.plan.layout import dictionary_codes, row_positions
from iotdb_frames.writes.plan.order import Order
from iotdb_frames.writes.plan.plan import PlannedColumn, PlannedPart, WritePlan


def settle_attributes(
    part: PlannedPart, order: Order, notes: list[str], *, is_replaced: bool
) -> PlannedPart:
    """A table's columns, with an attribute's missing values filled in where a device has one.

    Parameters
    ----------
    order : rows that will be sent
    notes : get what the user should know
    is_replaced : ``replace=True``, where a device without a value loses the one it had
    """
    columns = tuple(
        _settle(planned, order, notes, is_replaced=is_replaced)
        if planned.column.category == "attribute"
        else planned
        for planned in part.columns
    )
    return replace(part, columns=columns)


def _settle(
    planned: PlannedColumn, order: Order, notes: list[str], *, is_replaced: bool
) -> PlannedColumn:
    source = planned.column.source
    if not len(order):
        return planned
    codes, texts = dictionary_codes(source)
    rows = order.frame_rows(0, len(order))
    at = np.arange(len(order))
    here = codes[rows].astype(np.int64)
    is_null = here == len(texts)
    # Position of the last value that is not missing up to each row; before the group: none.
    last = np.maximum.accumulate(np.where(is_null, -1, at))
    starts, ends = order.bounds[:-1], order.bounds[1:]
    sizes = ends - starts
    before = np.append(-1, last[:-1])
    same_device = before >= np.repeat(starts, sizes)
    is_other = ~is_null & same_device & (here != here[np.maximum(before, 0)])
    if is_other.any():
        row = int(row_positions(is_other, rows)[0])
        notes.append(
            f"attribute {source.label!r} changes within a device, first in row {row}: "
            "all of its rows get the last value; as a field each row keeps its own"
        )
    if not is_null.any():
        return planned
    found = last[ends - 1]
    is_none = found < starts
    if is_none.any() and is_replaced:
        n_devices = plural(int(np.count_nonzero(is_none)), "device")
        notes.append(f"replace=True clears attribute {source.label!r} of {n_devices}")
    # The last value of each device, for each of its rows.
    device_codes = np.where(is_none, len(texts), here[found])
    settled = np.full(len(codes), len(texts), np.int32)
    settled[rows] = np.repeat(device_codes, sizes)
    filled = pa.DictionaryArray.from_arrays(pa.array(settled, mask=settled == len(texts)), texts)
    column = replace(planned.column, source=Source(source.label, source.dtype, filled.type, filled))
    return replace(planned, column=column)


def by_attributes(plan: WritePlan) -> Iterator[WritePlan]:
    """The plan in parts whose devices have the same attributes, each without those they lack."""
    order, part = plan.order, plan.parts[0]
    attributes = [c for c in part.written if c.column.category == "attribute"]
    if plan.options.replace or not attributes or not len(order):
        yield plan
        return
    firsts = order.bounds[:-1]
    firsts = firsts if order.rows is None else order.rows[firsts]
    is_lacking = np.stack([is_missing(c.column.source.take(firsts)) for c in attributes], axis=1)
    if not is_lacking.any():
        yield plan
        return
    patterns, of_group = np.unique(is_lacking, axis=0, return_inverse=True)
    of_row = np.repeat(of_group.reshape(-1), np.diff(order.bounds))
    for i, lacks in enumerate(patterns):
        left_out = {c.column.name for c, gone in zip(attributes, lacks, strict=True) if gone}
        columns = tuple(c for c in part.columns if c.column.name not in left_out)
        some = order if len(patterns) == 1 else order.keep(of_row == i)
        yield replace(plan, parts=(replace(part, columns=columns),), order=some)
