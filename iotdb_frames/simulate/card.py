"""The summary card of a source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from iotdb_frames.display.card import Card
from iotdb_frames.display.grid import Grid
from iotdb_frames.display.words import count, duration, rate

if TYPE_CHECKING:
    from iotdb_frames.simulate.source import SensorSource


def source_card(source: SensorSource) -> Card:
    """The summary card of a source."""
    facts: list[tuple[str, Any]] = [
        (
            "rate",
            f"{source.rate_hz:g} Hz"
            if source.rate_hz >= 0.1
            else f"every {duration(1 / source.rate_hz)}",
        ),
        ("points", rate(source.points_per_s, "points")),
        ("from", str(source.start)),
        ("for", "ever" if source.duration_s is None else duration(source.duration_s)),
        ("seed", str(source.seed)),
    ]
    if source.has_devices:
        facts.insert(0, ("devices", count(len(source.devices))))
    rows = [(s.name, repr(s.signal), s.unit or "", s.data_type.name) for s in source.sensors]
    grids = [Grid(("sensor", "signal", "unit", "type"), rows)]
    if source.faults:
        grids.append(Grid(("fault",), [(repr(fault),) for fault in source.faults]))
    return Card("sensor source", facts=facts, grids=grids)
