"""Reports of several writes, as one."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import fields, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import iotdb_frames as iotf
from iotdb_frames.errors import OptionsError
from iotdb_frames.options import Secret
from iotdb_frames.server import LocalServer
from iotdb_frames.writes.report import MAX_FAILURES, ChunkFailure, WriteReport
from iotdb_frames.writes.writer import write

FAILURE = ChunkFailure(("root.d",), 0, 1, 2, ("s",), "in doubt", None, "lost")


def report(**changes: Any) -> WriteReport:
    """A report whose every field holds something."""
    numbers = {f.name: i for i, f in enumerate(fields(WriteReport), 1) if f.type == "int"}
    base = WriteReport(
        "root.d",
        **numbers,  # type: ignore[arg-type]
        seconds=2.0,
        lossy={"a": 1},
        failures=[FAILURE],
        dead_letter="bad.parquet",
        notes=["one", "two"],
    )
    return replace(base, **changes)


def test_every_field_is_merged() -> None:
    """Counts add up, notes and files are all told, and the parts stay as they are."""
    one = report()
    other = report(seconds=3.0, lossy={"a": 2, "b": 5}, notes=["two", "three"], dead_letter="b2")
    merged = WriteReport.merge([one, other])
    for field in fields(WriteReport):
        if field.type == "int":
            assert getattr(merged, field.name) == 2 * getattr(one, field.name)
    assert merged.target == "root.d"
    assert merged.seconds == 3.0
    assert merged.lossy == {"a": 3, "b": 5}
    assert merged.failures == [FAILURE, FAILURE]
    assert merged.dead_letter == "bad.parquet"
    assert merged.notes == ["one", "two", "three", "further refused rows are in b2"]
    assert not merged.is_complete
    assert one == report()
    empty = [f.name for f in fields(WriteReport) if getattr(merged, f.name) in ([], {}, None, 0)]
    assert empty == []


def test_merging_is_the_same_in_steps_and_at_once() -> None:
    """Merged reports can be merged again: the order of the parts counts, not their grouping."""
    parts = [report(target=f"root.d{i}", dead_letter=f"{i}.parquet") for i in range(3)]
    at_once = WriteReport.merge(parts, seconds=9)
    in_steps = WriteReport.merge([WriteReport.merge(parts[:2]), parts[2]], seconds=9)
    assert at_once.seconds == 9
    assert replace(at_once, target="") == replace(in_steps, target="")
    assert at_once.target == "root.d0 and 2 other targets"


def test_failures_have_a_limit() -> None:
    """Beyond the first 1,000 chunks only their number is kept."""
    many = report(failures=[FAILURE] * MAX_FAILURES, n_failures=MAX_FAILURES)
    merged = WriteReport.merge([many, many])
    assert len(merged.failures) == MAX_FAILURES
    assert merged.n_failures == 2 * MAX_FAILURES


@pytest.mark.parametrize("reports", [[], [None], ["report"], [report(), 5]])
def test_what_cannot_be_merged(reports: Any) -> None:
    """Without a report there is nothing to tell of."""
    with pytest.raises(OptionsError):
        WriteReport.merge(reports)


def write_part(url: str, password: Secret, device: str, path: Path, start: int) -> WriteReport:
    """A process's part: 100 rows that fit and 100 that do not."""
    index = pd.date_range(pd.Timestamp(start, unit="s"), periods=200, freq="1ms", unit="ms")
    frame = pd.DataFrame({"n": [1, 2**40] * 100}, index=index)
    with iotf.connect(url, password=password) as connection:
        return write(
            frame,
            device,
            schema={"n": "INT32"},
            on_error="collect",
            dead_letter=path,
            connection=connection,
            progress=False,
        )


def test_the_dead_letters_of_several_processes(
    server: LocalServer, device: str, tmp_path: Path
) -> None:
    """Processes that name one dead letter get a file each; the merged report tells all of them."""
    path, password = tmp_path / "bad.parquet", Secret(server.options.password, travels=True)
    with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as pool:
        parts = [pool.submit(write_part, server.url, password, device, path, i) for i in range(4)]
        merged = WriteReport.merge([part.result() for part in parts])
    files = sorted(tmp_path.iterdir())
    assert len(files) == 4
    kept = pd.concat([pd.read_parquet(file) for file in files])
    assert len(kept) == len(kept["index"].unique()) == merged.rows_refused == 400
    assert merged.rows_written == 400
    told = "\n".join([str(merged.dead_letter), *merged.notes])
    assert all(str(file) in told for file in files)
