"""What all tests share: one real IoTDB a session. Where it cannot start, its tests fail."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from iotdb_frames.errors import IoTDBFramesError
from iotdb_frames.server import LocalServer
from iotdb_frames.server.install import find_installation


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--no-server", action="store_true", help="leave out the tests that need a real IoTDB"
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
    if config.getoption("--no-server"):
        left_out = [item for item in items if item.get_closest_marker("server")]
        items[:] = [item for item in items if item not in set(left_out)]
        config.hook.pytest_deselected(items=left_out)


@pytest.fixture(scope="session")
def server() -> Iterator[LocalServer]:
    """The session's IoTDB; a test that needs a database makes its own."""
    with LocalServer() as running:
        yield running
