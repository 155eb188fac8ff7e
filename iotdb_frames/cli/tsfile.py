"""``tsfile``: what is in a TsFile."""

from __future__ import annotations

from typing import Annotated

import typer

from iotdb_frames.cli import screen


def tsfile(
    file: Annotated[str, typer.Argument(help="A file of IoTDB's own format.", metavar="FILE")],
) -> None:
    """Show what is in a TsFile: devices, columns, and how they are stored. Needs no server."""
    from iotdb_frames.reads.tsfile import look_into

    screen.show(*repr(look_into(file)).splitlines())
