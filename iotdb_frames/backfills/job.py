"""`backfill`, `plan_backfill` and `BackfillJob`: start, inspect and resume a job."""

from __future__ import annotations

import os
from typing import Any

from iotdb_frames.backfills.manifest import Manifest
from iotdb_frames.backfills.options import (
    BackfillOptions,
    make_options,
    read_asked,
    show_all_options,
)
from iotdb_frames.backfills.report import BackfillPlan, BackfillReport
from iotdb_frames.backfills.status import fill_report
from iotdb_frames.backfills.work import Changed, Work
from iotdb_frames.client.connect import resolve_connection
from iotdb_frames.client.connection import Connection
from iotdb_frames.codec.names import parse_target
from iotdb_frames.display.progress import measure_files
from iotdb_frames.errors import IoTDBFramesError, OptionsError
from iotdb_frames.files.csv.explain import explain
from iotdb_frames.files.sources import find_files, is_files
from iotdb_frames.files.survey import survey
from iotdb_frames.options import check_choice, hide_url


class BackfillJob:
    """A backfill that is recorded in a manifest.

    Parameters
    ----------
    manifest : the manifest's file
    """

    def __init__(self, manifest: str | os.PathLike[str]) -> None:
        self._path = manifest

    def status(self) -> BackfillReport:
        """Its state so far; may be called while another process works on it."""
        manifest = Manifest(self._path)
        try:
            report = BackfillReport(str(manifest.get("target") or "?"), str(manifest.path))
            asked = manifest.get("asked") or {}
            report.verify = asked.get("manner", {}).get("verify")
            fill_report(report, manifest)
            report.holder = manifest.holder
            return report
        finally:
            manifest.close()

    def resume(
        self,
        *,
        retry_failed: bool = False,
        changed: Changed = "raise",
        connection: Connection | str | None = None,
        progress: Any = "auto",
    ) -> BackfillReport:
        """Continue where it stopped, with its original options.

        Parameters
        ----------
        retry_failed, changed, connection, progress : as of `backfill`, as are the errors
        """
        connection = hide_url(connection)
        manifest = Manifest(self._path)
        try:
            sources, asked = manifest.get("sources"), manifest.get("asked")
            if asked is None:
                raise OptionsError(f"{manifest.path} contains no job yet")
            if sources is None:
                raise OptionsError(
                    "the frames of this job exist only in the program that started it",
                    hint="call iotf.backfill(…) as before: with the same manifest, it resumes",
                )
            options = read_asked(asked)
            target = manifest.get("target")
        finally:
            manifest.close()
        return _backfill(
            sources,
            target,
            manifest=self._path,
            connection=connection,
            retry_failed=retry_failed,
            changed=changed,
            options=options,
            progress=progress,
        )

    def __repr__(self) -> str:
        try:
            return self.status().card().text()
        except IoTDBFramesError as exc:  # a repr never raises
            return f"<BackfillJob: {exc.message}>"

    def _repr_html_(self) -> str:
        return self.status().card().html()


@show_all_options
def backfill(
    sources: Any,
    target: str,
    *,
    manifest: str | os.PathLike[str],
    retry_failed: bool = False,
    changed: Changed = "raise",
    connection: Connection | str | None = None,
    **options: Any,
) -> BackfillReport:
    """Write files, or frames, to IoTDB; if stopped at any time, it can resume from there.

    Called again with the same manifest, it resumes: acknowledged units are not sent again, those in
    doubt are, in the same order. New files are added after the others.

    Parameters
    ----------
    sources : path, folder, glob or URL of Parquet, CSV (also .gz), Arrow IPC, ORC or JSON lines
        files, or a list of these, or a pyarrow Dataset of files; or frames: a list, a generator, a
        RecordBatchReader, a Dataset with a filter, partitions or its own schema. Hive partitions
        of files (``site=A/…``) become columns
    target : as in `write`
    manifest : SQLite file that records the state of each unit; created with mode 0600
    retry_failed : try failed units and files again, which ``on_error="collect"`` leaves
    changed : for a source that has changed since its backfill began: "raise", or write it "again"
    connection : a Connection or a URL; None: see `use`
    options : those of `write`, except ``replace`` and ``duplicates``, and those of files; a
        callable `progress` gets a `Standing`

    Returns
    -------
    BackfillReport

    Raises
    ------
    OptionsError : nothing was sent: the manifest is in use or belongs to another job, no such file…
    FrameError : data that cannot be written exactly, with its file and line; what precedes it is
        written. ``on_error="collect"`` puts such rows into the dead letter and continues.
    ServerError, PartialWriteError : the server refused, or was away for longer than `retry` waits.
    """
    connection = hide_url(connection)
    progress = options.pop("progress", "auto")
    return _backfill(
        sources,
        target,
        manifest=manifest,
        connection=connection,
        retry_failed=retry_failed,
        changed=changed,
        options=make_options(options),
        progress=progress,
    )


@show_all_options
def plan_backfill(
    sources: Any,
    target: str,
    *,
    offline: bool = False,
    connection: Connection | str | None = None,
    **options: Any,
) -> BackfillPlan:
    """What `backfill` would read and how, from footers and samples; nothing is sent.

    Parameters
    ----------
    offline : without the server: its schema is unknown, and its precision assumed to be ms
    sources, target, connection : as in `backfill`; files only
    options : as in `backfill`
    """
    connection = hide_url(connection)
    chosen = make_options({k: v for k, v in options.items() if k != "progress"})
    if not is_files(sources):
        raise OptionsError("frames are planned one at a time: df.iotdb.plan(…)")
    conn = None if offline else resolve_connection(connection)
    database = None if conn is None else conn.options.database
    goal = parse_target(target, database=database)
    files, notes = find_files(sources, format=chosen.files.format)
    found = survey(files, chosen.files, chosen.write, conn, goal)
    plan = BackfillPlan(str(goal), [(f.name, f.format, f.size) for f in files], notes=notes)
    described: dict[str, list[Any]] = {}
    for one in found.files:
        if one.dialect is not None and one.file.format == "csv":
            key = repr(one.dialect.facts())
            if key not in described:
                described[key] = [explain(one.file, chosen.files, one.dialect), 0]
            described[key][1] += 1
        if one.plan is not None:
            plan.writes.append((one.file.name, one.plan))
        if one.error is not None and not one.is_empty:
            plan.problems.append(one.error.told())
    plan.dialects = [(explained, n_files) for explained, n_files in described.values()]
    plan.problems += found.problems
    plan.notes += found.notes
    plan.notes += [
        f"{label!r} is written as {kind.name}, because its type differs between files"
        for label, kind in found.agreed.items()
    ]
    return plan


def _backfill(
    sources: Any,
    target: str,
    *,
    manifest: str | os.PathLike[str],
    connection: Connection | str | None,
    retry_failed: bool,
    changed: Changed,
    options: BackfillOptions,
    progress: Any,
) -> BackfillReport:
    connection = hide_url(connection)
    check_choice("changed", changed, ("raise", "again"))
    conn = resolve_connection(connection)
    goal = parse_target(target, database=conn.options.database)
    book = Manifest(manifest, create=True)
    try:
        with book.hold():
            work = Work(book, conn, goal, options, sources)
            work.prepare(retry_failed=retry_failed, changed=changed)
            return work.go(measure_files(progress, label=str(goal)))
    finally:
        book.close()
