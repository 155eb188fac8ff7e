"""One JupyterLab and one browser for all tests here; each test has a page and a target of its own.

What these need is imported when they run: without their tier nobody needs to have it.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from iotdb_frames.client.connection import Connection
from iotdb_frames.server import LocalServer

if TYPE_CHECKING:
    from lab import Lab, Seen
    from playwright.sync_api import Browser

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def lab(server: LocalServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """JupyterLab, whose kernels find the session's IoTDB."""
    from lab import run_lab

    options = server.options
    environment = {
        "IOTDB_URL": f"iotdb://{options.user}@127.0.0.1:{server.port}",
        "IOTDB_PASSWORD": str(options.password),
    }
    with run_lab(tmp_path_factory.mktemp("lab") / "lab", environment=environment) as running:
        yield running


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Debian's Chromium."""
    from lab import run_browser

    with run_browser(tmp_path_factory.mktemp("browser")) as running:
        yield running


@pytest.fixture
def seen(browser: Browser, lab: Lab) -> Iterator[Seen]:
    """A page; at the end it must have been quiet, and have asked nobody but the lab."""
    from lab import look

    with look(browser, lab) as page:
        yield page
        assert not page.errors
        assert not page.strangers


@pytest.fixture
def connection(server: LocalServer) -> Iterator[Connection]:
    """A connection of the test's own."""
    with Connection(lambda: server.options, label="test") as made:
        yield made


@pytest.fixture
def target() -> str:
    """A device of the test's own."""
    return f"root.browser.press{next(_numbers)}"


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pictures go; with IOTDB_FRAMES_PICTURES set the README's are replaced."""
    if not os.environ.get("IOTDB_FRAMES_PICTURES"):
        return tmp_path_factory.mktemp("images")
    folder = Path(__file__).parents[2] / "docs" / "images"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
