"""SQL to frames: exact in both models and every precision, held against the official row client."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from iotdb.Session import Session
from pandas.testing import assert_frame_equal

from dtypes import TEXT_DTYPE
from iotdb_frames.client.connection import Connection
from iotdb_frames.codec.sql import Identifier
from iotdb_frames.codec.tablet import Tablet
from iotdb_frames.errors import FrameError, IoTDBFramesError, OptionsError, QueryError
from iotdb_frames.options import RetryPolicy
from iotdb_frames.reads.sql import execute, query, read_sql
from iotdb_frames.server import LocalServer
from iotdb_frames.writes.writer import write

TYPES = {
    "bool": "boolean",
    "i32": "Int32",
    "i64": "Int64",
    "f32": "float32",
    "f64": "float64",
    "text": str(TEXT_DTYPE),
    "string": str(TEXT_DTYPE),
    "ts": "datetime64[ms]",
    "date": "date32[day][pyarrow]",
    "blob": "binary[pyarrow]",
}


BIG_FRAMES = {"dn_thrift_max_frame_size": 64_000_000}


def all_types(n_rows: int, *, seed: int = 0, null_share: float = 0.3) -> pd.DataFrame:
    """Rows of every type in the normal form, with nulls and edges."""
    rng = np.random.default_rng(seed)

    def masked(values: Any, dtype: Any) -> Any:
        series = pd.Series(values).astype(dtype)
        return series.mask(rng.random(n_rows) < null_share).astype(dtype)

    words = np.array(["", "a", "ü", "x" * 300, "\0", "'\"`\\", "漢字"], dtype=object)
    frame = pd.DataFrame(
        {
            "bool": masked(rng.random(n_rows) < 0.5, "boolean"),
            "i32": masked(rng.integers(-(1 << 31), 1 << 31, n_rows), "Int32"),
            "i64": masked(rng.integers(-(1 << 63), (1 << 63) - 1, n_rows), "Int64"),
            "f32": masked(rng.normal(size=n_rows).astype("f4"), "float32"),
            "f64": masked(rng.normal(size=n_rows), "float64"),
            "text": masked(words[rng.integers(0, 7, n_rows)], object),
            "string": masked(words[rng.integers(0, 7, n_rows)], object),
            "ts": masked(rng.integers(-(1 << 40), 1 << 40, n_rows).view("M8[ms]"), "M8[ms]"),
            "date": masked(
                rng.integers(-700_000, 2_900_000, n_rows).astype("M8[D]").astype(object),
                pd.ArrowDtype(pa.date32()),
            ),
            "blob": masked(
                [rng.bytes(int(n)) for n in rng.integers(0, 20, n_rows)], pd.ArrowDtype(pa.binary())
            ),
        }
    )
    frame.index = pd.DatetimeIndex((np.arange(n_rows) * 1000 - 5000).view("M8[ms]"), name="time")
    return frame.astype({"text": TEXT_DTYPE, "string": TEXT_DTYPE})


def official_rows(server: LocalServer, sql: str) -> list[list[Any]]:
    """The rows the official client gives, one by one: time first, None for null."""
    session = Session("127.0.0.1", str(server.port), "root", str(server.options.password))
    session.open(False)
    try:
        with session.execute_query_statement(sql) as found:
            rows = []
            while found.has_next():
                record = found.next()
                rows.append([record.get_timestamp(), *map(official_value, record.get_fields())])
        return rows
    finally:
        session.close()


def official_value(field: Any) -> Any:
    """A cell of the official client, to compare by: floats as their bits, times as ticks."""
    if field is None or field.is_null():
        return None
    kind = field.get_data_type().name
    if kind in ("TEXT", "STRING"):
        return field.get_string_value()
    if kind == "BLOB":
        return bytes(field.get_binary_value())
    if kind == "DATE":
        return field.get_date_value()
    if kind == "FLOAT":
        return struct.pack(">f", field.get_float_value())
    if kind == "DOUBLE":
        return struct.pack(">d", field.get_double_value())
    if kind == "BOOLEAN":
        return bool(field.get_bool_value())
    return int(field.get_int_value() if kind == "INT32" else field.get_long_value())


def our_rows(connection: Connection, sql: str) -> list[list[Any]]:
    """The same rows by our decoder."""
    table = query(sql, connection=connection, model="tree").to_arrow()
    columns = []
    for column in table.columns:
        if pa.types.is_timestamp(column.type):
            column = column.cast(pa.int64())
        form = {pa.float32(): ">f", pa.float64(): ">d"}.get(column.type)
        columns.append(
            [
                struct.pack(form, value) if form and value is not None else value
                for value in column.to_pylist()
            ]
        )
    return [list(row) for row in zip(*columns, strict=True)]


@pytest.fixture(scope="module")
def device(connection: Connection) -> Iterator[str]:
    """A device with every type; its first nulls of INT64 come behind row 2,000."""
    frame = all_types(4000)
    late = all_types(4000, null_share=0.0)["i64"]
    frame["i64"] = late.where(np.arange(4000) != 2500)
    write(frame, "root.reader.d", connection=connection)
    yield "root.reader.d"
    connection.run(lambda session: session.execute("DELETE DATABASE root.reader"), model="tree")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM root.reader.d",
        "SELECT i64 FROM root.reader.d",
        "SELECT i64, i64, text FROM root.reader.d LIMIT 2600",
        "SELECT bool, date FROM root.reader.d WHERE i32 > 0",
        "SELECT blob, ts, f32 FROM root.reader.d ORDER BY TIME DESC",
        "SELECT i32 + i64, f32 * 2, NOT bool FROM root.reader.d",
        "SELECT avg(f64), max_value(i64), first_value(text), last_value(bool) FROM root.reader.d "
        "GROUP BY ([-5000, 3995000), 7s)",
        "SELECT text, i32 FROM root.reader.d WHERE f64 IS NULL",
    ],
)
def test_same_as_the_official_rows(
    connection: Connection, server: LocalServer, device: str, sql: str
) -> None:
    """Every cell of every type equals what the official client gives row by row."""
    official = official_rows(server, sql)
    assert our_rows(connection, sql) == official
    assert len(official) > 300


def test_int64_stays_exact(server: LocalServer, device: str) -> None:
    """INT64 is Int64 and exact, though its first null comes in a late fetch."""
    options = replace(server.options, fetch_size=1000)
    with Connection(lambda: options, label="small") as own:
        column = read_sql(f"SELECT * FROM {device}", connection=own)[f"{device}.i64"]
    wanted = all_types(4000, null_share=0.0)["i64"]
    assert column.dtype == "Int64"
    assert column.isna().to_numpy().nonzero()[0].tolist() == [2500]
    assert (column.drop(column.index[2500]) == wanted.drop(wanted.index[2500])).all()


def test_both_models_give_the_same(connection: Connection, database: str) -> None:
    """A frame written to a device and to a table comes back from each by SQL, cell by cell."""
    frame = all_types(500)
    write(frame, f"root.{database}.d", connection=connection)
    write(frame, f"{database}.t", connection=connection)
    tree = read_sql(f"SELECT {', '.join(TYPES)} FROM root.{database}.d", connection=connection)
    table = read_sql(
        f"SELECT time, {', '.join(TYPES)} FROM {database}.t ORDER BY time",
        model="table",
        connection=connection,
    )
    tree.columns = [label.rpartition(".")[2] for label in tree.columns]
    all_null = frame.isna().all(axis=1)
    assert_frame_equal(table, frame)
    assert_frame_equal(tree, frame[~all_null])
    assert frame.dtypes.astype(str).to_dict() == TYPES


@pytest.mark.parametrize("name", sorted(TYPES))
def test_no_rows_have_their_dtypes(connection: Connection, device: str, name: str) -> None:
    """A result without rows has the dtypes of its types, an index of times included."""
    sql = f"SELECT {name} FROM {device} WHERE time > 9999999999"
    empty = read_sql(sql, connection=connection)
    assert empty.shape == (0, 1)
    assert str(empty.dtypes.iloc[0]) == TYPES[name]
    assert str(empty.index.dtype) == "datetime64[ms]"
    chunks = list(read_sql(sql, chunk_rows=10, connection=connection))
    assert len(chunks) == 1
    assert_frame_equal(chunks[0], empty)


@pytest.mark.parametrize("chunk_rows", [1, 999, 1000, 4000, 10_000])
def test_chunks_are_the_whole(connection: Connection, device: str, chunk_rows: int) -> None:
    """Frames of so many rows, put together, are the whole frame."""
    sql = f"SELECT * FROM {device} LIMIT {min(4000, 300 * chunk_rows)}"
    whole = read_sql(sql, connection=connection)
    chunks = list(read_sql(sql, chunk_rows=chunk_rows, connection=connection))
    assert {len(chunk) for chunk in chunks[:-1]} <= {chunk_rows}
    assert 0 < len(chunks[-1]) <= chunk_rows
    assert_frame_equal(pd.concat(chunks), whole)


def test_labels(connection: Connection, database: str) -> None:
    """Labels come as the server gives them: full paths, in back-quotes where need be, twice."""
    frame = pd.DataFrame(
        {"a b": [1.0], "ü": [2.0], "a`b": [3.0]}, index=pd.DatetimeIndex(["2024-01-01"])
    )
    write(frame, f"root.{database}.`x y`", connection=connection)
    path = f"root.{database}.`x y`"
    sql = f"SELECT `a b`, `ü`, `a``b`, `a b` FROM {path}"
    found = read_sql(sql, connection=connection)
    assert found.columns.tolist() == [
        f"{path}.`a b`",
        f"{path}.`ü`",
        f"{path}.`a``b`",
        f"{path}.`a b`",
    ]
    assert found.iloc[0].tolist() == [1.0, 2.0, 3.0, 1.0]
    write(found.iloc[:, :3], f"root.{database}", connection=connection)
    assert len(read_sql(sql, connection=connection)) == 1


ATTACKS = ["x' OR '1'='1", "'; DELETE FROM root.**; --", "\\'", "trail\\", "`\"'--/*", "a\nb", ""]


@pytest.mark.parametrize("model", ["tree", "table"])
def test_parameters_are_values(
    connection: Connection, database: str, model: Literal["tree", "table"]
) -> None:
    """A text, whatever it holds, selects the row that holds it, and no statement."""
    frame = pd.DataFrame(
        {"s": ATTACKS, "n": range(len(ATTACKS))},
        index=pd.date_range("2024-01-01", periods=len(ATTACKS), unit="ms", name="time"),
    )
    target = f"root.{database}.d" if model == "tree" else f"{database}.t"
    write(frame, target, connection=connection)
    for i, attack in enumerate(ATTACKS):
        for sql, params in (("s = :s", {"s": attack}), ("s IN ?", [[attack]])):
            found = read_sql(
                f"SELECT n FROM {target} WHERE {sql}",
                params=params,
                model=model,
                connection=connection,
            )
            assert found.iloc[:, 0].tolist() == [i]
    everything = read_sql(f"SELECT n FROM {target}", model=model, connection=connection)
    assert len(everything) == len(ATTACKS)


@pytest.mark.parametrize("model", ["tree", "table"])
def test_parameters_of_each_type(
    connection: Connection, database: str, model: Literal["tree", "table"]
) -> None:
    """A value of each type finds the row that holds it."""
    frame = all_types(50, null_share=0.0)
    frame["text"] = frame["text"].where(frame["text"] != "\0", "b")
    frame["string"] = frame["string"].where(frame["string"] != "\0", "b")
    target = f"root.{database}.d" if model == "tree" else f"{database}.t"
    write(frame, target, connection=connection)
    for name in [n for n in TYPES if n not in ("f32",)]:
        value = frame[name].iloc[7]
        found = read_sql(
            f"SELECT {name} FROM {target} WHERE :column = :value AND time = :time",
            params={"column": Identifier(name), "value": value, "time": frame.index[7]},
            model=model,
            connection=connection,
        )
        assert found.iloc[:, 0].tolist() == [value], name


def test_naive_parameters_are_in_the_zone(server: LocalServer, device: str) -> None:
    """Naive times in parameters are the connection's, as those that come back."""
    options = replace(server.options, time_zone="Asia/Tokyo")
    with Connection(lambda: options, label="tokyo") as own:
        found = read_sql(
            f"SELECT * FROM {device} WHERE time = ?",
            params=[pd.Timestamp("1970-01-01 09:00:01")],
            connection=own,
        )
    assert found.index.tolist() == [pd.Timestamp("1970-01-01 09:00:01")]


