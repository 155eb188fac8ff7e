"""Files behind paths, folders, globs and URLs: which, in what order, and who they are."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.orc as orc
import pyarrow.parquet as pq
import pytest
from csvs import follow

from iotdb_frames.errors import FrameError, OptionsError
from iotdb_frames.files.options import FileOptions
from iotdb_frames.files.readers import open_reader
from iotdb_frames.files.refusals import check_whole
from iotdb_frames.files.sources import find_files, is_files

TREE = (
    *("day1.csv", "day2.csv.gz", "day10.csv", "notes.md", "_SUCCESS", ".hidden.csv"),
    *("site=A/x.parquet", "site=B/x.parquet", "site=B/deep/y.pq", "_tmp/z.csv"),
)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder of empty files."""
    for name in TREE:
        file = tmp_path / "in" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return tmp_path / "in"


DAYS = ["day1.csv", "day2.csv.gz", "day10.csv"]
SITES = ["site=A/x.parquet", "site=B/deep/y.pq", "site=B/x.parquet"]


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("", [*DAYS, *SITES]),
        ("day1.csv", ["day1.csv"]),
        ("*.csv*", DAYS),
        ("day?.csv", ["day1.csv"]),
        ("day[0-9].csv*", DAYS[:2]),
        ("day[!1].csv*", DAYS[1:2]),
        ("*/x.parquet", [SITES[0], SITES[2]]),
        ("**/*.p*", SITES),
        ("site=B/**", ["deep/y.pq", "x.parquet"]),
    ],
)
def test_which_files_and_in_what_order(tree: Path, source: str, names: list[str]) -> None:
    """Folders and globs give files of known kinds, day2 before day10, and nothing hidden."""
    found, _ = find_files(str(tree / source) if source else tree)
    starts = {f.path: f for f in found}
    assert [Path(p).relative_to(tree).as_posix() for p in starts] == [
        (Path(source).parent / n).as_posix() if source == "site=B/**" and "*" not in n else n
        for n in names
    ]


def test_several_sources_and_what_was_left_out(tree: Path) -> None:
    """A file that two sources name is there once, in the order of the sources; the rest is said."""
    found, notes = find_files([tree / "day10.csv", tree])
    assert [f.name for f in found] == ["day10.csv", DAYS[0], DAYS[1], *SITES]
    assert notes == [f"1 files of other kinds in {tree} were left out"]


def test_what_a_path_says(tree: Path) -> None:
    """Hive partitions are columns, %-escapes and the null of Hive included."""
    folder = tree / "site=%C3%A4 b" / "unit=__HIVE_DEFAULT_PARTITION__"
    folder.mkdir(parents=True)
    (folder / "q.csv.bz2").touch()
    (found,), _ = find_files(tree / "**" / "*.bz2")
    assert found.partitions == (("site", "ä b"), ("unit", None))
    assert (found.format, found.compression, found.stem) == ("csv", "bz2", "q")


@pytest.mark.parametrize(
    ("source", "format", "told"),
    [
        ("nowhere", None, "there is no"),
        ("nowhere/*.csv", None, "there is no folder"),
        ("*.xlsx", None, "an archive or a workbook"),
        ("notes.md", None, "has no file to read"),
        ("", "xlsx", "must be"),
        ("klingon://x", None, "cannot be opened"),
    ],
)
def test_nothing_there_is_said(tree: Path, source: str, format: str | None, told: str) -> None:  # noqa: A002
    """A source that is not there, or of no known kind, is refused."""
    where = source if "://" in source else str(tree / source)
    with pytest.raises(OptionsError, match=told):
        find_files(where, format=format)


def test_names_that_are_not_utf8(tree: Path) -> None:
    """A file whose name Arrow cannot open is told by it, however it is named; others of no use."""
    name = os.fsdecode(b"caf\xe9.csv")
    (tree / name).touch()
    for source in (tree, tree / "*.csv", tree / name):
        with pytest.raises(OptionsError, match=r"caf\\xe9\.csv is not UTF-8"):
            find_files(source)
    (tree / name).rename(tree / os.fsdecode(b"caf\xe9.md"))
    assert [f.name for f in find_files(tree)[0]] == [*DAYS, *SITES]


