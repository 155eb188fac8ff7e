"""What happened to a `send`: its ticket, and the entries that wait under it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from threading import Condition
from typing import Any

import numpy as np

from iotdb_frames.display.words import plural
from iotdb_frames.errors import FrameError
from iotdb_frames.sink.columns import rows_of_device
from iotdb_frames.sink.rows import Device, Rows
from iotdb_frames.sink.serializer import DeviceColumns
from iotdb_frames.sink.spool import Place


class Ticket:
    """The receipt of a `send`; in a coroutine ``await ticket`` waits as `wait` does.

    n_rows : rows that it is for
    """

    __slots__ = ("_callbacks", "_changed", "_error", "_left", "_on_told", "n_rows")

    def __init__(self, changed: Condition, on_told: Callable[[BaseException], None]) -> None:
        self.n_rows = 0
        self._changed = changed
        self._left = 0
        self._error: BaseException | None = None
        self._callbacks: tuple[Callable[[], None], ...] = ()
        self._on_told = on_told

    def __repr__(self) -> str:
        state = "acked" if self.acked else "waiting" if self._left else f"failed: {self._error!r}"
        return f"<Ticket {plural(self.n_rows, 'row')}, {state}>"

    @property
    def acked(self) -> bool:
        """Whether the server acknowledged all of its rows."""
        return not self._left and self._error is None

    @property
    def is_done(self) -> bool:
        """Whether it is known what happened to all of its rows."""
        return not self._left

    @property
    def error(self) -> BaseException | None:
        """Why some of its rows, or all, will not be stored."""
        return self._error

    def wait(self, timeout_s: float | None = None) -> None:
        """Wait until the server acknowledged all of its rows.

        Parameters
        ----------
        timeout_s : wait no longer than this; None: as long as it takes

        Raises
        ------
        TimeoutError : not within `timeout_s`; the rows are still being sent.
        IoTDBFramesError : why rows were refused, or dropped.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: not self._left, timeout_s):
                raise TimeoutError(
                    f"{plural(self.n_rows, 'row')} not acknowledged after {timeout_s} s"
                )
        self._raise_error()

    def _raise_error(self) -> None:
        if self._error is not None:
            self._on_told(self._error)
            raise self._error

    def __await__(self) -> Generator[Any, None, None]:
        import asyncio

        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()

        def set_result() -> None:
            if not future.done():
                future.set_result(None)

        def wake() -> None:
            with suppress(RuntimeError):  # the loop has ended, and nobody waits in it
                loop.call_soon_threadsafe(set_result)

        with self._changed:
            is_waiting = bool(self._left)
            if is_waiting:
                self._callbacks = (*self._callbacks, wake)
        if is_waiting:
            yield from future.__await__()
        self._raise_error()

    def stand_for(self, entries: Sequence[Entry]) -> None:
        """Take these entries, before anyone else sees the ticket."""
        self._left = len(entries)
        self.n_rows += sum([entry.n_rows for entry in entries])

    def refuse(self, n_rows: int, error: BaseException) -> None:
        """Take rows that were refused, before anyone else sees the ticket."""
        self.n_rows += n_rows
        self._error = self._error or error

    def part_done(self, error: BaseException | None) -> tuple[Callable[[], None], ...]:
        """Note the end of a part, with the lock held; returns what to call without the lock."""
        if not self._left:
            return ()  # its sink ended before
        self._left -= 1
        self._error = self._error or error
        if self._left:
            return ()
        callbacks, self._callbacks = self._callbacks, ()
        return callbacks


@dataclass(slots=True, eq=False)
class Entry:
    """Rows of a `send` that go on one lane.

    rows : one row of one device waits as it is, to become columns with others
    lane : the lane of its devices
    n_rows, n_bytes : rows, and their approximate memory
    at : when they were sent, in seconds on the monotonic clock
    number : counts entries, in the order they came
    packed : its rows for the spool, until they are there
    place : in the spool
    error : why some rows of it were refused
    """

    ticket: Ticket
    rows: DeviceColumns | Rows
    device: Device
    lane: int
    n_rows: int
    n_bytes: int
    at: float
    number: int = 0
    packed: bytes = b""
    place: Place | None = None
    error: BaseException | None = None

    def columns(self) -> Rows:
        """Its rows as columns.

        Raises
        ------
        FrameError : a row that cannot be columns.
        """
        if isinstance(self.rows, Rows):
            return self.rows
        made, _ = next(rows_of_device(self.device, [self.rows]))
        if isinstance(made, FrameError):
            raise made
        return made

    def rows_by_device(self) -> Iterator[tuple[Device, int]]:
        """How many rows it has of each device."""
        if isinstance(self.rows, DeviceColumns) or len(self.rows.devices) == 1:
            yield self.device, self.n_rows
        else:
            counts = np.bincount(self.rows.codes, minlength=len(self.rows.devices))
            yield from zip(self.rows.devices, counts.tolist(), strict=True)
