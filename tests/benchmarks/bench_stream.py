"""Whether 1,000 sensors × 10 Hz are held, and at what share of a core: alone, and into a server.

    python tests/benchmarks/bench_stream.py [seconds] [--alone | --server]

The target of the project is within 1 % of the rate, under half a core (writing included). A core
is one of this process; the server's own use is shown beside it.
"""

from __future__ import annotations

import os
import sys
import time

import pandas as pd
import psutil

from iotdb_frames.client.connection import Connection
from iotdb_frames.play.runner import Runner
from iotdb_frames.server import LocalServer
from iotdb_frames.simulate import signals as sg
from iotdb_frames.simulate.fleet import simulate_fleet
from iotdb_frames.simulate.sensors import Sensor
from iotdb_frames.simulate.source import SensorSource

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


def hold_into(
    server: LocalServer, source: SensorSource, to: str, *, window: int, seconds: float
) -> str:
    """The same into a real server, of which acknowledged points count; the window in hand not."""
    with Connection(lambda: server.options, label="bench") as connection:
        source.stream(to=to, connection=connection, window=window).run(2)  # its regions and series
        jvm = psutil.Process(server.pid)
        before, cpu, begin = jvm.cpu_times(), time.process_time(), time.monotonic()
        runner = source.stream(to=to, connection=connection, window=window)
        stats = runner.run(seconds)
        wall, cpu, after = time.monotonic() - begin, time.process_time() - cpu, jvm.cpu_times()
    assert runner.report is not None
    assert runner.report.is_complete
    assert runner.report.points == stats.points
    share = stats.rows * len(source.sensors) / (source.points_per_s * wall)
    theirs = after.user + after.system - before.user - before.system
    return (
        f"{stats.points / wall:9,.0f} points/s, {share:7.2%} of the rate, "
        f"{cpu / wall:6.1%} of a core (server {theirs / wall:6.1%}), "
        f"{stats.median_send_s * 1e3:5.1f} ms median, {stats.p99_send_s * 1e3:6.1f} p99, "
        f"latest window {stats.max_behind_s * 1000:6.1f} ms"
    )


def main(seconds: float, *, where: str) -> None:
    wide = SensorSource(sensors(1000), rate_hz=RATE_HZ)
    fleet = simulate_fleet(100, sensors=sensors(10), rate_hz=RATE_HZ)
    table = simulate_fleet(100, sensors=sensors(10), rate_hz=RATE_HZ, model="table")
    faults = ["spike:0.01", "stuck:0.001", "straggler:0.01"]
    broken = fleet.replace(faults=faults)
    cases = {"1 device × 1,000": wide, "100 × 10": fleet, "100 × 10, 3 faults": broken}
    print(f"load before: {os.getloadavg()[0]:.2f}")
    for name, source in cases.items() if where != "--server" else ():
        for window in (10, 1):
            result = hold(source, window=window, seconds=seconds)
            print(f"alone        {name:20} windows of {window:2}: {result}", flush=True)
    if where == "--alone":
        return
    with LocalServer() as server:
        for number, (name, source) in enumerate({**cases, "100 × 10, table": table}.items()):
            for window in (10, 1):
                to = f"bench.t{number}" if source.tags else f"root.bench{number}.d"
                result = hold_into(server, source, to, window=window, seconds=seconds)
                print(f"into IoTDB   {name:20} windows of {window:2}: {result}", flush=True)
    print(f"load after: {os.getloadavg()[0]:.2f}")


if __name__ == "__main__":
    words = sys.argv[1:]
    flags = [word for word in words if word.startswith("--")]
    numbers = [float(word) for word in words if not word.startswith("--")]
    main(numbers[0] if numbers else 60.0, where=flags[0] if flags else "")
