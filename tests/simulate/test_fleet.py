"""Fleets: many devices, no two alike, in the shapes of both models."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from iotdb_frames.errors import OptionsError
from iotdb_frames.simulate import signals as sg
from iotdb_frames.simulate.faults import Fault
from iotdb_frames.simulate.fleet import simulate_fleet
from iotdb_frames.simulate.sensors import Device, Sensor
from iotdb_frames.simulate.source import SensorSource


def test_tree_and_table_shapes() -> None:
    """The tree model has a device column, the table model tag columns; values are the same."""
    tree = simulate_fleet(7, rate_hz=2, duration=30).frame()
    table = simulate_fleet(7, rate_hz=2, duration=30, model="table").frame()
    fields = ["temperature", "pressure", "vibration", "state", "cycles"]
    assert list(tree.columns) == ["device", *fields]
    assert list(table.columns) == ["site", "line", "machine", *fields]
    assert_frame_equal(tree[fields], table[fields])
    joined = table["site"].astype(str) + "." + table["line"].astype(str)
    joined = joined + "." + table["machine"].astype(str)
    assert joined.tolist() == tree["device"].astype(str).tolist()
    assert tree.groupby("device", observed=True).size().tolist() == [60] * 7


def test_rows_are_grouped_by_device_and_ascend_in_time() -> None:
    """Windows hold each device's rows together, ascending in time."""
    window = simulate_fleet(25, rate_hz=10).window(8, at=100)
    codes = window["device"].cat.codes.to_numpy()
    assert (np.diff(codes) >= 0).all()
    for _, rows in window.groupby("device", observed=True):
        assert rows.index.is_monotonic_increasing
        assert len(rows) == 8


def test_no_two_devices_are_alike_and_none_depends_on_the_others() -> None:
    """Devices differ in level and spread; device i is the same in a small and a large fleet."""
    frame = simulate_fleet(40, duration="2h", rate_hz=0.1).frame()
    stats = frame.groupby("device", observed=True)["pressure"].agg(["mean", "std"])
    assert stats["mean"].nunique() == 40
    # Levels are 150 · exp(0.1 z): a spread of 10 %, to 5 standard errors of 40 draws.
    spread = np.log(stats["mean"]).std()
    assert spread == pytest.approx(0.1, rel=5 / np.sqrt(80))
    small = simulate_fleet(3, duration="2h", rate_hz=0.1).frame()
    assert_frame_equal(small, frame[: len(small)], check_categorical=False)


def test_devices_share_the_weather() -> None:
    """Temperatures of different devices are correlated through what they share."""
    frame = simulate_fleet(6, duration="7D", rate_hz=1 / 600, variety=0.0).frame()
    wide = frame.pivot(columns="device", values="temperature")
    hours = wide.index.hour
    correlation = wide.groupby(hours).transform(lambda x: x - x.mean()).corr().to_numpy()
    # Shared variance 1.5² of 1.5² + 0.5² and the weekly wave, less for the worn ones.
    assert np.median(correlation[np.triu_indices(6, 1)]) > 0.6


def test_own_sensors() -> None:
    """Sensors given as a list are varied; given as a function they are what it returns."""
    fleet = simulate_fleet(30, sensors=[Sensor("p", 100.0, unit="bar"), Sensor("st", "states")])
    level = fleet.window(1)["p"]
    assert level.nunique() == 30
    assert level.std() == pytest.approx(10, rel=5 / np.sqrt(60))
    made = simulate_fleet(3, sensors=lambda i, rng: [Sensor("v", sg.constant(float(i)))])
    assert made.window(1)["v"].tolist() == [0.0, 1.0, 2.0]
    assert fleet.units == {"p": "bar"}


def test_faults_of_some_devices() -> None:
    """A fault hits the devices it names, and the ledger says which."""
    name = "site1.line1.press0002"
    source = simulate_fleet(
        3,
        duration=600,
        faults=[
            Fault("stuck", devices=name, sensors="state", onset=100, duration=60),
            Fault("offline", devices=[name], onset=300, duration=60),
        ],
    )
    ledger = source.ledger()
    assert set(ledger["device"]) == {name}
    assert ledger["fault"].value_counts().to_dict() == {"stuck": 60, "offline": 60}
    window = source.window(10, at=310)
    assert name not in set(window["device"])
    assert len(window) == 20
    whole = pd.concat(list(source.windows(100)))
    assert whole.groupby("device", observed=True).size().tolist() == [600] * 3


def test_devices_with_other_sensors_have_gaps() -> None:
    """A sensor that a device lacks is missing in its rows, in any type."""
    devices = [
        Device("a", (Sensor("x", 1.0), Sensor("n", 2), Sensor("s", sg.constant("on")))),
        Device("b", (Sensor("y", 3.0), Sensor("t", "clock"))),
    ]
    frame = SensorSource(devices=devices).window(2)
    assert list(frame.columns) == ["device", "x", "n", "s", "y", "t"]
    assert frame[["x", "n", "s"]].isna().all(axis=1).tolist() == [False, False, True, True]
    assert frame[["y", "t"]].isna().all(axis=1).tolist() == [True, True, False, False]
    assert frame["n"].dtype == "Int64"


@pytest.mark.parametrize(
    "make",
    [
        lambda: simulate_fleet(0),
        lambda: simulate_fleet(2.5),
        lambda: simulate_fleet(2, model="graph"),
        lambda: simulate_fleet(2, variety=1),
        lambda: SensorSource(devices=[]),
        lambda: SensorSource(3, devices=[Device("a", (Sensor("x"),))]),
        lambda: SensorSource(devices=[Device("a", (Sensor("x"),))] * 2),
        lambda: SensorSource(devices=[Device("a", (Sensor("device"),))]),
        lambda: SensorSource(
            devices=[Device("a", (Sensor("x"),)), Device("b", (Sensor("x", "states"),))]
        ),
        lambda: SensorSource(
            devices=[Device(n, (Sensor("x"),), tags={"site": "1"}) for n in ("a", "b")]
        ),
        lambda: SensorSource(
            devices=[Device("a", (Sensor("x"),), tags={"p": "1"}), Device("b", (Sensor("x"),))]
        ),
    ],
)
def test_fleets_that_make_no_table(make: object) -> None:
    """Fleets whose devices or columns could not be told apart are refused."""
    with pytest.raises(OptionsError):
        make()
