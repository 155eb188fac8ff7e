"""One session: tablets, statements and fetches as requests of IoTDB's RPC.

Source: `IClientRPCService` of apache-iotdb 2.0; observed on IoTDB 2.0.10.
"""

from __future__ import annotations

import ssl
import struct
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from iotdb.thrift.rpc import ttypes

from iotdb_frames.clock import CLOCK, Clock
from iotdb_frames.codec.quotes import quote_identifier
from iotdb_frames.codec.statements import may_change_schema
from iotdb_frames.errors import (
    ConnectionLost,
    PermissionDenied,
    QueryError,
    ServerError,
    WriteRejected,
)
from iotdb_frames.options import ConnectionOptions
from iotdb_frames.wire.answers import Model, ResultHeader, check
from iotdb_frames.wire.login import log_in, takes_logins

if TYPE_CHECKING:
    from iotdb_frames.codec.tablet import Tablet  # loads pandas, which a server's keeper must not

_GOODBYE_S = 1.0
_SERVER_SHARE = 0.9
_length = struct.Struct("!i").pack
_NO_DATABASE = (500, 701)
"""Answers to a tablet whose database was dropped. Source: IoTDB 2.0.10."""


def _binary_field(number: int, data: bytes | memoryview) -> list[bytes | memoryview]:
    """A Thrift field of type binary (11): type, number, length, bytes."""
    return [struct.pack("!bhi", 11, number, len(data)), data]


def _binary_list_field(
    number: int, items: Sequence[bytes | memoryview]
) -> list[bytes | memoryview]:
    """A Thrift field of type list (15) of binary."""
    out: list[bytes | memoryview] = [struct.pack("!bhbi", 15, number, 11, len(items))]
    for item in items:
        out += [_length(len(item)), item]
    return out


Told = list[tuple[Hashable, tuple[str, int] | None]]
"""Each device, and the (host, port) of the server that it belongs to; None: this one."""


def _told(tablets: Sequence[Tablet], answer: Any) -> Told:
    """What an answer says of the devices of a request; without a status for each, all are here.

    It has a status for each tablet of several, and one for each row of a table's.
    """
    devices = [device for tablet in tablets for device in tablet.devices]
    said = answer.subStatus or [answer] * len(devices)
    if answer.subStatus and tablets[0].categories is not None:
        said = [said[row] for _, row in tablets[0].led if row < len(said)]
    nodes = (status.redirectNode for status in said)
    ends = (None if node is None else (node.ip, node.port) for node in nodes)
    return list(zip(devices, ends, strict=False))


