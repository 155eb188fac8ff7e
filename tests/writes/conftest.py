"""What tests of writing share."""

from typing import Any

import pytest

from iotdb_frames.client.connection import Connection
from iotdb_frames.writes.schema import look


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the server was asked for, one a look: devices, or a table."""
    seen: list[Any] = []
    for name in ("look_at_devices", "look_at_table"):
        ask = getattr(look, name)

        def noting(connection: Connection, what: Any, ask: Any = ask) -> Any:
            seen.append(what)
            return ask(connection, what)

        monkeypatch.setattr(look, name, noting)
    return seen
