"""The panel of a sink: its counters, live, whoever sends into it."""

from __future__ import annotations

import itertools
import time
from typing import Any

import pandas as pd
import pytest
from noting import Notes

import iotdb_frames as iotf
from clock import wait_until
from iotdb_frames.server import LocalServer
from iotdb_frames.sink.sink import IoTDBSink

_numbers = itertools.count(1)


@pytest.fixture
def sink(server: LocalServer) -> IoTDBSink:
    """A sink into the session's server, not open yet."""
    options = iotf.IoTDBOptions(
        url=server.url, password=str(server.options.password), storage_group="root.sinkpanel"
    )
    schema = iotf.DefaultIoTSerializationSchema(device=f"root.sinkpanel.d{next(_numbers)}")
    return IoTDBSink(options, schema, batch_size=50, flush_interval_s=60)


def _frame(n_rows: int, start: str = "2026-01-01") -> pd.DataFrame:
    index = pd.date_range(start, periods=n_rows, freq="s", unit="ms", name="time")
    return pd.DataFrame({"v": range(n_rows)}, index=index)


def _counters(panel: Any) -> dict[str, str]:
    return {label: value for label, value, _, _ in panel._state()["counters"]}


def test_it_shows_what_the_sink_counts(notes: Notes, sink: IoTDBSink) -> None:
    """Made before the sink opens, it follows it to its end; its last counters are the sink's."""
    panel = sink.panel()
    assert panel.view.widget.state["word"] == "not open yet"
    with sink:
        sink.send(_frame(50))
        wait_until(lambda: _counters(panel).get("acknowledged") == "50")
        sink.send(_frame(7, "2026-01-02"))
        assert _counters(panel)["backlog"] == "7"
        wait_until(lambda: panel.feed.replay().rows is not None)
        wait_until(lambda: panel.view.widget.state["word"] == "open")
    wait_until(lambda: not panel.view.is_alive)
    wait_until(lambda: panel.view.widget.state["word"] == "closed")
    assert _counters(panel)["acknowledged"] == "57"
    assert [line.name for line in panel.feed.lines.series] == [
        "acknowledged", "refused", "waiting"
    ]  # fmt: skip
    panel.close()


def test_rows_a_second_add_up_to_what_was_acknowledged(notes: Notes, sink: IoTDBSink) -> None:
    """The drawn rates, each times its seconds, are the rows that the server took."""
    with sink:
        panel = sink.panel()
        wait_until(lambda: panel._sampled is not None)
        for day in range(1, 6):
            sink.send(_frame(50, f"2026-02-0{day}"))
            time.sleep(0.3)
        wait_until(lambda: (panel.feed.replay().rows is not None) and _drawn(panel) > 240)
        assert _drawn(panel) == pytest.approx(250, rel=0.1)
        panel.close()


def _drawn(panel: Any) -> float:
    rows = panel.feed.replay().rows
    steps = [0.26, *(rows.times[1:] - rows.times[:-1])]
    return float((rows.values[0] * steps).sum())


def test_a_panel_neither_opens_nor_closes_a_sink(notes: Notes, sink: IoTDBSink) -> None:
    """Shown and closed, it leaves a new sink new, and one closed unopened is simply over."""
    panel = sink.panel()
    repr(panel)
    panel.close()
    assert sink.state == "new"
    sink.close()
    panel = sink.panel()
    wait_until(lambda: not panel.view.is_alive)
    assert "closed" in repr(panel)
    panel.close()
