"""What is wrong with a frame as a whole: rows without a device, repeated keys, missing columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from iotdb_frames.codec.types import kind_of
from iotdb_frames.display.words import repeated
from iotdb_frames.errors import Choice, FrameError, Hint, TimeIndexError
from iotdb_frames.options import WriteOptions
from iotdb_frames.writes.plan.layout import DeviceColumn, Layout
from iotdb_frames.writes.plan.order import Order, first_duplicate
from iotdb_frames.writes.plan.plan import (
    CHECK_ROWS,
    Existing,
    PlannedColumn,
    PlannedPart,
    Refused,
)

OR_LAST = Hint(", or say ", Choice(duplicates="last"), " if this is meant")
"""The end of a hint, where all rows are in one frame."""


def not_there(found: Layout, missing: Sequence[tuple[str, PlannedColumn]]) -> FrameError:
    """The error for series that do not exist, and are not to be made."""
    device, planned = missing[0]
    more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
    return FrameError(
        f"{device or found.target} has no {planned.column.name!r}{more}, and create=False",
        column=planned.column.source.label,
        hint="create it first, or leave out create=False",
    )


def missing_devices(device: DeviceColumn) -> Iterator[Refused]:
    """Rows that name no device."""
    rows = np.flatnonzero(device.codes == len(device.paths) - 1)
    if len(rows):
        wrong = f"the device column {device.label!r} names no device"
        error = FrameError(
            f"row {rows[0]}: {wrong}",
            reason=wrong,
            column=device.label,
            row=int(rows[0]),
            hint=f"df.dropna(subset=[{device.label!r}])",
        )
        yield Refused(rows, error)


def no_field(found: Layout) -> FrameError:
    """The error for a frame without a field."""
    return FrameError(
        f"nothing of the frame is a field of {found.target}: a row of a table needs one",
        hint="of a column without values schema={…} says the type",
    )


def lost_fields(found: Layout, part: PlannedPart, existing: Existing) -> Iterator[FrameError]:
    """A table deletes whole rows: a field that the frame lacks would be lost."""
    written = {c.column.name for c in part.written}
    fields = [name for name, category in existing.categories.items() if category == "field"]
    lost = [name for name in fields if name not in written]
    if lost:
        yield FrameError(
            f"replace=True deletes whole rows of a table, and {found.target} has fields that the "
            f"frame lacks: {', '.join(lost)}",
            hint="read these columns, too, and write them together",
        )


def check_duplicates(found: Layout, order: Order, options: WriteOptions) -> Iterator[FrameError]:
    """Rows that have a key which others have, too, where that is not wanted or looks wrong."""
    if not order.n_duplicates:
        return
    if options.duplicates == "raise":
        row = first_duplicate(order)
        wrong = f"{repeated(order.n_duplicates)}, first at {found.times.show(row)}"
        yield TimeIndexError(
            f"row {row}: {wrong}",
            reason=wrong,
            row=row,
            hint='duplicates="merge", "last" or "first"',
        )
    if options.duplicates == "merge" and order.n_duplicates * 10 > len(order):
        yield from _collisions(found, order)


def _collisions(found: Layout, order: Order) -> Iterator[FrameError]:
    """A text column that tells rows of one (device, time) apart is most likely a forgotten key."""
    same = order.same_time()
    here = np.flatnonzero(same)[:CHECK_ROWS]
    rows = np.arange(len(order)) if order.rows is None else order.rows
    for column in found.columns:
        if column.category != "field" or kind_of(column.source.type) != "string":
            continue
        one: Any = column.source.take(rows[here])
        other: Any = column.source.take(rows[here - 1])
        if pa.types.is_dictionary(one.type):
            one, other = one.dictionary_decode(), other.dictionary_decode()
        differ = pc.sum(pc.not_equal(one, other)).as_py() or 0
        if differ * 2 > len(here):
            label = column.source.label
            is_table = found.target.model == "table"
            yield FrameError(
                f"{repeated(order.n_duplicates, '(tags, time)' if is_table else '(device, time)')} "
                f"and {'differs' if order.n_duplicates == 1 else 'differ'} in {label!r}: "
                "they would overwrite each other",
                column=label,
                hint=Hint(
                    "make it a tag (" if is_table else "name the device column (",
                    Choice(tags=[..., label]) if is_table else Choice(device=label),
                    ")",
                    OR_LAST,
                ),
            )
            return
