"""A connection to the session's IoTDB, and names for what a test makes there."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from iotdb_frames.client.connection import Connection
from iotdb_frames.server import LocalServer

_numbers = itertools.count()


@pytest.fixture(scope="session")
def connection(server: LocalServer) -> Iterator[Connection]:
    """A connection that all tests share."""
    with Connection(lambda: server.options, label=server.url) as opened:
        yield opened


@pytest.fixture
def database(connection: Connection) -> Iterator[str]:
    """A name: ``root.{database}`` and the table database of this name are the test's own."""
    name = f"test_{next(_numbers)}"
    connection.run(lambda session: session.execute(f"CREATE DATABASE root.{name}"), model="tree")
    connection.run(lambda session: session.execute(f"CREATE DATABASE {name}"), model="table")
    yield name
    connection.run(lambda session: session.execute(f"DELETE DATABASE root.{name}"), model="tree")
    connection.run(lambda session: session.execute(f"DROP DATABASE {name}"), model="table")


@pytest.fixture(scope="session")
def shared_database(connection: Connection) -> str:
    """``root.shared`` and the table database `shared`, for tests that only need names in them.

    A database of its own costs a test a second.
    """
    connection.run(lambda session: session.execute("CREATE DATABASE root.shared"), model="tree")
    connection.run(lambda session: session.execute("CREATE DATABASE shared"), model="table")
    return "shared"


@pytest.fixture
def device(shared_database: str) -> str:
    """A path of the tree model that is the test's own."""
    return f"root.{shared_database}.d{next(_numbers)}"


@pytest.fixture
def table(shared_database: str) -> str:
    """A table that is the test's own."""
    return f"{shared_database}.t{next(_numbers)}"
