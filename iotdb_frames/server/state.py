"""What processes share about a server: ``server.json`` in its directory."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from iotdb_frames.server.datadir import write_private
from iotdb_frames.server.processes import ProcessIdentity

_STATE_FILE = "server.json"


@dataclass(frozen=True, kw_only=True)
class SharedState:
    """The keeper of a directory's server, and the server's address.

    Parameters
    ----------
    keeper : the process that runs it
    port : of the client RPC on 127.0.0.1
    version : of IoTDB
    """

    keeper: ProcessIdentity
    port: int
    version: str

    def write(self, place: Path) -> None:
        """Publish it to other processes."""
        state = {**vars(self), "keeper": vars(self.keeper)}
        write_private(state_file(place), json.dumps(state))


def state_file(place: Path) -> Path:
    """The file; its modification time is the time of the last use."""
    return place / _STATE_FILE


def read_state(place: Path) -> SharedState | None:
    """The content of the file; None if there is none, or it is incomplete."""
    try:
        read = json.loads(state_file(place).read_text(encoding="utf-8"))
        return SharedState(
            keeper=ProcessIdentity(**read["keeper"]), port=read["port"], version=read["version"]
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def place_of(directory: str | os.PathLike[str] | None) -> Path:
    """The directory as an absolute path; None: the one in the user's data directory."""
    if directory is None:
        return platformdirs.user_data_path("iotdb-frames") / "server"
    return Path(directory).expanduser().absolute()


def find_running(place: Path, *, is_use: bool = True) -> SharedState | None:
    """The state of a server that answers; by default this counts as a use, so that it stays."""
    state = read_state(place)
    if state is None or not state.keeper.is_alive():
        return None
    try:
        if is_use:
            os.utime(state_file(place))
        socket.create_connection(("127.0.0.1", state.port), timeout=5).close()
    except OSError:
        return None
    return state
