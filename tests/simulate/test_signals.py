"""Each signal against its definition. Seeds are fixed, so what passes once passes always.

Tolerances of statistics are 5 standard errors of the estimate under the definition: a right signal
fails one in two million seeds, and a wrong one by far.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from iotdb_frames.errors import OptionsError
from iotdb_frames.simulate import signals as sg
from iotdb_frames.simulate.sensors import Sensor
from iotdb_frames.simulate.signals.processes import compose_maps, filter_ar1
from iotdb_frames.simulate.source import SensorSource

N = 200_000


def values_of(signal: object, *, n: int = N, rate_hz: float = 1.0, **options: object) -> np.ndarray:
    source = SensorSource([Sensor("s", signal)], rate_hz=rate_hz, **options)
    return source.window(n)["s"].to_numpy()


def seconds(n: int, rate_hz: float) -> np.ndarray:
    return np.arange(n) / rate_hz


def test_uniform() -> None:
    """Uniform values have the mean, the variance and the bounds of their interval."""
    x = values_of(sg.uniform(low=-2, high=6))
    assert x.min() >= -2
    assert x.max() < 6
    assert abs(x.mean() - 2) < 5 * (8 / np.sqrt(12)) / np.sqrt(N)
    assert abs(x.var() - 64 / 12) < 5 * 64 * np.sqrt(1 / 180 / N)  # Var of (x-m)² is w⁴/180
    assert np.histogram(x, bins=8)[0] == pytest.approx(N / 8, abs=5 * np.sqrt(N * 7) / 8)


def test_white_noise() -> None:
    """White noise is normal, of mean 0 and its std, and its rows are independent."""
    x = values_of(sg.white_noise(std=3)) / 3
    assert abs(x.mean()) < 5 / np.sqrt(N)
    assert abs(x.std() - 1) < 5 / np.sqrt(2 * N)
    assert abs((x**4).mean() - 3) < 5 * np.sqrt(96 / N)  # kurtosis of the normal
    for lag in (1, 2, 4096):
        assert abs((x[lag:] * x[:-lag]).mean()) < 5 / np.sqrt(N)


@pytest.mark.parametrize("rate_hz", [1.0, 10.0, 100 / 3])
def test_waves(rate_hz: float) -> None:
    """Sine, square, sawtooth and triangle are their formulas at the rows' seconds."""
    n = 10_000
    t = seconds(n, rate_hz)
    cycle = (t / 7.3 + 0.2) % 1
    common = {"period_s": 7.3, "amplitude": 2.0, "offset": 1.0, "phase": 0.2}
    expected = {
        sg.sine: np.sin(2 * np.pi * cycle),
        sg.sawtooth: 2 * cycle - 1,
        sg.triangle: np.where(cycle < 0.5, 4 * cycle - 1, 3 - 4 * cycle),
    }
    is_clear = np.abs(cycle - np.round(cycle)) > 1e-9  # at a jump, rounding takes either side
    for wave, y in expected.items():
        got = values_of(wave(**common), n=n, rate_hz=rate_hz)
        assert got[is_clear] == pytest.approx(1 + 2 * y[is_clear], abs=1e-8)
    square = values_of(sg.square(**common, duty=0.3), n=n, rate_hz=rate_hz)
    is_clear &= np.abs(cycle - 0.3) > 1e-9
    assert (square == np.where(cycle < 0.3, 3.0, -1.0))[is_clear].all()


def test_ramp_and_constant() -> None:
    """A ramp grows by its slope each second, and a constant stays."""
    assert values_of(sg.ramp(slope_per_s=0.5, start=3), n=9, rate_hz=2) == pytest.approx(
        3 + 0.25 * np.arange(9)
    )
    assert (values_of(4.5, n=9) == 4.5).all()
    assert (values_of(sg.constant("on"), n=3) == "on").all()


def test_random_walk_steps_are_independent_normals() -> None:
    """An unbounded walk's steps are white noise of the step's std, across block borders too."""
    x = values_of(sg.random_walk(step=0.5, start=10))
    steps = np.diff(x)
    assert abs(steps.std() - 0.5) < 5 * 0.5 / np.sqrt(2 * N)
    assert abs(steps.mean()) < 5 * 0.5 / np.sqrt(N)
    borders = steps[4095::4096]
    assert np.abs(borders).max() < 5 * 0.5  # no jump where one block goes on from another


