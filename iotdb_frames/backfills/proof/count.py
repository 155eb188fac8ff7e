"""Proof that everything arrived: count points, or read them back and compare cell by cell.

A count proves a unit that is alone at its devices and times: any missing points show. If there were
points before, or another unit has points at the same devices and times, a count can hide a loss
behind these; such a unit is compared by its values.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from iotdb_frames.backfills.manifest import DONE, Manifest, UnitRow, unpack
from iotdb_frames.backfills.proof.compare import Wrong, compare
from iotdb_frames.backfills.proof.expect import (
    COLUMNS_A_QUERY,
    DEVICES_A_QUERY,
    Device,
    Expected,
    device_condition,
)
from iotdb_frames.backfills.proof.overlaps import Overlaps
from iotdb_frames.client.connection import Connection
from iotdb_frames.codec.names import Target
from iotdb_frames.codec.quotes import quote_identifier
from iotdb_frames.display.words import plural
from iotdb_frames.errors import FrameError, PermissionDenied, QueryError
from iotdb_frames.options import RetryPolicy
from iotdb_frames.writes.plan.plan import WritePlan
from iotdb_frames.writes.schema.look import query_table

_GONE = {500, 508, 550, 616}  # database, path, table or column is not there: no points

Counts = dict[tuple[int, str], int]
"""Points by (group of the unit, column)."""


def flush(connection: Connection, target: Target) -> str | None:
    """Have the server flush its memory; return a note if that is not permitted.

    What a count finds afterwards is in files on disk, and no longer needs the log.
    """
    try:
        connection.run(lambda session: session.execute("FLUSH"), model=target.model)
    except PermissionDenied as exc:
        return f"the server was not flushed before verifying: {exc.message}"
    return None


def count_points(connection: Connection, target: Target, expected: Expected) -> Counts:
    """The points that the server has in a unit's columns, at its devices and in its time range."""
    out: Counts = {}
    for at, group in enumerate(expected.groups):
        names = list(group.columns)
        for i in range(0, len(names), COLUMNS_A_QUERY):
            some = names[i : i + COLUMNS_A_QUERY]
            try:
                found = _count(connection, target, expected, group.devices, some)
            except QueryError as exc:
                if exc.code not in _GONE:
                    raise
                found = {}
            out.update({(at, name): found.get(name, 0) for name in some})
    return out


def _count(
    connection: Connection,
    target: Target,
    expected: Expected,
    devices: frozenset[Device],
    names: Sequence[str],
) -> dict[str, int]:
    if target.model == "table":
        return _count_in_table(connection, target, expected, devices, names)
    out = dict.fromkeys(names, 0)
    wanted = ", ".join(f"count({name})" for name in names)
    for paths in chunks(sorted(str(d[0]) for d in devices), DEVICES_A_QUERY):
        sql = f"SELECT {wanted} FROM {', '.join(paths)} WHERE {expected.span} ALIGN BY DEVICE"
        table = query_table(connection, sql, model="tree")
        for name in names:
            label = f"count({name})"
            if label in table.column_names:
                out[name] += sum(v or 0 for v in table[label].to_pylist())
    return out


def _count_in_table(
    connection: Connection,
    target: Target,
    expected: Expected,
    devices: frozenset[Device],
    names: Sequence[str],
) -> dict[str, int]:
    tags = [quote_identifier(tag) for tag in expected.tags]
    wanted = ", ".join([*tags, *(f"count({quote_identifier(n)})" for n in names)])
    where = [expected.span, *device_condition(expected, devices)]
    grouped = f" GROUP BY {', '.join(tags)}" if tags else ""
    sql = f"SELECT {wanted} FROM {target.sql} WHERE {' AND '.join(where)}{grouped}"
    table = query_table(connection, sql, model="table")
    columns = [column.to_pylist() for column in table.columns]
    keys = list(zip(*columns[: len(tags)], strict=True)) if tags else [()]
    counts = columns[len(tags) :]
    mine = [i for i, key in enumerate(keys) if key in devices and i < len(counts[0])]
    return {
        name: sum(values[i] or 0 for i in mine) for name, values in zip(names, counts, strict=True)
    }


def chunks(values: Sequence[str], n: int) -> Iterator[Sequence[str]]:
    """Values, `n` at a time."""
    for i in range(0, len(values), n):
        yield values[i : i + n]


COMPLETE, COMPLETE_BESIDE, MISSING = "complete", "complete beside others", "missing"


@dataclass
class Outcome:
    """The result of verification.

    verdicts : number of units by verdict
    missing : (unit, what is missing, in words), to be sent again
    """

    verdicts: Counter[str] = field(default_factory=Counter)
    missing: list[tuple[UnitRow, str]] = field(default_factory=list)


PlanUnits = Callable[[Sequence[UnitRow]], Iterator[tuple[UnitRow, WritePlan | None]]]
"""Reads the sources of units, in order, and plans them; None for a unit without rows."""
MOST_CELLS = 1 << 20
"""Most differing cells in memory, until it is known what later units wrote there."""


