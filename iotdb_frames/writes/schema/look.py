"""What the server has of a target: questions about devices, tables and rights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from iotdb_frames.client.connection import Connection
from iotdb_frames.codec.names import Target, join_path, split_path
from iotdb_frames.codec.quotes import quote_path_node
from iotdb_frames.codec.tsblock import decode_blocks
from iotdb_frames.errors import PermissionDenied, QueryError
from iotdb_frames.options import RetryPolicy, TSDataType
from iotdb_frames.wire.answers import Model, understood
from iotdb_frames.wire.rpc import Session
from iotdb_frames.writes.plan.layout import Category
from iotdb_frames.writes.plan.plan import Existing

FEW_DEVICES = 16
"""Up to here devices are asked for and created one by one, beyond with one request for all."""
_UNKNOWN_DATABASE, _UNKNOWN_TABLE = 500, 550


def query_table(
    connection: Connection, sql: str, *, model: Model, policy: RetryPolicy | None = None
) -> pa.Table:
    """The whole result of a small query, whose tables are named with their database.

    Parameters
    ----------
    policy : how it is retried; None: as the connection does
    """

    def call(session: Session) -> pa.Table:
        header = session.execute(sql, is_qualified=True)
        if header is None:
            raise QueryError(f"{sql!r} has no result")
        blocks, has_more = list(header.blocks), header.has_more
        while has_more:
            more, has_more = session.fetch(header.query_id)
            blocks += more
        session.close_query(header.query_id)
        return decode_blocks(blocks, header, precision=session.info.precision)

    return connection.run(call, model=model, policy=policy)


@understood("the columns of a table")
def look_at_table(connection: Connection, target: Target) -> Existing:
    """What the server has of a table."""
    try:
        found = query_table(connection, f"DESC {target.sql}", model="table").to_pydict()
    except QueryError as exc:
        if exc.code in (_UNKNOWN_DATABASE, _UNKNOWN_TABLE):
            return Existing(was_seen=True)
        raise
    names = found["ColumnName"]
    times = [n for n, category in zip(names, found["Category"], strict=True) if category == "TIME"]
    categories: dict[str, Category] = {
        name: category.lower()
        for name, category in zip(names, found["Category"], strict=True)
        if category != "TIME"
    }
    types = {
        name: TSDataType[kind]
        for name, kind in zip(names, found["DataType"], strict=True)
        if name in categories
    }
    return Existing.of_table(types, categories, time=times[0])


@understood("devices and their series")
def look_at_devices(connection: Connection, devices: Sequence[str]) -> Existing:
    """What the server has of some devices of the tree model.

    Raises
    ------
    PermissionDenied : the user may not look.
    """
    paths = devices if len(devices) <= FEW_DEVICES else [_common_prefix(devices) + ".**"]
    wanted = set(devices)
    aligned: dict[str, bool] = {}
    templates: dict[str, str] = {}
    for path in paths:
        found = query_table(connection, f"SHOW DEVICES {path}", model="tree")
        there = _respelled(found["Device"], _as_path)
        is_aligned = pc.equal(found["IsAligned"], "true").to_pylist()
        for device, flag, name in zip(
            there, is_aligned, found["Template"].to_pylist(), strict=True
        ):
            if device in wanted:
                aligned[device] = flag
                if name is not None:
                    templates[device] = quote_path_node(name)
    types: dict[str, dict[str, TSDataType]] = {device: {} for device in devices}
    if new := wanted - aligned.keys():
        check_rights(connection, new)
        for device, (template, its_types) in _template_of(connection, new).items():
            templates[device] = template
            types[device] = dict(its_types)
    if not aligned:
        return Existing(types=types, templates=templates, was_seen=True)
    aliases: dict[tuple[str, str], str] = {}
    for path in paths:
        pattern = path if path.endswith("**") else path + ".*"
        found = query_table(connection, f"SHOW TIMESERIES {pattern}", model="tree")
        paths_there = found["Timeseries"].combine_chunks()
        node = pc.extract_regex(paths_there, r"^(?P<d>.*)\.(?P<m>`(?:[^`]|``)+`|[^.`]+)$")
        columns = (
            _respelled(node.field("d"), _as_path),
            _respelled(node.field("m"), _as_node),
            found["DataType"].to_pylist(),
            found["Alias"].to_pylist(),
        )
        for device, name, kind, alias in zip(*columns, strict=True):
            if device in wanted:
                types[device][name] = TSDataType[kind]
                if alias:  # as good a name to write to
                    aliases[device, _as_node(alias)] = name
    for (device, alias), name in aliases.items():
        types[device][alias] = types[device][name]
    return Existing(
        types=types, aligned=aligned, aliases=aliases, templates=templates, was_seen=True
    )


def _as_path(path: str) -> str:
    return join_path(split_path(path))


def _as_node(name: str) -> str:
    return quote_path_node(split_path(name)[0])


def _template_of(
    connection: Connection, devices: Iterable[str]
) -> dict[str, tuple[str, dict[str, TSDataType]]]:
    """The device template that new devices are below, and its series: by device.

    Their first rows activate such a device as its template says, whatever a tablet says of its
    alignment; its series cannot be created. Source: IoTDB 2.0.10.
    """
    names = query_table(connection, "SHOW DEVICE TEMPLATES", model="tree")["TemplateName"]
    out: dict[str, tuple[str, dict[str, TSDataType]]] = {}
    for name in map(quote_path_node, names.to_pylist()):
        sql = f"SHOW PATHS SET DEVICE TEMPLATE {name}"
        paths = query_table(connection, sql, model="tree")["Paths"].to_pylist()
        prefixes = tuple(_as_path(path) + "." for path in paths)
        below = [device for device in devices if f"{device}.".startswith(prefixes)]
        if not below:
            continue
        sql = f"SHOW NODES IN DEVICE TEMPLATE {name}"
        nodes = query_table(connection, sql, model="tree")
        kinds = map(TSDataType.__getitem__, nodes["DataType"].to_pylist())
        types = dict(zip(map(_as_node, nodes["ChildNodes"].to_pylist()), kinds, strict=True))
        out.update(dict.fromkeys(below, (name, types)))
    return out


def check_rights(connection: Connection, devices: Iterable[str]) -> None:
    """Raise where it is not sure that the user would see these devices if they were there.

    What a user may not see, SHOW leaves out, without an error. Source: IoTDB 2.0.10.
    """
    user = connection.options.user
    if user == "root":
        return
    listed = f"LIST PRIVILEGES OF USER {quote_path_node(user)}"
    found = query_table(connection, listed, model="tree")
    scopes = [
        scope.removesuffix("**")
        for scope, right in zip(
            found["Scope"].to_pylist(), found["Privileges"].to_pylist(), strict=True
        )
        if right in ("READ_SCHEMA", "WRITE_SCHEMA") and scope.endswith(".**")
    ]
    for device in devices:
        if not f"{device}.".startswith(tuple(scopes)):
            raise PermissionDenied(f"user {user!r} may not see the schema of {device}")


def _respelled(names: pa.Array | pa.ChunkedArray, spell: Callable[[str], str]) -> list[str]:
    """Names in our own spelling: the server leaves out back-quotes where it can read without."""
    encoded = pc.dictionary_encode(names)
    encoded = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
    ours = [spell(name) for name in encoded.dictionary.to_pylist()]
    return [ours[code] for code in encoded.indices.to_pylist()]


def _common_prefix(devices: Sequence[str]) -> str:
    """The longest path that all devices are below."""
    ends = [split_path(device)[:-1] for device in (min(devices), max(devices))]
    n_same = next(
        (i for i, pair in enumerate(zip(*ends, strict=False)) if len(set(pair)) > 1), None
    )
    return join_path(min(ends, key=len)[:n_same])
