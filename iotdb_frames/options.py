"""Options: frozen, keyword-only value objects, checked once, secrets masked in their repr.

The enumerations carry the numbers of the wire and compare equal to those of the official client.
"""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from difflib import get_close_matches
from enum import IntEnum
from typing import Any, Literal, TypedDict, TypeVar
from urllib.parse import parse_qsl, quote, unquote, urlsplit
from zoneinfo import ZoneInfo

from iotdb_frames.errors import OptionsError

DEFAULT_PORT = 6667


class TSDataType(IntEnum):
    """Types of IoTDB 2.x."""

    BOOLEAN = 0
    INT32 = 1
    INT64 = 2
    FLOAT = 3
    DOUBLE = 4
    TEXT = 5
    TIMESTAMP = 8
    DATE = 9
    BLOB = 10
    STRING = 11


class TSEncoding(IntEnum):
    """Encodings of IoTDB 2.x."""

    PLAIN = 0
    DICTIONARY = 1
    RLE = 2
    TS_2DIFF = 4
    GORILLA = 8
    ZIGZAG = 9
    CHIMP = 11
    SPRINTZ = 12
    RLBE = 13


class CompressionType(IntEnum):
    """Compressors of IoTDB 2.x."""

    UNCOMPRESSED = 0
    SNAPPY = 1
    GZIP = 2
    LZ4 = 7
    ZSTD = 8
    LZMA2 = 9


E = TypeVar("E", bound=IntEnum)


def as_enum(kind: type[E], value: E | int | str) -> E:
    """A member of `kind` from itself, its number or its name in any case."""
    try:
        if isinstance(value, str):
            return kind[value.strip().upper()]
        return kind(int(value))
    except (KeyError, ValueError, TypeError):
        names = ", ".join(member.name for member in kind)
        raise OptionsError(f"{value!r} is no {kind.__name__}; there are {names}") from None


@dataclass(frozen=True, kw_only=True)
class TimeseriesOption:
    """How one series is stored: the seed's path, TSDataType, TSEncoding, CompressionType.

    Parameters
    ----------
    path : full path (``root.plant.press1.temp``) or column label; None inside a ``schema=`` mapping
    data_type, encoding, compression : a member, or its name; None leaves it to the connector
        (data type) or the server (encoding, compression)
    """

    path: str | None = None
    data_type: TSDataType | None = None
    encoding: TSEncoding | None = None
    compression: CompressionType | None = None

    def __post_init__(self) -> None:
        for name, kind in (
            ("data_type", TSDataType),
            ("encoding", TSEncoding),
            ("compression", CompressionType),
        ):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, as_enum(kind, value))


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """When and how long a failed request is tried again; waits grow with full jitter.

    Only lost connections and the server's retryable codes are tried again, never a semantic error.

    Parameters
    ----------
    attempts : tries in all, the first included
    first_wait_s, longest_wait_s : bounds of the wait before a try, in seconds
    total_s : no new try starts later than this after the first, in seconds
    """

    attempts: int = 6
    first_wait_s: float = 0.1
    longest_wait_s: float = 5.0
    total_s: float = 60.0

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise OptionsError("RetryPolicy.attempts must be at least 1")
        if min(self.first_wait_s, self.longest_wait_s, self.total_s) < 0:
            raise OptionsError("RetryPolicy's times must not be negative")

    def wait_s(self, attempt: int, random: float) -> float:
        """Seconds before try `attempt` + 1; `random` in [0, 1) is given by the caller."""
        return random * min(self.longest_wait_s, self.first_wait_s * 2.0**attempt)


NO_RETRY = RetryPolicy(attempts=1)

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?\s*", re.IGNORECASE)


def parse_bytes(size: int | str, *, name: str) -> int:
    """Bytes from ``4_000_000``, ``"4MiB"``, ``"4MB"`` (decimal) or ``"512k"``."""
    if isinstance(size, int) and not isinstance(size, bool) and size > 0:
        return size
    match = _SIZE.fullmatch(size) if isinstance(size, str) else None
    n_bytes = 0
    if match:
        power = " kmgt".index(match[2].lower() or " ")
        n_bytes = int(float(match[1]) * (1024 if match[3] else 1000) ** power)
    if n_bytes <= 0:
        raise OptionsError(f"{name}={size!r} is no size", hint=f'e.g. {name}="4MiB"')
    return n_bytes


