"""Which lines of a CSV sample are above the header, the header itself, below it, and data.

Devices that write files put lines about themselves above the header, and lines of units below it.
The data tell them apart: where their cells are numbers and times, those of such lines are words.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import islice

from iotdb_frames.display.words import shorten
from iotdb_frames.errors import Choice, FrameError, Hint
from iotdb_frames.files.csv.dialect import KNOWN_NULLS, CsvDialect
from iotdb_frames.files.csv.infer_numbers import GROUPS, MOSTLY
from iotdb_frames.files.csv.records import collapse_spaces

LINES = 150
_MOST_BELOW = 8
_ENOUGH = 40
_FEW = 20
_NUMBER = rf"[+-]?(?:\d{{1,3}}(?:[{GROUPS}]\d{{3}})+|\d+)?(?:[.,]\d*)?(?:[eE][+-]?\d+)?%?"
_TIME = r"[\dTZ:./+-]+(?: [\d:.+Z-]+(?: ?[AaPp]\.?[Mm]\.?)?)?"
_NULL = "|".join(re.escape(n) for n in KNOWN_NULLS if n)
CLEAN = re.compile(rf"\s*(?:{_NUMBER}|{_TIME}|{_NULL}|[A-Za-z_#µ°][^,;\t|]*)?\s*")
FACT = re.compile(rf"\s*(?:{_NUMBER}|{_TIME}|{_NULL})\s*")
_PLAIN = re.compile(rf"\s*{_NUMBER}\s*")
_MOMENT = re.compile(
    r"\s*(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*\.?,? )?"
    r"(?:\d(?:\D*\d){3}|[A-Za-z]{3,9}\.? \d{1,2},? \d{4})"
)
_TIME_WORD = re.compile(
    r"(?i)(?<![a-z])(?:date|time|timestamp|datetime|datum|zeit|zeitstempel|fecha|hora|heure|ts)"
    r"(?![a-z])"
)
_SEP = re.compile(r'\s*"?sep=(.)"?\s*', re.IGNORECASE)


@dataclass(frozen=True)
class Lines:
    """How many lines are what; names as of `CsvDialect`."""

    skip_lines: int
    header: bool
    skip_after_header: int
    names: tuple[str, ...]


def is_blank(line: str) -> bool:
    """Whether a line has nothing; a device that lost its power leaves NUL characters."""
    return not line.strip(" \t\r\0\ufeff")


def said_delimiter(lines: Sequence[str]) -> tuple[int, str] | None:
    """The line that says the delimiter to Excel, as in ``sep=;``, and what it says."""
    at = next((i for i, line in enumerate(lines) if not is_blank(line)), None)
    match = None if at is None else _SEP.fullmatch(lines[at])
    return None if at is None or match is None else (at, match[1])


def split(lines: Sequence[str], delimiter: str, quote: str) -> list[list[str]]:
    """Lines of a sample as fields."""
    return [row for _, row in _rows(lines, delimiter, quote)]


def _rows(lines: Sequence[str], delimiter: str, quote: str) -> list[tuple[int, list[str]]]:
    """The same, each with the number of its first line."""
    if delimiter == " ":
        joined = collapse_spaces("\n".join(lines).encode("utf-8", "replace"), quote)
        lines = joined.decode().split("\n")
    if quote:
        # With their ends, which are part of a field that is quoted.
        reader = csv.reader((f"{line}\n" for line in lines), delimiter=delimiter, quotechar=quote)
        out, at = [], 0
        try:
            for row in reader:
                out.append((at, row))
                at = reader.line_num
            return out
        except csv.Error:  # a field larger than it takes
            pass
    return [(i, line.split(delimiter)) for i, line in enumerate(lines)]


def find_lines(
    name: str, lines: Sequence[str], dialect: CsvDialect, wanted: Collection[str]
) -> Lines:
    """Where the header is, and the data.

    Parameters
    ----------
    lines : of the sample's head, the blank ones too
    dialect : with delimiter and quote; what it says of lines stands
    wanted : names that the header is known to have

    Raises
    ------
    FrameError : the header has more, or fewer, names than the lines below it have fields.
    """
    first = dialect.skip_lines or 0
    full = list(islice((i for i in range(first, len(lines)) if not is_blank(lines[i])), LINES))
    split_rows = _rows([lines[i] for i in full], dialect.delimiter or ",", dialect.quote or "")
    at, rows = [full[i] for i, _ in split_rows], [row for _, row in split_rows]
    named = _named(rows, wanted)
    data = _Data(rows[named or 0 :])
    start = next(i for i, row in enumerate(rows) if len(row) == data.width)
    begin = next((i for i, row in enumerate(rows) if data.has(row)), None)
    head: int | None = None
    if dialect.header is not False:
        head = _find_header(at, rows, data, begin) if named is None else named
        if dialect.skip_lines is not None and (head is not None or dialect.header):
            head = 0
        elif head is None and dialect.header:
            head = start
    if head is None:
        skip = at[start] if dialect.skip_lines is None else dialect.skip_lines
        names = dialect.names or tuple(f"column_{i + 1}" for i in range(data.width))
        return Lines(skip, False, dialect.skip_after_header or 0, names)
    begin = next((i for i in range(head + 1, len(rows)) if data.has_facts(rows[i])), None)
    n_below = dialect.skip_after_header
    if n_below is None:
        n_below = 0 if begin is None else at[begin] - at[head] - 1
        n_below = n_below if n_below <= _MOST_BELOW else 0
    skip = at[head] if dialect.skip_lines is None else dialect.skip_lines
    n_below += at[head] - skip if dialect.skip_lines is not None else 0
    return Lines(skip, True, n_below, dialect.names or _names(name, rows[head], data))


class _Data:
    """What the lines of data have in common.

    width : fields of each
    n_used : of these, without those at the end that are always empty
    """

    def __init__(self, rows: Sequence[Sequence[str]]) -> None:
        # Of as many, those of the later lines: the data are below what is not.
        self.width = Counter(len(row) for row in reversed(rows)).most_common(1)[0][0]
        self.rows = [row for row in rows if len(row) == self.width]
        self.rows = self.rows[-max(1, min(_ENOUGH, len(self.rows) // 2)) :]
        columns = list(zip(*self.rows, strict=True))
        self.n_used = max(map(_n_used, self.rows))
        self._facts = [i for i, cells in enumerate(columns) if _mostly(cells, is_fact)]
        self._moments = [i for i in self._facts if _mostly(columns[i], _is_moment)]

    def has(self, row: Sequence[str]) -> bool:
        """Whether a line is one of them."""
        if len(row) != self.width:
            return False
        times = [row[i].strip() for i in self._moments]
        if any(map(is_fact, times)):
            return True
        if times and all(_is_time_name(cell) for cell in times):
            return False
        cells = [row[i] for i in self._facts if not _is_missing(row[i])]
        return bool(cells) and sum(map(is_fact, cells)) * 2 >= len(cells)

    def has_facts(self, row: Sequence[str]) -> bool:
        """Whether a line below the header is data, with too few fields or too many, maybe."""
        if len(row) == self.width:
            return self.has(row)
        cells = [cell for cell in row if not _is_missing(cell)]
        return bool(cells) and sum(map(is_fact, cells)) * 2 >= len(cells)

    def may_be_named_by(self, row: Sequence[str]) -> bool:
        """Whether a line has as many names as there are columns, and words for the most part."""
        words = [cell for cell in row if cell.strip()]
        has_width = self.n_used <= len(row) and _n_used(row) <= self.width
        n_facts = sum(map(is_fact, words))
        return has_width and (n_facts * 2 < len(words) or any(map(_is_time_name, words)))


def _named(rows: Sequence[Sequence[str]], wanted: Collection[str]) -> int | None:
    """The row that has most of the names; None where there is none."""
    hits = [sum(cell.strip().lstrip("# ") in wanted for cell in row) for row in rows]
    return hits.index(max(hits)) if any(hits) else None


def _find_header(
    at: Sequence[int], rows: Sequence[Sequence[str]], data: _Data, begin: int | None
) -> int | None:
    """The row that is the header; None where there is none.

    Parameters
    ----------
    at : line of each row
    begin : the first row of data
    """
    above = rows[: len(rows) if begin is None else begin]
    named = [i for i, row in enumerate(above) if data.may_be_named_by(row)]
    if not named:
        # One name too few, as where the first column is of row numbers: it is asked for.
        is_short = begin and len(rows[begin - 1]) == data.n_used - 1 > 1
        return begin - 1 if begin and is_short and not any(map(is_fact, rows[begin - 1])) else None
    if begin is None:
        return named[0]
    # Those that follow each other, down to the data: the header, and units.
    block = [named[-1]]
    for i in reversed(named[:-1]):
        if at[block[-1]] - at[i] != 1:
            break
        block.append(i)
    block.reverse()
    return next((i for i in block if any(map(_is_time_name, rows[i]))), block[0])


def _names(name: str, row: Sequence[str], data: _Data) -> tuple[str, ...]:
    """The header's names, as many as a line of data has fields: "" for what has none."""
    names = [" ".join(cell.split()) for cell in row]
    names[0] = names[0].lstrip("# ")
    while len(names) > data.width and not names[-1]:
        names.pop()
    if data.n_used <= len(names) < data.width:  # a delimiter at the end of each line
        names += [""] * (data.width - len(names))
    if len(names) != data.width:
        raise FrameError(
            f"{name}: the header has {len(names)} names, and the lines below it have "
            f"{data.width} fields: {shorten(', '.join(names), 80)}",
            hint=Hint(
                as_names([*names, *[""] * data.width][: data.width]),
                ' names them, "" leaves one out; ',
                Choice(csv={"header": False}),
                " if it is not a header",
            ),
        )
    return tuple(names)


def as_names(names: Sequence[str]) -> Choice:
    """What names the columns, where they are few enough to be typed."""
    return Choice(csv={"names": list(names) if len(names) <= _FEW else [...]})


def _n_used(row: Sequence[str]) -> int:
    """Cells of a row without the empty ones at its end."""
    return max((i + 1 for i, cell in enumerate(row) if cell.strip()), default=0)


def _mostly(cells: Sequence[str], is_it: Callable[[str], bool]) -> bool:
    there = [cell for cell in cells if not _is_missing(cell)]
    return bool(there) and sum(map(is_it, there)) >= MOSTLY * len(there)


def _is_missing(cell: str) -> bool:
    return cell.strip() in KNOWN_NULLS


def is_fact(cell: str) -> bool:
    """Whether a cell is a number or a time."""
    if not any(map(str.isdigit, cell)):
        return False
    return FACT.fullmatch(cell) is not None or _MOMENT.match(cell) is not None


def _is_moment(cell: str) -> bool:
    return _MOMENT.match(cell) is not None and _PLAIN.fullmatch(cell) is None


def _is_time_name(cell: str) -> bool:
    return _TIME_WORD.search(cell) is not None and not is_fact(cell)
