"""``%%iotdb`` in a shell of IPython's own, against a real server."""

from __future__ import annotations

import builtins
import itertools
import re
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from traitlets.config import Config

import iotdb_frames as iotf
from iotdb_frames.client.connection import Connection
from iotdb_frames.errors import OptionsError, QueryError
from iotdb_frames.notebook.magic import Interrupted

_numbers = itertools.count(1)


class Cells:
    """A notebook without a front end."""

    def __init__(self, shell: InteractiveShell) -> None:
        self.shell = shell
        self.said = ""

    def __call__(self, source: str) -> Any:
        """Run a cell; its value, or its error. What it prints is in `said`."""
        with capture_output() as captured:
            done = self.shell.run_cell(source)
        self.said = captured.stdout + captured.stderr
        return done.error_in_exec or done.result


@pytest.fixture(scope="module")
def shell() -> Iterator[InteractiveShell]:
    """A shell of IPython's that keeps no history on disk, and is `__main__` only meanwhile."""
    main = sys.modules["__main__"]
    yield InteractiveShell(config=Config({"HistoryManager": {"enabled": False}}))
    sys.modules["__main__"] = main


@pytest.fixture
def cells(
    shell: InteractiveShell, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Cells]:
    """A new notebook with the extension loaded and a connection in use."""
    for name in ("IPython.get_ipython", "IPython.core.getipython.get_ipython"):
        monkeypatch.setattr(name, lambda: shell)
    monkeypatch.setitem(builtins.__dict__, "get_ipython", lambda: shell)
    shell.reset()
    shell.push({"pd": pd, "iotf": iotf, "other": connection})
    iotf.use(connection)
    shell.extension_manager.loaded.discard("iotdb_frames")
    shell.run_line_magic("load_ext", "iotdb_frames")
    yield Cells(shell)
    iotf.use(None)


@pytest.fixture
def device(connection: Connection) -> str:
    """A device of ten rows."""
    target = f"root.magic.d{next(_numbers)}"
    index = pd.date_range("2026-01-01", periods=10, freq="s", unit="ms", name="time")
    frame = pd.DataFrame({"v": np.arange(10), "note": list("abcdefghi'")}, index=index)
    iotf.write(frame, target, connection=connection, progress=False)
    return target


def test_a_cell_of_sql_gives_the_frame_of_read_sql(cells: Cells, device: str) -> None:
    """The value of the cell is what `read_sql` gives, a semicolon or not."""
    expected = iotf.read_sql(f"SELECT v FROM {device}")
    for end in ("", ";", " ;\n"):
        frame = cells(f"%%iotdb\nSELECT v FROM {device}{end}")
        pd.testing.assert_frame_equal(frame, expected)
    assert len(frame) == 10


def test_variables_are_bound_and_never_pasted(cells: Cells, device: str) -> None:
    """Times, lists and texts with quotes in them arrive as they are; text in quotes stays text."""
    cells("start = pd.Timestamp('2026-01-01 00:00:05'); mean = \"i'\" [1:] + ''; some = [5, 6]")
    frame = cells(f"%%iotdb\nSELECT v FROM {device} WHERE time >= :start AND v IN :some")
    assert frame.iloc[:, 0].tolist() == [5, 6]
    frame = cells(f"%%iotdb\nSELECT v FROM {device} WHERE note = :mean AND note != ':start'")
    assert frame.iloc[:, 0].tolist() == [9]
    cells("mean = \"x' OR v >= 0 OR note = 'x\"")
    assert len(cells(f"%%iotdb\nSELECT v FROM {device} WHERE note = :mean")) == 0


def test_a_variable_that_is_not_there_is_named(cells: Cells, device: str) -> None:
    """The error names the variable and says where to set it."""
    error = cells(f"%%iotdb\nSELECT v FROM {device} WHERE v > :least")
    assert isinstance(error, OptionsError)
    assert ":least" in error.message
    assert "least = … in a cell above" in str(error.hint)


def test_out_puts_the_frame_into_a_variable(cells: Cells, device: str) -> None:
    """With --out the frame is in the variable, and the cell shows its size only."""
    card = cells(f"%%iotdb --out hot\nSELECT v FROM {device} WHERE v > 6")
    assert "3 rows, 1 column" in repr(card)
    assert cells.shell.user_ns["hot"].iloc[:, 0].tolist() == [7, 8, 9]


def test_model_zone_types_and_connection_are_options(cells: Cells, device: str) -> None:
    """Each option is that of `read_sql`; a connection is a variable of the notebook."""
    iotf.use(None)
    frame = cells(
        f"%%iotdb -c other --tz Europe/Berlin --dtype-backend pyarrow\nSELECT v FROM {device}"
    )
    assert str(frame.index.tz) == "Europe/Berlin"
    assert frame.dtypes.iloc[0] == pd.ArrowDtype(pa.int64())
    frame = cells(f"%%iotdb -c other --dtype-backend numpy_nullable\nSELECT v FROM {device}")
    assert frame.dtypes.iloc[0] == pd.Int64Dtype()
    table = f"magic.t{next(_numbers)}"
    index = pd.DatetimeIndex(["2026-01-01"], name="time")
    iotf.write(
        pd.DataFrame({"v": [1.5]}, index=index),
        table,
        connection=cells.shell.user_ns["other"],
        progress=False,
    )
    frame = cells(f"%%iotdb --model table --url other\nSELECT time, v FROM {table}")
    assert frame["v"].tolist() == [1.5]
    for returns, kind in (("arrow", pa.Table), ("polars", pl.DataFrame)):
        cells(f"%%iotdb -m table -c other -r {returns} -o got\nSELECT time, v FROM {table}")
        assert isinstance(cells.shell.user_ns["got"], kind)
        shown = cells(f"%%iotdb -c other --returns {returns}\nSHOW DATABASES")
        assert isinstance(shown, kind)
    error = cells("%%iotdb -c nobody\nSHOW DATABASES")
    assert "--connection nobody: neither a variable nor a URL" in str(error)
    error = cells("%%iotdb --url 'iotdb://root:root@127.0.0.1:1'\nSHOW DATABASES")
    assert "127.0.0.1:1" in str(error)