class Secret(str):
    """A string that shows as ``***`` in a repr."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


@dataclass(frozen=True, kw_only=True)
class ConnectionOptions:
    """Where the server is and how to talk to it; `from_url` reads the same from a URL.

    Parameters
    ----------
    hosts : (host, port) of every node to try, in order
    user, password : who asks; the password never shows in a repr
    database : of the table model; with one, ``model`` is "table" where a call names none
    pool_size : sessions a dialect at the most
    tls, ca_file, cert_file, key_file : TLS with verification; a CA file where the system's CAs
        don't know the server's; a client certificate where the server asks for one
    time_zone : of naive times, and of dates in SQL
    fetch_size : rows a fetch
    connect_timeout_s, timeout_s, pool_timeout_s : limits of opening a connection, of one request
        and of waiting for a session, in seconds
    """

    hosts: tuple[tuple[str, int], ...] = (("127.0.0.1", DEFAULT_PORT),)
    user: str = "root"
    password: str = field(default="root")
    database: str | None = None
    pool_size: int = 4
    tls: bool = False
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    time_zone: str = "UTC"
    fetch_size: int = 100_000
    connect_timeout_s: float = 10.0
    timeout_s: float = 300.0
    pool_timeout_s: float = 60.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "password", Secret(self.password))
        object.__setattr__(self, "hosts", tuple((str(h), int(p)) for h, p in self.hosts))
        if not self.hosts:
            raise OptionsError("no host given", hint="iotdb://user@host:6667")
        for host, port in self.hosts:
            if not host or not 0 < port < 65536:
                raise OptionsError(f"{host}:{port} is no address", hint="iotdb://user@host:6667")
        if self.pool_size < 1:
            raise OptionsError(f"pool_size={self.pool_size} must be at least 1")
        if self.fetch_size < 1:
            raise OptionsError(f"fetch_size={self.fetch_size} must be at least 1")
        for name in ("connect_timeout_s", "timeout_s", "pool_timeout_s"):
            if not getattr(self, name) > 0:
                raise OptionsError(f"{name}={getattr(self, name)} must be more than 0")
        if (self.cert_file is None) != (self.key_file is None):
            raise OptionsError("cert_file and key_file go together")
        if (self.ca_file or self.cert_file) and not self.tls:
            raise OptionsError("ca_file and cert_file need tls=true")
        try:
            ZoneInfo(self.time_zone)
        except (KeyError, ValueError, OSError):
            raise OptionsError(
                f"time_zone={self.time_zone!r} is not known", hint='e.g. "UTC" or "Europe/Berlin"'
            ) from None

    def __getstate__(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "password"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        # A pickle holds no secret: the process that opens it brings its own.
        state["password"] = Secret(os.environ.get("IOTDB_PASSWORD", ""))
        self.__dict__.update(state)

    @property
    def url(self) -> str:
        """The address without the password."""
        hosts = ",".join(f"[{h}]:{p}" if ":" in h else f"{h}:{p}" for h, p in self.hosts)
        path = f"/{quote(self.database, safe='')}" if self.database else ""
        return f"iotdb://{quote(self.user, safe='')}@{hosts}{path}"


_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def _parse_option(name: str, value: Any) -> Any:
    kinds = {f.name: str(f.type) for f in fields(ConnectionOptions)}
    if name not in kinds or name in ("hosts", "user", "password", "database"):
        choices = ", ".join(sorted(set(kinds) - {"hosts", "user", "password", "database"}))
        raise OptionsError(f"unknown option {name!r}; there are {choices}")
    if not isinstance(value, str) or kinds[name].startswith("str"):
        return value
    try:
        if kinds[name] == "bool":
            return _BOOLEANS[value.lower()]
        return int(value) if kinds[name] == "int" else float(value)
    except (KeyError, ValueError):
        raise OptionsError(f"{name}={value!r} is no {kinds[name]}") from None


def _parse_host(text: str) -> tuple[str, int]:
    match = re.fullmatch(r"(?:\[([^\]]+)\]|([^:\[\]]+))(?::(\d+))?", text)
    if not match:
        raise OptionsError(f"{text!r} is no host", hint="host, host:6667 or [::1]:6667")
    return match[1] or match[2], int(match[3] or DEFAULT_PORT)


def parse_url(url: str, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments of `ConnectionOptions` from a URL; no password where it names none.

    Raises
    ------
    OptionsError : another scheme, an unknown option; the text never holds the password.
    """
    parts = urlsplit(url)
    if parts.scheme != "iotdb":
        shown = parts.scheme or re.sub(r"//[^@/]*@", "//***@", url)
        raise OptionsError(
            f"{shown!r} is no IoTDB URL", hint="iotdb://user@host:6667/database, or local:"
        )
    login, _, hosts = parts.netloc.rpartition("@")
    options: dict[str, Any] = {
        "hosts": tuple(_parse_host(h) for h in (hosts or "127.0.0.1").split(","))
    }
    if login:
        user, colon, password = login.partition(":")
        options["user"] = unquote(user)
        if colon:
            options["password"] = Secret(unquote(password))
    if parts.path.strip("/"):
        options["database"] = unquote(parts.path.strip("/"))
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        options[name] = _parse_option(name, value)
    for name, value in overrides.items():
        keep = name in ("user", "password", "database", "hosts")
        options[name] = value if keep else _parse_option(name, value)
    return options


