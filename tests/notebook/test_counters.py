"""Counters: rates over the last seconds, numbers that stay narrow."""

from __future__ import annotations

import pytest

from iotdb_frames.notebook.panel.counters import Rates, Totals, number, tiles


def test_a_rate_is_of_the_last_seconds() -> None:
    """What came long ago does not hold up a rate, and a pause brings it to nothing."""
    rates = Rates()
    for second in range(20):
        rate = rates.add(float(second), second * 100, second * 300)
    assert rate == (100.0, 300.0)
    for second in range(20, 27):
        rate = rates.add(float(second), 1_900, 5_700)
    assert rate == (0.0, 0.0)


def test_another_stream_begins_at_nothing() -> None:
    """Counters that fall are those of a new stream: no rate is negative."""
    rates = Rates()
    rates.add(0.0, 500, 500)
    assert rates.add(1.0, 10, 10) == (0.0, 0.0)
    assert rates.add(2.0, 20, 20) == (10.0, 10.0)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (0.04, "0.0"), (12.34, "12.3"), (99, "99"), (1234, "1,234"), (99_999, "99,999"),
        (123_456, "123 k"), (1_234_567, "1.23 M"), (12_345_678, "12.3 M"), (2.5e9, "2.5 G"),
    ],
)  # fmt: skip
def test_numbers_are_short(value: float, text: str) -> None:
    """At most seven characters, whatever the size."""
    assert number(value) == text
    assert len(text) <= 7


def test_what_is_wrong_has_a_tone() -> None:
    """Rejected rows are bad, a backlog and retries make one wait, and nothing else is coloured."""
    shown = {label: tone for label, _, _, tone in tiles(Totals(rejected=1, retries=2), (0, 0))}
    assert shown["refused"] == "bad"
    assert shown["retries"] == "wait"
    assert not shown["backlog"]
    assert not shown["rows/s"]


def test_latencies_have_units_and_faults_are_named() -> None:
    """Milliseconds, seconds where there are many; the most frequent faults come first."""
    totals = Totals(p50_s=0.0051, p99_s=12.0, faults={"drift": 2, "spike": 7})
    shown = {label: (value, unit) for label, value, unit, _ in tiles(totals, (0, 0))}
    assert shown["p50"] == ("5.1", "ms")
    assert shown["p99"] == ("12.0", "s")
    assert list(shown)[-2:] == ["spike", "drift"]
