"""How fast frames are written: ours, the official client, and what the server takes at most.

    python tests/benchmarks/bench_write.py [--quick] [--frames wide,mixed,long_tree,long_table]

Four frames go into one real IoTDB, in turns, each turn into new devices (or a new table) of a
database whose region is warm; memtables are flushed between turns. All sides begin with the same
DataFrame, and what is stored is counted, by the official client, after every turn.

raw : tablets this package has encoded before, only sent, one after the other on one session; what
    `iotf.write` creates before its first tablet is created, what the server makes itself is not
ours : `iotf.write(frame, target)`, everything included: look at the schema, plan, create, encode
official : the better of `NumpyTablet` and `Tablet` (found in the warm round), used correctly:
    sorted by device, 50,000 rows or 50 devices a request, bitmaps packed by numpy
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from iotdb.Session import Session as OfficialSession
from iotdb.table_session import TableSession, TableSessionConfig
from iotdb.utils.BitMap import BitMap
from iotdb.utils.IoTDBConstants import TSDataType
from iotdb.utils.NumpyTablet import NumpyTablet
from iotdb.utils.Tablet import ColumnType, Tablet

import iotdb_frames as iotf
from harness import Call, Samples, alternate, measure, peak_bytes, print_table
from iotdb_frames.options import ConnectionOptions
from iotdb_frames.server import LocalServer
from iotdb_frames.wire.rpc import Session
from iotdb_frames.writes.plan.chunks import Request, lanes
from iotdb_frames.writes.schema.create import create

ROUNDS = 5
OFFICIAL_ROWS, OFFICIAL_DEVICES = 50_000, 50
_START = pd.Timestamp("2024-01-01")


# --- the frames ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A frame and how it is written.

    device : label of its device column; it is the table's tag where `model` is "table"
    """

    frame: pd.DataFrame
    model: str = "tree"
    device: str | None = None

    @property
    def fields(self) -> list[str]:
        """Labels of what is measured."""
        return [c for c in self.frame.columns if c != self.device]

    @property
    def n_points(self) -> int:
        """Cells that are not missing."""
        return int(self.frame[self.fields].count().sum())

    def target(self, name: str) -> str:
        """Where a turn called `name` writes to."""
        return f"bench.{name}" if self.model == "table" else f"root.bench.{name}"

    @property
    def options(self) -> dict[str, Any]:
        """Options of `iotf.write`."""
        if self.device is None:
            return {}
        return {"tags": [self.device]} if self.model == "table" else {"device": self.device}


def wide(scale: float) -> Case:
    """1,000,000 rows × 10 DOUBLE of one device, values with two decimals."""
    n_rows, rng = int(1_000_000 * scale), np.random.default_rng(1)
    values = rng.normal(0, 0.1, (n_rows, 10)).cumsum(axis=0).round(2)
    index = pd.date_range(_START, periods=n_rows, freq="100ms", name="time")
    return Case(pd.DataFrame(values, index, [f"s{i}" for i in range(10)]))


def mixed(scale: float) -> Case:
    """200,000 rows × 10, each column 20 % missing: two texts, Int64, boolean, six DOUBLE."""
    n_rows, rng = int(200_000 * scale), np.random.default_rng(2)
    words = np.array(["running", "idle", "maintenance", "störung", "off"])
    frame = pd.DataFrame(
        {
            "state": pd.Series(words[rng.integers(0, 5, n_rows)], dtype="str"),
            "order": pd.Series(np.char.mod("PO-%09d", rng.integers(0, 10**9, n_rows)), dtype="str"),
            "cycles": pd.Series(rng.integers(-(2**60), 2**60, n_rows), dtype="Int64"),
            "is_hot": pd.Series(rng.random(n_rows) < 0.1, dtype="boolean"),
            **{f"x{i}": rng.normal(20, 5, n_rows) for i in range(6)},
        }
    )
    frame = frame.mask(rng.random(frame.shape) < 0.2)
    frame.index = pd.date_range(_START, periods=n_rows, freq="1s", name="time")
    return Case(frame)


def long(scale: float, model: str, order: str) -> Case:
    """1,000 devices × 1,000 rows × 3 DOUBLE, in the order of time (as logged) or of devices.

    More of them have more rows, fewer have fewer devices.
    """
    n_devices, rng = max(10, int(1_000 * min(scale, 1))), np.random.default_rng(3)
    n_rows = int(1_000 * max(scale, 1))
    names = np.char.mod("d%04d", np.arange(n_devices))
    times = pd.date_range(_START, periods=n_rows, freq="1s")
    by_time = order == "time"
    frame = pd.DataFrame(
        {
            "device": pd.Series(
                np.tile(names, n_rows) if by_time else np.repeat(names, n_rows), dtype="str"
            ),
            **{f"v{i}": rng.normal(20, 5, n_devices * n_rows).round(2) for i in range(3)},
        }
    )
    frame.index = times.repeat(n_devices) if by_time else times.append([times] * (n_devices - 1))
    return Case(frame.rename_axis("time"), model, "device")


