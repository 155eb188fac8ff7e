"""Blocks become Arrow exactly: every type, encoding and null; broken ones are refused."""

from __future__ import annotations

import datetime as dt
import math
import struct
import tracemalloc
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iotdb_frames.codec.tsblock import FREE_BYTES, arrow_type, decode_blocks, result_schema
from iotdb_frames.errors import FrameError, ServerError
from tsblock_writer import ENCODING, Header, Run, header_of, write_block

INT32S = st.integers(-(1 << 31), (1 << 31) - 1)
INT64S = st.integers(-(1 << 63), (1 << 63) - 1)
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
    st.text(st.sampled_from("\0aé"), max_size=5),
    st.integers(240, 270).map("x".__mul__),
)
DATES = st.dates(dt.date(1, 1, 1), dt.date(9999, 12, 31))
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "BOOLEAN": st.booleans(),
    "INT32": INT32S,
    "INT64": INT64S,
    "FLOAT": st.floats(width=32),
    "DOUBLE": st.floats(),
    "TEXT": TEXTS,
    "STRING": TEXTS,
    "BLOB": st.one_of(st.binary(max_size=6), st.binary(min_size=250, max_size=260)),
    "TIMESTAMP": INT64S,
    "DATE": DATES,
}


def on_wire(type_name: str, value: Any) -> Any:
    """A value as the block holds it."""
    if type_name == "DATE" and value is not None:
        return value.year * 10_000 + value.month * 100 + value.day
    return value


def listed(column: pa.ChunkedArray) -> list[Any]:
    """Values to compare by: ticks of times, the bits of floats."""
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.int64())
    return [
        struct.pack(">d", value) if isinstance(value, float) else value
        for value in column.to_pylist()
    ]


def expected(type_name: str, values: list[Any]) -> list[Any]:
    """What `listed` gives for these values."""
    if type_name in ("FLOAT", "DOUBLE"):
        return [None if value is None else struct.pack(">d", value) for value in values]
    return values


@st.composite
def results(draw: st.DrawFn) -> tuple[list[str], list[list[list[Any] | Run]], list[list[int]]]:
    """Types, and for each block its columns and times."""
    types = draw(st.lists(st.sampled_from(sorted(VALUES)), min_size=1, max_size=4))
    blocks, times = [], []
    for n_rows in draw(st.lists(st.integers(0, 18), min_size=1, max_size=4)):
        columns: list[list[Any] | Run] = []
        for name in types:
            cell = st.none() | VALUES[name] if draw(st.booleans()) else VALUES[name]
            if draw(st.integers(0, 4)) == 0:
                columns.append(Run(draw(cell)))
            else:
                columns.append(draw(st.lists(cell, min_size=n_rows, max_size=n_rows)))
        blocks.append(columns)
        times.append(draw(st.lists(INT64S, min_size=n_rows, max_size=n_rows)))
    return types, blocks, times


@given(results())
def test_every_value_comes_back(
    result: tuple[list[str], list[list[list[Any] | Run]], list[list[int]]],
) -> None:
    """Whatever a result holds, in blocks of any length, plain or as runs, each cell is decoded."""
    types, blocks, times = result
    encoded = [
        write_block(
            types,
            [
                Run(on_wire(name, column.value))
                if isinstance(column, Run)
                else [on_wire(name, value) for value in column]
                for name, column in zip(types, columns, strict=True)
            ],
            n_rows=len(ticks),
            times=ticks,
        )
        for columns, ticks in zip(blocks, times, strict=True)
    ]
    table = decode_blocks(encoded, header_of(*types, has_time=True), precision="ns")
    table.validate(full=True)
    assert listed(table.column(0)) == [tick for ticks in times for tick in ticks]
    for i, name in enumerate(types):
        wanted = []
        for columns, ticks in zip(blocks, times, strict=True):
            column = columns[i]
            wanted += [column.value] * len(ticks) if isinstance(column, Run) else column
        assert listed(table.column(i + 1)) == expected(name, wanted)


@pytest.mark.parametrize("n_rows", [1, 7, 8, 9, 64, 1250])
@pytest.mark.parametrize("type_name", sorted(ENCODING))
def test_nulls_at_the_edges(type_name: str, n_rows: int) -> None:
    """A null in the first and the last row is found at lengths around whole bytes of a bitmap."""
    value = {"BOOLEAN": True, "TEXT": "ab", "STRING": "ab", "BLOB": b"ab", "DATE": 20240229}
    values = [value.get(type_name, 3)] * n_rows
    values[0] = values[-1] = None
    block = write_block([type_name], [values], n_rows=n_rows)
    column = decode_blocks([block], header_of(type_name), precision="ms").column(0)
    assert [cell is None for cell in column.to_pylist()] == [cell is None for cell in values]


