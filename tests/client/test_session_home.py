"""A session means the URL's database, wherever tablets went and whether it was there or not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pandas as pd
import pytest

import iotdb_frames as iotf
from iotdb_frames.client.connection import Connection
from iotdb_frames.server import LocalServer

INDEX = pd.date_range("2024-03-01", periods=3, freq="1s", name="time")


def frame(value: int) -> pd.DataFrame:
    """Three rows of a value."""
    return pd.DataFrame({"n": [value] * 3}, INDEX)


@pytest.fixture
def at_home(server: LocalServer, database: str) -> Iterator[Connection]:
    """A connection with one session, whose URL names `database`, beside a database ``elsewhere``.

    Both have a table ``t``.
    """
    options = replace(server.options, database=database, pool_size=1)
    with Connection(lambda: options, label=server.url) as connection:
        iotf.execute("CREATE DATABASE IF NOT EXISTS elsewhere", connection=connection)
        iotf.write(frame(1), f"{database}.t", connection=connection)
        iotf.write(frame(2), "elsewhere.t", connection=connection)
        yield connection
        iotf.execute("DROP DATABASE elsewhere", connection=connection)


def test_tables_without_a_database(at_home: Connection) -> None:
    """After a write to another database a bare name is still a table of the URL's."""
    found = iotf.read_sql("SELECT time, n FROM t", connection=at_home)
    assert found["n"].tolist() == [1, 1, 1]
    assert iotf.read("t", connection=at_home)["n"].tolist() == [1, 1, 1]
    iotf.execute("DELETE FROM t WHERE time <= 1709251200000", connection=at_home)
    left = [len(iotf.read(name, connection=at_home)) for name in ("t", "elsewhere.t")]
    assert left == [2, 3]


def test_a_url_without_a_database(server: LocalServer, at_home: Connection) -> None:
    """After a write a bare name is the table of no database, as it was before."""
    options = replace(server.options, pool_size=1)
    with Connection(lambda: options, label=server.url) as connection:
        iotf.write(frame(3), "elsewhere.t", connection=connection)
        with pytest.raises(iotf.QueryError, match=r"atabase .*specified"):
            iotf.execute("DELETE FROM t", model="table", connection=connection)
        iotf.write(frame(4), "elsewhere.t", connection=connection)
        assert iotf.read("elsewhere.t", connection=connection)["n"].tolist() == [4, 4, 4]


def test_the_database_of_a_url_may_be_made_later(server: LocalServer) -> None:
    """The first write makes the URL's database, and the sessions that were open are in it."""
    options = replace(server.options, database="made_later", pool_size=1)
    with Connection(lambda: options, label=server.url) as connection:
        assert connection.version
        with pytest.raises(iotf.QueryError):
            iotf.read_sql("SELECT n FROM t", connection=connection)
        try:
            iotf.write(frame(5), "t", connection=connection)
            found = iotf.read_sql("SELECT time, n FROM t", connection=connection)
            assert found["n"].tolist() == [5, 5, 5]
        finally:
            iotf.execute("DROP DATABASE IF EXISTS made_later", connection=connection)


def test_a_database_that_goes_away(at_home: Connection, database: str) -> None:
    """Where the URL's database is gone, a bare name never means the one that was written to."""
    iotf.execute(f"DROP DATABASE {database}", connection=at_home)
    try:
        iotf.write(frame(2), "elsewhere.t", connection=at_home)
        with pytest.raises(iotf.QueryError):
            iotf.execute("DELETE FROM t", connection=at_home)
        assert len(iotf.read("elsewhere.t", connection=at_home)) == 3
    finally:
        iotf.execute(f"CREATE DATABASE {database}", connection=at_home)


@pytest.mark.parametrize("sql", ["USE elsewhere", "SET SQL_DIALECT=tree"])
def test_what_moves_a_session_is_refused(at_home: Connection, sql: str) -> None:
    """USE and SET SQL_DIALECT are refused, and the session stays where it is."""
    with pytest.raises(iotf.OptionsError, match="changes a single session"):
        iotf.execute(sql, connection=at_home)
    assert iotf.read_sql("SELECT n FROM t", connection=at_home)["n"].tolist() == [1, 1, 1]
