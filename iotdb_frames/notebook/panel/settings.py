"""The settings of a panel's controls, applied to the source in the code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from iotdb_frames.errors import OptionsError
from iotdb_frames.simulate.faults import Fault
from iotdb_frames.simulate.sensors import Sensor
from iotdb_frames.simulate.signals import SIGNALS, signal
from iotdb_frames.simulate.source import SensorSource

AS_GIVEN = "as in the code"
CHARTED_SIGNALS = tuple(
    name for name in sorted(SIGNALS) if signal(name).kind in ("float", "int", "bool")
)
"""Signals offered by a control: a chart cannot draw strings and times."""


@dataclass(frozen=True, kw_only=True)
class SourceSettings:
    """The settings of a source, as in the controls.

    n_sensors : number of sensors; beyond those in the code, copies of these under new names
    signal : of all sensors, by name, or `AS_GIVEN`
    noise : standard deviation of the noise to add, in the sensors' units
    """

    n_sensors: int
    rate_hz: float
    signal: str = AS_GIVEN
    noise: float = 0.0
    faults: tuple[Fault, ...] = ()

    @classmethod
    def of(cls, source: SensorSource) -> SourceSettings:
        """The settings that give the source as it is."""
        return cls(
            n_sensors=len(source.sensors), rate_hz=source.rate_hz, faults=tuple(source.faults)
        )

    def changes(self, base: SensorSource) -> dict[str, Any]:
        """What to `replace` in the source of the code.

        Raises
        ------
        OptionsError : an invalid setting.
        """
        changed: dict[str, Any] = {"rate_hz": self.rate_hz, "faults": self.faults}
        if not self.rate_hz > 0:
            raise OptionsError(f"a rate of {self.rate_hz:g} Hz: it must be above 0")
        if base.has_devices:
            return changed
        if self.noise < 0:
            raise OptionsError(f"a noise of {self.noise:g}: it must be at least 0")
        given = list(base.sensors)
        names = {sensor.name for sensor in given}
        sensors = given[: self.n_sensors]
        while len(sensors) < self.n_sensors:
            copied = given[len(sensors) % len(given)]
            name = _free_name(copied.name, names)
            names.add(name)
            sensors.append(
                Sensor(name, copied.signal, unit=copied.unit, data_type=copied.data_type)
            )
        changed["sensors"] = [self._changed(sensor) for sensor in sensors]
        return changed

    def _changed(self, sensor: Sensor) -> Sensor:
        made = sensor
        if self.signal != AS_GIVEN:
            made = Sensor(sensor.name, self.signal)
        if self.noise and made.signal.kind == "float":
            noisy = made.signal.noise(std=self.noise)
            made = Sensor(made.name, noisy, unit=made.unit, data_type=made.data_type)
        return made


def _free_name(name: str, taken: set[str]) -> str:
    stem = name.rstrip("0123456789")
    number = int(name[len(stem) :] or 1)
    while f"{stem}{number}" in taken:
        number += 1
    return f"{stem}{number}"