def default_url() -> str | None:
    """The URL of the environment (``IOTDB_URL``), else of the user's profile, else None.

    The profile is ``[default] url = "…"`` (or the section ``IOTDB_PROFILE`` names) of
    ``config.toml`` in the user's configuration directory ``iotdb-frames``.
    """
    if os.environ.get("IOTDB_URL"):
        return os.environ["IOTDB_URL"]
    import tomllib

    import platformdirs

    file = platformdirs.user_config_path("iotdb-frames") / "config.toml"
    if not file.is_file():
        return None
    try:
        profiles = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as exc:
        raise OptionsError(f"{file} cannot be read: {exc}") from exc
    name = os.environ.get("IOTDB_PROFILE", "default")
    profile = profiles.get(name)
    if profile is None and "IOTDB_PROFILE" not in os.environ:
        return None
    if not isinstance(profile, dict) or not isinstance(profile.get("url"), str):
        raise OptionsError(f"{file} has no url in [{name}]")
    return str(profile["url"])


SchemaOption = TSDataType | TimeseriesOption | str | int


@dataclass(frozen=True, kw_only=True)
class WriteOptions:
    """How a frame is written: the options of `df.iotdb.write` and all that writes through it.

    Parameters
    ----------
    time : label of the time column; None: the index
    time_unit : "s", "ms", "us" or "ns" where the times are integers
    device : label of the column that names each row's device (tree model)
    tags, attributes : labels of these columns (table model)
    schema : ``{label: TSDataType | TimeseriesOption}``, or a list of `TimeseriesOption` with paths
    aligned : whether new devices are aligned; an existing one is written its own way
    create : whether to create what is missing
    chunk : one request's encoded bytes (``"4MiB"``), or rows (``10_000``)
    nan : "null": a float NaN is a missing value; "keep": it is a value
    duplicates : of a (device, time): "merge" (per column the last value that is not missing),
        "last", "first" (whole rows) or "raise"
    replace : delete the written columns in the frame's time range per device first
    coerce : "safe" casts only what loses nothing; "lossy" may lose precision, never range
    on_error : "raise", or "collect" with a `dead_letter` file
    dead_letter : Parquet file of the rows that were refused
    workers : connections to send on; a device's rows stay on one
    retry : see `RetryPolicy`
    progress : "auto" (a bar where somebody looks), True, False, or a callable that gets
        (rows_done, rows_in_all)
    """

    time: Hashable | None = None
    time_unit: str | None = None
    device: Hashable | None = None
    tags: Sequence[Hashable] = ()
    attributes: Sequence[Hashable] = ()
    schema: Mapping[Hashable, SchemaOption] | Sequence[TimeseriesOption] | None = None
    aligned: bool = True
    create: bool = True
    chunk: int | str = "4MiB"
    nan: Literal["null", "keep"] = "null"
    duplicates: Literal["merge", "last", "first", "raise"] = "merge"
    replace: bool = False
    coerce: Literal["safe", "lossy"] = "safe"
    on_error: Literal["raise", "collect"] = "raise"
    dead_letter: str | os.PathLike[str] | None = None
    workers: int = 1
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    progress: bool | Literal["auto"] | Callable[[int, int], None] = "auto"
    series: Mapping[Hashable, TimeseriesOption] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for name, choices in (
            ("nan", ("null", "keep")),
            ("duplicates", ("merge", "last", "first", "raise")),
            ("coerce", ("safe", "lossy")),
            ("on_error", ("raise", "collect")),
        ):
            if getattr(self, name) not in choices:
                raise OptionsError(
                    f"{name}={getattr(self, name)!r} is none of {', '.join(map(repr, choices))}"
                )
        if (self.on_error == "collect") != (self.dead_letter is not None):
            raise OptionsError('on_error="collect" and dead_letter="file.parquet" go together')
        if isinstance(self.workers, bool) or not isinstance(self.workers, int) or self.workers < 1:
            raise OptionsError(f"workers={self.workers!r} must be a whole number from 1")
        if isinstance(self.chunk, int) and (isinstance(self.chunk, bool) or self.chunk < 1):
            raise OptionsError(f"chunk={self.chunk!r} must be at least 1 row", hint='chunk="4MiB"')
        if isinstance(self.chunk, str):
            parse_bytes(self.chunk, name="chunk")
        object.__setattr__(self, "series", self._normal_schema())

    def _normal_schema(self) -> dict[Hashable, TimeseriesOption]:
        given = self.schema or {}
        if not isinstance(given, Mapping):
            if any(option.path is None for option in given):
                raise OptionsError("a TimeseriesOption in a list needs a path")
            given = {option.path: option for option in given}
        return {
            label: option
            if isinstance(option, TimeseriesOption)
            else TimeseriesOption(data_type=as_enum(TSDataType, option))
            for label, option in given.items()
        }

    @property
    def chunk_bytes(self) -> int | None:
        """Encoded bytes of a request, or None where `chunk` counts rows."""
        return parse_bytes(self.chunk, name="chunk") if isinstance(self.chunk, str) else None


