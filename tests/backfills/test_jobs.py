"""Backfills into a real server: what was in the files is there, whatever happened on the way."""

from __future__ import annotations

import gzip
import json
import math
import pickle
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

import iotdb_frames as iotf
from iotdb_frames.backfills.manifest import Manifest
from iotdb_frames.client.connection import Connection
from iotdb_frames.errors import ConnectionLost, FrameError, IoTDBFramesError, OptionsError
from iotdb_frames.server import LocalServer
from proxy import Outage, proxy_to

START = pd.Timestamp("2024-03-01")
SMALL = 1 << 17
"""Of memory: units of the least size."""


class Place:
    """A test's own corner: a folder of sources, a target, a manifest."""

    def __init__(self, folder: Path, database: str, connection: Connection) -> None:
        self.folder = folder / "in"
        self.folder.mkdir()
        self.manifest = folder / "m.sqlite"
        self.dead = folder / "dead.parquet"
        self.tree, self.table = f"root.{database}.d", f"{database}.t"
        self.connection = connection

    def run(self, target: str | None = None, sources: Any = None, **options: Any) -> Any:
        """A backfill of the folder."""
        options = {"manifest": self.manifest, "connection": self.connection, **options}
        where = self.folder if sources is None else sources
        return iotf.backfill(where, target or self.tree, **options)

    @property
    def collect(self) -> dict[str, Any]:
        """Options that leave rows to the dead letter."""
        return {"on_error": "collect", "dead_letter": self.dead}

    def letters(self) -> list[tuple[str, int]]:
        """(file, line) of the dead letter."""
        found = pd.read_parquet(self.dead)
        return list(zip(found["refused_file"], found["refused_line"], strict=True))

    def stored(self, target: str | None = None) -> pd.DataFrame:
        """What is there, as Python values."""
        found = iotf.read(target or self.tree, connection=self.connection)
        return found.astype(object).where(found.notna(), None)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """What a table's query gives, as Python values."""
        found = iotf.query(sql, model="table", connection=self.connection).to_arrow()
        return list(zip(*(c.to_pylist() for c in found.columns), strict=True))

    @property
    def is_empty(self) -> bool:
        """Whether nothing was made."""
        return bool(iotf.show("timeseries", f"{self.tree}.**", connection=self.connection).empty)

    def ask(self, sql: str) -> Any:
        """A statement of the tree model."""
        return iotf.execute(sql, model="tree", connection=self.connection)


@pytest.fixture
def place(tmp_path: Path, database: str, connection: Connection) -> Place:
    """The test's own."""
    return Place(tmp_path, database, connection)


def frame(n_rows: int, start: int = 0, **columns: Any) -> pd.DataFrame:
    """Seconds from `start` on, and their number."""
    x = np.arange(start, start + n_rows)
    return pd.DataFrame({"time": START + pd.to_timedelta(x, unit="s"), "a": x, **columns})


def assert_same(found: pd.DataFrame, want: pd.DataFrame) -> None:
    """Times and values are equal; columns in any order."""
    want = want.set_index("time").sort_index()
    want = want.astype(object).where(want.notna(), None)
    assert list(found.index) == list(want.index)
    assert set(found) == set(want)
    for name in want:
        assert found[name].tolist() == want[name].tolist(), name


# --- sources and shapes -------------------------------------------------------------------------


def test_files_of_all_kinds_are_one_series(place: Place) -> None:
    """Parquet, CSV, packed CSV, Arrow and ORC of one folder go in, and are there cell by cell."""
    made = []
    for i in range(5):
        some = frame(3_000, i * 3_000, text=[None if k % 3 else f"t{k % 5}" for k in range(3_000)])
        some.loc[::7, "b"] = np.arange(len(some.loc[::7])) / 8
        made.append(some)
    made[0].to_parquet(place.folder / "0.parquet", row_group_size=500, index=False)
    made[1].to_csv(place.folder / "1.csv", index=False, sep=";", decimal=",")
    made[2].to_csv(place.folder / "2.csv.gz", index=False)
    feather.write_feather(made[3], place.folder / "3.feather", chunksize=800)
    made[4]["time"] = made[4]["time"].dt.strftime("%Y-%m-%d %H:%M:%S")
    made[4].to_json(place.folder / "4.jsonl", orient="records", lines=True, double_precision=15)
    made[4]["time"] = pd.to_datetime(made[4]["time"])
    report = place.run(memory=SMALL, verify="values", time="time")
    assert report.is_complete
    assert set(report.verdicts) == {"complete"}
    assert sum(report.units.values()) > 10
    want = pd.concat(made)
    assert report.rows == report.rows_written == len(want)
    assert report.points == want.drop(columns="time").count().sum()
    assert_same(place.stored(), want)


