"""The pandas connector for Apache IoTDB 2.x: frames in, frames out, nothing lost."""

from __future__ import annotations
