"""The panel without a browser: what it does, what it says to one, and that it leaves nothing."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Mapping
from typing import Any

import comm
import numpy as np
import pytest
from noting import Notes

import iotdb_frames as iotf
from clock import wait_until
from iotdb_frames.client.connection import Connection
from iotdb_frames.errors import ConnectionLost, OptionsError
from iotdb_frames.notebook.panel import chart, shown
from iotdb_frames.notebook.panel.fields import settle
from iotdb_frames.notebook.panel.stream_panel import StreamPanel
from iotdb_frames.simulate import signals as sg
from iotdb_frames.simulate.faults import Fault
from iotdb_frames.simulate.fleet import simulate_fleet
from iotdb_frames.simulate.replay import replay
from iotdb_frames.simulate.sensors import Sensor
from iotdb_frames.simulate.source import SensorSource
from iotdb_frames.sink.sink import IoTDBSink
from turned import TurnedClock

_numbers = itertools.count(1)
HELLO = {"kind": "hello", "view": "v1", "has": False}


@pytest.fixture
def target() -> str:
    """A device of the test's own."""
    return f"root.panel.press{next(_numbers)}"


def _source(**options: Any) -> SensorSource:
    sensors = [Sensor("temp", sg.sine(period_s=5), unit="°C"), Sensor("load", sg.uniform())]
    return SensorSource(sensors, **{"rate_hz": 40, **options})


def _run_until(panel: StreamPanel, *, n_rows: int) -> None:
    """Start and stop, with all drawn that came."""
    panel.start()
    wait_until(lambda: panel.totals.rows >= n_rows)
    panel.stop()
    wait_until(lambda: not panel.view.is_alive)


def test_it_runs_without_a_front_end(notes: Notes, connection: Connection, target: str) -> None:
    """Started, paused, resumed and stopped from code, it counts what the database has."""
    # Of one sensor: rows without any reading leave no trace in a device.
    faults = [Fault("dropout", probability=0.1, sensors="temp")]
    clock = TurnedClock()
    panel = _source(faults=faults).panel(
        to=target, window="100ms", connection=connection, clock=clock
    )
    assert panel.state == "ready"
    panel.start()
    clock.turn(0.55)
    assert panel.totals.rows == 20
    panel.pause()
    assert panel.state == "paused"
    clock.turn(5)
    assert panel.totals.rows == 20
    panel.resume()
    clock.turn(0.3)
    assert panel.totals.rows == 30  # two that were read before the pause, and two windows
    gaps = panel.ledger()["stamped"].diff().dt.total_seconds()
    assert gaps.max() < 5.5
    stats = panel.stop()
    stored = iotf.read(target, start=0, connection=connection)
    assert panel.state == "stopped"
    assert panel.totals.rows == stats.rows == len(stored)
    assert panel.totals.points == int(stored.count().sum()) < 2 * len(stored)
    panel.close()


def test_nothing_is_sent_where_nobody_looks(
    notes: Notes, connection: Connection, target: str
) -> None:
    """Rows go to the browser from the first hello on, with all that was kept before it."""
    panel = _source().panel(to=target, window="100ms", connection=connection)
    widget = panel.view.widget
    panel.start()
    wait_until(lambda: (rows := panel.feed.replay().rows) is not None and len(rows) >= 20)
    assert not notes.custom(widget, "rows")
    notes.say(widget, HELLO)
    ((series, _),) = notes.custom(widget, "series")
    assert [s["name"] for s in series["series"]] == ["temp", "load"]
    assert series["lanes"] == ["°C", ""]
    first = np.frombuffer(notes.custom(widget, "rows")[0][1][0])
    assert len(first) >= 20
    wait_until(lambda: len(notes.custom(widget, "rows")) >= 3)
    panel.stop()
    wait_until(lambda: not panel.view.is_alive)
    sent = [np.frombuffer(bytes(b[0])) for _, b in notes.custom(widget, "rows")]
    stored = iotf.read(target, start=0, connection=connection)
    assert len(np.unique(np.concatenate(sent))) == len(stored)
    panel.close()


