"""The panel in JupyterLab: what it shows is what the database has, and it behaves as it looks."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import pytest

import iotdb_frames as iotf
from iotdb_frames.client.connection import Connection

if TYPE_CHECKING:
    from lab import Lab, Seen
    from playwright.sync_api import WebSocketRoute

pytestmark = pytest.mark.browser

SETUP = """
import threading, time
import ipywidgets.widgets.widget
import iotdb_frames as iotf
from iotdb_frames.simulate import signals as sg
from iotdb_frames.simulate.sensors import Sensor
from iotdb_frames.simulate.source import SensorSource

def press(**options):
    heat = sg.common("heat", sg.red_noise(tau_s=8, std=1.6))
    return SensorSource(
        [
            Sensor("inlet", heat + sg.white_noise(std=0.12) + 57.2, unit="°C"),
            Sensor("outlet", heat * 0.7 + sg.white_noise(std=0.12) + 61.8, unit="°C"),
            Sensor("pressure", sg.sine(period_s=9, amplitude=6, offset=148).noise(std=0.5),
                   unit="bar"),
        ],
        rate_hz=20, seed=4, **options)
"""
LIVE_THREADS = "sorted(t.name for t in threading.enumerate() if t.name.startswith('iotdb-frames'))"


def _panel(target: str, options: str = "") -> str:
    return f'panel = press({options}).panel(to="{target}", window="250ms")\npanel'


def _count(connection: Connection, target: str) -> tuple[int, int]:
    """Rows and points of a device."""
    frame = iotf.read(target, start=0, connection=connection)
    return len(frame), int(frame.count().sum())


def _drawing(seen: Seen) -> str:
    """The pixels of all lanes."""
    return str(
        seen.page.evaluate(
            "[...document.querySelectorAll('.iotf-panel canvas')].map(c => c.toDataURL()).join()"
        )
    )


def _counter(seen: Seen, label: str) -> float:
    tile = seen.page.locator(".iotf-counters > div", has=seen.page.get_by_text(label, exact=True))
    return float(tile.locator("dd").evaluate("e => e.firstChild.textContent").replace(",", ""))


def _wait(seen: Seen, what: Any, *, timeout_s: float = 15) -> None:
    deadline = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        seen.page.wait_for_timeout(150)


def _button(seen: Seen, name: str) -> Any:
    # By its text: the name of a button with an icon has the icon's character in it.
    whole = re.compile(rf"^\s*{name}\s*$")
    return seen.page.locator(".jp-OutputArea button").filter(has_text=whole)


def _press(seen: Seen, name: str) -> None:
    _button(seen, name).click()


def _state(seen: Seen) -> str:
    return str(seen.page.locator(".iotf-head b").first.inner_text())


def _result(seen: Seen, cell: int) -> str:
    return str(seen.output(cell).inner_text()).strip()


def _holds_still(seen: Seen) -> bool:
    before = _drawing(seen)
    seen.page.wait_for_timeout(1_200)
    return _drawing(seen) == before


def test_what_it_counts_and_draws_is_what_the_database_acknowledged(
    seen: Seen, lab: Lab, connection: Connection, target: str
) -> None:
    """Start moves the chart, Pause and Stop hold it still, and the database has what is counted."""
    seen.open(lab.add("counts.ipynb", SETUP, _panel(target, "faults=['dropout:0.02']")))
    seen.run(0)
    seen.run(1)
    seen.page.wait_for_selector(".iotf-panel")
    assert _state(seen) == "ready"
    _press(seen, "Start")
    _wait(seen, lambda: _counter(seen, "acknowledged") >= 40)
    first = _drawing(seen)
    _wait(seen, lambda: _drawing(seen) != first)
    _press(seen, "Pause")
    _wait(seen, lambda: _state(seen) == "paused")
    seen.page.wait_for_timeout(700)
    assert _holds_still(seen)
    assert _counter(seen, "acknowledged") == _count(connection, target)[0]
    _press(seen, "Resume")
    paused = _drawing(seen)
    _wait(seen, lambda: _drawing(seen) != paused)
    _press(seen, "Stop")
    _wait(seen, lambda: _state(seen) == "stopped")
    seen.page.wait_for_timeout(700)
    assert _holds_still(seen)
    assert _counter(seen, "acknowledged") == _count(connection, target)[0] > 40


def test_a_reload_resumes(seen: Seen, lab: Lab, target: str) -> None:
    """After a reload of the page the chart holds the rows of before, and goes on."""
    seen.open(lab.add("reload.ipynb", SETUP, _panel(target)))
    seen.run(0)
    seen.run(1)
    _press(seen, "Start")
    _wait(seen, lambda: _counter(seen, "acknowledged") >= 60)
    seen.page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
    seen.page.wait_for_timeout(500)
    seen.page.reload()
    seen.page.wait_for_selector(".iotf-panel canvas", timeout=30_000)
    _wait(seen, lambda: _counter(seen, "acknowledged") >= 60)
    ringed = "document.querySelector('.iotf-when').textContent"
    _wait(seen, lambda: bool(seen.page.evaluate(ringed)))
    again = _drawing(seen)
    _wait(seen, lambda: _drawing(seen) != again)
    _press(seen, "Stop")
    _wait(seen, lambda: _state(seen) == "stopped")


def test_a_hello_that_gets_lost_is_said_again(seen: Seen, lab: Lab, target: str) -> None:
    """Where the kernel never hears what the chart's widget says, the chart draws all the same."""
    lost = []

    def lose_hellos(page: WebSocketRoute) -> None:
        server = page.connect_to_server()

        def forward(message: str | bytes) -> None:
            data = message.encode() if isinstance(message, str) else message
            if b"comm_msg" in data and b'"hello"' in data:
                lost.append(data)
            else:
                server.send(message)

        page.on_message(forward)

    seen.page.route_web_socket(re.compile("/channels"), lose_hellos)
    seen.open(lab.add("lost.ipynb", SETUP, _panel(target)))
    seen.run(0)
    seen.run(1)
    _press(seen, "Start")
    seen.page.wait_for_selector(".iotf-panel canvas")
    first = _drawing(seen)
    _wait(seen, lambda: _drawing(seen) != first)
    assert lost
    _press(seen, "Stop")
    _wait(seen, lambda: _state(seen) == "stopped")


