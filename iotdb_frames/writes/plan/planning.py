"""Making a plan: a frame's types, exactness, order and collisions, before anything is sent."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from iotdb_frames.codec.cells import Rules, check_target
from iotdb_frames.codec.names import Target, join_path, split_path
from iotdb_frames.codec.sources import Source, binary_bytes
from iotdb_frames.codec.types import WIRE, default_type, kind_of
from iotdb_frames.errors import ColumnTypeError, FrameError, nearest
from iotdb_frames.options import TimeseriesOption, TSDataType, WriteOptions
from iotdb_frames.writes.plan.attributes import settle_attributes
from iotdb_frames.writes.plan.checks import check_values, empty_rows
from iotdb_frames.writes.plan.claims import claimed_type, claims, take_up
from iotdb_frames.writes.plan.conflicts import (
    check_duplicates,
    lost_fields,
    missing_devices,
    no_field,
    not_there,
)
from iotdb_frames.writes.plan.layout import (
    Column,
    Layout,
    Part,
    as_text,
    fold,
    layout,
)
from iotdb_frames.writes.plan.order import (
    SortedRows,
    bad_time,
    drop_duplicates,
    key_labels,
    leave_out,
    sort_rows,
)
from iotdb_frames.writes.plan.plan import (
    CHECK_ROWS,
    Existing,
    PlannedColumn,
    PlannedPart,
    Refused,
    WritePlan,
)


def layout_of(data: Any, target: Target, options: WriteOptions) -> Layout:
    """The layout of a frame under `options`, and what it says itself where it was read."""
    options = take_up(data, target, options)
    found = layout(
        data,
        target,
        time=options.time,
        time_unit=options.time_unit,
        device=options.device,
        tags=options.tags,
        attributes=options.attributes,
    )
    wishes(found, options)
    return replace(found, said=claims(data))


def wishes(found: Layout, options: WriteOptions) -> dict[Hashable, TimeseriesOption]:
    """What ``schema=`` asks for, by column label; it names columns by label or by full path.

    Raises
    ------
    FrameError : a name that is no column's.
    """
    if not options.series:
        return {}
    labels = {c.source.label for c in found.columns}
    paths = {
        f"{part.device}.{c.name}": c.source.label
        for part in found.parts
        for c in part.columns
        if part.device is not None
    }
    out: dict[Hashable, TimeseriesOption] = {}
    for name, option in options.series.items():
        label = name
        if name not in labels and isinstance(name, str) and name.startswith("root."):
            label = paths.get(join_path(split_path(name)), name)
        if label not in labels:
            raise FrameError(
                f"schema names {name!r}, and the frame has no such column",
                column=name,
                hint=nearest(name, labels),
            )
        out[label] = option
    return out


def plan_layout(
    found: Layout,
    options: WriteOptions,
    rules: Rules,
    existing: Existing,
    *,
    rows: SortedRows | None = None,
    is_stream: bool = False,
) -> WritePlan:
    """Plan a write of an understood frame.

    Parameters
    ----------
    rules : how cells are made (the server's precision is in them)
    existing : what the server has of the target
    rows : what `sort_rows` gave, where the caller has it already
    is_stream : rows of events, whose times may repeat without a key having been forgotten

    Raises
    ------
    FrameError : tags or attributes that are something else on the server; all other problems are
        in the plan.
    """
    notes: list[str] = []
    problems: list[Refused | FrameError] = []
    found = _adopt_tags(found, existing)
    lacking = set(existing.tags or ()) - {c.name for c in found.columns}
    if lacking:
        notes.append(f"no column for the tag {', '.join(sorted(lacking))}: it is null in all rows")
    asked = wishes(found, options)
    parts = tuple(_plan_part(part, found, asked, existing, problems) for part in found.parts)
    notes += _unused_wishes(parts, asked, is_table=found.target.model == "table")
    if rows is None or rows.key != key_labels(found):
        rows = sort_rows(found, rules)
    if rows.times.is_bad is not None:
        bad = np.flatnonzero(rows.times.is_bad)
        error = bad_time(
            found.times,
            int(bad[0]),
            rows.times.why,
            rules=rules,
            time=options.time,
            time_unit=found.time_unit,
        )
        problems.append(Refused(bad, error))
    lossy = {"time": rows.times.n_lossy}
    for part in parts:
        for planned in part.written:
            n_lossy = check_values(planned, rules, problems)
            lossy[str(planned.column.source.label)] = n_lossy
    if found.device is not None:
        problems += missing_devices(found.device)
    order = leave_out(rows.order, _dropped(problems, found.n_rows))
    if not is_stream:
        problems += check_duplicates(found, order, options)
    if (
        found.target.model == "table"
        and found.n_rows
        and not any(c.column.category == "field" for c in parts[0].written)
    ):
        problems.append(no_field(found))
    if options.replace and existing.tags is not None:
        problems += lost_fields(found, parts[0], existing)
    if options.duplicates in ("first", "last") and order.n_duplicates:
        order = replace(drop_duplicates(order, options.duplicates), n_duplicates=order.n_duplicates)
    if found.target.model == "table":
        parts = (settle_attributes(parts[0], order, notes, is_replaced=options.replace),)
    devices: tuple[str, ...] = ()
    if found.device is not None:
        codes = found.device.codes[order.first_rows]
        devices = tuple(found.device.paths[code] for code in codes)
    other = [d for d, is_aligned in existing.aligned.items() if is_aligned != options.aligned]
    if other:
        how = "non-aligned" if options.aligned else "aligned"
        more = f" and {len(other) - 1} more" if len(other) > 1 else ""
        notes.append(f"{other[0]}{more} exists as {how}, and is written so")
    for part in parts:
        empty = [str(c.column.source.label) for c in part.columns if c.state == "left out"]
        if empty:
            notes.append(
                f"left out, no values and no type: {', '.join(empty[:5])}"
                + (f" and {len(empty) - 5} more" if len(empty) > 5 else "")
            )
    if existing.note:
        notes.append(existing.note)
    is_empty = None
    if found.target.model == "tree" and all(isinstance(p, Refused) for p in problems):
        is_empty = empty_rows(parts, rules, found.n_rows)
    whole = WritePlan(
        target=found.target,
        options=options,
        rules=rules,
        layout=found,
        parts=parts,
        order=order,
        devices=devices,
        existing=existing,
        problems=tuple(problems),
        row_bytes=_row_bytes(parts),
        notes=tuple(notes),
        lossy={name: n_values for name, n_values in lossy.items() if n_values},
        is_empty=is_empty,
        starts_small=not is_stream,
    )
    if options.create and not existing.templates:
        return whole
    missing = whole.missing()
    if options.create:
        return replace(whole, notes=(*whole.notes, *_extended_templates(existing, missing)))
    return replace(whole, problems=(*problems, not_there(found, missing))) if missing else whole


def _extended_templates(
    existing: Existing, missing: Sequence[tuple[str, PlannedColumn]]
) -> Iterator[str]:
    """Columns that go into a device template, and so into all devices that have it."""
    new: dict[str, dict[str, None]] = {}
    for device, planned in missing:
        if (template := existing.templates.get(device)) is not None:
            new.setdefault(template, {})[str(planned.column.source.label)] = None
    for template, labels in new.items():
        more = f" and {len(labels) - 5} more" if len(labels) > 5 else ""
        shown = ", ".join(list(labels)[:5])
        yield f"device template {template} gets {shown}{more}, for all of its devices"


def _adopt_tags(found: Layout, existing: Existing) -> Layout:
    """An existing table's own tags and attributes, where the call names none."""
    if existing.tags is None:
        return found
    part = found.parts[0]
    there = {fold(name): name for name in (*existing.categories, existing.time)}
    columns = []
    for column in part.columns:
        same = there.get(fold(column.name), column.name)
        if same == existing.time or same != column.name:
            what = "the time column" if same == existing.time else f"the column {same!r}"
            raise FrameError(
                f"{column.source.label!r} is {what} of {found.target}",
                column=column.source.label,
                hint="rename it, or make it the time: time='…'",
            )
        category = existing.categories.get(column.name, column.category)
        if column.category != "field" and category != column.category:
            raise FrameError(
                f"{column.source.label!r} is a {category} of {found.target}, "
                f"not a {column.category}",
                column=column.source.label,
                hint=f"its tags are {', '.join(existing.tags)}",
            )
        columns.append(replace(column, category=category))
    by_name = {c.name: c for c in columns}
    ordered = [by_name[t] for t in existing.tags if t in by_name]
    # A tag that the frame lacks is null in all its rows, as the server sees it.
    ordered += [c for c in columns if c not in ordered]
    for column in ordered:
        if column.category == "tag" and kind_of(column.source.type) not in ("string", "null"):
            raise FrameError(
                f"tag {column.source.label!r} ({column.source.dtype}) must hold text",
                column=column.source.label,
                hint=as_text(column.source),
            )
    return replace(found, parts=(Part(None, tuple(ordered)),))


def _plan_part(
    part: Part,
    found: Layout,
    asked: Mapping[Hashable, TimeseriesOption],
    existing: Existing,
    problems: list[Refused | FrameError],
) -> PlannedPart:
    out = []
    known: dict[str, set[TSDataType]] = {}
    if part.device is None and found.target.model == "tree":
        for types in {id(types): types for types in existing.types.values()}.values():
            for name, kind in types.items():
                known.setdefault(name, set()).add(kind)
    for column in part.columns:
        if part.device is None and found.target.model == "tree":
            kinds = known.get(column.name, set())
        else:
            one = existing.type_of(part.device or "", column.name)
            kinds = set() if one is None else {one}
        try:
            wish = asked.get(column.source.label)
            claimed = None
            if not kinds and wish is None:
                claimed = claimed_type(found.said, column.source.label, column.source.type)
            _check_alias(part, column, existing)
            is_table = found.target.model == "table"
            planned = _plan_column(column, kinds, wish, claimed, existing, is_table=is_table)
            out.append(planned)
        except FrameError as exc:
            problems.append(exc)
            out.append(PlannedColumn(column, None, state="exists" if kinds else "unknown"))
    return PlannedPart(part.device, tuple(out))


def _check_alias(part: Part, column: Column, existing: Existing) -> None:
    """One series under two names would be written, or deleted, as if they were two."""
    for (device, alias), name in existing.aliases.items():
        if alias == column.name and part.device in (device, None):
            raise FrameError(
                f"{column.source.label!r} is an alias of {device}.{name}",
                column=column.source.label,
                hint=f"rename the column to {split_path(name)[0]!r}",
            )


def _unused_wishes(
    parts: Sequence[PlannedPart], asked: Mapping[Hashable, TimeseriesOption], *, is_table: bool
) -> Iterator[str]:
    """What ``schema=`` asks for and only a new series of the tree model gets."""
    unused = [
        str(c.column.source.label)
        for part in parts
        for c in part.written
        for wish in [asked.get(c.column.source.label)]
        if wish is not None and (wish.encoding, wish.compression) != (c.encoding, c.compression)
    ]
    if unused:
        more = f" and {len(unused) - 5} more" if len(unused) > 5 else ""
        why = "a table chooses its own" if is_table else "it exists, and stays as it is"
        yield f"encoding and compression are not used for {', '.join(unused[:5])}{more}: {why}"


def _plan_column(
    column: Column,
    types: set[TSDataType],
    asked: TimeseriesOption | None,
    claimed: TSDataType | None,
    existing: Existing,
    *,
    is_table: bool,
) -> PlannedColumn:
    label = column.source.label
    wanted = asked.data_type if asked is not None else None
    if len(types) > 1:
        names = " and ".join(sorted(t.name for t in types))
        raise ColumnTypeError(
            f"column {label!r} is {names} in different devices",
            column=label,
            hint="write these devices in separate calls",
        )
    there = next(iter(types), None)
    if there is not None and wanted is not None and there != wanted:
        raise ColumnTypeError(
            f"column {label!r} is {there.name} on the server, and schema= asks for {wanted.name}",
            column=label,
            hint="leave it out of schema=: a series keeps its type",
        )
    kind = kind_of(column.source.type)
    if column.category != "field" and wanted not in (None, TSDataType.STRING):
        raise ColumnTypeError(
            f"{column.category} {label!r} is STRING, and schema= asks for {wanted.name}",
            column=label,
            hint="leave it out of schema=",
        )
    if column.category != "field":
        target: TSDataType | None = TSDataType.STRING
    else:
        # Not `or`: BOOLEAN is 0.
        target = next(
            (t for t in (there, wanted, claimed) if t is not None),
            default_type(column.source.type),
        )
    if target is None and kind == "null":
        return PlannedColumn(column, None, state="left out")
    if target is None:
        check_target(column.source, TSDataType.STRING)  # raises: the kind has no IoTDB type
    assert target is not None
    try:
        check_target(column.source, target)
    except ColumnTypeError as exc:
        if there is not None and there.name in exc.message:
            exc.message += ", its type on the server"
        raise
    is_new = there is None and not is_table
    return PlannedColumn(
        column,
        target,
        encoding=asked.encoding if asked is not None and is_new else None,
        compression=asked.compression if asked is not None and is_new else None,
        state="exists" if there is not None else "new" if existing.was_seen else "unknown",
    )


def _dropped(problems: list[Refused | FrameError], n_rows: int) -> np.ndarray | None:
    refused = [p.rows for p in problems if isinstance(p, Refused)]
    if not refused:
        return None
    mask = np.zeros(n_rows, bool)
    for rows in refused:
        mask[rows] = True
    return mask


def _row_bytes(parts: tuple[PlannedPart, ...]) -> int:
    """Encoded bytes of a row, about: exact for numbers, the average of the first ones for texts."""
    total = 0.0
    for part in parts:
        total += 8
        for planned in part.written:
            assert planned.data_type is not None
            wire = WIRE[planned.data_type]
            total += wire.itemsize if wire is not None else 4 + _text_bytes(planned.column.source)
    return max(1, round(total / max(1, len(parts))))


def _text_bytes(source: Source) -> float:
    """Average bytes of a text, of the first ones."""
    sample: Any = source.take(slice(0, CHECK_ROWS))
    data = sample.dictionary if pa.types.is_dictionary(sample.type) else sample
    if pa.types.is_null(data.type) or len(data) == 0:
        return 0.0
    if pa.types.is_fixed_size_binary(data.type):
        return float(data.type.byte_width)
    return binary_bytes(data)[1].nbytes / len(data)
