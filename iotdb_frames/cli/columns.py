"""Options that `write` and `backfill` share."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from iotdb_frames.cli.flags import csv_options
from iotdb_frames.errors import OptionsError
from iotdb_frames.options import TSDataType, as_enum

column = partial(
    typer.Option, rich_help_panel="What the columns are", show_default=False, metavar="COLUMN"
)
csv = partial(typer.Option, rich_help_panel="CSV files (detected unless given)", show_default=False)
how = partial(typer.Option, rich_help_panel="How it is written")

Time = Annotated[str | None, column(help="The times. Without it, they are detected.")]
TimeUnit = Annotated[
    str | None, column(metavar="UNIT", help="s, ms, us or ns, if times are integers.")
]
Device = Annotated[str | None, column(help="Names each row's device (tree model).")]
Tag = Annotated[list[str] | None, column(help="A tag (table model). Repeatable.")]
Attribute = Annotated[list[str] | None, column(help="An attribute (table model). Repeatable.")]
Type = Annotated[
    list[str] | None,
    column(metavar="COLUMN=TYPE", help="A column's type, e.g. temp=DOUBLE. Repeatable."),
]
Format = Annotated[
    str | None, column(metavar="FORMAT", help="parquet, csv, ipc, stream, orc or json.")
]
Encoding = Annotated[str | None, csv(help="E.g. utf-8 or cp1252.")]
Delimiter = Annotated[str | None, csv(help="Separates cells; tab, or space for any run of them.")]
Decimal = Annotated[str | None, csv(help='Decimal mark, "." or ",".')]
SkipLines = Annotated[int | None, csv(help="Lines above the header.", min=0)]
TimeFormat = Annotated[str | None, csv(help='E.g. "%d.%m.%Y %H:%M".')]
DayFirst = Annotated[bool | None, csv("--day-first/--month-first", help="What 01/02/2024 means.")]
Null = Annotated[
    list[str] | None, csv(metavar="TEXT", help="A text that marks a missing value. Repeatable.")
]
Sentinel = Annotated[
    list[str] | None,
    csv(metavar="COLUMN=NUMBER", help="A number that marks a missing value. Repeatable."),
]
Sentinels = Annotated[
    bool, csv("--sentinels/--no-sentinels", help="Whether -200, 9999 … may be missing values.")
]
Csv = Annotated[
    list[str] | None,
    csv(
        metavar="NAME=VALUE",
        help="Header, names, thousands, quote, types and more that has no flag of its own: "
        """header=false, thousands=., 'names=["time","temp"]'. Repeatable.""",
    ),
]
Aligned = Annotated[bool, how(help="Whether new devices are aligned.")]
Create = Annotated[bool, how(help="Whether to create missing series or tables.")]
Chunk = Annotated[str, how(help="Size of a request, or its number of rows.")]
KeepNan = Annotated[bool, how("--keep-nan", help="NaN is a value, not a missing one.")]
Lossy = Annotated[bool, how("--lossy", help="Casts may lose precision, never range.")]
Workers = Annotated[int, how(help="Connections to send on.", min=1)]
Method = Annotated[
    str,
    how(
        help="tablets; tsfile: files that the server loads, which spares it nearly all work; "
        "auto: files for large data with many rows per device, where the server sees them."
    ),
]
TsFileDir = Annotated[
    Path | None,
    how(
        help="Directory for these files that the server sees under the same name. Without it, "
        "that of temporary files.",
        show_default=False,
    ),
]


def column_types(pairs: list[str]) -> dict[Any, Any]:
    """``{column: TSDataType}`` from ``column=TYPE``."""
    found = {}
    for pair in pairs:
        column, equals, name = pair.rpartition("=")
        if not equals or not column:
            raise OptionsError(f"--type {pair!r} is not COLUMN=TYPE", hint="--type temp=DOUBLE")
        found[column] = as_enum(TSDataType, name)
    return found


def csv_dialect(given: Mapping[str, Any]) -> dict[str, Any]:
    """The CSV options among a command's arguments (its ``locals()``), for `CsvDialect`."""
    names = ("encoding", "decimal", "skip_lines", "time_format", "day_first")
    dialect = {name: given[name] for name in names}
    dialect["null_values"] = given["null"]
    delimiter = given["delimiter"]
    dialect["delimiter"] = {"tab": "\t", "space": " "}.get(delimiter or "", delimiter)
    if given["sentinel"] or not given["sentinels"]:
        dialect["sentinels"] = _sentinels(given["sentinel"] or [])
    said = {name: value for name, value in dialect.items() if value is not None}
    return {**csv_options(given["csv"] or []), **said}


def frame_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a write among a command's arguments (its ``locals()``)."""
    chunk, dead_letter = given["chunk"], given["dead_letter"]
    return {
        **{name: given[name] for name in ("time", "time_unit", "device", "aligned", "create")},
        "tags": given["tag"] or [],
        "attributes": given["attribute"] or [],
        "schema": column_types(given["type"] or []),
        "chunk": int(chunk) if chunk.isdigit() else chunk,
        "nan": "keep" if given["keep_nan"] else "null",
        "coerce": "lossy" if given["lossy"] else "safe",
        "on_error": "raise" if dead_letter is None else "collect",
        "dead_letter": dead_letter,
        **{name: given[name] for name in ("workers", "method", "tsfile_dir")},
    }


def _sentinels(pairs: list[str]) -> dict[str, list[float]]:
    """``{column: [number, …]}`` from ``column=number``."""
    found: dict[str, list[float]] = {}
    for pair in pairs:
        column, _, number = pair.rpartition("=")
        try:
            found.setdefault(column, []).append(float(number))
        except ValueError:
            column = ""
        if not column:
            raise OptionsError(
                f"--sentinel {pair!r} is not COLUMN=NUMBER", hint="--sentinel temp=-200"
            )
    return found
