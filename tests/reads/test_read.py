"""What was written comes back: every shape, both models, and windows like pandas' own."""

from __future__ import annotations

import datetime as dt
import io
import json
import pickle
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pandas.testing import assert_frame_equal, assert_series_equal

from dtypes import TEXT_DTYPE
from iotdb_frames.client.connection import Connection
from iotdb_frames.errors import IoTDBFramesError, OptionsError, QueryError
from iotdb_frames.reads.read import read
from iotdb_frames.reads.sql import execute, read_sql
from iotdb_frames.server import LocalServer
from iotdb_frames.writes.writer import write

STAMP = "2024-03-30 20:00"


def times(n_rows: int, *, freq: str = "1min") -> pd.DatetimeIndex:
    """Times in ms, called ``time``."""
    return pd.date_range(STAMP, periods=n_rows, freq=freq, unit="ms", name="time")._with_freq(None)


def sensors(n_rows: int = 100, *, seed: int = 0) -> pd.DataFrame:
    """A device's rows in the normal form, columns by name, every row with a value."""
    rng = np.random.default_rng(seed)
    state = pd.Series(rng.choice(["on", "off", "ü"], n_rows), dtype=object).mask(
        rng.random(n_rows) < 0.3
    )
    return pd.DataFrame(
        {
            "count": pd.array(rng.integers(0, 1 << 62, n_rows), "Int64"),
            "ok": pd.array(rng.random(n_rows) < 0.5, "boolean"),
            "state": state.astype(TEXT_DTYPE).array,
            "temp": np.where(rng.random(n_rows) < 0.2, np.nan, rng.normal(20, 5, n_rows)),
        },
        index=times(n_rows),
    )


def long(n_devices: int = 5, n_rows: int = 40) -> pd.DataFrame:
    """Rows of several devices, device by device."""
    parts = [sensors(n_rows, seed=i).assign(device=f"line{i % 2}.m{i}") for i in range(n_devices)]
    frame = pd.concat(sorted(parts, key=lambda part: part["device"].iloc[0]))
    frame["device"] = frame["device"].astype(TEXT_DTYPE)
    return frame[["device", "count", "ok", "state", "temp"]]


def test_a_device(connection: Connection, database: str) -> None:
    """A frame written to a device comes back as it was: index, dtypes and nulls included."""
    frame = sensors()
    target = f"root.{database}.d"
    write(frame, target, connection=connection)
    found = read(target, connection=connection)
    assert_frame_equal(found, frame)
    assert found.attrs["iotdb"] == {
        "target": target,
        "types": {"count": "INT64", "ok": "BOOLEAN", "state": "STRING", "temp": "DOUBLE"},
        "precision": "ms",
    }


def test_devices_below_a_prefix(connection: Connection, database: str) -> None:
    """Rows of many devices come back with the column that named them, and can be written again."""
    frame = long()
    target = f"root.{database}"
    write(frame, target, device="device", connection=connection)
    for name in (target, f"{target}.**"):
        assert_frame_equal(read(name, connection=connection), frame)
    found = read(target, device="machine", connection=connection)
    assert_frame_equal(found, frame.rename(columns={"device": "machine"}))
    assert found.attrs["iotdb"]["device"] == "machine"
    write(found.assign(temp=1.5), target, device="machine", connection=connection)
    assert (read(target, connection=connection)["temp"] == 1.5).all()
    below = read(f"{target}.line1", connection=connection)
    assert below["device"].unique().tolist() == ["m1", "m3"]
    assert_frame_equal(read(f"{target}.line1.*", connection=connection), below)


def test_wide(connection: Connection, database: str) -> None:
    """`wide=True` gives columns (device, measurement), and what is written so comes back so."""
    frame = pd.concat({"a": sensors(30, seed=1), "b.c": sensors(30, seed=2)}, axis=1)
    frame.columns.names = ["device", "measurement"]
    frame.iloc[5:, 4:] = None
    target = f"root.{database}"
    write(frame, target, connection=connection)
    found = read(target, wide=True, connection=connection)
    assert_frame_equal(found, frame)
    assert_frame_equal(read(target, wide=True, limit=7, connection=connection), frame.iloc[:7])


