"""What all tests share: one real IoTDB a session. Where it cannot start, its tests fail.

Nothing is left out silently: the closing lines name every tier that did not run, and what runs it.
"""

from __future__ import annotations

import itertools
import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings

from iotdb_frames.client.connection import Connection
from iotdb_frames.errors import IoTDBFramesError
from iotdb_frames.server import LocalServer
from iotdb_frames.server.install import find_installation

settings.register_profile("shared", deadline=None, print_blob=True)  # a busy machine is not a bug
settings.load_profile("shared")

TIERS = {
    "browser": "JupyterLab in a real browser, and five notebooks",
    "cluster": "one ConfigNode and three DataNodes, of which some are killed and frozen",
    "docs": "the documentation as Sphinx builds it, in a real browser",
    "engines": "Dask and Spark, with their extras and a Java for Spark",
    "flink": "Flink's mini-cluster, in an environment of its own",
    "slow": "minutes each",
}
"""Tests that need more than Python or much time; they run only if `--tier` names theirs."""

_ELSEWHERE = "the oldest allowed pandas, pyarrow, numpy and RPC stubs: environments of their own"
_numbers = itertools.count()
_left_out = pytest.StashKey[dict[str, int]]()


def pytest_configure() -> None:
    # What a shell starts in the background ignores SIGINT, and so do its children; tests send it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--no-server", action="store_true", help="leave out the tests that need a real IoTDB"
    )
    parser.addoption(
        "--tier",
        action="append",
        default=[],
        choices=sorted(TIERS),
        help="run the tests of this tier, too; repeat it",
    )


def pytest_report_header(config: pytest.Config) -> str:
    if config.getoption("--no-server"):
        return "IoTDB: left out by --no-server"
    try:
        found = find_installation()
    except IoTDBFramesError as exc:
        return f"IoTDB: none, {exc}"
    return f"IoTDB: {found.version}"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if "server" in getattr(item, "fixturenames", ()):
            item.add_marker("server")
    unwanted = {name for name in TIERS if name not in config.getoption("--tier")}
    if config.getoption("--no-server"):
        unwanted.add("server")
    counts = dict.fromkeys(sorted(unwanted), 0)
    left_out = []
    for item in items:
        tier = next((name for name in counts if item.get_closest_marker(name)), None)
        if tier is not None:
            counts[tier] += 1
            left_out.append(item)
    config.stash[_left_out] = counts
    items[:] = [item for item in items if item not in set(left_out)]
    config.hook.pytest_deselected(items=left_out)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.section("left out here; --tier NAME adds a tier")
    for name, n_tests in terminalreporter.config.stash.get(_left_out, {}).items():
        what = TIERS.get(name, "everything that needs a real IoTDB (--no-server)")
        if n_tests:
            terminalreporter.line(f"{name}: {n_tests} tests, {what}")
    terminalreporter.line(f"versions: {_ELSEWHERE}")


@pytest.fixture(scope="session")
def server() -> Iterator[LocalServer]:
    """The session's IoTDB; a test that needs a database makes its own."""
    with LocalServer() as running:
        yield running


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
