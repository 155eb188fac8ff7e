"""One cluster at a time: three nodes, and everything on each of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from nodes import Cluster

_numbers = itertools.count()


@pytest.fixture(scope="session")
def running_cluster() -> Iterator[Cluster]:
    """The session's cluster, factors 3 and 3, ``wal_mode=SYNC``."""
    with Cluster() as running:
        yield running


@pytest.fixture
def cluster(running_cluster: Cluster) -> Iterator[Cluster]:
    """A cluster of which all nodes run and are healthy, also after the test."""
    running_cluster.restore()
    yield running_cluster
    running_cluster.restore()


@pytest.fixture
def database(cluster: Cluster) -> Iterator[str]:
    """A name: ``root.{database}`` and the table database of this name are the test's own."""
    name = f"test_{next(_numbers)}"
    with cluster.connection() as connection:
        connection.run(
            lambda session: session.execute(f"CREATE DATABASE root.{name}"), model="tree"
        )
        connection.run(lambda session: session.execute(f"CREATE DATABASE {name}"), model="table")
    yield name
    cluster.restore()
    with cluster.connection() as connection:
        connection.run(
            lambda session: session.execute(f"DELETE DATABASE root.{name}"), model="tree"
        )
        connection.run(lambda session: session.execute(f"DROP DATABASE {name}"), model="table")
