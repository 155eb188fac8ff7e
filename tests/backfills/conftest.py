"""A connection to the session's IoTDB, and names for what a test makes there."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

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
    name = f"backfill_{next(_numbers)}"
    connection.run(lambda session: session.execute(f"CREATE DATABASE root.{name}"), model="tree")
    connection.run(lambda session: session.execute(f"CREATE DATABASE {name}"), model="table")
    yield name
    connection.run(lambda session: session.execute(f"DELETE DATABASE root.{name}"), model="tree")
    connection.run(lambda session: session.execute(f"DROP DATABASE {name}"), model="table")


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Where a job keeps its manifest."""
    return tmp_path / "job" / "manifest.sqlite"
