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
    """``df.iotdb``: writes this frame to Apache IoTDB."""

    def __init__(self, data: pd.DataFrame | pd.Series) -> None:
        self._data = data

    def __repr__(self) -> str:
        return 'df.iotdb: .write("root.plant.press1"), .plan(...)'

    @show_options
    def write(
        self,
        target: str,
        *,
        connection: Connection | str | None = None,
        **options: Unpack[WriteArgs],
    ) -> WriteReport:
        """Write the frame into IoTDB, as `iotdb_frames.write` does.

        Parameters
        ----------
        target : ``root.…``: a device path of the tree model (with ``device=`` a prefix of devices);
            else ``database.table``, or ``table`` where the URL names the database
        connection : a Connection or a URL; None: see `iotdb_frames.use`
        options : see `WriteOptions`

        Returns
        -------
        WriteReport

        Raises
        ------
        OptionsError, FrameError, TimeIndexError, ColumnTypeError : nothing of the frame was sent.
        ServerError, PartialWriteError : `.report` says what was acknowledged, refused and in doubt.
        """
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
        """Show what `write` would do, and send nothing, as `iotdb_frames.plan`.

        Parameters
        ----------
        target, connection : as in `write`
        offline : do not ask the server; its schema is unknown then, and its precision taken for ms
        options : see `WriteOptions`

        Returns
        -------
        WritePlan
        """
        connection = hide_url(connection)
        from iotdb_frames.writes.writer import plan

        return plan(self._data, target, offline=offline, connection=connection, **options)


if TYPE_CHECKING:

    class IoTDBFrame(pd.DataFrame):
        """A DataFrame whose ``iotdb`` type checkers and editors know."""

        iotdb: IoTDBAccessor

else:
    IoTDBFrame = pd.DataFrame
    """pandas' own DataFrame: ``cast(iotf.IoTDBFrame, df).iotdb.write`` is for type checkers."""
