"""The keeper of a shared server: it starts the server, watches it, and ends it when unused."""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from iotdb_frames.errors import IoTDBFramesError, OptionsError
from iotdb_frames.server.local import LocalServer
from iotdb_frames.server.processes import ProcessIdentity, has_clients
from iotdb_frames.server.state import SharedState, read_state, state_file

DEFAULT_IDLE_S = 1800.0
_POLL_S, _CLIENTS_POLL_S = 0.25, 15.0


def keep(place: Path) -> None:
    """Run a server on `place` until it is unused or its state file is removed.

    Prints one line of JSON: once the server is ready, or why it could not start.
    """
    try:
        server = LocalServer(place).start()
    except IoTDBFramesError as exc:
        failure = {"message": exc.message, "hint": exc.hint}
        _say({**failure, "log_tail": getattr(exc, "log_tail", "")})
        return
    with server:
        announce(place, server)
        _say({})
        attend(place, server, limit_s=idle_limit_s())


def announce(place: Path, server: LocalServer) -> None:
    """Publish to other processes that this one runs the server of `place`."""
    keeper = ProcessIdentity.of(os.getpid())
    SharedState(keeper=keeper, port=server.port, version=server.version).write(place)


def attend(place: Path, server: LocalServer, *, limit_s: float) -> None:
    """Return once the state file is gone, the server ended, or it was unused for `limit_s`."""
    try:
        _watch(place, server, limit_s)
    finally:
        if _is_mine(place):
            state_file(place).unlink(missing_ok=True)


def _watch(place: Path, server: LocalServer, limit_s: float) -> None:
    next_look = 0.0
    while server.is_running and _is_mine(place):
        time.sleep(_POLL_S)
        if not limit_s or time.monotonic() < next_look:
            continue
        next_look = time.monotonic() + min(_CLIENTS_POLL_S, limit_s / 4)
        with suppress(FileNotFoundError):
            if has_clients(server.pid, port=server.port):
                os.utime(state_file(place))
            elif time.time() - state_file(place).stat().st_mtime > limit_s:
                return


def _is_mine(place: Path) -> bool:
    state = read_state(place)
    return state is not None and state.keeper.pid == os.getpid()


def idle_limit_s() -> float:
    """Seconds without use after which the server ends, from ``IOTDB_FRAMES_IDLE_S``; 0: never."""
    text = os.environ.get("IOTDB_FRAMES_IDLE_S")
    try:
        limit = float(text) if text else DEFAULT_IDLE_S
    except ValueError:
        limit = -1.0
    if not limit >= 0:
        raise OptionsError(f"IOTDB_FRAMES_IDLE_S={text!r} is not a valid number of seconds")
    return limit


def _say(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()
    os.close(1)  # the process that started this one stops waiting
