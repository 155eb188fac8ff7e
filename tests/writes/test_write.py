"""Frames into the real server, read back with the official client."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from iotdb_frames.client.connection import Connection
from iotdb_frames.codec.quotes import quote_identifier, quote_path_node
from iotdb_frames.errors import FrameError, OptionsError
from iotdb_frames.reads.sql import read_sql
from iotdb_frames.server import LocalServer
from iotdb_frames.writes.report import WriteReport
from iotdb_frames.writes.writer import plan, write
from official import Official, bits, official

_numbers = itertools.count()
DAY = 86_400_000


@pytest.fixture(scope="module")
def tree(server: LocalServer) -> Iterator[Official]:
    """The official client in the tree model."""
    with official(server, "tree") as session:
        yield session


@pytest.fixture(scope="module")
def tables(server: LocalServer) -> Iterator[Official]:
    """The official client in the table model."""
    with official(server, "table") as session:
        yield session


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
STAMP = st.datetimes(dt.datetime(1600, 1, 1), dt.datetime(9000, 1, 1)).map(
    lambda t: t.replace(microsecond=t.microsecond // 1000 * 1000)
)
INT8, INT32, INT64 = (st.integers(-(2**n), 2**n - 1) for n in (7, 31, 63))
EPOCH = dt.datetime(1970, 1, 1)
KINDS: dict[str, tuple[st.SearchStrategy[Any], Any, Any]] = {
    # values, how pandas holds them, how the official client shows them
    "bool": (st.booleans(), "boolean", bool),
    "int8": (INT8, "Int8", int),
    "int32": (INT32, "Int32", int),
    "int64": (INT64, "Int64", int),
    "uint32": (st.integers(0, 2**32 - 1), "UInt32", int),
    "arrow int": (INT64, "int64[pyarrow]", int),
    "category": (st.integers(0, 3), "category", int),
    "float32": (st.floats(width=32, allow_nan=False), "float32", float),
    "float64": (st.floats(allow_nan=False), "float64", float),
    "Float64": (st.floats(allow_nan=False), "Float64", float),
    "str": (TEXT, "str", str.encode),
    "string": (TEXT, "string", str.encode),
    "text objects": (TEXT, object, str.encode),
    "text category": (st.sampled_from(["", "a", "é\0"]), "category", str.encode),
    "bytes": (st.binary(max_size=9), object, bytes),
    "date": (
        st.dates(dt.date(1, 1, 1), dt.date(9999, 12, 31)),
        "date32[pyarrow]",
        lambda d: d.year * 10_000 + d.month * 100 + d.day,
    ),
    "datetime": (STAMP, "datetime64[us]", lambda t: (t - EPOCH) // dt.timedelta(milliseconds=1)),
    "timestamp": (
        STAMP,
        "timestamp[us][pyarrow]",
        lambda t: (t - EPOCH) // dt.timedelta(milliseconds=1),
    ),
}
NAMES = st.sampled_from(
    ["a", "A", "1a", "123", "测试", "a b", "a.b", "a`b", "root", "select", "null", "µg/m³"]
) | st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=9)


@st.composite
def columns(draw: st.DrawFn) -> tuple[list[int], dict[str, tuple[str, list[Any]]]]:
    """Ticks, and by name the kind and cells of some columns."""
    is_unique = draw(st.booleans())
    ticks = draw(st.lists(st.integers(-3, 24), min_size=1, max_size=24, unique=is_unique))
    names = draw(st.lists(NAMES, min_size=1, max_size=4, unique_by=str.lower))
    kinds = draw(st.lists(st.sampled_from(list(KINDS)), min_size=len(names), max_size=len(names)))
    out = {}
    for name, kind in zip(names, kinds, strict=True):
        if name.lower() in ("time", "timestamp") or name.startswith("root."):
            continue  # the time itself, or a full path
        values = st.none() | KINDS[kind][0]
        cells = draw(st.lists(values, min_size=len(ticks), max_size=len(ticks)))
        out[name] = (kind, cells)
    return ticks, out or {"a": ("int8", [1] * len(ticks))}


def frame_of(ticks: list[int], cells: dict[str, tuple[str, list[Any]]]) -> pd.DataFrame:
    """The frame of some columns."""
    index = pd.DatetimeIndex(np.array(ticks, "M8[ms]"))
    return pd.DataFrame(
        {name: pd.Series(v, dtype=KINDS[kind][1], index=index) for name, (kind, v) in cells.items()}
    )


def expected_of(ticks: list[int], kind: str, cells: list[Any]) -> list[tuple[int, Any]]:
    """What a query of the column shows: by time the last value there is."""
    shown = KINDS[kind][2]
    if kind == "float32":
        cells = [None if v is None else float(np.float32(v)) for v in cells]
    last = {t: shown(v) for t, v in zip(ticks, cells, strict=True) if v is not None}
    return sorted((t, bits(v)) for t, v in last.items())


def is_known(kind: str, cells: list[Any]) -> bool:
    """Whether a column has a type at all; pandas 2 makes objects of "str"."""
    dtype = pd.Series([], dtype=KINDS[kind][1]).dtype
    return dtype not in (object, "category") or any(v is not None for v in cells)


def has_collisions(keys: list[Any], cells: dict[str, tuple[str, list[Any]]]) -> bool:
    """Whether rows of one key may differ in a text, which is refused as a forgotten tag."""
    is_text = any(KINDS[kind][2] == str.encode for kind, _ in cells.values())
    return is_text and len(set(keys)) < len(keys)


SERVER_SETTINGS = settings(max_examples=30, suppress_health_check=list(HealthCheck))


@SERVER_SETTINGS
@given(columns(), st.booleans(), st.sampled_from([1, 3, 1000, "64B", "4MiB"]))
def test_any_frame_arrives_in_the_tree_model(
    connection: Connection,
    tree: Official,
    shared_database: str,
    drawn: tuple[list[int], dict[str, tuple[str, list[Any]]]],
    aligned: bool,
    chunk: int | str,
) -> None:
    """Any dtypes, nulls, names, order and duplicates: the official client finds what was meant."""
    ticks, cells = drawn
    assume(not has_collisions(ticks, cells))
    path = f"root.{shared_database}.any{next(_numbers)}"
    report = write(
        frame_of(ticks, cells), path, connection=connection, aligned=aligned, chunk=chunk
    )
    for name, (kind, values) in cells.items():
        if not is_known(kind, values):
            continue  # a column of nothing, left out
        found = tree.column(f"SELECT {quote_path_node(name)} FROM {path}")
        found = [(t, bits(v)) for t, v in found if v is not None]
        assert found == expected_of(ticks, kind, values), name
    assert report.is_complete
    assert report.points == sum(v is not None for _, vs in cells.values() for v in vs)


@SERVER_SETTINGS
@example(([0], {"a": ("category", [None])}), ["x"] * 24, 1)
@example(([0], {"a": ("text category", [None])}), ["x"] * 24, 1)
@given(
    columns(),
    st.lists(st.sampled_from(["x", "", "%", "a.b", "é'\"", None]), min_size=24, max_size=24),
    st.sampled_from([1, 3, 1000, "64B", "4MiB"]),
)
def test_any_frame_arrives_in_a_table(
    connection: Connection,
    tables: Official,
    shared_database: str,
    drawn: tuple[list[int], dict[str, tuple[str, list[Any]]]],
    tags: list[str | None],
    chunk: int | str,
) -> None:
    """The same in the table model, with every way a tag can be null or odd."""
    ticks, cells = drawn
    cells = {name: v for name, v in cells.items() if name.lower() != "tag"}
    tags = tags[: len(ticks)]
    assume(not has_collisions(list(zip(ticks, tags, strict=True)), cells))
    name = f"any{next(_numbers)}"
    frame = frame_of(ticks, cells) if cells else pd.DataFrame(index=np.array(ticks, "M8[ms]"))
    frame["Tag"] = pd.Series(tags, dtype=object, index=frame.index)
    if not any(is_known(kind, values) for kind, values in cells.values()):
        with pytest.raises(FrameError, match="needs one"):
            write(frame, f"{shared_database}.{name}", tags=["Tag"], connection=connection)
        return
    report = write(
        frame, f"{shared_database}.{name}", tags=["Tag"], connection=connection, chunk=chunk
    )
    assert report.is_complete
    for tag in set(tags):
        own = [i for i, other in enumerate(tags) if other == tag]
        where = "tag IS NULL" if tag is None else "tag = '" + tag.replace("'", "''") + "'"
        for column, (kind, values) in cells.items():
            if not is_known(kind, values):
                continue
            found = tables.column(
                f"SELECT time, {quote_identifier(column.lower())} "
                f"FROM {shared_database}.{name} WHERE {where} ORDER BY time"
            )
            found = [(t, bits(v)) for t, v in found if v is not None]
            mine = [values[i] for i in own]
            assert found == expected_of([ticks[i] for i in own], kind, mine), (tag, column)


def test_kept_nan_is_a_value_and_else_none(connection: Connection, device: str) -> None:
    """NaN is no value by default, and counts as one with nan="keep"."""
    frame = pd.DataFrame({"a": [np.nan, 1.0, np.nan]}, index=pd.DatetimeIndex(range(3)))
    for nan, n_points in (("null", 1), ("keep", 3)):
        path = f"{device}.{nan}_"
        report = write(frame.set_index(index(3)), path, nan=nan, connection=connection)  # type: ignore[arg-type]
        assert report.points == n_points
        found = read_sql(f"SELECT count(a) FROM {path}", connection=connection)
        assert found.iloc[0, 0] == n_points


def index(n: int) -> pd.DatetimeIndex:
    """The first `n` days of 1970."""
    return pd.date_range("1970-01-01", periods=n, freq="D", unit="ms")


SPLIT = pd.DataFrame(
    {
        "n": np.repeat(["x", "y", "z"], 400),
        "a": np.random.default_rng(5).normal(size=1200),
        "b": np.random.default_rng(6).choice(np.array([b"", b"\xff", b"long" * 50], object), 1200),
        "c": pd.array(np.random.default_rng(7).choice([1, 2, None], 1200), dtype="Int64"),
    },
    index=pd.DatetimeIndex(np.random.default_rng(8).integers(0, 300, 1200).astype("M8[ms]")),
)


@pytest.mark.parametrize("duplicates", ["merge", "last", "first"])
def test_chunks_and_workers_change_nothing(
    connection: Connection, device: str, table: str, duplicates: Any
) -> None:
    """However a frame is cut and on however many connections: the same database."""
    found: dict[str, list[pd.DataFrame]] = {"tree": [], "table": []}
    for i, (chunk, workers) in enumerate([("4MiB", 1), (7, 1), ("500B", 3), (100, 4)]):
        options: Any = {"chunk": chunk, "workers": workers, "duplicates": duplicates}
        path = f"{device}.v{i}"
        write(SPLIT, path, device="n", connection=connection, **options)
        write(SPLIT, f"{table}_{i}", tags=["n"], connection=connection, **options)
        tree = [read_sql(f"SELECT a, b, c FROM {path}.{n}", connection=connection) for n in "xyz"]
        for frame in tree:
            frame.columns = [str(c).rpartition(".")[2] for c in frame.columns]
        found["tree"].append(pd.concat(tree, keys=list("xyz")))
        sql = f"SELECT * FROM {table}_{i} ORDER BY n, time"
        found["table"].append(read_sql(sql, model="table", connection=connection))
    for first, *others in found.values():
        assert len(first) == len(SPLIT.groupby(["n", SPLIT.index]))
        for other in others:
            pd.testing.assert_frame_equal(other, first)


@pytest.mark.parametrize(
    ("duplicates", "expected"),
    [
        ("merge", {0: (3, 2.0), 1: (None, 4.0)}),
        ("last", {0: (3, None), 1: (None, 4.0)}),
        ("first", {0: (1, None), 1: (None, 4.0)}),
    ],
)
def test_duplicates_on_the_server(
    connection: Connection, tree: Official, device: str, duplicates: Any, expected: Any
) -> None:
    """merge, last and first mean on the server what they say."""
    frame = pd.DataFrame(
        {"a": pd.array([1, None, 3, None], "Int64"), "b": [np.nan, 2.0, np.nan, 4.0]},
        index=np.array([0, 0, 0, 1], "M8[ms]"),
    )
    report = write(frame, device, duplicates=duplicates, connection=connection)
    assert report.duplicates == 2
    for name, place in (("a", 0), ("b", 1)):
        found = dict(tree.column(f"SELECT {name} FROM {device}"))
        assert found == {t: v[place] for t, v in expected.items() if v[place] is not None}


def test_a_null_does_not_erase_and_replace_does(
    connection: Connection, tree: Official, device: str
) -> None:
    """Written again with nulls the old values stay; with replace= the database equals the frame."""
    old = pd.DataFrame({"a": [1.0, 2.0, 3.0, 4.0], "b": 5.0}, index=index(4))
    new = pd.DataFrame({"a": [None, 7.0]}, index=index(4)[1:3], dtype=float)
    write(old, device, connection=connection)
    write(new, device, connection=connection)
    ask = f"SELECT a FROM {device}"
    assert tree.column(ask) == [(0, 1.0), (DAY, 2.0), (2 * DAY, 7.0), (3 * DAY, 4.0)]
    write(new, device, replace=True, connection=connection)
    found = [(t, v) for t, v in tree.column(ask) if v is not None]
    assert found == [(0, 1.0), (2 * DAY, 7.0), (3 * DAY, 4.0)]
    assert len(tree.column(f"SELECT b FROM {device}")) == 4


def test_replace_touches_only_its_tags_and_times(
    connection: Connection, tables: Official, table: str
) -> None:
    """In a table replace= deletes the rows of the frame's tags between its first and last time."""
    old = pd.DataFrame(
        {"t": ["x", "x", "x", "it's", None, ""], "v": range(6)},
        index=index(3).append(index(3)),
    )
    write(old, table, tags=["t"], connection=connection)
    new = pd.DataFrame({"t": ["x", "it's", None], "v": [10, 11, 12]}, index=index(3)[[1, 0, 1]])
    write(new, table, replace=True, connection=connection)
    found = sorted(v for _, v in tables.column(f"SELECT time, v FROM {table}"))
    assert found == [0, 2, 5, 10, 11, 12]