def test_a_table(connection: Connection, database: str) -> None:
    """A table comes back with its tags, in the order it was made, rows by tags and time."""
    frame = long().reset_index()
    frame[["line", "machine"]] = frame.pop("device").str.split(".", expand=True).astype(TEXT_DTYPE)
    frame = frame[["time", "line", "machine", "temp", "state", "ok", "count"]].set_index("time")
    target = f"{database}.press"
    write(
        frame.sample(frac=1, random_state=0),
        target,
        tags=["line", "machine"],
        connection=connection,
    )
    found = read(target, connection=connection)
    assert_frame_equal(found, frame)
    claims = found.attrs["iotdb"]
    assert (claims["target"], claims["tags"], claims["attributes"]) == (
        target,
        ["line", "machine"],
        [],
    )
    write(found.assign(temp=2.5), target, tags=claims["tags"], connection=connection)
    assert (read(target, connection=connection)["temp"] == 2.5).all()


def test_tags_that_are_missing_or_empty(connection: Connection, database: str) -> None:
    """A missing tag and an empty one are two devices, and come back as two."""
    frame = pd.DataFrame(
        {"tag": pd.array([None, "", "a"], dtype=object), "v": [1.0, 2.0, 3.0]},
        index=times(1).repeat(3),
    )
    write(frame, f"{database}.t", tags=["tag"], connection=connection)
    found = read(f"{database}.t", connection=connection)
    assert {
        None if pd.isna(k) else k: v for k, v in zip(found["tag"], found["v"], strict=True)
    } == {
        None: 1.0,
        "": 2.0,
        "a": 3.0,
    }


def test_attributes(connection: Connection, database: str) -> None:
    """Attributes come back as columns, and the frame says which they are."""
    frame = pd.DataFrame(
        {"tag": ["a", "b"], "maker": ["x", "y"], "v": [1.0, 2.0]}, index=times(1).repeat(2)
    )
    target = f"{database}.t"
    write(frame, target, tags=["tag"], attributes=["maker"], connection=connection)
    found = read(target, connection=connection)
    assert found.to_dict("list") == frame.to_dict("list")
    assert found.attrs["iotdb"]["attributes"] == ["maker"]


@pytest.mark.parametrize("model", ["tree", "table"])
def test_parts(connection: Connection, database: str, model: str) -> None:
    """`columns`, `start`, `end` and `limit` give that part, columns in the order asked for."""
    frame = sensors()
    target = f"root.{database}.d" if model == "tree" else f"{database}.t"
    write(frame, target, connection=connection)
    start, end = frame.index[10], frame.index[20]
    for first, behind in (
        (start, end),
        (str(start), end.isoformat()),
        (start.to_pydatetime(), end),
    ):
        found = read(target, start=first, end=behind, connection=connection)
        assert_frame_equal(found[frame.columns], frame.iloc[10:20])
    ticks = frame.index.asi8
    found = read(target, start=int(ticks[90]), limit=np.int64(5), connection=connection)
    assert found.index.equals(frame.index[90:95])
    found = read(target, columns=["temp", "count"], connection=connection)
    assert_frame_equal(found, frame[["temp", "count"]])
    nothing = read(target, start="2030-01-01", connection=connection)
    assert_frame_equal(nothing[frame.columns], frame.iloc[:0])


