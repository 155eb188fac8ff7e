"""The Flink connector's sink for Python: events and windows into IoTDB, at least once.

::

    sink = IoTDBSink(options, DefaultIoTSerializationSchema()).with_batch_size(10)
    with sink:
        for event in source:
            sink.send(event)
"""

from __future__ import annotations

import os
import sys
import warnings
import zlib
from contextlib import ExitStack
from functools import partial
from threading import Lock
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import pandas as pd

from iotdb_frames.clock import CLOCK, Clock
from iotdb_frames.display.views import load_view
from iotdb_frames.errors import FrameError, IoTDBFramesError, OptionsError
from iotdb_frames.options import as_whole, check_choice, hide_url, parse_bytes
from iotdb_frames.sink.columns import is_one_row, to_rows, to_time
from iotdb_frames.sink.devices import devices_of
from iotdb_frames.sink.known import KnownSeries
from iotdb_frames.sink.lanes import OnRefused, Outbox
from iotdb_frames.sink.options import IoTDBOptions
from iotdb_frames.sink.queue import Overflow, Pending
from iotdb_frames.sink.rows import Device, Rows
from iotdb_frames.sink.serializer import (
    DefaultIoTSerializationSchema,
    DeviceColumns,
    IoTSerializationSchema,
)
from iotdb_frames.sink.spool import Spool, to_stream
from iotdb_frames.sink.stats import SinkStats
from iotdb_frames.sink.table import KnownTable, TableEvents
from iotdb_frames.sink.tickets import Entry, Ticket
from iotdb_frames.sink.unfit import without_unfit
from iotdb_frames.writes.dead_letter import LetterDirectory

if TYPE_CHECKING:
    from iotdb_frames.sink.aio import AsyncSink
CLOSE_LIMIT_S = 60.0
FAILED_LIMIT_S = 5.0
"""How long `close` waits after an exception has left the ``with`` block."""