def make(name: str, scale: float, order: str) -> Case:
    """The case of that name."""
    if name.startswith("long_"):
        return long(scale, name.removeprefix("long_"), order)
    return {"wide": wide, "mixed": mixed}[name](scale)


# --- the official client -----------------------------------------------------------------------

_TYPES = {"float64": TSDataType.DOUBLE, "Int64": TSDataType.INT64, "boolean": TSDataType.BOOLEAN}
_FILL: dict[TSDataType, Any] = {TSDataType.INT64: 0, TSDataType.BOOLEAN: False}


def open_official(options: ConnectionOptions, model: str) -> Any:
    """An open session of the official client."""
    host, port = options.hosts[0]
    if model == "table":
        return TableSession(
            TableSessionConfig([f"{host}:{port}"], options.user, str(options.password), "bench")
        )
    session = OfficialSession(host, str(port), options.user, str(options.password))
    session.open(False)
    return session


@dataclass(frozen=True)
class Official:
    """The official client's way, with one of its two classes."""

    case: Case
    session: Any
    rows: bool
    """Whether with `Tablet`, which takes rows, or with `NumpyTablet`, which takes columns."""

    def __call__(self, name: str) -> Call:
        """Ready to write."""
        return lambda: self._write(self.case.target(name))

    def _write(self, target: str) -> None:
        case, session = self.case, self.session
        insert = session.insert if case.model == "table" else session.insert_aligned_tablet
        if case.device is None:
            for piece in self._pieces(case.frame):
                insert(self._tablet(target, piece))
        elif case.model == "table":
            for piece in self._pieces(case.frame.sort_values(case.device, kind="stable")):
                insert(self._tablet(target.partition(".")[2], piece))
        else:
            batch = []
            for device, group in case.frame.groupby(case.device, sort=False):
                batch.append(self._tablet(f"{target}.{device}", group[case.fields]))
                if len(batch) == OFFICIAL_DEVICES:
                    session.insert_aligned_tablets(batch)
                    batch = []
            if batch:
                session.insert_aligned_tablets(batch)

    @staticmethod
    def _pieces(frame: pd.DataFrame) -> Iterator[pd.DataFrame]:
        for start in range(0, len(frame), OFFICIAL_ROWS):
            yield frame.iloc[start : start + OFFICIAL_ROWS]

    def _tablet(self, target: str, frame: pd.DataFrame) -> Tablet | NumpyTablet:
        labels = list(frame.columns)
        types = [_TYPES.get(str(kind), TSDataType.STRING) for kind in frame.dtypes]
        kinds = [ColumnType.TAG if c == self.case.device else ColumnType.FIELD for c in labels]
        ticks = frame.index.as_unit("ms").asi8
        if self.rows:
            columns = [_objects(frame[c]) for c in labels]
            values = [list(row) for row in zip(*columns, strict=True)]
            return Tablet(target, labels, types, values, ticks.tolist(), kinds)
        values, bitmaps = [], []
        for label, kind in zip(labels, types, strict=True):
            series, missing = frame[label], frame[label].isna().to_numpy()
            values.append(_numbers_or_texts(series, kind, missing))
            bitmaps.append(_bitmap(missing) if missing.any() else None)
        given = bitmaps if any(bitmaps) else None
        return NumpyTablet(target, labels, types, values, ticks, given, kinds)


def _objects(series: pd.Series) -> list[Any]:
    if series.isna().any():
        return list(series.astype(object).where(series.notna(), None))
    return list(series.tolist())


def _numbers_or_texts(series: pd.Series, kind: TSDataType, missing: np.ndarray) -> np.ndarray:
    if kind == TSDataType.STRING:
        return series.fillna("").to_numpy(dtype=str)
    if kind == TSDataType.DOUBLE:
        return series.to_numpy()
    filled = series.fillna(_FILL[kind]) if missing.any() else series
    return filled.to_numpy(dtype="int64" if kind == TSDataType.INT64 else "bool")


def _bitmap(missing: np.ndarray) -> BitMap:
    bitmap = BitMap(len(missing))
    packed = np.packbits(missing, bitorder="little")
    bitmap.bits[: len(packed)] = packed.tolist()
    return bitmap


# --- our side, and the limit ---------------------------------------------------------------------


def ours(case: Case, connection: iotf.Connection) -> Callable[[str], Call]:
    """`iotf.write`."""
    return lambda name: (
        lambda: iotf.write(case.frame, case.target(name), connection=connection, **case.options)
    )


def raw(case: Case, connection: iotf.Connection, session: Session) -> Callable[[str], Call]:
    """What `iotf.write` would send, encoded before and only sent."""

    def prepare(name: str) -> Call:
        plan = iotf.plan(case.frame, case.target(name), connection=connection, **case.options)
        create(connection, plan, plan.missing())
        requests = [request for lane in lanes(plan) for request in lane]
        return lambda: send(requests)

    def send(requests: list[Request]) -> None:
        if case.model == "table":
            session.use("bench")
        for request in requests:
            session.insert(request.tablets)

    return prepare


# --- the run -----------------------------------------------------------------------------------


