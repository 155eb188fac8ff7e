"""``demo``: write a real data set to a real IoTDB, and read a summary back."""

from __future__ import annotations

import os
import shutil
import sys
import time
from contextlib import suppress
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from iotdb_frames.cli import screen
from iotdb_frames.cli.demo_flink import demo_flink
from iotdb_frames.display.words import duration, rate

if TYPE_CHECKING:
    import pandas as pd

    from iotdb_frames.client.connection import Connection

TARGET = "root.demo.buoy"


class Engine(StrEnum):
    """Engines that have a demo of their own."""

    FLINK = "flink"


_SUMMARY = """\
SELECT count(wind_speed_ms) AS n_values, avg(wind_speed_ms) AS wind, max_value(gust_ms) AS gust,
       max_value(wave_height_m) AS wave, min_value(pressure_hpa) AS pressure,
       avg(water_temperature_c) AS water
FROM {target} GROUP BY ([{start}, {end}), 7d)"""


def demo(
    url: screen.Url = "local:",
    engine: Annotated[
        Engine | None, typer.Option(help="Stream a simulated fleet through this engine instead.")
    ] = None,
) -> None:
    """Write a real data set to a real IoTDB and read a summary back.

    The server is your own: downloaded and started if necessary, and left running for your next
    commands. It ends after half an hour without use, or with iotdb-frames stop; the data stays.
    """
    assert url is not None  # it has a default
    if engine is not None:
        demo_flink(url)
        return
    import iotdb_frames as iotf
    from iotdb_frames.data import load_demo

    frame = load_demo()
    started = time.perf_counter()
    with iotf.connect(url) as connection:
        screen.step("Server", f"IoTDB {connection.version} at {connection.options.url}")
        screen.more(f"the URL {url}, ready after {duration(time.perf_counter() - started)}")
        screen.step("Data", "measurements of a weather buoy off Boston: 45 days, every ten minutes")
        screen.more(
            f"{frame.shape[0]:,} rows × {frame.shape[1]} columns, "
            f"{frame.size - frame.count().sum():,} cells missing (NOAA, station 44013)"
        )
        report = frame.iotdb.write(TARGET, connection=connection)
        screen.step("Write", f'df.iotdb.write("{TARGET}")')
        screen.more(
            f"{report.points:,} points in {duration(report.seconds)}, "
            f"{rate(report.points_per_s, 'points')}"
        )
        stored = _count(connection)
        screen.step("Read", f"{stored:,} points are stored; a weekly summary by the server:")
        screen.show("", *_lines(_summary(connection, frame)), "")
    if stored != report.points:
        screen.say("✗ the stored points differ from those written", style="red")
        raise typer.Exit(1)
    screen.show(
        f"Next, type in {_short(sys.executable)}:",
        "",
        "    import iotdb_frames as iotf",
        f'    iotf.use("{url}")',
        *screen.aligned(
            [
                (f'df = iotf.read("{TARGET}")', "# the frame that was written"),
                ('df.iotdb.write("root.mine.first")', "# or your own, with a DatetimeIndex"),
            ],
            indent="    ",
        ),
        "",
    )
    if url.startswith("local:"):
        me = "iotdb-frames" if shutil.which("iotdb-frames") else _short(sys.argv[0])
        screen.show(f"The server keeps running. {me} stop ends it; its data stays.")


def _short(path: str) -> str:
    """The shorter of a path and the same relative to the current directory."""
    with suppress(ValueError):  # on another drive
        path = min(path, os.path.relpath(path), key=len)
    return path


def _count(connection: Connection) -> int:
    import iotdb_frames as iotf

    counts = iotf.read_sql(f"SELECT count(*) FROM {TARGET}", connection=connection)
    return int(counts.to_numpy().sum())


def _summary(connection: Connection, frame: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    import iotdb_frames as iotf

    start, end = frame.index[0].normalize(), frame.index[-1] + pd.Timedelta(days=1)
    sql = _SUMMARY.format(target=TARGET, start=start.isoformat(), end=end.normalize().isoformat())
    weeks: pd.DataFrame = iotf.read_sql(sql, connection=connection)
    return weeks


def _lines(weeks: pd.DataFrame) -> list[str]:
    """The summary as a table of text."""
    header = ("week of", "values", "wind m/s", "gust max", "wave max m", "hPa min", "water °C")
    rows = [
        (f"{week:%Y-%m-%d}", f"{row.iloc[0]:,.0f}", *(f"{value:.1f}" for value in row.iloc[1:]))
        for week, row in weeks.iterrows()
    ]
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    return [
        f"{'':8}" + "  ".join(cell.rjust(w) for cell, w in zip(row, widths, strict=True))
        for row in (header, *rows)
    ]
