"""The manifest as a report."""

from __future__ import annotations

from typing import Any

from iotdb_frames.backfills.manifest import DONE, Manifest
from iotdb_frames.backfills.report import (
    MAX_PROBLEMS,
    BackfillReport,
    FileState,
    UnitProblem,
)
from iotdb_frames.display.words import plural

EXAMPLES = 3


def fill_report(report: BackfillReport, manifest: Manifest) -> None:
    """Update a report's totals from the manifest."""
    by_file: dict[int, list[tuple[Any, ...]]] = {}
    for row in manifest.totals():
        by_file.setdefault(row[0], []).append(row)
    report.files, report.units, report.problems = [], {}, []
    report.rows = report.rows_written = report.rows_refused = report.points = 0
    report.rows_empty, report.lossy = 0, dict(manifest.lossy())
    report.n_bytes = report.bytes_done = 0
    for file in manifest.files():
        units: dict[str, int] = {}
        rows = refused = done = 0
        for _, state, n_units, *counted in by_file.get(file.id, ()):
            n_rows, written, n_refused, points, n_bytes, n_empty = counted
            units[state] = n_units
            report.units[state] = report.units.get(state, 0) + n_units
            rows += n_rows
            if state in DONE:
                refused += n_refused
                report.rows_written += written
                report.points += points
                report.rows_empty += n_empty
                done += n_bytes
        report.rows += rows
        report.rows_refused += refused
        report.n_bytes += file.size
        state = FileState(
            file.name, file.size, units, rows, refused, bool(file.is_read), file.error
        )
        is_done = state.state in ("written", "verified")
        report.bytes_done += file.size if is_done else min(done, file.size)
        report.files.append(state)
        if file.error:
            report.problems.append(UnitProblem(file.name, 0, 0, "failed", file.error))
    names = {file.id: file.name for file in manifest.files()}
    for unit in manifest.problems(most=MAX_PROBLEMS):
        message = unit.error or "failed"
        report.problems.append(
            UnitProblem(names[unit.file], unit.start, unit.stop, unit.state, message)
        )
    del report.problems[MAX_PROBLEMS:]
    report.verdicts = dict(manifest.verdicts())
    report.verified_notes = [
        f"{plural(n_units, 'unit')} {verdict}, e.g. {'; '.join(examples)}"
        for verdict, n_units in report.verdicts.items()
        if (examples := manifest.beside(verdict, most=EXAMPLES))
    ]
