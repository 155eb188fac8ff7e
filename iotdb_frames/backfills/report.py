"""The result of a backfill, and its plan."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from iotdb_frames.display.card import Card, Shown
from iotdb_frames.display.grid import Grid
from iotdb_frames.display.words import count, duration, plural, rate, size
from iotdb_frames.files.csv.explain import Explained
from iotdb_frames.writes.report import empty_rows, lossy_values

MAX_PROBLEMS = 1_000


@dataclass(frozen=True)
class FileState:
    """A file of a backfill.

    units : its units by state: "pending", "sending", "written", "verified", "failed"
    is_read : whether all of its units are known
    """

    name: str
    n_bytes: int
    units: dict[str, int] = field(default_factory=dict)
    rows: int = 0
    refused: int = 0
    is_read: bool = False
    error: str | None = None

    @property
    def state(self) -> str:
        """ "waiting", "under way", "written", "verified" or "failed"."""
        if self.error or self.units.get("failed"):
            return "failed"
        if not self.units and not self.is_read:
            return "waiting"
        if not self.is_read or self.units.get("pending") or self.units.get("sending"):
            return "under way"
        return "written" if self.units.get("written") else "verified"


@dataclass(frozen=True)
class UnitProblem:
    """A unit with a problem: its place in the file, and what is wrong."""

    file: str
    start: int
    stop: int
    state: str
    message: str


@dataclass(repr=False)
class BackfillReport(Shown):
    """The result of a backfill: the whole job, all its runs together, and the last run's rates.

    Attributes
    ----------
    target : as of the call
    files : each file and its state
    rows, rows_written : rows of all known units, and those with every cell acknowledged
    points : acknowledged cells that are not null
    rows_empty, lossy : as in a WriteReport
    rows_refused : rows in the dead letter
    n_bytes, bytes_done : size of the sources, and the part of it that is written
    units : number of units by state
    problems : units that are not stored as they should be, the first 1,000
    verdicts, verified_notes : results of verification, as numbers of units and in words
    seconds, run_rows, run_points, bytes_sent, retries : of this run
    verify : "count" or "values", if it was asked for
    manifest, dead_letter : files
    server : version and ``wal_mode`` of the server, if it reports it
    holder : process and host that is at work on it now, if one is
    notes : what the user should know
    """

    target: str
    manifest: str
    files: list[FileState] = field(default_factory=list)
    rows: int = 0
    rows_written: int = 0
    rows_refused: int = 0
    rows_empty: int = 0
    lossy: dict[str, int] = field(default_factory=dict)
    points: int = 0
    n_bytes: int = 0
    bytes_done: int = 0
    units: dict[str, int] = field(default_factory=dict)
    problems: list[UnitProblem] = field(default_factory=list)
    verdicts: dict[str, int] = field(default_factory=dict)
    verified_notes: list[str] = field(default_factory=list)
    verify: str | None = None
    seconds: float = 0.0
    run_rows: int = 0
    run_points: int = 0
    bytes_sent: int = 0
    retries: int = 0
    dead_letter: str | None = None
    server: str = ""
    holder: dict[str, Any] | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def rows_in(self) -> int:
        """`rows`, under the name of a WriteReport."""
        return self.rows

    @property
    def is_complete(self) -> bool:
        """Whether every row of every file was acknowledged, and verified if requested."""
        good = {"verified"} if self.verify else {"written", "verified"}
        return (
            all(f.is_read and not f.error for f in self.files)
            and set(self.units) <= good
            and not self.rows_refused
        )

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left to be sent or verified; rows may have been refused."""
        good = {"verified", "failed"} if self.verify else {"written", "verified", "failed"}
        return all(f.is_read or f.error for f in self.files) and set(self.units) <= good

    def card(self) -> Card:
        """Its summary card."""
        done = sum(f.state in ("written", "verified") for f in self.files)
        facts: list[tuple[str, Any]] = [
            ("files", f"{count(done)} of {count(len(self.files))} done"),
            ("rows", f"{count(self.rows_written)} of {count(self.rows)} read were written"),
            ("points", count(self.points)),
        ]
        if self.n_bytes:
            facts.append(("read", f"{size(self.bytes_done)} of {size(self.n_bytes)}"))
        if self.seconds:
            pace = rate(self.run_points / self.seconds, "points")
            facts.append(
                ("this run", (duration(self.seconds), f"{plural(self.run_rows, 'row')}, {pace}"))
            )
        if self.retries:
            facts.append(("retries", count(self.retries)))
        if self.rows_empty:
            facts.append(("empty", empty_rows(self.rows_empty)))
        if self.lossy:
            facts.append(("lost precision", lossy_values(self.lossy)))
        if self.rows_refused:
            facts.append(("refused", plural(self.rows_refused, "row")))
        if self.dead_letter:
            facts.append(("dead letter", self.dead_letter))
        if self.verify:
            proven = self.units.get("verified", 0)
            of = f"{count(proven)} of {plural(sum(self.units.values()), 'unit')}"
            facts.append(("verified", (of, self.verify)))
        if self.server:
            facts.append(("server", self.server))
        facts.append(("manifest", self.manifest))
        if self.holder:
            facts.append(("under way", f"process {self.holder['pid']} on {self.holder['host']}"))
        grids = []
        shown = [f for f in self.files if f.state not in ("written", "verified")] or self.files
        rows = [(f.name, f.state, f.rows, sum(f.units.values()), size(f.n_bytes)) for f in shown]
        grids.append(Grid(("file", "state", "rows", "units", "size"), rows))
        if self.problems:
            problems = [
                (p.file, f"{p.start:,} to {p.stop:,}", p.state, p.message) for p in self.problems
            ]
            grids.append(Grid(("problem in", "unit", "state", "what"), problems))
        if self.is_complete:
            status = "ok"
        else:
            status = "warn" if self.is_finished or not self.problems else "bad"
        notes = [*self.verified_notes, *self.notes]
        return Card("backfill", self.target, status, facts, grids, notes)


@dataclass(repr=False)
class BackfillPlan(Shown):
    """What a backfill would read and how, from footers and samples; nothing was sent.

    Attributes
    ----------
    target : as of the call
    files : names, formats, bytes
    dialects : how CSV files are read: an example, and the number of files read this way
    writes : for each kind of file, the name of the first one, and the plan of a sample of it
    notes : what the user should know
    problems : what keeps the backfill from starting
    """

    target: str
    files: list[tuple[str, str, int]]
    dialects: list[tuple[Explained, int]] = field(default_factory=list)
    writes: list[tuple[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def card(self) -> Card:
        """Its summary card."""
        total = sum(n for _, _, n in self.files)
        facts: list[tuple[str, Any]] = [
            ("files", (count(len(self.files)), size(total))),
        ]
        grids = [Grid(("file", "format", "size"), [(n, f, size(s)) for n, f, s in self.files])]
        for explained, n_files in self.dialects:
            facts.append(("csv", (explained.file, plural(n_files, "file"))))
            facts += explained.facts
            grids.append(explained.values)
        problems = list(self.problems)
        for name, plan in self.writes:
            planned = plan.card()
            problems += planned.problems
            some = list(planned.grids)
            if len(self.writes) > 1:  # say whose columns these are
                label, *others = some[0].header
                some[0] = replace(some[0], header=[f"{label} of {name}", *others])
            grids += some
        status = "bad" if problems else "ok"
        return Card("backfill plan", self.target, status, facts, grids, self.notes, problems)
