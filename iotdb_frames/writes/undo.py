"""Undo a wrong write: delete values of a time range, drop series and tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from iotdb_frames.client.connect import resolve_connection
from iotdb_frames.client.connection import Connection
from iotdb_frames.codec.names import Target, is_utf8, parse_target, split_path
from iotdb_frames.codec.quotes import quote_identifier, quote_path_node
from iotdb_frames.codec.times import moment
from iotdb_frames.errors import OptionsError, PermissionDenied, QueryError, nearest
from iotdb_frames.options import hide_url
from iotdb_frames.wire.answers import understood
from iotdb_frames.writes.delete import delete_sql, delete_values, drop_sql, is_pattern, run_all
from iotdb_frames.writes.report import MAX_SERIES, DeleteReport
from iotdb_frames.writes.schema.look import (
    check_rights,
    look_at_devices,
    look_at_table,
    query_table,
)
from iotdb_frames.writes.schema.nearby import nearest_path, no_table


def delete(
    target: str,
    *,
    columns: Sequence[str] | None = None,
    start: Any = None,
    end: Any = None,
    missing_ok: bool = False,
    connection: Connection | str | None = None,
) -> DeleteReport:
    """Delete values, to undo a wrong write; the series or the table stay.

    Parameters
    ----------
    target : a device or a prefix of devices (tree model), or ``database.table``; ``.**`` at the
        end changes nothing
    columns : measurements of the device (tree model); None: all, of all devices below it, too. A
        table deletes whole rows
    start, end : first time that goes, and first that stays; None: no bound. Naive times are in
        the connection's `time_zone`
    missing_ok : whether names that are not there are passed over, instead of raising
    connection : a Connection or a URL; None: see `use`

    Returns
    -------
    DeleteReport : what was deleted from; how many rows that were, the server does not say

    Raises
    ------
    OptionsError, QueryError, PermissionDenied : nothing was deleted. QueryError: there is no such
        series or table; its hint has the nearest names.
    """
    connection = hide_url(connection)
    conn = resolve_connection(connection)
    goal = _undo_target(target, conn)
    bounds = [
        None
        if value is None
        else moment(value, name=name, zone=conn.options.time_zone, precision=conn.server.precision)
        for name, value in (("start", start), ("end", end))
    ]
    names = _names(columns)
    report = DeleteReport(
        "delete", str(goal), start=bounds[0], end=bounds[1], precision=conn.server.precision
    )

    def statements(time: str = "time") -> list[str]:
        last = None if bounds[1] is None else bounds[1] - 1
        return delete_sql(goal, columns=names, start=bounds[0], end=last, time=time)

    statements()  # raises what is wrong with the call
    if goal.model == "table":
        time = _look_for_table(conn, goal, report, missing_ok=missing_ok)
        if report.n_series:
            delete_values(conn, goal, statements(quote_identifier(time)), devices=())
        return report
    if names is None:
        _look_below(conn, goal, report, missing_ok=missing_ok)
    else:
        names = _look_for_columns(conn, goal, names, report, missing_ok=missing_ok)
    if report.n_series != 0:
        has_pattern = names is not None and any(map(is_pattern, names))
        delete_values(conn, goal, statements(), devices=[goal.path] if has_pattern else [])
    return report


def drop(
    target: str, *, missing_ok: bool = False, connection: Connection | str | None = None
) -> DeleteReport:
    """Drop a table, or every series of a device or below a prefix, with all their values.

    Parameters
    ----------
    target, missing_ok : as of `delete`
    connection : a Connection or a URL; None: see `use`

    Returns
    -------
    DeleteReport : what was dropped

    Raises
    ------
    OptionsError, QueryError, PermissionDenied : as of `delete`.
    """
    connection = hide_url(connection)
    conn = resolve_connection(connection)
    goal = _undo_target(target, conn)
    report = DeleteReport("drop", str(goal), precision=conn.server.precision)
    look = _look_for_table if goal.model == "table" else _look_below
    look(conn, goal, report, missing_ok=missing_ok)
    if report.n_series != 0:
        run_all(conn, [drop_sql(goal)], goal)
    return report


def _undo_target(target: str, connection: Connection) -> Target:
    """What to delete from; all that is below a path is meant anyway."""
    text = target.rstrip().removesuffix(".**") if isinstance(target, str) else target
    if isinstance(text, str) and text.endswith(".*"):
        raise OptionsError(
            f"{target!r} is a pattern", hint=f"all below it goes anyway: {text[:-2]!r}"
        )
    return parse_target(text, database=connection.options.database)


def _names(columns: Any) -> list[str] | None:
    """Measurements, quoted."""
    if columns is None:
        return None
    if isinstance(columns, str):
        raise OptionsError(f"columns={columns!r} must be a list", hint=f"columns=[{columns!r}]")
    names: list[Any] = list(columns) if isinstance(columns, Iterable) else [None]
    if not names or not all(isinstance(name, str) and is_utf8(name) for name in names):
        raise OptionsError(f"columns={columns!r} must be names of measurements")
    return [quote_path_node(name) for name in dict.fromkeys(names)]


@understood("what is there to delete")
def _look_for_table(
    connection: Connection, goal: Target, report: DeleteReport, *, missing_ok: bool
) -> str:
    """The name of the table's time column."""
    existing = look_at_table(connection, goal)
    if existing.tags is not None:
        report.n_series = 1
        return existing.time
    report.n_series = 0
    if not missing_ok:
        raise no_table(connection, goal)
    return existing.time


