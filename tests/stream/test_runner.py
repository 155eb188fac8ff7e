"""The background runner, in real time: its rate, its pauses, receivers that are slow or fail."""

from __future__ import annotations

import logging
import math
import os
import signal
import threading
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from iotdb_frames.errors import OptionsError
from iotdb_frames.stream.faults import Fault
from iotdb_frames.stream.playing import Pace
from iotdb_frames.stream.replay import replay
from iotdb_frames.stream.runner import Runner
from iotdb_frames.stream.source import SensorSource


class Receiver:
    """Keeps what it gets, and when; `takes_s` is how long it takes for a window."""

    def __init__(self, *, takes_s: float = 0.0) -> None:
        self.frames: list[pd.DataFrame] = []
        self.at: list[float] = []
        self.takes_s = takes_s
        self.is_busy = False

    def __call__(self, frame: pd.DataFrame) -> None:
        assert not self.is_busy, "send was called twice at once"
        self.is_busy = True
        self.at.append(time.monotonic())
        time.sleep(self.takes_s)
        self.frames.append(frame)
        self.is_busy = False

    @property
    def rows(self) -> pd.DataFrame:
        return pd.concat(self.frames)


def until(condition: Callable[[], bool], *, within_s: float = 5.0) -> None:
    limit = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < limit, "it did not come to pass"
        time.sleep(0.005)


def test_the_rate_is_kept_without_drift() -> None:
    """Each window is sent when its last row is over, however long sending takes."""
    receiver = Receiver(takes_s=0.03)  # of 0.05 s between windows
    source = SensorSource(rate_hz=100, duration=3)
    runner = Runner(source, receiver, window=5)
    begin = time.monotonic()
    stats = runner.start().wait()
    late = np.array(receiver.at) - begin - 0.05 * np.arange(1, 61)
    assert late.min() >= 0
    # A drift of the sending time would be 0.9 s in the middle and 1.8 s in the end; what is
    # allowed is what a busy machine takes to wake a thread.
    assert np.median(late) < 0.1
    assert np.median(late[-10:]) < 0.1
    assert stats.state == "finished"
    assert (stats.windows, stats.rows) == (60, 300)
    assert stats.rows_per_s == pytest.approx(300 / 3.03, rel=0.05)
    assert 0.03 <= stats.median_send_s < 0.05
    assert not stats.is_behind
    assert_frame_equal(receiver.rows, source.frame())


def test_speed() -> None:
    """Twenty times as fast, a minute takes three seconds; without a limit, next to nothing."""
    receiver = Receiver()
    begin = time.monotonic()
    Runner(SensorSource(duration=60), receiver, speed=40).run()
    assert time.monotonic() - begin == pytest.approx(1.5, abs=0.2)
    begin = time.monotonic()
    stats = Runner(SensorSource(duration=86_400), receiver, window="1h", speed=math.inf).run()
    assert time.monotonic() - begin < 2
    assert stats.rows == 86_400
    assert not stats.is_behind


def test_pause_and_resume() -> None:
    """Nothing is sent while paused; then the stream goes on with the next row, none lost."""
    receiver = Receiver()
    source = SensorSource(rate_hz=100, duration=1)
    runner = Runner(source, receiver, window=5).start()
    until(lambda: len(receiver.frames) >= 4)
    runner.pause()
    assert runner.state == "paused"
    time.sleep(0.1)  # a window that was being sent is through
    held = len(receiver.frames)
    elapsed = runner.stats.elapsed_s
    time.sleep(0.4)
    assert len(receiver.frames) == held
    assert runner.stats.elapsed_s == elapsed
    runner.resume()
    stats = runner.wait()
    assert stats.elapsed_s == pytest.approx(1, abs=0.1)
    assert_frame_equal(receiver.rows, source.frame())


def test_resume_with_the_clock() -> None:
    """Resumed with skip, the rows of the pause are left out and times are the clock's again."""
    receiver = Receiver()
    runner = Runner(SensorSource(rate_hz=100), receiver, window=5, now=True).start()
    until(lambda: len(receiver.frames) >= 4)
    runner.pause()
    time.sleep(0.5)
    runner.resume(skip=True)
    count = len(receiver.frames)
    until(lambda: len(receiver.frames) >= count + 4)
    runner.stop()
    gaps = np.diff(receiver.rows.index) / np.timedelta64(1, "ms")
    assert sorted(set(gaps))[0] == 10
    assert len(gaps[gaps > 10]) == 1
    assert 450 <= gaps.max() <= 700
    age = pd.Timestamp.now("UTC").tz_localize(None) - receiver.rows.index[-1]
    assert abs(age.total_seconds()) < 0.3


