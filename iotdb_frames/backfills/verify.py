"""Proof that it all arrived: count points, or read them back and compare cell by cell.

A count proves a unit where it has its devices and times for itself: then points that are missing
show. Where something was there before, or another unit has points at the same devices and times,
a count can hide a loss behind what others wrote; such a unit is compared by its values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from iotdb_frames.backfills.compare import Held
from iotdb_frames.backfills.expect import DEVICES_A_QUERY, Device, Expected, device_condition
from iotdb_frames.backfills.manifest import DONE, Manifest, UnitRow, unpack
from iotdb_frames.client.connection import Connection
from iotdb_frames.client.schema import query_table
from iotdb_frames.codec.names import Target
from iotdb_frames.codec.sql import quote_identifier
from iotdb_frames.errors import PermissionDenied, QueryError
from iotdb_frames.frames.plan import WritePlan

COLUMNS_A_QUERY = 500
_GONE = {500, 508, 550, 616}  # database, path, table or column is not there: no points

Counts = dict[tuple[int, str], int]
"""Points by (group of the unit, column)."""


def flush(connection: Connection, target: Target) -> str | None:
    """Have the server write out what it holds in memory; a note where that is not allowed.

    What a count finds afterwards is on the disk as a file, and no longer needs the log.
    """
    try:
        connection.run(lambda session: session.execute("FLUSH"), model=target.model)
    except PermissionDenied as exc:
        return f"the server was not flushed before verifying: {exc.message}"
    return None


def count_points(connection: Connection, target: Target, expected: Expected) -> Counts:
    """What the server has of a unit's columns, at its devices and in its time range."""
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


def time_condition(expected: Expected) -> str:
    """The condition of a unit's time range."""
    return f"time >= {expected.first} AND time <= {expected.last}"


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
        sql = (
            f"SELECT {wanted} FROM {', '.join(paths)} WHERE {time_condition(expected)} "
            "ALIGN BY DEVICE"
        )
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
    where = [time_condition(expected), *device_condition(expected, devices)]
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


@dataclass
class Outcome:
    """What verification found.

    verdicts : units by what was found, in words
    missing : (unit, what it lacks), to be sent again
    """

    verdicts: dict[str, int] = field(default_factory=dict)
    missing: list[tuple[UnitRow, str]] = field(default_factory=list)


PlanUnit = Callable[[UnitRow], WritePlan | None]
"""Reads a unit's source again and plans it; None where there is nothing to send."""


class Verifier:
    """Verifies the units that are written and not yet verified.

    Parameters
    ----------
    how : "count" or "values"
    plan_unit : see there
    on_unit : told of each unit, for the progress
    """

    def __init__(
        self,
        manifest: Manifest,
        connection: Connection,
        target: Target,
        *,
        how: str,
        plan_unit: PlanUnit,
        on_unit: Callable[[UnitRow], None],
    ) -> None:
        self._manifest = manifest
        self._connection = connection
        self._target = target
        self._how = how
        self._plan_unit = plan_unit
        self._on_unit = on_unit
        self._expected: dict[int, Expected] = {}

    def go(self) -> Outcome:
        """Verify; a unit's verdict is in the manifest as soon as it is known."""
        outcome = Outcome()
        for unit in self._manifest.units("state = 'written'"):
            verdict = self._verify(unit)
            if verdict is not None and verdict.startswith("missing"):
                outcome.missing.append((unit, verdict))
            else:
                self._manifest.set_unit(unit.id, state="verified", verdict=verdict or "complete")
            kind = (verdict or "complete").partition(":")[0]
            outcome.verdicts[kind] = outcome.verdicts.get(kind, 0) + 1
            self._on_unit(unit)
        return outcome

    def expected_of(self, unit: UnitRow) -> Expected | None:
        """What a unit leaves."""
        if unit.expected is None:
            return None
        if unit.id not in self._expected:
            if len(self._expected) > 10_000:
                self._expected.clear()
            self._expected[unit.id] = Expected.from_plain(unpack(unit.expected))
        return self._expected[unit.id]

    def _overlapping(self, unit: UnitRow, expected: Expected) -> list[UnitRow]:
        """Units that may have a point at the same device and time, in the order of sending."""
        states = ", ".join(f"'{state}'" for state in DONE)
        near = self._manifest.units(
            f"state IN ({states}) AND id != ? AND first_tick <= ? AND last_tick >= ?",
            *(unit.id, expected.last, expected.first),
        )
        return [u for u in near if (other := self.expected_of(u)) and expected.meets(other)]

    def _verify(self, unit: UnitRow) -> str | None:
        """None: it is all there, and nothing else; else what was found, in words."""
        expected = self.expected_of(unit)
        if expected is None or not expected.n_points:
            return None
        found = count_points(self._connection, self._target, expected)
        wanted = {
            (at, name): n
            for at, group in enumerate(expected.groups)
            for name, n in group.columns.items()
        }
        short = {key: wanted[key] - n for key, n in found.items() if n < wanted[key]}
        # What the server refused is not there, and known.
        if short and unit.error is None:
            (_, name), _n = max(short.items(), key=lambda item: item[1])
            return f"missing: {sum(short.values()):,} points, most of them of {name}"
        extra = sum(found.values()) - sum(wanted.values())
        others = self._overlapping(unit, expected)
        if self._how == "count" and not extra and not unit.before and not others:
            return None
        return self._compare(unit, expected, others, extra)

    def _compare(
        self, unit: UnitRow, expected: Expected, others: Sequence[UnitRow], extra: int
    ) -> str | None:
        plan = self._plan_unit(unit)
        held = None if plan is None else Held(plan, expected)
        if held is not None and held.compare(self._connection) and unit.error is None:
            later = [u for u in others if (u.file, u.start) > (unit.file, unit.start)]
            for other in later:
                if (over := self._plan_unit(other)) is not None:
                    held.overwrite(over)
            if not later or held.compare(self._connection):
                return f"missing: {held.n_wrong:,} cells differ, the first is {held.example}"
        found = []
        if unit.before:
            found.append(f"{unit.before:,} points were there before")
        if others:
            found.append(f"{len(others):,} units share its devices and times")
        if extra > 0 and not found:
            found.append(f"{extra:,} more points are there, by somebody else")
        if unit.refused:
            found.append(f"{unit.refused:,} rows were refused")
        if not found:
            return None
        return "complete beside others: " + ", ".join(found)
