"""What a frame means: where its times, devices, tags and measurements are.

All shapes end as one `Layout`: a time column and parts; a part is one device with its columns (a
frame with columns of many devices has many parts), or many devices told apart by a device column
(tree model) or by tags (table model). Values are not converted here.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from iotdb_frames.codec.names import (
    Target,
    check_node,
    is_utf8,
    join_path,
    normal_path,
    split_path,
)
from iotdb_frames.codec.quotes import quote_path_node
from iotdb_frames.codec.sources import Source
from iotdb_frames.codec.types import kind_of
from iotdb_frames.errors import FrameError, OptionsError
from iotdb_frames.writes.plan.labelled import (
    check_time_kind,
    find_times,
    labelled,
    plain_times,
    require,
)

Category = Literal["field", "tag", "attribute"]

TREE = Target("tree", path="root")
"""Where rows go that name their devices themselves."""


@dataclass(frozen=True)
class Column:
    """A column on its way to the server.

    name : measurement as the server wants it (quoted in the tree model, lower-case in tables)
    source : its values
    category : of the table model; the tree model has fields only
    """

    name: str
    source: Source
    category: Category = "field"


@dataclass(frozen=True)
class Part:
    """Columns that go to one device, or to the devices or tags that a row names.

    device : path; None where rows name it, and in the table model
    """

    device: str | None
    columns: tuple[Column, ...]


@dataclass(frozen=True)
class DeviceColumn:
    """The device of each row.

    label : of the column
    codes : int, shape (n_rows,), position in `paths`
    paths : device paths, each once; "" (only ever the last) where a row names none
    """

    label: Hashable
    codes: np.ndarray = field(repr=False)
    paths: tuple[str, ...]


@dataclass(frozen=True)
class Layout:
    """A frame, understood.

    target : where it goes
    n_rows : rows
    times : source of the times
    time_unit : unit of integer times, None where the times are datetimes
    parts : see `Part`
    device : device of each row; None where a part names it, and in the table model
    said : what the frame says of where it was read (see `frames.claims`)
    """

    target: Target
    n_rows: int
    times: Source
    time_unit: str | None
    parts: tuple[Part, ...]
    device: DeviceColumn | None = None
    said: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def columns(self) -> list[Column]:
        """The columns of all parts."""
        return [column for part in self.parts for column in part.columns]


def layout(
    data: Any,
    target: Target,
    *,
    time: Hashable | None = None,
    time_unit: str | None = None,
    device: Hashable | None = None,
    tags: Sequence[Hashable] = (),
    attributes: Sequence[Hashable] = (),
) -> Layout:
    """Understand a frame.

    Parameters
    ----------
    data : DataFrame, Series, pyarrow Table or RecordBatch
    time : label of the time column; None: the index (of Arrow data: the column ``time``)
    time_unit : "s", "ms", "us" or "ns" where times are numbers
    device : label of the column that names each row's device (tree model)
    tags, attributes : labels of these columns (table model)

    Raises
    ------
    FrameError, TimeIndexError, ColumnTypeError, OptionsError
    """
    table = labelled(data, time=time)
    times = find_times(table, time, time_unit)
    columns = dict(table.sources)
    columns.update(table.index)
    columns = {k: v for k, v in columns.items() if v is not times}
    times = plain_times(times)
    if not columns:
        raise FrameError("the frame has no columns to write", hint="only times, no measurements")
    require(columns, [device] if device is not None else [], "device")
    require(columns, tags, "tags")
    require(columns, attributes, "attributes")
    if target.model == "table":
        if device is not None:
            raise OptionsError(
                "device= belongs to the tree model", hint="in a table, name the column in tags="
            )
        parts: tuple[Part, ...] = (table_part(columns, tags, attributes),)
        return Layout(target, table.n_rows, times, time_unit, parts)
    if tags or attributes:
        raise OptionsError(
            "tags= and attributes= belong to the table model",
            hint="in the tree model, device= names the column of each row's device",
        )
    rows_of = None
    if device is not None:
        rows_of = _device_column(columns.pop(device), target)
        if not columns:
            raise FrameError("the frame has no columns to write", hint="only times and devices")
        parts = (Part(None, _measurements(columns)),)
    else:
        parts = _tree_parts(columns, target, table.n_column_levels)
    return Layout(target, table.n_rows, times, time_unit, parts, rows_of)


def rows_layout(
    times: Source,
    columns: Mapping[Hashable, Source],
    *,
    devices: Sequence[str] = (),
    codes: np.ndarray | None = None,
    target: Target = TREE,
    tags: Sequence[Hashable] = (),
    attributes: Sequence[Hashable] = (),
    time_unit: str | None = None,
) -> Layout:
    """The layout of rows that are columns already: what a stream collects.

    Parameters
    ----------
    times, columns : their sources, of the same length; of a table its tags, too
    devices : normal paths of the tree model
    codes : int, shape (n_rows,): each row's device, a position in `devices`
    target : the table, or the tree as a whole
    tags, attributes : labels of these columns of a table; all of them are in `columns`
    time_unit : "s", "ms", "us" or "ns" where times are integers

    Raises
    ------
    FrameError, TimeIndexError : a label that names no measurement, times that are not times.
    OptionsError : a column of a table that is a tag and an attribute.
    """
    is_integer = kind_of(times.type) == "int"
    check_time_kind(times, time_unit if is_integer else None)
    times = plain_times(times)
    unit = time_unit if is_integer else None
    if target.model == "table":
        return Layout(target, len(times), times, unit, (table_part(columns, tags, attributes),))
    if codes is None or len(devices) == 1:
        part = Part(devices[0], _measurements(columns))
        return Layout(target, len(times), times, unit, (part,))
    found = DeviceColumn("device", narrow(codes, len(devices) + 1), (*devices, ""))
    return Layout(target, len(times), times, unit, (Part(None, _measurements(columns)),), found)


def dictionary_codes(source: Source) -> tuple[np.ndarray, Any]:
    """Codes (int, shape (n_rows,)) of a text column, null the last, and its distinct texts."""
    data: Any = source.take(slice(0, len(source)))
    if pa.types.is_null(data.type):
        data = data.cast(pa.string())
    if not pa.types.is_dictionary(data.type):
        data = data.dictionary_encode()
    elif pc.count_distinct(data.dictionary, mode="only_valid").as_py() < len(data.dictionary):
        data = data.dictionary_decode().dictionary_encode()  # it had a text twice, or a null
    indices = data.indices.cast(pa.int32())
    codes = np.asarray(indices.fill_null(len(data.dictionary)) if indices.null_count else indices)
    codes, texts = narrow(codes, len(data.dictionary) + 1), data.dictionary
    del data, indices
    pa.default_memory_pool().release_unused()  # numpy, which comes next, cannot take it from there
    return codes, texts


def narrow(codes: np.ndarray, n_codes: int) -> np.ndarray:
    """Codes as 16 bits where they fit: small, and sorted by radix, several times faster."""
    return codes.astype(np.uint16, copy=False) if n_codes <= 1 << 16 else codes


def _device_column(source: Source, target: Target) -> DeviceColumn:
    if kind_of(source.type) not in ("string", "null"):
        raise FrameError(
            f"device column {source.label!r} ({source.dtype}) must hold text",
            column=source.label,
            hint=as_text(source),
        )
    codes, names = dictionary_codes(source)
    is_used = (np.bincount(codes, minlength=len(names)) > 0).tolist()  # a category need not occur
    paths = []
    for i, name in enumerate(names.to_pylist()):
        try:
            paths.append(normal_path(name, under=target.path) if is_used[i] else "")
        except OptionsError as exc:
            row = int(np.argmax(codes == i))
            raise FrameError(
                f"row {row}: {exc.message}",
                reason=exc.message,
                column=source.label,
                row=row,
                hint="a device's name is a path below the target; odd names go in back-quotes",
            ) from exc
    # Two spellings of one path are one device; rows without a name come last.
    place = {path: i for i, path in enumerate(dict.fromkeys(filter(None, paths)))}
    if len(place) < len(paths):
        places = [place.get(path, len(place)) for path in [*paths, ""]]
        codes = narrow(np.array(places, np.int32), len(place) + 1)[codes]
    return DeviceColumn(source.label, codes, (*place, ""))


def _name(label: Hashable) -> str:
    if isinstance(label, str) and label:
        return label
    if label is None:
        raise FrameError(
            "the index would be a column, and it has no name",
            hint="df.reset_index(drop=True), or df.index.name = '…'",
        )
    if isinstance(label, str):
        raise FrameError("a column has an empty label", column=label, hint="give it a name")
    raise FrameError(
        f"label {label!r} ({type(label).__name__}) is not text",
        column=label,
        hint="df.columns = df.columns.map(str)",
    )


def _measurements(columns: Mapping[Hashable, Source]) -> tuple[Column, ...]:
    return tuple(
        Column(quote_path_node(_measurement(k, source.label)), source)
        for k, source in columns.items()
    )


def _measurement(name: Hashable, label: Hashable) -> str:
    text = _name(name)
    with _blame(label):
        check_node(text)
    return text


@contextmanager
def _blame(label: Hashable) -> Iterator[None]:
    """A name that is no option's but the frame's is the frame's fault."""
    try:
        yield
    except OptionsError as exc:
        raise FrameError(exc.message, column=label, hint=exc.hint) from exc


