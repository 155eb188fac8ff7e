"""Each fault against its definition, and the ledger against the rows.

Tolerances of shares and spreads are 5 standard errors of the estimate; seeds are fixed.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from iotdb_frames.errors import OptionsError
from iotdb_frames.simulate import signals as sg
from iotdb_frames.simulate.draws import Draws
from iotdb_frames.simulate.episodes import Episodes
from iotdb_frames.simulate.faults import KINDS, Fault
from iotdb_frames.simulate.sensors import Sensor
from iotdb_frames.simulate.source import SensorSource

N = 50_000
NOISE = {"s": sg.white_noise(std=2) + 10}


def make(*faults: Fault | str, sensors: object = NOISE, **options: object) -> SensorSource:
    return SensorSource(sensors, **({"duration": N, "faults": faults} | options))


def values(source: SensorSource, *, clean: bool = False) -> np.ndarray:
    return source.frame(clean=clean)["s"].to_numpy()


def at(seconds: int) -> pd.Timestamp:
    return pd.Timestamp("2026-01-01") + pd.Timedelta(seconds=seconds)


def sigma_of(source: SensorSource) -> float:
    return float(values(source, clean=True)[:4096].std())


# --- episodes ---


@pytest.mark.parametrize(("probability", "length"), [(0.01, 1), (0.2, 1), (0.01, 20), (1.0, 3)])
def test_episodes_come_with_their_probability(probability: float, length: int) -> None:
    """The share of rows hit is p L / (1 + p (L - 1)), and free rows start episodes with p."""
    plan = Fault("bias", probability=probability, duration=length).plan(SensorSource().clock, None)
    rows, begins = Episodes(plan, Draws(1, "d")).hits(0, 500_000)
    share = probability * length / (1 + probability * (length - 1))
    n_episodes = 500_000 * share / length
    assert len(rows) / 500_000 == pytest.approx(share, rel=5 / np.sqrt(n_episodes) + 1e-5)
    starts = np.unique(begins)
    gaps = np.diff(starts) - length
    assert gaps.min() >= 0
    p_start = len(gaps) / (len(gaps) + gaps.sum())
    assert p_start == pytest.approx(probability, rel=5 / np.sqrt(len(gaps)))
    assert (rows - begins < length).all()


@given(
    ranges=st.lists(st.tuples(st.integers(0, 30_000), st.integers(1, 9000)), max_size=8),
    probability=st.floats(0.0005, 1),
    length=st.integers(1, 500),
    onset=st.integers(0, 5000),
)
@settings(max_examples=60, deadline=None)
def test_episodes_are_the_same_whatever_is_asked(
    ranges: list[tuple[int, int]], probability: float, length: int, onset: int
) -> None:
    """Hits of any range, asked in any order, are that part of all hits."""
    fault = Fault("bias", probability=probability, duration=length, onset=onset)
    plan = fault.plan(SensorSource().clock, None)
    rows, begins = Episodes(plan, Draws(1, "d")).hits(0, 40_000)
    assert not len(rows) or rows[0] >= onset
    episodes = Episodes(plan, Draws(1, "d"))
    for low, size in ranges:
        got_rows, got_begins = episodes.hits(low, low + size)
        inside = (rows >= low) & (rows < low + size)
        assert (got_rows == rows[inside]).all()
        assert (got_begins == begins[inside]).all()
        asked = np.arange(low, low + size)[::-1]
        ends = episodes.ends_after(asked)
        expected = asked.copy()
        expected[np.isin(asked, rows[inside])] = (begins[inside] + length)[::-1]
        assert (ends == expected).all()


def test_one_episode_from_onset_for_duration() -> None:
    """Without probability there is one episode, its onset a span or a time, to the end if open."""
    clean = values(make(), clean=True)
    for onset in (300, "5min", pd.Timedelta("5min"), at(300), "2026-01-01 00:05"):
        source = make(Fault("bias", onset=onset, duration="1min"))
        hit = np.flatnonzero(values(source) != clean)
        assert hit.tolist() == list(range(300, 360))
    hit = np.flatnonzero(values(make(Fault("bias", onset=N - 7))) != clean)
    assert hit.tolist() == list(range(N - 7, N))
    assert np.flatnonzero(values(make(Fault("spike", onset=9))) != clean).tolist() == [9]


# --- value faults ---


def test_bias() -> None:
    """A bias shifts each reading of its episode by severity σ, or by severity as it is."""
    source = make(Fault("bias", onset=100, duration=50, severity=-1.5))
    shift = values(source) - values(source, clean=True)
    assert shift[100:150] == pytest.approx(np.full(50, -1.5 * sigma_of(source)))
    assert not shift[:100].any()
    assert not shift[150:].any()
    source = make(Fault("bias", onset=100, duration=50, severity=2.5, relative=False))
    assert (values(source) - values(source, clean=True))[100:150] == pytest.approx(np.full(50, 2.5))


def test_drift() -> None:
    """A drift grows evenly to severity σ in the last row of its episode, across blocks too."""
    source = make(Fault("drift", onset=4000, duration=500, severity=4))
    shift = values(source) - values(source, clean=True)
    expected = np.arange(1, 501) / 500 * 4 * sigma_of(source)
    assert shift[4000:4500] == pytest.approx(expected, abs=1e-12)
    assert np.flatnonzero(shift).tolist() == list(range(4000, 4500))


def test_variance() -> None:
    """Extra variance is normal noise of severity σ, independent of the readings."""
    source = make(Fault("variance", severity=3))
    clean, shift = values(source, clean=True), values(source) - values(source, clean=True)
    assert shift.std() == pytest.approx(3 * sigma_of(source), rel=5 / np.sqrt(2 * N))
    assert abs(np.corrcoef(clean, shift)[0, 1]) < 5 / np.sqrt(N)


def test_spikes() -> None:
    """Spikes hit each row with their probability, by severity σ, up as often as down."""
    source = make(Fault("spike", probability=0.02, severity=6))
    shift = values(source) - values(source, clean=True)
    hit = shift[np.abs(shift) > 1e-9]
    assert np.abs(hit) == pytest.approx(np.full(len(hit), 6 * sigma_of(source)))
    assert len(hit) == pytest.approx(0.02 * N, abs=5 * np.sqrt(0.02 * N))
    assert abs(np.sign(hit).sum()) < 5 * np.sqrt(len(hit))


@pytest.mark.parametrize("signal", ["white_noise", "random_walk", "states", "clock", "counter"])
def test_stuck(signal: str) -> None:
    """A stuck sensor repeats the reading before the episode, in any type, across blocks too."""
    source = make(
        Fault("stuck", onset=4000, duration=9000), Fault("stuck", onset=0, duration=5),
        sensors={"s": signal},
    )  # fmt: skip
    got, clean = source.frame()["s"], source.frame(clean=True)["s"]
    assert (got[4000:13_000] == clean.iloc[3999]).all()
    assert (got[:5] == clean.iloc[0]).all()
    assert (got[5:4000] == clean[5:4000]).all()
    assert (got[13_000:] == clean[13_000:]).all()
    assert (source.window(10, at=12_000)["s"] == clean.iloc[3999]).all()


def test_stuck_holds_a_faulty_reading() -> None:
    """A sensor that is off when it sticks goes on repeating the reading that is off."""
    source = make(
        Fault("bias", onset=100, duration=100, severity=5), Fault("stuck", onset=200, duration=50)
    )
    got, clean = values(source), values(source, clean=True)
    assert got[200:250] == pytest.approx(np.full(50, clean[199] + 5 * sigma_of(source)))


@pytest.mark.parametrize("data_type", ["DOUBLE", "INT32", "BOOLEAN", "STRING", "DATE", "BLOB"])
def test_dropout(data_type: str) -> None:
    """Dropped readings are missing in any type; severity is the share of an episode's rows."""
    source = make(
        Fault("dropout", onset=100, duration=30_000, severity=0.4),
        sensors=[Sensor("s", sg.ramp(), data_type=data_type)],
    )
    missing = source.frame()["s"].isna().to_numpy()
    assert missing[100:30_100].mean() == pytest.approx(0.4, abs=5 * np.sqrt(0.24 / 30_000))
    assert not missing[:100].any()
    assert not missing[30_100:].any()
    assert not source.frame(clean=True)["s"].isna().any()