def test_attributes_belong_to_their_device(
    connection: Connection, tables: Official, table: str
) -> None:
    """An attribute is one value per device: the last that was written, and the report says so."""
    frame = pd.DataFrame(
        {"t": ["x", "y", "x"], "k": ["old", None, "new"], "v": [1, 2, 3]}, index=index(3)
    )
    report = write(frame, table, tags=["t"], attributes=["k"], connection=connection)
    assert report.points == 3
    (note,) = report.notes
    assert "'k' changes within a device, first in row 2" in note
    found = tables.column(f"SELECT time, k FROM {table} ORDER BY t, time")
    assert found == [(0, b"new"), (2 * DAY, b"new"), (DAY, None)]


def test_a_plan_sends_nothing(connection: Connection, device: str, table: str) -> None:
    """plan() looks, and neither creates nor writes."""
    frame = pd.DataFrame({"a": [1.0]}, index=index(1))
    planned = plan(frame, device, connection=connection)
    assert planned.ddl == (
        f"CREATE TIMESERIES {device}.a WITH DATATYPE=DOUBLE, ENCODING=GORILLA, COMPRESSOR=LZ4"
        " -- aligned",
    )
    assert "CREATE TABLE" in plan(frame, table, connection=connection).ddl[-1]
    assert len(read_sql(f"SHOW DEVICES {device}", connection=connection)) == 0
    names = read_sql("SHOW TABLES FROM shared", model="table", connection=connection)
    assert table.partition(".")[2] not in names.iloc[:, 0].tolist()


