"""Names for what a test makes in the session's IoTDB."""

from __future__ import annotations

import itertools

import pytest

from iotdb_frames.client.connection import Connection

_numbers = itertools.count()


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