class Bench:
    """The sides of one case on one server."""

    def __init__(self, case: Case, options: ConnectionOptions) -> None:
        self.case = case
        self.connection = iotf.connect(
            options.url, password=str(options.password), pool_size=options.pool_size
        )
        self.official = open_official(options, case.model)
        self.session = Session(*options.hosts[0], options=options, model=case.model)
        if case.model == "table":
            self._run("CREATE DATABASE IF NOT EXISTS bench")
        # The first write makes the region, whoever writes; and it opens our sessions.
        small = case.frame.iloc[:1000]
        iotf.write(small, case.target("warm"), connection=self.connection, **case.options)

    def sides(self) -> dict[str, Callable[[str], Call]]:
        """All sides by name; both official ones."""
        return {
            "raw": raw(self.case, self.connection, self.session),
            "ours": ours(self.case, self.connection),
            "NumpyTablet": Official(self.case, self.official, rows=False),
            "Tablet": Official(self.case, self.official, rows=True),
        }

    def _run(self, sql: str) -> None:
        self.official.execute_non_query_statement(sql)

    def check(self, name: str) -> None:
        """Count what is stored, then drop it and start with an empty memtable."""
        case = self.case
        counts = ", ".join(f"count({c})" for c in case.fields)
        where = case.target(name)
        sql = f"SELECT {counts} FROM {where}"
        if case.model == "tree" and case.device is not None:
            sql = f"SELECT {counts} FROM {where}.** GROUP BY LEVEL = 2"
        with self.official.execute_query_statement(sql) as result:
            stored = int(result.todf().to_numpy().sum())
        if stored != case.n_points:
            raise AssertionError(f"{where}: {stored:,} points stored of {case.n_points:,}")
        self._run("FLUSH")
        self._run(
            f"DROP TABLE {where}" if case.model == "table" else f"DELETE TIMESERIES {where}.**"
        )

    def better_official(self) -> str:
        """Which of the official classes is faster here."""
        took = {}
        for name in ("NumpyTablet", "Tablet"):
            samples = Samples()
            measure(self.sides()[name](f"{name}_try"), samples)
            self.check(f"{name}_try")
            took[name] = samples.seconds
        return min(took, key=lambda name: took[name])

    def close(self) -> None:
        """Close every session."""
        self.session.close()
        self.official.close()
        self.connection.close()


def peak_in_child(args: argparse.Namespace, frame: str, side: str, server: LocalServer) -> int:
    """Peak of memory over the frame, found in a process of its own."""
    done = subprocess.run(
        [
            *(sys.executable, __file__, "--peak-of", side, "--frames", frame),
            *("--scale", str(args.scale), "--order", args.order, "--url", server.url),
        ],
        env={**os.environ, "IOTDB_PASSWORD": str(server.options.password)},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return int(done.stdout)


def print_peak(args: argparse.Namespace) -> None:
    """What `peak_in_child` reads."""
    options = iotf.connect(args.url).options
    small = Bench(make(args.frames, 0.02, args.order), options)
    small.sides()[args.peak_of](f"small_{args.peak_of}")()
    small.close()
    bench = Bench(make(args.frames, args.scale, args.order), options)
    print(peak_bytes(bench.sides()[args.peak_of](f"peak_{args.peak_of}")))
    bench.check(f"peak_{args.peak_of}")
    bench.close()


def run(args: argparse.Namespace) -> None:
    """All frames, one table."""
    rows = []
    with LocalServer() as server:
        for frame in args.frames.split(","):
            case = make(frame, args.scale, args.order)
            bench = Bench(case, server.options)
            official = bench.better_official()
            sides = {name: bench.sides()[name] for name in ("raw", "ours", official)}
            samples = alternate(sides, rounds=args.rounds, check=bench.check)
            bench.close()
            for name, took in samples.items():
                peak = peak_in_child(args, frame, name, server) if args.memory else 0
                rows.append(
                    (
                        f"{frame}: {name}",
                        f"{took.seconds:.3f}",
                        f"{case.n_points / took.seconds / 1e6:.1f}",
                        f"{samples['raw'].seconds / took.seconds:.2f}",
                        f"{samples[official].seconds / took.seconds:.2f}",
                        f"{took.cpu_seconds / case.n_points * 1e9:.0f}",
                        f"{peak / 2**20:.0f}" if args.memory else "-",
                    )
                )
            del bench, sides, case
        title = f"medians of {args.rounds}, IoTDB {server.version}, pandas {pd.__version__}"
    print(f"\n{title}, scale {args.scale:g}, long frames in the order of {args.order}\n")
    print_table(
        (
            *("frame: side", "s", "Mpts/s", "of the raw limit", "× official"),
            *("client CPU ns/pt", "peak MiB over the frame"),
        ),
        rows,
    )


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", default="wide,mixed,long_tree,long_table")
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows, three rounds")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--scale", type=float)
    parser.add_argument("--order", choices=("time", "device"), default="time")
    parser.add_argument("--no-memory", dest="memory", action="store_false")
    parser.add_argument("--peak-of", help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.scale = args.scale or (0.1 if args.quick else 1.0)
    args.rounds = args.rounds or (3 if args.quick else ROUNDS)
    print_peak(args) if args.peak_of else run(args)


if __name__ == "__main__":
    main()
