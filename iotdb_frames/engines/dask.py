"""Dask: ``ddf.iotdb.write(…)``, once this module is imported; `read_dask` is beside it.

Every partition is written by one task, at least once. A task whose worker is lost runs again on
another one: its rows are stored once all the same, for device and time are their key.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Unpack
from uuid import uuid4

from iotdb_frames.engines.jobs import Job, Outcome, Run, gather, write_part
from iotdb_frames.errors import missing_extra
from iotdb_frames.options import WriteArgs, as_bool, as_whole, hide_url, show_options
from iotdb_frames.writes.report import WriteReport

try:
    from dask.dataframe import from_map as from_map
    from dask.dataframe.extensions import register_dataframe_accessor, register_series_accessor
    from dask.delayed import Delayed, delayed
except ImportError as exc:
    raise missing_extra("dask", "a Dask frame") from exc

if TYPE_CHECKING:
    from iotdb_frames.client.connection import Connection
    from iotdb_frames.client.endpoint import Endpoint


@register_dataframe_accessor("iotdb")
@register_series_accessor("iotdb")
class IoTDBAccessor:
    """Writes this Dask frame into Apache IoTDB."""

    def __init__(self, data: Any) -> None:
        self._data = data

    def __repr__(self) -> str:
        return 'ddf.iotdb: .write("root.plant.press1")'

    @show_options
    def write(
        self,
        target: str,
        *,
        connection: Connection | Endpoint | str | None = None,
        compute: bool = True,
        retries: int = 3,
        **options: Unpack[WriteArgs],
    ) -> WriteReport | PendingWrite:
        """Write all partitions, each in a task; see `iotdb_frames.write`.

        The schema is made here, before any task runs. An error ends the write: partitions that were
        not begun are left out, and the error has the report of all. Between partitions there is no
        order: of rows with the same device and time in several of them, any may win.

        Parameters
        ----------
        target : as of `iotdb_frames.write`
        connection : a Connection, an Endpoint or a URL; its password reaches workers in other
            processes only as their ``IOTDB_PASSWORD``, or in ``iotf.Endpoint.of(connection,
            travels=True)``
        compute : False: give a Delayed of the report instead, whose ``compute()`` writes
        retries : how often the distributed scheduler runs a task again that failed otherwise than
            by an error of this package; for how long the server is waited for, `retry` says
        options : as in `iotdb_frames.write`, but for what needs all rows at once: ``replace=True``,
            and other `duplicates` than "merge". A `dead_letter` is a file per task, on the worker's
            machine; the report names them

        Returns
        -------
        WriteReport : of all partitions

        Raises
        ------
        OptionsError, FrameError : of the options and the columns, before anything is sent; of a
            partition's rows, with the report of what others have stored
        ServerError, PartialWriteError : with the report of all
        """
        connection = hide_url(connection)
        retries = as_whole("retries", retries, least=0)
        compute = as_bool("compute", compute)
        job = Job.of(self._data._meta, target, connection, options)
        pending = PendingWrite(self._data.to_delayed(), job)
        return pending.compute(retries=retries) if compute else pending


class PendingWrite(Delayed):  # type: ignore[misc]
    """A Delayed of a write's report; each `compute` writes, also while an earlier result is held.

    Dask takes what has the same key for the same, and would not run it again.
    """

    __slots__ = ("_job", "_parts")

    def __init__(self, parts: Sequence[Any], job: Job) -> None:
        run = delayed(Run.begin, pure=False)(dask_key_name=_key("begin"))
        outcome = _outcome(parts, job, run)
        whole = delayed(Outcome.result, pure=False)(outcome, dask_key_name=_key("report"))
        super().__init__(whole.key, whole.dask)
        self._parts = parts
        self._job = job

    def __reduce__(self) -> tuple[Any, ...]:
        return PendingWrite, (self._parts, self._job)

    def compute(self, **how: Any) -> WriteReport:
        """Write, and give the report; `how` is for Dask's scheduler."""
        outcome: Outcome = _outcome(self._parts, self._job, Run.begin()).compute(**how)
        return outcome.result()


def _outcome(parts: Sequence[Any], job: Job, run: Any) -> Any:
    """A Delayed of what became of all partitions; never the same one twice."""
    write = delayed(partial(write_part, job), pure=False)
    outcomes = [write(part, run, i, dask_key_name=_key("write")) for i, part in enumerate(parts)]
    return delayed(gather, pure=False)(outcomes, job.label, run, dask_key_name=_key("gather"))


def _key(word: str) -> str:
    return f"iotdb-{word}-{uuid4().hex}"
