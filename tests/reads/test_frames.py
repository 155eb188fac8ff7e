"""Arrow becomes pandas in the normal form: the type decides the dtype, the values never do."""

from __future__ import annotations

import datetime as dt
import io
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pandas.testing import assert_frame_equal

from iotdb_frames.errors import FrameError, OptionsError
from iotdb_frames.reads.frames import to_pandas

COLUMNS: dict[str, tuple[pa.DataType, list[Any]]] = {
    "boolean": (pa.bool_(), [True, None, False]),
    "int32": (pa.int32(), [1, None, -(1 << 31)]),
    "int64": (pa.int64(), [(1 << 62) + 1, None, -(1 << 63)]),
    "float": (pa.float32(), [0.5, None, float("inf")]),
    "double": (pa.float64(), [0.1, None, -0.0]),
    "text": (pa.string(), ["a", None, ""]),
    "stamp": (pa.timestamp("us"), [dt.datetime(2024, 1, 1), None, dt.datetime(1969, 1, 1)]),
    "date": (pa.date32(), [dt.date(2024, 2, 29), None, dt.date(1, 1, 1)]),
    "blob": (pa.binary(), [b"\0", None, b""]),
}
DTYPES = {
    "boolean": "boolean",
    "int32": "Int32",
    "int64": "Int64",
    "float": "float32",
    "double": "float64",
    "stamp": "datetime64[us]",
    "date": "date32[day][pyarrow]",
    "blob": "binary[pyarrow]",
}


def table_of(rows: slice, *, n_chunks: int = 1) -> pa.Table:
    """Some rows of all columns, in so many chunks."""
    whole = pa.table({name: pa.array(values, kind) for name, (kind, values) in COLUMNS.items()})
    part = whole.slice(*rows.indices(3)[:1], len(range(*rows.indices(3))))
    return pa.concat_tables([part] * n_chunks)


def frame_of(table: pa.Table, **options: Any) -> pd.DataFrame:
    """The table as a frame without an index of times."""
    return to_pandas(table, index=None, **{"time_zone": "UTC", **options})


@pytest.mark.parametrize("rows", [slice(0, 3), slice(0, 1), slice(1, 2), slice(0, 0)])
@pytest.mark.parametrize("n_chunks", [1, 3])
def test_dtypes_follow_types(rows: slice, n_chunks: int) -> None:
    """With nulls, without, with nothing else, or without rows, the dtypes are the same."""
    frame = frame_of(table_of(rows, n_chunks=n_chunks))
    dtypes = frame.dtypes.astype(str).to_dict()
    assert isinstance(frame["text"].dtype, pd.StringDtype)
    assert np.isnan(frame["text"].dtype.na_value)
    del dtypes["text"]
    assert dtypes == DTYPES


@pytest.mark.parametrize("backend", [None, "numpy_nullable", "pyarrow"])
@pytest.mark.parametrize("rows", [slice(0, 3), slice(1, 3), slice(2, 3)])
def test_values_are_exact(backend: Any, rows: slice) -> None:
    """Each cell equals what Arrow held, also in slices, whose buffers begin elsewhere."""
    table = table_of(rows, n_chunks=2)
    frame = frame_of(table, dtype_backend=backend)
    for name in COLUMNS:
        cells = [None if pd.isna(cell) else cell for cell in frame[name].tolist()]
        if name == "stamp":
            cells = [cell if cell is None else pd.Timestamp(cell) for cell in cells]
        assert cells == table.column(name).to_pylist(), name


def test_arrow_dtypes_for_all() -> None:
    """`dtype_backend="pyarrow"` gives each column its Arrow type."""
    table = table_of(slice(0, 3))
    frame = frame_of(table, dtype_backend="pyarrow")
    assert [dtype.pyarrow_dtype for dtype in frame.dtypes] == table.schema.types


@pytest.mark.parametrize("backend", ["numpy_nullable", "pyarrow"])
@pytest.mark.parametrize("rows", [slice(0, 3), slice(0, 1), slice(1, 2), slice(0, 0)])
@pytest.mark.parametrize("n_chunks", [1, 3])
def test_backends_of_pandas_are_those_of_its_readers(
    backend: Any, rows: slice, n_chunks: int
) -> None:
    """Under pandas' own words a frame is what `pandas.read_parquet` makes of the same columns."""
    table = table_of(rows, n_chunks=n_chunks)
    file = io.BytesIO()
    pq.write_table(table, file)
    assert_frame_equal(
        frame_of(table, dtype_backend=backend), pd.read_parquet(file, dtype_backend=backend)
    )