class WriteArgs(TypedDict, total=False):
    """The fields of `WriteOptions`, for type checkers."""

    time: Hashable | None
    time_unit: str | None
    device: Hashable | None
    tags: Sequence[Hashable]
    attributes: Sequence[Hashable]
    schema: Mapping[Hashable, SchemaOption] | Sequence[TimeseriesOption] | None
    aligned: bool
    create: bool
    chunk: int | str
    nan: Literal["null", "keep"]
    duplicates: Literal["merge", "last", "first", "raise"]
    replace: bool
    coerce: Literal["safe", "lossy"]
    on_error: Literal["raise", "collect"]
    dead_letter: str | os.PathLike[str] | None
    workers: int
    retry: RetryPolicy
    progress: bool | Literal["auto"] | Callable[[int, int], None]


F = TypeVar("F", bound=Callable[..., Any])


def show_options(call: F) -> F:
    """Let a notebook's help and Tab show the fields of `WriteOptions` in place of ``**options``."""
    signature = inspect.signature(call)
    own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    options = [
        inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=_default(f))
        for f in fields(WriteOptions)
        if f.init
    ]
    call.__signature__ = signature.replace(parameters=[*own, *options])  # type: ignore[attr-defined]
    return call


def _default(option: Any) -> Any:
    return option.default if option.default is not MISSING else option.default_factory()


def write_options(options: Mapping[str, Any]) -> WriteOptions:
    """`WriteOptions` from keyword arguments; an unknown one names its nearest."""
    known = [f.name for f in fields(WriteOptions) if f.init]
    for name in options:
        if name not in known:
            close = get_close_matches(name, known, n=1)
            raise OptionsError(
                f"unknown option {name!r}",
                hint=f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}",
            )
    return WriteOptions(**options)
