"""What the benchmarks share: sides that take turns, medians, peaks of memory, a table of ratios.

Other processes make this machine up to three times slower at any moment, so times of two runs say
nothing about each other. Only what took turns in one run is compared, by medians, as ratios.
"""

from __future__ import annotations

import gc
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

Call = Callable[[], object]


@dataclass
class Samples:
    """What one side took, a number a round: seconds on the clock and of this process's CPUs."""

    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Median on the clock."""
        return statistics.median(self.wall_s)

    @property
    def cpu_seconds(self) -> float:
        """Median of this process's CPUs, all threads."""
        return statistics.median(self.cpu_s)


def measure(call: Call, samples: Samples) -> None:
    """Run `call` once and note what it took."""
    gc.collect()
    cpu, wall = time.process_time(), time.perf_counter()
    call()
    samples.wall_s.append(time.perf_counter() - wall)
    samples.cpu_s.append(time.process_time() - cpu)


def alternate(
    sides: Mapping[str, Callable[[str], Call]],
    *,
    rounds: int,
    check: Callable[[str], None],
    warm_rounds: int = 1,
) -> dict[str, Samples]:
    """Let the sides take turns, each round in another order.

    Parameters
    ----------
    sides : name to what prepares a turn, unmeasured, and returns what is measured; it gets a name
        that is used only once, for what it writes
    rounds, warm_rounds : measured ones, and those before them that are not
    check : called with that name after the turn; raises where something is missing, and cleans up
    """
    samples = {name: Samples() for name in sides}
    names = list(sides)
    for turn in range(-warm_rounds, rounds):
        at = turn % len(names)
        for name in names[at:] + names[:at]:
            target = f"{name}_{turn + warm_rounds}"
            call = sides[name](target)
            measure(call, samples[name] if turn >= 0 else Samples())
            del call
            check(target)
    return samples


def peak_bytes(call: Call) -> int:
    """Most memory of this process during `call`, over what it had before.

    Wants a process of its own, in which the same has run once in small, so that neither imports
    nor an earlier peak count.
    """
    gc.collect()
    reset = Path("/proc/self/clear_refs")
    if not reset.exists():
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        call()
        return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit
    reset.write_text("5")  # 5: the peak starts again from what is resident now
    before = _status_bytes("VmRSS")
    call()
    return _status_bytes("VmHWM") - before


def _status_bytes(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise LookupError(name)


def print_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A Markdown table, first column to the left and the others to the right."""
    cells = [list(header), *([str(c) for c in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    rule = [
        "-" * width if i == 0 else "-" * (width - 1) + ":"
        for i, width in enumerate(max(w, 3) for w in widths)
    ]
    for row in [cells[0], rule, *cells[1:]]:
        first, *others = (
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        print("| " + " | ".join([first, *others]) + " |")
