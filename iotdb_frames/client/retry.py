"""Retry what may succeed later: after lost connections and retryable codes, and where all sessions
were busy. Waits have full jitter."""

from __future__ import annotations

import logging
import math
import random
import threading
from collections.abc import Callable
from typing import TypeVar

from iotdb_frames.clock import CLOCK, Clock
from iotdb_frames.errors import IoTDBFramesError, PoolTimeout, ServerError
from iotdb_frames.options import RetryPolicy
from iotdb_frames.wire.transport import is_ended

T = TypeVar("T")
log = logging.getLogger("iotdb_frames.client")


TELL_AFTER_S = 1.0
TELL_EVERY_S = 30.0


def call_with_retry(
    call: Callable[[], T],
    *,
    policy: RetryPolicy,
    on_retry: Callable[[IoTDBFramesError], None] = lambda _: None,
    give_up: threading.Event | None = None,
    is_told: bool = True,
    clock: Clock = CLOCK,
) -> T:
    """The result of `call`, retried as `policy` says.

    Parameters
    ----------
    on_retry : called with each error before a retry; may raise to give up
    give_up : once set, nothing is retried, and a wait ends at once
    is_told : log a longer wait as a warning, which terminals and notebooks show; False if
        `on_retry` reports it

    Raises
    ------
    ServerError, PoolTimeout : the last one, unchanged.
    """
    started = clock.now()
    attempt, tell_at = 0, started + TELL_AFTER_S
    while True:
        try:
            return call()
        except (ServerError, PoolTimeout) as exc:
            attempt += 1
            wait_s = policy.wait_s(attempt - 1, random.random())  # noqa: S311 - jitter, no secret
            is_last = policy.attempts is not None and attempt >= policy.attempts
            until = clock.now() + wait_s
            is_over = is_last or until - started > policy.total_s or is_ended()
            if is_over or not (isinstance(exc, PoolTimeout) or exc.is_retryable):
                raise
            on_retry(exc)
            level = logging.INFO
            if is_told and until > tell_at:
                level, tell_at = logging.WARNING, until + TELL_EVERY_S
            limit = f", at most {policy.total_s:g} s in all" if policy.total_s < math.inf else ""
            what = "a session" if isinstance(exc, PoolTimeout) else "the server"
            log.log(level, "waiting for %s%s: %s", what, limit, exc.message)
            if give_up is None:
                clock.sleep(wait_s)
            elif clock.wait(give_up, wait_s):
                raise
            if is_ended():
                raise
