"""``serve`` and ``stop``: the server that ``local:`` names."""

from __future__ import annotations

import signal
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from iotdb_frames.cli import screen

DataDir = Annotated[
    Path | None,
    typer.Option(
        help="Directory of its data. Without it, that of the URL local:.",
        file_okay=False,
        show_default=False,
    ),
]


def serve(
    data_dir: DataDir = None,
    port: Annotated[
        int | None, typer.Option(help="On 127.0.0.1. Without it, a free one.", show_default=False)
    ] = None,
    durable: Annotated[
        bool, typer.Option("--durable", help="Acknowledge a write only once it is on disk.")
    ] = False,
    heap: Annotated[str, typer.Option(help="Largest size of its heap.")] = "1GiB",
) -> None:
    """Run the server that local: names in this terminal, until Ctrl-C. Its data stays."""
    from iotdb_frames.server import serve_local

    same = "" if data_dir is None else f" --data-dir {data_dir}"

    def on_ready(server: Any) -> None:
        url = "local:" if data_dir is None else f"local://{server.data_dir}"
        screen.show(
            f"IoTDB {server.version} runs at {server.url}",
            *screen.aligned(
                [
                    ("in Python", f'iotf.use("{url}")'),
                    ("other clients", f"user root, password in {server.data_dir / 'password'}"),
                    ("data", server.data_dir),
                    ("end", "Ctrl-C here, or iotdb-frames stop" + same),
                ]
            ),
        )

    def end(number: int, _: object) -> None:
        raise SystemExit(128 + number)  # like Ctrl-C, so that the server is closed cleanly

    before = signal.signal(signal.SIGTERM, end)
    try:
        with suppress(KeyboardInterrupt):
            serve_local(data_dir, on_ready=on_ready, port=port, durable=durable, heap=heap)
    finally:
        signal.signal(signal.SIGTERM, before)
    screen.show("Stopped.")


def stop(data_dir: DataDir = None) -> None:
    """Stop the server that local: names. Its data stays."""
    from iotdb_frames.server import local_status, stop_local

    place = local_status(data_dir).directory
    if stop_local(data_dir):
        screen.show(f"Stopped. Its data stays in {place}")
    else:
        screen.show(f"No server is running on {place}")
