"""The commands, and what happens to an error: one red line, a hint, exit code 1."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from iotdb_frames.cli import screen, streams
from iotdb_frames.cli.backfill import backfill
from iotdb_frames.cli.demo import demo
from iotdb_frames.cli.doctor import doctor
from iotdb_frames.cli.read import read
from iotdb_frames.cli.serve import serve, stop
from iotdb_frames.cli.simulate import simulate
from iotdb_frames.cli.tsfile import tsfile
from iotdb_frames.cli.write import write


class _Help(io.StringIO):
    """What help is printed into, with the encoding of where it goes then."""

    encoding = "utf-8"


def _print_help(show: Callable[[], None]) -> None:
    """Show help; where it is piped, without the spaces that fill its lines."""
    if sys.stdout.isatty():
        show()
        return
    told = _Help()
    told.encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    with redirect_stdout(told):
        show()
    typer.echo("\n".join(line.rstrip() for line in told.getvalue().strip("\n").splitlines()))


class _Command(TyperCommand):
    """A command whose help is as `_print_help` has it."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        _print_help(partial(super().format_help, ctx, formatter))


class _Commands(TyperGroup):
    """Commands whose errors are shown, not raised."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        _print_help(partial(super().format_help, ctx, formatter))

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as exc:
            # typer's own exceptions (a usage error, an exit) have an exit code; their classes are
            # click's in some versions and its own in others.
            if hasattr(exc, "exit_code") or isinstance(exc, typer.Abort):
                raise
            if ctx.params.get("traceback") or isinstance(exc, BrokenPipeError):
                raise
            screen.show_error(exc)
            raise typer.Exit(1) from exc


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"iotdb-frames {version('iotdb-frames')}")
        raise typer.Exit


@app.callback()
def options(
    traceback: Annotated[
        bool, typer.Option("--traceback", help="Show the Python traceback of an error.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Pandas frames into Apache IoTDB and back.

    The server is that of --url, else of the environment's IOTDB_URL, else of the profile in your
    configuration file, else iotdb://127.0.0.1:6667. The URL local: is a server of your own, started
    on first use. The password is taken from IOTDB_PASSWORD, or prompted for.
    """


for command in (demo, serve, stop, write, read, backfill, simulate, doctor, tsfile):
    app.command(cls=_Command)(command)


def main() -> None:
    """Entry point of ``iotdb-frames``."""
    streams.spell_out()
    try:
        app()
    except SystemExit as end:
        # typer and rich make an error of a reader that stops reading (``| head``), which is none.
        if not isinstance(end.__context__, BrokenPipeError):
            raise
        streams.let_go(sys.__stdout__)