@pytest.mark.parametrize(
    ("model", "sql", "place"),
    [
        ("tree", "SELCT a FROM root.x", "SELCT"),
        ("tree", "SELECT a\nFROM root.x\nWHERE AND a > 5", "a > 5"),
        ("table", "SELECT a\nFROM x\nWERE a > 5", "a > 5"),
        ("table", "SELECT 1, FROM x", "FROM"),
    ],
)
def test_the_place_of_a_syntax_error(
    connection: Connection, model: Literal["tree", "table"], sql: str, place: str
) -> None:
    """A syntax error shows the line and a mark under the place the server names."""
    with pytest.raises(QueryError) as caught:
        execute(sql, model=model, connection=connection)
    *_, line, mark = caught.value.message.splitlines()
    assert line[2:] in sql
    assert line[mark.index("^") :].startswith(place)
    assert caught.value.code == 700
    assert len(caught.value.message) < 400


def test_what_is_not_there(connection: Connection, database: str) -> None:
    """An unknown path, table, column or database is named, never an empty frame."""
    for model, sql, words in (
        ("tree", f"SELECT * FROM root.{database}.nothing", "no series"),
        ("table", f"SELECT * FROM {database}.nothing", "does not exist"),
        ("table", "SELECT nothing FROM information_schema.tables", "nothing"),
        ("table", "SELECT * FROM nowhere.nothing", "nowhere"),
    ):
        with pytest.raises(QueryError, match=words):
            read_sql(sql, model=model, connection=connection)  # type: ignore[call-overload]