def test_the_ddl_of_a_plan_is_what_a_write_creates(connection: Connection, device: str) -> None:
    """Run by hand, the plan's statements make the series a write would have made."""
    frame = pd.DataFrame({"a": [1.0], "b c": ["x"], "d": [True]}, index=index(1))
    planned = plan(frame, f"{device}.plan", aligned=False, connection=connection)
    for sql in planned.ddl:
        connection.run(lambda session, sql=sql: session.execute(sql), model="tree")  # type: ignore[misc]
    write(frame, f"{device}.made", aligned=False, connection=connection)
    ask = "SHOW TIMESERIES {}.*"
    one, other = (
        read_sql(ask.format(f"{device}.{n}"), connection=connection) for n in ("plan", "made")
    )
    columns = ["DataType", "Encoding", "Compression"]
    order = ["Timeseries"]
    pd.testing.assert_frame_equal(
        one.sort_values(order)[columns].reset_index(drop=True),
        other.sort_values(order)[columns].reset_index(drop=True),
    )


def reader(*batches: pa.RecordBatch) -> pa.RecordBatchReader:
    """A stream."""
    return pa.RecordBatchReader.from_batches(batches[0].schema, batches)


def batch(ticks: list[int], values: list[Any]) -> pa.RecordBatch:
    """A batch of a stream."""
    return pa.record_batch(
        {"time": pa.array(ticks, pa.timestamp("ms")), "a": pa.array(values, pa.float64())}
    )


