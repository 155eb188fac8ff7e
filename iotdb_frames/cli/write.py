"""``write``: a file into IoTDB."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from iotdb_frames.cli import screen
from iotdb_frames.errors import FrameError, OptionsError, TimeIndexError
from iotdb_frames.options import TSDataType, WriteArgs, as_enum

if TYPE_CHECKING:
    import pyarrow as pa

STREAM_FROM_BYTES = 64 << 20
"""A file this large is read a batch at a time, where the options allow."""

_BLOCK_BYTES = 16 << 20
_BATCH_ROWS = 1 << 17


_column = partial(
    typer.Option, rich_help_panel="What the columns are", show_default=False, metavar="COLUMN"
)
_csv = partial(typer.Option, rich_help_panel="CSV files")
_how = partial(typer.Option, rich_help_panel="How it is written")


def write(
    file: Annotated[
        Path, typer.Argument(help="CSV or Parquet.", exists=True, dir_okay=False, readable=True)
    ],
    target: Annotated[
        str, typer.Option("--target", "-t", help="root.plant.press1, or database.table.")
    ],
    url: screen.Url = None,
    time: Annotated[
        str | None, _column(help="The times. Without it the file's pandas index, else time.")
    ] = None,
    time_unit: Annotated[
        str | None, _column(metavar="UNIT", help="s, ms, us or ns, where times are integers.")
    ] = None,
    device: Annotated[str | None, _column(help="Names each row's device (tree model).")] = None,
    tag: Annotated[list[str] | None, _column(help="A tag (table model). Repeat it.")] = None,
    attribute: Annotated[
        list[str] | None, _column(help="An attribute (table model). Repeat it.")
    ] = None,
    type: Annotated[  # noqa: A002 - the option is called --type
        list[str] | None,
        _column(metavar="COLUMN=TYPE", help="Its type, as in temp=DOUBLE. Repeat it."),
    ] = None,
    time_format: Annotated[
        str | None, _csv(help='Such as "%d.%m.%Y %H:%M". Without it, ISO 8601.', show_default=False)
    ] = None,
    delimiter: Annotated[str, _csv(help="Between cells; tab for a tab.")] = ",",
    aligned: Annotated[bool, _how(help="Whether a new device is aligned.")] = True,
    create: Annotated[bool, _how(help="Whether to create what is missing.")] = True,
    chunk: Annotated[str, _how(help="Size of a request, or its rows.")] = "4MiB",
    keep_nan: Annotated[
        bool, _how("--keep-nan", help="NaN is a value, not a missing one.")
    ] = False,
    duplicates: Annotated[
        str, _how(help="Rows of one (device, time): merge, last, first, raise.")
    ] = "merge",
    replace: Annotated[
        bool, _how("--replace", help="Delete the columns in the file's time range first.")
    ] = False,
    lossy: Annotated[bool, _how("--lossy", help="Casts may lose precision, never range.")] = False,
    dead_letter: Annotated[
        Path | None,
        _how(
            help="Parquet file for refused rows. Without it the first one ends the write.",
            dir_okay=False,
            show_default=False,
        ),
    ] = None,
    workers: Annotated[int, _how(help="Connections to send on.", min=1)] = 1,
    dry_run: Annotated[
        bool, _how("--dry-run", help="Show what would be done. Nothing is sent.")
    ] = False,
) -> None:
    """Write a CSV or Parquet file.

    A file below 64 MB is checked whole before the first byte is sent. A larger one goes batch by
    batch, in little memory; with --replace, or --duplicates other than merge, it is read whole.
    """
    import iotdb_frames as iotf

    types = column_types(type or [])
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


def column_types(pairs: list[str]) -> dict[Any, Any]:
    """``{column: TSDataType}`` from ``column=TYPE``."""
    found = {}
    for pair in pairs:
        column, equals, name = pair.rpartition("=")
        if not equals or not column:
            raise OptionsError(f"--type {pair!r} is not COLUMN=TYPE", hint="--type temp=DOUBLE")
        found[column] = as_enum(TSDataType, name)
    return found


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
