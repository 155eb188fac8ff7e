"""Ending, from outside, the work of a thread: at its next wait, as Ctrl-C ends the main thread's.

Only where a thread waits is it ended, so that no lock and no lent session is left behind. Whoever
waits in another way than by a `Clock` or for the server looks at `check_interrupt` now and then.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

SLICE_S = 0.1
"""How long a wait that nothing wakes lasts before it looks whether it is to end."""


class Interrupted(BaseException):
    """Raised once in a thread that was told to end; not an error, as KeyboardInterrupt is none.

    report : of a write: the `WriteReport` of what it did until then
    """

    report: Any = None


class Interruptible(threading.Thread):
    """A thread that `wire.transport.interrupt` can end.

    Parameters
    ----------
    work : what it runs, which raises nothing
    """

    def __init__(self, work: Callable[[], None], *, name: str) -> None:
        super().__init__(target=work, name=name, daemon=True)
        self.is_to_end = False


def is_interruptible() -> bool:
    """Whether this thread is one that can be ended."""
    return isinstance(threading.current_thread(), Interruptible)


def check_interrupt() -> None:
    """Raise once if this thread was told to end.

    Raises
    ------
    Interrupted
    """
    thread = threading.current_thread()
    if isinstance(thread, Interruptible) and thread.is_to_end:
        thread.is_to_end = False  # what cleans up may wait, too
        raise Interrupted("ended from outside")
