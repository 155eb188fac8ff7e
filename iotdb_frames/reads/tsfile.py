"""`read_tsfile`: a TsFile as a frame, without a server, and what is in one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from iotdb_frames.client.connect import resolve_connection
from iotdb_frames.client.connection import Connection
from iotdb_frames.codec.cells import Precision
from iotdb_frames.codec.names import normal_path, parse_target, split_path
from iotdb_frames.codec.times import moment
from iotdb_frames.codec.tsblock import arrow_type
from iotdb_frames.display.card import Card, Shown
from iotdb_frames.display.grid import Grid
from iotdb_frames.display.words import count, size
from iotdb_frames.errors import Choice, FrameError, Hint, OptionsError, nearest
from iotdb_frames.options import TSDataType, check_choice, zone_name
from iotdb_frames.reads.ask import DEVICE
from iotdb_frames.reads.form import Form
from iotdb_frames.reads.frames import DtypeBackend, FrameBuilder
from iotdb_frames.reads.loaded import read_loaded
from iotdb_frames.tsfile.layout import NO_END, NO_START, tree_path
from iotdb_frames.tsfile.reader import TsFileReader

_FOREVER = (-(1 << 63), (1 << 63) - 1)


def read_tsfile(
    path: str | os.PathLike[str],
    *,
    target: str | None = None,
    columns: Sequence[str] | None = None,
    start: Any = None,
    end: Any = None,
    device: str | None = None,
    returns: Literal["pandas", "arrow", "polars", "batches"] = "pandas",
    tz: str | tzinfo | None = None,
    dtype_backend: DtypeBackend = None,
    precision: Precision = "ms",
    time_zone: str = "UTC",
    via: Connection | str | None = None,
) -> Any:
    """Rows of a TsFile, as `read` gives those of a database; needs no server.

    Values that are PLAIN, TS_2DIFF or, of BOOLEAN, RLE, compressed by LZ4, Snappy, Zstd or nothing:
    all that `write_tsfile` writes. FLOAT and DOUBLE of aligned devices and tables in GORILLA are
    read with IoTDB's own package (extra ``[tsfile]``). A column in another encoding is refused by
    its name: leave it out by `columns`, or let a server read the file, `via="local:"`. What a
    server has deleted since it wrote a file of its own is still in the file.

    Parameters
    ----------
    path : of the file
    target : a device, or a prefix of devices; the table. None: all devices, or the only table
    columns : measurements or fields, in this order; None: all
    start, end : first time, and first that is left out, as `read` takes them
    device : label of the column that names each row's device, where there are several
    returns : "pandas", "arrow", "polars" as in `read`, or "batches": a RecordBatchReader, which
        takes the memory of a chunk, and which `write` takes
    tz, dtype_backend : as `read` takes them; not for batches, whose times are UTC ticks
    precision : of the server that wrote the file, which does not say it
    time_zone : in which naive times are meant
    via : a Connection or URL of a server on this machine that reads the file, in any encoding: it
        is loaded, read as `read` does (of several devices `target` must be said), and dropped
        again. The server must not have a database of the file's paths. None: no server

    Returns
    -------
    DataFrame, or what `returns` says : device by device, each in time order

    Raises
    ------
    OptionsError : no such file, device or table; `via` has a database of that name.
    ServerError : `via` does not load the file.
    FrameError : it is no whole TsFile, or has what cannot be read exactly.
    """
    check_choice("precision", precision, ("ms", "us", "ns"))
    zone = zone_name(time_zone, option="time_zone")
    form = Form(
        returns="arrow" if returns == "batches" else returns, tz=tz, dtype_backend=dtype_backend
    )
    if via is not None:
        if returns == "batches":
            raise OptionsError('via= has no batches: returns="arrow", or another')
        with open_tsfile(path) as reader:
            return read_loaded(
                reader,
                target,
                _counting_in(precision, resolve_connection(via)),
                columns=columns,
                start=start,
                end=end,
                device=device,
                returns=returns,
                tz=tz,
                dtype_backend=dtype_backend,
            )
    bounds = [
        forever if value is None else moment(value, name=name, zone=zone, precision=precision)
        for name, value, forever in zip(("start", "end"), (start, end), _FOREVER, strict=True)
    ]
    asked = _Asked(target, columns, bounds[0], bounds[1], device, precision)
    if returns == "batches":
        rows = _open(path, asked)
        batches = (batch for table in rows.tables() for batch in table.to_batches())
        return pa.RecordBatchReader.from_batches(rows.schema, batches)
    with _open(path, asked) as rows:
        if returns != "pandas":
            tables = [rows.schema.empty_table(), *rows.tables()]
            return form.of(pa.concat_tables(tables), index=0, time_zone=zone)
        builder = FrameBuilder(
            rows.schema, index=0, time_zone=zone, tz=tz, dtype_backend=dtype_backend
        )
        for table in rows.tables():
            builder.add(table)
        frame = builder.finish()
    frame.attrs["iotdb"] = rows.attrs
    return frame


def _counting_in(precision: Precision, via: Connection) -> Connection:
    if via.server.precision != precision:
        raise OptionsError(
            f"the server of via= counts in {via.server.precision}, and the file in {precision}",
            hint=Hint("if that is right, ", Choice(precision=via.server.precision)),
        )
    return via


@dataclass(frozen=True)
class _Asked:
    target: str | None
    columns: Sequence[str] | None
    start: int
    end: int
    device: str | None
    precision: Precision


@dataclass
class _Rows:
    """Rows of a file that were asked for; closes it.

    reader : of the file
    asked : what was
    devices : each with its values of the keys, and the bytes of its series
    keys : labels of the columns that tell devices apart
    columns : label, name in the file, and type of each measurement
    attrs : what a frame says of itself
    """

    reader: TsFileReader
    asked: _Asked
    devices: list[tuple[tuple[str | None, ...], int, int]]
    keys: list[str]
    columns: list[tuple[str, str, TSDataType]]
    attrs: dict[str, Any]

    def __enter__(self) -> _Rows:
        return self

    def __exit__(self, *_: object) -> None:
        self.reader.close()

    @property
    def schema(self) -> pa.Schema:
        """Time, keys and measurements."""
        unit = self.asked.precision
        fields = [pa.field("time", pa.timestamp(unit))]
        fields += [pa.field(key, pa.string()) for key in self.keys]
        fields += [
            pa.field(label, arrow_type(kind.name, precision=unit))
            for label, _, kind in self.columns
        ]
        return pa.schema(fields)

    def tables(self) -> Iterator[pa.Table]:
        """The rows, a chunk of a device at a time; closes the file behind the last."""
        schema = self.schema
        with self.reader as reader:
            for keys, at, end in self.devices:
                series = reader.series(at, end)
                names = [name for _, name, _ in self.columns if name in series]
                for rows in reader.read(series, names, start=self.asked.start, end=self.asked.end):
                    if reader.model == "tree":
                        rows = _without_empty(rows)
                    yield self._table(rows, keys, schema)

    def _table(self, rows: pa.Table, keys: tuple[str | None, ...], schema: pa.Schema) -> pa.Table:
        n_rows = len(rows)
        arrays = [rows.column(0), *(pa.repeat(pa.scalar(k, pa.string()), n_rows) for k in keys)]
        for (_, name, _), wanted in zip(self.columns, schema.types[1 + len(keys) :], strict=True):
            at = rows.schema.get_field_index(name)
            arrays.append(pa.nulls(n_rows, wanted) if at < 1 else rows.column(at))
        return pa.Table.from_arrays(arrays, schema=schema)


def _without_empty(rows: pa.Table) -> pa.Table:
    """Rows of which something is not null: in the tree model the others are none."""
    is_empty: np.ndarray | None = None
    for column in rows.columns[1:]:
        if not column.null_count:
            return rows
        is_null = np.asarray(column.is_null())
        is_empty = is_null if is_empty is None else is_empty & is_null
    return rows if is_empty is None else rows.filter(pa.array(~is_empty))


def _open(path: str | os.PathLike[str], asked: _Asked) -> _Rows:
    reader = open_tsfile(path, precision=asked.precision)
    try:
        return _table_rows(reader, asked) if reader.tables else _tree_rows(reader, asked)
    except BaseException:
        reader.close()
        raise


def open_tsfile(path: str | os.PathLike[str], *, precision: Precision = "ms") -> TsFileReader:
    """The file, open.

    Raises
    ------
    OptionsError : it cannot be read; FrameError : it is no TsFile.
    """
    try:
        return TsFileReader(path, precision=precision)
    except OSError as exc:
        raise OptionsError(f"{path} cannot be read: {exc.strerror or exc}") from exc


def _table_rows(reader: TsFileReader, asked: _Asked) -> _Rows:
    names = list(reader.tables)
    wanted = None
    if asked.target is not None:
        wanted = parse_target(asked.target, database="any").table
    elif len(names) == 1:
        wanted = names[0]
    if wanted not in names:
        what = f"no table {wanted!r}" if wanted is not None else f"{len(names)} tables"
        raise OptionsError(f"{reader.path} has {what}", hint=nearest(wanted or "", names))
    if asked.device is not None:
        raise OptionsError("device= belongs to the tree model, and the file has a table")
    columns = reader.tables[wanted]
    tags = [c.name for c in columns if c.category == "tag"]
    fields = {c.name: c.data_type for c in columns if c.category == "field"}
    chosen = _chosen(reader, asked, fields, str(wanted))
    devices = [
        ((*found[1:], *[None] * (len(tags) - len(found) + 1)), at, end)
        for found, at, end in reader.devices()
        if found[0] == wanted
    ]
    if any(len(keys) > len(tags) for keys, _, _ in devices):
        raise FrameError(
            f"{reader.path} is not a whole TsFile: a device has more tags than its table"
        )
    attrs = {
        "target": wanted,
        "types": {name: fields[name].name for name in chosen},
        "precision": asked.precision,
        "tags": tags,
        "attributes": [],
    }
    return _Rows(reader, asked, devices, tags, [(n, n, fields[n]) for n in chosen], attrs)


def _tree_rows(reader: TsFileReader, asked: _Asked) -> _Rows:
    below = None
    if asked.target is not None:
        below = normal_path(asked.target.removesuffix(".**"))
    found = [(tree_path(device), at, end) for device, at, end in reader.devices()]
    chosen = [d for d in found if below is None or d[0] == below]
    if not chosen:
        chosen = [d for d in found if d[0].startswith(f"{below}.")]
    if not chosen and below is not None:
        raise OptionsError(
            f"{reader.path} has no device {below}", hint=nearest(below, [d[0] for d in found])
        )
    if not chosen:
        raise FrameError(f"{reader.path} has no devices")
    kinds: dict[str, TSDataType] = {}
    raw: dict[str, str] = {}
    for path, at, end in chosen:
        for name, series in reader.series(at, end).items():
            if series.data_type is None:
                continue
            label = _label(name)
            raw[label] = name
            kind = kinds.setdefault(label, series.data_type)
            if kind != series.data_type:
                raise FrameError(
                    f"{label!r} is {kind.name}, and in {path} {series.data_type.name}",
                    column=label,
                    hint="read the devices one by one: target=",
                )
    labels = _chosen(reader, asked, dict(sorted(kinds.items())), below or "it")
    by_device = asked.device is not None or len(chosen) > 1 or (below or path) != path
    keys = [asked.device or DEVICE] if by_device else []
    if set(keys) & set(labels):
        raise OptionsError(
            f"there is a measurement {keys[0]!r}", hint="name the device column otherwise: device="
        )
    base = below if below is not None and chosen[0][0] != below else None
    cut = 0 if base is None else len(base) + 1
    attrs = {
        "target": below or (path if not by_device else "root"),
        "types": {label: kinds[label].name for label in labels},
        "precision": asked.precision,
        **({"device": keys[0]} if keys else {}),
    }
    rows: list[tuple[tuple[str | None, ...], int, int]] = [
        ((path[cut:],) if keys else (), at, end) for path, at, end in chosen
    ]
    return _Rows(reader, asked, rows, keys, [(n, raw[n], kinds[n]) for n in labels], attrs)


def _label(name: str) -> str:
    """A measurement's name without its back-quotes."""
    try:
        return split_path(name)[0] if name.startswith("`") else name
    except OptionsError:
        return name