@pytest.mark.parametrize("model", ["tree", "table"])
def test_chunks(connection: Connection, database: str, model: str) -> None:
    """Frames of so many rows are the whole frame in parts."""
    frame = sensors(95)
    target = f"root.{database}.d" if model == "tree" else f"{database}.t"
    write(frame, target, connection=connection)
    chunks = list(read(target, chunk_rows=20, connection=connection))
    assert [len(chunk) for chunk in chunks] == [20, 20, 20, 20, 15]
    assert_frame_equal(pd.concat(chunks), frame)
    assert chunks[-1].attrs["iotdb"]["target"] == target


def test_zones(server: LocalServer, database: str) -> None:
    """Times are naive in the connection's zone, written and read, unless `tz=` names another."""
    options = replace(server.options, time_zone="Europe/Berlin")
    # Around the night in which 02:00 to 03:00 is not there.
    texts = ["2024-03-31 00:30", "2024-03-31 01:59:59.999", "2024-03-31 03:00", "2024-10-27 12:00"]
    index = pd.DatetimeIndex(np.array(texts, "M8[ms]"), name="time")
    frame = pd.DataFrame({"x": pd.array(range(4), "Int64")}, index=index)
    target = f"root.{database}.d"
    with Connection(lambda: options, label="berlin") as own:
        write(frame, target, connection=own)
        assert_frame_equal(read(target, connection=own), frame)
        utc = read(target, tz="UTC", connection=own)
        assert utc.index.tolist() == frame.index.tz_localize("Europe/Berlin").tolist()
        part = read(target, start="2024-03-31 03:00", end="2024-10-27 12:00", connection=own)
        assert part["x"].tolist() == [2]


@pytest.mark.parametrize("backend", ["pyarrow", "numpy"])
def test_backends(connection: Connection, database: str, backend: Any) -> None:
    """Arrow or plain numpy dtypes can be asked for."""
    frame = sensors().drop(columns=["state"])
    write(frame, f"root.{database}.d", connection=connection)
    found = read(f"root.{database}.d", dtype_backend=backend, connection=connection)
    kinds = {"pyarrow": "int64[pyarrow]", "numpy": "int64"}
    assert str(found["count"].dtype) == kinds[backend]
    assert found["count"].tolist() == frame["count"].tolist()


EVERY_TYPE = {
    "flag": ("boolean", [True, None, False], "BOOLEAN"),
    "i32": ("Int32", [2**31 - 1, None, -(2**31)], "INT32"),
    "i64": ("Int64", [2**53 + 1, None, -(2**63)], "INT64"),
    "f32": ("Float32", [0.5, None, -0.0], "FLOAT"),
    "f64": ("Float64", [0.1, None, 5e-324], "DOUBLE"),
    "text": ("string", ["ü\n,", None, ""], "STRING"),
    "day": (object, [dt.date(9999, 12, 31), None, dt.date(1000, 1, 1)], "DATE"),
    "raw": (object, [b"\0\xff", None, b""], "BLOB"),
    "at": (
        "datetime64[ms]",
        [pd.Timestamp("2024-03-31 01:30"), None, pd.Timestamp(0)],
        "TIMESTAMP",
    ),
}
"""A column of each type: its dtype under ``numpy_nullable``, cells, IoTDB type."""


