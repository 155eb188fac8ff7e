"""`read(where=…)`: the rows that pandas would pick, picked by the server, in both models."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from iotdb_frames.client.connection import Connection
from iotdb_frames.errors import OptionsError, QueryError
from iotdb_frames.reads.read import read
from iotdb_frames.writes.writer import write

BIG = 2**53 + 1
Both = tuple[str, str]


def readings() -> pd.DataFrame:
    """Rows with a column of each kind, values that look like SQL or patterns, and missing ones."""
    texts = ["a", "b", None, "a*", "o'q\"", "NULL", "", "abc"]
    n = len(texts)
    return pd.DataFrame(
        {
            "temp": [1.0, 2.5, np.nan, 4.0, -2.5, 1e300, 0.1, 2.0],
            "n": pd.array([BIG, BIG - 1, 3, None, -5, 6, 7, 8], "Int64"),
            "f": np.linspace(0, 0.7, n).astype(np.float32),
            "ok": pd.array([True, False, None, True, False, True, True, False], "boolean"),
            "s": pd.Series(texts, dtype=object).array,
            "at": pd.to_datetime(["2024-01-01", None, *["2024-01-02"] * (n - 2)]),
            "day": [dt.date(2024, 1, i + 1) for i in range(n)],
            "raw": [b"a", b"", None, b"*", b"'", b"b", b"c", b"d"],
        },
        index=pd.date_range("2024-03-01", periods=n, freq="1min", unit="ms", name="time"),
    )


@pytest.fixture(scope="module")
def both(connection: Connection, shared_database: str) -> Both:
    """A device and a table, without tags, of the same rows."""
    targets = f"root.{shared_database}.where", f"{shared_database}.wheres"
    for target in targets:
        write(readings(), target, connection=connection)
    return targets


Mask = Callable[[pd.DataFrame], Any]


@pytest.mark.parametrize(
    ("where", "mask"),
    [
        ({}, lambda f: f.n.notna() | True),
        ({"temp": 2.5}, lambda f: f.temp == 2.5),
        ({"temp": -2.5}, lambda f: f.temp == -2.5),
        ({"temp": ("=", 2)}, lambda f: f.temp == 2),
        ({"temp": (">", 2)}, lambda f: f.temp > 2),
        ({"temp": [(">", 1), ("<=", 4)]}, lambda f: f.temp.between(1, 4, inclusive="right")),
        ({"temp": ("!=", 2.5)}, lambda f: (f.temp != 2.5) & f.temp.notna()),
        ({"temp": None}, lambda f: f.temp.isna()),
        ({"temp": ("=", pd.NA)}, lambda f: f.temp.isna()),
        ({"temp": ("!=", None)}, lambda f: f.temp.notna()),
        ({"n": BIG}, lambda f: f.n.eq(BIG).fillna(False)),
        ({"n": ("<", np.int64(BIG - 1))}, lambda f: f.n.lt(BIG - 1).fillna(False)),
        ({"n": ("<", -4.5)}, lambda f: f.n.lt(-4.5).fillna(False)),
        ({"n": [BIG, -5]}, lambda f: f.n.isin([BIG, -5])),
        ({"f": np.float32(0.1)}, lambda f: f.f == np.float32(0.1)),
        ({"ok": True}, lambda f: f.ok.fillna(False)),
        ({"ok": np.False_}, lambda f: ~f.ok.fillna(True)),
        ({"s": "a*"}, lambda f: f.s == "a*"),
        ({"s": "o'q\""}, lambda f: f.s == "o'q\""),
        ({"s": "NULL"}, lambda f: f.s == "NULL"),
        ({"s": ""}, lambda f: f.s == ""),
        ({"s": ["a*", "b", None]}, lambda f: f.s.isin(["a*", "b"]) | f.s.isna()),
        ({"s": {"a"}}, lambda f: f.s == "a"),
        ({"s": pd.Series(["a", "abc"])}, lambda f: f.s.isin(["a", "abc"])),
        ({"s": ("!=", ["a*", "b"])}, lambda f: ~f.s.isin(["a*", "b"]) & f.s.notna()),
        ({"s": ("!=", ["a", None])}, lambda f: (f.s != "a") & f.s.notna()),
        ({"s": (">=", "b")}, lambda f: f.s.fillna("") >= "b"),
        ({"at": pd.Timestamp("2024-01-01")}, lambda f: f["at"] == "2024-01-01"),
        ({"at": (">", np.datetime64("2024-01-01"))}, lambda f: f["at"] > "2024-01-01"),
        ({"day": dt.date(2024, 1, 3)}, lambda f: f.day == dt.date(2024, 1, 3)),
        (
            {"day": [dt.date(2024, 1, 3), dt.date(2024, 1, 5)]},
            lambda f: f.day.isin([dt.date(2024, 1, 3), dt.date(2024, 1, 5)]),
        ),
        ({"raw": b"*"}, lambda f: f.raw == b"*"),
        ({"temp": (">", 0), "s": None}, lambda f: (f.temp > 0) & f.s.isna()),
        ({"temp": (">", 0), "s": ["a", "b"]}, lambda f: (f.temp > 0) & f.s.isin(["a", "b"])),
    ],
)
def test_conditions_pick_the_rows_that_pandas_does(
    where: dict[str, Any], mask: Mask, connection: Connection, both: Both
) -> None:
    """A condition of any type and operator picks the same rows in both models as pandas here."""
    for target in both:
        every = read(target, connection=connection)
        wanted = every[np.asarray(mask(readings()), bool)]
        assert_frame_equal(read(target, where=where, connection=connection), wanted)
        some = read(target, where=where, columns=["n", "f"], connection=connection)
        assert_frame_equal(some, wanted[["n", "f"]])


def test_the_server_picks_before_it_limits_and_aggregates(
    connection: Connection, both: Both
) -> None:
    """Conditions hold of the rows that are counted, and that windows are made of."""
    for target in both:
        found = read(target, where={"temp": (">", 2)}, limit=2, connection=connection)
        assert found["temp"].tolist() == [2.5, 4.0]
        for fill in (None, "previous"):
            found = read(
                target,
                columns=["f"],
                where={"ok": True, "temp": ("!=", None)},
                every="4min",
                agg="count",
                fill=fill,
                connection=connection,
            )
            assert found["f"].tolist() == [2, 2]
        chunks = read(target, where={"ok": False}, chunk_rows=2, connection=connection)
        assert [len(chunk) for chunk in chunks] == [2, 1]


def test_tags_and_attributes(connection: Connection, table: str) -> None:
    """A condition on a tag means that text alone; a missing tag is None."""
    frame = readings()[["temp"]].assign(
        machine=["a*", "ab", None, "", "b", "b", "c", "d"], site=[*"xxxxyyyy"]
    )
    write(frame, table, tags=["machine"], attributes=["site"], connection=connection)
    for where, machines in (
        ({"machine": "a*"}, ["a*"]),
        ({"Machine": ["a*", "c"]}, ["a*", "c"]),
        ({"machine": ("!=", "a*")}, ["", "ab", "b", "b", "c", "d"]),
        ({"machine": None}, [None]),
        ({"machine": ["", None]}, ["", None]),
        ({"site": "y", "machine": (">", "b")}, ["c", "d"]),
    ):
        found = read(table, where=where, connection=connection)["machine"]
        assert found.astype(object).where(found.notna(), None).tolist() == machines


def test_devices_that_lack_a_column(connection: Connection, device: str) -> None:
    """A device that lacks a column is read with missing values, and meets `None` there alone."""
    frame = readings()[["temp", "n"]]
    write(frame, f"{device}.full", connection=connection)
    write(frame[["n"]], f"{device}.half", connection=connection)
    wanted = ["full", "half"]
    for options in ({}, {"every": "1min", "agg": "last"}):
        found = read(f"{device}.**", columns=["temp", "n"], connection=connection, **options)
        assert found["device"].unique().tolist() == wanted
        assert found.loc[found["device"] == "half", "temp"].isna().all()
        assert found["n"].sum() == 2 * frame["n"].sum()

        def devices(where: dict[str, Any], options: dict[str, Any] = options) -> list[str]:
            found = read(f"{device}.**", where=where, connection=connection, **options)
            return list(found["device"].unique())

        assert devices({"temp": (">", 0)}) == ["full"]
        assert devices({"temp": ("!=", None)}) == ["full"]
        assert devices({"temp": None}) == wanted
        assert devices({"temp": None, "n": (">", 3)}) == ["half"]
        assert devices({"temp": [None, 2.0]}) == wanted


def test_devices_are_chosen_as_tags_are(connection: Connection, device: str, table: str) -> None:
    """Where a column names each row's device, a condition on it chooses devices, in both models."""
    frame = pd.concat(
        [readings()[["temp", "n"]].assign(m=name) for name in ("a", "b.c", "`x y`", "d")]
    )
    write(frame, device, device="m", connection=connection)
    write(frame, table, tags=["m"], connection=connection)
    for wanted in ("a", ["a"], ["d", "b.c"], {"`x y`"}, np.array(["a", "d", "a"], object)):
        for target, options in ((device, {"device": "m"}), (f"{device}.**", {"device": "m"})):
            where = {"m": wanted, "n": (">", 2)}
            tree = read(target, where=where, connection=connection, **options)
            tagged = read(table, where=where, connection=connection)
            columns = ["m", "temp", "n"]
            assert_frame_equal(in_order(tree)[columns], in_order(tagged)[columns])
    some = {"every": "1min", "agg": "sum", "connection": connection}
    found = read(device, where={"device": ["a", "d"]}, **some)
    assert found["device"].unique().tolist() == ["a", "d"]
    wide = read(device, where={"device": "d"}, wide=True, connection=connection)
    assert wide.columns.get_level_values(0).unique().tolist() == ["d"]
    for bad in (5, [], ["a", 5], "a*", (">", "a")):
        with pytest.raises(OptionsError, match=r"where= of 'device'|empty list"):
            read(device, where={"device": bad}, connection=connection)
    with pytest.raises(QueryError, match="nobody"):
        read(device, where={"device": "nobody"}, connection=connection)