def test_faults_hit_sensors_independently() -> None:
    """Each sensor has random episodes of its own."""
    source = make("spike:0.1", sensors={"a": "sine", "b": "sine"})
    hit = (source.frame() != source.frame(clean=True)).to_numpy()
    both = (hit[:, 0] & hit[:, 1]).mean()
    assert both == pytest.approx(0.01, abs=5 * np.sqrt(0.01 / N))


def test_whole_numbers_stay_whole_and_in_range() -> None:
    """A shifted integer is rounded and cut at its type's range; rows not hit keep every digit."""
    big = 2**62 + 1
    source = make(
        Fault("bias", onset=10, duration=5, severity=1e19, relative=False),
        Fault("bias", onset=20, duration=5, severity=0.6, relative=False),
        sensors=[Sensor("s", big), Sensor("i", 5, data_type="INT32")],
    )
    frame = source.frame()
    assert (frame["s"][:10] == big).all()
    assert (frame["s"][10:15] > 9 * 10**18).all()
    assert (frame["i"][10:15] == 2**31 - 1).all()
    assert (frame["i"][20:25] == 6).all()


# --- delivery faults ---


def arrivals(source: SensorSource) -> pd.Series:
    """For each row's time the tick at which it arrived first."""
    windows = [source.window(1, at=k) for k in range(source.n_ticks or 0)]
    late = source.late(source.n_ticks or 0)
    first: dict[pd.Timestamp, int] = {}
    for k, window in enumerate(windows):
        for time in window.index:
            first.setdefault(time, k)
    for time in late.index:
        first.setdefault(time, -1)
    return pd.Series(first).sort_index()