def test_urls(tree: Path) -> None:
    """file: and what fsspec opens give the same files as paths do."""
    import fsspec

    assert [f.name for f in find_files(tree.as_uri())[0]] == [*DAYS, *SITES]
    memory = fsspec.filesystem("memory")
    for name in TREE:
        memory.pipe(f"/backfill/{name}", b"time,a\n")
    try:
        found, _ = find_files("memory://backfill/day*.csv")
        assert [f.name for f in found] == ["day1.csv", "day10.csv"]
        assert found[0].root == "memory://backfill"
        assert found[0].fingerprint() == found[1].fingerprint()
    finally:
        memory.rm("/backfill", recursive=True)


def test_a_changed_file_is_another(tmp_path: Path) -> None:
    """Another size, time, or head or tail of the same size and time, is noticed."""
    file = tmp_path / "a.csv"
    data = bytearray(os.urandom(300_000))
    file.write_bytes(data)
    (first,), _ = find_files(file)
    known = first.fingerprint()
    stamp = (file.stat().st_atime_ns, file.stat().st_mtime_ns)
    for place in (10, 299_990):
        data[place] ^= 1
        file.write_bytes(data)
        os.utime(file, ns=stamp)
        again = first.look_again()
        assert again == first  # size and time are the same
        assert again.fingerprint() != known
        data[place] ^= 1
    file.unlink()
    with pytest.raises(FrameError, match="gone"):
        first.look_again()


# --- what is in them ---------------------------------------------------------------------------

N_ROWS = 10_000
TABLE = pa.table(
    {
        "time": pa.array(np.arange(N_ROWS) * 1_000, pa.timestamp("ms")),
        "a": np.arange(N_ROWS),
        "text": pa.array([None if i % 3 else f"t{i % 7}" for i in range(N_ROWS)]),
    }
)


def store(table: pa.Table, file: Path) -> Path:
    """A file of the kind that its ending says."""
    kind = file.name.partition(".")[2]
    if kind == "parquet":
        pq.write_table(table, file, row_group_size=700)
    elif kind == "one.parquet":
        pq.write_table(table, file)
    elif kind == "orc":
        orc.write_table(table, file)
    elif kind == "jsonl":
        frame = table.to_pandas()
        frame["time"] = frame["time"].dt.strftime("%Y-%m-%dT%H:%M:%S")
        frame.to_json(file, orient="records", lines=True)
    elif kind in ("arrow", "arrows", "arrows.gz"):
        sink = pa.BufferOutputStream()
        new = pa.ipc.new_file if kind == "arrow" else pa.ipc.new_stream
        with new(sink, table.schema) as out:
            out.write_table(table, max_chunksize=900)
        data = sink.getvalue().to_pybytes()
        file.write_bytes(gzip.compress(data) if kind.endswith("gz") else data)
    else:
        table.to_pandas().to_csv(file, index=False)
    return file


KINDS = ["parquet", "one.parquet", "arrow", "arrows", "arrows.gz", "orc", "jsonl", "csv", "csv.gz"]


def read(file: Path, ranges: list[Any], **asked: Any) -> list[Any]:
    """Pieces of ranges."""
    options = FileOptions(**asked)
    (source,), _ = find_files(file)
    return list(open_reader(source, options, None).pieces(ranges))


