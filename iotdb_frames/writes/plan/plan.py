"""What a write would do: types, order, chunks, problems. The write carries out this very plan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from iotdb_frames.codec.cells import Rules
from iotdb_frames.codec.names import Target
from iotdb_frames.display.card import Card, Shown
from iotdb_frames.display.grid import Grid
from iotdb_frames.display.words import count, plural, repeated, size
from iotdb_frames.errors import Call, FrameError, Hint, as_hint
from iotdb_frames.options import CompressionType, TSDataType, TSEncoding, WriteOptions
from iotdb_frames.writes.plan.layout import (
    Category,
    Column,
    Layout,
)
from iotdb_frames.writes.plan.order import (
    Order,
)
from iotdb_frames.writes.report import empty_rows, lossy_values

CHECK_ROWS = 1 << 18
_NOTHING: Mapping[str, TSDataType] = {}
FIRST_SHARE = 4
"""The first request of a lane is this part of a chunk; each later one twice the one before."""


@dataclass(frozen=True)
class Existing:
    """What the server has of a target; the empty one where it has nothing or nobody looked.

    types : type of each existing series, by device (of a table "") and column name as on the wire;
        devices that are alike may share one mapping
    aligned : whether an existing device is aligned, by device
    tags : tag columns of an existing table, in order; None where there is no table
    categories : category of each column of an existing table
    time : name of an existing table's time column
    aliases : measurement that an alias stands for, by (device, alias as on the wire)
    templates : device template that a device is below, activated or not, by device
    was_seen : False where the user may not look, or nobody asked
    note : what the user should know of that
    is_remembered : whether some of it was seen by an earlier call
    epoch : of the connection, when it was asked (see `Connection.epoch`)
    """

    types: Mapping[str, Mapping[str, TSDataType]] = field(default_factory=dict)
    aligned: Mapping[str, bool] = field(default_factory=dict)
    tags: tuple[str, ...] | None = None
    categories: Mapping[str, Category] = field(default_factory=dict)
    time: str = "time"
    aliases: Mapping[tuple[str, str], str] = field(default_factory=dict)
    templates: Mapping[str, str] = field(default_factory=dict)
    was_seen: bool = False
    note: str | None = None
    is_remembered: bool = False
    epoch: int = 0

    @classmethod
    def of_table(
        cls,
        types: Mapping[str, TSDataType],
        categories: Mapping[str, Category],
        *,
        time: str = "time",
    ) -> Existing:
        """A table that is there, with these columns."""
        tags = tuple(name for name, category in categories.items() if category == "tag")
        return cls(types={"": types}, tags=tags, categories=categories, time=time, was_seen=True)

    def type_of(self, device: str, name: str) -> TSDataType | None:
        """The type of a series; None where it is not there."""
        return self.types.get(device, {}).get(name)


@dataclass(frozen=True)
class PlannedColumn:
    """A column and what becomes of it.

    column : name, source, category
    data_type : None where the column is left out: no values and no known type
    encoding, compression : as asked for; None: the server's own choice
    state : "new", "exists", "left out", or "unknown" where the schema could not be seen
    """

    column: Column
    data_type: TSDataType | None
    encoding: TSEncoding | None = None
    compression: CompressionType | None = None
    state: Literal["new", "exists", "left out", "unknown"] = "unknown"


@dataclass(frozen=True)
class PlannedPart:
    """A part's device and columns; `is_aligned` says how its devices are written."""

    device: str | None
    columns: tuple[PlannedColumn, ...]

    @property
    def written(self) -> list[PlannedColumn]:
        """The columns that are not left out."""
        return [c for c in self.columns if c.data_type is not None]


@dataclass(frozen=True)
class Refused:
    """Rows that cannot be sent, and why: int64 positions in the frame, ascending."""

    rows: np.ndarray
    error: FrameError


