"""Names and values in SQL text: each quoted by its kind, never pasted.

Both grammars keep a quote inside a quoted text by doubling it; a backslash is a character like any
other. Only the table model has comments (``--`` and ``/* */``). A time is written as its tick,
which both compare exactly with times and TIMESTAMP values. Source: IoTDB 2.0.10, checked against
the server.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from iotdb_frames.errors import OptionsError

_BARE_NODE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RESERVED_NODES = frozenset(
    [
        "root",
        "time",
        "timestamp",
        "null",
        "true",
        "false",
        "nan",
        "ai_devices",
        "ainode",
        "exists",
        "extend",
        "if",
        "loaded",
        "path",
        "reconstruct",
        "region",
        "storage_properties",
        "type",
        "verbose",
    ]
)
"""What a SELECT takes for something else; all words of the grammar of 2.0.10 were tried."""

# What is not closed goes on to the end: a value must not close it.
_QUOTED = r"'(?:[^']|'')*(?:'|$)|\"(?:[^\"]|\"\")*(?:\"|$)|`(?:[^`]|``)*(?:`|$)"
_PLACE = r"(?P<place>\?|(?<![\w:]):(?P<name>[A-Za-z_]\w*))"
_TOKENS = {
    "tree": re.compile(f"{_QUOTED}|{_PLACE}"),
    "table": re.compile(rf"{_QUOTED}|--[^\n]*|/\*.*?(?:\*/|$)|{_PLACE}", re.DOTALL),
}


@dataclass(frozen=True)
class Identifier:
    """A name as a query parameter: of a path's node (tree model), or of a column, table, database.

    Parameters
    ----------
    name : the raw name, unquoted
    """

    name: str


def quote_path_node(name: str) -> str:
    """One node of a tree path; bare where the grammar takes it so, in back-quotes elsewhere.

    Raises
    ------
    OptionsError : an empty name.
    """
    if not name:
        raise OptionsError("a path node must not be empty")
    if _BARE_NODE.fullmatch(name) and name.lower() not in _RESERVED_NODES:
        return name
    return "`" + name.replace("`", "``") + "`"


def quote_identifier(name: str) -> str:
    """A database, table or column name of the table model, in double quotes.

    Raises
    ------
    OptionsError : an empty name.
    """
    if not name:
        raise OptionsError("a name must not be empty")
    return '"' + name.replace('"', '""') + '"'


def quote_string(text: str) -> str:
    """A string literal of either model."""
    return "'" + text.replace("'", "''") + "'"


def literal(value: Any, *, model: Literal["tree", "table"], to_tick: Callable[[Any], int]) -> str:
    """A value as SQL text.

    Parameters
    ----------
    value : None, bool, int, float, str, bytes, a time (Timestamp, datetime, datetime64), a date,
        an `Identifier`, or a list, tuple, set, array, Index or Series of them (for IN)
    to_tick : makes a time a tick of the server

    Raises
    ------
    OptionsError : a value of another type, NaN or an infinity (SQL has no word for them), an
        integer over 64 bits, no values for IN.
    """
    if isinstance(value, Identifier):
        quote = quote_path_node if model == "tree" else quote_identifier
        return quote(value.name)
    if isinstance(value, str):
        return quote_string(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return f"X'{bytes(value).hex()}'"
    if isinstance(value, list | tuple | set | frozenset | np.ndarray | pd.Index | pd.Series):
        if not len(value):
            raise OptionsError("an empty list has no place in SQL: IN () is no condition")
        return f"({', '.join(literal(item, model=model, to_tick=to_tick) for item in value)})"
    if value is None or value is pd.NA or value is pd.NaT:
        return "NULL"
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, int | np.integer):
        if not -(1 << 63) <= value < 1 << 63:
            raise OptionsError(f"{value} is no 64-bit integer")
        return _signed(str(int(value)))
    if isinstance(value, float | np.floating):
        if not math.isfinite(value):
            raise OptionsError(f"SQL has no word for {value}")
        return _signed(repr(float(value)))
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        day = quote_string(value.isoformat())
        return day if model == "tree" else f"CAST({day} AS DATE)"
    if isinstance(value, dt.datetime | np.datetime64):
        return "NULL" if pd.isna(value) else _signed(str(to_tick(value)))
    raise OptionsError(f"{type(value).__name__} cannot be a parameter of a query")


def _signed(number: str) -> str:
    # After a minus sign, "-5" would begin a comment.
    return f" {number}" if number.startswith("-") else number


def place_names(sql: str, *, model: Literal["tree", "table"]) -> set[str]:
    """Names of the ``:name`` places of a statement."""
    return {match["name"] for match in _TOKENS[model].finditer(sql) if match["name"]}


def bind(
    sql: str,
    params: Mapping[str, Any] | Sequence[Any] | None,
    *,
    model: Literal["tree", "table"],
    to_tick: Callable[[Any], int],
) -> str:
    """`sql` with a literal in each place: ``:name`` of a mapping, ``?`` of a sequence.

    Places inside quotes and comments are text. Without `params` the statement stays as it is.

    Raises
    ------
    OptionsError : a place without a value, a value without a place, or what `literal` refuses.
    """
    if params is None:
        return sql
    if isinstance(params, str | bytes) or not isinstance(params, Mapping | Sequence):
        raise OptionsError(
            f"params={params!r} is neither a mapping nor a sequence",
            hint='params={"low": 5} for :low, params=[5] for ?',
        )
    values = None if isinstance(params, Mapping) else list(params)
    used: set[Any] = set()

    def put(match: re.Match[str]) -> str:
        if match["place"] is None or (match["name"] is None) != (values is not None):
            return match[0]
        key: Any = match["name"] if values is None else len(used)
        used.add(key)
        try:
            value = params[key]
        except (KeyError, IndexError):
            raise OptionsError(f"no value for {match[0]} in params") from None
        try:
            return literal(value, model=model, to_tick=to_tick)
        except OptionsError as exc:
            raise OptionsError(f"{match[0]}: {exc.message}", hint=exc.hint) from exc

    text = _TOKENS[model].sub(put, sql)
    unused = len(values) - len(used) if values is not None else set(params) - used
    if unused:
        what = f"{unused} values" if values is not None else ", ".join(sorted(map(str, unused)))  # type: ignore[arg-type]
        raise OptionsError(f"no place in the statement for {what} of params")
    return text
