"""The process in which IoTDB's own package reads: run by its path, it imports nothing of ours.

For each path on its standard input it writes ``<path>.arrow``, the only column of the file, and
answers with a line.
"""

import sys
from contextlib import suppress

import pyarrow as pa

import tsfile

_BATCH_ROWS = 1 << 16
_MOST_BYTES = 8 << 30
"""Of memory: a damaged page may ask for any."""


def main() -> None:
    """Serve until the input ends."""
    with suppress(ImportError, ValueError, OSError):  # Windows has no limits
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MOST_BYTES, _MOST_BYTES))
    for line in sys.stdin:
        path = line.rstrip("\n")
        try:
            _copy(path)
        except Exception as exc:  # whatever the package raises is told, and the next one is read
            answer = f"{type(exc).__name__}: {exc}"
        else:
            answer = "ok"
        sys.stdout.write(" ".join(answer.split()) + "\n")
        sys.stdout.flush()


def _copy(path: str) -> None:
    with tsfile.TsFileReader(path) as reader:
        (table,) = reader.get_all_table_schemas().values()
        (name,) = [c.get_column_name() for c in table.get_columns()]
        found = reader.query_table(table.get_table_name(), [name], batch_size=_BATCH_ROWS)
        writer = None
        while (batch := found.read_arrow_batch()) is not None and batch.num_rows:
            some = batch.select([1])
            writer = writer or pa.ipc.new_file(f"{path}.arrow", some.schema)
            writer.write(some)
        if writer is None:
            raise ValueError("no rows")
        writer.close()
        found.close()


if __name__ == "__main__":
    main()
