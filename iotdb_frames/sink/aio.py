"""The sink for coroutines: the same core, without blocking the event loop."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd

from iotdb_frames.client.coroutines import in_thread
from iotdb_frames.sink.stats import SinkStats
from iotdb_frames.sink.tickets import Ticket

if TYPE_CHECKING:
    from iotdb_frames.sink.sink import IoTDBSink


class AsyncSink:
    """What ``async with IoTDBSink(…) as sink`` gives.

    ::

        async with IoTDBSink(options, batch_size=1000) as sink:
            ticket = await sink.send(event)   # taken
            await ticket                      # acknowledged

    Cancelled, a call ends where it waits. A cancelled `send` took nothing; after a cancelled
    `flush` the rows are still being sent; a cancelled `close` can be called again.
    """

    def __init__(self, sink: IoTDBSink) -> None:
        self._sink = sink

    async def open(self) -> AsyncSink:
        """As `IoTDBSink.open`."""
        await in_thread(self._sink.open)
        return self

    async def send(self, event: Any) -> Ticket:
        """As `IoTDBSink.send`; while it would block, other coroutines run."""
        pending = self._sink._pending
        ticket, entries = self._sink._entries_of(event, pending)
        while not pending.offer(entries, may_block=False):
            await in_thread(pending.wait_for_room)
        return ticket

    async def flush(self, timeout_s: float | None = None) -> None:
        """As `IoTDBSink.flush`."""
        await in_thread(partial(self._sink.flush, timeout_s))

    async def close(self, timeout_s: float | None = 60.0) -> None:
        """As `IoTDBSink.close`."""
        await in_thread(partial(self._sink.close, timeout_s))

    @property
    def stats(self) -> SinkStats:
        """As `IoTDBSink.stats`."""
        return self._sink.stats

    def device_stats(self) -> pd.DataFrame:
        """As `IoTDBSink.device_stats`."""
        return self._sink.device_stats()
