"""Exact times from numbers with a fraction: floats and decimals that count a unit since 1970.

A float stands for the shortest decimal that rounds to it, as it is printed: 1564388230.097 is
97 ms, though the float is slightly less. A time finer than the server's precision, or too large for
a float to be exact, is bad; nothing is rounded.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from iotdb_frames.codec.times import (
    BEYOND_YEARS,
    TICKS_PER_S,
    Reason,
    Ticks,
    Why,
    finer_than,
    rescale,
)


def epoch_ticks(data: Any, *, unit: str, precision: str, is_lossy: bool) -> Ticks:
    """Numbers of `unit` as ticks of `precision`.

    Parameters
    ----------
    data : floats, shape (n,), as numpy or Arrow; or decimals as Arrow
    unit, precision : "s", "ms", "us" or "ns"
    is_lossy : truncate what is finer than `precision` (towards the past) instead of marking it bad
    """
    n_digits = max(0, len(str(TICKS_PER_S[precision])) - len(str(TICKS_PER_S[unit])))
    if not isinstance(data, np.ndarray) and pa.types.is_floating(data.type):
        data = data.fill_null(np.nan).to_numpy(zero_copy_only=False)
    masks: list[tuple[np.ndarray, Why | None]]
    if isinstance(data, np.ndarray):
        whole, part, is_fine = _of_floats(data, n_digits)
        is_null, is_endless = np.isnan(data), np.isinf(data)
        is_rough = ~is_endless & (np.abs(data) >= 2.0 ** (np.finfo(data.dtype).nmant + 1))
        masks = [(is_endless, BEYOND_YEARS)]
        rough = Why(Reason.INEXACT, f"is a number that {data.dtype} cannot represent exactly")
        masks.append((is_rough, rough))
    else:
        whole, part, is_fine, is_far = _of_decimals(data, n_digits)
        is_null = np.array(data.is_null())
        masks = [(is_far, BEYOND_YEARS)]
    ticks = rescale(whole, unit=unit, precision=precision, is_lossy=is_lossy)
    n_cut = ticks.n_cut
    if ticks.is_bad is not None:
        masks.append((ticks.is_bad, ticks.why))
    if is_lossy:
        n_cut += int(np.count_nonzero(is_fine & ~is_null))
    else:
        masks.append((is_fine, finer_than(precision)))
    is_bad = np.logical_or.reduce([mask for mask, _ in masks]) & ~is_null
    why: Why | None = None
    if is_bad.any():
        first = int(is_bad.argmax())
        why = next(reason for mask, reason in masks if mask[first])
    with np.errstate(over="ignore"):
        values = ticks.values + part
    return Ticks(
        values,
        is_null if is_null.any() else None,
        is_bad if is_bad.any() else None,
        why,
        n_cut,
    )


def _of_floats(data: np.ndarray, n_digits: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The floors, the fractions in units of the last digit, and where there are more digits."""
    known = np.where(np.abs(data) < 2.0**53, data, 0).astype(np.float64)
    whole = np.floor(known)
    rest = known - whole
    part = np.zeros(len(known), np.int64)
    left = np.flatnonzero(rest)
    for n in range(1, n_digits + 1):  # the fewest digits that give the same float
        if not len(left):
            break
        digits = np.rint(rest[left] * 10.0**n)
        is_it = whole[left] + digits / 10.0**n == known[left]
        part[left[is_it]] = digits[is_it].astype(np.int64) * 10 ** (n_digits - n)
        left = left[~is_it]
    part[left] = np.floor(rest[left] * 10.0**n_digits).astype(np.int64)
    is_fine = np.zeros(len(known), bool)
    is_fine[left] = True
    return whole.astype(np.int64), part, is_fine


def _of_decimals(
    data: pa.Array, n_digits: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The same for decimals, and where the floor exceeds 64 bits."""
    own = pa.decimal256(76, max(data.type.scale, n_digits))
    cut = pc.cast(data, pa.decimal256(76, n_digits), safe=False)
    is_fine = np.asarray(pc.not_equal(pc.cast(cut, own), pc.cast(data, own)).fill_null(False))
    words = np.frombuffer(cut.buffers()[1], "<i8").reshape(-1, 4)[cut.offset :][: len(cut)]
    low = words[:, 0].copy()
    is_far = (words[:, 1:] != (low >> 63)[:, None]).any(axis=1)
    low[is_far | np.array(cut.is_null())] = 0
    low -= is_fine & np.asarray(pc.less(data, pa.scalar(0, pa.int64()).cast(own)).fill_null(False))
    per = 10**n_digits
    return low // per, low % per, is_fine, is_far