def test_running_the_cell_again_leaks_nothing(seen: Seen, lab: Lab, target: str) -> None:
    """Run three times more while it streams, a cell leaves as many threads and widgets as once."""
    start = "\npanel.start(); time.sleep(1)"
    cell = _panel(target).replace("\npanel", start) + "\npanel"
    size = f"print(len(ipywidgets.widgets.widget._instances), {LIVE_THREADS})"
    seen.open(lab.add("again.ipynb", SETUP, cell, size))
    seen.run(0)
    seen.run(1)
    seen.run(2)
    once = _result(seen, 2)
    for _ in range(3):
        seen.run(1)
    seen.run(2)
    assert _result(seen, 2) == once
    assert once.count("iotdb-frames-stream") == 1


def test_an_interrupt_stops_the_cell_and_not_the_stream(
    seen: Seen, lab: Lab, connection: Connection, target: str
) -> None:
    """A kernel interrupt ends a busy cell; the stream goes on, and so does the server."""
    seen.open(lab.add("interrupt.ipynb", SETUP, _panel(target), "time.sleep(60)"))
    seen.run(0)
    seen.run(1)
    _press(seen, "Start")
    seen.page.evaluate("""() => {
      const app = window.jupyterapp;
      app.shell.currentWidget.content.activeCellIndex = 2;
      app.commands.execute('notebook:run-cell');
    }""")
    _wait(seen, lambda: _counter(seen, "acknowledged") >= 20)  # drawn while the cell is busy
    seen.page.evaluate("window.jupyterapp.commands.execute('notebook:interrupt-kernel')")
    _wait(seen, lambda: "KeyboardInterrupt" in _result(seen, 2))
    before = _counter(seen, "acknowledged")
    _wait(seen, lambda: _counter(seen, "acknowledged") > before + 20)
    assert _state(seen) == "streaming"
    _press(seen, "Stop")
    _wait(seen, lambda: _state(seen) == "stopped")
    assert _count(connection, target)[0] == _counter(seen, "acknowledged")


