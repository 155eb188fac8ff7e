"""Whether 1,000 sensors × 10 Hz are held, and at what share of a core: the runner without a sink.

    python tests/benchmarks/bench_stream.py [seconds]

The target of the project is within 1 % of the rate, under half a core (writing included).
"""

from __future__ import annotations

import sys
import time

import pandas as pd

from iotdb_frames.stream import signals as sg
from iotdb_frames.stream.fleet import simulate_fleet
from iotdb_frames.stream.runner import Runner
from iotdb_frames.stream.sensors import Sensor
from iotdb_frames.stream.source import SensorSource

RATE_HZ = 10


def sensors(n: int) -> list[Sensor]:
    wave = sg.sine(period_s=60, amplitude=5, offset=20) + sg.white_noise(std=0.2)
    return [Sensor(f"s{i}", wave) for i in range(n)]


def hold(source: SensorSource, *, window: int, seconds: float) -> str:
    points = 0

    def count(frame: pd.DataFrame) -> None:
        nonlocal points
        points += len(frame) * len(source.sensors)

    cpu, begin = time.process_time(), time.monotonic()
    stats = Runner(source, count, window=window).run(seconds)
    wall = time.monotonic() - begin
    cpu = time.process_time() - cpu
    share = points / (source.points_per_s * wall)
    return (
        f"{points / wall:9,.0f} points/s, {share:7.2%} of the rate, {cpu / wall:6.1%} of a core, "
        f"latest window {stats.max_behind_s * 1000:5.1f} ms"
    )


if __name__ == "__main__":
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    wide = SensorSource(sensors(1000), rate_hz=RATE_HZ)
    fleet = simulate_fleet(100, sensors=sensors(10), rate_hz=RATE_HZ)
    broken = fleet.replace(faults=["spike:0.01", "stuck:0.001", "straggler:0.01", "duplicate:0.01"])
    cases = {"1 device × 1,000": wide, "100 × 10": fleet, "100 × 10, 4 faults": broken}
    for name, source in cases.items():
        for window in (10, 1):
            result = hold(source, window=window, seconds=seconds)
            print(f"{name:20} windows of {window:2}: {result}")
