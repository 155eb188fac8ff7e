"""What can be written, and what it is: frames of any maker, streams of them, and neither."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest

from iotdb_frames.client.connection import Connection
from iotdb_frames.errors import FrameError, OptionsError
from iotdb_frames.reads.read import read
from iotdb_frames.writes.frames import frames_of
from iotdb_frames.writes.writer import plan, write

N_ROWS = 12
TABLE = pa.table(
    {
        "time": pa.array(np.arange(N_ROWS) * 1000, pa.timestamp("ms")),
        "a": np.arange(N_ROWS),
        "year": np.repeat([2023, 2024], N_ROWS // 2),
    }
)
MANY = pads.field("a") >= 4


class Struct:
    """Somebody else's batch: all it has is Arrow's C interface of arrays."""

    def __arrow_c_array__(self, requested_schema: object = None) -> object:
        return TABLE.to_batches()[0].__arrow_c_array__(requested_schema)


def dataset(folder: Path, partitioning: Any = "hive") -> Any:
    """The table in two files, the year in their folders' names."""
    pads.write_dataset(
        TABLE, folder / "d", format="parquet", partitioning=["year"], partitioning_flavor="hive"
    )
    return pads.dataset(folder / "d", partitioning=partitioning)


def parquet(folder: Path) -> Any:
    """The table in one file of three row groups."""
    pq.write_table(TABLE, folder / "f.parquet", row_group_size=5)
    return pq.ParquetFile(folder / "f.parquet")


# How it is made, and which rows of the table it has.
TAKEN: dict[str, tuple[Callable[[Path], Any], int]] = {
    "Dataset": (dataset, 0),
    "Dataset with a filter": (lambda folder: dataset(folder).filter(MANY), 4),
    "Dataset of Datasets": (lambda folder: pads.dataset([dataset(folder)]), 0),
    "Dataset in memory": (lambda _: pads.dataset(TABLE), 0),
    "Scanner": (lambda folder: dataset(folder).scanner(filter=MANY), 4),
    "Scanner of batches": (
        lambda _: pads.Scanner.from_batches(iter(TABLE.to_batches(5)), schema=TABLE.schema),
        0,
    ),
    "ParquetFile": (parquet, 0),
    "a batch": (lambda _: Struct(), 0),
    "an array of structs": (lambda _: TABLE.to_struct_array().combine_chunks(), 0),
}


@pytest.mark.parametrize("name", TAKEN)
def test_arrow_in_any_form_is_written(
    connection: Connection, device: str, tmp_path: Path, name: str
) -> None:
    """What Arrow calls a dataset, a scan, a file or a batch arrives, filter and partitions too."""
    make, first = TAKEN[name]
    report = write(make(tmp_path), device, connection=connection)
    assert (report.rows_written, report.notes) == (N_ROWS - first, [])
    found = read(device, connection=connection)
    assert found["a"].tolist() == list(range(first, N_ROWS))
    assert found["year"].tolist() == [2023 if i < N_ROWS // 2 else 2024 for i in found["a"]]
    assert (found.index.asi8 // 10 ** (6 if found.index.unit == "ns" else 0)).tolist() == [
        i * 1000 for i in found["a"]
    ]


def test_a_plan_takes_nothing_from_what_is_read_again(tmp_path: Path) -> None:
    """The plan of a Dataset is silent; that of a stream says that it took a batch out of it."""
    for data, notes in ((dataset(tmp_path), 0), (TABLE.to_reader(), 1)):
        assert len(plan(data, "root.d", offline=True).notes) == notes
        if notes:
            with pytest.raises(OptionsError, match="this is a stream"):
                plan(data, "root.d", offline=True, replace=True)


class Lazy:
    """Somebody else's frame that is not there yet."""

    def collect(self) -> Any:
        """What there will be."""


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (Lazy(), ".collect()"),
        (pa.array([1]), "Arrow C interface"),
        (pa.chunked_array([[1]]), "Arrow C interface"),
        (Struct, "Arrow C interface"),
        ([pd.DataFrame({"a": [1]})], "Arrow C interface"),
    ],
)
def test_what_is_no_frame_is_refused(data: Any, says: str) -> None:
    """What holds no columns is refused; what would make some, with the call that does."""
    with pytest.raises(OptionsError, match="cannot be written") as caught:
        next(frames_of(data))
    assert says in str(caught.value.hint)


@pytest.mark.engines
def test_frames_of_engines_say_how() -> None:
    """A frame of Dask or a lazy one of Polars is refused with the call that computes it."""
    import dask.dataframe as dd
    import polars as pl

    lazy, parts = pl.LazyFrame({"a": [1]}), dd.from_pandas(pd.DataFrame({"a": [1]}), npartitions=1)
    calls = ((lazy, ".collect()"), (parts, ".compute()"), (parts, "ddf.iotdb.write"))
    for data, call in calls:
        with pytest.raises(OptionsError, match="cannot be written") as caught:
            next(frames_of(data))
        assert call in str(caught.value.hint)


@pytest.mark.parametrize("is_far", [True, False])
def test_int96_of_a_dataset_does_not_wrap(
    connection: Connection, device: str, tmp_path: Path, *, is_far: bool
) -> None:
    """Times of INT96 that Arrow reads wrong as nanoseconds are refused, with what reads them."""
    times = np.array(["2024-01-01", "9999-12-31" if is_far else "2024-01-02"], "M8[us]")
    file = tmp_path / "f.parquet"
    pq.write_table(
        pa.table({"time": times, "a": [1, 2]}), file, use_deprecated_int96_timestamps=True
    )
    unit = {"coerce_int96_timestamp_unit": "us"}
    format = pads.ParquetFileFormat(**unit)  # noqa: A001 - as pyarrow calls it
    if is_far:
        with pytest.raises(FrameError, match=r"f\.parquet: time \(INT96\) have times") as caught:
            write(pads.dataset(file), device, connection=connection)
        assert "coerce_int96_timestamp_unit" in str(caught.value.hint)
    else:
        write(pads.dataset(file), device, connection=connection)
        assert len(read(device, connection=connection)) == 2
    with pytest.raises(FrameError, match="INT96"):  # which does not tell its file
        write(pq.ParquetFile(file), device, connection=connection)
    for data in (pads.dataset(file, format=format), pq.ParquetFile(file, **unit)):
        write(data, device, connection=connection)
        assert (read(device, connection=connection).index.to_numpy() == times).all()
