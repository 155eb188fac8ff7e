"""What `import iotdb_frames` costs over `import pandas`, which whoever has a frame has paid.

    python tests/benchmarks/bench_import.py

New interpreters in turns, medians of fifteen; the target of the project is 1.3.
"""

from __future__ import annotations

import subprocess
import sys

from harness import Samples, print_table

ROUNDS = 15


def main() -> None:
    """Alternate the two imports and print the table."""
    samples = {"pandas": Samples(), "iotdb_frames": Samples()}
    for turn in range(-1, ROUNDS):
        for module, taken in samples.items():
            code = (
                f"import time; begin = time.perf_counter(); import {module}; "
                "print(time.perf_counter() - begin)"
            )
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
            if turn >= 0:
                taken.wall_s.append(float(done.stdout))
    base = samples["pandas"].seconds
    print_table(
        ("import", "ms", "× pandas"),
        [
            (name, f"{s.seconds * 1e3:.0f}", f"{s.seconds / base:.2f}")
            for name, s in samples.items()
        ],
    )


if __name__ == "__main__":
    main()
