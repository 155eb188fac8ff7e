"""`LocalServer`: a real IoTDB that belongs to this process.

One JVM runs ConfigNode and DataNode. It is in a process session of its own, so that a Ctrl-C meant
for the notebook does not reach it, and it ends when the pipe to its standard input closes, which
the operating system does whatever happens to this process.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from iotdb_frames.display.card import Card
from iotdb_frames.errors import LaunchError, OptionsError
from iotdb_frames.options import ConnectionOptions, Secret, parse_bytes
from iotdb_frames.server import logs, probe
from iotdb_frames.server.config import PORT_NAMES, java_command, write_config
from iotdb_frames.server.datadir import INITIAL_PASSWORD, DataDir
from iotdb_frames.server.install import Installation, find_installation
from iotdb_frames.server.java import Java, find_java
from iotdb_frames.server.jvm import Jvm
from iotdb_frames.server.owned import Owned
from iotdb_frames.wire.answers import SUCCESS

T = TypeVar("T")

_POLL_S = 0.02
_PROBE_LIMIT_S = 5.0  # another program that took the port may never answer
_LOG_LOOK_S = 0.5
_ARGUMENTS = ("wal_mode", "timestamp_precision")
_FIRST_STATEMENT = "SHOW VERSION"


class LocalServer:
    """A real IoTDB on this machine that ends with this process at the latest.

    ::

        with LocalServer() as server:
            ...  # server.options, server.url

    Parameters
    ----------
    data_dir : directory to keep the data in; None creates a temporary one, deleted with the server
    version : of IoTDB; None uses that of ``IOTDB_HOME``, otherwise the version this package was
        tested with
    durable : acknowledge a write only once it is on disk (``wal_mode=SYNC``). Otherwise the last
        moments before a crash may be lost.
    timestamp_precision : "ms", "us" or "ns"; fixed by the first start on a directory. None keeps
        that of the directory, "ms" for a new one
    port : of the client RPC on 127.0.0.1; None chooses a free one
    properties : more settings for ``iotdb-system.properties``
    heap, direct_memory : upper limits of the JVM's memory, e.g. ``"1GiB"``; it starts with 64 MB
    start_timeout_s : how long a start may take, in seconds, without the download
    stop_timeout_s : how long a server with kept data may take to flush it at the end, in seconds,
        before it is killed

    Raises
    ------
    LaunchError : with the end of the server's log; it cannot be found, downloaded or started.
    MissingExtraError : the extra ``[server]`` is required and not installed.
    OptionsError : an invalid argument.
    """

    def __init__(
        self,
        data_dir: str | os.PathLike[str] | None = None,
        *,
        version: str | None = None,
        durable: bool = False,
        timestamp_precision: str | None = None,
        port: int | None = None,
        properties: Mapping[str, Any] | None = None,
        heap: int | str = "1GiB",
        direct_memory: int | str = "1GiB",
        start_timeout_s: float = 180.0,
        stop_timeout_s: float = 30.0,
    ) -> None:
        if timestamp_precision not in (None, "ms", "us", "ns"):
            raise OptionsError(
                f"timestamp_precision={timestamp_precision!r} is not one of 'ms', 'us', 'ns'"
            )
        if port is not None and not 0 < port < 65536:
            raise OptionsError(f"port={port} is not a valid port")
        self._properties = {name: str(value) for name, value in (properties or {}).items()}
        if any(set("\r\n") & set(name + value) for name, value in self._properties.items()):
            raise OptionsError("a property must be one line")
        own = sorted({*PORT_NAMES, *_ARGUMENTS} & set(self._properties))
        if own:
            raise OptionsError(
                f"{own[0]} cannot be set as a property",
                hint="use the arguments port, durable and timestamp_precision",
            )
        self._has_tls = self._properties.get("enable_thrift_ssl", "").lower() == "true"
        self._given_dir = None if data_dir is None else Path(data_dir).expanduser()
        self._wanted_version = version
        self._durable = durable
        self._precision = timestamp_precision
        self._wanted_port = port
        self._heap_bytes = parse_bytes(heap, name="heap")
        self._direct_bytes = parse_bytes(direct_memory, name="direct_memory")
        self._start_timeout_s = start_timeout_s
        self._guard = threading.RLock()
        self._owned = Owned(stop_timeout_s)
        self._version: str | None = None
        self._options: ConnectionOptions | None = None
        # at interpreter exit, or once this server is no longer referenced
        self._finalizer = weakref.finalize(self, self._owned.release)

    def start(self) -> LocalServer:
        """Start it; return once a login and a first statement have succeeded."""
        with self._guard:
            if self.is_running:
                return self
            installation = find_installation(self._wanted_version)
            java = find_java()
            self._owned.open(self._given_dir)
            try:
                self._launch(installation, java)
            except BaseException:
                self._owned.release(gently=False)
                raise
            return self

    def stop(self) -> None:
        """End it: with kept data cleanly, unless that takes too long. Temporary data is deleted."""
        with self._guard:
            self._owned.release()

    def kill(self) -> None:
        """Kill it, as in a crash (SIGKILL). Its data stays until `stop`, for another `start`."""
        with self._guard:
            if self._owned.jvm:
                self._owned.jvm.kill()

    def restart(self) -> LocalServer:
        """End it cleanly, and start it again on the same data."""
        with self._guard:
            self._owned.end(gently=True)
            return self.start()

    def __enter__(self) -> LocalServer:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        if not self.is_running:
            return "<LocalServer, not running>"
        kept = "temporary data" if self._given_dir is None else f"data in {self._given_dir}"
        return f"<LocalServer {self.url}, IoTDB {self.version}, pid {self.pid}, {kept}>"

    def _repr_html_(self) -> str:
        if not self.is_running:
            return Card("local server", "not running").html()
        kept = "temporary" if self._given_dir is None else str(self._given_dir)
        facts = [("IoTDB", self.version), ("process", str(self.pid)), ("data", kept)]
        facts.append(("writes are acknowledged", "on disk" if self._durable else "in memory"))
        return Card("local server", self.url, "ok", facts).html()

    @property
    def is_running(self) -> bool:
        """Whether its process is running."""
        return self._owned.jvm is not None and self._owned.jvm.exit_code is None

    @property
    def options(self) -> ConnectionOptions:
        """How to connect: host, port, user and password."""
        return self._started(self._options)

    @property
    def url(self) -> str:
        """Its URL, without the password."""
        return self.options.url

    @property
    def port(self) -> int:
        """Of the client RPC, on 127.0.0.1."""
        return self.options.hosts[0][1]

    @property
    def pid(self) -> int:
        """Of its JVM."""
        return self._started(self._owned.jvm).pid

    @property
    def version(self) -> str:
        """Of IoTDB, e.g. ``2.0.10``."""
        return self._started(self._version)

    @property
    def data_dir(self) -> Path:
        """The directory of its data, logs and settings."""
        return self._started(self._owned.directory).path

    def log_tail(self, n_lines: int = 30) -> str:
        """The last lines of its log.

        Parameters
        ----------
        n_lines : how many
        """
        return logs.read_tail(self.data_dir, n_lines=n_lines)

    @staticmethod
    def _started(value: T | None) -> T:
        if value is None:
            raise LaunchError("the server has not been started", hint="use it as a context manager")
        return value

    def _launch(self, installation: Installation, java: Java) -> None:
        """Start the JVM; once more, on other ports, if another program took one of them."""
        directory = self._started(self._owned.directory)
        is_new = not directory.has_data
        try:
            self._launch_once(installation, java, directory)
        except _PortLostError:
            if not is_new:
                raise
            self._owned.end(gently=False)
            directory.forget_ports()
            self._launch_once(installation, java, directory)

    def _launch_once(self, installation: Installation, java: Java, directory: DataDir) -> None:
        ports = directory.settle(
            version=installation.version,
            timestamp_precision=self._precision or directory.timestamp_precision,
            port=self._wanted_port,
            # A Raft log is synced once per request, a simple one for every new series.
            schema_log="ratis" if self._durable else "simple",
        )
        write_config(
            directory.path,
            ports=ports,
            timestamp_precision=directory.timestamp_precision,
            schema_log=directory.schema_log,
            durable=self._durable,
            properties=self._properties,
        )
        logs.rotate(directory.path)
        command = java_command(
            java,
            lib=installation.lib,
            directory=directory.path,
            keeps_data=not directory.is_temporary,
            heap_bytes=self._heap_bytes,
            direct_bytes=self._direct_bytes,
        )
        try:
            self._owned.jvm = Jvm(command, directory=directory.path)
        except OSError as exc:
            raise LaunchError(f"{java.command} cannot be started: {exc}") from exc
        password = directory.password()
        directory.remember_process(self._owned.jvm.pid)
        self._wait_until_ready(ports["dn_rpc_port"], password)
        self._owned.run = partial(
            probe.run_statement, ports["dn_rpc_port"], password, tls=self._has_tls
        )
        self._version = installation.version
        self._options = ConnectionOptions(
            hosts=(("127.0.0.1", ports["dn_rpc_port"]),),
            user="root",
            password=password,
            tls=self._has_tls,
        )

    def _wait_until_ready(self, port: int, password: str) -> None:
        now = time.monotonic()
        deadline, next_look = now + self._start_timeout_s, now + _LOG_LOOK_S
        said = "nothing was listening on its port"
        run = partial(probe.run_statement, tls=self._has_tls, timeout_s=_PROBE_LIMIT_S)
        while True:
            jvm = self._owned.jvm
            assert jvm is not None
            if jvm.exit_code is not None:
                raise self._failure(f"the server ended while starting (exit code {jvm.exit_code})")
            now = time.monotonic()
            if now > next_look:
                next_look = now + _LOG_LOOK_S
                if logs.has_crashed(self.data_dir):
                    raise self._failure("the server failed with an exception while starting")
            if now > deadline:
                raise self._failure(
                    f"the server was not ready within {self._start_timeout_s:g} s: {said}"
                )
            try:
                code, said = run(port, password, sql=_FIRST_STATEMENT)
                if code == SUCCESS:
                    return
                if code in probe.WRONG_LOGIN:  # the first start: it has the default password
                    sql = Secret(f"ALTER USER root SET PASSWORD '{password}'")
                    _, said = run(port, INITIAL_PASSWORD, sql=sql)
            except OSError as exc:
                said = str(exc)
            time.sleep(_POLL_S)

    def _failure(self, message: str) -> LaunchError:
        failure = logs.read_failure(self.data_dir)
        is_port_taken, hint = logs.cause_of(failure)
        kind = _PortLostError if is_port_taken else LaunchError
        return kind(message, log_tail=failure, hint=hint)


class _PortLostError(LaunchError):
    """A port was taken after we found it free."""
