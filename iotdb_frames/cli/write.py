"""``write``: a file into IoTDB."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from iotdb_frames.cli import columns, screen
from iotdb_frames.errors import FrameError, OptionsError, TimeIndexError
from iotdb_frames.options import TSDataType, WriteArgs

if TYPE_CHECKING:
    import pyarrow as pa

STREAM_FROM_BYTES = 64 << 20
"""A file this large is read a batch at a time, where the options allow."""

_BLOCK_BYTES = 16 << 20
_BATCH_ROWS = 1 << 17


_csv = partial(typer.Option, rich_help_panel="CSV files")


def write(
    file: Annotated[
        Path, typer.Argument(help="CSV or Parquet.", exists=True, dir_okay=False, readable=True)
    ],
    target: Annotated[
        str, typer.Option("--target", "-t", help="root.plant.press1, or database.table.")
    ],
    url: screen.Url = None,
    time: Annotated[
        str | None, columns.column(help="The times. Without it the file's pandas index, else time.")
    ] = None,
    time_unit: columns.TimeUnit = None,
    device: columns.Device = None,
    tag: columns.Tag = None,
    attribute: columns.Attribute = None,
    type: columns.Type = None,  # noqa: A002 - the option is called --type
    time_format: Annotated[
        str | None, _csv(help='Such as "%d.%m.%Y %H:%M". Without it, ISO 8601.', show_default=False)
    ] = None,
    delimiter: Annotated[str, _csv(help="Between cells; tab for a tab.")] = ",",
    aligned: columns.Aligned = True,
    create: columns.Create = True,
    chunk: columns.Chunk = "4MiB",
    keep_nan: columns.KeepNan = False,
    duplicates: Annotated[
        str, columns.how(help="Rows of one (device, time): merge, last, first, raise.")
    ] = "merge",
    replace: Annotated[
        bool, columns.how("--replace", help="Delete the columns in the file's time range first.")
    ] = False,
    lossy: columns.Lossy = False,
    dead_letter: Annotated[
        Path | None,
        columns.how(
            help="Parquet file for refused rows. Without it the first one ends the write.",
            dir_okay=False,
            show_default=False,
        ),
    ] = None,
    workers: columns.Workers = 1,
    dry_run: Annotated[
        bool, columns.how("--dry-run", help="Show what would be done. Nothing is sent.")
    ] = False,
) -> None:
    """Write a CSV or Parquet file.

    A file below 64 MB is checked whole before the first byte is sent. A larger one goes batch by
    batch, in little memory; with --replace, or --duplicates other than merge, it is read whole.
    """
    import iotdb_frames as iotf

    types = columns.column_types(type or [])
    options: WriteArgs = {
        "time": time,
        "time_unit": time_unit,
        "device": device,
        "tags": tag or [],
        "attributes": attribute or [],
        "schema": types,
        "aligned": aligned,
        "create": create,
        "chunk": int(chunk) if chunk.isdigit() else chunk,
        "nan": "keep" if keep_nan else "null",
        "duplicates": duplicates,  # type: ignore[typeddict-item] # WriteOptions checks it
        "replace": replace,
        "coerce": "lossy" if lossy else "safe",
        "on_error": "raise" if dead_letter is None else "collect",
        "dead_letter": dead_letter,
        "workers": workers,
    }
    is_whole = file.stat().st_size < STREAM_FROM_BYTES or replace or duplicates != "merge"
    with _explained(file):
        if file.suffix.lower() in (".parquet", ".pq"):
            data = _open_parquet(file, is_whole=is_whole)
            options["time"] = time or _index_column(data.schema)
        else:
            data = _open_csv(
                file, types, delimiter=delimiter, time_format=time_format, is_whole=is_whole
            )
        if dry_run:
            screen.show_card(iotf.plan(data, target, connection=url, **options).card())
            return
        try:
            report = iotf.write(data, target, connection=url, **options)
        except KeyboardInterrupt as exc:
            screen.say("Interrupted.", *getattr(exc, "__notes__", ()), style="red")
            raise
    screen.show_card(report.card())
    if not report.is_complete:
        raise typer.Exit(1)


def _open_parquet(file: Path, *, is_whole: bool) -> pa.Table | pa.RecordBatchReader:
    import pyarrow as pa
    import pyarrow.parquet as pq

    opened = pq.ParquetFile(file)
    if is_whole:
        return opened.read()
    batches = opened.iter_batches(batch_size=_BATCH_ROWS)
    return pa.RecordBatchReader.from_batches(opened.schema_arrow, batches)


def _index_column(schema: pa.Schema) -> str | None:
    """The column that pandas wrote its index into, where it wrote one."""
    try:
        index = json.loads((schema.metadata or {})[b"pandas"])["index_columns"]
    except (KeyError, ValueError):
        return None
    return index[0] if len(index) == 1 and isinstance(index[0], str) else None


def _open_csv(
    file: Path,
    types: dict[Any, TSDataType],
    *,
    delimiter: str,
    time_format: str | None,
    is_whole: bool,
) -> pa.Table | pa.RecordBatchReader:
    import pyarrow as pa
    from pyarrow import csv

    arrow = {
        TSDataType.BOOLEAN: pa.bool_(),
        TSDataType.INT32: pa.int32(),
        TSDataType.INT64: pa.int64(),
        TSDataType.FLOAT: pa.float32(),
        TSDataType.DOUBLE: pa.float64(),
        TSDataType.TEXT: pa.string(),
        TSDataType.STRING: pa.string(),
        TSDataType.TIMESTAMP: pa.timestamp("ns"),
        TSDataType.DATE: pa.date32(),
        TSDataType.BLOB: pa.binary(),
    }
    delimiter = "\t" if delimiter == "tab" else delimiter
    if len(delimiter) != 1:
        raise OptionsError(f"--delimiter {delimiter!r} is not one character")
    read = csv.read_csv if is_whole else csv.open_csv
    return read(
        file,
        read_options=csv.ReadOptions(block_size=_BLOCK_BYTES),
        parse_options=csv.ParseOptions(delimiter=delimiter),
        convert_options=csv.ConvertOptions(
            column_types={column: arrow[kind] for column, kind in types.items()},
            timestamp_parsers=[time_format, csv.ISO8601] if time_format else None,
            # an empty cell is a missing text, a quoted empty one is an empty text
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )


@contextmanager
def _explained(file: Path) -> Iterator[None]:
    """Say what a file that cannot be read has to do with the options."""
    import pyarrow as pa

    try:
        yield
    except pa.ArrowException as exc:
        hint = None
        if "conversion error" in str(exc):
            hint = "the types come from the first 16 MB; say the column's: --type COLUMN=TYPE"
        raise FrameError(f"{file.name} cannot be read: {exc}", hint=hint) from exc
    except TimeIndexError as exc:
        if exc.row is None:  # not one bad time, but no times at all
            exc.hint = (
                "--time names their column; --time-unit says what whole numbers count, "
                "--time-format how a CSV file writes them"
            )
        raise
