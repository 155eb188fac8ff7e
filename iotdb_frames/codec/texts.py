"""Find the texts of a column: each an int32 length (big-endian) and the bytes.

Each length tells where the next one is, so the texts of a block are walked one by one: step k goes
over the k-th text of all blocks at once. The first walk uses only the lowest byte of a length (two
numpy calls per step, 10 ns per text) and is then checked against the full lengths; blocks that do
not pass, for their texts exceed 255 bytes, are walked again.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


def every_int32(data: bytes) -> npt.NDArray[np.uint32]:
    """View of the big-endian number at every byte, shape (len(data) - 3,).

    Unsigned: a negative length points outside the data, where numpy raises.
    """
    return np.ndarray((max(len(data) - 3, 0),), ">u4", data, 0, (1,))


def find_texts(data: bytes, at: Ints, n_texts: Ints) -> tuple[Ints, Ints, Ints]:
    """Find where texts begin and end.

    Parameters
    ----------
    data : the blocks, joined
    at : int64, shape (n_blocks,): the column's first byte in each block
    n_texts : int64, shape (n_blocks,): how many texts begin there

    Returns
    -------
    first and end byte per text, shape (n_texts.sum(),), block by block; first byte after the last
    text of each block, shape (n_blocks,)

    Raises
    ------
    ValueError, IndexError : lengths that point outside the data.
    """
    if 4 * int(n_texts.max(initial=0)) > len(data):
        raise ValueError("more texts than bytes")
    int32s = every_int32(data)
    cursors = _walk_low_bytes(data, at, int(n_texts.max(initial=0)))
    length_at, end = _by_block(cursors[:-1], n_texts), _by_block(cursors[1:], n_texts)
    # A wrong walk may have left the data. (`take` would copy the whole of such a view.)
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
        # The 4 bytes of each length are added at the end; until then the view is shifted by them.
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
