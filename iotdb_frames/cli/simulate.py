"""``simulate``: a fleet of machines that write to IoTDB, with faults on request."""

from __future__ import annotations

import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from iotdb_frames.cli import screen
from iotdb_frames.display.words import duration, plural

if TYPE_CHECKING:
    from rich.table import Table

    from iotdb_frames.play.playable import StreamStats
    from iotdb_frames.play.runner import Runner

_LOOKS_A_S = 4
_STYLES = {"finished": "green", "stopped": "green", "failed": "red", "paused": "yellow"}

_source = partial(typer.Option, rich_help_panel="What is simulated")
_stream = partial(typer.Option, rich_help_panel="How it is written")


def simulate(
    target: Annotated[
        str,
        typer.Option("--target", "-t", help="root.plant (devices go below it), or database.table."),
    ],
    url: screen.Url = None,
    devices: Annotated[int, _source(help="Number of machines, no two alike.", min=1)] = 10,
    rate: Annotated[float, _source(help="Rows per second of each machine.")] = 1.0,
    fault: Annotated[
        list[str] | None,
        _source(
            metavar="KIND:PROBABILITY[:SEVERITY]",
            help="E.g. spike:0.01; the probability is per row. Repeatable.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, _source(help="The same seed gives the same data.")] = 0,
    start: Annotated[str, _source(help="Time of the first row, in UTC; or now.")] = "now",
    duration: Annotated[
        str | None,
        _source(
            help="Seconds, or a span, e.g. 10min. Without it, until Ctrl-C.", show_default=False
        ),
    ] = None,
    window: Annotated[
        str | None,
        _stream(
            help="Amount sent at once: rows per machine, or a span. Without it, one second.",
            show_default=False,
        ),
    ] = None,
    speed: Annotated[
        float, _stream(help="Simulated seconds per second; inf: as fast as possible.")
    ] = 1.0,
    dead_letter: Annotated[
        str | None,
        _stream(
            metavar="FILE",
            help="Parquet file for refused rows. Without it, the first one ends the stream.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Stream simulated machines to IoTDB, and show the progress.

    Each machine is a press: temperature, pressure, vibration, state, cycles. Faults: spike, stuck,
    dropout, drift, bias, variance, delay, straggler, late_batch, offline, duplicate, jitter, skew.
    """
    import pandas as pd

    from iotdb_frames.client.connect import resolve_connection
    from iotdb_frames.codec.names import parse_target
    from iotdb_frames.simulate.fleet import simulate_fleet

    connection = resolve_connection(url)
    goal = parse_target(target, database=connection.options.database)
    is_live = start == "now"
    source = simulate_fleet(
        devices,
        model=goal.model,
        rate_hz=rate,
        seed=seed,
        duration=_span(duration),
        faults=fault or (),
        start=pd.Timestamp(0) if is_live else start,
    )
    options: dict[str, Any] = {}
    if dead_letter is not None:
        options = {"on_error": "collect", "dead_letter": dead_letter}
    runner = source.stream(
        to=target,
        window=None if window is None else int(window) if window.isdigit() else window,
        speed=speed,
        now=is_live,
        connection=connection,
        **options,
    )
    wanted = devices * rate * speed
    stats = _watch(runner, title=f"{plural(devices, 'device')} → {goal}", rows_per_s=wanted)
    if stats.error is not None:
        raise stats.error
    if stats.rejected:
        raise typer.Exit(1)


def _span(text: str | None) -> float | str | None:
    """A number of seconds if the text is one, else the text."""
    with suppress(TypeError, ValueError):
        return float(text)  # type: ignore[arg-type] # None is not a number either
    return text


def _watch(runner: Runner, *, title: str, rows_per_s: float) -> StreamStats:
    """Run a stream with a live table; Ctrl-C ends it, and a second Ctrl-C ends it at once."""
    from rich.live import Live

    def draw() -> Table:
        return table(runner.stats, title=title, rows_per_s=rows_per_s)

    runner.start()
    # To a pipe or a file, only the final state is printed.
    console = screen.Screen()
    with Live(draw(), console=console, auto_refresh=False) as live:
        try:
            while runner.state in ("running", "paused"):
                live.update(draw(), refresh=console.is_terminal)
                time.sleep(1 / _LOOKS_A_S)
        except KeyboardInterrupt:
            runner.give_up()  # errors are shown after the table
        with suppress(Exception):
            runner.wait()
        stats = runner.stats
        live.update(table(stats, title=title, rows_per_s=rows_per_s), refresh=console.is_terminal)
    return stats


def table(stats: StreamStats, *, title: str, rows_per_s: float) -> Table:
    """The progress of a stream, as a table.

    Parameters
    ----------
    rows_per_s : the expected rate, without delivery faults
    """
    from rich.table import Table
    from rich.text import Text

    drawn = Table(
        title=Text(title, style="bold"), title_justify="left", box=None, show_header=False
    )
    drawn.add_column(style="dim")
    drawn.add_column(justify="right")
    drawn.add_column()
    elapsed = stats.elapsed_s or 1.0

    def line(label: str, value: str, more: str = "", *, style: str = "") -> None:
        drawn.add_row(label, Text(value, style=style), Text(more, style=style))

    line(
        stats.state,
        *duration(stats.elapsed_s).split(" ", 1),
        style=_STYLES.get(stats.state, "cyan"),
    )
    wanted = f" of {rows_per_s:,.4g}" if rows_per_s != float("inf") else ""
    line("rows", f"{stats.rows:,}", f"{stats.rows_per_s:,.1f}/s{wanted}")
    line("points", f"{stats.points:,}", f"{stats.points / elapsed:,.1f}/s")
    line(
        "latency",
        f"{stats.median_send_s * 1e3:,.1f}",
        f"ms median, {stats.p99_send_s * 1e3:,.1f} p99, {stats.max_send_s * 1e3:,.1f} worst"
        f" of {plural(stats.windows, 'window')}",
    )
    style = "red" if stats.is_behind else ""
    line("behind", f"{stats.behind_s:,.1f}", f"s, {stats.max_behind_s:,.1f} at most", style=style)
    line("retries", f"{stats.retries:,}", style="yellow" if stats.retries else "")
    line(
        "refused",
        f"{stats.rejected:,}",
        "row" if stats.rejected == 1 else "rows",
        style="red" if stats.rejected else "",
    )
    for kind, n in sorted(stats.faults.items(), key=lambda item: -item[1]):
        line(kind, *plural(n, "hit").split(" ", 1))
    return drawn
