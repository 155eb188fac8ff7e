"""Sources: the same rows whatever the windows, exact times, and what is refused."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from iotdb_frames.errors import OptionsError, TimeIndexError
from iotdb_frames.options import TSDataType
from iotdb_frames.simulate import signals as sg
from iotdb_frames.simulate.clock import BLOCK
from iotdb_frames.simulate.faults import Fault
from iotdb_frames.simulate.fleet import simulate_fleet
from iotdb_frames.simulate.sensors import Sensor
from iotdb_frames.simulate.source import SensorSource

N = 2 * BLOCK + 1234
EVERYTHING = [
    Sensor("u", "uniform"),
    Sensor("wave", (sg.sine(period_s=77) * 3 + sg.white_noise()).clip(low=-2).round(digits=3)),
    Sensor("walk", sg.random_walk(step=0.2, low=-1, high=1), data_type="FLOAT"),
    Sensor("ar", sg.ar1(phi=0.99)),
    Sensor("red", sg.red_noise(tau_s=30) + sg.common("room", sg.random_walk())),
    Sensor("state", sg.states(dwell_s=20)),
    Sensor("on", sg.on_off(random=True)),
    Sensor("count", sg.counter(random=True, reset_probability=0.001), data_type="INT32"),
    Sensor("time_of_it", "clock"),
    Sensor("day", "clock", data_type="DATE"),
    Sensor("raw", "uniform", data_type="BLOB"),
    Sensor("f", lambda t: np.cos(t)),
]
VALUE_FAULTS = [
    Fault("bias", probability=0.001, sensors="u"),
    Fault("drift", probability=0.001, sensors="wave"),
    Fault("variance", onset=1000, duration=5000, sensors="walk"),
    Fault("spike", probability=0.01),
    Fault("stuck", probability=0.0005, duration=2000),
    Fault("dropout", probability=0.01, duration=5, severity=0.5),
]
DELIVERY_FAULTS = [
    Fault("delay", probability=0.001),
    Fault("straggler", probability=0.05, severity=50),
    Fault("late_batch", probability=0.0005, duration=100, severity=200),
    Fault("offline", onset=4000, duration=300),
    Fault("duplicate", probability=0.02),
    Fault("jitter", probability=0.1, severity=0.7),
    Fault("skew", onset=6000, duration=500),
]


def make(**options: object) -> SensorSource:
    return SensorSource(EVERYTHING, duration=N, seed=5, **options)


WHOLE = {
    "clean": make().frame(),
    "value faults": make(faults=VALUE_FAULTS).frame(),
    "all faults": pd.concat(make(faults=VALUE_FAULTS + DELIVERY_FAULTS).windows(N)),
}


def faults_of(case: str) -> list[Fault]:
    return {
        "clean": [],
        "value faults": VALUE_FAULTS,
        "all faults": VALUE_FAULTS + DELIVERY_FAULTS,
    }[case]


def test_with_no_arguments_it_is_the_seeds_source() -> None:
    """The plain source is one uniform random DOUBLE in [0, 1) a second, as s1."""
    source = SensorSource()
    frame = source.window(10_000)
    assert source.schema == {"s1": TSDataType.DOUBLE}
    assert list(frame.columns) == ["s1"]
    assert frame.index.name == "time"
    assert (np.diff(frame.index) == np.timedelta64(1, "s")).all()
    assert frame["s1"].between(0, 1, inclusive="left").all()
    assert frame["s1"].nunique() == 10_000


@pytest.mark.parametrize("case", list(WHOLE))
@given(sizes=st.lists(st.integers(50, 6000), min_size=1, max_size=4))
@settings(max_examples=10, deadline=None)
def test_the_same_rows_whatever_the_windows(case: str, sizes: list[int]) -> None:
    """Windows of any sizes, one after the other, are together what one window is."""
    source = make(faults=faults_of(case))
    parts, at = [], 0
    while at < N:
        size = sizes[len(parts) % len(sizes)]
        parts.append(source.window(size, at=at))
        at += size
    parts.append(source.late(at))
    assert_frame_equal(pd.concat(parts), WHOLE[case])


@pytest.mark.parametrize("case", list(WHOLE))
@given(at=st.integers(0, N - 1), size=st.integers(1, 3000), back=st.booleans())
@settings(max_examples=10, deadline=None)
def test_any_window_alone_is_the_same(case: str, at: int, size: int, back: bool) -> None:
    """A window asked for first, or after a later one, is the one it is in order."""
    source = make(faults=faults_of(case))
    if back:
        source.window(10, at=N - 10)
    window = source.window(size, at=at)
    reference = make(faults=faults_of(case))
    low, high = 0, at + size
    parts = [reference.window(w, at=a) for a, w in ((low, at), (at, high - at)) if w]
    assert_frame_equal(window, parts[-1])


def test_far_away_and_back_again() -> None:
    """A signal with a memory gives the same rows far ahead, far back and anywhere between."""
    sensors = {"ar": sg.ar1(), "walk": sg.random_walk(low=0), "state": sg.states()}
    whole = SensorSource(sensors).window(150 * BLOCK)
    source = SensorSource(sensors, faults=[Fault("stuck", onset=100 * BLOCK - 5, duration=10)])
    for block in (149, 140, 139, 138, 100, 99, 3, 2, 1, 0, 70, 141, 64, 65, 149):
        at = block * BLOCK + 7
        assert_frame_equal(source.window(20, at=at), whole.iloc[at : at + 20], check_freq=False)
    held = source.window(10, at=100 * BLOCK - 5)
    assert (held["ar"] == whole["ar"].iloc[100 * BLOCK - 6]).all()


@given(
    rate_hz=st.sampled_from([1, 10, 3, 0.1, 1 / 3, 1000, 29.97, 7.3, 1 / 86400]),
    ticks=st.lists(st.integers(0, 10**9), min_size=1, max_size=20),
    unit=st.sampled_from(["ms", "us", "ns"]),
)
@settings(max_examples=200, deadline=None)
def test_times_are_exact(rate_hz: float, ticks: list[int], unit: str) -> None:
    """Row k is at start + k / rate, floored to the unit, even for the billionth row."""
    clock = SensorSource(rate_hz=rate_hz, time_unit=unit, start="2026-01-01").clock
    rate = Fraction(rate_hz).limit_denominator(10**6)
    if rate_hz < 1:
        rate = 1 / Fraction(1 / rate_hz).limit_denominator(10**6)
    start = int(pd.Timestamp("2026-01-01").as_unit(unit).to_numpy().astype("int64"))
    ticks = [k for k in ticks if k / rate_hz < 2e8]  # six years
    times = clock.times(np.array(ticks, dtype=np.int64))
    exact = [start + int(k * clock.units_per_s / rate) for k in ticks]
    assert times.tolist() == exact
    for k, time in zip(ticks, exact, strict=True):
        assert clock.first_tick_at(clock.stamp(time)) == k


def test_frames_between_times() -> None:
    """`frame` holds the rows from start, inclusive, to end, exclusive, in any zone."""
    source = SensorSource(rate_hz=10)
    frame = source.frame("2026-01-01 00:01", "2026-01-01 00:02")
    assert_frame_equal(frame, source.window(600, at=600))
    assert frame.index[0] == pd.Timestamp("2026-01-01 00:01")
    zoned = source.frame(pd.Timestamp("2026-01-01 01:01", tz="Europe/Berlin"), "2026-01-01 00:02")
    assert_frame_equal(zoned, frame)
    late = source.frame("2027-01-01 00:00:00.05", "2027-01-01 00:00:00.3")
    assert list(late.index) == list(pd.date_range("2027-01-01 00:00:00.1", periods=2, freq="100ms"))
    assert len(source.frame("2026-01-01", "2026-01-01")) == 0
    before = source.frame("2025-01-01", "2026-01-01 00:00:01")
    assert len(before) == 10
    for start in ("2024-01-01", None):
        with pytest.raises(OptionsError, match="the source begins, at 2026-01-01"):
            source.frame(start, "2024-01-02")
    with pytest.raises(OptionsError, match="is before start='2027"):
        source.frame("2027-01-01", "2026-02-01")


def test_a_year_at_once() -> None:
    """A year of history comes in one call."""
    frame = SensorSource({"t": sg.seasonal() + sg.ar1()}, rate_hz=1 / 60, duration="365D").frame()
    assert len(frame) == 365 * 24 * 60
    assert frame.index[-1] == pd.Timestamp("2026-12-31 23:59")
    assert frame.index.is_monotonic_increasing


def test_windows_by_rows_and_by_span() -> None:
    """Windows are rows or spans; they may overlap or leave gaps; the last may be shorter."""
    source = SensorSource(rate_hz=10, duration=10)
    assert [len(w) for w in source.windows(30)] == [30, 30, 30, 10]
    assert [len(w) for w in source.windows("2.5s")] == [25, 25, 25, 25]
    starts = [w.index[0] for w in source.windows(20, every="1s")]
    assert (np.diff(starts) == pd.Timedelta("1s")).all()
    assert len(starts) == 10
    endless = SensorSource(rate_hz=10).windows(5)
    assert_frame_equal(pd.concat([next(endless) for _ in range(20)]), source.window(100))


def test_time_units() -> None:
    """The index is in the unit asked for."""
    for unit in ("ms", "us", "ns"):
        assert SensorSource(time_unit=unit).window(2).index.dtype == f"datetime64[{unit}]"


def test_every_type_has_the_dtype_a_read_gives() -> None:
    """Clean and faulty frames have the same dtypes, those of the normal form."""
    dtypes = WHOLE["clean"].dtypes.astype(str).to_dict()
    assert dtypes["walk"] == "float32"
    assert dtypes["count"] == "Int32"
    assert dtypes["on"] == "boolean"
    assert dtypes["time_of_it"] == "datetime64[ms]"
    assert dtypes["day"].startswith("date32")
    assert dtypes["raw"] == "binary[pyarrow]"
    assert WHOLE["all faults"].dtypes.astype(str).to_dict() == dtypes


def test_replace_keeps_what_stays() -> None:
    """A replaced source gives the rows it would have given had it always been so."""
    source = make()
    source.window(10, at=2 * BLOCK)
    noisy = source.replace(faults=["spike:0.01"])
    assert_frame_equal(noisy.frame(clean=True), WHOLE["clean"])
    assert_frame_equal(noisy.frame(), make(faults=["spike:0.01"]).frame())
    faster = source.replace(rate_hz=2)
    assert faster.n_ticks == 2 * N
    assert faster.start == source.start
    assert_frame_equal(
        faster.window(500, at=7000),
        SensorSource(EVERYTHING, duration=N, seed=5, rate_hz=2).window(500, at=7000),
    )
    with pytest.raises(OptionsError, match="rate_hz"):
        source.replace(rate=3)


def test_other_faults_do_not_change_a_faults_episodes() -> None:
    """A fault hits the same rows whether others are there or not."""
    alone = make(faults=["spike:0.01"]).ledger()
    among = make(faults=["bias:0.001", "spike:0.01", "straggler:0.01"]).ledger()
    among = among[among["fault"] == "spike"].reset_index(drop=True)
    columns = ["time", "sensor", "clean"]
    assert_frame_equal(alone[columns], among[columns], check_categorical=False)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rate_hz": 0}, "rate_hz=0"),
        ({"rate_hz": -1}, "more than 0"),
        ({"rate_hz": float("nan")}, "rate_hz"),
        ({"rate_hz": "fast"}, "rate_hz"),
        ({"rate_hz": 5000}, "time_unit"),
        ({"duration": 0}, "no row"),
        ({"duration": "soon"}, "time span"),
        ({"seed": "x"}, "seed"),
        ({"time_unit": "min"}, "time_unit"),
        ({"sensors": {"a": "sinus"}}, "did you mean 'sine"),
        ({"faults": ["spikes_"]}, "did you mean 'spike"),
        ({"faults": "stuk:0.1"}, "did you mean 'stuck"),
        ({"faults": [3]}, "not a valid fault"),
        ({"sensors": {"temp": "sine"}, "faults": [Fault("bias", sensors="tmp")]}, "mean 'temp'"),
        ({"faults": [Fault("bias", devices="d1")]}, "device"),
        ({"sensors": {"a": "states"}, "faults": ["spike:0.1"]}, "shifts numbers"),
        (
            {"sensors": {"a": "states", "b": 1}, "faults": [Fault("bias", sensors="a")]},
            "shifts numbers",
        ),
        ({"duration": 60, "faults": [Fault("bias", onset="2min")]}, "after the end"),
        ({"faults": ["drift"]}, "without an end"),
        ({"faults": ["offline"]}, "without an end"),
    ],
)
def test_bad_options(options: dict[str, object], words: str) -> None:
    """An invalid option is refused by name, with the nearest names."""
    with pytest.raises(OptionsError, match=words):
        SensorSource(**options)


def test_bad_windows() -> None:
    """A window of no rows, of seconds or rows unclear, or longer than the source is refused."""
    source = SensorSource(rate_hz=10, duration=5)
    for window in (0, -1, "0s", 51, "6s", 2.5, "a while"):
        with pytest.raises(OptionsError):
            source.window(window)
        with pytest.raises(OptionsError):
            source.windows(window)
    with pytest.raises(OptionsError, match="at=-1"):
        source.window(1, at=-1)
    with pytest.raises(OptionsError, match="no end"):
        SensorSource().frame()
    with pytest.raises(OptionsError, match="before"):
        SensorSource().frame("2026-02-01", "2026-01-15")
    with pytest.raises(TimeIndexError, match="start='yesterday-ish'"):
        SensorSource().frame("yesterday-ish")


def test_repr_says_what_it_is() -> None:
    """The repr names sensors, rate, seed, duration and faults."""
    text = repr(SensorSource({"t": "sine"}, rate_hz=10, duration="1min", faults=["spike:0.01"]))
    assert text == (
        "SensorSource(Sensor('t', sine(), DOUBLE), rate_hz=10, seed=0, "
        "start='2026-01-01 00:00:00', duration=60, faults=[Fault('spike', probability=0.01)])"
    )
    assert "4 devices × 5 sensors" in repr(simulate_fleet(4))


def test_blocks_are_made_ahead_bit_by_bit() -> None:
    """With shares prepared, no window generates a block; rows are the same, no share is large."""
    made: list[int] = []

    def note(t: np.ndarray) -> np.ndarray:
        made.append(len(t))
        return np.sin(t)

    def sensors() -> list[Sensor]:
        return [Sensor(f"s{i}", sg.function(note) + sg.ar1(phi=0.9)) for i in range(40)]

    faults = ["stuck:0.001", "straggler:0.01", "spike:0.01"]
    source = SensorSource(sensors(), rate_hz=10, seed=5, faults=faults)
    twin = SensorSource(sensors(), rate_hz=10, seed=5, faults=faults)
    source.rows(0, 64)
    at_once = []
    for low in range(64, 3 * BLOCK, 64):
        source.prepare(low - 64, low)
        before = len(made)
        rows = source.rows(low, low + 64)
        at_once.append(len(made) - before)
        if low % BLOCK < 256:
            made_here = len(made)
            assert_frame_equal(rows, twin.rows(low, low + 64))
            del made[made_here:]
    assert max(at_once) == 0
    shares = []
    source = SensorSource(sensors(), rate_hz=10)
    source.rows(0, 64)
    for low in range(0, BLOCK, 64):
        before = len(made)
        source.prepare(low, low + 64)
        shares.append(len(made) - before)
    assert sum(shares) == 40
    assert max(shares) <= 2
    ended = SensorSource(sensors(), rate_hz=10, duration=409)
    made.clear()
    ended.prepare(0, 4090)
    assert not made  # there is no next block


def faulty(**options: object) -> SensorSource:
    """Sensors of every kind that a pickle can hold, and every fault."""
    sensors = [sensor for sensor in EVERYTHING if sensor.name != "f"]
    return SensorSource(sensors, seed=3, faults=[*VALUE_FAULTS, *DELIVERY_FAULTS], **options)


@pytest.mark.parametrize(
    "source",
    [
        SensorSource(),
        faulty(rate_hz=7.0, start="2026-02-03 04:05:06.789", time_unit="us", duration="1D"),
        faulty().replace(faults=["spike:0.1"]),
        simulate_fleet(3, rate_hz=0.3, seed=5, faults=["delay:0.1"]),
        simulate_fleet(3, model="table", duration="1h"),
    ],
    ids=["plain", "faulty", "replaced", "fleet", "table"],
)
def test_a_source_travels(source: SensorSource) -> None:
    """A source that was pickled or copied gives the same rows, also where it was used before."""
    end = source.start + pd.Timedelta("10min")
    wanted = source.frame(end=end)
    used = next(iter(source.windows(50)))
    for made in (pickle.loads(pickle.dumps(source)), copy.deepcopy(source), copy.copy(source)):
        assert repr(made) == repr(source)
        assert made.n_ticks == source.n_ticks
        assert_frame_equal(made.frame(end=end), wanted)
        assert_frame_equal(next(iter(made.windows(50))), used)
        assert_frame_equal(made.ledger(end=end), source.ledger(end=end))


def test_a_source_travels_to_another_process() -> None:
    """Another process makes the same rows of a pickle."""
    source = simulate_fleet(2, seed=9, duration="5min", faults=["spike:0.1"])
    code = (
        "import pickle, sys; source = pickle.load(sys.stdin.buffer); "
        "sys.stdout.buffer.write(pickle.dumps(source.frame()))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, input=pickle.dumps(source), capture_output=True, check=True, timeout=120
    )
    assert_frame_equal(pickle.loads(done.stdout), source.frame())