def test_what_is_sent_is_what_was_acknowledged(
    notes: Notes, connection: Connection, target: str
) -> None:
    """Times and values in the buffers are those of the database, a missing cell a NaN."""
    panel = _source(faults=["dropout:0.2"]).panel(to=target, window="100ms", connection=connection)
    _run_until(panel, n_rows=40)
    notes.say(panel.view.widget, HELLO)
    ((_, (times, values)),) = notes.custom(panel.view.widget, "rows")
    stored = iotf.read(target, start=0, columns=["temp", "load"], connection=connection)
    sent = np.frombuffer(bytes(values)).reshape(2, -1)
    has_any = ~np.isnan(sent).all(axis=0)  # rows without a value leave no trace in a device
    ticks = np.rint(np.frombuffer(bytes(times)) * 1e3)
    assert np.array_equal(ticks[has_any], stored.index.as_unit("ms").asi8)
    assert np.array_equal(sent[:, has_any], stored.to_numpy().T, equal_nan=True)
    panel.close()


def test_a_reload_is_told_everything_again(
    notes: Notes, connection: Connection, target: str
) -> None:
    """A second view gets lines, rows and marks for itself; the first is not told again."""
    panel = _source(faults=["spike:0.2"]).panel(to=target, window="100ms", connection=connection)
    _run_until(panel, n_rows=20)
    notes.say(panel.view.widget, HELLO)
    notes.say(panel.view.widget, {**HELLO, "view": "v2"})
    for kind in ("series", "rows", "marks"):
        assert [content.get("view") for content, _ in notes.custom(panel.view.widget, kind)] == [
            None,
            "v2",
        ]
    panel.close()


def test_a_hello_may_come_beside_the_widgets_own_comm(
    notes: Notes, connection: Connection, target: str
) -> None:
    """A view whose comm is dead opens one for its hello, is answered, and leaves none open."""
    panel = _source().panel(to=target, window="100ms", connection=connection)
    _run_until(panel, n_rows=20)
    widget, n_open = panel.view.widget, len(notes.open)
    for key in (widget.key, "somebody else's"):
        hello = {"comm_id": key, "target_name": chart.HELLO_TARGET, "data": {**HELLO, "key": key}}
        comm.get_comm_manager().comm_open(None, None, {"content": hello, "buffers": []})
    ((welcome, _),) = notes.custom(widget, "welcome")
    assert welcome["view"] == "v1"
    assert len(notes.custom(widget, "series")) == len(notes.custom(widget, "rows")) == 1
    assert [kind for comm_id, kind, *_ in notes.sent if comm_id == widget.key] == ["comm_close"]
    assert len(notes.open) == n_open
    panel.close()


def test_hellos_that_had_to_wait_are_answered_once(
    notes: Notes, connection: Connection, target: str
) -> None:
    """What a view said again and again while the kernel was busy brings its rows once."""
    panel = _source().panel(to=target, window="100ms", connection=connection)
    _run_until(panel, n_rows=20)
    for _ in range(5):
        notes.say(panel.view.widget, HELLO)
    assert len(notes.custom(panel.view.widget, "welcome")) == 5
    assert len(notes.custom(panel.view.widget, "rows")) == 1
    panel.close()


def test_views_that_left_are_not_served(notes: Notes, connection: Connection, target: str) -> None:
    """Without a hello for a while nothing more is sent; the next one brings it all."""
    panel = _source().panel(to=target, window="100ms", connection=connection)
    widget = panel.view.widget
    notes.say(widget, HELLO)
    panel.start()
    wait_until(lambda: notes.custom(widget, "rows"))
    seen_at = panel.view._seen_at
    assert seen_at is not None
    panel.view._seen_at = seen_at - chart.FORGET_VIEWS_S - 1
    rows = panel.totals.rows
    wait_until(lambda: panel.totals.rows >= rows + 20)  # what was on its way is through
    before = len(notes.custom(widget, "rows"))
    wait_until(lambda: panel.totals.rows >= rows + 60)
    assert len(notes.custom(widget, "rows")) == before
    notes.say(widget, {**HELLO, "has": True})
    again = notes.custom(widget, "rows")[before]
    assert len(np.frombuffer(bytes(again[1][0]))) >= 40
    panel.close()


