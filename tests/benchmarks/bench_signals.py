"""How fast signals are generated: million points a second, best of 5, one thread.

    python tests/benchmarks/bench_signals.py

The target of the project is 20 million points a second of sine + noise.
"""

from __future__ import annotations

import time

from iotdb_frames.simulate import signals as sg
from iotdb_frames.simulate.sensors import Sensor
from iotdb_frames.simulate.source import SensorSource

N_ROWS, N_SENSORS = 1_000_000, 10

CASES = {
    "uniform": sg.uniform(),
    "sine": sg.sine(),
    "white noise": sg.white_noise(),
    "sine + noise": sg.sine(period_s=60, amplitude=5, offset=20) + sg.white_noise(std=0.2),
    "random walk": sg.random_walk(step=0.1, low=-1, high=1),
    "ar1": sg.ar1(phi=0.9),
    "states": sg.states(),
}


def megapoints_per_s(signal: sg.Signal, *, faults: tuple[str, ...] = ()) -> float:
    """Whole frames of `N_SENSORS` columns, from nothing to a DataFrame."""
    sensors = [Sensor(f"s{i}", signal) for i in range(N_SENSORS)]
    best = float("inf")
    for seed in range(5):
        source = SensorSource(sensors, rate_hz=100, seed=seed, duration=N_ROWS / 100, faults=faults)
        begin = time.perf_counter()
        frame = source.frame()
        best = min(best, time.perf_counter() - begin)
        assert frame.shape == (N_ROWS, N_SENSORS)
    return N_ROWS * N_SENSORS / best / 1e6


if __name__ == "__main__":
    for name, signal in CASES.items():
        print(f"{name:28} {megapoints_per_s(signal):6.1f} Mpts/s")
    broken = megapoints_per_s(CASES["sine + noise"], faults=("spike:0.01", "stuck:0.001"))
    print(f"{'sine + noise, 2 faults':28} {broken:6.1f} Mpts/s")
