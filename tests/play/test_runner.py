"""The background runner, by a clock that is turned by hand: its rate, its pauses, its ledger,
receivers that are slow or fail.

What is about real time, a rate held for a minute, is `benchmarks/bench_stream.py`.
"""

from __future__ import annotations

import functools
import logging
import math
import os
import re
import signal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from iotdb_frames.errors import OptionsError
from iotdb_frames.play.pace import Pace
from iotdb_frames.play.runner import Runner
from iotdb_frames.simulate import signals as sg
from iotdb_frames.simulate.faults import Fault
from iotdb_frames.simulate.fleet import simulate_fleet
from iotdb_frames.simulate.replay import replay
from iotdb_frames.simulate.source import SensorSource
from turned import TurnedClock


class Receiver:
    """Keeps what it gets, and when; `takes_s` is how long it takes for a window."""

    def __init__(self, clock: TurnedClock, *, takes_s: float = 0.0) -> None:
        self.frames: list[pd.DataFrame] = []
        self.at: list[float] = []
        self.takes_s = takes_s
        self.is_busy = False
        self._clock = clock

    def __call__(self, frame: pd.DataFrame) -> None:
        assert not self.is_busy, "send was called twice at once"
        self.is_busy = True
        self.at.append(self._clock.passed_s)
        self._clock.sleep(self.takes_s)
        self.frames.append(frame)
        self.is_busy = False

    @property
    def rows(self) -> pd.DataFrame:
        return pd.concat(self.frames)


@pytest.fixture
def clock() -> TurnedClock:
    """A clock that stands until it is turned."""
    return TurnedClock()


@pytest.fixture
def receiver(clock: TurnedClock) -> Receiver:
    """A receiver that takes no time."""
    return Receiver(clock)


def test_the_rate_is_kept_without_drift(clock: TurnedClock) -> None:
    """Each window is sent when its last row is over, however long sending takes."""
    receiver = Receiver(clock, takes_s=0.03)  # of 0.05 s between windows
    source = SensorSource(rate_hz=100, duration=3)
    runner = Runner(source, receiver, window=5, clock=clock).start()
    clock.turn(4)
    stats = runner.wait()
    assert receiver.at == pytest.approx(0.05 * np.arange(1, 61), abs=1e-5)
    assert stats.state == "finished"
    assert (stats.windows, stats.rows) == (60, 300)
    assert stats.rows_per_s == pytest.approx(300 / 3.03, rel=1e-4)
    assert stats.median_send_s == stats.p99_send_s == pytest.approx(0.03, abs=1e-5)
    assert not stats.is_behind
    assert_frame_equal(receiver.rows, source.frame())


def test_speed(clock: TurnedClock, receiver: Receiver) -> None:
    """Forty times as fast, a minute takes a second and a half; without a limit no time at all."""
    runner = Runner(SensorSource(duration=60), receiver, speed=40, clock=clock)
    with clock.turning():
        runner.run()
    assert receiver.at[-1] == pytest.approx(1.5, abs=1e-4)
    begin = clock.passed_s
    stats = Runner(
        SensorSource(duration=86_400), receiver, window="1h", speed=math.inf, clock=clock
    ).run()
    assert clock.passed_s == begin
    assert stats.rows == 86_400
    assert not stats.is_behind


def test_pause_and_resume(clock: TurnedClock, receiver: Receiver) -> None:
    """Nothing is sent while paused; then the stream goes on with the next row, none lost."""
    source = SensorSource(rate_hz=100, duration=1)
    runner = Runner(source, receiver, window=5, clock=clock).start()
    clock.turn(0.22)
    runner.pause()
    assert runner.state == "paused"
    clock.turn(60)
    assert len(receiver.frames) == 4
    assert runner.stats.elapsed_s == pytest.approx(0.22, abs=1e-5)
    runner.resume()
    clock.turn(0.02)
    assert len(receiver.frames) == 4
    clock.turn(1)
    stats = runner.wait()
    assert stats.elapsed_s == pytest.approx(1, abs=1e-4)
    assert_frame_equal(receiver.rows, source.frame())


