"""``read``: the result of a query into a file, or as CSV on standard output."""

from __future__ import annotations

import sys
from binascii import hexlify
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Protocol

import typer

from iotdb_frames.cli import screen
from iotdb_frames.display.words import plural, size
from iotdb_frames.errors import FrameError, OptionsError

if TYPE_CHECKING:
    import pyarrow as pa

GROUP_BYTES = 64 << 20
"""Rows are written once they reach this size: a row group of a Parquet file."""


class _Writer(Protocol):
    def write_table(self, table: pa.Table) -> None:
        """Append rows."""

    def close(self) -> None:
        """Write the end of the file."""


def read(
    sql: Annotated[
        str,
        typer.Argument(
            help="One query: SELECT, WITH, SHOW, DESCRIBE, LIST, COUNT or EXPLAIN; or a TsFile, "
            "for which no server is needed.",
            metavar="SQL",
        ),
    ],
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            "-o",
            help="file.parquet, file.csv, file.csv.gz, file.arrow, or - for CSV on standard "
            "output. Without it, the first rows are shown.",
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
    url: screen.Url = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="tree or table. Without it, table if the URL names a database, else tree.",
            show_default=False,
        ),
    ] = None,
    tz: Annotated[
        str, typer.Option(help="Time zone of the file's times. The instants stay the same.")
    ] = "UTC",
    precision: Annotated[
        str,
        typer.Option(help="Of a TsFile's times, which it does not say itself: ms, us or ns."),
    ] = "ms",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing file.")
    ] = False,
) -> None:
    """Read a query's result into a file, using little memory.

    The file appears once all rows are in it; a read that fails leaves no file. In CSV, a BLOB is
    written as hexadecimal digits.
    """
    import iotdb_frames as iotf

    open_writer = _format(out) if out not in (None, "-") else _Csv
    if out not in (None, "-") and Path(str(out)).exists() and not overwrite:
        raise OptionsError(f"{out} already exists", hint="choose another name, or --overwrite")
    if sql.lower().endswith(".tsfile"):
        _read_file(sql, out, open_writer, tz=tz, precision=precision)
        return
    with iotf.query(sql, model=model, connection=url) as result:  # type: ignore[arg-type]
        if out is None:
            screen.show(*repr(result).splitlines())
        elif out == "-":
            _copy_to(out, result.schema, result.batches(), open_writer, tz=tz)
        else:  # a file that is not whole is gone, so that it can be written again
            result.gather(lambda rows: _copy_to(out, result.schema, rows, open_writer, tz=tz))


def _read_file(
    path: str,
    out: str | None,
    open_writer: Callable[[IO[bytes], pa.Schema], _Writer],
    *,
    tz: str,
    precision: str,
) -> None:
    """A TsFile's rows, or without `out` the first of them."""
    import pyarrow as pa

    import iotdb_frames as iotf

    batches = iotf.read_tsfile(path, returns="batches", precision=precision)  # type: ignore[arg-type]
    if out is not None:
        _copy_to(out, batches.schema, batches, open_writer, tz=tz)
        return
    first = next(batches, None)
    rows = batches.schema.empty_table() if first is None else pa.Table.from_batches([first])
    screen.show(*repr(rows.slice(0, 10).to_pandas()).splitlines())


def _copy_to(
    out: str,
    schema: pa.Schema,
    batches: Iterable[pa.RecordBatch],
    open_writer: Callable[[IO[bytes], pa.Schema], _Writer],
    *,
    tz: str,
) -> None:
    """All rows into a file, or to standard output."""
    if out == "-":
        _copy(schema, batches, sys.stdout.buffer, open_writer, tz=tz, label="rows")
        sys.stdout.buffer.flush()
        return
    from iotdb_frames.writes.whole_file import whole_file

    remedy = "free some space, or choose another place with --out"
    with whole_file(Path(out), remedy=remedy) as stream:
        n_rows = _copy(schema, batches, stream, open_writer, tz=tz, label=Path(out).name)
    n_bytes = Path(out).stat().st_size
    screen.say(f"✓ {plural(n_rows, 'row')} in {out} ({size(n_bytes)})", style="green")


