"""Killed at any instant, on a full disk, with the server gone in mid-run: it all arrives."""

from __future__ import annotations

import gzip
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import iotdb_frames as iotf
from iotdb_frames.backfills.manifest import Manifest
from iotdb_frames.client.connection import Connection
from iotdb_frames.errors import IoTDBFramesError
from iotdb_frames.server import LocalServer

KILLS = 30
MOST_KILLS = 40
"""Of one job: on a busy machine a run may not come far in the time it is given."""
UNIT_ROWS = 1_000
START = pd.Timestamp("2024-01-01")

slow = pytest.mark.slow


def frames(n_rows: int, seed: int) -> list[pd.DataFrame]:
    """Four frames that overlap in time, with gaps, duplicates and rows out of order."""
    rng = np.random.default_rng(seed)
    out = []
    for i in range(4):
        seconds = rng.integers(0, 12 * n_rows, n_rows) + i * 6 * n_rows
        frame = pd.DataFrame(
            {
                "time": START + pd.to_timedelta(seconds, unit="s"),
                "a": rng.integers(0, 1 << 40, n_rows),
                "b": rng.normal(0, 1, n_rows).round(6),
            }
        )
        frame.loc[rng.random(n_rows) < 0.3, "b"] = np.nan
        if i % 2:
            frame["c"] = np.char.mod("n%d", rng.integers(0, 99, n_rows)).astype(object)
        out.append(frame)
    return out


