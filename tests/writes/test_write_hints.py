"""Hints of writes: what a hint says, done, stores the values that were meant."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from iotdb_frames.client.connection import Connection
from iotdb_frames.errors import FrameError
from iotdb_frames.options import ConnectionOptions
from iotdb_frames.reads.read import read
from iotdb_frames.reads.sql import read_sql
from iotdb_frames.server import LocalServer
from iotdb_frames.writes.writer import write

ZONE = "Asia/Shanghai"
HOUR = 3_600_000
MARCH = 1_709_251_200_000  # 2024-03-01 in UTC
INDEX = pd.DatetimeIndex(np.array([MARCH, MARCH + 1], "M8[ms]"), tz="UTC")
Done = Callable[[pd.DataFrame], "pd.DataFrame | tuple[pd.DataFrame, dict[str, Any]]"]


@dataclass(frozen=True)
class Case:
    """A write that is refused.

    frame, options : of it
    says : what must be in the hint
    done : the frame after doing so, and what changes in the options
    stored : (time, values …) of the rows that the server then shows, in its own order
    model : "tree", or "table" with a tag
    """

    frame: pd.DataFrame
    says: str
    done: Done
    stored: list[tuple[Any, ...]]
    options: dict[str, Any] = field(default_factory=dict)
    model: str = "tree"


def indexed(index: Any, **columns: Any) -> pd.DataFrame:
    """A frame with this index, and a column `v` of 1.0, 2.0 … where no other is given."""
    return pd.DataFrame(columns or {"v": np.arange(1.0, len(index) + 1)}, index=index)


def valued(*values: Any, dtype: Any = None) -> pd.DataFrame:
    """A frame with the column `a`."""
    return indexed(INDEX, a=pd.Series(values, dtype=dtype, index=INDEX))


def tagged(*values: Any, dtype: Any = None) -> pd.DataFrame:
    """Rows with the column `g` to tell devices apart."""
    return indexed(INDEX, g=pd.Series(values, dtype=dtype, index=INDEX), v=[1.0, 2.0])


STAMPS = [pd.Timestamp("2024-03-01 08:00"), pd.Timestamp("2024-03-01 09:00")]
AT_ZERO = [(MARCH, 1.0), (MARCH + HOUR, 2.0)]
FINE = pd.DatetimeIndex(np.array([MARCH * 1000 + 1, MARCH * 1000 + 1001], "M8[us]"), tz="UTC")
FALL_BACK = pd.DatetimeIndex(["2024-10-27 02:30"])
CASES = {
    "naive times as objects": Case(
        indexed(pd.Index(STAMPS, dtype=object)),
        "pd.to_datetime(df.index)",
        lambda df: df.set_axis(pd.to_datetime(df.index)),
        AT_ZERO,
    ),
    "naive times as objects of a column": Case(
        pd.DataFrame({"t": pd.Series(STAMPS, dtype=object), "v": [1.0, 2.0]}),
        "pd.to_datetime(df['t'])",
        lambda df: df.assign(t=pd.to_datetime(df["t"])),
        AT_ZERO,
        {"time": "t"},
    ),
    "zoned times as objects": Case(
        indexed(pd.Index([t.tz_localize(ZONE) for t in STAMPS], dtype=object)),
        "pd.to_datetime(df.index, utc=True)",
        lambda df: df.set_axis(pd.to_datetime(df.index, utc=True)),
        AT_ZERO,
    ),
    "texts of a column": Case(
        pd.DataFrame({"date": ["2024-03-01 08:00", "2024-03-01 09:00"], "v": [1.0, 2.0]}),
        "pd.to_datetime(df['date'])",
        lambda df: df.assign(date=pd.to_datetime(df["date"])),
        AT_ZERO,
        {"time": "date"},
    ),
    "texts as the index": Case(
        indexed(["2024-03-01 08:00", "2024-03-01 09:00"]),
        "pd.to_datetime(df.index)",
        lambda df: df.set_axis(pd.to_datetime(df.index)),
        AT_ZERO,
    ),
    "row numbers beside a column of times": Case(
        pd.DataFrame({"seen": INDEX, "v": [1.0, 2.0]}),
        "time='seen'",
        lambda df: (df, {"time": "seen"}),
        [(MARCH, 1.0), (MARCH + 1, 2.0)],
    ),
    "fine times": Case(
        indexed(FINE),
        'df.index.floor("ms")',
        lambda df: df.set_axis(df.index.floor("ms")),
        [(MARCH, 1.0), (MARCH + 1, 2.0)],
    ),
    "fine times of a column": Case(
        pd.DataFrame({"t": FINE, "v": [1.0, 2.0]}),
        "df['t'].dt.floor(\"ms\")",
        lambda df: df.assign(t=df["t"].dt.floor("ms")),
        [(MARCH, 1.0), (MARCH + 1, 2.0)],
        {"time": "t"},
    ),
    "fine integer times": Case(
        indexed(pd.Index([MARCH * 1000 + 1, MARCH * 1000 + 1001])),
        "df.index // 1000 * 1000",
        lambda df: df.set_axis(df.index // 1000 * 1000),
        [(MARCH, 1.0), (MARCH + 1, 2.0)],
        {"time_unit": "us"},
    ),
    "missing times": Case(
        indexed(pd.DatetimeIndex([INDEX[0], pd.NaT])),
        "df[df.index.notna()]",
        lambda df: df[df.index.notna()],
        [(MARCH, 1.0)],
    ),
    "missing times of a column": Case(
        pd.DataFrame({"t": [pd.NaT, INDEX[0]], "v": [1.0, 2.0]}),
        "df.dropna(subset=['t'])",
        lambda df: df.dropna(subset=["t"]),
        [(MARCH, 2.0)],
        {"time": "t"},
    ),
    "integers without a unit": Case(
        indexed(pd.Index([MARCH, MARCH + 1])),
        "time_unit='ms'",
        lambda df: (df, {"time_unit": "ms"}),
        [(MARCH, 1.0), (MARCH + 1, 2.0)],
    ),
    "times with a unit": Case(
        indexed(INDEX),
        "time_unit= is for times that are numbers: leave it out",
        lambda df: (df, {"time_unit": None}),
        [(MARCH, 1.0), (MARCH + 1, 2.0)],
        {"time_unit": "ms"},
    ),
    "periods as the index": Case(
        indexed(pd.period_range("2024-03-01 08:00", periods=2, freq="h")),
        "df.index.to_timestamp()",
        lambda df: df.set_axis(df.index.to_timestamp()),
        AT_ZERO,
    ),
    "timedeltas": Case(
        valued(pd.Timedelta("1.5s"), pd.NaT),
        "pd.to_timedelta(df[column]).dt.total_seconds()",
        lambda df: df.assign(a=pd.to_timedelta(df["a"]).dt.total_seconds()),
        [(MARCH, 1.5)],
    ),
    "timedeltas as objects": Case(
        valued(None, dt.timedelta(seconds=2), dtype=object),
        "pd.to_timedelta(df[column]).dt.total_seconds()",
        lambda df: df.assign(a=pd.to_timedelta(df["a"]).dt.total_seconds()),
        [(MARCH + 1, 2.0)],
    ),
    "complex numbers": Case(
        valued(1 + 2j, 3 - 4j),
        "np.real(z) and np.imag(z)",
        lambda df: df.assign(
            a=np.real(df["a"].astype("complex128")), b=np.imag(df["a"].astype("complex128"))
        ),
        [(MARCH, 1.0, 2.0), (MARCH + 1, 3.0, -4.0)],
    ),
    "periods": Case(
        valued(*pd.period_range("2024-03-01", periods=2, freq="D")),
        "df[column].dt.to_timestamp()",
        lambda df: df.assign(a=df["a"].dt.to_timestamp()),
        [(MARCH, MARCH - 8 * HOUR), (MARCH + 1, MARCH + 16 * HOUR)],
    ),
    "intervals": Case(
        valued(*pd.interval_range(0, 2)),
        "df[column].array.left and df[column].array.right",
        lambda df: df.assign(a=df["a"].array.left, b=df["a"].array.right),
        [(MARCH, 0, 1), (MARCH + 1, 1, 2)],
    ),
    "times of day": Case(
        valued(dt.time(1, 2, 3), None, dtype=object),
        'df[column].astype("string")',
        lambda df: df.assign(a=df["a"].astype("string")),
        [(MARCH, "01:02:03")],
    ),
    "integers over 64 bits": Case(
        valued(2**70, None, dtype=object),
        'df[column].astype("string")',
        lambda df: df.assign(a=df["a"].astype("string")),
        [(MARCH, str(2**70))],
    ),
    "unsigned integers as text": Case(
        valued(2**63, 1, dtype="uint64"),
        "df['a'].astype(\"string\")",
        lambda df: df.assign(a=df["a"].astype("string")),
        [(MARCH, str(2**63)), (MARCH + 1, "1")],
    ),
    "unsigned integers, rounded": Case(
        valued(2**63, 1, dtype="uint64"),
        'schema={\'a\': "DOUBLE"}, coerce="lossy"',
        lambda df: (df, {"schema": {"a": "DOUBLE"}, "coerce": "lossy"}),
        [(MARCH, 2.0**63), (MARCH + 1, 1.0)],
    ),
    "inexact numbers": Case(
        valued(0.1, 0.5),
        'coerce="lossy" to lose precision',
        lambda df: (df, {"coerce": "lossy"}),
        [(MARCH, float(np.float32(0.1))), (MARCH + 1, 0.5)],
        {"schema": {"a": "FLOAT"}},
    ),
    "numbers out of range": Case(
        valued(3e9, 5.0),
        "df['a'].where(…)",
        lambda df: df.assign(a=df["a"].where(df["a"] < 1e9)),
        [(MARCH + 1, 5)],
        {"schema": {"a": "INT32"}},
    ),
    "decimals beyond Arrow's": Case(
        valued(Decimal("Infinity"), Decimal("0.5"), dtype=object),
        'df[column].astype("float64")',
        lambda df: df.assign(a=df["a"].astype("float64")),
        [(MARCH, float("inf")), (MARCH + 1, 0.5)],
    ),
    "fine times among objects": Case(
        valued(dt.datetime(2024, 3, 1, 8, 0, 0, 1), None, dtype=object),
        "pd.to_datetime(df['a']).dt.floor(\"ms\")",
        lambda df: df.assign(a=pd.to_datetime(df["a"]).dt.floor("ms")),
        [(MARCH, MARCH)],
    ),
    "a time of day in a DATE": Case(
        valued(*STAMPS),
        "df['a'].dt.normalize()",
        lambda df: df.assign(a=df["a"].dt.normalize()),
        [(MARCH, dt.date(2024, 3, 1)), (MARCH + 1, dt.date(2024, 3, 1))],
        {"schema": {"a": "DATE"}},
    ),
    "zoned times in a DATE": Case(
        valued(*(t.normalize().tz_localize(ZONE) for t in STAMPS)),
        "df['a'].dt.tz_localize(None)",
        lambda df: df.assign(a=df["a"].dt.tz_localize(None)),
        [(MARCH, dt.date(2024, 3, 1)), (MARCH + 1, dt.date(2024, 3, 1))],
        {"schema": {"a": "DATE"}},
    ),
    "labels that are not text": Case(
        indexed(INDEX).set_axis([7], axis=1),
        "df.columns = df.columns.map(str)",
        lambda df: df.set_axis(df.columns.map(str), axis=1),
        [(MARCH, 1.0), (MARCH + 1, 2.0)],
    ),
    "integer devices": Case(
        tagged(7, None, dtype="Int64"),
        "df['g'].astype(\"string\")",
        lambda df: df.assign(g=df["g"].astype("string")).dropna(subset=["g"]),
        [(MARCH, "`7`", 1.0)],
        {"device": "g"},
    ),
    "rows without a device": Case(
        tagged("x", None, dtype=object),
        "df.dropna(subset=['g'])",
        lambda df: df.dropna(subset=["g"]),
        [(MARCH, "x", 1.0)],
        {"device": "g"},
    ),
    "integer tags": Case(
        tagged(7, None, dtype="Int64"),
        "df['g'].astype(\"string\")",
        lambda df: df.assign(g=df["g"].astype("string")),
        [(MARCH, "7", 1.0), (MARCH + 1, None, 2.0)],
        {"tags": ["g"]},
        "table",
    ),
    "float tags": Case(
        tagged(7.0, None),
        'df[\'g\'].astype("Int64").astype("string")',
        lambda df: df.assign(g=df["g"].astype("Int64").astype("string")),
        [(MARCH, "7", 1.0), (MARCH + 1, None, 2.0)],
        {"tags": ["g"]},
        "table",
    ),
    "tags of bytes": Case(
        tagged("ü".encode(), None, dtype=object),
        "df['g'].str.decode(\"utf-8\")",
        lambda df: df.assign(g=df["g"].str.decode("utf-8")),
        [(MARCH, "ü", 1.0), (MARCH + 1, None, 2.0)],
        {"tags": ["g"]},
        "table",
    ),
    "rows that overwrite each other": Case(
        pd.DataFrame({"g": ["x", "y"], "v": [1.0, 2.0]}, index=INDEX[[0, 0]]),
        'device="g"',
        lambda df: (df, {"device": "g"}),
        [(MARCH, "x", 1.0), (MARCH, "y", 2.0)],
    ),
    "fields that repeat a tag": Case(
        pd.DataFrame({"g": ["x", "y"], "v": [1.0, 2.0]}, index=INDEX[[0, 0]]),
        'tags=[…, "g"]',
        lambda df: (df, {"tags": ["g"]}),
        [(MARCH, "x", 1.0), (MARCH, "y", 2.0)],
        model="table",
    ),
}


@pytest.fixture(scope="module")
def shanghai(server: LocalServer) -> Iterator[Connection]:
    """A connection in a zone that is not the server's."""
    options = server.options
    chosen = ConnectionOptions(
        hosts=options.hosts, user=options.user, password=options.password, time_zone=ZONE
    )
    with Connection(lambda: chosen, label="shanghai") as connection:
        yield connection


