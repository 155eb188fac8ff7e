"""How the numbers of a CSV sample are written: the mark before a fraction, and that of groups.

A mark with three digits behind it, as in ``1.200``, may be either. What the other numbers of the
file show decides; where none does, it is asked: the readings are a thousand apart.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from iotdb_frames.errors import Choice, FrameError, Hint
from iotdb_frames.files.csv.dialect import CsvDialect

MOSTLY = 0.9
"""A column of which this part are numbers, or times, holds such; the rest does not fit."""
GROUPS = " .,'’\u00a0\u2009\u202f"
"""What may stand between groups of three digits: also no-break, thin and narrow no-break spaces."""
_OTHER = {".": ",", ",": "."}
_ENDS = 60
_PLAIN = re.compile(r"[+-]?\d+(?:[eE][+-]?\d+)?")
_GROUPED = re.compile(
    rf"[+-]?[1-9]\d{{0,2}}(?P<g>[{GROUPS}])\d{{3}}(?P<more>(?:(?P=g)\d{{3}})*)(?:(?P<d>[.,])\d*)?"
)
_POINTED = re.compile(r"[+-]?(?:\d+(?P<d>[.,])\d*|(?P<e>[.,])\d+)(?:[eE][+-]?\d+)?")
_ADDRESS = re.compile(r"(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)")


@dataclass
class _Marks:
    """What numbers show of each mark: a column and a text of it that shows it.

    points : marks that stand before a fraction
    groups : marks that stand between groups of digits
    either : marks that may be one or the other
    """

    points: dict[str, tuple[str, str]] = field(default_factory=dict)
    groups: dict[str, tuple[str, str]] = field(default_factory=dict)
    either: dict[str, tuple[str, str]] = field(default_factory=dict)


def find_marks(
    name: str, columns: Mapping[str, pa.Array], dialect: CsvDialect
) -> tuple[str | None, str]:
    """Decimal mark, None where nothing shows it; and what stands between groups of digits, or "".

    Parameters
    ----------
    columns : texts, null where missing; those of times left out

    Raises
    ------
    FrameError : numbers can be read in two ways.
    """
    decimal, thousands = dialect.decimal, dialect.thousands
    if decimal is not None and thousands is not None:
        return decimal, thousands
    seen = _look(columns, is_whole=False)
    if decimal is None:
        if seen.either and not seen.points:
            seen = _look(columns, is_whole=True)
        decimal = _decimal(name, seen, thousands, dialect.delimiter)
    if thousands is None:
        found = [mark for mark in (*seen.groups, *seen.either) if mark != decimal]
        thousands = found[0] if found else ""
    return decimal, thousands


def show_marks(columns: Mapping[str, pa.Array], dialect: CsvDialect) -> tuple[str, str]:
    """A number that shows the decimal mark, and one that shows the groups; "" for none.

    Parameters
    ----------
    columns : texts as the file has them, of a dialect that is found out
    """
    seen = _look(columns, is_whole=True)
    point, group = dialect.decimal or ".", dialect.thousands or ""
    shown = seen.points.get(point) or seen.either.get(point)
    if shown is None:  # what groups digits is no decimal mark
        shown = seen.groups.get(_OTHER.get(point, "")) or seen.groups.get(group)
    grouped = seen.groups.get(group) or seen.either.get(group)
    return (
        "" if shown is None else f"as in {shown[1]}",
        "" if grouped is None else f"{grouped[1]} is {grouped[1].replace(group, '')}",
    )


def is_address(texts: pa.Array) -> bool:
    """Whether the texts are addresses of IPv4, which look like groups of digits."""
    some = texts.drop_null().slice(0, _ENDS).to_pylist()
    return bool(some) and all(_ADDRESS.fullmatch(text) for text in some)


def _look(columns: Mapping[str, pa.Array], *, is_whole: bool) -> _Marks:
    """What columns of numbers show, in all of their cells or in their first and last ones."""
    seen = _Marks()
    for label, column in columns.items():
        texts = column.drop_null()
        if not is_whole and len(texts) > 2 * _ENDS:
            texts = pa.concat_arrays([texts.slice(0, _ENDS), texts.slice(len(texts) - _ENDS)])
        if not is_address(texts):
            _look_at(label, texts.to_pylist(), seen)
    return seen


def _look_at(label: str, cells: list[str], seen: _Marks) -> None:
    """Add what one column shows."""
    points: Counter[str] = Counter()
    groups: Counter[str] = Counter()
    either: Counter[str] = Counter()
    example: dict[tuple[str, str], str] = {}
    n_numbers = n_plain = 0
    for cell in cells:
        kind, mark, kept = None, "", None
        if _PLAIN.fullmatch(cell):
            n_plain += 1
        elif (match := _GROUPED.fullmatch(cell)) and match["d"] != match["g"]:
            kept, mark = groups, match["g"]
            if match["d"] is not None:
                points[match["d"]] += 1
                example.setdefault(("points", match["d"]), cell)
            elif mark in _OTHER and not match["more"]:
                kept = either
        elif match := _POINTED.fullmatch(cell):
            kept, mark = points, match["d"] or match["e"]
        else:
            continue
        n_numbers += 1
        if kept is not None:
            kept[mark] += 1
            kind = "points" if kept is points else "groups" if kept is groups else "either"
            example.setdefault((kind, mark), cell)
    if n_numbers < MOSTLY * len(cells):
        return
    if groups[" "] and not (n_plain or points):
        return  # 123 456 in every row is a name, or a number: it stays as it is written
    for kind, counts in (("points", points), ("groups", groups), ("either", either)):
        for mark, n in counts.items():
            if n > (1 - MOSTLY) * counts.total():  # fewer do not fit, and are refused by line
                getattr(seen, kind).setdefault(mark, (label, example[kind, mark]))


def _decimal(name: str, seen: _Marks, thousands: str | None, delimiter: str | None) -> str | None:
    """The decimal mark, as far as the numbers, and what is known of their groups, tell it."""
    if thousands in _OTHER:
        return _OTHER[thousands or ""]
    if len(seen.points) == 2:
        raise _two_marks(name, seen.points["."], seen.points[","])
    for mark, shown in seen.points.items():
        if mark in seen.groups:
            raise _two_marks(name, shown, seen.groups[mark])
        return mark
    grouped = [mark for mark in seen.groups if mark in _OTHER]
    if len(grouped) == 2:
        raise _two_marks(name, seen.groups["."], seen.groups[","])
    if grouped:
        return _OTHER[grouped[0]]
    if len(seen.either) == 2:
        raise _two_marks(name, seen.either["."], seen.either[","])
    for mark, (column, cell) in seen.either.items():
        # Commas between cells go with points in numbers; and what is grouped has another mark.
        if seen.groups or thousands == "" or (mark == "." and delimiter == ","):
            return mark
        fraction, grouping = f"{float(cell.replace(mark, '.')):g}", cell.replace(mark, "")
        raise FrameError(
            f"{name}: numbers like {cell!r} of column {column!r} may be {fraction} or {grouping}",
            column=column,
            hint=Hint(
                Choice(csv={"decimal": mark}),
                f" reads {fraction}, ",
                Choice(csv={"decimal": _OTHER[mark]}),
                f" reads {grouping}",
            ),
        )
    return "." if delimiter == "," else None


def _two_marks(name: str, one: tuple[str, str], other: tuple[str, str]) -> FrameError:
    return FrameError(
        f"{name}: numbers like {one[1]!r} of column {one[0]!r} and {other[1]!r} of "
        f"column {other[0]!r} are written in two ways",
        column=one[0],
        hint=Hint(
            Choice(csv={"decimal": "."}),
            " or ",
            Choice(csv={"decimal": ","}),
            " says which are numbers; the others are texts then",
        ),
    )
