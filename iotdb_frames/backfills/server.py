"""What a job needs to know about its server: which one it is, and when it acknowledges a row."""

from __future__ import annotations

from iotdb_frames.client.connection import Connection
from iotdb_frames.errors import Choice, Hint, OptionsError, ServerError
from iotdb_frames.wire.answers import understood
from iotdb_frames.writes.schema.look import query_table


def cluster_of(connection: Connection) -> str | None:
    """The cluster's id; None if the server does not report it."""
    try:
        with understood("its id"):
            return str(query_table(connection, "SHOW CLUSTERID", model="tree").column(0)[0].as_py())
    except ServerError as exc:
        if exc.is_retryable:
            raise
        return None


def wal_mode(connection: Connection) -> str | None:
    """When a write is acknowledged: "SYNC": it is on disk; "ASYNC": it will be; "DISABLE": no log.

    None if the server does not report it (it does from 2.0.6, to users with the privilege).
    """
    try:
        with understood("its configuration"):
            table = query_table(connection, "SHOW CONFIGURATION", model="table").to_pydict()
            found = dict(zip(table["name"], table["value"], strict=True)).get("wal_mode")
    except ServerError as exc:
        if exc.is_retryable:
            raise
        return None
    return None if found is None else str(found).upper()


def describe_server(connection: Connection) -> str:
    """Version and wal_mode, in words."""
    mode = wal_mode(connection)
    meaning = {
        "SYNC": "wal_mode SYNC: acknowledged rows are on disk",
        "ASYNC": "wal_mode ASYNC: a crash may lose the last moments",
        "DISABLE": "wal_mode DISABLE: a crash loses what is not flushed",
    }
    said = meaning.get(mode or "", "wal_mode unknown")
    return f"IoTDB {connection.version}, {said}"


def check_durable(connection: Connection) -> None:
    """Refuse a server that acknowledges rows before they are on its disk.

    Raises
    ------
    OptionsError : its wal_mode is not SYNC, or not known.
    """
    mode = wal_mode(connection)
    if mode != "SYNC":
        raise OptionsError(
            f"durable=True, but the server's wal_mode is {mode or 'not known'}",
            hint=Hint(
                "set wal_mode=SYNC in iotdb-system.properties; or omit ",
                Choice(durable=True),
                ", and let ",
                Choice(verify=...),
                " find what a crash lost",
            ),
        )
