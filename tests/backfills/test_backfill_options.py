"""What may be asked of a backfill: shown, checked, and kept in the manifest as it was."""

from __future__ import annotations

import inspect
import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

import iotdb_frames as iotf
from iotdb_frames.backfills.options import BackfillOptions, make_options, read_asked
from iotdb_frames.errors import OptionsError
from iotdb_frames.files.options import FileOptions
from iotdb_frames.options import WriteOptions


@pytest.mark.parametrize("call", [iotf.backfill, iotf.plan_backfill])
def test_help_shows_every_option(call: Any) -> None:
    """A notebook's Tab shows every option of a backfill, and each of them is taken."""
    shown = set(inspect.signature(call).parameters)
    write = {f.name for f in fields(WriteOptions) if f.init} - {"replace", "duplicates"}
    job, files = BackfillOptions(), FileOptions()
    own = {f.name for f in fields(job)} - {"write", "files"}
    of_files = {f.name for f in fields(files)} - {"unit_bytes", "is_lossy"}
    assert write | own | of_files <= shown
    assert "options" not in shown
    for name in own:
        make_options({name: getattr(job, name)})
    for name in of_files:
        make_options({name: getattr(files, name)})


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"time": "t", "device": "d", "columns": ["a", "b"], "verify": None, "memory": "8MiB"},
        {"tags": ["x"], "attributes": ("y",), "nan": "keep", "coerce": "lossy", "workers": 3},
        {"filter": [("a", ">", 1), ("b", "in", ["x", "y"])], "chunk": 100, "aligned": False},
        {"filter": [[("a", "==", "x")], [("time", "<", "2024-03-01")]], "file_column": "f"},
        {"schema": {"a": "DOUBLE", "b": iotf.TimeseriesOption(data_type="INT32", encoding="RLE")}},
        {"csv": {"sentinels": {"a": [-200]}, "names": ["a"], "day_first": True, "decimal": ","}},
        {"on_error": "collect", "dead_letter": "dead.parquet", "durable": True, "format": "csv"},
    ],
)
def test_a_manifest_keeps_what_was_asked(asked: dict[str, Any]) -> None:
    """What goes through the manifest's JSON and back is the same job."""
    options = make_options(asked)
    again = read_asked(json.loads(json.dumps(options.asked())))
    assert json.dumps(again.asked()) == json.dumps(options.asked())
    assert (again.memory, again.verify) == (options.memory, options.verify)
    assert str(again.files.expression) == str(options.files.expression)
    assert replace(again.files, filter=None) == replace(options.files, filter=None)
    assert again.write.series == options.write.series


def test_a_filter_of_a_program_stays_there() -> None:
    """An Arrow expression cannot be kept in a file: the job resumes by its own call."""
    import pyarrow.compute as pc

    options = make_options({"filter": pc.field("a") > 1})
    with pytest.raises(OptionsError, match="exists only in the program"):
        read_asked(json.loads(json.dumps(options.asked())))


def test_a_job_without_a_manifest_has_a_repr(tmp_path: Path) -> None:
    """The repr of a job says that its manifest is not there, and does not raise."""
    assert "there is no manifest" in repr(iotf.BackfillJob(tmp_path / "nowhere.sqlite"))
