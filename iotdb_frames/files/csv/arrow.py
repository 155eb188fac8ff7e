"""Records parsed by Arrow itself, the types of their columns known: at once, or around dirt."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from iotdb_frames.files.csv.dialect import CsvDialect
from iotdb_frames.files.csv.records import Records

_BLOCK = 1 << 20
_SMALL = 1 << 17
"""What is parsed in vain where a record does not fit."""
_FEW = 20
_ROW = re.compile(r"Row #(\d+): ")


def read_table(
    data: bytes | memoryview,
    types: Mapping[str, pa.DataType],
    dialect: CsvDialect,
    *,
    nulls: Iterable[str],
    on_invalid: Callable[[Any], str] | None = None,
) -> pa.Table:
    """Some columns of whole records.

    Parameters
    ----------
    nulls : missing values in all of the columns, and so is nothing at all
    on_invalid : gets each record with too few fields, or too many, with its number from 1

    Raises
    ------
    ArrowInvalid : a cell does not fit, or a record, unless `on_invalid` leaves it out.
    """
    if re.fullmatch(rb"[\r\n]*", data):
        return pa.table({n: pa.array([], kind) for n, kind in types.items()})
    is_serial = on_invalid is not None
    block = len(data) + 1 if is_serial else _BLOCK
    options = _options(types, dialect, nulls, on_invalid, is_serial=is_serial, block=block)
    return pacsv.read_csv(pa.py_buffer(data), **options)


def read_around(
    records: Records,
    data: bytes | memoryview,
    types: Mapping[str, pa.DataType],
    dialect: CsvDialect,
    *,
    nulls: Iterable[str],
    is_odd: np.ndarray,
) -> tuple[pa.Table, np.ndarray] | None:
    """The records that fit, and which do not (bool, shape (n_records,)).

    Only a little is parsed again for each that does not; None where they are many, or where Arrow
    does not say which they are.

    Parameters
    ----------
    is_odd : bool, shape (n_records,): those that are known not to fit
    """
    bounds = np.append(records.starts, len(data))
    options = _options(types, dialect, nulls, None, is_serial=True, block=_SMALL)
    batches: list[pa.RecordBatch] = []
    text = np.frombuffer(data, np.uint8).copy()
    bad: list[int] = np.flatnonzero(is_odd).tolist()
    n_odd = len(bad)
    if n_odd > _FEW + len(records) // 100:
        return None
    for wrong in bad:
        text[bounds[wrong] : bounds[wrong + 1]] = ord("\n")  # an empty line is no record

    def record_at(start: int, n: int) -> int:
        """The record with number `n`, from 0, behind a start, but for those that are left out."""
        at = start + n
        for one in sorted(one for one in bad if one >= start):
            at += one <= at
        return at

    start, n_good = 0, 0
    while True:
        n_done = 0
        try:
            for batch in pacsv.open_csv(pa.py_buffer(text[bounds[start] :]), **options):
                batches.append(batch)
                n_done += len(batch)
        except pa.ArrowInvalid as exc:
            told = _ROW.search(str(exc))
            wrong = record_at(start, int(told[1]) - 1) if told else len(records)
            start, n_good = record_at(start, n_done), n_good + n_done
            if not start <= wrong < len(records) or len(bad) - n_odd > _FEW + wrong // 100:
                return None
            bad.append(wrong)
            text[bounds[wrong] : bounds[wrong + 1]] = ord("\n")
        else:
            break
    if n_good + n_done + len(bad) != len(records):
        return None
    is_bad = np.zeros(len(records), bool)
    is_bad[bad] = True
    schema = pa.schema(list(types.items()))
    return pa.Table.from_batches(batches, None if batches else schema).combine_chunks(), is_bad


def _options(
    types: Mapping[str, pa.DataType],
    dialect: CsvDialect,
    nulls: Iterable[str],
    on_invalid: Callable[[Any], str] | None,
    *,
    is_serial: bool,
    block: int,
) -> dict[str, Any]:
    names = [name or f"\0{i}" for i, name in enumerate(dialect.names or ())]
    return {
        "read_options": pacsv.ReadOptions(
            use_threads=not is_serial, block_size=block, column_names=names
        ),
        "parse_options": pacsv.ParseOptions(
            delimiter=dialect.delimiter,
            quote_char=dialect.quote or False,
            newlines_in_values=bool(dialect.newlines_in_values) or on_invalid is not None,
            invalid_row_handler=on_invalid,
        ),
        "convert_options": pacsv.ConvertOptions(
            column_types=dict(types),
            include_columns=list(types),
            null_values=sorted({"", *nulls}),
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            decimal_point=dialect.decimal or ".",
        ),
    }
