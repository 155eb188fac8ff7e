"""Connection options, from a URL, the environment or a profile."""

from __future__ import annotations

import datetime as dt
import functools
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypedDict, TypeVar
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit
from zoneinfo import ZoneInfo, available_timezones

from iotdb_frames.errors import OptionsError, did_you_mean
from iotdb_frames.options.shown import F, show_fields
from iotdb_frames.options.types import as_whole

DEFAULT_PORT = 6667
LONGEST_S = 10**9
"""About thirty years: fits the limits of sockets and of the server's milliseconds."""

C = TypeVar("C")
T = TypeVar("T")


class Secret(str):
    """A password: ``***`` in a repr, and left out of a pickle unless it `travels`.

    A process that loads a pickle without it uses its own ``IOTDB_PASSWORD``.

    Parameters
    ----------
    value : the password
    travels : whether a pickle contains it, e.g. for the workers of a cluster that you trust
    """

    travels: bool

    def __new__(cls, value: str, *, travels: bool = False) -> Secret:
        made = super().__new__(cls, value)
        made.travels = travels or (isinstance(value, Secret) and value.travels)
        return made

    def __repr__(self) -> str:
        return "'***'"

    def __reduce__(self) -> tuple[Any, ...]:
        return (_arrived, (str(self),)) if self.travels else (_secret_of_here, ())

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Secret:
        return self


def _arrived(value: str) -> Secret:
    return Secret(value, travels=True)


def _secret_of_here() -> Secret:
    return Secret(os.environ.get("IOTDB_PASSWORD", ""))


def hide_url(connection: C) -> C:
    """A URL as a `Secret`, so that tracebacks that show variables do not show its password.

    Every call does this first with its `connection`; anything other than text stays as it is.
    """
    return Secret(connection) if isinstance(connection, str) else connection  # type: ignore[return-value]


def hide_fields(*names: str) -> Callable[[type[T]], type[T]]:
    """Decorator: a dataclass whose ``__init__`` receives these fields as a `Secret`."""

    def decorate(made: type[T]) -> type[T]:
        init: Callable[..., None] = made.__init__

        @functools.wraps(init)
        def hidden(self: T, **given: Any) -> None:
            for name in given.keys() & set(names):
                given[name] = hide_url(given[name])
            init(self, **given)

        setattr(made, "__init__", hidden)  # noqa: B010 - mypy refuses to assign to a method
        return made

    return decorate


def zone_name(zone: Any, *, option: str) -> str:
    """The name of a time zone, given as a name or a tzinfo that has one (ZoneInfo, pytz, UTC).

    Raises
    ------
    OptionsError : neither of them, or not a known time zone.
    """
    name = str(zone) if isinstance(zone, dt.tzinfo) else zone
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError, TypeError):
        raise OptionsError(
            f"{option}={zone!r} is not a known time zone",
            hint=did_you_mean(name, available_timezones()) or 'e.g. "UTC" or "Europe/Berlin"',
        ) from None
    return str(name)


@hide_fields("password")
@dataclass(frozen=True, kw_only=True)
class ConnectionOptions:
    """Where the server is and how to talk to it; `parse_url` reads the same from a URL.

    Parameters
    ----------
    hosts : (host, port) of every node to try, in order
    user, password : login; the password never shows in a repr
    database : of the table model; if given, a call without ``model`` uses "table"
    pool_size : most sessions per SQL dialect
    tls, ca_file, cert_file, key_file : TLS with verification; a CA file if the server's CA is not
        among the system's; a client certificate if the server asks for one
    time_zone : of naive times, and of dates in SQL
    fetch_size : rows per fetch
    connect_timeout_s, pool_timeout_s : limits for opening a session on a host, login included, and
        for waiting for a free session, in seconds
    timeout_s : limit for the first byte of an answer, and again for each fetch of a result, in
        seconds; the rest of an answer may take as long again, plus its size at 64 KiB/s
    schema_age_s : how long a write relies on the schema an earlier one looked up, in seconds; 0:
        every write looks it up
    """

    hosts: tuple[tuple[str, int], ...] = (("127.0.0.1", DEFAULT_PORT),)
    user: str = "root"
    password: str = field(default=Secret("root"))
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
    schema_age_s: float = 10.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "hosts", tuple((str(h), int(p)) for h, p in self.hosts))
        if not self.hosts:
            raise OptionsError("no host given", hint="iotdb://user@host:6667")
        for host, port in self.hosts:
            if not host or not 0 < port < 65536:
                raise OptionsError(
                    f"{host}:{port} is not a valid address", hint="iotdb://user@host:6667"
                )
        for name in ("pool_size", "fetch_size"):
            object.__setattr__(self, name, as_whole(name, getattr(self, name)))
        for name in ("connect_timeout_s", "timeout_s", "pool_timeout_s"):
            if not 0 < getattr(self, name) < LONGEST_S:
                raise OptionsError(
                    f"{name}={getattr(self, name)} must be above 0 and below {LONGEST_S:,} seconds"
                )
        if not 0 <= self.schema_age_s < LONGEST_S:
            raise OptionsError(
                f"schema_age_s={self.schema_age_s} must be from 0 to below {LONGEST_S:,} seconds"
            )
        if (self.cert_file is None) != (self.key_file is None):
            raise OptionsError("cert_file and key_file must be given together")
        if (self.ca_file or self.cert_file) and not self.tls:
            raise OptionsError("ca_file and cert_file require tls=true")
        object.__setattr__(self, "time_zone", zone_name(self.time_zone, option="time_zone"))

    @property
    def url(self) -> str:
        """The address without the password."""
        hosts = ",".join(f"[{h}]:{p}" if ":" in h else f"{h}:{p}" for h, p in self.hosts)
        # Text that cannot be sent is refused when it is sent; here it is only shown.
        database, user = (
            quote(x or "", safe="", errors="replace") for x in (self.database, self.user)
        )
        return f"iotdb://{user}@{hosts}{'/' * bool(database)}{database}"


