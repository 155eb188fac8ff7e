"""One cluster at a time: three nodes, and everything on each of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from certificates import make_key_store, tls_properties
from nodes import Cluster

_numbers = itertools.count()

KINDS: dict[str, dict[str, Any]] = {
    "3/3": {},
    "2/1": {
        "schema_replicas": 2,
        "data_replicas": 1,
        "properties": {"read_consistency_level": "weak"},
    },
    "TLS": {},
    "unnamed": {"properties": {"dn_rpc_address": "0.0.0.0"}},
}
"""What a test can run on: replicas of schema and data regions, nodes that speak TLS, or that call
themselves by no name."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Let tests run on three replicas, in the slow tier on what `on_clusters` names, too."""
    if "running_cluster" not in metafunc.fixturenames:
        return
    named = metafunc.definition.get_closest_marker("on_clusters")
    kinds = named.args if named else ("3/3",)
    params = [pytest.param(k, marks=() if k == "3/3" else pytest.mark.slow) for k in kinds]
    metafunc.parametrize("running_cluster", params, indirect=True, scope="session")


@pytest.fixture(scope="session")
def running_cluster(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """One of `KINDS`, with ``wal_mode=SYNC``; tests are put in order, so that each starts once."""
    options = dict(KINDS[request.param])
    if request.param == "TLS":
        keys = make_key_store(tmp_path_factory.mktemp("tls"), "own")
        options["properties"] = tls_properties(keys)
        options["client"] = {"tls": True, "ca_file": str(keys.with_suffix(".pem"))}
    with Cluster(**options) as running:
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
