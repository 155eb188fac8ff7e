"""A running query of `read`, and how its columns become a frame's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from iotdb_frames.reads.ask import DEVICE, Ask
from iotdb_frames.reads.form import Form
from iotdb_frames.reads.frames import FrameBuilder
from iotdb_frames.reads.grid import fill_windows
from iotdb_frames.reads.result import QueryResult
from iotdb_frames.reads.select import Windows
from iotdb_frames.reads.wide import widen

R = TypeVar("R", pa.Table, pa.RecordBatch)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A running query, and how its columns become a frame's.

    places, names : positions in the result and their labels in the frame; the time is the first
    n_keys : how many behind the time name a device
    attributes : which of the names are attributes of a table
    base : prefix to cut from the paths in the device column, where there is one
    windows : None: rows as they are stored
    all_types : IoTDB types of the names, where they are those of several results
    """

    result: QueryResult
    ask: Ask
    places: Sequence[int]
    names: Sequence[str]
    n_keys: int = 0
    attributes: Sequence[str] = ()
    base: str | None = None
    windows: Windows | None = None
    all_types: Mapping[str, str] | None = None

    @property
    def types(self) -> dict[str, str]:
        """IoTDB types of the names, but for the time and a column of devices' paths."""
        if self.all_types is not None:
            return dict(self.all_types)
        header = self.result.header
        types = ["TIMESTAMP"] * header.has_time + list(header.type_names)
        n_left_out = 1 + (self.n_keys if self.base is not None else 0)
        named = zip(self.names[n_left_out:], self.places[n_left_out:], strict=True)
        return {name: types[place] for name, place in named}

    def whole(self, form: Form) -> Any:
        """All rows at once."""
        if self.ask.wide or self.ask.fill is not None or form.returns != "pandas":
            return self.some(self.result.to_arrow(), form)

        def build(batches: Iterator[pa.RecordBatch]) -> pd.DataFrame:
            fields = (self.result.schema.field(i) for i in self.places)
            builder = FrameBuilder(
                pa.schema(f.with_name(name) for f, name in zip(fields, self.names, strict=True)),
                index=0,
                time_zone=self.result.time_zone,
                tz=form.tz,
                dtype_backend=form.dtype_backend,
            )
            for batch in batches:
                builder.add(self.pick(batch))
            return builder.finish()

        return self._claim(self.result.gather(build))

    def some(self, rows: pa.Table, form: Form) -> Any:
        """Rows of the result in a form."""
        table = self.pick(rows)
        del rows
        return self.finish(table, form)

    def finish(self, table: pa.Table, form: Form) -> Any:
        """Picked rows in a form."""
        ask = self.ask
        if self.windows is not None and ask.fill is not None:
            table = fill_windows(
                table,
                keys=range(1, 1 + self.n_keys),
                first=self.windows.first,
                every=self.windows.every,
                n_windows=self.windows.n_windows,
                fill=ask.fill,
            )
        labels = None
        if ask.wide:
            table, labels = widen(table)
        if ask.limit is not None:
            table = table.slice(0, ask.limit)
        frame = form.of(table, index=0, time_zone=self.result.time_zone)
        if form.returns != "pandas":
            return frame
        if labels is not None:
            frame.columns = pd.MultiIndex.from_tuples(labels, names=[DEVICE, "measurement"])
        return self._claim(frame)

    def pick(self, rows: R) -> R:
        """The frame's columns of the result's, under their labels."""
        table = type(rows).from_arrays([rows.column(i) for i in self.places], list(self.names))
        if self.base is None:
            return table
        below = pc.utf8_slice_codeunits(table.column(1), len(self.base) + 1)
        return table.set_column(1, self.names[1], below)

    def _claim(self, frame: pd.DataFrame) -> pd.DataFrame:
        frame.attrs["iotdb"] = self._attrs() | _zone_of(frame.index)
        return frame

    def _attrs(self) -> dict[str, Any]:
        """The frame's own attributes: plain values, so that Parquet and pickle keep them."""
        ask = self.ask
        keys = list(self.names[1 : 1 + self.n_keys])
        attrs: dict[str, Any] = {
            "target": str(ask.target),
            "types": self.types,
            "precision": ask.precision,
        }
        if self.base is not None and not ask.wide:
            attrs["device"] = keys[0]
        if ask.target.model == "table":
            attrs["tags"] = keys
            attrs["attributes"] = list(self.attributes)
        if self.windows is not None:
            attrs["every"] = f"{self.windows.every}{ask.precision}"
            attrs["agg"] = dict(zip(self.names[1 + self.n_keys :], self.windows.words, strict=True))
        return attrs


def _zone_of(index: pd.Index) -> dict[str, str]:
    zone = getattr(index, "tz", None)
    return {} if zone is None else {"tz": str(zone)}