@pytest.mark.parametrize("kind", KINDS)
def test_units_are_the_file(kind: str, tmp_path: Path) -> None:
    """Small units cut a file of any kind without a gap, and each can be read again by itself."""
    file = store(TABLE, tmp_path / f"f.{kind}")
    pieces = read(file, [(0, None, 0)], unit_bytes=1 << 16, time="time")
    assert len(pieces) >= 3
    whole = pa.concat_tables([p.data for p in pieces], promote_options="permissive")
    assert whole["a"].to_pylist() == list(range(N_ROWS))
    assert whole["text"].to_pylist() == TABLE["text"].to_pylist()
    ticks = whole["time"].cast(pa.timestamp("ms")).cast("int64")
    assert ticks.to_pylist() == list(range(0, N_ROWS * 1_000, 1_000))
    some = pieces[1::2]
    again = read(file, [(p.start, p.stop, p.line) for p in some], unit_bytes=1 << 16, time="time")
    for first, second in zip(some, again, strict=True):
        assert (first.start, first.stop, first.line) == (second.start, second.stop, second.line)
        assert first.data.equals(second.data)
        assert first.digest == second.digest


@pytest.mark.parametrize("kind", ["arrow", "arrows"])
@pytest.mark.parametrize("name", ["f.arrow", "f.arrows", "f.feather.gz", "f.arrows.zst"])
def test_arrow_is_what_it_is(kind: str, name: str, tmp_path: Path) -> None:
    """A file or a stream of Arrow is read whatever its ending says, compressed, too."""
    data = store(TABLE, tmp_path / f"stored.{kind}").read_bytes()
    file = tmp_path / name
    packing = {".gz": "gzip", ".zst": "zstd"}.get(file.suffix)
    file.write_bytes(data if packing is None else pa.compress(data, packing, asbytes=True))
    pieces = read(file, [(0, None, 0)], unit_bytes=1 << 16, time="time")
    assert pa.concat_tables([p.data for p in pieces]).equals(TABLE)


@pytest.mark.parametrize("kind", ["parquet", "csv", "arrow"])
def test_columns_rows_and_paths(kind: str, tmp_path: Path) -> None:
    """Asked for some columns and rows, with columns of the path: no more and no less comes."""
    folder = tmp_path / "site=A"
    folder.mkdir()
    file = store(TABLE, folder / f"press 7.{kind}")
    (piece,) = read(
        tmp_path,
        [(0, None, 0)],
        columns=["a", "site", "file"],
        filter=[[("text", "==", "t3"), ("a", ">", 5_000)], [("time", "<", "1970-01-01 00:00:02")]],
        file_column="file",
    )
    want = TABLE.to_pandas()
    want = want[((want["text"] == "t3") & (want["a"] > 5_000)) | (want["a"] < 2)]
    got = piece.data.to_pandas()
    assert sorted(got.columns) == ["a", "file", "site", "time"]
    assert got["a"].tolist() == want["a"].tolist()
    assert set(got["site"]) == {"A"}
    assert set(got["file"]) == {"press 7"}
    assert (
        piece.lines(np.arange(3)) == want["a"].to_numpy()[:3] + (2 if kind == "csv" else 1)
    ).all()
    with pytest.raises(FrameError, match="is a column and in the path, too"):
        read(tmp_path, [(0, None, 0)], file_column="a")
    assert file.exists()


@pytest.mark.parametrize("kind", ["parquet", "arrows.gz", "csv.gz"])
def test_files_behind_a_url(kind: str, tmp_path: Path) -> None:
    """What fsspec opens is read, and read again in parts, as a file of the disk is."""
    import fsspec

    file = store(TABLE, tmp_path / f"f.{kind}")
    memory = fsspec.filesystem("memory")
    memory.pipe(f"/behind/f.{kind}", file.read_bytes())
    try:
        (source,), _ = find_files(f"memory://behind/*.{kind}")
        options = FileOptions(unit_bytes=1 << 16, time="time")
        there = list(open_reader(source, options, None).pieces([(0, None, 0)]))
        here = read(file, [(0, None, 0)], unit_bytes=1 << 16, time="time")
        assert [p.data for p in there] == [p.data for p in here]
        again = open_reader(source, options, None).pieces(
            [(p.start, p.stop, p.line) for p in there[1:]]
        )
        assert [p.data for p in again] == [p.data for p in here[1:]]
    finally:
        memory.rm("/behind", recursive=True)