@pytest.mark.parametrize("bounds", [(-1.0, 2.0), (-1.0, None), (None, 2.0)])
def test_random_walk_is_reflected_at_its_bounds(bounds: tuple[float | None, float | None]) -> None:
    """A bounded walk is the free walk of the same draws, mirrored at the bounds."""
    low, high = bounds
    n = 20_000
    free = values_of(sg.random_walk(step=0.1), n=n)
    x = values_of(sg.random_walk(step=0.1, low=low, high=high), n=n)
    mirrored = free.copy()
    for _ in range(1000):
        if low is not None:
            mirrored = np.where(mirrored < low, 2 * low - mirrored, mirrored)
        if high is not None:
            mirrored = np.where(mirrored > high, 2 * high - mirrored, mirrored)
    assert x == pytest.approx(mirrored, abs=1e-9)
    assert np.ptp(free) > 3  # the bounds were really met


def test_random_walk_between_bounds_is_spread_evenly() -> None:
    """In the long run a walk between two bounds is uniform over them."""
    x = values_of(sg.random_walk(step=0.5, low=0, high=1))
    # Correlation falls by exp(-(π step)²/2) ≈ 0.29 a row: N_eff is about N (1 - 0.29) / 1.29.
    assert abs(x.mean() - 0.5) < 5 * np.sqrt(1 / 12) / np.sqrt(N * 0.55)
    assert np.histogram(x, bins=4)[0] == pytest.approx(N / 4, rel=0.03)


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.95, 0.999, -0.8])
def test_ar1(phi: float) -> None:
    """AR(1) has its std and mean from the first row on, and innovations that are white."""
    x = values_of(sg.ar1(phi=phi, std=2, mean=5)) - 5
    n_eff = N * (1 - abs(phi)) / (1 + abs(phi))
    assert abs(x.mean()) < 5 * 2 / np.sqrt(n_eff)
    assert abs(x.std() / 2 - 1) < 5 / np.sqrt(n_eff)
    e = (x[1:] - phi * x[:-1]) / (2 * np.sqrt(1 - phi**2))
    assert abs(e.std() - 1) < 5 / np.sqrt(2 * N)
    assert abs((e[1:] * e[:-1]).mean()) < 5 / np.sqrt(N)
    assert np.abs(e[4095::4096]).max() < 5  # blocks go on from each other
    firsts = [values_of(sg.ar1(phi=phi, std=2), n=1, seed=s)[0] for s in range(400)]
    assert abs(np.std(firsts) / 2 - 1) < 5 / np.sqrt(2 * 400)


@pytest.mark.parametrize("phi", [0.3, 0.99, 0.9999999, -0.999])
def test_filter_ar1_is_the_recurrence(phi: float) -> None:
    """The vectorised filter gives what the loop over rows gives, to rounding."""
    e = np.random.default_rng(1).standard_normal(4096)
    expected = e.copy()
    for k in range(1, len(e)):
        expected[k] += phi * expected[k - 1]
    filter_ar1(e, phi)
    # Each of the 12 steps rounds once, relative to partial sums as large as the largest value.
    assert e == pytest.approx(expected, abs=1e-13 * np.abs(expected).max() * 12)


@pytest.mark.parametrize("rate_hz", [1.0, 10.0])
def test_red_noise_has_its_correlation_time_at_any_rate(rate_hz: float) -> None:
    """Values s seconds apart correlate by exp(-s / tau), whatever the rate."""
    tau = 8.0
    x = values_of(sg.red_noise(tau_s=tau, std=2), rate_hz=rate_hz) / 2
    n_eff = N / (2 * tau * rate_hz)
    for s in (1, 4, 8, 16):
        lag = int(s * rate_hz)
        assert abs((x[lag:] * x[:-lag]).mean() - np.exp(-s / tau)) < 5 / np.sqrt(n_eff)


def test_seasonal() -> None:
    """The daily wave peaks at its hour, the weekly one on Wednesday noon, by the calendar."""
    source = SensorSource(
        {"d": sg.seasonal(day=2, offset=1, peak_hour=15), "w": sg.seasonal(day=0, week=3)},
        rate_hz=1 / 3600,
        start="2026-03-05 07:00",
        duration="28D",
    )
    frame = source.frame()
    day, week = frame["d"], frame["w"]
    assert set(day[day == day.max()].index.hour) == {15}
    assert (day.max(), day.min()) == (pytest.approx(3), pytest.approx(-1))
    peaks = week[np.isclose(week, 3)].index
    assert list(peaks) == list(pd.date_range("2026-03-11 12:00", periods=4, freq="7D"))
    assert week.mean() == pytest.approx(0, abs=1e-9)


