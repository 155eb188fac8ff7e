"""Records parsed by Arrow itself, the types of their columns known: at once, or around dirt."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from iotdb_frames.files.csv.dialect import CsvDialect
from iotdb_frames.files.csv.records import Records

_BLOCK = 1 << 20
_SMALL = 1 << 16
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
    text = np.frombuffer(data, np.uint8)
    is_bad = is_odd | _strange(text, bounds, types, dialect)
    most = _FEW + len(records) // 100
    if np.count_nonzero(is_odd) > most:
        return None
    if np.count_nonzero(is_bad) > most:
        is_bad = is_odd.copy()
    with _blanking(text) as (text, blank):
        for wrong in np.flatnonzero(is_bad).tolist():
            blank(bounds[wrong], bounds[wrong + 1])
        table = None
        if is_bad.any():
            with suppress(pa.ArrowInvalid):
                own = _options(types, dialect, nulls, None, is_serial=False, block=_BLOCK)
                table = pacsv.read_csv(pa.py_buffer(text), **own)
        if table is None:
            own = _options(types, dialect, nulls, None, is_serial=True, block=_SMALL)
            table = _read_on(text, blank, bounds, is_bad, own)
    if table is None or table.num_rows + np.count_nonzero(is_bad) != len(records):
        return None
    if not table.num_columns:
        table = pa.schema(list(types.items())).empty_table()
    return table.combine_chunks(), is_bad


def _read_on(
    text: np.ndarray,
    blank: Callable[[int, int], None],
    bounds: np.ndarray,
    is_bad: np.ndarray,
    options: Mapping[str, Any],
) -> pa.Table | None:
    """The records that fit: after each that does not, the parser is started again behind it.

    Parameters
    ----------
    bounds : int64, shape (n_records + 1,)
    is_bad : those that are blank already; those that are found are marked
    """
    batches: list[pa.RecordBatch] = []
    most = _FEW + int(np.count_nonzero(is_bad))
    known, start, n_found = np.flatnonzero(is_bad).tolist(), 0, 0

    def record_at(n: int) -> int:
        """The record with number `n`, from 0, behind `start`, but for those that are blank."""
        at = start + n
        for one in sorted(one for one in known if one >= start):
            at += one <= at
        return at

    while True:
        n_done = 0
        try:
            for batch in pacsv.open_csv(pa.py_buffer(text[bounds[start] :]), **options):
                batches.append(batch)
                n_done += len(batch)
        except pa.ArrowInvalid as exc:
            told = _ROW.search(str(exc))
            wrong = record_at(int(told[1]) - 1) if told else len(is_bad)
            start = record_at(n_done)
            n_found += 1
            if not start <= wrong < len(is_bad) or n_found > most + wrong // 100:
                return None
            known.append(wrong)
            is_bad[wrong] = True
            blank(bounds[wrong], bounds[wrong + 1])
        else:
            return pa.Table.from_batches(batches) if batches else pa.table({})


def _strange(
    text: np.ndarray, bounds: np.ndarray, types: Mapping[str, pa.DataType], dialect: CsvDialect
) -> np.ndarray:
    """Records with a letter that numbers and times are not written with; bool, shape (n_records,).

    Most dirt is a word, and is found so in a twentieth of the time that parsing takes.
    """
    found = np.zeros(len(bounds) - 1, bool)
    if any(pa.types.is_string(kind) or pa.types.is_dictionary(kind) for kind in types.values()):
        return found
    usual = np.zeros(256, bool)
    usual[list("".join(["TZEe", *(dialect.null_values or ())]).encode())] = True
    for start in range(0, len(text), _SMALL):  # what is compared stays in the processor's cache
        places = np.flatnonzero(text[start : start + _SMALL] > ord(":")) + start
        places = places[~usual[text[places]]]
        found[np.searchsorted(bounds, places, side="right") - 1] = True
    return found


@contextmanager
def _blanking(text: np.ndarray) -> Iterator[tuple[np.ndarray, Callable[[int, int], None]]]:
    """The text, and what makes a part of it empty lines, which are no records, until the end."""
    if not text.flags.writeable:
        text = text.copy()
    kept: list[tuple[int, np.ndarray]] = []

    def blank(start: int, stop: int) -> None:
        kept.append((start, text[start:stop].copy()))
        text[start:stop] = ord("\n")

    try:
        yield text, blank
    finally:
        for start, part in kept:
            text[start : start + len(part)] = part


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