def _chosen(
    reader: TsFileReader, asked: _Asked, there: dict[str, TSDataType], whose: str
) -> list[str]:
    if asked.columns is None:
        return list(there)
    for name in asked.columns:
        if name not in there:
            raise OptionsError(
                f"{reader.path}: {whose} has no {name!r}", hint=nearest(name, list(there))
            )
    return list(asked.columns)


@dataclass(repr=False)
class TsFileContents(Shown):
    """What is in a TsFile.

    path, model, bytes : of the file
    devices, series, points : how many; of times that stand alone nothing is counted
    start, end : first and last tick; None where there is none
    columns : of each measurement: name, type, encoding, compression, whether `read_tsfile` reads
        it, points, and in how many devices
    """

    path: str
    model: str
    bytes: int
    tables: list[str]
    devices: int = 0
    series: int = 0
    points: int = 0
    start: int | None = None
    end: int | None = None
    columns: list[tuple[str, str, str, str, bool, int, int]] = field(default_factory=list)

    def card(self) -> Card:
        """Its summary card."""
        facts: list[tuple[str, Any]] = [
            ("model", (self.model, ", ".join(self.tables[:5]))),
            ("devices", count(self.devices)),
            ("points", (count(self.points), f"in {count(self.series)} series")),
            ("ticks", "none" if self.start is None else f"{self.start} to {self.end}"),
            ("size", size(self.bytes)),
        ]
        header = ("column", "type", "encoding", "compression", "points", "devices", "")
        rows = [
            (name, kind, how, pressed, count(points), count(devices), "" if is_read else "not read")
            for name, kind, how, pressed, is_read, points, devices in self.columns
        ]
        return Card("tsfile", self.path, "ok", facts, [Grid(header, rows)])