def in_order(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows by device, then time."""
    return frame.sort_values("m", kind="stable")


def test_a_condition_on_what_is_not_there(connection: Connection, both: Both, device: str) -> None:
    """A column that no device has is named; the tree model says that it has no tags."""
    write(readings()[["temp"]], f"{device}.d", connection=connection)
    tree, table = both
    for columns in (None, ["temp"]):
        for target in (tree, f"{device}.**"):
            for name in ("machine", "Temp", *["device"] * (target == tree)):
                with pytest.raises(QueryError, match=f"has no '{name}'") as caught:
                    read(target, where={name: "a"}, columns=columns, connection=connection)
                assert "no tags" in str(caught.value.hint)
        with pytest.raises(QueryError, match="has no 'machine'"):
            read(table, where={"machine": "a"}, columns=columns, connection=connection)
        for target in both:
            with pytest.raises((QueryError, OptionsError), match="'time'") as caught:
                read(target, where={"time": 5}, columns=columns, connection=connection)
            assert "start=" in str(caught.value.hint)


@pytest.mark.parametrize(
    "where",
    [
        5,
        "temp > 5",
        [("temp", ">", 5)],
        {5: 1},
        {"": 1},
        {"temp": ("~", 1)},
        {"temp": (">", 1, 2)},
        {"temp": (">",)},
        {"temp": [(">", 1), 5]},
        {"temp": (">", [1])},
        {"temp": (">", None)},
        {"temp": []},
        {"temp": np.nan},
        {"temp": [1.0, np.inf]},
        {"temp": 2**63},
        {"temp": 1j},
        {"temp": (["="], 1)},
        {"temp": pd.Timedelta("1s")},
    ],
)
def test_conditions_that_are_not_valid(where: Any, connection: Connection, both: Both) -> None:
    """What is not a condition is refused before anything is read."""
    for target in both:
        with pytest.raises(OptionsError, match="where="):
            read(target, where=where, connection=connection)
    with pytest.raises(OptionsError, match="twice"):
        read(both[1], where={"temp": 1, "TEMP": 2}, connection=connection)
