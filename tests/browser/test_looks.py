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

THEMES = ("light", "dark")
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
OTHERS = """
many.head(500).reset_index(names="at").to_csv("many.csv", index=False)
source = press(faults=["spike:0.1"])
with iotf.connect() as connection:
    display(iotf.query("SELECT * FROM root.buoy.looks", connection=connection), connection)
display(iotf.LocalServer(), source, iotf.simulate_fleet(3), iotf.replay(many.head(50)))
display(iotf.plan_backfill("many.csv", "root.many.files", time="at"))
display(iotf.backfill("many.csv", "root.many.files", time="at", manifest="m.sql", verify="count"))
display(source.stream(to="root.many.stream", speed=10).run(2), iotf.show("devices", "root.many.**"))
with iotf.IoTDBSink(iotf.IoTDBOptions(storage_group="root.many"),
                    iotf.DefaultIoTSerializationSchema(device="root.many.sunk")) as sink:
    sink.send(many.head(100))
display(sink.stats)
"""


def _pictures(seen: Seen, cell: int, images: Path, name: str, *, selector: str) -> None:
    """The output of a cell in both themes, each text of it readable."""
    seen.page.emulate_media(reduced_motion="reduce")
    for theme in THEMES:
        seen.set_theme(theme)
        assert seen.page.evaluate(FAINT, selector) == []
        output = seen.output(cell)
        output.scroll_into_view_if_needed()
        box = output.bounding_box()
        margin = 58  # of the cell's number
        clip = {
            "x": box["x"] + margin,
            "y": box["y"],
            "width": box["width"] - margin + 4,
            "height": box["height"],
        }
        seen.page.screenshot(path=images / f"{name}-{theme}.png", clip=clip)


def test_the_panel_is_readable(seen: Seen, lab: Lab, images: Path) -> None:
    """Every text of a panel that streams has a contrast of 4.5 at least, as the theme changes."""
    seen.open(lab.add("looks.ipynb", SETUP, PANEL.format(name="press1")))
    seen.run(0)
    seen.run(1)
    _press(seen, "Start")
    _wait(seen, lambda: _counter(seen, "acknowledged") >= 320, timeout_s=40)
    seen.page.mouse.move(0, 0)
    seen.page.evaluate("document.activeElement.blur()")
    _pictures(seen, 1, images, "panel", selector=".iotf-panel")
    _press(seen, "Stop")
    _wait(seen, lambda: _state(seen) == "stopped")


def test_cards_and_progress_are_readable(seen: Seen, lab: Lab, images: Path) -> None:
    """Plan, report and progress: each text has a contrast of 4.5 at least; the bar ends full."""
    seen.open(lab.add("cards.ipynb", SETUP, CARDS))
    seen.run(0)
    seen.run(1)
    bar = seen.output(1).locator(".iotf .bar.ok b")
    assert bar.evaluate("e => e.style.width") == "100%"
    assert "400,000 rows in" in seen.output(1).inner_text()
    _pictures(seen, 1, images, "cards", selector=".iotf")


def test_all_cards_are_readable(seen: Seen, lab: Lab, tmp_path: Path) -> None:
    """So has each text of what else shows itself: results, connections, servers, sources, files."""
    seen.page.set_viewport_size({"width": 1120, "height": 2600})
    seen.open(lab.add("others.ipynb", SETUP, CARDS, OTHERS))
    for cell in range(3):
        seen.run(cell)
    shown = seen.output(2).inner_text()
    for words in ("query", "connection", "sensor source", "backfill plan", "1 of 1 file"):
        assert words in shown
    assert "Error" not in shown
    _pictures(seen, 2, tmp_path, "others", selector=".iotf")


def test_a_watch_beside_a_panel_shows_the_database(seen: Seen, lab: Lab, images: Path) -> None:
    """`watch` draws what the database has of the stream beside it, and stops."""
    name = "press_watched"
    watch = f'follow = iotf.watch("root.plant.{name}", every=0.5)\nfollow'
    seen.open(lab.add("watch.ipynb", SETUP, PANEL.format(name=name), watch, "print(follow.n_rows)"))
    seen.run(0)
    seen.run(1)
    seen.run(2)
    seen.page.wait_for_selector(".iotf-panel >> nth=1")
    assert "no data yet" in seen.output(2).inner_text()
    seen.output(1).locator("button").filter(has_text="Start").click()
    _wait(seen, lambda: "watching" in seen.output(2).inner_text())
    rows = seen.output(2).locator(".iotf-counters > div", has_text="rows seen").locator("dd")
    _wait(seen, lambda: float(rows.inner_text().replace(",", "") or 0) > 160, timeout_s=30)
    seen.output(1).locator("button").filter(has_text="Stop").click()
    acknowledged = seen.output(1).locator(".iotf-counters > div", has_text="acknowledged")
    counted = acknowledged.locator("dd")
    first = "e => e.firstChild.textContent"
    _wait(seen, lambda: rows.inner_text() == counted.evaluate(first))
    _pictures(seen, 2, images, "watch", selector=".iotf-panel")
    seen.output(2).locator("button").filter(has_text="Stop").click()
    _wait(seen, lambda: "stopped" in seen.output(2).inner_text())
    seen.run(3)
    assert seen.output(3).inner_text().strip() == rows.inner_text()
