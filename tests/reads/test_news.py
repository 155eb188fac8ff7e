"""What is new of rows: what a comparison row by row says, cell by cell."""

from __future__ import annotations

import struct
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iotdb_frames.reads.news import compare, together

NAN = float("nan")
SCHEMA = {
    "time": pa.timestamp("ms"),
    "site": pa.string(),
    "device": pa.string(),
    "x": pa.float64(),
    "f": pa.float32(),
    "n": pa.int64(),
    "s": pa.string(),
    "b": pa.bool_(),
    "raw": pa.binary(),
    "day": pa.date32(),
}
KEYS = 2
CELLS: dict[str, list[Any]] = {
    "x": [None, 0.0, -0.0, NAN, 1.5],
    "f": [None, 0.0, -0.0, NAN, 1.5],
    "n": [None, 0, 2**53, 2**53 + 1],
    "s": [None, "", "a"],
    "b": [None, True, False],
    "raw": [None, b"", b"\0"],
    "day": [None, 0, 1],
}
KEY = st.tuples(st.integers(0, 3), st.sampled_from([None, "", "p"]), st.sampled_from([None, "m"]))
VALUES = st.fixed_dictionaries({name: st.sampled_from(cells) for name, cells in CELLS.items()})
ROWS = st.dictionaries(KEY, VALUES, max_size=8)
Rows = dict[tuple[Any, ...], dict[str, Any]]


def table_of(rows: Rows, *, cuts: int = 1) -> pa.Table:
    """Rows by their keys as a table of so many chunks."""
    lists: dict[str, list[Any]] = {name: [] for name in SCHEMA}
    for key, values in rows.items():
        cells = [*key, *(values[name] for name in CELLS)]
        for name, cell in zip(SCHEMA, cells, strict=True):
            lists[name].append(cell)
    whole = pa.table({name: pa.array(lists[name], kind) for name, kind in SCHEMA.items()})
    step = -(-len(whole) // cuts) or 1
    parts = [whole.slice(at, step) for at in range(0, len(whole), step)]
    return pa.concat_tables(parts) if parts else whole


def exact(cell: Any) -> Any:
    """A cell by its bits."""
    return struct.pack("d", cell) if isinstance(cell, float) else cell


def bits(rows: Rows) -> list[Any]:
    """Rows by the bits of their cells."""
    return [(key, [exact(values[name]) for name in CELLS]) for key, values in rows.items()]


@given(rows=ROWS, held=ROWS, cuts=st.integers(1, 3))
def test_new_rows_are_those_that_are_not_there_just_so(rows: Rows, held: Rows, cuts: int) -> None:
    """A row is left out only if its time, its device and every bit of its cells are held."""
    known = dict(bits(held))
    wanted = {key: rows[key] for key, row in bits(rows) if known.get(key) != row}
    new, gone = compare(table_of(rows, cuts=cuts), table_of(held, cuts=cuts), n_keys=KEYS)
    assert repr(new.to_pylist()) == repr(table_of(wanted).to_pylist())
    left = {key: values for key, values in held.items() if key not in rows}
    assert repr(gone.to_pylist()) == repr(table_of(left).to_pylist())
    assert together(table_of(rows), gone).num_rows == len({*rows, *held})


@given(rows=ROWS)
def test_nothing_is_new_twice(rows: Rows) -> None:
    """Rows that are held as they are, in another order, are not new; without any, all are."""
    backwards = dict(reversed(rows.items()))
    new, gone = compare(table_of(rows), table_of(backwards), n_keys=KEYS)
    assert (new.num_rows, gone.num_rows) == (0, 0)
    assert compare(table_of(rows), table_of({}), n_keys=KEYS)[0].num_rows == len(rows)


def times(**columns: Any) -> pa.Table:
    """Two rows of a device."""
    return pa.table({"time": pa.array([1, 2], pa.timestamp("ms")), **columns})


@pytest.mark.parametrize(
    ("rows", "held", "n_new"),
    [
        (times(a=[1, 2], b=[None, 5]), times(a=[1, 2]), 1),
        (times(a=[1, 2]), times(a=[1, 2], b=[None, 5]), 1),
        (times(a=[1, 2], b=pa.array([None, None], pa.string())), times(a=[1, 2]), 0),
        (times(a=[1.0, 2.0]), times(a=[1, 2]), 2),
    ],
)
def test_columns_that_come_and_go(rows: pa.Table, held: pa.Table, n_new: int) -> None:
    """A column that only one has is null in the other; of another type, all of it changed."""
    assert compare(rows, held, n_keys=0)[0].num_rows == n_new


def test_other_keys_make_all_rows_new() -> None:
    """Where rows were of one device and are now of several, nothing can be compared."""
    rows = times(device=["x", "y"], a=[1, 2])
    new, gone = compare(rows, times(a=[1, 2]), n_keys=1)
    assert (new.num_rows, gone.num_rows) == (2, 0)


def test_rows_that_are_gone_stay_known() -> None:
    """Columns that rows lack are null beside those that have them; of other types none is kept."""
    gone = times(a=[1, 2], b=["x", "y"])
    assert together(times(a=[3, 4]), gone).to_pydict()["b"] == [None, None, "x", "y"]
    assert together(times(a=[3.0, 4.0]), gone).num_rows == 2
    assert together(times(c=[3, 4]), gone.slice(0, 0)).column_names == ["time", "c"]
