"""What controls say, and the source they make."""

from __future__ import annotations

import pytest
from pandas.testing import assert_frame_equal

from iotdb_frames.errors import OptionsError
from iotdb_frames.notebook.panel.settings import AS_GIVEN, CHARTED_SIGNALS, SourceSettings
from iotdb_frames.simulate import signals as sg
from iotdb_frames.simulate.faults import Fault
from iotdb_frames.simulate.fleet import simulate_fleet
from iotdb_frames.simulate.sensors import Sensor
from iotdb_frames.simulate.source import SensorSource

SOURCE = SensorSource(
    [
        Sensor("temp1", sg.sine(amplitude=5), unit="°C"),
        Sensor("state", sg.states(("a", "b"), dwell_s=3)),
    ],
    rate_hz=10,
    faults=["spike:0.1"],
)


def _made(**changes: object) -> SensorSource:
    given = SourceSettings.of(SOURCE)
    settings = SourceSettings(**{**vars(given), **changes})
    return SOURCE.replace(**settings.changes(SOURCE))


def test_untouched_controls_give_the_source_of_the_code() -> None:
    """The first state of the controls changes nothing."""
    assert_frame_equal(_made().window(50), SOURCE.window(50))


def test_more_sensors_are_copies_under_free_names() -> None:
    """Beyond those of the code sensors repeat, with names that are not taken."""
    made = _made(n_sensors=5)
    assert [s.name for s in made.sensors] == ["temp1", "state", "temp2", "state1", "temp3"]
    assert made.units == {"temp1": "°C", "temp2": "°C", "temp3": "°C"}


def test_fewer_sensors_are_the_first() -> None:
    """One sensor is the first of the code."""
    assert [s.name for s in _made(n_sensors=1).sensors] == ["temp1"]


@pytest.mark.parametrize("name", CHARTED_SIGNALS)
def test_every_signal_that_is_offered_can_be_drawn(name: str) -> None:
    """A signal of the list makes a source whose window has numbers."""
    frame = _made(n_sensors=1, signal=name, noise=0.5, faults=()).window(20)
    assert frame["temp1"].dtype.kind in "fibu"


def test_noise_is_added_to_numbers_only() -> None:
    """Noise changes readings by its spread, and leaves states alone."""
    noisy = _made(noise=0.5, faults=()).window(2_000)
    clean = _made(faults=()).window(2_000)
    assert (noisy["temp1"] - clean["temp1"]).std() == pytest.approx(0.5, rel=0.1)
    assert noisy["state"].equals(clean["state"])


def test_a_fleet_keeps_its_devices() -> None:
    """Of a fleet only rate and faults change."""
    fleet = simulate_fleet(3)
    settings = SourceSettings(n_sensors=9, rate_hz=2.0, signal="sine", faults=(Fault("spike"),))
    made = fleet.replace(**settings.changes(fleet))
    assert (made.rate_hz, len(made.devices), len(made.faults)) == (2.0, 3, 1)
    assert [s.name for s in made.sensors] == [s.name for s in fleet.sensors]


@pytest.mark.parametrize("wrong", [{"rate_hz": 0.0}, {"noise": -1.0}])
def test_what_cannot_be_meant_is_refused(wrong: dict[str, float]) -> None:
    """A rate of 0 and a noise below 0 are option errors."""
    with pytest.raises(OptionsError):
        _made(**wrong)


def test_as_given_is_a_choice() -> None:
    """The name for "as in the code" is not a signal's name."""
    assert AS_GIVEN not in CHARTED_SIGNALS
