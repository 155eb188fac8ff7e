"""Where the objects of JSON lines are in their text, and what is wrong with one."""

from __future__ import annotations

import json
from decimal import Decimal
from functools import cached_property

import numpy as np
import pyarrow as pa

Cut = tuple[int, int, int]
"""Line, from 0, and place of an object: where it begins and where it ends."""
_KINDS = {str: "a text", bool: "true or false", list: "a list", dict: "an object"}
_NAMES = {pa.string(): "a text", pa.bool_(): "true or false"}


def end_of_object(text: bytes) -> int:
    """Where the last line ends that ends an object and has another one behind; 0 without one.

    Only between objects does a line end with ``}`` and the next begin with ``{``: within one there
    is a comma, and texts hold no line breaks.
    """
    end = len(text)
    while (end := text.rfind(b"\n", 0, end)) > 0:
        before, behind = text[max(0, end - 64) : end], text[end : end + 64]
        if before.rstrip()[-1:] == b"}" and behind.lstrip()[:1] == b"{":
            return end + 1
    return 0


def cut_objects(text: bytes) -> list[Cut]:
    """Objects of a block that cannot be parsed: its lines, or where most span some, those."""
    cuts: list[Cut] = []
    at = n_whole = 0
    for number, line in enumerate(text.split(b"\n")):
        if bare := line.strip():
            cuts.append((number, at, at + len(line)))
            n_whole += bare[:1] == b"{" and bare[-1:] == b"}"
        at += len(line) + 1
    if n_whole * 2 >= len(cuts):
        return cuts
    joined = cuts[:1]
    for number, start, stop in cuts[1:]:
        _, _, before = joined[-1]
        is_new = text[:before].rstrip()[-1:] == b"}" and text[start:stop].lstrip()[:1] == b"{"
        if is_new:
            joined.append((number, start, stop))
        else:
            joined[-1] = (*joined[-1][:2], stop)
    return joined


class Objects:
    """Where the objects of a block are, of which there are `n_rows`."""

    def __init__(self, text: bytes, n_rows: int) -> None:
        self._text, self._n_rows = text, n_rows

    @cached_property
    def lines(self) -> np.ndarray:
        """Line in the block in which each begins, from 0; int64, shape (n_rows,)."""
        octets = np.frombuffer(self._text, np.uint8)
        starts = np.concatenate([[0], np.flatnonzero(octets[:-1] == 10) + 1])
        begins = np.flatnonzero(octets[starts] == ord("{")) if len(octets) else starts[:0]
        n_full = np.count_nonzero(~np.isin(octets[starts], (10, 13)))
        if len(begins) == self._n_rows == n_full:  # a line an object
            return begins
        places = [start for start, _ in self._places]
        decoded = np.frombuffer(self._decoded.encode("utf-32-le"), "<u4")
        return np.searchsorted(np.flatnonzero(decoded == 10), places)

    @cached_property
    def texts(self) -> list[str]:
        """The text of each."""
        return [self._decoded[start:stop] for start, stop in self._places]

    @cached_property
    def _decoded(self) -> str:
        return self._text.decode()

    @cached_property
    def _places(self) -> list[tuple[int, int]]:
        text, decoder = self._decoded, json.JSONDecoder(parse_int=Decimal)
        found, at = [], 0
        while at < len(text):
            if text[at].isspace():
                at += 1
                continue
            _, end = decoder.raw_decode(text, at)
            found.append((at, end))
            at = end
        return found


def what_is_wrong(text: bytes, schema: pa.Schema) -> str | None:
    """What is wrong with an object that cannot be read with these types; None: Arrow knows."""
    try:
        value = json.loads(str(text, "utf-8"), parse_int=Decimal)
    except UnicodeError:
        return "is no text in UTF-8"
    except json.JSONDecodeError as exc:
        return f"is not JSON: {exc.msg.lower()} at character {exc.pos + 1:,}"
    except RecursionError:
        return "is nested too deeply"
    if not isinstance(value, dict):
        return "is not a JSON object"
    for field in schema:
        if (one := value.get(field.name)) is None:
            continue
        is_number = field.type in (pa.int64(), pa.float64())
        has, wants = _KINDS.get(type(one), "a number"), _NAMES.get(field.type, "an object or list")
        wants = "a number" if is_number else wants
        if has != wants:
            return f"column {field.name!r} is {has}, and {wants} in other rows"
        if field.type == pa.int64() and not -(1 << 63) <= one < 1 << 63:
            return f"column {field.name!r} is a number beyond 64 bits"
    return None
