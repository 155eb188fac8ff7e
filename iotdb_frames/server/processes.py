"""Processes by their identity: an id alone may belong to another program by now."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from iotdb_frames.errors import missing_extra

_CLOCK_SLACK_S = 2.0  # the start time is relative to the boot time, which clock corrections move


@dataclass(frozen=True, kw_only=True)
class ProcessIdentity:
    """A process: its id and its start, in seconds since 1970."""

    pid: int
    started: float

    @classmethod
    def of(cls, pid: int) -> ProcessIdentity:
        """The identity of a running process."""
        return cls(pid=pid, started=_psutil().Process(pid).create_time())

    def is_alive(self) -> bool:
        """Whether this process is running, and its id was not reused."""
        psutil = _psutil()
        try:
            process = psutil.Process(self.pid)
            is_same = abs(process.create_time() - self.started) < _CLOCK_SLACK_S
            return is_same and bool(process.status() != psutil.STATUS_ZOMBIE)
        except psutil.Error:
            return False

    def wait_gone(self, *, timeout_s: float) -> bool:
        """Wait for its end; whether it ended within `timeout_s` seconds."""
        deadline = time.monotonic() + timeout_s
        while self.is_alive():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def kill(self) -> None:
        """Kill it, unless its id was reused."""
        psutil = _psutil()
        if self.is_alive():
            try:
                psutil.Process(self.pid).kill()
            except psutil.NoSuchProcess:
                return
            self.wait_gone(timeout_s=10)


def has_clients(pid: int, *, port: int) -> bool:
    """Whether any client is connected to `port` of process `pid`; True if unknown."""
    psutil = _psutil()
    try:
        connections = psutil.Process(pid).net_connections(kind="tcp")
    except psutil.Error:
        return True
    return any(
        c.status == psutil.CONN_ESTABLISHED and c.laddr and c.laddr.port == port
        for c in connections
    )


def _psutil() -> Any:
    try:
        import psutil
    except ImportError as exc:
        raise missing_extra("server", "a local server") from exc
    return psutil
