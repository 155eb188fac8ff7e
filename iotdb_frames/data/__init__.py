"""A real sensor data set to try things with; see README.md beside it for source and licence."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["load_demo"]


def load_demo() -> pd.DataFrame:
    """What a weather buoy off Boston measured in 45 days of spring 2022, every ten minutes.

    Returns
    -------
    DataFrame, shape (6508, 10)
        The index is ``time``, naive UTC in milliseconds, ascending; 43 of its steps are longer than
        ten minutes. Seven columns are float64 and three Int64 (directions in degrees and a period
        in seconds), units are in the names. The gaps are the buoy's own: waves come once or twice
        an hour, the pressure tendency every three hours.

    Source: NOAA National Data Buoy Center, station 44013, public domain.
    """
    import pandas as pd
    import pyarrow.parquet as pq

    with (files(__name__) / "boston_buoy.parquet").open("rb") as file:
        table = pq.read_table(file)
    by_type = {field.type: pd.Int64Dtype() for field in table.schema if field.type == "int64"}
    frame: pd.DataFrame = table.to_pandas(types_mapper=by_type.get)
    return frame.set_index("time")