@pytest.mark.parametrize(("now", "skip"), [(True, None), (True, True), (None, True)])
def test_resume_with_the_clock(
    clock: TurnedClock, receiver: Receiver, now: bool | None, skip: bool | None
) -> None:
    """Resumed with skip, which `now` implies, only the rows of the pause are left out, and times
    are the clock's again."""
    runner = Runner(SensorSource(rate_hz=100), receiver, window=5, now=now, clock=clock).start()
    first = runner.source.start
    clock.turn(0.22)  # two rows of the next window are read
    runner.pause()
    clock.turn(0.5)
    runner.resume(skip=skip)
    clock.settle()
    assert not runner.stats.is_behind
    assert len(receiver.frames[-1]) == 2
    clock.turn(0.2)
    runner.stop()
    seconds = (receiver.rows.index - first) / pd.Timedelta("1s")
    assert seconds.tolist() == [k / 100 for k in (*range(22), *range(72, 92))]


def test_a_pause_is_not_skipped_unless_asked(clock: TurnedClock, receiver: Receiver) -> None:
    """With `now`, skip=False goes on with the next row all the same."""
    runner = Runner(SensorSource(rate_hz=100), receiver, window=5, now=True, clock=clock).start()
    clock.turn(0.22)
    runner.pause()
    clock.turn(0.5)
    runner.resume(skip=False)
    clock.turn(0.2)
    runner.stop()
    assert (np.diff(receiver.rows.index) == np.timedelta64(10, "ms")).all()


def test_a_pause_of_a_recording_repeats_no_row(clock: TurnedClock, receiver: Receiver) -> None:
    """Resumed with skip, a recording goes on behind the rows that were sent."""
    recorded = replay(SensorSource(rate_hz=10, duration=5).frame())
    runner = Runner(recorded, receiver, window=1, clock=clock).start()
    clock.turn(1.0)
    runner.pause()
    clock.settle()
    runner.resume(skip=True)
    clock.turn(1.0)
    runner.stop()
    assert_frame_equal(receiver.rows, recorded.window(21), check_freq=False)


def test_stop_drains(clock: TurnedClock, receiver: Receiver) -> None:
    """`stop` sends the rows that are read by then, and those on their way."""
    finished: list[int] = []
    source = SensorSource(rate_hz=100, faults=[Fault("delay", severity=0.5)])
    runner = Runner(
        source,
        receiver,
        window=1000,
        finish=lambda: finished.append(len(receiver.frames)),
        clock=clock,
    ).start()
    clock.turn(0.8)
    stats = runner.stop()
    assert stats.state == "stopped"
    assert_frame_equal(receiver.rows, source.replace(faults=()).window(80))
    assert finished == [2]  # the short window, then what was late


def test_stop_without_draining(clock: TurnedClock, receiver: Receiver) -> None:
    """Without draining nothing is sent any more, also if a drain is going on."""
    runner = Runner(SensorSource(rate_hz=100), receiver, window=1000, clock=clock).start()
    clock.turn(0.2)
    assert runner.cancel(drain=False).rows == 0
    slow = Receiver(clock, takes_s=0.2)
    runner = Runner(SensorSource(rate_hz=100), slow, window=1, clock=clock).start()
    clock.turn(0.55)
    with pytest.raises(TimeoutError, match="stopping"), clock.turning():
        runner.stop(timeout_s=0.05)
    with clock.turning():
        assert runner.stop(drain=False, timeout_s=1).state == "stopped"
    assert len(slow.frames) == 3


def test_a_slow_receiver_is_reported(clock: TurnedClock, caplog: pytest.LogCaptureFixture) -> None:
    """When sending takes longer than the rate allows, the runner says so, and when it is over."""
    receiver = Receiver(clock, takes_s=0.3)
    runner = Runner(SensorSource(rate_hz=100), receiver, window=10, clock=clock)
    assert not runner.stats.is_behind
    with caplog.at_level(logging.WARNING, logger="iotdb_frames"):
        runner.start()
        clock.turn_until(lambda: runner.stats.is_behind)
        text = str(runner.stats)
        clock.turn_until(lambda: "does not keep up" in caplog.text)
        receiver.takes_s = 0
        clock.turn_until(lambda: not runner.stats.is_behind and "has caught up" in caplog.text)
        stats = runner.stop()
    assert re.search(r"1\.\d\d s late", text)
    assert "due every 100.0 ms, sending one takes 0.3" in text
    assert stats.max_behind_s > 1
    assert caplog.text.count("does not keep up") == 1
    assert receiver.rows.index.is_monotonic_increasing
    assert_frame_equal(receiver.rows, SensorSource(rate_hz=100).window(stats.rows))


