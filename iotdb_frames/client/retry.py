"""Try again what may succeed later: lost connections and retryable codes, with full jitter."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from typing import TypeVar

from iotdb_frames.clock import CLOCK, Clock
from iotdb_frames.errors import ServerError
from iotdb_frames.options import RetryPolicy

T = TypeVar("T")
log = logging.getLogger("iotdb_frames")


def call_with_retry(
    call: Callable[[], T],
    *,
    policy: RetryPolicy,
    on_retry: Callable[[ServerError], None] = lambda _: None,
    give_up: threading.Event | None = None,
    clock: Clock = CLOCK,
) -> T:
    """The result of `call`, tried again as `policy` says.

    Parameters
    ----------
    on_retry : told each error that is about to be tried again; may raise to give up
    give_up : once set, nothing is tried again, and a wait ends at once

    Raises
    ------
    ServerError : the last one, unchanged.
    """
    started = clock.now()
    attempt = 0
    while True:
        try:
            return call()
        except ServerError as exc:
            attempt += 1
            wait_s = policy.wait_s(attempt - 1, random.random())  # noqa: S311 - jitter, no secret
            too_late = clock.now() + wait_s - started > policy.total_s
            if not exc.is_retryable or attempt >= policy.attempts or too_late:
                raise
            on_retry(exc)
            log.info("try %d in %.2f s: %s", attempt + 1, wait_s, exc.message)
            if give_up is None:
                clock.sleep(wait_s)
            elif clock.wait(give_up, wait_s):
                raise
