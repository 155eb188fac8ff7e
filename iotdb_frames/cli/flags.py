"""Hints with options as shell flags instead of Python arguments."""

from __future__ import annotations

import json
import re
from shlex import quote
from typing import Any

from iotdb_frames.errors import Call, Choice, Hint

_OF_CSV = ("encoding", "delimiter", "decimal", "skip_lines", "time_format")
"""CSV options that have a flag of their own; ``--csv`` takes all others."""
_NAMES = {"connection": "url", "tags": "tag", "attributes": "attribute", "columns": "column"}
_MANY = ("tags", "attributes", "columns")


def in_flags(text: Any) -> Any:
    """A hint with its options as flags; anything else as it is."""
    return text.render(_flags) if isinstance(text, Hint) else text


def _flags(choice: Choice | Call) -> str:
    if isinstance(choice, Call):
        return choice.in_shell
    found = [flag for name, value in choice.options.items() for flag in _flags_of(name, value)]
    return " ".join(found)


def _flags_of(name: str, value: Any) -> list[str]:
    flag = f"--{_NAMES.get(name, name).replace('_', '-')}"
    if name == "csv":
        return [_csv_flag(*item) for item in value.items()]
    if name == "on_error":  # --dead-letter says it
        return []
    if name == "dead_letter":
        return [f"{flag} FILE"]
    if name == "changed":
        return ["--again"]
    if name == "schema":
        if value is ...:
            return ["--type COLUMN=TYPE"]
        return [f"--type {_quoted(f'{column}={kind}')}" for column, kind in value.items()]
    if name in _MANY and value is not ...:
        return [f"{flag} {_quoted(str(one))}" for one in value if one is not ...]
    if value is ... or value is True:
        return [flag]
    return [f"{flag} {_quoted(str(value))}"]


def _quoted(text: str) -> str:
    """A text, quoted for most shells."""
    if re.fullmatch(r"[\w%:/=-]+", text):
        return text
    return quote(text) if re.search(r'["$`\\]', text) else f'"{text}"'


def _csv_flag(name: str, value: Any) -> str:
    if name == "day_first":
        return "--day-first" if value else "--month-first"
    if name in _OF_CSV:
        flag = f"--{name.replace('_', '-')}"
        return flag if value is ... else f"{flag} {_quoted(str(value))}"
    if value is ... or value == [...]:
        return f"--csv {name}=…"
    return f"--csv {_quoted(f'{name}={json.dumps(value)}')}"


def csv_options(pairs: list[str]) -> dict[str, Any]:
    """Options from ``--csv NAME=VALUE``; a value that is not JSON is text."""
    found: dict[str, Any] = {}
    for pair in pairs:
        name, _, text = pair.partition("=")
        try:
            found[name.replace("-", "_")] = json.loads(text)
        except ValueError:
            found[name.replace("-", "_")] = text
    return found
