"""How things look in JupyterLab, light and dark: readable, and pictures of it for the README."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from test_panel import SETUP, _counter, _press, _state, _wait

if TYPE_CHECKING:
    from lab import Lab, Seen

pytestmark = pytest.mark.browser

# Contrast of each text with what is behind it, as WCAG 2 defines it; opacity counts.
FAINT = """(selector) => {
  const parse = (text) => {
    const n = text.match(/[\\d.]+/g)?.map(Number) ?? [0, 0, 0, 0];
    if (text.startsWith('color(')) return [...n.slice(0, 3).map(v => v * 255), n[3] ?? 1];
    return [n[0], n[1], n[2], n[3] ?? 1];
  };
  const over = (top, under) => [0, 1, 2].map(i => top[i] * top[3] + under[i] * (1 - top[3]));
  const light = (c) => {
    const linear = (v) => v <= 0.04 ? v / 12.9 : ((v + 0.055) / 1.055) ** 2.4;
    const [r, g, b] = c.map(v => linear(v / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const found = [];
  for (const el of document.querySelectorAll(selector + ' *')) {
    const text = [...el.childNodes].filter(n => n.nodeType === 3).map(n => n.data.trim()).join('');
    if (!text || !el.checkVisibility() || el.disabled || el.closest(':disabled')) continue;
    const parents = [];
    for (let at = el; at; at = at.parentElement) parents.unshift(at);
    let behind = [255, 255, 255];
    let opacity = 1;
    for (const at of parents) {
      const style = getComputedStyle(at);
      opacity *= Number(style.opacity);
      const color = parse(style.backgroundColor);
      behind = over([...color.slice(0, 3), color[3] * opacity], behind);
    }
    const color = parse(getComputedStyle(el).color);
    const shown = over([...color.slice(0, 3), color[3] * opacity], behind);
    const [high, low] = [light(shown), light(behind)].sort((a, b) => b - a);
    const contrast = (high + 0.05) / (low + 0.05);
    if (contrast < 4.5) found.push(`${text}: ${contrast.toFixed(2)}`);
  }
  return found;
}"""

PANEL = """
panel = press(faults=["spike:0.006", "dropout:0.01"]).panel(to="root.plant.{name}", window="250ms")
panel
"""
CARDS = """
import numpy as np, pandas as pd
from iotdb_frames.data import load_demo

buoy = load_demo()
display(buoy.iotdb.plan("root.buoy.looks"))
display(buoy.iotdb.write("root.buoy.looks"))
rows = 400_000
many = pd.DataFrame(np.random.default_rng(1).normal(size=(rows, 5)), columns=list("abcde"),
                    index=pd.date_range("2026-01-01", periods=rows, freq="s"))
display(many.iotdb.write("root.many.looks"))
"""


def _picture(seen: Seen, cell: int, path: Path) -> None:
    """The output of a cell, without the margin of its number."""
    output = seen.output(cell)
    output.scroll_into_view_if_needed()
    box = output.bounding_box()
    margin = 58
    seen.page.screenshot(
        path=path,
        clip={
            "x": box["x"] + margin,
            "y": box["y"] - 4,
            "width": box["width"] - margin + 8,
            "height": box["height"] + 8,
        },
    )


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_panel_is_readable(seen: Seen, lab: Lab, images: Path, theme: str) -> None:
    """Every text of a panel that streams has a contrast of 4.5 at least."""
    seen.open(lab.add(f"looks-{theme}.ipynb", SETUP, PANEL.format(name=f"press_{theme}")))
    seen.set_theme(theme)
    seen.run(0)
    seen.run(1)
    _press(seen, "Start")
    _wait(seen, lambda: _counter(seen, "acknowledged") >= 320, timeout_s=40)
    assert seen.page.evaluate(FAINT, ".iotf-panel") == []
    _picture(seen, 1, images / f"panel-{theme}.png")
    _press(seen, "Stop")
    _wait(seen, lambda: _state(seen) == "stopped")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_cards_and_progress_are_readable(seen: Seen, lab: Lab, images: Path, theme: str) -> None:
    """Plan, report and progress: each text has a contrast of 4.5 at least; the bar ends full."""
    seen.open(lab.add(f"cards-{theme}.ipynb", SETUP, CARDS))
    seen.set_theme(theme)
    seen.run(0)
    seen.run(1)
    assert seen.page.evaluate(FAINT, ".iotf") == []
    bar = seen.output(1).locator(".iotf .bar.ok b")
    assert bar.evaluate("e => e.style.width") == "100%"
    assert "400,000 rows in" in seen.output(1).inner_text()
    _picture(seen, 1, images / f"cards-{theme}.png")


def test_a_watch_beside_a_panel_shows_the_database(seen: Seen, lab: Lab, images: Path) -> None:
    """`watch` draws what the database has of the stream beside it, and stops."""
    name = "press_watched"
    watch = f'follow = iotf.watch("root.plant.{name}", every=0.5)\nfollow'
    seen.open(lab.add("watch.ipynb", SETUP, PANEL.format(name=name), watch, "print(follow.n_rows)"))
    seen.run(0)
    seen.run(1)
    seen.run(2)
    seen.page.wait_for_selector(".iotf-panel >> nth=1")
    assert "nothing is there yet" in seen.output(2).inner_text()
    seen.output(1).locator("button").filter(has_text="Start").click()
    _wait(seen, lambda: "watching" in seen.output(2).inner_text())
    rows = seen.output(2).locator(".iotf-counters > div", has_text="rows seen").locator("dd")
    _wait(seen, lambda: float(rows.inner_text().replace(",", "")) > 100, timeout_s=30)
    seen.output(1).locator("button").filter(has_text="Stop").click()
    seen.page.wait_for_timeout(2_000)
    acknowledged = seen.output(1).locator(".iotf-counters > div", has_text="acknowledged")
    counted = acknowledged.locator("dd").evaluate("e => e.firstChild.textContent")
    assert rows.inner_text() == counted
    _picture(seen, 2, images / "watch.png")
    seen.output(2).locator("button").filter(has_text="Stop").click()
    _wait(seen, lambda: "stopped" in seen.output(2).inner_text())