def test_controls_change_a_running_stream(
    notes: Notes, connection: Connection, target: str
) -> None:
    """Rate, sensors, faults and speed of the controls are those of the stream from then on."""
    panel = _source().panel(to=target, window="100ms", connection=connection)
    panel.start()
    controls = panel.controls
    controls.rate.value = 80.0
    controls.sensors.value = 3
    controls.speed.value = 10.0
    controls.chance.value = 50.0
    controls._add.click()
    source = panel.stream.source
    wait_until(lambda: panel.stream.source.rate_hz == 80.0 and panel.stream.source.faults)
    wait_until(lambda: "temp1" in [s.name for s in panel.feed.lines.series])
    assert panel.stream.pace[1] == 10.0
    assert source is not None
    wait_until(lambda: panel.totals.faults.get("spike", 0) > 5)
    chip = controls._chips.children[0]
    assert chip.description == "spike 50 %"
    chip.click()
    wait_until(lambda: not panel.stream.source.faults)
    panel.close()


@pytest.mark.parametrize(
    ("control", "value", "word"),
    [("window", "nonsense", "window"), ("window", "0", "window"), ("signal", "on_off", "spike")],
)
def test_what_cannot_be_meant_is_said_and_nothing_changes(
    notes: Notes, connection: Connection, target: str, control: str, value: str, word: str
) -> None:
    """A wrong setting shows in words; the stream goes on as it was; a right one takes it away."""
    panel = _source(faults=["spike:0.1"]).panel(to=target, window="100ms", connection=connection)
    panel.start()
    before = getattr(panel.controls, control).value
    getattr(panel.controls, control).value = value
    why = panel.controls._fields[control].why
    assert word in why.lower()
    assert why.endswith(f"{before} stays.")
    assert "iotf-refused" in getattr(panel.controls, control)._dom_classes
    assert panel.state == "running"
    getattr(panel.controls, control).value = before
    assert not panel.controls._fields[control].why
    assert "iotf-refused" not in getattr(panel.controls, control)._dom_classes
    panel.close()


def test_one_refused_field_keeps_nothing_else_back(
    notes: Notes, connection: Connection, target: str
) -> None:
    """A rate of -5 is refused where it is entered; what else is entered then is applied."""
    panel = _source().panel(to=target, window="100ms", connection=connection)
    panel.start()
    controls, rate_hz = panel.controls, panel.source.rate_hz
    controls.rate.value = -5.0
    controls.speed.value = 10.0
    controls.window.value = "200ms"
    assert panel.stream is not None
    assert panel.stream.pace == ("200ms", 10.0)
    assert controls.rate.value == -5.0
    assert "rate of -5 Hz" in controls._fields["rate_hz"].why
    assert panel.stream.source.rate_hz == rate_hz
    assert not panel.view.widget.state["error"]
    controls.rate.value = 2 * rate_hz
    assert not controls._fields["rate_hz"].why
    wait_until(lambda: panel.stream.source.rate_hz == 2 * rate_hz)
    panel.close()


def test_a_fault_that_cannot_be_is_not_added(
    notes: Notes, connection: Connection, target: str
) -> None:
    """A chance of 150 % is refused, not cut to 100."""
    panel = _source().panel(to=target, connection=connection)
    panel.controls.chance.value = 150.0
    panel.controls._add.click()
    assert "probability" in panel.controls._fields["faults"].why
    assert not panel.controls._chips.children
    panel.close()


def test_fields_that_fit_only_together_are_applied_together() -> None:
    """A value that is refused is tried again with the next one that is entered."""

    def check(values: Mapping[str, Any]) -> None:
        if values["low"] >= values["high"]:
            raise OptionsError("low must be below high")

    before = {"low": 1, "high": 2, "name": "a"}
    good, refused = settle(before, {"low": 5, "high": 2, "name": "b"}, check)
    assert (good, [*refused]) == ({"low": 1, "high": 2, "name": "b"}, ["low"])
    assert settle(good, {"low": 5, "high": 9, "name": "b"}, check) == (
        {"low": 5, "high": 9, "name": "b"},
        {},
    )


def test_a_stream_needs_a_target(notes: Notes, connection: Connection) -> None:
    """Start without a target raises in code, and is said in words where the button is pressed."""
    panel = _source().panel(connection=connection)
    with pytest.raises(OptionsError, match="the target is missing"):
        panel.start()
    panel.controls._main.click()
    assert "the target is missing" in panel.view.widget.state["error"]
    panel.controls.target.value = f"root.panel.press{next(_numbers)}"
    panel.controls._main.click()
    assert panel.state == "running"
    assert not panel.view.widget.state["error"]
    panel.close()


