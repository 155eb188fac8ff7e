"""``df.iotdb`` and ``series.iotdb``: the calls of this package with the frame as their subject.

Stateless and cheap to build: pandas 3 builds an accessor on every access, and on Tab. The writing
code is imported on the first write, so that ``import iotdb_frames`` costs little more than pandas.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

import pandas as pd

from iotdb_frames.options import WriteArgs, hide_url, show_options

if TYPE_CHECKING:
    from iotdb_frames.client.connection import Connection
    from iotdb_frames.writes.plan.plan import WritePlan
    from iotdb_frames.writes.report import WriteReport


@pd.api.extensions.register_dataframe_accessor("iotdb")
@pd.api.extensions.register_series_accessor("iotdb")
class IoTDBAccessor:
    """Writes this frame to Apache IoTDB."""

    def __init__(self, data: pd.DataFrame | pd.Series) -> None:
        self._data = data

    def __repr__(self) -> str:
        return 'df.iotdb: .write("root.plant.press1"), .plan(…)'

    @show_options
    def write(
        self,
        target: str,
        *,
        connection: Connection | str | None = None,
        **options: Unpack[WriteArgs],
    ) -> WriteReport:
        """Write the frame; see `iotdb_frames.write`."""
        connection = hide_url(connection)
        from iotdb_frames.writes.writer import write

        return write(self._data, target, connection=connection, **options)

    @show_options
    def plan(
        self,
        target: str,
        *,
        offline: bool = False,
        connection: Connection | str | None = None,
        **options: Unpack[WriteArgs],
    ) -> WritePlan:
        """Show what `write` would do, and send nothing; see `iotdb_frames.plan`."""
        connection = hide_url(connection)
        from iotdb_frames.writes.writer import plan

        return plan(self._data, target, offline=offline, connection=connection, **options)