def test_a_receiver_that_hangs_is_seen(clock: TurnedClock) -> None:
    """The delay grows while one window is still being sent."""
    receiver = Receiver(clock, takes_s=60)
    runner = Runner(SensorSource(rate_hz=10), receiver, window=1, clock=clock).start()
    clock.turn(5)
    assert runner.stats.is_behind
    assert runner.stats.behind_s == pytest.approx(4.9, abs=1e-4)
    assert runner.stats.windows == 0
    with clock.turning():
        runner.stop(drain=False)


def test_errors_of_the_receiver_surface(clock: TurnedClock) -> None:
    """What `send` raises ends the stream and comes out of stop, wait, run and the with block."""
    sent: list[int] = []

    def send(frame: pd.DataFrame) -> None:
        sent.append(len(frame))
        if len(sent) == 3:
            raise ConnectionError("the database is gone")

    def make() -> Runner:
        sent.clear()
        finish = functools.partial(sent.append, -1)
        return Runner(SensorSource(rate_hz=100), send, window=1, finish=finish, clock=clock)

    runner = make().start()
    clock.turn(1)
    with pytest.raises(ConnectionError, match="gone") as caught:
        runner.wait()
    assert "while sending 1 row, 2026-01-01 00:00:00.020" in caught.value.__notes__[0]
    assert runner.state == "failed"
    assert runner.error is caught.value
    assert runner.stats.rows == 2
    assert "gone" in repr(runner)
    assert sent == [1, 1, 1]  # `finish` is for streams that ended well
    with pytest.raises(ConnectionError):
        runner.stop()
    with pytest.raises(ConnectionError), clock.turning():
        make().run(5)
    with pytest.raises(ConnectionError), make():
        clock.turn(1)

    def fail() -> None:
        clock.turn(1)
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


def test_run_for_some_seconds(clock: TurnedClock, receiver: Receiver) -> None:
    """`run(seconds)` streams for so long by the clock, drains and returns the counters."""
    runner = Runner(SensorSource(rate_hz=50), receiver, window=10, clock=clock)
    with clock.turning():
        stats = runner.run(1.13)
    assert stats.state == "stopped"
    assert stats.elapsed_s == pytest.approx(1.13, abs=1e-4)
    assert stats.rows == 57  # row 56 was read at 1.12 s


def test_duration_ends_the_stream(clock: TurnedClock, receiver: Receiver) -> None:
    """`duration` is the source's time; the last window is cut there."""
    runner = Runner(
        SensorSource(rate_hz=100), receiver, window=40, duration="1s", speed=5, clock=clock
    ).start()
    clock.turn(1)
    assert runner.state == "finished"
    assert receiver.at == pytest.approx([0.08, 0.16, 0.2], abs=1e-4)
    assert [len(frame) for frame in receiver.frames] == [40, 40, 20]


SPANS = [
    (29.97, 1, 30),
    (29.97, 30 / 29.97, 30),
    (10, 0.95, 10),
    (10, 1, 10),
    (10, "900ms", 9),
    (3, 2 / 3, 2),
    (7.3, 100 / 7.3, 100),
    (0.1, 5, 1),
    (1 / 3, 3.001, 2),
]