@dataclass
class _Doubt:
    """A unit whose cells are to be compared, and what is known of it."""

    unit: UnitRow
    expected: Expected
    others: list[UnitRow]
    extra: int
    wrong: Wrong | None = None

    @property
    def found(self) -> str | None:
        """What exists besides the unit's points, in words."""
        unit, words = self.unit, []
        if unit.before:
            words.append(f"{plural(unit.before, 'point')} existed before")
        if self.others:
            words.append(f"{plural(len(self.others), 'unit')} at the same devices and times")
        if self.extra > 0 and not words:
            words.append(f"{plural(self.extra, 'more point')}, written by others")
        if unit.error is not None:
            words.append(f"{plural(unit.refused, 'row')} of it were refused")
        return ", ".join(words) or None


class Verifier:
    """Verifies the units that are written and not yet verified.

    Parameters
    ----------
    how : "count" or "values"
    plan_units : see `PlanUnits`
    on_unit : called with each unit, for the progress
    policy : how long it retries when the server is away
    """

    def __init__(
        self,
        manifest: Manifest,
        connection: Connection,
        target: Target,
        *,
        how: str,
        plan_units: PlanUnits,
        on_unit: Callable[[UnitRow], None],
        policy: RetryPolicy,
    ) -> None:
        self._manifest = manifest
        self._connection = connection
        self._target = target
        self._how = how
        self._plan_units = plan_units
        self._on_unit = on_unit
        self._policy = policy
        self._overlaps = Overlaps(manifest.units(*DONE))
        self._outcome = Outcome()

    def go(self) -> Outcome:
        """Verify all; a unit's verdict is stored in the manifest as soon as it is known."""
        doubts: dict[int, _Doubt] = {}
        for unit in self._manifest.units("written"):
            count = partial(self._count, unit)
            doubt = self._connection.try_whole(count, policy=self._policy)
            if doubt is not None:
                doubts[unit.id] = doubt
        waiting: list[_Doubt] = []
        for unit, plan in self._plan_units([d.unit for d in doubts.values()]):
            doubt = doubts.pop(unit.id)
            problems = (
                [] if plan is None else [p for p in plan.problems if isinstance(p, FrameError)]
            )
            if problems:  # when it is sent again, the error names file and line
                self._is_missing(unit, f"it cannot be compared: {problems[0].message}")
                continue
            if plan is not None:
                look = partial(compare, self._connection, plan, doubt.expected)
                doubt.wrong = self._connection.try_whole(look, policy=self._policy)
            if not doubt.wrong or unit.error is not None:
                self._is_complete(unit, beside=doubt.found)
                continue
            waiting.append(doubt)
            if sum(len(d.wrong or ()) for d in waiting) > MOST_CELLS:
                self._settle(waiting)
                waiting = []
        self._settle(waiting)
        return self._outcome

    def _is_complete(self, unit: UnitRow, *, beside: str | None = None) -> None:
        """All of it is stored; `beside`: what else is, in words."""
        verdict = COMPLETE if beside is None else COMPLETE_BESIDE
        self._manifest.set_unit(unit.id, state="verified", verdict=verdict, beside=beside)
        self._outcome.verdicts[verdict] += 1
        self._on_unit(unit)

    def _is_missing(self, unit: UnitRow, lacks: str) -> None:
        """Part of it is not stored."""
        self._outcome.missing.append((unit, lacks))
        self._outcome.verdicts[MISSING] += 1
        self._on_unit(unit)

    def _count(self, unit: UnitRow) -> _Doubt | None:
        """Verify by the count alone; a doubt if that is not enough."""
        expected = None if unit.expected is None else Expected.from_plain(unpack(unit.expected))
        if expected is None or not expected.n_points:
            self._is_complete(unit)
            return None
        found = count_points(self._connection, self._target, expected)
        wanted = {
            (at, name): n
            for at, group in enumerate(expected.groups)
            for name, n in group.columns.items()
        }
        short = {key: wanted[key] - n for key, n in found.items() if n < wanted[key]}
        # What the server refused is missing, but that is known.
        if short and unit.error is None:
            (_, name), _n = max(short.items(), key=lambda item: item[1])
            self._is_missing(
                unit, f"{plural(sum(short.values()), 'point')}, most of them of {name}"
            )
            return None
        extra = sum(found.values()) - sum(wanted.values())
        others = self._overlaps.of(unit)
        if self._how == "count" and not extra and not unit.before and not others:
            self._is_complete(unit)
            return None
        return _Doubt(unit, expected, others, extra)

    def _settle(self, waiting: Sequence[_Doubt]) -> None:
        """Separate cells that later units overwrote from wrong ones, in one pass over the units."""
        later: dict[int, UnitRow] = {}
        by_later: dict[int, list[Wrong]] = {}
        for doubt in waiting:
            place = (doubt.unit.file, doubt.unit.start)
            for other in doubt.others:
                if (other.file, other.start) > place and doubt.wrong is not None:
                    later[other.id] = other
                    by_later.setdefault(other.id, []).append(doubt.wrong)
        in_order = sorted(later.values(), key=lambda u: (u.file, u.start))
        for unit, plan in self._plan_units(in_order):
            if plan is not None:
                for wrong in by_later[unit.id]:
                    wrong.overwrite(plan)
        for doubt in waiting:
            assert doubt.wrong is not None
            wrong = doubt.wrong
            wrong.settle()
            if wrong:
                self._is_missing(
                    doubt.unit,
                    f"{plural(len(wrong), 'cell')} not as written, the first is {wrong.example}",
                )
            else:
                self._is_complete(doubt.unit, beside=doubt.found)
