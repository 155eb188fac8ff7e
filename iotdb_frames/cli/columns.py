"""Options that `write` and `backfill` have in common."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import typer

from iotdb_frames.errors import OptionsError
from iotdb_frames.options import TSDataType, as_enum

column = partial(
    typer.Option, rich_help_panel="What the columns are", show_default=False, metavar="COLUMN"
)
how = partial(typer.Option, rich_help_panel="How it is written")

TimeUnit = Annotated[
    str | None, column(metavar="UNIT", help="s, ms, us or ns, where times are integers.")
]
Device = Annotated[str | None, column(help="Names each row's device (tree model).")]
Tag = Annotated[list[str] | None, column(help="A tag (table model). Repeat it.")]
Attribute = Annotated[list[str] | None, column(help="An attribute (table model). Repeat it.")]
Type = Annotated[
    list[str] | None,
    column(metavar="COLUMN=TYPE", help="Its type, as in temp=DOUBLE. Repeat it."),
]
Aligned = Annotated[bool, how(help="Whether a new device is aligned.")]
Create = Annotated[bool, how(help="Whether to create what is missing.")]
Chunk = Annotated[str, how(help="Size of a request, or its rows.")]
KeepNan = Annotated[bool, how("--keep-nan", help="NaN is a value, not a missing one.")]
Lossy = Annotated[bool, how("--lossy", help="Casts may lose precision, never range.")]
Workers = Annotated[int, how(help="Connections to send on.", min=1)]


def column_types(pairs: list[str]) -> dict[Any, Any]:
    """``{column: TSDataType}`` from ``column=TYPE``."""
    found = {}
    for pair in pairs:
        column, equals, name = pair.rpartition("=")
        if not equals or not column:
            raise OptionsError(f"--type {pair!r} is not COLUMN=TYPE", hint="--type temp=DOUBLE")
        found[column] = as_enum(TSDataType, name)
    return found
