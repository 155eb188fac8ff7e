"""Data in the database, followed in a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from iotdb_frames.display.views import load_view
from iotdb_frames.options import hide_url

if TYPE_CHECKING:
    from iotdb_frames.client.connection import Connection


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
    target : as of `read`; it need not exist yet
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
    OptionsError : an invalid option.
    MissingExtraError : the extra ``[notebook]`` is needed and not installed.
    """
    connection = hide_url(connection)
    return load_view("watch")(
        target, every=every, last=last, columns=columns, connection=connection, capacity=capacity
    )
