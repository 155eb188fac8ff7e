"""`local:`, the server that processes share: one a directory, stopped by name or when unused."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from iotdb_frames.errors import LaunchError, OptionsError
from iotdb_frames.options import ConnectionOptions
from iotdb_frames.server import ensure_local, local_status, probe, serve_local, stop_local
from iotdb_frames.server.processes import ProcessIdentity

CLIENT = """
import sys
from iotdb_frames.server import ensure_local
print(ensure_local(sys.argv[1]).hosts[0][1])
"""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A directory whose server is stopped after the test."""
    yield tmp_path / "home"
    stop_local(tmp_path / "home")


def run(options: ConnectionOptions, sql: str) -> int:
    return probe.run_statement(options.hosts[0][1], str(options.password), sql=sql)[0]


def jvm_of(keeper: ProcessIdentity) -> ProcessIdentity:
    (jvm,) = psutil.Process(keeper.pid).children()
    return ProcessIdentity.of(jvm.pid)


@pytest.mark.server
def test_processes_share_one_server(home: Path) -> None:
    """Two processes that start at once get one server, which outlives both; its data stays."""
    assert not local_status(home).is_running
    both = [
        subprocess.Popen([sys.executable, "-c", CLIENT, home], stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    ports = {int(process.communicate(timeout=120)[0]) for process in both}
    assert len(ports) == 1

    status = local_status(home)
    assert status.is_running
    assert status.url == f"iotdb://root@127.0.0.1:{min(ports)}"
    assert status.keeper is not None
    options = ensure_local(home)
    assert local_status(home).keeper == status.keeper  # found, not started
    assert options.hosts == (("127.0.0.1", min(ports)),)
    assert run(options, "CREATE DATABASE root.shared") == probe.SUCCESS
    assert home.stat().st_mode & 0o777 == 0o700
    assert {(home / name).stat().st_mode & 0o777 for name in ("server.json", "password")} == {0o600}

    # the keeper sits there for hours, so it must not load pandas
    assert psutil.Process(status.keeper.pid).memory_info().rss < 64e6

    assert stop_local(home)
    assert not status.keeper.is_alive()
    assert not local_status(home).is_running
    assert not stop_local(home)


@pytest.mark.server
def test_killed_keeper_leaves_no_jvm_and_no_lost_data(home: Path) -> None:
    """When the keeper is killed its JVM ends by itself, and the next use starts on the data."""
    options = ensure_local(home)
    assert run(options, "CREATE DATABASE root.kept") == probe.SUCCESS
    keeper = local_status(home).keeper
    assert keeper is not None
    jvm = jvm_of(keeper)
    keeper.kill()
    assert not local_status(home).is_running
    options = ensure_local(home)  # waits for the old JVM where it must
    assert not jvm.is_alive()
    assert run(options, "CREATE DATABASE root.kept") == 501


@pytest.mark.server
def test_unused_server_ends(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a client the server ends after the idle time, and not while one is connected."""
    monkeypatch.setenv("IOTDB_FRAMES_IDLE_S", "2")
    options = ensure_local(home)
    keeper = local_status(home).keeper
    assert keeper is not None
    with socket.create_connection(options.hosts[0], timeout=5):
        assert not keeper.wait_gone(timeout_s=4)
    assert keeper.wait_gone(timeout_s=20)
    assert not (home / "server.json").exists()


@pytest.mark.server
def test_server_in_the_foreground_is_shared(home: Path) -> None:
    """A server that runs in this process serves all that name it, until it is asked to stop."""
    is_ready = threading.Event()
    serving = threading.Thread(
        target=serve_local, args=(home,), kwargs={"on_ready": lambda server: is_ready.set()}
    )
    serving.start()
    assert is_ready.wait(60)
    assert run(ensure_local(home), "SHOW VERSION") == probe.SUCCESS
    with pytest.raises(LaunchError, match="already"):
        serve_local(home, on_ready=lambda server: None)
    (home / "server.json").unlink()
    serving.join(30)
    assert not serving.is_alive()


@pytest.mark.server
def test_failed_start_tells_why(home: Path) -> None:
    """What the keeper could not do is told to whoever asked, as a launch error."""
    home.mkdir()
    (home / "photo.jpg").touch()
    before = psutil.Process().children()
    with pytest.raises(LaunchError, match="not empty"):
        ensure_local(home)
    assert psutil.Process().children() == before


def test_stale_state_never_harms_a_stranger(home: Path) -> None:
    """A state file whose process number now belongs to another program is not acted upon."""
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        home.mkdir()
        then = ProcessIdentity.of(stranger.pid).started - 100
        state = {"keeper": {"pid": stranger.pid, "started": then}, "port": 1, "version": "2"}
        (home / "server.json").write_text(json.dumps(state))
        assert not local_status(home).is_running
        assert not stop_local(home)
        ProcessIdentity(pid=stranger.pid, started=then).kill()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"keeper": {"pid": 1}}', '{"keeper": 1}'])
def test_damaged_state_is_no_server(home: Path, text: str) -> None:
    """A state file that cannot be read means that no server runs."""
    home.mkdir()
    (home / "server.json").write_text(text)
    assert not local_status(home).is_running


def test_unusable_directory_is_a_launch_error(tmp_path: Path) -> None:
    """A directory that cannot be made is an error with a remedy."""
    (tmp_path / "file").touch()
    with pytest.raises(LaunchError, match="local:///directory"):
        ensure_local(tmp_path / "file" / "home")


def test_wrong_idle_time_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An idle time that is no number is refused by the process that set it."""
    monkeypatch.setenv("IOTDB_FRAMES_IDLE_S", "soon")
    with pytest.raises(OptionsError, match="IOTDB_FRAMES_IDLE_S"):
        ensure_local(home)
