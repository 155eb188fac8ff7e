"""Every error this package raises on purpose.

One root, mixed with built-in errors so that an ordinary ``except`` works. Each error answers three
questions: whose fault is it, was anything sent, and may I try again?

    IoTDBFramesError                     .hint .report
    ├─ OptionsError(ValueError)          a wrong option; nothing was sent
    ├─ FrameError(ValueError)            your data; nothing of it was sent; .column .row
    │  ├─ TimeIndexError
    │  └─ ColumnTypeError(TypeError)
    ├─ PoolTimeout(TimeoutError), PoolClosed
    ├─ SinkFull                          a sink holds all the unsent rows it may
    ├─ ServerError                       .code .sub_codes .is_retryable
    │  ├─ ConnectionLost(ConnectionError)
    │  ├─ AuthenticationError, PermissionDenied(PermissionError)
    │  ├─ QueryError, QueryTimeout(TimeoutError)
    │  └─ WriteRejected
    ├─ PartialWriteError                 .report: acknowledged, refused, in doubt
    ├─ LaunchError                       .log_tail
    └─ MissingExtraError(ImportError)    names the pip command
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from itertools import takewhile
from pathlib import Path
from traceback import extract_tb
from typing import Any, NoReturn

from iotdb_frames.spelling import painted, printable

RETRYABLE_CODES = frozenset(
    {306, 600, 602, 605, 606, 610, 611, 708, 713, 717, 721, 722}
    | {901, 904, 906, 907, 1003, 1012, 1103, 2206, 2207}
)
"""Server codes after which the same request may succeed. Source: the Java client of 2.0.10; 722 (a
node that a query needs restarts), 1012 (all replicas of a region are away), 2206 and 2207 (a schema
region not yet back after a restart) were observed on a server."""

_PASSING = {
    # replicas cannot be reached, and the rest are no majority
    301: (
        "Fail to send plan node",
        "Ratis request failed",
        "Raft Server cannot serve",
        # a node that is cut off, at the login of a user whom it does not know
        "Failed to connect to config node",
        # a node that was to hand on a part of a query's result
        "Connection refused",
        "Connection reset",
        "Broken pipe",
        "Socket is closed by peer",
    ),
    # a stopping server, for a write not yet logged (with ``wal_mode=SYNC``) and for a query; a
    # node that is away, as another one says it
    305: (
        "WALFlushListener",
        "no detailed failure reason in QueryStateMachine",
        "Fail to connect to any config node",
        "java.net.ConnectException",
    ),
    507: ("Rollback create table failed",),
}
"""Texts that tell passing trouble, by codes that can mean anything. Source: observed on 2.0.10,
with servers that stop, and with nodes that are killed."""


def _rebuild(cls: type[IoTDBFramesError], message: str, state: dict[str, Any]) -> IoTDBFramesError:
    error = cls.__new__(cls, message)
    error.args = (message,)
    error.__dict__.update(state)
    return error


class Choice:
    """Options that a hint names; as text, in Python syntax. ``...`` stands for any value."""

    def __init__(self, **options: Any) -> None:
        self.options = options

    def __str__(self) -> str:
        return ", ".join(f"{name}={_written(value)}" for name, value in self.options.items())


class Call:
    """A call that a hint names; as a text, Python's, which is another in the shell."""

    def __init__(self, python: str, *, in_shell: str) -> None:
        self.python = python
        self.in_shell = in_shell

    def __str__(self) -> str:
        return self.python


LOOK = Call(
    'iotf.show("timeseries", "root.**")', in_shell="iotdb-frames read 'SHOW TIMESERIES root.**'"
)


def _written(value: Any) -> str:
    if value is ...:
        return "…"
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_written(k)}: {_written(v)}' for k, v in value.items())}}}"
    return f"[{', '.join(map(_written, value))}]" if isinstance(value, list) else repr(value)


