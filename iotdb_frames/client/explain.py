"""A refused statement, explained: the place in its text, and what it may have meant."""

from __future__ import annotations

import re

from iotdb_frames.errors import QueryError
from iotdb_frames.wire.answers import Model

_PLACE = re.compile(r"\bline (\d+):(\d+)")
_EXPECTED = re.compile(r"\s*[,.]?\s*[Ee]xpecting:? .*", re.DOTALL)
_SYNTAX, _TOO_BIG = 700, 719
_WIDTH = 72


def explain(error: QueryError, sql: str, *, model: Model) -> QueryError:
    """The same error with the place in `sql`, where the server names one."""
    match = _PLACE.search(error.message)
    if error.code != _SYNTAX or not match:
        return error
    lines = sql.splitlines() or [""]
    row = min(int(match[1]), len(lines)) - 1
    # The tree model counts columns from 0, the table model from 1.
    column = min(max(int(match[2]) - (model == "table"), 0), len(lines[row]))
    start = max(0, column - _WIDTH // 2)
    shown = lines[row][start : start + _WIDTH].replace("\t", " ")
    message = _EXPECTED.sub("", error.message)
    return QueryError(
        f"{message}\n  {shown}\n  {' ' * (column - start)}^",
        code=error.code,
        sub_codes=error.sub_codes,
        hint=f"this ran in the {model} model; the other is model="
        f"{'table' if model == 'tree' else 'tree'!r}",
    )