@pytest.mark.parametrize("model", ["tree", "table"])
def test_every_type_as_masked_arrays(connection: Connection, database: str, model: str) -> None:
    """Under `numpy_nullable` each type comes back exactly, nulls too, and can be written again."""
    columns = {name: pd.array(cells, dtype) for name, (dtype, cells, _) in EVERY_TYPE.items()}
    frame = pd.DataFrame({"row": pd.array([0, 1, 2], "Int32"), **columns}, index=times(3))
    first, second = (
        (f"root.{database}.d", f"root.{database}.e")
        if model == "tree"
        else (f"{database}.t", f"{database}.u")
    )
    write(frame, first, connection=connection)
    found = read(first, dtype_backend="numpy_nullable", connection=connection)
    types = {name: kind for name, (_, _, kind) in EVERY_TYPE.items()}
    assert found.attrs["iotdb"]["types"] == {"row": "INT32", **types}
    assert_frame_equal(found[frame.columns], frame)
    for name, (_, cells, _) in EVERY_TYPE.items():
        there = [None if pd.isna(cell) else cell for cell in found[name]]
        assert there == cells
    zoned = read(first, tz="Asia/Tokyo", dtype_backend="numpy_nullable", connection=connection)
    assert str(zoned["at"].dtype) == "datetime64[ms, Asia/Tokyo]"
    assert_series_equal(zoned["at"].dt.tz_convert(None), found["at"], check_index=False)
    assert zoned.index.tz_convert(None).equals(found.index)
    write(found, second, connection=connection)
    again = read(second, dtype_backend="numpy_nullable", connection=connection)
    assert_frame_equal(again, found)
    sql = f"SELECT * FROM {first}{' ORDER BY time' if model == 'table' else ''}"
    queried = read_sql(sql, model=model, dtype_backend="numpy_nullable", connection=connection)
    queried.columns = [label.rpartition(".")[2] for label in queried.columns]
    assert_frame_equal(queried[frame.columns], frame)
    chunks = read(first, dtype_backend="numpy_nullable", chunk_rows=2, connection=connection)
    assert_frame_equal(pd.concat(list(chunks))[frame.columns], frame)


def test_erased_cells(connection: Connection, database: str) -> None:
    """A frame that was read, edited and written with `replace=True` is what the database holds."""
    target = f"root.{database}.d"
    write(sensors(), target, connection=connection)
    found = read(target, connection=connection)
    found.loc[found.index[3:6], "state"] = None
    found.loc[found.index[7], "count"] = pd.NA
    write(found, target, replace=True, connection=connection)
    assert_frame_equal(read(target, connection=connection), found)


def test_what_a_frame_says_of_itself_survives(connection: Connection, database: str) -> None:
    """`attrs["iotdb"]` is plain: Parquet, pickle and JSON keep it."""
    write(sensors(), f"root.{database}.d", connection=connection)
    found = read(f"root.{database}.d", connection=connection)
    file = io.BytesIO()
    found.to_parquet(file)
    for again in (pd.read_parquet(file), pickle.loads(pickle.dumps(found))):
        assert again.attrs == found.attrs
    assert json.loads(json.dumps(found.attrs)) == found.attrs


def resampled(frame: pd.DataFrame, every: str, aggs: dict[str, str]) -> pd.DataFrame:
    """What pandas makes of the same windows, those without a value left out."""
    windows = frame[list(aggs)].resample(every, origin="epoch")
    counts = windows.count()
    found = windows.agg(aggs).astype(object)
    for name in aggs:
        found.loc[(counts[name] == 0) & (aggs[name] != "count"), name] = None
    return found[(counts > 0).any(axis=1)]


AGGS: list[dict[str, str]] = [
    {"temp": "mean"},
    {"temp": "min", "state": "last", "ok": "first"},
    {"temp": "max", "n": "sum"},
    {"temp": "std", "n": "min"},
    {"temp": "var", "n": "max"},
    {"n": "count", "temp": "count"},
]


