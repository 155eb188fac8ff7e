"""Parsed rows of a block, on their way to a piece, and the piece: both know the lines they are."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from iotdb_frames.files.csv.dialect import CsvDialect
from iotdb_frames.files.csv.records import Block, Records
from iotdb_frames.files.pieces import Piece, Refusal


@dataclass
class BlockRows:
    """Parsed rows of a block, on their way to a frame.

    at : int64, shape (n,): record of the block each row is; None: all of them, in order
    """

    table: pa.Table
    at: np.ndarray | None = None
    refusals: list[Refusal] = field(default_factory=list)

    def drop(self, is_bad: np.ndarray) -> np.ndarray:
        """Leave rows out (bool, shape (n,)); the records they are."""
        at = np.arange(self.table.num_rows) if self.at is None else self.at
        self.table = self.table.filter(pa.array(~is_bad))
        self.at = at[~is_bad]
        return np.asarray(at[is_bad])

    def merged(self, others: BlockRows) -> BlockRows:
        """These rows and others of the block, in their order; the refusals are those of these."""
        table = pa.concat_tables([self.table, others.table], promote_options="permissive")
        at = np.concatenate([self.at, others.at])
        order = np.argsort(at)
        return BlockRows(table.take(pa.array(order)), at[order], self.refusals)


class CsvPiece(Piece):
    """A unit of a CSV file: it knows the lines of its rows."""

    def __init__(self, block: Block, dialect: CsvDialect, data: pa.Table, **values: Any) -> None:
        super().__init__(block.start, block.stop, data, **values)
        self._block, self._dialect = block, dialect
        self.line, self.end_line, self.n_bytes = block.line, block.end_line, block.n_bytes

    @cached_property
    def _records(self) -> Records:
        return Records(self._block.data, self._dialect)

    def _at(self, positions: np.ndarray) -> np.ndarray:
        return positions if self.rows is None else self.rows[positions]

    def lines(self, positions: np.ndarray) -> np.ndarray:
        return np.asarray(self._records.lines[self._at(positions)] + self.line)

    @property
    def texts(self) -> Any:
        return self._texts

    def _texts(self, positions: np.ndarray) -> pa.Array:
        return self._records.texts(self._at(positions))


def refusal_of(block: Block, records: Records, at: np.ndarray, reason: str) -> Refusal:
    return Refusal(records.lines[at] + block.line, records.texts(at), reason)
