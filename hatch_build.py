"""The README as a package index can show it: without pictures and links into this repository."""

from __future__ import annotations

import re
from pathlib import Path

from hatchling.metadata.plugin.interface import MetadataHookInterface

_PICTURE = re.compile(r"<picture>.*?</picture>\n+", flags=re.DOTALL)
_OF_THE_REPOSITORY = re.compile(r"\[([^\]]+)\]\((?!https?://)[^)]+\)")


class CustomMetadataHook(MetadataHookInterface):
    """Called by hatchling, for ``dynamic = ["readme"]``."""

    def update(self, metadata: dict[str, object]) -> None:
        """Give the text of the README."""
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        text = _OF_THE_REPOSITORY.sub(r"\1", _PICTURE.sub("", text))
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
