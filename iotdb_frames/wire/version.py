"""Which IoTDB a session talks to."""

from __future__ import annotations

import re

from iotdb_frames.codec.tsblock import decode_blocks
from iotdb_frames.errors import ServerError
from iotdb_frames.wire.rpc import Session


def read_version(session: Session) -> str:
    """The server's version; a server older than 2.0 is refused."""
    header = session.execute("SHOW VERSION")
    if header is None:
        raise ServerError(f"{session.address} does not report its version")
    try:
        table = decode_blocks(header.blocks, header, precision=session.info.precision)
        version = str(table.column(0)[0].as_py()) if table.num_rows else "unknown"
    finally:
        session.close_query(header.query_id)
    match = re.match(r"(\d+)\.", version)
    if match and int(match[1]) < 2:
        raise ServerError(
            f"{session.address} is IoTDB {version}; iotdb_frames needs IoTDB 2.0 or newer",
            hint="upgrade the server, or use the official client of its version",
        )
    return version