def test_statements_without_a_result(connection: Connection, database: str) -> None:
    """`execute` runs them and gives None; `query` sends nothing and says what to use."""
    sql = f"INSERT INTO root.{database}.d(time, a) VALUES (1, :a)"
    assert execute(sql, params={"a": 2.5}, connection=connection) is None
    with pytest.raises(OptionsError, match="execute"):
        query(sql, params={"a": 3.5}, connection=connection)
    found = execute(f"SELECT a FROM root.{database}.d", connection=connection)
    assert found is not None
    assert found.to_pandas().iloc[0].tolist() == [2.5]


def test_the_model_of_the_url(server: LocalServer, database: str) -> None:
    """With a database in the connection SQL is of the table model, and tables need no prefix."""
    options = replace(server.options, database=database)
    with Connection(lambda: options, label="table") as own:
        execute("CREATE TABLE t (v DOUBLE FIELD)", connection=own)
        execute("INSERT INTO t(time, v) VALUES (1, 2.5)", connection=own)
        frame = read_sql("SELECT * FROM t", connection=own)
        assert frame.index.name == "time"
        assert frame["v"].tolist() == [2.5]
        assert len(read_sql("SHOW DATABASES root.**", model="tree", connection=own)) > 0


def test_results_without_times(connection: Connection, device: str) -> None:
    """A result without a time column has a RangeIndex."""
    frame = read_sql(f"SELECT count(i64), max_time(i64) FROM {device}", connection=connection)
    assert_frame_equal(frame.reset_index(drop=True), frame)
    assert frame.iloc[0].tolist() == [3999, 3_994_000]


