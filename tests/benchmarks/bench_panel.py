"""What a live panel costs: frames a second in a browser, the kernel's CPU, and the writer's pace.

    python tests/benchmarks/bench_panel.py [seconds]

JupyterLab and Chromium (extra ``[browser]``) run a notebook whose kernel streams 20 sensors into a
real IoTDB, with 10,000 rows in its chart: 200,000 points, all redrawn each time. The targets of the
project: 8 frames a second at less than 15 % of a core in the kernel, and a writer that is as fast
with the panel as without. CPU is that of the whole kernel, of which the stream itself has a part:
the same stream without a panel stands beside it, in turns within one run. A writer that goes flat
out shares the cores with the browser; what the panel takes in the kernel shows where nobody looks.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import CDPSession

from harness import print_table
from iotdb_frames.server import LocalServer

sys.path.insert(0, str(Path(__file__).parents[1] / "browser"))
from lab import Lab, Seen, look, run_browser, run_lab

N_SENSORS, N_ROWS, RATE_HZ, ROUNDS = 20, 10_000, 100, 3
FLAT_OUT_ROWS = 1_000_000

# Each lane is cleared once a drawing.
COUNT_DRAWINGS = """
window.drawings = 0;
const clear = CanvasRenderingContext2D.prototype.clearRect;
CanvasRenderingContext2D.prototype.clearRect = function (...box) {
  if (this.canvas.closest('.iotf-panel')) window.drawings++;
  return clear.apply(this, box);
};
"""
SETUP = f"""
import json, math, time
import iotdb_frames as iotf
from iotdb_frames import Sensor, SensorSource, signals as sg

wave = sg.sine(period_s=20, amplitude=5, offset=20) + sg.white_noise(std=0.2)
sensors = [Sensor(f"s{{i}}", wave * (i + 1), unit="V") for i in range({N_SENSORS})]
source = SensorSource(sensors, rate_hz={RATE_HZ})
numbers = iter(range(1000))
panel = None

def measure(seconds, runner):
    runner.start()
    time.sleep(1)
    view = panel and panel.view
    sent = view.frames_sent if view else 0
    cpu, began, rows = time.process_time(), time.monotonic(), runner.stats.rows
    time.sleep(seconds)
    passed = time.monotonic() - began
    stats = runner.stats
    print(json.dumps({{
        "cpu": (time.process_time() - cpu) / passed, "rows_per_s": (stats.rows - rows) / passed,
        "sent": (view.frames_sent - sent) / passed if view else 0,
        "p50_ms": stats.median_send_s * 1e3, "p99_ms": stats.p99_send_s * 1e3,
    }}))
    runner.stop()

def flat_out(runner):
    began = time.monotonic()
    runner.start().wait()
    print(json.dumps({{"seconds": time.monotonic() - began}}))

