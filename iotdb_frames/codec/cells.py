"""Values of one column as the exact cells of an IoTDB type, or the reason why not.

The check of a whole frame and the encoder both call `to_cells`, so a plan cannot disagree with the
write. A value is never silently rounded, wrapped or truncated: its row is marked bad instead.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from iotdb_frames.codec.sources import Rows, Source, binary_bytes, is_missing, values_of
from iotdb_frames.codec.times import (
    BEYOND_YEARS,
    NAT,
    TICKS_PER_S,
    Reason,
    Unit,
    Why,
    date_numbers,
    to_ticks,
)
from iotdb_frames.codec.types import REFUSED, TABLE, WIRE, kind_of
from iotdb_frames.errors import ColumnTypeError
from iotdb_frames.options import TSDataType

Precision = Literal["ms", "us", "ns"]


@dataclass(frozen=True)
class Rules:
    """How values are converted to cells.

    precision : of the server's times
    time_zone : of naive times
    keep_nan : NaN is a value, not a missing one
    is_lossy : precision may be lost (range never)
    """

    precision: Precision
    time_zone: str = "UTC"
    keep_nan: bool = False
    is_lossy: bool = False


@dataclass(frozen=True)
class Cells:
    """Cells of one column.

    values : numpy array of the wire's dtype in native order, shape (n,), undefined where null; or
        an Arrow binary array for TEXT, STRING and BLOB
    is_null : bool, shape (n,), or None if none is missing
    is_bad : bool, shape (n,), or None if all are exact
    why : what is wrong with the bad ones, if any
    n_lossy : how many lost precision, with `Rules.is_lossy`
    """

    values: np.ndarray | pa.Array
    is_null: np.ndarray | None
    is_bad: np.ndarray | None = None
    why: Why | None = None
    n_lossy: int = 0

    def __len__(self) -> int:
        return len(self.values)

    @property
    def n_bytes(self) -> int:
        """Encoded bytes, without the bitmap."""
        if isinstance(self.values, np.ndarray):
            return self.values.nbytes
        if isinstance(self.values, pa.DictionaryArray):
            lengths = pc.binary_length(self.values.dictionary).take(self.values.indices)
            return 4 * len(self.values) + (pc.sum(lengths).as_py() or 0)
        return 4 * len(self.values) + binary_bytes(self.values)[1].nbytes

    @property
    def n_values(self) -> int:
        """Cells that are not null."""
        return len(self) - (0 if self.is_null is None else int(np.count_nonzero(self.is_null)))

    def slice(self, start: int, stop: int) -> Cells:
        """Rows `start` to `stop`, without copying."""
        null, bad = self.is_null, self.is_bad
        values = (
            self.values[start:stop]
            if isinstance(self.values, np.ndarray)
            else self.values.slice(start, stop - start)
        )
        return Cells(
            values,
            None if null is None else null[start:stop],
            None if bad is None else bad[start:stop],
            self.why,
        )

    def filter(self, is_kept: np.ndarray) -> Cells:
        """Some of the rows (bool, shape (n,)), copied."""
        null, bad, values = self.is_null, self.is_bad, self.values
        return Cells(
            values[is_kept] if isinstance(values, np.ndarray) else values.filter(pa.array(is_kept)),
            None if null is None else null[is_kept],
            None if bad is None else bad[is_kept],
            self.why,
        )


def check_target(source: Source, target: TSDataType) -> None:
    """Refuse a combination of dtype and IoTDB type that could never be exact.

    Raises
    ------
    ColumnTypeError
    """
    kind = kind_of(source.type)
    if kind not in TABLE:
        raise ColumnTypeError(
            f"column {source.label!r} ({source.dtype}) cannot be written",
            column=source.label,
            hint=REFUSED.get(kind, "convert it to a type of the docs' type table"),
        )
    if target not in TABLE[kind].targets:
        *others, last = [t.name for t in TABLE[kind].targets]
        names = f"{', '.join(others)} or {last}" if others else last
        how = "convert the column in pandas"
        if kind in ("int", "float") and target == TSDataType.TIMESTAMP:
            how = f'pd.to_datetime(df[{source.label!r}], unit="ms") says what the numbers count'
        raise ColumnTypeError(
            f"column {source.label!r} ({source.dtype}) cannot go into {target.name}",
            column=source.label,
            hint=f"{how}, or write it as {names}",
        )
    plain = source.type.value_type if pa.types.is_dictionary(source.type) else source.type
    if target == TSDataType.DATE and kind == "timestamp" and plain.tz:
        raise ColumnTypeError(
            f"column {source.label!r} ({source.dtype}) cannot go into DATE: a date has no zone",
            column=source.label,
            hint=f"df[{source.label!r}].dt.tz_localize(None) keeps the dates of its own zone",
        )


def is_total(source: Source, target: TSDataType) -> bool:
    """Whether any value of the column's dtype fits, so that no check is needed."""
    kind, wire = kind_of(source.type), WIRE[target]
    if kind in ("int", "float") and not pa.types.is_dictionary(source.type):
        plain = np.dtype(source.type.to_pandas_dtype())
        if source.dtype == "object" or wire is None:
            return False
        # numpy calls int64 to float64 safe, but above 2^53 it is not.
        is_rounded = wire.kind == "f" and plain.kind in "iu" and plain.itemsize == 8
        return np.can_cast(plain, wire, "safe") and not is_rounded
    if kind in ("bool", "null", "string"):
        return source.dtype != "object"
    return kind == "bytes" and target == TSDataType.BLOB and source.dtype != "object"


