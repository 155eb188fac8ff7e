"""Cells to bytes, against bytes written by hand and against a reader written apart."""

from __future__ import annotations

import math
import struct
from datetime import date
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from iotdb.Session import Session

from iotdb_frames.codec.cells import Cells, Rules, to_cells
from iotdb_frames.codec.sources import from_arrow, from_pandas
from iotdb_frames.codec.tablet import (
    Tablet,
    as_records,
    encode_pieces,
    encode_times,
    encode_values,
    pack_nulls,
)
from iotdb_frames.options import TSDataType as T
from tablet_reader import read_times, read_values

PLAIN = Rules("ms")


def cells(values: Any, kind: T, rows: Any = None, rules: Rules = PLAIN) -> Cells:
    """Cells of a pandas or an Arrow column."""
    is_arrow = isinstance(values, pa.Array | pa.ChunkedArray)
    source = from_arrow(values, "x") if is_arrow else from_pandas(values, "x")
    return to_cells(source, slice(0, len(source)) if rows is None else rows, kind, rules)


def values_bytes(*columns: Cells) -> bytes:
    """The values part as plain bytes."""
    return bytes(encode_values(columns))


@pytest.mark.parametrize(
    ("is_null", "packed"),
    [
        ([], "00"),
        ([0], "00"),
        ([1], "01"),
        ([0, 0, 0, 0, 0, 0, 1], "40"),
        ([1] * 7, "7f"),
        ([0, 0, 0, 0, 0, 0, 0, 1], "8000"),
        ([1] * 8, "ff00"),
        ([0] * 8 + [1], "0001"),
        ([1] + [0] * 7 + [1], "0101"),
        ([1] * 15, "ff7f"),
        ([1] * 16, "ffff00"),
    ],
)
def test_bitmap_is_one_byte_longer_than_full_bytes(is_null: list[int], packed: str) -> None:
    """A bitmap has n // 8 + 1 bytes, lowest bit first, also where n is a multiple of 8."""
    assert pack_nulls(np.array(is_null, bool)).hex() == packed


@pytest.mark.parametrize(
    ("column", "kind", "expected"),
    [
        (pd.Series([True, False, None], dtype="boolean"), T.BOOLEAN, "0100?? 0104"),
        (pd.Series([1, -2, None], dtype="Int32"), T.INT32, "00000001 fffffffe ???????? 0104"),
        (pd.Series([258, -1]), T.INT64, "0000000000000102 ffffffffffffffff 00"),
        (pd.Series([1.5, np.nan], dtype="f4"), T.FLOAT, "3fc00000 ???????? 0102"),
        (pd.Series([-0.0, 5e-324]), T.DOUBLE, "8000000000000000 0000000000000001 00"),
        (pd.Series(["é", None, ""]), T.STRING, "00000002c3a9 00000000 00000000 0102"),
        (pd.Series(["a\0b", "\0"]), T.TEXT, "00000003610062 0000000100 00"),
        (pd.Series([b"\xff\0", None]), T.BLOB, "00000002ff00 00000000 0102"),
        (pd.Series([date(2024, 2, 29), None]), T.DATE, f"{20240229:08x} ???????? 0102"),
        (
            pd.Series(pd.to_datetime(["1969-12-31T23:59:59.999", None])),
            T.TIMESTAMP,
            "ffffffffffffffff ???????????????? 0102",
        ),
        (pd.Series([], dtype="f8"), T.DOUBLE, "00"),
        (pd.Series([], dtype="str"), T.STRING, "00"),
    ],
)
def test_every_type_has_its_bytes(column: pd.Series, kind: T, expected: str) -> None:
    """Each IoTDB type is laid out as the server wants it; a null's own bytes do not matter."""
    found = values_bytes(cells(column, kind)).hex()
    wanted = expected.replace(" ", "")
    assert len(found) == len(wanted)
    assert all(a in (b, "?") for a, b in zip(wanted, found, strict=True))


def test_columns_come_before_all_bitmaps() -> None:
    """The bitmaps stand behind the last column, one byte for a column without nulls."""
    one = cells(pd.Series([1, None], dtype="Int32"), T.INT32)
    two = cells(pd.Series([True, False]), T.BOOLEAN)
    assert values_bytes(one, two)[-5:].hex() == "0100" + "0102" + "00"
    assert values_bytes(two, one)[:2].hex() == "0100"


def test_times_are_big_endian() -> None:
    """Ticks keep their sign."""
    assert bytes(encode_times(np.array([1, -1]))) == struct.pack(">qq", 1, -1)


BASE = pa.array(["aa", None, "b", "", "ccc", "aa", None, "é", "aa"])
NUMBERS = pa.array([1, None, 3, 4, None, 6, 7, 8, 9])


