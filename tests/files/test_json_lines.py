"""JSON lines: what their texts are, their times, their lines, and objects that do not fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import iotdb_frames as iotf
from iotdb_frames.cli.flags import in_flags
from iotdb_frames.client.connection import Connection
from iotdb_frames.errors import FrameError
from iotdb_frames.files.options import FileOptions
from iotdb_frames.files.readers import open_reader
from iotdb_frames.files.refusals import check_whole
from iotdb_frames.files.sources import find_files


def stored(folder: Path, name: str, *objects: Any) -> Path:
    """A file of objects, or of what stands for one as text."""
    file = folder / name
    texts = (o if isinstance(o, str) else json.dumps(o) for o in objects)
    file.write_text("".join(f"{text}\n" for text in texts))
    return file


def read(file: Path, ranges: Any = ((0, None, 0),), **options: Any) -> list[Any]:
    """The pieces of a file."""
    (source,), _ = find_files(file)
    return list(open_reader(source, FileOptions(**options)).pieces(ranges))


def at(second: int, **values: Any) -> dict[str, Any]:
    """An object at a second of a day."""
    return {"time": f"2024-03-01T00:00:{second:02}Z", **values}


@pytest.mark.parametrize("model", ["tree", "table"])
def test_a_text_is_a_text_whatever_it_looks_like(
    connection: Connection, device: str, table: str, tmp_path: Path, model: str
) -> None:
    """A text like a date is stored as text, beside files whose texts are none, or as is said."""
    target = device if model == "tree" else table
    stored(tmp_path, "1.jsonl", at(0, batch="2024-03-01", seen="2024-03-01T10:00:00.5", n="20.5"))
    stored(tmp_path, "2.jsonl", at(1, batch="B-17", seen=None, n="NA"), at(2, batch="x", n="21"))
    types = {"batch": "STRING", "seen": "TIMESTAMP", "n": "DOUBLE"}
    options: dict[str, Any] = {"connection": connection, "schema": types}
    plan = iotf.plan_backfill(tmp_path, target, **options)
    assert (plan.problems, [p.problems for _, p in plan.writes]) == ([], [(), ()])
    for more, manifest in ((options, "1"), ({"connection": connection}, "2")):
        report = iotf.backfill(tmp_path, target, manifest=tmp_path / manifest, **more)
        assert report.is_complete  # the second goes by the types that the server has by then
        found = iotf.read(target, connection=connection)
        assert found["batch"].tolist() == ["2024-03-01", "B-17", "x"]
        assert found["seen"].tolist()[:1] == [pd.Timestamp("2024-03-01 10:00:00.5")]
        assert found["seen"].isna().tolist() == [False, True, True]
        assert found["n"].fillna(0).tolist() == [20.5, 0, 21]


@pytest.mark.parametrize(
    "texts",
    [
        ["2024-03-01T10:00:00.123Z", "2024-03-01T10:00:01.000Z"],
        ["2024-03-01T10:00:00.123456Z", "2024-03-01T10:00:01Z"],
        ["2024-03-01T10:00:00.123456789Z", "2024-03-01T10:00:00.5Z"],
        ["2024-03-01T10:00:00.5+05:30", "2024-03-01T10:00:00.5-02:00"],
        ["2024-03-01 10:00:00.25", "2024-03-01 10:00:00"],
        ["2024-03-01T10:00:00", "2024-03-01T10:00:01"],
        ["2024-03-01", "2024-03-02"],
    ],
)
def test_times_are_exact_in_any_of_iso_8601(tmp_path: Path, texts: list[str]) -> None:
    """Fractions of up to nine digits, offsets, and none of them, are the times that they say."""
    file = stored(tmp_path, "f.jsonl", *({"at": text, "v": 1} for text in texts))
    (piece,) = read(file)
    times = piece.data["at"].combine_chunks()
    want = pd.DatetimeIndex(
        [
            pd.Timestamp(text).tz_convert(None)
            if text[-1] == "Z" or (text[-3] == ":" and text[-6] in "+-")
            else pd.Timestamp(text)
            for text in texts
        ]
    )
    assert times.cast(pa.timestamp("ns", times.type.tz)).cast(pa.int64()).to_pylist() == [
        t.value for t in want
    ]


def test_times_are_written_as_is_said(tmp_path: Path) -> None:
    """A form of the times, or the order of day and month, can be said as of a CSV file."""
    file = stored(tmp_path, "f.jsonl", {"at": "01/02/2024 10:00", "v": 1})
    with pytest.raises(FrameError, match="the day or the month first"):
        read(file)
    for csv in ({"day_first": True}, {"time_format": "%d/%m/%Y %H:%M"}):
        (piece,) = read(file, csv=csv)
        assert piece.data["at"].to_pylist() == [pd.Timestamp("2024-02-01 10:00").to_pydatetime()]


def test_one_object_that_does_not_fit_costs_no_other(
    connection: Connection, device: str, tmp_path: Path
) -> None:
    """Each is kept with its line, its text and why, and all the others are stored."""
    objects: list[Any] = [at(i, v=i / 2, s="a", n=i) for i in range(60)]
    broken = {
        5: '{"time": "2024-03-01T00:00:05Z", "v": oops}',
        6: "{oops",
        17: at(17, v="text", s="a"),
        18: at(18, v=1, s=5),
        19: "[1]",
        30: at(30, v=9007199254740993),
        31: {"time": "2024-03-01T00:00:31", "v": 1},
        32: {"time": "later", "v": 1},
        33: '{"time": "2024-03-01T00:00:33Z", "v": 1, "v": 2}',
    }
    for i, instead in broken.items():
        objects[i] = instead
    objects[40] = ""  # a blank line
    file = stored(tmp_path, "f.jsonl", *objects)
    dead = tmp_path / "dead.parquet"
    report = iotf.backfill(
        file,
        device,
        manifest=tmp_path / "m",
        connection=connection,
        on_error="collect",
        dead_letter=dead,
    )
    good = [i for i in range(60) if i not in broken and i != 40]
    assert (report.rows_written, report.rows_refused) == (len(good), len(broken))
    found = iotf.read(device, connection=connection)
    assert found["n"].tolist() == good
    assert found["v"].tolist() == [i / 2 for i in good]
    letter = pd.read_parquet(dead).sort_values("refused_line").set_index("refused_line")
    assert letter.index.tolist() == [i + 1 for i in broken]
    told = letter["refused_reason"].to_dict()
    assert [told[i] for i in (6, 18, 19, 20)] == [
        "is not JSON: expecting value at character 39",
        "column 'v' is a text, and a number in other rows",
        "column 's' is a number, and a text in other rows",
        "is not a JSON object",
    ]
    assert letter["refused_text"][7] == "{oops"
    with pytest.raises(FrameError, match=r"f\.jsonl, line 6: is not JSON: .*oops"):
        iotf.backfill(file, f"{device}.x", manifest=tmp_path / "n", connection=connection)


def test_lines_are_those_of_the_file(tmp_path: Path) -> None:
    """Behind blank lines, of objects that span some or share one, and in any unit of a file."""
    parts = ["\n\n", *(f'{{"time": {i}, "v": 1}}\n' + "\n" * (i % 3) for i in range(2_000))]
    parts.append('{"time": 2000}{"time": 2001}\n{"time":\n2002}\n')
    text = "".join(parts)
    (tmp_path / "f.jsonl").write_text(text)
    options: dict[str, Any] = {"time": "time", "time_unit": "s", "unit_bytes": 10_000}
    pieces = read(tmp_path / "f.jsonl", **options)
    assert len(pieces) > 3
    lines = text.split("\n")
    for piece in [
        *pieces,
        *read(tmp_path / "f.jsonl", [(pieces[1].start, pieces[1].stop, 0)], **options),
    ]:
        ticks = piece.data["time"].to_pylist()
        told = piece.lines(np.arange(len(ticks)))
        assert piece.line == told[0]
        for tick, line in zip(ticks, told, strict=True):
            assert f'"time": {tick}' in lines[line - 1] or (
                tick == 2002 and lines[line - 1][-1] == ":"
            )
    assert sum(len(p.data) for p in pieces) == 2_003


def test_an_object_that_spans_lines_is_refused_whole(tmp_path: Path) -> None:
    """It is told by the line it begins in, with all of its text."""
    objects = [json.dumps({"time": i, "v": i, "deep": {"x": [i]}}, indent=2) for i in range(50)]
    objects[20] = objects[20].replace('"v": 20', '"v": twenty')
    file = stored(tmp_path, "f.jsonl", *objects)
    (piece,) = read(file, time="time", time_unit="s", columns=["v"])
    assert piece.data["v"].to_pylist() == [i for i in range(50) if i != 20]
    (refusal,) = piece.refusals
    assert refusal.lines.tolist() == ["\n".join(objects[:20]).count("\n") + 2]
    assert refusal.texts.to_pylist() == [objects[20]]
    with pytest.raises(FrameError, match=f"line {refusal.lines[0]}: is not JSON"):
        check_whole(piece, file.name)


def test_a_column_of_most_is_not_lost_to_a_few(tmp_path: Path) -> None:
    """Where kinds differ, most rows say what a column is, in whichever block they are."""
    objects = [{"time": i, "v": i if i % 10 else "none"} for i in range(50_000)]
    file = stored(tmp_path, "f.jsonl", *objects)
    assert file.stat().st_size > 1 << 20
    pieces = read(file, time="time", time_unit="s")
    assert sum(len(p.data) for p in pieces) == 45_000
    assert pieces[0].data.schema.field("v").type == pa.int64()
    assert sum(p.n_refused for p in pieces) == 5_000


def test_whole_numbers_are_texts_where_that_is_said(
    connection: Connection, device: str, tmp_path: Path
) -> None:
    """Codes that are whole numbers in the file are stored with their digits as STRING."""
    file = stored(tmp_path, "f.jsonl", at(0, code=7), at(1, code=9_007_199_254_740_993))
    options: dict[str, Any] = {"schema": {"code": "STRING"}, "connection": connection}
    iotf.backfill(file, device, manifest=tmp_path / "m", **options)
    found = iotf.read(device, connection=connection)
    assert found["code"].tolist() == ["7", "9007199254740993"]


MIXED = ["7", "1.50", '"x"', "true", "1e3", '"a,\\"code\\":1"', "null", "12345678901234567890"]


def test_numbers_and_texts_are_texts_where_that_is_said(
    connection: Connection, device: str, tmp_path: Path
) -> None:
    """A field of both refuses the fewer with what to say; said, each is stored as it is written."""
    rows = [f'{{"time": "2024-03-01T00:00:0{i}Z", "code" : {c}}}' for i, c in enumerate(MIXED)]
    file = stored(tmp_path, "f.jsonl", *rows)
    with pytest.raises(FrameError, match="line 3: column 'code' is a text") as told:
        iotf.backfill(file, device, manifest=tmp_path / "no", connection=connection)
    assert 'schema={"code": "STRING"} takes all of it' in str(told.value)
    assert "--type code=STRING takes all" in in_flags(told.value.hint)
    options: dict[str, Any] = {"schema": {"code": "STRING"}, "connection": connection}
    assert iotf.plan_backfill(file, device, **options).problems == []
    iotf.backfill(file, device, manifest=tmp_path / "m", **options)
    found = iotf.read(device, connection=connection)["code"]
    assert found.dropna().tolist() == [
        *("7", "1.50", "x", "true", "1e3", 'a,"code":1', "12345678901234567890")
    ]


def test_a_first_object_that_does_not_fit_hides_no_other(tmp_path: Path) -> None:
    """How times are written is found out from the objects that can be read."""
    broken = '{"time": "2024-03-01T00:00:00Z", "v": 1, "v": 2}'
    (piece,) = read(stored(tmp_path, "f.jsonl", broken, at(1, v=3)))
    assert (piece.n_refused, piece.data["v"].to_pylist()) == (1, [3])
