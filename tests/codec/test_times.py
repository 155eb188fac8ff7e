"""Times to ticks, against Python's own integers and zone data."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any, get_args
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iotdb_frames.codec.cells import Rules, to_cells
from iotdb_frames.codec.sources import from_pandas
from iotdb_frames.codec.times import (
    NAT,
    TICKS_PER_S,
    Unit,
    date_numbers,
    localize,
    moment,
    rescale,
    to_seconds,
    to_timedelta,
)
from iotdb_frames.errors import OptionsError
from iotdb_frames.options import TSDataType

UNITS = st.sampled_from(get_args(Unit))
INT64 = st.integers(-(2**63), 2**63 - 1)
ZONES = ("Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Africa/Cairo")


def listed(ticks: Any) -> list[Any]:
    """Ticks as a list: None for missing, "bad" for what is not exact."""
    null = np.zeros(len(ticks.values), bool) if ticks.is_null is None else ticks.is_null
    bad = np.zeros(len(ticks.values), bool) if ticks.is_bad is None else ticks.is_bad
    return [
        None if n else "bad" if b else v
        for v, n, b in zip(ticks.values.tolist(), null, bad, strict=True)
    ]


@given(st.lists(INT64, min_size=1), UNITS, UNITS, st.booleans())
def test_ticks_are_exact_or_marked(
    values: list[int], unit: Unit, precision: Unit, is_lossy: bool
) -> None:
    """Between any two units a tick is exact, cut towards the past if asked for, or bad."""
    found = listed(rescale(np.array(values), unit=unit, precision=precision, is_lossy=is_lossy))
    for value, got in zip(values, found, strict=True):
        ticks, rest = divmod(value * TICKS_PER_S[precision], TICKS_PER_S[unit])
        if value == NAT:
            assert got is None
        elif got == "bad":
            assert (rest and not is_lossy) or abs(ticks) > 2**63 - 10**9 - 1
        else:
            assert got == ticks
            assert is_lossy or not rest


@given(
    st.lists(st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)), min_size=1),
    st.sampled_from(ZONES),
)
def test_wall_times_are_those_of_the_zone(stamps: list[datetime], zone: str) -> None:
    """A naive time becomes the one instant that has it in the zone; none or two are bad."""
    found = listed(localize(np.array(stamps, "M8[us]").view("i8"), unit="us", zone=zone))
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    for stamp, got in zip(stamps, found, strict=True):
        instants = {
            stamp.replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC) for fold in (0, 1)
        }
        exact = [t for t in instants if t.astimezone(ZoneInfo(zone)).replace(tzinfo=None) == stamp]
        if len(exact) == 1:
            assert got == (exact[0] - epoch) // timedelta(microseconds=1)
        else:
            assert got == "bad"


@pytest.mark.parametrize(
    ("zone", "wall"),
    [
        ("Europe/Berlin", "2024-03-31T02:30"),  # skipped
        ("Europe/Berlin", "2024-10-27T02:30"),  # twice
        ("Europe/Berlin", "2045-03-26T02:30"),  # beyond 2037, where pytz ends
        ("America/Sao_Paulo", "2018-11-04T00:00"),  # a day without midnight
        ("Australia/Lord_Howe", "2024-04-07T01:45"),  # a change of half an hour
        ("Pacific/Apia", "2011-12-30T12:00"),  # a day that never was
    ],
)
def test_gaps_and_overlaps_are_refused(zone: str, wall: str) -> None:
    """A wall time that a zone skips or has twice is never guessed; its neighbours are fine."""
    stamps = pd.DatetimeIndex(np.array([wall, "2024-07-01"], "M8[ms]"))
    ticks = localize(stamps.asi8, unit="ms", zone=zone)
    expected = stamps[1].tz_localize(zone).timestamp() * 1000
    assert listed(ticks) == ["bad", expected]
    assert zone in str(ticks.why)


@pytest.mark.parametrize("unit", get_args(Unit))
def test_years_without_zones_are_marked(unit: Unit) -> None:
    """Far beyond the years 1 to 9999 a zone says nothing: bad, where UTC has no trouble."""
    values = np.array([0, 2**62, -(2**62), NAT])
    is_far = unit != "ns"
    assert listed(localize(values, unit=unit, zone="UTC")) == [0, 2**62, -(2**62), None]
    found = listed(localize(values, unit=unit, zone="Asia/Kolkata"))
    assert found[0] == -19800 * TICKS_PER_S[unit]
    assert (found[1] == "bad", found[2] == "bad", found[3]) == (is_far, is_far, None)


def test_extreme_nanoseconds_do_not_wrap() -> None:
    """At the ends of int64 a zone's offset leads out of it: an error or bad, never wrapped."""
    for value in (2**63 - 1, -(2**63) + 1):
        for zone in ("America/New_York", "Asia/Kolkata"):
            found = listed(localize(np.array([value, 0]), unit="ns", zone=zone))
            if found[0] != "bad":
                assert abs(found[0] - value) < 10**15


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_zoned_columns_do_not_care_for_the_time_zone(zone: str) -> None:
    """A column with a zone is the same instant whatever `time_zone` says; a naive one is not."""
    rules = Rules("ms", time_zone=zone)
    zoned = pd.Series(pd.to_datetime(["2024-07-01T12:00"]).tz_localize("Asia/Tokyo"))
    for column in (
        zoned,
        zoned.astype("timestamp[us, tz=Asia/Tokyo][pyarrow]"),
        zoned.astype(object),
    ):
        cells = to_cells(from_pandas(column, "x"), slice(0, 1), TSDataType.TIMESTAMP, rules)
        assert cells.values.tolist() == [1719802800000]
    naive = pd.Series(pd.to_datetime(["2024-07-01T12:00"]))
    cells = to_cells(from_pandas(naive, "x"), slice(0, 1), TSDataType.TIMESTAMP, rules)
    assert cells.values.tolist() == [1719835200000 - (7_200_000 if zone != "UTC" else 0)]


