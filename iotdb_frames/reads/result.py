"""What a query gives: its rows, once, as a frame, an Arrow table or a stream, in bounded memory."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Generator, Iterator
from datetime import tzinfo
from traceback import clear_frames
from types import TracebackType
from typing import Any, TypeVar

import pandas as pd
import pyarrow as pa

from iotdb_frames.codec.names import split_prefix
from iotdb_frames.codec.tsblock import decode_blocks, result_schema
from iotdb_frames.display.card import Card
from iotdb_frames.display.grid import Grid
from iotdb_frames.display.words import shorten
from iotdb_frames.errors import ConnectionLost, IoTDBFramesError, QueryError, ServerError
from iotdb_frames.reads.cursor import Cursor
from iotdb_frames.reads.form import load_polars, to_polars
from iotdb_frames.reads.frames import INDEX_NAME, DtypeBackend, FrameBuilder
from iotdb_frames.wire.answers import Model, ResultHeader

T = TypeVar("T")

_PREVIEW_ROWS, _PREVIEW_COLUMNS, _PREVIEW_TEXT = 10, 12, 40


class QueryResult:
    """The rows of one query, fetched as they are read.

    Made by `iotdb_frames.query`; a context manager. They can be read once, by `to_pandas`,
    `to_arrow`, `to_polars`, `batches`, or by what speaks the Arrow C stream interface (DuckDB).
    Until the last is read, the result holds one session of the connection and about 20 MB; it gives
    both back when it is closed, fails or is forgotten.
    """

    def __init__(self, cursor: Cursor, *, sql: str, model: Model, time_zone: str) -> None:
        self._cursor = cursor
        self._sql = sql
        self._model = model
        self.time_zone = time_zone
        self._first: pa.Table | None = None
        self._is_read = False
        self._schema = result_schema(cursor.header, precision=cursor.precision)
        self._end = weakref.finalize(self, cursor.abandon)

    @property
    def schema(self) -> pa.Schema:
        """Labels and Arrow types, as the server declared them; labels may occur twice."""
        return self._schema

    @property
    def header(self) -> ResultHeader:
        """What the server said of the columns."""
        return self._cursor.header

    @property
    def time_column(self) -> int | None:
        """Position of the column that becomes a frame's index.

        The tree model's time; in the table model the one column ``time`` of type TIMESTAMP.
        """
        if self._cursor.header.has_time:
            return 0
        found = [
            i
            for i, field in enumerate(self._schema)
            if field.name == INDEX_NAME and pa.types.is_timestamp(field.type)
        ]
        return found[0] if self._model == "table" and len(found) == 1 else None

    def batches(self) -> Generator[pa.RecordBatch, None, None]:
        """The rows as they come, one batch a fetch; to leave the loop early ends the query.

        Raises
        ------
        ConnectionLost, QueryTimeout, QueryError : also behind the first batches.
        """
        self._begin()
        return self._fetch()

    def gather(self, collect: Callable[[Iterator[pa.RecordBatch]], T]) -> T:
        """What `collect` makes of all rows at once.

        If the connection to a single server is lost meanwhile, the query runs again, and `collect`
        begins with nothing: rows of two runs may come in another order, and are never joined. A run
        with fewer rows than an earlier one had given is no result. A statement of `execute` is not
        run again, and nothing on a cluster, see `Cursor.try_again`.

        Raises
        ------
        ConnectionLost, QueryTimeout, QueryError
        """
        self._begin()
        try:
            return self._gather(collect)
        except ServerError as exc:
            lost = exc

        def read() -> T:
            self._first = None
            self._check_columns()
            return self._gather(collect)

        return self._cursor.try_again(read, lost)

    def _gather(self, collect: Callable[[Iterator[pa.RecordBatch]], T]) -> T:
        try:
            return collect(self._fetch())
        except ServerError as exc:
            clear_frames(exc.__traceback__)  # of the rows so far: while another try begins
            raise

    def _check_columns(self) -> None:
        """Raise where the query, run once more, has other columns by now."""
        cursor = self._cursor
        if self._schema != result_schema(cursor.header, precision=cursor.precision):
            self.close()
            raise QueryError(
                "the connection was lost while reading, and the result has other columns by now",
                hint="run the query again",
            )

    def _begin(self) -> None:
        if self._is_read:
            raise IoTDBFramesError(
                "the rows of this result were read already", hint="run the query again"
            )
        self._is_read = True

    def _fetch(self) -> Generator[pa.RecordBatch, None, None]:
        cursor = self._cursor
        try:
            while (blocks := cursor.next_blocks()) is not None:
                table, self._first = self._first, None
                if table is None:
                    table = self._decode(blocks)
                del blocks
                cursor.n_rows += table.num_rows
                yield from table.to_batches()
            if cursor.n_rows < cursor.n_least:
                raise ConnectionLost(
                    f"after the connection was lost, only {cursor.n_rows:,} rows were there of "
                    f"{cursor.n_least:,} that had been read",
                    hint="run the query again",
                )
        finally:
            self.close()

    def _decode(self, blocks: tuple[bytes, ...]) -> pa.Table:
        return decode_blocks(blocks, self._cursor.header, precision=self._cursor.precision)

    def to_arrow(self) -> pa.Table:
        """All rows as an Arrow table; times and TIMESTAMP are naive UTC in the server's unit."""
        return self.gather(lambda batches: pa.Table.from_batches(batches, schema=self._schema))

    def to_pandas(
        self, *, dtype_backend: DtypeBackend = None, tz: str | tzinfo | None = None
    ) -> pd.DataFrame:
        """All rows as a frame in the normal form.

        Parameters
        ----------
        dtype_backend : None: the normal form; "numpy_nullable": pandas' masked dtypes for all
            numbers and booleans, ``string``, objects for DATE and BLOB; "pyarrow": Arrow dtypes for
            all columns; "numpy": plain numpy, refused where that is not exact
        tz : zone of the times, its name or a ZoneInfo; None: naive, in the connection's `time_zone`

        Raises
        ------
        FrameError : a column that cannot be held exactly in what was asked for.
        """

        def build(batches: Iterator[pa.RecordBatch]) -> pd.DataFrame:
            builder = FrameBuilder(
                self._schema,
                index=self.time_column,
                time_zone=self.time_zone,
                tz=tz,
                dtype_backend=dtype_backend,
            )
            for batch in batches:
                builder.add(batch)
            return builder.finish()

        return self.gather(build)

    def to_polars(self) -> Any:
        """All rows as a Polars frame; times and TIMESTAMP are naive UTC in the server's unit.

        Raises
        ------
        FrameError : two columns have one name.
        MissingExtraError : Polars is not installed; the rows are still there to be read.
        """
        load_polars()
        return to_polars(self.to_arrow())

    def __arrow_c_schema__(self) -> Any:
        return self._schema.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        reader = pa.RecordBatchReader.from_batches(self._schema, self.batches())
        return reader.__arrow_c_stream__(requested_schema)

    def cancel(self) -> None:
        """End the query at once, from any thread; who is reading it gets a QueryError."""
        self._cursor.cancel()

    def close(self) -> None:
        """End the query and give its session back; never raises."""
        self._cursor.close()

    def __enter__(self) -> QueryResult:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    def _card(self) -> Card:
        header = self._cursor.header
        facts: list[tuple[str, Any]] = [("columns", len(self._schema))]
        if self._is_read:
            facts.append(("rows read", f"{self._cursor.n_rows:,}"))
            return Card("query", shorten(self._sql), facts=facts)
        if self._first is None:
            self._first = self._decode(header.blocks)
        facts.append(("rows", f"{self._first.num_rows:,}{' or more' * header.has_more}"))
        head = self._first.slice(0, _PREVIEW_ROWS)
        shown = range(min(_PREVIEW_COLUMNS, head.num_columns))
        types = ["TIMESTAMP"] * header.has_time + list(header.type_names)
        prefix, names = split_prefix([head.field(i).name for i in shown])
        if prefix:
            facts.append(("below", prefix))
        labels = [
            f"{shorten(name, _PREVIEW_TEXT)}\n{types[i]}"
            for i, name in zip(shown, names, strict=True)
        ]
        columns = [[_cell(value) for value in head.column(i)] for i in shown]
        is_number = (pa.types.is_integer, pa.types.is_floating)
        numbers = [i for i in shown if any(test(head.column(i).type) for test in is_number)]
        n_hidden = head.num_columns - len(shown)
        return Card(
            "query",
            shorten(self._sql),
            facts=facts,
            grids=[Grid(labels, list(zip(*columns, strict=True)), right=numbers)],
            notes=[f"{n_hidden:,} more columns"] if n_hidden else [],
        )

    def __repr__(self) -> str:
        return self._card().text()

    def _repr_html_(self) -> str:
        return self._card().html()


def _cell(value: pa.Scalar) -> str:
    if not value.is_valid:
        return ""
    try:
        shown = value.as_py()
        return shorten(f"{shown:.7g}" if value.type == pa.float32() else shown, _PREVIEW_TEXT)
    except (ValueError, OverflowError):  # a time that Python's datetime cannot hold
        return str(value.value)
