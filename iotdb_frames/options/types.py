"""Types, encodings, compressors, series, retries and sizes.

The enumerations have the wire's numbers and compare equal to those of the official client.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from numbers import Integral, Real
from typing import Any, TypeVar

import numpy as np

from iotdb_frames.errors import OptionsError, did_you_mean


class TSDataType(IntEnum):
    """Types of IoTDB 2.x."""

    BOOLEAN = 0
    INT32 = 1
    INT64 = 2
    FLOAT = 3
    DOUBLE = 4
    TEXT = 5
    TIMESTAMP = 8
    DATE = 9
    BLOB = 10
    STRING = 11


class TSEncoding(IntEnum):
    """Encodings of IoTDB 2.x."""

    PLAIN = 0
    DICTIONARY = 1
    RLE = 2
    TS_2DIFF = 4
    GORILLA = 8
    ZIGZAG = 9
    CHIMP = 11
    SPRINTZ = 12
    RLBE = 13


class CompressionType(IntEnum):
    """Compressors of IoTDB 2.x."""

    UNCOMPRESSED = 0
    SNAPPY = 1
    GZIP = 2
    LZ4 = 7
    ZSTD = 8
    LZMA2 = 9


E = TypeVar("E", bound=IntEnum)


def _is_number(value: Any, kind: type) -> bool:
    # To numpy a timedelta64 is an integer.
    return isinstance(value, kind) and not isinstance(value, bool | np.timedelta64)


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number, Python's or numpy's; True and False are none."""
    return _is_number(value, Integral)


def as_whole(name: str, value: Any, *, least: int = 1) -> int:
    """A whole number, `least` or more, as Python's own: a manifest's JSON has no numpy integers.

    Raises
    ------
    OptionsError : with the option's name.
    """
    if not is_whole(value) or value < least:
        raise OptionsError(f"{name}={value!r} must be a whole number, at least {least}")
    return int(value)


def as_bool(name: str, value: Any) -> bool:
    """True or False, Python's or numpy's, as Python's own.

    Raises
    ------
    OptionsError : with the option's name.
    """
    if not isinstance(value, bool | np.bool_):
        raise OptionsError(f"{name}={value!r} must be True or False")
    return bool(value)


def check_choice(
    name: str, value: Any, choices: Iterable[str], *, is_optional: bool = False
) -> None:
    """Refuse what is not one of a closed list.

    Parameters
    ----------
    is_optional : whether None will do, too

    Raises
    ------
    OptionsError : with the option's name, all choices, and the one that was meant.
    """
    known = tuple(choices)
    if (value is None and is_optional) or (isinstance(value, str) and value in known):
        return
    *others, last = [*map(repr, known), *["None"] * is_optional]
    is_near = isinstance(value, str) and value
    raise OptionsError(
        f"{name}={value!r} must be {', '.join(others)} or {last}",
        hint=did_you_mean(value, known) if is_near else None,
    )


def as_enum(kind: type[E], value: E | int | str) -> E:
    """A member of `kind`, given as itself, its number or its name in any case."""
    try:
        if isinstance(value, str):
            return kind[value.strip().upper()]
        if not _is_number(value, Integral):
            raise TypeError
        return kind(int(value))
    except (KeyError, ValueError, TypeError):
        names = [member.name for member in kind]
        raise OptionsError(
            f"{value!r} is not a valid {kind.__name__}; choose from {', '.join(names)}",
            hint=did_you_mean(value, names) if isinstance(value, str) else None,
        ) from None


@dataclass(frozen=True, kw_only=True)
class TimeseriesOption:
    """How one series is stored: path, TSDataType, TSEncoding and CompressionType.

    Parameters
    ----------
    path : full path (``root.plant.press1.temp``) or column label; None inside a ``schema=`` mapping
    data_type, encoding, compression : a member or its name; None: the connector (data type) or the
        server (encoding, compression) chooses
    """

    path: str | None = None
    data_type: TSDataType | None = None
    encoding: TSEncoding | None = None
    compression: CompressionType | None = None

    def __post_init__(self) -> None:
        for name, kind in (
            ("data_type", TSDataType),
            ("encoding", TSEncoding),
            ("compression", CompressionType),
        ):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, as_enum(kind, value))


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """When and how long a failed request is retried; waits grow exponentially, with full jitter.

    Only lost connections and the server's retryable codes are retried, never a semantic error.

    Parameters
    ----------
    attempts : most attempts, including the first; None: as many as fit into `total_s`
    first_wait_s, longest_wait_s : limits of the first wait and of any wait, in seconds
    total_s : no attempt starts later than this after the first, in seconds; the default outlasts
        the restart of a node
    """

    attempts: int | None = None
    first_wait_s: float = 0.1
    longest_wait_s: float = 5.0
    total_s: float = 180.0

    def __post_init__(self) -> None:
        n = self.attempts
        if n is not None and (not _is_number(n, Integral) or n < 1):
            raise OptionsError(
                f"RetryPolicy.attempts={n!r} must be a whole number, at least 1, or None"
            )
        for name in ("first_wait_s", "longest_wait_s", "total_s"):
            time = getattr(self, name)
            if not _is_number(time, Real) or not time >= 0:  # NaN is neither
                raise OptionsError(f"RetryPolicy.{name}={time!r} must be seconds, at least 0")

    def wait_s(self, attempt: int, random: float) -> float:
        """Seconds before attempt `attempt` + 1; the caller gives `random`, in [0, 1)."""
        doubled = 2.0 ** min(attempt, 64)  # an outage may outlast the range of a float
        return random * min(self.longest_wait_s, self.first_wait_s * doubled)


def check_retry(retry: Any) -> None:
    """Refuse anything but a `RetryPolicy`.

    Raises
    ------
    OptionsError
    """
    if not isinstance(retry, RetryPolicy):
        raise OptionsError(
            f"retry={retry!r} is not a RetryPolicy", hint="retry=iotf.RetryPolicy(attempts=3)"
        )


NO_RETRY = RetryPolicy(attempts=1)

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?\s*", re.IGNORECASE)


@lru_cache(64)
def _size_of(text: str) -> int:
    """Bytes, 0 if it is not a size."""
    match = _SIZE.fullmatch(text)
    if not match:
        return 0
    power = " kmgt".index(match[2].lower() or " ")
    n_bytes = float(match[1]) * (1024 if match[3] else 1000) ** power
    return int(n_bytes) if math.isfinite(n_bytes) else 0


def parse_bytes(size: int | str, *, name: str) -> int:
    """Bytes from ``4_000_000``, ``"4MiB"``, ``"4MB"`` (decimal) or ``"512k"``."""
    if is_whole(size) and int(size) > 0:
        return int(size)
    n_bytes = _size_of(size) if isinstance(size, str) else 0
    if n_bytes <= 0:
        raise OptionsError(f"{name}={size!r} is not a valid size", hint=f'e.g. {name}="4MiB"')
    return n_bytes