def test_a_bad_time_leaves_the_others_of_its_slice_alone() -> None:
    """One wall time that does not exist does not keep the rest from the server's unit."""
    walls = ["2024-03-31T02:30", "NaT", "2024-07-01", "2024-07-01T00:00:00.000001"]
    stamps = np.array(walls, "M8[us]")
    rules = Rules("ms", time_zone="Europe/Berlin")
    found = to_cells(from_pandas(pd.Series(stamps), "x"), slice(0, 4), TSDataType.TIMESTAMP, rules)
    assert listed(found) == ["bad", None, 1719784800000, "bad"]


@given(st.lists(st.dates()))
def test_dates_are_their_digits(days: list[Any]) -> None:
    """Every date of Python's calendar is yyyymmdd."""
    numbers, is_bad = date_numbers(np.array(days, "M8[D]").view("i8"))
    assert is_bad is None
    assert numbers.tolist() == [d.year * 10_000 + d.month * 100 + d.day for d in days]


@pytest.mark.parametrize(
    ("value", "tick"),
    [
        ("2024-07-01 12:00", 1719828000000),
        ("2024-07-01 12:00Z", 1719835200000),
        (pd.Timestamp("2024-07-01 12:00", tz="UTC"), 1719835200000),
        (datetime(2024, 7, 1, 12), 1719828000000),
        (datetime(2024, 7, 1, 12, tzinfo=UTC), 1719835200000),
        (date(2024, 7, 1), 1719784800000),
        (np.datetime64("2024-07-01T12"), 1719828000000),
        ("2050-07-01 12:00", 2540282400000),  # behind 2037, where pytz ends
        (1719828000000, 1719828000000),
        (np.int32(5), 5),
        (-(1 << 63), -(1 << 63)),
    ],
)
def test_a_moment_is_a_tick(value: Any, tick: int) -> None:
    """Naive times are of the zone, others say theirs, and an integer is a tick already."""
    assert moment(value, name="start", zone="Europe/Berlin", precision="ms") == tick


NO_MOMENTS: list[Any] = [
    *(1704067000000.0, np.float32(5), np.float64("nan"), True, np.True_, time(12), 1j),
    *(timedelta(days=1), pd.Timedelta("1D"), np.timedelta64(5, "s"), pd.Period("2024-01")),
    *(None, pd.NA, pd.NaT, np.datetime64("NaT"), "", "soon", "5", "9" * 30, b"2024", [], {}),
    *(np.array([5]), pd.Series(["2024"]), 1 << 63, -(1 << 63) - 1, "2024-01-01 00:00:00.0001"),
    *(np.datetime64(1 << 60, "s"), np.datetime64(1 << 62, "D"), np.datetime64(-(1 << 62), "s")),
]


@pytest.mark.parametrize(
    ("value", "zone"),
    [
        *((value, zone) for value in NO_MOMENTS for zone in ("UTC", "Europe/Berlin")),
        ("2024-03-31 02:30", "Europe/Berlin"),  # skipped
        ("2024-10-27 02:30", "Europe/Berlin"),  # twice
    ],
    ids=repr,
)
def test_what_is_no_moment(value: Any, zone: str) -> None:
    """A float has no unit, a span no date: each that is not a time is refused by its option."""
    with pytest.raises(OptionsError, match="start="):
        moment(value, name="start", zone=zone, precision="ms")


@pytest.mark.parametrize("span", ["1ms", "500ms", "1D", "1h30min", "2 hours", "00:00:05", "1W"])
def test_spans_are_those_of_pandas(span: str) -> None:
    """A span is as long as pandas says."""
    assert to_timedelta(span) == pd.Timedelta(span)


def test_a_span_that_is_a_month_to_pandas_is_refused() -> None:
    """ "1MS" begins a month for `date_range`, and is not a millisecond."""
    with pytest.raises(ValueError, match="no fixed length"):
        to_timedelta("1MS")
    with pytest.raises(OptionsError, match="'1MS'"):
        to_seconds("1MS", name="every")
