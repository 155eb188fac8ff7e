"""Errors: which of them say that the same request may succeed later."""

from __future__ import annotations

import ast
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import iotdb_frames as iotf
from iotdb_frames import errors
from iotdb_frames.client.connection import Connection
from iotdb_frames.codec.names import parse_target
from iotdb_frames.errors import IoTDBFramesError, ServerError, raise_explained
from iotdb_frames.files.options import FileOptions
from iotdb_frames.files.sources import find_files
from iotdb_frames.files.writing import write_file
from iotdb_frames.options import write_options
from iotdb_frames.writes.report import ChunkFailure, WriteReport

STOPPING = (
    "Cannot throw exception because the return value of "
    '"org.apache.iotdb.db.storageengine.dataregion.wal.utils.listener.WALFlushListener.getCause()" '
    "is null"
)


@pytest.mark.parametrize(
    ("code", "sub_codes", "message", "is_retryable"),
    [
        (606, (), "the system is read-only", True),
        (507, (), "data type mismatch", False),
        (302, (200, 606), "some", True),
        (302, (606, 507), "some", False),
        (305, (), "no detailed failure reason in QueryStateMachine", True),
        (302, (), "nobody knows", False),
        (305, (), "a NullPointerException", False),
        (305, (), STOPPING, True),
        (302, (200, 305), STOPPING, True),
        (302, (507, 305), STOPPING, False),
        (305, (), "Error in calling method x, because: java.net.ConnectException", True),
        (305, (), "Fail to connect to any config node. Please check status of ConfigNodes", True),
        (301, (), "Fail to send plan node, exception message: Connection refused", True),
        (301, (), "Ratis request failed", True),
        (301, (), "Failed to connect to config node.", True),
        (301, (), "Raft Server cannot serve read requests now (leader is unknown)", True),
        (301, (), "Connection refused", True),
        (301, (), "No such thing", False),
        (507, (), "Rollback create table failed", True),
        (902, (), "DELETE_REGION_ERROR", False),
        (1001, (), "REMOVE_CONFIGNODE_ERROR", False),
        *((code, (), "", True) for code in (901, 906, 907, 1003, 1012, 2206, 2207, 721, 722)),
    ],
)
def test_what_may_be_tried_again(
    code: int, sub_codes: tuple[int, ...], message: str, is_retryable: bool
) -> None:
    """Retryable are the server's codes for passing trouble, of codes that may mean anything those
    whose text tells of it, and whatever the server itself says is to be tried again."""
    error = ServerError(message, code=code, sub_codes=sub_codes)
    assert error.is_retryable is is_retryable
    error = ServerError(message, code=code, sub_codes=sub_codes, needs_retry=True)
    assert error.is_retryable


def ours() -> list[type[IoTDBFramesError]]:
    """Every class of the tree."""
    return [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, IoTDBFramesError)
    ]


@pytest.mark.parametrize("kind", ours(), ids=lambda kind: kind.__name__)
def test_an_error_travels_whole(kind: type[IoTDBFramesError]) -> None:
    """An error that is pickled arrives with its words, its hint, its notes and its report."""
    error: Any = kind("what is wrong", hint="what to do")
    failure = ChunkFailure(("root.d",), 0, 1, 2, ("s",), "in doubt", None, "lost")
    error.report = WriteReport("root.d")
    error.report.add_failure(failure)
    error.add_note("and this")
    arrived: Any = pickle.loads(pickle.dumps(error))
    assert type(arrived) is kind
    assert str(arrived) == str(error)
    assert arrived.__notes__ == ["and this"]
    assert repr(arrived.report) == repr(error.report)
    assert arrived.report.failures == [failure]
    same = {k: v for k, v in vars(error).items() if k != "report"}
    assert {k: v for k, v in vars(arrived).items() if k != "report"} == same
    assert getattr(arrived, "is_retryable", None) == getattr(error, "is_retryable", None)


def chain(error: BaseException) -> list[BaseException]:
    """An error and what it came from, as whoever prints it walks."""
    found = [error]
    while (above := found[-1].__cause__ or found[-1].__context__) is not None:
        assert above not in found, f"{above!r} comes from itself"
        found.append(above)
    return found


def test_an_error_that_explains_nothing_stays_as_it_is() -> None:
    """An error is never its own cause; one that explains another is raised from it."""
    cause, failure = ValueError("why"), ServerError("what")
    failure.__cause__ = cause
    with pytest.raises(ServerError) as caught:
        raise_explained(failure, failure)
    assert chain(caught.value) == [failure, cause]
    explained = ServerError("in words")
    with pytest.raises(ServerError) as caught:
        raise_explained(explained, failure)
    assert chain(caught.value) == [explained, failure, cause]


def backfill(connection: Connection, database: str, file: Path) -> None:
    """A backfill of rows that do not fit."""
    iotf.backfill(
        str(file),
        f"root.{database}.d",
        schema={"temp": "INT32"},
        manifest=file.with_suffix(".sqlite"),
        connection=connection,
        progress=False,
    )


def backfill_into_nothing(connection: Connection, database: str, file: Path) -> None:
    """A backfill that the server refuses."""
    iotf.backfill(
        str(file),
        f"{database}.no",
        create=False,
        manifest=file.with_suffix(".sqlite"),
        connection=connection,
        progress=False,
    )