def test_delay() -> None:
    """Delayed rows all arrive so many seconds later, in order."""
    source = make(Fault("delay", onset=50, duration=20, severity=7), duration=200)
    expected = np.arange(200)
    expected[50:70] += 7
    assert arrivals(source).tolist() == expected.tolist()
    times = pd.concat(list(source.windows(1))).index
    assert times.is_unique
    assert len(times) == 200


def test_stragglers() -> None:
    """Stragglers arrive up to severity late, evenly, overtaken by others; nothing is lost."""
    source = make(Fault("straggler", probability=0.1, severity=10), duration=20_000)
    ledger = source.ledger()
    lateness = (ledger["delivered"] - ledger["time"]).dt.total_seconds()
    assert len(ledger) == pytest.approx(2000, abs=5 * np.sqrt(2000))
    assert lateness.min() == 1
    assert lateness.max() == 10
    assert lateness.mean() == pytest.approx(5.5, abs=5 * 2.9 / np.sqrt(len(lateness)))
    times = pd.concat(list(source.windows(100))).index
    assert not times.is_monotonic_increasing
    assert times.is_unique
    assert len(times) == 20_000
    short = make(Fault("straggler", probability=0.1, severity=10), duration=500)
    assert (arrivals(short) - np.arange(500)).loc[lambda d: d != 0].isin(range(-500, 11)).all()


def test_late_batches() -> None:
    """A late batch is held and arrives at once, severity after its last row."""
    source = make(Fault("late_batch", onset=50, duration=20, severity=7), duration=200)
    expected = np.arange(200)
    expected[50:70] = 69 + 7
    assert arrivals(source).tolist() == expected.tolist()


