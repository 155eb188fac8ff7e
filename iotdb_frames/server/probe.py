"""Test whether our server is ready: log in and run one statement."""

from __future__ import annotations

from iotdb_frames.errors import ServerError
from iotdb_frames.options import ConnectionOptions
from iotdb_frames.wire.answers import SUCCESS
from iotdb_frames.wire.rpc import Session
from iotdb_frames.wire.sockets import unverified_context

WRONG_LOGIN = (801, 804)


def run_statement(
    port: int, password: str, *, sql: str, tls: bool = False, timeout_s: float = 10.0
) -> tuple[int, str]:
    """Log in to 127.0.0.1:`port` as `root` and run one statement, ignoring its rows.

    Returns
    -------
    (code, message) : the server's status; 200 is success.

    Raises
    ------
    OSError : no IoTDB answers there.
    """
    options = ConnectionOptions(
        password=password, connect_timeout_s=timeout_s, timeout_s=timeout_s, tls=tls
    )
    # Our own child on loopback; its certificate is up to the user.
    context = unverified_context() if tls else None
    try:
        session = Session("127.0.0.1", port, options=options, model="tree", context=context)
        try:
            session.execute(sql)
        finally:
            session.close()
    except ServerError as exc:
        if exc.code is None:  # a ConnectionLost, which is an OSError
            raise
        return exc.code, exc.message
    return SUCCESS, ""
