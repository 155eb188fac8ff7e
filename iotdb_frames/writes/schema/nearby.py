"""What is there that looks like what is not, for the hints of errors."""

from __future__ import annotations

from iotdb_frames.client.connection import Connection
from iotdb_frames.codec.names import Target, join_path, split_path
from iotdb_frames.codec.quotes import quote_identifier
from iotdb_frames.errors import QueryError, nearest
from iotdb_frames.writes.schema.look import query_table

MAX_SERIES = 1_000


def no_table(connection: Connection, goal: Target, *, code: int | None = None) -> QueryError:
    """The error for a table that is not there, or whose database is not."""
    databases = query_table(connection, "SHOW DATABASES", model="table")["Database"].to_pylist()
    if goal.database not in databases:
        return QueryError(
            f"there is no database {goal.database}",
            code=code,
            hint=nearest(goal.database, databases),
        )
    sql = f"SHOW TABLES FROM {quote_identifier(goal.database)}"
    tables = query_table(connection, sql, model="table")["TableName"].to_pylist()
    full = [f"{goal.database}.{name}" for name in tables]
    return QueryError(f"there is no table {goal}", code=code, hint=nearest(goal, full))


def nearest_path(connection: Connection, goal: Target) -> str | None:
    """Paths that are there and look like the first part of the target's that is not."""
    nodes = split_path(goal.path)
    for depth in range(len(nodes) - 1, 0, -1):
        sql = f"SHOW CHILD PATHS {join_path(nodes[:depth])}"
        children = query_table(connection, sql, model="tree")["ChildPaths"].to_pylist()
        if children:
            return nearest(join_path(nodes[: depth + 1]), children)
    return None


def measurements_at(connection: Connection, paths: str) -> list[str]:
    """Raw names of the measurements of devices, the first of many."""
    sql = f"SHOW TIMESERIES {paths}.* LIMIT {MAX_SERIES}"
    series = query_table(connection, sql, model="tree")["Timeseries"].to_pylist()
    return sorted({split_path(path)[-1] for path in series})
