"""The SELECT statements of `read`, in both models; pure text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from iotdb_frames.codec.names import Target
from iotdb_frames.codec.quotes import quote_identifier, quote_path_node

AGGREGATES = {
    "mean": ("AVG", "avg"),
    "sum": ("SUM", "sum"),
    "min": ("MIN_VALUE", "min"),
    "max": ("MAX_VALUE", "max"),
    "first": ("FIRST_VALUE", "first"),
    "last": ("LAST_VALUE", "last"),
    "count": ("COUNT", "count"),
    "std": ("STDDEV", "stddev"),
    "var": ("VARIANCE", "variance"),
}
"""pandas' word: the tree model's and the table model's function."""
ARITHMETIC = frozenset({"mean", "sum", "std", "var"})


@dataclass(frozen=True)
class Windows:
    """Windows of equal length, aligned to 1970-01-01 in UTC.

    every : length in ticks
    first, end : first tick of the first window, first behind the last one
    words : pandas' word for each column
    """

    every: int
    first: int
    end: int
    words: Sequence[str]

    @property
    def n_windows(self) -> int:
        """How many there are."""
        return (self.end - self.first) // self.every


def _where(start: int | None, end: int | None, where: Sequence[str], *, time: str = "time") -> str:
    bounds = [f"{time} >= {start}"] if start is not None else []
    bounds += [f"{time} < {end}"] if end is not None else []
    bounds += where
    return f" WHERE {' AND '.join(bounds)}" if bounds else ""


def _where_tree(
    start: int | None, end: int | None, where: Sequence[str], *, by_device: bool
) -> str:
    if by_device and any("NULL" in condition for condition in where):
        # Of a device without these columns nothing but times would be left to look at, and on that
        # the server fails (305, a NullPointerException); a calculation stays. Source: IoTDB 2.0.10.
        where = [*where, "time % 2 < 2"]
    return _where(start, end, where)


def _limit(limit: int | None) -> str:
    return "" if limit is None else f" LIMIT {limit}"


def _having(columns: Sequence[str]) -> str:
    """Leaves out windows without a value."""
    return " HAVING " + " OR ".join(f"count({column}) > 0" for column in columns)


def tree_sql(
    paths: str,
    *,
    columns: Sequence[str] | None,
    start: int | None,
    end: int | None,
    where: Sequence[str] = (),
    limit: int | None = None,
    by_device: bool = False,
    windows: Windows | None = None,
    precision: str = "ms",
) -> str:
    """Rows, or windows, of a device or of all devices `paths` matches.

    Parameters
    ----------
    paths : quoted path or pattern
    columns : raw measurement names; None: all, which windows cannot be of
    where : conditions that all hold
    by_device : a column ``Device``, and the rows of one device behind those of the other
    """
    quoted = ["*"] if columns is None else [quote_path_node(name) for name in columns]
    group = ""
    picked = quoted
    if windows is not None:
        picked = [
            f"{AGGREGATES[word][0]}({column})"
            for word, column in zip(windows.words, quoted, strict=True)
        ]
        group = (
            f" GROUP BY ([{windows.first}, {windows.end}), {windows.every}{precision})"
            f"{_having(quoted)}"
        )
    align = " ALIGN BY DEVICE" if by_device else ""
    bounds = _where_tree(start, end, where, by_device=by_device)
    return f"SELECT {', '.join(picked)} FROM {paths}{bounds}{group}{_limit(limit)}{align}"


def tree_range_sql(
    paths: str,
    *,
    columns: Sequence[str],
    start: int | None,
    end: int | None,
    where: Sequence[str],
    by_device: bool,
) -> str:
    """First times of the columns, then their last times, as ticks; a row per device if asked."""
    quoted = [quote_path_node(name) for name in columns]
    picked = [f"{word}({column})" for word in ("MIN_TIME", "MAX_TIME") for column in quoted]
    align = " ALIGN BY DEVICE" if by_device else ""
    bounds = _where_tree(start, end, where, by_device=by_device)
    return f"SELECT {', '.join(picked)} FROM {paths}{bounds}{align}"


def table_sql(
    target: Target,
    *,
    tags: Sequence[str],
    columns: Sequence[str],
    time: str,
    start: int | None,
    end: int | None,
    where: Sequence[str] = (),
    limit: int | None = None,
    windows: Windows | None = None,
    precision: str = "ms",
) -> str:
    """Rows, or windows, of a table: time, tags, columns; ascending by tags, then time."""
    tag_names = [quote_identifier(name) for name in tags]
    quoted = [quote_identifier(name) for name in columns]
    if windows is None:
        picked = [quote_identifier(time), *tag_names, *quoted]
        order = ", ".join([*tag_names, quote_identifier(time)])
        group = ""
    else:
        bins = f"date_bin({windows.every}{precision}, {quote_identifier(time)}) AS time"
        values = [
            f"{AGGREGATES[word][1]}({column}) AS {column}"
            for word, column in zip(windows.words, quoted, strict=True)
        ]
        picked = [bins, *tag_names, *values]
        keys = [str(i + 1) for i in range(len(tags) + 1)]
        group = f" GROUP BY {', '.join(keys)}{_having(quoted)}"
        order = ", ".join([*keys[1:], "1"])
    return (
        f"SELECT {', '.join(picked)} FROM {target.sql}"
        f"{_where(start, end, where, time=quote_identifier(time))}{group}"
        f" ORDER BY {order}{_limit(limit)}"
    )


def table_range_sql(
    target: Target, *, time: str, start: int | None, end: int | None, where: Sequence[str]
) -> str:
    """First and last time of a table."""
    column = quote_identifier(time)
    bounds = _where(start, end, where, time=column)
    return f"SELECT min({column}), max({column}) FROM {target.sql}{bounds}"