def test_a_stream_is_written_batch_by_batch(
    connection: Connection, tree: Official, device: str
) -> None:
    """Batches go out in order; the report counts all of them."""
    stream = reader(batch([3, 1], [1.0, 2.0]), batch([], []), batch([1, 2], [3.0, None]))
    report = write(stream, device, connection=connection)
    assert (report.rows_in, report.rows_written, report.points) == (4, 4, 3)
    assert tree.column(f"SELECT a FROM {device}") == [(1, 3.0), (3, 1.0)]


def test_a_bad_batch_ends_a_stream_with_a_report(
    connection: Connection, tree: Official, device: str
) -> None:
    """What came before a bad batch is stored, and the error's report says so."""
    stream = reader(batch([1, 2], [1.0, 2.0]), batch([3], [0.1]), batch([4], [4.0]))
    with pytest.raises(FrameError) as caught:
        write(stream, device, schema={"a": "INT32"}, connection=connection)
    report = caught.value.report
    assert isinstance(report, WriteReport)
    assert (report.rows_written, report.points) == (2, 2)
    assert tree.column(f"SELECT a FROM {device}") == [(1, 1), (2, 2)]


@pytest.mark.parametrize("options", [{"replace": True}, {"duplicates": "last"}])
def test_a_stream_refuses_what_needs_all_rows(
    connection: Connection, device: str, options: dict[str, Any]
) -> None:
    """replace= and the choice of duplicates would go wrong from batch to batch."""
    with pytest.raises(OptionsError, match="stream"):
        write(reader(batch([1], [1.0])), device, connection=connection, **options)


