"""CSV files as they are read, without a server, and hints that are a command."""

from __future__ import annotations

import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from iotdb_frames.files.csv.dialect import CsvDialect
from iotdb_frames.files.csv.infer import infer_dialect
from iotdb_frames.files.csv.reader import CsvReader
from iotdb_frames.files.options import FileOptions
from iotdb_frames.files.sources import find_files


@dataclass
class Found:
    """What was read.

    refused : {line: reason}
    n_units : so many units it took
    """

    dialect: CsvDialect
    table: pa.Table
    refused: dict[int, str]
    n_units: int

    @property
    def rows(self) -> list[tuple[Any, ...]]:
        """Rows of Python values."""
        return list(zip(*(c.to_pylist() for c in self.table.columns), strict=True))

    @property
    def kinds(self) -> dict[str, str]:
        """Arrow types by column."""
        return {f.name: str(f.type) for f in self.table.schema}


def read_csv(file: Path, **asked: Any) -> Found:
    """Find out how a file is written, and read it."""
    options = FileOptions(**asked)
    (source,), _ = find_files(str(file))
    dialect = infer_dialect(source, options)
    reader = CsvReader(source, options, dialect)
    pieces = list(reader.pieces([(0, None, 0)]))
    refused = {
        line: r.reason for piece in pieces for r in piece.refusals for line in r.lines.tolist()
    }
    tables = [p.data for p in pieces]
    return Found(
        reader.dialect, pa.concat_tables(tables, promote_options="permissive"), refused, len(pieces)
    )


def follow(hint: str | None, folder: Path) -> None:
    """Run the Python command at a hint's end."""
    command = str(hint).rpartition("python ")[2]
    subprocess.run([sys.executable, *shlex.split(command)], cwd=folder, check=True)
