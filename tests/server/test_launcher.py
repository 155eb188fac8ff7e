"""The Java class that runs both nodes."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from iotdb_frames import server
from iotdb_frames.server.install import find_installation

_SOURCE = Path(server.__file__).parent / "Launcher.java"


@pytest.mark.skipif(shutil.which("javac") is None, reason="no Java compiler on this machine")
def test_the_class_is_what_its_source_compiles_to(tmp_path: Path) -> None:
    """The compiled class that is shipped is that of the source beside it, to the byte."""
    lib = find_installation().lib
    options = ["--release", "17", "-g:none", "-cp", f"{lib}/*", "-d", str(tmp_path)]
    subprocess.run(["javac", *options, str(_SOURCE)], check=True)
    made = (tmp_path / "Launcher.class").read_bytes()
    assert made == _SOURCE.with_suffix(".class").read_bytes()
