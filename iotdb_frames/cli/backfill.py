"""``backfill``: files into IoTDB, stopped and resumed as often as necessary."""

from __future__ import annotations

import re
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from iotdb_frames.cli import columns, screen
from iotdb_frames.errors import OptionsError

if TYPE_CHECKING:
    from iotdb_frames.backfills.report import BackfillReport

_OPERATORS = ("==", "!=", "<=", ">=", "<", ">", "=")

_job = partial(typer.Option, rich_help_panel="The job")


def backfill(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            help="Files, folders, globs, URLs: Parquet, CSV (.gz, too), Arrow, ORC, JSON lines.",
            show_default=False,
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            "--target", "-t", help="root.plant.press1, or database.table.", show_default=False
        ),
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option(
            "--manifest",
            "-m",
            help="SQLite file that records the state of each unit. The same file again resumes.",
            dir_okay=False,
            show_default=False,
        ),
    ] = None,
    url: screen.Url = None,
    resume: Annotated[
        bool, _job("--resume", help="Continue the manifest's job with its original options.")
    ] = False,
    status: Annotated[
        bool, _job("--status", help="Show the progress of the manifest's job. Nothing is sent.")
    ] = False,
    retry_failed: Annotated[
        bool, _job("--retry-failed", help="Try failed files and units again.")
    ] = False,
    again: Annotated[
        bool, _job("--again", help="Write files that have changed since again, completely.")
    ] = False,
    verify: Annotated[
        str, _job(help="count, values (read everything back and compare) or none.")
    ] = "count",
    durable: Annotated[
        bool, _job("--durable", help="Refuse a server that acknowledges rows before syncing them.")
    ] = False,
    dry_run: Annotated[
        bool, _job("--dry-run", help="Show what would be done. Nothing is sent.")
    ] = False,
    time: columns.Time = None,
    time_unit: columns.TimeUnit = None,
    device: columns.Device = None,
    tag: columns.Tag = None,
    attribute: columns.Attribute = None,
    type: columns.Type = None,  # noqa: A002 - the option is called --type
    column: Annotated[
        list[str] | None,
        columns.column(help="Take only this one and others that are named. Repeatable."),
    ] = None,
    file_column: Annotated[
        str | None, columns.column(metavar="NAME", help="Add a column with each file's name.")
    ] = None,
    filter: Annotated[  # noqa: A002 - the option is called --filter
        list[str] | None,
        columns.column(
            metavar="CONDITION", help='Rows to take, e.g. "temp > 20". Repeatable, joined by and.'
        ),
    ] = None,
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
    lossy: columns.Lossy = False,
    dead_letter: Annotated[
        Path | None,
        columns.how(
            help="Parquet file for rows that do not fit. Without it, the first one ends the run.",
            dir_okay=False,
            show_default=False,
        ),
    ] = None,
    workers: columns.Workers = 1,
    method: columns.Method = "auto",
    tsfile_dir: columns.TsFileDir = None,
    memory: Annotated[str, columns.how(help="Approximate amount of data in memory.")] = "256MiB",
) -> None:
    """Write folders of files. If stopped at any time, the same command continues from there.

    The manifest records for each unit of a file whether it was sent, acknowledged and verified.
    `--resume` and `--status` need only `--manifest`.
    """
    given = locals()
    import iotdb_frames as iotf

    if resume or status:
        if sources or target:
            raise OptionsError(
                "--resume and --status take sources and target from the manifest",
                hint="omit them; repeating the whole command resumes, too",
            )
        job = iotf.BackfillJob(_needed(manifest, "--manifest"))
        if status:
            screen.show_card(job.status().card())
            return
        changed: Any = "again" if again else "raise"
        _end(
            partial(job.resume, retry_failed=retry_failed, changed=changed, connection=url),
            manifest,
        )
        return
    options: dict[str, Any] = {
        **columns.frame_options(given),
        "columns": column,
        "file_column": file_column,
        "filter": [_condition(text) for text in filter] if filter else None,
        "format": format,
        "csv": columns.csv_dialect(given),
        "memory": memory,
        "verify": None if verify == "none" else verify,
        "durable": durable,
    }
    files, goal = _needed(sources, "SOURCES"), _needed(target, "--target")
    if dry_run:
        plan = iotf.plan_backfill(files, goal, connection=url, **options)
        card = plan.card()
        screen.show_card(card)
        if card.status == "bad":
            raise typer.Exit(1)
        return
    call = partial(
        iotf.backfill,
        files,
        goal,
        manifest=_needed(manifest, "--manifest"),
        retry_failed=retry_failed,
        changed="again" if again else "raise",
        connection=url,
        **options,
    )
    _end(call, manifest)


def _end(call: Any, manifest: Path | None) -> None:
    """Run a job to its end, and show its report."""
    try:
        report: BackfillReport = call()
    except KeyboardInterrupt:
        screen.say(
            f"Interrupted. Continue with iotdb-frames backfill --manifest {manifest} --resume",
            style="red",
        )
        raise
    screen.show_card(report.card())
    if not report.is_complete:
        raise typer.Exit(1)


def _needed(value: Any, name: str) -> Any:
    if not value:
        raise typer.BadParameter(f"Missing {name}.")
    return value


def _condition(text: str) -> tuple[str, str, Any]:
    """(column, operator, value) of ``temp > 20``; a value that is not a number is text."""
    signs = "|".join(map(re.escape, _OPERATORS))
    match = re.fullmatch(rf"\s*(.+?)\s*({signs})\s*(.*?)\s*", text)
    if match is None:
        raise OptionsError(
            f"--filter {text!r} is not a valid condition", hint='--filter "temp > 20"'
        )
    name, sign, value = match.groups()
    for kind in (int, float):
        with suppress(ValueError):
            return name, sign, kind(value)
    return name, sign, value.strip("'\"")