def test_a_server_that_is_not_there_is_said(notes: Notes) -> None:
    """The error of the button is the message and what to do about it."""
    nobody = iotf.connect("iotdb://root:root@127.0.0.1:1")
    panel = _source().panel(to="root.a.b", connection=nobody)
    panel.controls._main.click()
    state = panel.view.widget.state
    assert "127.0.0.1:1" in state["error"]
    assert "local:" in state["error"]
    with pytest.raises(ConnectionLost):
        panel.start()
    panel.close()


def test_a_refused_window_ends_the_stream_with_a_reason(
    notes: Notes, connection: Connection, target: str
) -> None:
    """A type that the database does not take is said in words, and Start can be pressed again."""
    iotf.write(
        _source().window(3).assign(temp="text"), target, connection=connection, progress=False
    )
    panel = _source().panel(to=target, window="100ms", connection=connection)
    panel.start()
    wait_until(lambda: panel.state == "failed")
    wait_until(lambda: "temp" in panel.view.widget.state["error"])
    assert panel.view.widget.state["tone"] == "bad"
    wait_until(lambda: not panel.controls._main.disabled)
    assert panel.controls._main.description == "Start"
    panel.close()


def test_start_after_stop_is_a_new_stream(
    notes: Notes, connection: Connection, target: str
) -> None:
    """A panel that was stopped starts again, to another target if that was changed."""
    panel = _source().panel(to=target, window="100ms", connection=connection)
    panel.start()
    wait_until(lambda: panel.totals.rows >= 8)
    panel.stop()
    other = f"{target}_b"
    panel.controls.target.value = other
    panel.start()
    wait_until(lambda: panel.totals.rows >= 8)
    panel.stop()
    assert len(iotf.read(other, start=0, connection=connection)) == panel.totals.rows
    panel.close()


def test_a_panel_of_a_running_stream_does_not_own_it(
    notes: Notes, connection: Connection, target: str
) -> None:
    """`stream.panel()` follows and drives a stream; closing the panel leaves it running."""
    stream = _source().stream(to=target, window="100ms", now=True, connection=connection)
    with stream:
        panel = stream.panel()
        assert panel.controls.target.value == target
        wait_until(lambda: panel.totals.rows >= 8)
        panel.pause()
        assert stream.state == "paused"
        panel.resume()
        panel.close()
        assert stream.state == "running"


def test_its_buttons_follow_a_stream_that_others_drive(
    notes: Notes, connection: Connection, target: str
) -> None:
    """Attached before the start, a panel offers what can be done at each moment, and the target."""
    stream = _source().stream(to=target, window="100ms", now=True, connection=connection)
    panel = stream.panel()
    assert panel.controls.target.value == target
    main = panel.controls._main
    assert main.description == "Start"
    stream.start()
    wait_until(lambda: main.description == "Pause" and not panel.controls._stop.disabled)
    stream.pause()
    wait_until(lambda: main.description == "Resume")
    stream.stop()
    wait_until(lambda: main.description == "Start" and main.disabled)
    panel.close()


def test_a_sink_counts_by_its_tickets(notes: Notes, server: Any, target: str) -> None:
    """Of a stream into a sink a row counts when the sink's ticket says it is acknowledged."""
    options = iotf.IoTDBOptions(
        url=server.url, password=str(server.options.password), storage_group="root.panel"
    )
    schema = iotf.DefaultIoTSerializationSchema(device=target)
    sink = IoTDBSink(options, schema, batch_size=30, flush_interval_s=60)
    with sink:
        panel = _source().panel(to=sink, window="100ms")
        panel.start()
        wait_until(lambda: panel.totals.rows >= 30)
        panel.pause()
        totals = panel.totals
        assert totals.rows + totals.backlog == panel.stats.rows
        panel.stop()
        wait_until(lambda: panel.totals.backlog == 0)
        assert panel.totals.rows == sink.stats.acknowledged
        assert panel.totals.p99_s == pytest.approx(sink.stats.latency_p99_s)
        panel.close()