def _copy(
    schema: pa.Schema,
    batches: Iterable[pa.RecordBatch],
    stream: IO[bytes],
    open_writer: Callable[[IO[bytes], pa.Schema], _Writer],
    *,
    tz: str,
    label: str,
) -> int:
    """Write all rows to the stream; return their number."""
    import pyarrow as pa

    from iotdb_frames.display.progress import measure_rows

    # Times are UTC ticks, and say so, whatever zone they are shown in.
    wanted = pa.schema(
        pa.field(f.name, pa.timestamp(f.type.unit, tz) if pa.types.is_timestamp(f.type) else f.type)
        for f in schema
    )
    writer = open_writer(stream, wanted)
    meter = measure_rows("auto", 0, label=label)
    held: list[pa.RecordBatch] = []
    n_rows = n_bytes = 0
    is_complete = False
    try:
        with closing(writer):
            for batch in batches:
                held.append(batch)
                n_rows, n_bytes = n_rows + len(batch), n_bytes + batch.nbytes
                if n_bytes >= GROUP_BYTES:
                    writer.write_table(_table(held, wanted))
                    held, n_bytes = [], 0
                meter.add(rows=len(batch))
            if held:
                writer.write_table(_table(held, wanted))
        is_complete = True
    finally:
        meter.close(is_complete=is_complete)
    return n_rows


def _table(batches: list[pa.RecordBatch], wanted: pa.Schema) -> pa.Table:
    import pyarrow as pa

    # By position: labels may occur twice.
    table = pa.Table.from_batches(batches)
    columns = [column.cast(field.type) for column, field in zip(table.columns, wanted, strict=True)]
    return pa.Table.from_arrays(columns, schema=wanted)


def _format(out: str) -> Callable[[IO[bytes], pa.Schema], _Writer]:
    name = out.lower()
    for ending, open_writer in _FORMATS.items():
        if name.endswith(ending):
            return open_writer
    raise OptionsError(
        f"--out {out!r}: the file must end with one of {', '.join(_FORMATS)}",
        hint="--out - writes CSV to standard output",
    )


def _open_parquet(stream: IO[bytes], schema: pa.Schema) -> _Writer:
    import pyarrow.parquet as pq

    repeated = sorted({name for name in schema.names if schema.names.count(name) > 1})
    if repeated:
        raise FrameError(
            f"a Parquet file cannot have two columns named {repeated[0]!r}",
            column=repeated[0],
            hint="rename one: SELECT … AS …",
        )
    return pq.ParquetWriter(stream, schema, compression="zstd")  # type: ignore[no-any-return]


def _open_arrow(stream: IO[bytes], schema: pa.Schema) -> _Writer:
    import pyarrow as pa

    return pa.ipc.new_file(stream, schema)  # type: ignore[no-any-return]


class _Csv:
    """Text in quotes, nothing for a missing value, a BLOB as hexadecimal digits."""

    def __init__(self, stream: Any, schema: pa.Schema) -> None:
        import pyarrow as pa
        from pyarrow import csv

        self._stream = stream
        self._schema = pa.schema(
            pa.field(f.name, pa.large_string() if pa.types.is_binary(f.type) else f.type)
            for f in schema
        )
        self._writer = csv.CSVWriter(stream, self._schema)

    def write_table(self, table: pa.Table) -> None:
        import pyarrow as pa

        columns = [
            pa.chunked_array([_to_hex(chunk) for chunk in column.chunks], pa.large_string())
            if pa.types.is_binary(column.type)
            else column
            for column in table.columns
        ]
        self._writer.write_table(pa.Table.from_arrays(columns, schema=self._schema))

    def close(self) -> None:
        self._writer.close()


def _to_hex(blobs: pa.Array) -> pa.Array:
    """Two digits per byte: all bytes at once, with doubled offsets."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    validity, offsets, data = blobs.buffers()
    ends = np.frombuffer(offsets, np.int32, len(blobs) + 1, blobs.offset * 4).astype(np.int64)
    digits = hexlify(memoryview(data)[ends[0] : ends[-1]]) if data is not None else b""
    cut = pa.py_buffer((ends - ends[0]) * 2)
    texts = pa.LargeStringArray.from_buffers(len(blobs), cut, pa.py_buffer(digits))
    return pc.if_else(blobs.is_valid(), texts, None) if validity is not None else texts


class _GzipCsv(_Csv):
    def __init__(self, stream: Any, schema: pa.Schema) -> None:
        import pyarrow as pa

        self._packed = pa.CompressedOutputStream(stream, "gzip")
        super().__init__(self._packed, schema)

    def close(self) -> None:
        super().close()
        self._packed.close()


_FORMATS: dict[str, Callable[[IO[bytes], pa.Schema], _Writer]] = {
    ".parquet": _open_parquet,
    ".pq": _open_parquet,
    ".csv": _Csv,
    ".csv.gz": _GzipCsv,
    ".arrow": _open_arrow,
    ".feather": _open_arrow,
}