def test_stop_drains() -> None:
    """`stop` sends the rows that are over by then, and those on their way."""
    receiver = Receiver()
    finished: list[int] = []
    source = SensorSource(rate_hz=100, faults=[Fault("delay", severity=0.5)])
    runner = Runner(
        source, receiver, window=1000, finish=lambda: finished.append(len(receiver.frames))
    ).start()
    time.sleep(0.8)
    begin = time.monotonic()
    stats = runner.stop()
    assert time.monotonic() - begin < 0.5
    assert stats.state == "stopped"
    assert 75 <= len(receiver.rows) <= 90
    assert_frame_equal(receiver.rows, source.replace(faults=()).window(len(receiver.rows)))
    assert finished == [2]  # the short window, then what was late


def test_stop_without_draining() -> None:
    """Without draining nothing is sent any more, also if a drain is going on."""
    receiver = Receiver()
    runner = Runner(SensorSource(rate_hz=100), receiver, window=1000).start()
    time.sleep(0.2)
    assert runner.cancel(drain=False).rows == 0
    slow = Receiver(takes_s=0.2)
    runner = Runner(SensorSource(rate_hz=100), slow, window=1).start()
    time.sleep(0.5)
    with pytest.raises(TimeoutError, match="stopping"):
        runner.stop(timeout_s=0.05)
    assert runner.stop(drain=False, timeout_s=1).state == "stopped"
    assert len(slow.frames) < 6


def test_a_slow_receiver_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    """When sending takes longer than the rate allows, the runner says so, and when it is over."""
    receiver = Receiver(takes_s=0.3)
    runner = Runner(SensorSource(rate_hz=100), receiver, window=10)
    assert not runner.stats.is_behind
    with caplog.at_level(logging.WARNING, logger="iotdb_frames"):
        runner.start()
        until(lambda: runner.stats.is_behind)
        text = str(runner.stats)
        until(lambda: "does not keep up" in caplog.text)
        receiver.takes_s = 0
        until(lambda: not runner.stats.is_behind and "has caught up" in caplog.text)
        stats = runner.stop()
    assert "behind by 1." in text
    assert "due each 0.1 s, sending takes 0.3" in text
    assert stats.max_behind_s > 1
    assert caplog.text.count("does not keep up") == 1
    assert receiver.rows.index.is_monotonic_increasing
    assert_frame_equal(receiver.rows, SensorSource(rate_hz=100).window(stats.rows))


def test_a_receiver_that_hangs_is_seen() -> None:
    """The delay grows while one window is still being sent."""
    go_on = threading.Event()
    runner = Runner(SensorSource(rate_hz=10), lambda frame: go_on.wait(10), window=1).start()
    until(lambda: runner.stats.is_behind)
    assert runner.stats.windows == 0
    go_on.set()
    runner.stop()


def test_errors_of_the_receiver_surface() -> None:
    """What `send` raises ends the stream and comes out of stop, wait, run and the with block."""
    sent: list[int] = []

    def send(frame: pd.DataFrame) -> None:
        sent.append(len(frame))
        if len(sent) == 3:
            raise ConnectionError("the database is gone")

    def make() -> Runner:
        sent.clear()
        return Runner(SensorSource(rate_hz=100), send, window=1, finish=lambda: sent.append(-1))

    runner = make().start()
    with pytest.raises(ConnectionError, match="gone") as caught:
        runner.wait(timeout_s=5)
    assert "while sending 1 rows, 2026-01-01 00:00:00.020" in caught.value.__notes__[0]
    assert runner.state == "failed"
    assert runner.error is caught.value
    assert runner.stats.rows == 2
    assert "gone" in repr(runner)
    assert sent == [1, 1, 1]  # `finish` is for streams that ended well
    with pytest.raises(ConnectionError):
        runner.stop()
    with pytest.raises(ConnectionError):
        make().run(5)
    with pytest.raises(ConnectionError), make():
        time.sleep(0.3)

    def fail() -> None:
        time.sleep(0.3)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as both, make():
        fail()
    assert "the stream failed" in both.value.__notes__[0]