def test_dataset(tmp_path: Path) -> None:
    """A pyarrow dataset gives its files, in its format."""
    pads.write_dataset(
        TABLE, tmp_path / "d", format="parquet", max_rows_per_file=4_000, max_rows_per_group=4_000
    )
    found, _ = find_files(pads.dataset(tmp_path / "d"))
    assert [f.format for f in found] == ["parquet"] * 3
    readers = [open_reader(f, FileOptions(), None) for f in found]
    assert sum(len(p.data) for r in readers for p in r.pieces([(0, None, 0)])) == N_ROWS


def test_a_dataset_that_is_more_than_its_files_is_none_of_them(tmp_path: Path) -> None:
    """A dataset's filter, partitions and schema are not lost: it is then read as it says itself."""
    folder = tmp_path / "d"
    pads.write_dataset(
        TABLE, folder, format="parquet", partitioning=["text"], partitioning_flavor="hive"
    )
    plain = pads.dataset(folder)
    partitioned = pads.dataset(folder, partitioning="hive")
    typed = pads.dataset(folder, schema=pa.schema([("time", pa.timestamp("ms"))]))
    assert is_files(plain)
    assert not find_files(plain)[0][0].partitions
    for other in (plain.filter(pads.field("a") > 1), partitioned, typed):
        assert not is_files(other)
        with pytest.raises(OptionsError, match="goes alone"):
            find_files([folder, other])


def test_index_of_pandas_is_the_time(tmp_path: Path) -> None:
    """The index that pandas stored is the time, whatever it is called, and a lone one of many."""
    index = pd.date_range("2024-01-01", periods=3, freq="1s", name="stamp")
    frame = pd.DataFrame({"seen": index, "x": range(3)}, index)
    frame.to_parquet(tmp_path / "a.parquet")
    frame.reset_index(drop=True).to_parquet(tmp_path / "b.parquet")
    for name, label in (("a", "stamp"), ("b", "seen")):
        (source,), _ = find_files(tmp_path / f"{name}.parquet")
        assert open_reader(source, FileOptions(), None).time == label


