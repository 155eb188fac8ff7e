"""`write_tsfile`: a frame, or a stream of them, into a TsFile, without a server."""

from __future__ import annotations

import os
import time as clock
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from iotdb_frames.codec.cells import Precision
from iotdb_frames.codec.names import parse_target
from iotdb_frames.codec.times import TICKS_PER_S
from iotdb_frames.display.card import Card, Shown
from iotdb_frames.display.words import count, duration, rate, repeated, size
from iotdb_frames.errors import Choice, FrameError, Hint, OptionsError
from iotdb_frames.options import CompressionType, TSDataType, WriteOptions, check_choice, zone_name
from iotdb_frames.options.types import as_enum
from iotdb_frames.options.write import SchemaOption
from iotdb_frames.tsfile.encode import CODECS, ENCODINGS
from iotdb_frames.tsfile.index import TableColumn
from iotdb_frames.tsfile.writer import TsFileWriter
from iotdb_frames.writes.frames import check_stream, frames_of, is_stream
from iotdb_frames.writes.plan.filed import file_rows
from iotdb_frames.writes.plan.plan import Existing, PlannedColumn, WritePlan
from iotdb_frames.writes.plan.planning import layout_of, plan_layout
from iotdb_frames.writes.planner import make_rules
from iotdb_frames.writes.report import lossy_values
from iotdb_frames.writes.whole_file import whole_file

PIECE_BYTES = 64 << 20
"""Cells that are encoded at once."""
WEEK_S = 604_800
MOST_WEEKS = 10
"""The server's default time partition, from 1970 on, and how many of them a file may go over: a
LOAD of more is refused with 1100 ("Time partition slots size is greater than 10", in its log)."""


@dataclass(repr=False)
class TsFileReport(Shown):
    """What went into a TsFile.

    Attributes
    ----------
    path, target : the file, and whose rows are in it
    rows_in : rows of the data
    rows : rows of the file, a (device, time) once
    points : cells that are not null
    devices, bytes : of the file
    seconds : from the first look at the data until the file was there
    duplicates : rows whose (device, time) an earlier row has
    lossy : how many values of a column lost precision under ``coerce="lossy"``, by its label
    notes : what the user should know
    """

    path: str
    target: str
    rows_in: int = 0
    rows: int = 0
    points: int = 0
    devices: int = 0
    bytes: int = 0
    seconds: float = 0.0
    duplicates: int = 0
    lossy: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def card(self) -> Card:
        """Its summary card."""
        a_second = self.points / self.seconds if self.seconds else 0.0
        facts: list[tuple[str, Any]] = [
            ("rows", f"{count(self.rows)} of {count(self.rows_in)}"),
            ("points", (count(self.points), rate(a_second, "points"))),
            ("devices", count(self.devices)),
            ("file", f"{self.path} ({size(self.bytes)})"),
            ("took", duration(self.seconds)),
        ]
        if self.duplicates:
            facts.append(("duplicates", repeated(self.duplicates)))
        if self.lossy:
            facts.append(("lost precision", lossy_values(self.lossy)))
        return Card("tsfile", self.target, "ok", facts, notes=self.notes)


def write_tsfile(
    data: Any,
    path: str | os.PathLike[str],
    *,
    target: str,
    time: Hashable | None = None,
    time_unit: Literal["s", "ms", "us", "ns"] | None = None,
    device: Hashable | None = None,
    tags: Sequence[Hashable] = (),
    schema: Mapping[Hashable, SchemaOption] | None = None,
    nan: Literal["null", "keep"] = "null",
    duplicates: Literal["merge", "last", "first", "raise"] = "merge",
    coerce: Literal["safe", "lossy"] = "safe",
    compression: CompressionType | str = "lz4",
    precision: Precision = "ms",
    time_zone: str = "UTC",
    workers: int = 2,
    overwrite: bool = False,
) -> TsFileReport:
    """Write a frame, or a stream of them, into a TsFile that ``LOAD`` takes; needs no server.

    Parameters
    ----------
    data : as `write` takes it. A frame is checked whole before the first byte; of a stream each
        batch is, and its times must ascend, per device, from batch to batch
    path : of the file, which appears when it is whole
    target : ``root.…``: a device, or with `device` a prefix of devices, which are aligned; else
        ``database.table``, of which a file holds the table
    time, time_unit, device, tags, nan, duplicates, coerce : as `write` takes them
    schema : IoTDB types by column, or `TimeseriesOption`; encodings are TS_2DIFF for INT32, DATE,
        INT64 and TIMESTAMP, PLAIN for INT64, TIMESTAMP and all others
    compression : "lz4", "snappy", "zstd" or "uncompressed"
    precision : of the server that will load it ("ms", "us", "ns"): a file does not say it
    time_zone : of naive times
    workers : threads, which share the columns
    overwrite : replace the file, where there is one

    Returns
    -------
    TsFileReport

    Raises
    ------
    OptionsError, FrameError, TimeIndexError, ColumnTypeError : there is no file.
    IoTDBFramesError : it cannot be written.
    """
    options = WriteOptions(
        time=time,
        time_unit=time_unit,
        device=device,
        tags=tags,
        schema=schema,
        nan=nan,
        duplicates=duplicates,
        coerce=coerce,
        workers=workers,
    )
    goal = parse_target(target)
    pressed = _compression(compression)
    check_choice("precision", precision, ("ms", "us", "ns"))
    rules = make_rules(
        options, precision=precision, time_zone=zone_name(time_zone, option="time_zone")
    )
    if is_stream(data):
        check_stream(options)
    file = Path(path)
    if file.exists() and not overwrite:
        raise OptionsError(
            f"{file} is there already", hint=Hint("another name, or ", Choice(overwrite=True))
        )
    started = clock.perf_counter()
    report = TsFileReport(str(file), str(goal))
    existing = Existing()
    planned: WritePlan | None = None
    frames = (layout_of(frame, goal, options) for frame in frames_of(data))
    found = next(frames)
    with whole_file(file, remedy="make room, or name a file elsewhere") as stream:
        writer = TsFileWriter(stream, compression=pressed, n_threads=workers)
        try:
            while True:
                planned = plan_layout(found, options, rules, existing)
                planned.check()
                check_storage(planned)
                put_rows(writer, planned)
                _count(report, planned)
                following = next(frames, None)
                if following is None:
                    break
                existing, found = _as_before(planned), following
            writer.close(tables=tables_of(planned, pressed))
        finally:
            writer.abandon()
        report.rows, report.points = writer.n_rows, writer.n_points
        report.devices, report.bytes = writer.n_devices, writer.n_bytes
    report.seconds = clock.perf_counter() - started
    report.notes += _weeks_note(writer, precision)
    return report


