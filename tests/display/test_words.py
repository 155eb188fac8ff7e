"""Numbers in words."""

from __future__ import annotations

import pytest

from iotdb_frames.display.words import duration, plural, repeated, size


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.0031, "3.1 ms"),
        (0.42, "0.42 s"),
        (59.999, "1 min"),
        (185, "3 min 05 s"),
        (600, "10 min"),
        (3600, "1 h"),
        (3660, "1 h 01 min"),
        (48 * 3600, "2 d"),
        (45 * 86400 + 13 * 3600, "45 d 13 h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    """A duration has two units at most, and none of which there are zero."""
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [(0, "0 B"), (64, "64 B"), (1023, "1023 B"), (2048, "2.0 KiB"), (1048570, "1.0 MiB")],
)
def test_sizes(n_bytes: int, text: str) -> None:
    """A size is never rounded to nothing, nor to 1024 of its unit."""
    assert size(n_bytes) == text


def test_plurals() -> None:
    """One is singular, in the verb too."""
    assert plural(1, "row") == "1 row"
    assert plural(1234, "retry", "retries") == "1,234 retries"
    assert repeated(1) == "1 row repeats a (device, time)"
    assert repeated(2) == "2 rows repeat a (device, time)"