def rows(connection: Connection, target: str, case: Case) -> list[tuple[Any, ...]]:
    """What the server has: times as ticks, then the device or tag, then the values."""
    has_devices = case.model == "tree" and case.stored and isinstance(case.stored[0][1], str)
    below = ".**" if has_devices and "g" in case.frame else ""
    found = read(f"{target}{below}", dtype_backend="pyarrow", tz="UTC", connection=connection)
    out = [tuple(map(plain, row)) for row in found.reset_index().itertuples(index=False)]
    return sorted(out, key=str)


def plain(value: Any) -> Any:
    """A value as Python has it; a time as its tick in milliseconds."""
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, pd.Timestamp):
        return value.tz_convert("UTC").value // 10**6 if value.tz else value.value // 10**6
    return value


@pytest.mark.parametrize("case", CASES)
def test_what_a_hint_says_stores_what_was_meant(
    shanghai: Connection, device: str, table: str, case: str
) -> None:
    """Each refused write says what to do, and that done, the server has the right values."""
    here = CASES[case]
    target = device if here.model == "tree" else table
    with pytest.raises(FrameError) as caught:
        write(here.frame, target, connection=shanghai, **here.options)
    assert here.says in (caught.value.hint or "")
    done = here.done(here.frame)
    frame, more = done if isinstance(done, tuple) else (done, {})
    write(frame, target, connection=shanghai, **{**here.options, **more})
    assert rows(shanghai, target, here) == sorted(here.stored, key=str)


