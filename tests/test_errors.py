"""Errors: which of them say that the same request may succeed later."""

from __future__ import annotations

import pytest

from iotdb_frames.errors import ServerError

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