@dataclass(frozen=True, repr=False, eq=False)
class WritePlan(Shown):
    """Everything a write would do; nothing was sent.

    Attributes
    ----------
    target, options, rules, layout : what was asked
    parts : devices and columns
    order : rows as they will be sent
    devices : device of each group of the order (tree model with a device column, and tables on
        their way to several nodes), else empty
    existing : what the server has
    problems : what keeps the write from starting, or rows it would leave out
    row_bytes : encoded bytes of a row, about
    notes : what the user should know
    lossy : how many values of a column would lose precision under ``coerce="lossy"``, by its label;
        those of the times by "time"
    is_empty : bool, shape (n_rows,): rows that have missing values only, in the tree model, where
        they leave nothing behind; None where there are none
    ddl : what would be created, as SQL
    starts_small : whether the first requests are smaller, for a wire that waits
    read_facts, read_grids : of a file, how it is read
    """

    target: Target
    options: WriteOptions
    rules: Rules
    layout: Layout
    parts: tuple[PlannedPart, ...]
    order: Order
    devices: tuple[Any, ...]
    existing: Existing
    problems: tuple[Refused | FrameError, ...]
    row_bytes: int
    notes: tuple[str, ...] = ()
    lossy: Mapping[str, int] = field(default_factory=dict)
    is_empty: np.ndarray | None = None
    ddl: tuple[str, ...] = ()
    starts_small: bool = True
    read_facts: Sequence[tuple[str, Any]] = ()
    read_grids: Sequence[Grid] = ()

    @property
    def n_devices(self) -> int:
        """Devices that would be written."""
        if self.target.model == "table" or self.layout.device is not None:
            return len(self.order.bounds) - 1 if len(self.order) else 0
        return len(self.parts)

    @property
    def rows_empty(self) -> int:
        """Rows of missing values only, which leave nothing behind in the tree model."""
        return self.n_empty(self.order.frame_rows(0, len(self.order)))

    def n_empty(self, rows: slice | np.ndarray) -> int:
        """How many of some rows of the frame are empty (see `is_empty`)."""
        return 0 if self.is_empty is None else int(np.count_nonzero(self.is_empty[rows]))

    @property
    def n_bytes(self) -> int:
        """Encoded bytes, about."""
        return self.row_bytes * len(self.order)

    @property
    def chunk_rows(self) -> int:
        """Rows of a request."""
        limit = self.options.chunk_bytes
        if limit is None:
            return int(self.options.chunk)
        return max(1, limit // max(1, self.row_bytes))

    def cuts(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Ranges of the order that make a request each.

        Where `chunk` is in bytes the first are smaller, so that the wire is soon busy.
        """
        rows = self.chunk_rows
        is_small = self.options.chunk_bytes is not None and self.starts_small
        step = max(1, rows // FIRST_SHARE) if is_small else rows
        while start < stop:
            yield start, min(start + step, stop)
            start, step = start + step, min(rows, step * 2)

    def is_aligned(self, device: str) -> bool:
        """How a device is written: its own way where it exists, else as asked."""
        return self.existing.aligned.get(device, self.options.aligned)

    def missing(self) -> list[tuple[str, PlannedColumn]]:
        """(device or "", column) of every column that the server lacks, as far as it was seen."""
        if not self.existing.was_seen:
            return []
        out: list[tuple[str, PlannedColumn]] = []
        for part in self.parts:
            lacking: dict[int, list[PlannedColumn]] = {}  # by what is there: devices are alike
            for device in self.devices if self.layout.device else [part.device or ""]:
                there = self.existing.types.get(device, _NOTHING)
                if id(there) not in lacking:
                    lacking[id(there)] = [c for c in part.written if c.column.name not in there]
                if new := lacking[id(there)]:
                    out += [(device, c) for c in new]
        return out

    def check(self) -> None:
        """Raise the first problem, unless rows are to be collected.

        Raises
        ------
        FrameError, TimeIndexError, ColumnTypeError
        """
        for problem in self.problems:
            if isinstance(problem, Refused):
                if self.options.on_error == "collect":
                    continue
                problem = problem.error
            if len(self.problems) > 1:
                n = plural(len(self.problems) - 1, "more problem")
                shows = Call("df.iotdb.plan(…)", in_shell="--dry-run")
                more = (f"{n}: ", shows, " shows all")
                hint = problem.hint
                problem.hint = as_hint(hint).with_more(*more) if hint else Hint(*more)
            raise problem

    def card(self) -> Card:
        """Its summary card."""
        rows = []
        for part in self.parts:
            for c in part.columns:
                source = c.column.source
                rows.append(
                    (
                        str(source.label),
                        source.dtype,
                        c.data_type.name if c.data_type is not None else "—",
                        c.column.category if self.target.model == "table" else c.state,
                        c.encoding.name.lower() if c.encoding is not None else "default",
                        c.compression.name.lower() if c.compression is not None else "default",
                        source.n_missing(keep_nan=self.rules.keep_nan),
                    )
                )
        kind = "kind" if self.target.model == "table" else "state"
        header = ("column", "from", "to", kind, "encoding", "compression", "nulls")
        chunks = sum(1 for _ in self.cuts(0, len(self.order))) * len(self.parts)
        facts: list[tuple[str, Any]] = [
            ("rows", (count(self.layout.n_rows), f"{count(len(self.order))} to send")),
            ("devices", count(self.n_devices)),
            ("bytes", f"about {size(self.n_bytes)} in at most {plural(chunks, 'chunk')}"),
            *self.read_facts,
        ]
        if n_empty := self.rows_empty:
            facts.append(("empty", empty_rows(n_empty)))
        if self.lossy:
            facts.append(("lost precision", lossy_values(self.lossy)))
        if self.order.n_duplicates:
            how = {"merge": "merged", "last": "the last kept", "first": "the first kept"}
            facts.append(
                (
                    "duplicates",
                    f"{repeated(self.order.n_duplicates)}: "
                    f"{how.get(self.options.duplicates, 'refused')}",
                )
            )
        says = [i for i in range(len(header)) if any(row[i] not in ("", "default") for row in rows)]
        grids = [
            Grid([header[i] for i in says], [[row[i] for i in says] for row in rows]),
            *self.read_grids,
        ]
        if self.ddl:
            grids.append(Grid(("would create",), [(line,) for line in self.ddl], is_folded=True))
        problems = [
            (problem.error if isinstance(problem, Refused) else problem).told()
            for problem in self.problems
        ]
        status = "bad" if problems else "ok"
        return Card("plan", str(self.target), status, facts, grids, self.notes, problems)
