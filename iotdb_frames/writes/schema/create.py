"""What a plan creates on the server: series, devices below a template, a table and its columns."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from iotdb_frames.client.connection import Connection
from iotdb_frames.codec.quotes import quote_identifier
from iotdb_frames.display.words import plural, shorten
from iotdb_frames.errors import PermissionDenied, ServerError
from iotdb_frames.options import CompressionType, TSDataType, TSEncoding
from iotdb_frames.wire.answers import Model
from iotdb_frames.wire.rpc import Session
from iotdb_frames.writes.plan.plan import PlannedColumn, WritePlan
from iotdb_frames.writes.schema.look import FEW_DEVICES

_log = logging.getLogger("iotdb_frames.write")

_EXISTS = {503, 527}
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
    """Create what is missing before a write; notes what the user should know.

    Many devices without a wish of their own are left to the server, which makes them as their first
    tablets come, in less time than one request each.
    """
    try:
        make(connection, plan, missing)
    except PermissionDenied as exc:
        return [f"nothing was created up front, the server may refuse the rows: {exc.message}"]
    return []


def make(
    connection: Connection,
    plan: WritePlan,
    missing: Sequence[tuple[str, PlannedColumn]],
    *,
    is_all: bool = False,
) -> None:
    """Create what is missing (see `WritePlan.missing`).

    Parameters
    ----------
    is_all : leave nothing to the tablets that follow, for there are none

    Raises
    ------
    PermissionDenied, ServerError, ConnectionLost
    """
    if not missing:
        return
    if plan.target.model == "table":
        for sql in _table_ddl(plan, [c for _, c in missing]):
            _run(connection, sql, "table")
        return
    for sql in _template_ddl(plan, missing):
        _ignore_existing(lambda text=sql: _run(connection, text, "tree"))
    templates = plan.existing.templates
    others = [m for m in missing if m[0] not in templates]
    _create_series(connection, plan, others, is_all=is_all)


def _run(connection: Connection, sql: str, model: Model) -> None:
    def call(session: Session) -> None:
        session.execute(sql, is_qualified=True, only_adds=True)

    connection.run(call, model=model)
    _log.debug("created: %s", sql)


def _create_series(
    connection: Connection,
    plan: WritePlan,
    missing: Sequence[tuple[str, PlannedColumn]],
    *,
    is_all: bool,
) -> None:
    by_device: dict[str, list[PlannedColumn]] = {}
    for device, planned in missing:
        by_device.setdefault(device, []).append(planned)
    has_wish = any(c.encoding is not None or c.compression is not None for _, c in missing)
    if len(by_device) > FEW_DEVICES and not has_wish and not is_all:
        _log.debug("left to the server: series of %d devices below %s", len(by_device), plan.target)
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
                    lambda d=device, n=names, s=some: session.create_timeseries(n, d, **columns(s))
                )
        if plain:
            paths = [f"{device}.{c.column.name}" for device, c in plain]
            _ignore_existing(
                lambda: session.create_timeseries(paths, **columns([c for _, c in plain]))
            )

    connection.run(call, model="tree")
    if missing and _log.isEnabledFor(logging.DEBUG):
        kinds = dict.fromkeys(f"{c.column.name} {_stored_as(c)[0].name}" for _, c in missing)
        devices = plural(len(by_device), "device")
        _log.debug("created for %s (%s): %s", plan.target, devices, shorten(", ".join(kinds)))


def _ignore_existing(call: object) -> None:
    """Somebody else may create the same series at the same time, which is no error."""
    assert callable(call)
    try:
        call()
    except ServerError as exc:
        codes = {code for code in exc.sub_codes or (exc.code,) if code not in (200, None)}
        if not codes <= _EXISTS:
            raise