@understood("what is there to delete")
def _look_below(
    connection: Connection, goal: Target, report: DeleteReport, *, missing_ok: bool
) -> None:
    """Note the series of a device and of all devices below it."""
    sql = f"SHOW TIMESERIES {goal.path}.** LIMIT {MAX_SERIES}"
    report.series = tuple(query_table(connection, sql, model="tree")["Timeseries"].to_pylist())
    report.n_series = len(report.series)
    if report.n_series == MAX_SERIES:
        found = query_table(connection, f"COUNT TIMESERIES {goal.path}.**", model="tree")
        report.n_series = found.column(0)[0].as_py()
    if report.n_series or not _is_seen(connection, goal, report) or missing_ok:
        return
    raise QueryError(f"there is no series at {goal.path}", hint=nearest_path(connection, goal))


def _look_for_columns(
    connection: Connection,
    goal: Target,
    names: list[str],
    report: DeleteReport,
    *,
    missing_ok: bool,
) -> list[str]:
    """Those of the device's measurements that are there, an alias by its own name."""
    if not _is_seen(connection, goal, report):
        report.series = tuple(f"{goal.path}.{name}" for name in names)
        return names
    existing = look_at_devices(connection, [goal.path])
    is_there = goal.path in existing.aligned  # types alone: those of a template not yet activated
    missing = [n for n in names if not is_there or existing.type_of(goal.path, n) is None]
    if missing and not missing_ok:
        there = [split_path(name)[0] for name in existing.types[goal.path]] if is_there else []
        raise QueryError(
            f"{goal.path} has no {', '.join(missing)}",
            hint=nearest(split_path(missing[0])[0], there)
            if there
            else nearest_path(connection, goal),
        )
    found = [existing.aliases.get((goal.path, n), n) for n in names if n not in missing]
    report.series = tuple(f"{goal.path}.{name}" for name in found)
    report.n_series = len(found)
    return found


def _is_seen(connection: Connection, goal: Target, report: DeleteReport) -> bool:
    """Whether the user would see a series that is there; else it is not known what was deleted."""
    try:
        check_rights(connection, [goal.path])
    except PermissionDenied as exc:
        report.n_series = None
        report.notes = (f"which series are there could not be seen: {exc.message}",)
        return False
    return True
