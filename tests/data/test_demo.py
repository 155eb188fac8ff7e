"""The demo data set is what its README says."""

from __future__ import annotations

import pandas as pd

from iotdb_frames.data import load_demo


def test_demo_is_ascending_with_gaps() -> None:
    """Times ascend without duplicates, and 43 steps are longer than the usual ten minutes."""
    index = load_demo().index
    assert index.name == "time"
    assert index.dtype == "datetime64[ms]"
    assert index.is_monotonic_increasing
    assert index.is_unique
    steps = index.to_series().diff().dropna()
    assert (steps > pd.Timedelta(minutes=10)).sum() == 43
    assert steps.min() == pd.Timedelta(minutes=10)


def test_demo_has_its_values_and_gaps() -> None:
    """Numbers, types and missing cells are those of the source's text file."""
    frame = load_demo()
    assert frame.shape == (6508, 10)
    assert frame.dtypes.astype(str).value_counts().to_dict() == {"float64": 7, "Int64": 3}
    row = frame.loc["2022-06-05 12:50"]
    assert row["wind_direction_deg"] == 270
    assert row["average_period_s"] == 3.5
    assert row["pressure_hpa"] == 1015.3
    assert pd.isna(row["pressure_tendency_hpa"])
    missing = frame.isna().sum()
    assert missing["dominant_period_s"] == 5439
    assert missing["water_temperature_c"] == 368
    assert not frame.isna().all(axis=1).any()
