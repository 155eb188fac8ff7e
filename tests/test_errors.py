"""Errors: which of them say that the same request may succeed later."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from iotdb_frames import errors
from iotdb_frames.errors import IoTDBFramesError, ServerError
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
        (302, (), "nobody knows", False),
        (305, (), "a NullPointerException", False),
        (305, (), STOPPING, True),
        (302, (200, 305), STOPPING, True),
        (302, (507, 305), STOPPING, False),
    ],
)
def test_what_may_be_tried_again(
    code: int, sub_codes: tuple[int, ...], message: str, is_retryable: bool
) -> None:
    """Retryable are the server's codes for passing trouble, and the 305 of a server that stops."""
    error = ServerError(message, code=code, sub_codes=sub_codes)
    assert error.is_retryable is is_retryable


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