class ConnectArgs(TypedDict, total=False):
    """What `connect` takes beside the URL, for type checkers: the fields of `ConnectionOptions`."""

    hosts: tuple[tuple[str, int], ...]
    user: str
    password: str
    database: str | None
    pool_size: int
    tls: bool
    ca_file: str | None
    cert_file: str | None
    key_file: str | None
    time_zone: str
    fetch_size: int
    connect_timeout_s: float
    timeout_s: float
    pool_timeout_s: float
    schema_age_s: float


def show_connect_options(call: F) -> F:
    """Let a notebook's help and Tab show the fields of `ConnectionOptions`."""
    return show_fields(call, ConnectionOptions)


_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def _parse_option(name: str, value: Any) -> Any:
    kinds = {f.name: str(f.type) for f in fields(ConnectionOptions)}
    if name not in kinds or name in ("hosts", "user", "password", "database"):
        choices = sorted(set(kinds) - {"hosts", "user", "password", "database"})
        raise OptionsError(
            f"unknown option {name!r}; choose from {', '.join(choices)}",
            hint=did_you_mean(name, choices),
        )
    if not isinstance(value, str) or kinds[name].startswith("str"):
        return value
    try:
        if kinds[name] == "bool":
            return _BOOLEANS[value.lower()]
        return int(value) if kinds[name] == "int" else float(value)
    except (KeyError, ValueError):
        raise OptionsError(f"{name}={value!r} is not a valid {kinds[name]}") from None


def _parse_host(text: str) -> tuple[str, int]:
    match = re.fullmatch(r"(?:\[([^\]]+)\]|([^:\[\]]+))(?::(\d+))?", text)
    if not match:
        raise OptionsError(f"{text!r} is not a valid host", hint="host, host:6667 or [::1]:6667")
    return match[1] or match[2], int(match[3] or DEFAULT_PORT)


_ESCAPES = "in a user or password / is %2F, # is %23, ? is %3F, @ is %40"


def _without_login(url: str) -> tuple[SplitResult, str | None, Secret | None] | None:
    """A URL's parts without the login; its user; its password; None if it cannot be parsed."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    login, _, hosts = parts.netloc.rpartition("@")
    is_cut = parts.fragment or "@" in parts.path or ("@" in parts.query and not login)
    if is_cut or not url.lstrip().lower().startswith("iotdb://"):
        return None
    user, colon, password = login.partition(":")
    return (
        parts._replace(netloc=hosts),
        unquote(user) if login else None,
        Secret(unquote(password)) if colon else None,
    )


def parse_url(url: str, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments of `ConnectionOptions` from a URL; without a password if it has none.

    Raises
    ------
    OptionsError : another scheme, or an unknown option; the text never contains the password.
    """
    hint = "iotdb://user@host:6667/database, or local:"
    url = Secret(url)  # so that a traceback that shows variables does not show the password
    scheme = url[: max(0, url.find(":"))]
    if scheme.strip().lower() != "iotdb":
        shown = repr(scheme) if scheme.isalnum() else "text without iotdb:"
        raise OptionsError(f"{shown} is not an IoTDB URL", hint=hint)
    found = _without_login(url)
    if found is None:
        raise OptionsError("the URL cannot be parsed", hint=f"{hint}; {_ESCAPES}")
    parts, user, password = found
    try:
        addresses = tuple(_parse_host(h) for h in (parts.netloc or "127.0.0.1").split(","))
    except OptionsError:
        if user is not None:
            raise
        # Without an @, it may be a login whose password was cut at a / or ?.
        del parts, found
        raise OptionsError("the URL names no host", hint=f"{hint}; {_ESCAPES}") from None
    options: dict[str, Any] = {"hosts": addresses}
    if user is not None:
        options["user"] = user
    if password is not None:
        options["password"] = password
    if parts.path.strip("/"):
        options["database"] = unquote(parts.path.strip("/"))
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        options[name] = _parse_option(name, value)
    for name, value in overrides.items():
        keep = name in ("user", "password", "database", "hosts")
        options[name] = value if keep else _parse_option(name, value)
    return options


def default_url() -> Secret | None:
    """The URL from the environment (``IOTDB_URL``), else from the user's profile, else None.

    The profile is ``[default] url = "…"`` (or the section that ``IOTDB_PROFILE`` names) in
    ``config.toml`` of the user's configuration directory ``iotdb-frames``.
    """
    if os.environ.get("IOTDB_URL"):
        return Secret(os.environ["IOTDB_URL"])
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
    return Secret(profile["url"])