class Session:
    """An open session; used by one thread at a time.

    Parameters
    ----------
    on_change : called after each statement that may change the schema, answered or not
    clock : says when it opened

    Raises
    ------
    ConnectionLost : no IoTDB answers there; the text explains why.
    AuthenticationError : unknown user or wrong password.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        options: ConnectionOptions,
        model: Model,
        context: ssl.SSLContext | None = None,
        on_change: Callable[[], None] | None = None,
        clock: Clock = CLOCK,
    ) -> None:
        self._on_change = on_change
        self.address = f"{host}:{port}"
        self.model = model
        self._options = options
        self._home = options.database if model == "table" else None
        self._database: str | None = None
        self._is_query_held = False
        login = log_in(host, port, options=options, model=model, context=context)
        self.info = login.info
        self.opened_at = clock.now()
        self._channel = login.channel
        self._id, self._statement_id = login.session_id, login.statement_id
        if len(options.hosts) > 1:
            self._channel.transport.is_there = partial(takes_logins, host, port, options=options)

    def __repr__(self) -> str:
        # A traceback with locals may show a session that did not open.
        is_open = hasattr(self, "_channel") and not self.is_broken
        return f"<Session {self.address} {self.model}{'' if is_open else ' broken'}>"

    @property
    def is_broken(self) -> bool:
        """Whether a failure during a request, or `abandon`, ended it."""
        return self._channel.is_broken

    @property
    def has_failed(self) -> bool:
        """Whether it is broken by a failure, and not because it was abandoned."""
        return self._channel.has_failed

    def excuse(self) -> None:
        """A query that ran into its time-out is no failure, where its host took logins meanwhile.

        Any other request is: it is tried again, and had best be tried elsewhere.
        """
        if self._channel.transport.was_there:
            self._channel.has_failed = False

    def abandon(self) -> None:
        """Close the socket without a request; the server ends the session and its queries."""
        self._channel.abandon()

    def disown(self) -> None:
        """Close a forked child's copy of the socket; the parent's session stays open."""
        self._channel.disown()

    def close(self) -> None:
        """End the session; never raises."""
        if not self.is_broken:
            with suppress(Exception):
                self._channel.transport.limit(_GOODBYE_S, in_all=True)
                self._channel.call("closeSession", ttypes.TSCloseSessionReq(self._id))
        self.abandon()

    @property
    def is_usable(self) -> bool:
        """Whether the connection is still open, as far as can be seen without a request."""
        transport = self._channel.transport
        return not self.is_broken and transport.isOpen() and not transport.has_pending()

    def wait_for_answer(self, seconds: float) -> bool:
        """Whether the answer to the last request begins within `seconds`."""
        try:
            return not self.is_broken and self._channel.transport.has_pending(seconds)
        except (OSError, ValueError):
            return False

    def _check(self, status: Any, kind: type[ServerError]) -> None:
        """As `check` does; what means that there is no session any more breaks this one."""
        try:
            check(status, kind)
        except ConnectionLost:
            self._channel.fail()
            raise

    def limit_all(self, seconds: float) -> None:
        """Limit all later requests together, instead of each by the options' `timeout_s`."""
        self._channel.transport.limit(seconds, in_all=True)

    def insert(self, tablets: Sequence[Tablet]) -> Told:
        """Send tablets: one alone, or several of the tree model in one request.

        Returns
        -------
        The devices of the tablets, and the (host, port) that the server says would have been
        nearer; None where this one is. All of it is stored either way.

        Raises
        ------
        WriteRejected, PermissionDenied, ConnectionLost
        """
        if len(tablets) == 1:
            return self._insert_one(tablets[0])
        told = []
        for is_aligned in (True, False):
            some = [t for t in tablets if t.is_aligned == is_aligned]
            if some:
                told += self._insert_many(some, is_aligned)
        return told

    def _insert_one(self, tablet: Tablet) -> Told:
        is_table = tablet.categories is not None
        request = ttypes.TSInsertTabletReq(
            sessionId=self._id,
            prefixPath=tablet.target,
            measurements=tablet.names,
            types=tablet.types,
            size=tablet.n_rows,
            isAligned=tablet.is_aligned and not is_table,
            writeToTable=is_table,
            columnCategories=tablet.categories,
        )
        fields = [*_binary_field(4, tablet.values), *_binary_field(5, tablet.times)]
        response = self._channel.call("insertTablet", request, late_fields=fields)
        if response is not None and response.code in _NO_DATABASE:
            self._database = None  # it was dropped, and needs a new USE once it is created again
        self._check(response, WriteRejected)
        return _told([tablet], response)

    def _insert_many(self, tablets: Sequence[Tablet], is_aligned: bool) -> Told:
        from iotdb_frames.codec.tablet import as_records

        if (records := as_records(tablets)) is not None:
            try:
                return self._insert_records(tablets, *records, is_aligned=is_aligned)
            except WriteRejected as exc:
                if exc.is_retryable:
                    raise  # otherwise as tablets, for which the server says what it refuses
        request = ttypes.TSInsertTabletsReq(
            sessionId=self._id,
            prefixPaths=[t.target for t in tablets],
            measurementsList=[t.names for t in tablets],
            typesList=[t.types for t in tablets],
            sizeList=[t.n_rows for t in tablets],
            isAligned=is_aligned,
        )
        values = _binary_list_field(4, [t.values for t in tablets])
        times = _binary_list_field(5, [t.times for t in tablets])
        response = self._channel.call("insertTablets", request, late_fields=[*values, *times])
        self._check(response, WriteRejected)
        return _told(tablets, response)

    def _insert_records(
        self,
        tablets: Sequence[Tablet],
        times: list[int],
        values: list[bytes],
        *,
        is_aligned: bool,
    ) -> Told:
        request = ttypes.TSInsertRecordsReq(
            sessionId=self._id,
            prefixPaths=[t.target for t in tablets],
            measurementsList=[t.names for t in tablets],
            valuesList=values,
            timestamps=times,
            isAligned=is_aligned,
        )
        response = self._channel.call("insertRecords", request)
        self._check(response, WriteRejected)
        return _told(tablets, response)

    def use(self, database: str) -> None:
        """Select the `database` of later tablets (table model), if it is not selected yet."""
        if database != self._database:
            self.execute(f"USE {quote_identifier(database)}", is_qualified=True)
            self._database = database

    def is_in(self, database: str) -> bool:
        """Whether later tablets go to this database, as far as is known."""
        return database == self._database

    def _go_home(self) -> None:
        """Select the options' database again, whatever database the last tablet selected."""
        if self._database == self._home:
            return
        if self._home is not None:
            try:
                self.use(self._home)
                return
            except (QueryError, PermissionDenied) as exc:
                if exc.is_retryable:
                    raise  # otherwise it does not exist, and the statement may create it
        if self._database is not None:
            # The only way to deselect a database; observed on IoTDB 2.0.10.
            for dialect in ("tree", "table"):
                self.execute(f"SET SQL_DIALECT={dialect}", is_qualified=True, only_adds=True)
            self._database = None

    def create_timeseries(
        self,
        names: Sequence[str],
        aligned_device: str | None = None,
        /,
        *,
        types: Sequence[int],
        encodings: Sequence[int],
        compressors: Sequence[int],
    ) -> None:
        """Create many series in one call.

        Parameters
        ----------
        names : full paths of non-aligned series, or measurements of `aligned_device`
        """
        kinds = {"dataTypes": types, "encodings": encodings, "compressors": compressors}
        if aligned_device is None:
            method = "createMultiTimeseries"
            request = ttypes.TSCreateMultiTimeseriesReq(sessionId=self._id, paths=names, **kinds)
        else:
            method = "createAlignedTimeseries"
            request = ttypes.TSCreateAlignedTimeseriesReq(
                sessionId=self._id, prefixPath=aligned_device, measurements=names, **kinds
            )
        self._check(self._channel.call(method, request), WriteRejected)

    def execute(
        self,
        sql: str,
        *,
        fetch_size: int | None = None,
        timeout_s: float | None = None,
        is_qualified: bool = False,
        only_adds: bool = False,
    ) -> ResultHeader | None:
        """Run one statement; None if it has no result.

        Parameters
        ----------
        is_qualified : whether it names each table with its database, so that it can run in
            whatever database is selected; False: run it in that of the options
        timeout_s : how long the query may live in the server, including its fetches; None: a
            little less than the options' `timeout_s`, which limits the wait for each answer, for
            the server's own time-out is more informative
        only_adds : whether it only creates what is missing and changes nothing that exists

        Raises
        ------
        QueryError, QueryTimeout, PermissionDenied, ConnectionLost
        """
        if not is_qualified:
            self._go_home()
        request = ttypes.TSExecuteStatementReq(
            sessionId=self._id,
            statement=sql,
            statementId=self._statement_id,
            fetchSize=fetch_size or self._options.fetch_size,
            timeout=round((timeout_s or self._options.timeout_s * _SERVER_SHARE) * 1000),
        )
        try:
            response = self._channel.call("executeStatementV2", request)
        finally:
            if self._on_change is not None and not only_adds and may_change_schema(sql):
                self._on_change()
        self._check(response.status, QueryError)
        if response.queryId is None or response.columns is None:
            return None
        names, types = tuple(response.columns), tuple(response.dataTypeList or ())
        self._is_query_held = bool(response.moreData)
        places = response.columnIndex2TsBlockColumnIndexList
        if places is None:
            places = range(len(names))
        if not len(names) == len(types) == len(places):
            raise self._channel.broken_answer(f"{len(names)} columns of {len(types)} types")
        return ResultHeader(
            query_id=response.queryId,
            names=names,
            type_names=types,
            has_time=not response.ignoreTimeStamp,
            block_columns=tuple(places),
            blocks=tuple(response.queryResult or ()),
            has_more=self._is_query_held,
        )

    def request_fetch(self, query_id: int, *, fetch_size: int | None = None) -> None:
        """Request the next blocks of a query; `receive_fetch` must be the session's next call."""
        request = ttypes.TSFetchResultsReq(
            sessionId=self._id,
            statement="",
            fetchSize=fetch_size or self._options.fetch_size,
            queryId=query_id,
            isAlign=True,
            timeout=int(self._options.timeout_s * 1000),
            statementId=self._statement_id,
        )
        self._channel.send("fetchResultsV2", request)

    def receive_fetch(self) -> tuple[tuple[bytes, ...], bool]:
        """The requested TsBlocks, encoded, and whether more follow.

        Raises
        ------
        QueryError, ConnectionLost
        """
        response = self._channel.receive("fetchResultsV2")
        self._check(response.status, QueryError)
        self._is_query_held = bool(response.moreData)
        return tuple(response.queryResult or ()), self._is_query_held

    def fetch(
        self, query_id: int, *, fetch_size: int | None = None
    ) -> tuple[tuple[bytes, ...], bool]:
        """The next encoded TsBlocks of a query, and whether more follow."""
        self.request_fetch(query_id, fetch_size=fetch_size)
        return self.receive_fetch()

    def close_query(self, query_id: int) -> None:
        """Let the server free a query's resources, unless it did with the last block.

        Source: `ClientRPCServiceImpl.clearUp` of IoTDB 2.0.10.
        """
        if not self._is_query_held:
            return
        self._is_query_held = False
        request = ttypes.TSCloseOperationReq(
            sessionId=self._id, queryId=query_id, statementId=self._statement_id
        )
        self._check(self._channel.call("closeOperation", request), QueryError)