def _tree_parts(columns: dict[Hashable, Source], target: Target, n_levels: int) -> tuple[Part, ...]:
    """One part for a wide frame; one per device for (device, measurement) and full-path columns."""
    if n_levels > 2:
        raise FrameError(
            f"columns have {n_levels} levels", hint="at most two: (device, measurement)"
        )
    grouped: dict[str, dict[Hashable, Source]] = {}
    if n_levels == 2:
        for label, source in columns.items():
            if not isinstance(label, tuple):
                raise FrameError(f"column {label!r} has one level", column=label)
            with _blame(label):
                path = normal_path(_name(label[0]), under=target.path)
            _put(grouped, path, _name(label[1]), source)
    else:
        full = [k for k in columns if isinstance(k, str) and k.startswith("root.")]
        if not full:
            if target.path == "root":
                raise OptionsError("root is not a device", hint='e.g. "root.plant.press1"')
            return (Part(target.path, _measurements(columns)),)
        if len(full) < len(columns):
            other = next(k for k in columns if k not in set(full))
            raise FrameError(
                f"{full[0]!r} is a full path and {other!r} is not",
                column=other,
                hint="either all columns are full paths, or none",
            )
        for label in full:
            with _blame(label):
                nodes = split_path(label)
                if len(nodes) < 3:
                    raise OptionsError(f"{label!r} names no measurement of a device")
                path = normal_path(join_path(nodes[:-1]), under=target.path)
            _put(grouped, path, nodes[-1], columns[label])
    return tuple(Part(path, _measurements(found)) for path, found in grouped.items())


