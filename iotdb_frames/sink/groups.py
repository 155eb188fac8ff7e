"""What was collected, put together again: rows of one shape, of however many devices, as one plan.

Blocks that have the same columns are joined, whatever their devices, so that a thousand devices of
one kind are planned and encoded as one frame. A device's rows never change their order: a block
that would overtake an earlier one of its device begins a new group.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
import pyarrow as pa

from iotdb_frames.codec.sources import Source, from_arrow, from_numpy, from_pandas
from iotdb_frames.errors import IoTDBFramesError
from iotdb_frames.sink.devices import Devices
from iotdb_frames.sink.rows import TIME, Block, Device, Types

Refused = tuple[np.ndarray, IoTDBFramesError]
KeyOf = Callable[[Device, tuple[str, ...]], Hashable]
"""Gives equal keys for devices that can be planned together: (device, measurements) to key."""


@dataclass
class Group:
    """Rows that are planned together.

    columns, times : sources, shape (n_rows,)
    devices, codes : each row's device, `codes` a position in `devices`
    owners : int32, shape (n_rows,): what each row came with, a position in the batch
    at : positions of the rows in `root`, which it is a part of; None: it is its own root
    refused : rows (positions in `root`) that were refused, and why; held by the root
    empty : rows (positions in `root`) of missing values only; held by the root
    """

    columns: Mapping[Hashable, Source]
    times: Source
    time_unit: str
    types: Types | None
    devices: tuple[Device, ...]
    codes: np.ndarray
    owners: np.ndarray
    root: Group | None = None
    at: np.ndarray | None = None
    refused: list[Refused] = field(default_factory=list)
    empty: list[np.ndarray] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.owners)

    def refuse(self, rows: slice | np.ndarray, error: IoTDBFramesError) -> None:
        """Note rows that will not be stored."""
        (self.root or self).refused.append((self._in_root(rows), error))

    def note_empty(self, rows: np.ndarray) -> None:
        """Note rows of missing values only, of which nothing will be stored."""
        (self.root or self).empty.append(self._in_root(rows))

    def _in_root(self, rows: slice | np.ndarray) -> np.ndarray:
        at = np.arange(len(self))[rows] if isinstance(rows, slice) else rows
        return at if self.at is None else self.at[at]

    def is_refused(self) -> np.ndarray:
        """bool, shape (n_rows,)."""
        mask = np.zeros(len(self), bool)
        for rows, _ in self.refused:
            mask[rows] = True
        return mask

    def part(self, rows: np.ndarray, *, without: Hashable = None) -> Group:
        """The group of some rows (positions), less a column."""
        at = rows if self.at is None else self.at[rows]
        return replace(
            self,
            columns={n: _take(s, rows) for n, s in self.columns.items() if n != without},
            times=_take(self.times, rows),
            codes=self.codes[rows],
            owners=self.owners[rows],
            root=self.root or self,
            at=at,
            refused=[],
            empty=[],
        )

    def devices_of(self, rows: slice | np.ndarray) -> list[Device]:
        """The devices of some rows, each once."""
        return [self.devices[code] for code in np.unique(self.codes[rows]).tolist()]

    def table(self, rows: np.ndarray, devices: Devices) -> pa.Table:
        """Some rows as a person may look at them: device or tags, time, measurements."""
        named = devices.columns(self.devices, self.codes[rows])
        arrays = {label: column.dictionary_decode() for label, column in named.items()}
        for name, source in [(TIME, self.times), *self.columns.items()]:
            label = f"{name}." if name in arrays else str(name)
            arrays[label] = _arrow(source, rows)
        return pa.table(arrays)


def _take(source: Source, rows: np.ndarray) -> Source:
    return replace(source, data=source.take(rows))


def _arrow(source: Source, rows: np.ndarray) -> pa.Array:
    data = source.take(rows)
    if isinstance(data, np.ndarray):
        return pa.array(data.astype(data.dtype.newbyteorder("=")), type=source.type)
    return data


def gather(
    blocks: Sequence[tuple[Block, np.ndarray]],
    key_of: KeyOf,
) -> list[Group]:
    """Groups of blocks, in the order they are to be sent.

    Parameters
    ----------
    blocks : with the owner of each of their rows, in the order they came
    key_of : see `KeyOf`
    """
    joined: list[list[tuple[Block, np.ndarray]]] = []
    latest: dict[Hashable, int] = {}
    last_of: dict[Device, int] = {}
    for whole, owner in blocks:
        for block, owners, key in _same_key(whole, owner, key_of):
            group = latest.get(key)
            if group is None or any(last_of.get(d, -1) > group for d in block.devices):
                group = len(joined)
                joined.append([])
                latest[key] = group
            joined[group].append((block, owners))
            for device in block.devices:
                last_of[device] = group
    return [_join(some) for some in joined]


def _same_key(
    block: Block, owners: np.ndarray, key_of: KeyOf
) -> list[tuple[Block, np.ndarray, Hashable]]:
    """A block in parts whose devices are alike, as a rule one."""
    names = block.names
    asked = tuple(block.types.get(name) for name in names) if block.types else None
    keys = [key_of(device, names) for device in block.devices]
    kinds = list(dict.fromkeys(keys))
    if len(kinds) == 1:
        return [(block, owners, (block.key, asked, kinds[0]))]
    of_device = np.array([kinds.index(key) for key in keys])
    of_row = of_device[block.row_devices()]
    out: list[tuple[Block, np.ndarray, Hashable]] = []
    for i, kind in enumerate(kinds):
        is_kind = of_row == i
        out.append((block.take(is_kind), owners[is_kind], (block.key, asked, kind)))
    return out


def _join(some: list[tuple[Block, np.ndarray]]) -> Group:
    blocks = [block for block, _ in some]
    first = blocks[0]
    devices = tuple(dict.fromkeys(device for block in blocks for device in block.devices))
    owners = np.concatenate([owners for _, owners in some])
    codes = np.zeros(len(owners), np.int32)
    if len(devices) > 1:
        place = {device: i for i, device in enumerate(devices)}
        codes = np.concatenate(
            [np.array([place[d] for d in b.devices], np.int32)[b.row_devices()] for b in blocks]
        )
    columns: dict[Hashable, Source]
    if first.times is None:
        times, columns = _join_frames([b.data for b in blocks])
    else:
        table = first.data if len(blocks) == 1 else pa.concat_tables([b.data for b in blocks])
        times = from_arrow(_joined([b.times for b in blocks]), TIME)
        columns = {name: from_arrow(_whole(table[name]), name) for name in first.names}
    return Group(columns, times, first.time_unit, first.types, devices, codes, owners)


def _join_frames(frames: list[pd.DataFrame]) -> tuple[Source, dict[Hashable, Source]]:
    """Times and columns of frames that have the same columns and dtypes."""
    first = frames[0]
    dtypes = set(first.dtypes)
    index = first.index if len(frames) == 1 else first.index.append([f.index for f in frames[1:]])
    times = from_pandas(index, index.name)
    kind = next(iter(dtypes)) if len(dtypes) == 1 else None
    if isinstance(kind, np.dtype) and kind.kind in "fiub":
        # Of one dtype they are one array each: joined as such, every column is contiguous.
        stack = np.concatenate([frame.to_numpy().T for frame in frames], axis=1)
        return times, {
            name: from_numpy(column, name)
            for name, column in zip(first.columns, stack, strict=True)
        }
    frame = first if len(frames) == 1 else pd.concat(frames)
    return times, {name: from_pandas(frame[name], name) for name in frame.columns}


def _joined(arrays: list[pa.Array | pa.ChunkedArray]) -> pa.Array:
    chunks = [c for a in arrays for c in (a.chunks if isinstance(a, pa.ChunkedArray) else [a])]
    return chunks[0] if len(chunks) == 1 else pa.concat_arrays(chunks)


def _whole(column: pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    return column if column.num_chunks == 1 else column.combine_chunks()
