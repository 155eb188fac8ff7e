"""The process beside a shared server, started as a script: ``python keeper.py DIRECTORY``.

It runs for hours, so it must be small: the package is imported without its ``__init__``, which
loads pandas and pyarrow (20 MB instead of 130).
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType


def main() -> None:
    root = Path(__file__).resolve().parents[1]
    for name, path in (("iotdb_frames", root), ("iotdb_frames.server", root / "server")):
        package = ModuleType(name)
        package.__path__ = [str(path)]
        sys.modules[name] = package
    from iotdb_frames.server.keep import keep

    keep(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
