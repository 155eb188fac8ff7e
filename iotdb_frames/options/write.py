"""How a frame is written."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from difflib import get_close_matches
from typing import Any, Literal, TypedDict, TypeVar

from iotdb_frames.errors import OptionsError
from iotdb_frames.options.types import (
    RetryPolicy,
    TimeseriesOption,
    TSDataType,
    as_enum,
    parse_bytes,
)

SchemaOption = TSDataType | TimeseriesOption | str | int


@dataclass(frozen=True, kw_only=True)
class WriteOptions:
    """How a frame is written: the options of `df.iotdb.write` and all that writes through it.

    Parameters
    ----------
    time : label of the time column; None: the index
    time_unit : "s", "ms", "us" or "ns" where the times are integers
    device : label of the column that names each row's device (tree model)
    tags, attributes : labels of these columns (table model)
    schema : ``{label: TSDataType | TimeseriesOption}``, or a list of `TimeseriesOption` with paths
    aligned : whether new devices are aligned; an existing one is written its own way
    create : whether to create what is missing
    chunk : one request's encoded bytes (``"4MiB"``), or rows (``10_000``)
    nan : "null": a float NaN is a missing value; "keep": it is a value
    duplicates : of a (device, time): "merge" (per column the last value that is not missing),
        "last", "first" (whole rows) or "raise"
    replace : delete the written columns in the frame's time range per device first
    coerce : "safe" casts only what loses nothing; "lossy" may lose precision, never range
    on_error : "raise", or "collect" with a `dead_letter` file
    dead_letter : Parquet file of the rows that were refused
    workers : connections to send on; a device's rows stay on one
    retry : see `RetryPolicy`
    progress : "auto" (a bar where somebody looks), True, False, or a callable that gets
        (rows_done, rows_in_all)
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
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    progress: bool | Literal["auto"] | Callable[[int, int], None] = "auto"
    series: Mapping[Hashable, TimeseriesOption] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for name, choices in (
            ("nan", ("null", "keep")),
            ("duplicates", ("merge", "last", "first", "raise")),
            ("coerce", ("safe", "lossy")),
            ("on_error", ("raise", "collect")),
        ):
            if getattr(self, name) not in choices:
                raise OptionsError(
                    f"{name}={getattr(self, name)!r} is none of {', '.join(map(repr, choices))}"
                )
        if (self.on_error == "collect") != (self.dead_letter is not None):
            raise OptionsError('on_error="collect" and dead_letter="file.parquet" go together')
        if isinstance(self.workers, bool) or not isinstance(self.workers, int) or self.workers < 1:
            raise OptionsError(f"workers={self.workers!r} must be a whole number from 1")
        is_count = isinstance(self.chunk, int) and not isinstance(self.chunk, bool)
        if not isinstance(self.chunk, str) and (not is_count or self.chunk < 1):
            raise OptionsError(f"chunk={self.chunk!r} must be at least 1 row", hint='chunk="4MiB"')
        if isinstance(self.chunk, str):
            parse_bytes(self.chunk, name="chunk")
        object.__setattr__(self, "series", self._normal_schema())

    def _normal_schema(self) -> dict[Hashable, TimeseriesOption]:
        given = self.schema or {}
        if not isinstance(given, Mapping):
            if any(option.path is None for option in given):
                raise OptionsError("a TimeseriesOption in a list needs a path")
            given = {option.path: option for option in given}
        return {
            label: option
            if isinstance(option, TimeseriesOption)
            else TimeseriesOption(data_type=as_enum(TSDataType, option))
            for label, option in given.items()
        }

    @property
    def chunk_bytes(self) -> int | None:
        """Encoded bytes of a request, or None where `chunk` counts rows."""
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
    retry: RetryPolicy
    progress: bool | Literal["auto"] | Callable[[int, int], None]


F = TypeVar("F", bound=Callable[..., Any])


def show_options(call: F) -> F:
    """Let a notebook's help and Tab show the fields of `WriteOptions` in place of ``**options``."""
    signature = inspect.signature(call)
    own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    options = [
        inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=_default(f))
        for f in fields(WriteOptions)
        if f.init
    ]
    call.__signature__ = signature.replace(parameters=[*own, *options])  # type: ignore[attr-defined]
    return call


def _default(option: Any) -> Any:
    return option.default if option.default is not MISSING else option.default_factory()


def write_options(options: Mapping[str, Any]) -> WriteOptions:
    """`WriteOptions` from keyword arguments; an unknown one names its nearest."""
    known = [f.name for f in fields(WriteOptions) if f.init]
    for name in options:
        if name not in known:
            close = get_close_matches(name, known, n=1)
            raise OptionsError(
                f"unknown option {name!r}",
                hint=f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}",
            )
    return WriteOptions(**options)
