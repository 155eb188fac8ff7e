"""Sources, and what is in the database, shown in a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

from iotdb_frames.frames.card import Card, Grid, count, duration, rate
from iotdb_frames.options import WriteArgs
from iotdb_frames.views import load_view

if TYPE_CHECKING:
    from iotdb_frames.client.connection import Connection
    from iotdb_frames.stream.source import SensorSource


def source_card(source: SensorSource) -> Card:
    """What a source shows of itself in a notebook."""
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


class HasPanel:
    """A source that a panel can stream."""

    def panel(
        self,
        *,
        to: Any = "",
        window: Any = None,
        speed: float | None = None,
        duration: Any = None,
        now: bool = True,
        connection: Connection | str | None = None,
        capacity: int = 10_000,
        **options: Unpack[WriteArgs],
    ) -> Any:
        """A panel in a notebook: controls, a live chart of what is acknowledged, counters.

        The last expression of a cell shows it. Without a front end it runs, too: ``start``,
        ``pause``, ``resume``, ``stop``, ``totals``. Running its cell again closes it.

        Parameters
        ----------
        to, window, speed, duration, connection, options : as of `stream`
        now : the first row is at the moment of Start
        capacity : rows that the chart keeps

        Raises
        ------
        MissingExtraError : the extra ``[notebook]`` is needed and not installed.
        """
        return load_view("panel")(
            self,
            to=to,
            window=window,
            speed=speed,
            duration=duration,
            now=now,
            connection=connection,
            capacity=capacity,
            **options,
        )


def watch(
    target: str,
    *,
    every: float | str = 1.0,
    last: Any = "5min",
    columns: Any = None,
    connection: Connection | str | None = None,
    capacity: int = 10_000,
) -> Any:
    """Follow a device, a prefix of devices or a table in a notebook.

    Parameters
    ----------
    target : as of `read`; it may not be there yet
    every : seconds, or a span, from one query to the next
    last : how far back from the newest row it begins
    columns : as of `read`; None: all. Numbers and booleans are drawn
    connection : a Connection or a URL; None: see `use`
    capacity : rows that the chart keeps

    Returns
    -------
    Watch : shown as the last expression of a cell; ``pause``, ``resume``, ``stop``

    Raises
    ------
    OptionsError : an option that cannot be meant.
    MissingExtraError : the extra ``[notebook]`` is needed and not installed.
    """
    return load_view("watch")(
        target, every=every, last=last, columns=columns, connection=connection, capacity=capacity
    )
