"""Ledgers of one stream, joined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd


def join_ledgers(ledgers: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Ledgers of one stream as one, ascending in time.

    Parameters
    ----------
    ledgers : at least one; possibly of several clocks, with and without devices
    """
    ledgers = [ledger for ledger in ledgers if len(ledger)] or list(ledgers[-1:])
    if len(ledgers) == 1:
        return ledgers[0]
    columns = list(dict.fromkeys(name for ledger in ledgers for name in ledger.columns))
    if "device" in columns:
        columns = ["time", "device", *(c for c in columns if c not in ("time", "device"))]
    joined = {}
    for name in columns:
        parts = [ledger.get(name) for ledger in ledgers]
        if name in ("device", "sensor", "fault"):
            labels = [
                labels_of([None], [len(ledger)]) if part is None else part.array
                for part, ledger in zip(parts, ledgers, strict=True)
            ]
            joined[name] = pd.Series(pd.api.types.union_categoricals(labels))
        else:
            joined[name] = pd.concat(parts, ignore_index=True)
    return pd.DataFrame(joined).sort_values("time", kind="stable", ignore_index=True)


def labels_of(names: Sequence[str | None], counts: Sequence[int]) -> pd.Categorical[Any]:
    """Each name, repeated by its count; None is missing."""
    known = list(dict.fromkeys(name for name in names if name is not None))
    codes = [-1 if name is None else known.index(name) for name in names]
    filled = np.repeat(np.array(codes, dtype=np.int32), counts)
    return pd.Categorical.from_codes(filled, pd.Index(known, dtype=object))
