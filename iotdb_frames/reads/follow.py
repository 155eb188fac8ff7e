"""`follow`: what is new in the database, as frames, at least once, by reads of the newest rows.

What it promises: every row is handed over that is written while no row more than `lateness` newer
is there. A look reads all rows from a time on, which is the newest row that the look before the
last one saw, minus `lateness`. A row written before this look but after the last one began can be
no older than that, for whatever the look before the last one saw was there when it was written.
What was handed over of these rows is held, and compared.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta, tzinfo
from types import TracebackType
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from iotdb_frames.client.connect import resolve_connection
from iotdb_frames.client.connection import Connection
from iotdb_frames.client.pool import closed
from iotdb_frames.clock import CLOCK, Clock
from iotdb_frames.codec.times import TICKS_PER_S, to_seconds
from iotdb_frames.errors import IoTDBFramesError, OptionsError, QueryError
from iotdb_frames.options import hide_url
from iotdb_frames.reads.ask import Ask, check_ask
from iotdb_frames.reads.cursor import NO_MEMORY
from iotdb_frames.reads.ends import ends_of
from iotdb_frames.reads.form import Form
from iotdb_frames.reads.frames import DtypeBackend
from iotdb_frames.reads.news import compare, together
from iotdb_frames.reads.run import NOT_THERE, open_reading
from iotdb_frames.reads.shape import Reading
from iotdb_frames.reads.slices import can_slice, read_slices

PIECE_BYTES = 64 << 20
"""Rows that were there before are handed over in pieces of about half to all of this."""


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """How far a follower has come, in ticks; replaced once what a look found is handed over.

    start : from which time the next look reads; None: from the first row
    newest : the newest row that the last look saw, but not after the time of that look
    held : the rows from `start` on that were handed over
    behind : range (first, end) before `start` that is handed over first, in pieces
    width : how much of that the next piece takes
    """

    start: int | None = None
    newest: int | None = None
    held: pa.Table | None = None
    behind: tuple[int, int] | None = None
    width: int = 0


class Follower:
    """Frames of what is new in the database; made by `iotdb_frames.follow`.

    An iterator, and an asynchronous one, that ends with `close`, with its ``with`` or ``async
    with`` block, and never of itself. It begins when its block is entered, or it is first asked.
    An error, or Ctrl-C, or a cancellation, loses nothing: the next frame holds what that one would
    have held.
    """

    def __init__(
        self,
        target: str,
        asked: Mapping[str, Any],
        *,
        form: Form,
        every_s: float,
        start: Any,
        late: timedelta,
        clock: Clock,
        given: Connection,
    ) -> None:
        self._target = target
        self._asked = asked
        self._form = form
        self._every_s = every_s
        self._start = start
        self._late = late
        self._clock = clock
        self._given = given
        self._own = given.another()  # `close` ends what it waits for
        weakref.finalize(self, self._own.close)
        self._lock = threading.Lock()
        self._is_closed = False
        self._woken = threading.Event()
        given.tell_closed(self._woken)
        self._ask: Ask | None = None
        self._seen = _Seen()
        self._due = clock.now()

    def __repr__(self) -> str:
        state = "closed, " if self._is_closed else ""
        return f"<Follower {self._target}, {state}every {self._every_s:g} s>"

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> pd.DataFrame:
        found = self._next()
        if found is None:
            raise StopIteration
        frame, self._seen = found
        return frame

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> pd.DataFrame:
        from iotdb_frames.client.coroutines import in_thread

        found = await in_thread(self._next)
        if found is None:
            raise StopAsyncIteration
        frame, self._seen = found
        return frame

    def __enter__(self) -> Self:
        with self._lock:
            self._open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        from iotdb_frames.client.coroutines import in_thread

        return await in_thread(self.__enter__)

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.aclose()

    def close(self) -> None:
        """End it, from any thread; whoever waits for a frame gets none."""
        self._is_closed = True
        self._woken.set()
        self._own.close()

    async def aclose(self) -> None:
        """As `close`, without blocking the event loop."""
        from iotdb_frames.client.coroutines import in_thread

        await in_thread(self.close)

    @property
    def is_behind(self) -> bool:
        """Whether rows that were there before are still to be handed over; `look` gives them."""
        return self._seen.behind is not None

    def look(self) -> pd.DataFrame | None:
        """Look once, now; None if nothing is new.

        Raises
        ------
        As `follow`; PoolClosed : it, or its connection, is closed.
        """
        with self._lock:
            self._open()
            frame, self._seen = self._look(self._seen)
        return frame

    def _next(self) -> tuple[pd.DataFrame, _Seen] | None:
        """The next frame, and what is seen once it is handed over; None where it is closed."""
        with self._lock:
            try:
                self._open()
                while True:
                    if not self.is_behind:
                        self._wait()
                    frame, seen = self._look(self._seen)
                    if frame is not None:
                        return frame, seen
                    self._seen = seen
            except IoTDBFramesError:
                if self._is_closed:
                    return None
                raise

    def _wait(self) -> None:
        """Wait until the next look is due.

        Raises
        ------
        PoolClosed : it, or its connection, is closed.
        """
        left_s = self._due - self._clock.now()
        if left_s > 0:
            self._clock.wait(self._woken, left_s)
        self._check_open()
        self._due = self._clock.now() + self._every_s

    def _check_open(self) -> None:
        if self._is_closed or self._given.is_closed:
            raise closed()

    # --- looking ---

    def _ticks(self, span: timedelta) -> int:
        return round(span.total_seconds() * TICKS_PER_S[self._own.server.precision])

    def _now(self) -> int:
        ns_per_tick = TICKS_PER_S["ns"] // TICKS_PER_S[self._own.server.precision]
        return self._clock.time_ns() // ns_per_tick

    def _open(self) -> None:
        """Begin, if it has not begun: what is there now, and what of it is to be handed over."""
        self._check_open()
        if self._ask is not None:
            return
        is_now = isinstance(self._start, str) and self._start == "now"
        is_begin = isinstance(self._start, str) and self._start == "begin"
        is_span = isinstance(self._start, timedelta)
        start = None if is_now or is_begin or is_span else self._start
        ask = check_ask(self._own, self._target, start=start, **self._asked)
        seen = _Seen(start=ask.start)
        ends = self._own.try_again(lambda: self._ends(ask), is_idempotent=True)
        if ends is not None:
            first, last = ends
            newest = min(last, self._now())
            begin = newest - self._lateness
            least = last - self._ticks(self._start) if is_span else ask.start
            first = first if least is None else max(first, least)
            behind = (first, begin) if first < begin and not is_now else None
            seen = _Seen(
                start=begin if least is None else max(begin, least),
                newest=newest,
                behind=behind,
                width=begin - first,
            )
            if is_now:
                _, seen = self._look(seen, ask)
        self._ask, self._seen = ask, seen

    @property
    def _lateness(self) -> int:
        return self._ticks(self._late)

    def _ends(self, ask: Ask) -> tuple[int, int] | None:
        """The first and the last time there is; None where there is none."""
        reading = self._reading(replace(ask, start=0, end=0))
        if reading is None:
            return None
        reading.result.close()
        by_device = reading.base is not None
        lows, tops = ends_of(self._own, ask, list(reading.types), by_device=by_device)
        return (min(lows), max(tops)) if lows and tops else None

    def _reading(self, ask: Ask) -> Reading | None:
        """A query; None where the target does not exist."""
        try:
            return open_reading(self._own, ask)
        except QueryError as exc:
            if exc.code in NOT_THERE:
                return None
            raise

    def _look(self, seen: _Seen, ask: Ask | None = None) -> tuple[pd.DataFrame | None, _Seen]:
        """What is new since `seen`, or None, and what is seen then."""
        ask = ask or self._ask
        assert ask is not None
        if seen.behind is not None:
            return self._piece(seen, seen.behind, ask)
        now = self._now()
        found = self._read(replace(ask, start=seen.start))
        if found is None:
            return None, seen
        reading, rows = found
        fresh = held = rows
        if seen.held is not None:
            fresh, gone = compare(rows, seen.held, n_keys=reading.n_keys)
            held = together(rows, gone)  # of which a node may only lack what others have
        start, newest = seen.start, seen.newest
        if newest is not None:
            least = newest - self._lateness
            start = least if start is None else max(least, start)
        if len(rows):
            last = min(pc.max(rows.column(0).cast(pa.int64())).as_py(), now)
            newest = last if newest is None else max(last, newest)
        if start is not None:
            held = held.filter(pc.greater_equal(held.column(0).cast(pa.int64()), start))
        seen = _Seen(start=start, newest=newest, held=held)
        return (reading.finish(fresh, self._form) if len(fresh) else None), seen

    def _piece(
        self, seen: _Seen, behind: tuple[int, int], ask: Ask
    ) -> tuple[pd.DataFrame | None, _Seen]:
        """The next rows of those that were there before, and what is seen then."""
        first, end = behind
        width = seen.width
        while True:
            width = min(width, end - first)
            until = first + width
            found = self._read(replace(ask, start=first, end=until), is_piece=width > 1)
            if found is None or found[1] is not None:
                break
            width //= 2
        left = (until, end) if until < end and found is not None else None
        seen = replace(seen, behind=left, width=2 * width)
        if found is None or not len(found[1]):
            return None, seen
        reading, rows = found
        return reading.finish(rows, self._form), seen

    def _read(self, ask: Ask, *, is_piece: bool = False) -> tuple[Reading, Any] | None:
        """A query and its rows; None where the target does not exist.

        Parameters
        ----------
        is_piece : give no rows in place of more than `PIECE_BYTES` of them
        """

        def once() -> tuple[Reading, Any] | None:
            try:
                reading = self._reading(ask)
            except QueryError as exc:
                if exc.code != NO_MEMORY or not can_slice(ask):
                    raise
                return read_slices(self._own, ask, exc)
            if reading is None:
                return None
            batches: list[pa.RecordBatch] = []
            n_bytes = 0
            for batch in reading.result.batches():
                batches.append(batch)
                n_bytes += batch.nbytes
                if is_piece and n_bytes > PIECE_BYTES:
                    reading.result.close()
                    return reading, None
            table = pa.Table.from_batches(batches, schema=reading.result.schema)
            return reading, reading.pick(table)

        return self._own.try_again(once, is_idempotent=True)


def follow(
    target: str,
    *,
    every: float | str | timedelta = 1.0,
    start: Any = "now",
    lateness: float | str | timedelta = "10s",
    columns: Sequence[str] | None = None,
    where: Mapping[str, Any] | None = None,
    device: str | None = None,
    tz: str | tzinfo | None = None,
    dtype_backend: DtypeBackend = None,
    clock: Clock = CLOCK,
    connection: Connection | str | None = None,
) -> Follower:
    """Follow a device, a prefix of devices or a table: frames of what is new, at least once.

    ::

        for frame in iotf.follow("root.plant.**"):
            print(frame)

        async with iotf.follow("plant.press", start="begin") as frames:
            async for frame in frames:
                ...

    It reads the newest rows again and again. Handed over is every row that is written while no row
    of the target that is more than `lateness` newer is there, and each that changed since, with all
    its columns. It cannot see rows that are later than that, rows and cells that are deleted behind
    it (a cell erased within `lateness` is a changed row), a value that is overwritten by the same
    one, or twice between two looks, and whether a row is new or changed. A row comes twice only if
    it changed, or if the type of a column did. The rows of the last `lateness` and of two looks are
    held in memory. Rows in the future do not hide others: what is newest is at most the time of
    `clock`.

    Parameters
    ----------
    target : as of `read`; it need not exist yet
    every : seconds, or a span, from the beginning of one look to that of the next
    start : "now": what is written from now on; "begin": everything there is, oldest first; a time:
        the rows from then on; a timedelta: those so far back from the newest row
    lateness : how much older than the newest row a row may be when it is written. Of several
        devices, the newest row of all counts
    columns, where, device, tz, dtype_backend : as in `read`
    clock : measures the waits and gives the time of day; a test may advance it
    connection : a Connection or a URL; None: see `use`. Sessions of its own are opened to the same
        place; closing the connection ends it, too

    Returns
    -------
    Follower : an iterator of frames as `read` gives them, none of them empty

    Raises
    ------
    OptionsError, QueryError, AuthenticationError, PermissionDenied : it cannot be followed.
    ConnectionLost, QueryTimeout : no answer, for longer than the connection's `retry` waits. To ask
        for the next frame goes on where it was.
    """
    connection = hide_url(connection)
    spans = {"every": every, "lateness": lateness}
    seconds = {name: to_seconds(span, name=name) for name, span in spans.items()}
    if not seconds["every"] > 0 or seconds["lateness"] < 0:
        raise OptionsError("every= must be above 0, and lateness= not below")
    if start is None:
        raise OptionsError("start=None", hint='"now", "begin", a time, or a timedelta')
    if isinstance(start, np.timedelta64):
        start = pd.Timedelta(start)
    return Follower(
        target,
        {"columns": columns, "where": where, "device": device},
        form=Form(tz=tz, dtype_backend=dtype_backend),
        every_s=seconds["every"],
        start=start,
        late=timedelta(seconds=seconds["lateness"]),
        clock=clock,
        given=resolve_connection(connection),
    )