def test_offline_then_burst() -> None:
    """Nothing arrives while a device is offline; then all comes, in order, with the next row."""
    source = make(Fault("offline", onset=50, duration=20), duration=200)
    expected = np.arange(200)
    expected[50:70] = 70
    assert arrivals(source).tolist() == expected.tolist()
    assert all(len(source.window(1, at=k)) == 0 for k in range(50, 70))
    burst = source.window(1, at=70)
    assert list(burst.index) == [at(k) for k in range(50, 71)]
    # A row delayed into the outage comes with the burst, too.
    both = make(
        Fault("offline", onset=50, duration=20), Fault("delay", onset=40, duration=5, severity=12),
        duration=200,
    )  # fmt: skip
    assert arrivals(both)[40:45].tolist() == [70] * 5


def test_what_is_on_its_way_at_the_end_comes_last() -> None:
    """Rows that would arrive after the end come as one more window, so that none is lost."""
    source = make(Fault("offline", onset=150, duration=100), duration=200)
    *windows, late = source.windows(10)
    assert len(windows) == 20
    assert list(late.index) == [at(k) for k in range(150, 200)]
    assert_frame_equal(pd.concat([*windows, late]), source.frame(clean=True))


def test_duplicates() -> None:
    """Duplicates come so many times more, equal, and the database holds them once."""
    source = make(Fault("duplicate", probability=0.05, severity=2), duration=20_000)
    rows = pd.concat(list(source.windows(100)))
    counts = rows.groupby(level=0).size()
    assert set(counts) == {1, 3}
    assert (counts == 3).sum() == pytest.approx(1000, abs=5 * np.sqrt(1000))
    assert (rows.groupby(level=0)["s"].nunique() == 1).all()
    assert_frame_equal(source.frame(), source.frame(clean=True))


def test_jitter() -> None:
    """Jitter moves times by normal noise of its std, and leaves values and order of arrival."""
    source = make(Fault("jitter", severity=0.2), rate_hz=0.1, duration=200_000)
    window = source.window(20_000)
    clean = source.frame(clean=True)
    off = (window.index - clean.index).total_seconds().to_numpy()
    assert off.std() == pytest.approx(0.2, rel=5 / np.sqrt(2 * 20_000))
    assert abs(off.mean()) < 5 * 0.2 / np.sqrt(20_000)
    assert (window["s"].to_numpy() == clean["s"].to_numpy()).all()
    assert source.frame().index.is_monotonic_increasing


def test_skew() -> None:
    """A skewed clock gains severity each second of its episode, and is right again after it."""
    source = make(Fault("skew", onset=100, duration=1000, severity=0.01), duration=2000)
    off = (source.window(2000).index - source.frame(clean=True).index).total_seconds().to_numpy()
    expected = np.zeros(2000)
    expected[100:1100] = np.arange(1000) * 0.01
    assert off == pytest.approx(expected, abs=0.0006)  # times are in ms


def test_equal_times_are_merged_as_the_server_does() -> None:
    """Of rows of one time, the frame holds per column the last to arrive that is there."""
    faults = [
        Fault("jitter", probability=0.5, severity=2),
        Fault("straggler", probability=0.2),
        Fault("dropout", probability=0.3),
    ]
    sensors = {"a": "uniform", "n": sg.counter(), "state": "states"}
    # A row each millisecond, the unit of times, so that jittered ones meet.
    source = make(*faults, sensors=sensors, rate_hz=1000, duration=5)
    arrived = pd.concat(list(source.windows(500)))
    held: dict[pd.Timestamp, dict[str, object]] = {}
    for time, row in zip(arrived.index, arrived.to_dict("records"), strict=True):
        cells = held.setdefault(time, {})
        for name, cell in row.items():
            if not pd.isna(cell):
                cells[name] = cell
            else:
                cells.setdefault(name, None)
    expected = pd.DataFrame.from_dict(held, orient="index").sort_index()
    got = source.frame()
    assert len(got) < len(arrived)
    assert list(got.index) == list(expected.index)
    for name in sensors:
        assert got[name].isna().tolist() == expected[name].isna().tolist()
        there = got[name].notna().to_numpy()
        assert got[name][there].tolist() == expected[name][there].tolist()


# --- the ledger ---

