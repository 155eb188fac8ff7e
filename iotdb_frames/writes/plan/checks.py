"""What is looked for in the values of a plan's columns: what would not arrive, what is missing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from iotdb_frames.codec.cells import Rules, is_total, to_cells
from iotdb_frames.codec.sources import Source, is_missing
from iotdb_frames.codec.times import Reason, Why
from iotdb_frames.codec.types import kind_of
from iotdb_frames.display.words import plural
from iotdb_frames.errors import ColumnTypeError, FrameError
from iotdb_frames.options import TSDataType
from iotdb_frames.writes.plan.layout import row_positions
from iotdb_frames.writes.plan.plan import CHECK_ROWS, PlannedColumn, PlannedPart, Refused


def check_values(planned: PlannedColumn, rules: Rules, problems: list[Refused | FrameError]) -> int:
    """Find the values that would not arrive exactly, slice by slice.

    Returns
    -------
    int : how many values lose precision under ``coerce="lossy"``.
    """
    source, target = planned.column.source, planned.data_type
    assert target is not None
    if is_total(source, target) and not rules.keep_nan:
        return 0
    bad: list[np.ndarray] = []
    why: Why | None = None
    n_lossy = 0
    for start in range(0, len(source), CHECK_ROWS):
        piece = slice(start, min(start + CHECK_ROWS, len(source)))
        try:
            cells = to_cells(source, piece, target, rules)
        except ColumnTypeError as exc:
            problems.append(exc)
            return 0
        n_lossy += cells.n_lossy
        if cells.is_bad is not None:
            bad.append(row_positions(cells.is_bad, piece))
            why = why or cells.why
    if bad:
        rows = np.concatenate(bad)
        row = int(rows[0])
        column, wrong = f"column {source.label!r} ({source.dtype})", f"{source.show(row)} {why}"
        more = f" (and {plural(len(rows) - 1, 'more row')})" if len(rows) > 1 else ""
        error = ColumnTypeError(
            f"{column}, row {row}: {wrong}{more}",
            reason=f"{column}: {wrong}",
            column=source.label,
            row=row,
            hint=_remedy(source, target, planned, rules, why),
        )
        problems.append(Refused(rows, error))
    return n_lossy


def _remedy(
    source: Source, target: TSDataType, planned: PlannedColumn, rules: Rules, why: Why | None
) -> str:
    reason = None if why is None else why.reason
    kind = kind_of(source.type)
    there = "the series exists with this type; " if planned.state == "exists" else ""
    them = f"df[{source.label!r}]"
    if kind in ("timestamp", "date"):
        times = f"pd.to_datetime({them})" if source.dtype == "object" else them
        if reason is Reason.FINER:
            return f'round first ({times}.dt.floor("{rules.precision}")), or coerce="lossy"'
        if reason is Reason.ABSENT:
            zone = repr(rules.time_zone)
            localized = f"{times}.dt.tz_localize({zone}, ambiguous=…, nonexistent=…)"
            return f"give the times their zone: {localized}"
        if reason is Reason.TIME_OF_DAY:
            return f"{times}.dt.normalize() first, or write it as TIMESTAMP"
        text = f'{them}.astype("string")'
        return f"leave these values out ({them}.where(…)), or write them as text ({text})"
    if reason is Reason.RANGE:
        if kind == "int" and target == TSDataType.INT64 and not there:
            text, rounded = f'{them}.astype("string")', f'schema={{{source.label!r}: "DOUBLE"}}'
            return f'write it as text ({text}), or rounded ({rounded}, coerce="lossy")'
        return f"{there}leave these values out ({them}.where(…)), or write another type"
    lossy = "" if rules.is_lossy else ', or coerce="lossy" to lose precision'
    return f"{there}round or cast the column yourself{lossy}"


def empty_rows(parts: Sequence[PlannedPart], rules: Rules, n_rows: int) -> np.ndarray | None:
    """Rows without any value (bool, shape (n_rows,)); None where there are none.

    A column is only looked at where those before it have nothing: first numbers, and last one of
    objects, which must be converted first.
    """
    sources = [c.column.source for part in parts for c in part.written]
    sources.sort(key=lambda s: (s.dtype == "object", not isinstance(s.data, np.ndarray)))
    if sources and not sources[0].n_missing(keep_nan=rules.keep_nan):
        return None
    is_empty: np.ndarray | None = None
    for start in range(0, n_rows, CHECK_ROWS):
        rows: slice | np.ndarray = slice(start, min(start + CHECK_ROWS, n_rows))
        for source in sources:
            at = row_positions(is_missing(source.take(rows), keep_nan=rules.keep_nan), rows)
            rows = at
            if not len(at):
                break
        else:
            is_empty = np.zeros(n_rows, bool) if is_empty is None else is_empty
            is_empty[rows] = True
    return is_empty