def test_on_off() -> None:
    """A regular switch is on and off for its seconds; a random one on the average."""
    x = values_of(sg.on_off(on_s=3, off_s=2), n=20)
    assert x.tolist() == [True, True, True, False, False] * 4
    x = values_of(sg.on_off(on_s=30, off_s=10, random=True)).astype(float)
    changes = np.count_nonzero(np.diff(x))
    assert x.mean() == pytest.approx(0.75, abs=5 * 0.43 / np.sqrt(N / 15))  # tau = 7.5 rows
    assert changes == pytest.approx(2 * N / 40, rel=5 / np.sqrt(N / 20))


def test_states_follow_their_transitions_and_dwell_times() -> None:
    """A state machine moves as its matrix says, and stays on the average for its dwell times."""
    weights = [[0, 3, 1], [1, 0, 0], [0.5, 0.5, 0]]
    dwell = [10, 40, 5]
    machine = sg.states(("a", "b", "c"), dwell_s=dwell, transitions=weights)
    x = values_of(machine)
    assert x[0] == "a"
    codes = np.searchsorted(["a", "b", "c"], x.astype(str))
    moves = np.flatnonzero(np.diff(codes))
    for i, row in enumerate(weights):
        left = codes[moves][codes[moves] == i]
        to = codes[moves + 1][codes[moves] == i]
        share = np.bincount(to, minlength=3) / len(left)
        assert share == pytest.approx(np.array(row) / sum(row), abs=5 * 0.5 / np.sqrt(len(left)))
        stays = np.count_nonzero(codes[:-1] == i) / len(left)
        assert stays == pytest.approx(dwell[i], rel=5 / np.sqrt(len(left)))


def test_compose_maps_is_one_after_the_other() -> None:
    """Composed maps take a state where the maps take it one after the other."""
    maps = np.random.default_rng(3).integers(0, 5, (777, 5))
    expected = []
    for start in range(5):
        state, path = start, []
        for row in maps:
            state = row[state]
            path.append(state)
        expected.append(path)
    compose_maps(maps)
    assert (maps == np.array(expected).T).all()


def test_counters() -> None:
    """A counter counts evenly or at random, and falls to 0 at its limit and on resets."""
    assert values_of(sg.counter(rate_per_s=0.5, reset_at=3), n=9).tolist() == [
        0, 0, 1, 1, 2, 2, 0, 0, 1,
    ]  # fmt: skip
    x = values_of(sg.counter(rate_per_s=2, random=True)).astype(np.int64)
    events = np.diff(x)
    assert x[0] == 0
    assert events.mean() == pytest.approx(2, abs=5 * np.sqrt(2 / N))
    assert events.var() == pytest.approx(2, abs=5 * np.sqrt((2 + 2 * 4) / N))  # Poisson
    x = values_of(sg.counter(rate_per_s=1, reset_probability=0.01)).astype(np.int64)
    steps = np.diff(x)
    assert set(steps[steps > 0]) == {1}
    falls = np.flatnonzero(steps < 1) + 1
    assert (x[falls] == 0).all()
    assert len(falls) == pytest.approx(0.01 * N, abs=5 * np.sqrt(0.01 * N))


def test_functions_of_time() -> None:
    """A user's function gets seconds since the start, and gives any type of values."""
    source = SensorSource(
        {"f": lambda t: t**2, "b": lambda t: t > 2, "s": lambda t: np.where(t > 2, "late", "soon")},
        rate_hz=2,
    )
    frame = source.window(8)
    t = np.arange(8) / 2
    assert (frame["f"] == t**2).all()
    assert frame["b"].tolist() == (t > 2).tolist()
    assert frame["s"].tolist() == ["late" if s > 2 else "soon" for s in t]


def test_functions_that_cannot_be_columns() -> None:
    """A function that gives one value, or objects, is refused before any row."""
    with pytest.raises(OptionsError, match=r"shape \(\)"):
        sg.function(lambda t: 3.0)
    with pytest.raises(OptionsError, match="fit no IoTDB type"):
        sg.function(lambda t: np.array([{}, {}]))

    def writes(t: np.ndarray) -> np.ndarray:
        t *= 2
        return t

    with pytest.raises(ValueError, match="read-only"):
        SensorSource({"s": writes}).window(3)


def test_arithmetic() -> None:
    """Signals add, subtract, multiply and divide like their values, on either side."""
    s, w = sg.sine(period_s=9), sg.ramp()
    a, b = values_of(s, n=50), values_of(w, n=50)
    assert (values_of(s + w, n=50) == a + b).all()
    assert (values_of(s - w, n=50) == a - b).all()
    assert (values_of(3 - s, n=50) == 3 - a).all()
    assert (values_of(2 * s * w, n=50) == 2 * a * b).all()
    assert (values_of(w / 4, n=50) == b / 4).all()
    assert (values_of(1 / (w + 1), n=50) == 1 / (b + 1)).all()
    assert (values_of(-s, n=50) == -a).all()
    assert (values_of(s.clip(low=-0.5, high=0.2), n=50) == np.clip(a, -0.5, 0.2)).all()
    assert (values_of((s * 10).round(digits=1), n=50) == np.round(a * 10, 1)).all()
    mixed = sg.on_off(on_s=1, off_s=1) + sg.counter()
    assert values_of(mixed, n=4).tolist() == [1, 1, 3, 3]
    assert mixed.kind == "int"


