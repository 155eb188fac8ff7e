"""Names and values in SQL text: each quoted by its type, never pasted.

Both grammars escape a quote inside a quoted text by doubling it; a backslash is an ordinary
character. Only the table model has comments (``--`` and ``/* */``). A time is written as its tick,
which both models compare exactly with times and TIMESTAMP values. Source: IoTDB 2.0.10, checked
against the server.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from iotdb_frames.codec.quotes import quote_identifier, quote_path_node, quote_string
from iotdb_frames.errors import OptionsError


@dataclass(frozen=True)
class Identifier:
    """A name as a query parameter: a path node (tree model), or a column, table or database.

    Parameters
    ----------
    name : the raw name, unquoted
    """

    name: str


def exact(expression: str) -> str:
    """SQL that compares a text of the table model character by character.

    ``tag = 'a*'`` also matches the tag "ab": the server treats it as a pattern of devices, unless a
    function comes between. Source: IoTDB 2.0.10, whose DELETE FROM does not do so.
    """
    return f"replace({expression}, '*', '*')"


def one_of(column: str, texts: Sequence[str | None]) -> str:
    """The condition that a quoted column of the table model is one of `texts`; None: NULL."""
    known = [text for text in texts if text is not None]
    operand = exact(column) if any("*" in text for text in known) else column
    either = [f"{operand} IN ({', '.join(map(quote_string, known))})"] if known else []
    either += [f"{column} IS NULL"] if len(known) < len(texts) else []
    return f"({' OR '.join(either)})"


def literal(
    value: Any,
    *,
    model: Literal["tree", "table"],
    to_tick: Callable[[Any], int],
    is_exact: bool = False,
) -> str:
    """A value as SQL text.

    Parameters
    ----------
    value : None, bool, int, float, str, bytes, a time (Timestamp, datetime, datetime64), a date,
        an `Identifier`, or a list, tuple, set, array, Index or Series of them (for IN)
    to_tick : converts a time to a tick of the server
    is_exact : whether texts with a ``*`` are written as `exact` does

    Raises
    ------
    OptionsError : a value of another type, NaN or an infinity (SQL has no literals for them), an
        integer over 64 bits, or no values for IN.
    """
    if isinstance(value, Identifier):
        quote = quote_path_node if model == "tree" else quote_identifier
        return quote(value.name)
    if isinstance(value, str):
        text = quote_string(value)
        return exact(text) if is_exact and "*" in text else text
    if isinstance(value, bytes | bytearray | memoryview):
        return f"X'{bytes(value).hex()}'"
    if isinstance(value, list | tuple | set | frozenset | np.ndarray | pd.Index | pd.Series):
        if not len(value):
            raise OptionsError("a parameter must not be empty: IN () is not a valid condition")
        items = (literal(item, model=model, to_tick=to_tick, is_exact=is_exact) for item in value)
        return f"({', '.join(items)})"
    if value is None or value is pd.NA or value is pd.NaT:
        return "NULL"
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, int | np.integer):
        if not -(1 << 63) <= value < 1 << 63:
            raise OptionsError(f"{value} is not a valid 64-bit integer")
        return _signed(str(int(value)))
    if isinstance(value, float | np.floating):
        if not math.isfinite(value):
            raise OptionsError(f"SQL has no literal for {value}")
        return _signed(repr(float(value)))
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        day = quote_string(value.isoformat())
        return day if model == "tree" else f"CAST({day} AS DATE)"
    if isinstance(value, dt.datetime | np.datetime64):
        return "NULL" if pd.isna(value) else _signed(str(to_tick(value)))
    raise OptionsError(f"{type(value).__name__} cannot be a parameter of a query")


def _signed(number: str) -> str:
    # After a minus sign, "-5" would begin a comment without the space.
    return f" {number}" if number.startswith("-") else number
