"""Find the texts of a column: int32 length (big-endian) and bytes, one behind the other.

Each length says where the next one stands, so the texts of a block are walked one by one: step k
over the k-th text of every block at once. The first walk takes only the lowest byte of a length
(two numpy calls a step, 10 ns a text), and is then checked against the whole lengths; blocks that
do not pass, where texts are longer than 255 bytes, are walked again.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


def every_int32(data: bytes) -> npt.NDArray[np.uint32]:
    """View of the big-endian number at every byte, shape (len(data) - 3,).

    Unsigned: a negative length leads out of the data, where numpy raises.
    """
    return np.ndarray((max(len(data) - 3, 0),), ">u4", data, 0, (1,))


def find_texts(data: bytes, at: Ints, n_texts: Ints) -> tuple[Ints, Ints, Ints]:
    """Where texts begin and end.

    Parameters
    ----------
    data : the blocks, joined
    at : int64, shape (n_blocks,): the column's first byte in each block
    n_texts : int64, shape (n_blocks,): how many texts begin there

    Returns
    -------
    first and end byte a text, shape (n_texts.sum(),), block by block; first byte behind a block's
    last text, shape (n_blocks,)

    Raises
    ------
    ValueError, IndexError : lengths that lead out of the data.
    """
    if 4 * int(n_texts.max(initial=0)) > len(data):
        raise ValueError("more texts than bytes")
    int32s = every_int32(data)
    cursors = _walk_low_bytes(data, at, int(n_texts.max(initial=0)))
    length_at, end = _by_block(cursors[:-1], n_texts), _by_block(cursors[1:], n_texts)
    # A walk gone wrong may have left the data. (`take` would copy all of such a view.)
    is_right = int32s[np.minimum(length_at, len(int32s) - 1)] == end - length_at - 4
    if not is_right.all():
        block = np.repeat(np.arange(len(at)), n_texts)
        again = np.unique(block[~is_right])
        n_again = n_texts[again]
        cursors = _walk(int32s, at[again], n_again)
        rows = np.isin(block, again)
        length_at[rows] = _by_block(cursors[:-1], n_again)
        end[rows] = _by_block(cursors[1:], n_again)
    behind = at.copy()
    has_texts = n_texts > 0
    behind[has_texts] = end[np.cumsum(n_texts)[has_texts] - 1]
    return length_at + 4, end, behind


def _by_block(steps: npt.NDArray[Any], n_texts: Ints) -> npt.NDArray[Any]:
    """Cursors of shape (n_most, n_blocks) as one array, block by block."""
    if (n_texts == len(steps)).all():
        return steps.T.ravel()
    is_text = np.arange(len(steps)) < n_texts[:, None]
    return steps.T[is_text]


def _walk_low_bytes(data: bytes, at: Ints, n_steps: int) -> Ints:
    """Cursor of each block before step 0, 1, … n_steps, as if lengths were below 256."""
    low = np.frombuffer(data, np.uint8)[3:]
    cursors = np.empty((n_steps + 1, len(at)), np.int64)
    cursors[0] = at
    rows = list(cursors)
    length = np.empty(len(at), np.uint8)
    for k in range(n_steps):
        # The four bytes of each length passed are added at the end: a shifted view stands for them.
        low[4 * k :].take(rows[k], None, length, "clip")
        np.add(rows[k], length, rows[k + 1])
    cursors += 4 * np.arange(n_steps + 1)[:, None]
    return cursors


def _walk(int32s: npt.NDArray[np.uint32], at: Ints, n_texts: Ints) -> Ints:
    """Cursor of each block before step 0, 1, … up to the most texts of a block."""
    cursors = np.empty((int(n_texts.max()) + 1, len(at)), np.int64)
    cursors[0] = at
    for k in range(len(cursors) - 1):
        has_more = n_texts > k
        here = cursors[k]
        cursors[k + 1] = here
        cursors[k + 1, has_more] += int32s[here[has_more]]
        cursors[k + 1, has_more] += 4
    return cursors