def test_errors_of_the_source_surface() -> None:
    """A source that fails ends the stream like a receiver that does."""
    source = SensorSource(
        {"s": lambda t: np.where(t > 0.5, t, t) if t[0] == 0 else t[:-1]}, rate_hz=1e3
    )
    runner = Runner(source, lambda frame: None, window=1000, speed=math.inf)
    with pytest.raises(OptionsError, match="shape"):
        runner.run(5)


def test_run_for_some_seconds() -> None:
    """`run(seconds)` streams for so long by the clock, drains and returns the counters."""
    receiver = Receiver()
    begin = time.monotonic()
    stats = Runner(SensorSource(rate_hz=50), receiver, window=10).run(1)
    assert time.monotonic() - begin == pytest.approx(1, abs=0.2)
    assert stats.state == "stopped"
    assert stats.rows == pytest.approx(50, abs=3)


def test_duration_ends_the_stream() -> None:
    """`duration` is the source's time; the last window is cut there."""
    receiver = Receiver()
    runner = Runner(SensorSource(rate_hz=100), receiver, window=40, duration="1s", speed=5)
    begin = time.monotonic()
    assert runner.run().state == "finished"
    assert time.monotonic() - begin == pytest.approx(0.2, abs=0.1)
    assert [len(frame) for frame in receiver.frames] == [40, 40, 20]


def test_ctrl_c_is_honoured() -> None:
    """On Ctrl-C `run` stops, drains, and lets KeyboardInterrupt go on."""
    receiver = Receiver()
    runner = Runner(SensorSource(rate_hz=100), receiver, window=1000)
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        runner.run(60)
    assert time.monotonic() - begin < 2
    assert runner.state == "stopped"
    assert 45 <= len(receiver.rows) <= 80
    timer.join()


def test_live_changes() -> None:
    """Window, speed, faults and rate change on the run; times go on, nothing is lost or twice."""
    receiver = Receiver()
    runner = Runner(SensorSource(rate_hz=100), receiver, window=10).start()
    until(lambda: len(receiver.frames) >= 3)
    runner.change(window="50ms")
    until(lambda: len(receiver.frames[-1]) == 5)
    runner.change(speed=4)
    count, begin = len(receiver.frames), time.monotonic()
    until(lambda: len(receiver.frames) >= count + 40)
    assert time.monotonic() - begin == pytest.approx(0.5, abs=0.2)
    runner.change(faults=["bias:1"])
    until(lambda: runner.stats.faults.get("bias", 0) > 20)
    steady = receiver.rows
    assert_frame_equal(steady[:40], SensorSource(rate_hz=100).window(40))
    assert (np.diff(steady.index) == np.timedelta64(10, "ms")).all()
    runner.change(rate_hz=20, faults=())
    until(lambda: (np.diff(receiver.rows.index) == np.timedelta64(50, "ms")).any())
    runner.stop()
    times = receiver.rows.index
    assert times.is_monotonic_increasing
    assert times.is_unique
    assert set(np.diff(times) / np.timedelta64(10, "ms")) <= {1, 2, 3, 4, 5}


def test_rows_on_their_way_are_sent_when_their_fault_is_taken_away() -> None:
    """Rows held back by a fault that is changed away arrive at once."""
    receiver = Receiver()
    source = SensorSource(rate_hz=100, faults=[Fault("offline", duration=60)])
    runner = Runner(source, receiver, window=5).start()
    time.sleep(0.3)
    assert not receiver.frames
    runner.change(faults=())
    until(lambda: len(receiver.frames) >= 4)
    runner.stop()
    assert_frame_equal(receiver.rows, SensorSource(rate_hz=100).window(len(receiver.rows)))


