"""`local:`, the user's own server: one per directory, shared by every process that names it.

A keeper, a small process of its own, starts and watches the server. What clients need is in the
directory: ``server.json`` has the address, ``password`` the password. Using the server touches
``server.json``; removing ``server.json`` asks the keeper to stop. So no signal is sent to a process
id that may have been reused, and a state file that outlives its keeper does no harm.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iotdb_frames.errors import Call, Hint, LaunchError
from iotdb_frames.locks import Locked, hold
from iotdb_frames.options import ConnectionOptions
from iotdb_frames.server.install import find_installation
from iotdb_frames.server.java import find_java
from iotdb_frames.server.keep import announce, attend, idle_limit_s
from iotdb_frames.server.local import LocalServer
from iotdb_frames.server.processes import ProcessIdentity
from iotdb_frames.server.state import SharedState, find_running, place_of, read_state, state_file

_START_LIMIT_S, _STOP_LIMIT_S = 240.0, 60.0


@dataclass(frozen=True, kw_only=True)
class LocalStatus:
    """The server of a directory.

    Parameters
    ----------
    directory : of the data
    is_running : whether a server runs on it
    url, version, keeper : its URL, IoTDB's version and the process that runs it, or None
    unused_s : seconds since a process last looked it up; connected clients are not considered
    """

    directory: Path
    is_running: bool
    url: str | None = None
    version: str | None = None
    keeper: ProcessIdentity | None = None
    unused_s: float | None = None


def ensure_local(directory: str | os.PathLike[str] | None = None) -> ConnectionOptions:
    """How to connect to the user's own server, which is started if it is not running.

    Parameters
    ----------
    directory : of its data; None: in the user's data directory

    Raises
    ------
    LaunchError : it cannot be started.
    MissingExtraError : the extra ``[server]`` is required and not installed.
    """
    place = place_of(directory)
    found = find_running(place)
    if found:
        return _options(place, found)
    idle_limit_s()  # report an invalid setting here rather than in a background process
    find_java()
    find_installation()  # here, so that a download shows its progress
    try:
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        with hold(place / "start.lock", timeout_s=_START_LIMIT_S):
            found = find_running(place)  # another process may have started it meanwhile
            if not found:
                stop_local(place)  # a keeper whose server has just ended
                _start_keeper(place)
                found = find_running(place)
    except Locked as exc:
        raise LaunchError(f"another process has been starting the server on {place}") from exc
    except OSError as exc:
        raise LaunchError(
            f"the data directory cannot be used: {exc}",
            hint="choose one that you can write to: local:///directory",
        ) from exc
    if not found:
        raise LaunchError(
            f"the server on {place} ended right after its start",
            log_tail=_keeper_log(place),
        )
    return _options(place, found)


def serve_local(
    directory: str | os.PathLike[str] | None = None,
    *,
    on_ready: Callable[[LocalServer], None],
    **options: Any,
) -> None:
    """Run the user's own server in this process, for every process that names it.

    Returns after `stop_local`; it never ends for being unused.

    Parameters
    ----------
    directory : of its data; None: in the user's data directory
    on_ready : called once it accepts statements
    options : of `LocalServer`

    Raises
    ------
    LaunchError : one is running already, it cannot be started, or it ended by itself.
    """
    place = place_of(directory)
    try:
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        with hold(place / "start.lock", timeout_s=_START_LIMIT_S):
            if find_running(place, is_use=False):
                raise LaunchError(
                    f"a server is already running on {place}",
                    hint=Hint(
                        "use it: ",
                        Call('iotf.use("local:")', in_shell="--url local:"),
                        ", or end it: iotdb-frames stop",
                    ),
                )
            server = LocalServer(place, **options).start()
            announce(place, server)
    except Locked as exc:
        raise LaunchError(f"another process has been starting the server on {place}") from exc
    with server:
        on_ready(server)
        attend(place, server, limit_s=0.0)
        if not server.is_running:
            raise LaunchError("the server ended by itself", log_tail=server.log_tail())


def stop_local(directory: str | os.PathLike[str] | None = None) -> bool:
    """Stop the user's own server and wait for its end; whether it was running. Its data stays.

    Raises
    ------
    LaunchError : it did not end within a minute.
    """
    place = place_of(directory)
    state = read_state(place)
    with suppress(FileNotFoundError):
        state_file(place).unlink()
    if state is None or not state.keeper.is_alive():
        return False
    if not state.keeper.wait_gone(timeout_s=_STOP_LIMIT_S):
        raise LaunchError(
            f"the server on {place} did not end within {_STOP_LIMIT_S:g} s",
            hint=f"end process {state.keeper.pid} by hand",
        )
    return True


def local_status(directory: str | os.PathLike[str] | None = None) -> LocalStatus:
    """Whether and where the user's own server is running; starts nothing."""
    place = place_of(directory)
    state = find_running(place, is_use=False)
    if state is None:
        return LocalStatus(directory=place, is_running=False)
    return LocalStatus(
        directory=place,
        is_running=True,
        url=f"iotdb://root@127.0.0.1:{state.port}",
        version=state.version,
        keeper=state.keeper,
        unused_s=max(0.0, time.time() - state_file(place).stat().st_mtime),
    )


def _options(place: Path, state: SharedState) -> ConnectionOptions:
    password = (place / "password").read_text("ascii").strip()
    return ConnectionOptions(hosts=(("127.0.0.1", state.port),), user="root", password=password)


def _start_keeper(place: Path) -> None:
    """Start the keeper and wait for its line of output."""
    own_session: dict[str, Any] = (
        {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0) | 0x8}  # detached
        if os.name == "nt"
        else {"start_new_session": True}
    )
    script = Path(__file__).with_name("keeper.py")
    with (place / "keeper.log").open("wb") as log:
        keeper = subprocess.Popen(  # noqa: S603 - our own script
            [sys.executable, "-P", script, place],
            cwd=place,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            **own_session,
        )
    try:
        assert keeper.stdout is not None
        with keeper.stdout:
            line = keeper.stdout.readline()
        failure: dict[str, Any] = (
            json.loads(line) if line else {"message": "its keeper ended", "hint": None}
        )
        if failure:
            log_tail = str(failure.get("log_tail") or _keeper_log(place))
            raise LaunchError(failure["message"], hint=failure["hint"], log_tail=log_tail)
    except BaseException:
        keeper.kill()
        keeper.wait()
        raise
    # It may outlive this process; if it ends first, its exit status must be collected.
    threading.Thread(target=keeper.wait, name="iotdb-frames keeper", daemon=True).start()


def _keeper_log(place: Path) -> str:
    try:
        return "\n".join((place / "keeper.log").read_text("utf-8", "replace").splitlines()[-30:])
    except OSError:
        return ""
