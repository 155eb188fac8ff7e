"""The controls of a panel, and their values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ipywidgets as w

from iotdb_frames.errors import OptionsError
from iotdb_frames.notebook.panel.fields import Field
from iotdb_frames.notebook.panel.settings import AS_GIVEN, CHARTED_SIGNALS
from iotdb_frames.play.playable import Playable
from iotdb_frames.simulate.faults import KINDS, Fault
from iotdb_frames.simulate.source import SensorSource

SPEEDS = (0.1, 1.0, 10.0, 60.0, 600.0, 3600.0)
MAX_SENSORS = 20
_LABEL = {"description_width": "76px"}
_WIDE = {"width": "auto"}


class Controls:
    """Buttons, a target, and settings that can be changed while rows flow.

    Parameters
    ----------
    source : as in the code
    target, window, speed : initial values
    on_press : called with "start", "pause", "resume" or "stop"
    on_change : called after a control was changed
    can_restart, can_retarget : whether Start can make a new stream, and to a different target
    """

    def __init__(
        self,
        source: Playable,
        *,
        target: str,
        window: Any,
        speed: float,
        can_restart: bool,
        can_retarget: bool,
        on_press: Callable[[str], None],
        on_change: Callable[[], None],
    ) -> None:
        self._source = source
        self._on_press, self._on_change = on_press, on_change
        self._fields: dict[str, Field] = {}
        self._can_restart, self._can_retarget = can_restart, can_retarget
        self._main = w.Button(description="Start", icon="play", button_style="primary")
        self._stop = w.Button(description="Stop", icon="stop", disabled=True)
        for button in (self._main, self._stop):
            button.layout.width = "104px"
        self._action = "start"
        self._main.on_click(lambda _: self._on_press(self._action))
        self._stop.on_click(lambda _: self._on_press("stop"))
        self.target = w.Text(
            value=target, placeholder="root.plant.press1  or  database.table", layout={"flex": "1"}
        )
        self.target.tooltip = "where the rows go"
        self.window = w.Text(value=str(window), description="window", style=_LABEL, layout=_WIDE)
        self.window.tooltip = "amount sent at once: rows, or a span such as 500ms"
        self.window.continuous_update = False
        speeds = sorted({*SPEEDS, speed})
        self.speed = w.Dropdown(
            options=[(f"{s:,g} ×", s) for s in speeds],
            value=speed,
            description="speed",
            style=_LABEL,
            layout=_WIDE,
        )
        self._faults: list[Fault] = []
        self.hidden: list[w.Widget] = []
        groups = [self._group("Delivery", {"window": self.window, "speed": self.speed})]
        if isinstance(source, SensorSource):
            self._faults = list(source.faults)
            groups = [self._signal_group(source), *groups, self._fault_group()]
        bar = w.HBox([self._main, self._stop, self.target], layout={"margin": "0 0 4px"})
        grid = w.GridBox(
            groups,
            layout={
                "grid_template_columns": "repeat(auto-fit, minmax(250px, 1fr))",
                "grid_gap": "4px 28px",
                "margin": "6px 0 4px",
            },
        )
        grid.add_class("iotf-controls")
        self.top, self.bottom = bar, grid

    # --- values ---

    def entered(self) -> dict[str, Any]:
        """Values by field: ``window``, ``speed``, and those of `SourceSettings`, if it has any."""
        text = self.window.value.strip()
        values = {"window": int(text) if text.isdecimal() else text, "speed": self.speed.value}
        if isinstance(self._source, SensorSource):
            values |= {
                "n_sensors": self.sensors.value,
                "rate_hz": self.rate.value,
                "signal": self.signal.value,
                "noise": self.noise.value,
                "faults": tuple(self._faults),
            }
        return values

    def show_refused(self, why: Mapping[str, str]) -> None:
        """Mark the fields that are refused, each with the reason, and no other."""
        for name, field in self._fields.items():
            field.refuse(why.get(name, ""))

    def show_state(self, state: str) -> None:
        """Enable the actions that are possible in a state."""
        names = {"running": ("Pause", "pause", "pause"), "paused": ("Resume", "play", "resume")}
        label, icon, action = names.get(state, ("Start", "play", "start"))
        is_live = state in ("running", "paused", "stopping")
        can_press = state != "stopping" and (
            action != "start" or self._can_restart or state == "ready"
        )
        with self._main.hold_sync():
            self._main.description, self._main.icon, self._action = label, icon, action
            self._main.button_style = "" if is_live else "primary"
            self._main.disabled = not can_press
        self._stop.disabled = state not in ("running", "paused")
        self.target.disabled = is_live or not self._can_retarget

    # --- the groups ---

    def _signal_group(self, source: SensorSource) -> w.Widget:
        n = len(source.sensors)
        self.sensors = w.IntSlider(
            value=n,
            min=1,
            max=max(n, MAX_SENSORS),
            description="sensors",
            continuous_update=False,
            style=_LABEL,
            layout=_WIDE,
        )
        self.signal = w.Dropdown(
            options=[AS_GIVEN, *CHARTED_SIGNALS], description="signal", style=_LABEL, layout=_WIDE
        )
        # Not bounded: what is out of bounds is refused and said, not changed.
        self.noise = w.FloatText(
            value=0, step=0.1, description="noise σ", style=_LABEL, layout=_WIDE
        )
        self.noise.tooltip = "standard deviation, in the sensors' units"
        self.rate = w.FloatText(
            value=source.rate_hz, description="rate, Hz", style=_LABEL, layout=_WIDE
        )
        fields: dict[str, w.Widget] = {"rate_hz": self.rate}
        if source.has_devices:
            self.hidden = [self.sensors, self.signal, self.noise]
        else:
            fields = {
                "n_sensors": self.sensors, "signal": self.signal, "noise": self.noise, **fields
            }  # fmt: skip
        return self._group("Signal", fields)

    def _fault_group(self) -> w.Widget:
        kinds = [kind for kind in KINDS if kind not in ("skew", "jitter")]
        self.fault = w.Dropdown(
            options=kinds, value="spike", description="fault", style=_LABEL, layout=_WIDE
        )
        self.severity = w.FloatText(description="severity", style=_LABEL, layout=_WIDE)
        self.chance = w.FloatText(
            value=1, step=0.5, description="chance, %", style=_LABEL, layout=_WIDE
        )
        self.chance.tooltip = "probability that a row starts an episode of it"
        self._add = w.Button(
            description="Add fault",
            icon="plus",
            layout={"width": "120px", "margin": "2px 2px 2px 86px"},
        )
        self._add.on_click(lambda _: self._add_fault())
        self._chips = w.HBox(layout={"flex_flow": "row wrap"})
        self.fault.observe(lambda _: self._show_severity(), names="value")
        self._show_severity()
        self._show_chips()
        self._fields["faults"] = Field(self._chips)
        more = [self.fault, self.severity, self.chance, self._add, self._fields["faults"].box]
        return self._group("Faults", {}, more)

    def _group(
        self, title: str, fields: Mapping[str, w.Widget], more: Sequence[w.Widget] = ()
    ) -> w.Widget:
        head = w.HTML(f'<b style="font-size:12px;opacity:.72">{title}</b>')
        for name, control in fields.items():
            self._fields[name] = Field(control)
            control.observe(lambda _: self._on_change(), names="value")
        return w.VBox([head, *(self._fields[name].box for name in fields), *more])

    # --- faults ---

    def _show_severity(self) -> None:
        kind = KINDS[self.fault.value]
        default = kind.severity
        unit = {"dropout": "share", "duplicate": "copies"}.get(self.fault.value)
        unit = unit or ("s" if kind.is_delivery else "σ")
        self.severity.description = "severity" if default is None else f"severity, {unit}"
        self.severity.disabled = default is None
        self.severity.value = 0.0 if default is None else float(default)

    def _add_fault(self) -> None:
        kind = self.fault.value
        has_severity = KINDS[kind].severity is not None
        try:
            made = Fault(
                kind,
                probability=self.chance.value / 100,
                severity=self.severity.value if has_severity else None,
            )
        except OptionsError as exc:
            self._fields["faults"].refuse(f"not added: {exc.message}")
            return
        self._faults.append(made)
        self._show_chips()
        self._on_change()

    def _remove_fault(self, fault: Fault) -> None:
        self._faults = [other for other in self._faults if other is not fault]
        self._show_chips()
        self._on_change()

    def _show_chips(self) -> None:
        old = self._chips.children
        chips = []
        for fault in self._faults:
            chance = "" if fault.probability is None else f" {100 * fault.probability:.3g} %"
            chip = w.Button(
                description=fault.kind + chance,
                icon="times",
                tooltip=f"remove {fault!r}",
                layout={"width": "auto"},
            )
            chip.on_click(lambda _, fault=fault: self._remove_fault(fault))
            chips.append(chip)
        self._chips.children = chips
        for chip in old:
            close_tree(chip)


def close_tree(widget: w.Widget) -> None:
    """Close a widget and its parts, which would otherwise live as long as the kernel."""
    for child in getattr(widget, "children", ()):
        close_tree(child)
    for part in (getattr(widget, "style", None), getattr(widget, "layout", None)):
        if isinstance(part, w.Widget):
            part.close()
    widget.close()
