"""A value means that value and no other: a ``*`` is a character in every condition."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest

import iotdb_frames as iotf
from iotdb_frames.backfills.proof.count import count_points
from iotdb_frames.backfills.proof.expect import Alike, Expected
from iotdb_frames.client.connection import Connection
from iotdb_frames.codec.names import Target

TAGS = ["a", "ab", "a*", "*", "**", "b", "", None]
FRAME = pd.DataFrame(
    {"tag": np.array(TAGS, object), "kind": ["x", "*"] * 4, "n": range(len(TAGS))},
    pd.date_range("2024-03-01", periods=len(TAGS), freq="1s", name="time"),
)


@pytest.fixture
def stars(table: str, connection: Connection) -> Iterator[str]:
    """A table with a row of each of `TAGS`."""
    iotf.write(FRAME, table, tags=["tag", "kind"], connection=connection)
    yield table
    iotf.drop(table, connection=connection)


def rows(sql: str, params: object, connection: Connection) -> list[int]:
    """The numbers of the rows that a query finds."""
    found = iotf.query(sql, params=params, model="table", connection=connection).to_arrow()  # type: ignore[arg-type]
    return sorted(found.column("n").to_pylist())


@pytest.mark.parametrize("flush", [False, True])
def test_values_of_params(stars: str, connection: Connection, flush: bool) -> None:
    """A parameter is equal to itself alone, in whichever form it is compared."""
    if flush:
        iotf.execute("FLUSH", model="table", connection=connection)
    for n, tag in enumerate(TAGS[:-1]):
        for condition, value in (
            ("tag = :t", tag),
            ("tag IN :t", [tag]),
            ("tag IN (:t)", tag),
            (":t = tag", tag),
            ("(tag) = :t", tag),
            (f"{stars}.tag = :t AND n >= 0", tag),
            ("tag = :t OR n < 0", tag),
            ("tag = :t OR tag = 'none'" if "*" in str(tag) else "tag = :t", tag),
        ):
            sql = f"SELECT n FROM {stars} WHERE {condition}"
            assert rows(sql, {"t": value}, connection) == [n], (condition, tag)
    several = rows(f"SELECT n FROM {stars} WHERE tag IN :t", {"t": ["*", "b", ""]}, connection)
    assert several == [3, 5, 6]
    others = rows(f"SELECT n FROM {stars} WHERE tag NOT IN :t", {"t": ["*", "b"]}, connection)
    assert others == [0, 1, 2, 4, 6]


@pytest.mark.parametrize("n", range(len(TAGS)))
def test_replace(stars: str, connection: Connection, n: int) -> None:
    """A write in place of one device leaves the rows of every other."""
    again = FRAME.iloc[[n]].assign(n=100)
    iotf.write(again, stars, tags=["tag", "kind"], replace=True, connection=connection)
    want = [*(i for i in range(len(TAGS)) if i != n), 100]
    assert rows(f"SELECT n FROM {stars}", None, connection) == want


def test_delete(stars: str, connection: Connection) -> None:
    """A DELETE with a parameter takes the rows of that tag."""
    sql = f"DELETE FROM {stars} WHERE tag = :t"
    iotf.execute(sql, params={"t": "a*"}, model="table", connection=connection)
    assert rows(f"SELECT n FROM {stars}", None, connection) == [0, 1, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("tags", [["*"], ["a*", "a"], ["**", None, ""]])
def test_verification(table: str, connection: Connection, tags: list[str | None]) -> None:
    """What is counted of a device is what that device has."""
    frame = FRAME.drop(columns="kind")
    iotf.write(frame, table, tags=["tag"], connection=connection)
    ticks = FRAME.index.as_unit("ms").asi8
    expected = Expected(
        (Alike(frozenset((tag,) for tag in tags), {"n": len(tags)}),),
        ("tag",),
        int(ticks[0]),
        int(ticks[-1]),
    )
    database, _, name = table.partition(".")
    target = Target("table", database=database, table=name)
    assert count_points(connection, target, expected) == {(0, "n"): len(tags)}
