"""What was seen of the server's schema, kept by connection, for writes that follow each other.

- An entry is a device or a table, as one look found it. It lives for the connection's
  `schema_age_s`, and ends earlier with any statement through the connection that is not a query,
  and with a session that breaks (see `Connection.epoch`).
- Only what is there is believed: the server is asked again where a frame has values for a device, a
  column or a table that was not.
- What a write creates is added to what it looked at. A write that fails drops what it believed.

So only what another client changes within that time can go unseen; where the server refuses rows
for it, they are planned anew (see `again`), and what it casts or creates with 200 nobody can tell.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from weakref import WeakKeyDictionary

from iotdb_frames.client.connection import Connection
from iotdb_frames.codec.names import Target
from iotdb_frames.codec.types import kind_of
from iotdb_frames.errors import PermissionDenied
from iotdb_frames.options import TSDataType
from iotdb_frames.writes.plan.layout import Layout
from iotdb_frames.writes.plan.plan import Existing, PlannedColumn, WritePlan
from iotdb_frames.writes.schema import look


@dataclass(frozen=True, slots=True)
class _Device:
    """What a look found of a device.

    types : of all of its series, and of their aliases
    is_aligned : None where the device is not there
    note : why nothing could be seen; None where it could
    epoch, at : of the connection, when it was looked at
    """

    epoch: int
    at: float
    types: Mapping[str, TSDataType] = field(default_factory=dict)
    is_aligned: bool | None = None
    aliases: Mapping[str, str] = field(default_factory=dict)
    template: str | None = None
    note: str | None = None

    def has(self, names: Iterable[str]) -> bool:
        """Whether all of these series are there, or nobody may look."""
        return self.note is not None or all(name in self.types for name in names)


@dataclass(frozen=True, slots=True)
class _Table:
    """What a look found of a table."""

    epoch: int
    at: float
    existing: Existing

    def has(self, names: Iterable[str]) -> bool:
        """Whether all of these columns are there, or nobody may look."""
        there = self.existing
        return not there.was_seen or (
            there.tags is not None and all(there.type_of("", name) is not None for name in names)
        )


class SchemaCache:
    """What was seen through one connection; threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._devices: dict[str, _Device] = {}
        self._tables: dict[Target, _Table] = {}
        self._swept_at = 0.0

    def look(self, connection: Connection, found: Layout, *, is_fresh: bool = False) -> Existing:
        """What the server has where a frame goes.

        Parameters
        ----------
        is_fresh : ask, whatever was seen before
        """
        if found.target.model == "table":
            names = [c.name for c in found.columns if kind_of(c.source.type) != "null"]
            return self.look_at_table(connection, found.target, names, is_fresh=is_fresh)
        wanted: dict[str, Collection[str]] = {}
        needed: dict[str, Collection[str]] = {}
        for part in found.parts:
            all_names = [c.name for c in part.columns]
            valued = [c.name for c in part.columns if kind_of(c.source.type) != "null"]
            devices = (part.device,) if found.device is None else found.device.paths
            for device in devices:
                if device:
                    wanted[device], needed[device] = all_names, valued
        return self.look_at_devices(connection, wanted, needed=needed, is_fresh=is_fresh)

    def look_at_devices(
        self,
        connection: Connection,
        wanted: Mapping[str, Collection[str]],
        *,
        needed: Mapping[str, Collection[str]] | None = None,
        is_fresh: bool = False,
    ) -> Existing:
        """What the server has of some devices, of these series.

        Parameters
        ----------
        wanted : names of the series, by device
        needed : those of them for which the server is asked where they were not there; None: all
        is_fresh : as of `look`
        """
        epoch, now = connection.epoch, connection.clock.now()
        needed = wanted if needed is None else needed
        seen: dict[str, _Device] = {}
        if not is_fresh:
            oldest = now - connection.options.schema_age_s
            is_good: dict[tuple[int, int], bool] = {}  # those that are alike are looked at once
            with self._lock:
                for device, names in needed.items():
                    known = self._devices.get(device)
                    if known is None:
                        continue
                    alike = id(known), id(names)
                    if alike not in is_good:
                        is_young = known.epoch == epoch and known.at > oldest
                        is_good[alike] = is_young and known.has(names)
                    if is_good[alike]:
                        seen[device] = known
        new = [device for device in wanted if device not in seen]
        if new:
            looked = _ask(connection, new, epoch, now)
            seen.update(looked)
            with self._lock:
                self._sweep(connection, now)
                self._devices.update(looked)
        return _existing(seen, epoch, is_remembered=len(new) < len(wanted))

    def look_at_table(
        self,
        connection: Connection,
        target: Target,
        needed: Iterable[str] = (),
        *,
        is_fresh: bool = False,
    ) -> Existing:
        """What the server has of a table; it is asked for columns `needed` that were not there."""
        epoch, now = connection.epoch, connection.clock.now()
        known = None if is_fresh else self._tables.get(target)
        if known is not None:
            is_young = known.at > now - connection.options.schema_age_s
            if known.epoch == epoch and is_young and known.has(needed):
                return replace(known.existing, is_remembered=True)
        try:
            existing = look.look_at_table(connection, target)
        except PermissionDenied as exc:
            existing = Existing(note=_unseen(exc))
        existing = replace(existing, epoch=epoch)
        with self._lock:
            self._sweep(connection, now)
            self._tables[target] = _Table(epoch, now, existing)
        return existing

    def _sweep(self, connection: Connection, now: float) -> None:
        """Drop what nobody believes any more, now and then; the caller holds the lock."""
        age_s = connection.options.schema_age_s
        if now - self._swept_at > age_s:
            self._swept_at = now
            self._devices = {d: e for d, e in self._devices.items() if now - e.at < age_s}
            self._tables = {t: e for t, e in self._tables.items() if now - e.at < age_s}

    def remember(self, plan: WritePlan, made: Sequence[tuple[str, PlannedColumn]]) -> None:
        """Add series that a write created, or that the server creates as their first rows come.

        Parameters
        ----------
        made : what the plan found missing
        """
        if plan.target.model == "table":
            self._remember_columns(plan, [column for _, column in made])
            return
        new: dict[str, dict[str, TSDataType]] = {}
        for device, planned in made:
            assert planned.data_type is not None
            new.setdefault(device, {})[planned.column.name] = planned.data_type
        grown: dict[Any, _Device] = {}  # those that were alike stay so
        with self._lock:
            for device, types in new.items():
                known = self._devices.get(device)
                if known is None or known.epoch != plan.existing.epoch:
                    continue
                if known.template is not None and known.is_aligned is None:
                    del self._devices[device]  # its template says how its first row makes it
                    continue
                is_aligned = plan.is_aligned(device)
                alike = id(known), is_aligned, frozenset(types.items())
                if alike not in grown:
                    all_types = {**known.types, **types}
                    grown[alike] = replace(known, types=all_types, is_aligned=is_aligned)
                self._devices[device] = grown[alike]

    def _remember_columns(self, plan: WritePlan, made: Sequence[PlannedColumn]) -> None:
        with self._lock:
            known = self._tables.get(plan.target)
            if known is None or known.epoch != plan.existing.epoch:
                return
            there = known.existing
            types = {c.column.name: c.data_type for c in made if c.data_type is not None}
            categories = {c.column.name: c.column.category for c in made}
            existing = Existing.of_table(
                {**there.types.get("", {}), **types},
                {**there.categories, **categories},
                time=there.time,
            )
            self._tables[plan.target] = replace(
                known, existing=replace(existing, epoch=known.epoch)
            )

    def forget(self, plan: WritePlan) -> None:
        """Drop what a plan is built on."""
        devices = plan.devices or [part.device for part in plan.parts]
        with self._lock:
            self._tables.pop(plan.target, None)
            for device in devices:
                self._devices.pop(device or "", None)


