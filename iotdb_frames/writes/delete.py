"""DELETE and DROP statements of both models, and what ``replace=True`` clears before a write."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from iotdb_frames.client.connection import Connection
from iotdb_frames.codec.names import Target, join_path, split_path
from iotdb_frames.codec.quotes import quote_identifier, quote_string
from iotdb_frames.errors import OptionsError, PermissionDenied
from iotdb_frames.wire.answers import understood
from iotdb_frames.writes.plan.plan import WritePlan
from iotdb_frames.writes.schema.look import query_table

PATHS_A_STATEMENT = 500
_PLAIN = re.compile(r"\w+")


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


@understood("the databases")
def flush(connection: Connection, target: Target, *, devices: Iterable[str] = ()) -> None:
    """Have the server write out what the target's database holds in memory.

    Parameters
    ----------
    devices : the tree model's, each in whichever database it is

    Raises
    ------
    PermissionDenied : the user lacks the right to flush.
    """
    if target.model == "table":
        names = [quote_identifier(target.database)]
    else:
        wanted = [f"{device}." for device in devices]
        there = query_table(connection, "SHOW DATABASES", model="tree")["Database"].to_pylist()
        ours = [join_path(split_path(name)) for name in there]
        names = [name for name in ours if any(d.startswith(f"{name}.") for d in wanted)]
    sql = f"FLUSH {', '.join(names)}"  # of all, where the user may not see which
    connection.run(lambda session: session.execute(sql, is_qualified=True), model=target.model)


def delete_values(
    connection: Connection,
    target: Target,
    statements: Sequence[str],
    *,
    devices: Iterable[str],
    on_delete: Callable[[], None] = lambda: None,
) -> None:
    """Run statements of `delete_sql`, after a FLUSH where they would hit other values without.

    While rows are in memory, IoTDB 2.0.10 takes the name of a column in a DELETE for a pattern:
    ``temp.avg`` matches temp-avg, ``a|b`` not itself. And in a table it loses values of other rows,
    or moves them, in columns that have nulls. Rows that were flushed are deleted as they should be;
    what somebody else writes between the FLUSH and the DELETE is not.

    Parameters
    ----------
    devices : those of which a column `is_pattern`
    on_delete : told before the first of them is sent

    Raises
    ------
    PermissionDenied : the user may delete, and not flush; nothing is deleted.
    """
    devices = list(devices)
    if statements and (target.model == "table" or devices):
        try:
            flush(connection, target, devices=devices)
        except PermissionDenied as exc:
            what = "rows of a table" if target.model == "table" else "values of such a column"
            exc.hint = (
                f"{what} are deleted after a FLUSH, or the server would delete others, too: "
                "GRANT SYSTEM … TO USER …"
            )
            raise
    if statements:
        on_delete()
    run_all(connection, statements, target)


def is_pattern(column: str) -> bool:
    """Whether a DELETE takes a measurement, quoted or not, for a pattern while it is in memory."""
    return _PLAIN.fullmatch(column.strip("`")) is None


def run_all(connection: Connection, statements: Sequence[str], target: Target) -> None:
    """Run statements that are safe to repeat, unless one may come behind what is written next."""
    for sql in statements:
        connection.run(
            lambda session, text=sql: session.execute(text, is_qualified=True),  # type: ignore[misc]
            model=target.model,
            is_ordered=True,
        )


def delete_replaced(
    connection: Connection, plan: WritePlan, *, on_delete: Callable[[], None]
) -> None:
    """Delete what ``replace=True`` clears: the plan's columns, in each device's time range.

    Parameters
    ----------
    on_delete : see `delete_values`
    """
    statements, devices = [], set()
    if plan.target.model == "table":
        statements = list(_replace_table(plan))
    else:
        for device, columns, start, end in _tree_ranges(plan):
            one = Target("tree", path=device)
            statements += delete_sql(one, columns=columns, start=start, end=end)
            devices |= {device} if any(map(is_pattern, columns)) else set()
    delete_values(connection, plan.target, statements, devices=devices, on_delete=on_delete)


def _tree_ranges(plan: WritePlan) -> Iterator[tuple[str, list[str], int, int]]:
    """Device, columns that are there, first and last tick."""
    for device, start, end, _ in _groups(plan):
        for part in plan.parts:
            path = part.device or device
            there = _existing(plan, path, [c.column.name for c in part.written])
            if there:
                yield path, there, start, end


def _existing(plan: WritePlan, device: str, names: Sequence[str]) -> list[str]:
    if not plan.existing.was_seen:
        return list(names)
    return [name for name in names if plan.existing.type_of(device, name) is not None]


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
