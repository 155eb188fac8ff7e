"""One call of `backfill`, with the manifest in hand: compare, send, verify."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from iotdb_frames.backfills.frames_in import NAME, FramesReader
from iotdb_frames.backfills.manifest import FileRow, Manifest, UnitRow
from iotdb_frames.backfills.options import BackfillOptions
from iotdb_frames.backfills.proof.count import Outcome, Verifier, count_points, flush
from iotdb_frames.backfills.proof.expect import Expected
from iotdb_frames.backfills.report import BackfillReport
from iotdb_frames.backfills.run import Run, is_changed
from iotdb_frames.backfills.server import check_durable, cluster_of, describe_server
from iotdb_frames.backfills.status import fill_report
from iotdb_frames.client.connection import Connection
from iotdb_frames.codec.names import Target
from iotdb_frames.display.progress import Meter, Standing
from iotdb_frames.display.words import plural
from iotdb_frames.errors import Choice, FrameError, Hint, IoTDBFramesError, OptionsError
from iotdb_frames.files.csv.dialect import CsvDialect
from iotdb_frames.files.options import write_options_for
from iotdb_frames.files.pieces import Piece
from iotdb_frames.files.readers import Reader, open_reader
from iotdb_frames.files.sources import SourceFile, find_files, is_files, source_list
from iotdb_frames.files.survey import Survey, survey
from iotdb_frames.options import TSDataType
from iotdb_frames.writes.dead_letter import write_units
from iotdb_frames.writes.frames import is_repeatable
from iotdb_frames.writes.plan.plan import WritePlan
from iotdb_frames.writes.planner import plan_frame
from iotdb_frames.writes.regions import wait_until_whole

Changed = Literal["raise", "again"]
MOST_OWN = 20_000
"""Most series created by a job that are remembered; at others, existing points are counted."""
MAX_ROUNDS = 2
"""Most rounds of sending and verifying: a server may have lost acknowledged rows."""


class Work:
    """One call of `backfill`, with the manifest in hand."""

    def __init__(
        self,
        manifest: Manifest,
        connection: Connection,
        target: Target,
        options: BackfillOptions,
        sources: Any,
    ) -> None:
        self._manifest = manifest
        self._connection = connection
        self._target = target
        self._options = options
        self._frames = None if is_files(sources) else sources
        self._sources = source_list(sources) if self._frames is None else None
        self._files: dict[tuple[str, str], SourceFile] = {}
        self._agreed: dict[str, TSDataType] = {}
        self._own = {tuple(key) for key in manifest.get("own") or ()}
        self._report = BackfillReport(str(target), str(manifest.path), verify=options.verify)

    # --- before anything is sent ---------------------------------------------------------------

    def prepare(self, *, retry_failed: bool, changed: Changed) -> None:
        """Check that the manifest belongs to this job, and bring its files up to date."""
        if self._options.durable:
            check_durable(self._connection)
        self._report.server = describe_server(self._connection)
        self._check_same_job()
        if retry_failed:
            self._manifest.retry_failed()
        if self._frames is not None:
            if not self._manifest.files():
                self._manifest.add_file("", NAME, size=0, modified_ns=0, fingerprint="")
            return
        found, notes = find_files(self._sources, format=self._options.files.format)
        self._report.notes += notes
        self._files = {(file.root, file.name): file for file in found}
        self._compare_files(changed)

    def _check_same_job(self) -> None:
        book, asked = self._manifest, self._options.asked()
        texts = None
        if self._sources is not None and all(isinstance(s, str) for s in self._sources):
            texts = self._sources
        cluster = cluster_of(self._connection)
        known = book.get("asked")
        if known is None:
            book.set(
                asked=asked, target=str(self._target), sources=texts, cluster=cluster, types={}
            )
            return
        was = {**known["decisive"], "target": book.get("target"), "sources": book.get("sources")}
        now = {**asked["decisive"], "target": str(self._target), "sources": texts}
        other = [name for name in now if now[name] != was.get(name)]
        if other:
            name = other[0]
            raise OptionsError(
                f"the manifest {book.path} belongs to another job: its {name} is "
                f"{was.get(name)!r}, not {now[name]!r}",
                hint=Hint("for another job, use another ", Choice(manifest=...)),
            )
        if cluster is not None and book.get("cluster") not in (None, cluster):
            raise OptionsError(
                f"the manifest {book.path} belongs to a job on another IoTDB cluster",
                hint=Hint("connect to that cluster, or use another ", Choice(manifest=...)),
            )
        book.set(asked=asked)
        self._agreed = {k: TSDataType[v] for k, v in (book.get("types") or {}).items()}

    def _compare_files(self, changed: Changed) -> None:
        """Add new files, and find those that have changed."""
        known = {(row.root, row.name): row for row in self._manifest.files()}
        fresh = [file for key, file in self._files.items() if key not in known]
        for key, row in known.items():
            file = self._files.get(key)
            if file is None or not (
                is_changed(row, file) or (not row.is_read and file.fingerprint() != row.fingerprint)
            ):
                continue
            if changed == "raise" and self._manifest.units(file=row.id):
                raise FrameError(
                    f"{row.name} has changed since its backfill began",
                    hint=Hint(
                        Choice(changed="again"),
                        " writes all of it again; rows that are no longer in it stay stored",
                    ),
                )
            fresh.append(file)
        if known and fresh:
            self._report.notes.append(f"{len(fresh)} files are new or changed")
        self._add(fresh)

    def _add(self, files: list[SourceFile]) -> None:
        found = survey(
            files, self._options.files, self._options.write, self._connection, self._target
        )
        self._check(found)
        surprised: dict[str, list[str]] = {}
        for one in found.files:
            self._manifest.add_file(
                one.file.root,
                one.file.name,
                size=one.file.size,
                modified_ns=one.file.modified_ns,
                fingerprint=one.file.fingerprint(),
                dialect=None if one.dialect is None else one.dialect.to_json(),
                error=None if one.error is None or one.is_empty else one.error.message,
                is_read=one.is_empty,
            )
            for text in () if one.dialect is None else one.dialect.surprises():
                surprised.setdefault(text, []).append(one.file.name)
        for text, names in surprised.items():
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            self._note(f"{names[0]}{more}: {text}")
        # Types agreed for earlier files stay: the server has them by now.
        self._agreed = {**found.agreed, **self._agreed}
        self._manifest.set(types={k: v.name for k, v in self._agreed.items()})

    def _check(self, found: Survey) -> None:
        if self._options.write.on_error == "raise":
            for one in found.files:
                if one.error is not None and not one.is_empty:
                    raise one.error
            if found.problems:
                raise FrameError(
                    found.problems[0], hint=Hint("set its type with ", Choice(schema=...))
                )
        self._report.notes += found.problems + found.notes
        if not self._manifest.files():
            found.check_labels(self._options.files, self._options.write)

    def _note(self, text: str) -> None:
        if text not in self._report.notes and len(self._report.notes) < 100:
            self._report.notes.append(text)

    # --- sending and verifying -----------------------------------------------------------------

    def go(self, meter: Meter) -> BackfillReport:
        """Send the units that are not done, and verify those that are not verified."""
        started = time.perf_counter()
        error: BaseException | None = None
        try:
            self._write_and_verify(meter)
        except BaseException as exc:
            error = exc
        self._report.seconds = time.perf_counter() - started
        try:
            self._finish_report()
        except IoTDBFramesError as exc:  # e.g. a full disk, maybe the cause of the first error
            error = error or exc
        meter.close(
            is_complete=error is None and self._report.is_finished,
            is_whole=self._report.is_complete,
        )
        if error is None:
            return self._report
        if isinstance(error, IoTDBFramesError):
            error.report = self._report
        raise error

    def _write_and_verify(self, meter: Meter) -> None:
        verify = self._options.verify
        for at in range(MAX_ROUNDS):
            self._write(meter)
            if verify is None:
                return
            missing = self._verify(meter, verify).missing
            if not missing:
                return
            self._note(
                f"verification found points missing in {plural(len(missing), 'acknowledged unit')}"
                + ("; they were sent again" if at + 1 < MAX_ROUNDS else "")
            )
            state = "pending" if at + 1 < MAX_ROUNDS else "failed"
            for unit, lacks in missing:
                self._manifest.set_unit(unit.id, state=state, error=f"missing: {lacks}")

    def _write(self, meter: Meter) -> None:
        fill_report(self._report, self._manifest)
        report = self._report
        meter.begin(
            Standing(
                "writing",
                n_files=len(report.files),
                files_done=sum(f.state in ("written", "verified") for f in report.files),
                n_bytes=report.n_bytes,
                bytes_done=report.bytes_done,
                rows=report.rows_written,
            )
        )
        run = Run(
            self._manifest,
            self._connection,
            self._target,
            self._options,
            open_reader=self._open,
            schema=self._agreed,
            count_before=self._count_before if self._options.verify else None,
            meter=meter,
            on_note=self._note,
        )
        try:
            run.go()
        finally:
            report.run_rows += run.sent.rows
            report.run_points += run.sent.points
            report.bytes_sent += run.sent.bytes_sent
            report.retries += run.sent.retries

    def _open(self, row: FileRow) -> tuple[SourceFile | None, Reader]:
        if self._frames is not None:
            known = {u.start: u.digest for u in self._manifest.units(file=row.id)}
            return None, FramesReader(self._frames, known)
        file = self._files.get((row.root, row.name))
        if file is None:
            # A name is never opened just because the manifest contains it.
            raise FrameError(
                f"{row.name} is in the manifest, but not among the sources",
                hint="it was moved or deleted, or the manifest was changed",
            )
        dialect = None if row.dialect is None else CsvDialect.from_json(row.dialect)
        return file, open_reader(file, self._options.files, dialect)

    def _count_before(self, plan: WritePlan, expected: Expected) -> int:
        """Existing points at a unit's place; series that this job created are not queried."""
        keys = {
            (str(device[0]) if plan.target.model == "tree" else "", name)
            for group in expected.groups
            for device in group.devices or [("",)]
            for name in group.columns
        }
        is_known = plan.existing.was_seen and len(self._own) < MOST_OWN
        if is_known and all(plan.existing.type_of(*key) is None for key in keys - self._own):
            if not keys <= self._own:
                self._own |= keys
                self._manifest.set(own=sorted(self._own))
            return 0
        return sum(count_points(self._connection, self._target, expected).values())

    def _verify(self, meter: Meter, how: str) -> Outcome:
        units = self._manifest.units("written")
        if not units:
            return Outcome()
        patience, to = self._options.write.retry, self._connection
        devices = [self._target.path] if self._target.model == "tree" else []
        for note in (
            wait_until_whole(to, self._target, devices=devices, policy=patience),
            to.try_whole(partial(flush, to, self._target), policy=patience),
        ):
            if note:
                self._note(note)
        meter.begin(
            Standing(
                "verifying",
                n_files=len(self._report.files),
                n_bytes=sum(u.n_bytes for u in units),
            )
        )
        verifier = Verifier(
            self._manifest,
            to,
            self._target,
            how=how,
            plan_units=self._plan_units,
            on_unit=lambda unit: meter.add(n_bytes=unit.n_bytes, rows=unit.written),
            policy=patience,
        )
        return verifier.go()

    def _plan_units(self, units: Sequence[UnitRow]) -> Iterator[tuple[UnitRow, WritePlan | None]]:
        """Read units again, each file once, and plan them as when they were sent."""
        if units and self._frames is not None and not is_repeatable(self._frames):
            raise FrameError(
                "frames from a generator cannot be read again, so their values cannot be compared",
                hint=Hint(
                    "use ", Choice(verify="count"), " and an empty target, or pass a list of frames"
                ),
            )
        rows = {row.id: row for row in self._manifest.files()}
        for file, some in groupby(units, key=lambda unit: unit.file):
            mine = {unit.start: unit for unit in some}
            _, reader = self._open(rows[file])
            for piece in reader.pieces([(u.start, u.stop, u.line) for u in mine.values()]):
                yield mine[piece.start], self._plan_again(reader, piece)

    def _plan_again(self, reader: Reader, piece: Piece) -> WritePlan | None:
        if len(piece.data) == 0:
            return None
        write = replace(self._options.write, progress=False, on_error="raise", dead_letter=None)
        if hasattr(piece.data, "schema"):
            there = write_options_for(self._options.write, piece.data.schema.names, reader.time)
            write = replace(there, on_error="raise", dead_letter=None)
        plan = partial(plan_frame, self._connection, piece.data, self._target, write)
        return self._connection.try_whole(plan, policy=self._options.write.retry)

    def _finish_report(self) -> None:
        fill_report(self._report, self._manifest)
        path = self._options.write.dead_letter
        if path is not None and self._report.rows_refused:
            self._report.dead_letter = self._write_dead_letter(Path(path).expanduser())

    def _write_dead_letter(self, path: Path) -> str | None:
        """Write all refused rows of the job to a new file, or over its own, unchanged one."""
        book = self._manifest
        file = write_units(path, lambda: (data for _, data in book.refused()))
        if file is None:
            return None
        before = book.get("dead_letter")
        try:
            book.set(dead_letter=file.digest())
        except BaseException:
            file.discard()
            raise
        return str(file.close(instead_of=before))