MANY = [
    Fault("bias", probability=0.002),
    Fault("drift", probability=0.002),
    Fault("variance", probability=0.002),
    Fault("spike", probability=0.02),
    Fault("stuck", probability=0.002),
    Fault("dropout", probability=0.02),
    Fault("dropout", onset=500, duration=50, sensors="a"),
]
KINDS_OF_COLUMNS = [
    Sensor("a", sg.ar1()),
    Sensor("b", sg.sine() * 100, data_type="INT32"),
    Sensor("c", "states"),
    Sensor("d", "uniform", data_type="FLOAT"),
    Sensor("e", "on_off"),
    Sensor("f", "clock"),
]


@given(seed=st.integers(0, 1000), low=st.integers(0, 9000), size=st.integers(0, 5000))
@settings(max_examples=10, deadline=None)
def test_the_ledger_turns_the_clean_frame_into_the_faulty(seed: int, low: int, size: int) -> None:
    """Clean cells of the ledger are those of the clean frame; with its faulty ones put in, the
    clean frame is the faulty one: no hit is missing and none is wrong."""
    source = make(*MANY, sensors=KINDS_OF_COLUMNS, seed=seed, duration=10_000)
    span = at(low), at(low + size)
    ledger, faulty, clean = (
        source.ledger(*span),
        source.frame(*span),
        source.frame(*span, clean=True),
    )
    assert ledger["time"].is_monotonic_increasing
    assert (ledger["stamped"] == ledger["time"]).all()
    assert (ledger["delivered"] == ledger["time"]).all()
    mended = clean.astype(object)
    for name, rows in ledger.groupby("sensor", observed=True):
        cells = clean.loc[rows["time"], name]
        assert all(_same(a, b) for a, b in zip(cells, rows["clean"], strict=True))
        mended.loc[rows["time"], name] = rows["faulty"].to_numpy()
    for name in faulty.columns:
        assert all(_same(a, b) for a, b in zip(faulty[name], mended[name], strict=True))


def _same(a: object, b: object) -> bool:
    if pd.isna(a) or pd.isna(b):
        return bool(pd.isna(a) and pd.isna(b))
    if isinstance(a, pd.Timestamp):
        a = a.value // 10**6
    if isinstance(b, pd.Timestamp):
        b = b.value // 10**6
    return bool(a == b)


def test_the_ledger_of_deliveries() -> None:
    """The ledger names the rows each delivery fault hit, the time they carry and when they came."""
    source = make(
        Fault("offline", onset=50, duration=20),
        Fault("duplicate", onset=100, duration=3),
        Fault("skew", onset=150, duration=10, severity=0.5),
        duration=200,
    )
    ledger = source.ledger().set_index("time")
    assert ledger["sensor"].isna().all()
    offline = ledger[ledger["fault"] == "offline"]
    assert list(offline.index) == [at(k) for k in range(50, 70)]
    assert (offline["delivered"] == at(70)).all()
    assert list(ledger[ledger["fault"] == "duplicate"].index) == [at(k) for k in range(100, 103)]
    skew = ledger[ledger["fault"] == "skew"]
    gained = (skew["stamped"] - skew.index).dt.total_seconds()
    assert gained.tolist() == [0.5 * k for k in range(10)]
    assert source.count_faults(0, 200) == {"offline": 20, "duplicate": 3, "skew": 10}
    assert source.count_faults(60, 101) == {"offline": 20, "duplicate": 1}  # as they arrive
    assert source.count_faults(60, 101, since=65) == {"offline": 5, "duplicate": 1}
    assert source.count_faults(60, before=60) == {"offline": 10}
    late = source.ledger_of(60, before=60)
    assert (late["delivered"] == at(60)).all()


def test_a_hidden_fault_is_not_in_the_ledger() -> None:
    """Of a reading that is missing, what shifted it is left out of the ledger."""
    source = make("dropout:0.3", "spike:0.3")
    ledger = source.ledger()
    assert not ledger.duplicated("time").any()
    both = source.ledger()["fault"].value_counts()
    assert both["dropout"] == pytest.approx(0.3 * N, rel=0.03)
    assert both["spike"] == pytest.approx(0.3 * 0.7 * N, rel=0.03)
    missing = ledger["fault"] == "dropout"
    assert ledger["faulty"][missing].isna().all()
    assert ledger["faulty"][~missing].notna().all()


