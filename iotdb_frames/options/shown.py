"""Help that shows every option: a call's ``**options`` as the fields of its dataclass."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import MISSING, Field, fields
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

_ENTRY = re.compile(r"^(\w+(?:, \w+)*) : .*\n(?:    .*\n)*", flags=re.MULTILINE)
_FIRST_SECTION = "Parameters\n-----"
_BY_REFERENCE = re.compile(r"options : see `\w+`\n")


def show_fields(call: F, *kinds: type, names: Collection[str] | None = None, **defaults: Any) -> F:
    """Show fields in place of ``**options``, in the signature and under *Parameters*.

    Parameters
    ----------
    call : its docstring has an entry ``options :``. That of a mere reference gives way to the
        entries of the fields, any other is followed by them
    kinds : dataclasses, whose docstrings explain each field; of two with one name, the first counts
    names : the fields to show; None: all
    defaults : of fields that have another one in this call
    """
    signature = inspect.signature(call)
    shown = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    entries: list[str] = []
    for kind in kinds:
        known = {parameter.name for parameter in shown}
        chosen = {
            f.name: f
            for f in fields(kind)
            if f.init and f.name not in known and (names is None or f.name in names)
        }
        shown += [
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=defaults.get(name, _default(field))
            )
            for name, field in chosen.items()
        ]
        entries += _entries(kind, chosen)
    call.__signature__ = signature.replace(parameters=shown)  # type: ignore[attr-defined]
    if call.__doc__:  # python -OO has none
        call.__doc__ = _explained(inspect.cleandoc(call.__doc__) + "\n", "".join(entries))
    return call


def show_as(shown: Callable[..., Any]) -> Callable[[F], F]:
    """Show a call with the signature of another one, and with its parameters, results and errors.

    Parameters
    ----------
    shown : its docstring follows that of the call from *Parameters* on
    """

    def show(call: F) -> F:
        call.__signature__ = inspect.signature(shown)  # type: ignore[attr-defined]
        if call.__doc__ and shown.__doc__:
            doc = inspect.cleandoc(shown.__doc__)
            call.__doc__ = f"{inspect.cleandoc(call.__doc__)}\n\n{doc[doc.index(_FIRST_SECTION) :]}"
        return call

    return show


def _entries(kind: type, chosen: Mapping[str, Any]) -> list[str]:
    """What a dataclass says of some of its fields."""
    entries = []
    for entry in _ENTRY.finditer(inspect.cleandoc(kind.__doc__ or "") + "\n"):
        labels = [label for label in entry[1].split(", ") if label in chosen]
        if labels:
            entries.append(", ".join(labels) + entry[0][len(entry[1]) :])
    return entries


def _explained(doc: str, entries: str) -> str:
    for entry in _ENTRY.finditer(doc):
        if entry[1] == "options":
            start = entry.start() if _BY_REFERENCE.fullmatch(entry[0]) else entry.end()
            return doc[:start] + entries + doc[entry.end() :]
    return doc


def _default(option: Field[Any]) -> Any:
    if option.default_factory is not MISSING:
        return option.default_factory()
    return inspect.Parameter.empty if option.default is MISSING else option.default
