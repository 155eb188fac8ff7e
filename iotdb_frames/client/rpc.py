"""One session on one connection: the only module that sees the RPC stubs.

A request is a framed Thrift message (4-byte big-endian length, then the message). The transport is
our own: it reads frames of any size (the stock one stops at 16,384,000 bytes), sends header and
body without gluing them, and knows whether a request may have reached the server when it breaks.
Every exception of the RPC library and of the socket leaves this module as one of ours.
Source: `IClientRPCService` of apache-iotdb 2.0; status codes observed on IoTDB 2.0.10.
"""

from __future__ import annotations

import select
import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Literal

from iotdb.thrift.rpc import ttypes
from iotdb.thrift.rpc.IClientRPCService import Client
from thrift.protocol.TBinaryProtocol import TBinaryProtocolAccelerated
from thrift.Thrift import TApplicationException, TException
from thrift.transport.TTransport import CReadableTransport, TTransportBase

from iotdb_frames.client.sockets import explain, open_socket, speaks_tls
from iotdb_frames.codec.sql import quote_identifier
from iotdb_frames.codec.tablet import Tablet
from iotdb_frames.errors import (
    AuthenticationError,
    ConnectionLost,
    OptionsError,
    PermissionDenied,
    QueryError,
    QueryTimeout,
    ServerError,
    WriteRejected,
)
from iotdb_frames.options import ConnectionOptions

Model = Literal["tree", "table"]

MAX_FRAME_BYTES = 1 << 30
LARGE_BYTES = 1 << 14
"""Buffers from here go to the socket by themselves, smaller ones are joined."""
SUCCESS, REDIRECT, MULTIPLE = 200, 400, 302
_AUTHENTICATION = {801, 804}
_NOT_LOGGED_IN, _NO_PERMISSION, _QUERY_TIMEOUT, _QUERY_TOO_BIG = 802, 803, 720, 719


