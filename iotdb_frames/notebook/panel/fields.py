"""Fields of a panel: a control, and below it why its value is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from typing import Any

import ipywidgets as w

from iotdb_frames.errors import OptionsError

_REFUSED = "iotf-refused"


class Field:
    """A control, and a line below it that is there while its value is refused."""

    def __init__(self, control: w.Widget) -> None:
        self.control = control
        self.why = ""
        self._note = w.HTML(layout={"display": "none"})
        self._note.add_class("iotf-why")
        self.box = w.VBox([control, self._note])

    def refuse(self, why: str) -> None:
        """Mark the control and say why; "" takes both away."""
        if why == self.why:
            return
        self.why = why
        self._note.value = f'<span role="alert">{escape(why)}</span>' if why else ""
        self._note.layout.display = None if why else "none"
        if why:
            self.control.add_class(_REFUSED)
        else:
            self.control.remove_class(_REFUSED)


def settle(
    before: Mapping[str, Any],
    entered: Mapping[str, Any],
    check: Callable[[Mapping[str, Any]], object],
) -> tuple[dict[str, Any], dict[str, Exception]]:
    """The values that can be applied together, and why others cannot.

    Parameters
    ----------
    before : values that are applied by now, by field
    entered : values of the same fields as they are entered
    check : raises an OptionsError or a ValueError for values that do not go together

    Returns
    -------
    (values of all fields, errors of those that keep theirs of `before`)
    """
    try:
        check(entered)
    except (OptionsError, ValueError):
        good = dict(before)
    else:
        return dict(entered), {}
    waiting = {name: value for name, value in entered.items() if value != before[name]}
    while True:  # one that is accepted may be what another one waits for
        refused: dict[str, Exception] = {}
        for name, value in waiting.items():
            try:
                check({**good, name: value})
            except (OptionsError, ValueError) as exc:
                refused[name] = exc
            else:
                good[name] = value
        if len(refused) == len(waiting):
            return good, refused
        waiting = {name: waiting[name] for name in refused}
