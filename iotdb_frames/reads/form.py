"""What rows become: a pandas frame in the normal form, an Arrow table, or a Polars frame."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import tzinfo
from typing import Any, Literal

import pyarrow as pa

from iotdb_frames.errors import FrameError, OptionsError, missing_extra
from iotdb_frames.options import check_choice
from iotdb_frames.reads.frames import DtypeBackend, check_form, local_times, to_pandas

Returns = Literal["pandas", "arrow", "polars"]


@dataclass(frozen=True, kw_only=True)
class Form:
    """What the rows of a call become; checked before a query runs for nothing.

    returns : "pandas", "arrow" or "polars"; the times of all three are the same
    tz, dtype_backend : see `FrameBuilder`; the dtype backend is of pandas

    Raises
    ------
    OptionsError : an unknown form, dtype backend or zone; MissingExtraError : Polars is not there.
    """

    returns: Returns = "pandas"
    tz: str | tzinfo | None = None
    dtype_backend: DtypeBackend = None

    def __post_init__(self) -> None:
        check_form(tz=self.tz, dtype_backend=self.dtype_backend)
        check_choice("returns", self.returns, ("pandas", "arrow", "polars"))
        if self.returns != "pandas" and self.dtype_backend is not None:
            raise OptionsError(
                f"dtype_backend={self.dtype_backend!r} is for frames of pandas, and "
                f"returns={self.returns!r} has none",
                hint="leave out one of the two",
            )
        if self.returns == "polars":
            load_polars()

    def of(self, rows: pa.Table, *, index: int | None, time_zone: str) -> Any:
        """Rows of a query in this form.

        Parameters
        ----------
        index : position of the times that become pandas' index; elsewhere they stay a column
        time_zone : in which naive times are meant

        Raises
        ------
        FrameError : what the form has no place for.
        """
        if self.returns == "pandas":
            return to_pandas(
                rows,
                index=index,
                time_zone=time_zone,
                tz=self.tz,
                dtype_backend=self.dtype_backend,
            )
        table = local_times(rows, time_zone=time_zone, tz=self.tz)
        return table if self.returns == "arrow" else to_polars(table)


def load_polars() -> Any:
    """The package.

    Raises
    ------
    MissingExtraError : it is not installed.
    """
    try:
        import polars
    except ModuleNotFoundError as exc:
        raise missing_extra("polars", "a Polars frame") from exc
    return polars


def to_polars(table: pa.Table) -> Any:
    """A table as a Polars frame.

    Raises
    ------
    FrameError : two columns have one name; MissingExtraError : Polars is not installed.
    """
    polars = load_polars()
    names = table.column_names
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise FrameError(
            f"the result has two columns {twice!r}, and a Polars frame has one of a name",
            column=twice,
            hint="name them in the statement: SELECT … AS …",
        )
    return polars.from_arrow(table)
