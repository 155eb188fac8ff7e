"""A TsFile read by a server, into which it is loaded for the moment: whatever its encodings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from iotdb_frames.client.connection import Connection
from iotdb_frames.codec.names import join_path, normal_path, parse_target, split_path
from iotdb_frames.errors import Choice, Hint, OptionsError, nearest
from iotdb_frames.reads.read import read
from iotdb_frames.reads.sql import execute, query
from iotdb_frames.tsfile.layout import tree_path
from iotdb_frames.tsfile.reader import TsFileReader
from iotdb_frames.writes.load_files import load_statement


def read_loaded(
    reader: TsFileReader, target: str | None, connection: Connection, **options: Any
) -> Any:
    """What `read` gives of the file's rows.

    Parameters
    ----------
    target : as `read_tsfile` takes it; None: the only device, or table
    connection : to a server that sees the file under the same name, and has no database of its
        paths (a table goes into a database of its own); what was loaded is dropped again
    options : of `read`

    Raises
    ------
    OptionsError : the server has such a database; the file has no such device or table, or several.
    ServerError : it does not see the file, or does not load it.
    """
    where = _as_table if reader.tables else _as_devices
    with where(reader, target, connection) as found:
        rows = read(found, connection=connection, **options)
    if reader.tables and hasattr(rows, "attrs"):
        rows.attrs["iotdb"]["target"] = found.partition(".")[2]
    return rows


@contextmanager
def _as_table(reader: TsFileReader, target: str | None, connection: Connection) -> Iterator[str]:
    tables = list(reader.tables)
    table = tables[0] if target is None else parse_target(target, database="any").table
    if table not in tables or (target is None and len(tables) > 1):
        raise OptionsError(f"{reader.path} has {len(tables)} tables", hint=nearest(table, tables))
    database = f"iotdb_frames_{uuid4().hex}"
    try:
        _load(reader.path, connection, database=database)
        yield f"{database}.{table}"
    finally:
        drop = f"DROP DATABASE IF EXISTS {database}"
        execute(drop, model="table", connection=connection)


@contextmanager
def _as_devices(reader: TsFileReader, target: str | None, connection: Connection) -> Iterator[str]:
    devices = [tree_path(device) for device, _, _ in reader.devices()]
    if target is None and len(devices) > 1:
        raise OptionsError(
            f"{reader.path} has {len(devices)} devices: via= reads one, or those below a prefix",
            hint=Hint("name it: ", Choice(target=f"{devices[0]}")),
        )
    chosen = devices[0] if target is None else normal_path(target.removesuffix(".**"))
    if not any(device == chosen or device.startswith(f"{chosen}.") for device in devices):
        raise OptionsError(f"{reader.path} has no device {chosen}", hint=nearest(chosen, devices))
    # A server makes the first two nodes a database.
    tops = {join_path(split_path(device)[:2]) for device in devices}
    there = query("SHOW DATABASES", model="tree", connection=connection).to_arrow().column(0)
    for name in there.to_pylist():
        if any(f"{top}.".startswith(f"{name}.") or name.startswith(f"{top}.") for top in tops):
            raise OptionsError(
                f"the server of via= has a database {name} of its own",
                hint=Hint("take an empty server, e.g. that of ", Choice(via="local:///tmp/empty")),
            )
    try:
        _load(reader.path, connection)
        yield target or chosen
    finally:
        made = query("SHOW DATABASES", model="tree", connection=connection).to_arrow().column(0)
        for name in tops.intersection(made.to_pylist()):
            execute(f"DELETE DATABASE {name}", model="tree", connection=connection)


def _load(path: Path, connection: Connection, *, database: str | None = None) -> None:
    statement = load_statement(path.absolute(), database=database)
    connection.run(
        lambda session: session.execute(statement, is_qualified=True),
        model="tree" if database is None else "table",
    )
