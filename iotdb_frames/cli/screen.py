"""Output of the commands: results on standard output, everything else on standard error."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from iotdb_frames.cli import streams
from iotdb_frames.cli.flags import in_flags
from iotdb_frames.display.card import Card
from iotdb_frames.display.grid import terminal_width, wrapped
from iotdb_frames.errors import IoTDBFramesError, OptionsError

_STYLES = {"ok": "green", "warn": "yellow", "bad": "red"}


class Screen(Console):
    """A console whose reader may stop reading (``| head``); the command still runs to its end.

    A new one is made each time, for it looks up the streams once, and tests replace them.
    """

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(highlight=False, stderr=stderr)

    def print(self, *objects: Any, **options: Any) -> None:
        try:
            super().print(*objects, **options)
        except BrokenPipeError:  # rich before 13.8; later ones call this themselves
            self.on_broken_pipe()

    def on_broken_pipe(self) -> None:
        self.quiet = True
        streams.let_go(self.file)


def show(*lines: str | Text, style: str = "") -> None:
    """Print lines as they are, without markup or wrapping."""
    _print(Screen(), lines, style)


def say(*lines: str | Text, style: str = "") -> None:
    """The same on standard error, for anything but results."""
    _print(Screen(stderr=True), lines, style)


def _print(console: Console, lines: tuple[str | Text, ...], style: str) -> None:
    for line in lines:
        console.print(line, style=style or None, markup=False, soft_wrap=True)


def step(label: str, text: str) -> None:
    """Print a step of a demo."""
    show(f"{label:<8}{text}", style="bold")


def more(text: str) -> None:
    """Print what belongs to the step before."""
    show(f"{'':<8}{text}")


def show_card(card: Card) -> None:
    """Print a report or a plan, its first line in the colour of its status."""
    card = replace(card, problems=[in_flags(text) for text in card.problems])
    first, *others = card.text().splitlines()
    show(first, style=_STYLES.get(card.status, ""))
    show(*others)


def show_error(error: BaseException) -> None:
    """Print an error: a red line, the hint, and the consequences as far as they are known."""
    if not isinstance(error, IoTDBFramesError):
        what = str(error) if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
        say(
            *wrapped(" ".join(what.split()), "✗ ", "  ", width=terminal_width(sys.stderr)),
            style="red",
        )
        if not isinstance(error, OSError):
            say("  Hint: this is a bug; iotdb-frames --traceback … shows where it occurred")
        return
    first, *more = error.message.splitlines() or [""]  # SQL, and a caret below where it is wrong
    width = terminal_width(sys.stderr)
    say(*wrapped(first, "✗ ", "  ", width=width), *(f"  {line}" for line in more), style="red")
    if error.hint:
        say(f"  Hint: {in_flags(error.hint)}")  # whole: a command in it can be copied
    if error.report is not None and error.report.rows_in:
        say(*error.report.card().text().splitlines()[1:])
    log_tail = getattr(error, "log_tail", "")
    if log_tail:
        lines = (f"  {line}" for line in log_tail.splitlines()[-12:])
        say("  The last lines of its log:", *lines, style="dim")


def _without_password(url: str | None) -> str | None:
    login = (url or "").partition("//")[2].split("/", 1)[0].rpartition("@")[0]
    if ":" in login:
        raise OptionsError(
            "a password on the command line is visible in the process list",
            hint="omit it to be prompted for it, or set IOTDB_PASSWORD",
        )
    return url


Url = Annotated[
    str | None,
    typer.Option(
        help="iotdb://user@host:6667/database, or local: for a server of your own.",
        callback=_without_password,
        show_default=False,
    ),
]


def aligned(pairs: list[tuple[str, Any]], *, indent: str = "  ") -> list[str]:
    """Labels and values in two columns."""
    width = max(len(label) for label, _ in pairs)
    return [f"{indent}{label:<{width}}  {value}" for label, value in pairs]