@pytest.mark.parametrize("kind", ["parquet", "arrow", "orc", "csv.gz"])
def test_broken_files_are_named(kind: str, tmp_path: Path) -> None:
    """A file that is cut off, or is not what its ending says, is an error that names it."""
    file = store(TABLE, tmp_path / f"f.{kind}")
    data = file.read_bytes()
    for broken in (data[: len(data) // 2], b"<html>not found</html>"):
        file.write_bytes(broken)
        with pytest.raises(FrameError, match=r"^f\."):
            read(file, [(0, None, 0)], time="time")


def test_whole_numbers_of_json_lines_are_exact(tmp_path: Path) -> None:
    """A whole number that a column of fractions would round is refused by its row."""
    file = tmp_path / "f.jsonl"
    values = ["0.5", "9007199254740993", "9007199254740992", "18446744073709551615", "1e300"]
    rows = [f'{{"time": {i}, "v": {v}}}' for i, v in enumerate(values)]
    file.write_text("\n".join(rows) + "\n")
    (piece,) = read(file, [(0, None, 0)], time="time", time_unit="s")
    assert piece.data["v"].to_pylist() == [0.5, 2.0**53, 1e300]
    assert piece.lines(np.arange(3)).tolist() == [1, 3, 5]
    (refusal,) = piece.refusals
    assert refusal.lines.tolist() == [2, 4]
    assert refusal.texts.to_pylist() == [rows[1], rows[3]]
    assert "in a column of fractions or of numbers beyond 64 bits" in refusal.reason
    (lossy,) = read(file, [(0, None, 0)], time="time", time_unit="s", is_lossy=True)
    assert len(lossy.data) == 5


def test_json_objects_may_span_lines_in_files_of_any_size(tmp_path: Path) -> None:
    """Objects of several lines are read whole across blocks, and told by the line they begin in."""
    file = tmp_path / "f.jsonl"
    n_rows = 30_000
    objects = [
        json.dumps({"time": i, "v": 0.5, "n": {"a": i}, "s": "}"}, indent=1) for i in range(n_rows)
    ]
    objects[-1] = objects[-1].replace("0.5", "9007199254740993")
    file.write_bytes(b"\xef\xbb\xbf" + "\n".join(objects).encode())
    assert file.stat().st_size > 1 << 20
    pieces = read(file, [(0, None, 0)], time="time", time_unit="s")
    assert np.concatenate([p.data["time"] for p in pieces]).tolist() == list(range(n_rows - 1))
    (refusal,) = [r for p in pieces for r in p.refusals]
    assert refusal.lines.tolist() == ["\n".join(objects[:-1]).count("\n") + 2]
    last = pieces[-1].lines(np.array([len(pieces[-1].data) - 1]))
    assert last == refusal.lines - objects[0].count("\n") - 1
    assert refusal.texts.to_pylist() == objects[-1:]


def test_a_number_beyond_64_bits_among_whole_ones_is_refused(tmp_path: Path) -> None:
    """It is told by its line also where a look at some objects of a block did not meet it."""
    file = tmp_path / "f.jsonl"
    rows = [f'{{"time": {i}, "v": {i}}}' for i in range(1_000)]
    rows[501], rows[600] = '{"time": 501, "v": 1e30}', "oops"
    file.write_text("\n".join(rows) + "\n")
    (piece,) = read(file, [(0, None, 0)], time="time", time_unit="s")
    told = {line: r.reason for r in piece.refusals for line in r.lines.tolist()}
    assert told.keys() == {502, 601}
    assert told[502] == "column 'v' is a number beyond 64 bits"


@pytest.mark.parametrize("n_digits", [300, 400, 5_000])
def test_numbers_of_any_length_are_refused(tmp_path: Path, n_digits: int) -> None:
    """A whole number of hundreds of digits in JSON is refused by its row as a shorter one is."""
    file = tmp_path / "f.jsonl"
    file.write_text(f'{{"time": 1, "v": 0.5}}\n{{"time": 2, "v": {"1" * n_digits}}}\n')
    try:
        (piece,) = read(file, [(0, None, 0)], time="time", time_unit="s")
    except FrameError as exc:
        assert "row 2" in exc.message  # noqa: PT017 - Arrow's own limit, told alike
    else:
        assert [r.lines.tolist() for r in piece.refusals] == [[2]]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b'[{"time": 1}]', "does not begin with a JSON object"),
        (b"null\n", "does not begin with a JSON object"),
        ('{"time": 1}'.encode("utf-16"), "does not begin with a JSON object"),
        (b'{"time": oops}\n' * 9, "has no object that can be read: line 1 is not JSON"),
        (b'\n{"time": 1, "a\xff": 2}\n', "has no object .* line 2 is no text in UTF-8"),
        (b"{}\n", "has no object that can be read: line 1 has no field"),
    ],
)
def test_what_is_not_json_lines_is_told(tmp_path: Path, data: bytes, told: str) -> None:
    """A file without JSON objects in UTF-8 is refused by its name."""
    file = tmp_path / "f.jsonl"
    file.write_bytes(data)
    with pytest.raises(FrameError, match=f"f.jsonl {told}"):
        read(file, [(0, None, 0)], time="time", time_unit="s")


