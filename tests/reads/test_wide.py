"""Long rows become wide ones: each cell under its device and measurement, at its time."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from iotdb_frames.reads.wide import widen

CELLS = st.tuples(
    st.none() | st.integers(-(1 << 63), (1 << 63) - 1), st.none() | st.text(max_size=2)
)
DEVICES = st.dictionaries(
    st.sampled_from(["a", "b", "c.d"]), st.dictionaries(st.integers(-3, 3), CELLS, min_size=1)
)


def table_of(devices: dict[str, dict[int, Any]]) -> pa.Table:
    """Rows of the devices, one behind the other, times ascending."""
    rows = [
        (tick, name, *cells)
        for name, ticks in devices.items()
        for tick, cells in sorted(ticks.items())
    ]
    columns = list(zip(*rows, strict=True)) if rows else [[]] * 4
    types = [pa.timestamp("us"), pa.string(), pa.int64(), pa.string()]
    return pa.table({n: pa.array(v, t) for n, v, t in zip("tdxs", columns, types, strict=True)})


@given(DEVICES)
def test_every_cell_is_at_its_place(devices: dict[str, dict[int, Any]]) -> None:
    """Each value stands once, exactly; a pair without any value has no column."""
    found, labels = widen(table_of(devices))
    found.validate(full=True)
    ticks = found.column(0).cast(pa.int64()).to_pylist()
    assert ticks == sorted({tick for rows in devices.values() for tick in rows})
    wanted = {
        (name, measurement): [rows.get(tick, (None, None))[i] for tick in ticks]
        for name, rows in devices.items()
        for i, measurement in enumerate("xs")
    }
    wanted = {label: cells for label, cells in wanted.items() if any(c is not None for c in cells)}
    assert dict(zip(labels, (c.to_pylist() for c in found.columns[1:]), strict=True)) == wanted
    assert found.column(0).type == pa.timestamp("us")
