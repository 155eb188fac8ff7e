"""Blocking calls as coroutines: each runs in a thread of its own, which ends if it is cancelled.

At most as many run at once as the connection has sessions for a dialect; the others wait in the
event loop, in order, without a thread and without a limit.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from iotdb_frames.client.connection import Connection
from iotdb_frames.interrupts import Interrupted, Interruptible
from iotdb_frames.wire.transport import interrupt

T = TypeVar("T")

GRACE_S = 10.0
"""How long a cancelled coroutine waits at most until its thread has cleaned up: a little more than
the query that it ran may take to be ended from another session."""


class _Gate:
    """Lets as many calls of an event loop pass as the connection has sessions."""

    def __init__(self) -> None:
        self._opening = asyncio.Lock()
        self._places: asyncio.Semaphore | None = None

    async def places(self, connection: Connection) -> asyncio.Semaphore:
        """The places; the first call may start a ``local:`` server, in a thread."""
        if self._places is None:
            async with self._opening:
                if self._places is None:
                    options = await in_thread(lambda: connection.options)
                    self._places = asyncio.Semaphore(options.pool_size)
        return self._places


_gates: dict[asyncio.AbstractEventLoop, WeakKeyDictionary[Connection, _Gate]] = {}


def _gate_of(connection: Connection) -> _Gate:
    """That of the running loop."""
    loop = asyncio.get_running_loop()
    if loop not in _gates:
        for other in list(_gates):  # not weakly: a gate refers to its loop
            if other.is_closed():
                _gates.pop(other, None)
        _gates[loop] = WeakKeyDictionary()
    return _gates[loop].setdefault(connection, _Gate())


async def on_session(connection: Connection, call: Callable[[], T]) -> T:
    """As `in_thread`, once the connection has a session for the call."""
    async with await _gate_of(connection).places(connection):
        return await in_thread(call)


async def in_thread(call: Callable[[], T]) -> T:
    """The result of a blocking call, made in a thread while other coroutines run.

    Raises
    ------
    What the call raises.
    asyncio.CancelledError : it was cancelled, and the thread has ended where it waited. Its
        ``__cause__`` is the `Interrupted` or the error that the call ended with. A second
        cancellation does not wait for that.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()
    done.add_done_callback(lambda future: future.exception())  # nobody may ask for it any more
    context = copy_context()

    def work() -> None:
        end: Callable[[], None]
        try:
            end = partial(done.set_result, context.run(call))
        except BaseException as exc:
            end = partial(done.set_exception, exc)
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(end)

    thread = Interruptible(work, name="iotdb-frames-call")
    thread.start()
    try:
        await asyncio.wait([done])
    except asyncio.CancelledError as cancelled:
        interrupt(thread)
        await asyncio.wait([done], timeout=GRACE_S)
        raise cancelled from _end_of(done)
    return done.result()


def _end_of(done: asyncio.Future[T]) -> BaseException | None:
    """How a cancelled call ended; None where it goes on."""
    if not done.done():
        return None
    error = done.exception()
    if error is None:
        error = Interrupted("it had ended before")
        error.report = done.result()
    return error


async def each(items: Generator[T, None, None]) -> AsyncIterator[T]:
    """The items of a blocking iterator, each waited for in a thread."""
    end: Any = object()
    try:
        while (item := await in_thread(partial(next, items, end))) is not end:
            yield item
    except BaseException:
        await in_thread(items.close)
        raise
