"""A connection to the session's server, and a database of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest

from iotdb_frames.client.connection import Connection
from iotdb_frames.client.schema import query_table
from iotdb_frames.server import LocalServer

_numbers = count()


@pytest.fixture
def connection(server: LocalServer) -> Iterator[Connection]:
    """A connection to the session's server."""
    with Connection(lambda: server.options, label="test") as made:
        yield made


@pytest.fixture
def database(connection: Connection) -> Iterator[str]:
    """A database of the test's own; a small server holds few at a time."""
    name = f"root.sink{next(_numbers)}"
    yield name
    if query_table(connection, f"SHOW DATABASES {name}", model="tree").num_rows:
        connection.run(lambda s: s.execute(f"DELETE DATABASE {name}"), model="tree")
