"""Options of a backfill; most are stored in the manifest, so that a job can resume."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import pyarrow.compute as pc

from iotdb_frames.errors import OptionsError
from iotdb_frames.files.options import FileOptions
from iotdb_frames.options import (
    RetryPolicy,
    WriteOptions,
    check_choice,
    parse_bytes,
    write_options,
)
from iotdb_frames.options.shown import F, show_fields

PATIENCE = RetryPolicy(first_wait_s=0.2, total_s=600.0)
"""Outlasts the restart of a server; a longer outage stops a backfill, which can resume."""
SHARES = 32
"""A unit's share of the memory is one in so many: one unit is read, one planned, some are on the
wire, and Arrow needs as much again. Source: peaks measured by bench_backfill.py."""

Verify = Literal["count", "values"]
_DECISIVE = (
    *("time", "time_unit", "device", "tags", "attributes", "aligned"),
    *("nan", "duplicates", "coerce"),
)
_MANNER = ("create", "chunk", "on_error", "workers", "method")
_OF_FILES = ("columns", "filter", "file_column", "format", "csv")
_OF_JOBS = ("verify", "durable", "memory")


@dataclass(frozen=True, kw_only=True)
class BackfillOptions:
    """All options, checked.

    write : how frames are written
    files : how files are read
    verify : "count", "values" or None
    durable : refuse a server that acknowledges rows before they are on its disk
    memory : approximate bytes of data in memory
    """

    write: WriteOptions = field(default_factory=WriteOptions)
    files: FileOptions = field(default_factory=FileOptions)
    verify: Verify | None = "count"
    durable: bool = False
    memory: int = 256 << 20

    def __post_init__(self) -> None:
        check_choice("verify", self.verify, ("count", "values"), is_optional=True)
        if self.write.replace:
            raise OptionsError(
                "replace=True cannot be used: a unit would delete what another one wrote",
                hint="delete first (iotf.delete), then backfill",
            )
        if self.write.duplicates != "merge":
            raise OptionsError(
                f"duplicates={self.write.duplicates!r} needs all rows at once, unlike a backfill",
                hint='duplicates="merge" keeps the last value of each column that is not missing',
            )

    def asked(self) -> dict[str, Any]:
        """All options, for JSON: those that determine the data, and the manner of sending."""
        write, files = self.write, self.files
        return {
            "decisive": {
                **{name: _plain(getattr(write, name)) for name in _DECISIVE},
                "schema": {
                    str(label): [
                        None if value is None else value.name
                        for value in (option.data_type, option.encoding, option.compression)
                    ]
                    for label, option in write.series.items()
                },
                "columns": _plain(files.columns),
                "filter": str(files.expression) if files.filter is not None else None,
                "file_column": files.file_column,
                "format": files.format,
                "csv": files.csv.given(),
            },
            "manner": {
                **{name: getattr(write, name) for name in _MANNER},
                "dead_letter": write.dead_letter
                and str(Path(write.dead_letter).expanduser().absolute()),
                "tsfile_dir": write.tsfile_dir and str(Path(write.tsfile_dir).absolute()),
                "filter": None if isinstance(files.filter, pc.Expression) else files.filter,
                "has_expression": isinstance(files.filter, pc.Expression),
                "verify": self.verify,
                "durable": self.durable,
                "memory": self.memory,
            },
        }


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple | list) else value


def make_options(given: Mapping[str, Any]) -> BackfillOptions:
    """Options from the keyword arguments of `backfill`; the error names an unknown one."""
    own = {*_OF_FILES, *_OF_JOBS}
    rest = {k: v for k, v in given.items() if k not in own}
    write = write_options({"retry": PATIENCE} | rest, also=own)
    job = {k: v for k, v in given.items() if k in _OF_JOBS}
    memory = job["memory"] = parse_bytes(job.get("memory", BackfillOptions.memory), name="memory")
    files = FileOptions.of(
        write,
        unit_bytes=max(1 << 16, memory // SHARES),
        **{k: v for k, v in given.items() if k in _OF_FILES},
    )
    return BackfillOptions(write=write, files=files, **job)


def show_all_options(call: F) -> F:
    """Make a notebook's help and Tab show all options instead of ``**options``."""
    names = {f.name for f in fields(WriteOptions)} - {"replace", "duplicates"}
    return show_fields(
        call,
        *(WriteOptions, FileOptions, BackfillOptions),
        names=names | {*_OF_FILES, *_OF_JOBS},
        csv=None,
        retry=PATIENCE,
    )


def read_asked(asked: Mapping[str, Any]) -> BackfillOptions:
    """The options stored in a manifest.

    Raises
    ------
    OptionsError : its filter cannot be stored in a file.
    """
    decisive, manner = dict(asked["decisive"]), dict(asked["manner"])
    if manner.pop("has_expression"):
        raise OptionsError(
            "the filter of this job exists only in the program that started it",
            hint="call iotf.backfill(…) as before: with the same manifest, it resumes",
        )
    decisive.pop("filter")
    schema = {
        label: dict(zip(("data_type", "encoding", "compression"), kinds, strict=True))
        for label, kinds in decisive.pop("schema").items()
    }
    from iotdb_frames.options import TimeseriesOption

    decisive["schema"] = {label: TimeseriesOption(**kinds) for label, kinds in schema.items()}
    return make_options({**decisive, **manner})
