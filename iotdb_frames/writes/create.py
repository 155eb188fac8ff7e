"""`create`: the schema of a frame, or one that is spelled out, made without a row."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa

from iotdb_frames.client.connect import resolve_connection
from iotdb_frames.client.connection import Connection
from iotdb_frames.codec.names import parse_target
from iotdb_frames.errors import FrameError, OptionsError, PermissionDenied
from iotdb_frames.options import SchemaOption, TimeseriesOption, WriteOptions, hide_url
from iotdb_frames.writes.frames import frames_of, is_repeatable
from iotdb_frames.writes.plan.plan import Refused
from iotdb_frames.writes.planner import plan_frame
from iotdb_frames.writes.report import MAX_SERIES, CreateReport
from iotdb_frames.writes.schema.cache import cache_of
from iotdb_frames.writes.schema.create import ddl, make

Schema = Mapping[Hashable, SchemaOption] | Sequence[TimeseriesOption]


def create(
    data: Any,
    target: str,
    *,
    time: Hashable | None = None,
    time_unit: str | None = None,
    device: Hashable | None = None,
    tags: Sequence[Hashable] = (),
    attributes: Sequence[Hashable] = (),
    schema: Schema | None = None,
    aligned: bool = True,
    connection: Connection | str | None = None,
) -> CreateReport:
    """Create what `write` of the same data would create, and write nothing.

    What is there already stays as it is; a column of another type there is refused. So a schema is
    made once, before many write at the same time.

    Parameters
    ----------
    data : a frame as `write` takes it, whose values count only where they name devices or decide a
        type; a pyarrow Schema; or the schema itself: ``{"temp": "DOUBLE", "state":
        TimeseriesOption(…)}``, or a list of `TimeseriesOption` with paths below the target
    target : a device (with ``device=`` a prefix of devices), or ``database.table``
    time : label of the time column of a frame; None: its index, in Arrow data ``time``
    time_unit : "s", "ms", "us" or "ns" where the times of a frame are numbers
    device : label of the column that names each row's device (tree model)
    tags, attributes : labels of these columns (table model); a schema need not list them
    schema : types of a frame's columns, with encodings and compression, as in `write`
    aligned : whether new devices are aligned
    connection : a Connection or a URL; None: see `use`

    Returns
    -------
    CreateReport : the columns, and what was made of them

    Raises
    ------
    OptionsError, FrameError, ColumnTypeError : nothing was created.
    PermissionDenied : a right is missing to see what is there, or to create; ServerError,
        ConnectionLost : some of it may have been created, and calling it again is safe.
    """
    connection = hide_url(connection)
    frame, schema = _as_frame(data, schema, [*tags, *attributes])
    options = WriteOptions(
        time=time,
        time_unit=time_unit,
        device=device,
        tags=tags,
        attributes=attributes,
        schema=schema,
        aligned=aligned,
    )
    conn = resolve_connection(connection)
    goal = parse_target(target, database=conn.options.database)
    planned = plan_frame(conn, frame, goal, options, is_fresh=True)
    for problem in planned.problems:
        if not isinstance(problem, Refused):  # of a row, and no row is written
            raise problem
    if not planned.existing.was_seen:
        raise PermissionDenied(planned.existing.note or f"the schema of {goal} cannot be seen")
    if planned.layout.device is not None and not planned.devices:
        raise FrameError(
            f"the column {device!r} names no device, so there is nothing to create",
            column=device,
            hint="a frame with a row of each device, or one device as the target",
        )
    missing, made = planned.missing(), ddl(planned)
    make(conn, planned, missing, is_all=True)
    if missing:
        cache_of(conn).remember(planned, missing)
    return CreateReport(
        target=str(goal),
        columns={
            str(c.column.source.label): c.data_type.name
            for part in planned.parts
            for c in part.columns
            if c.data_type is not None
        },
        made=tuple(made[:MAX_SERIES]),
        n_made=len(made),
        notes=planned.notes,
    )


def _as_frame(
    data: Any, schema: Schema | None, keys: Sequence[Hashable]
) -> tuple[Any, Schema | None]:
    """A frame with the columns of `data`, and the types that are asked for."""
    if isinstance(data, pa.Schema):
        return data.empty_table(), schema
    if isinstance(data, Mapping) or (isinstance(data, list | tuple) and data):
        if schema is not None:
            raise OptionsError("schema= is for a frame, and the data is a schema itself")
        series = WriteOptions(schema=data).series
        labels = list(dict.fromkeys([*keys, *series]))
        empty = pd.DataFrame(index=pd.DatetimeIndex([]), columns=pd.Index(labels, dtype=object))
        return empty.astype(object), data
    if hasattr(data, "__arrow_c_stream__") and not is_repeatable(data):
        raise OptionsError(
            f"a {type(data).__name__} gives its rows once, and create would take some",
            hint="create(reader.schema, …)",
        )
    return next(frames_of(data)), schema
