"""The conditions of `read` as SQL, each value quoted by its kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import pandas as pd

from iotdb_frames.codec.quotes import quote_identifier, quote_path_node
from iotdb_frames.codec.sql import exact, literal
from iotdb_frames.errors import OptionsError

OPERATORS = ("=", "!=", "<", "<=", ">", ">=")
_HINT = (
    'where={"machine": ["a", "b"], "temp": (">", 20), "note": None}: a value, a list, '
    "(operator, value), a list of those, or None for a missing one"
)


def conditions(
    where: Any, *, model: Literal["tree", "table"], to_tick: Callable[[Any], int]
) -> dict[str, str]:
    """The condition of each column, by its raw name; all of them are to hold.

    Parameters
    ----------
    where : see `read`; None: no conditions
    to_tick : makes a time a tick of the server

    Raises
    ------
    OptionsError : not a mapping of columns, an unknown operator, a value that SQL has no word for.
    """
    if where is None:
        return {}
    if not isinstance(where, Mapping):
        raise OptionsError(f"where={where!r} is not a mapping of columns", hint=_HINT)
    found: dict[str, str] = {}
    for name, wanted in where.items():
        if not isinstance(name, str) or not name:
            raise OptionsError(f"where= must name columns by text, not {name!r}", hint=_HINT)
        column = name if model == "tree" else name.lower()
        if column in found:
            raise OptionsError(f"where= names {column!r} twice", hint="a list of conditions")
        quoted = quote_path_node(column) if model == "tree" else quote_identifier(column)
        try:
            found[column] = " AND ".join(
                _condition(quoted, operator, value, model=model, to_tick=to_tick)
                for operator, value in _pairs(wanted)
            )
        except OptionsError as exc:
            raise OptionsError(
                f"where= of {name!r}: {exc.message}", hint=exc.hint or _HINT
            ) from exc
    return found


def _pairs(wanted: Any) -> list[tuple[str, Any]]:
    """(operator, value) of each comparison that is asked for."""
    some = list(wanted) if isinstance(wanted, list | set | frozenset) else [wanted]
    if not any(isinstance(one, tuple) for one in some):
        return [("=", wanted)]
    for one in some:
        if not isinstance(one, tuple) or len(one) != 2 or one[0] not in OPERATORS:
            raise OptionsError(
                f"{one!r} is not (operator, value)", hint=f"operators are {' '.join(OPERATORS)}"
            )
    return some


def _condition(
    column: str,
    operator: str,
    value: Any,
    *,
    model: Literal["tree", "table"],
    to_tick: Callable[[Any], int],
) -> str:
    is_list = isinstance(value, list | set | frozenset | np.ndarray | pd.Index | pd.Series)
    values = list(value) if is_list else [value]
    if is_list and operator not in ("=", "!="):
        raise OptionsError(f"{operator} compares with one value, and this is a list")
    texts = [literal(one, model=model, to_tick=to_tick) for one in values]
    known = [text for text in texts if text != "NULL"]
    # Behind a function a * of the table model is a character: a tag would be looked up by pattern.
    operand = exact(column) if model == "table" and any("*" in text for text in known) else column
    if operator not in ("=", "!=") and not known:
        raise OptionsError(f"nothing is {operator} a missing value")
    if not values:
        raise OptionsError("an empty list finds nothing")
    is_not = operator == "!="
    either = [f"{column} IS {'NOT ' * is_not}NULL"] if len(known) < len(texts) else []
    if is_list and known:
        either.append(f"{operand} {'NOT ' * is_not}IN ({', '.join(known)})")
    elif known:
        either.append(f"{operand} {operator} {known[0]}")
    joined = (" AND " if is_not else " OR ").join(either)
    return f"({joined})" if len(either) > 1 else joined
