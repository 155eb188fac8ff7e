"""What a job wants to know of its server: which one it is, and when it calls a row safe."""

from __future__ import annotations

from iotdb_frames.client.connection import Connection
from iotdb_frames.errors import Choice, Hint, OptionsError, ServerError
from iotdb_frames.wire.answers import understood
from iotdb_frames.writes.schema.look import query_table


def cluster_of(connection: Connection) -> str | None:
    """The cluster's id; None where the server does not say."""
    try:
        with understood("its id"):
            return str(query_table(connection, "SHOW CLUSTERID", model="tree").column(0)[0].as_py())
    except ServerError as exc:
        if exc.is_retryable:
            raise
        return None


def wal_mode(connection: Connection) -> str | None:
    """When a write is acknowledged: "SYNC": it is on the disk; "ASYNC": soon; "DISABLE": no log.

    None where the server does not say (it does from 2.0.6, to users who may ask).
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
    """Version and wal_mode, for a person."""
    mode = wal_mode(connection)
    meaning = {
        "SYNC": "wal_mode SYNC: acknowledged is on disk",
        "ASYNC": "wal_mode ASYNC: the last moment before a crash may be lost",
        "DISABLE": "wal_mode DISABLE: what is not flushed is lost in a crash",
    }
    said = meaning.get(mode or "", "wal_mode unknown")
    return f"IoTDB {connection.version}, {said}"


def check_durable(connection: Connection) -> None:
    """Refuse a server that acknowledges rows before they are on its disk.

    Raises
    ------
    OptionsError : its wal_mode is not SYNC, or it does not say.
    """
    mode = wal_mode(connection)
    if mode != "SYNC":
        raise OptionsError(
            f"durable=True, and the server's wal_mode is {mode or 'not known'}",
            hint=Hint(
                "wal_mode=SYNC in iotdb-system.properties; or leave out ",
                Choice(durable=True),
                ", and let ",
                Choice(verify=...),
                " find what a crash took",
            ),
        )
