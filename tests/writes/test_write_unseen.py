"""What is there already and easily overlooked: aliases, rights, patterns, other time columns."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from iotdb_frames.client.connection import Connection
from iotdb_frames.errors import FrameError, OptionsError, PartialWriteError, QueryError
from iotdb_frames.options import ConnectionOptions, RetryPolicy, TimeseriesOption
from iotdb_frames.reads.read import read
from iotdb_frames.server import LocalServer
from iotdb_frames.writes.undo import delete, drop
from iotdb_frames.writes.writer import plan, write


def times(n: int) -> pd.DatetimeIndex:
    """One a second."""
    return pd.DatetimeIndex(np.arange(n, dtype="i8") * 1000, dtype="datetime64[ms]")


def run(connection: Connection, sql: str, model: Any = "tree") -> None:
    """One statement."""
    connection.run(lambda session: session.execute(sql), model=model)


def values(connection: Connection, target: str, column: str = "x") -> list[Any]:
    """What is stored of a column."""
    return list(read(target, start=0, connection=connection)[column])


@pytest.fixture(scope="module")
def writer_only(
    server: LocalServer, connection: Connection, shared_database: str
) -> Iterator[Connection]:
    """A user that may write data below ``root.shared``, and see no schema."""
    run(connection, "CREATE USER only_writes 'passWord123456'")
    run(connection, f"GRANT WRITE_DATA ON root.{shared_database}.** TO USER only_writes")
    options = ConnectionOptions(
        hosts=server.options.hosts, user="only_writes", password="passWord123456"
    )
    with Connection(lambda: options, label="only_writes") as opened:
        yield opened
    run(connection, "DROP USER only_writes")


def test_who_may_not_see_the_schema_is_told(
    connection: Connection, writer_only: Connection, device: str
) -> None:
    """A schema that SHOW leaves out is not taken for an empty one: replace still replaces."""
    write(pd.DataFrame({"x": [1.0, 2.0, 3.0]}, index=times(3)), device, connection=connection)
    frame = pd.DataFrame({"x": [10.0, 30.0]}, index=times(3)[[0, 2]])
    report = write(frame, device, connection=writer_only, replace=True, create=False)
    assert any("types are unchecked" in note for note in report.notes)
    assert values(connection, device) == [10.0, 30.0]


def test_an_alias_is_not_another_series(connection: Connection, device: str) -> None:
    """A column called like an alias is refused with the series' own name."""
    run(connection, f"CREATE ALIGNED TIMESERIES {device}(x(warmth) DOUBLE)")
    with pytest.raises(FrameError, match="alias") as caught:
        write(pd.DataFrame({"warmth": [1]}, index=times(1)), device, connection=connection)
    assert caught.value.column == "warmth"
    assert "'x'" in str(caught.value.hint)


def test_a_star_is_no_pattern(connection: Connection, device: str) -> None:
    """A column with * in its name is written and read, and never deletes what looks like it."""
    frame = pd.DataFrame({"x*y": [1.0, 2.0], "x-y": [3.0, 4.0]}, index=times(2))
    write(frame, device, connection=connection)
    with pytest.raises(OptionsError, match="pattern"):
        write(frame[["x*y"]], device, replace=True, connection=connection)
    with pytest.raises(OptionsError, match="pattern"):
        delete(device, columns=["x*y"], connection=connection)
    assert values(connection, device, "x*y") == [1.0, 2.0]
    assert values(connection, device, "x-y") == [3.0, 4.0]
    with pytest.raises(OptionsError, match="pattern"):
        write(frame, "shared.t*", connection=connection)


@pytest.mark.parametrize("columns", [[5], 5, "x", [None], ["a\ud800"]])
def test_columns_to_delete_are_names(connection: Connection, device: str, columns: Any) -> None:
    """Whatever is not a list of names is refused in words."""
    with pytest.raises(OptionsError, match="columns="):
        delete(device, columns=columns, connection=connection)


@pytest.mark.parametrize("undo", [delete, drop])
def test_a_prefix_may_end_in_stars(connection: Connection, device: str, undo: Any) -> None:
    """``.**`` is what is meant anyway; a single star is refused."""
    write(pd.DataFrame({"x": [1.0]}, index=times(1)), f"{device}.d", connection=connection)
    with pytest.raises(OptionsError, match="pattern"):
        undo(f"{device}.*", connection=connection)
    undo(f"{device}.**", connection=connection)
    with suppress(QueryError):  # the series itself is gone
        assert read(f"{device}.d", connection=connection).empty


def test_a_tag_that_is_new_deletes_no_other_row(connection: Connection, table: str) -> None:
    """replace=True with a tag the table lacks leaves the rows without it alone."""
    one = pd.DataFrame({"g": ["a"], "v": [1.0]}, index=times(1))
    write(one, table, tags=["g"], connection=connection)
    write(one.assign(h="n", v=5.0), table, tags=["g", "h"], replace=True, connection=connection)
    assert sorted(values(connection, table, "v")) == [1.0, 5.0]


