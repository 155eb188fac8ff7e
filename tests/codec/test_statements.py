"""What a statement does is told by its words, wherever comments, parentheses and quotes stand."""

from __future__ import annotations

import pytest

from iotdb_frames.codec.statements import check_query, check_session, is_query
from iotdb_frames.errors import OptionsError


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT a FROM t",
        " \n\tselect a from t",
        "-- SELECT\n/* DROP */ ((SELECT a FROM t) UNION (SELECT a FROM u))",
        "WITH q AS (SELECT a FROM t) SELECT a FROM q",
        "SHOW TABLES",
        "DESC t",
        "describe t",
        "LIST USER",
        "COUNT DEVICES FROM t",
        "EXPLAIN SELECT a FROM t",
        "EXPLAIN ANALYZE VERBOSE (SELECT a FROM t)",
        "SELECT 'a INTO b', \"into\" FROM t -- INTO c",
    ],
)
def test_queries(sql: str) -> None:
    """A statement that only reads is a query."""
    assert is_query(sql, model="table")
    check_query(sql, model="table")


@pytest.mark.parametrize(
    ("sql", "named"),
    [
        ("DROP TABLE t", "DROP TABLE"),
        ("-- SELECT\nDROP TABLE t", "DROP TABLE"),
        ("/* SELECT */ (DELETE FROM t)", "DELETE FROM"),
        ("INSERT INTO t SELECT a FROM u", "INSERT INTO"),
        ("SELECT a INTO root.b(c) FROM root.d", "INTO"),
        ("EXPLAIN ANALYZE DELETE FROM t", "EXPLAIN ANALYZE"),
        ("EXPLAIN EXECUTE q", "EXPLAIN EXECUTE"),
        ("EXPLAIN", "EXPLAIN"),
        ("CALL INFERENCE(m, 'SELECT')", "CALL INFERENCE"),
        ("FLUSH", "FLUSH"),
        ("'SELECT'", "this"),
    ],
)
def test_what_is_no_query(sql: str, named: str) -> None:
    """What changes data, and what is unknown, is refused as a query and sent to `execute`."""
    assert not is_query(sql, model="table")
    with pytest.raises(OptionsError, match=named) as caught:
        check_query(sql, model="table")
    assert "iotf.execute" in (caught.value.hint or "")


def test_names_of_paths_are_no_words() -> None:
    """A node of a path, and a quoted name, may be called like a word of the grammar."""
    assert is_query("SELECT a.into, `into` FROM root.into.drop", model="tree")


@pytest.mark.parametrize(
    ("sql", "remedy"),
    [
        ("USE b", "database.table"),
        ("/* c */ use b", "database.table"),
        ("SET SQL_DIALECT = tree", "model="),
        ("set\nsql_dialect=table", "model="),
        ("PREPARE q FROM SELECT 1", "params="),
        ("EXECUTE IMMEDIATE 'USE b'", "params="),
    ],
)
def test_what_changes_a_session(sql: str, remedy: str) -> None:
    """A statement that changes its session is refused with what to do in its place."""
    with pytest.raises(OptionsError) as caught:
        check_session(sql, model="table")
    assert remedy in (caught.value.hint or "")


@pytest.mark.parametrize("sql", ["SET CONFIGURATION \"a\"='b'", "SELECT use FROM t", "FLUSH"])
def test_what_leaves_a_session_as_it_is(sql: str) -> None:
    """Any other statement is sent."""
    check_session(sql, model="table")
