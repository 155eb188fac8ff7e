"""A refused statement, explained: the place in its text, what it may have meant, or would need."""

from __future__ import annotations

import re

from iotdb_frames.errors import Choice, Hint, QueryError
from iotdb_frames.reads.cursor import NO_MEMORY
from iotdb_frames.wire.answers import Model

_PLACE = re.compile(r"\bline (\d+):(\d+)")
_EXPECTED = re.compile(r"\s*[,.]?\s*[Ee]xpecting:? .*", re.DOTALL)
_SYNTAX = 700
_WIDTH = 72
_GAP_FILL = re.compile(r"\bgapfill\b|_gapfill\b", re.IGNORECASE)
_SORT = re.compile(r"\border\s+by\b(?!\s+(?:time|device)\b)", re.IGNORECASE)


def explain(error: QueryError, sql: str, *, model: Model) -> QueryError:
    """The same error with the place in `sql` where the server names one, and a hint that fits."""
    if error.code == NO_MEMORY:
        return QueryError(
            error.message, code=error.code, sub_codes=error.sub_codes, hint=_less_memory(sql)
        )
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
        hint=Hint(
            f"this ran in the {model} model; the other is ",
            Choice(model="table" if model == "tree" else "tree"),
        ),
    )


def _less_memory(sql: str) -> str:
    """What asks for less. The server estimates by series and by sorts, whatever the time range."""
    later = "or try again when fewer queries run"
    if _GAP_FILL.search(sql):
        return f"fill the gaps in Python: iotf.read(…, every=, agg=, fill=), {later}"
    if _SORT.search(sql):
        return f"leave out ORDER BY and sort the frame, {later}"
    return f"ask for fewer columns or devices (a shorter time range takes as much memory), {later}"
