"""Which rows a time to live refuses, of a request that the server refuses for some of them.

The server stores the rows that are young enough and answers 607 for the request, without saying
which they are. So it is asked: by the same rows in halves, which changes nothing where they are
stored already.
"""

from __future__ import annotations

from collections.abc import Sequence

from iotdb_frames.errors import ServerError
from iotdb_frames.writes.plan.chunks import Request

_OUT_OF_TTL = 607


def is_out_of_ttl(error: ServerError) -> bool:
    """Whether rows were refused for their age."""
    return _OUT_OF_TTL in (error.code, *error.sub_codes)


class Expired:
    """What is known to be too old, by device or table, each of which has one time to live."""

    def __init__(self) -> None:
        self._ends: dict[str, int] = {}

    def pieces(self, request: Request) -> Sequence[Request]:
        """What to send in place of a request that is out of its time to live.

        Returns
        -------
        sequence of Request : the later half and the earlier one; nothing where all rows are too
            old. That takes about two requests for each halving of a device's rows.
        """
        if request.halve is None:
            return ()
        if len(request.tablets) > 1:
            return request.halve()
        target = request.tablets[0].target
        # A row is too old, so the first one is, and time only makes it older.
        end = max(self._ends.get(target, request.start), request.start)
        self._ends[target] = end
        return () if request.end <= end else request.halve()[::-1]
