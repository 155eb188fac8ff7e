"""The kind of a statement, by its words outside quotes and comments.

A request contains one statement; the server refuses several, and a query inside a statement that
writes. Source: the grammars of IoTDB 2.0.10, tried on the server.
"""

from __future__ import annotations

import re
from itertools import dropwhile
from typing import Literal

from iotdb_frames.errors import Call, Hint, OptionsError

# An unclosed quote or comment extends to the end, so that no value can close it.
QUOTED = r"'(?:[^']|'')*(?:'|$)|\"(?:[^\"]|\"\")*(?:\"|$)|`(?:[^`]|``)*(?:`|$)"
COMMENT = r"--[^\n]*|/\*.*?(?:\*/|$)"
"""Of the table model; the tree model has none."""
# After a dot, a word is always a name: a node of a path.
_WORD = r"(?<![\w.])(?P<word>[A-Za-z_]\w*)"
_WORDS = {
    "tree": re.compile(f"{QUOTED}|{_WORD}"),
    "table": re.compile(f"{QUOTED}|{COMMENT}|{_WORD}", re.DOTALL),
}
_READS = frozenset({"select", "with", "show", "desc", "describe", "list", "count"})
_EXPLAINS = frozenset({"explain", "analyze", "verbose"})
_FIRST_WORD = re.compile(r"(?:[\s(]|--[^\n]*\n|/\*.*?\*/)*([A-Za-z]+)", re.DOTALL)
_KEEPS_SCHEMA = _READS | {"explain", "flush", "kill", "use"}
_SESSION = {
    "use": "write database.table, or connect to a URL with the database: iotdb://host:6667/plant",
    "set sql_dialect": 'pass model="tree" or model="table" with the statement',
    "prepare": "pass values with params=",
    "execute": "pass values with params=",
    "deallocate": "pass values with params=",
}
"""Statements that change the session they run in, and the remedy."""


def words(sql: str, *, model: Literal["tree", "table"]) -> list[str]:
    """The words of a statement, in lower case, without names of paths, quotes and comments."""
    return [m["word"].lower() for m in _WORDS[model].finditer(sql) if m["word"]]


def is_query(sql: str, *, model: Literal["tree", "table"]) -> bool:
    """Whether a statement only reads; False if unknown."""
    found = words(sql, model=model)
    rest = list(dropwhile(_EXPLAINS.__contains__, found))
    reads = _READS if len(rest) == len(found) else {"select", "with"}
    return (
        bool(rest) and rest[0] in reads and not (rest[0] in ("select", "with") and "into" in rest)
    )


def may_change_schema(sql: str) -> bool:
    """Whether a statement may change the schema; True if in doubt.

    Called for every statement, so it looks only at the first word if that is enough.
    """
    first = _FIRST_WORD.match(sql)
    word = first[1].lower() if first else ""
    if word in ("select", "with", "explain"):
        return "into" in sql.lower()
    return word not in _KEEPS_SCHEMA


def check_query(sql: str, *, model: Literal["tree", "table"]) -> None:
    """Refuse a statement that may change something.

    Raises
    ------
    OptionsError
    """
    if not is_query(sql, model=model):
        found = words(sql, model=model)
        name = "SELECT … INTO" if found[:1] == ["select"] else " ".join(found[:2]).upper()
        raise OptionsError(
            f"{name or 'this'} is not a query: a query begins with SELECT, WITH, SHOW, DESCRIBE, "
            "LIST, COUNT or EXPLAIN",
            hint=Hint(Call("", in_shell="Python's "), "iotf.execute(…) runs any statement"),
        )


def check_session(sql: str, *, model: Literal["tree", "table"]) -> None:
    """Refuse a statement that changes its session, for a connection has several.

    Raises
    ------
    OptionsError
    """
    found = words(sql, model=model)
    for n_words in (1, 2):
        name = " ".join(found[:n_words])
        if name in _SESSION:
            raise OptionsError(
                f"{name.upper()} changes a single session, but a connection has several",
                hint=_SESSION[name],
            )