def _weeks_note(writer: TsFileWriter, precision: Precision) -> list[str]:
    week = WEEK_S * TICKS_PER_S[precision]
    n_weeks = writer.end // week - writer.start // week + 1
    if n_weeks <= MOST_WEEKS:
        return []
    return [
        f"rows go over {count(n_weeks)} weeks: a LOAD refuses files of more than {MOST_WEEKS} time "
        'partitions, each a week by default; write(method="tsfile") makes a file for each'
    ]


def _compression(compression: CompressionType | str) -> CompressionType:
    chosen = as_enum(CompressionType, compression)
    if chosen not in CODECS:
        raise OptionsError(
            f"compression={compression!r} is not written into files",
            hint=f"one of {', '.join(c.name.lower() for c in CODECS)}",
        )
    return chosen


def _as_before(plan: WritePlan) -> Existing:
    """The columns of the first batch, as what the next must fit."""
    types: dict[str, dict[str, TSDataType]] = {}
    for part in plan.parts:
        its = {c.column.name: c.data_type for c in part.written if c.data_type is not None}
        for device in plan.devices if plan.layout.device else [part.device or ""]:
            types[device] = its
    if plan.target.model == "tree":
        return Existing(types=types)
    categories = {c.column.name: c.column.category for c in plan.parts[0].written}
    return Existing.of_table(types.get("", {}), categories)


def _count(report: TsFileReport, plan: WritePlan) -> None:
    report.rows_in += plan.layout.n_rows
    report.duplicates += plan.order.n_duplicates
    for name, n_values in plan.lossy.items():
        report.lossy[name] = report.lossy.get(name, 0) + n_values
    report.notes += [note for note in plan.notes if note not in report.notes]


def check_storage(plan: WritePlan) -> None:
    """Refuse encodings and compressors that no file is written in.

    Raises
    ------
    FrameError
    """
    for part in plan.parts:
        for planned in part.written:
            encoding, compression, kind = planned.encoding, planned.compression, planned.data_type
            label = planned.column.source.label
            if encoding is not None and encoding not in ENCODINGS[kind or TSDataType.TEXT]:
                names = " or ".join(e.name for e in ENCODINGS[kind or TSDataType.TEXT])
                raise FrameError(
                    f"column {label!r} cannot be {encoding.name} in a file",
                    column=label,
                    hint=f"{names} for {'' if kind is None else kind.name}, or leave it out",
                )
            if compression is not None and compression not in CODECS:
                raise FrameError(
                    f"column {label!r} cannot be compressed by {compression.name} in a file",
                    column=label,
                    hint=f"one of {', '.join(c.name for c in CODECS)}",
                )


def put_rows(writer: TsFileWriter, plan: WritePlan) -> None:
    """Append the rows of a checked plan."""
    for rows in file_rows(plan, n_bytes=PIECE_BYTES):
        writer.write(rows.devices, rows.ticks, rows.columns)


def tables_of(
    plan: WritePlan, compression: CompressionType = CompressionType.LZ4
) -> dict[str, list[TableColumn]]:
    """The columns of the plan's table; nothing in the tree model."""
    if plan.target.model == "tree":
        return {}
    written = plan.parts[0].written
    named = {c.column.name for c in written}
    tags = [n for n in plan.existing.tags or () if n not in named]
    lacking = [TableColumn(n, TSDataType.STRING, "tag", compression=compression) for n in tags]
    return {plan.target.table: [*lacking, *(_table_column(c, compression) for c in written)]}


def _table_column(planned: PlannedColumn, compression: CompressionType) -> TableColumn:
    kind = planned.data_type
    assert kind is not None
    category: Literal["tag", "field"] = "tag" if planned.column.category == "tag" else "field"
    return TableColumn(planned.column.name, kind, category, ENCODINGS[kind][0], compression)
