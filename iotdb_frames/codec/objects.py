"""Which Arrow type the values of an object column have, or where two of them disagree.

Arrow's inference is too lenient: among dates it takes a datetime for a date and an integer for
days, among bytes a text for bytes, among integers True for 1; and it drops the nanoseconds of a
Timestamp. So the Python types are checked, too.
"""

from __future__ import annotations

import datetime
from collections.abc import Hashable
from decimal import Decimal
from operator import attrgetter

import numpy as np
import pandas as pd
import pyarrow as pa

from iotdb_frames.codec.types import REFUSED, kind_of, refuse
from iotdb_frames.errors import ColumnTypeError

OBJECT_SLICE = 65_536
SURROGATE = "a text contains a lone surrogate: clean it first"

_PURE = {
    ("string", "string"),
    ("bytes", "bytes"),
    ("boolean", "bool"),
    ("integer", "int"),
    ("floating", "float"),
    ("mixed-integer-float", "float"),
    ("decimal", "decimal"),
}
"""(pandas, Arrow) names that, together, prove a column to be of one kind."""

_FAMILIES: tuple[tuple[str, tuple[type, ...]], ...] = (
    ("bool", (bool, np.bool_)),
    ("duration", (datetime.timedelta, np.timedelta64)),
    ("long double", (np.longdouble,)),
    ("int", (int, np.integer)),
    ("float", (float, np.floating)),
    ("decimal", (Decimal,)),
    ("string", (str,)),
    ("bytes", (bytes, bytearray, memoryview)),
    ("datetime", (datetime.datetime, np.datetime64)),
    ("date", (datetime.date,)),
)
_TOGETHER = ({"int", "float"}, {"int", "decimal"})
"""Families that can be combined without loss, or are refused value by value."""


def type_of_objects(values: np.ndarray, label: Hashable) -> pa.DataType:
    """The one Arrow type of an object column's values; null if all are missing.

    Each slice is typed separately, so that the column is never in memory twice. Ints and floats
    combine to float64 (exactly, or `to_cells` refuses); all other types must agree.

    Parameters
    ----------
    values : object, shape (n_rows,)

    Raises
    ------
    ColumnTypeError : values of more than one kind, or of one without an IoTDB type.
    """
    types: list[pa.DataType] = []
    for start in range(0, len(values), OBJECT_SLICE):
        part = values[start : start + OBJECT_SLICE]
        try:
            found = pa.array(part, from_pandas=True).type
        except (pa.ArrowException, OverflowError, UnicodeError, TypeError, ValueError) as exc:
            raise _refusal(values, label, start, exc) from exc
        if pa.types.is_null(found):
            continue
        inferred = pd.api.types.infer_dtype(part, skipna=True)
        if _is_mixed(part, found, inferred):
            raise _refusal(values, label, start, None)
        if (
            pa.types.is_integer(found)
            and inferred != "integer"
            and any(issubclass(kind, np.floating) for kind in set(map(type, _present(part))))
        ):
            found = pa.float64()  # Arrow truncates a numpy float16 after ints to an int
        if pa.types.is_timestamp(found):
            found = pa.timestamp(_finest_unit(part, found), found.tz and "UTC")
        if found not in types:
            types.append(found)
    if not types:
        return pa.null()
    if len(types) == 1:
        return types[0]
    if all(pa.types.is_integer(t) or pa.types.is_floating(t) for t in types):
        return pa.float64()
    if all(pa.types.is_decimal(t) or pa.types.is_integer(t) for t in types):
        decimals = [t for t in types if pa.types.is_decimal(t)]
        scale = max(t.scale for t in decimals)
        whole = max(t.precision - t.scale for t in decimals)
        return pa.decimal256(min(76, scale + max(whole, 19 * (len(decimals) < len(types)))), scale)
    if all(pa.types.is_timestamp(t) for t in types) and len({t.tz is None for t in types}) == 1:
        unit = max((t.unit for t in types), key=["s", "ms", "us", "ns"].index)
        return pa.timestamp(unit, types[0].tz)
    raise _refusal(values, label, 0, None)


def _present(part: np.ndarray) -> np.ndarray:
    return part[~pd.isna(part)]


def _family(kind: type) -> str:
    return next((name for name, of in _FAMILIES if issubclass(kind, of)), kind.__name__)


def _is_mixed(part: np.ndarray, found: pa.DataType, inferred: str) -> bool:
    if (inferred, kind_of(found)) in _PURE:
        # A long double has more digits than a double, and Arrow rounds them.
        return pa.types.is_floating(found) and np.longdouble in set(map(type, part))
    present = _present(part)
    families = {_family(kind) for kind in set(map(type, present))}
    if families == {"datetime"} and np.datetime64 not in set(map(type, present)):
        return len({zone is None for zone in set(map(attrgetter("tzinfo"), present))}) > 1
    return "long double" in families or (len(families) > 1 and families not in _TOGETHER)


def _finest_unit(part: np.ndarray, found: pa.DataType) -> str:
    """ "ns" if a Timestamp has nanoseconds, which "us", Arrow's own guess, would drop."""
    try:
        fine = pa.array(part, type=pa.timestamp("ns", found.tz), from_pandas=True)
    except (pa.ArrowException, OverflowError):
        stamps = [t for t in _present(part) if isinstance(t, pd.Timestamp)]
        return "ns" if any(map(attrgetter("nanosecond"), stamps)) else str(found.unit)
    try:
        fine.cast(found)
    except pa.ArrowInvalid:
        return "ns"
    return str(found.unit)


def _refusal(
    values: np.ndarray, label: Hashable, start: int, exc: BaseException | None
) -> ColumnTypeError:
    """The error for the first value of a different kind, or whatever else is wrong."""
    if isinstance(exc, UnicodeError):
        return refuse(label, "object", SURROGATE)
    present = pd.Series(values, dtype=object).dropna()
    families = present.map(lambda value: _family(type(value)))
    others = families[families != families.iloc[0]]
    if len(others) and set(families) not in _TOGETHER:
        row, first = int(others.index[0]), families.iloc[0]
        why = f"row {row} is of type {others.iloc[0]}, earlier rows of type {first}"
        return refuse(label, "object", f"{why}: cast the column to one type", row)
    if set(families) == {"int", "decimal"}:
        return refuse(label, "object", "integers mixed with decimals: cast the column to one type")
    family = families.iloc[0]
    if family == "datetime" and exc is None:
        is_naive = present.map(lambda value: value.tzinfo is None)
        row = int(is_naive.index[is_naive != is_naive.iloc[0]][0])
        why = f"times with and without a zone are mixed, from row {row} on: give all of them a zone"
        return refuse(label, "object", why, row)
    if isinstance(exc, OverflowError) or set(families) == {"int", "float"}:
        why = "an integer is outside the range of int64, or of exact floats"
        text = 'df[column].astype("string")'
        return refuse(label, "object", f'{why}: write it as text ({text}), or rounded ("float64")')
    remedies = {
        "complex": REFUSED["complex"],
        "duration": REFUSED["duration"],
        "long double": 'IoTDB has no type above DOUBLE: df[column].astype("float64")',
        "decimal": "infinity, or over 76 digits, is not a valid Arrow decimal: "
        'df[column].astype("float64")',
        "datetime": "pd.to_datetime(df[column])",
    }
    why = remedies.get(family, f"values of type {family} have no IoTDB type")
    return refuse(label, "object", why, start)
