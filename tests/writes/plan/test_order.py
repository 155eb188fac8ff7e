"""The order rows are sent in, against a plain stable sort."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iotdb_frames.writes.plan import order as module
from iotdb_frames.writes.plan.layout import narrow
from iotdb_frames.writes.plan.order import make_order

ROWS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9)), max_size=40)


@given(rows=ROWS, is_by_time=st.booleans(), is_sliced=st.booleans(), is_wide=st.booleans())
def test_rows_go_by_device_then_time_and_the_last_stays_last(
    rows: list[tuple[int, int]], is_by_time: bool, is_sliced: bool, is_wide: bool
) -> None:
    """Sorted at once or slice by slice, in 16 bits or more: device, time, then as they were."""
    if is_by_time:
        rows = sorted(rows, key=lambda row: row[1])
    devices, ticks = np.array(rows, np.int64).reshape(-1, 2).T
    codes = narrow(devices.astype(np.int32), 1 << 17 if is_wide else 6)
    with pytest.MonkeyPatch.context() as patch:
        if is_sliced:
            patch.setattr(module, "AT_ONCE", 0)
            patch.setattr(module, "SLICE", 7)
        found = make_order(ticks, codes)
    wanted = np.lexsort((ticks, devices))
    sent = np.arange(len(rows)) if found.rows is None else found.rows
    np.testing.assert_array_equal(sent, wanted)
    np.testing.assert_array_equal(found.ticks, ticks[wanted])
    ordered = devices[wanted]
    for first, last in zip(found.bounds[:-1], found.bounds[1:], strict=True):
        assert len(set(ordered[first:last])) == (1 if len(rows) else 0)
    assert len(found.bounds) - 1 == max(1, len(set(devices)))
    assert found.n_duplicates == len(rows) - len(set(rows))
