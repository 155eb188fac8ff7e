"""Summary cards of objects: one structure, drawn as text or as HTML.

Every `__repr__` and `_repr_html_` of the package goes through a `Card`, so that they look alike,
everything is escaped, and their size is limited. The HTML inherits its colours (``currentColor``),
so it suits light and dark themes, and it is readable without its style, which a sanitizer may
remove.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from iotdb_frames.display.grid import MAX_ROWS, Grid, cell_text, terminal_width, wrapped
from iotdb_frames.display.words import MAX_TEXT, shorten
from iotdb_frames.spelling import printable

_MARKS = {"ok": "✓", "warn": "!", "bad": "✗"}

# The class is doubled so that the page's own style does not override the card's.
_STYLE = (
    "<style>"
    "&{--iotf-line:color-mix(in srgb,currentColor 16%,transparent);"
    "font:13px/1.5 var(--jp-ui-font-family,system-ui,sans-serif);"
    "color:var(--jp-ui-font-color1,inherit);max-width:64em;margin:2px 0 6px}"
    "& .head{display:flex;align-items:center;flex-wrap:wrap;gap:.2em .6em;"
    "margin:0 0 8px;font-size:14px;line-height:20px}"
    "& .head b{font-weight:600}"
    "& .head code{font:12.5px/20px var(--jp-code-font-family,ui-monospace,monospace);"
    "color:inherit;background:none;padding:0;opacity:.75;overflow-wrap:anywhere}"
    "& i{flex:none;width:18px;height:18px;border-radius:9px;color:#fff;background:#767676;"
    "font:700 12px/18px system-ui,sans-serif;text-align:center}"
    "& i.ok{background:#217a4f}& i.warn{background:#9a5b00}& i.bad{background:#c93a32}"
    "& dl{display:flex;flex-wrap:wrap;gap:8px 32px;margin:0 0 8px}"
    "& dl div{min-width:4em}"
    "& dl dt,& dl dd{display:block;float:none;width:auto;margin:0;padding:0}"
    "& dl dt{font-size:11.5px;font-weight:400;line-height:16px;opacity:.68}"
    "& dl dd{line-height:20px;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}"
    "& dl dd small{font-size:11.5px;opacity:.68;margin-left:.5em}"
    "& .grid{overflow-x:auto;margin:0 0 8px}"
    "& table{border-collapse:collapse;font-size:12.5px;line-height:18px;margin:0;border:0}"
    "& th,& td{text-align:left;padding:3px 20px 3px 0;vertical-align:top;"
    "border:0;border-bottom:1px solid var(--iotf-line);background:none;color:inherit}"
    "& tbody tr:nth-child(n){background:none}"
    "& summary{cursor:pointer;font-size:12.5px;margin:0 0 4px}& details{margin:0 0 8px}"
    "& th{font-size:11.5px;font-weight:400;white-space:nowrap;opacity:.68}"
    "& tr:last-child td{border-bottom:0}& td:first-child{white-space:nowrap}"
    "& .n{text-align:right;font-variant-numeric:tabular-nums}"
    "& .bar{height:4px;border-radius:2px;background:var(--iotf-line);margin:0 0 8px;"
    "max-width:32em;overflow:hidden}"
    "& .bar b{display:block;height:4px;border-radius:2px;background:#3b7dd8}"
    "& .bar.ok b{background:#217a4f}& .bar.warn b{background:#9a5b00}"
    "& .bar.bad b{background:#c93a32}"
    "& p{margin:0 0 4px 0;padding-left:10px;border-left:2px solid #9a5b00}"
    "</style>"
).replace("&", ".iotf.iotf")


@dataclass(frozen=True, repr=False)
class Card:
    """A title, a status, facts and tables.

    status : "ok", "warn", "bad" or "": the mark before the title
    facts : (label, value) pairs; a value may be a pair of the value itself and a detail
    bar : how much of something is done, 0 to 1
    problems : what is wrong and what to do about it, each shown in full
    """

    title: str
    subtitle: str = ""
    status: str = ""
    facts: Sequence[tuple[str, Any]] = ()
    grids: Sequence[Grid] = ()
    notes: Sequence[str] = field(default=())
    problems: Sequence[str] = ()
    bar: float | None = None

    @property
    def _texts(self) -> list[tuple[str, str]]:
        """What is said in sentences, each with what it is."""
        texts = []
        for label, all_of_it in (("problem", self.problems), ("note", self.notes)):
            texts += [(label, text) for text in all_of_it[:MAX_ROWS]]
            if (more := len(all_of_it) - MAX_ROWS) > 0:
                texts.append((label, f"… and {more:,} more"))
        return texts

    def text(self) -> str:
        """The card as plain text, as standard output can show it, and a terminal its width."""
        width = terminal_width()
        mark = _MARKS.get(self.status)
        title = f"{mark} {self.title}" if mark else self.title
        lines = [f"{title}  {self.subtitle}".rstrip()]
        n = max((len(label) for label, _ in self.facts), default=0)
        for label, value in self.facts:
            main, detail = value if isinstance(value, tuple) else (value, "")
            text = f"{cell_text(main)} ({cell_text(detail)})" if detail else cell_text(main)
            lines += wrapped(text, f"  {label:<{n}}  ", " " * (n + 4), width=width)
        for grid in self.grids:
            lines += grid.text(width=width)
        for label, text in self._texts:
            lines += wrapped(
                f"{label}: {text}", "  ", "    ", width=min(width or MAX_TEXT, MAX_TEXT)
            )
        return printable("\n".join(lines))

    def html(self) -> str:
        """The card as HTML; every value is escaped."""
        mark = _MARKS.get(self.status)
        icon = f'<i class="{self.status}">{mark}</i>' if mark else ""
        subtitle = f"<code>{escape(shorten(self.subtitle))}</code>" if self.subtitle else ""
        head = f'<div class="head">{icon}<b>{escape(self.title)}</b>{subtitle}</div>'
        parts = [f'{_STYLE}<div class="iotf">{head}']
        if self.bar is not None:
            width = f"{100 * min(max(self.bar, 0), 1):.1f}"
            parts.append(f'<div class="bar {self.status}"><b style="width:{width}%"></b></div>')
        if self.facts:
            parts.append(f"<dl>{''.join(_html_fact(*fact) for fact in self.facts)}</dl>")
        parts += [grid.html() for grid in self.grids]
        parts += [f"<p>{escape(f'{label}: {text}')}</p>" for label, text in self._texts]
        return "".join(parts) + "</div>"

    def __repr__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        return self.html()


class Shown(ABC):
    """An object displayed as a card; a dataclass that derives from it sets ``repr=False``."""

    @abstractmethod
    def card(self) -> Card:
        """Its summary card."""

    def __repr__(self) -> str:
        return self.card().text()

    def _repr_html_(self) -> str:
        return self.card().html()


def _html_fact(label: str, value: Any) -> str:
    main, detail = value if isinstance(value, tuple) else (value, "")
    small = f"<small>{escape(cell_text(detail))}</small>" if detail else ""
    return f"<div><dt>{escape(label)}</dt><dd>{escape(cell_text(main))}{small}</dd></div>"