def write_one_file(connection: Connection, database: str, file: Path) -> None:
    """The shell's `write` of rows that do not fit."""
    how = write_options({"time": "time", "schema": {"temp": "INT32"}})
    (source,), _ = find_files(str(file))
    target = parse_target(f"root.{database}.d")
    write_file(source, target, connection, options=FileOptions.of(how), write=how)


FAILING: list[Callable[[Connection, str, Path], Any]] = [
    lambda connection, database, _: iotf.query("SELECT !", connection=connection),
    lambda connection, database, _: iotf.query(
        "SELECT * FROM nowhere.t", model="table", connection=connection
    ),
    lambda connection, database, _: iotf.execute("DROP DATABASE root.no", connection=connection),
    lambda connection, database, _: iotf.read(f"root.{database}.no", connection=connection),
    lambda connection, database, _: iotf.read(f"{database}.no", connection=connection),
    lambda connection, database, _: iotf.write(
        pd.DataFrame({"temp": [1.5]}, index=pd.to_datetime(["2024-01-01"])),
        f"{database}.no",
        create=False,
        connection=connection,
    ),
    backfill_into_nothing,
    backfill,
    write_one_file,
]


@pytest.mark.parametrize("fail", FAILING)
def test_causes_end(
    fail: Callable[[Connection, str, Path], Any],
    connection: Connection,
    shared_database: str,
    tmp_path: Path,
) -> None:
    """Whoever walks the causes of an error comes to an end."""
    file = tmp_path / "f.csv"
    file.write_text("time,temp\n2024-01-01 00:00,1.5\n")
    with pytest.raises(IoTDBFramesError) as caught:
        fail(connection, shared_database, file)
    assert chain(caught.value)[0] is caught.value


PACKAGE = Path(errors.__file__).parent
SOURCES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in PACKAGE.rglob("*.py")}


def functions_of(module: ast.Module) -> dict[str, list[ast.FunctionDef]]:
    """Functions and methods of a module, and functions that it imports, by name."""
    found: dict[str, list[ast.FunctionDef]] = {}
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef):
            found.setdefault(node.name, []).append(node)
        elif isinstance(node, ast.ImportFrom) and str(node.module).startswith(PACKAGE.name):
            source = SOURCES.get(PACKAGE.parent / (str(node.module).replace(".", "/") + ".py"))
            there = [] if source is None else source.body
            for made in there:
                if isinstance(made, ast.FunctionDef) and made.name in [n.name for n in node.names]:
                    found.setdefault(made.name, []).append(made)
    return found


class OwnCauses:
    """Finds the lines of a module that give an error a cause and may give it itself."""

    def __init__(self, module: ast.Module) -> None:
        self._functions = functions_of(module)
        self.lines: list[str] = []
        for made in self._functions.values():
            for function in made:
                if function in set(ast.walk(module)) and function.name != raise_explained.__name__:
                    for node in ast.walk(function):
                        self._look(node, function)

    def _look(self, node: ast.AST, function: ast.FunctionDef) -> None:
        given: list[ast.expr | None] = []
        if isinstance(node, ast.Raise) and node.cause is not None:
            is_none = isinstance(node.cause, ast.Constant) and node.cause.value is None
            given = [] if is_none else [node.exc]
        elif isinstance(node, ast.Assign):
            attributes = [t for t in node.targets if isinstance(t, ast.Attribute)]
            given = [t.value for t in attributes if t.attr == "__cause__"]
        if not all(self._is_new(one, function) for one in given):
            self.lines.append(ast.unparse(node))

    def _is_new(self, value: ast.expr | None, function: ast.FunctionDef) -> bool:
        """Whether an expression can only be an object that is made here.

        A class makes one, a function whose every return does, and so does a name that is given
        nothing else in `function`.
        """
        if isinstance(value, ast.IfExp):
            return self._is_new(value.body, function) and self._is_new(value.orelse, function)
        if isinstance(value, ast.Name) and not value.id[:1].isupper():
            given = [
                node.value
                for node in ast.walk(function)
                if isinstance(node, ast.Assign)
                for target in node.targets
                if isinstance(target, ast.Name) and target.id == value.id
            ]
            return bool(given) and all(self._is_new(one, function) for one in given)
        called = value.func if isinstance(value, ast.Call) else value
        name = called.attr if isinstance(called, ast.Attribute) else ast.unparse(called or function)
        if name[:1].isupper():
            return True
        returns = [
            (node.value, maker)
            for maker in self._functions.get(name, [])
            for node in ast.walk(maker)
            if isinstance(node, ast.Return)
        ]
        return bool(returns) and all(self._is_new(made, maker) for made, maker in returns)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_is_raised_from_itself(path: Path) -> None:
    """Only an error that is made on the spot is raised from another; else: `raise_explained`."""
    assert OwnCauses(SOURCES[path]).lines == []


@pytest.mark.parametrize(
    "line",
    [
        "raise explained from exc",
        "raise changed(exc) from exc",
        "raise (exc if a else B()) from exc",
        "exc.__cause__ = other",
    ],
)
def test_the_rule_sees_what_it_forbids(line: str) -> None:
    """The rule above finds an error that may be raised from itself."""
    text = f"def f(exc, other, a):\n    explained = B() if a else exc\n    {line}\n"
    assert OwnCauses(ast.parse(text)).lines