def look_into(path: str | os.PathLike[str]) -> TsFileContents:
    """What is in a TsFile: from its index, and the head of a chunk of each column.

    Raises
    ------
    OptionsError : it cannot be read; FrameError : it is no whole TsFile.
    """
    with open_tsfile(path) as reader:
        found = TsFileContents(str(path), reader.model, reader.n_bytes, list(reader.tables))
        start, end = NO_START, NO_END
        by_storage: dict[tuple[str, str, str, str, bool], tuple[int, int]] = {}
        for _, at, stop in reader.devices():
            found.devices += 1
            every = reader.series(at, stop)
            for name, series in every.items():
                for chunk in series.chunks:
                    start = min(start, chunk.statistics.start)
                    end = max(end, chunk.statistics.end)
                if series.data_type is None:
                    continue
                storage = reader.storage(name, series)
                key = (
                    _label(name),
                    series.data_type.name,
                    storage.encoding.name,
                    storage.compression.name,
                    reader.reads(storage, is_aligned="" in every),
                )
                n_points = sum(chunk.statistics.count for chunk in series.chunks)
                n_before, n_devices = by_storage.get(key, (0, 0))
                by_storage[key] = (n_before + n_points, n_devices + 1)
                found.series += 1
                found.points += n_points
        if start <= end:
            found.start, found.end = start, end
        found.columns = [(*key, *totals) for key, totals in sorted(by_storage.items())]
    return found