@pytest.mark.parametrize(("rate_hz", "span", "n_rows"), SPANS)
@pytest.mark.parametrize("window", [1, 4, None])
def test_a_span_holds_the_same_rows_everywhere(
    clock: TurnedClock,
    receiver: Receiver,
    rate_hz: float,
    span: float | str,
    n_rows: int,
    window: int | None,
) -> None:
    """Rows before the end of a span are in it: of a source, a frame, a window, a stream, a ledger,
    a fault and a recording."""
    source = SensorSource(rate_hz=rate_hz, faults=["bias:1"])
    whole = source.window(n_rows + 5)
    window = window if window is None else min(window, n_rows)
    end = source.start + pd.Timedelta(span if isinstance(span, str) else f"{span:.9f}s")
    stream = Runner(source, receiver, window=window, duration=span, clock=clock)
    with clock.turning():
        stream.run()
    assert_frame_equal(receiver.rows, whole[:n_rows])
    assert_frame_equal(source.replace(duration=span).frame(), whole[:n_rows])
    assert_frame_equal(source.frame(end=end), whole[:n_rows])
    assert_frame_equal(source.window(span if isinstance(span, str) else f"{span}s"), whole[:n_rows])
    assert len(stream.ledger()) == len(source.ledger(end=end)) == n_rows
    stuck = source.replace(faults=[Fault("stuck", duration=span)])
    assert len(stuck.ledger(end=source.start + pd.Timedelta("1h"))) == n_rows
    again = Receiver(clock)
    with clock.turning():
        Runner(replay(whole), again, window=window, duration=span, clock=clock).run()
    n_stored = int((whole.index < end).sum())  # a recording knows times as they are stored
    assert_frame_equal(again.rows, whole[:n_stored], check_freq=False)


def test_a_default_window_fits_any_duration(clock: TurnedClock, receiver: Receiver) -> None:
    """Without a window of its own, a stream may be shorter than a second."""
    with clock.turning():
        Runner(SensorSource(rate_hz=100), receiver, duration=0.25, clock=clock).run()
    assert [len(frame) for frame in receiver.frames] == [25]
    assert receiver.at == pytest.approx([0.25], abs=1e-4)


def test_ctrl_c_is_honoured(clock: TurnedClock) -> None:
    """On Ctrl-C `run` stops, drains, and lets KeyboardInterrupt go on."""
    frames: list[pd.DataFrame] = []

    def send(frame: pd.DataFrame) -> None:
        frames.append(frame)
        if len(frames) == 5:
            os.kill(os.getpid(), signal.SIGINT)

    runner = Runner(SensorSource(rate_hz=100), send, window=10, clock=clock)
    with pytest.raises(KeyboardInterrupt), clock.turning():
        runner.run(60)
    assert runner.state == "stopped"
    assert len(pd.concat(frames)) == runner.stats.rows < 6_000


def test_live_changes(clock: TurnedClock, receiver: Receiver) -> None:
    """Window, speed, faults and rate change on the run; times go on, nothing is lost or twice."""
    runner = Runner(SensorSource(rate_hz=100), receiver, window=10, clock=clock).start()
    clock.turn(0.3)
    runner.change(window="50ms")
    clock.turn(0.1)
    assert [len(frame) for frame in receiver.frames] == [10, 10, 10, 5, 5]
    runner.change(speed=4)
    clock.turn(0.5)
    assert len(receiver.frames) == 45
    runner.change(faults=["bias:1"])
    clock.turn(0.1)
    steady = receiver.rows
    assert_frame_equal(steady[:240], SensorSource(rate_hz=100).window(240))
    assert (np.diff(steady.index) == np.timedelta64(10, "ms")).all()
    assert runner.stats.faults == {"bias": 40}
    runner.change(rate_hz=20, faults=())
    clock.turn(0.1)
    runner.stop()
    gaps = np.diff(receiver.rows.index) / np.timedelta64(10, "ms")
    assert gaps.tolist() == [1] * 280 + [5] * 7


def test_rows_on_their_way_are_sent_when_their_fault_is_taken_away(
    clock: TurnedClock, receiver: Receiver
) -> None:
    """Rows held back by a fault that is changed away arrive at once."""
    source = SensorSource(rate_hz=100, faults=[Fault("offline", duration=60)])
    runner = Runner(source, receiver, window=5, clock=clock).start()
    clock.turn(0.3)
    assert not receiver.frames
    runner.change(faults=())
    clock.turn(0.2)
    runner.stop()
    assert_frame_equal(receiver.rows, SensorSource(rate_hz=100).window(50))


