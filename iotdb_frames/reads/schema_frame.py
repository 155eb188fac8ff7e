"""What `show` gives: a DataFrame that looks like the other cards in a notebook."""

from __future__ import annotations

from typing import Any

import pandas as pd

from iotdb_frames.display.card import Card
from iotdb_frames.display.grid import MAX_ROWS, Grid
from iotdb_frames.display.words import plural


class SchemaFrame(pd.DataFrame):
    """A DataFrame that shows itself as a card; whatever is made of it is a plain one."""

    _metadata = ["_title"]  # noqa: RUF012 - pandas wants a list

    @classmethod
    def of(cls, frame: pd.DataFrame, *, what: str, where: str) -> SchemaFrame:
        """`frame`, under a title."""
        made = cls(frame)
        object.__setattr__(made, "_title", (what, where))
        return made

    @property
    def _constructor(self) -> Any:
        return pd.DataFrame

    def _repr_html_(self) -> str:
        head = self.head(MAX_ROWS).dropna(axis="columns", how="all")  # what no row has says nothing
        columns = [column.astype(object).where(column.notna(), "") for _, column in head.items()]
        more = len(self) - len(head)
        what, where = self._title
        return Card(
            what,
            where,
            facts=[("found", plural(len(self), "row"))],
            grids=[Grid([*map(str, head.columns)], [*zip(*columns, strict=True)])]
            * bool(len(self)),
            notes=[f"{plural(more, 'more row')}: the frame has them"] * bool(more),
        ).html()