def filled(runner):
    made = runner.panel(capacity={N_ROWS})
    before = source.replace(start="2025-12-31 23:58:20", duration={N_ROWS // RATE_HZ})
    made.feed.put(before.frame())
    return made
"""
LIVE = """
target = f"root.bench.live{next(numbers)}"
source.stream(to=target, window=5).run(2)  # regions and series
runner = source.stream(to=target, window=5)
"""
FLAT = f"""
target = f"root.bench.flat{{next(numbers)}}"
source.stream(to=target, window=5).run(1)
ended = source.replace(duration={FLAT_OUT_ROWS // RATE_HZ})
runner = ended.stream(to=target, window=1000, speed=math.inf)
"""
MAKE = "panel = filled(runner)"
SHOW = "panel"
CLOSE = "panel.close(); panel = None"


def said(seen: Seen, cell: int) -> dict[str, float]:
    """The JSON that a cell prints."""
    result: dict[str, float] = json.loads(str(seen.output(cell).inner_text()).strip())
    return result


def busy_s(page: CDPSession) -> float:
    """CPU seconds of the page's thread; what paints its canvases comes on top of it."""
    metrics = page.send("Performance.getMetrics")["metrics"]
    return next(float(m["value"]) for m in metrics if m["name"] == "TaskDuration")


def main(seconds: float) -> None:
    print(f"load before: {os.getloadavg()[0]:.2f}")
    with tempfile.TemporaryDirectory() as folder, LocalServer() as server:
        environment = {
            "IOTDB_URL": f"iotdb://{server.options.user}@127.0.0.1:{server.port}",
            "IOTDB_PASSWORD": str(server.options.password),
        }
        with (
            run_lab(Path(folder) / "lab", environment=environment) as lab,
            run_browser(Path(folder)) as browser,
            look(browser, lab) as seen,
        ):
            seen.page.add_init_script(COUNT_DRAWINGS)
            results = rounds(seen, lab, seconds)
            assert not seen.errors, seen.errors
    report(results)
    print(f"load after: {os.getloadavg()[0]:.2f}")


def rounds(seen: Seen, lab: Lab, seconds: float) -> dict[str, list[dict[str, float]]]:
    """Both sides in turns; of each what was measured, a round each."""
    cells = [
        SETUP,
        LIVE,
        FLAT,
        MAKE,
        SHOW,
        f"measure({seconds}, runner)",
        "flat_out(runner)",
        CLOSE,
    ]
    live, flat, make, show, measure, flat_out, close = range(1, len(cells))
    sides = [("live", live, measure, side) for side in ("alone", "panel")]
    sides += [("flat out", flat, flat_out, side) for side in ("alone", "unseen", "panel")]
    seen.open(lab.add("bench.ipynb", *cells))
    seen.run(0)
    found: dict[str, list[dict[str, float]]] = {}
    page = seen.page.context.new_cdp_session(seen.page)
    page.send("Performance.enable", {"timeDomain": "threadTicks"})
    for turn in range(-1, ROUNDS):
        for kind, begin, go, side in sides[:: -1 if turn % 2 else 1]:
            seen.run(begin)
            if side != "alone":
                seen.run(make)
            if side == "panel":
                seen.run(show)
                assert "Error" not in seen.output(show).inner_text()
                seen.output(show).locator(".iotf-chart").scroll_into_view_if_needed()
                seen.page.wait_for_selector(".iotf-panel canvas")
                seen.output(show).get_by_text("all", exact=True).click()
                seen.page.wait_for_timeout(1_000)
            drawn, busy = seen.page.evaluate("window.drawings"), busy_s(page)
            seen.run(go, timeout_s=300)
            one = said(seen, go)
            one["frames"] = (seen.page.evaluate("window.drawings") - drawn) / (seconds + 1)
            one["busy"] = (busy_s(page) - busy) / (seconds + 1)
            if side != "alone":
                seen.run(close)
            if turn >= 0:
                found.setdefault(f"{kind}, {side}", []).append(one)
    return found


def report(results: dict[str, list[dict[str, float]]]) -> None:
    """Medians."""

    def median(name: str, what: str) -> float:
        return statistics.median(one[what] for one in results[name])

    rows: list[list[Any]] = []
    for name in ("live, alone", "live, panel"):
        rows.append(
            [
                name,
                f"{median(name, 'rows_per_s'):.1f}",
                f"{median(name, 'sent'):.1f}",
                f"{median(name, 'frames'):.1f}",
                f"{median(name, 'busy'):.0%}",
                f"{median(name, 'cpu'):.1%}",
                f"{median(name, 'p50_ms'):.1f}",
                f"{median(name, 'p99_ms'):.1f}",
            ]
        )
    header = ("", "rows/s", "sent/s", "drawn/s", "page CPU", "kernel CPU", "send p50 ms", "p99 ms")
    print(f"\n{N_SENSORS} series at {RATE_HZ} Hz, {N_ROWS:,} rows in the chart; CPU: of a core")
    print_table(header, rows)
    extra = median("live, panel", "cpu") - median("live, alone", "cpu")
    print(f"the panel's own part of a core: {extra:.1%}")
    alone, unseen, shown = (
        median(f"flat out, {side}", "seconds") for side in ("alone", "unseen", "panel")
    )
    print(
        f"\nflat out, {FLAT_OUT_ROWS:,} rows × {N_SENSORS}: {alone:.2f} s alone; with a panel that "
        f"nobody looks at {unseen / alone:.2f} times that, in a browser {shown / alone:.2f} times"
    )


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 10.0)