@pytest.mark.parametrize("rows", [slice(0, 9), slice(2, 6), slice(4, 4), np.array([8, 0, 1, 6])])
@pytest.mark.parametrize(
    "shape", ["plain", "sliced", "chunked", "large", "dictionary", "sliced dictionary", "views"]
)
def test_arrow_offsets_and_chunks_do_not_show(shape: str, rows: Any) -> None:
    """Sliced, chunked, large, dictionary and view arrays give the bytes of a plain one."""

    def reshape(plain: pa.Array) -> Any:
        is_text = pa.types.is_string(plain.type)
        return {
            "plain": lambda: plain,
            "sliced": lambda: pa.concat_arrays([plain[:3], plain, plain[:2]])[3:12],
            "chunked": lambda: pa.chunked_array([plain[:1], plain[1:1], plain[1:5], plain[5:]]),
            "large": lambda: plain.cast(pa.large_string()) if is_text else plain,
            "dictionary": plain.dictionary_encode,
            "sliced dictionary": lambda: pa.concat_arrays([plain[:4], plain]).dictionary_encode()[
                4:
            ],
            "views": lambda: pa.array(plain.to_pylist(), pa.string_view()) if is_text else plain,
        }[shape]()

    for plain, kind in ((BASE, T.STRING), (NUMBERS, T.INT64)):
        found = cells(reshape(plain), kind, rows)
        expected = plain[rows] if isinstance(rows, slice) else plain.take(pa.array(rows))
        texts = [v.encode() if isinstance(v, str) else v for v in expected.to_pylist()]
        assert read_values(values_bytes(found), [kind], len(texts)) == [texts]


@pytest.mark.parametrize(
    "values",
    [
        np.array([1.5, -2.5, np.nan], ">f8"),
        np.array([[1.5, 0], [-2.5, 0], [np.nan, 0]])[:, 0],
        np.array([np.nan, -2.5, 1.5])[::-1],
        np.asfortranarray([[1.5, 9], [-2.5, 9], [np.nan, 9]])[:, 0],
    ],
    ids=["big-endian", "strided", "reversed", "fortran"],
)
@pytest.mark.parametrize("is_read_only", [False, True])
def test_numpy_layout_does_not_show(values: np.ndarray, is_read_only: bool) -> None:
    """Byte order, strides and write protection of the caller's array make no difference."""
    before = values.copy()
    values.flags.writeable = not is_read_only
    found = cells(pd.Series(values, copy=False), T.DOUBLE)
    assert read_values(values_bytes(found), [T.DOUBLE], 3) == [[1.5, -2.5, None]]
    np.testing.assert_array_equal(values, before)


def test_binary_of_fixed_size_is_a_blob() -> None:
    """Arrow's binary of one width, plain or a dictionary, is bytes like any other."""
    fixed = pa.array([b"abcd", None, b"efgh"], pa.binary(4))
    for data in (fixed, fixed.dictionary_encode()):
        assert read_values(values_bytes(cells(data, T.BLOB)), [T.BLOB], 3) == [
            [b"abcd", None, b"efgh"]
        ]


def test_masked_array_is_written_by_its_mask() -> None:
    """What a masked array hides is a missing value."""
    hidden = np.ma.array([1.5, 7.0, 2.5], mask=[False, True, False])
    found = cells(pd.DataFrame({"x": hidden})["x"], T.DOUBLE)
    assert read_values(values_bytes(found), [T.DOUBLE], 3) == [[1.5, None, 2.5]]


def test_nulls_hide_their_bytes() -> None:
    """Text under a null of a foreign Arrow buffer is not sent."""
    buffers = pa.array(["ab", "cd"]).buffers()
    hidden = pa.Array.from_buffers(pa.string(), 2, [pa.py_buffer(b"\x02"), *buffers[1:]])
    assert hidden.to_pylist() == [None, "cd"]
    found = values_bytes(cells(hidden, T.STRING))
    assert b"ab" not in found
    assert read_values(found, [T.STRING], 2) == [[None, b"cd"]]


def same(one: Any, other: Any) -> bool:
    """Equality in which NaN is NaN and -0.0 is not 0.0."""
    if isinstance(one, float) and isinstance(other, float):
        return struct.pack("d", one) == struct.pack("d", other) or math.isnan(one + other)
    return bool(one == other)


COLUMNS = {
    T.BOOLEAN: (st.booleans(), pa.bool_()),
    T.INT32: (st.integers(-(2**31), 2**31 - 1), pa.int32()),
    T.INT64: (st.integers(-(2**63), 2**63 - 1), pa.int64()),
    T.FLOAT: (st.floats(width=32), pa.float32()),
    T.DOUBLE: (st.floats(), pa.float64()),
    T.TEXT: (st.text(st.characters(exclude_categories=["Cs"])), pa.string()),
    T.BLOB: (st.binary(), pa.binary()),
}