class Exporter:
    """Somebody else's frame: all it has is Arrow's C stream, and perhaps a length."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.table.__arrow_c_stream__(requested_schema)


class Sized(Exporter):
    """One with a length is a frame, checked whole."""

    def __len__(self) -> int:
        return len(self.table)


def test_anything_that_speaks_arrow_is_written(
    connection: Connection, tree: Official, device: str
) -> None:
    """Views and large types of a foreign frame arrive, with a length and without."""
    data = pa.table(
        {
            "time": pa.array([2, 1], pa.timestamp("ms")),
            "s": pa.array(["x", None], pa.string_view()),
            "b": pa.array([b"\0", b""], pa.large_binary()),
        }
    )
    for i, source in enumerate((data, Exporter(data), Sized(data), data.to_reader())):
        report = write(source, f"{device}.v{i}", connection=connection)
        assert report.rows_written == 2
        assert tree.column(f"SELECT s FROM {device}.v{i}") == [(2, b"x")]
        assert tree.column(f"SELECT b FROM {device}.v{i}") == [(1, b""), (2, b"\0")]


def test_series_and_accessor(connection: Connection, tree: Official, device: str) -> None:
    """df.iotdb and series.iotdb write, plan, and show themselves."""
    series = pd.Series([1, 2], index=index(2), name="n")
    assert series.iotdb.plan(device, connection=connection).n_devices == 1
    report = series.iotdb.write(device, connection=connection)
    assert (report.rows_written, report.points) == (2, 2)
    assert tree.column(f"SELECT n FROM {device}") == [(0, 1), (DAY, 2)]
    assert "✓ write" in repr(report)
    assert "2 of 2" in report._repr_html_()


def test_nothing_to_write_is_no_error(connection: Connection, device: str) -> None:
    """An empty frame makes no request, and the report says so."""
    frame = pd.DataFrame({"a": pd.Series([], dtype=float)}, index=index(0))
    report = write(frame, device, connection=connection)
    assert (report.rows_in, report.rows_written, report.chunks) == (0, 0, 0)
    assert report.is_complete
    assert any("nothing to write" in note for note in report.notes)


def test_progress_is_told_to_the_end(connection: Connection, device: str) -> None:
    """A callable hears of rows as they are answered, and at last that all are done."""
    told: list[tuple[int, int]] = []
    wide = pd.DataFrame(
        np.ones((100, 7)),
        index=index(100),
        columns=pd.MultiIndex.from_product([list("abcdefg"), ["v"]]),
    )
    for i, frame in enumerate((SPLIT.drop(columns="n"), wide)):
        told.clear()
        target = f"{device}.p{i}"
        write(
            frame,
            target,
            chunk=10,
            duplicates="last",
            progress=lambda done, total: told.append((done, total)),
            connection=connection,
        )
        dones = [done for done, _ in told]
        assert dones == sorted(dones)
        assert told[-1] == (len(frame), len(frame))


def test_a_broken_callback_ends_the_write(connection: Connection, device: str) -> None:
    """An exception of the caller's own callback reaches the caller; threads end."""

    def progress(_: int, __: int) -> None:
        raise ZeroDivisionError("mine")

    frame = pd.DataFrame({"a": np.arange(1000.0)}, index=index(1000))
    with pytest.raises(ZeroDivisionError, match="mine"):
        write(frame, device, chunk=10, progress=progress, connection=connection)