@pytest.mark.parametrize("backend", ["numpy_nullable", "pyarrow"])
@pytest.mark.parametrize("kind", [pa.float32(), pa.float64()])
def test_a_stored_nan_is_not_a_missing_value(backend: Any, kind: pa.DataType) -> None:
    """Where floats can be missing without being NaN, a stored NaN stays one."""
    table = pa.table({"x": pa.array([1.5, None, float("nan")], kind)})
    frame = frame_of(table, dtype_backend=backend)
    assert frame["x"].isna().tolist() == [False, True, False]
    assert repr(frame["x"].tolist()) == "[1.5, <NA>, nan]"


def test_plain_numpy_where_it_is_exact() -> None:
    """`dtype_backend="numpy"` gives numpy dtypes, and times and dates as datetime64."""
    frame = frame_of(table_of(slice(0, 1)), dtype_backend="numpy")
    assert frame.dtypes.astype(str).to_dict() == {
        "boolean": "bool",
        "int32": "int32",
        "int64": "int64",
        "float": "float32",
        "double": "float64",
        "text": "object",
        "stamp": "datetime64[us]",
        "date": "datetime64[s]",
        "blob": "object",
    }
    assert frame["date"].tolist() == [pd.Timestamp("2024-02-29")]
    assert frame["int64"].tolist() == [(1 << 62) + 1]


@pytest.mark.parametrize("name", ["boolean", "int32", "int64"])
def test_numpy_has_no_place_for_nulls(name: str) -> None:
    """A missing integer or boolean is refused by its column and row, never made a float."""
    with pytest.raises(FrameError, match=name) as caught:
        frame_of(table_of(slice(0, 3)).select([name]), dtype_backend="numpy")
    assert (caught.value.column, caught.value.row) == (name, 1)


def test_numpy_has_a_place_for_other_nulls() -> None:
    """Missing floats are NaN, times and dates NaT, texts and bytes None."""
    names = ["float", "double", "text", "stamp", "date", "blob"]
    frame = frame_of(table_of(slice(1, 2)).select(names), dtype_backend="numpy")
    assert frame.isna().to_numpy().all()


@pytest.mark.parametrize("backend", [None, "numpy_nullable", "numpy"])
@pytest.mark.parametrize("n_chunks", [1, 2])
def test_a_frame_can_be_edited(backend: Any, n_chunks: int) -> None:
    """The arrays are the frame's own: writing into it works, and changes no Arrow table."""
    table = table_of(slice(0, 1), n_chunks=n_chunks).select(["int64", "double", "boolean"])
    before = table.to_pydict()
    frame = frame_of(table, dtype_backend=backend)
    frame.loc[0, "int64"] = 5
    frame.loc[0, "double"] = 5.0
    frame.loc[0, "boolean"] = False
    assert frame.iloc[0].tolist() == [5, 5.0, False]
    assert table.to_pydict() == before


def test_the_index() -> None:
    """The times become a DatetimeIndex called ``time``, in the server's unit, naive."""
    table = pa.table({"t": pa.array([0, 1], pa.timestamp("ns")), "x": [1.0, 2.0]})
    frame = to_pandas(table, index=0, time_zone="UTC")
    index = pd.DatetimeIndex(np.array([0, 1], "M8[ns]"), name="time")
    assert_frame_equal(frame, pd.DataFrame({"x": [1.0, 2.0]}, index=index))
    assert frame.index.dtype == "datetime64[ns]"


@pytest.mark.parametrize("backend", [None, "numpy_nullable", "pyarrow"])
def test_zones(backend: Any) -> None:
    """Naive times are those of the connection's zone, summer time included; `tz=` makes zoned."""
    utc = pd.to_datetime(["2024-01-01 12:00", "2024-07-01 12:00", "2080-07-01 12:00"])
    table = pa.table(
        {"t": pa.array(utc, pa.timestamp("ms")), "x": pa.array(utc, pa.timestamp("ms"))}
    )
    local = ["2024-01-01 13:00", "2024-07-01 14:00", "2080-07-01 14:00"]
    naive = to_pandas(table, index=0, time_zone="Europe/Berlin", dtype_backend=backend)
    assert naive.index.tz is None
    assert naive.index.tolist() == naive["x"].tolist() == [pd.Timestamp(x) for x in local]
    zoned = to_pandas(
        table, index=0, time_zone="Europe/Berlin", tz="Asia/Tokyo", dtype_backend=backend
    )
    assert str(zoned.index.tz) == "Asia/Tokyo"
    assert (pd.DatetimeIndex(zoned["x"]) == zoned.index).all()
    assert (zoned.index.tz_convert(None) == utc).all()


