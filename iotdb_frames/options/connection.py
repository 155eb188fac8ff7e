"""Where the server is: options of a connection, from a URL, the environment or a profile."""

from __future__ import annotations

import datetime as dt
import functools
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit
from zoneinfo import ZoneInfo

from iotdb_frames.errors import OptionsError

DEFAULT_PORT = 6667
LONGEST_S = 10**9
"""Some thirty years: what sockets and the server's milliseconds have room for."""

C = TypeVar("C")
T = TypeVar("T")


class Secret(str):
    """A password: ``***`` in a repr, and left out of a pickle unless it may travel.

    Without that, whoever opens the pickle takes the password of its own ``IOTDB_PASSWORD``.

    Parameters
    ----------
    travels : whether a pickle holds it, e.g. for the workers of a cluster that you trust
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
    """A URL as a `Secret`, so that no traceback that shows variables shows its password.

    The first thing that a call does with its `connection`; what is not text stays as it is.
    """
    return Secret(connection) if isinstance(connection, str) else connection  # type: ignore[return-value]


def hide_fields(*names: str) -> Callable[[type[T]], type[T]]:
    """The same for a dataclass: its generated ``__init__`` is handed these fields as a `Secret`."""

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
    """The name of a time zone, from itself or from a tzinfo that has one (ZoneInfo, pytz, UTC).

    Raises
    ------
    OptionsError : neither, or one that nobody here knows.
    """
    name = str(zone) if isinstance(zone, dt.tzinfo) else zone
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError, TypeError):
        raise OptionsError(
            f"{option}={zone!r} is not known", hint='e.g. "UTC" or "Europe/Berlin"'
        ) from None
    return str(name)


@hide_fields("password")
@dataclass(frozen=True, kw_only=True)
class ConnectionOptions:
    """Where the server is and how to talk to it; `from_url` reads the same from a URL.

    Parameters
    ----------
    hosts : (host, port) of every node to try, in order
    user, password : who asks; the password never shows in a repr
    database : of the table model; with one, ``model`` is "table" where a call names none
    pool_size : at most so many sessions per dialect
    tls, ca_file, cert_file, key_file : TLS with verification; a CA file where the system's CAs
        don't know the server's; a client certificate where the server asks for one
    time_zone : of naive times, and of dates in SQL
    fetch_size : rows a fetch
    connect_timeout_s, pool_timeout_s : limits of opening a session on a host, login included, and
        of waiting for a free one, in seconds
    timeout_s : limit of the wait for the first byte of an answer, and for each fetch of a result
        anew, in seconds; the rest of an answer has as long again, and its size at 64 KiB/s
    schema_age_s : how long a write believes what an earlier one saw of the schema, in seconds; 0:
        each looks itself
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
        if self.pool_size < 1:
            raise OptionsError(f"pool_size={self.pool_size} must be at least 1")
        if self.fetch_size < 1:
            raise OptionsError(f"fetch_size={self.fetch_size} must be at least 1")
        for name in ("connect_timeout_s", "timeout_s", "pool_timeout_s"):
            if not 0 < getattr(self, name) < LONGEST_S:
                raise OptionsError(
                    f"{name}={getattr(self, name)} must be more than 0, and below {LONGEST_S:,}"
                )
        if not 0 <= self.schema_age_s < LONGEST_S:
            raise OptionsError(
                f"schema_age_s={self.schema_age_s} must be at least 0, and below {LONGEST_S:,}"
            )
        if (self.cert_file is None) != (self.key_file is None):
            raise OptionsError("cert_file and key_file go together")
        if (self.ca_file or self.cert_file) and not self.tls:
            raise OptionsError("ca_file and cert_file need tls=true")
        object.__setattr__(self, "time_zone", zone_name(self.time_zone, option="time_zone"))

    @property
    def url(self) -> str:
        """The address without the password."""
        hosts = ",".join(f"[{h}]:{p}" if ":" in h else f"{h}:{p}" for h, p in self.hosts)
        # A text that cannot be sent is refused by whoever sends it; here it is only shown.
        database, user = (
            quote(x or "", safe="", errors="replace") for x in (self.database, self.user)
        )
        return f"iotdb://{user}@{hosts}{'/' * bool(database)}{database}"


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
        raise OptionsError(f"{name}={value!r} is not a valid {kinds[name]}") from None


def _parse_host(text: str) -> tuple[str, int]:
    match = re.fullmatch(r"(?:\[([^\]]+)\]|([^:\[\]]+))(?::(\d+))?", text)
    if not match:
        raise OptionsError(f"{text!r} is not a valid host", hint="host, host:6667 or [::1]:6667")
    return match[1] or match[2], int(match[3] or DEFAULT_PORT)


_ESCAPES = "in a user or password / is %2F, # is %23, ? is %3F, @ is %40"


def _without_login(url: str) -> tuple[SplitResult, str | None, Secret | None] | None:
    """A URL's parts without its login, its user and its password; None where it cannot be read."""
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
    """Keyword arguments of `ConnectionOptions` from a URL; no password where it names none.

    Raises
    ------
    OptionsError : another scheme, an unknown option; the text never holds the password.
    """
    hint = "iotdb://user@host:6667/database, or local:"
    url = Secret(url)  # a traceback that shows variables shows none that hold the password
    scheme = url[: max(0, url.find(":"))]
    if scheme.strip().lower() != "iotdb":
        shown = repr(scheme) if scheme.isalnum() else "a text without iotdb:"
        raise OptionsError(f"{shown} is not an IoTDB URL", hint=hint)
    found = _without_login(url)
    if found is None:
        raise OptionsError("the URL cannot be read", hint=f"{hint}; {_ESCAPES}")
    parts, user, password = found
    try:
        addresses = tuple(_parse_host(h) for h in (parts.netloc or "127.0.0.1").split(","))
    except OptionsError:
        if user is not None:
            raise
        # Without an @ it may be the login whose password was cut by a / or a ?.
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
    """The URL of the environment (``IOTDB_URL``), else of the user's profile, else None.

    The profile is ``[default] url = "…"`` (or the section ``IOTDB_PROFILE`` names) of
    ``config.toml`` in the user's configuration directory ``iotdb-frames``.
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