def test_an_empty_ledger_has_its_columns() -> None:
    """A source without faults has a ledger without rows."""
    ledger = make().ledger()
    assert len(ledger) == 0
    assert list(ledger.columns) == [
        "time", "sensor", "fault", "fault_number", "clean", "faulty", "stamped", "delivered",
    ]  # fmt: skip


# --- what is refused ---


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        ("spyke", {}, "did you mean 'spike"),
        ("spike", {"probability": 0}, "probability"),
        ("spike", {"probability": 1.1}, "probability"),
        ("spike", {"severity": 0}, "severity"),
        ("spike", {"severity": float("nan")}, "severity"),
        ("spike", {"severity": -2}, "severity"),
        ("spike", {"duration": 0}, "duration"),
        ("stuck", {"severity": 2}, "no severity"),
        ("offline", {"severity": 2}, "no severity"),
        ("dropout", {"severity": 1.5}, "share"),
        ("duplicate", {"severity": 1.5}, "copies"),
        ("delay", {"sensors": "s"}, "rows"),
        ("delay", {"relative": False}, "relative"),
    ],
)
def test_faults_that_cannot_be_meant(kind: str, options: dict[str, object], words: str) -> None:
    """A fault with senseless parameters cannot be made."""
    with pytest.raises(OptionsError, match=words):
        Fault(kind, **options)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Fault("stuck", onset=10, duration=20), Fault("spike", onset=15, duration=2)),
        (Fault("dropout", onset=10), Fault("drift", onset=400, duration=20)),
        (Fault("stuck", onset=10, duration=20), Fault("dropout", onset=29, duration=1)),
        (Fault("bias", onset=10, duration=20), Fault("bias", onset=15, duration=20)),
        (Fault("offline", onset=10, duration=20), Fault("delay", onset=5, duration=20)),
        (Fault("skew"), Fault("skew", onset=100, duration=10)),
    ],
)
def test_faults_that_would_hide_each_other(one: Fault, other: Fault) -> None:
    """Faults sure to overlap on one thing so that one hides the other are refused, in any order."""
    for faults in ([one, other], [other, one]):
        with pytest.raises(OptionsError, match="overlap"):
            make(*faults)


def test_faults_that_may_meet() -> None:
    """Faults apart in time, on other sensors, at random, or that add up are fine."""
    make(Fault("stuck", onset=10, duration=20), Fault("spike", onset=30, duration=2))
    two = {"a": "sine", "b": "sine"}
    make(Fault("stuck", sensors="a"), Fault("bias", sensors="b"), sensors=two)
    make(Fault("stuck", onset=10, duration=20), "spike:0.5", "dropout:0.5", "stuck:0.01")
    make(Fault("bias", onset=10, duration=20), Fault("drift", onset=10, duration=20))
    make(Fault("offline", onset=10, duration=20), "straggler:0.1", "duplicate:0.1")


def test_faults_from_strings() -> None:
    """A string names kind, probability and severity; other spellings are understood."""
    assert Fault.parse("spike:0.01:5") == Fault("spike", probability=0.01, severity=5)
    assert Fault.parse("out-of-order:0.1") == Fault("straggler", probability=0.1)
    assert Fault("Offline then burst", duration=5).kind == "offline"
    for text in ("spike:often", "spike:0.1:2:3", "spike:"):
        with pytest.raises(OptionsError, match="not a valid fault"):
            Fault.parse(text)


def test_the_tables_name_all_kinds() -> None:
    """The tables of `Fault` have a row for each kind, and no other."""
    rows = [
        line.split("|")[1].strip() for line in (Fault.__doc__ or "").splitlines() if "|" in line
    ]
    assert [row for row in rows if row not in ("kind", "---")] == list(KINDS)