def test_times_that_a_zone_has_twice(server: LocalServer, device: str) -> None:
    """The hint for a time that exists twice, or never, leads to the one that is meant."""
    options = server.options
    chosen = ConnectionOptions(
        hosts=options.hosts,
        user=options.user,
        password=options.password,
        time_zone="Europe/Berlin",
    )
    with Connection(lambda: chosen, label="berlin") as connection:
        for index, meant in (
            (FALL_BACK, pd.Timestamp("2024-10-27 01:30", tz="UTC")),
            (pd.DatetimeIndex(["2024-03-31 02:30"]), pd.Timestamp("2024-03-31 01:00", tz="UTC")),
        ):
            frame = indexed(index)
            with pytest.raises(FrameError) as caught:
                write(frame, device, connection=connection)
            assert caught.value.hint == (
                "give the times their zone: df.index.tz_localize('Europe/Berlin', "
                "ambiguous=…, nonexistent=…)"
            )
            zoned = index.tz_localize(
                "Europe/Berlin", ambiguous=np.array([False]), nonexistent="shift_forward"
            )
            write(frame.set_axis(zoned), device, connection=connection)
            found = read_sql(
                f"SELECT v FROM {device} WHERE time = :t",
                params={"t": meant},
                connection=connection,
            )
            assert len(found) == 1