def test_changes_that_are_refused_change_nothing(clock: TurnedClock, receiver: Receiver) -> None:
    """A bad change raises in the caller, and the stream goes on as it was."""
    runner = Runner(SensorSource(rate_hz=100), receiver, window=5, clock=clock).start()
    for change in (
        {"speed": 0},
        {"window": 0},
        {"rate_hz": 0},
        {"colour": "red"},
        {"speed": 2, "window": "0s"},
    ):
        with pytest.raises(OptionsError):
            runner.change(**change)
    clock.turn(0.5)
    assert runner.stop().rows == 50
    with pytest.raises(OptionsError, match="stopped"):
        runner.change(speed=2)


# --- the ledger of a stream ---


def test_the_ledger_is_of_what_was_sent_over_all_changes(
    clock: TurnedClock, receiver: Receiver
) -> None:
    """Faults before a change and after it are in, with the readings that were sent; those of rows
    that were skipped, or come after the end, are not."""
    sensors = {"a": sg.ar1(), "b": "sine"}
    source = SensorSource(sensors, rate_hz=100, faults=["spike:0.2", "dropout:0.05"])
    runner = Runner(source, receiver, window=10, now=True, clock=clock).start()
    clock.turn(1.0)
    runner.change(faults=["bias:0.2"])
    clock.turn(1.0)
    runner.pause()
    clock.turn(5.0)
    runner.resume()
    clock.turn(1.0)
    runner.change(rate_hz=50, sensors={"a": sg.ar1(), "c": "sine"}, time_unit="us")
    clock.turn(1.0)
    stats = runner.stop()
    ledger, sent = runner.ledger(), receiver.rows
    assert ledger["time"].is_monotonic_increasing
    assert set(ledger["fault"]) == {"spike", "dropout", "bias"}
    assert stats.faults == ledger["fault"].value_counts().to_dict()
    assert ledger["stamped"].isin(sent.index).all()
    for (time, sensor), hits in ledger.groupby(["stamped", "sensor"], observed=True):
        cell = sent.at[time, sensor]
        assert cell == hits["faulty"].iloc[0] or (pd.isna(cell) and hits["faulty"].isna().all())
    # No hit is missing: what differs from the same readings without faults is what was hit.
    first = sent.index[0]
    clean = SensorSource(sensors, rate_hz=100, start=first, duration=10).frame()
    slower = first + pd.Timedelta("8s")
    before = sent.loc[sent.index < slower, ["a", "b"]]
    differs = (before != clean.loc[before.index].to_numpy()).any(axis=1)
    hits = ledger["stamped"][ledger["stamped"] < slower]
    assert len(before) == 300
    assert set(before.index[differs]) == set(hits.dt.as_unit("ms"))
    assert hits.max() > first + pd.Timedelta("7s")


def test_the_ledger_knows_when_late_rows_were_sent(clock: TurnedClock, receiver: Receiver) -> None:
    """A row on its way is not in the ledger; sent at once by a change, it was delivered then."""
    source = SensorSource(rate_hz=10, faults=[Fault("delay", severity=3)])
    runner = Runner(source, receiver, window=10, clock=clock).start()
    clock.turn(4.0)
    assert len(receiver.rows) == len(runner.ledger()) == 10
    assert runner.stats.faults == {"delay": 10}
    runner.change(faults=())
    clock.turn(1.0)
    runner.stop()
    ledger = runner.ledger()
    assert len(ledger) == 40
    late_s = (ledger["delivered"] - ledger["time"]).dt.total_seconds()
    assert late_s.tolist() == pytest.approx([3.0] * 10 + [4 - k / 10 for k in range(10, 40)])


class Given:
    """What a receiver gives for a window whose fate it tells later."""

    def __init__(self, n_rows: int) -> None:
        self.n_rows = n_rows
        self.is_done = False
        self.error: BaseException | None = None
        self.refused: np.ndarray | None = None