def write_sources(folder: Path, made: list[pd.DataFrame]) -> set[tuple[str, int]]:
    """The frames as Parquet, CSV, CSV.gz and Arrow; (file, line) of what does not fit in them."""
    folder.mkdir()
    made[0].to_parquet(folder / "1.parquet", row_group_size=UNIT_ROWS, index=False)
    dirt = set()
    for i, name in ((1, "2.csv"), (2, "3.csv.gz")):
        lines = made[i].to_csv(index=False).splitlines()
        for line in range(500, len(lines), 1_500):
            lines.insert(line - 1, "2024-01-01 00:00:00,many,1.0" + ",n1" * (i % 2))
            dirt.add((name, line))
        data = ("\n".join(lines) + "\n").encode()
        (folder / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    table = pa.Table.from_pandas(made[3], preserve_index=False)
    with (
        pa.OSFile(str(folder / "4.arrow"), "wb") as sink,
        pa.ipc.new_file(sink, table.schema) as file,
    ):
        for batch in table.to_batches(max_chunksize=UNIT_ROWS):
            file.write_batch(batch)
    return dirt


def merged(made: list[pd.DataFrame]) -> pd.DataFrame:
    """What the server holds of them: of each time the last value that is not missing."""
    return pd.concat(made).groupby("time").last().sort_index()


def assert_stored(connection: Connection, target: str, made: list[pd.DataFrame]) -> None:
    """The server has exactly these frames."""
    want = merged(made)
    got = iotf.read(target, connection=connection)[["a", "b", "c"]]
    assert len(got) == len(want)
    assert (got.index == want.index).all()
    for name in want:
        theirs, mine = got[name].to_numpy(object), want[name].to_numpy(object)
        same = (theirs == mine) | (pd.isna(theirs) & pd.isna(mine))
        assert same.all(), (name, int(np.argmin(same)))


class Zygote:
    """A process that forks backfills."""

    def __init__(self, server: LocalServer) -> None:
        self._login = {"url": server.url, "password": str(server.options.password)}
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("zygote.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.answer()

    def answer(self) -> dict[str, Any]:
        """The next line it says."""
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def begin(self, sources: Any, target: str, **order: Any) -> int:
        """Begin a backfill; its process."""
        assert self._process.stdin is not None
        limit = order.pop("limit_bytes", None)
        text = {"sources": sources, "target": target, "limit_bytes": limit, "options": order}
        self._process.stdin.write(json.dumps({**self._login, **text}) + "\n")
        self._process.stdin.flush()
        return int(self.answer()["pid"])

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)
        assert self._process.stdout is not None
        self._process.stdout.close()


@pytest.fixture
def zygote(server: LocalServer) -> Iterator[Zygote]:
    """One for the test."""
    opened = Zygote(server)
    yield opened
    opened.close()


def kill_and_resume(
    zygote: Zygote,
    connection: Connection,
    database: str,
    folder: Path,
    *,
    n_kills: int,
    seed: int,
) -> None:
    """Backfills, killed `n_kills` times in all, and each resumed to its end and compared."""
    rng = random.Random(seed)
    done = n_jobs = 0
    while done < n_kills:
        n_jobs += 1
        here = folder / f"job{n_jobs}"
        made = frames(12 * UNIT_ROWS, seed + n_jobs)
        here.mkdir()
        dirt = write_sources(here / "in", made)
        target = f"root.{database}.d{n_jobs}"
        order = {
            "manifest": str(here / "m.sqlite"),
            "memory": 8 << 16,
            "on_error": "collect",
            "dead_letter": str(here / "dead.parquet"),
            "chunk": 700,
            "workers": 1 + n_jobs % 2,
        }
        for at in range(MOST_KILLS + 1):
            pid = zygote.begin(str(here / "in"), target, **order)
            time.sleep(rng.uniform(0, 0.5))
            if done < n_kills and at < MOST_KILLS:
                os.kill(pid, signal.SIGKILL)
            ended = zygote.answer()["ended"]
            done += ended == -signal.SIGKILL
            if ended == 0:
                break
            assert ended == -signal.SIGKILL, ended
        report = iotf.BackfillJob(here / "m.sqlite").status()
        assert report.is_finished
        assert set(report.units) == {"verified"}
        assert sum(report.units.values()) > 20
        assert_stored(connection, target, made)
        letters = pd.read_parquet(here / "dead.parquet")
        assert set(zip(letters["refused_file"], letters["refused_line"], strict=True)) == dirt
        assert len(letters) == len(dirt)


def test_killed_a_few_times(
    zygote: Zygote, connection: Connection, database: str, tmp_path: Path
) -> None:
    """Killed at a few random instants and resumed, the database holds exactly the sources."""
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    kill_and_resume(zygote, connection, database, tmp_path, n_kills=4, seed=seed)


@slow
def test_killed_at_random_instants(
    zygote: Zygote, connection: Connection, database: str, tmp_path: Path
) -> None:
    """Killed at 30 random instants and resumed, the database holds exactly the sources."""
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    kill_and_resume(zygote, connection, database, tmp_path, n_kills=KILLS, seed=seed)


@slow
@pytest.mark.timeout(900)
def test_killed_at_many_more_instants(
    zygote: Zygote, connection: Connection, database: str, tmp_path: Path
) -> None:
    """The same with 300 kills."""
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    kill_and_resume(zygote, connection, database, tmp_path, n_kills=300, seed=seed)


@slow
@pytest.mark.parametrize("limit_bytes", [0, 8 << 10, 70 << 10])
def test_full_disk(
    zygote: Zygote, connection: Connection, database: str, tmp_path: Path, limit_bytes: int
) -> None:
    """On a full disk the run stops in words, and goes on when there is room."""
    made = frames(12 * UNIT_ROWS, 1)
    write_sources(tmp_path / "in", made)
    small = tmp_path / "small"
    small.mkdir()
    is_mounted = limit_bytes == 0 and _mount(small)
    target = f"root.{database}.d"
    order = {
        "manifest": str(small / "m.sqlite"),
        "memory": 8 << 16,
        "on_error": "collect",
        "dead_letter": str(tmp_path / "dead.parquet"),
    }
    try:
        # Where no small disk can be mounted, files that may not grow are as good.
        limit = None if is_mounted else limit_bytes or 90 << 10
        zygote.begin(str(tmp_path / "in"), target, limit_bytes=limit, **order)
        assert "cannot be" in zygote.answer()["error"]
        assert zygote.answer()["ended"] == 3
        if is_mounted:
            subprocess.run(["mount", "-o", "remount,size=8m", str(small)], check=True)
        report = iotf.backfill(str(tmp_path / "in"), target, connection=connection, **order)
        assert report.is_finished
        assert_stored(connection, target, made)
    finally:
        if is_mounted:
            subprocess.run(["umount", str(small)], check=True)


def _mount(folder: Path) -> bool:
    """Whether a disk of 128 KiB could be mounted there; only root may."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return False
    command = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(folder)]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


@slow
@pytest.mark.parametrize("cut", [0.2, 0.5, 0.9])
def test_torn_manifest(
    connection: Connection, database: str, tmp_path: Path, manifest: Path, cut: float
) -> None:
    """A manifest that is cut off is refused in words, and without it the job begins anew."""
    made = frames(4 * UNIT_ROWS, 2)
    write_sources(tmp_path / "in", made)
    target = f"root.{database}.d"
    options: dict[str, Any] = {
        "memory": 8 << 16,
        "on_error": "collect",
        "dead_letter": tmp_path / "dead.parquet",
        "connection": connection,
    }
    iotf.backfill(tmp_path / "in", target, manifest=manifest, **options)
    data = manifest.read_bytes()
    manifest.write_bytes(data[: int(len(data) * cut)])
    with pytest.raises(IoTDBFramesError, match="damaged") as caught:
        iotf.backfill(tmp_path / "in", target, manifest=manifest, **options)
    assert "move it away" in str(caught.value)
    manifest.unlink()
    report = iotf.backfill(tmp_path / "in", target, manifest=manifest, **options)
    assert report.is_finished
    assert_stored(connection, target, made)


@slow
def test_torn_log_of_the_manifest(connection: Connection, database: str, tmp_path: Path) -> None:
    """What a power cut takes from the manifest's log is sent again, and nothing else happens."""
    made = frames(4 * UNIT_ROWS, 3)
    write_sources(tmp_path / "in", made)
    target = f"root.{database}.d"
    options: dict[str, Any] = {
        "memory": 8 << 16,
        "on_error": "collect",
        "dead_letter": tmp_path / "dead.parquet",
        "connection": connection,
    }
    first = tmp_path / "first.sqlite"
    iotf.backfill(tmp_path / "in", target, manifest=first, **options)
    opened = Manifest(first)
    for unit in opened.units("verified"):  # many small commits, all in the log
        opened.set_unit(unit.id, state="pending")
    log = Path(f"{first}-wal").read_bytes()
    assert len(log) > 8_000
    for part in (0.0, 0.3, 0.77, 0.99):
        torn = tmp_path / f"torn{part}.sqlite"
        torn.write_bytes(first.read_bytes())
        torn.chmod(0o600)
        Path(f"{torn}-wal").write_bytes(log[: int(len(log) * part)])
        report = iotf.backfill(tmp_path / "in", target, manifest=torn, **options)
        assert report.is_finished
    opened.close()
    assert_stored(connection, target, made)


@slow
def test_server_restarted_in_mid_run(tmp_path: Path) -> None:
    """A server that is killed and started again in mid-run has all of it in the end."""
    made = frames(20 * UNIT_ROWS, 4)
    write_sources(tmp_path / "in", made)
    with LocalServer(tmp_path / "data") as server, ThreadPoolExecutor(1) as pool:
        port = server.port
        with Connection(lambda: server.options, label="restarted") as connection:

            def work() -> iotf.BackfillReport:
                return iotf.backfill(
                    tmp_path / "in",
                    "root.plant.d",
                    manifest=tmp_path / "m.sqlite",
                    memory=8 << 16,
                    connection=connection,
                    on_error="collect",
                    dead_letter=tmp_path / "dead.parquet",
                )

            worker = pool.submit(work)
            book = _opened(tmp_path / "m.sqlite")
            while len(book.units("written")) < 10:
                assert not worker.done(), worker.result()
                time.sleep(0.01)
            book.close()
            server.kill()
            assert not worker.done()
            server.start()
            assert server.port == port
            report = worker.result(timeout=300)
            assert report.is_finished
            assert set(report.units) == {"verified"}
            assert_stored(connection, "root.plant.d", made)


def _opened(path: Path) -> Manifest:
    """A manifest, as soon as it is there."""
    for _ in range(1_000):
        try:
            return Manifest(path)
        except IoTDBFramesError:
            time.sleep(0.01)
    raise TimeoutError(path)