def test_the_hint_for_an_alias_names_the_measurement(connection: Connection, device: str) -> None:
    """A column that is a series' alias is to be renamed to its name, as a label spells it."""
    frame = pd.DataFrame({"a b": [1.0, 2.0]}, index=INDEX)
    write(frame, device, aligned=False, connection=connection)
    sql = f"ALTER TIMESERIES {device}.`a b` UPSERT ALIAS=`c d`"
    connection.run(lambda session: session.execute(sql), model="tree")
    renamed = frame.rename(columns={"a b": "c d"})
    with pytest.raises(FrameError) as caught:
        write(renamed, device, connection=connection)
    assert caught.value.hint == "rename the column to 'a b'"
    write(renamed.rename(columns={"c d": "a b"}) * 2, device, connection=connection)
    found = read_sql(f"SELECT `a b` FROM {device}", connection=connection)
    assert found.iloc[:, 0].tolist() == [2.0, 4.0]


@pytest.mark.parametrize("model", ["tree", "table"])
def test_the_hint_for_another_type_in_schema(
    connection: Connection, device: str, table: str, model: str
) -> None:
    """schema= cannot change a series' type; without it the values are stored in the type it has."""
    target = device if model == "tree" else table
    write(pd.DataFrame({"a": [1, 2]}, index=INDEX), target, connection=connection)
    later = pd.DataFrame({"a": [3, 4]}, index=INDEX)
    with pytest.raises(FrameError) as caught:
        write(later, target, schema={"a": "DOUBLE"}, connection=connection)
    assert (caught.value.hint or "").startswith("leave it out of schema=: a series keeps its type")
    assert write(later, target, connection=connection).points == 2
