"""``write``: a file into IoTDB."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from iotdb_frames.cli import columns, screen


def write(
    file: Annotated[
        Path,
        typer.Argument(
            help="Parquet, CSV (.gz, too), Arrow, ORC or JSON lines.",
            exists=True,
            dir_okay=False,
            readable=True,
        ),
    ],
    target: Annotated[
        str, typer.Option("--target", "-t", help="root.plant.press1, or database.table.")
    ],
    url: screen.Url = None,
    time: columns.Time = None,
    time_unit: columns.TimeUnit = None,
    device: columns.Device = None,
    tag: columns.Tag = None,
    attribute: columns.Attribute = None,
    type: columns.Type = None,  # noqa: A002 - the option is called --type
    format: columns.Format = None,  # noqa: A002 - the option is called --format
    encoding: columns.Encoding = None,
    delimiter: columns.Delimiter = None,
    decimal: columns.Decimal = None,
    skip_lines: columns.SkipLines = None,
    time_format: columns.TimeFormat = None,
    day_first: columns.DayFirst = None,
    null: columns.Null = None,
    sentinel: columns.Sentinel = None,
    sentinels: columns.Sentinels = True,
    csv: columns.Csv = None,
    aligned: columns.Aligned = True,
    create: columns.Create = True,
    chunk: columns.Chunk = "4MiB",
    keep_nan: columns.KeepNan = False,
    duplicates: Annotated[
        str, columns.how(help="Rows of the same device and time: merge, last, first, raise.")
    ] = "merge",
    replace: Annotated[
        bool, columns.how("--replace", help="First delete the columns in the file's time range.")
    ] = False,
    lossy: columns.Lossy = False,
    dead_letter: Annotated[
        Path | None,
        columns.how(
            help="Parquet file for refused rows. Without it, the first one ends the write.",
            dir_okay=False,
            show_default=False,
        ),
    ] = None,
    workers: columns.Workers = 1,
    method: columns.Method = "auto",
    tsfile_dir: columns.TsFileDir = None,
    dry_run: Annotated[
        bool, columns.how("--dry-run", help="Show what would be done. Nothing is sent.")
    ] = False,
) -> None:
    """Write a file. `backfill` reads files the same way, takes many of them, and resumes.

    A file below 64 MB is checked completely before the first byte is sent. A larger one is sent in
    pieces, using little memory; with --replace, or --duplicates other than merge, all of it is read
    first.
    """
    given = locals()
    from iotdb_frames.client.connect import resolve_connection
    from iotdb_frames.codec.names import parse_target
    from iotdb_frames.files.options import FileOptions
    from iotdb_frames.files.sources import find_files
    from iotdb_frames.files.writing import plan_file, write_file
    from iotdb_frames.options import write_options

    how = write_options(
        {**columns.frame_options(given), "duplicates": duplicates, "replace": replace}
    )
    dialect: Any = columns.csv_dialect(given)
    reading = FileOptions.of(how, format=format, csv=dialect)
    (source,), _ = find_files(file, format=format)
    connection = resolve_connection(url)
    goal = parse_target(target, database=connection.options.database)
    try:
        if dry_run:
            planned = plan_file(source, goal, connection, options=reading, write=how)
            screen.show_card(planned.card())
            return
        report = write_file(source, goal, connection, options=reading, write=how)
    except KeyboardInterrupt as exc:
        screen.say("Interrupted.", *getattr(exc, "__notes__", ()), style="red")
        raise
    screen.show_card(report.card())
    if not report.is_complete:
        raise typer.Exit(1)
