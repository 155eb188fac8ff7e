"""Result blocks written value by value, as plainly as it goes: what the decoder is held against."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

BITS, INT32, INT64, BINARY, RUN_LENGTH = range(5)
ENCODING = {
    "BOOLEAN": BITS,
    "INT32": INT32,
    "FLOAT": INT32,
    "DATE": INT32,
    "INT64": INT64,
    "DOUBLE": INT64,
    "TIMESTAMP": INT64,
    "TEXT": BINARY,
    "STRING": BINARY,
    "BLOB": BINARY,
}
FORMAT = {"INT32": ">i", "DATE": ">i", "INT64": ">q", "TIMESTAMP": ">q", "FLOAT": ">f"}


@dataclass(frozen=True)
class Header:
    """What the decoder needs to know of a result."""

    names: tuple[str, ...]
    type_names: tuple[str, ...]
    has_time: bool = False
    block_columns: tuple[int, ...] = ()


def header_of(*types: str, has_time: bool = False) -> Header:
    """A header of columns c0, c1, … of these types, in the block's order."""
    names = tuple(f"c{i}" for i in range(len(types)))
    return Header(names, types, has_time, tuple(range(len(types))))


@dataclass(frozen=True)
class Run:
    """A run-length column: one value, or None, for all rows."""

    value: Any


def _bits(flags: Sequence[bool]) -> bytes:
    text = "".join("1" if flag else "0" for flag in flags)
    text += "0" * (-len(text) % 8)
    return bytes(int(text[i : i + 8], 2) for i in range(0, len(text), 8))


def _value(type_name: str, value: Any) -> bytes:
    if ENCODING[type_name] == BINARY:
        data = value.encode() if isinstance(value, str) else value
        return struct.pack(">i", len(data)) + data
    return struct.pack(FORMAT.get(type_name, ">d"), value)


def _column(type_name: str, values: Sequence[Any], *, has_nulls: bool | None = None) -> bytes:
    nulls = [value is None for value in values]
    out = b"\0"
    if any(nulls) if has_nulls is None else has_nulls:
        out = b"\1" + _bits(nulls)
    if type_name == "BOOLEAN":
        return out + _bits([bool(value) for value in values])
    return out + b"".join(_value(type_name, value) for value in values if value is not None)


def write_block(
    types: Sequence[str],
    columns: Sequence[Sequence[Any] | Run],
    *,
    n_rows: int,
    times: Sequence[int] | None = None,
) -> bytes:
    """One block.

    Parameters
    ----------
    columns : the values of each, None for null, or a `Run`
    times : of the time slot; None: a run of 0, as in the table model
    """
    slots: list[tuple[str, Sequence[Any] | Run]] = [
        ("TIMESTAMP", Run(0) if times is None else times)
    ]
    slots += zip(types, columns, strict=True)
    out = struct.pack(">i", len(types)) + bytes(5 for _ in types) + struct.pack(">i", n_rows)
    out += bytes(
        RUN_LENGTH if isinstance(values, Run) else ENCODING[name] for name, values in slots
    )
    for name, values in slots:
        if isinstance(values, Run):
            out += bytes([ENCODING[name]]) + _column(name, [values.value])
        else:
            assert len(values) == n_rows
            out += _column(name, values)
    return out
