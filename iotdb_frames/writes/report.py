"""What became of a write."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from iotdb_frames.display.card import Card, Shown
from iotdb_frames.display.grid import Grid
from iotdb_frames.display.words import count, duration, plural, rate, repeated, size
from iotdb_frames.errors import OptionsError, PartialWriteError

_SUMMED = (
    *("rows_in", "rows_written", "points", "chunks", "bytes_sent", "retries"),
    *("duplicates", "rows_refused", "rows_empty", "n_failures"),
)
State = Literal["refused", "partly stored", "in doubt"]
MAX_FAILURES = MAX_SERIES = 1_000


def empty_rows(n_rows: int) -> str:
    """How a plan and a report tell rows of missing values only."""
    return f"{plural(n_rows, 'row')} of missing values only: nothing to store"


def lossy_values(lossy: Mapping[str, int]) -> str:
    """How a plan and a report tell values that lost precision, by column."""
    shown = [f"{plural(n, 'value')} of {name}" for name, n in list(lossy.items())[:5]]
    more = f" and {plural(len(lossy) - 5, 'more column')}" if len(lossy) > 5 else ""
    return ", ".join(shown) + more


def further_refused(path: object) -> str:
    """How a report tells a file of refused rows that is not its first."""
    return f"further refused rows are in {path}"


@dataclass(frozen=True)
class ChunkFailure:
    """A chunk that did not simply succeed.

    targets : devices, or the table
    start, end : first and last time, in ticks of the server
    rows : rows of the chunk
    columns : its measurements
    state : "refused" (nothing stored), "partly stored" (some columns or rows are), "in doubt" (sent
        and never answered)
    code, message : the server's
    """

    targets: tuple[str, ...]
    start: int
    end: int
    rows: int
    columns: tuple[str, ...]
    state: State
    code: int | None
    message: str


@dataclass(repr=False)
class WriteReport(Shown):
    """What became of a write; holds no cell values.

    Attributes
    ----------
    target : device, prefix of devices, or table
    rows_in : rows of the data
    rows_written : rows of which every cell was acknowledged
    points : cells that are not null, acknowledged
    chunks, bytes_sent : requests that were acknowledged, and their bytes
    seconds : from the first look at the data to the last answer
    retries : requests that were sent again
    duplicates : rows whose (device, time) an earlier row has
    rows_refused : rows that were left out or refused under ``on_error="collect"``
    rows_empty : those of them that have missing values only, in the tree model: nothing is stored
    lossy : how many values of a column lost precision under ``coerce="lossy"``, by its label; those
        of the times by "time"
    failures, n_failures : chunks that did not simply succeed, the first 1,000, and how many in all
    dead_letter : file of the refused rows
    notes : what the user should know, e.g. that the schema could not be compared
    """

    target: str
    rows_in: int = 0
    rows_written: int = 0
    points: int = 0
    chunks: int = 0
    bytes_sent: int = 0
    seconds: float = 0.0
    retries: int = 0
    duplicates: int = 0
    rows_refused: int = 0
    rows_empty: int = 0
    lossy: dict[str, int] = field(default_factory=dict)
    failures: list[ChunkFailure] = field(default_factory=list)
    n_failures: int = 0
    dead_letter: str | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def rows_per_s(self) -> float:
        """Rows written a second."""
        return self.rows_written / self.seconds if self.seconds else 0.0

    @property
    def points_per_s(self) -> float:
        """Points written a second."""
        return self.points / self.seconds if self.seconds else 0.0

    @property
    def is_complete(self) -> bool:
        """Whether every row was acknowledged."""
        return not self.n_failures and not self.rows_refused

    @property
    def is_partly_stored(self) -> bool:
        """Whether the server holds some of it, or may."""
        return bool(self.chunks) or any(f.state != "refused" for f in self.failures)

    @classmethod
    def merge(cls, reports: Iterable[WriteReport], *, seconds: float | None = None) -> WriteReport:
        """The reports of the writes that make one job, as one.

        Parameters
        ----------
        reports : one at least, e.g. of each partition of a table, wherever it was written. A write
            that was tried again counts as often as it is among them
        seconds : how long the job took; None: as long as the longest of them, as if they had gone
            on side by side

        Raises
        ------
        OptionsError : no reports, or something else.
        """
        some = list(reports)
        if not some or not all(isinstance(one, WriteReport) for one in some):
            raise OptionsError("merge takes WriteReports, at least one", hint="merge([one, other])")
        targets = list(dict.fromkeys(one.target for one in some))
        more = f" and {plural(len(targets) - 1, 'other target')}" if targets[1:] else ""
        total = cls(targets[0] + more)
        for name in _SUMMED:
            setattr(total, name, sum(getattr(one, name) for one in some))
        total.seconds = max(one.seconds for one in some) if seconds is None else seconds
        for one in some:
            for label, n_values in one.lossy.items():
                total.lossy[label] = total.lossy.get(label, 0) + n_values
            total.failures += one.failures[: MAX_FAILURES - len(total.failures)]
        files = [one.dead_letter for one in some if one.dead_letter is not None]
        total.dead_letter = files[0] if files else None
        notes = [note for one in some for note in one.notes]
        total.notes = list(dict.fromkeys([*notes, *map(further_refused, files[1:])]))
        return total

    def add_failure(self, failure: ChunkFailure) -> None:
        """Note a failure; beyond the cap only its number."""
        self.n_failures += 1
        if len(self.failures) < MAX_FAILURES:
            self.failures.append(failure)

    def card(self) -> Card:
        """Its summary card."""
        facts: list[tuple[str, Any]] = [
            ("rows", f"{count(self.rows_written)} of {count(self.rows_in)} written"),
            ("points", (count(self.points), rate(self.points_per_s, "points"))),
            ("sent", f"{size(self.bytes_sent)} in {plural(self.chunks, 'chunk')}"),
            ("took", duration(self.seconds)),
        ]
        if self.duplicates:
            facts.append(("duplicates", repeated(self.duplicates)))
        if self.retries:
            facts.append(("retries", count(self.retries)))
        if self.rows_refused:
            facts.append(("refused", plural(self.rows_refused, "row")))
        if self.rows_empty:
            facts.append(("empty", empty_rows(self.rows_empty)))
        if self.lossy:
            facts.append(("lost precision", lossy_values(self.lossy)))
        if self.dead_letter:
            facts.append(("dead letter", self.dead_letter))
        grids = []
        if self.failures:
            header = ("chunk of", "rows", "state", "code", "the server says")
            rows = [
                (
                    f.targets[0] + (f" and {len(f.targets) - 1} more" if f.targets[1:] else ""),
                    f.rows,
                    f.state,
                    "" if f.code is None else str(f.code),
                    f.message,
                )
                for f in self.failures
            ]
            grids.append(Grid(header, rows))
        is_stored = self.rows_written or not self.rows_in
        status = "ok" if self.is_complete else "warn" if is_stored else "bad"
        return Card("write", self.target, status, facts, grids, self.notes)


def partly_stored(report: WriteReport, then: str, *, hint: str | None = None) -> PartialWriteError:
    """The error of a write that stored some of its rows before it failed, with its report.

    then : why it failed
    hint : None: that it is safe to write the frame again
    """
    error = PartialWriteError(
        f"{plural(report.points, 'point')} in {plural(report.chunks, 'chunk')} were acknowledged, "
        f"then: {then}",
        hint=hint or "error.report tells the chunks; writing the same frame again is safe",
    )
    error.report = report
    return error


@dataclass(repr=False)
class CreateReport(Shown):
    """What a `create` made.

    Attributes
    ----------
    target : device, prefix of devices, or table
    columns : IoTDB type of each column that has one, by its label
    made, n_made : what was created, as SQL, the first 1,000, and how many in all. Nothing: it was
        there
    notes : what the user should know, e.g. columns without a type
    """

    target: str
    columns: dict[str, str]
    made: tuple[str, ...] = ()
    n_made: int = 0
    notes: tuple[str, ...] = ()

    def card(self) -> Card:
        """Its summary card."""
        facts: list[tuple[str, Any]] = [
            ("columns", count(len(self.columns))),
            ("created", count(self.n_made) if self.n_made else "nothing: all of it is there"),
        ]
        grids = [Grid(("created",), [(line,) for line in self.made], is_folded=True)]
        return Card("create", self.target, "ok", facts, grids * bool(self.made), self.notes)


@dataclass(repr=False)
class DeleteReport(Shown):
    """What a `delete` or a `drop` took; how many rows that were, the server does not say.

    Attributes
    ----------
    did : "delete" or "drop"
    target : device, prefix of devices, or table
    series : paths of the series (tree model), the first 1,000
    n_series : how many in all, or 1 for a table; 0: there was nothing; None: the user may not see
        them
    start, end : first tick that went, and first that stayed; None: no bound
    precision : unit of the ticks
    notes : what the user should know
    """

    did: Literal["delete", "drop"]
    target: str
    series: tuple[str, ...] = ()
    n_series: int | None = None
    start: int | None = None
    end: int | None = None
    precision: Literal["ms", "us", "ns"] = "ms"
    notes: tuple[str, ...] = ()

    def card(self) -> Card:
        """Its summary card."""
        facts: list[tuple[str, Any]] = []
        if self.series:
            shown = ", ".join(self.series[:3]) + ", …" * (len(self.series) > 3)
            facts.append(("series", (count(self.n_series or len(self.series)), shown)))
        if self.did == "delete":
            low, high = (
                "" if tick is None else f"{np.datetime64(tick, self.precision)}Z"
                for tick in (self.start, self.end)
            )
            facts.append(("from", low or "the first row"))
            facts.append(("to", f"{high}, left out" if high else "the last row"))
        notes = [*self.notes, *["there was nothing of that name"] * (self.n_series == 0)]
        return Card(self.did, self.target, "warn" if notes else "ok", facts, notes=notes)
