"""The dtype of text that was read: `str`, or what comes nearest before pandas 3."""

from __future__ import annotations

import pandas as pd

_NAME = "str" if pd.__version__ >= "3" else "string[pyarrow_numpy]"
TEXT_DTYPE = pd.Series([], dtype=_NAME).dtype
