"""The files of a LOAD: a folder with one for each time partition, and the statement."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from iotdb_frames.codec.quotes import quote_string
from iotdb_frames.tsfile.layout import Device
from iotdb_frames.tsfile.writer import TsFileWriter
from iotdb_frames.writes.plan.chunks import LoadRequest
from iotdb_frames.writes.plan.filed import FileRows
from iotdb_frames.writes.plan.order import Order
from iotdb_frames.writes.plan.plan import WritePlan
from iotdb_frames.writes.tsfile import tables_of


def load_statement(path: Path, *, database: str | None = None) -> str:
    """The LOAD of a file or folder, which stays; other types than the series' are refused.

    Parameters
    ----------
    database : of a table; None: the tree model
    """
    options = {"on-success": "none", "convert-on-type-mismatch": "false"}
    if database is not None:
        options["database-name"] = database
    told = ", ".join(f"'{name}'={quote_string(value)}" for name, value in options.items())
    return f"LOAD {quote_string(str(path))} WITH ({told})"


def load_of(folder: Path, plan: WritePlan) -> str:
    """The LOAD of a folder with rows of a plan."""
    goal = plan.target
    return load_statement(folder, database=goal.database if goal.model == "table" else None)


def by_partition(plan: WritePlan, n_ticks: int) -> Iterator[WritePlan]:
    """The plan, split by the server's time partitions."""
    order = plan.order
    first, last = int(order.ticks.min()) // n_ticks, int(order.ticks.max()) // n_ticks
    if first == last:
        yield plan
        return
    devices = list(pairwise(order.bounds.tolist()))
    starts, partition = order.bounds[:-1], first
    while partition <= last:
        edge = (partition + 1) * n_ticks
        cuts = [np.searchsorted(order.ticks[a:b], edge) + a for a, b in devices]
        stops = np.array(cuts, np.int64)
        if len(groups := np.flatnonzero(stops > starts)):
            yield replace(plan, order=order.ranges(groups, starts[groups], stops[groups]))
        starts, left = stops, stops < order.bounds[1:]
        if not left.any():
            break
        partition = int(order.ticks[stops[left]].min()) // n_ticks  # there may be none for years


def n_runs(order: Order, n_ticks: int) -> int:
    """Time partitions of all devices, counted for each, those without rows in between, too."""
    starts, stops = order.bounds[:-1], order.bounds[1:]
    some = stops > starts
    firsts, lasts = order.ticks[starts[some]] // n_ticks, order.ticks[stops[some] - 1] // n_ticks
    return int((lasts - firsts + 1).sum())


@dataclass
class LoadFiles:
    """The files of one LOAD, as they are written."""

    folder: Path
    plan: WritePlan
    n_cell_bytes: int = 0
    n_rows: int = 0
    n_points: int = 0
    n_bytes: int = 0
    n_files: int = 0
    start: int = (1 << 63) - 1
    end: int = -(1 << 63)
    rows: list[slice | np.ndarray] = field(default_factory=list)
    devices: list[Device] = field(default_factory=list)
    stream: Any = None
    writer: TsFileWriter | None = None

    def add(self, some: FileRows) -> None:
        """Append rows to the file that is open, or to a new one."""
        if self.writer is None:
            self.folder.mkdir(exist_ok=True)
            self.folder.chmod(0o755)
            self.stream = (self.folder / f"{self.n_files}.tsfile").open("xb")
            self.writer = TsFileWriter(self.stream, n_threads=2)
        self.writer.write(some.devices, some.ticks, some.columns)
        self.n_cell_bytes += len(some.ticks) * self.plan.row_bytes
        self.rows.append(some.rows)
        self.devices += [d for d, _, _ in some.devices[: 5 - len(self.devices)]]
        self.start = min(self.start, int(some.ticks.min()))
        self.end = max(self.end, int(some.ticks.max()))

    def close_file(self) -> None:
        """Finish the file that is open."""
        if self.writer is None:
            return
        self.writer.close(tables=tables_of(self.plan))
        self.stream.close()
        self.n_rows += self.writer.n_rows
        self.n_points += self.writer.n_points
        self.n_bytes += self.writer.n_bytes
        self.n_files += 1
        self.writer = None

    def finish(self, *, is_whole: bool) -> LoadRequest:
        """The request of all files."""
        self.close_file()
        written = [c.column.name for part in self.plan.parts for c in part.written]
        return LoadRequest(
            tablets=(),
            rows=self._frame_rows(),
            n_points=self.n_points,
            start=self.start,
            end=self.end,
            is_whole=is_whole,
            folder=self.folder,
            statement=load_of(self.folder, self.plan),
            n_file_rows=self.n_rows,
            n_file_bytes=self.n_bytes,
            n_files=self.n_files,
            devices=tuple(".".join(s or "" for s in d) for d in self.devices),
            names=tuple(written[:50]),
        )

    def _frame_rows(self) -> slice | np.ndarray:
        """Positions in the frame of all rows, each once."""
        slices = [some for some in self.rows if isinstance(some, slice)]
        if len(slices) == len(self.rows) and all(a.stop == b.start for a, b in pairwise(slices)):
            return slice(slices[0].start, slices[-1].stop)
        is_there = np.zeros(self.plan.layout.n_rows, bool)  # parts have rows in common
        for some in self.rows:
            is_there[some] = True
        return np.flatnonzero(is_there)

    def abandon(self) -> None:
        """Remove what was written."""
        if self.writer is not None:
            self.writer.abandon()
            self.stream.close()
        shutil.rmtree(self.folder, ignore_errors=True)
