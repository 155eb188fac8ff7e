"""The type table: which IoTDB type a column gets, and which others it may be written as.

A column's dtype is mapped to the equivalent Arrow type, whose *kind* decides. `TABLE` is shown by
docs/types.md.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from iotdb_frames.errors import ColumnTypeError
from iotdb_frames.options import TSDataType

WIRE: dict[TSDataType, np.dtype | None] = {
    TSDataType.BOOLEAN: np.dtype(bool),
    TSDataType.INT32: np.dtype("i4"),
    TSDataType.INT64: np.dtype("i8"),
    TSDataType.FLOAT: np.dtype("f4"),
    TSDataType.DOUBLE: np.dtype("f8"),
    TSDataType.TIMESTAMP: np.dtype("i8"),
    TSDataType.DATE: np.dtype("i4"),
    TSDataType.TEXT: None,
    TSDataType.STRING: None,
    TSDataType.BLOB: None,
}
"""numpy dtype of a value on the wire (big-endian there); None: a 4-byte length and the bytes."""


@dataclass(frozen=True)
class Kind:
    """A family of source dtypes.

    name : of the family
    dtypes : examples as users know them
    default : the IoTDB type it gets, by width
    targets : IoTDB types it may be written as, if no value is lost
    nulls : what counts as a missing value
    returns : dtype that `read` returns
    """

    name: str
    dtypes: str
    default: str
    targets: tuple[TSDataType, ...]
    nulls: str
    returns: str


_T = TSDataType
_NUMBERS = (_T.INT32, _T.INT64, _T.FLOAT, _T.DOUBLE)
TABLE: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "bool", "bool, boolean, bool[pyarrow]", "BOOLEAN", (_T.BOOLEAN,), "NA, None", "boolean"
        ),
        Kind(
            "int",
            "int8 … int64, uint8 … uint64, Int64, int64[pyarrow], category of ints",
            "INT32 up to int32 and uint16, else INT64 (uint64 over 2^63 − 1 is refused)",
            _NUMBERS,
            "NA, None",
            "Int32, Int64",
        ),
        Kind(
            "float",
            "float16, float32, float64, Float64, double[pyarrow]",
            "FLOAT up to float32, else DOUBLE",
            _NUMBERS,
            'NA, None; NaN too unless nan="keep"',
            "float32, float64",
        ),
        Kind(
            "decimal",
            "object of Decimal, decimal128[pyarrow]",
            "DOUBLE, where every value survives at its own scale",
            _NUMBERS,
            "NA, None",
            "float64",
        ),
        Kind(
            "string",
            "str, string, object of str, category of str, large_string, string_view",
            "STRING",
            (_T.STRING, _T.TEXT),
            "NA, None, NaN",
            "str",
        ),
        Kind(
            "bytes",
            "object of bytes, binary[pyarrow]",
            "BLOB",
            (_T.BLOB, _T.STRING, _T.TEXT),
            "NA, None, NaN",
            "binary[pyarrow]",
        ),
        Kind(
            "date",
            "object of date, date32[pyarrow]",
            "DATE",
            (_T.DATE,),
            "NA, None, NaT",
            "date32[pyarrow]",
        ),
        Kind(
            "timestamp",
            "datetime64 of any unit and zone, timestamp[pyarrow]",
            "TIMESTAMP in the server's precision",
            (_T.TIMESTAMP, _T.DATE),
            "NaT, NA, None",
            "datetime64",
        ),
        Kind(
            "null",
            "object of nothing but missing values",
            "none: the column is left out unless its type is known",
            tuple(_T),
            "all",
            "as its type",
        ),
    )
}

REFUSED = {
    "duration": "a timedelta has no IoTDB type: write its seconds, "
    "pd.to_timedelta(df[column]).dt.total_seconds()",
    "nested": "lists, structs and maps have no IoTDB type: expand them into columns, or write JSON",
    "complex": 'complex numbers have no IoTDB type: with z = df[column].astype("complex128") write '
    "np.real(z) and np.imag(z) as two columns",
    "period": "periods are not times: write their start times, df[column].dt.to_timestamp()",
    "interval": "intervals have no IoTDB type: write df[column].array.left and "
    "df[column].array.right as two columns",
    "time": 'a time of day has no IoTDB type: write it as text, df[column].astype("string")',
}
"""Kinds without an IoTDB type, and the remedy."""


def refuse(label: Hashable, dtype: object, why: str, row: int | None = None) -> ColumnTypeError:
    """The error for a column that has no IoTDB type."""
    return ColumnTypeError(
        f"column {label!r} ({dtype}) cannot be written", column=label, row=row, hint=why
    )


_kind_of_id: dict[int, str] = {}


def kind_of(source: pa.DataType) -> str:
    """Name of the kind in `TABLE`, or a key of `REFUSED`, or the type's own name."""
    if pa.types.is_dictionary(source):
        return kind_of(source.value_type)
    if (kind := _kind_of_id.get(source.id)) is None:
        kind = _find_kind(source)
        if kind in TABLE or kind in REFUSED:  # no two of these share a type id
            _kind_of_id[source.id] = kind
    return kind


def _find_kind(source: pa.DataType) -> str:
    tests = {
        "null": pa.types.is_null,
        "bool": pa.types.is_boolean,
        "int": pa.types.is_integer,
        "float": pa.types.is_floating,
        "decimal": pa.types.is_decimal,
        "date": pa.types.is_date,
        "timestamp": pa.types.is_timestamp,
        "duration": pa.types.is_duration,
        "time": pa.types.is_time,
        "nested": pa.types.is_nested,
    }
    for name, test in tests.items():
        if test(source):
            return name
    text = str(source)
    if text in ("string", "large_string", "string_view"):
        return "string"
    if text in ("binary", "large_binary", "binary_view") or text.startswith("fixed_size_binary"):
        return "bytes"
    return text


def default_type(source: pa.DataType) -> TSDataType | None:
    """The IoTDB type a column of this Arrow type gets; None if only its values could tell."""
    if pa.types.is_dictionary(source):
        return default_type(source.value_type)
    kind = kind_of(source)
    if kind == "int":
        is_small = source.bit_width < 32 or source == pa.int32()
        return _T.INT32 if is_small else _T.INT64
    if kind == "float":
        return _T.DOUBLE if source == pa.float64() else _T.FLOAT
    return {
        "bool": _T.BOOLEAN,
        "decimal": _T.DOUBLE,
        "string": _T.STRING,
        "bytes": _T.BLOB,
        "date": _T.DATE,
        "timestamp": _T.TIMESTAMP,
    }.get(kind)


def markdown_table() -> str:
    """`TABLE` and `REFUSED` as docs/types.md shows them."""
    lines = [
        "| Your column | IoTDB type | Missing values | Comes back as | May also go into |",
        "|---|---|---|---|---|",
    ]
    for kind in TABLE.values():
        first = kind.default.split()[0].rstrip(",:")
        others = [t.name for t in kind.targets if t.name != first] if kind.name != "null" else []
        lines.append(
            f"| {kind.dtypes} | {kind.default} | {kind.nulls} | {kind.returns} "
            f"| {', '.join(others) or '—'} |"
        )
    lines += ["", "Refused, with the remedy in the error:", ""]
    lines += [f"- {name}: {remedy}" for name, remedy in REFUSED.items()]
    return "\n".join(lines)
