"""Names for what a test makes."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Where a job keeps its manifest."""
    return tmp_path / "job" / "manifest.sqlite"
