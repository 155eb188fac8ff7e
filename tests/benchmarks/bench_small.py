"""What a call costs however small it is: ours against the official client, again and again.

    python tests/benchmarks/bench_small.py [--quick] [--cases write,read,fleet,records,mixed]

The sides take turns, a burst of equal calls a turn, and begin with the same DataFrame; series exist
already, as they do for whoever writes every second. Only the ratios mean something.

write : 10 rows × 10 DOUBLE into one device; the official side is the better of its two tablets
read : the same device as a frame: `iotf.read` and `SessionDataSet.todf()`
fleet : a row each of 1,000 devices × 3 DOUBLE, the official client's tablets 50 a request
records : the same against its one request of records, the way it has for this; no target
mixed : 200,000 rows × 10, 20 % missing; our side against its own encoded tablets, only sent
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Any

from iotdb.utils.IoTDBConstants import TSDataType

import iotdb_frames as iotf
from bench_write import Bench, Case, long, mixed, wide
from harness import Call, alternate, print_table
from iotdb_frames.server import LocalServer
from iotdb_frames.writes.plan.chunks import lanes

ROUNDS = 15
BURSTS = {"write": 40, "read": 40, "fleet": 3, "records": 3, "mixed": 1}
TARGETS = {
    "write": "at most 1.5",
    "read": "at most 1.15",
    "fleet": "at most 0.4",
    "records": "-",
    "mixed": "at least 0.9",
}


def case_of(name: str) -> Case:
    """The frame of a case."""
    if name == "mixed":
        return mixed(1.0)
    if name in ("fleet", "records"):
        whole = long(1.0, "tree", "time")
        return Case(whole.frame.iloc[:1000], "tree", "device")
    return Case(wide(1.0).frame.iloc[:10])


def insert_records(case: Case, session: Any, target: str) -> None:
    """A row of each device by the official client: one request of records, its way for this."""
    n_rows, fields = len(case.frame), case.fields
    session.insert_aligned_records(
        (target + "." + case.frame[case.device]).tolist(),
        case.frame.index.as_unit("ms").asi8.tolist(),
        [fields] * n_rows,
        [[TSDataType.DOUBLE] * len(fields)] * n_rows,
        case.frame[fields].to_numpy().tolist(),
    )


def burst(call: Call, n_calls: int) -> Callable[[str], Call]:
    """The same call so many times, as a side."""

    def run() -> None:
        for _ in range(n_calls):
            call()

    return lambda _: run


def sides_of(name: str, bench: Bench) -> Mapping[str, Call]:
    """One call of each side, ours first."""
    case, connection, target = bench.case, bench.connection, bench.case.target("small")

    def write() -> None:
        iotf.write(case.frame, target, connection=connection, progress=False, **case.options)

    write()
    if name == "read":

        def theirs() -> None:
            with bench.official.execute_query_statement(f"SELECT * FROM {target}") as found:
                found.todf()

        return {"ours": lambda: iotf.read(target, connection=connection), "official": theirs}
    if name == "mixed":
        plan = iotf.plan(case.frame, target, connection=connection)
        requests = [request for lane in lanes(plan) for request in lane]

        def send() -> None:
            for request in requests:
                bench.session.insert(request.tablets)

        return {"ours": write, "raw": send}
    if name == "records":
        return {"ours": write, "official": lambda: insert_records(case, bench.official, target)}
    official = bench.sides()[bench.better_official()]("small")
    return {"ours": write, "official": official}


def run(names: list[str], rounds: int) -> None:
    """All cases, one table."""
    rows = []
    with LocalServer() as server:
        for name in names:
            bench, n_calls = Bench(case_of(name), server.options), BURSTS[name]
            sides = sides_of(name, bench)
            turns = {side: burst(call, n_calls) for side, call in sides.items()}
            ours, theirs = alternate(turns, rounds=rounds, check=lambda _: None).values()
            bench.check("small")
            bench.close()
            ratios = [a / b for a, b in zip(ours.wall_s, theirs.wall_s, strict=True)]
            if name == "mixed":
                ratios = [1 / ratio for ratio in ratios]
            ratios.sort()
            rows.append(
                (
                    f"{name}: ours / {list(sides)[1]}" + " (speed)" * (name == "mixed"),
                    f"{ours.seconds / n_calls * 1000:.2f}",
                    f"{theirs.seconds / n_calls * 1000:.2f}",
                    f"{ratios[len(ratios) // 2]:.2f}",
                    TARGETS[name],
                    f"{ours.cpu_seconds / n_calls * 1000:.2f}",
                    f"{theirs.cpu_seconds / n_calls * 1000:.2f}",
                )
            )
    print(f"\nmedians of {rounds} turns, IoTDB {server.version}\n")
    print_table(
        ("case", "ours ms", "other ms", "ratio", "target", "our CPU ms", "their CPU ms"), rows
    )


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", default=",".join(TARGETS))
    parser.add_argument("--quick", action="store_true", help="five turns")
    args = parser.parse_args()
    run(args.cases.split(","), 5 if args.quick else ROUNDS)


if __name__ == "__main__":
    main()