def test_an_array_of_json_is_told_how_to_become_lines(tmp_path: Path) -> None:
    """The command of the hint takes its objects out, and changes no number and no text."""
    (tmp_path / "old.json").write_text(
        '[\n {"time": 1, "v": 9007199254740993, "w": 0.1, "t": "é\\n\\u2028"},\n'
        ' {"time": 2, "v": -9223372036854775808, "w": 1e-300, "t": "\\ud83d\\ude00"}]',
        encoding="utf-8",
    )
    options = {"time": "time", "time_unit": "s"}
    with pytest.raises(FrameError, match="does not begin with a JSON object") as told:
        read(tmp_path / "old.json", [(0, None, 0)], **options)
    follow(told.value.hint, tmp_path)
    (piece,) = read(tmp_path / "new.jsonl", [(0, None, 0)], **options)
    assert piece.data["v"].to_pylist() == [9007199254740993, -(2**63)]
    assert piece.data["w"].to_pylist() == [0.1, 1e-300]
    assert piece.data["t"].to_pylist() == ["é\n\u2028", "😀"]


def test_a_damaged_stream_is_told(tmp_path: Path) -> None:
    """Texts of an Arrow stream whose bounds are damaged are refused by the file's name."""
    sink = pa.BufferOutputStream()
    table = pa.table({"time": [1, 2, 3], "text": ["aaa", "bb", "c"]})
    with pa.ipc.new_stream(sink, table.schema) as out:
        out.write_table(table)
    whole, bounds = sink.getvalue().to_pybytes(), np.array([0, 3, 5, 6], np.int32)
    assert whole.count(bounds.tobytes()) == 1
    (tmp_path / "f.arrows").write_bytes(whole.replace(bounds.tobytes(), (-bounds).tobytes()))
    with pytest.raises(FrameError, match=r"f.arrows cannot be read: .*offsets"):
        read(tmp_path / "f.arrows", [(0, None, 0)], time="time", time_unit="s")


@pytest.mark.parametrize("kind", ["parquet", "arrow", "csv", "jsonl"])
def test_times_outside_all_years_are_refused(kind: str, tmp_path: Path) -> None:
    """A time of the year 50658, microseconds among milliseconds, is refused by its line or row."""
    file = tmp_path / f"f.{kind}"
    ticks = [1_700_000_000_000, 1_536_000_000_000_000, 253_402_300_799_999, -62_135_596_800_001]
    table = pa.table({"time": ticks, "a": range(4)})
    if kind == "jsonl":
        table.to_pandas().to_json(file, orient="records", lines=True)
    else:
        store(table, file)
    (piece,) = read(file, [(0, None, 0)], time="time", time_unit="ms")
    assert piece.data["a"].to_pylist() == [0, 2]
    (refusal,) = piece.refusals
    first = 2 if kind == "csv" else 1
    assert refusal.lines.tolist() == [1 + first, 3 + first]
    assert piece.lines(np.arange(2)).tolist() == [first, 2 + first]
    with pytest.raises(FrameError, match=rf"f.{kind}, (line|row) {1 + first}: .*1 to 9999"):
        check_whole(piece, file.name)


@pytest.mark.parametrize("texts", [["9999-12-31 00:00:00"], ["2024-01-01 00:00:00.123456789"]])
def test_int96_keeps_its_times(texts: list[str], tmp_path: Path) -> None:
    """Times of INT96, as Spark writes them, are what they were, far or fine."""
    file = tmp_path / "f.parquet"
    times = np.array([*texts, "2024-01-01"], "M8[ns]" if "." in texts[0] else "M8[us]")
    table = pa.table({"time": times, "a": range(2)})
    pq.write_table(table, file, use_deprecated_int96_timestamps=True)
    (piece,) = read(file, [(0, None, 0)], time="time")
    assert (piece.data["time"].to_numpy() == times).all()


def test_far_and_fine_int96_are_refused(tmp_path: Path) -> None:
    """A file whose INT96 times fit no one unit is refused, and neither half of it wraps."""
    file = tmp_path / "f.parquet"
    far, fine = (
        np.array(["9999-12-31"], "M8[us]"),
        np.array(["2024-01-01T00:00:00.1234567"], "M8[ns]"),
    )
    table = pa.table({"time": far, "seen": fine})
    pq.write_table(table, file, use_deprecated_int96_timestamps=True)
    with pytest.raises(FrameError, match="outside the years 1677 to 2262"):
        read(file, [(0, None, 0)], time="time")
