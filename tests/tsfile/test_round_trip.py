"""What the writer writes the reader reads; damaged bytes end in an error."""

from __future__ import annotations

import io
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from iotdb_frames.codec.cells import Cells
from iotdb_frames.errors import FrameError, OptionsError
from iotdb_frames.options import CompressionType, TSDataType, TSEncoding
from iotdb_frames.reads.tsfile import look_into, read_tsfile
from iotdb_frames.tsfile.decode import decode_2diff, decode_values
from iotdb_frames.tsfile.encode import CODECS, ENCODINGS, ts_2diff
from iotdb_frames.tsfile.index import TableColumn
from iotdb_frames.tsfile.layout import Damaged, Device, table_device, tree_device, tree_path
from iotdb_frames.tsfile.reader import TsFileReader
from iotdb_frames.tsfile.writer import FileColumn, TsFileWriter
from iotdb_frames.writes.tsfile import write_tsfile

_T = TSDataType
LOWEST, HIGHEST = -(2**63), 2**63 - 1
VALUES: dict[TSDataType, tuple[Any, Any]] = {
    _T.BOOLEAN: ("?", st.booleans()),
    _T.INT32: ("i4", st.integers(-(2**31), 2**31 - 1)),
    _T.INT64: ("i8", st.integers(LOWEST, HIGHEST)),
    _T.TIMESTAMP: ("i8", st.integers(LOWEST + 1, HIGHEST)),
    _T.DATE: ("i4", st.dates().map(lambda d: d.year * 10_000 + d.month * 100 + d.day)),
    _T.FLOAT: ("f4", st.floats(width=32)),
    _T.DOUBLE: ("f8", st.floats()),
    _T.TEXT: (None, st.text(max_size=300).map(str.encode)),
    _T.STRING: (None, st.text(max_size=9).map(str.encode)),
    _T.BLOB: (None, st.binary(max_size=20_000)),
}
TIMES = st.lists(st.integers(LOWEST, HIGHEST - 1), min_size=1, max_size=40, unique=True).map(sorted)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a file that is written again and again."""
    return tmp_path_factory.mktemp("f") / "f.tsfile"


@st.composite
def columns(draw: st.DrawFn, n_rows: int) -> FileColumn:
    """A column of any type, encoding and compression, with any values missing."""
    kind = draw(st.sampled_from(list(VALUES)))
    wire, values = VALUES[kind]
    cells = draw(st.lists(values, min_size=n_rows, max_size=n_rows))
    valid = draw(st.none() | st.lists(st.booleans(), min_size=n_rows, max_size=n_rows))
    is_null = None if valid is None else ~np.array(valid, bool)
    made: Any = np.array(cells, wire) if wire else pa.array(cells, pa.binary())
    if wire is None and is_null is None and draw(st.booleans()):
        made = made.dictionary_encode()
    return FileColumn(
        draw(st.sampled_from(["a", "`b c`", "ü", "zz", "\U0001f600", "\ufffd"])),
        kind,
        Cells(made, is_null),
        draw(st.none() | st.sampled_from(ENCODINGS[kind])),
        draw(st.none() | st.sampled_from(list(CODECS))),
    )


def expected(column: FileColumn) -> list[Any]:
    """What is to come back: bits of floats, so that NaN and −0.0 are told apart."""
    cells = column.cells
    values: Any = cells.values
    if isinstance(values, np.ndarray):
        bits = {"f": f"i{values.itemsize}"}.get(values.dtype.kind)
        listed = (values.view(bits) if bits else values).tolist()
    else:
        listed = values.to_pylist()
    is_null = np.zeros(len(listed), bool) if cells.is_null is None else cells.is_null
    return [None if null else v for v, null in zip(listed, is_null.tolist(), strict=True)]


def as_stored(column: pa.ChunkedArray, kind: TSDataType) -> list[Any]:
    """Values as `expected` gives them."""
    if kind in (_T.FLOAT, _T.DOUBLE):
        bits = pa.int32() if kind == _T.FLOAT else pa.int64()
        chunks = [c.view(bits) for c in column.chunks]
        return pa.chunked_array(chunks, bits).to_pylist()
    if kind in (_T.TEXT, _T.STRING):
        return column.cast(pa.binary()).to_pylist()
    if kind == _T.TIMESTAMP:
        return column.cast(pa.int64()).to_pylist()
    if kind == _T.DATE:
        return [d and d.year * 10_000 + d.month * 100 + d.day for d in column.to_pylist()]
    return column.to_pylist()


@given(st.data())
@settings(max_examples=80)
def test_every_value_comes_back(path: Path, data: st.DataObject) -> None:
    """Devices of any name, columns of any type, encoding and compression, pages of any size."""
    names = st.text(st.characters(codec="utf-8"), max_size=3) | st.none()
    devices: list[Device] = data.draw(
        st.lists(st.tuples(st.just("t"), names, st.just("x")), min_size=1, max_size=3, unique=True)
    )
    written: dict[Device, tuple[list[int], dict[str, tuple[TSDataType, list[Any]]]]] = {}
    with path.open("wb") as stream:
        writer = TsFileWriter(
            stream,
            compression=data.draw(st.sampled_from(list(CODECS))),
            page_rows=data.draw(st.integers(1, 20)),
        )
        for device in devices:
            ticks = data.draw(TIMES)
            made = data.draw(st.lists(columns(len(ticks)), max_size=3, unique_by=lambda c: c.name))
            cut = data.draw(st.integers(0, len(ticks)))
            for a, b in ((0, cut), (cut, len(ticks))):
                some = [
                    FileColumn(c.name, c.data_type, c.cells.slice(a, b), c.encoding, c.compression)
                    for c in made
                ]
                writer.write([(device, 0, b - a)], np.array(ticks[a:b], "i8"), some)
            written[device] = ticks, {c.name: (c.data_type, expected(c)) for c in made}
        writer.close()
    with TsFileReader(path) as reader:
        found = list(reader.devices())
        assert {d for d, _, _ in found} == set(written)
        for device, at, end in found:
            ticks, cells = written[device]
            series = reader.series(at, end)
            assert set(series) == {"", *cells}
            rows = pa.concat_tables(reader.read(series, list(cells), start=LOWEST, end=HIGHEST))
            assert rows.column("time").cast(pa.int64()).to_pylist() == ticks
            for name, (kind, values) in cells.items():
                assert as_stored(rows.column(name), kind) == values


@given(st.lists(st.integers(LOWEST, HIGHEST), min_size=1, max_size=300))
def test_differences_wrap(values: list[int]) -> None:
    """TS_2DIFF gives back any integers, of 64 bits and of 32."""
    wide = np.array(values, "i8")
    assert decode_2diff(memoryview(ts_2diff(wide)), is_wide=True).tolist() == values
    narrow = wide.astype("i4")
    assert decode_2diff(memoryview(ts_2diff(narrow)), is_wide=False).tolist() == narrow.tolist()


@given(st.data(), st.integers(1, 33))
def test_blocks_of_any_width_are_read(data: st.DataObject, n_bits: int) -> None:
    """Blocks as the server writes them, of any number of bits, one behind the other."""
    blocks, wanted = b"", []
    for n_steps in data.draw(st.lists(st.sampled_from([0, 1, 5, 128]), min_size=1, max_size=6)):
        steps = data.draw(
            st.lists(st.integers(0, 2**n_bits - 1), min_size=n_steps, max_size=n_steps)
        )
        bits = "".join(f"{step:0{n_bits}b}" for step in steps)
        body = int(bits.ljust(-(-len(bits) // 8) * 8, "0") or "0", 2).to_bytes(
            -(-len(bits) // 8), "big"
        )
        for number, size in ((n_steps, 4), (n_bits, 4), (-3, 8), (1000, 8)):
            blocks += number.to_bytes(size, "big", signed=True)
        blocks += body
        wanted += np.cumsum([1000, *(step - 3 for step in steps)]).tolist()
    assert decode_2diff(memoryview(blocks), is_wide=True).tolist() == wanted


@given(st.lists(st.integers(-(2**31), 2**31 - 1)))
def test_plain_integers_of_the_server_are_read(values: list[int]) -> None:
    """INT32 in PLAIN: zigzag, seven bits a byte."""
    raw = b""
    for value in values:
        zigzag = (value << 1) ^ (value >> 31)
        while zigzag > 127:
            raw += bytes((zigzag & 127 | 128,))
            zigzag >>= 7
        raw += bytes((zigzag,))
    got = decode_values(memoryview(raw), len(values), _T.INT32, TSEncoding.PLAIN)
    assert got.tolist() == values


@given(st.binary(max_size=200), st.integers(0, 60))
def test_texts_of_any_bytes_end(raw: bytes, n_values: int) -> None:
    """Lengths that lead anywhere are texts that fill the page, or damage."""
    try:
        texts = decode_values(memoryview(raw), n_values, _T.BLOB, TSEncoding.PLAIN)
    except Damaged:
        return
    assert len(texts) == n_values


def whole_file() -> bytes:
    """A file with all types, several pages and chunks, tags, and many columns."""
    n_rows = 300
    random = np.random.default_rng(1)
    is_null = random.random(n_rows) < 0.3
    made = [
        FileColumn("bool", _T.BOOLEAN, Cells(random.random(n_rows) < 0.5, is_null)),
        FileColumn("int", _T.INT32, Cells(random.integers(-9, 9, n_rows, "i4"), None)),
        FileColumn("long", _T.INT64, Cells(random.integers(-9, 9, n_rows), is_null)),
        FileColumn("day", _T.DATE, Cells(np.full(n_rows, 20240229, "i4"), is_null)),
        FileColumn("x", _T.DOUBLE, Cells(random.normal(size=n_rows), is_null)),
        FileColumn("s", _T.STRING, Cells(pa.array([b"abc", b"", b"\xc3\xa9"] * 100), is_null)),
        FileColumn(
            "z",
            _T.TEXT,
            Cells(pa.array([b"q" * 99] * n_rows), None, None, None),
            None,
            CompressionType.ZSTD,
        ),
    ]
    stream = io.BytesIO()
    writer = TsFileWriter(stream, page_rows=60)
    for device in (table_device("t", ("a", None)), table_device("t", (None, "b"))):
        for first in (0, 1000):
            writer.write([(device, 0, n_rows)], np.arange(first, first + n_rows), made)
    columns_of_table = [TableColumn(n, _T.STRING, "tag") for n in ("one", "two")]
    columns_of_table += [TableColumn(c.name, c.data_type, "field") for c in made]
    writer.close(tables={"t": columns_of_table})
    return stream.getvalue()


WHOLE = whole_file()


def read_or_refuse(path: Path, raw: bytes) -> bool:
    """Whether a file was read; the only errors are ours."""
    path.write_bytes(raw)
    is_read = True
    for call in (read_tsfile, look_into):
        try:
            call(path)
        except (FrameError, OptionsError):
            is_read = False
    return is_read


def test_a_whole_file_is_read(tmp_path: Path) -> None:
    """The file that the next tests damage has all of its rows."""
    (tmp_path / "f.tsfile").write_bytes(WHOLE)
    frame = read_tsfile(tmp_path / "f.tsfile")
    assert len(frame) == 1200
    assert frame["two"].isna().sum() == 600
    assert frame["z"].eq("q" * 99).all()
    assert (
        look_into(tmp_path / "f.tsfile").points == frame.drop(columns=["one", "two"]).count().sum()
    )


@given(st.integers(0, len(WHOLE) - 1))
@settings(max_examples=60)
def test_a_truncated_file_is_refused(path: Path, n_bytes: int) -> None:
    """A file that lacks its end is none."""
    assert not read_or_refuse(path, WHOLE[:n_bytes])


@given(
    st.lists(
        st.tuples(st.integers(0, len(WHOLE) - 1), st.binary(min_size=1, max_size=9)),
        min_size=1,
        max_size=4,
    ),
    st.booleans(),
)
@example(damage=[(333, b"\0\0")], is_at_end=True)  # a table's file becomes one of the tree
@example(damage=[(272, b"\x01")], is_at_end=True)  # a tag becomes a field
@settings(max_examples=250)
def test_a_damaged_file_ends_in_an_error_of_ours(
    path: Path, damage: list[tuple[int, bytes]], is_at_end: bool
) -> None:
    """Other bytes anywhere, most of all in the index: rows, or a FrameError, in little memory."""
    raw = bytearray(WHOLE)
    for at, some in damage:
        at = len(raw) - 1 - at % 3000 if is_at_end else at
        raw[at : at + len(some)] = some
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    read_or_refuse(path, bytes(raw))
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert after - before < 1 << 20, "more than 1 GiB"  # ru_maxrss counts KiB


@pytest.mark.parametrize(
    ("path", "segments"),
    [
        ("root.a", ("root", "a")),
        ("root.a.b", ("root.a", "b")),
        ("root.a.b.c", ("root.a.b", "c")),
        ("root.a.`b.c`.d.e", ("root.a.`b.c`", "d", "e")),
        ("root.`x``.y`.z", ("root.`x``.y`", "z")),
    ],
)
def test_paths_are_segments(path: str, segments: Device) -> None:
    """A path is cut as the server cuts it, and comes back."""
    assert tree_device(path) == segments
    assert tree_path(segments) == path


def test_rows_are_chosen(tmp_path: Path) -> None:
    """Devices, columns and times, as `read` chooses them; batches make the same rows."""
    index = pd.date_range("2024-01-01", periods=50, freq="min", name="time")
    frame = pd.DataFrame({"time": index, "d": ["a", "b.c"] * 25, "x": np.arange(50.0), "y": "t"})
    path = tmp_path / "f.tsfile"
    write_tsfile(frame, path, target="root.p", time="time", device="d")
    got = read_tsfile(path, target="root.p", start="2024-01-01 00:10", end="2024-01-01 00:20")
    assert got["device"].tolist() == ["a"] * 5 + ["b.c"] * 5
    assert got["x"].tolist() == [*range(10, 20, 2), *range(11, 20, 2)]
    one = read_tsfile(path, target="root.p.b.c", columns=["y"], tz="Europe/Berlin")
    assert list(one) == ["y"]
    assert str(one.index.tz) == "Europe/Berlin"
    assert set(read_tsfile(path)["device"]) == {"root.p.a", "root.p.b.c"}
    batches = read_tsfile(path, returns="batches")
    assert batches.read_all() == read_tsfile(path, returns="arrow")
    again = tmp_path / "g.tsfile"
    write_tsfile(read_tsfile(path, target="root.p"), again, target="root.p")
    assert again.read_bytes() == path.read_bytes()
    for options, match in (
        ({"target": "root.q"}, "no device"),
        ({"columns": ["z"]}, "has no 'z'"),
        ({"device": "x"}, "measurement 'x'"),
    ):
        with pytest.raises(OptionsError, match=match):
            read_tsfile(path, **options)  # type: ignore[arg-type]
