"""How a frame is written."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from stat import S_ISDIR
from typing import Any, Literal, TypedDict

from iotdb_frames.errors import OptionsError, nearest
from iotdb_frames.options.shown import F, show_fields
from iotdb_frames.options.types import (
    RetryPolicy,
    TimeseriesOption,
    TSDataType,
    as_bool,
    as_enum,
    as_whole,
    check_choice,
    check_retry,
    is_whole,
    parse_bytes,
)

SchemaOption = TSDataType | TimeseriesOption | str | int


_CHOICES = {
    "time_unit": ("s", "ms", "us", "ns"),
    "nan": ("null", "keep"),
    "duplicates": ("merge", "last", "first", "raise"),
    "coerce": ("safe", "lossy"),
    "on_error": ("raise", "collect"),
    "method": ("auto", "tablets", "tsfile"),
}


def _check_label(name: str, label: Any) -> None:
    try:
        hash(label)
    except TypeError:
        raise OptionsError(
            f"{name}={label!r} is not a column label", hint=f'e.g. {name}="name"'
        ) from None


def _labels(name: str, labels: Any) -> tuple[Hashable, ...]:
    """Labels as a tuple, for an iterator can be read only once."""
    if isinstance(labels, str | bytes):
        raise OptionsError(f"{name}={labels!r} must be a list", hint=f"{name}=[{labels!r}]")
    try:
        found = tuple(labels)
    except TypeError:
        raise OptionsError(
            f"{name}={labels!r} must be a list of labels", hint=f'e.g. {name}=["name"]'
        ) from None
    for label in found:
        _check_label(name, label)
    return found


def _check_file(name: str, path: Any) -> None:
    """Refuse an impossible path now, not once there are rows to save."""
    hint = f'e.g. {name}="bad.parquet"'
    text = os.fspath(path) if isinstance(path, str | os.PathLike) else None
    if not isinstance(text, str) or not text:
        raise OptionsError(f"{name}={path!r} is not a file path", hint=hint)
    try:
        is_directory = S_ISDIR(Path(text).stat().st_mode)
    except FileNotFoundError:
        return
    except (OSError, ValueError) as exc:  # ValueError: a character not allowed in a path
        raise OptionsError(f"{name}={path!r} cannot be a file: {exc}", hint=hint) from exc
    if is_directory:
        raise OptionsError(f"{name}={path!r} is a directory", hint=hint)


def _normal_schema(schema: Any) -> dict[Hashable, TimeseriesOption]:
    if schema is None:
        return {}
    if isinstance(schema, Mapping):
        return {
            label: option
            if isinstance(option, TimeseriesOption)
            else TimeseriesOption(data_type=as_enum(TSDataType, option))
            for label, option in schema.items()
        }
    if not isinstance(schema, list | tuple) or not all(
        isinstance(option, TimeseriesOption) for option in schema
    ):
        raise OptionsError(
            f"schema={schema!r} is neither a mapping nor a list of TimeseriesOption",
            hint='e.g. schema={"temp": "DOUBLE"}',
        )
    series: dict[Hashable, TimeseriesOption] = {}
    for option in schema:
        if option.path is None:
            raise OptionsError("a TimeseriesOption in a list needs a path")
        _check_label("path", option.path)
        if option.path in series:
            raise OptionsError(f"schema= has two entries for {option.path!r}")
        series[option.path] = option
    return series


@dataclass(frozen=True, kw_only=True)
class WriteOptions:
    """How a frame is written: the options of `df.iotdb.write` and of every call that uses it.

    Parameters
    ----------
    time : label of the time column; None: the index
    time_unit : "s", "ms", "us" or "ns" if the times are numbers
    device : label of the column that names each row's device (tree model)
    tags, attributes : labels of these columns (table model)
    schema : ``{label: TSDataType | TimeseriesOption}``, or a list of `TimeseriesOption` with paths
    aligned : whether to create new devices aligned; an existing device is written the way it is
    create : whether to create missing series or tables
    chunk : size of a request in encoded bytes (``"4MiB"``) or rows (``10_000``)
    nan : "null": a float NaN is a missing value; "keep": it is a value
    duplicates : rows of the same device and time: "merge" (per column the last value that is not
        missing), "last", "first" (whole rows) or "raise"
    replace : first delete the written columns in the frame's time range, per device
    coerce : "safe" casts only without loss; "lossy" may lose precision, never range
    on_error : "raise", or "collect" with a `dead_letter` file
    dead_letter : Parquet file for the refused rows
    workers : number of connections to send on; a device's rows stay on one
    method : "tablets": rows are sent; "tsfile": they are written into files that the server loads,
        which spares it nearly all work, where client and server see the same directory; "auto":
        files for large frames with many rows per device, where that can be, else tablets; the
        report's notes say which
    tsfile_dir : that directory; None: that of temporary files, for a server on this machine
    retry : see `RetryPolicy`
    progress : "auto" (a bar in a terminal or notebook), True, False, or a callable that gets
        (rows done, total rows)
    """

    time: Hashable | None = None
    time_unit: str | None = None
    device: Hashable | None = None
    tags: Sequence[Hashable] = ()
    attributes: Sequence[Hashable] = ()
    schema: Mapping[Hashable, SchemaOption] | Sequence[TimeseriesOption] | None = None
    aligned: bool = True
    create: bool = True
    chunk: int | str = "4MiB"
    nan: Literal["null", "keep"] = "null"
    duplicates: Literal["merge", "last", "first", "raise"] = "merge"
    replace: bool = False
    coerce: Literal["safe", "lossy"] = "safe"
    on_error: Literal["raise", "collect"] = "raise"
    dead_letter: str | os.PathLike[str] | None = None
    workers: int = 1
    method: Literal["auto", "tablets", "tsfile"] = "auto"
    tsfile_dir: str | os.PathLike[str] | None = None
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    progress: bool | Literal["auto"] | Callable[[int, int], None] = "auto"
    series: Mapping[Hashable, TimeseriesOption] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            check_choice(name, getattr(self, name), choices, is_optional=name == "time_unit")
        for name in ("aligned", "create", "replace"):
            object.__setattr__(self, name, as_bool(name, getattr(self, name)))
        for name in ("time", "device"):
            _check_label(name, getattr(self, name))
        for name in ("tags", "attributes"):
            object.__setattr__(self, name, _labels(name, getattr(self, name)))
        if (self.on_error == "collect") != (self.dead_letter is not None):
            raise OptionsError(
                'on_error="collect" and dead_letter="file.parquet" must be given together'
            )
        if self.dead_letter is not None:
            _check_file("dead_letter", self.dead_letter)
        object.__setattr__(self, "workers", as_whole("workers", self.workers))
        if self.tsfile_dir is not None and not Path(self.tsfile_dir).is_dir():
            raise OptionsError(f"tsfile_dir={str(self.tsfile_dir)!r} is not a directory")
        if isinstance(self.chunk, str):
            parse_bytes(self.chunk, name="chunk")
        elif is_whole(self.chunk) and self.chunk >= 1:
            object.__setattr__(self, "chunk", int(self.chunk))
        else:
            raise OptionsError(f"chunk={self.chunk!r} must be at least 1 row", hint='chunk="4MiB"')
        check_retry(self.retry)
        is_auto = isinstance(self.progress, str) and self.progress == "auto"
        if not is_auto and not isinstance(self.progress, bool) and not callable(self.progress):
            raise OptionsError(
                f'progress={self.progress!r} must be "auto", True, False or a callable'
            )
        object.__setattr__(self, "series", _normal_schema(self.schema))

    @property
    def chunk_bytes(self) -> int | None:
        """Encoded bytes per request, or None if `chunk` counts rows."""
        return parse_bytes(self.chunk, name="chunk") if isinstance(self.chunk, str) else None


class WriteArgs(TypedDict, total=False):
    """The fields of `WriteOptions`, for type checkers."""

    time: Hashable | None
    time_unit: str | None
    device: Hashable | None
    tags: Sequence[Hashable]
    attributes: Sequence[Hashable]
    schema: Mapping[Hashable, SchemaOption] | Sequence[TimeseriesOption] | None
    aligned: bool
    create: bool
    chunk: int | str
    nan: Literal["null", "keep"]
    duplicates: Literal["merge", "last", "first", "raise"]
    replace: bool
    coerce: Literal["safe", "lossy"]
    on_error: Literal["raise", "collect"]
    dead_letter: str | os.PathLike[str] | None
    workers: int
    method: Literal["auto", "tablets", "tsfile"]
    tsfile_dir: str | os.PathLike[str] | None
    retry: RetryPolicy
    progress: bool | Literal["auto"] | Callable[[int, int], None]


def show_options(call: F) -> F:
    """Let a notebook's help and Tab show the fields of `WriteOptions` in place of ``**options``."""
    return show_fields(call, WriteOptions)


def write_options(options: Mapping[str, Any], *, also: Iterable[str] = ()) -> WriteOptions:
    """`WriteOptions` from keyword arguments; the error for an unknown one suggests the nearest.

    Parameters
    ----------
    also : further options, which the caller handles
    """
    known = [f.name for f in fields(WriteOptions) if f.init]
    for name in options:
        if name not in known:
            raise OptionsError(f"unknown option {name!r}", hint=nearest(name, [*known, *also]))
    return WriteOptions(**options)
