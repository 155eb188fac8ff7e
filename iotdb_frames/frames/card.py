"""What objects show of themselves: one structure, drawn as text or as HTML.

Every `__repr__` and `_repr_html_` of the package goes through a `Card`, so that they look alike,
everything is escaped, and nothing grows without bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

MAX_ROWS = 20
MAX_TEXT = 120

_STYLE = (
    "<style>"
    ".iotf{font:13px/1.5 var(--jp-ui-font-family,system-ui,sans-serif);"
    "color:var(--jp-ui-font-color1,inherit);max-width:60em}"
    ".iotf h4{margin:0 0 .4em;font-size:14px;font-weight:600}"
    ".iotf h4 small{font-weight:400;opacity:.7;margin-left:.6em}"
    ".iotf table{border-collapse:collapse;margin:.3em 0 .6em;font-size:12.5px}"
    ".iotf th,.iotf td{text-align:left;padding:.15em .9em .15em 0;vertical-align:top;"
    "border:0;background:none}"
    ".iotf th{font-weight:500;opacity:.7}"
    ".iotf .n{text-align:right;font-variant-numeric:tabular-nums}"
    ".iotf .ok{color:var(--jp-success-color1,#388e3c)}"
    ".iotf .warn{color:var(--jp-warn-color1,#b26a00)}"
    ".iotf .bad{color:var(--jp-error-color1,#c62828)}"
    "</style>"
)


def shorten(value: Any, limit: int = MAX_TEXT) -> str:
    """`value` as one line of at most `limit` characters."""
    text = " ".join(str(value).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def count(number: float) -> str:
    """A count with thin thousands: 1234567 is ``1,234,567``."""
    return f"{number:,.0f}"


def size(n_bytes: float) -> str:
    """Bytes in binary units, e.g. ``3.8 MiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if n_bytes < 1024:
            return f"{n_bytes:.0f} B" if unit == "B" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1024
    return f"{n_bytes:.1f} TiB"


def rate(per_s: float, what: str) -> str:
    """A rate, e.g. ``21.3 M points/s``."""
    for limit, unit in ((1e6, "M "), (1e3, "k ")):
        if per_s >= limit:
            return f"{per_s / limit:.1f} {unit}{what}/s"
    return f"{per_s:.0f} {what}/s"


def duration(seconds: float) -> str:
    """A duration, e.g. ``0.42 s`` or ``3 min 05 s``."""
    if seconds < 60:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


@dataclass(frozen=True)
class Grid:
    """A table: labels of its columns, rows of cells; numbers stand to the right."""

    header: Sequence[str]
    rows: Sequence[Sequence[Any]]

    @property
    def shown(self) -> list[list[str]]:
        """The first rows as texts, and a last one that counts the others."""
        rows = [[shorten(cell) for cell in row] for row in self.rows[:MAX_ROWS]]
        more = len(self.rows) - MAX_ROWS
        if more > 0:
            rows.append([f"… and {more:,} more"] + [""] * (len(self.header) - 1))
        return rows

    @property
    def is_number(self) -> list[bool]:
        """Which columns hold numbers only."""
        return [
            bool(self.rows) and all(isinstance(row[i], int | float) for row in self.rows)
            for i in range(len(self.header))
        ]


@dataclass(frozen=True)
class Card:
    """A title, a status, facts and tables.

    status : "ok", "warn", "bad" or ""
    facts : (label, value) pairs
    """

    title: str
    subtitle: str = ""
    status: str = ""
    facts: Sequence[tuple[str, Any]] = ()
    grids: Sequence[Grid] = ()
    notes: Sequence[str] = field(default=())

    def text(self) -> str:
        """The card as plain text."""
        lines = [f"{self.title}  {self.subtitle}".rstrip()]
        width = max((len(label) for label, _ in self.facts), default=0)
        lines += [f"  {label:<{width}}  {shorten(value)}" for label, value in self.facts]
        for grid in self.grids:
            lines += _text_grid(grid)
        lines += [f"  note: {note}" for note in self.notes[:MAX_ROWS]]
        return "\n".join(lines)

    def html(self) -> str:
        """The card as HTML; every value is escaped."""
        status = f' class="{self.status}"' if self.status else ""
        small = f"<small>{escape(self.subtitle)}</small>" if self.subtitle else ""
        parts = [f'{_STYLE}<div class="iotf"><h4{status}>{escape(self.title)}{small}</h4>']
        if self.facts:
            rows = "".join(
                f"<tr><th>{escape(label)}</th><td>{escape(shorten(value))}</td></tr>"
                for label, value in self.facts
            )
            parts.append(f"<table>{rows}</table>")
        parts += [_html_grid(grid) for grid in self.grids]
        parts += [f'<div class="warn">{escape(note)}</div>' for note in self.notes[:MAX_ROWS]]
        return "".join(parts) + "</div>"


def _text_grid(grid: Grid) -> list[str]:
    rows = [list(grid.header), *grid.shown]
    widths = [max(len(row[i]) for row in rows) for i in range(len(grid.header))]
    aligned = [
        "  ".join(
            cell.rjust(w) if is_number else cell.ljust(w)
            for cell, w, is_number in zip(row, widths, grid.is_number, strict=True)
        )
        for row in rows
    ]
    return [f"  {line}".rstrip() for line in aligned]


def _html_grid(grid: Grid) -> str:
    classes = [' class="n"' if is_number else "" for is_number in grid.is_number]

    def line(cells: Sequence[str], tag: str) -> str:
        return "".join(
            f"<{tag}{kind}>{escape(cell)}</{tag}>"
            for cell, kind in zip(cells, classes, strict=True)
        )

    body = "".join(f"<tr>{line(row, 'td')}</tr>" for row in grid.shown)
    return f"<table><thead><tr>{line(grid.header, 'th')}</tr></thead><tbody>{body}</tbody></table>"
