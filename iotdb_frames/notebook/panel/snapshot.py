"""A panel without widgets: in an exported page, a notebook on GitHub, a terminal.

A card with a table, which every sanitizer lets through, and a drawing above it, which most do.
"""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np

from iotdb_frames.display.card import Card
from iotdb_frames.display.grid import Grid
from iotdb_frames.notebook.panel.counters import Tile, number
from iotdb_frames.notebook.panel.feed import Feed, Floats, Lines, Rows

_COLORS = ("#2a6fdb", "#d9730d", "#1b8a5a", "#9b4dca", "#0b8ba3", "#a8791a", "#c2408f", "#5b6b7f")
_FAULT = "#d0433b"
_ONLY_IF_ANY = ("backlog", "retries", "refused")
_BLOCKS = "▁▂▃▄▅▆▇█"
_WIDTH, _HEIGHT, _MAX_POINTS = 760, 110, 380


def card(feed: Feed, *, title: str, word: str, counters: list[Tile]) -> Card:
    """The panel at this moment."""
    kept = feed.replay()
    rows = []
    for i, line in enumerate(kept.lines.series if kept.lines else ()):
        values = kept.rows.values[i] if kept.rows is not None else np.empty(0)
        there = values[~np.isnan(values)]
        ends = (there[-1], there.min(), there.mean(), there.max()) if len(there) else ("",) * 4
        rows.append((line.name, line.unit, len(there), *ends, spark(values)))
    header = ("series", "unit", "points", "last", "min", "mean", "max", "course")
    facts: list[tuple[str, Any]] = [
        (label, (value, unit) if unit else value)
        for label, value, unit, _ in counters
        if value != "0" or label not in _ONLY_IF_ANY
    ]
    return Card(title, word, facts=facts, grids=[Grid(header, rows)] if rows else [])


def html(feed: Feed, **shown: Any) -> str:
    """The card and a drawing."""
    kept = feed.replay()
    drawing = ""
    if kept.lines is not None and kept.rows is not None:
        marks = [(mark.time, mark.series) for mark in kept.marks]
        drawing = "".join(
            _lane(kept.lines, kept.rows, lane, marks) for lane in range(len(kept.lines.lanes))
        )
    return card(feed, **shown).html() + drawing


def spark(values: Floats, *, width: int = 24) -> str:
    """A line of blocks: the means of `width` parts; a blank where all of a part is missing."""
    there = values[~np.isnan(values)]
    if not len(there):
        return ""
    low, high = float(there.min()), float(there.max())
    text = ""
    for part in np.array_split(values, min(width, len(values))):
        part = part[~np.isnan(part)]
        if not len(part):
            text += " "
            continue
        level = 0.5 if high == low else (float(part.mean()) - low) / (high - low)
        text += _BLOCKS[min(7, int(level * 8))]
    return text


def _lane(lines: Lines, rows: Rows, lane: int, marks: list[tuple[float, int]]) -> str:
    members = [i for i, line in enumerate(lines.series) if line.lane == lane]
    order = np.argsort(rows.times, kind="stable")
    order = order[:: max(1, len(order) // _MAX_POINTS)]
    times, values = rows.times[order], rows.values[:, order]
    there = values[members][~np.isnan(values[members])]
    if not len(there):
        return ""
    low, high = float(there.min()), float(there.max())
    x = (times - times[0]) / max(float(times[-1] - times[0]), 1e-9) * (_WIDTH - 8) + 4
    y = _HEIGHT - 6 - (values - low) / max(high - low, 1e-12) * (_HEIGHT - 24)
    drawn = []
    for i in members:
        path, is_down = [], False
        for at_x, at_y in zip(x.tolist(), y[i].tolist(), strict=True):
            if at_y == at_y:
                path.append(f"{'L' if is_down else 'M'}{at_x:.1f} {at_y:.1f}")
            is_down = at_y == at_y
        color = _COLORS[lines.series[i].color % len(_COLORS)]
        drawn.append(f'<path d="{"".join(path)}" fill="none" stroke="{color}" stroke-width="1.5"/>')
    for time, series in marks:
        if series in (-1, *members) and times[0] <= time <= times[-1]:
            at = 4 + (time - times[0]) / max(float(times[-1] - times[0]), 1e-9) * (_WIDTH - 8)
            drawn.append(f'<rect x="{at - 1:.1f}" y="14" width="2" height="5" fill="{_FAULT}"/>')
    names = ", ".join(lines.series[i].name for i in members)
    label = f"{lines.lanes[lane] or names}  {number(low)} … {number(high)}"
    return (
        f'<svg role="img" aria-label="{escape(names, quote=True)}" width="{_WIDTH}" '
        f'height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}" style="display:block;max-width:100%">'
        f'<text x="4" y="10" font-size="11" font-family="system-ui,sans-serif" '
        f'fill="currentColor" opacity=".68">{escape(label)}</text>{"".join(drawn)}</svg>'
    )