def test_the_first_null_in_a_late_block() -> None:
    """INT64 stays exact where its first null comes in a later block."""
    big = (1 << 62) + 1
    blocks = [
        write_block(["INT64"], [[big, big]], n_rows=2),
        write_block(["INT64"], [[None, big]], n_rows=2),
    ]
    table = decode_blocks(blocks, header_of("INT64"), precision="ms")
    assert table.column(0).to_pylist() == [big, big, None, big]
    assert table.schema.types == [pa.int64()]


@pytest.mark.parametrize("type_name", sorted(ENCODING))
def test_no_rows_keep_their_types(type_name: str) -> None:
    """A result without blocks, or of blocks without rows, has the types its header declares."""
    header = header_of(type_name, has_time=True)
    empty = write_block([type_name], [[]], n_rows=0, times=[])
    for blocks in ([], [empty], [empty, empty]):
        table = decode_blocks(blocks, header, precision="us")
        assert table.num_rows == 0
        assert table.schema.types == [pa.timestamp("us"), arrow_type(type_name, precision="us")]


def test_all_types_have_one_arrow_type() -> None:
    """The schema of a result follows its declared types alone."""
    schema = result_schema(header_of(*sorted(ENCODING)), precision="ns")
    assert dict(zip(sorted(ENCODING), map(str, schema.types), strict=True)) == {
        "BLOB": "binary",
        "BOOLEAN": "bool",
        "DATE": "date32[day]",
        "DOUBLE": "double",
        "FLOAT": "float",
        "INT32": "int32",
        "INT64": "int64",
        "STRING": "string",
        "TEXT": "string",
        "TIMESTAMP": "timestamp[ns]",
    }


def test_labels_twice_and_slots_in_another_order() -> None:
    """Columns are found by their place in the block, where two may share one."""
    block = write_block(["INT32", "TEXT"], [[1, 2], ["a", "b"]], n_rows=2, times=[5, 6])
    header = Header(("x", "t", "x"), ("TEXT", "TIMESTAMP", "TEXT"), False, (1, -1, 1))
    table = decode_blocks([block], header, precision="ms")
    assert table.column_names == ["x", "t", "x"]
    assert table.column(0).to_pylist() == table.column(2).to_pylist() == ["a", "b"]
    assert table.column(1).cast(pa.int64()).to_pylist() == [5, 6]


def test_bits_of_floats_survive() -> None:
    """NaN, infinities, −0.0 and subnormals are values, and keep their bits."""
    values = [math.nan, math.inf, -math.inf, -0.0, 5e-324, None]
    block = write_block(["DOUBLE"], [values], n_rows=6)
    column = decode_blocks([block], header_of("DOUBLE"), precision="ms").column(0)
    assert column.null_count == 1
    assert listed(column)[:5] == [struct.pack(">d", value) for value in values[:5]]


@pytest.mark.parametrize("length", [0, 1, 255, 256, 257, 65_535, 65_536, 17_000_000])
def test_long_texts(length: int) -> None:
    """Bytes of any length are found, between short ones and in all blocks at once."""
    values = [b"", bytes(length), b"\0\0\0\1x", None, b"\xff" * min(length, 300), b""]
    blocks = [
        write_block(["BLOB", "INT32"], [values, [7] * 6], n_rows=6),
        write_block(["BLOB", "INT32"], [[b"a"], [8]], n_rows=1),
    ]
    table = decode_blocks(blocks, header_of("BLOB", "INT32"), precision="ms")
    assert table.column(0).to_pylist() == [*values, b"a"]
    assert table.column(1).to_pylist() == [7] * 6 + [8]


@pytest.mark.parametrize("number", [0, 20240230, 20241301, 20240001, 20240100, -20240101, 7])
def test_numbers_that_are_no_dates(number: int) -> None:
    """A DATE the server stored unchecked is refused by its number, and shown as no other day."""
    block = write_block(["DATE"], [[20240229, number]], n_rows=2)
    with pytest.raises(FrameError, match=f"'c0' contains {number},"):
        decode_blocks([block], header_of("DATE"), precision="ms")


