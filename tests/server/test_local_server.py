"""`LocalServer` against the real thing."""

from __future__ import annotations

import pytest

from iotdb_frames.server import LocalServer, probe


def run(server: LocalServer, sql: str) -> tuple[int, str]:
    return probe.run_statement(server.port, str(server.options.password), sql=sql)


def test_ready_server_runs_statements(server: LocalServer) -> None:
    """A started server takes a write at once."""
    assert run(server, "CREATE DATABASE root.ready")[0] == probe.SUCCESS
    assert run(server, "INSERT INTO root.ready.d(time, s) VALUES (1, 2)")[0] == probe.SUCCESS


def test_initial_password_is_gone(server: LocalServer) -> None:
    """Nobody gets in with the password every IoTDB comes with."""
    code, _ = probe.run_statement(server.port, "root", sql="SHOW VERSION")
    assert code in probe.WRONG_LOGIN


def test_password_does_not_show(server: LocalServer) -> None:
    """Neither repr nor address hold the password."""
    password = str(server.options.password)
    assert len(password) >= 20
    for text in (repr(server), server.url, repr(server.options), f"{server!s}"):
        assert password not in text


@pytest.mark.server
def test_killed_server_starts_again_on_its_data() -> None:
    """After `kill`, `start` brings the same data back, at the same address."""
    with LocalServer() as server:
        url = server.url
        assert run(server, "CREATE DATABASE root.again")[0] == probe.SUCCESS
        server.kill()
        assert not server.is_running
        server.start()
        assert server.url == url
        assert run(server, "CREATE DATABASE root.again")[0] != probe.SUCCESS
        data_dir = server.data_dir
    assert not data_dir.exists()