def test_the_time_column_may_have_another_name(connection: Connection, table: str) -> None:
    """Rows of a table whose time is called otherwise are replaced and deleted all the same."""
    run(
        connection,
        f"CREATE TABLE {table} (ts TIMESTAMP TIME, g STRING TAG, v DOUBLE FIELD)",
        "table",
    )
    frame = pd.DataFrame({"g": "a", "v": [1.0, 2.0, 3.0]}, index=times(3))
    write(frame, table, connection=connection)
    write(frame.iloc[::2], table, replace=True, connection=connection)
    assert values(connection, table, "v") == [1.0, 3.0]
    delete(table, start="1970-01-01 00:00:01", connection=connection)
    assert values(connection, table, "v") == [1.0]
    with pytest.raises(FrameError, match="time column"):
        write(frame.assign(ts="x"), table, connection=connection)


def test_names_that_are_one_to_the_server(connection: Connection, table: str) -> None:
    """Letters that only Java finds alike are refused in one frame, and beside what exists."""
    frame = pd.DataFrame({"\u00b5": [1.0]}, index=times(1))
    with pytest.raises(FrameError, match="one column"):
        write(frame.assign(μ=2.0), table, connection=connection)
    write(frame, table, connection=connection)
    with pytest.raises(FrameError, match="is the column"):
        write(frame.set_axis(["\u03bc"], axis=1), table, connection=connection)


def test_what_replace_deleted_is_said(connection: Connection, device: str) -> None:
    """Where the write fails after its replace, the report says that the rows of before are gone."""
    write(pd.DataFrame({"x": ["a", "b"]}, index=times(2)), device, connection=connection)
    huge = pd.DataFrame({"x": ["a" * 20_000_000, "b"]}, index=times(2))
    once = RetryPolicy(attempts=1)
    with pytest.raises(PartialWriteError) as caught:
        write(huge, device, replace=True, retry=once, connection=connection)
    assert any("had deleted" in note for note in caught.value.report.notes)


def test_a_foreign_error_has_the_report(connection: Connection, device: str) -> None:
    """An exception of the progress callable tells what was stored before it."""

    def fail(done: int, of: int) -> None:
        raise RuntimeError("of somebody else")

    frame = pd.DataFrame({"x": np.arange(10.0)}, index=times(10))
    with pytest.raises(RuntimeError) as caught:
        write(frame, device, chunk=1, progress=fail, connection=connection)
    assert "what was written" in caught.value.__notes__[0]


def test_wishes_that_come_too_late_are_noted(connection: Connection, device: str) -> None:
    """Encodings of series that exist are not shown as if they would become true."""
    frame = pd.DataFrame({"x": [1.0]}, index=times(1))
    write(frame, device, connection=connection)
    planned = plan(
        frame, device, schema={"x": TimeseriesOption(encoding="RLE")}, connection=connection
    )
    assert planned.parts[0].columns[0].encoding is None
    assert any("exists, and stays" in note for note in planned.notes)


def reader(*numbers: float) -> pa.RecordBatchReader:
    """A batch for each number."""
    batches = [
        pa.record_batch({"time": pa.array([i], pa.timestamp("ms")), "x": [number]})
        for i, number in enumerate(numbers)
    ]
    schema = pa.schema({"time": pa.timestamp("ms"), "x": pa.float64()})
    return pa.RecordBatchReader.from_batches(schema, batches)


def test_plans_of_streams_are_those_of_the_write(connection: Connection, device: str) -> None:
    """An empty stream is planned as it is written; what a stream cannot have is refused by both."""
    assert plan(reader(), device, connection=connection).order.n_duplicates == 0
    assert write(reader(), device, connection=connection).rows_in == 0
    for call in (plan, write):
        stream = reader(1.0)
        with pytest.raises(OptionsError, match="stream"):
            call(stream, device, duplicates="last", connection=connection)
        assert stream.read_all().num_rows == 1  # as the hint says
    assert any("first batch" in n for n in plan(reader(1.0), device, connection=connection).notes)


def test_a_later_batch_says_where_it_begins(connection: Connection, device: str) -> None:
    """The row of an error in a stream is told with the row its batch begins at."""
    with pytest.raises(FrameError, match=r"the batch that begins at row 2: .* row 0"):
        write(reader(1.0, 2.0, 0.5), device, schema={"x": "INT32"}, connection=connection)


def test_reasons_in_a_dead_letter_are_of_any_row(
    connection: Connection, device: str, tmp_path: Any
) -> None:
    """A reason names no row: `refused_row` does."""
    frame = pd.DataFrame({"x": [0.5, 1.0, 1.5]}, index=times(3))
    letter = tmp_path / "dead.parquet"
    write(
        frame,
        device,
        schema={"x": "INT32"},
        on_error="collect",
        dead_letter=letter,
        connection=connection,
    )
    refused = pd.read_parquet(letter)
    assert list(refused["refused_row"]) == [0, 2]
    assert not refused["refused_reason"].str.contains("row").any()


@pytest.mark.parametrize(
    "data", [np.array(5), pd.DataFrame, pa.chunked_array([[1.0]]), object(), None, {"x": [1]}]
)
@pytest.mark.parametrize("call", [plan, write])
def test_what_is_no_frame(connection: Connection, device: str, call: Any, data: Any) -> None:
    """Anything that holds no table is refused in words."""
    with pytest.raises(OptionsError, match="cannot be written"):
        call(data, device, connection=connection)
