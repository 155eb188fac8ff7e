"""Names and texts in the quotes of the two grammars. Imports little: a server's keeper loads it."""

from __future__ import annotations

import re

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
"""Names that a bare SELECT misreads. Source: all words of the grammar, tried on 2.0.10."""


def quote_path_node(name: str) -> str:
    """One node of a tree path, in back-quotes unless the grammar takes it bare.

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
