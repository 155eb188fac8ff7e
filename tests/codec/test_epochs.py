"""Times that are floats or decimals: what their digits say, to the last one, or bad."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iotdb_frames.codec.epochs import epoch_ticks

DIGITS = {"s": 0, "ms": 3, "us": 6, "ns": 9}
SECONDS = st.integers(-(10**9), 4 * 10**9)


@given(
    st.sampled_from(["s", "ms"]),
    st.sampled_from(["ms", "us", "ns"]),
    st.lists(st.tuples(SECONDS, st.integers(0, 999_999)), min_size=1, max_size=20),
    st.booleans(),
)
def test_digits_are_kept(
    unit: str, precision: str, rows: list[tuple[int, int]], is_decimal: bool
) -> None:
    """The digits that a float shows, and all of a decimal, arrive in the server's precision."""
    n_digits = min(6, DIGITS[precision])
    texts = [
        Decimal(s * 10**n_digits + micros // 10 ** (6 - n_digits)).scaleb(DIGITS[unit] - n_digits)
        for s, micros in rows
    ]
    made: Any = np.array([float(text) for text in texts])
    if is_decimal:
        made = pa.array(texts, pa.decimal128(38, 9))
    ticks = epoch_ticks(made, unit=unit, precision=precision, is_lossy=False)
    assert (ticks.is_bad, ticks.is_null) == (None, None)
    shift = DIGITS[precision] - DIGITS[unit]
    assert ticks.values.tolist() == [int(text.scaleb(shift)) for text in texts]


@pytest.mark.parametrize(
    ("value", "unit", "precision", "why"),
    [
        (1564388230.0971, "s", "ms", "is finer than the server's precision (ms)"),
        (Decimal("-0.0001"), "s", "ms", "is finer than the server's precision (ms)"),
        (0.1 + 0.2, "s", "ns", "is finer than the server's precision (ns)"),
        (1564388230097.0, "us", "ms", "is finer than the server's precision (ms)"),
        (np.inf, "s", "ms", "is outside the years 1 to 9999"),
        (Decimal(10**22), "s", "ms", "is outside the years 1 to 9999"),
        (1e15, "s", "ns", "is outside the range of int64 ns"),
        (2.0**53, "ns", "ns", "is a number that float64 cannot represent exactly"),
        (np.float32(1564388230), "s", "ms", "is a number that float32 cannot represent exactly"),
    ],
)
def test_what_is_not_exact_is_bad(value: Any, unit: str, precision: str, why: str) -> None:
    """Nothing is rounded in silence: the row is bad, its neighbours are not."""
    if isinstance(value, Decimal):
        data: Any = pa.array([Decimal("1.5"), value, None], pa.decimal128(38, 9))
    else:
        data = np.array([1500.0, value, np.nan], np.asarray(value).dtype)
    ticks = epoch_ticks(data, unit=unit, precision=precision, is_lossy=False)
    assert ticks.is_bad is not None
    assert ticks.is_bad.tolist()[1:] == [True, False]
    assert ticks.is_null is not None
    assert ticks.is_null.tolist() == [False, False, True]
    assert str(ticks.why) == why


@pytest.mark.parametrize("is_decimal", [False, True])
def test_what_is_finer_may_be_cut(is_decimal: bool) -> None:
    """Where precision may be lost it is lost towards the past, and counted."""
    texts = [Decimal("1.5"), Decimal("2.0009"), Decimal("-2.0009")]
    data: Any = np.array(list(map(float, texts)))
    if is_decimal:
        data = pa.array(texts, pa.decimal128(38, 9))
    ticks = epoch_ticks(data, unit="s", precision="ms", is_lossy=True)
    assert ticks.values.tolist() == [1500, 2000, -2001]
    assert (ticks.n_cut, ticks.is_bad) == (2, None)