def to_cells(source: Source, rows: Rows, target: TSDataType, rules: Rules) -> Cells:
    """The cells of some rows.

    Parameters
    ----------
    rows : slice, or int array of row positions
    target : a type that `check_target` allows

    Raises
    ------
    ColumnTypeError : values that cannot be converted at all (`.row` is None).
    """
    try:
        if not rules.keep_nan and source.is_known_whole(keep_nan=False):
            rules = replace(rules, keep_nan=True)  # there is none to look for
        return _convert(source.take(rows), source.type, target, rules)
    except (pa.ArrowException, OverflowError, UnicodeError) as exc:
        raise ColumnTypeError(
            f"column {source.label!r} ({source.dtype}) cannot go into {target.name}: {exc}",
            column=source.label,
            hint="convert the column in pandas first",
        ) from exc


def _convert(
    data: np.ndarray | pa.Array, source: pa.DataType, target: TSDataType, rules: Rules
) -> Cells:
    wire = WIRE[target]
    if not isinstance(data, np.ndarray):
        if pa.types.is_null(data.type):
            return _all_null(len(data), wire)
        if wire is None:
            return _binary(data, target)
        if pa.types.is_dictionary(data.type):
            data = data.dictionary_decode()
        return _from_arrow(data, target, rules)
    if data.dtype.kind == "M":
        unit: Any = np.datetime_data(data.dtype)[0]
        ticks = data.astype(f"M8[{unit}]", copy=False).view("i8")
        return _times(ticks, unit, source.tz is None, None, target, rules)
    is_null = None if rules.keep_nan or data.dtype.kind != "f" else _or_none(np.isnan(data))
    return _numbers(data, is_null, target, rules)


def _or_none(mask: np.ndarray) -> np.ndarray | None:
    return mask if mask.any() else None


def _all_null(n_rows: int, wire: np.dtype | None) -> Cells:
    is_null = np.ones(n_rows, bool) if n_rows else None
    if wire is None:
        return Cells(pa.nulls(n_rows, pa.binary()), is_null)
    return Cells(np.zeros(n_rows, wire), is_null)


def _binary(data: pa.Array, target: TSDataType) -> Cells:
    """Texts and bytes as Arrow binary with 32-bit offsets.

    A dictionary is kept if that is smaller, so that each of its texts is packed once.
    """
    if pa.types.is_dictionary(data.type):
        if len(data.dictionary) > len(data) or data.dictionary.null_count or data.null_count:
            return _binary(data.dictionary_decode(), target)
        texts = _binary(data.dictionary, target).values
        return Cells(pa.DictionaryArray.from_arrays(data.indices, texts), None)
    is_null = is_missing(data) if data.null_count else None
    kind = kind_of(data.type)
    if kind == "bytes" and target != TSDataType.BLOB:
        data = data.cast(pa.large_binary()).cast(pa.large_string())  # checks that it is UTF-8
    plain = {"string_view": pa.string(), "binary_view": pa.binary()}.get(str(data.type))
    if plain is not None:
        data = data.cast(plain)
    return Cells(data.cast(pa.binary()), is_null)


