"""Chunks that IoTDB's own package decodes: GORILLA, of which it gives each bit of FLOAT and DOUBLE.

The package reads tables only, and of other types it loses values (INT64 with nulls through
float64, texts cut at NUL). So a chunk is given to it as a file of one table with one column, and
in a process of its own: on damaged pages it may never come back, and a process that used it hangs
when it is forked.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa

from iotdb_frames.options import TSDataType, TSEncoding
from iotdb_frames.tsfile.index import Chunk, Series, TableColumn, write_end
from iotdb_frames.tsfile.layout import (
    CHUNK,
    GROUP,
    MAGIC,
    ONE_PAGE_CHUNK,
    TIME,
    VALUE,
    VECTOR,
    VERSION,
    Damaged,
    Device,
    Statistics,
    device_id,
    text,
    varint,
)
from iotdb_frames.tsfile.storage import Storage

LIMIT_S = 60.0
"""A chunk of 16 million values takes it a second."""
_DEVICE: Device = ("t",)
_COLUMN = "v"


def is_installed() -> bool:
    """Whether the package is there."""
    return find_spec("tsfile") is not None


def chunk_of(
    storage: Storage, pages: memoryview, is_many: bool, statistics: Statistics
) -> tuple[bytes, Statistics]:
    """A chunk as `Official.decode` takes it: with another name."""
    kind = storage.data_type
    mark = (TIME if kind is None else VALUE) | (CHUNK if is_many else ONE_PAGE_CHUNK)
    name, number = ("", VECTOR) if kind is None else (_COLUMN, kind)
    numbers = bytes((number, storage.compression, storage.encoding))
    return b"".join((bytes((mark,)), text(name), varint(len(pages)), numbers, pages)), statistics


class Official:
    """The package, in a process that begins with the first chunk.

    Parameters
    ----------
    limit_s : for a chunk
    """

    def __init__(self, *, limit_s: float = LIMIT_S) -> None:
        self._limit_s = limit_s
        self._process: subprocess.Popen[str] | None = None

    def decode(
        self,
        data_type: TSDataType,
        times: tuple[bytes, Statistics],
        values: tuple[bytes, Statistics],
    ) -> pa.Array:
        """The values and nulls of a chunk of an aligned device.

        Parameters
        ----------
        times, values : the chunk of the times and that of the column, as `chunk_of` gives them

        Raises
        ------
        Damaged : the package does not read it.
        """
        with tempfile.TemporaryDirectory(prefix="iotdb-frames-") as folder:
            path = Path(folder, "chunk.tsfile")
            _write(path, data_type, times, values)
            if (answer := self._ask(path)) != "ok":
                raise Damaged(f"a chunk that tsfile does not read: {answer}")
            with pa.OSFile(f"{path}.arrow") as stream:  # not mapped: the folder goes
                return pa.ipc.open_file(stream).read_all().column(0).combine_chunks()

    def _ask(self, path: Path) -> str:
        if self._process is None:
            worker = Path(__file__).with_name("official_worker.py")
            self._process = subprocess.Popen(  # noqa: S603 - our own script
                [sys.executable, "-P", str(worker)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        try:
            stdin.write(f"{path}\n")
            stdin.flush()
        except OSError as exc:
            self.close()
            return str(exc)
        with ThreadPoolExecutor(1) as pool:
            line = pool.submit(stdout.readline)
            try:
                answer = line.result(self._limit_s)
            except TimeoutError:
                answer = ""
            if not answer:
                self.close()  # which ends the line
        return answer.strip() or "it gave no answer"

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            with self._process:  # closes the pipes, and waits
                self._process = None


def _write(
    path: Path,
    data_type: TSDataType,
    times: tuple[bytes, Statistics],
    values: tuple[bytes, Statistics],
) -> None:
    """A file of a table with one column, and no tags."""
    head = MAGIC + bytes((VERSION, GROUP)) + device_id(_DEVICE)
    edges = len(head), len(head) + len(times[0])
    series = {
        "": Series(None, [Chunk(edges[0], times[1])]),
        _COLUMN: Series(data_type, [Chunk(edges[1], values[1])]),
    }
    column = TableColumn(_COLUMN, data_type, "field", TSEncoding.GORILLA)
    with path.open("wb") as stream:
        stream.writelines((head, times[0], values[0]))
        write_end(stream.write, edges[1] + len(values[0]), {_DEVICE: series}, {"t": [column]})