class IoTDBSink:
    """Takes events, collects them, and writes them into IoTDB; a context manager.

    Rows stay in memory until the server has acknowledged them. They go out by device, in the order
    in which they were sent; what the server cannot take now is retried until it can, or until
    `close`. In a table a device is a combination of its tags. Its events are mappings, lists of
    them, DataFrames and Arrow data, with the tags as columns; an attribute that an event lacks
    stays unchanged.

    Parameters
    ----------
    options : `IoTDBOptions`, or a URL (``iotdb://…``, ``local:``)
    serializer : turns an event into columns of devices, or into what a table's sink takes; see
        `IoTSerializationSchema`
    batch_size : rows that are collected before they go; 1 sends at once
    flush_interval_s : the longest that a row waits to be sent
    session_pool_size : connections that send in parallel; a device always uses the same one
    max_pending : approximate memory of the rows not acknowledged yet: ``"64MiB"`` or bytes
    overflow : beyond that, "block" waits in `send`, "raise" refuses the event, "drop_oldest" drops
        the rows that have waited longest, counts them and fails their tickets
    on_error : what happens to refused rows. "raise": the next `send`, `flush` or `close` raises
        the error, and all other rows go on. "collect": they go into `dead_letter`, as do events
        that cannot be serialized, for which `send` raises otherwise. A callable gets (pyarrow Table
        of the rows, error) in a thread of the sink, or in that of `send`
    dead_letter : directory for Parquet files of refused rows
    coerce : "safe" refuses values and times that the server could not store exactly; "lossy" may
        lose precision, e.g. of microseconds on a server of milliseconds
    spool : directory in which rows are kept until they are acknowledged, across a crash of this
        process; they go out at the next start before all new rows
    clock : measures the interval and the waits; a test may advance it

    Raises
    ------
    OptionsError : an invalid option.
    """

    def __init__(
        self,
        options: IoTDBOptions | str,
        serializer: IoTSerializationSchema[Any] | None = None,
        *,
        batch_size: int = 1,
        flush_interval_s: float = 3.0,
        session_pool_size: int = 2,
        max_pending: int | str = "64MiB",
        overflow: Overflow = "block",
        on_error: Literal["raise", "collect"] | OnRefused = "raise",
        dead_letter: str | os.PathLike[str] | None = None,
        coerce: Literal["safe", "lossy"] = "safe",
        spool: str | os.PathLike[str] | None = None,
        clock: Clock = CLOCK,
    ) -> None:
        options = hide_url(options)
        self._clock = clock
        self._opening = Lock()
        self._box: Outbox | None = None
        self._on_refused: OnRefused | None = None
        self._is_closed = False
        self._options = IoTDBOptions(url=options) if isinstance(options, str) else options
        self._serializer: IoTSerializationSchema[Any]
        if self._options.table is None:
            self._serializer = serializer or DefaultIoTSerializationSchema()
        else:
            self._serializer = TableEvents(self._options, serializer)
        check_choice("overflow", overflow, ("block", "raise", "drop_oldest"))
        check_choice("coerce", coerce, ("safe", "lossy"))
        if not callable(on_error) and on_error not in ("raise", "collect"):
            raise OptionsError(f"on_error={on_error!r} is none of 'raise', 'collect', a callable")
        if (on_error == "collect") != (dead_letter is not None):
            raise OptionsError('on_error="collect" and dead_letter="directory" go together')
        self._overflow: Overflow = overflow
        self._on_error = on_error
        self._dead_letter = dead_letter
        self._coerce = coerce
        self._spool_dir = spool
        self._max_bytes = parse_bytes(max_pending, name="max_pending")
        self._devices = devices_of(self._options)
        self._device_lanes: dict[Device, tuple[Device, int]] = {}
        self.with_batch_size(batch_size)
        self.with_session_pool_size(session_pool_size)
        self._with_flush_interval_s(flush_interval_s)

    # --- the Flink connector's builder spelling ---

    def with_batch_size(self, batch_size: int) -> Self:
        """Collect this many rows before they are sent."""
        self._batch_size = self._at_least_one(batch_size, "batch_size")
        return self

    def with_flush_interval_ms(self, flush_interval_ms: float) -> Self:
        """Set the longest that a row waits."""
        return self._with_flush_interval_s(flush_interval_ms / 1000)

    def with_session_pool_size(self, session_pool_size: int) -> Self:
        """Send on this many connections in parallel."""
        self._n_lanes = self._at_least_one(session_pool_size, "session_pool_size")
        return self

    def _with_flush_interval_s(self, flush_interval_s: float) -> Self:
        self._check_not_open()
        if not flush_interval_s > 0:
            raise OptionsError(f"flush_interval_s={flush_interval_s!r} must be more than 0")
        self._interval_s = float(flush_interval_s)
        return self

    def _at_least_one(self, value: int, name: str) -> int:
        self._check_not_open()
        return as_whole(name, value)

    def _check_not_open(self) -> None:
        if self._box is not None or self._is_closed:
            raise OptionsError("the sink is open already", hint="set its options before")

    # --- its life ---

    def open(self) -> Self:
        """Connect and create what is missing, as the first `send` would; no effect if it is open.

        Raises
        ------
        ConnectionLost : no server there. With a spool this is not an error: rows wait for it.
        AuthenticationError, PermissionDenied, QueryError : the server refuses.
        ColumnTypeError : a series, or a column, of the options exists with another type.
        FrameError, OptionsError : the table's tags are not those of the options.
        IoTDBFramesError : rows in the spool are damaged. The sink is open and sends the others; it
            is raised once.
        """
        with self._opening:
            if self._box is None:
                if self._is_closed:
                    raise OptionsError("the sink is closed", hint="open a new one")
                self._box, damage = self._start()
                if damage is not None:
                    raise damage
        return self

    def _start(self) -> tuple[Outbox, IoTDBFramesError | None]:
        """The outbox, and what is damaged in the spool."""
        if callable(self._on_error):
            self._on_refused = self._on_error
        elif self._dead_letter is not None:
            self._on_refused = LetterDirectory(self._dead_letter).add
        damage = None
        with ExitStack() as undo:
            spool = None
            if self._spool_dir is not None:
                spool = Spool(self._spool_dir, home=self._devices.home)
                undo.callback(spool.close)
            # A lane sends, and looks at the schema of what comes next, side by side.
            connection = self._options.connect(pool_size=2 * self._n_lanes)
            undo.callback(connection.close)
            pending = Pending(
                n_lanes=self._n_lanes,
                batch_size=self._batch_size,
                interval_s=self._interval_s,
                max_bytes=self._max_bytes,
                overflow=self._overflow,
                spool=spool,
                clock=self._clock,
            )
            if spool is not None:
                for rows, place in spool.replay():
                    ticket = Ticket(pending.changed, pending.told)
                    entries = self._lane_entries(ticket, rows)
                    ticket.stand_for(entries)
                    pending.put_back(entries, place)
                damage = spool.damage()
                pending.counters.damaged = spool.n_damaged
            make = KnownSeries if self._options.table is None else KnownTable
            is_lossy = self._coerce == "lossy"
            known = make(connection, self._options, self._devices, is_lossy=is_lossy)
            box = Outbox(connection, known, pending, on_refused=self._on_refused)
            try:
                box.start()
            except Exception as exc:
                if damage is not None:
                    exc.add_note(str(damage))
                raise
            undo.pop_all()
        return box, damage

    def close(self, timeout_s: float | None = CLOSE_LIMIT_S) -> None:
        """Send what waits, and end; no effect if it is closed.

        Parameters
        ----------
        timeout_s : send for no longer than this; None: as long as it takes

        Raises
        ------
        PartialWriteError : some rows are not delivered. `.report` counts them.
        """
        self._is_closed = True
        if self._box is not None:
            self._box.close(timeout_s)

    def __enter__(self) -> Self:
        try:
            return self.open()
        except IoTDBFramesError as exc:
            self.__exit__(type(exc), exc, None)  # a damaged spool leaves the sink open
            raise

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        if exc is None:
            self.close()
            return
        try:
            self.close(FAILED_LIMIT_S)
        except IoTDBFramesError as failure:
            exc.add_note(f"and the sink: {failure}")

    async def __aenter__(self) -> AsyncSink:
        from iotdb_frames.sink.aio import AsyncSink  # and with it asyncio

        return await AsyncSink(self).open()

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        from iotdb_frames.client.coroutines import in_thread

        await in_thread(partial(self.__exit__, kind, exc, tb))

    def __del__(self) -> None:
        box = getattr(self, "_box", None)
        if box is not None and not self._is_closed and not box.pending.is_over:
            box.pending.abandon()
            warnings.warn(
                f"{self!r} was never closed; what waits in it is sent in the background",
                ResourceWarning,
                source=self,
                stacklevel=1,
            )

    @property
    def state(self) -> Literal["new", "open", "closed"]:
        """Whether it was opened, or closed."""
        return "closed" if self._is_closed else "new" if self._box is None else "open"

    @property
    def tags(self) -> tuple[str, ...] | None:
        """Tags of its events; None of devices of the tree, and where a serializer gives them."""
        made = self._serializer
        return made.tags if isinstance(made, TableEvents) else None

    def __repr__(self) -> str:
        return f"<IoTDBSink, {self.state}, batch_size={self._batch_size}>"

    # --- sending ---

    def send(self, event: Any) -> Ticket:
        """Take an event; returns before it is stored, with a ticket that knows when it is.

        Parameters
        ----------
        event : what the serializer takes. Mappings and DataFrames may be changed afterwards; Arrow
            data never changes

        Raises
        ------
        FrameError, ColumnTypeError, TimeIndexError, or what the serializer raises : nothing of the
            event was taken. Where refused rows are collected, the event is one of them instead.
        SinkFull : too much is waiting; nothing was taken.
        PoolClosed : the sink is closed.
        The error of earlier rows under ``on_error="raise"``: nothing of this event was taken.
        """
        pending = self._pending
        ticket, entries = self._entries_of(event, pending)
        pending.offer(entries)
        return ticket

    @property
    def _pending(self) -> Pending:
        """What is not delivered yet; opens the sink if necessary."""
        if self._box is None:
            self.open()
        assert self._box is not None
        return self._box.pending

    def _entries_of(self, event: Any, pending: Pending) -> tuple[Ticket, list[Entry]]:
        """The entries of an event, under one ticket; what cannot be serialized is refused."""
        ticket = Ticket(pending.changed, pending.told)
        serialize = partial(self._serialized, ticket=ticket, pending=pending)
        try:
            entries = serialize(event)
        except Exception as exc:
            if self._on_refused is None:
                raise
            entries, unfit = without_unfit(event, exc, serialize)
            for rows, error in unfit:
                self._on_refused(rows, error)
                with pending.lock:
                    pending.counters.total.refused += rows.num_rows
                ticket.refuse(rows.num_rows, error)
        ticket.stand_for(entries)
        return ticket, entries

    def _serialized(self, event: Any, *, ticket: Ticket, pending: Pending) -> list[Entry]:
        made: Any = self._serializer.serialize(event)
        parts = [made] if isinstance(made, DeviceColumns) else made or ()
        entries = [e for columns in parts for e in self._entries(ticket, columns)]
        if pending.spool is not None:
            for entry in entries:
                entry.packed = to_stream(entry.columns(), home=self._devices.home)
        return entries

    def _entries(self, ticket: Ticket, made: DeviceColumns) -> list[Entry]:
        if is_one_row(made):
            columns: Any = made.columns
            if not columns:
                return []
            if type(made.time) is not int:
                made = made._replace(time=to_time(made.time, made.time_unit))
            n_bytes = 400 + sum(map(sys.getsizeof, columns.values()))
            return [self._entry(ticket, made, made.device, n_rows=1, n_bytes=n_bytes)]
        devices, codes = self._devices.of_rows(made.device)
        rows = to_rows(made, devices, codes)
        if len(codes) and len(codes) != len(rows):
            raise FrameError(f"{len(codes)} devices and {len(rows)} rows")
        return self._lane_entries(ticket, rows)

    def _lane_entries(self, ticket: Ticket, rows: Rows) -> list[Entry]:
        """An entry for each lane that its devices are on."""
        if len(rows) == 0:
            return []
        lanes = np.array([self._lane(device)[1] for device in rows.devices])
        parts = [rows]
        if (lanes != lanes[0]).any():
            of_row = lanes[rows.row_devices()]
            parts = [rows.take(np.flatnonzero(of_row == lane)) for lane in np.unique(lanes)]
        return [
            self._entry(ticket, part, part.devices[0], n_rows=len(part), n_bytes=part.n_bytes)
            for part in parts
        ]

    def _entry(
        self,
        ticket: Ticket,
        rows: DeviceColumns | Rows,
        device: Any,
        *,
        n_rows: int,
        n_bytes: int,
    ) -> Entry:
        device, lane = self._lane(device)
        now = self._clock.now()
        return Entry(ticket, rows, device, lane, n_rows=n_rows, n_bytes=n_bytes, at=now)

    def _lane(self, device: Any) -> tuple[Device, int]:
        """A device and its lane: the same in every process and at any time."""
        try:
            found = self._device_lanes.get(device)
        except TypeError:  # a list cannot name a device
            found = None
        if found is None:
            made = self._devices.of_row(device)
            text = made if isinstance(made, str) else repr(made)
            found = made, zlib.crc32(text.encode()) % self._n_lanes
            if isinstance(device, str) or device == made:  # any other spelling is rare
                self._device_lanes[device] = found
        return found

    def flush(self, timeout_s: float | None = None) -> None:
        """Send all that waits, and return when everything sent so far is acknowledged.

        Parameters
        ----------
        timeout_s : wait no longer than this; None: as long as it takes

        Raises
        ------
        TimeoutError : not within `timeout_s`; the rows are still being sent.
        IoTDBFramesError : the first failure that was not reported yet.
        """
        if self._box is not None:
            self._box.pending.flush(timeout_s)

    @property
    def stats(self) -> SinkStats:
        """Counters of this moment."""
        return self._pending.stats()

    def device_stats(self) -> pd.DataFrame:
        """The same counters, one row per device; of a table, per combination of tags."""
        counted = self._pending.device_stats()
        return counted.set_axis(self._devices.index(list(counted.index))).sort_index()

    def panel(self, *, capacity: int = 10_000) -> Any:
        """A live panel of these counters (extra ``[notebook]``); it keeps `capacity` samples."""
        return load_view("panel")(self, capacity=capacity)
