"""Widgets without a browser: a comm that notes what is sent, and what was not closed."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import comm
import pytest
from noting import Notes, NotingComm

from iotdb_frames.client.connection import Connection
from iotdb_frames.notebook.panel import reruns
from iotdb_frames.notebook.panel.shown import LivePanel
from iotdb_frames.server import LocalServer


@pytest.fixture
def notes(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Notes]:
    """What widgets send; at the end none is open, and no thread of ours lives."""
    made = Notes()
    monkeypatch.setattr(comm, "create_comm", lambda **options: NotingComm(made, **options))
    panels: list[LivePanel] = []
    monkeypatch.setattr(reruns, "adopt", panels.append)
    before, n_failed = set(threading.enumerate()), request.session.testsfailed
    yield made
    if request.session.testsfailed > n_failed:  # it never came to its closing lines
        for panel in panels:
            panel.close()
    assert not made.open
    left = [t.name for t in threading.enumerate() if t not in before]
    assert not [name for name in left if name.startswith("iotdb-frames")]


@pytest.fixture
def connection(server: LocalServer) -> Iterator[Connection]:
    """A connection of the test's own."""
    with Connection(lambda: server.options, label="test") as made:
        yield made
