"""Tables of cards: as HTML, and as text that fits a terminal.

A terminal gets what fits its width: long texts are cut, then columns are left out, each with a
``…``, as in pandas and Polars. Names and numbers stay whole as long as that helps. Elsewhere (a
file, a pipe) nothing is cut.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise, zip_longest
from textwrap import wrap
from typing import Any

import numpy as np

from iotdb_frames.display.words import count, shorten

MAX_ROWS = 20
_INDENT = _GAP = "  "
_NAME, _SHORT, _LEAST, _FEW = 40, 20, 8, 5
"""Where cutting texts to `_SHORT` (half of it in tables of `_FEW` columns) is not enough, columns
are left out, until texts of `_NAME` fit; the rest is cut to `_LEAST`."""


def terminal_width(stream: Any = None) -> int | None:
    """Columns of the terminal that a stream (standard output) goes to; None: it goes elsewhere."""
    try:
        is_terminal = (stream or sys.stdout).isatty()
    except (AttributeError, ValueError):  # there is none, or it is closed
        return None
    return shutil.get_terminal_size().columns if is_terminal else None


def wrapped(text: str, first: str, others: str, *, width: int | None) -> list[str]:
    """Lines of a text between words, for an option stays whole; `first` and `others` begin them."""
    if width is None or len(first) + len(text) <= width:
        return [first + text]
    return wrap(
        text,
        max(width, len(others) + 20),
        initial_indent=first,
        subsequent_indent=others,
        break_long_words=False,
        break_on_hyphens=False,
    )


@dataclass(frozen=True)
class Grid:
    """A table: column labels and rows of cells; numbers are right-aligned.

    header : labels; one may have a second line, e.g. a type
    is_folded : HTML shows its first label and its length, and the table once it is opened
    right : positions of columns of text to right-align, too
    """

    header: Sequence[str]
    rows: Sequence[Sequence[Any]]
    is_folded: bool = False
    right: Collection[int] = ()

    @property
    def shown(self) -> list[list[str]]:
        """The first rows as text, and a last one that counts the rest."""
        rows = [[cell_text(cell) for cell in row] for row in self.rows[:MAX_ROWS]]
        more = len(self.rows) - MAX_ROWS
        if more > 0:
            rows.append([f"… and {more:,} more"] + [""] * (len(self.header) - 1))
        return rows

    @property
    def is_number(self) -> list[bool]:
        """Which columns are right-aligned: those of numbers, and `right`."""
        kinds = (int, float, np.number)
        return [
            i in self.right
            or (
                bool(self.rows)
                and all(isinstance(r[i], kinds) and not isinstance(r[i], bool) for r in self.rows)
            )
            for i in range(len(self.header))
        ]

    def text(self, *, width: int | None = None) -> list[str]:
        """Lines of text, at most `width` characters wide where that is possible."""
        heads = [*zip_longest(*(label.split("\n") for label in self.header), fillvalue="")]
        rows = [[*line] for line in [*heads, *self.shown]]
        is_number = self.is_number
        widths = [max(_cells(row[i]) for row in rows) for i in range(len(self.header))]
        places: list[int | None] = [*range(len(widths))]
        if width is not None:
            n_filled = [sum(bool(r[i]) for r in rows[len(heads) :]) for i in range(len(widths))]
            places, widths = _fit(widths, is_number, n_filled, room=width - len(_INDENT))
        lines = []
        for row in rows:
            cells = [
                "…" if i is None else _set(row[i], w, is_right=is_number[i])
                for i, w in zip(places, widths, strict=True)
            ]
            lines.append((_INDENT + _GAP.join(cells)).rstrip())
        return lines

    def html(self) -> str:
        """A table; every cell is escaped."""
        classes = [' class="n"' if is_number else "" for is_number in self.is_number]

        def line(cells: Sequence[str], tag: str) -> str:
            return "".join(
                f"<{tag}{kind}>{escape(cell).replace(chr(10), '<br>')}</{tag}>"
                for cell, kind in zip(cells, classes, strict=True)
            )

        body = "".join(f"<tr>{line(row, 'td')}</tr>" for row in self.shown)
        head = f"<thead><tr>{line(self.header, 'th')}</tr></thead>"
        table = f'<div class="grid"><table>{head}<tbody>{body}</tbody></table></div>'
        if not self.is_folded:
            return table
        summary = escape(f"{self.header[0]} ({count(len(self.rows))})")
        return f"<details><summary>{summary}</summary>{table}</details>"


def cell_text(value: Any) -> str:
    """A cell as text; whole numbers with separated thousands."""
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, float | np.floating):
        return f"{float(value):,.6g}"
    return shorten(value)


def _fit(
    widths: list[int], is_number: Sequence[bool], n_filled: Sequence[int], *, room: int
) -> tuple[list[int | None], list[int]]:
    """Which columns are shown (None: the mark of those left out), and how wide.

    Columns with the fewest cells are left out first, of those alike the last; the
    first never is.
    """
    n = len(widths)
    narrow = _narrow(widths, is_number, room=room, least=_SHORT if n > _FEW else _SHORT // 2)
    if _total(narrow, range(n)) <= room:
        return [*range(n)], narrow
    widths = _narrow(widths, is_number, room=room, least=_NAME)
    kept, out = [*range(n)], []
    while _total(widths, _marked(kept, n)) > room and len(kept) > 1:
        out.append(min(kept[1:], key=lambda i: (n_filled[i], -i)))
        kept.remove(out[-1])
    for i in (i for i in reversed(out) if n_filled[i]):  # a narrow one may fit beside the rest
        more = sorted([*kept, i])
        kept = more if _total(widths, _marked(more, n)) <= room else kept
    places = _marked(kept, n)
    shown = [1 if i is None else widths[i] for i in places]
    fixed = [i is None or is_number[i] for i in places]
    return places, _narrow(shown, fixed, room=room, least=_LEAST)


def _marked(kept: Sequence[int], n: int) -> list[int | None]:
    """Columns that are kept, with a mark for each run of those that are not."""
    places: list[int | None] = []
    for before, i in pairwise([-1, *kept, n]):
        places += [None] * (i > before + 1) + [i] * (i < n)
    return places


def _total(widths: Sequence[int], places: Sequence[int | None]) -> int:
    return sum(1 if i is None else widths[i] for i in places) + len(_GAP) * (len(places) - 1)


def _narrow(widths: list[int], is_fixed: Sequence[bool], *, room: int, least: int) -> list[int]:
    """The widest columns made narrower until all fit, as far as `least` allows."""
    widths = [*widths]
    while (over := _total(widths, range(len(widths))) - room) > 0:
        wide = [i for i, w in enumerate(widths) if w > least and not is_fixed[i]]
        if not wide:
            break
        widest = max(wide, key=widths.__getitem__)
        next_one = max((w for i, w in enumerate(widths) if i != widest and i in wide), default=0)
        widths[widest] -= max(1, min(over, widths[widest] - max(least, next_one)))
    return widths


def _cells(text: str) -> int:
    """Columns of a terminal that a text takes; many characters of Chinese take two."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def _set(text: str, width: int, *, is_right: bool) -> str:
    """A cell, cut or filled up to its width."""
    missing = width - _cells(text)
    if missing >= 0:
        return " " * missing + text if is_right else text + " " * missing
    if text.isascii():
        return text[: width - 1] + "…"
    from rich.cells import set_cell_size

    return set_cell_size(text, width - 1) + "…"
