"""Reads with the official client's row interface: one column at a time, the way it is exact.

Its frames are not to be trusted, and its rows only one by one: a row of several columns goes
through one numpy dtype.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from iotdb.Session import Session
from iotdb.table_session import TableSession, TableSessionConfig
from iotdb.utils.IoTDBConstants import TSDataType

from iotdb_frames.server import LocalServer

_GETTERS = {
    TSDataType.BOOLEAN: "get_bool_value",
    TSDataType.INT32: "get_int_value",
    TSDataType.INT64: "get_long_value",
    TSDataType.FLOAT: "get_float_value",
    TSDataType.DOUBLE: "get_double_value",
    TSDataType.TEXT: "get_binary_value",
    TSDataType.STRING: "get_binary_value",
    TSDataType.BLOB: "get_binary_value",
    TSDataType.DATE: "get_int_value",
    TSDataType.TIMESTAMP: "get_long_value",
}


class Official:
    """A session of the official client.

    Parameters
    ----------
    server : where to
    model : "tree" or "table"
    """

    def __init__(self, server: LocalServer, model: Literal["tree", "table"]) -> None:
        host, port = server.options.hosts[0]
        user, password = server.options.user, str(server.options.password)
        if model == "tree":
            self._session: Any = Session(host, str(port), user, password)
            self._session.open(False)
        else:
            config = TableSessionConfig(
                node_urls=[f"{host}:{port}"], username=user, password=password
            )
            self._session = TableSession(config)

    def column(self, sql: str) -> list[tuple[int, Any]]:
        """(tick, value) of each row of a query of one column (and the time, in a table)."""
        with self._session.execute_query_statement(sql) as rows:
            out = []
            while rows.has_next():
                record = rows.next()
                fields = record.get_fields()
                tick = record.get_timestamp()
                if len(fields) == 2:
                    tick = fields[0].get_long_value()
                out.append((int(tick), _value(fields[-1])))
        return out

    def execute(self, sql: str) -> None:
        """A statement without a result."""
        self._session.execute_non_query_statement(sql)

    def close(self) -> None:
        """End the session."""
        self._session.close()


def _value(field: Any) -> Any:
    if field.is_null():
        return None
    value = getattr(field, _GETTERS[field.get_data_type()])()
    return value.item() if hasattr(value, "item") else value


@contextmanager
def official(server: LocalServer, model: Literal["tree", "table"]) -> Iterator[Official]:
    """A session of the official client for the length of a block."""
    session = Official(server, model)
    try:
        yield session
    finally:
        session.close()


def bits(value: Any) -> Any:
    """A float by its bits, so that NaN is NaN and -0.0 is not 0.0; anything else as it is."""
    return struct.pack(">d", value) if isinstance(value, float) else value