def test_a_fleet_and_a_recording_have_panels(
    notes: Notes, connection: Connection, target: str
) -> None:
    """Devices by tags go into a table, a recording goes as it was."""
    table = f"panel.fleet{next(_numbers)}"
    fleet = simulate_fleet(3, model="table", rate_hz=10).panel(
        to=table, window="200ms", connection=connection
    )
    recorded = replay(_source(duration="5s").frame(), speed=5.0)
    again = recorded.panel(to=target, connection=connection)
    for panel in (fleet, again):
        panel.start()
    wait_until(lambda: fleet.totals.rows >= 12)
    wait_until(lambda: again.state == "finished")
    wait_until(lambda: again.totals.rows == 200)
    fleet.stop()
    stored = iotf.read(table, start=0, connection=connection)
    assert len(stored) == fleet.totals.rows
    assert {s.device[-1] for s in fleet.feed.lines.series} == set(stored["machine"])
    for panel in (fleet, again):
        panel.close()


def test_it_shows_what_it_is_everywhere(notes: Notes, connection: Connection, target: str) -> None:
    """Its bundle has a widget while it lives, and always text and a still picture."""
    panel = _source().panel(to=target, window="100ms", connection=connection)
    assert panel._bundle().keys() == {
        "text/plain", "text/html", "application/vnd.jupyter.widget-view+json"
    }  # fmt: skip
    panel.start()
    wait_until(lambda: panel.totals.rows >= 8)
    panel.stop()
    panel.close()
    bundle = panel._bundle()
    assert bundle.keys() == {"text/plain", "text/html"}
    assert "temp" in bundle["text/plain"]
    assert "<svg" in bundle["text/html"]


def test_its_still_picture_has_the_last_rows(
    notes: Notes, connection: Connection, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an exported page shows after stop, or after the end, is all that was acknowledged."""
    stills: list[dict[str, str]] = []
    monkeypatch.setattr(shown, "is_in_notebook", lambda: True)
    monkeypatch.setattr(shown, "display", lambda *_, **__: None)
    monkeypatch.setattr(shown, "update_display", lambda bundle, **_: stills.append(bundle))
    for duration in (None, "0.5s"):
        panel = _source().panel(
            to=f"{target}_{duration is None}", window="100ms", duration=duration,
            connection=connection,
        )  # fmt: skip
        panel._ipython_display_()
        panel.start()
        wait_until(lambda panel=panel: panel.totals.rows >= 12)
        if duration is None:
            panel.stop()
        else:
            wait_until(lambda panel=panel: not panel.view.is_alive)
        rows = panel.feed.replay().rows
        assert rows is not None
        assert len(rows) == panel.totals.rows
        text = stills[-1]["text/plain"]
        assert f"acknowledged  {len(rows)} (rows)" in text
        assert re.search(rf"temp +°C +{len(rows)} ", text)
        panel.close()


def test_a_flood_of_rows_is_drawn_less_often(
    notes: Notes, connection: Connection, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What goes to the browser stays below the limit a second, and its last row comes."""
    monkeypatch.setattr(chart, "MAX_BYTES_PER_S", 5_000)
    sent_at: list[tuple[float, int]] = []
    panel = _source(rate_hz=1_000).panel(to=target, window="100ms", connection=connection)
    widget = panel.view.widget
    send = widget.send

    def note(content: Any, buffers: Any = None) -> None:
        if content["kind"] == "rows":
            sent_at.append((time.monotonic(), sum(len(bytes(b)) for b in buffers)))
        send(content, buffers)

    monkeypatch.setattr(widget, "send", note)
    notes.say(widget, HELLO)
    panel.start()
    wait_until(lambda: len(sent_at) >= 3)
    for (at, n_bytes), (later, _) in itertools.pairwise(sent_at[:3]):
        assert later - at >= n_bytes / 5_000
    panel.stop()
    rows = panel.feed.replay().rows
    assert rows is not None
    assert len(rows) == panel.totals.rows
    panel.close()


def test_closing_twice_is_closing_once(notes: Notes, connection: Connection, target: str) -> None:
    """A closed panel can be closed again, by its cell or by hand."""
    panel = StreamPanel(_source(), to=target, connection=connection)
    panel.close()
    panel.close()
