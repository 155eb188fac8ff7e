"""What it saves a cluster to be sent rows where they belong, and how long the loss of a node lasts.

    python tests/benchmarks/bench_cluster.py [--rounds 5] [--devices 300] [--rows 500]
                                             [--model table]

One ConfigNode and three DataNodes on this machine, factors 3 and 3 or 2 and 1. The sides take
turns within one run; each writes the same devices × rows × 4 DOUBLE, three lanes.

one host : the URL names one node
spread : it names all, and what the server says of leaders is not heeded
leader-wise : it names all, and devices go to their leaders (`iotf.connect`'s own way)

Forwarded are the bytes that nodes sent each other, by the counters of their sockets (``ss -ti``);
two thirds and more of them are replicas, which no client can save. With client and servers on the
same few cores, time and CPU cannot show what a network between machines would.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import iotdb_frames as iotf

sys.path.append(str(Path(__file__).parents[1] / "cluster"))
from harness import print_table
from iotdb_frames.client.connection import Connection
from iotdb_frames.wire.answers import Model
from nodes import Cluster

SIDES = ("one host", "spread", "leader-wise")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Heedless(Connection):
    """A connection that does not follow what servers say of leaders."""

    @property
    def leaders(self) -> None:
        return None


def server_cpu_s(cluster: Cluster) -> float:
    """Seconds of all DataNodes' CPUs."""
    total = 0
    for name in cluster.data_nodes:
        fields = Path(f"/proc/{cluster.pid(name)}/stat").read_text().rsplit(") ", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / _TICKS_PER_S


def forwarded_bytes(cluster: Cluster) -> dict[str, int]:
    """Bytes sent by each socket that goes to an internal port of a DataNode."""
    ports = {
        port
        for name in cluster.data_nodes
        for kind, port in cluster.ports(name).items()
        if kind.startswith("dn_") and kind != "dn_rpc_port"
    }
    said = subprocess.run(
        ["ss", "-tinHO", "state", "established"], capture_output=True, text=True, check=True
    ).stdout
    out = {}
    for line in said.splitlines():
        local, remote = line.split()[2:4]
        sent = re.search(r"bytes_sent:(\d+)", line)
        if sent and int(remote.rpartition(":")[2]) in ports:
            out[f"{local} {remote}"] = int(sent[1])
    return out


def frame_of(n_devices: int, n_rows: int, at: int) -> pd.DataFrame:
    """The `at`-th frame: the same devices, later times."""
    times = pd.date_range("2026", periods=n_rows, freq="1s") + pd.Timedelta(at, unit="h")
    values = np.random.default_rng(at).normal(size=(n_devices * n_rows, 4))
    frame = pd.DataFrame(values, columns=list("abcd"))
    frame["device"] = np.repeat([f"d{i}" for i in range(n_devices)], n_rows)
    frame["time"] = np.tile(times, n_devices)
    return frame


def compare(cluster: Cluster, *, model: Model, rounds: int, n_devices: int, n_rows: int) -> None:
    """Print what each side takes, a frame each."""
    options: dict[str, Any] = {"time": "time", "workers": 3, "progress": False}
    target = "root.bench"
    if model == "tree":
        options["device"] = "device"
    else:
        options["tags"], target = ["device"], "bench.sensors"
    samples: dict[str, list[tuple[float, float, float, float]]] = {side: [] for side in SIDES}
    with ExitStack() as stack:
        one = cluster.connection(["dn1"])
        everybody = cluster.options()
        connections = dict(
            zip(
                SIDES,
                (
                    stack.enter_context(one),
                    stack.enter_context(Heedless(lambda: everybody, label="spread")),
                    stack.enter_context(cluster.connection()),
                ),
                strict=True,
            )
        )
        if model == "table":
            one.run(lambda session: session.execute("CREATE DATABASE bench"), model="table")
        at = 0
        for turn in range(-1, rounds):
            first = turn % len(SIDES)
            for side in SIDES[first:] + SIDES[:first]:
                frame = frame_of(n_devices, n_rows, at)
                at += 1
                before, server = forwarded_bytes(cluster), server_cpu_s(cluster)
                cpu, wall = time.process_time(), time.perf_counter()
                report = iotf.write(frame, target, connection=connections[side], **options)
                wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
                assert report.rows_written == len(frame)
                time.sleep(2)  # replicas follow
                after = forwarded_bytes(cluster)
                n_bytes = sum(n - before.get(key, 0) for key, n in after.items())
                if turn >= 0:
                    server = server_cpu_s(cluster) - server
                    samples[side].append((wall, cpu, server, n_bytes / report.bytes_sent))
    medians = {
        side: [statistics.median(s) for s in zip(*samples[side], strict=True)] for side in SIDES
    }
    base = medians[SIDES[0]]
    print_table(
        ["side", "time", "client CPU", "server CPU", "forwarded bytes per payload byte"],
        [
            [side, *(f"{x / b:.2f}" for x, b in zip(m[:3], base[:3], strict=True)), f"{m[3]:.2f}"]
            for side, m in medians.items()
        ],
    )


def time_of_loss(cluster: Cluster) -> None:
    """Print how long after the kill of the connected node the next write was acknowledged."""
    took = []
    frame = frame_of(100, 10, 0)
    for _ in cluster.data_nodes:
        with cluster.connection() as connection:
            iotf.write(frame, "root.bench", time="time", device="device", connection=connection)
            with connection.pool("tree").session() as session:
                name = cluster.name_of(int(session.address.rpartition(":")[2]))
            cluster.kill(name)
            started = time.perf_counter()
            iotf.write(frame, "root.bench", time="time", device="device", connection=connection)
            took.append(time.perf_counter() - started)
        cluster.restore()
    print(f"from a kill to the next acknowledged write: {', '.join(f'{s:.1f} s' for s in took)}")


def main() -> None:
    """Compare, for three replicas and for one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--devices", type=int, default=300)
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--model", choices=("tree", "table"), default="tree")
    asked = parser.parse_args()
    for schema_replicas, data_replicas in ((3, 3), (2, 1)):
        print(f"\nfactors {schema_replicas} and {data_replicas}")
        with Cluster(schema_replicas=schema_replicas, data_replicas=data_replicas) as cluster:
            compare(
                cluster,
                model=asked.model,
                rounds=asked.rounds,
                n_devices=asked.devices,
                n_rows=asked.rows,
            )
            if data_replicas > 1 and asked.model == "tree":
                time_of_loss(cluster)


if __name__ == "__main__":
    main()