def _ask(
    connection: Connection, devices: Sequence[str], epoch: int, now: float
) -> dict[str, _Device]:
    try:
        found = look.look_at_devices(connection, devices)
    except PermissionDenied as exc:
        return dict.fromkeys(devices, _Device(epoch, now, note=_unseen(exc)))
    aliases: dict[str, dict[str, str]] = {}
    for (device, alias), name in found.aliases.items():
        aliases.setdefault(device, {})[alias] = name
    alike: dict[Any, _Device] = {}
    out: dict[str, _Device] = {}
    for device in devices:
        types, own = found.types.get(device, {}), aliases.get(device, {})
        is_aligned, template = found.aligned.get(device), found.templates.get(device)
        key = frozenset(types.items()), is_aligned, template, frozenset(own.items())
        if key not in alike:
            alike[key] = _Device(epoch, now, types, is_aligned, own, template)
        out[device] = alike[key]
    return out


def _unseen(exc: PermissionDenied) -> str:
    return f"the schema could not be compared, its types are unchecked: {exc.message}"


def _existing(seen: Mapping[str, _Device], epoch: int, *, is_remembered: bool) -> Existing:
    """What was seen of some devices."""
    kinds = {id(known): known for known in seen.values()}.values()
    notes = [known.note for known in kinds if known.note is not None]
    aliases: dict[tuple[str, str], str] = {}
    if any(known.aliases for known in kinds):
        aliases = {(d, a): name for d, known in seen.items() for a, name in known.aliases.items()}
    templates: dict[str, str] = {}
    if any(known.template is not None for known in kinds):
        templates = {d: known.template for d, known in seen.items() if known.template is not None}
    return Existing(
        types={device: known.types for device, known in seen.items()},
        aligned={d: known.is_aligned for d, known in seen.items() if known.is_aligned is not None},
        aliases=aliases,
        templates=templates,
        was_seen=not notes,
        note=notes[0] if notes else None,
        is_remembered=is_remembered,
        epoch=epoch,
    )


_caches: WeakKeyDictionary[Connection, SchemaCache] = WeakKeyDictionary()
_making = threading.Lock()


def cache_of(connection: Connection) -> SchemaCache:
    """The one cache of a connection."""
    found = _caches.get(connection)
    if found is None:
        with _making:
            found = _caches.setdefault(connection, SchemaCache())
    return found


def _begin_anew() -> None:
    """In a forked child: another client from now on, with locks that nobody holds."""
    global _caches, _making
    _caches, _making = WeakKeyDictionary(), threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
