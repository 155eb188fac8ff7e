"""Names and values in SQL: each quoted by its kind, so that no value becomes a statement."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iotdb_frames.codec.sql import (
    Identifier,
    bind,
    literal,
    place_names,
    quote_identifier,
    quote_path_node,
    quote_string,
)
from iotdb_frames.errors import OptionsError

Model = Literal["tree", "table"]
MODELS: tuple[Model, ...] = ("tree", "table")


def to_tick(value: Any) -> int:
    """A time as ms."""
    return int(pd.Timestamp(value).value // 1_000_000)


def written(value: Any, model: Model = "table") -> str:
    """A value as SQL."""
    return literal(value, model=model, to_tick=to_tick)


@pytest.mark.parametrize(
    ("name", "quoted"),
    [
        ("temp", "temp"),
        ("_t1", "_t1"),
        ("select", "select"),
        ("1a", "`1a`"),
        ("a b", "`a b`"),
        ("a.b", "`a.b`"),
        ("a`b", "`a``b`"),
        ("`", "````"),
        ("ü", "`ü`"),
        ("*", "`*`"),
        ("root", "`root`"),
        ("Time", "`Time`"),
        ("timestamp", "`timestamp`"),
    ],
)
def test_path_nodes(name: str, quoted: str) -> None:
    """A node is bare only where the grammar takes it so; a back-quote in it is doubled."""
    assert quote_path_node(name) == quoted


def test_names_of_the_table_model() -> None:
    """Names stand in double quotes, doubled inside."""
    assert quote_identifier('a"b; DROP TABLE t') == '"a""b; DROP TABLE t"'


@pytest.mark.parametrize("quote", [quote_path_node, quote_identifier])
def test_empty_names(quote: Any) -> None:
    """An empty name is refused."""
    with pytest.raises(OptionsError):
        quote("")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "NULL"),
        (pd.NA, "NULL"),
        (pd.NaT, "NULL"),
        (np.datetime64("NaT"), "NULL"),
        (True, "true"),
        (np.bool_(False), "false"),
        (5, "5"),
        (-5, " -5"),
        (np.int64(-(1 << 63)), " -9223372036854775808"),
        (1.5, "1.5"),
        (-1e-05, " -1e-05"),
        (np.float32(0.1), "0.10000000149011612"),
        ("it's", "'it''s'"),
        ("\\'", "'\\'''"),
        (b"\x00\xff'", "X'00ff27'"),
        (dt.datetime(1970, 1, 1, 0, 0, 1), "1000"),
        (pd.Timestamp("1969-12-31 23:59:59"), " -1000"),
        (np.datetime64("1970-01-02"), "86400000"),
        (dt.date(2024, 2, 29), "CAST('2024-02-29' AS DATE)"),
        ([1, -2], "(1,  -2)"),
        (("a'", None), "('a''', NULL)"),
        (np.array([1.0, 2.0]), "(1.0, 2.0)"),
        (pd.Series(["x"]), "('x')"),
        (Identifier('a"b'), '"a""b"'),
    ],
)
def test_values(value: Any, text: str) -> None:
    """Each type has one spelling."""
    assert written(value) == text


def test_values_of_the_tree_model() -> None:
    """Where the tree model spells otherwise, so does the literal."""
    assert written(dt.date(2024, 2, 29), "tree") == "'2024-02-29'"
    assert written(Identifier("a b"), "tree") == "`a b`"


@pytest.mark.parametrize("value", [math.nan, math.inf, 1 << 63, [], object(), {"a": 1}, 1j])
def test_values_without_a_spelling(value: Any) -> None:
    """What SQL has no word for is refused."""
    with pytest.raises(OptionsError):
        written(value)


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
    assert unquote(sql.removeprefix("SELECT ")) == value


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
        (":a", {"a": math.nan}, ":a: SQL has no word"),
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
