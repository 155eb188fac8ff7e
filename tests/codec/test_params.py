"""Values in places of a statement: no value becomes a statement, and none a pattern."""

from __future__ import annotations

import math
from typing import Any, Literal

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iotdb_frames.codec.params import bind, place_names
from iotdb_frames.codec.quotes import quote_string
from iotdb_frames.codec.sql import Identifier, exact
from iotdb_frames.errors import OptionsError

Model = Literal["tree", "table"]
MODELS: tuple[Model, ...] = ("tree", "table")


def to_tick(value: Any) -> int:
    """A time as ms."""
    return int(pd.Timestamp(value).value // 1_000_000)


ATTACKS = (
    "'; DROP DATABASE root; --",
    "\\'; DELETE FROM t; --",
    "''",
    "x' OR '1'='1",
    ":a",
    "?",
    "/*",
    "--",
    "\n--\n:a",
    "`\"'",
)


def unquote(text: str) -> str:
    """The value of a string literal that is the whole text; anything else fails."""
    assert text[0] == text[-1] == "'"
    inside = text[1:-1]
    assert "'" not in inside.replace("''", "")
    return inside.replace("''", "'")


@pytest.mark.parametrize("model", MODELS)
@given(value=st.one_of(st.sampled_from(ATTACKS), st.text()))
def test_a_text_stays_one_literal(model: Model, value: str) -> None:
    """Whatever a text holds, it stays inside its quotes and comes back."""
    sql = bind("SELECT :a", {"a": value}, model=model, to_tick=to_tick)
    text = sql.removeprefix("SELECT ")
    if model == "table" and "*" in value:
        before, _, behind = exact("|").partition("|")
        assert text.startswith(before)
        assert text.endswith(behind)
        text = text[len(before) : -len(behind)]
    assert unquote(text) == value


@pytest.mark.parametrize("model", MODELS)
@given(name=st.one_of(st.sampled_from(ATTACKS), st.text(min_size=1)))
def test_a_name_stays_one_name(model: Model, name: str) -> None:
    """Whatever a name holds, it stays inside its quotes."""
    text = bind("?", [Identifier(name)], model=model, to_tick=to_tick)
    quote = "`" if model == "tree" else '"'
    if text[0] == quote:
        assert text[-1] == quote
        assert quote not in text[1:-1].replace(quote * 2, "")
        assert text[1:-1].replace(quote * 2, quote) == name
    else:
        assert text == name
        assert name.replace("_", "a").isalnum()
        assert name.isascii()


@pytest.mark.parametrize("model", MODELS)
def test_places_in_quotes_are_text(model: Model) -> None:
    """What looks like a place inside quotes stays as it is."""
    sql = "SELECT ':a', \":a\", `:a`, 'it''s :a', :a WHERE t > 2024-01-01T00:00:00 AND b = 'c'"
    bound = bind(sql, {"a": 1}, model=model, to_tick=to_tick)
    assert bound == sql.replace(", :a WHERE", ", 1 WHERE")


@pytest.mark.parametrize("sql", ["a = ':a", 'a = ":a', "a = `:a", "a /* :a", "a = 'x'':a"])
def test_no_value_closes_what_is_open(sql: str) -> None:
    """A quote or comment that is not closed goes on to the end, whatever a value holds."""
    with pytest.raises(OptionsError, match="no place"):
        bind(sql, {"a": "' OR 1=1 */"}, model="table", to_tick=to_tick)


def test_places_in_comments_are_text() -> None:
    """The table model has comments, the tree model none."""
    sql = "SELECT a -- :a ? '\n , :a /* :a ' */"
    assert bind(sql, {"a": 1}, model="table", to_tick=to_tick) == (
        "SELECT a -- :a ? '\n , 1 /* :a ' */"
    )
    assert bind("a --:a", {"a": 1}, model="tree", to_tick=to_tick) == "a --1"


def test_places_by_position() -> None:
    """Question marks take the values in order, and leave names alone."""
    assert bind("? :a '?' ?", [1, "b"], model="tree", to_tick=to_tick) == "1 :a '?' 'b'"


def test_no_params_no_binding() -> None:
    """Without parameters a statement is sent as it is."""
    assert bind("a = :a AND b = ?", None, model="tree", to_tick=to_tick) == "a = :a AND b = ?"


@pytest.mark.parametrize(
    ("sql", "params", "words"),
    [
        (":a", {}, "no value for :a"),
        ("? ?", [1], "no value for"),
        ("?", [1, 2], "1 values"),
        (":a", {"a": 1, "b": 2, "c": 3}, "b, c"),
        (":a", {"a": math.nan}, ":a: SQL has no literal"),
        ("?", "text", "neither a mapping nor a sequence"),
        ("?", 5, "neither a mapping nor a sequence"),
    ],
)
def test_places_and_values_must_agree(sql: str, params: Any, words: str) -> None:
    """A place without a value, or a value without a place, is a mistake."""
    with pytest.raises(OptionsError, match=words):
        bind(sql, params, model="table", to_tick=to_tick)


def test_names_of_places() -> None:
    """The names a statement asks for are known before it is bound."""
    assert place_names("SELECT :a, ':b', ?, a::c, :d_1 -- :e", model="table") == {"a", "d_1"}


@given(st.text())
def test_strings_come_back(text: str) -> None:
    """A quoted string holds exactly its text."""
    assert unquote(quote_string(text)) == text


def bound(sql: str, *values: Any, model: Model = "table") -> str:
    """`sql` with values in its question marks."""
    return bind(sql, values, model=model, to_tick=to_tick)


@pytest.mark.parametrize(
    ("sql", "value", "text"),
    [
        ("SELECT n FROM t WHERE tag = ?", "a*", "replace(tag, '*', '*') = 'a*'"),
        (
            'SELECT n FROM t WHERE "x y" . "tag" = ?',
            "*",
            """replace("x y" . "tag", '*', '*') = '*'""",
        ),
        ("SELECT n FROM t WHERE tag IN ?", ["a*", "b"], "replace(tag, '*', '*') IN ('a*', 'b')"),
        ("SELECT n FROM t WHERE tag NOT IN (?)", "a*", "replace(tag, '*', '*') NOT IN ('a*')"),
        ("SELECT n FROM t WHERE ? = tag", "a*", "replace('a*', '*', '*') = tag"),
        ("SELECT n FROM t WHERE (tag) = ?", "a*", "(tag) = replace('a*', '*', '*')"),
        ("SELECT n FROM t WHERE tag LIKE ?", "a*", "tag LIKE 'a*'"),
        ("SELECT n FROM t WHERE tag <> ?", "a*", "tag <> 'a*'"),
        ("SELECT n FROM t WHERE tag >= ?", "a*", "tag >= 'a*'"),
        ("SELECT n FROM t WHERE tag = ?", "a", "tag = 'a'"),
        ("SHOW DEVICES FROM t WHERE tag = ?", "a*", "replace(tag, '*', '*') = 'a*'"),
        ("UPDATE t SET att = ? WHERE n = 1", "a*", "SET att = replace('a*', '*', '*')"),
        ("DELETE FROM t WHERE tag = ?", "a*", "tag = 'a*'"),
        ("INSERT INTO t(tag) VALUES (?)", "a*", "VALUES ('a*')"),
        ("INSERT INTO t SELECT n FROM u WHERE tag = ?", "*", "replace(tag, '*', '*') = '*'"),
    ],
)
def test_a_star_is_a_character(sql: str, value: Any, text: str) -> None:
    """A text with a star is compared as it is wherever the table model takes it for a pattern."""
    assert text in bound(sql, value)


def test_a_star_in_the_tree_model() -> None:
    """The tree model compares texts as they are."""
    assert bound("SELECT a FROM root.d WHERE a = ?", "a*", model="tree").endswith("a = 'a*'")


def test_a_star_that_stays_a_pattern() -> None:
    """Where no other form is there, a text with a star is refused."""
    with pytest.raises(OptionsError, match="pattern"):
        bound("DELETE DEVICES FROM t WHERE tag = ?", "a*")


def test_columns_in_quotes_and_comments() -> None:
    """What looks like a comparison inside quotes and comments stays text."""
    sql = "SELECT 'tag = ?' FROM t /* tag = ? */ WHERE x = ?"
    assert bound(sql, "*") == sql[:-5] + "replace(x, '*', '*') = '*'"


def test_all_places_of_a_comparison() -> None:
    """Each place of a comparison takes its own value, and tells its name."""
    sql = "SELECT n FROM t WHERE tag IN (:a, :b) AND m = :c"
    assert place_names(sql, model="table") == {"a", "b", "c"}
    assert bind(sql, {"a": "x", "b": "y", "c": 1}, model="table", to_tick=to_tick).endswith(
        "tag IN ('x', 'y') AND m = 1"
    )