@pytest.mark.parametrize("name", ["a.csv", "a.parquet", "a.arrow", "a.orc", "a.csv.gz", "a.jsonl"])
def test_an_empty_file_stops_no_folder(place: Place, name: str) -> None:
    """A file with nothing in it is a file of no rows; when something comes, that is written."""
    file = place.folder / name
    file.write_bytes(gzip.compress(b"\n") if name.endswith(".gz") else b"")
    frame(10).to_csv(place.folder / "b.csv", index=False)
    plan = iotf.plan_backfill(place.folder, place.tree, connection=place.connection)
    assert (plan.problems, plan.notes) == ([], [f"{name}: empty"])
    report = place.run()
    assert report.is_complete
    assert report.notes == [f"{name}: empty"]
    assert_same(place.stored(), frame(10))
    if "csv" in name:
        frame(5, 10).to_csv(file, index=False)
        assert place.run().is_complete
        assert_same(place.stored(), frame(15))


@pytest.mark.parametrize("workers", [1, 3])
def test_long_frames_and_tags(place: Place, workers: int) -> None:
    """A device column, tags, and columns of the path name devices, as in `write`."""
    for site in ("A", "B"):
        folder = place.folder / f"site={site}"
        folder.mkdir()
        for day in range(2):
            some = frame(900, day * 300)
            some["machine"] = np.char.mod("m%d", np.arange(900) % 3)
            some["time"] = START + pd.to_timedelta(day * 300 + np.arange(900) // 3, unit="s")
            some["v"] = ord(site) * 1000 + np.arange(900)
            some.to_csv(folder / f"{day}.csv", index=False)
    prefix = place.tree.rpartition(".")[0]
    options = {"memory": SMALL, "workers": workers, "verify": "values"}
    place.run(f"{prefix}.p", device="machine", columns=["v"], **options)
    found = place.stored(f"{prefix}.p.m1")
    assert len(found) == 600
    assert found["v"].tolist()[0] == ord("B") * 1000 + 1  # the later file's
    report = place.run(
        place.table, tags=["site", "machine"], manifest=place.folder.parent / "t.sqlite", **options
    )
    assert report.is_complete
    counted = place.rows(
        f"SELECT site, machine, count(v), min(v) FROM {place.table} GROUP BY site, machine "
        "ORDER BY site, machine"
    )
    assert counted == [
        (site, f"m{m}", 600, ord(site) * 1000 + m) for site in "AB" for m in range(3)
    ]


def test_columns_that_are_full_paths(place: Place) -> None:
    """What a tree query gives goes back as it is."""
    one, two = f"{place.tree}.x.a", f"{place.tree}.y.`b c`"
    table = pa.table({"time": frame(50)["time"], one: range(50), two: np.arange(50) / 2})
    pq.write_table(table, place.folder / "q.parquet")
    report = place.run(f"{place.tree}", verify="values")
    assert report.is_complete
    assert place.stored(f"{place.tree}.x")["a"].tolist() == list(range(50))
    assert place.stored(f"{place.tree}.y").iloc[:, 0].tolist() == [x / 2 for x in range(50)]


class Stopped(Exception):
    """Stands for a closed laptop."""


def stopping(after_rows: int) -> Any:
    """A progress that stops a run when so many rows are there."""

    def stop(standing: Any) -> None:
        if standing.phase == "writing" and standing.rows >= after_rows:
            raise Stopped

    return stop


@pytest.mark.parametrize("kind", ["list", "generator", "reader", "dataset"])
def test_frames_of_a_program(place: Place, kind: str) -> None:
    """Frames resume when they are given again; others in their place are refused."""
    frames = [frame(500, i * 400) for i in range(6)]
    frames[5]["a"] = -1

    def give(some: list[pd.DataFrame]) -> Any:
        tables = [pa.Table.from_pandas(f, preserve_index=False) for f in some]
        if kind == "reader":
            return pa.RecordBatchReader.from_batches(
                tables[0].schema, (b for t in tables for b in t.to_batches())
            )
        if kind == "dataset":
            return pads.dataset(tables)
        return iter(some) if kind == "generator" else some

    verify = "values" if kind in ("list", "dataset") else "count"
    with pytest.raises(Stopped):
        place.run(sources=give(frames), time="time", progress=stopping(1), verify=verify)
    before = iotf.BackfillJob(place.manifest).status()
    assert 0 < before.units["written"] < 6
    with pytest.raises(OptionsError, match="exist only in the program that started it"):
        iotf.BackfillJob(place.manifest).resume(connection=place.connection)
    with pytest.raises(FrameError, match="frame 0 differs from that of the first run"):
        place.run(sources=give(frames[1:]), time="time", verify=verify)
    if verify == "count":  # they overlap, and came only once
        report = place.run(sources=give(frames), time="time", verify=None)
        assert set(report.units) == {"written"}
    else:
        report = place.run(sources=give(frames), time="time", verify=verify)
        assert report.is_complete
    assert report.run_rows == 3_000 - before.rows_written
    assert_same(place.stored(), pd.concat(frames).drop_duplicates("time", keep="last"))


# --- types and dirt ------------------------------------------------------------------------------


def test_types_are_agreed_between_files(place: Place) -> None:
    """Whole numbers in one file and fractions in a later one are DOUBLE from the first row on."""
    frame(100).to_csv(place.folder / "1.csv", index=False)
    frame(100, 100).assign(a=lambda f: f["a"] / 4).to_csv(place.folder / "2.csv", index=False)
    frame(100, 200).assign(new="x").to_parquet(place.folder / "3.parquet", index=False)
    plan = iotf.plan_backfill(place.folder, place.tree, connection=place.connection)
    assert "'a' is written as DOUBLE" in repr(plan)
    assert "column of 1.csv" in repr(plan)
    assert "column of 3.parquet" in repr(plan)
    report = place.run(verify="values", time="time")
    assert report.is_complete
    found = place.stored()
    assert found["a"].tolist() == [
        *map(float, range(100)),
        *(x / 4 for x in range(100, 200)),
        *map(float, range(200, 300)),
    ]
    assert found["new"].tolist() == [None] * 200 + ["x"] * 100
    # The server has the type by now; a later job's whole numbers become it, too.
    frame(100, 300).to_csv(place.folder / "4.csv", index=False)
    again = place.run(verify="values", time="time")
    assert again.run_rows == 100
    assert place.stored()["a"].tolist()[-1] == 399.0


def test_types_that_cannot_agree_are_told_before(place: Place) -> None:
    """Text in one file and numbers in another stop it, by name, before the first byte."""
    frame(10).to_csv(place.folder / "1.csv", index=False)
    frame(10, 10).assign(a="many").to_csv(place.folder / "2.csv", index=False)
    with pytest.raises(FrameError, match=r"'a' is INT64 in 1\.csv, STRING in 2\.csv"):
        place.run()
    assert place.is_empty
    report = place.run(schema={"a": "STRING"}, manifest=place.manifest.with_name("n.sqlite"))
    assert report.is_complete
    assert place.stored()["a"].tolist() == [*map(str, range(10)), *["many"] * 10]


def test_a_column_that_begins_late(place: Place) -> None:
    """A column that is empty in the sample gets its type from its first values."""
    n_rows = 120_000
    late = [""] * (n_rows - 50) + [f"{x / 8}" for x in range(50)]
    data = frame(n_rows)
    data.assign(late=late).to_csv(place.folder / "1.csv", index=False)
    assert (place.folder / "1.csv").stat().st_size > 1 << 20
    report = place.run(memory=1 << 20, verify="values", chunk="1MiB")
    assert report.is_complete
    found = iotf.read(place.tree, columns=["late"], connection=place.connection)["late"]
    assert found.dtype == "float64"
    assert found.tolist() == [x / 8 for x in range(50)]


def test_dirt_goes_to_the_dead_letter(place: Place) -> None:
    """Rows that do not fit are kept with file and line, of every kind of file; the rest goes on."""
    good = frame(400, b=np.arange(400) / 2)
    lines = good.to_csv(index=False).splitlines()
    lines[100] = lines[100].replace(",", ",many,", 1)
    lines[200] = "," + lines[200].partition(",")[2]  # a hole in the time
    lines[300] = "2024-03-01 00:00:0x,1,2"
    (place.folder / "1.csv").write_text("\n".join(lines))
    holes = frame(400, 400, b=np.arange(400) / 2)
    holes.loc[[7, 250], "time"] = pd.NaT
    holes.to_parquet(place.folder / "2.parquet", index=False, row_group_size=90)
    with pytest.raises(FrameError, match=r"1\.csv, line 101.*has 4 fields") as caught:
        place.run(manifest=place.manifest.with_name("raise.sqlite"))
    assert caught.value.row == 101
    assert caught.value.report.rows_written == 0
    report = place.run(**place.collect, verify="values", memory=SMALL)
    assert (report.rows, report.rows_written, report.rows_refused) == (800, 795, 5)
    assert not report.is_complete
    assert report.is_finished
    assert set(place.letters()) == {
        *(("1.csv", line) for line in (101, 201, 301)),
        *(("2.parquet", row) for row in (8, 251)),
    }
    letters = pd.read_parquet(place.dead).set_index("refused_line")
    assert letters.loc[301, "refused_text"] == "2024-03-01 00:00:0x,1,2"
    assert letters.loc[251, "b"] == 125.0
    want = pd.concat([good.drop(index=[99, 199, 299]), holes.drop(index=[7, 250])])
    assert_same(place.stored(), want)


def test_the_dead_letter_of_a_job(place: Place) -> None:
    """A job has one file; what somebody else put there, or changed in it, stays as it is."""
    place.dead.write_text("of another job")
    for i in range(3):
        lines = frame(100, i * 100, b=1.5).to_csv(index=False).splitlines()
        lines[10] += ",many"
        (place.folder / f"{i}.csv").write_text("\n".join(lines))
        report = place.run(**place.collect)
        own = place.dead.with_name("dead-2.parquet" if i < 2 else "dead-3.parquet")
        assert report.dead_letter == str(own)
        assert pd.read_parquet(own)["refused_file"].tolist() == [f"{n}.csv" for n in range(i + 1)]
        if i == 1:
            own.write_text("mended by hand")
    assert place.dead.read_text() == "of another job"
    assert place.dead.with_name("dead-2.parquet").read_text() == "mended by hand"


def test_a_dead_letter_that_cannot_be_written(place: Place) -> None:
    """The rows that fit are stored, and the error, with the report, says what is missing."""
    lines = frame(100, b=1.5).to_csv(index=False).splitlines()
    lines[10] += ",many"
    (place.folder / "1.csv").write_text("\n".join(lines))
    place.dead = place.dead.with_name("x" * 250)  # its part file would have too long a name
    with pytest.raises(IoTDBFramesError, match="cannot be kept in") as caught:
        place.run(**place.collect)
    report = pickle.loads(pickle.dumps(caught.value)).report
    assert (report.rows_written, report.rows_refused, report.dead_letter) == (99, 1, None)
    place.dead = place.dead.with_name("dead.parquet")
    assert place.run(**place.collect).dead_letter == str(place.dead)
    assert place.letters() == [("1.csv", 11)]


def test_unsorted_and_repeated_rows(place: Place) -> None:
    """Of rows with one time the last of the sources wins, cell by cell, however they are split."""
    rng = np.random.default_rng(3)
    made = []
    for i in range(3):
        some = frame(4_000)
        some["time"] = START + pd.to_timedelta(rng.integers(0, 9_000, 4_000), unit="s")
        some["a"] = np.arange(4_000) + i * 4_000
        some.loc[rng.random(4_000) < 0.4, "b"] = rng.normal()
        some["b"] = some["b"] * np.arange(4_000)
        some.to_csv(place.folder / f"{i}.csv", index=False)
        made.append(some)
    report = place.run(memory=SMALL, workers=3, verify="values", chunk=100)
    assert report.is_complete
    assert any("complete beside others" in v for v in report.verdicts)
    want = pd.concat(made).groupby("time").last().reset_index()
    assert_same(place.stored(), want)


# --- one job, many runs --------------------------------------------------------------------------


PART = 16_000
"""Rows of each file of `half`."""


@pytest.fixture
def half(place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A job of three files that was stopped in the second."""
    for i in range(3):
        frame(PART, i * PART).to_csv(place.folder / f"{i}.csv", index=False)
    with pytest.raises(Stopped):
        place.run(memory=SMALL, progress=stopping(PART + 1))
    return place


def test_status_and_resume(half: Place) -> None:
    """What is acknowledged is not sent again; `resume` knows all that was asked."""
    job = iotf.BackfillJob(half.manifest)
    before = job.status()
    assert [f.state for f in before.files] == ["written", "under way", "waiting"]
    assert PART < before.rows_written < 2 * PART
    assert not before.is_finished
    assert "1 of 3 done" in repr(job)
    assert "<table" in job._repr_html_()
    seen: list[Any] = []
    report = job.resume(connection=half.connection, progress=seen.append)
    assert report.is_complete
    assert report.verify == "count"
    assert report.run_rows == 3 * PART - before.rows_written
    assert_same(half.stored(), frame(3 * PART))
    writing = [s for s in seen if s.phase == "writing"]
    assert [s.rows for s in writing] == sorted(s.rows for s in writing)
    assert writing[-1].rows == 3 * PART
    assert writing[-1].bytes_done == writing[-1].n_bytes == report.n_bytes
    assert writing[-1].files_done == 3
    assert all(s.left_s is None or s.left_s >= 0 for s in seen)
    assert job.resume(connection=half.connection).run_rows == 0


def test_another_job_is_refused(half: Place) -> None:
    """A manifest belongs to its target, its sources, and what decides on the data."""
    for told, change in (
        ("target", {"target": f"{half.tree}2"}),
        ("sources", {"sources": half.folder / "0.csv"}),
        ("time", {"time": "time"}),
        ("filter", {"filter": [("a", ">", 1)]}),
        ("csv", {"csv": {"sentinels": {"a": [7]}}}),
        ("schema", {"schema": {"a": "DOUBLE"}}),
    ):
        with pytest.raises(OptionsError, match=f"another job: its {told} is"):
            half.run(memory=SMALL, **change)
    report = half.run(memory=4 * SMALL, workers=2, chunk=50, verify=None)  # the manner may change
    assert report.is_complete


def test_changed_files_are_noticed(half: Place) -> None:
    """A file that was begun and is another now stops it, until it is to be written again."""
    frame(PART).assign(a=-1).to_csv(half.folder / "0.csv", index=False)
    with pytest.raises(FrameError, match=r"0\.csv has changed since its backfill began"):
        half.run()
    report = half.run(changed="again", verify="values")
    assert report.is_complete
    want = frame(3 * PART)
    want.loc[: PART - 1, "a"] = -1
    assert_same(half.stored(), want)


def test_new_files_go_behind(half: Place) -> None:
    """A file that came since is written after the others."""
    frame(3 * PART).assign(a=-2).iloc[::100].to_csv(half.folder / "00.csv", index=False)
    report = half.run(memory=SMALL, verify="values")
    assert report.is_complete
    assert [f.name for f in report.files] == ["0.csv", "1.csv", "2.csv", "00.csv"]
    want = frame(3 * PART)
    want.loc[::100, "a"] = -2
    assert_same(half.stored(), want)


def test_a_path_of_the_manifest_is_never_opened(half: Place) -> None:
    """A name in the manifest that is not among the sources is refused, wherever it leads."""
    name = "1.csv"
    for other in ("../../etc/hosts", "/etc/hosts", "gone.csv"):
        with sqlite3.connect(half.manifest) as db:
            db.execute("UPDATE files SET name = ? WHERE name = ?", (other, name))
        db.close()
        name = other
        with pytest.raises(FrameError, match="in the manifest, but not among the sources"):
            half.run(memory=SMALL)


def test_failed_files_are_tried_again_when_asked(place: Place) -> None:
    """A file that cannot be read is left out and told; mended, it comes with `retry_failed`."""
    frame(100).to_parquet(place.folder / "1.parquet", index=False)
    good = (place.folder / "1.parquet").read_bytes()
    (place.folder / "1.parquet").write_bytes(good[:-100])
    frame(100, 100).to_csv(place.folder / "2.csv", index=False)
    with pytest.raises(FrameError, match=r"1\.parquet cannot be read"):
        place.run(manifest=place.manifest.with_name("raise.sqlite"))
    report = place.run(**place.collect)
    assert [f.state for f in report.files] == ["failed", "verified"]
    assert report.rows_written == 100
    assert "1.parquet cannot be read" in report.problems[0].message
    assert place.run(**place.collect).run_rows == 0
    (place.folder / "1.parquet").write_bytes(good)
    again = place.run(**place.collect, retry_failed=True)
    assert again.is_complete
    assert again.run_rows == 100
    assert_same(place.stored(), frame(200))


def test_a_run_that_a_row_stops_goes_on(place: Place) -> None:
    """With `on_error="raise"` what came before the row stays, and the run resumes behind it."""
    frame(4_000).to_csv(place.folder / "1.csv", index=False)
    lines = frame(4_000, 4_000).to_csv(index=False).splitlines()
    lines[3_000] = "2024-03-01,x"
    (place.folder / "2.csv").write_text("\n".join(lines))
    with pytest.raises(FrameError, match=r"2\.csv, line 3,001"):
        place.run(memory=SMALL)
    status = iotf.BackfillJob(place.manifest).status()
    assert status.rows_written < 7_000
    report = place.run(memory=SMALL, **place.collect)
    assert report.rows_refused == 1
    assert report.run_rows == 7_999 - status.rows_written


def test_a_unit_that_is_sent_again_does_not_win(place: Place) -> None:
    """A unit in doubt is sent again, and those behind it at the same times follow it."""
    for i in range(3):
        frame(100, 50 * i).assign(a=i).to_csv(place.folder / f"{i}.csv", index=False)
    place.run()
    book = Manifest(place.manifest)
    book.set_unit(book.units()[0].id, state="sending")
    book.close()
    report = place.run()
    assert report.is_complete
    assert report.run_rows in (200, 300)  # the third meets the second only
    assert place.stored()["a"].tolist() == [0] * 50 + [1] * 50 + [2] * 100


# --- proof ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["tree", "table"])
@pytest.mark.parametrize("verify", ["count", "values"])
def test_what_the_server_lost_is_found_and_sent_again(
    place: Place, verify: str, model: str
) -> None:
    """Points that vanish after they were acknowledged are missed, sent again, and then there."""
    for i in range(2):
        data = frame(4_000, i * 4_000, site="A", b=np.nan)
        data.loc[::3, "b"] = 0.5
        data.to_csv(place.folder / f"{i}.csv", index=False)
    is_tree = model == "tree"
    target = place.tree if is_tree else place.table
    options = {} if is_tree else {"tags": ["site"]}
    place.run(target, memory=SMALL, verify=None, **options)
    gone = START + pd.Timedelta("30min")
    columns = ["b"] if is_tree else None
    end = gone + pd.Timedelta("1s")
    iotf.delete(target, columns=columns, start=gone, end=end, connection=place.connection)
    report = place.run(target, memory=SMALL, verify=verify, **options)
    assert report.is_complete
    assert any("points missing in 1 acknowledged unit;" in n for n in report.notes), report
    assert 0 < report.run_rows < 4_000  # its unit alone
    counted = {
        "tree": lambda: [tuple(place.stored().count())],
        "table": lambda: place.rows(f"SELECT count(a), count(b) FROM {target}"),
    }[model]()
    assert sorted(counted[0])[:2] == [2_668, 8_000]


def test_values_that_are_others_are_found(place: Place) -> None:
    """A cell that holds something else is seen by `values`, and only by it."""
    frame(4_000).to_csv(place.folder / "1.csv", index=False)
    place.run(verify=None, memory=SMALL)
    place.ask(f"INSERT INTO {place.tree}(time, a) VALUES ({START.value // 10**6}, 77)")
    assert place.run(verify="count", memory=SMALL).is_complete
    other = place.manifest.with_name("v.sqlite")
    place.run(verify=None, memory=SMALL, manifest=other)
    place.ask(f"INSERT INTO {place.tree}(time, a) VALUES ({START.value // 10**6}, 77)")
    report = place.run(verify="values", memory=SMALL, manifest=other)
    assert report.is_complete
    assert any("points missing in" in note for note in report.notes)
    assert_same(place.stored(), frame(4_000))


@pytest.mark.parametrize("verify", ["count", "values"])
def test_verification_waits_no_longer_than_its_limit(
    place: Place, server: LocalServer, verify: str
) -> None:
    """A server that goes away is waited for as long as `retry` says, and not for as long as the
    connection waits besides."""
    frame(100).to_csv(place.folder / "1.csv", index=False)
    with proxy_to(server.port) as road:
        clock = Outage(road)
        options = replace(server.options, hosts=(("127.0.0.1", road.port),))

        def cut(standing: Any) -> None:
            if standing.phase == "verifying" and not road.is_closed.is_set():
                clock.begin(server.port, duration_s=math.inf)

        with Connection(lambda: options, label="road", clock=clock) as place.connection:
            retry = iotf.RetryPolicy(total_s=20)
            with pytest.raises(ConnectionLost) as caught:
                place.run(verify=verify, retry=retry, progress=cut)
            assert 10 < sum(clock.slept_s) <= 20
            assert caught.value.report.rows_written == 100
            clock.end_s = 0
            clock.wait(threading.Event(), 0)
            assert place.run(verify=verify, retry=retry).is_finished


def test_what_was_there_and_what_overlaps_is_told_apart(place: Place) -> None:
    """Data of before, of other units, and of somebody else are each said, and hide no loss."""
    before = frame(50, 10)
    before.set_index("time").iotdb.write(place.tree, connection=place.connection)
    frame(100).to_csv(place.folder / "1.csv", index=False)
    report = place.run(verify="count")
    assert report.is_complete
    assert "50 points existed before" in report.verified_notes[0]
    frame(100, 50).assign(a=5).to_csv(place.folder / "2.csv", index=False)
    report = place.run(verify="count")
    assert any("1 unit at the same devices and times" in n for n in report.verified_notes)
    # A point of the first file vanishes, where the second has none.
    frame(100, 1_000).to_csv(place.folder / "3.csv", index=False)
    place.run(verify=None)
    for at in ("1000.5s", "1001.5s"):
        extra = (START + pd.Timedelta(at)).value // 10**6
        place.ask(f"INSERT INTO {place.tree}(time, a) VALUES ({extra}, 1)")
    lost = (START + pd.Timedelta("1007s")).value // 10**6
    place.ask(f"DELETE FROM {place.tree}.a WHERE time = {lost}")
    report = place.run(verify="count")  # more points than there should be, and not all
    assert any("points missing in" in note for note in report.notes)
    assert any("written by others" in note for note in report.verified_notes)
    assert lost in [t.value // 10**6 for t in place.stored().index]


def test_durable_and_what_the_server_says(place: Place) -> None:
    """The report names the server's wal_mode; `durable` refuses one that acknowledges early."""
    frame(10).to_csv(place.folder / "1.csv", index=False)
    with pytest.raises(OptionsError, match="wal_mode is ASYNC"):
        place.run(durable=True)
    assert "wal_mode ASYNC" in place.run().server


MEANT = (
    ({"replace": True}, "replace=True cannot be used"),
    ({"duplicates": "last"}, "needs all rows at once"),
    ({"verify": "all"}, "must be 'count', 'values' or None"),
    ({"verfy": "count"}, "did you mean 'verify'"),
    ({"filter": [("a", "~", 1)]}, "filter="),
    ({"columns": "a"}, "must be a list"),
    ({"time": 7}, "labels of files are texts"),
    ({"memory": "lots"}, "memory"),
    ({"changed": "maybe"}, "must be 'raise' or 'again'"),
    ({"schema": {"b": "DOUBLE"}}, "schema names 'b', and 1.csv has no such column"),
    ({"columns": ["b"]}, "columns names 'b'"),
    ({"columns": ["a", "b"]}, "columns names 'b'"),
    ({"filter": [("b", ">", 1)]}, "filter names 'b'"),
    ({"csv": {"sentinels": {"b": [-200]}}}, "csv: sentinels names 'b'"),
    ({"csv": {"types": {"b": "double"}}}, "csv: types names 'b'"),
    ({"time": "tme"}, "did you mean 'time'"),
    ({"csv": {"day_fist": True}}, "unknown option 'day_fist'"),
    ({"sources": []}, "an empty list"),
)


def test_what_cannot_be_meant(place: Place) -> None:
    """An invalid option is refused, and nothing is sent."""
    frame(10).to_csv(place.folder / "1.csv", index=False)
    for i, (options, told) in enumerate(MEANT):
        with pytest.raises((OptionsError, FrameError), match=told):
            place.run(manifest=place.manifest.with_name(f"{i}.sqlite"), **options)
    assert place.is_empty


def test_devices_of_other_types_are_verified_each_its_way(place: Place) -> None:
    """Files of devices whose series differ in type are written, and a wrong cell is found."""
    wish: dict[str, Any] = {"device": "dev", "time": "time"}
    for name, kind in (("d1", "int32"), ("d2", "int64")):
        folder = place.folder / f"dev={name}"
        folder.mkdir()
        frame(50)[["time", "a"]].to_parquet(folder / "a.parquet", index=False)
        one = frame(1)[["a"]].astype(kind).set_axis(pd.DatetimeIndex([START]))
        iotf.write(one, f"{place.tree}.{name}", connection=place.connection)
    assert place.run(verify=None, **wish).is_complete
    where = f"{place.tree}.d2"
    right = place.stored(where)
    wrong = pd.DataFrame({"a": [777]}, index=right.index[[20]])
    iotf.write(wrong, where, connection=place.connection)
    again = place.run(verify="values", **wish)
    assert again.is_complete
    assert again.run_rows == 50
    pd.testing.assert_frame_equal(place.stored(where), right)


def test_small_dictionaries_that_differ_are_read(place: Place) -> None:
    """Batches whose codes of 8 bits would not hold all texts together."""
    words = [[f"{p}{i}" for i in range(100)] for p in "ab"]
    batches = [
        pa.record_batch(
            {
                "time": pa.array(range(1000 * at, 1000 * at + 100), pa.timestamp("ms")),
                "a": pa.DictionaryArray.from_arrays(pa.array(range(100), pa.int8()), some),
            }
        )
        for at, some in enumerate(words)
    ]
    with pa.ipc.new_stream(place.folder / "1.arrows", batches[0].schema) as sink:
        for batch in batches:
            sink.write_batch(batch)
    assert place.run(verify="values").is_complete
    assert place.stored()["a"].tolist() == [*words[0], *words[1]]


def test_a_column_that_is_empty_in_a_file_is_no_text(place: Place) -> None:
    """A column without values in one file has the type that another gives it, in any order."""
    frame(100, z=1).assign(a=None).to_csv(place.folder / "1.csv", index=False)
    (place.folder / "2.csv").write_text("time,a,b,c\n")  # a day without rows
    first = place.run(time="time")
    assert first.is_complete
    frame(100, 100).to_csv(place.folder / "3.csv", index=False)
    assert place.run(time="time").is_complete
    found = place.stored()
    assert found["a"].tolist() == [None] * 100 + frame(100, 100)["a"].tolist()


def test_a_column_that_begins_behind_the_sample_is_made_then(place: Place) -> None:
    """Units in which it has no value do not make it a text."""
    rows = [
        f"{START + pd.Timedelta(i, 's')},{i},{5.5 if 22_000 < i < 23_000 else ''}"
        for i in range(40_000)
    ]
    (place.folder / "1.csv").write_text("\n".join(["time,a,b", *rows]) + "\n")
    assert place.run(memory=1 << 20, verify="values", **place.collect).is_complete
    found = place.stored()
    assert found["b"].dropna().tolist() == [5.5] * 999
    assert len(found) == 40_000


def test_fields_of_later_json_lines_are_stored(place: Place) -> None:
    """A field that the first megabyte lacks, and whole numbers that get fractions later."""
    lines = [
        {"time": str(START + pd.Timedelta(i, "s")).replace(" ", "T"), "a": i}
        | ({"b": "x", "a": i + 0.5} if i > 39_000 else {})
        for i in range(40_000)
    ]
    text = "\n".join(map(json.dumps, lines))
    for name, data in (("1.jsonl", text.encode()), ("2.jsonl.gz", gzip.compress(text.encode()))):
        (place.folder / name).write_bytes(data)
        assert place.run(manifest=place.folder.parent / f"{name}.sqlite").is_complete
    found = place.stored()
    assert found["b"].dropna().tolist() == ["x"] * 999
    assert found["a"].tolist() == [line["a"] for line in lines]


def test_a_name_twice_is_told(place: Place) -> None:
    """A file with two columns of one name is refused, and names it."""
    times = pa.array([0], pa.timestamp("ms"))
    twice = pa.table([times, pa.array([1]), pa.array([2])], names=["time", "v", "v"])
    pq.write_table(twice, place.folder / "1.parquet")
    with pytest.raises(FrameError, match=r"1\.parquet: column 'v' occurs more than once"):
        place.run()


def test_what_many_files_share_is_said_once(place: Place) -> None:
    """A note on how files were read names the first of them and how many more there are."""
    for i in range(3):
        some = frame(400, 400 * i)
        some["a"] = some["a"].where(some["a"] % 9 != 0, -200)
        some.to_csv(place.folder / f"{i}.csv", index=False)
    report = place.run(time="time")
    told = [note for note in report.notes if "-200" in note]
    assert [note.partition(":")[0] for note in told] == ["0.csv and 2 more"]


def test_plan_tells_all_and_sends_nothing(place: Place) -> None:
    """A plan shows files, dialects, types and problems, with a server and without."""
    frame(10).to_csv(place.folder / "1.csv", index=False, sep="\t")
    frame(10).to_parquet(place.folder / "2.parquet", index=False)
    (place.folder / "3.parquet").write_bytes(b"PAR1")
    for offline in (False, True):
        connection = None if offline else place.connection
        plan = iotf.plan_backfill(
            place.folder, place.tree, offline=offline, connection=connection, time="time"
        )
        text = repr(plan)
        for part in ("'\\t'", "1.csv", "2.parquet", "INT64", "3.parquet cannot be read"):
            assert part in text, part
        assert "<table" in plan._repr_html_()
    assert place.is_empty
    assert [p.name for p in place.folder.parent.iterdir()] == ["in"]


@pytest.mark.parametrize("verify", ["count", "values"])
def test_far_times_are_left_out_and_the_rest_is_proven(place: Place, verify: str) -> None:
    """A time of the year 50658 is refused by file and line, and what is sent can be verified."""
    file = place.folder / "f.csv"
    file.write_text("time,a\n1700000000000,1\n1536000000000000,2\n1700000001000,3\n")
    with pytest.raises(FrameError, match=r"f.csv, line 3: .* outside the years 1 to 9999"):
        place.run(time="time", time_unit="ms")
    assert place.is_empty
    report = place.run(
        time="time",
        time_unit="ms",
        verify=verify,
        manifest=place.folder.parent / "other.sqlite",
        **place.collect,
    )
    assert (report.rows_written, report.rows_refused) == (2, 1)
    assert place.letters() == [("f.csv", 3)]
    assert place.stored()["a"].tolist() == [1, 3]


def test_int96_of_spark_arrives(place: Place) -> None:
    """Spark's last day, stored as INT96, is the last day there, and is verified by its value."""
    times = np.array(["9999-12-31", "2024-01-01"], "M8[us]")
    table = pa.table({"time": times, "a": [1, 2], "seen": times})
    pq.write_table(table, place.folder / "f.parquet", use_deprecated_int96_timestamps=True)
    report = place.run(time="time", verify="values")
    assert report.is_complete
    sql = f"SELECT a, seen FROM {place.tree}"
    found = iotf.query(sql, model="tree", connection=place.connection).to_arrow()
    ticks = times.astype("M8[ms]").astype(int)
    assert found.column(0).cast("int64").to_pylist() == sorted(ticks.tolist())
    assert found.column(2).cast("int64").to_pylist() == sorted(ticks.tolist())


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_whole_numbers_beside_fractions_are_exact(place: Place, kind: str) -> None:
    """9007199254740993 beside 0.5 is refused by its line and never rounded."""
    stamps = ["2024-03-01T00:00:00", "2024-03-01T00:00:01", "2024-03-01T00:00:02"]
    values = ["0.5", "9007199254740993", "9007199254740992"]
    file = place.folder / f"f.{kind}"
    if kind == "csv":
        rows = ["time,a", *(f"{t},{v}" for t, v in zip(stamps, values, strict=True))]
    else:
        rows = [f'{{"time": "{t}", "a": {v}}}' for t, v in zip(stamps, values, strict=True)]
    file.write_text("\n".join(rows) + "\n")
    line = 3 if kind == "csv" else 2
    with pytest.raises(FrameError, match=rf"f.{kind}, line {line}: .*DOUBLE does not hold"):
        place.run(time="time")
    other = place.folder.parent / "other.sqlite"
    report = place.run(time="time", verify="values", manifest=other, **place.collect)
    assert (report.rows_written, report.rows_refused) == (2, 1)
    assert place.letters() == [(f"f.{kind}", line)]
    assert place.stored()["a"].tolist() == [0.5, 2.0**53]


@pytest.mark.parametrize(
    ("layout", "line"), [("{}\n{}\n{}\n", 5), ("{} {}\n{}\n", 4), ("{}\n\n{}{}\n", 5)]
)
def test_objects_of_json_may_stand_as_they_like(place: Place, layout: str, line: int) -> None:
    """The number that a double would round is refused where objects share lines, or span them."""
    values = ["9007199254740993", "0.5", "9007199254740995"]
    objects = [
        f'{{"time":\n"2024-03-01T00:00:0{i}", "a": {value}}}' for i, value in enumerate(values)
    ]
    (place.folder / "f.jsonl").write_text(layout.format(*objects))
    report = place.run(time="time", verify="values", **place.collect)
    assert (report.rows_written, report.rows_refused) == (1, 2)
    assert place.letters() == [("f.jsonl", 1), ("f.jsonl", line)]
    assert place.stored()["a"].tolist() == [0.5]


def test_empty_rows_and_lost_digits_are_told(place: Place) -> None:
    """The report of a job tells rows of missing values only, and values that lost precision."""
    cells = pa.array([1.5, None, 2.0, 2.5, None])
    table = pa.table({"time": frame(5)["time"], "a": cells})
    pq.write_table(table, place.folder / "f.parquet", row_group_size=2)
    report = place.run(time="time", schema={"a": "INT32"}, coerce="lossy", verify="count")
    assert report.is_complete
    assert (report.rows_written, report.points) == (5, 3)
    assert (report.rows_empty, report.lossy) == (2, {"a": 2})
    again = iotf.BackfillJob(place.manifest).status()
    assert (again.rows_empty, again.lossy) == (2, {"a": 2})
    assert "2 rows of missing values only" in repr(again)
    assert "2 values of a" in repr(again)