@pytest.fixture(scope="module")
def gappy(connection: Connection) -> Iterator[pd.DataFrame]:
    """Rows with gaps, in ``root.windows.d`` and ``windows.t``."""
    frame = sensors(200).assign(n=np.arange(200))
    frame = frame[(np.arange(200) // 30) % 2 == 0]
    execute("CREATE DATABASE windows", model="table", connection=connection)
    write(frame, "root.windows.d", connection=connection)
    write(frame, "windows.t", connection=connection)
    yield frame
    execute("DROP DATABASE windows", model="table", connection=connection)
    execute("DELETE DATABASE root.windows", model="tree", connection=connection)


@pytest.mark.parametrize("every", ["7min", "90s", "1D"])
@pytest.mark.parametrize("aggs", AGGS)
def test_windows_are_those_of_pandas(
    connection: Connection, gappy: pd.DataFrame, every: str, aggs: dict[str, str]
) -> None:
    """Both models downsample in the server to what pandas gives on the rows themselves."""
    wanted = resampled(gappy, every, aggs)
    for target in ("root.windows.d", "windows.t"):
        found = read(target, every=every, agg=aggs, connection=connection)
        assert found.index.equals(wanted.index)
        for name in aggs:
            left, right = found[name].astype(object), wanted[name]
            assert left.isna().equals(right.isna()), (target, name)
            here = ~left.isna()
            if aggs[name] in ("mean", "sum", "std", "var"):
                np.testing.assert_allclose(
                    left[here].astype(float), right[here].astype(float), rtol=1e-9
                )
            else:
                assert left[here].tolist() == right[here].tolist()


@pytest.mark.parametrize("fill", ["previous", "linear", -1.5])
def test_filled_windows(connection: Connection, database: str, fill: Any) -> None:
    """`fill=` gives every window of the range, per device, alike in both models."""
    frame = long(4, 60)
    frame = frame[(np.arange(len(frame)) // 7) % 2 == 0]
    table = frame.rename(columns={"device": "machine"})
    write(frame, f"root.{database}.x", device="device", connection=connection)
    write(table, f"{database}.t", tags=["machine"], connection=connection)
    end = frame.index.max() + pd.Timedelta("90s")
    options: dict[str, Any] = {
        "every": "1min",
        "agg": "mean",
        "columns": ["temp"],
        "start": "2024-03-30 19:58:30",
        "end": end,
        "fill": fill,
    }
    tree = read(f"root.{database}.x", connection=connection, **options)
    rows = read(f"{database}.t", connection=connection, **options)
    rows = rows.rename(columns={"machine": "device"})
    assert_frame_equal(tree, rows)
    grid = pd.date_range("2024-03-30 19:58", end.floor("min"), freq="1min", unit="ms")
    for name, part in frame.groupby("device"):
        wanted = part["temp"].reindex(grid)
        if fill == "previous":
            wanted = wanted.ffill()
        elif fill == "linear":
            wanted = wanted.interpolate("time", limit_area="inside")
        else:
            wanted = wanted.fillna(fill)
        got = tree.loc[tree["device"] == name, "temp"]
        np.testing.assert_allclose(got.to_numpy(), wanted.to_numpy(), rtol=1e-12)


def test_windows_over_nothing(connection: Connection, database: str) -> None:
    """Where no row is, no window is, and the dtypes stay."""
    write(sensors(), f"root.{database}.d", connection=connection)
    write(sensors(), f"{database}.t", connection=connection)
    for target in (f"root.{database}.d", f"{database}.t"):
        for options in ({}, {"fill": "previous"}, {"end": "1990-01-01"}):
            found = read(
                target,
                columns=["count", "temp"],
                start="2031-01-01" if "end" not in options else None,
                every="1min",
                agg="max",
                connection=connection,
                **options,
            )
            assert found.shape == (0, 2)
            assert found.dtypes.astype(str).tolist() == ["Int64", "float64"]


def test_names_that_need_quotes(connection: Connection, database: str) -> None:
    """Names of any kind come back raw, in rows and in windows."""
    names = ["1e5", "PT08.S1(CO)", "a b", "a`b", "select", "ü"]
    frame = pd.DataFrame(np.arange(12.0).reshape(2, 6), columns=names, index=times(2))
    target = f"root.{database}.`x y`.`7`"
    write(frame, target, connection=connection)
    found = read(target, connection=connection)
    assert_frame_equal(found[names], frame)
    windows = read(target, every="1h", agg="max", connection=connection)
    assert windows[names].iloc[0].tolist() == frame.iloc[1].tolist()
    below = read(f"root.{database}", connection=connection)
    assert below["device"].unique().tolist() == ["`x y`.`7`"]


def test_what_is_not_there(connection: Connection, database: str) -> None:
    """Unknown paths, tables, columns are named, with what is there."""
    write(sensors(3), f"root.{database}.d", connection=connection)
    write(sensors(3), f"{database}.t", connection=connection)
    for target, options, words in (
        (f"root.{database}.nothing", {}, "no series"),
        (f"root.{database}.d", {"columns": ["temp", "humidity"]}, "humidity"),
        (
            f"root.{database}.d",
            {"columns": ["humidity"], "every": "1min", "agg": "mean"},
            "humidity",
        ),
        (f"{database}.nothing", {}, "there is no table"),
        (f"{database}.t", {"columns": ["humidity"]}, "(?s)humidity.*temp"),
    ):
        with pytest.raises(QueryError, match=words):
            read(target, connection=connection, **options)


def test_devices_that_disagree(connection: Connection, database: str) -> None:
    """A measurement of two types has no one column: the error says so, and what to do."""
    write(pd.DataFrame({"x": [1.0]}, index=times(1)), f"root.{database}.a", connection=connection)
    write(pd.DataFrame({"x": ["s"]}, index=times(1)), f"root.{database}.b", connection=connection)
    with pytest.raises(QueryError, match="different types"):
        read(f"root.{database}", connection=connection)


@pytest.mark.parametrize(
    "bad",
    [
        {"every": "1min"},
        {"agg": "mean"},
        {"fill": "linear"},
        {"every": "1min", "agg": "median"},
        {"every": "1min", "agg": {}},
        {"every": "1min", "agg": {"a": "mean"}, "columns": ["b"]},
        {"every": "abc", "agg": "mean"},
        {"every": 5, "agg": "mean"},
        {"every": "1us", "agg": "mean"},
        {"every": "-1min", "agg": "mean"},
        {"columns": "temp"},
        {"columns": []},
        {"columns": ["a", "a"]},
        {"columns": [1]},
        *({"columns": names} for names in (5, pd.NA, b"x", {"x"}, iter("x"), [None], [["x"]])),
        *({"device": label} for label in (5, "", pd.NA, ["d"])),
        *({"wide": flag} for flag in ("no", 1, None, pd.NA)),
        {"limit": -1},
        {"limit": True},
        {"chunk_rows": -1},
        {"chunk_rows": 5, "wide": True},
        {"chunk_rows": 5, "every": "1min", "agg": "mean", "fill": 0},
        {"wide": True, "device": "d"},
        {"start": "yesterday-ish"},
        {"start": "2024-01-01 00:00:00.0001"},
        {"start": 1704067000000.0},
        {"tz": "Mars/Base"},
        {"dtype_backend": "polars"},
        {"end": pd.Timedelta("1D")},
    ],
)
def test_options_that_cannot_be_meant(connection: Connection, bad: dict[str, Any]) -> None:
    """An invalid option is refused before anything is read."""
    with pytest.raises(OptionsError):
        read("root.nothing.d", connection=connection, **bad)


def test_targets_that_cannot_be_meant(connection: Connection) -> None:
    """A target of the one model takes no options of the other."""
    for target, options in (
        ("root", {}),
        ("table_without_database", {}),
        ("a.b", {"wide": True}),
        ("a.b", {"device": "d"}),
        ("a.b.*", {}),
        ("", {}),
    ):
        with pytest.raises(OptionsError):
            read(target, connection=connection, **options)


def test_means_of_text(connection: Connection, database: str) -> None:
    """An aggregate a type has not is refused by column, never a column left out."""
    write(sensors(3), f"root.{database}.d", connection=connection)
    write(sensors(3), f"{database}.t", connection=connection)
    for target in (f"root.{database}.d", f"{database}.t"):
        with pytest.raises(OptionsError, match=r"'(ok|state)'"):
            read(target, every="1min", agg="mean", connection=connection)


def test_a_column_called_as_the_devices(connection: Connection, database: str) -> None:
    """A measurement called ``device`` is not hidden: the device column needs another name."""
    write(
        pd.DataFrame({"device": [1.0]}, index=times(1)), f"root.{database}.a", connection=connection
    )
    with pytest.raises(OptionsError, match="device"):
        read(f"root.{database}", connection=connection)
    found = read(f"root.{database}", device="path", connection=connection)
    assert found.columns.tolist() == ["path", "device"]


def test_a_table_without_tags(connection: Connection, database: str) -> None:
    """A table made by hand, with names in quotes and no tag, comes back."""
    execute(
        f'CREATE TABLE {database}."my t" ("a b" DOUBLE FIELD, n INT32 FIELD)',
        model="table",
        connection=connection,
    )
    execute(
        f'INSERT INTO {database}."my t"(time, "a b", n) VALUES (5, 1.5, 2)',
        model="table",
        connection=connection,
    )
    found = read(f'{database}."my t"', connection=connection)
    assert found.to_dict("list") == {"a b": [1.5], "n": [2]}
    assert found.dtypes.astype(str).tolist() == ["float64", "Int32"]
    assert pa.array(found.index).cast(pa.int64()).to_pylist() == [5]


def test_order_and_zone_come_back(connection: Connection, database: str) -> None:
    """Columns come in the order and times in the zone that a frame's attributes tell, or a call."""
    target = f"root.{database}.d"
    made = pd.DataFrame(
        {"z": [1.5, 2.5], "a": pd.array([1, 2], "Int32"), "m": pd.array(["x", "y"], TEXT_DTYPE)},
        index=pd.DatetimeIndex(["2024-03-31 00:30", "2024-03-31 01:30"], tz="UTC", name="time")
        .tz_convert(ZoneInfo("Europe/Berlin"))  # by its name pandas 2 takes pytz
        .as_unit("ms"),
    )
    write(made, target, connection=connection)
    first = read(target, columns=list(made), tz=made.index.tz, connection=connection)
    assert_frame_equal(first, made)
    told = first.attrs["iotdb"]
    again = read(target, columns=list(told["types"]), tz=told["tz"], connection=connection)
    assert_frame_equal(again, made)
    assert list(read(target, connection=connection)) == ["a", "m", "z"]


def test_what_was_meant_is_named(connection: Connection, database: str) -> None:
    """A column, device, table, database, zone or word with a slip has a hint with the right one."""
    target, table = f"root.{database}.press1", f"{database}.press"
    frame = pd.DataFrame({"temp": [1.5]}, index=pd.DatetimeIndex(["2026-01-01"], name="time"))
    write(frame, target, connection=connection)
    write(frame.assign(machine="a"), table, tags=["machine"], connection=connection)
    every: dict[str, Any] = {"every": "1min", "agg": "mean"}
    for asked, options, meant in (
        (target, {"columns": ["tmp"]}, "temp"),
        (target, {"where": {"tmp": 1.0}}, "temp"),
        (target, {**every, "agg": {"tmp": "mean"}}, "temp"),
        (target, {**every, "fill": "linea"}, "linear"),
        (target, {**every, "agg": "men"}, "mean"),
        (target, {"tz": "Europe/Berln"}, "Europe/Berlin"),
        (target, {"returns": "pandsa"}, "pandas"),
        (f"root.{database}.pres1", {}, target),
        (f"root.{database}.**", {"columns": ["tmp"]}, "temp"),
        (table, {"columns": ["tmp"]}, "temp"),
        (table, {"where": {"machin": "a"}}, "machine"),
        (f"{database}.pres", {}, table),
        (f"{database}_.press", {}, database),
    ):
        with pytest.raises(IoTDBFramesError) as caught:
            read(asked, connection=connection, **options)  # type: ignore[arg-type]
        assert f"{meant!r}" in str(caught.value.hint), (asked, options)
