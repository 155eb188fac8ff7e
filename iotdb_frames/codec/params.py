"""Parameters of a statement, ``:name`` or ``?``: each value is quoted by its type, never pasted.

In the table model, a ``*`` in a text compared with a tag is a pattern (see `exact`). So in a query,
``tag = :a`` and ``tag IN :a`` wrap the column in a function if a text has a ``*``, and any other
placeholder wraps the text. Where a function is not allowed, the server refuses the statement; no
rows of other tags are found.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from iotdb_frames.codec.sql import exact, literal
from iotdb_frames.codec.statements import COMMENT, QUOTED, is_query, words
from iotdb_frames.errors import OptionsError

_PLACE = r"(?:\?|(?<![\w:]):[A-Za-z_]\w*)"
_NAME = r"(?:\"(?:[^\"]|\"\")+\"|(?!(?:not|end)\b)[A-Za-z_]\w*)"
_COMPARED = (
    rf"(?<![\w.\"])(?P<column>{_NAME}(?:\s*\.\s*{_NAME})*)"
    r"(?P<by>\s*=\s*|\s+(?:NOT\s+)?IN\s*)"
    rf"(?P<with>{_PLACE}|\(\s*{_PLACE}(?:\s*,\s*{_PLACE})*\s*\))"
)
_TOKENS = {
    "tree": re.compile(f"{QUOTED}|(?P<place>{_PLACE})"),
    "table": re.compile(
        f"{_COMPARED}|{QUOTED}|{COMMENT}|(?P<place>{_PLACE})", re.DOTALL | re.IGNORECASE
    ),
}
_PLACES = re.compile(_PLACE)
_NO_PATTERN = re.compile(r"(?:\b(?:LIKE|ESCAPE)|<>|!=|[<>]=?)\s*$", re.IGNORECASE)
"""After these, a * is always a character."""
_LOOK_BACK = 64


def place_names(sql: str, *, model: Literal["tree", "table"]) -> set[str]:
    """Names of the ``:name`` placeholders of a statement."""
    groups = [match.groupdict() for match in _TOKENS[model].finditer(sql)]
    texts = [text for g in groups for text in (g["place"], g.get("with")) if text]
    return {place[1:] for text in texts for place in _PLACES.findall(text) if place != "?"}


def bind(
    sql: str,
    params: Mapping[str, Any] | Sequence[Any] | None,
    *,
    model: Literal["tree", "table"],
    to_tick: Callable[[Any], int],
) -> str:
    """`sql` with a literal for each placeholder: ``:name`` of a mapping, ``?`` of a sequence.

    Placeholders in quotes and comments are text. Without `params` the statement stays as it is.

    Raises
    ------
    OptionsError : a placeholder without a value, a value without a placeholder, a value that
        `literal` refuses, or a text that the statement would take for a pattern.
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
    is_table, found = model == "table", words(sql, model=model)
    is_read = is_table and (is_query(sql, model=model) or {"insert", "select"} <= set(found))
    is_update = is_table and found[:1] == ["update"]

    def put(place: str, *, is_exact: bool = False) -> str:
        if (place == "?") != (values is not None):
            return place
        key: Any = place[1:] if values is None else len(used)
        used.add(key)
        try:
            value = params[key]
        except (KeyError, IndexError):
            raise OptionsError(f"no value for {place} in params") from None
        try:
            return literal(value, model=model, to_tick=to_tick, is_exact=is_exact)
        except OptionsError as exc:
            raise OptionsError(f"{place}: {exc.message}", hint=exc.hint) from exc

    def token(match: re.Match[str]) -> str:
        groups = match.groupdict()
        if (places := groups.get("with")) is not None:
            # In an UPDATE, the column may be the one that is set.
            text = _PLACES.sub(lambda place: put(place[0], is_exact=is_update), places)
            if "*" in text and is_table and found[:2] == ["delete", "devices"]:
                raise OptionsError(
                    f"DELETE DEVICES treats the * in {places} as a pattern",
                    hint="DELETE FROM treats it as a character",
                )
            column = exact(groups["column"]) if "*" in text and is_read else groups["column"]
            return f"{column}{groups['by']}{text}"
        if groups["place"] is None:
            return match[0]
        is_pattern = not _NO_PATTERN.search(sql[: match.start()][-_LOOK_BACK:])
        return put(match[0], is_exact=(is_read or is_update) and is_pattern)

    text = _TOKENS[model].sub(token, sql)
    unused = len(values) - len(used) if values is not None else set(params) - used
    if unused:
        what = f"{unused} values" if values is not None else ", ".join(sorted(map(str, unused)))  # type: ignore[arg-type]
        raise OptionsError(f"the statement has no placeholder for {what} of params")
    return text