def _from_arrow(data: pa.Array, target: TSDataType, rules: Rules) -> Cells:
    """Cells of Arrow values other than texts, from the values buffer as numpy and the nulls."""
    is_null = np.asarray(data.is_null()) if data.null_count else None
    source = data.type
    if pa.types.is_boolean(source):
        return Cells(_bits(data), is_null)
    if pa.types.is_decimal(source):
        return _decimals(data, is_null, target, rules)
    if pa.types.is_date(source):
        days = values_of(data.cast(pa.date32()).cast(pa.int32()), np.dtype("i4"))
        numbers, is_bad = date_numbers(days)
        return _bad_cells(numbers, is_null, is_bad, BEYOND_YEARS)
    if pa.types.is_timestamp(source):
        ticks = values_of(data, np.dtype("i8"))
        cells = _times(ticks, source.unit, source.tz is None, is_null, target, rules)
        return _without_smallest(cells, ticks, is_null)
    values = values_of(data, np.dtype(source.to_pandas_dtype()))
    if values.dtype.kind == "f" and not rules.keep_nan:
        nan = np.isnan(values)
        is_null = _or_none(nan if is_null is None else nan | is_null)
    return _numbers(values, is_null, target, rules)


def _without_smallest(cells: Cells, ticks: np.ndarray, is_null: np.ndarray | None) -> Cells:
    """Mark the smallest int64 as bad: to Arrow it is a time, to numpy and pandas a missing one."""
    if not len(ticks) or ticks.min() != NAT:
        return cells
    is_smallest = ticks == NAT if is_null is None else (ticks == NAT) & ~is_null
    is_bad = is_smallest if cells.is_bad is None else cells.is_bad | is_smallest
    why = Why(Reason.MISSING, "is -2^63, which stands for a missing time")
    if cells.is_bad is not None and cells.why is not None:
        why = cells.why
    return _bad_cells(cells.values, is_null, is_bad, why, cells.n_lossy)


