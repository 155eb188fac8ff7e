"""`show`: what is in the server, as frames."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from iotdb_frames.client.connect import resolve_connection
from iotdb_frames.client.connection import Connection
from iotdb_frames.codec.names import normal_path, parse_target
from iotdb_frames.codec.quotes import quote_identifier
from iotdb_frames.errors import OptionsError
from iotdb_frames.options import check_choice, hide_url
from iotdb_frames.reads.schema_frame import SchemaFrame
from iotdb_frames.reads.sql import check_model, run_query
from iotdb_frames.wire.answers import Model


def _path(target: str | None, *, below: bool = True) -> str:
    """A tree pattern: as given, or all `below` a path."""
    if target is None:
        return "root.**"
    base, _, last = target.rpartition(".")
    if last in ("*", "**"):
        return f"{normal_path(base)}.{last}"
    return normal_path(target) + ".**" * below


def _tables(database: str | None) -> str:
    if database is not None:
        return f"SHOW TABLES FROM {quote_identifier(database)}"
    return (
        "SELECT database, table_name, comment FROM information_schema.tables "
        "WHERE database <> 'information_schema' ORDER BY database, table_name"
    )


def _table(target: str | None, connection: Connection) -> str:
    if target is None:
        raise OptionsError("name the table", hint='show("columns", "database.table")')
    return parse_target(target, database=connection.options.database).sql


_TREE: dict[str, Callable[[str | None, Connection], str]] = {
    "databases": lambda target, _: f"SHOW DATABASES {_path(target, below=False)}",
    "devices": lambda target, _: f"SHOW DEVICES {_path(target)}",
    "timeseries": lambda target, _: f"SHOW TIMESERIES {_path(target)}",
}
_TABLE: dict[str, Callable[[str | None, Connection], str]] = {
    "databases": lambda _, __: "SHOW DATABASES",
    "tables": lambda target, connection: _tables(target or connection.options.database),
    "columns": lambda target, connection: f"DESC {_table(target, connection)} DETAILS",
    "devices": lambda target, connection: f"SHOW DEVICES FROM {_table(target, connection)}",
}
_BOTH = {
    "cluster": "SHOW CLUSTER",
    "functions": "SHOW FUNCTIONS",
    "queries": "SHOW QUERIES",
    "regions": "SHOW REGIONS",
    "variables": "SHOW VARIABLES",
    "version": "SHOW VERSION",
}


def show(
    what: str,
    target: str | None = None,
    *,
    model: Model | None = None,
    connection: Connection | str | None = None,
) -> pd.DataFrame:
    """What is in the server.

    Parameters
    ----------
    what : ``databases``; in the tree model ``devices`` and ``timeseries``; in the table model
        ``tables``, ``columns`` and ``devices`` of a table; ``cluster`` (its nodes),
        ``functions``, ``queries``, ``regions`` (of a cluster: where the replicas are, and who
        leads), ``variables``, ``version``
    target : a path below which to look (``root.plant``), a database (for ``tables``) or
        ``database.table`` (for ``columns`` and ``devices``)
    model : "tree" or "table"; None: what `what` or `target` belongs to, else the connection's
    connection : a Connection or a URL; None: see `use`

    Raises
    ------
    OptionsError, QueryError, PermissionDenied, ConnectionLost
    """
    connection = hide_url(connection)
    conn = resolve_connection(connection)
    known = {"tree": _TREE, "table": _TABLE}
    check_choice("what", what, sorted({*_TREE, *_TABLE, *_BOTH}))
    if target is not None and not isinstance(target, str):
        raise OptionsError(f"target={target!r} is not text", hint='e.g. "root.plant"')
    model = check_model(model)
    if model is None:
        if target is not None:
            model = "tree" if target.split(".")[0] == "root" else "table"
        elif what in _BOTH or (what in _TREE and what in _TABLE):
            model = conn.default_model
        else:
            model = "tree" if what in _TREE else "table"
    if what in _BOTH:
        sql = _BOTH[what]
    elif what in known[model]:
        sql = known[model][what](target, conn)
    else:
        raise OptionsError(f"there are no {what} in the {model} model")
    result = run_query(conn, sql, model=model)
    return SchemaFrame.of(result.to_pandas(), what=what, where=target or "")
