"""Targets and tree paths: the place of a write or a read, in either model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import takewhile
from typing import Literal

from iotdb_frames.codec.quotes import quote_identifier, quote_path_node
from iotdb_frames.errors import Choice, Hint, OptionsError

_NODE = re.compile(r"`((?:[^`]|``)+)`|([^.`\s](?:[^.`]*[^.`\s])?)")
_PATTERN = re.compile(r"(?:`[^`]*`|[^`])*?\.\*{1,2}(?:\.|$)")
_PATH = re.compile(r"(?<![\w.`])root(?:\.(?:`[^`]*`|[\w*\u0080-\uffff]+))+")
_NODE_DOT = re.compile(r"(?:`[^`]*`|[^.`]+)\.")
_NAME = re.compile(r'"((?:[^"]|"")+)"|([^."\s](?:[^."]*[^."\s])?)')


@dataclass(frozen=True)
class Target:
    """A device, a prefix of devices, or a table.

    model : "tree" or "table"
    path : device path, or prefix of devices, quoted as the server expects; "" in the table model
    database, table : raw names; "" in the tree model
    """

    model: Literal["tree", "table"]
    path: str = ""
    database: str = ""
    table: str = ""

    def __str__(self) -> str:
        return self.path or f"{self.database}.{self.table}"

    @property
    def sql(self) -> str:
        """The target as it is written in a FROM clause."""
        if self.model == "tree":
            return self.path
        return f"{quote_identifier(self.database)}.{quote_identifier(self.table)}"


def _split(text: str, pattern: re.Pattern[str], quote: str, what: str) -> list[str]:
    names, at = [], 0
    hint = f"put names with dots, spaces or quotes in {quote}…{quote}"
    while True:
        match = pattern.match(text, at)
        if not match:
            raise OptionsError(
                f"{text!r} is not a valid {what}: expected a name at position {at}",
                hint=hint,
            )
        names.append(match[1].replace(quote * 2, quote) if match[1] else match[2])
        at = match.end()
        if at == len(text):
            return names
        if text[at] != ".":
            raise OptionsError(
                f"{text!r} is not a valid {what}: expected a dot at position {at}", hint=hint
            )
        at += 1


def split_path(path: str) -> list[str]:
    """Raw node names of a tree path; nodes may be in back-quotes.

    Raises
    ------
    OptionsError : an empty node, or an open quote.
    """
    return list(_nodes(path))


@lru_cache(1 << 16)
def _nodes(path: str) -> tuple[str, ...]:
    return tuple(_split(path, _NODE, "`", "tree path"))


def check_node(name: str, *, is_device: bool = False) -> None:
    """Refuse a name that the server does not accept, or cannot find again.

    Raises
    ------
    OptionsError

    Source: IoTDB 2.0.10 answers 507, and 509 to a look-up of a device with a node "root".
    """
    if name.lower() in ("time", "timestamp"):
        raise OptionsError(f"{name!r} is reserved for the time by the server", hint="rename it")
    if is_device and name.lower() == "root":
        raise OptionsError(f"{name!r} can only be the first node of a path", hint="rename it")
    if not name.isprintable() and ({"\t", "\n"} & set(name) or not is_utf8(name)):
        why = "a tab, a line break or a lone surrogate"
        raise OptionsError(f"{name!r} contains {why}", hint="rename it")


def is_utf8(text: str) -> bool:
    """Whether a text can be sent: it has no lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def join_path(nodes: list[str]) -> str:
    """A path, quoted for the server, from raw node names."""
    return ".".join([nodes[0], *map(quote_path_node, nodes[1:])])


@lru_cache(1 << 16)
def normal_path(path: str, *, under: str | None = None) -> str:
    """`path` with nodes quoted where necessary; a relative one is placed below `under`.

    Raises
    ------
    OptionsError : not a path, an absolute one not below `under`, or a node the server refuses.
    """
    nodes = split_path(path)
    for node in nodes[1:] if nodes[0] == "root" else nodes:
        check_node(node, is_device=True)
    if nodes[0] != "root":
        if under is None:
            raise OptionsError(f"{path!r} does not begin with root")
        return join_path(split_path(under) + nodes)
    if under is not None:
        above = split_path(under)
        if nodes[: len(above)] != above:
            raise OptionsError(f"{path!r} is not below {under!r}")
    return join_path(nodes)


def parse_target(target: str, *, database: str | None = None) -> Target:
    """Parse a target: ``root.…`` is a tree path, otherwise ``database.table`` or ``table``.

    Parameters
    ----------
    database : of the connection, for a bare table name

    Raises
    ------
    OptionsError : neither, a pattern, or a table without a database.
    """
    if not isinstance(target, str) or not target.strip():
        raise OptionsError(
            f"target={target!r} is not a valid target",
            hint='"root.plant.press1" (tree model) or "database.table" (table model)',
        )
    target = target.strip()
    if target == "root" or target.startswith("root."):
        if _PATTERN.match(target):
            raise OptionsError(
                f"{target!r} is a pattern, which names many devices",
                hint=Hint("name one device, or their prefix and ", Choice(device="machine")),
            )
        return Target("tree", path=normal_path(target))
    names = _split(target, _NAME, '"', "table name")
    if len(names) == 1 and database:
        names = [database, *names]
    if len(names) != 2:
        hint = (
            "write database.table, or put the database in the URL"
            if len(names) == 1
            else 'database.table; put names with dots in double quotes: "my.db".t'
        )
        raise OptionsError(f"{target!r} is neither database.table nor a path below root", hint=hint)
    if "*" in names[1]:
        raise OptionsError(
            f"{target!r} has a * in the table name", hint="the server treats it as a pattern"
        )
    return Target("table", database=names[0].lower(), table=names[1].lower())


def split_prefix(labels: Sequence[str]) -> tuple[str, list[str]]:
    """The nodes that all tree paths in some labels begin with, and the labels without them.

    Paths may stand in expressions, as in ``count(root.plant.press1.temp)``; labels without one
    (``time``, an alias) stay as they are. Nothing in common: "".
    """
    paths = [path for label in labels for path in _PATH.findall(label)]
    heads = [_NODE_DOT.findall(path) for path in paths]  # a path's last node is not among them
    common = "".join(one[0] for one in takewhile(_is_same, zip(*heads, strict=False)))
    if common.count(".") < 2:  # "root." alone is no news
        return "", list(labels)
    return common[:-1], [label.replace(common, "") for label in labels]


def _is_same(nodes: tuple[str, ...]) -> bool:
    return len(set(nodes)) == 1