def _bits(data: pa.Array) -> np.ndarray:
    """The values of an Arrow boolean array, undefined where null; many times faster than Arrow."""
    raw = data.buffers()[1]
    if raw is None:
        return np.zeros(len(data), bool)
    first = data.offset // 8
    octets = np.frombuffer(raw, np.uint8)[first : (data.offset + len(data) + 7) // 8]
    bits = np.unpackbits(octets, bitorder="little").view(bool)
    return bits[data.offset - 8 * first :][: len(data)]


def _bad_cells(
    values: np.ndarray,
    is_null: np.ndarray | None,
    is_bad: np.ndarray | None,
    why: Why,
    n_lossy: int = 0,
) -> Cells:
    if is_bad is not None and is_null is not None:
        is_bad = is_bad & ~is_null
    return Cells(values, is_null, None if is_bad is None else _or_none(is_bad), why, n_lossy)


def _judged(
    values: np.ndarray,
    is_null: np.ndarray | None,
    is_outside: np.ndarray,
    is_inexact: np.ndarray,
    target: TSDataType,
    rules: Rules,
) -> Cells:
    """Numbers of `target`: one outside its range is bad, a rounded one is bad or counted."""
    if is_null is not None:
        is_inexact = is_inexact & ~is_null
        is_outside = is_outside & ~is_null
    outside = Why(Reason.RANGE, f"does not fit the range of {target.name}")
    inexact = Why(Reason.INEXACT, f"does not fit {target.name} exactly")
    if rules.is_lossy:
        n_lossy = int(np.count_nonzero(is_inexact & ~is_outside))
        return _bad_cells(values, is_null, is_outside, outside, n_lossy)
    if is_outside.any():
        # The error names the first row, and a value outside the range has another remedy.
        is_first_outside = is_outside[np.argmax(is_outside | is_inexact)]
        why = outside if is_first_outside else inexact
        return _bad_cells(values, is_null, is_outside | is_inexact, why)
    return _bad_cells(values, is_null, is_inexact, inexact)


def _numbers(
    values: np.ndarray, is_null: np.ndarray | None, target: TSDataType, rules: Rules
) -> Cells:
    """Convert numbers to the wire's dtype; mark what the cast would change."""
    wire = WIRE[target]
    assert wire is not None
    source = values.dtype.newbyteorder("=")
    if np.can_cast(source, wire, "safe") and not (
        source.kind in "iu" and wire.kind == "f" and source.itemsize == 8
    ):
        return Cells(values.astype(wire, copy=False), is_null)
    with np.errstate(invalid="ignore", over="ignore"):
        if wire.kind == "f":
            out = values.astype(wire)
            is_outside = np.zeros(len(out), bool)
            if source.kind == "f":
                is_outside = np.isinf(out) & np.isfinite(values)
                is_inexact = (out.astype(source) != values) & ~np.isnan(values)
            else:
                # Compare as integers: as float64, 2^53 + 1 would equal 2^53.
                edge = out >= float(np.iinfo(source).max)
                is_inexact = edge | (np.where(edge, 0, out).astype(source) != values)
        else:
            low, high = np.iinfo(wire).min, np.iinfo(wire).max
            is_inexact = np.zeros(len(values), bool)
            if source.kind == "f":
                if source.itemsize == 2:
                    values = values.astype("f4")  # a bound of int32 would be an infinite float16
                is_outside = ~(
                    (values >= float(low)) & (values < float(high) + (wire.itemsize == 4))
                )
                is_inexact = ~is_outside & (np.trunc(values) != values)
            else:
                is_outside = values > high
                if source.kind == "i":
                    is_outside |= values < low
            out = np.where(is_outside, 0, values).astype(wire)
    return _judged(out, is_null, is_outside, is_inexact, target, rules)


def _decimals(
    data: pa.Array, is_null: np.ndarray | None, target: TSDataType, rules: Rules
) -> Cells:
    """Convert decimals; exact ones read back the same at their own scale."""
    wire = WIRE[target]
    assert wire is not None
    own = pa.decimal256(76, data.type.scale)
    if wire.kind == "i":
        # Not through floats, exact only to 2^53. Both casts truncate or wrap what does not fit.
        whole = pc.cast(data, pa.decimal256(76, 0), safe=False)
        numbers = pc.cast(whole, pa.from_numpy_dtype(wire), safe=False)
        is_outside = _differs(pc.cast(numbers, whole.type), whole)
        is_inexact = _differs(pc.cast(whole, own), pc.cast(data, own))
        return _judged(values_of(numbers, wire), is_null, is_outside, is_inexact, target, rules)
    # Through text, for Arrow's direct cast does not give the nearest float.
    floats = pc.cast(pc.cast(data, pa.string()), pa.float64())
    # The range is checked here; rounding is checked below, at the decimals' own scale.
    cells = _numbers(
        values_of(floats, np.dtype("f8")), is_null, target, replace(rules, is_lossy=True)
    )
    seen = pa.array(cells.values.astype("f8"), mask=is_null)
    is_inexact = _differs(pc.cast(seen, own, safe=False), pc.cast(data, own))
    if is_inexact.any():
        at = np.flatnonzero(is_inexact)
        is_inexact[at] = _are_inexact(seen.take(pa.array(at)), data.take(pa.array(at)))
    is_outside = np.zeros(len(data), bool) if cells.is_bad is None else cells.is_bad
    return _judged(cells.values, is_null, is_outside, is_inexact, target, rules)


def _are_inexact(seen: pa.Array, data: pa.Array) -> np.ndarray:
    """Which decimals were changed, each compared at its own scale, that of its last digit."""
    own = pa.decimal256(76, data.type.scale)
    data = pc.cast(data, own)
    is_inexact = np.ones(len(data), bool)
    is_left = np.ones(len(data), bool)
    for scale in range(data.type.scale):
        cut = pc.cast(data, pa.decimal256(76, scale), safe=False)
        is_own = is_left & ~_differs(pc.cast(cut, own), data)
        is_inexact[is_own] = _differs(pc.cast(seen, cut.type, safe=False), cut)[is_own]
        is_left &= ~is_own
    return is_inexact


def _differs(one: pa.Array, other: pa.Array) -> np.ndarray:
    """Where two arrays differ, bool, shape (n,); False where either is null."""
    return np.asarray(pc.not_equal(one, other).fill_null(False).to_numpy(zero_copy_only=False))


def _times(
    ticks: np.ndarray,
    unit: Unit,
    is_naive: bool,
    is_null: np.ndarray | None,
    target: TSDataType,
    rules: Rules,
) -> Cells:
    """Instants as TIMESTAMP, or naive midnights as DATE."""
    if target == TSDataType.DATE:
        per_day = 86_400 * TICKS_PER_S[unit]
        nat = ticks == np.iinfo(np.int64).min
        null = _or_none(nat if is_null is None else nat | is_null)
        days = np.where(nat, 0, ticks) // per_day
        numbers, outside = date_numbers(days)
        is_bad = days * per_day != np.where(nat, 0, ticks)
        why = Why(Reason.TIME_OF_DAY, "has a time of day and is not a date")
        if outside is not None and not is_bad.any():
            why = BEYOND_YEARS
        if outside is not None:
            is_bad |= outside
        return _bad_cells(numbers, null, is_bad, why)
    if is_null is not None:
        ticks = np.where(is_null, np.iinfo(np.int64).min, ticks)
    out = to_ticks(
        ticks,
        unit=unit,
        is_naive=is_naive,
        zone=rules.time_zone,
        precision=rules.precision,
        is_lossy=rules.is_lossy,
    )
    return Cells(out.values, out.is_null, out.is_bad, out.why, out.n_cut)