@pytest.mark.parametrize(
    "bad",
    [
        *({"model": model} for model in ("sql", 5, pd.NA, ["tree"])),
        *({"chunk_rows": n} for n in (0, 1.5)),
        {"tz": "Mars/Base"},
        {"dtype_backend": "polars"},
        {"params": {"x": 1.5}},
    ],
)
def test_options_that_cannot_be_meant(connection: Connection, bad: dict[str, Any]) -> None:
    """Options are checked before anything is sent."""
    with pytest.raises(OptionsError):
        read_sql("SHOW VERSION", connection=connection, **bad)
    with pytest.raises(OptionsError):
        read_sql("  ", connection=connection)


def test_text_that_is_not_utf8(connection: Connection, database: str) -> None:
    """Text that the server took unchecked is refused by its column, not replaced."""
    values = struct.pack(">i", 2) + b"\xc3\x28" + b"\0"
    times = struct.pack(">q", 1)
    with connection.pool("tree").session() as session:
        session.insert([Tablet(f"root.{database}.d", ["s"], [5], times, values, 1)])
    with pytest.raises(FrameError, match=r"d\.s.* not UTF-8"):
        read_sql(f"SELECT s FROM root.{database}.d", connection=connection)


@pytest.mark.parametrize("precision", ["us", "ns"])
def test_other_precisions(precision: str) -> None:
    """A server in us or ns gives times in its own unit, to the last tick; a large BLOB, too."""
    far, late = {"us": (1 << 50, 1 << 57), "ns": (1 << 60, 1_700_000_000_123_456_789)}[precision]
    ticks = np.array([-far, -1, 0, far, late])
    stamps = ticks.view(f"M8[{precision}]")
    frame = pd.DataFrame({"ts": stamps[::-1]}, index=pd.DatetimeIndex(stamps, name="time"))
    with (
        LocalServer(timestamp_precision=precision, properties=BIG_FRAMES) as server,
        Connection(lambda: server.options, label=precision) as own,
    ):
        write(frame, "root.p.d", connection=own)
        write(frame, "p.t", connection=own)
        tree = read_sql("SELECT ts FROM root.p.d", connection=own)
        table = read_sql("SELECT time, ts FROM p.t ORDER BY time", model="table", connection=own)
        tree.columns = ["ts"]
        assert_frame_equal(tree, frame)
        assert_frame_equal(table, frame)
        row = read_sql("SELECT ts FROM root.p.d WHERE time = ?", params=[stamps[3]], connection=own)
        assert row.iloc[0, 0] == pd.Timestamp(stamps[1])
        # A BLOB over the 16 MB that the stock client can receive.
        blob = np.random.default_rng(0).bytes(17_000_000)
        big = pd.DataFrame({"b": [blob]}, index=frame.index[2:3])
        write(big, "root.p.big", connection=own)
        assert read_sql("SELECT b FROM root.p.big", connection=own).iloc[0, 0] == blob


def test_no_error_is_its_own_cause(connection: Connection, device: str) -> None:
    """However a statement or a write fails, the chain of causes of its error ends."""
    raised: list[BaseException] = []
    for sql in ("SELECT nothing FROM nowhere", "SELEC", "CREATE DATABASE root.a.`*`"):
        with pytest.raises(IoTDBFramesError) as caught:
            execute(sql, connection=connection)
        raised.append(caught.value)
    once = RetryPolicy(attempts=1)
    frame = pd.DataFrame({"a": [1.0]}, pd.DatetimeIndex([0]))
    options = replace(connection.options, user="nobody_here")
    with Connection(lambda: options, label="stranger") as own:
        with pytest.raises(IoTDBFramesError) as caught:
            write(frame, device, connection=own, retry=once)
        raised.append(caught.value)
    for error in raised:
        seen: list[BaseException | None] = []
        link: BaseException | None = error
        while link is not None:
            assert link not in seen
            seen.append(link)
            link = link.__cause__