def test_labels_twice() -> None:
    """Columns of one label stay two columns."""
    table = pa.Table.from_arrays([pa.array([1.0]), pa.array(["a"])], ["x", "x"])
    frame = frame_of(table)
    assert frame.columns.tolist() == ["x", "x"]
    assert frame.iloc[0].tolist() == [1.0, "a"]


def test_no_columns() -> None:
    """A table of times alone is a frame without columns, and as long."""
    table = pa.table({"t": pa.array([0, 1], pa.timestamp("ms"))})
    assert to_pandas(table, index=0, time_zone="UTC").shape == (2, 0)


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
@pytest.mark.parametrize("tick", [(1 << 63) - 1, -(1 << 63) + 1])
def test_extreme_times(unit: str, tick: int) -> None:
    """The earliest and the last time there is come back, in every unit."""
    table = pa.table(
        {"t": pa.array([tick], pa.timestamp(unit)), "x": pa.array([tick], pa.timestamp(unit))}
    )
    frame = to_pandas(table, index=0, time_zone="UTC")
    assert frame.index.asi8.tolist() == [tick]
    assert frame["x"].to_numpy().view("i8").tolist() == [tick]


def test_the_time_that_pandas_takes_for_missing() -> None:
    """The smallest tick is NaT to pandas: it is refused rather than lost."""
    table = pa.table({"x": pa.array([-(1 << 63)], pa.timestamp("ms"))})
    with pytest.raises(FrameError, match="'x'"):
        frame_of(table)
    assert frame_of(table, dtype_backend="pyarrow").shape == (1, 1)


def test_times_a_zone_does_not_know() -> None:
    """A time outside the years a zone knows is refused; in UTC it can be read."""
    table = pa.table({"x": pa.array([1 << 60], pa.timestamp("ms"))})
    with pytest.raises(FrameError, match="Europe/Berlin"):
        frame_of(table, time_zone="Europe/Berlin")
    assert frame_of(table, time_zone="Europe/Berlin", tz="UTC")["x"].dt.tz is not None


@pytest.mark.parametrize("backend", [None, "numpy_nullable", "numpy", "pyarrow"])
@pytest.mark.parametrize(("tick", "zone"), [(1, "Asia/Kolkata"), (-1, "America/New_York")])
def test_times_that_a_zone_would_lead_out_of_int64(tick: int, zone: str, backend: Any) -> None:
    """Local times of the last nanoseconds there are cannot be held: refused by column and row."""
    ticks = [None, 0, tick * ((1 << 63) - 1)]
    table = pa.table({"x": pa.array(ticks, pa.timestamp("ns"))})
    with pytest.raises(FrameError, match=zone) as caught:
        frame_of(table, time_zone=zone, dtype_backend=backend)
    assert (caught.value.column, caught.value.row) == ("x", 2)
    utc = frame_of(table, time_zone=zone, tz="UTC", dtype_backend=backend)
    assert utc["x"].isna().tolist() == [True, False, False]


@pytest.mark.parametrize("backend", ["polars", "", pd.NA, np.array(["numpy"]), ["numpy"], 5, True])
def test_unknown_backends(backend: Any) -> None:
    """Another dtype backend is refused."""
    with pytest.raises(OptionsError, match="dtype_backend="):
        frame_of(table_of(slice(0, 1)), dtype_backend=backend)


@pytest.mark.parametrize(
    "zone", ["Mars/Base", "", 5, pd.NA, b"UTC", ["UTC"], dt.timezone(dt.timedelta(hours=2))]
)
def test_unknown_zones(zone: Any) -> None:
    """A zone that is not known, or has no name, is refused."""
    with pytest.raises(OptionsError, match="tz="):
        frame_of(table_of(slice(0, 1)), tz=zone)


@pytest.mark.parametrize("backend", [None, "numpy_nullable", "pyarrow"])
def test_zones_as_objects(backend: Any) -> None:
    """A tzinfo that has a name is the zone of that name."""
    for zone, name in ((ZoneInfo("Asia/Tokyo"), "Asia/Tokyo"), (dt.UTC, "UTC")):
        found = frame_of(table_of(slice(0, 3)), tz=zone, dtype_backend=backend)
        assert_frame_equal(found, frame_of(table_of(slice(0, 3)), tz=name, dtype_backend=backend))