def _put(grouped: dict[str, dict[Hashable, Source]], path: str, name: str, source: Source) -> None:
    found = grouped.setdefault(path, {})
    if name in found:
        raise FrameError(f"{path}.{name} occurs more than once", column=source.label)
    found[name] = source


def table_part(
    columns: Mapping[Hashable, Source], tags: Sequence[Hashable], attributes: Sequence[Hashable]
) -> Part:
    """The columns of a table, by what they are: tags first, in their order.

    Raises
    ------
    FrameError : a name that no column of a table has, a tag or attribute that is not text.
    OptionsError : a column that is both.
    """
    both = set(tags) & set(attributes)
    if both:
        raise OptionsError(f"{both.pop()!r} is in tags= and in attributes=")
    seen: dict[str, Hashable] = {}
    out = []
    # Tags first, in the order they were given: it is the order of the table's key.
    order = [*tags, *attributes, *(k for k in columns if k not in {*tags, *attributes})]
    for label in order:
        name = _name(label).lower()
        if not is_utf8(name):
            raise FrameError(
                f"{label!r} holds a lone surrogate", column=label, hint="rename the column"
            )
        if name == "time":
            raise FrameError(
                f"a column of a table cannot be called {label!r}: that is the time itself",
                column=label,
                hint="rename it, or make it the time column: time='…'",
            )
        if (same := fold(name)) in seen:
            raise FrameError(
                f"{seen[same]!r} and {label!r} are one column in a table: names are lower-case",
                column=label,
                hint="rename one",
            )
        seen[same] = label
        category: Category = (
            "tag" if label in tags else "attribute" if label in attributes else "field"
        )
        source = columns[label]
        if category != "field" and kind_of(source.type) not in ("string", "null"):
            raise FrameError(
                f"{category} {label!r} ({source.dtype}) must hold text",
                column=label,
                hint=as_text(source),
            )
        out.append(Column(name, source, category))
    return Part(None, tuple(out))


def as_text(source: Source) -> str:
    """How to make a column text whose missing values stay missing, which `str` would spell out."""
    whole = '.astype("Int64")' if kind_of(source.type) == "float" else ""
    if kind_of(source.type) == "bytes":
        return f'df[{source.label!r}].str.decode("utf-8")'
    if isinstance(source.data, np.ndarray) and source.data.dtype.kind in "iub":
        return f"df[{source.label!r}].astype(str)"  # none is missing
    return f'df[{source.label!r}]{whole}.astype("string")'


def fold(name: str) -> str:
    """The same for names that are one to the server: Java's `equalsIgnoreCase`."""
    return "".join(
        upper.lower() if len(upper := letter.upper()) == 1 else letter for letter in name
    )


def as_positions(rows: slice | np.ndarray) -> np.ndarray:
    """Rows of the frame, a slice of them or their positions, as positions."""
    return np.arange(rows.start, rows.stop) if isinstance(rows, slice) else rows


def row_positions(mask: np.ndarray, rows: slice | np.ndarray) -> np.ndarray:
    """Positions in the frame of the True cells of a slice's mask."""
    at = np.flatnonzero(mask)
    return rows[at] if isinstance(rows, np.ndarray) else at + (rows.start or 0)
