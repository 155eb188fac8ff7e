"""``demo --engine flink``, on Flink's mini-cluster and a real server."""

from __future__ import annotations

import subprocess
import sys

import psutil
import pytest

import iotdb_frames as iotf
from iotdb_frames.server import LocalServer

pytestmark = pytest.mark.flink


def test_demo_streams_a_fleet(server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo ends well, its rows are those of the fleet, and no process of it is left."""
    monkeypatch.setenv("IOTDB_PASSWORD", str(server.options.password))
    command = [sys.executable, "-c", "from iotdb_frames.cli import main; main()"]
    done = subprocess.run(
        [*command, "demo", "--engine", "flink", "--url", server.url],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3,000 rows are there" in done.stdout
    with iotf.connect(server.url) as connection:
        found = iotf.read("root.demo.fleet.**", connection=connection)
    fleet = iotf.simulate_fleet(5, rate_hz=10, duration="1min").frame()
    assert found["temperature"].count() == fleet["temperature"].count()
    assert abs(found["temperature"].sum() - fleet["temperature"].sum()) < 1e-6
    ours = [p for p in psutil.process_iter(["cmdline"]) if "pyflink" in str(p.info["cmdline"])]
    _, alive = psutil.wait_procs([p for p in ours if p.ppid() == 1], timeout=30)
    assert not alive