class _Transport(TTransportBase, CReadableTransport):  # type: ignore[misc]
    """Framed messages over one socket.

    `late_fields` are put into the request's struct as it leaves: encoded tablets go from their
    arrays to the socket without a copy. Thrift reads a struct's fields in any order.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._out: list[bytes] = []
        self._in = BytesIO()
        self.was_sent = False
        self.late_fields: list[bytes | memoryview] = []
        self._in_use = threading.Lock()
        self._is_closed = False

    def isOpen(self) -> bool:  # noqa: N802 - Thrift's name
        return not self._is_closed

    def close(self) -> None:
        """Close, from any thread; who waits for the socket is woken."""
        self._is_closed = True
        # Closing alone would wake nobody. And who is woken looks at the file number again, in the
        # kernel: were it closed by then, and another socket's, he would go on to wait for that one.
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        if self._in_use.acquire(blocking=False):
            try:
                self._sock.close()
            finally:
                self._in_use.release()

    @contextmanager
    def _using(self) -> Iterator[None]:
        """In here nobody else closes the socket; who wanted to leaves it to the end."""
        try:
            with self._in_use:
                yield
        finally:
            if self._is_closed:
                self.close()

    def write(self, data: bytes) -> None:
        self._out.append(data)

    def flush(self) -> None:
        message, self._out = b"".join(self._out), []
        parts: list[bytes | memoryview] = [message]
        if self.late_fields:
            # A request ends with two STOP bytes, of its struct and of the call's arguments.
            parts = [message[:-2], *self.late_fields, b"\0\0"]
            self.late_fields = []
        small = [struct.pack("!i", sum(map(len, parts)))]
        self.was_sent = True
        with self._using():
            for part in parts:
                if len(part) < LARGE_BYTES:
                    small.append(bytes(part))
                    continue
                self._sock.sendall(b"".join(small))
                self._sock.sendall(part)
                small = []
            if small:
                self._sock.sendall(b"".join(small))

    def _receive(self, view: memoryview) -> None:
        with self._using():
            while view:
                n = self._sock.recv_into(view)
                if not n:
                    raise ConnectionResetError("the server closed the connection")
                view = view[n:]

    def _read_frame(self) -> None:
        header = bytearray(4)
        self._receive(memoryview(header))
        (n_bytes,) = struct.unpack("!i", header)
        if not 0 <= n_bytes <= MAX_FRAME_BYTES:
            kind = "a TLS server" if n_bytes >> 16 in (0x1503, 0x1603) else "no IoTDB server"
            raise ConnectionAbortedError(f"this is {kind}: its answer is no frame of IoTDB's")
        frame = BytesIO()
        if n_bytes:
            # Make room and receive into it: no second copy of what may be megabytes.
            frame.seek(n_bytes - 1)
            frame.write(bytes(1))
            frame.seek(0)
        self._receive(frame.getbuffer())
        self._in = frame

    def read(self, n_bytes: int) -> bytes:
        data = self._in.read(n_bytes)
        if not data:
            self._read_frame()
            data = self._in.read(n_bytes)
        return data

    @property
    def cstringio_buf(self) -> BytesIO:
        return self._in

    def cstringio_refill(self, partial: bytes, n_bytes: int) -> BytesIO:
        parts = [partial]
        while (missing := n_bytes - sum(map(len, parts))) > 0:
            parts.append(self.read(missing))
        self._in = BytesIO(b"".join([*parts, self._in.read()]))
        return self._in

    def has_pending(self, wait_s: float = 0.0) -> bool:
        """Whether something arrived; between requests that can only be the end."""
        if not hasattr(select, "poll"):
            return bool(select.select([self._sock], [], [], wait_s)[0])
        poll = select.poll()  # `select` takes no file number over 1,023
        poll.register(self._sock, select.POLLIN)
        return bool(poll.poll(wait_s * 1000))


def _binary_field(number: int, data: bytes | memoryview) -> list[bytes | memoryview]:
    """A Thrift field of type binary (11): type, number, length, bytes."""
    return [struct.pack("!bhi", 11, number, len(data)), data]


def _binary_list_field(
    number: int, items: Sequence[bytes | memoryview]
) -> list[bytes | memoryview]:
    """A Thrift field of type list (15) of binary."""
    out: list[bytes | memoryview] = [struct.pack("!bhbi", 15, number, 11, len(items))]
    for item in items:
        out += [struct.pack("!i", len(item)), item]
    return out


@dataclass(frozen=True)
class ServerInfo:
    """What the server said of itself when the session opened."""

    precision: Literal["ms", "us", "ns"]
    protocol: int


@dataclass(frozen=True)
class ResultHeader:
    """Schema of a query's result, as the server gave it with its first blocks.

    Parameters
    ----------
    query_id : of the query on this session, needed to fetch and close
    names : label a column, without the tree model's time
    type_names : IoTDB type name a column
    has_time : whether the blocks' time slot is a column of its own (the tree model's)
    block_columns : position in the block of each column; -1 means the block's time slot
    blocks : the first encoded TsBlocks
    has_more : whether to fetch on
    """

    query_id: int
    names: tuple[str, ...]
    type_names: tuple[str, ...]
    has_time: bool
    block_columns: tuple[int, ...]
    blocks: tuple[bytes, ...]
    has_more: bool


def _text(status: Any) -> str:
    parts = [status.message or ""]
    for sub in status.subStatus or ():
        if sub.code not in (SUCCESS, REDIRECT) and sub.message and sub.message not in parts:
            parts.append(sub.message)
    return "; ".join(part for part in parts[:4] if part) or f"status code {status.code}"


def check(status: Any, kind: type[ServerError]) -> None:
    """Raise what `status` means; `kind` is the class of an ordinary refusal."""
    if status is None:
        raise ConnectionLost("the server's answer is broken: it has no status", was_sent=True)
    subs = tuple(sub.code for sub in status.subStatus or ())
    if status.code in (SUCCESS, REDIRECT) or (
        status.code == MULTIPLE and subs and all(c in (SUCCESS, REDIRECT) for c in subs)
    ):
        return
    code, text = status.code, _text(status)
    hint = None
    if code in _AUTHENTICATION:
        kind, hint = AuthenticationError, "check user and password (URL or IOTDB_PASSWORD)"
    elif code == _NO_PERMISSION or (code == MULTIPLE and _NO_PERMISSION in subs):
        kind, hint = PermissionDenied, "ask an administrator: GRANT … TO USER …"
    elif code == _NOT_LOGGED_IN:
        raise ConnectionLost(f"the server no longer knows this session: {text}")
    elif code == _QUERY_TIMEOUT:
        kind, hint = QueryTimeout, "narrow the time range, or raise the server's query_timeout"
    elif code == _QUERY_TOO_BIG:
        hint = "ask for fewer columns or a shorter time range"
    raise kind(f"[{code}] {text}", code=code, sub_codes=subs, hint=hint)


class Session:
    """An open session; used by one thread at a time.

    Raises
    ------
    ConnectionLost : nobody there, or somebody else; the text says what it really is.
    AuthenticationError : unknown user or wrong password.
    """

    def __init__(self, host: str, port: int, *, options: ConnectionOptions, model: Model) -> None:
        self.address = f"{host}:{port}"
        self.model = model
        self._options = options
        self.is_broken = False
        self._database = options.database if model == "table" else None
        try:
            sock = open_socket(host, port, options)
        except (OSError, ValueError) as exc:
            text, hint = explain(exc, self.address)
            raise ConnectionLost(text, hint=hint) from exc
        self._transport = _Transport(sock)
        self._client = Client(
            TBinaryProtocolAccelerated(self._transport, string_length_limit=MAX_FRAME_BYTES)
        )
        configuration = {"version": "V_1_0", "sql_dialect": model}
        if model == "table" and options.database:
            configuration["db"] = options.database
        request = ttypes.TSOpenSessionReq(
            client_protocol=ttypes.TSProtocolVersion.IOTDB_SERVICE_PROTOCOL_V3,
            username=options.user,
            password=options.password,  # a Secret, so that no traceback with locals shows it
            zoneId=options.time_zone,
            configuration=configuration,
        )
        try:
            response = self._call("openSession", request)
            check(response.status, ServerError)
            self._id = response.sessionId
            self.info = ServerInfo(
                precision=(response.configuration or {}).get("timestamp_precision", "ms"),
                protocol=response.serverProtocolVersion,
            )
            self._statement_id = self._call("requestStatementId", self._id)
            sock.settimeout(options.timeout_s)
        except ConnectionLost as exc:
            self._transport.close()
            cause = exc.__cause__ or exc
            if isinstance(cause, ConnectionResetError) and not options.tls:
                is_tls = speaks_tls(host, port, options)
                cause = ConnectionAbortedError("TLS") if is_tls else cause
            text, hint = explain(cause, self.address)
            if isinstance(cause, TApplicationException) and options.time_zone != "UTC":
                # Java knows other names than Python; a session with one of those fails like this.
                hint = f"if the server does not know time_zone={options.time_zone!r}, take another"
            raise ConnectionLost(text, hint=hint) from cause
        except BaseException:
            self._transport.close()
            raise

    def __repr__(self) -> str:
        return f"<Session {self.address} {self.model}{' broken' if self.is_broken else ''}>"

    def _call(self, method: str, *args: Any) -> Any:
        """One request and its answer; any failure in between ends the session."""
        self._transport.was_sent = False
        try:
            return getattr(self._client, method)(*args)
        except Exception as exc:
            self.abandon()
            if isinstance(exc, UnicodeEncodeError) and not self._transport.was_sent:
                # Without the text, which may be the password, and which `exc` holds.
                raise OptionsError(
                    f"a text holds half a character, {exc.object[exc.start]!r} "
                    f"at position {exc.start}, and cannot be sent",
                    hint="mend it: text.encode(errors='replace').decode()",
                ) from None
            is_ours = isinstance(
                exc, OSError | EOFError | OverflowError | TException | struct.error
            )
            if not is_ours and not self._transport.was_sent:
                raise  # a request that cannot be encoded; a broken answer may raise anything
            what = "no answer in time from" if isinstance(exc, TimeoutError) else "lost"
            raise ConnectionLost(
                f"{what} {self.address}: {exc or type(exc).__name__}",
                was_sent=self._transport.was_sent,
            ) from exc
        except BaseException:
            # An interrupt between request and answer: the stream is out of step for good.
            self.abandon()
            raise

    def abandon(self) -> None:
        """Close the socket without a word; the server ends the session and its queries."""
        self.is_broken = True
        self._transport.close()

    def disown(self) -> None:
        """Drop this process's hand on the socket, in a forked child; the parent's session lives."""
        self.is_broken = True
        with suppress(OSError):
            self._transport._sock.close()

    def close(self) -> None:
        """End the session; never raises."""
        if not self.is_broken:
            with suppress(Exception):
                self._transport._sock.settimeout(2.0)
                self._call("closeSession", ttypes.TSCloseSessionReq(self._id))
        self.abandon()

    @property
    def is_usable(self) -> bool:
        """Whether the connection still stands, as far as can be seen without a request."""
        return not self.is_broken and self._transport.isOpen() and not self._transport.has_pending()

    def wait_for_answer(self, seconds: float) -> bool:
        """Whether the answer to what was asked for begins within `seconds`."""
        try:
            return not self.is_broken and self._transport.has_pending(seconds)
        except (OSError, ValueError):
            return False

    def set_timeout(self, seconds: float | None) -> None:
        """Limit of each later request; None: the options' `timeout_s`."""
        self._transport._sock.settimeout(seconds or self._options.timeout_s)

    def insert(self, tablets: Sequence[Tablet]) -> None:
        """Send tablets: one alone, or several of the tree model in one request.

        Raises
        ------
        WriteRejected, PermissionDenied, ConnectionLost
        """
        if len(tablets) == 1:
            self._insert_one(tablets[0])
            return
        for is_aligned in (True, False):
            some = [t for t in tablets if t.is_aligned == is_aligned]
            if some:
                self._insert_many(some, is_aligned)

    def _insert_with(self, method: str, request: Any, fields: list[bytes | memoryview]) -> None:
        self._transport.late_fields = fields
        try:
            check(self._call(method, request), WriteRejected)
        finally:
            self._transport.late_fields = []

    def _insert_one(self, tablet: Tablet) -> None:
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
        self._insert_with("insertTablet", request, fields)

    def _insert_many(self, tablets: Sequence[Tablet], is_aligned: bool) -> None:
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
        self._insert_with("insertTablets", request, [*values, *times])

    def use(self, database: str) -> None:
        """Make `database` that of later tablets (table model); nothing where it is already."""
        if database != self._database:
            self.execute(f"USE {quote_identifier(database)}")
            self._database = database

    def create_timeseries(
        self,
        paths: Sequence[str],
        *,
        types: Sequence[int],
        encodings: Sequence[int],
        compressors: Sequence[int],
    ) -> None:
        """Create many non-aligned series in one call."""
        request = ttypes.TSCreateMultiTimeseriesReq(
            sessionId=self._id,
            paths=paths,
            dataTypes=types,
            encodings=encodings,
            compressors=compressors,
        )
        check(self._call("createMultiTimeseries", request), WriteRejected)

    def create_aligned_timeseries(
        self,
        device: str,
        *,
        measurements: Sequence[str],
        types: Sequence[int],
        encodings: Sequence[int],
        compressors: Sequence[int],
    ) -> None:
        """Create the series of one aligned device."""
        request = ttypes.TSCreateAlignedTimeseriesReq(
            sessionId=self._id,
            prefixPath=device,
            measurements=measurements,
            dataTypes=types,
            encodings=encodings,
            compressors=compressors,
        )
        check(self._call("createAlignedTimeseries", request), WriteRejected)

    def execute(
        self, sql: str, *, fetch_size: int | None = None, timeout_s: float | None = None
    ) -> ResultHeader | None:
        """Run one statement; None where it has no result.

        Parameters
        ----------
        timeout_s : how long the query may live in the server, its fetches included; the wait for
            each answer is limited by the options' `timeout_s`

        Raises
        ------
        QueryError, QueryTimeout, PermissionDenied, ConnectionLost
        """
        request = ttypes.TSExecuteStatementReq(
            sessionId=self._id,
            statement=sql,
            statementId=self._statement_id,
            fetchSize=fetch_size or self._options.fetch_size,
            timeout=round((timeout_s or self._options.timeout_s) * 1000),
        )
        response = self._call("executeStatementV2", request)
        check(response.status, QueryError)
        if response.queryId is None or response.columns is None:
            return None
        names = tuple(response.columns)
        places = response.columnIndex2TsBlockColumnIndexList
        if places is None:
            places = range(len(names))
        return ResultHeader(
            query_id=response.queryId,
            names=names,
            type_names=tuple(response.dataTypeList or ()),
            has_time=not response.ignoreTimeStamp,
            block_columns=tuple(places),
            blocks=tuple(response.queryResult or ()),
            has_more=bool(response.moreData),
        )

    def request_fetch(self, query_id: int, *, fetch_size: int | None = None) -> None:
        """Ask for the next blocks of a query; `receive_fetch` must be the session's next call."""
        request = ttypes.TSFetchResultsReq(
            sessionId=self._id,
            statement="",
            fetchSize=fetch_size or self._options.fetch_size,
            queryId=query_id,
            isAlign=True,
            timeout=int(self._options.timeout_s * 1000),
            statementId=self._statement_id,
        )
        self._call("send_fetchResultsV2", request)

    def receive_fetch(self) -> tuple[tuple[bytes, ...], bool]:
        """The encoded TsBlocks asked for, and whether more follow.

        Raises
        ------
        QueryError, ConnectionLost
        """
        response = self._call("recv_fetchResultsV2")
        check(response.status, QueryError)
        return tuple(response.queryResult or ()), bool(response.moreData)

    def fetch(
        self, query_id: int, *, fetch_size: int | None = None
    ) -> tuple[tuple[bytes, ...], bool]:
        """The next encoded TsBlocks of a query, and whether more follow."""
        self.request_fetch(query_id, fetch_size=fetch_size)
        return self.receive_fetch()

    def close_query(self, query_id: int) -> None:
        """Let the server free a query's resources."""
        request = ttypes.TSCloseOperationReq(
            sessionId=self._id, queryId=query_id, statementId=self._statement_id
        )
        check(self._call("closeOperation", request), QueryError)
