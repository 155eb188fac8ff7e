"""How a CSV file is read, for a person: what was found out, by what, and values as they become."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from iotdb_frames.display.grid import Grid
from iotdb_frames.display.words import plural
from iotdb_frames.files.csv.cells import trim
from iotdb_frames.files.csv.dialect import KNOWN_NULLS, CsvDialect
from iotdb_frames.files.csv.infer_lines import LINES, split
from iotdb_frames.files.csv.infer_numbers import show_marks
from iotdb_frames.files.csv.infer_times import day_or_month
from iotdb_frames.files.csv.reader import JOINED, CsvReader
from iotdb_frames.files.options import FileOptions
from iotdb_frames.files.pieces import Piece
from iotdb_frames.files.sources import SourceFile


@dataclass(frozen=True)
class Explained:
    """How one file is read.

    facts : (label, value), or (label, (value, what shows it))
    values : two of each column, as they stand in the file and as they are read
    """

    file: str
    facts: Sequence[tuple[str, Any]]
    values: Grid


def explain(file: SourceFile, options: FileOptions, dialect: CsvDialect) -> Explained:
    """What a person should see of how a file is read, before it is.

    Raises
    ------
    FrameError : it cannot be read.
    """
    piece = CsvReader(file, options, dialect).first_piece()
    rows = [] if piece is None else _fields(piece, dialect)
    how = _grounds(options.csv, dialect, rows)
    facts = [(k, (v, how[k]) if how.get(k) else v) for k, v in dialect.facts()]
    header = ("column", "type", "in the file", "is read as", "and", "as")
    values = [] if piece is None or not rows else _values(piece.data, rows, dialect, options)
    return Explained(file.name, facts, Grid(header, values))


def _fields(piece: Piece, dialect: CsvDialect) -> list[list[str]]:
    """The first rows, as the file has them."""
    texts = piece.texts(np.arange(min(LINES, len(piece.data)))).to_pylist()
    delimiter, quote = dialect.delimiter or ",", dialect.quote or ""
    return [split(text.split("\n"), delimiter, quote)[0] for text in texts]


def _values(
    data: pa.Table, rows: list[list[str]], dialect: CsvDialect, options: FileOptions
) -> list[list[str]]:
    names = list(dialect.names or ())
    out = []
    for label in data.column_names:
        parts = [label] if label in names else list(dialect.time_columns or ())
        if label not in names and label != JOINED:
            continue  # of the file's path
        cells = [" ".join(row[names.index(part)].strip() for part in parts) for row in rows]
        # The longest shows most of how it is written.
        longest = max(range(len(cells)), key=lambda i: len(cells[i]))
        other = (i for i, cell in enumerate(cells) if cell and cell != cells[longest])
        unit = options.time_unit if label == options.time else None
        shown = [label, str(data[label].type)]
        for i in sorted({longest, next(other, longest)}):
            shown += [repr(cells[i]), _text(data[label][i], unit)]
        out.append(shown + [""] * (6 - len(shown)))
    return out


def _text(value: pa.Scalar, unit: Any) -> str:
    if not value.is_valid:
        return "missing"
    if unit is not None:
        number = value.as_py()
        number = number if isinstance(number, int) else float(number)
        return str(pd.to_datetime(number, unit=unit, utc=True, errors="coerce"))
    return str(value.as_py() if pa.types.is_dictionary(value.type) else value)


def _grounds(given: CsvDialect, dialect: CsvDialect, rows: list[list[str]]) -> dict[str, str]:
    """What shows each fact, by its label."""
    names = dialect.names or ()
    times = set(dialect.time_columns or ())
    nulls = (*(dialect.null_values or ()), *KNOWN_NULLS)
    cells = {
        name: trim(pa.array([row[i] for row in rows], pa.string()), nulls)
        for i, name in enumerate(names)
        if name and name not in times
    }
    point, group = show_marks(cells, dialect)
    widths = Counter(map(len, rows))
    found = {
        "encoding": "",
        "delimiter": f"{len(names)} fields in {widths[len(names)]} of {plural(len(rows), 'line')}",
        "decimal": point or "assumed: no number has a fraction",
        "thousands": group,
        "missing": "not among texts" if dialect.nulls_in_texts is False else "among texts, too",
        "time": _order(given, dialect, rows),
    }
    said = {"time": "time_format", "missing": "null_values"}
    return {
        label: "as given" if getattr(given, said.get(label, label)) is not None else how
        for label, how in found.items()
    }


def _order(given: CsvDialect, dialect: CsvDialect, rows: list[list[str]]) -> str:
    """What shows whether the day or the month is first; "" where the form leaves no choice."""
    order = day_or_month(dialect.time_format or "")
    if order is None:
        return ""
    first = "day" if order[0] == "d" else "month"
    if given.day_first is not None:
        return f"the {first} first, as given"
    at = (dialect.names or ()).index((dialect.time_columns or ("",))[0])
    for row in rows:
        one, two, *_ = [int(n) for n in re.findall(r"\d+", row[at])] or [0, 0]
        if max(one, two) > 12:
            return f"the {first} first, as {row[at].strip()} shows"
    return f"the {first} first, as dates with dots have it" if order[1] == "." else ""
