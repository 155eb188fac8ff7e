"""Windows without gaps equal what pandas makes of them, group by group."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iotdb_frames.errors import OptionsError
from iotdb_frames.reads.grid import fill_windows

EVERY, FIRST, N_WINDOWS = 10, -20, 6

CELLS = st.tuples(
    st.none() | st.floats(allow_nan=False, allow_infinity=False, width=16),
    st.none() | st.integers(-(1 << 62), 1 << 62),
    st.none() | st.text(max_size=2),
)
GROUPS = st.dictionaries(
    st.tuples(st.none() | st.sampled_from(["", "a"]), st.none() | st.sampled_from(["b", "c"])),
    st.dictionaries(st.integers(0, N_WINDOWS - 1), CELLS, min_size=1),
)


def table_of(groups: dict[Any, dict[int, Any]]) -> pa.Table:
    """Rows of the groups, one behind the other."""
    rows = [
        (FIRST + EVERY * window, *key, *cells)
        for key, windows in groups.items()
        for window, cells in sorted(windows.items())
    ]
    types = [pa.timestamp("ms"), *[pa.string()] * 2, pa.float64(), pa.int64(), pa.string()]
    columns = list(zip(*rows, strict=True)) if rows else [[]] * 6
    return pa.table(
        {
            name: pa.array(values, kind)
            for name, values, kind in zip("tghxns", columns, types, strict=True)
        }
    )


def filled(table: pa.Table, fill: Any) -> pa.Table:
    """Every window of every group."""
    found = fill_windows(
        table, keys=[1, 2], first=FIRST, every=EVERY, n_windows=N_WINDOWS, fill=fill
    )
    assert found.schema == table.schema
    found.validate(full=True)
    return found


@given(GROUPS, st.sampled_from(["previous", 5]))
def test_filled_group_by_group(groups: dict[Any, dict[int, Any]], fill: Any) -> None:
    """Each group has every window; a hole has the group's last value before it, or the constant."""
    names = ["n", "s"] if fill == "previous" else ["x", "n"]
    found = filled(table_of(groups).select([*"tgh", *names]), fill)
    wanted = []
    for key, windows in groups.items():
        last = dict.fromkeys(names, None if fill == "previous" else fill)
        for window in range(N_WINDOWS):
            cells = dict(zip("xns", windows.get(window, (None,) * 3), strict=True))
            row = {name: last[name] if cells[name] is None else cells[name] for name in names}
            if fill == "previous":
                last = row
            wanted.append((FIRST + EVERY * window, *key, *row.values()))
    ticks = found.column(0).cast(pa.int64()).to_pylist()
    cells = [column.to_pylist() for column in found.columns[1:]]
    assert list(zip(ticks, *cells, strict=True)) == wanted


@given(GROUPS)
def test_linear(groups: dict[Any, dict[int, Any]]) -> None:
    """Between two values stands their line, as numpy draws it; outside stands nothing."""
    table = table_of(groups).select([*"tghx"])
    found = filled(table, "linear").column(3)
    for i, windows in enumerate(groups.values()):
        known = {w: cells[0] for w, cells in windows.items() if cells[0] is not None}
        places = np.arange(N_WINDOWS)
        wanted = np.full(N_WINDOWS, np.nan)
        if known:
            at = sorted(known)
            wanted = np.interp(places, at, [known[w] for w in at], left=np.nan, right=np.nan)
        part = found.slice(i * N_WINDOWS, N_WINDOWS).to_pandas().to_numpy()
        np.testing.assert_allclose(part, wanted, rtol=1e-12, atol=1e-9)


def test_known_values_stay_exact() -> None:
    """A value that is there is never recomputed."""
    table = table_of({("a", "b"): {0: (0.1, 1, "x"), 3: (0.3, 2, "y"), 5: (0.7, 3, "z")}})
    found = fill_windows(
        table.select([*"tghx"]), keys=[1, 2], first=FIRST, every=EVERY, n_windows=6, fill="linear"
    )
    column = found.column(3).to_pylist()
    assert [column[i] for i in (0, 3, 5)] == [0.1, 0.3, 0.7]


def test_integers_have_no_line() -> None:
    """Linear filling of anything but floats is refused by column, never rounded."""
    table = table_of({("a", "b"): {0: (0.1, 1, "x")}})
    with pytest.raises(OptionsError, match="'n'"):
        filled(table, "linear")


@pytest.mark.parametrize(
    ("column", "fill"),
    [
        *(("x", fill) for fill in ("text", pd.NA, None, [1.0], 1 << 70)),
        *(("n", fill) for fill in (1.5, 1 << 70, 1 << 63, True, float("nan"), "1", np.array([1]))),
        *(("s", fill) for fill in (5, pd.NA, "a\ud800")),
    ],
)
def test_a_constant_that_does_not_fit(column: str, fill: Any) -> None:
    """A constant that a column's type cannot hold exactly is refused by column, never cut."""
    table = table_of({("a", "b"): {0: (0.1, 1, "x")}})
    with pytest.raises(OptionsError, match=f"'{column}'"):
        filled(table.select([*"tgh", column]), fill)


@pytest.mark.parametrize(("column", "fill"), [("n", 2.0), ("n", np.int8(2)), ("x", 2), ("s", "2")])
def test_a_constant_of_another_type_that_fits(column: str, fill: Any) -> None:
    """A whole float stands for its integer, and the other way round."""
    table = table_of({("a", "b"): {0: (2.0, 2, "2")}}).select([*"tgh", column])
    assert set(filled(table, fill).column(3).to_pylist()) == {table.column(3)[0].as_py()}


def test_no_rows() -> None:
    """No group, no windows; the types stay."""
    assert fill_windows(
        table_of({}), keys=[1, 2], first=0, every=1, n_windows=5, fill="previous"
    ).equals(table_of({}))
