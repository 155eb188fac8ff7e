"""A server's directory: its lock, its fixed settings, its ports and its password.

lock                 held while a server runs on it
iotdb-frames.json    version, precision, ports and schema log; some cannot be changed later
password             of `root`; mode 0600
conf/ logs/ tmp/     rewritten at each start, except the logs
data/                IoTDB's own
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from iotdb_frames.errors import LaunchError
from iotdb_frames.locks import Locked, hold
from iotdb_frames.options import Secret
from iotdb_frames.server.config import PORT_NAMES, SchemaLog, free_ports, is_free
from iotdb_frames.server.processes import ProcessIdentity

LEAST_FREE_BYTES = 256 << 20
_PREDECESSOR_LIMIT_S = 5.0
_NO_DATA = {"lock", "start.lock", "keeper.log"}
INITIAL_PASSWORD = "root"  # noqa: S105 - of every new IoTDB, replaced before it is used
_PREFIX = "iotdb-frames-"


class DataDir:
    """A directory that this process has locked for one server.

    Parameters
    ----------
    path : of the directory, created if it does not exist; None creates a temporary one

    Raises
    ------
    LaunchError : not writable, disk full, in use, or not made by a local server.
    """

    def __init__(self, path: Path | None) -> None:
        self.is_temporary = path is None
        try:
            if path is None:
                _sweep()
                path = Path(tempfile.mkdtemp(prefix=_PREFIX))
            self.path = path.absolute()
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = hold(self.path / "lock")
        except Locked as exc:
            raise LaunchError(
                f"another server is running on {path}",
                hint=f"stop it, or share one server between processes with the URL local://{path}",
            ) from exc
        except OSError as exc:
            raise LaunchError(
                f"the data directory cannot be used: {exc}",
                hint="choose a directory that you can write to",
            ) from exc
        try:
            self._check()
        except BaseException:
            self.close()
            raise

    def _check(self) -> None:
        self.meta: dict[str, Any] = {}
        file = self.path / "iotdb-frames.json"
        if file.exists():
            try:
                self.meta = json.loads(file.read_text(encoding="utf-8"))
                _ = self.meta["version"], self.meta["timestamp_precision"], self.meta["ports"]
            except (OSError, ValueError, KeyError, TypeError) as exc:
                raise LaunchError(f"{file} is damaged: {exc!r}") from exc
        elif {entry.name for entry in self.path.iterdir()} - _NO_DATA:
            raise LaunchError(
                f"{self.path} is not empty and was not made by a local server",
                hint="choose an empty or new directory",
            )
        free = shutil.disk_usage(self.path).free
        if free < LEAST_FREE_BYTES:
            raise LaunchError(
                f"only {free >> 20} MiB are free on the disk of {self.path}",
                hint=f"free {LEAST_FREE_BYTES >> 20} MiB, or choose another directory",
            )

    def settle(
        self,
        *,
        version: str,
        timestamp_precision: str,
        port: int | None,
        schema_log: SchemaLog = "simple",
    ) -> dict[str, int]:
        """Fix version, precision and ports, or compare them with those of the first start.

        The schema log stays that of the first start.

        Returns
        -------
        port by setting name
        """
        made = self.meta
        if made and _as_numbers(made["version"]) > _as_numbers(version):
            raise LaunchError(
                f"the data in {self.path} is from IoTDB {made['version']}, newer than {version}",
                hint=f"start it with version {made['version']} or newer",
            )
        if made and made["timestamp_precision"] != timestamp_precision:
            raise LaunchError(
                f"the data in {self.path} has timestamp_precision={made['timestamp_precision']!r}",
                hint=f"it cannot be changed to {timestamp_precision!r}; use another directory",
            )
        if made:
            ports: dict[str, int] = dict(made["ports"])
        else:
            chosen = free_ports(len(PORT_NAMES), avoid=() if port is None else (port,))
            ports = dict(zip(PORT_NAMES, chosen, strict=True))
        if "process" in self.meta:
            # A JVM whose owner was killed closes its data by itself. It first writes out what is in
            # memory, which is what matters, and then takes 6 to 39 s to shut down.
            before = ProcessIdentity(**self.meta["process"])
            if not before.wait_gone(timeout_s=_PREDECESSOR_LIMIT_S):
                before.kill()
        # Clients look up the port at each start, but the nodes know each other by port forever.
        others = {name: n for name, n in ports.items() if name != "dn_rpc_port"}
        if port is not None or not is_free(ports["dn_rpc_port"]):
            ports["dn_rpc_port"] = free_ports(1, avoid=others.values())[0] if port is None else port
        taken = [n for n in ports.values() if not is_free(n)]
        taken += [n for n in others.values() if n == port]
        if taken:
            raise LaunchError(
                f"port {taken[0]} on 127.0.0.1 is used by another program",
                hint="omit `port`, and a free one is chosen"
                if port in taken
                else f"the data in {self.path} is bound to it; end that program and start again",
            )
        self._write_meta(
            version=version,
            timestamp_precision=timestamp_precision,
            ports=ports,
            schema_log=self.schema_log if made else schema_log,
        )
        for name in ("logs", "tmp"):
            (self.path / name).mkdir(exist_ok=True)
        return ports

    def remember_process(self, pid: int) -> None:
        """Record the process that runs on the data, so that the next start waits for its end."""
        self._write_meta(**{**self.meta, "process": vars(ProcessIdentity.of(pid))})

    def _write_meta(self, **meta: Any) -> None:
        self.meta = meta
        write_private(self.path / "iotdb-frames.json", json.dumps(meta, indent=2))

    def forget_ports(self) -> None:
        """Choose other ports at the next start; only while there is no data with these."""
        self.meta = {}
        shutil.rmtree(self.path / "data", ignore_errors=True)

    @property
    def timestamp_precision(self) -> str:
        """Of the data; "ms" if there is none yet."""
        return str(self.meta.get("timestamp_precision", "ms"))

    @property
    def schema_log(self) -> SchemaLog:
        """How the data logs its schema; directories without this entry use "ratis"."""
        return "simple" if self.meta.get("schema_log") == "simple" else "ratis"

    @property
    def has_data(self) -> bool:
        """Whether a server was started here before."""
        return (self.path / "data").exists()

    def password(self) -> Secret:
        """The password of `root`, generated and saved before it is set on the server."""
        file = self.path / "password"
        if not file.exists():
            write_private(file, secrets.token_hex(12))
        return Secret(file.read_text("ascii").strip())

    def close(self) -> None:
        """Release the directory; a temporary one is deleted."""
        if self.is_temporary:
            for _ in range(20):  # a killed JVM's last writes
                shutil.rmtree(self.path, ignore_errors=True)
                if not self.path.exists():
                    break
                time.sleep(0.05)
        self._lock.release()


def write_private(file: Path, text: str) -> None:
    """Write a file that only its owner can read, atomically."""
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    with suppress(FileNotFoundError):
        part.unlink()
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        opened.write(text)
    part.replace(file)


def _as_numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("-")[0].split(".") if part.isdigit())


def _sweep() -> None:
    """Delete the temporary directories of servers whose process was killed."""
    for lock in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/lock"):
        with suppress(OSError, Locked):
            is_mine = os.name == "nt" or lock.stat().st_uid == os.getuid()
            if is_mine and lock.stat().st_mtime < time.time() - 60:
                with hold(lock):
                    shutil.rmtree(lock.parent, ignore_errors=True)
