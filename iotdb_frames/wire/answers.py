"""The server's answers: statuses as errors, and the headers of sessions and results.

Source: status codes observed on IoTDB 2.0.10.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from iotdb_frames.errors import (
    AuthenticationError,
    ConnectionLost,
    IoTDBFramesError,
    PermissionDenied,
    QueryTimeout,
    ServerError,
)
from iotdb_frames.wire.codes import named, sentence_of

Model = Literal["tree", "table"]

SUCCESS, REDIRECT, MULTIPLE = 200, 400, 302
_AUTHENTICATION = {801, 804}
_NOT_LOGGED_IN, _NO_PERMISSION, _QUERY_TIMEOUT, _QUERY_TOO_BIG = 802, 803, 720, 719


@dataclass(frozen=True)
class ServerInfo:
    """What the server reported when the session opened."""

    precision: Literal["ms", "us", "ns"]
    protocol: int


@dataclass(frozen=True)
class ResultHeader:
    """Schema of a query's result, received with its first blocks.

    Parameters
    ----------
    query_id : of the query on this session, needed to fetch and close
    names : label of each column, without the tree model's time
    type_names : IoTDB type name of each column
    has_time : whether the blocks' time slot is a column of its own (in the tree model)
    block_columns : position of each column in the block; -1 means the block's time slot
    blocks : the first encoded TsBlocks
    has_more : whether there are more to fetch
    """

    query_id: int
    names: tuple[str, ...]
    type_names: tuple[str, ...]
    has_time: bool
    block_columns: tuple[int, ...]
    blocks: tuple[bytes, ...]
    has_more: bool


@contextmanager
def understood(what: str) -> Iterator[None]:
    """Parse an answer inside this block; an unexpected one is raised as a ServerError.

    Damaged bytes may change any label, number or type; a newer server may have new ones.
    """
    try:
        yield
    except IoTDBFramesError:
        raise
    except (LookupError, ValueError, TypeError, AttributeError) as exc:
        raise ServerError(f"unexpected answer of the server about {what}: {exc!r}") from exc


def _text(status: Any) -> str:
    parts = [status.message or ""]
    for sub in status.subStatus or ():
        if sub.code not in (SUCCESS, REDIRECT) and sub.message and sub.message not in parts:
            parts.append(sub.message)
    return "; ".join(part for part in parts[:4] if part) or sentence_of(status.code)


def check(status: Any, kind: type[ServerError]) -> None:
    """Raise the error that `status` stands for; `kind` is the class of an ordinary refusal."""
    if status is None:
        raise ConnectionLost("the server's answer is invalid: it has no status", was_sent=True)
    subs = tuple(sub.code for sub in status.subStatus or ())
    if status.code in (SUCCESS, REDIRECT) or (
        status.code == MULTIPLE and subs and all(c in (SUCCESS, REDIRECT) for c in subs)
    ):
        return
    code, text = status.code, _text(status)
    hint = None
    if code in _AUTHENTICATION:
        kind, hint = AuthenticationError, "check user and password (URL or IOTDB_PASSWORD)"
    elif code == _NO_PERMISSION or (code == MULTIPLE and _NO_PERMISSION in subs):
        kind, hint = PermissionDenied, "ask an administrator: GRANT … TO USER …"
    elif code == _NOT_LOGGED_IN:
        raise ConnectionLost(f"the server no longer knows this session: {text}")
    elif code == _QUERY_TIMEOUT:
        kind, hint = QueryTimeout, "narrow the time range, or raise the server's query_timeout"
    elif code == _QUERY_TOO_BIG:
        hint = "query fewer columns or a shorter time range"
    raise kind(
        f"[{named(code)}] {text}",
        code=code,
        sub_codes=subs,
        needs_retry=bool(status.needRetry),
        hint=hint,
    )
