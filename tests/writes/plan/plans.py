"""Plans without a server, which never change the caller's frame."""

from __future__ import annotations

import copy
from typing import Any

import pandas as pd

from iotdb_frames.codec.cells import Precision
from iotdb_frames.codec.names import parse_target
from iotdb_frames.options import write_options
from iotdb_frames.writes.plan.chunks import Request, lanes
from iotdb_frames.writes.plan.plan import Existing, WritePlan
from iotdb_frames.writes.plan.planning import layout_of, plan_layout
from iotdb_frames.writes.planner import make_rules


def assert_unchanged(data: Any, before: Any) -> None:
    """All that a caller could see of his data is as it was."""
    if isinstance(data, pd.DataFrame):
        pd.testing.assert_frame_equal(data, before, check_flags=True)
    elif isinstance(data, pd.Series):
        pd.testing.assert_series_equal(data, before, check_flags=True)
    else:
        assert data == before
    assert getattr(data, "attrs", None) == getattr(before, "attrs", None)


def plan_of(
    data: Any,
    target: str = "root.a.d",
    *,
    existing: Existing | None = None,
    precision: Precision = "ms",
    time_zone: str = "UTC",
    **options: Any,
) -> WritePlan:
    """The plan of a frame; its problems are in it."""
    before = copy.deepcopy(data)
    chosen = write_options(options)
    found = layout_of(data, parse_target(target), chosen)
    rules = make_rules(chosen, precision=precision, time_zone=time_zone)
    planned = plan_layout(found, chosen, rules, existing or Existing())
    assert_unchanged(data, before)
    return planned


def checked(data: Any, target: str = "root.a.d", **options: Any) -> WritePlan:
    """The plan of a frame that can be written, else its first problem."""
    planned = plan_of(data, target, **options)
    planned.check()
    return planned


def requests_of(planned: WritePlan) -> list[Request]:
    """All requests of a plan, lane by lane."""
    return [request for lane in lanes(planned) for request in lane]


def stamps(*texts: str, unit: str = "ms") -> pd.DatetimeIndex:
    """A DatetimeIndex of ISO times."""
    return pd.DatetimeIndex(pd.Series(list(texts)).astype(f"datetime64[{unit}]"))


def days(n: int, *, name: str | None = None) -> pd.DatetimeIndex:
    """The first `n` days of 1970, whose tick is the day's number times 86,400,000."""
    return pd.date_range("1970-01-01", periods=n, freq="D", unit="ms", name=name)