class Hint(str):
    """What to do, in words and options: text for Python; other front ends `render` their own.

    A part may itself be a hint, which `without` takes out.
    """

    __slots__ = ("parts",)
    parts: tuple[str | Choice | Call, ...]

    def __new__(cls, *parts: str | Choice | Call) -> Hint:
        hint = super().__new__(cls, "".join(map(str, parts)))
        hint.parts = parts
        return hint

    def __getnewargs__(self) -> tuple[str | Choice | Call, ...]:  # type: ignore[override]
        return self.parts

    def render(self, write: Callable[[Choice | Call], str]) -> str:
        """The text, with each choice and call as `write` writes it."""
        return "".join(
            p.render(write) if isinstance(p, Hint) else p if isinstance(p, str) else write(p)
            for p in self.parts
        )

    def without(self, part: Hint) -> Hint:
        """The hint less one of its parts."""
        return Hint(*(p for p in self.parts if p != part))

    def with_more(self, *parts: str | Choice | Call) -> Hint:
        """The same, and more in parentheses."""
        return Hint(*self.parts, " (", *parts, ")")


def as_hint(text: str) -> Hint:
    """A hint of a text that may be one."""
    return text if isinstance(text, Hint) else Hint(text)


class IoTDBFramesError(Exception):
    """Root of the tree.

    Attributes
    ----------
    hint : str or None
        What to do about it, in one line.
    report : WriteReport or None
        The outcome of the write, if there was one.
    shows_chain : bool
        Whether a notebook shows the full traceback rather than a summary.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.report: Any = None
        self.shows_chain = False

    def __str__(self) -> str:
        text = f"{self.message}\nHint: {self.hint}" if self.hint else self.message
        return printable(text)

    def told(self) -> Hint:
        """What it says, and what to do, on one line."""
        if not self.hint:
            return Hint(self.message)
        end = "" if self.message[-1:] in ".!?…" else "."
        return Hint(self.message, f"{end} Hint: ", *as_hint(self.hint).parts)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, dict(self.__dict__))

    def _render_traceback_(self) -> list[str]:
        """What IPython shows: the error, what to do, and the caller's line.

        ``%tb Verbose``, any mode other than Context, or `shows_chain` shows the full traceback.
        """
        ipython: Any = sys.modules["IPython"]  # only it calls this
        renderer = ipython.get_ipython().InteractiveTB
        if self.shows_chain or renderer.mode != "Context":
            chain = renderer.structured_traceback(type(self), self, self.__traceback__, 1)
            return list(chain)
        lines = [f"{painted(type(self).__name__, '31')}: {self}"]
        ours = str(Path(__file__).parent)
        callers = takewhile(
            lambda frame: not frame.filename.startswith(ours), extract_tb(self.__traceback__)
        )
        theirs = [f for f in callers if "site-packages" not in f.filename and f.line]
        theirs = [f for f in theirs if not str(f.line).startswith("get_ipython()")]  # of a magic
        if theirs:
            lines.append(f"in line {theirs[-1].lineno}: {painted(str(theirs[-1].line), '1')}")
        return [*lines, *getattr(self, "__notes__", ()), "(%tb Verbose shows the full traceback)"]


class OptionsError(IoTDBFramesError, ValueError):
    """An invalid option; nothing was sent."""


class FrameError(IoTDBFramesError, ValueError):
    """Data that cannot be written exactly; nothing of it was sent.

    Attributes
    ----------
    column : label of the column, or None
    row : position (0-based) of the first row at fault, or None
    reason : what is wrong, without the row number, so that it holds for every row at fault
    """

    def __init__(
        self,
        message: str,
        *,
        column: Any = None,
        row: int | None = None,
        hint: str | None = None,
        reason: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.column = column
        self.row = row
        self.reason = message if reason is None else reason


class TimeIndexError(FrameError):
    """Times that are missing, out of range, ambiguous, or not times at all."""


class ColumnTypeError(FrameError, TypeError):
    """A column whose values do not fit its IoTDB type."""


class PoolTimeout(IoTDBFramesError, TimeoutError):
    """No session of the pool became free in time."""


class PoolClosed(IoTDBFramesError):
    """The connection was closed."""


class SinkFull(IoTDBFramesError):
    """The sink holds all the unsent rows it may; these rows were not accepted, or were dropped."""


class ServerError(IoTDBFramesError):
    """The server refused, or could not be reached.

    Attributes
    ----------
    code : int or None
        The server's status code.
    sub_codes : tuple of int
        The codes inside a multi-status (302).
    is_retryable : bool
        Whether the same request may succeed later: the server says so, or it is known of the code,
        or of the code and the text.
    """

    def __init__(
        self,
        message: str,
        *,
        code: int | None = None,
        sub_codes: Sequence[int] = (),
        needs_retry: bool = False,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.sub_codes = tuple(sub_codes)
        self._needs_retry = needs_retry

    @property
    def is_retryable(self) -> bool:
        if self._needs_retry:
            return True
        if self.code == 302 and self.sub_codes:
            return all(self._may_pass(code) for code in self.sub_codes if code != 200)
        return self._may_pass(self.code)

    def _may_pass(self, code: int | None) -> bool:
        texts = _PASSING.get(code or 0, ())
        return code in RETRYABLE_CODES or any(text in self.message for text in texts)


class ConnectionLost(ServerError, ConnectionError):
    """There is no connection, or it broke; what was on the wire is in doubt.

    Attributes
    ----------
    was_sent : bool
        Whether the request may have reached the server.
    may_pass : bool
        False if only a change of options helps, e.g. for a certificate that is not accepted.
    may_come_late : bool
        Whether its host was left while it had the request and may still carry it out, after what is
        sent to other hosts meanwhile.
    """

    def __init__(
        self,
        message: str,
        *,
        was_sent: bool = False,
        may_pass: bool = True,
        may_come_late: bool = False,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.was_sent = was_sent
        self.may_pass = may_pass
        self.may_come_late = may_come_late

    @property
    def is_retryable(self) -> bool:
        return self.may_pass


class AuthenticationError(ServerError):
    """Unknown user or wrong password."""


class PermissionDenied(ServerError, PermissionError):
    """The user lacks a privilege."""


class QueryError(ServerError):
    """A statement the server cannot run."""


class QueryTimeout(ServerError, TimeoutError):
    """A statement timed out, in the server or while waiting for it."""


class WriteRejected(ServerError):
    """The server refused a write."""


class PartialWriteError(IoTDBFramesError):
    """Part of a write is not in the database, or is in doubt; `report` says which."""


class LaunchError(IoTDBFramesError):
    """A local server could not be found, downloaded or started.

    Attributes
    ----------
    log_tail : str
        The last lines of its log.
    """

    def __init__(self, message: str, *, log_tail: str = "", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.log_tail = log_tail

    def __str__(self) -> str:
        text = super().__str__()
        tail = f"\n--- last lines of its log ---\n{self.log_tail}" if self.log_tail else ""
        return text + printable(tail)


class MissingExtraError(IoTDBFramesError, ImportError):
    """An optional package is not installed; the message names the pip command."""


def raise_explained(explained: BaseException, exc: BaseException) -> NoReturn:
    """Raise `explained` from `exc`; if they are the same error, raise it as it is.

    Code that follows the causes of an error that is its own cause never ends: Dask's workers
    grew to gigabytes over one.
    """
    if explained is exc:
        raise exc
    raise explained from exc


def missing_extra(extra: str, purpose: str) -> MissingExtraError:
    """The error for a package of `extra` that is missing."""
    return MissingExtraError(
        f"{purpose} needs packages that are not installed",
        hint=f'pip install "iotdb-frames[{extra}]"',
    )


def did_you_mean(name: object, choices: Iterable[object]) -> str | None:
    """The hint with those of `choices` that are most like a name, in any case; None: none is."""
    by_lower = {str(choice).lower(): str(choice) for choice in choices}
    close = get_close_matches(str(name).lower(), by_lower)
    return f"did you mean {' or '.join(repr(by_lower[low]) for low in close)}?" if close else None


def nearest(name: object, choices: Iterable[object]) -> str | None:
    """The hint for a name not in `choices`: the most similar ones, otherwise the first 20."""
    names = [str(choice) for choice in choices]
    if hint := did_you_mean(name, names):
        return hint
    more = f" and {len(names) - 20:,} more" if len(names) > 20 else ""
    return f"choose from {', '.join(names[:20])}{more}" if names else None
