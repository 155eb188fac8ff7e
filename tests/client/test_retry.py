"""Trying again: as long as a restart takes, never longer than told, and never without a word."""

from __future__ import annotations

import logging
import math
import threading

import pytest

from clock import FakeClock
from iotdb_frames.client.retry import call_with_retry
from iotdb_frames.errors import ConnectionLost, QueryError, ServerError
from iotdb_frames.options import RetryPolicy


class Server:
    """Answers after so many seconds of the clock; until then it raises."""

    def __init__(self, clock: FakeClock, *, back_s: float, error: ServerError) -> None:
        self.clock, self.error = clock, error
        self.back = clock.now() + back_s
        self.n_calls = 0

    def __call__(self) -> str:
        self.n_calls += 1
        if self.clock.now() < self.back:
            raise self.error
        return "here"


@pytest.mark.parametrize(
    "error",
    [
        ConnectionLost("nothing is listening"),
        ServerError("SchemaRegion[0] doesn't exist", code=2206),
        ServerError("read-only", code=606),
    ],
)
def test_the_default_outlasts_a_restart(error: ServerError) -> None:
    """A server that is away for a minute is waited for, whatever it says meanwhile."""
    clock = FakeClock(runs=True)
    server = Server(clock, back_s=60, error=error)
    assert call_with_retry(server, policy=RetryPolicy(), clock=clock) == "here"
    assert server.n_calls > 6


def test_the_time_decides() -> None:
    """A server that stays away is given up after `total_s`, however many tries that were."""
    clock = FakeClock(runs=True)
    server = Server(clock, back_s=math.inf, error=ConnectionLost("nothing is listening"))
    with pytest.raises(ConnectionLost):
        call_with_retry(server, policy=RetryPolicy(), clock=clock)
    assert 170 < sum(clock.slept_s) <= 180


def test_attempts_still_limit() -> None:
    """Who names a number of tries has no more than those."""
    clock = FakeClock(runs=True)
    server = Server(clock, back_s=math.inf, error=ConnectionLost("nothing is listening"))
    with pytest.raises(ConnectionLost):
        call_with_retry(server, policy=RetryPolicy(attempts=3), clock=clock)
    assert server.n_calls == 3


@pytest.mark.parametrize(
    "error", [QueryError("no such series", code=701), ConnectionLost("bad CA", may_pass=False)]
)
def test_what_does_not_pass_is_not_tried_again(error: ServerError) -> None:
    """A refused statement and a certificate that fails end at the first try."""
    clock = FakeClock(runs=True)
    server = Server(clock, back_s=math.inf, error=error)
    with pytest.raises(type(error)):
        call_with_retry(server, policy=RetryPolicy(), clock=clock)
    assert (server.n_calls, clock.slept_s) == (1, [])


def test_a_wait_says_what_it_waits_for(caplog: pytest.LogCaptureFixture) -> None:
    """A wait of more than a moment is a warning that names it, now and then; a short one is not."""
    caplog.set_level(logging.WARNING)
    clock = FakeClock(runs=True)
    for back_s, n_told in ((0.2, 0), (100, 4)):
        caplog.clear()
        server = Server(clock, back_s=back_s, error=ConnectionLost("nothing is listening at h:1"))
        call_with_retry(server, policy=RetryPolicy(), clock=clock)
        texts = [record.getMessage() for record in caplog.records]
        assert abs(len(texts) - n_told) <= bool(n_told)
        assert set(texts) <= {
            "waiting for the server, at most 180 s in all: nothing is listening at h:1"
        }


def test_giving_up_ends_a_wait() -> None:
    """Once told to give up, a wait ends and nothing is called again."""
    give_up = threading.Event()
    give_up.set()
    server = Server(FakeClock(), back_s=math.inf, error=ConnectionLost("nothing is listening"))
    with pytest.raises(ConnectionLost):
        call_with_retry(server, policy=RetryPolicy(), give_up=give_up, clock=server.clock)
    assert server.n_calls == 1
