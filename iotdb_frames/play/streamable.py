"""What any source can do: be streamed by code, and by a panel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack, cast

from iotdb_frames.display.views import load_view
from iotdb_frames.options import StreamWriteArgs, hide_url, show_stream_options

if TYPE_CHECKING:
    from iotdb_frames.client.connection import Connection
    from iotdb_frames.play.playable import Playable
    from iotdb_frames.play.runner import Runner


class Streamable:
    """A source that can be streamed, by code and by a panel."""

    @show_stream_options
    def stream(
        self,
        *,
        to: Any,
        connection: Connection | str | None = None,
        **options: Unpack[StreamWriteArgs],
    ) -> Runner:
        """A `Runner` that sends this source's windows; nothing runs before its start.

        ``.start()`` and a ``with`` block stream in the background, ``.run(60)`` for a minute in
        the foreground; then ``pause``, ``resume``, ``change``, ``stop`` (``cancel``), and
        ``stats`` at any time. ``ledger()`` says which faults are in what was acknowledged.

        Parameters
        ----------
        to : a target as of `iotdb_frames.write` (of a fleet of the tree model the prefix of its
            devices), or a sink
        connection : a Connection or a URL; None: see `use`
        options : see `StreamOptions` and, for a target, `WriteOptions`. Types are the sensors';
            `device` and `tags` the fleet's, of a recording the frame's own as of
            `iotdb_frames.write`. By default a stream waits 5 minutes for a server that is away. A
            refused window ends the stream, or is collected with
            ``on_error="collect", dead_letter="file.parquet"``

        Raises
        ------
        OptionsError : an invalid option, or one that a stream cannot have.
        """
        connection = hide_url(connection)
        from iotdb_frames.play.target import stream

        return stream(cast("Playable", self), to=to, connection=connection, **options)

    def panel(
        self,
        *,
        to: Any = "",
        connection: Connection | str | None = None,
        capacity: int = 10_000,
        **options: Unpack[StreamWriteArgs],
    ) -> Any:
        """A panel in a notebook: controls, a live chart of what is acknowledged, counters.

        The last expression of a cell shows it. Without a front end it runs, too: ``start``,
        ``pause``, ``resume``, ``stop``, ``totals``. Running its cell again closes it.

        Parameters
        ----------
        to, connection : as of `stream`
        capacity : rows that the chart keeps
        options : as of `stream`; `now` is True unless it says otherwise

        Raises
        ------
        MissingExtraError : the extra ``[notebook]`` is needed and not installed.
        """
        connection = hide_url(connection)
        return load_view("panel")(
            self, to=to, connection=connection, capacity=capacity, **{"now": True, **options}
        )

    panel = show_stream_options(panel, now=True)
