"""Many devices with realistic variety: `simulate_fleet`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from iotdb_frames.errors import OptionsError
from iotdb_frames.options import as_whole, check_choice
from iotdb_frames.simulate import signals as sg
from iotdb_frames.simulate.draws import Draws
from iotdb_frames.simulate.sensors import Device, Sensor, as_sensors
from iotdb_frames.simulate.source import SensorSource

Template = Callable[[int, np.random.Generator], Sequence[Sensor]]

_DEVICES_A_LINE, _LINES_A_SITE = 5, 4


def simulate_fleet(
    n_devices: int,
    *,
    sensors: Sequence[Sensor] | Template | None = None,
    model: Literal["tree", "table"] = "tree",
    variety: float = 0.1,
    rate_hz: float = 1.0,
    seed: int = 0,
    start: Any = "2026-01-01",
    duration: Any = None,
    faults: Any = (),
    time_unit: str = "ms",
) -> SensorSource:
    """A source of many devices, no two alike.

    Device `i` is the same however many there are. Five devices are a line, four lines a site.

    Parameters
    ----------
    n_devices : how many
    sensors : of each device; a list that all have, whose numeric signals are scaled by
        ``1 + variety * z`` with a normal `z` of the device, or a function of the device's number
        and its random generator that gives its sensors. None: a press with temperature (°C; they
        share the day's weather), pressure (bar), vibration (mm/s), state and cycles; one press in
        ten is worn and three times as noisy
    model : "tree": the column ``device`` holds ``site1.line2.press0007``, to be written below a
        prefix; "table": the tag columns ``site``, ``line`` and ``machine``
    variety : relative spread of the devices' parameters
    rate_hz, seed, start, duration, faults, time_unit : as of `SensorSource`

    Raises
    ------
    OptionsError : no devices, an unknown model, and what `SensorSource` refuses.
    """
    n_devices = as_whole("n_devices", n_devices)
    check_choice("model", model, ("tree", "table"))
    if not 0 <= variety < 1:
        raise OptionsError(f"variety={variety!r} must be in [0, 1)")
    devices = []
    for i in range(n_devices):
        line, machine = i // _DEVICES_A_LINE, f"press{i + 1:04d}"
        tags = {
            "site": f"site{line // _LINES_A_SITE + 1}",
            "line": f"line{line % _LINES_A_SITE + 1}",
            "machine": machine,
        }
        name = ".".join(tags.values())
        rng = Draws(seed, name, "variety").at(0)
        made = as_sensors(list(_sensors_of(i, rng, sensors, variety)))
        devices.append(Device(name, made, tags=tags if model == "table" else {}))
    return SensorSource(
        devices=devices,
        rate_hz=rate_hz,
        seed=seed,
        start=start,
        duration=duration,
        faults=faults,
        time_unit=time_unit,
    )


def _sensors_of(
    i: int,
    rng: np.random.Generator,
    sensors: Sequence[Sensor] | Template | None,
    variety: float,
) -> Sequence[Sensor]:
    if sensors is None:
        return _press(rng, variety)
    if callable(sensors):
        return sensors(i, rng)
    return [_varied(sensor, rng, variety) for sensor in as_sensors(sensors)]


def _varied(sensor: Sensor, rng: np.random.Generator, variety: float) -> Sensor:
    factor = 1 + variety * float(rng.standard_normal())
    if not sensor.is_numeric or sensor.signal.kind == "int":
        return sensor
    signal = sensor.signal * factor
    return Sensor(sensor.name, signal, unit=sensor.unit, data_type=sensor.data_type)


def _press(rng: np.random.Generator, variety: float) -> list[Sensor]:
    def around(value: float) -> float:
        return round(value * float(np.exp(variety * rng.standard_normal())), 4)

    worn = 3.0 if rng.random() < 0.1 else 1.0
    cycle_s = around(12.0)
    weather = sg.common("weather", sg.red_noise(tau_s=4 * 3600, std=1.5), everywhere=True)
    temperature = sg.seasonal(day=around(4.0), week=around(1.0), offset=around(60.0)) + weather
    temperature = temperature + sg.red_noise(tau_s=around(300.0), std=around(0.5) * worn)
    pressure = sg.sine(
        period_s=cycle_s, amplitude=around(20.0), offset=around(150.0), phase=float(rng.random())
    ).noise(std=around(1.0) * worn)
    vibration = 2.0 + sg.ar1(phi=0.7, std=around(0.3) * worn)
    state = sg.states(
        ("idle", "running", "fault"),
        dwell_s=(around(300.0), around(1800.0), around(120.0)),
        transitions=((0, 1, 0), (0.9, 0, 0.1), (1, 0, 0)),
    )
    return [
        Sensor("temperature", temperature.round(digits=2), unit="°C"),
        Sensor("pressure", pressure.clip(low=0), unit="bar", data_type="FLOAT"),
        Sensor("vibration", vibration.clip(low=0), unit="mm/s"),
        Sensor("state", state),
        Sensor("cycles", sg.counter(rate_per_s=1 / cycle_s, reset_probability=1e-6)),
    ]
