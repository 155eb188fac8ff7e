"""What the server has of a target, and what a plan creates there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from iotdb_frames.client.connection import Connection
from iotdb_frames.codec.names import Target, join_path, split_path
from iotdb_frames.codec.quotes import quote_identifier, quote_path_node
from iotdb_frames.codec.tsblock import decode_blocks
from iotdb_frames.errors import PermissionDenied, QueryError, ServerError
from iotdb_frames.options import CompressionType, TSDataType, TSEncoding
from iotdb_frames.wire.answers import Model, understood
from iotdb_frames.wire.rpc import Session
from iotdb_frames.writes.plan.layout import Category, Layout
from iotdb_frames.writes.plan.plan import Existing, PlannedColumn, WritePlan

FEW_DEVICES = 16
"""Up to here devices are asked for and created one by one, beyond with one request for all."""
_UNKNOWN_DATABASE, _UNKNOWN_TABLE, _EXISTS = 500, 550, {503, 527}

DEFAULT_ENCODING = {
    TSDataType.BOOLEAN: TSEncoding.RLE,
    TSDataType.INT32: TSEncoding.TS_2DIFF,
    TSDataType.INT64: TSEncoding.TS_2DIFF,
    TSDataType.DATE: TSEncoding.TS_2DIFF,
    TSDataType.TIMESTAMP: TSEncoding.TS_2DIFF,
    TSDataType.FLOAT: TSEncoding.GORILLA,
    TSDataType.DOUBLE: TSEncoding.GORILLA,
    TSDataType.TEXT: TSEncoding.PLAIN,
    TSDataType.STRING: TSEncoding.PLAIN,
    TSDataType.BLOB: TSEncoding.PLAIN,
}
"""What the server takes where it creates a series itself; a test compares them."""


def query_table(connection: Connection, sql: str, *, model: Model) -> pa.Table:
    """The whole result of a small query, whose tables are named with their database."""

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

    return connection.run(call, model=model)


def look(connection: Connection, layout: Layout) -> tuple[Existing, str | None]:
    """What the server has where a frame goes, and a note where it may not be seen."""
    try:
        if layout.target.model == "table":
            return look_at_table(connection, layout.target), None
        return _look_at_tree(connection, layout), None
    except PermissionDenied as exc:
        return (
            Existing(),
            f"the schema could not be compared, its types are unchecked: {exc.message}",
        )


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
        ("", name): TSDataType[kind]
        for name, kind in zip(names, found["DataType"], strict=True)
        if name in categories
    }
    return Existing.of_table(types, categories, time=times[0])


def _look_at_tree(connection: Connection, layout: Layout) -> Existing:
    if layout.device is None:
        return look_at_devices(connection, [part.device or "" for part in layout.parts])
    return look_at_devices(connection, [path for path in layout.device.paths if path])


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
    types: dict[tuple[str, str], TSDataType] = {}
    if new := wanted - aligned.keys():
        check_rights(connection, new)
        for device, (template, its_types) in _template_of(connection, new).items():
            templates[device] = template
            types.update({(device, name): kind for name, kind in its_types.items()})
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
                types[device, name] = TSDataType[kind]
                if alias:  # as good a name to write to
                    aliases[device, _as_node(alias)] = name
    types |= {(d, alias): types[d, name] for (d, alias), name in aliases.items()}
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


def ddl(plan: WritePlan) -> list[str]:
    """The SQL of what `create` would make; in the tree model for a person to read."""
    missing = plan.missing()
    if plan.target.model == "table":
        return _table_ddl(plan, [c for _, c in missing])
    lines = _template_ddl(plan, missing)
    for device, planned in missing:
        if device in plan.existing.templates:
            continue
        kind, encoding, compression = _stored_as(planned)
        lines.append(
            f"CREATE TIMESERIES {device}.{planned.column.name} WITH DATATYPE={kind.name}, "
            f"ENCODING={encoding.name}, COMPRESSOR={compression.name}"
            + (" -- aligned" if plan.is_aligned(device) else "")
        )
    return lines


def _stored_as(planned: PlannedColumn) -> tuple[TSDataType, TSEncoding, CompressionType]:
    kind, encoding, compression = planned.data_type, planned.encoding, planned.compression
    assert kind is not None
    return (
        kind,
        DEFAULT_ENCODING[kind] if encoding is None else encoding,  # 0 is a member, too
        CompressionType.LZ4 if compression is None else compression,
    )


def _template_ddl(plan: WritePlan, missing: Sequence[tuple[str, PlannedColumn]]) -> list[str]:
    """How templates get the columns that they lack, each once for all devices below."""
    templates = plan.existing.templates
    lines = []
    for device, planned in missing:
        if device in templates:
            kind, encoding, compression = _stored_as(planned)
            lines.append(
                f"ALTER DEVICE TEMPLATE {templates[device]} ADD ({planned.column.name} "
                f"{kind.name} ENCODING={encoding.name} COMPRESSOR={compression.name})"
            )
    return list(dict.fromkeys(lines))


def _table_ddl(plan: WritePlan, missing: Sequence[PlannedColumn]) -> list[str]:
    def column(c: PlannedColumn) -> str:
        assert c.data_type is not None
        name = quote_identifier(c.column.name)
        return f"{name} {c.data_type.name} {c.column.category.upper()}"

    table = plan.target.sql
    if plan.existing.tags is not None:
        return [f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {column(c)}" for c in missing]
    columns = ", ".join(["time TIMESTAMP TIME", *map(column, missing)])
    return [
        f"CREATE DATABASE IF NOT EXISTS {quote_identifier(plan.target.database)}",
        f"CREATE TABLE IF NOT EXISTS {table} ({columns})",
    ]


def create(
    connection: Connection, plan: WritePlan, missing: Sequence[tuple[str, PlannedColumn]]
) -> list[str]:
    """Create what is missing (see `WritePlan.missing`); notes what the user should know.

    Many devices without a wish of their own are left to the server, which makes them as their first
    tablets come, in less time than one request each.
    """
    if not missing:
        return []
    try:
        if plan.target.model == "table":
            for sql in _table_ddl(plan, [c for _, c in missing]):
                _run(connection, sql, "table")
        else:
            for sql in _template_ddl(plan, missing):
                _ignore_existing(lambda text=sql: _run(connection, text, "tree"))
            templates = plan.existing.templates
            _create_series(connection, plan, [m for m in missing if m[0] not in templates])
    except PermissionDenied as exc:
        return [f"nothing was created up front, the server may refuse the rows: {exc.message}"]
    return []


def _run(connection: Connection, sql: str, model: Model) -> None:
    connection.run(lambda session: session.execute(sql, is_qualified=True), model=model)


def _create_series(
    connection: Connection, plan: WritePlan, missing: Sequence[tuple[str, PlannedColumn]]
) -> None:
    by_device: dict[str, list[PlannedColumn]] = {}
    for device, planned in missing:
        by_device.setdefault(device, []).append(planned)
    has_wish = any(c.encoding is not None or c.compression is not None for _, c in missing)
    if len(by_device) > FEW_DEVICES and not has_wish:
        return
    plain = [(d, c) for d, c in missing if not plan.is_aligned(d)]

    def columns(some: Sequence[PlannedColumn]) -> dict[str, list[int]]:
        kinds = [_stored_as(c) for c in some]
        return {
            "types": [int(kind) for kind, _, _ in kinds],
            "encodings": [int(encoding) for _, encoding, _ in kinds],
            "compressors": [int(compression) for _, _, compression in kinds],
        }

    def call(session: Session) -> None:
        for device, some in by_device.items():
            if plan.is_aligned(device):
                names = [c.column.name for c in some]
                _ignore_existing(
                    lambda d=device, n=names, s=some: session.create_aligned_timeseries(
                        d, measurements=n, **columns(s)
                    )
                )
        if plain:
            paths = [f"{device}.{c.column.name}" for device, c in plain]
            _ignore_existing(
                lambda: session.create_timeseries(paths, **columns([c for _, c in plain]))
            )

    connection.run(call, model="tree")


def _ignore_existing(call: object) -> None:
    """Somebody else may create the same series at the same time, which is no error."""
    assert callable(call)
    try:
        call()
    except ServerError as exc:
        codes = {code for code in exc.sub_codes or (exc.code,) if code not in (200, None)}
        if not codes <= _EXISTS:
            raise
