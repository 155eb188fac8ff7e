"""``%%iotdb``: a cell of SQL whose result is a frame.

    %load_ext iotdb_frames

    %%iotdb --model table --out hot
    SELECT machine, avg(temp) FROM plant.press WHERE time >= :start GROUP BY machine

``:start`` is the notebook's variable of that name: it is quoted by its type, never pasted.
"""

from __future__ import annotations

import keyword
from typing import Any

from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import no_var_expand
from IPython.core.magic_arguments import MagicArgumentParser

from iotdb_frames.client.connect import resolve_connection
from iotdb_frames.client.connection import Connection
from iotdb_frames.codec.params import place_names
from iotdb_frames.codec.statements import is_query
from iotdb_frames.display.card import Card
from iotdb_frames.display.words import plural
from iotdb_frames.errors import IoTDBFramesError, OptionsError
from iotdb_frames.reads.form import Form
from iotdb_frames.reads.frames import DTYPE_BACKENDS
from iotdb_frames.reads.sql import execute, read_sql, whole
from iotdb_frames.spelling import painted


class Interrupted(KeyboardInterrupt):
    """An interrupted query; shown without the traceback of the call that waited for it."""

    def _render_traceback_(self) -> list[str]:
        return [f"{painted('KeyboardInterrupt', '31')}: the query was stopped"]


def register(shell: InteractiveShell) -> None:
    """Register ``%%iotdb`` in a shell."""
    parser = _parser()

    def iotdb(line: str, cell: str) -> Any:
        return run(shell, parser.parse_argstring(line), cell)

    iotdb.__doc__ = parser.format_help()
    magic: Any = no_var_expand(iotdb)
    shell.register_magic_function(magic, "cell", "iotdb")


def run(shell: InteractiveShell, args: Any, cell: str) -> Any:
    """Run a cell.

    Returns
    -------
    DataFrame, or a Card : for a frame stored in a variable, or a statement without a result.

    Raises
    ------
    IoTDBFramesError : as `read_sql`; an unknown variable.
    UsageError : an invalid option.
    """
    if args.out is not None and (not args.out.isidentifier() or keyword.iskeyword(args.out)):
        raise UsageError(f"--out {args.out}: not a valid variable name")
    try:
        frame = _frame(shell, args, cell)
    except IoTDBFramesError as exc:
        exc.shows_chain = args.verbose
        raise
    except KeyboardInterrupt as exc:
        if args.verbose:
            raise
        raise Interrupted from exc
    if frame is None:
        return Card("done", cell, "ok")
    if args.out is None:
        return frame
    shell.push({args.out: frame})
    size = f"{plural(len(frame), 'row')}, {plural(len(frame.columns), 'column')}"
    return Card(size, args.out, "ok")


def _frame(shell: InteractiveShell, args: Any, cell: str) -> Any:
    connection = _connection(shell, args.connection)
    model = args.model or connection.default_model
    sql = cell.strip().removesuffix(";")
    params = {name: _value(shell, name) for name in sorted(place_names(sql, model=model))}
    shape = {"returns": args.returns, "dtype_backend": args.dtype_backend, "tz": args.tz}
    if is_query(sql, model=model):
        return read_sql(sql, params=params, model=model, connection=connection, **shape)
    form = Form(**shape)
    result = execute(sql, params=params, model=model, connection=connection)
    return None if result is None else whole(result, form)


def _connection(shell: InteractiveShell, named: str | None) -> Connection:
    if named is None or not named.isidentifier():
        return resolve_connection(named and named.strip("\"'"))
    if named not in shell.user_ns:
        raise OptionsError(
            f"--connection {named}: neither a variable nor a URL",
            hint=f'set {named} = iotf.connect("local:") in a cell above, or --connection local:',
        )
    return resolve_connection(shell.user_ns[named])


def _value(shell: InteractiveShell, name: str) -> Any:
    if name not in shell.user_ns:
        raise OptionsError(
            f":{name} is not a variable of this notebook", hint=f"set {name} = … in a cell above"
        )
    return shell.user_ns[name]


def _parser() -> Any:
    parser = MagicArgumentParser(
        "%iotdb",  # shown after another %
        description="Run the cell, one SQL statement, in IoTDB; its result is a frame. :name "
        "stands for the variable of that name, quoted by its type.",
    )
    add = parser.add_argument
    add(
        "-m", "--model", choices=("tree", "table"),
        help="the dialect; by default table if the connection names a database, else tree",
    )  # fmt: skip
    add(
        "-c", "--connection", "--url", metavar="NAME_OR_URL",
        help="a variable with a Connection or a URL, or a URL; by default that of iotf.use",
    )  # fmt: skip
    add("-o", "--out", metavar="NAME", help="the variable to store the frame in")
    add("--tz", metavar="ZONE", help="the time zone of the times, e.g. Europe/Berlin")
    add(
        "-r", "--returns", choices=("pandas", "arrow", "polars"), default="pandas",
        help="the type of frame, as in iotf.read_sql",
    )  # fmt: skip
    add("--dtype-backend", choices=DTYPE_BACKENDS, help="as in iotf.read_sql")
    add("-v", "--verbose", action="store_true", help="show the full traceback of an error")
    return parser
