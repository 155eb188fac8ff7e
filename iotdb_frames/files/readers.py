"""Which reader reads a file."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from typing import Protocol

from iotdb_frames.files.batches import BatchReader
from iotdb_frames.files.csv.dialect import CsvDialect
from iotdb_frames.files.csv.forms import Forms
from iotdb_frames.files.csv.infer import infer_dialect
from iotdb_frames.files.csv.reader import CsvReader
from iotdb_frames.files.json_lines import JsonReader
from iotdb_frames.files.options import FileOptions
from iotdb_frames.files.parquet import ParquetReader
from iotdb_frames.files.pieces import Piece, Range
from iotdb_frames.files.sources import EmptyFile, SourceFile


class Reader(Protocol):
    """What can be read as pieces; that of a file gives a `sample` of it, too."""

    time: Hashable | None

    def pieces(self, ranges: Iterable[Range]) -> Iterator[Piece]:
        """The frames of ascending ranges."""


def open_reader(
    file: SourceFile,
    options: FileOptions,
    dialect: CsvDialect | None = None,
    *,
    forms: Forms | None = None,
) -> CsvReader | JsonReader | ParquetReader | BatchReader:
    """What reads a file.

    Parameters
    ----------
    dialect : of a CSV or JSON file; None: it is inferred
    forms : of CSV files that came before

    Raises
    ------
    EmptyFile : there is nothing in it.
    FrameError : it cannot be opened, or is not what its ending says.
    """
    if file.size == 0:
        raise EmptyFile(file.name)
    if file.format == "csv":
        return CsvReader(file, options, dialect or infer_dialect(file, options, forms=forms))
    if file.format == "parquet":
        return ParquetReader(file, options)
    if file.format == "json":
        return JsonReader(file, options, dialect)
    return BatchReader(file, options)