def test_statements_without_a_result_are_done(cells: Cells) -> None:
    """A CREATE runs once and says so; a SHOW gives its frame."""
    name = f"root.magicdb{next(_numbers)}"
    assert repr(cells(f"%%iotdb\nCREATE DATABASE {name}")) == f"✓ done  CREATE DATABASE {name}"
    assert name in cells("%%iotdb\nSHOW DATABASES").iloc[:, 0].tolist()


def test_an_error_is_short_and_the_chain_is_there_on_request(cells: Cells) -> None:
    """One thing is said, with its place and the remedy; --verbose and %tb Verbose show it all."""
    error = cells("%%iotdb\nSELECT FROM WHERE")
    assert isinstance(error, QueryError)
    assert "QueryError" in cells.said
    assert "run_cell_magic" not in cells.said
    assert "iotdb_frames" not in cells.said
    assert cells.said.count("\n") < 9
    cells("%tb Verbose")
    assert "open_cursor" in cells.said
    cells("%%iotdb --verbose\nSELECT FROM WHERE")
    assert "open_cursor" in cells.said


def test_an_error_of_the_accessor_is_short(cells: Cells) -> None:
    """It says what is wrong, what to do, and in which line of the cell; the chain on request."""
    cells("frame = pd.DataFrame({'a': [1]})\nframe.iotdb.write('root.magic.short')")
    assert "TimeIndexError" in cells.said
    assert "Hint: set a DatetimeIndex" in cells.said
    assert "in line 2: \x1b[1mframe.iotdb.write('root.magic.short')" in cells.said
    assert "writes/writer.py" not in cells.said
    cells("%tb Verbose")
    assert "writes/writer.py" in cells.said


@pytest.mark.parametrize("how", ["NO_COLOR", "%colors nocolor"])
def test_errors_have_no_colours_where_none_are_wanted(
    cells: Cells, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """NO_COLOR and IPython's own setting hold for errors as well."""
    before = cells.shell.colors
    if how == "NO_COLOR":
        monkeypatch.setenv(how, "1")
    else:
        cells(how)
    cells("frame = pd.DataFrame({'a': [1]})\nframe.iotdb.write('root.magic.short')")
    cells.shell.colors = before
    assert "TimeIndexError: " in cells.said
    assert "\x1b" not in cells.said


@pytest.mark.parametrize(
    ("line", "word"),
    [("--model graph", "graph"), ("--out 1a", "1a"), ("--out class", "class"), ("--many", "many")],
)
def test_wrong_options_are_said_in_a_line(cells: Cells, line: str, word: str) -> None:
    """An invalid option is one line, without a chain of calls."""
    assert cells(f"%%iotdb {line}\nSHOW DATABASES") is not None
    assert cells.said.startswith("UsageError")
    assert word in cells.said
    assert cells.said.count("\n") <= 2


def test_an_interrupt_ends_the_query(cells: Cells, connection: Connection) -> None:
    """Ctrl-C in a long query ends the cell at once, in a line, and the next cell has its answer."""
    target = f"root.magic.long{next(_numbers)}"
    index = pd.date_range("2026-01-01", periods=1_500_000, freq="s", unit="ms", name="time")
    values = np.random.default_rng(1).normal(size=(len(index), 3))
    frame = pd.DataFrame(values, columns=list("abc"), index=index)
    iotf.write(frame, target, connection=connection, progress=False)
    main = threading.main_thread().ident
    assert main is not None
    timer = threading.Timer(0.3, lambda: signal.pthread_kill(main, signal.SIGINT))
    timer.start()
    sums = ", ".join(f"sum({a} * {b} + {c})" for a, b, c in itertools.product("abc", repeat=3))
    error = cells(f"%%iotdb\nSELECT {sums} FROM {target}")
    timer.cancel()  # a query that is over before is no reason to interrupt the tests
    timer.join()
    assert isinstance(error, Interrupted)
    assert cells.said.strip() == "\x1b[31mKeyboardInterrupt\x1b[0m: the query was stopped"
    assert len(cells("%%iotdb\nSHOW DATABASES"))


def test_the_cells_of_the_guide_run(cells: Cells, connection: Connection) -> None:
    """A reader who types the guide's cells has the frame that they promise."""
    page = (Path(__file__).parents[2] / "docs" / "notebook.md").read_text(encoding="utf-8")
    shown = re.findall(r"^```ipython\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    index = pd.DatetimeIndex(["2024-03-01", "2024-03-01"], name="time")
    frame = pd.DataFrame({"machine": ["press2", "press9"], "temp": [21.5, 3.0]}, index=index)
    iotf.write(frame, "plant.press", tags=["machine"], connection=connection, progress=False)
    assert len(shown) == 2
    for source in shown:
        assert not isinstance(cells(source), BaseException)
    assert cells.shell.user_ns["warm"].to_dict("list") == {"machine": ["press2"], "temp": [21.5]}


def test_it_explains_itself(cells: Cells) -> None:
    """`%%iotdb?` tells what each option does."""
    function = cells.shell.find_cell_magic("iotdb")
    for option in ("--model", "--connection", "--out", "--tz", "--dtype-backend", "--verbose"):
        assert option in str(function.__doc__)