@given(data=st.data())
def test_what_is_packed_is_read_back(data: st.DataObject) -> None:
    """Any columns, lengths, nulls and slices: the reader finds the values that went in."""
    kinds = data.draw(st.lists(st.sampled_from(list(COLUMNS)), min_size=1, max_size=4))
    n_rows = data.draw(st.integers(0, 40))
    start = data.draw(st.integers(0, n_rows))
    columns, expected = [], []
    for kind in kinds:
        value, arrow = COLUMNS[kind]
        some = data.draw(st.lists(st.none() | value, min_size=n_rows, max_size=n_rows))
        array = pa.array(some, arrow)
        if data.draw(st.booleans()):
            array = array.dictionary_encode()
        columns.append(cells(array, kind, slice(start, n_rows), Rules("ms", keep_nan=True)))
        plain = [v.encode() if isinstance(v, str) else v for v in array[start:].to_pylist()]
        expected.append(plain)
    found = read_values(values_bytes(*columns), kinds, n_rows - start)
    for got, wanted in zip(found, expected, strict=True):
        assert all(same(a, b) for a, b in zip(got, wanted, strict=True))


@given(st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_times_are_read_back(ticks: list[int]) -> None:
    """Any ticks: the reader finds them again."""
    assert read_times(bytes(encode_times(np.array(ticks, np.int64)))) == ticks


@given(data=st.data())
def test_pieces_are_the_tablets_of_their_rows(data: st.DataObject) -> None:
    """Rows cut into tablets of equal or other lengths: each holds what it would hold by itself."""
    kinds = data.draw(st.lists(st.sampled_from(list(COLUMNS)), min_size=1, max_size=4))
    is_equal, length = data.draw(st.booleans()), data.draw(st.integers(1, 17))
    lengths = data.draw(st.lists(st.just(length) if is_equal else st.integers(0, 9), max_size=9))
    ends = np.cumsum([0, *lengths]).tolist()
    pieces, n_rows = list(pairwise(ends)), ends[-1]
    columns = []
    for kind in kinds:
        value, arrow = COLUMNS[kind]
        has_nulls = data.draw(st.booleans())
        some = data.draw(
            st.lists(st.none() | value if has_nulls else value, min_size=n_rows, max_size=n_rows)
        )
        array = pa.array(some, arrow)
        columns.append(cells(array, kind, slice(0, n_rows), Rules("ms", keep_nan=True)))
    ticks = np.arange(n_rows) * 1000
    made = encode_pieces(ticks, columns, pieces)
    assert len(made) == len(pieces)
    for (a, b), (times, values) in zip(pieces, made, strict=True):
        assert read_times(bytes(times)) == ticks[a:b].tolist()
        alone = values_bytes(*(c.slice(a, b) for c in columns))
        wanted = read_values(alone, kinds, b - a)
        found = read_values(bytes(values), kinds, b - a)
        for got, expected in zip(found, wanted, strict=True):
            assert all(same(x, y) for x, y in zip(got, expected, strict=True))


def tablets_of(frame: pd.DataFrame, kinds: list[T]) -> list[Tablet]:
    """A tablet of each row."""
    columns = [
        cells(frame[name], kind, slice(0, len(frame)), Rules("ms"))
        for name, kind in zip(frame, kinds, strict=True)
    ]
    names, types = list(frame), [int(kind) for kind in kinds]
    pieces = encode_pieces(np.arange(len(frame)), columns, [(i, i + 1) for i in range(len(frame))])
    return [Tablet(f"root.d{i}", names, types, *piece, 1) for i, piece in enumerate(pieces)]


def test_records_are_those_of_the_official_client() -> None:
    """A row each of alike devices becomes the very bytes that the official client makes of it."""
    frame = pd.DataFrame(
        {
            "bool": [True, False, True],
            "int32": np.array([-(2**31), 7, 2**31 - 1], "i4"),
            "int64": [-(2**63), 0, 2**63 - 1],
            "float": np.array([1.5, -0.0, np.inf], "f4"),
            "double": [math.pi, -0.0, 5e-324],
        }
    )
    kinds = [T.BOOLEAN, T.INT32, T.INT64, T.FLOAT, T.DOUBLE]
    records = as_records(tablets_of(frame, kinds))
    assert records is not None
    wanted = [Session.value_to_bytes(kinds, row) for row in frame.itertuples(index=False)]
    assert records == ([0, 1, 2], wanted)


@pytest.mark.parametrize(
    ("values", "kind"),
    [([1.0, None, 2.0], T.DOUBLE), (["a", "b", "c"], T.STRING)],
    ids=["null", "text"],
)
def test_other_rows_stay_tablets(values: list[Any], kind: T) -> None:
    """Nulls and texts have no record here, nor have devices of two rows or of other columns."""
    assert as_records(tablets_of(pd.DataFrame({"x": values}), [kind])) is None
    fine = tablets_of(pd.DataFrame({"x": [1.0, 2.0]}), [T.DOUBLE])
    assert as_records(fine) is not None
    assert as_records([fine[0], fine[1]._replace(n_rows=2)]) is None
    assert as_records([fine[0], fine[1]._replace(types=[T.INT64])]) is None