def test_changes_that_are_refused_change_nothing() -> None:
    """A bad change raises in the caller, and the stream goes on as it was."""
    receiver = Receiver()
    runner = Runner(SensorSource(rate_hz=100), receiver, window=5).start()
    for change in (
        {"speed": 0},
        {"window": 0},
        {"rate_hz": 0},
        {"colour": "red"},
        {"speed": 2, "window": "1us"},
    ):
        with pytest.raises(OptionsError):
            runner.change(**change)
    count = len(receiver.frames)
    until(lambda: len(receiver.frames) >= count + 3)
    stats = runner.stop()
    assert stats.rows_per_s == pytest.approx(100, rel=0.2)
    with pytest.raises(OptionsError, match="stopped"):
        runner.change(speed=2)


def test_faults_are_counted() -> None:
    """The counters say how many rows each fault has hit, as the ledger does."""
    source = SensorSource(rate_hz=1000, duration=20, faults=["spike:0.05", "straggler:0.01"])
    stats = Runner(source, lambda frame: None, window=100, speed=math.inf).run()
    assert stats.faults == source.ledger()["fault"].value_counts().to_dict()
    assert stats.rows == 20_000


def test_a_replay_keeps_its_gaps() -> None:
    """A recording is streamed at the pace it was recorded, gaps kept, and may be moved to now."""
    seconds = [0, 0.1, 0.2, 0.9, 1.0]
    times = pd.DatetimeIndex(pd.to_datetime(seconds, unit="s", origin="2020-01-01"))
    frame = pd.DataFrame({"x": range(5)}, index=times)
    receiver = Receiver()
    begin = time.monotonic()
    Runner(replay(frame, speed=2, now_shift=True), receiver, window=1).run()
    assert np.array(receiver.at) - begin == pytest.approx(np.array(seconds) / 2, abs=0.1)
    rows = receiver.rows
    assert (np.diff(rows.index) == np.diff(times)).all()
    age = pd.Timestamp.now("UTC").tz_localize(None) - rows.index[0]
    assert 0 <= age.total_seconds() < 2


def test_misuse() -> None:
    """A stream starts once, must be started to be waited for, and has parameters above 0."""
    source = SensorSource(rate_hz=10)
    runner = Runner(source, print)
    with pytest.raises(OptionsError, match="never started"):
        runner.wait()
    runner.pause()
    runner.resume()
    assert runner.stop().state == "stopped"
    with pytest.raises(OptionsError, match="is stopped"):
        runner.start()
    for options in ({"speed": 0}, {"speed": "x"}, {"duration": 0}, {"window": 0}):
        with pytest.raises(OptionsError):
            Runner(source, print, **options)
    with pytest.raises(OptionsError, match="longer than duration"):
        Runner(source, print, window="10s", duration=5)
    with pytest.raises(OptionsError, match="no parameters"):
        Runner(replay(source.window(30)), print).change(rate_hz=2)


def test_stop_from_the_receiver() -> None:
    """`send` itself may stop the stream; it is not waited for from inside."""
    runner = Runner(SensorSource(rate_hz=100), lambda frame: runner.stop(drain=False), window=1)
    runner.start()
    until(lambda: runner.state == "stopped")


def test_the_repr_says_how_it_goes() -> None:
    """A runner's repr names state, rows, time and rate; before the start, what to do."""
    runner = Runner(SensorSource(rate_hz=100, duration=1), lambda frame: None, speed=math.inf)
    assert repr(runner) == "Runner(ready; start() or run() it)"
    runner.run()
    assert repr(runner).startswith("Runner(finished: 100 rows in 1 windows")


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["start", "hold", "speed"]), st.floats(0, 100), st.floats(0.01, 50)
        )
    )
)
def test_stream_time_never_leaps(steps: list[tuple[str, float, float]]) -> None:
    """Whatever is held, resumed and changed, stream time is the sum of speed × time run."""
    pace = Pace(speed=1)
    now, expected, speed, ticking = 100.0, 0.0, 1.0, False
    for action, wait_s, new_speed in steps:
        now += wait_s
        expected += wait_s * speed if ticking else 0
        assert pace.stream_at(now) == pytest.approx(expected)
        if action == "start":
            pace.start(now)
            ticking = True
        elif action == "hold":
            pace.hold(now)
            ticking = False
        else:
            pace.set_speed(now, new_speed)
            speed = new_speed
        assert pace.stream_at(now) == pytest.approx(expected)
        assert pace.wait_s(now, expected + 7) == pytest.approx((7) / speed)
