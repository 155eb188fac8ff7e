"""`write` and `plan`: a frame, or a stream of them, into IoTDB."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from typing import Any, Unpack

from iotdb_frames.client.connect import resolve_connection
from iotdb_frames.client.connection import Connection
from iotdb_frames.codec.names import parse_target
from iotdb_frames.options import WriteArgs, hide_url, show_options, write_options
from iotdb_frames.writes.frame_writer import FrameWriter
from iotdb_frames.writes.frames import check_stream, frames_of, is_repeatable, is_stream
from iotdb_frames.writes.plan.plan import WritePlan
from iotdb_frames.writes.planner import plan_frame
from iotdb_frames.writes.report import WriteReport
from iotdb_frames.writes.schema.create import ddl


@show_options
def write(
    data: Any,
    target: str,
    *,
    connection: Connection | str | None = None,
    **options: Unpack[WriteArgs],
) -> WriteReport:
    """Write a frame, or a stream of them, into IoTDB.

    Parameters
    ----------
    data : DataFrame, Series, pyarrow Table, Polars frame, RecordBatchReader, Dataset, DuckDB
        result … A frame is checked whole before the first byte; of a stream each batch is checked
        before it is sent.
    target : ``root.…``: a device path of the tree model (with ``device=`` a prefix of devices);
        else ``database.table``, or ``table`` where the URL names the database
    connection : a Connection or a URL; None: see `use`
    options : see `WriteOptions`

    Returns
    -------
    WriteReport

    Raises
    ------
    OptionsError, FrameError, TimeIndexError, ColumnTypeError : nothing of the frame was sent.
    ServerError, PartialWriteError : `.report` says what was acknowledged, refused and in doubt.
    """
    connection = hide_url(connection)
    chosen = write_options(options)
    conn = resolve_connection(connection)
    if is_stream(data):
        check_stream(chosen)
    goal = parse_target(target, database=conn.options.database)
    frames = frames_of(data)
    first = next(frames)
    is_alone = not is_stream(data)
    writer = FrameWriter(
        conn, goal, chosen, n_rows=len(first) if is_alone else 0, is_alone=is_alone
    )
    try:
        for frame in chain([first], frames):
            writer.write(frame)
            if writer.is_stopped:
                break
    except BaseException as exc:
        writer.close(exc)
        raise
    writer.close()
    return writer.report


@show_options
def plan(
    data: Any,
    target: str,
    *,
    offline: bool = False,
    connection: Connection | str | None = None,
    **options: Unpack[WriteArgs],
) -> WritePlan:
    """Everything `write` would do, and nothing sent.

    Parameters
    ----------
    offline : do not ask the server; its schema is unknown then, and its precision taken for ms
    data, target, connection : as in `write`; of a stream, the first batch
    options : see `WriteOptions`

    Returns
    -------
    WritePlan
    """
    connection = hide_url(connection)
    chosen = write_options(options)
    if is_stream(data):
        check_stream(chosen)
    conn = None if offline else resolve_connection(connection)
    goal = parse_target(target, database=None if conn is None else conn.options.database)
    planned = plan_frame(conn, next(frames_of(data)), goal, chosen, is_fresh=True)
    taken = () if is_repeatable(data) else ("this took the first batch out of the stream",)
    return replace(
        planned,
        ddl=() if conn is None else tuple(ddl(planned)),
        notes=(*planned.notes, *taken),
    )
