"""Names and values in SQL: each quoted by its kind, so that no value becomes a statement."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest

from iotdb_frames.codec.quotes import quote_identifier, quote_path_node
from iotdb_frames.codec.sql import Identifier, exact, literal, one_of
from iotdb_frames.errors import OptionsError

Model = Literal["tree", "table"]


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
    """A value without an SQL literal is refused."""
    with pytest.raises(OptionsError):
        written(value)


@pytest.mark.parametrize(
    ("texts", "condition"),
    [
        (["a"], "(c IN ('a'))"),
        (["a", None], "(c IN ('a') OR c IS NULL)"),
        ([None], "(c IS NULL)"),
        (["a*", "b"], "(replace(c, '*', '*') IN ('a*', 'b'))"),
    ],
)
def test_one_of_some_texts(texts: list[str | None], condition: str) -> None:
    """A column is compared with texts as they are, and with nothing by IS NULL."""
    assert one_of("c", texts) == condition


def test_exact_texts() -> None:
    """A text with a star is written by way of a function where that is asked for, in lists, too."""
    texts = literal(["a", "b*"], model="table", to_tick=to_tick, is_exact=True)
    assert texts == "('a', " + exact("'b*'") + ")"
