"""The soak of the sink: minutes of windows and rows, its server away twice; is everything flat?

    python tests/benchmarks/soak_sink.py                 # ten minutes
    python tests/benchmarks/soak_sink.py --minutes 1

After one third of the time the server is killed and started again, after two thirds it is
restarted. At the end every row that was sent must be stored, and memory, threads and open files
must not have grown since the first outage was over: otherwise the exit code is 1.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
import psutil

import iotdb_frames as iotf
from iotdb_frames.server import LocalServer

WINDOW, N_COLUMNS, N_DEVICES = 1_000, 10, 20
N_SINGLE = 50
"""Row mappings that are sent with each window, to as many devices."""
PERIOD_S = 0.1
MAX_GROWTH_MIB = 32.0
DATABASE = "root.soak"
START = pd.Timestamp("2026-01-01")
_PROCESS = psutil.Process()


class Sample(NamedTuple):
    """A moment: resident memory, threads, open files or handles."""

    at_s: float
    mib: float
    n_threads: int
    n_files: int


def sample(at_s: float) -> Sample:
    """This moment."""
    n_files = _PROCESS.num_handles() if os.name == "nt" else _PROCESS.num_fds()
    return Sample(at_s, _PROCESS.memory_info().rss / 2**20, threading.active_count(), n_files)


def send(sink: iotf.IoTDBSink, step: int, values: np.ndarray) -> None:
    """One window of the next device, and one row of each of the single ones."""
    first = START + step * WINDOW * pd.Timedelta(1, "ms")
    index = pd.date_range(first, periods=WINDOW, freq="ms", name="time")
    frame = pd.DataFrame(values, columns=[f"s{i}" for i in range(N_COLUMNS)], index=index)
    sink.send(frame.assign(device=f"wide{step % N_DEVICES}"))
    for i in range(N_SINGLE):
        sink.send({"device": f"single{i}", "timestamp": first, "a": step, "b": "on", "c": 0.5 * i})


def away(name: str, call: Callable[[], object]) -> None:
    """Say how long the server was away."""
    begin = time.monotonic()
    call()
    print(f"          the server was {name}: {time.monotonic() - begin:.1f} s", flush=True)


def soak(server: LocalServer, *, seconds: float) -> tuple[list[Sample], int]:
    """Send for so long; samples, and how many windows were sent."""

    def kill() -> None:
        server.kill()
        server.start()

    outages = [(2 * seconds / 3, "restarted", server.restart), (seconds / 3, "killed", kill)]
    options = iotf.IoTDBOptions(
        url=server.url, password=server.options.password, storage_group=DATABASE
    )
    values = np.random.default_rng(0).normal(size=(WINDOW, N_COLUMNS)).round(2)
    samples: list[Sample] = []
    trouble: list[threading.Thread] = []
    every_s = max(1.0, seconds / 60)
    begin, step, next_at = time.monotonic(), 0, 0.0
    with iotf.IoTDBSink(options, batch_size=20_000, flush_interval_s=1.0) as sink:
        while (now := time.monotonic() - begin) < seconds:
            send(sink, step, values)
            step += 1
            if outages and now >= outages[-1][0]:
                trouble.append(threading.Thread(target=away, args=outages.pop()[1:]))
                trouble[-1].start()
            if now >= next_at and not any(t.is_alive() for t in trouble):
                samples.append(sample(now))
                next_at = now + every_s
                if len(samples) % 4 == 1:
                    _, mib, n_threads, n_files = samples[-1]
                    print(
                        f"{now:6.0f} s: {mib:.0f} MiB, {n_threads} threads, {n_files} files, "
                        f"{sink.stats.acknowledged:,} rows acknowledged",
                        flush=True,
                    )
            time.sleep(max(0.0, step * PERIOD_S - (time.monotonic() - begin)))
        for thread in trouble:
            thread.join()
        sink.flush()
        print(sink.stats)
    return samples, step


def missing(server: LocalServer, n_windows: int) -> int:
    """How many of the rows that were sent are not stored."""
    with iotf.connect(server.url, password=server.options.password) as connection:
        found = iotf.read_sql(
            f"SELECT count(s0), count(s9), count(a) FROM {DATABASE}.* ALIGN BY DEVICE",
            connection=connection,
            model="tree",
        )
    stored = int(found[["count(s0)", "count(a)"]].sum().sum())
    assert (found["count(s0)"].dropna() == found["count(s9)"].dropna()).all()
    return n_windows * (WINDOW + N_SINGLE) - stored


def verdict(samples: list[Sample]) -> bool:
    """Whether all is flat in the second half, before which the first outage was over."""
    late = [s for s in samples if s.at_s > samples[-1].at_s / 2]
    slope = float(np.polyfit([s.at_s / 60 for s in late], [s.mib for s in late], 1)[0])
    n_threads, n_files = {s.n_threads for s in samples}, {s.n_files for s in samples}
    print(
        f"second half: memory {min(s.mib for s in late):.0f} to {max(s.mib for s in late):.0f} "
        f"MiB, {slope:+.2f} MiB a minute; all the time: threads {sorted(n_threads)}, "
        f"files {sorted(n_files)}"
    )
    return (
        late[-1].mib - late[0].mib < MAX_GROWTH_MIB
        and late[-1].n_threads <= samples[0].n_threads
        and late[-1].n_files <= samples[0].n_files + 2  # a session of each lane and one to ask
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    seconds = parser.parse_args().minutes * 60
    with LocalServer(durable=True) as running:
        samples, n_windows = soak(running, seconds=seconds)
        n_missing = missing(running, n_windows)
    print(f"{n_missing} of {n_windows * (WINDOW + N_SINGLE):,} rows are missing")
    sys.exit(0 if verdict(samples) and not n_missing else 1)