def test_the_ledger_is_of_what_was_acknowledged(clock: TurnedClock) -> None:
    """Windows that wait are not in the ledger, nor are refused windows and refused rows."""
    given: list[Given] = []

    def send(frame: pd.DataFrame) -> Given:
        given.append(Given(len(frame)))
        if len(given) == 3:
            given[-1].refused = np.array([0, 4])
        return given[-1]

    source = SensorSource(rate_hz=100, faults=["bias:1"])
    runner = Runner(source, send, window=10, clock=clock).start()
    clock.turn(0.5)
    assert len(runner.ledger()) == 0
    assert list(runner.ledger().columns) == list(source.ledger(end=source.start).columns)
    assert runner.stats.faults == {}
    for number in (0, 2, 3):
        given[number].is_done = True
    given[3].error = OSError("refused")
    expected = [*range(10), 21, 22, 23, *range(25, 30)]
    ticks = (runner.ledger()["time"] - source.start) / pd.Timedelta("10ms")
    assert ticks.tolist() == expected
    assert runner.stats.faults == {"bias": len(expected)}
    given[1].is_done = given[4].is_done = True
    assert len(runner.ledger()) == runner.stats.faults["bias"] == 38
    runner.stop()


def test_refused_rows_of_a_fleet_are_found_in_their_device(clock: TurnedClock) -> None:
    """Positions of a window's rows are those of its devices, one after the other."""
    source = simulate_fleet(3, sensors=["s1"], rate_hz=10, faults=["bias:1", "duplicate:0.5"])

    def send(frame: pd.DataFrame) -> Given:
        given = Given(len(frame))
        given.is_done = True
        given.refused = np.flatnonzero(frame["device"].astype(str).str.endswith("press0002"))
        return given

    runner = Runner(source, send, window=10, duration=2, speed=math.inf, clock=clock)
    runner.run()
    ledger = runner.ledger()
    whole = source.ledger(end=source.start + pd.Timedelta("2s"))
    of_others = whole[~whole["device"].astype(str).str.endswith("press0002")]
    assert len(ledger) == len(of_others) < len(whole)
    assert ledger["device"].astype(str).nunique() == 2
    assert runner.stats.faults == of_others["fault"].value_counts().to_dict()


def test_a_recording_has_an_empty_ledger(clock: TurnedClock, receiver: Receiver) -> None:
    """What is broken in a recording is not known; its ledger has the columns of any."""
    recorded = replay(SensorSource(rate_hz=10, duration=1).frame())
    runner = Runner(recorded, receiver, speed=math.inf, clock=clock)
    runner.run()
    assert runner.ledger().shape == (0, 8)


def test_faults_are_counted() -> None:
    """The counters say how many rows each fault has hit, as the ledger does."""
    source = SensorSource(rate_hz=1000, duration=20, faults=["spike:0.05", "straggler:0.01"])
    stats = Runner(source, lambda frame: None, window=100, speed=math.inf).run()
    assert stats.faults == source.ledger()["fault"].value_counts().to_dict()
    assert stats.rows == 20_000


def test_a_replay_keeps_its_gaps(clock: TurnedClock, receiver: Receiver) -> None:
    """A recording is streamed at the pace it was recorded, gaps kept, and may be moved to now."""
    seconds = [0, 0.1, 0.2, 0.9, 1.0]
    times = pd.DatetimeIndex(pd.to_datetime(seconds, unit="s", origin="2020-01-01"))
    frame = pd.DataFrame({"x": range(5)}, index=times)
    begin = pd.Timestamp(clock.time_ns())
    runner = Runner(replay(frame, speed=2, now_shift=True), receiver, window=1, clock=clock)
    with clock.turning():
        runner.run()
    assert receiver.at == pytest.approx(np.array(seconds) / 2, abs=1e-4)
    rows = receiver.rows
    assert (np.diff(rows.index) == np.diff(times)).all()
    assert rows.index[0] == begin


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


def test_stop_from_the_receiver(clock: TurnedClock) -> None:
    """`send` itself may stop the stream; it is not waited for from inside."""
    runner = Runner(
        SensorSource(rate_hz=100), lambda frame: runner.stop(drain=False), window=1, clock=clock
    )
    runner.start()
    clock.turn(1)
    assert runner.state == "stopped"


def test_the_repr_says_how_it_goes() -> None:
    """A runner's repr names state, rows, time and rate; before the start, what to do."""
    runner = Runner(SensorSource(rate_hz=100, duration=1), lambda frame: None, speed=math.inf)
    assert repr(runner) == "Runner(ready; start() or run() it)"
    runner.run()
    assert repr(runner).startswith("Runner(finished: 100 rows in 1 window")


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
