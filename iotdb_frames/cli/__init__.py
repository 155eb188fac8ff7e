"""``iotdb-frames``: the package's calls from a shell."""

from iotdb_frames.cli.app import app, main

__all__ = ["app", "main"]