@pytest.mark.parametrize("name", ["TEXT", "STRING"])
def test_text_that_is_not_utf8(name: str) -> None:
    """Text the server stored unchecked is refused by its column."""
    block = write_block([name], [["a", b"\xc3"]], n_rows=2)
    with pytest.raises(FrameError, match="'c0' contains text that is not UTF-8") as caught:
        decode_blocks([block], header_of(name), precision="ms")
    assert caught.value.column == "c0"


def test_characters_cut_between_two_texts() -> None:
    """Two halves of a character in two cells are no text, though together they are."""
    block = write_block(["TEXT"], [[b"\xc3", b"\xa9"]], n_rows=2)
    with pytest.raises(FrameError):
        decode_blocks([block], header_of("TEXT"), precision="ms")


TYPES = ("INT32", "TEXT", "BOOLEAN", "DOUBLE")
BLOCK = write_block(
    TYPES,
    [[1, None, 3], ["a", "bb", None], [True, None, False], Run(2.5)],
    n_rows=3,
    times=[1, 2, 3],
)


def test_every_cut_is_refused() -> None:
    """A block cut anywhere is refused, never read in part."""
    for n_bytes in range(1, len(BLOCK)):
        with pytest.raises(ServerError):
            decode_blocks([BLOCK[:n_bytes]], header_of(*TYPES, has_time=True), precision="ms")
    with pytest.raises(ServerError):
        decode_blocks([BLOCK + b"\0"], header_of(*TYPES, has_time=True), precision="ms")


@given(st.lists(st.tuples(st.integers(0, len(BLOCK) - 1), st.integers(0, 255)), max_size=4))
def test_broken_bytes_never_break_the_process(changes: list[tuple[int, int]]) -> None:
    """Whatever bytes are wrong, the answer is a table of valid values or an error of ours."""
    broken = bytearray(BLOCK)
    for at, byte in changes:
        broken[at] = byte
    try:
        table = decode_blocks([bytes(broken)], header_of(*TYPES, has_time=True), precision="ms")
    except (ServerError, FrameError):
        return
    table.validate(full=True)


@pytest.mark.parametrize("n_rows", [-1, -(1 << 31), FREE_BYTES // 8 // 5 + 1, (1 << 31) - 1])
def test_a_number_of_rows_that_no_block_has(n_rows: int) -> None:
    """It is refused before memory for so many rows is asked for."""
    at = 4 + len(TYPES)
    broken = BLOCK[:at] + n_rows.to_bytes(4, "big", signed=True) + BLOCK[at + 4 :]
    with pytest.raises(ServerError, match="rows"):
        decode_blocks([broken], header_of(*TYPES, has_time=True), precision="ms")


@pytest.mark.parametrize(
    ("kind", "value"), [("DOUBLE", 2.5), ("BOOLEAN", True), ("TEXT", "x" * 10), ("TEXT", None)]
)
@pytest.mark.parametrize("n_blocks", [1, 20])
def test_a_kilobyte_of_runs_stays_small(kind: str, value: Any, n_blocks: int) -> None:
    """However many rows a few bytes of runs claim, over all blocks of a fetch, they are refused."""
    columns = [Run(value)] * 10
    block = write_block([kind] * 10, columns, n_rows=2_000_000 // n_blocks)
    header = header_of(*[kind] * 10, has_time=True)
    tracemalloc.start()
    try:
        with pytest.raises(ServerError, match="rows that would take"):
            decode_blocks([block] * n_blocks, header, precision="ms")
        assert tracemalloc.get_traced_memory()[1] < FREE_BYTES
    finally:
        tracemalloc.stop()


def test_a_long_text_in_a_run_is_bounded() -> None:
    """A run whose one text would fill the memory is refused; one of a block's size is read."""
    block = write_block(["BLOB"], [Run(b"x" * 50_000)], n_rows=1_000)
    table = decode_blocks([block], header_of("BLOB"), precision="ms")
    assert table.column(0)[999].as_py() == b"x" * 50_000
    block = write_block(["BLOB"], [Run(b"x" * 5_000)], n_rows=100_000)
    with pytest.raises(ServerError, match="rows that would take"):
        decode_blocks([block], header_of("BLOB"), precision="ms")


def test_a_type_from_the_future() -> None:
    """A type that is not known is refused by its name."""
    with pytest.raises(ServerError, match="OBJECT"):
        decode_blocks([], header_of("OBJECT"), precision="ms")


def test_a_column_the_block_lacks() -> None:
    """A header that names a place outside the block is refused."""
    block = write_block(["INT32"], [[1]], n_rows=1)
    with pytest.raises(ServerError):
        decode_blocks([block], Header(("x",), ("INT32",), False, (4,)), precision="ms")
