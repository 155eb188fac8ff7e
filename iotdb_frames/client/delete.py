"""Undo: delete values of a time range, drop series and tables, and what ``replace=True`` clears."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from iotdb_frames.client.connection import Connection, resolve_connection
from iotdb_frames.client.schema import look_at_table
from iotdb_frames.codec.names import Target, is_utf8, parse_target
from iotdb_frames.codec.sql import quote_identifier, quote_path_node, quote_string
from iotdb_frames.codec.times import moment
from iotdb_frames.errors import OptionsError, PermissionDenied
from iotdb_frames.frames.plan import WritePlan

PATHS_A_STATEMENT = 500


def delete_sql(
    target: Target,
    *,
    columns: Sequence[str] | None,
    start: int | None,
    end: int | None,
    where: Sequence[str] = (),
    time: str = "time",
) -> list[str]:
    """Statements that delete values.

    Parameters
    ----------
    columns : measurements (tree model), quoted; None: all. A table deletes whole rows
    start, end : first and last tick that go, both inclusive; None: no bound
    where : further conditions (table model)
    time : the table's time column, quoted where it must be

    Raises
    ------
    OptionsError : columns of a table, or one whose name the server takes for a pattern here.
    """
    bounds = [f"{time} >= {start}"] if start is not None else []
    bounds += [f"{time} <= {end}"] if end is not None else []
    condition = " AND ".join([*bounds, *where])
    clause = f" WHERE {condition}" if condition else ""
    if target.model == "table":
        if columns is not None:
            raise OptionsError(
                "a table deletes whole rows, not columns",
                hint="leave out columns=, or write the rows again without these values",
            )
        return [f"DELETE FROM {target.sql}{clause}"]
    for column in columns or ():
        if "*" in column:  # in back-quotes, too; source: IoTDB 2.0.10
            raise OptionsError(
                f"values of {column} cannot be deleted alone: to the server * is a pattern there, "
                "and values of other columns would go, too",
                hint="delete those of the whole device, or iotf.drop it",
            )
    paths = (
        [f"{target.path}.{c}" for c in columns] if columns is not None else [f"{target.path}.**"]
    )
    return [
        f"DELETE FROM {', '.join(paths[i : i + PATHS_A_STATEMENT])}{clause}"
        for i in range(0, len(paths), PATHS_A_STATEMENT)
    ]


def drop_sql(target: Target) -> str:
    """The statement that drops a table, or a device's or prefix's series."""
    if target.model == "table":
        return f"DROP TABLE {target.sql}"
    return f"DELETE TIMESERIES {target.path}.**"


def replace_sql(plan: WritePlan) -> Iterator[str]:
    """What ``replace=True`` runs before the write: the plan's columns, each device's time range."""
    if plan.target.model == "table":
        yield from _replace_table(plan)
        return
    for device, start, end, _ in _groups(plan):
        for part in plan.parts:
            path = part.device or device
            there = _existing(plan, path, [c.column.name for c in part.written])
            if there:
                yield from delete_sql(
                    Target("tree", path=path), columns=there, start=start, end=end
                )


def _existing(plan: WritePlan, device: str, names: Sequence[str]) -> list[str]:
    if not plan.existing.was_seen:
        return list(names)
    return [name for name in names if (device, name) in plan.existing.types]


def _groups(plan: WritePlan) -> Iterator[tuple[str, int, int, int]]:
    """Device, first and last tick, and a row of the frame, for each group of the order."""
    order = plan.order
    for i in range(len(order.bounds) - 1):
        first, last = int(order.bounds[i]), int(order.bounds[i + 1]) - 1
        if last < first:
            continue
        device = plan.devices[i] if plan.devices else ""
        yield device, int(order.ticks[first]), int(order.ticks[last]), int(order.first_rows[i])


def _replace_table(plan: WritePlan) -> Iterator[str]:
    if plan.existing.tags is None:
        return
    tags = {
        c.column.name: c.column.source for c in plan.parts[0].columns if c.column.category == "tag"
    }
    time = quote_identifier(plan.existing.time)
    for _, start, end, row in _groups(plan):
        values: dict[str, Any] = dict.fromkeys(plan.existing.tags) | {
            name: source.take(slice(row, row + 1))[0].as_py() for name, source in tags.items()
        }
        if any(values[name] is not None for name in values.keys() - plan.existing.tags):
            continue  # a tag that the table does not have yet: no row is there
        where = [
            f"{quote_identifier(name)} IS NULL"
            if values[name] is None
            else f"{quote_identifier(name)} = {quote_string(values[name])}"
            for name in plan.existing.tags
        ]
        yield from delete_sql(
            plan.target, columns=None, start=start, end=end, where=where, time=time
        )


def run_all(connection: Connection, statements: Sequence[str], target: Target) -> None:
    """Run statements that are safe to repeat.

    Before rows of a table are deleted it is flushed: IoTDB 2.0.10 loses values of other rows, or
    moves them, where it deletes rows that it still holds in memory. Source: seen on 2.0.10, with
    columns that have nulls; the tree model, and rows that were flushed, are not touched by it.

    Raises
    ------
    PermissionDenied : the user may delete, and not flush.
    """
    if target.model == "table" and any(sql.startswith("DELETE FROM") for sql in statements):
        try:
            connection.run(lambda session: session.execute("FLUSH"), model=target.model)
        except PermissionDenied as exc:
            exc.hint = "a table is flushed before rows of it go: the server would lose others"
            raise
    for sql in statements:
        connection.run(lambda session, text=sql: session.execute(text), model=target.model)  # type: ignore[misc]


def delete(
    target: str,
    *,
    columns: Sequence[str] | None = None,
    start: Any = None,
    end: Any = None,
    connection: Connection | str | None = None,
) -> None:
    """Delete values, to undo a wrong write; the series or the table stay.

    Parameters
    ----------
    target : a device or a prefix of devices (tree model), or ``database.table``; ``.**`` at the
        end changes nothing
    columns : measurements of the device (tree model); None: all, of all devices below it, too. A
        table deletes whole rows
    start, end : first time that goes, and first that stays; None: no bound. Naive times are in
        the connection's `time_zone`
    connection : a Connection or a URL; None: see `use`

    Raises
    ------
    OptionsError, QueryError, PermissionDenied
    """
    conn = resolve_connection(connection)
    goal = _undo_target(target, conn)
    bounds = [
        None
        if value is None
        else moment(value, name=name, zone=conn.options.time_zone, precision=conn.server.precision)
        for name, value in (("start", start), ("end", end))
    ]
    if isinstance(columns, str):
        raise OptionsError(f"columns={columns!r} must be a list", hint=f"columns=[{columns!r}]")
    names = None if columns is None else list(columns) if isinstance(columns, Iterable) else [None]
    if names is not None and not all(isinstance(name, str) and is_utf8(name) for name in names):
        raise OptionsError(f"columns={columns!r} must be names of measurements")
    is_bounded = goal.model == "table" and bounds != [None, None]
    statements = delete_sql(
        goal,
        columns=None if names is None else [quote_path_node(name) for name in names],
        start=bounds[0],
        end=None if bounds[1] is None else bounds[1] - 1,
        time=quote_identifier(look_at_table(conn, goal).time) if is_bounded else "time",
    )
    run_all(conn, statements, goal)


def drop(target: str, *, connection: Connection | str | None = None) -> None:
    """Drop a table, or every series of a device or below a prefix, with all their values.

    Parameters
    ----------
    target : as of `delete`
    connection : a Connection or a URL; None: see `use`

    Raises
    ------
    OptionsError, QueryError, PermissionDenied
    """
    conn = resolve_connection(connection)
    goal = _undo_target(target, conn)
    run_all(conn, [drop_sql(goal)], goal)


def _undo_target(target: str, connection: Connection) -> Target:
    """What to delete from; all that is below a path is meant anyway."""
    text = target.rstrip().removesuffix(".**") if isinstance(target, str) else target
    if isinstance(text, str) and text.endswith(".*"):
        raise OptionsError(
            f"{target!r} is a pattern", hint=f"all below it goes anyway: {text[:-2]!r}"
        )
    return parse_target(text, database=connection.options.database)