def test_buttons_work_while_a_cell_is_busy(seen: Seen, lab: Lab, target: str) -> None:
    """Pause holds the stream within a second although a cell keeps the kernel busy."""
    seen.open(lab.add("busy.ipynb", SETUP, _panel(target), "time.sleep(12)"))
    seen.run(0)
    seen.run(1)
    _press(seen, "Start")
    _wait(seen, lambda: _counter(seen, "acknowledged") >= 10)
    seen.page.evaluate("""() => {
      const app = window.jupyterapp;
      app.shell.currentWidget.content.activeCellIndex = 2;
      app.commands.execute('notebook:run-cell');
    }""")
    seen.page.wait_for_timeout(500)
    _press(seen, "Pause")
    _wait(seen, lambda: _state(seen) == "paused", timeout_s=2)
    assert "[*]" in seen.page.locator(".jp-InputPrompt").nth(2).inner_text()
    seen.page.evaluate("window.jupyterapp.commands.execute('notebook:interrupt-kernel')")


def test_controls_change_the_stream_and_say_what_they_cannot(
    seen: Seen, lab: Lab, target: str
) -> None:
    """A fault added by hand shows in the counters; a window without sense is said in words."""
    seen.open(lab.add("controls.ipynb", SETUP, _panel(target), "print(panel.stream.source)"))
    seen.run(0)
    seen.run(1)
    _press(seen, "Start")
    _wait(seen, lambda: _counter(seen, "acknowledged") >= 10)
    output = seen.output(1)
    output.get_by_label("chance, %").fill("20")
    output.get_by_label("chance, %").press("Enter")
    _press(seen, "Add fault")
    _wait(seen, lambda: _counter(seen, "spike") >= 5)
    output.get_by_label("window").fill("nonsense")
    output.get_by_label("window").press("Enter")
    why = output.locator(".iotf-why").filter(has_text="stays")
    why.wait_for(timeout=15_000)
    assert "window" in why.inner_text()
    assert "Traceback" not in why.inner_text()
    output.get_by_label("window").fill("100ms")
    output.get_by_label("window").press("Enter")
    why.wait_for(state="detached", timeout=15_000)
    _press(seen, "Stop")
    _wait(seen, lambda: _state(seen) == "stopped")
    seen.run(2)
    assert "probability=0.2" in _result(seen, 2)


def test_a_server_that_is_not_there_is_said_in_words(seen: Seen, lab: Lab) -> None:
    """Start against a closed port shows what is wrong and what to do, and can be pressed again."""
    cell = 'press().panel(to="root.a.b", connection="iotdb://root:root@127.0.0.1:1")'
    seen.open(lab.add("nobody.ipynb", SETUP, cell))
    seen.run(0)
    seen.run(1)
    _press(seen, "Start")
    error = seen.page.locator(".iotf-error")
    _wait(seen, error.is_visible)
    assert "127.0.0.1:1" in error.inner_text()
    assert "local:" in error.inner_text()
    assert _button(seen, "Start").is_enabled()


def test_a_refused_field_is_marked_and_the_rest_goes_on(seen: Seen, lab: Lab, target: str) -> None:
    """A rate of -5 is marked where it was entered, with the reason; the stream keeps its own."""
    seen.open(lab.add("refused.ipynb", SETUP, _panel(target)))
    seen.run(0)
    seen.run(1)
    _press(seen, "Start")
    _wait(seen, lambda: _counter(seen, "acknowledged") >= 20)
    rate = seen.output(1).locator(".widget-text").filter(has_text="rate").locator("input")
    rate.fill("-5")
    rate.press("Enter")
    why = seen.output(1).locator(".iotf-why")
    why.filter(has_text="20 Hz stays").wait_for(timeout=10_000)
    assert rate.input_value() == "-5"
    assert rate.evaluate("e => getComputedStyle(e).borderTopColor") == "rgb(208, 67, 59)"
    assert _state(seen) == "streaming"
    rate.fill("10")
    rate.press("Enter")
    why.filter(has_text="stays").wait_for(state="detached", timeout=10_000)
    _press(seen, "Stop")
    _wait(seen, lambda: _state(seen) == "stopped")


def test_a_panel_without_a_kernel_does_not_say_that_it_streams(
    seen: Seen, lab: Lab, target: str
) -> None:
    """After a restart of the kernel the panel says that it is gone, and what to do."""
    seen.open(lab.add("restarted.ipynb", SETUP, _panel(target)))
    seen.run(0)
    seen.run(1)
    _press(seen, "Start")
    _wait(seen, lambda: _counter(seen, "acknowledged") >= 20)
    seen.page.evaluate(
        "window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()"
    )
    _wait(seen, lambda: _state(seen) == "no kernel", timeout_s=30)
    assert "run the cell again" in seen.output(1).inner_text()
    assert "streaming" not in seen.output(1).inner_text()