def test_noise_of_two_leaves_and_two_sensors_is_independent() -> None:
    """Each random leaf of each sensor draws from a stream of its own."""
    source = SensorSource({"a": sg.white_noise(), "b": sg.white_noise()})
    frame = source.window(N)
    assert abs(frame["a"].corr(frame["b"])) < 5 / np.sqrt(N)
    total = values_of(sg.white_noise() + sg.white_noise())
    assert abs(total.std() / np.sqrt(2) - 1) < 5 / np.sqrt(2 * N)
    assert (
        values_of(sg.white_noise(), n=5).tolist()
        != values_of(sg.white_noise(), n=5, seed=1).tolist()
    )


def test_common_signals_are_the_same_everywhere_they_stand() -> None:
    """A common signal has the same values in each sensor of a device."""
    shared = sg.common("room", sg.random_walk())
    frame = SensorSource({"a": shared, "b": shared * 2 + 1, "c": sg.random_walk()}).window(10_000)
    assert (frame["b"] == frame["a"] * 2 + 1).all()
    assert not (frame["c"] == frame["a"]).any()


def test_correlated_noise() -> None:
    """Correlated noises have the asked correlation matrix and stds."""
    matrix = [[1, 0.8, -0.3], [0.8, 1, 0], [-0.3, 0, 1]]
    noises = sg.correlated_noise(matrix, std=[1, 2, 3])
    frame = SensorSource({f"s{i}": noise for i, noise in enumerate(noises)}).window(N)
    assert frame.corr().to_numpy() == pytest.approx(np.array(matrix), abs=5 / np.sqrt(N))
    assert frame.std().to_numpy() == pytest.approx([1, 2, 3], rel=5 / np.sqrt(2 * N))
    with pytest.raises(OptionsError, match="positive definite"):
        sg.correlated_noise([[1, 2], [2, 1]])


def test_unknown_signals_name_the_nearest() -> None:
    """An unknown signal is refused with the nearest names."""
    with pytest.raises(OptionsError, match="did you mean 'sine"):
        Sensor("s", "sien")
    with pytest.raises(OptionsError, match="random_walk"):
        Sensor("s", "random-walk")


@pytest.mark.parametrize(
    "make",
    [
        lambda: sg.sine(period_s=0),
        lambda: sg.sine(amplitude=float("nan")),
        lambda: sg.square(duty=1),
        lambda: sg.white_noise(std=-1),
        lambda: sg.uniform(low=1, high=1),
        lambda: sg.ar1(phi=1),
        lambda: sg.random_walk(low=1, high=0),
        lambda: sg.random_walk(start=5, high=1),
        lambda: sg.states(("a",)),
        lambda: sg.states(("a", 1)),
        lambda: sg.states(("a", "b"), dwell_s=[1, 2, 3]),
        lambda: sg.states(("a", "b"), transitions=[[0, 1], [0, 1]]),
        lambda: sg.counter(reset_at=0),
        lambda: sg.seasonal(peak_hour=24),
        lambda: sg.on_off(on_s=0),
        lambda: sg.sine().clip(),
        lambda: sg.sine().clip(low=2, high=1),
        lambda: sg.states() + 1,
        lambda: sg.sine() + "x",
        lambda: sg.constant([1]),
    ],
)
def test_parameters_that_cannot_be_meant(make: object) -> None:
    """A signal with senseless parameters cannot be made."""
    with pytest.raises(OptionsError):
        make()


def test_reprs_read_like_what_made_them() -> None:
    """A signal's repr is the shortest expression that makes it."""
    signal = (sg.sine(period_s=30) * 2 + 1).noise(std=0.1).clip(low=0)
    assert repr(signal) == ("(sine(period_s=30) * 2 + 1 + white_noise(std=0.1)).clip(low=0)")
    assert repr(sg.sine() - (sg.ramp() - 1)) == ("sine() - (ramp() - 1)")
    walk = sg.random_walk(step=0.5, low=0)
    assert repr(walk) == "random_walk(step=0.5, low=0)"
    assert repr(Sensor("t", walk, unit="°C")) == f"Sensor('t', {walk!r}, DOUBLE in °C)"
